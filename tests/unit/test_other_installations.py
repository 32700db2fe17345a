"""Other installations that are to be there too: which, and what is bound of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.manifests import manifest
from wrapper import platforms
from wrapper.console import Console
from wrapper.errors import InputError
from wrapper.manifest import write_manifest
from wrapper.prefix.other_installations import Other, find
from wrapper.settings import load

SILENT = Console(-2)


def installation(root: Path, **keys: Any) -> Path:
    generation = root / ".generations/1"
    generation.mkdir(parents=True)
    (root / "current").symlink_to(".generations/1")
    write_manifest(generation / "manifest.json", manifest(**keys))
    return root


def found(*asked: Path | str, before: Any = (), of_site: Any = (), own: str = "/own") -> list[Path]:
    words = [str(word) for word in asked]
    others = find(words, map(str, before), of_site, own=Path(own), console=SILENT)
    return [other.prefix for other in others]


# -- which ---------------------------------------------------------------------------------------
def test_an_update_keeps_those_before_unless_it_names_some(tmp_path: Path) -> None:
    one, two, sites = (installation(tmp_path / name) for name in ("one", "two", "sites"))
    assert found(before=[one], of_site=[sites]) == [sites, one]
    assert found(two, before=[one], of_site=[sites]) == [sites, two]
    assert found("none", before=[one], of_site=[sites]) == []
    assert found("none", two, before=[one], of_site=[sites]) == [two]


def test_each_is_there_once_by_its_physical_path_and_itself_is_not(tmp_path: Path) -> None:
    one = installation(tmp_path / "one")
    (tmp_path / "link").symlink_to(one)
    assert found(one, tmp_path / "link", f"{one}/", of_site=[one]) == [one]
    assert found(one, own=str(tmp_path / "link")) == []


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        (None, "is no installation"),
        ({"base": {"kind": "image", "name": "base"}}, "a system of its own"),
        ({"machine": "riscv64"}, f"built for riscv64, and this is {platforms.machine()}"),
    ],
)
def test_what_cannot_be_had(tmp_path: Path, keys: dict[str, Any] | None, told: str) -> None:
    """An error where the command line names it, else a warning."""
    path = tmp_path / "other"
    if keys is not None:
        installation(path, **keys)
    with pytest.raises(InputError, match=told) as error:
        found(path)
    assert error.value.where == f"--with {path}" and error.value.hint
    assert found(before=[path]) == found(of_site=[path]) == []


def test_a_path_that_no_bind_can_express(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a bind cannot express the path /"):
        found(installation(tmp_path / "a:b"))


@pytest.mark.parametrize(
    "keys",
    [
        {"install_path": "relative"},
        {"install_path": ""},
        {"install_path": "/x:/etc"},
        {"install_path": "/x/.."},
        {"image_root": "/x,/tmp/passwd:/etc/passwd"},
        {"mask": True, "source": "opt/tool"},
        {"mask": True, "source": '/opt/"tool'},
    ],
)
def test_a_place_inside_that_no_bind_can_express(tmp_path: Path, keys: dict[str, Any]) -> None:
    """A manifest of somebody else's may say anything."""
    with pytest.raises(InputError, match="where nothing can be bound"):
        found(installation(tmp_path / "other", **keys))


def test_the_sites_are_beside_its_file(tmp_path: Path) -> None:
    file = tmp_path / "site.yml"
    file.write_text("installations: [tools, /appl/more]\n")
    site = load({"CONTAINERIZE_SITE": str(file)})
    assert site.installations == (tmp_path / "tools", Path("/appl/more"))


# -- what is bound -------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("keys", "binds"),
    [
        ({}, ("{image}:/containerize-x:image-src=/containerize-x", "{programs}")),
        (
            {"install_path": "/LUMI_x/envs/env1", "image_root": "/LUMI_x"},
            ("{image}:/LUMI_x:image-src=/", "{programs}"),
        ),
        (
            {"mask": True, "source": "{there}/tool"},
            (
                "{image}:/containerize-x:image-src=/containerize-x",
                "{image}:{there}/tool:image-src=/containerize-x",
                "{programs}",
            ),
        ),
        (
            {"mask": True, "source": "{prefix}"},
            (
                "{image}:/containerize-x:image-src=/containerize-x",
                "{image}:{prefix}:image-src=/containerize-x",
            ),
        ),
        (
            {"mask": True, "source": "/no/such"},
            ("{image}:/containerize-x:image-src=/containerize-x", "{programs}"),
        ),
    ],
)
def test_what_is_bound(tmp_path: Path, keys: dict[str, Any], binds: tuple[str, ...]) -> None:
    """Over the path that was wrapped only where there is one."""
    prefix, names = tmp_path / "own", {"there": tmp_path, "prefix": tmp_path / "own"}
    (tmp_path / "tool").mkdir()
    prefix.mkdir()
    keys = {k: v.format(**names) if isinstance(v, str) else v for k, v in keys.items()}
    other = Other(prefix=prefix, manifest=manifest(**{"install_path": "/containerize-x", **keys}))
    image, programs = f"{prefix}/current/img.sqfs", f"{prefix}/current/_bin:{prefix}/bin"
    found = tuple(bind.format(image=image, programs=programs, **names) for bind in binds)
    assert other.binds == found
