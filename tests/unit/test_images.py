"""Finding base images: names, paths, digests, pulls; the runtime is a fake one."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.images import PRIMARY, SQUASHFS, sif_bytes, squashfs_bytes
from tests.unit.conftest import Program, names, without_powers
from wrapper.base.catalogue import Entry
from wrapper.base.find import (
    BaseImage,
    built_image,
    earlier_images,
    find_base,
    kept_image,
    own_image,
)
from wrapper.console import Console
from wrapper.errors import ChannelError, InputError, PackageError
from wrapper.runtime.runtime import Runtime

SIF = sif_bytes([(PRIMARY, SQUASHFS, squashfs_bytes())])
DIGEST = f"sha256:{hashlib.sha256(SIF).hexdigest()}"

Find = Callable[..., BaseImage]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "x.sif"
    path.write_bytes(SIF)
    return path


@pytest.fixture
def find(tmp_path: Path, program: Program, console: Console, image: Path) -> Find:
    """``find(name, **options)``; pulling copies ``x.sif`` and counts in ``pulls``."""
    script = (
        f'echo "$2" >>{tmp_path}/pulls; [ -e {tmp_path}/fail ] && cat {tmp_path}/fail && exit 1'
    )
    path = program("apptainer", f'{script}\ncp {image} "$3"')
    staging = tmp_path / "staging"
    staging.mkdir()

    def finder(name: str, **options: Any) -> BaseImage:
        settings: dict[str, Any] = {"catalogue": {}, "cache": tmp_path / "cache", **options}
        return find_base(
            name,
            runtime=Runtime(path=path, name="apptainer", version="1.4.5"),
            console=console,
            staging=staging,
            scratch=tmp_path,
            **settings,
        )

    return finder


def entry(name: str, source: str | Path, **more: Any) -> dict[str, Entry]:
    return {name: Entry(name=name, source=str(source), catalogue=Path("/c.toml"), **more)}


def test_a_file_is_referenced_by_its_real_path(
    find: Find, image: Path, tmp_path: Path, screen: io.StringIO
) -> None:
    link = tmp_path / "latest.sif"
    link.symlink_to(image)
    found = find(str(link))
    assert (found.path, found.digest) == (image, DIGEST)
    assert (found.size, found.owned, found.uri) == (len(SIF), False, "")
    assert found.reference == str(image)
    assert f"{link} leads to {image}" in screen.getvalue()


def digests(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "cache/images/digests").iterdir())


def test_a_file_is_hashed_once(find: Find, image: Path, tmp_path: Path) -> None:
    find(str(image))
    (record,) = digests(tmp_path)
    record.write_text(record.read_text().replace(DIGEST, "sha256:known"))
    assert find(str(image)).digest == "sha256:known"


def test_a_file_with_its_old_time_is_hashed_again(find: Find, image: Path) -> None:
    """Its owner can set the time of change of its content, but not the time of any change."""
    find(str(image))
    status = image.stat()
    image.write_bytes(SIF[:-1] + b"\1")
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert find(str(image)).digest != DIGEST


@pytest.mark.root("only root can give a file away")
@pytest.mark.parametrize("what", ["digests", "pulled", "image"])
def test_what_others_left_in_a_shared_cache_is_not_believed(
    what: str, find: Find, image: Path, tmp_path: Path
) -> None:
    """Answers of theirs ("this is what you pulled"), and images."""
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o2770)
    cache.chmod(0o2770)
    found = find("docker://hub/x:1")
    assert found.path.parent == cache / f"images/{os.geteuid()}", "each has images of their own"
    place = found.path if what == "image" else next((found.path.parent / what).iterdir())
    os.chown(place, 12345, -1)
    place.write_text(place.read_text().replace(DIGEST, "sha256:evil") if what != "image" else "x")
    again = find("docker://hub/x:1")
    assert (again.digest, again.path.read_bytes()) == (DIGEST, SIF)
    pulls = (tmp_path / "pulls").read_text().count("pull\n")
    assert pulls == (1 if what == "digests" else 2)


def test_a_copy_of_an_image_that_is_exchanged_meanwhile(
    find: Find, tmp_path: Path, console: Console
) -> None:
    found = find("docker://hub/x:1", cache=_shared(tmp_path))
    found.path.write_bytes(SIF[:-1] + b"\1")
    with pytest.raises(PackageError, match="was exchanged while it was copied"):
        own_image(found, tmp_path, console=console)


def test_an_image_where_others_could_exchange_it_becomes_ones_own(
    find: Find, tmp_path: Path, console: Console
) -> None:
    """A further name of the same file: what is put in its place in the cache changes nothing."""
    cache = _shared(tmp_path)
    found = find("docker://hub/x:1", cache=cache)
    own = kept_image(found, tmp_path, cache, console=console)
    assert own.owned and own.path == tmp_path / "container.sif"
    assert own.path.samefile(found.path)
    shutil.rmtree(cache)
    assert own.path.read_bytes() == SIF and own.reference == "container.sif"


def test_an_image_that_others_could_write_to_is_copied(
    find: Find, tmp_path: Path, console: Console
) -> None:
    cache = _shared(tmp_path)
    found = find("docker://hub/x:1", cache=cache)
    found.path.chmod(0o664)
    own = kept_image(found, tmp_path, cache, console=console)
    assert own.owned and not own.path.samefile(found.path)
    assert stat.S_IMODE(own.path.stat().st_mode) == 0o644


def test_an_image_that_was_exchanged_since_it_was_hashed(
    find: Find, tmp_path: Path, console: Console
) -> None:
    cache = _shared(tmp_path)
    found = find("docker://hub/x:1", cache=cache)
    found.path.unlink()
    found.path.write_bytes(SIF[:-1] + b"\1")
    with pytest.raises(PackageError, match="was exchanged"):
        kept_image(found, tmp_path, cache, console=console)
    assert not (tmp_path / "container.sif").exists()


def test_an_image_that_nobody_can_exchange_stays_where_it_is(
    find: Find, image: Path, tmp_path: Path, console: Console
) -> None:
    cache = _shared(tmp_path)
    named = find(str(image), cache=cache)
    assert kept_image(named, tmp_path, cache, console=console) == named, "as the user named it"
    own_cache = tmp_path / "cache"
    pulled = find("docker://hub/x:1", cache=own_cache)
    assert kept_image(pulled, tmp_path, own_cache, console=console) == pulled


def _shared(tmp_path: Path) -> Path:
    cache = tmp_path / "shared"
    cache.mkdir()
    cache.chmod(0o2770)
    return cache


def test_names_of_the_catalogue(find: Find, image: Path, tmp_path: Path) -> None:
    found = find("base", catalogue=entry("base", image, digest=DIGEST))
    assert found.path == image and found.entry and found.entry.name == "base"
    with pytest.raises(PackageError, match="not the one that its catalogue names"):
        find("base", catalogue=entry("base", image, digest=f"sha256:{'0' * 64}"))
    with pytest.raises(InputError, match="has gone"):
        find("base", catalogue=entry("base", tmp_path / "none.sif"))
    (tmp_path / "base.def").write_text("Bootstrap: docker\n")
    with pytest.raises(InputError, match="not built yet") as caught:
        find("base", catalogue=entry("base", tmp_path / "base.def"))
    assert f"another CONTAINERIZE_CACHE_DIR than {tmp_path}/cache" in caught.value.hint
    with pytest.raises(InputError, match="not built yet") as caught:
        find("base", catalogue=entry("base", tmp_path / "base.def"), cache=None)
    assert "and name the file that it writes" in caught.value.hint
    with pytest.raises(InputError, match="no such image") as caught:
        find("bsae", catalogue=entry("base", image))
    assert "did you mean base?" in caught.value.hint


def test_each_state_of_a_definition_has_its_image(tmp_path: Path) -> None:
    """The definition, its list of packages and the files that it copies."""
    definition, lock, copied = (tmp_path / name for name in ("b.def", "b.lock", "version"))
    (base,) = entry("b", definition).values()
    (longer,) = entry("b-long", definition).values()

    def image() -> Path:
        path = built_image(base, tmp_path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        return path

    definition.write_text("Bootstrap: docker\n%files\nversion /etc/version\n")
    copied.write_text("1\n")
    seen = [image()]
    lock.write_text(f"# a comment\n{'0' * 64}  1  pool/a.deb\n")
    seen.append(image())
    lock.write_text(f"{'1' * 64}  1  pool/a.deb\n")
    seen.append(image())
    copied.write_text("2\n")
    seen.append(image())
    assert len(set(seen)) == 4
    built_image(longer, tmp_path).touch()
    assert earlier_images(base, tmp_path) == sorted(seen[:-1])
    lock.write_text(f"# another\n{'1' * 64}  1  pool/a.deb\n")
    assert image() == seen[-1], "what is said about the packages is no part of the image"


def test_a_definition_file_is_no_image(find: Find, tmp_path: Path) -> None:
    (tmp_path / "x.def").write_text("Bootstrap: docker\n")
    with pytest.raises(InputError, match="is a definition file"):
        find(str(tmp_path / "x.def"))


def test_a_uri_is_pulled_once(find: Find, tmp_path: Path, screen: io.StringIO) -> None:
    first, second = find("docker://hub/x:1"), find("docker://hub/x:1")
    assert first.path == second.path == tmp_path / f"cache/images/{DIGEST.replace(':', '-')}.sif"
    assert not first.owned and first.uri == "docker://hub/x:1"
    assert (tmp_path / "pulls").read_text() == "pull\n"
    assert "docker://hub/x:1 was pulled on" in screen.getvalue()
    assert names(tmp_path / "cache/images") == {"pulled", "digests", first.path.name}


def test_a_cache_that_others_fill(find: Find, open_place: Path) -> None:
    """A site's cache is read-only for its users: what is there serves, nothing else can be got."""
    cache = open_place / "cache"
    cache.mkdir(mode=0o755)
    found = find("docker://hub/x:1", cache=cache)
    for path in (cache / "images", *(cache / "images").iterdir()):
        path.chmod(0o555 if path.is_dir() else 0o444)
    with without_powers():
        assert find("docker://hub/x:1", cache=cache).path == found.path
        with pytest.raises(InputError, match="cache directory cannot be used: no permission"):
            find("docker://hub/x:2", cache=cache)


def test_a_pull_that_was_killed(find: Find, tmp_path: Path) -> None:
    found = find("docker://hub/x:1")
    (record,) = (tmp_path / "cache/images/pulled").iterdir()
    draft = tmp_path / f"cache/users/{os.geteuid()}/pulling/{record.stem}.sif"
    draft.write_bytes(b"half")
    record.unlink()
    assert find("docker://hub/x:1").path == found.path
    assert not draft.exists()


def test_a_pulled_image_that_changed_is_pulled_again(find: Find, tmp_path: Path) -> None:
    found = find("docker://hub/x:1")
    with found.path.open("r+b") as file:
        file.truncate(1000)
    assert find("docker://hub/x:1").digest == DIGEST
    assert find("docker://hub/x:1").path == found.path, "the same image has the same name"
    assert (tmp_path / "pulls").read_text() == "pull\npull\n"


def test_a_local_archive_that_changed_is_read_again(find: Find, tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    archive.write_text("1")
    find(f"docker-archive:{archive}")
    find(f"docker-archive:{archive}")
    archive.write_text("12")
    find(f"docker-archive:{archive}")
    assert (tmp_path / "pulls").read_text() == "build\nbuild\n"


def test_a_local_archive_by_its_other_names(
    find: Find, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runtimes drop two slashes at the beginning: both are the same file."""
    archive = tmp_path / "a.tar"
    monkeypatch.chdir(tmp_path)
    for text in ("1", "12"):
        archive.write_text(text)
        for name in (archive, "a.tar", "//a.tar", f"//{archive}"):
            find(f"docker-archive:{name}")
    find("docker-archive:a.tar:x:1")
    assert (tmp_path / "pulls").read_text() == "build\n" * 3


def test_a_directory_that_is_no_oci_image(find: Find, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "fail").write_text("no such file")
    with pytest.raises(ChannelError, match="cannot pull oci:"):
        find(f"oci:{tmp_path / 'empty'}")


def test_without_a_cache_the_installation_owns_it(find: Find, tmp_path: Path) -> None:
    found = find("docker://hub/x:1", cache=None)
    assert found.owned and found.path == tmp_path / "staging/container.sif"
    assert found.reference == "container.sif"


@pytest.mark.parametrize("mask", [0o007, 0o077])
def test_colleagues_can_read_what_was_pulled(
    find: Find, umask: Callable[[int], int], mask: int
) -> None:
    umask(mask)
    found = find("docker://hub/x:1")
    assert stat.S_IMODE(found.path.stat().st_mode) == 0o644
    assert stat.S_IMODE(found.path.parent.stat().st_mode) == 0o755


def test_a_copy_for_the_installation(
    find: Find, image: Path, tmp_path: Path, console: Console
) -> None:
    copy = own_image(find(str(image)), tmp_path / "staging", console=console)
    assert copy.owned and copy.path.read_bytes() == SIF
    assert copy.digest == DIGEST


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        ("FATAL: unauthorized: authentication required", "log in first"),
        ("dial tcp: lookup hub: no such host", "no way to the registry"),
        ("connect: connection refused", "no way to the registry"),
        ("reading manifest 1 in hub/x: manifest unknown", "check the name and the tag"),
        ("FATAL: no default remote with library client in use", "knows no library"),
        ("http: server gave HTTP response to HTTPS client", "APPTAINER_NOHTTPS=1"),
        ("something else", "check the name, your network"),
    ],
)
def test_pulls_that_fail(find: Find, tmp_path: Path, answer: str, hint: str) -> None:
    (tmp_path / "fail").write_text(answer)
    with pytest.raises(ChannelError, match="cannot pull docker://hub/x:1") as caught:
        find("docker://hub/x:1")
    assert hint in caught.value.hint and answer in caught.value.detail
    assert names(tmp_path / "cache/images") == {"pulled"}
    assert names(tmp_path / "cache/images/pulled") == set()


def test_an_unknown_scheme(find: Find, tmp_path: Path) -> None:
    (tmp_path / "fail").write_text("unknown")
    with pytest.raises(InputError, match="no such image: nowhere:x"):
        find("nowhere:x")
