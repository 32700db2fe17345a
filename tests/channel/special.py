"""Small hand-made packages, one for each thing a real package can do that a tool can get wrong."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from . import elf
from .activations import FILES, SCRIPTS
from .condapkg import PLACEHOLDER, Package, write_package
from .util import fresh_directory, write_file

#: What demo-hostile-env sets DEMO_HOSTILE to, byte for byte.
HOSTILE_VALUE = (
    "two  spaces, 'single' and \"double\" quotes, $(touch /tmp/pwned), back\\slash\nand a line"
)

#: Where programs are: files below these directories are executable.
_EXECUTABLE = ("bin", "libexec", "python-scripts")


@dataclass(frozen=True)
class Recipe:
    """A package and its content: path in the environment -> text or bytes."""

    package: Package
    files: Mapping[str, str | bytes]


def recipes() -> list[Recipe]:
    """All the hand-made packages."""
    return [*_activation(), *_link_scripts(), *_commands(), *_prefixes(), *_conflicts()]


def write(recipe: Recipe, work: Path, channel: Path) -> Path:
    """Write the package of a recipe."""
    prefix = fresh_directory(work / "stage" / recipe.package.stem)
    for name, content in recipe.files.items():
        write_file(prefix / name, content, executable=Path(name).parts[0] in _EXECUTABLE)
    return write_package(recipe.package, prefix, channel)


def _activation() -> list[Recipe]:
    """Packages that change the environment's variables."""
    activate = Recipe(
        Package(
            name="demo-activate",
            version="1.0",
            noarch="generic",
            summary="Variables from a script and from a file",
        ),
        {
            "etc/conda/activate.d/demo-activate.sh": (
                'export DEMO_ACTIVATE_HOME="${CONDA_PREFIX}/share/demo"\n'
            ),
            "etc/conda/deactivate.d/demo-activate.sh": "unset DEMO_ACTIVATE_HOME\n",
            "etc/conda/env_vars.d/demo-activate.json": json.dumps({"DEMO_ENV_VAR": "from-json"}),
            "share/demo/x": "x",
        },
    )
    pathlike = _activating(
        "demo-pathlike",
        "Entries in front of variables that are lists of directories",
        'export DEMO_PATHLIKE="${CONDA_PREFIX}/share/demo-pathlike'
        '${DEMO_PATHLIKE:+:$DEMO_PATHLIKE}"\n'
        'export PATH="${CONDA_PREFIX}/libexec/demo-pathlike${PATH:+:$PATH}"\n',
        {
            "libexec/demo-pathlike/demo-pathlike-tool": "#!/bin/sh\necho demo-pathlike-tool\n",
            "share/demo-pathlike/data": "data\n",
        },
    )
    dynamic = _activating(
        "demo-dynamic",
        "A variable that is another one at every activation",
        'export DEMO_DYNAMIC="$HOME:$$"\n',
    )
    hostile = _activating(
        "demo-hostile-env",
        "A variable whose value is full of what shells interpret",
        f"export DEMO_HOSTILE={shlex.quote(HOSTILE_VALUE)}\n",
    )
    many = Recipe(
        Package(
            name="demo-activations",
            version="1.0",
            noarch="generic",
            summary="Scripts as well-known packages have them",
        ),
        {**{f"etc/conda/activate.d/{name}": text for name, text in SCRIPTS.items()}, **FILES},
    )
    return [activate, pathlike, dynamic, hostile, many]


def _activating(
    name: str, summary: str, script: str, files: Mapping[str, str | bytes] | None = None
) -> Recipe:
    return Recipe(
        Package(name=name, version="1.0", noarch="generic", summary=summary),
        {f"etc/conda/activate.d/{name}.sh": script, **(files or {})},
    )


def _link_scripts() -> list[Recipe]:
    """Packages with scripts that run at installation and removal."""
    works = Recipe(
        Package(name="demo-postlink", version="1.0", summary="A post-link script that works"),
        {
            "bin/.demo-postlink-post-link.sh": (
                "#!/bin/sh\n"
                "{\n"
                '    echo "PREFIX=$PREFIX"\n'
                '    echo "PKG_NAME=$PKG_NAME $PKG_VERSION $PKG_BUILDNUM"\n'
                '    echo "pwd=$(pwd)"\n'
                '    echo "self=$0"\n'
                '} > "$PREFIX/postlink.ran"\n'
                'echo "demo-postlink message" >> "$PREFIX/.messages.txt"\n'
            ),
            "bin/.demo-postlink-pre-unlink.sh": '#!/bin/sh\nrm -f "$PREFIX/postlink.ran"\n',
            "share/demo-postlink/data": "data\n",
        },
    )
    fails = Recipe(
        Package(
            name="demo-failing-postlink", version="1.0", summary="A post-link script that fails"
        ),
        {
            "bin/.demo-failing-postlink-post-link.sh": (
                "#!/bin/sh\necho 'cannot configure' >&2\nexit 3\n"
            ),
            "share/demo-failing-postlink/data": "data\n",
        },
    )
    return [works, fails]


def _commands() -> list[Recipe]:
    """Packages with commands: of entry points, of the shell, calling each other, oddly named."""
    noarch = Recipe(
        Package(
            name="demo-noarch",
            version="1.0",
            noarch="python",
            depends=("python >=3.8",),
            entry_points=("demo-noarch = demo_noarch:main",),
            summary="A Python module with an entry point and a script",
        ),
        {
            "site-packages/demo_noarch/__init__.py": (
                "import sys\n\n\n"
                "def main():\n"
                '    print("demo-noarch", sys.prefix, sys.executable)\n'
            ),
            "site-packages/demo_noarch-1.0.dist-info/METADATA": (
                "Metadata-Version: 2.1\nName: demo-noarch\nVersion: 1.0\n"
            ),
            "site-packages/demo_noarch-1.0.dist-info/entry_points.txt": (
                "[console_scripts]\ndemo-noarch = demo_noarch:main\n"
            ),
            "site-packages/demo_noarch-1.0.dist-info/RECORD": "",
            "site-packages/demo_noarch-1.0.dist-info/INSTALLER": "conda\n",
            "python-scripts/demo-script": (
                f"#!{PLACEHOLDER}/bin/python\nimport demo_noarch\n\ndemo_noarch.main()\n"
            ),
        },
    )
    tool = Recipe(
        Package(
            name="demo-tool",
            version="1.0",
            depends=("python",),
            summary="A command that calls another command of its environment by name",
        ),
        {
            "bin/demo-tool": f"#!/bin/sh\nprefix='{PLACEHOLDER}'\nprintf '%s\\n' \"$prefix\"\n",
            "bin/demo-caller": (
                f"#!{PLACEHOLDER}/bin/python\n"
                "import subprocess\n\n"
                'print(subprocess.check_output(["demo-tool"], text=True), end="")\n'
            ),
        },
    )
    sh_only = Recipe(
        Package(name="demo-sh-only", version="1.0", summary="A command that needs no Python"),
        {"bin/demo-hello": '#!/bin/sh\necho "hello ${1:-world}"\n'},
    )
    odd = "#!/bin/sh\nprintf '%s\\n' 'demo-oddnames: {}'\n"
    odd_names = Recipe(
        Package(name="demo-oddnames", version="1.0", summary="Commands whose names need quoting"),
        {f"bin/{name}": odd.format(name) for name in ("-dash", "demo-odd", "odd name")},
    )
    return [noarch, tool, sh_only, odd_names]


def _prefixes() -> list[Recipe]:
    """Packages that hold the prefix in text and in binary files."""
    binary = Recipe(
        Package(name="demo-binprefix", version="1.0", summary="The prefix in binary files"),
        {
            "bin/demo-binprefix": elf.printing(f"{PLACEHOLDER}/share/demo-binprefix\n".encode()),
            "lib/demo-binprefix.dat": f"\0\1{PLACEHOLDER}/lib:{PLACEHOLDER}/bin\0tail\0".encode(),
        },
    )
    text = Recipe(
        Package(
            name="demo-textprefix",
            version="1.0",
            depends=("python",),
            summary="The prefix in scripts and a configuration file",
        ),
        {
            "bin/demo-textprefix": f"#!{PLACEHOLDER}/bin/python\nimport sys\n\nprint(sys.prefix)\n",
            "bin/demo-textprefix-sh": f"#!/bin/sh\necho '{PLACEHOLDER}/share'\n",
            "etc/demo.conf": f"root={PLACEHOLDER}\nlib={PLACEHOLDER}/lib\n",
        },
    )
    return [binary, text]


def _conflicts() -> list[Recipe]:
    """Packages that exclude each other or need what a machine may not have."""
    return [
        _empty("demo-base", "1.0"),
        _empty("demo-base", "2.0"),
        _empty("demo-needs-base1", "1.0", "demo-base <2"),
        _empty("demo-needs-base2", "1.0", "demo-base >=2"),
        _empty("demo-needs-cuda", "1.0", "__cuda >=12"),
        _empty("demo-newglibc", "0.9", "__glibc >=2.17"),
        _empty("demo-newglibc", "1.0", "__glibc >=2.99"),
    ]


def _empty(name: str, version: str, *depends: str) -> Recipe:
    """A package that only has dependencies and one file that holds its version."""
    summary = f"Needs {' and '.join(depends)}" if depends else "Needed in one version or the other"
    return Recipe(
        Package(name=name, version=version, noarch="generic", depends=depends, summary=summary),
        {f"share/{name}/version": f"{version}\n"},
    )
