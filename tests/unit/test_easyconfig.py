"""EasyConfigs: what EasyBuild reads, and the module that it makes of that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.test_modulefile import image, installation, text_of, told
from wrapper.commands.modulefile import EASYCONFIG, LUA, ModuleRequest, as_easyconfig, describe
from wrapper.errors import InputError


def read(text: str) -> dict[str, Any]:
    """The parameters, as EasyBuild reads them: an EasyConfig is assignments of Python."""
    found: dict[str, Any] = {"SYSTEM": {"name": "system"}}
    exec(text, found)
    return found


def test_easybuild_copies_the_file_and_checks_it(tmp_path: Path) -> None:
    target = image(tmp_path / "torch.sif")
    found = read(text_of(target, EASYCONFIG, name="PyTorch/2.7"))
    assert (found["name"], found["version"], found["easyblock"]) == ("PyTorch", "2.7", "MakeCp")
    (source,) = found["sources"]
    assert source == {"filename": "torch.sif", "extract_cmd": "cp -L %s ."}
    assert found["files_to_copy"] == [(["torch.sif"], ".")]
    assert found["sanity_check_paths"] == {"files": ["torch.sif"], "dirs": []}
    assert {"homepage", "description", "toolchain", "moduleclass"} <= found.keys()


def test_its_module_is_about_the_copy(tmp_path: Path) -> None:
    """EasyBuild resolves templates in what it writes, and says ``root`` before."""
    place, other = tmp_path / "soft ware/it's", tmp_path / "100% 'it''s' \\x.sif"
    image(place / "x.sif")
    target, shared = image(tmp_path / "x.sif"), image(other)
    options: dict[str, Any] = {"name": "X/1", "fallback": shared, "conflicts": ("other/2",)}
    footer = read(text_of(target, EASYCONFIG, **options))["modluafooter"] % {}
    does = told(tmp_path, LUA, f'local root = "{place}"\n{footer}')
    assert ["conflict", "other/2"] in does
    assert ["setenv", "SIF", f"{place}/x.sif"] in does
    assert ["setenv", "SIFX", f"{place}/x.sif"] in does
    assert ["setenv", "CONTAINERROOT", str(place)] in does
    (place / "x.sif").unlink()
    assert ["setenv", "SIF", str(shared)] in told(
        tmp_path, LUA, f'local root = "{place}"\n{footer}'
    )


def test_what_it_says_is_no_template(tmp_path: Path) -> None:
    """EasyBuild resolves ``%(name)s`` and the like in every text."""
    said = "100 % of %(name)s's"
    module = describe(ModuleRequest(target=image(tmp_path / "x.sif"), name="X/1"))
    found = read(as_easyconfig(replace(module, about=said, help=f"first\n{said}")))
    assert found["description"] % {} == found["usage"] % {} == said


def test_the_name_of_the_file_says_it_too(tmp_path: Path) -> None:
    target, output = image(tmp_path / "x.sif"), tmp_path / "X-1.eb"
    text = text_of(target, EASYCONFIG, name="X/1", output=output)
    assert output.read_text() == text
    assert text_of(target, EASYCONFIG, name="X/1", output=output) == text


def test_what_easybuild_cannot_install(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="have a version") as caught:
        text_of(image(tmp_path / "x.sif"), EASYCONFIG)
    assert "--name NAME/VERSION" in caught.value.hint
    with pytest.raises(InputError, match="have a version"):
        text_of(installation(tmp_path / "p"), EASYCONFIG, name="p/1")
    with pytest.raises(InputError, match="such a name"):
        text_of(image(tmp_path / "100% x.sif"), EASYCONFIG, name="x/1")
