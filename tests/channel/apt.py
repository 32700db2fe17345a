"""Download packages of Debian 12 with the machine's apt, without root and without its state.

apt gets its own lists, cache and sources.list below the work directory. It verifies the signature
of the release with Debian's archive keyring, and through it the digest of every file.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from .util import BuildError, fresh_directory, run, sha256

RELEASE = "bookworm"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_DIGESTS = "SHA256SUMS"


def download(directory: Path, debs: Sequence[str], source: str = "") -> None:
    """Fill `directory` with the named .deb files, and the upstream archive of a source package.

    What a run before has left there is taken if it is complete and intact. apt's state is left
    beside it, in `apt`.
    """
    if _is_complete(directory, debs, source):
        return
    directory.parent.mkdir(parents=True, exist_ok=True)
    # Downloads appear in `directory` all at once, so that a killed run leaves none by halves.
    partial = fresh_directory(directory.with_name(f"{directory.name}.partial"))
    options = _updated(fresh_directory(directory.with_name("apt")))
    _apt_get(options, "download", *debs, cwd=partial)
    if source:
        _apt_get(options, "source", "--download-only", "--tar-only", source, cwd=partial)
    lines = [f"{sha256(path)}  {path.name}\n" for path in sorted(partial.iterdir())]
    (partial / _DIGESTS).write_text("".join(lines))
    shutil.rmtree(directory, ignore_errors=True)
    partial.rename(directory)


def deb_path(directory: Path, name: str) -> Path:
    """The downloaded .deb file of the package `name`."""
    return _only(directory, f"{name}_*.deb")


def source_path(directory: Path, name: str) -> Path:
    """The downloaded upstream archive of the source package `name`."""
    return _only(directory, f"{name}_*.orig.tar.*")


def _only(directory: Path, pattern: str) -> Path:
    found = list(directory.glob(pattern))
    if len(found) != 1:
        raise BuildError(f"{len(found)} files match {directory / pattern}, expected one")
    return found[0]


def _is_complete(directory: Path, debs: Sequence[str], source: str) -> bool:
    try:
        lines = (directory / _DIGESTS).read_text().splitlines()
        digests = {
            directory / name: digest for digest, name in (line.split("  ") for line in lines)
        }
        wanted = {deb_path(directory, name) for name in debs}
        wanted |= {source_path(directory, source)} if source else set()
        return wanted == digests.keys() and all(sha256(p) == d for p, d in digests.items())
    except (OSError, ValueError, BuildError):
        return False


def _updated(state: Path) -> list[str]:
    """Make a private apt state with the release's indexes in it; return the options to use it.

    A machine's sources may name several archives. Nothing tells which of them has Debian 12 but
    asking: the first that has it is taken.
    """
    if not KEYRING.exists():
        raise BuildError(f"{KEYRING} is missing: apt-get install debian-archive-keyring")
    options = _options(state)
    refusals = []
    for mirror in _mirrors():
        origin = f"[arch=amd64 signed-by={KEYRING}] {mirror} {RELEASE} main"
        (state / "sources.list").write_text(f"deb {origin}\ndeb-src {origin}\n")
        try:
            _apt_get(options, "update")
        except BuildError as error:
            refusals.append(str(error))
        else:
            return options
    reasons = "".join(f"\n{refusal}" for refusal in refusals)
    raise BuildError(f"apt's sources name no archive that has Debian {RELEASE}{reasons}")


def _mirrors() -> list[str]:
    """The archives in the machine's own apt configuration, the likeliest first.

    `update --print-uris` tells what would be fetched and fetches nothing. (`indextargets` only
    knows archives whose indexes are already there: none on a machine that was just installed.)
    """
    planned = run(["apt-get", "-q", "update", "--print-uris"])
    found = re.findall(r"^'([^']+)/dists/([^'/]+)/", planned, re.MULTILINE)
    likeliest_first = sorted(
        found, key=lambda item: (item[1] != RELEASE, not item[0].endswith("/debian"))
    )
    return list(dict.fromkeys(mirror for mirror, _ in likeliest_first))


def _options(state: Path) -> list[str]:
    """Options that make apt use `state` for all that it reads and writes, except its settings.

    The machine's settings stay, for its proxy. Its package status does not count: apt would look
    for the version that is installed, which may come from another release.
    """
    for directory in ("lists/partial", "cache/archives/partial"):
        (state / directory).mkdir(parents=True)
    (state / "status").touch()
    settings = {
        "Dir::Etc::SourceList": state / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::Etc::Preferences": "/dev/null",
        "Dir::Etc::PreferencesParts": "/dev/null",
        "Dir::State::Lists": state / "lists",
        "Dir::State::Status": state / "status",
        "Dir::Cache": state / "cache",
        "APT::Architecture": "amd64",
        "APT::Default-Release": RELEASE,
        # As root, apt downloads as its own user, who may not enter the work directory.
        "APT::Sandbox::User": "root",
        "APT::Update::Error-Mode": "any",
        "Acquire::Languages": "none",
        "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
        "Acquire::Retries": "3",
    }
    return [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]


def _apt_get(options: Sequence[str], *words: str, cwd: Path | None = None) -> None:
    run(["apt-get", "-q", *options, *words], cwd=cwd, env={**os.environ, "LC_ALL": "C"})
