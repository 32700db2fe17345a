"""The commands about base images."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from wrapper.base.catalogue import Entry
from wrapper.base.find import built_image
from wrapper.commands import base
from wrapper.console import Console
from wrapper.models import Site

DEFINITION = "Bootstrap: docker\nFrom: debian\n"


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("own", (False, None, "own.sif")),  # a first build works without anything to set
        ("own", (True, None, "cache")),
        ("own", (True, "there/x.sif", "there/x.sif")),
        ("./some.def", (True, None, "some.sif")),  # no build finds it by its name
    ],
)
def test_where_an_image_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, expected: tuple[Any, ...]
) -> None:
    cached, output, where = expected
    monkeypatch.chdir(tmp_path)
    for name in ("own.def", "some.def"):
        Path(name).write_text(DEFINITION)
    entry = Entry(name="own", source=str(tmp_path / "own.def"), catalogue=tmp_path / "c.toml")
    site = Site(cache=tmp_path / "cache" if cached else None)
    tools = SimpleNamespace(trials=SimpleNamespace(choose=lambda choices: choices[0]))
    monkeypatch.setattr(base, "_tools", lambda *_: nullcontext(tools))
    monkeypatch.setattr(base, "build_image", lambda _definition, target, *_, **__: target)
    given: dict[str, Any] = {"output": Path(output)} if output else {}
    target: Any = base.build(named, {"own": entry}, site, Console(), **given)
    place = tmp_path / where
    if where == "cache":
        assert site.cache
        place = built_image(entry, site.cache)
    assert target == place and place.parent.is_dir()
