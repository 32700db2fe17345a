"""The installed commands. Each module of this package is one command."""

from wrapper.cli.conda import conda_containerize
from wrapper.cli.pip import pip_containerize
from wrapper.cli.umbrella import containerize
from wrapper.cli.wrap import wrap_container, wrap_install

__all__ = [
    "conda_containerize",
    "containerize",
    "pip_containerize",
    "wrap_container",
    "wrap_install",
]
