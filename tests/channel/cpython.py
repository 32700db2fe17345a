"""Debian's Python 3.11 as a relocatable conda package.

Debian compiles Python for the prefix /usr and patches it to install into `dist-packages` and
`/usr/local`. The executable finds its prefix from its own place, as any CPython does. What knows
better is undone here: the patched modules are replaced by upstream's, the copy of `site` that is
frozen into the executable is edited, and the recorded build settings get conda's placeholder.
"""

from __future__ import annotations

import ast
import pprint
import re
import shutil
import struct
import tarfile
from pathlib import Path

from .apt import deb_path, source_path
from .condapkg import PLACEHOLDER, Package, write_package
from .debian import GLIBC, TRIPLET, deb_version, unpack, upstream_version
from .interpreter import Interpreter
from .util import BuildError, fresh_directory, set_rpath, write_file

DEBS = (
    "python3.11-minimal",
    "libpython3.11-minimal",
    "libpython3.11-stdlib",
    "libpython3.11-dev",
    "python3-distutils",
    "python3-lib2to3",
)
#: CPython's own tests: the first has what all of them stand on.
TESTS = ("libpython3.11-stdlib", "libpython3.11-testsuite")
SOURCE = "python3.11"
_DEPENDS = (
    "bzip2 >=1.0.8,<2.0a0",
    "libexpat >=2.5.0,<3.0a0",
    "libffi >=3.4,<4.0a0",
    "libgcc",
    "liblzma >=5.4.1,<6.0a0",
    "libsqlite >=3.40.1,<4.0a0",
    "libuuid >=2.38.1,<3.0a0",
    "libxcrypt >=4.4.33",
    "libzlib >=1.2.13,<2.0a0",
    "ncurses >=6.4,<7.0a0",
    "openssl >=3.0.0,<4.0a0",
    "readline >=8.2,<9.0a0",
    "tzdata",
    GLIBC,
)
_LIB = "lib/python3.11"

#: Debian's own additions, tests, and modules whose libraries the channel does not have.
_LEFT_OUT = shutil.ignore_patterns(
    "EXTERNALLY-MANAGED",
    "_distutils_system_mod.py",
    "sitecustomize.py",
    "__pycache__",
    "test",
    "*.a",
    "libpython3.11.so",
    "nis.*",
    "_dbm.*",
    "_test*.so",
    "_ctypes_test.*",
    "_xxtestfuzz.*",
    "xxlimited*",
)

#: What Debian patches for its own layout, to be taken from upstream's archive.
_UPSTREAM = re.compile(
    r"[^/]+/Lib/("
    r"(?:site|sysconfig|pydoc)\.py"
    r"|(?:distutils(?:/command)?|ensurepip|venv)/[^/]+\.py"
    r"|venv/scripts/.+/[^/]+"  # they go with venv's code: which of the two quotes differs
    r"|ensurepip/_bundled/.*\.whl"
    r")"
)

#: /usr where it is the prefix in a recorded setting, and not a program of the build machine.
_PREFIX = re.compile(r"/usr(?=/lib|/share/man|/include/python|/bin'|$|\s)")


def stage(debs: Path, work: Path) -> Path:
    """Lay out Python as in an environment, without .pyc files; return the prefix."""
    usr = unpack(debs, DEBS, work / "unpacked/python") / "usr"
    prefix = fresh_directory(work / "stage/python")
    _copy(usr, prefix)
    _restore_upstream(source_path(debs, SOURCE), prefix / _LIB)
    _edit_frozen_site(prefix / "bin/python3.11")
    _relocate_settings(prefix / _LIB)
    set_rpath("$ORIGIN/../lib", [prefix / "bin/python3.11"])
    set_rpath("$ORIGIN/../..", sorted((prefix / _LIB / "lib-dynload").glob("*.so")))
    _add_commands(prefix / "bin")
    write_file(prefix / _LIB / "site-packages/README.txt", "Packages are installed here.\n")
    return prefix


def write(interpreter: Interpreter, debs: Path, work: Path, channel: Path) -> Path:
    """Compile the modules of the staged Python and write its package."""
    prefix = work / "stage/python"
    interpreter.compile(prefix)
    version = deb_version(deb_path(debs, DEBS[0]))
    package = Package(
        name="python",
        version=upstream_version(version),
        build="h_deb12_0_cpython",
        depends=_DEPENDS,
        constrains=("python_abi 3.11.* *_cp311",),
        python_site_packages_path=f"{_LIB}/site-packages",
        summary=f"Python {version} of Debian 12",
    )
    return write_package(package, prefix, channel)


def write_abi(work: Path, channel: Path) -> Path:
    """Write the empty package that stands for the ABI of extension modules."""
    package = Package(
        name="python_abi",
        version="3.11",
        build="8_cp311",
        build_number=8,
        constrains=("python 3.11.* *_cpython",),
        noarch="generic",
        summary="The ABI of CPython 3.11",
    )
    return write_package(package, fresh_directory(work / "stage/python_abi"), channel)


def write_tests(debs: Path, work: Path, channel: Path) -> Path:
    """Write the package of CPython's own tests. Who installs it byte-compiles them."""
    lib = unpack(debs, TESTS, work / "unpacked/cpython-tests") / "usr" / _LIB
    prefix = fresh_directory(work / "stage/cpython-tests")
    left_out = shutil.ignore_patterns("__pycache__", "decimaltestdata")  # the largest of the data
    shutil.copytree(lib / "test", prefix / _LIB / "test", ignore=left_out)
    (prefix / _LIB / "lib-dynload").mkdir()
    for module in lib.glob("lib-dynload/_*test*.so"):
        shutil.copy2(module, prefix / _LIB / "lib-dynload")
    version = deb_version(deb_path(debs, TESTS[1]))
    package = Package(
        name="cpython-tests",
        version=upstream_version(version),
        build="deb12_0",
        depends=(f"python {upstream_version(version)}",),
        summary=f"The tests of Python {version} of Debian 12",
    )
    return write_package(package, prefix, channel)


def _copy(usr: Path, prefix: Path) -> None:
    shutil.copytree(usr / _LIB, prefix / _LIB, symlinks=True, ignore=_LEFT_OUT)
    headers = prefix / "include/python3.11"
    shutil.copytree(usr / "include/python3.11", headers)
    # Debian's pyconfig.h only chooses between architectures.
    shutil.copyfile(usr / "include" / TRIPLET / "python3.11/pyconfig.h", headers / "pyconfig.h")
    (prefix / "bin").mkdir()
    shutil.copy2(usr / "bin/python3.11", prefix / "bin/python3.11")


def _restore_upstream(archive: Path, lib: Path) -> None:
    with tarfile.open(archive) as tar:
        for member in tar:
            match = _UPSTREAM.fullmatch(member.name)
            content = tar.extractfile(member) if match else None
            if match and content:
                write_file(lib / match[1], content.read())


def _edit_frozen_site(executable: Path) -> None:
    """Change Debian's paths in the bytecode of `site` that is frozen into the executable.

    This copy, not lib/python3.11/site.py, is what every start runs. What stays of Debian's: the
    list of `site.getsitepackages()` also names lib/python3/site-packages, which does not exist.
    """
    data = bytearray(executable.read_bytes())
    _replace_string(data, b"dist-packages", b"site-packages")
    _replace_string(data, b"local/lib", b"lib")
    executable.write_bytes(data)


def _replace_string(data: bytearray, old: bytes, new: bytes) -> None:
    """Replace the one constant str object `old` by `new`, which must not be longer.

    CPython 3.11 stores constants of frozen modules as static PyASCIIObject structures: reference
    count, type, length, hash (-1: not yet computed), state, wchar_t pointer, eight bytes each, and
    the characters. The header around it tells the object from the same bytes elsewhere.
    """
    header = struct.pack("<qq", len(old), -1)
    matches = re.finditer(re.escape(old + b"\0"), data)
    found = [m.start() for m in matches if data[m.start() - 32 : m.start() - 16] == header]
    if len(found) != 1:
        raise BuildError(f"python3.11: {len(found)} frozen strings {old.decode()!r}, expected one")
    start = found[0]
    data[start : start + len(old)] = new.ljust(len(old), b"\0")
    data[start - 32 : start - 24] = struct.pack("<q", len(new))


def _relocate_settings(lib: Path) -> None:
    """Put the placeholder into what `sysconfig` and extension builds read."""
    debians = lib / f"_sysconfigdata__{TRIPLET}.py"
    upstreams = lib / f"_sysconfigdata__linux_{TRIPLET}.py"
    settings = {
        name: _relocated(value) if isinstance(value, str) else value
        for name, value in _read_settings(debians).items()
    }
    settings |= {
        "BINDIR": f"{PLACEHOLDER}/bin",
        "INCLUDEDIR": f"{PLACEHOLDER}/include",
        "LIBDIR": f"{PLACEHOLDER}/lib",
        "Py_ENABLE_SHARED": 0,
        "TZPATH": f"{PLACEHOLDER}/share/zoneinfo",
        "WHEEL_PKG_DIR": "",
        "datarootdir": f"{PLACEHOLDER}/share",
        "exec_prefix": PLACEHOLDER,
        "prefix": PLACEHOLDER,
    }
    debians.unlink()
    upstreams.unlink(missing_ok=True)
    text = pprint.pformat(settings, width=100)
    write_file(upstreams, f"build_time_vars = {text}\n")
    makefile = lib / f"config-3.11-{TRIPLET}/Makefile"
    lines = re.sub(
        r"(?m)^(prefix|exec_prefix)=\s*/usr$", rf"\1=\t{PLACEHOLDER}", makefile.read_text()
    )
    makefile.write_text(lines)


def _read_settings(module: Path) -> dict[str, str | int]:
    """The value of `build_time_vars`, the one assignment in the module."""
    for statement in ast.parse(module.read_text()).body:
        if isinstance(statement, ast.Assign):
            settings: dict[str, str | int] = ast.literal_eval(statement.value)
            return settings
    raise BuildError(f"{module.name}: build_time_vars is missing")


def _relocated(value: str) -> str:
    return _PREFIX.sub(PLACEHOLDER, value.replace(f"/usr/lib/{TRIPLET}", "/usr/lib"))


def _add_commands(bin_directory: Path) -> None:
    (bin_directory / "python3.11").chmod(0o755)
    pydoc = f"#!{PLACEHOLDER}/bin/python3.11\nimport pydoc\n\npydoc.cli()\n"
    write_file(bin_directory / "pydoc3.11", pydoc, executable=True)
    links = {
        "python": "python3.11",
        "python3": "python3.11",
        "pydoc": "pydoc3.11",
        "pydoc3": "pydoc3.11",
    }
    for name, target in links.items():
        (bin_directory / name).symlink_to(target)
