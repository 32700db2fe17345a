"""Which channels are searched, and where they really are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from wrapper.conda.channels import absolute, choose, local_directories, mirrored
from wrapper.errors import InputError
from wrapper.models import EnvironmentSpec, Located, Site
from wrapper.packages import LockedPackage

FILE = Path("/x/env.yml")
LICENSED = Site(mirrors={"defaults": ("https://m/main",)})


def asked(*channels: str, spec: str = "python") -> EnvironmentSpec:
    return EnvironmentSpec(source=FILE, channels=channels, specs=(Located(text=spec, line=3),))


def test_the_files_channels_are_searched() -> None:
    assert choose(asked("a", "b"), (), Site()) == (("a", "b"), [])


def test_without_any_the_sites_are_and_it_is_said() -> None:
    names, notes = choose(asked(), (), Site(channels=("mirror",)))
    assert (names, notes) == (("mirror",), ["no channels in env.yml: using mirror"])


@pytest.mark.parametrize("channels", [(), ("a",), ("defaults",)])
def test_the_command_lines_come_instead_and_nothing_is_said(channels: tuple[str, ...]) -> None:
    assert choose(asked(*channels), ("mine",), Site()) == (("mine",), [])


def test_anaconda_in_the_file_is_left_out() -> None:
    names, notes = choose(asked("defaults"), (), Site())
    assert names == ("conda-forge",)
    assert "'defaults' of env.yml is left out" in notes[0] and "no channels" in notes[1]


def test_anaconda_by_name_is_refused() -> None:
    with pytest.raises(InputError, match="'defaults' cannot be used") as caught:
        choose(asked("a"), ("defaults",), Site())
    assert caught.value.where == "--channel" and "licence" in caught.value.hint
    with pytest.raises(InputError, match="'defaults::numpy' names the channel") as caught:
        choose(asked("a", spec="defaults::numpy"), (), Site())
    assert caught.value.where == f"{FILE}, line 3"


def test_where_the_site_allows_it_anaconda_is_a_channel() -> None:
    assert choose(asked("defaults", spec="defaults::x"), (), LICENSED) == (("defaults",), [])
    assert choose(asked("a"), ("defaults",), LICENSED) == (("defaults",), [])


def test_a_users_own_come_last() -> None:
    site = Site(more_channels=("conda-forge",))
    assert choose(asked("a"), (), site)[0] == ("a", "conda-forge")


def test_where_the_file_names_none_a_users_own_come_first() -> None:
    site = Site(more_channels=("mine", "defaults", "conda-forge"), channels=("conda-forge", "s"))
    found, notes = choose(asked(), (), site)
    assert found == ("mine", "conda-forge", "s")
    assert "using mine, conda-forge, s" in notes[0]
    allowed = replace(site, mirrors={"defaults": ("https://d/main",)})
    assert choose(asked(), (), allowed)[0] == ("mine", "defaults", "conda-forge", "s")


def test_a_lock_without_channels_needs_none() -> None:
    lock = EnvironmentSpec(
        source=FILE, locked=(LockedPackage(manager="conda", name="x", version="1", url="u"),)
    )
    assert choose(lock, (), Site()) == ((), [])


# -- mirrors -------------------------------------------------------------------------------------
MIRRORS = Site(
    mirrors={
        "conda-forge": ("https://m/cf/",),
        "https://conda.example": ("https://m/org",),
        "*": ("https://alias/",),
    }
)


@pytest.mark.parametrize(
    ("name", "urls"),
    [
        ("conda-forge", ("https://m/cf/",)),
        ("conda-forge/label/dev", ("https://m/cf/label/dev",)),
        ("bioconda", ("https://alias/bioconda",)),
        ("https://conda.example/x", ("https://m/org/x",)),
        ("https://conda.examples/x", ("https://conda.examples/x",)),
        ("file:///a/b", ("file:///a/b",)),
        ("/a/b", ("/a/b",)),
        ("./a", ("./a",)),
        ("~/a", ("~/a",)),
    ],
)
def test_mirrors(name: str, urls: tuple[str, ...]) -> None:
    assert mirrored(name, MIRRORS) == urls


def test_without_mirrors_names_stay() -> None:
    assert mirrored("conda-forge", Site()) == ("conda-forge",)


def test_paths_of_the_command_line_start_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute("./c") == (tmp_path / "c").as_uri()
    assert absolute("conda-forge") == "conda-forge"
    assert absolute("https://h/c") == "https://h/c"


def test_a_user_whom_nobody_knows_is_no_home() -> None:
    from wrapper.conda.resolve import _channel_url

    assert _channel_url("~nobody-of-this-name/x", Path("/")).endswith("/~nobody-of-this-name/x")


def test_channels_on_this_host_are_directories(tmp_path: Path) -> None:
    here = tmp_path / "a b"
    here.mkdir()
    names = (here.as_uri(), str(here), "./a b", "conda-forge", "https://host/x", "/no/where")
    assert local_directories(names, tmp_path) == [here, here, here]
