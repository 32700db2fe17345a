"""Debian packages into a directory, without root, dpkg or apt.

Packages are fetched by the hashes of a lock and unpacked. Their maintainer scripts are not run:
they want root and a running system. What such a script would have done for a container is done here
(:func:`configure`), as far as an image needs it. Formats: deb(5), deb-control(5).
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import shutil
import socket
import tarfile
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException, IncompleteRead
from pathlib import Path

from wrapper import platforms, process
from wrapper.base.definition import Deb
from wrapper.console import Advance, piecewise
from wrapper.errors import ChannelError, InputError, PackageError
from wrapper.util import foreign
from wrapper.util.cache import FILE_MODE, draft, make_directory
from wrapper.util.hashing import sha256

MIRROR_VARIABLE = "CONTAINERIZE_DEBIAN_MIRROR"
_MERGED = ("bin", "sbin", "lib", "lib64")
_LEFT_OUT = re.compile(r"usr/share/(?:man|info|locale|lintian|doc/(?!.*/copyright$)[^/]+/).+")
_REFUSALS = (urllib.error.URLError, HTTPException, ValueError, TimeoutError, ConnectionError)
_TIMEOUT = 60.0
_AT_ONCE = 4
_PAUSES = (1.0, 3.0)  # seconds before the next try
_BUSY = (429, 500, 502, 503, 504)
_CHUNK = 1 << 20


# -- fetching ----------------------------------------------------------------------------------
def fetch(
    packages: Sequence[Deb], *, mirrors: Sequence[str], cache: Path, advance: Advance
) -> list[Path]:
    """Files of all packages, in their order, from ``cache`` or the first mirror that has them.

    :raises ChannelError: no mirror has one. :raises PackageError: one is not what the lock says.
    """
    make_directory(cache)
    fetched = piecewise(advance, sum(deb.size for deb in packages))
    stop = threading.Event()

    def one(deb: Deb) -> Path:
        path = _fetch_one(deb, mirrors, cache, stop)
        fetched(deb.size)
        return path

    pool = ThreadPoolExecutor(_AT_ONCE)
    try:
        return list(pool.map(one, packages))
    finally:  # after an interruption or a failure: without waiting for servers that do not answer
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)


def mirrors(named: str, snapshot: str, environ: Mapping[str, str] = os.environ) -> list[str]:
    """Roots of archives to ask, whatever they are: what is fetched is checked against hashes.

    :param named: URLs, separated by spaces; in them ``{snapshot}`` stands for the moment of the
        lock, for an archive that keeps old versions. Empty for the archive of this machine's apt.
    :raises InputError: nothing is named, and there is no apt.
    """
    urls = named.split() or _archive_of_apt(environ)
    if not urls:
        raise InputError(
            "nothing says where Debian's packages come from",
            where=MIRROR_VARIABLE,
            hint="name the root of a Debian archive with --mirror or in this variable",
        )
    return [url.replace("{snapshot}", snapshot).rstrip("/") for url in urls]


def require_architecture(packages: Sequence[Deb], where: Path) -> None:
    """:raises InputError: packages are for other machines. :param where: the list that has them."""
    ours = platforms.DEBIAN.get(platforms.machine(), platforms.machine())
    kinds = {deb.path.rpartition("_")[2].removesuffix(".deb") for deb in packages}
    if wrong := sorted(kinds & {*platforms.DEBIAN.values()} - {ours}):
        raise InputError(
            f"the list has packages for {wrong[0]}, this machine is {platforms.machine()}",
            where=where,
            hint="make a list on such a machine, or name an image that is for it",
        )


def current_archive(environ: Mapping[str, str]) -> str:
    """Root of an archive of today's packages: the one that is named, else apt's, else empty."""
    urls = environ.get(MIRROR_VARIABLE, "").split() or _archive_of_apt(environ)
    return next((url.rstrip("/") for url in urls if "{snapshot}" not in url), "")


def _archive_of_apt(environ: Mapping[str, str]) -> list[str]:
    """Debian's own archive among those that apt knows (others are for security, of vendors)."""
    apt = shutil.which("apt-get", path=environ.get("PATH"))
    if not apt:
        return []
    # Without release information: a machine that never ran "apt-get update" has none.
    argv = [apt, "indextargets", "--no-release-info", "--format", "$(REPO_URI)"]
    answer = process.capture(argv, env=process.base_environment(environ))
    return re.findall(r"^\S+/debian/?$", answer, re.M)[:1]


def _fetch_one(deb: Deb, mirrors: Sequence[str], cache: Path, stop: threading.Event) -> Path:
    target = cache / f"{deb.sha256[:16]}-{deb.name}"
    if target.is_file() and sha256(target) == deb.sha256:
        return target
    refusals, wrong = [], False
    fresh = draft(target)
    for mirror in mirrors:
        if stop.is_set():
            break
        url = f"{mirror}/{deb.path}"
        try:
            _download(url, fresh, stop)
            if (found := sha256(fresh)) == deb.sha256:
                foreign.set_mode(fresh, FILE_MODE)
                fresh.replace(target)
                return target
            wrong = True
            refusals.append(f"{url}: sha256 {deb.sha256} expected, {found} found")
        except _REFUSALS as error:
            refusals.append(f"{url}: {error}")
        finally:
            fresh.unlink(missing_ok=True)
    raise _not_fetched(deb, mirrors, refusals, wrong)


def _download(url: str, target: Path, stop: threading.Event) -> None:
    """A file of a mirror, tried again after failures that may pass."""
    for pause in _PAUSES:
        try:
            _download_once(url, target, stop)
        except _REFUSALS as error:
            if not _may_pass(error) or stop.wait(pause):
                raise
        else:
            return
    _download_once(url, target, stop)


def _may_pass(error: Exception) -> bool:
    """A name server, a proxy or a mirror that is busy."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code in _BUSY
    reason = getattr(error, "reason", error)
    if isinstance(reason, socket.gaierror):
        return reason.errno == socket.EAI_AGAIN
    return isinstance(reason, ConnectionResetError | IncompleteRead)


def _download_once(url: str, target: Path, stop: threading.Event) -> None:
    with (
        urllib.request.urlopen(url, timeout=_TIMEOUT) as answer,  # noqa: S310 - see mirrors()
        target.open("wb") as file,
    ):
        while not stop.is_set() and (block := answer.read(_CHUNK)):
            file.write(block)


def _not_fetched(
    deb: Deb, mirrors: Sequence[str], refusals: Sequence[str], wrong: bool
) -> ChannelError | PackageError:
    """:param wrong: whether a mirror had another file under that name."""
    where, detail = ", ".join(mirrors), "\n".join(refusals)
    if wrong:
        return PackageError(
            f"the package {deb.name} is damaged or not the one that was asked for",
            where=where,
            hint="try another mirror",
            detail=detail,
        )
    return ChannelError(
        f"the package {deb.name} cannot be fetched",
        where=where,
        hint=f"check your network and proxy, or name a mirror with --mirror or {MIRROR_VARIABLE}",
        detail=detail,
    )


# -- unpacking ---------------------------------------------------------------------------------
def unpack(packages: Sequence[Deb], files: Sequence[Path], root: Path, advance: Advance) -> None:
    """Unpack packages into the new directory ``root``, without what a container has no use for.

    dpkg's own records are written, so that apt and scanners know what is in the image.

    :param files: of the packages, in their order; what is unpacked is what has the right hash, as
        others may write to a cache. :raises PackageError: a file is no package, or another one, or
        would write outside of ``root``.
    """
    root.mkdir()
    for name in _MERGED:
        (root / "usr" / name).mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(f"usr/{name}")
    status = []
    for number, (deb, path) in enumerate(zip(packages, files, strict=True)):
        try:
            members = _ar_members(path, deb.sha256)
            with _archive(members, "data.tar") as data:
                names = _extract(data, root.resolve())
            with _archive(members, "control.tar") as control:
                status.append(_record(control, names, root / "var/lib/dpkg/info"))
        except (OSError, tarfile.TarError, KeyError, ValueError) as error:
            if isinstance(error, OSError) and error.errno:
                raise
            raise PackageError(
                f"{path.name} cannot be unpacked: {error}", where=path, hint="fetch it anew"
            ) from None
        advance(number + 1, len(files))
    (root / "var/lib/dpkg/status").write_text("\n".join(status), encoding="utf-8")
    (root / "var/lib/dpkg/available").touch()


def _ar_members(path: Path, wanted: str) -> dict[str, bytes]:
    """ar(5): a header of 60 bytes before each member, which begin at even offsets."""
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != wanted:
        raise ValueError("it is not the file that was asked for any more")
    if not content.startswith(b"!<arch>\n"):
        raise ValueError("not an ar archive")
    members, at = {}, 8
    while at + 60 <= len(content):
        name, size = content[at : at + 16].decode().strip(), int(content[at + 48 : at + 58])
        members[name.rstrip("/")] = content[at + 60 : at + 60 + size]
        at += 60 + size + size % 2
    return members


def _archive(members: Mapping[str, bytes], name: str) -> tarfile.TarFile:
    found = next((key for key in members if key.startswith(name)), None)
    if found is None:
        raise ValueError(f"there is no {name} in it")
    return tarfile.open(fileobj=io.BytesIO(members[found]))


def _extract(data: tarfile.TarFile, root: Path) -> list[str]:
    """Members below ``root``; returns their names. Device files and set-id bits are left out."""
    names = []
    inside: set[Path] = set()  # a directory never becomes a link here: looked at once
    for member in data:
        name = os.path.normpath(member.name).lstrip("/")
        if name == "." or _LEFT_OUT.fullmatch(name):
            continue
        names.append(name)
        target = root / name
        if target.parent not in inside:
            if not target.parent.resolve().is_relative_to(root):
                raise ValueError(f"{name} is outside of the image")
            target.parent.mkdir(parents=True, exist_ok=True)
            inside.add(target.parent)
        if member.isdir():
            if not target.is_dir():
                target.mkdir()
        elif member.issym():
            if not target.is_dir():  # /bin -> usr/bin is there
                target.unlink(missing_ok=True)
                target.symlink_to(member.linkname)
        elif member.islnk():
            source = root / os.path.normpath(member.linkname).lstrip("/")
            if not source.parent.resolve().is_relative_to(root):
                raise ValueError(f"{name} is a link to what is outside of the image")
            target.unlink(missing_ok=True)
            target.hardlink_to(source)
        elif member.isfile():
            target.unlink(missing_ok=True)
            content = data.extractfile(member)
            assert content is not None
            with target.open("wb") as file:
                shutil.copyfileobj(content, file, _CHUNK)
            target.chmod(member.mode & 0o777 | 0o600)
    return names


def _record(control: tarfile.TarFile, names: Sequence[str], info: Path) -> str:
    """dpkg's record of a package: files in its ``info``; returns the entry for ``status``."""
    info.mkdir(parents=True, exist_ok=True)
    texts = {
        os.path.normpath(member.name): file.read()
        for member in control
        if (file := control.extractfile(member) if member.isfile() else None)
    }
    entry = texts["control"].decode("utf-8", "replace").rstrip("\n")
    fields = dict(re.findall(r"^([\w-]+): (.*)$", entry, re.M))
    name = fields["Package"]
    if fields.get("Multi-Arch") == "same":
        name = f"{name}:{fields['Architecture']}"
    for key in ("conffiles", "postinst", "postrm", "preinst", "prerm", "triggers", "shlibs"):
        if key in texts:
            (info / f"{name}.{key}").write_bytes(texts[key])
    (info / f"{name}.list").write_text("\n".join(["/.", *(f"/{n}" for n in names), ""]))
    first, _, rest = entry.partition("\n")
    return f"{first}\nStatus: install ok installed\n{rest}\n"


# -- what maintainer scripts do ----------------------------------------------------------------
def configure(root: Path) -> None:
    """Finish an unpacked system: accounts, name service, alternatives, certificates."""
    copies = {
        "usr/share/base-passwd/passwd.master": "etc/passwd",
        "usr/share/base-passwd/group.master": "etc/group",
        "usr/share/libc-bin/nsswitch.conf": "etc/nsswitch.conf",
    }
    for source, target in copies.items():
        if (root / source).is_file() and not (root / target).exists():
            shutil.copyfile(root / source, root / target)
    for name in ("etc/hosts", "etc/resolv.conf"):  # a runtime binds the host's over them
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()
    for link, path in sorted(_alternatives(root).items()):
        _link(root, link, path)
    _bundle_certificates(root)


def _alternatives(root: Path) -> dict[str, str]:
    """Links that ``update-alternatives --install LINK NAME PATH PRIORITY`` would make.

    Read from the scripts' texts, where they are written out; of several the highest priority
    counts. ``--slave`` links go with their master.
    """
    best: dict[str, tuple[int, dict[str, str]]] = {}
    for script in sorted((root / "var/lib/dpkg/info").glob("*.postinst")):
        text = script.read_text(encoding="utf-8", errors="replace").replace("\\\n", " ")
        for line in text.splitlines():
            words = line.split()
            if "--install" not in words:
                continue
            with contextlib.suppress(ValueError, IndexError):
                at = words.index("--install")
                link, _, path, priority = words[at + 1 : at + 5]
                links = {link: path, **_slaves(words[at + 5 :])}
                present = (root / path.lstrip("/")).exists()
                if present and int(priority) > best.get(link, (-1, {}))[0]:
                    best[link] = (int(priority), links)
    return {
        link: path
        for _, links in best.values()
        for link, path in links.items()
        if path.startswith("/") and (root / path[1:]).exists()
    }


def _slaves(words: Sequence[str]) -> dict[str, str]:
    return {
        words[at + 1]: words[at + 3]
        for at, word in enumerate(words)
        if word == "--slave" and at + 3 < len(words)
    }


def _link(root: Path, link: str, path: str) -> None:
    """``link`` leads to ``path``, both inside; what is there stays."""
    place = root / link.lstrip("/")
    if link.startswith("/") and not os.path.lexists(place) and place.parent.is_dir():
        place.symlink_to(path)


def _bundle_certificates(root: Path) -> None:
    files = sorted((root / "usr/share/ca-certificates/mozilla").glob("*.crt"))
    if files:
        bundle = root / "etc/ssl/certs/ca-certificates.crt"
        bundle.parent.mkdir(parents=True, exist_ok=True)
        bundle.write_bytes(b"".join(file.read_bytes() for file in files))
        # What update-ca-certificates reads, which packages that are added later call.
        names = (f"mozilla/{file.name}\n" for file in files)
        (root / "etc/ca-certificates.conf").write_text("".join(names), encoding="utf-8")
