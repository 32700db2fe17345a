"""What commands share before a build, with a dry run too."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.manifests import manifest
from wrapper import layout, platforms
from wrapper.commands.new import new
from wrapper.commands.prepare import prepared_new, prepared_update, require_this_platform
from wrapper.console import Console
from wrapper.errors import InputError, PrefixError
from wrapper.manifest import write_manifest
from wrapper.models import Site
from wrapper.requests import NewRequest, UpdateRequest, WrapInstallRequest


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    path = tmp_path / "env.yml"
    path.write_text("channels: [c]\ndependencies: [x]\n")
    return path


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """An installation of conda packages, with a channel that an option named."""
    target = tmp_path / "env"
    generation = target / layout.GENERATIONS / "1"
    (generation / layout.PROGRAMS).mkdir(parents=True)
    (target / layout.BIN).mkdir()
    (target / layout.CURRENT).symlink_to(f"{layout.GENERATIONS}/1")
    made = manifest(kind="conda", options={"channels": ["https://before"]})
    write_manifest(generation / layout.MANIFEST, made)
    return target


def test_a_new_installation_stands_on_the_sites_base(environment: Path, console: Console) -> None:
    """Builds and dry runs take the same way."""
    site = Site(base_image="site.sif")
    request = NewRequest(prefix=environment.with_name("new"), environment=environment, site=site)
    assert prepared_new(request, console).request.base_image == "site.sif"


def test_another_platform_is_planned_only(environment: Path, console: Console) -> None:
    site = Site(base_image="site.sif")
    other = next(name for name in platforms.MACHINES if name != platforms.here())
    request = NewRequest(
        prefix=environment.with_name("new"), environment=environment, site=site, platform=other
    )
    assert prepared_new(request, console).request.base_image is None, "that is for this machine"
    with pytest.raises(InputError, match="a base image of"):
        prepared_new(dataclasses.replace(request, base_image="x.sif"), console)
    with pytest.raises(InputError, match="cannot be built on") as caught:
        new(request, console)
    assert "--dry-run" in caught.value.hint and "--lock" in caught.value.hint
    require_this_platform(dataclasses.replace(request, platform=platforms.here()))


def test_a_copy_stands_on_what_it_was_copied_from(tmp_path: Path, console: Console) -> None:
    site = Site(base_image="site.sif")
    request = WrapInstallRequest(prefix=tmp_path / "new", source=tmp_path, site=site)
    assert prepared_new(request, console).request.base_image is None


def test_a_mistake_in_a_file_is_told_before_one_of_the_prefix(
    environment: Path, prefix: Path, console: Console
) -> None:
    request = NewRequest(prefix=prefix, environment=environment)
    with pytest.raises(PrefixError):
        prepared_new(request, console)
    environment.write_text("dependencies: 1\n")
    with pytest.raises(InputError):
        prepared_new(request, console)


@pytest.mark.parametrize(
    ("named", "searched"), [((), ("https://before",)), (("https://now",), ("https://now",))]
)
def test_an_update_searches_the_channels_that_an_option_named_before(
    environment: Path,
    prefix: Path,
    console: Console,
    named: tuple[str, ...],
    searched: tuple[str, ...],
) -> None:
    request = UpdateRequest(prefix=prefix, environment=environment, channels=named)
    prepared = prepared_update(request, "conda", console)
    assert prepared.request.channels == searched
    assert prepared.inputs.environment and prepared.inputs.environment.channels == searched
    assert prepared.previous and prepared.previous.number == 1


def test_an_update_is_of_its_own_command_and_says_what_changes(
    prefix: Path, console: Console
) -> None:
    request = UpdateRequest(prefix=prefix)
    with pytest.raises(PrefixError, match="is not an installation of pip-containerize"):
        prepared_update(request, "pip", console)
    with pytest.raises(InputError, match="nothing to do"):
        prepared_update(request, "conda", console)
    keeping = dataclasses.replace(request, wrapper_paths=("libexec",))
    assert prepared_update(keeping, "conda", console).target == prefix
