"""PyPI wheels as conda packages: `noarch: python`, or for linux-64 where the wheel is.

Which wheels is data, in wheels.yml. pip downloads them from whatever index it is configured for
and accepts only files of the recorded digests.
"""

from __future__ import annotations

import configparser
import sys
import zipfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .condapkg import PLACEHOLDER, Package, write_package
from .interpreter import Interpreter
from .util import BuildError, fresh_directory, run, sha256, write_file

_PINS = Path(__file__).with_name("wheels.yml")

#: What every package with extension modules for this Python and platform depends on.
_EXTENSION_DEPENDS = (
    "python >=3.11,<3.12.0a0",
    "python_abi 3.11.* *_cp311",
    "__glibc >=2.17,<3.0.a0",
)

#: Wheels for the channel's Python, whatever Python runs this program.
_PIP_TARGET = (
    *("--only-binary", ":all:", "--implementation", "cp", "--python-version", "3.11"),
    *("--abi", "cp311", "--abi", "abi3", "--abi", "none"),
    *("--platform", "manylinux_2_28_x86_64", "--platform", "manylinux_2_17_x86_64"),
    *("--platform", "manylinux2014_x86_64"),
)


@dataclass(frozen=True)
class Wheel:
    """A pinned wheel and what the conda package that is made of it depends on.

    A `data_only` one gives its data to another package and becomes none itself.
    """

    name: str
    version: str
    sha256: str
    depends: tuple[str, ...] = ()
    data_only: bool = False


def read_pins() -> list[Wheel]:
    """Read wheels.yml."""
    pins: list[dict[str, Any]] = yaml.safe_load(_PINS.read_text())
    return [Wheel(**{**pin, "depends": tuple(pin.get("depends", ()))}) for pin in pins]


def download(directory: Path, wheels: Iterable[Wheel]) -> dict[Wheel, Path]:
    """Download into `directory` the wheels it does not hold yet; return where each one lies."""
    directory.mkdir(parents=True, exist_ok=True)
    wanted = list(wheels)
    present = _by_digest(directory)
    missing = [wheel for wheel in wanted if wheel.sha256 not in present]
    if missing:
        with ThreadPoolExecutor() as pool:
            list(
                pool.map(lambda group: _pip_download(directory, group), _one_version_each(missing))
            )
        present = _by_digest(directory)
    return {wheel: present[wheel.sha256] for wheel in wanted}


def _by_digest(directory: Path) -> dict[str, Path]:
    return {sha256(path): path for path in directory.glob("*.whl")}


def _one_version_each(wheels: Iterable[Wheel]) -> list[list[Wheel]]:
    """Split `wheels` into groups that pip takes: it refuses two versions of a name in one call."""
    groups: list[dict[str, Wheel]] = []
    for wheel in wheels:
        group = next((group for group in groups if wheel.name not in group), None)
        if group is None:
            groups.append(group := {})
        group[wheel.name] = wheel
    return [list(group.values()) for group in groups]


def _pip_download(directory: Path, wheels: list[Wheel]) -> None:
    lines = [f"{w.name}=={w.version} --hash=sha256:{w.sha256}\n" for w in wheels]
    requirements = directory / f"requirements-{wheels[0].name}-{wheels[0].version}.txt"
    requirements.write_text("".join(lines))
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    options = ["--no-cache-dir", "--no-deps", "--require-hashes", *_PIP_TARGET]
    run([*pip, "download", *options, "--dest", directory, "--requirement", requirements])
    requirements.unlink()


def is_pure(archive: Path) -> bool:
    """Whether a wheel holds nothing that depends on the platform or the Python version."""
    return archive.stem.endswith("-none-any")


def write_pure(wheel: Wheel, archive: Path, work: Path, channel: Path) -> Path:
    """Write the noarch package of a pure wheel.

    Its installer puts site-packages where the environment's Python has it, and writes the
    commands of the entry points.
    """
    prefix = fresh_directory(work / "stage" / f"{wheel.name}-{wheel.version}")
    commands = _console_scripts(_unpack(archive, prefix / "site-packages"))
    package = Package(
        name=wheel.name,
        version=wheel.version,
        build="pyhd8ed1ab_0",
        depends=wheel.depends,
        noarch="python",
        entry_points=tuple(f"{name} = {target}" for name, target in commands.items()),
        summary=f"{wheel.name} {wheel.version} of PyPI",
    )
    return write_package(package, prefix, channel)


def write_extension(
    wheel: Wheel, archive: Path, interpreter: Interpreter, work: Path, channel: Path
) -> Path:
    """Write the linux-64 package of a wheel with extension modules, byte-compiled."""
    prefix = fresh_directory(work / "stage" / f"{wheel.name}-{wheel.version}")
    commands = _console_scripts(_unpack(archive, prefix / "lib/python3.11/site-packages"))
    for name, target in commands.items():
        write_file(prefix / "bin" / name, _command(target), executable=True)
    interpreter.compile(prefix)
    package = Package(
        name=wheel.name,
        version=wheel.version,
        build="py311h_whl_0",
        depends=(*_EXTENSION_DEPENDS, *wheel.depends),
        summary=f"{wheel.name} {wheel.version} of PyPI",
    )
    return write_package(package, prefix, channel)


def _unpack(archive: Path, site_packages: Path) -> Path:
    """Unpack a wheel and return its .dist-info directory."""
    with zipfile.ZipFile(archive) as wheel:
        wheel.extractall(site_packages)
        for member in wheel.infolist():  # extractall forgets modes
            if (member.external_attr >> 16) & 0o111 and not member.is_dir():
                (site_packages / member.filename).chmod(0o755)
    if any(site_packages.glob("*.data")):
        raise BuildError(f"{archive.name}: wheels with a .data directory are not supported")
    (dist_info,) = site_packages.glob("*.dist-info")
    write_file(dist_info / "INSTALLER", "conda\n")
    return dist_info


def _console_scripts(dist_info: Path) -> dict[str, str]:
    """The commands that a wheel declares, each with the `module:function` it runs."""
    parser = configparser.ConfigParser(delimiters="=", interpolation=None)
    parser.optionxform = str  # type: ignore[method-assign,assignment]  # names keep their case
    parser.read(dist_info / "entry_points.txt")
    return dict(parser["console_scripts"]) if "console_scripts" in parser else {}


def _command(target: str) -> str:
    module, function = target.split(":")
    return (
        f"#!{PLACEHOLDER}/bin/python3.11\n"
        f"import sys\n\nfrom {module} import {function}\n\nsys.exit({function}())\n"
    )


def write_tzdata(wheel: Wheel, archive: Path, work: Path, channel: Path) -> Path:
    """Write the time zone database as conda has it: share/zoneinfo, not a Python package."""
    prefix = fresh_directory(work / "stage/tzdata")
    inside = "tzdata/zoneinfo/"
    _extract(archive, lambda name: name.startswith(inside) and not name.endswith(".py"), prefix)
    (prefix / "share").mkdir()
    (prefix / inside).rename(prefix / "share/zoneinfo")
    (prefix / "tzdata").rmdir()
    year, number = wheel.version.split(".")
    package = Package(
        name="tzdata",
        version=f"{year}{'abcdefgh'[int(number) - 1]}",  # PyPI's 2024.2 is IANA's 2024b
        build="h_whl_0",
        noarch="generic",
        summary="The time zone database",
    )
    return write_package(package, prefix, channel)


def write_ca_certificates(certifi: Wheel, archive: Path, work: Path, channel: Path) -> Path:
    """Write the certificates of the certifi wheel, with scripts that tell OpenSSL where they are.

    Debian's OpenSSL has /usr/lib/ssl compiled in.
    """
    prefix = fresh_directory(work / "stage/ca-certificates")
    _extract(archive, lambda name: name == "certifi/cacert.pem", prefix)
    (prefix / "certifi").rename(prefix / "ssl")
    (prefix / "ssl/cert.pem").symlink_to("cacert.pem")
    write_file(prefix / "etc/conda/activate.d/ca-certificates.sh", _ACTIVATE_CERTIFICATES)
    write_file(prefix / "etc/conda/deactivate.d/ca-certificates.sh", _DEACTIVATE_CERTIFICATES)
    package = Package(
        name="ca-certificates",
        version=certifi.version,
        build="h_whl_0",
        noarch="generic",
        summary="Mozilla's certificates of authorities",
    )
    return write_package(package, prefix, channel)


_ACTIVATE_CERTIFICATES = """\
if [ -z "${SSL_CERT_FILE:-}" ]; then
    export SSL_CERT_FILE="${CONDA_PREFIX}/ssl/cacert.pem"
    export __CA_CERTIFICATES_SET=1
fi
"""
_DEACTIVATE_CERTIFICATES = """\
if [ "${__CA_CERTIFICATES_SET:-}" = 1 ]; then
    unset SSL_CERT_FILE __CA_CERTIFICATES_SET
fi
"""


def _extract(archive: Path, wanted: Callable[[str], bool], directory: Path) -> None:
    with zipfile.ZipFile(archive) as wheel:
        wheel.extractall(directory, [name for name in wheel.namelist() if wanted(name)])
