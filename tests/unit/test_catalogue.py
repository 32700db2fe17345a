"""Catalogues of base images."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from wrapper import bundled
from wrapper.base import catalogue
from wrapper.base.catalogue import Listing, facts_of_name, nearest, read_catalogue, read_catalogues
from wrapper.base.definition import read_definition
from wrapper.errors import InputError
from wrapper.settings import load


def write(path: Path, text: str) -> Path:
    path.write_text(f"format = 1\n{text}")
    return path


def test_an_entry(tmp_path: Path) -> None:
    path = write(
        tmp_path / "c.toml",
        f'[images.gpu]\nsource = "gpu.def"\npurpose = "GPUs"\nrocm = "6.2.4"\n'
        f'gpu = ["gfx90a", "gfx942"]\nsha256 = "{"AB" * 32}"\n'
        '[images.hub]\nsource = "docker://hub/x:1"\n',
    )
    gpu, hub = read_catalogue(path)
    assert gpu.source == str(tmp_path / "gpu.def") and gpu.is_definition and not gpu.is_uri
    assert gpu.facts == {"rocm": "6.2.4", "gpu": "gfx90a gfx942"}
    assert gpu.digest == f"sha256:{'ab' * 32}"
    assert hub.is_uri and not hub.is_definition and not hub.digest


def test_a_directory_of_images(tmp_path: Path) -> None:
    for name in ("a.sif", "b.sif", "readme.txt", "other.sif"):
        (tmp_path / name).touch()
    path = write(
        tmp_path / "c.toml",
        '[[directories]]\npath = "."\npattern = "[ab]*"\npurpose = "site"\nmpi = "MPICH"\n'
        '[[directories]]\npath = "/no/such/place"\n',
    )
    found = {entry.name: entry for entry in read_catalogue(path)}
    assert set(found) == {"a", "b"}
    assert found["a"].source == str(tmp_path / "a.sif")
    assert found["a"].purpose == "site" and found["a"].facts == {"mpi": "MPICH"}


def test_a_directory_for_each_release(tmp_path: Path) -> None:
    """As the AI Factory has them on LUMI, and a link that moves beside them."""
    (site,) = load({"CONTAINERIZE_SITE": "lumi"}).base_images
    laifs = tmp_path / "laifs/containers"
    text = site.read_text().replace("/appl/local/laifs/containers", str(laifs))
    names = (
        "lumi-multitorch-full-u24r72f21m50t211-20260929_104918",
        "lumi-multitorch-rocm-u24r72-1",
    )
    for name in names:
        release = laifs / f"lumi-multitorch-{name.rpartition('-')[2]}"
        release.mkdir(parents=True)
        (release / f"{name}.sif").touch()
        (release / "sbom.json").touch()
    (laifs / "lumi-multitorch-latest.sif").symlink_to(release / f"{name}.sif")
    (tmp_path / "c.toml").write_text(text)
    found = {entry.name: entry for entry in read_catalogue(tmp_path / "c.toml")}
    assert set(found) == {*names, "lumi-multitorch-latest"}
    assert found[names[0]].facts["rocm"] == "7.2" and found[names[0]].facts["torch"] == "2.11"
    assert found["lumi-multitorch-latest"].source == str(laifs / "lumi-multitorch-latest.sif")


def test_a_directory_that_gives_no_answer_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And told, once for all that the same file system has."""
    monkeypatch.setattr(catalogue, "_LOOK", "import time; time.sleep(60)")
    told: list[str] = []
    look = Listing(told.append, 0.3)
    path = write(
        tmp_path / "c.toml",
        '[images.x]\nsource = "/x.sif"\n[[directories]]\npath = "."\n'
        '[[directories]]\npath = "more"\n',
    )
    begin = time.monotonic()
    assert [entry.name for entry in read_catalogue(path, "", look)] == ["x"]
    assert read_catalogue(tmp_path, "", look) == []
    assert time.monotonic() - begin < 5
    (text,) = told
    assert text.startswith(f"{tmp_path} gave no answer within 0 s")
    assert f"all below /{tmp_path.parts[1]}, are left out" in text


def test_a_directory_that_cannot_be_looked_into_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = "from pathlib import Path\ndef no(*_): raise PermissionError(13, 'not yours')\n"
    monkeypatch.setattr(catalogue, "_LOOK", f"{refusing}Path.is_dir = no\n{catalogue._LOOK}")
    told: list[str] = []
    assert Listing(told.append).files(tmp_path, "*") == []
    assert told == [f"{tmp_path} cannot be looked into: not yours; images there are left out"]


def test_of_a_directory_at_a_root_without_it_nobody_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(catalogue.process, "capture", lambda *_, **__: pytest.fail("asked"))
    assert Listing().files(Path("/no-such-place/images"), "*") is None


def test_the_users_catalogue_comes_first(tmp_path: Path) -> None:
    first = write(tmp_path / "1.toml", '[images.x]\nsource = "/1.sif"\n')
    second = write(tmp_path / "2.toml", '[images.x]\nsource = "/2.sif"\n')
    images = tmp_path / "images"
    images.mkdir()
    (images / "minimal.sif").touch()
    environ = {"CONTAINERIZE_BASE_IMAGES": f"{images}:{first}"}
    entries = read_catalogues(environ, [second])
    assert entries["x"].source == "/1.sif"
    assert entries["minimal"].source == str(images / "minimal.sif")


def test_the_catalogues_that_come_with_it() -> None:
    """They are valid, and every definition has its list of packages."""
    (site,) = load({"CONTAINERIZE_SITE": "lumi"}).base_images
    assert site == bundled.directory("sites") / "lumi-base-images.toml"
    entries = read_catalogues({}, [site])
    assert {"minimal", "python", "mpich", "rocm"} <= set(entries)
    for entry in entries.values():
        if entry.is_definition:
            definition = read_definition(Path(entry.source))
            assert len(definition.packages) > 50 and definition.snapshot
            assert all(source.is_file() for source, _ in definition.files)
            title = definition.labels["org.opencontainers.image.title"]
            assert title == f"containerize-{entry.name}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[images.x]\npurpose = "y"\n', "'source' is missing"),
        ('[images.x]\nsource = "a"\nrocmm = "6"\n', "unknown key 'rocmm'"),
        ('[images.x]\nsource = "a"\nrocm = 6.2\n', "'rocm' is no text"),
        ('[images.x]\nsource = "a"\nsha256 = "12"\n', "'12' is no SHA-256"),
        ('[images."../x"]\nsource = "a.def"\n', "'../x' cannot be the name of an image"),
        ("[images]\nx = 1\n", "an entry is no table"),
        ('[[directories]]\npattern = "*"\n', "'path' is missing"),
        ('[[directories]]\npath = "/"\npattern = "/appl/*.sif"\n', "is no pattern for names"),
        ("images = 1\n", "has no tables"),
        ("directories = 1\n", "has no tables"),
        ("[images.x\n", "is not valid TOML"),
    ],
)
def test_wrong_catalogues(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "c.toml", text)
    with pytest.raises(InputError, match=message) as caught:
        read_catalogue(path)
    assert caught.value.where == str(path)


def test_a_catalogue_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(b"format = 1\n# \xe9\n")
    with pytest.raises(InputError, match="is not valid TOML"):
        read_catalogue(path)


def test_a_catalogue_of_another_format(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("format = 2\n")
    with pytest.raises(InputError, match="format = 1"):
        read_catalogue(path)


def test_a_missing_catalogue(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such catalogue") as caught:
        read_catalogues({"CONTAINERIZE_BASE_IMAGES": str(tmp_path / "none")})
    assert caught.value.hint == "CONTAINERIZE_BASE_IMAGES names it"
    with pytest.raises(InputError, match="no such catalogue") as caught:
        read_catalogues({}, [tmp_path / "none"])
    assert "the site's file" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        (
            "lumi-multitorch-full-u24r64f21m43t29-20260225_144743.sif",
            "Ubuntu 24.04|6.4|2.1|MPICH 4.3|2.9",
        ),
        ("lumi-multitorch-rocm-u24r64-20260225_144743.sif", "Ubuntu 24.04|6.4|||"),
        ("lumi-multitorch-torch-u22r70f22m50t210-2026.sif", "Ubuntu 22.04|7.0|2.2|MPICH 5.0|2.10"),
    ],
)
def test_codes_in_names(name: str, facts: str) -> None:
    keys = ("os", "rocm", "libfabric", "mpi", "torch")
    found = facts_of_name(name)
    assert "|".join(found.get(key, "") for key in keys) == facts


def test_words_in_names() -> None:
    name = "lumi-pytorch-rocm-6.2.4-python-3.12-pytorch-v2.7.1.sif"
    assert facts_of_name(name) == {"rocm": "6.2.4", "python": "3.12", "torch": "2.7.1"}
    assert facts_of_name("ubuntu.sif") == {}


def test_near_names_are_offered(tmp_path: Path) -> None:
    path = write(tmp_path / "c.toml", '[images.minimal]\nsource = "/x.sif"\n')
    entries = {entry.name: entry for entry in read_catalogue(path)}
    assert "did you mean minimal?" in nearest("minmal", entries)
    assert "did you mean" not in nearest("zzz", entries)
    assert "(./zzz)" in nearest("zzz", entries) and "(./" not in nearest("./zzz", entries)
