"""Every name in a prefix, once. What each is: "The installation" in ``docs/architecture.md``."""

from __future__ import annotations

BIN = "bin"
"""The shims."""
CURRENT = "current"
"""A link to the generation in use; without it the rest is no installation."""
GENERATIONS = ".generations"
SHARE, COMMON = "share", "common.sh"
"""What Tykky's prefixes have by these names."""

# -- in a generation -------------------------------------------------------------------------------
IMAGE, SKELETON, BASE = "img.sqfs", "skeleton.sqfs", "container.sif"
PROGRAMS = "_bin"
"""Links into the environment, bound over the shims inside."""
HOST = "host"
"""Scripts that start programs of the host, bound to ``/usr/bin`` of an image."""
ENV = "env"
"""What a shim reads."""
VENV = "pyvenv.cfg"
SOURCES = "sources"
"""What editors read of the packages, where somebody asked for it."""
MANIFEST, VARIABLES, INPUTS = "manifest.json", "variables.json", "inputs"
READING = "reading-order.txt"
"""In which order the image has its files, where that was recorded."""
LOG, PACKAGES, VERSION = "build.log", "packages.txt", "VERSION.yml"
CONDA_LOCK, PIP_LOCK = "conda-lock.yml", "requirements.lock"

# -- an extension, a directory of the user's -------------------------------------------------------
EXTENSION, EXTENSION_IMAGE = "extension.json", "extension.sqfs"
"""Its record, and what it is while it is frozen."""
