"""What of a base image, and of the user's files, goes into a SIF."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import MagicMock

import pytest

from tests.manifests import manifest
from wrapper import layout
from wrapper.activation.model import Activation, ActivationScript
from wrapper.build.context import BuildContext
from wrapper.build.incremental import Place
from wrapper.build.source import Source
from wrapper.build.targets.sif import Bottom, SifOutput, SifTarget
from wrapper.commands.build_sif import _with_channels
from wrapper.console import Console
from wrapper.gpu import Use, settings_for
from wrapper.images.sif import content
from wrapper.images.sif import file as sif
from wrapper.images.sif.file import NewObject, Sif, read_sif, write_sif
from wrapper.images.sif.record import LAYER, LOG, MANIFEST_NAME, RECORD, VALUES
from wrapper.manifest import manifest_text
from wrapper.models import Base
from wrapper.mpi.choice import Choice
from wrapper.requests import SifRequest


def image(path: Path) -> Sif:
    """An image that we made before, signed: a root, an overlay of others, ours, what is beside."""

    def part(role: int, name: str) -> NewObject:
        extra = sif.partition(role, "x86_64")
        return NewObject(kind=sif.PARTITION, name=name, content=b"hsqs" * 30, extra=extra)

    objects = [
        NewObject(kind=sif.DEFINITION, name="", content=b"bootstrap: docker"),
        part(sif.PRIMARY, ""),
        part(sif.OVERLAY, "theirs"),
        part(sif.OVERLAY, LAYER),
        *(NewObject(kind=sif.JSON, name=name, content=b"{}") for name in (MANIFEST_NAME, VALUES)),
        NewObject(kind=sif.JSON, name=sif.INSPECT_NAME, content=b"{}"),
        NewObject(kind=sif.GENERIC, name=LOG, content=b""),
        NewObject(kind=sif.SIGNATURE, name="signature", content=b"signed"),
    ]
    write_sif(path, objects)
    return read_sif(path)


@pytest.fixture
def context(tmp_path: Path, console: Console) -> Any:
    base = Base(name="rocm.sif", digest="sha256:0")
    space = SimpleNamespace(image=tmp_path / "image", root=tmp_path)
    install_path = "/containerize"
    return SimpleNamespace(console=console, base=base, install_path=install_path, space=space)


def target(tmp_path: Path, context: Any, *, flatten: bool = False) -> SifTarget:
    place = SifOutput(prefix=tmp_path / "out.sif", draft=tmp_path / "draft", space=context.space)
    found = image(tmp_path / "base.sif")
    bottom = Bottom(base=context.base, image=found, foreign={}, labels={"theirs": "1"})
    context = cast(BuildContext, context)
    source = Source(context=context)
    return SifTarget(context=context, source=source, place=place, bottom=bottom, flatten=flatten)


def test_of_the_base_all_stays_but_our_own_and_its_signature(
    tmp_path: Path, context: Any, screen: Any
) -> None:
    kept = target(tmp_path, context)._kept()
    assert [item.name for item in kept if item.kind == sif.PARTITION] == ["", "theirs"]
    assert [item.kind for item in kept if item.kind != sif.PARTITION] == [sif.DEFINITION]
    assert "signature does not cover" in screen.getvalue()


def test_a_flattened_image_has_none_of_its_file_systems(tmp_path: Path, context: Any) -> None:
    kept = target(tmp_path, context, flatten=True)._kept()
    assert [item.kind for item in kept] == [sif.DEFINITION]


def test_labels_say_which_lock_is_inside(tmp_path: Path, context: Any) -> None:
    layer = tmp_path / "layer"
    made = target(tmp_path, context)
    labels = made._own_labels(layer)
    assert labels["containerize.base"] == "rocm.sif" and "containerize.lock" not in labels
    (layer / RECORD).mkdir(parents=True)
    (layer / RECORD / layout.PIP_LOCK).write_text("x\n")
    labels = made._own_labels(layer)
    assert labels["containerize.lock"] == f"/{RECORD}/{layout.PIP_LOCK}"
    assert labels["containerize.lock.digest"].startswith("sha256:73cb3858a687")


def test_texts_are_where_runtimes_look_for_them(tmp_path: Path, context: Any) -> None:
    layer = tmp_path / "layer"
    texts = target(tmp_path, context)._write_content(layer, Activation(assign={"A": "b"}))
    assert set(texts) == {content.ACTIVATE, content.RUNSCRIPT, content.LABELS}
    for name, text in texts.items():
        assert (layer / name).read_text() == text
    assert (layer / content.RUNSCRIPT).stat().st_mode & 0o777 == 0o755
    assert (layer / content.LABELS).stat().st_mode & 0o777 == 0o644
    assert '"theirs": "1"' in texts[content.LABELS]


def test_a_script_that_is_sourced_takes_bash_along(
    tmp_path: Path, context: Any, screen: Any
) -> None:
    dynamic = ActivationScript(path="/containerize/etc/conda/activate.d/a.sh", why="it reads $HOME")
    texts = target(tmp_path, context)._write_content(tmp_path, Activation(scripts=(dynamic,)))
    assert content.DYNAMIC in texts and "no umask" in screen.getvalue()


@pytest.mark.parametrize("rocm", ["", "6.4"])
def test_the_manifest_says_what_is_set_where_gpus_are(
    tmp_path: Path, context: Any, monkeypatch: pytest.MonkeyPatch, rocm: str
) -> None:
    """As ``inspect --settings`` tells it, whatever later versions would set."""
    module = "wrapper.build.targets.sif"
    for name in ("shim_programs", "write_inputs", "identity", "managed", "tree"):
        monkeypatch.setattr(f"{module}.{name}", MagicMock())
    monkeypatch.setattr(f"{module}.described", lambda *_, **__: manifest())
    monkeypatch.setattr(SifTarget, "_assemble", lambda *_: None)
    (tmp_path / "image").mkdir()
    quiet = SimpleNamespace(**vars(context), inputs=SimpleNamespace(files=[]))
    quiet.mpi = SimpleNamespace(choice=Choice())
    quiet.squash = quiet.discard = quiet.runscripts = lambda *_, **__: False
    quiet.site = SimpleNamespace(name="", fix_permissions=True)
    quiet.keeps_modes, quiet.tree = False, tmp_path / "image"
    written = SimpleNamespace(write_image=lambda at, *_, **__: Place(file=at), packed=None)
    finished: Any = SimpleNamespace(packages=[], activation=Activation(), tree=written)
    quiet.base = replace(quiet.base, rocm=rocm)
    expected = settings_for(Use(gpu="amd", rocm=rocm, image="rocm.sif")) if rocm else None
    assert target(tmp_path, quiet).deliver(finished).gpu == expected


def test_an_update_takes_the_channels_of_before(tmp_path: Path) -> None:
    """As that of an installation does."""
    made = manifest(options={"channels": ["https://h/mine"]})
    written = NewObject(kind=sif.JSON, name=MANIFEST_NAME, content=manifest_text(made).encode())
    path = tmp_path / "x.sif"
    write_sif(path, [written])
    request = SifRequest(prefix=path, update=True)
    assert _with_channels(request).channels == ("https://h/mine",)
    named = replace(request, channels=("https://h/other",))
    assert _with_channels(named).channels == ("https://h/other",)
