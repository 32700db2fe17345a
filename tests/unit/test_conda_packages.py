"""Conda packages from a channel to a tree: hashes, and what they may put where."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rattler import PackageRecord, PrefixRecord, RepoDataRecord
from rattler.package import BuildString

from tests import hostile
from tests.channel.serve import serve
from tests.hostile import link, listed
from wrapper.conda.contents import check_contents
from wrapper.conda.fetch import fetch
from wrapper.conda.install import link_packages
from wrapper.errors import ChannelError, PackageError

Fetch = Callable[..., list[RepoDataRecord]]


def record(archive: Path, url: str = "", **hashes: bytes | None) -> RepoDataRecord:
    """What a channel says of an archive; ``sha256=None`` to say nothing."""
    name, version, _ = archive.name.split("-")
    said = {"sha256": hashlib.sha256(archive.read_bytes()).digest(), **hashes}
    package = PackageRecord(
        name=name,
        version=version,
        build=BuildString("0"),
        build_number=0,
        subdir="noarch",
        depends=[],
        **said,
    )
    return RepoDataRecord(package, archive.name, url or archive.as_uri(), archive.parent.as_uri())


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return hostile.write_package(tmp_path / "channel", {"share/x": "x"}, [listed("share/x")])


@pytest.fixture
def get(tmp_path: Path) -> Fetch:
    """Fetch into ``unpacked`` with the cache ``cache``, each time anew."""
    count = 0

    def run(*records: RepoDataRecord) -> list[RepoDataRecord]:
        nonlocal count
        count += 1
        unpacked = tmp_path / f"unpacked-{count}"
        return fetch(records, cache=cache, unpacked=unpacked, advance=lambda done, total: None)

    cache = tmp_path / "cache"
    cache.mkdir()
    tmp_path.chmod(0o755)
    return run


def kept(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache").rglob("*") if path.is_file())


def md5(path: Path) -> bytes:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).digest()


# -- hashes ----------------------------------------------------------------------------------------
def test_a_package_has_what_its_archive_says_of_itself(get: Fetch, good: Path) -> None:
    (local,) = get(record(good))
    assert local.sha256 == hashlib.sha256(good.read_bytes()).digest()
    assert (local.md5, local.size) == (md5(good), good.stat().st_size)


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_another_archive_than_the_one_asked_for(kind: str, get: Fetch, good: Path) -> None:
    hashes: dict[str, bytes | None] = {"sha256": None, "md5": None}
    hashes[kind] = bytes(32 if kind == "sha256" else 16)
    with pytest.raises(PackageError, match="damaged or not the one") as caught:
        get(record(good, **hashes))
    assert f"{kind} expected 0000" in caught.value.detail


def test_a_damaged_archive_is_told_by_its_hash(get: Fetch, good: Path) -> None:
    asked = record(good)
    good.write_bytes(good.read_bytes()[:500])
    with pytest.raises(PackageError, match="damaged or not the one"):
        get(asked)
    with pytest.raises(PackageError, match="cannot be read"):
        get(record(good))


def test_an_archive_that_is_another_package_by_its_own_word(get: Fetch, tmp_path: Path) -> None:
    index = {"version": "2"}
    archive = hostile.write_package(tmp_path / "channel", {}, [], index=index)
    with pytest.raises(PackageError, match="another one by its own word") as caught:
        get(record(archive))
    assert caught.value.detail == "hostile 1 0 expected\nhostile 2 0 found"


def test_what_another_put_into_the_cache_is_not_used(
    get: Fetch, good: Path, tmp_path: Path
) -> None:
    with serve(good.parent) as url:
        asked = record(good, f"{url}/{good.name}")
        get(asked)
        (archive,) = (tmp_path / "cache/archives").glob("*/*")
        evil = hostile.write_package(tmp_path / "evil", {"share/e": "e"}, [listed("share/e")])
        archive.write_bytes(evil.read_bytes())
        get(asked)
        assert archive.read_bytes() == good.read_bytes(), "it was fetched again"
    assert not list((tmp_path / "unpacked-2").rglob("e"))
    assert get(asked), "and is there for the next, without the channel"


def test_what_is_exchanged_while_it_is_used_is_not_used(
    get: Fetch, good: Path, tmp_path: Path
) -> None:
    """A neighbour exchanges the archive all the time: the good one is installed, or none."""
    (tmp_path / "cache").chmod(0o2775)
    evil = hostile.write_package(tmp_path / "evil", {"share/e": "e"}, [listed("share/e")])
    stop = threading.Event()

    def exchange(archive: Path) -> None:
        while not stop.is_set():
            for content in (evil, good):
                draft = archive.with_name("draft")
                draft.write_bytes(content.read_bytes())
                draft.replace(archive)

    with serve(good.parent) as url:
        asked = record(good, f"{url}/{good.name}")
        get(asked)
        (archive,) = (tmp_path / "cache/archives").glob("*/*")
        thread = threading.Thread(target=exchange, args=(archive,))
        thread.start()
        try:
            for _ in range(30):
                get(asked)
        finally:
            stop.set()
            thread.join()
    assert not list(tmp_path.glob("unpacked-*/*/share/e"))
    assert len(list(tmp_path.glob("unpacked-*/*/share/x"))) == 31


@pytest.mark.parametrize(
    ("mode", "hashes", "names"),
    [
        (0o755, {"sha256": None}, []),
        (0o755, {"sha256": None, "md5": True}, ["hostile-1-0.conda"]),
        (0o755, {}, ["hostile-1-0.conda"]),
        (0o2775, {"sha256": None}, []),
        (0o2775, {"sha256": None, "md5": True}, []),
        (0o2775, {}, ["hostile-1-0.conda"]),
    ],
)
def test_what_is_kept(
    mode: int, hashes: dict[str, Any], names: list[str], get: Fetch, good: Path
) -> None:
    """Without a hash nothing is, and with an MD5 only where nobody else can write."""
    tmp_path = good.parents[1]
    (tmp_path / "cache").chmod(mode)
    if hashes.get("md5"):
        hashes = {**hashes, "md5": md5(good)}
    with serve(good.parent) as url:
        get(record(good, f"{url}/{good.name}", **hashes))
    assert kept(tmp_path) == names


def test_a_download_that_fails_leaves_nothing(get: Fetch, good: Path, tmp_path: Path) -> None:
    with serve(good.parent) as url:
        with pytest.raises(ChannelError, match="cannot download"):
            get(record(good, f"{url}/missing/{good.name}"))
        with pytest.raises(PackageError, match="damaged"):
            get(record(good, f"{url}/{good.name}", sha256=bytes(32)))
    assert kept(tmp_path) == []
    assert list(tmp_path.glob("unpacked-*/*")) == []


def test_a_file_name_is_no_path(get: Fetch, good: Path, tmp_path: Path) -> None:
    asked = record(good)
    asked.file_name = "../../../hostile-1-0.conda"
    with pytest.raises(PackageError, match="not the name of a package's file"):
        get(asked)


# -- what goes where -------------------------------------------------------------------------------
Install = Callable[..., Path]


@pytest.fixture
def install(get: Fetch, tmp_path: Path) -> Install:
    """Fetch and link packages; returns the tree."""
    calls = 0

    def run(*archives: Path, installed: tuple[PrefixRecord, ...] = ()) -> Path:
        nonlocal calls
        calls += 1
        tree = tmp_path / "build/image/tree"
        tree.mkdir(parents=True, exist_ok=True)
        link_packages(
            get(*map(record, archives)),
            installed=installed,
            urls={},
            tree=tree,
            install_path="/containerize-test",
            unpacked=tmp_path / f"unpacked-{calls}",
            advance=lambda done, total: None,
        )
        return tree

    return run


def test_an_ordinary_package_is_installed(install: Install, good: Path) -> None:
    tree = install(good)
    assert (tree / "share/x").read_text() == "x"
    meta = json.loads((tree / "conda-meta/hostile-1-0.json").read_text())
    assert meta["files"] == ["share/x"]


def test_package_in_the_old_format(install: Install, tmp_path: Path) -> None:
    members = {"share/x": "x", "share/l": link("x"), "share/out": link("/etc/hostname")}
    kinds = {"share/x": "hardlink", "share/l": "softlink", "share/out": "softlink"}
    paths = [listed(name, kind=kind) for name, kind in kinds.items()]
    tree = install(hostile.write_package(tmp_path / "c", members, paths, extension=".tar.bz2"))
    assert (tree / "share/l").readlink() == Path("x")
    assert (tree / "share/out").is_symlink(), "a link may lead anywhere: it is only a text"


@pytest.mark.parametrize("extension", [".conda", ".tar.bz2"])
@pytest.mark.parametrize(
    "path", ["../victim", "share/../../victim", "/victim", "conda-meta/other-1-0.json"]
)
def test_a_path_out_of_the_environment(
    path: str, extension: str, install: Install, tmp_path: Path
) -> None:
    victim = tmp_path / "build/image/victim"
    victim.parent.mkdir(parents=True)
    victim.write_text("precious")
    where = path.replace("/victim", str(victim)) if path.startswith("/") else path
    paths = [listed("share/x"), listed(where)]
    archive = hostile.write_package(
        tmp_path / "channel", {"share/x": "x", where: "x"}, paths, extension=extension
    )
    with pytest.raises(PackageError, match=f"package hostile-1-0{extension} has a ") as caught:
        install(archive)
    assert caught.value.detail == where
    assert victim.read_text() == "precious"
    assert list((tmp_path / "build/image/tree").iterdir()) == [], "nothing at all was linked"


@pytest.mark.parametrize("target", ["{out}", "../../../../../..{out}", "second"])
def test_a_file_through_a_link_that_leads_out(
    target: str, install: Install, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    links = {"share/d": link(target.format(out=out)), "share/second": link(str(out))}
    kinds = [listed(name, kind="softlink") for name in links]
    first = hostile.write_package(tmp_path / "c", links, kinds, name="first")
    second = hostile.write_package(
        tmp_path / "c", {"share/d/x": "x"}, [listed("share/d/x")], name="second"
    )
    with pytest.raises(PackageError, match="goes through a link"):
        install(first, second)
    assert list(out.iterdir()) == []


def test_a_file_through_a_link_that_stays_inside(get: Fetch, tmp_path: Path) -> None:
    """Our check lets it pass. (Whether rattler links the link or the file first is chance, and the
    other is then put aside, or fails.)
    """
    links = {"lib64": link("lib"), "share/up": link("../lib64/a")}
    kinds = [listed(name, kind="softlink") for name in links]
    first = hostile.write_package(tmp_path / "c", links, kinds, name="first")
    members = {"lib64/b": "b", "lib/a/x": "a", "share/up/y": "y"}
    paths = [listed(name) for name in members]
    second = hostile.write_package(tmp_path / "c", members, paths, name="second")
    archives = get(record(first), record(second))
    check_contents(
        archives, (), urls={}, unpacked=tmp_path / "unpacked-1", tree=tmp_path / "build/image/tree"
    )
    outwards = hostile.write_package(
        tmp_path / "c", {"lib64": link("/")}, [listed("lib64", kind="softlink")], name="third"
    )
    with pytest.raises(PackageError):
        check_contents(
            get(record(outwards), record(second)),
            (),
            urls={},
            unpacked=tmp_path / "unpacked-2",
            tree=tmp_path / "build/image/tree",
        )


def test_a_program_whose_name_is_a_path(install: Install, tmp_path: Path) -> None:
    points = ["good = m:f", "../../evil = m:f"]
    archive = hostile.write_package(
        tmp_path / "c", {"site-packages/m.py": ""}, [listed("site-packages/m.py", b"")],
        entry_points=points,
    )  # fmt: skip
    with pytest.raises(PackageError, match="a program whose name is a path") as caught:
        install(archive)
    assert caught.value.detail == "../../evil"


def test_modules_through_a_link_that_leads_out(install: Install, tmp_path: Path) -> None:
    """A noarch package's files are put where Python's modules are."""
    (tmp_path / "out").mkdir()
    links = {"lib/python3.11": link(str(tmp_path / "out"))}
    python = hostile.write_package(
        tmp_path / "c",
        links,
        [listed("lib/python3.11", kind="softlink")],
        name="python",
        version="3.11.2",
    )
    module = hostile.write_package(
        tmp_path / "c",
        {"site-packages/m.py": ""},
        [listed("site-packages/m.py", b"")],
        entry_points=["m = m:f"],
    )
    with pytest.raises(PackageError, match="goes through a link"):
        install(python, module)


def test_a_record_that_names_files_of_the_host(
    install: Install, good: Path, tmp_path: Path
) -> None:
    """An image that somebody else made: what its packages list is removed with them."""
    tree = install(good)
    victim = tmp_path / "build/image/victim"
    victim.write_text("precious")
    meta = tree / "conda-meta/hostile-1-0.json"
    data = json.loads(meta.read_text())
    data["files"].append("../victim")
    data["paths_data"]["paths"].append({**data["paths_data"]["paths"][0], "_path": "../victim"})
    meta.write_text(json.dumps(data))
    other = hostile.write_package(tmp_path / "c", {"o": "o"}, [listed("o", b"o")], name="other")
    with pytest.raises(PackageError, match="package hostile 1 has a path out"):
        install(other, installed=(PrefixRecord.from_path(meta),))
    assert victim.read_text() == "precious"
