"""Jupyter kernels: what the file says, where it lies, and what cannot be one.

A script stands in for the installation's Python, and one for the runtime: both answer what they are
asked, whether there is an ipykernel and a debugger.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.images import PRIMARY, SQUASHFS, sif_bytes, squashfs_bytes
from tests.manifests import manifest
from wrapper.commands.kernel import KernelRequest, kernel_install
from wrapper.console import Console
from wrapper.errors import InputError, PrefixError, ToolError
from wrapper.manifest import manifest_text
from wrapper.models import Site
from wrapper.site_profile import Gpus


def script(path: Path, line: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
    return path


def installation(root: Path, answer: str = "echo 1 1", **keys: Any) -> Path:
    """:param answer: what its Python does."""
    generation = root / ".generations/1"
    generation.mkdir(parents=True)
    (generation / "manifest.json").write_text(manifest_text(manifest(**keys)))
    (root / "current").symlink_to(".generations/1")
    script(root / "bin/python", answer)
    return root


def image(path: Path) -> Path:
    path.write_bytes(sif_bytes([(PRIMARY, SQUASHFS, squashfs_bytes())]))
    return path


def install(target: Path, home: Path, environ: dict[str, str] | None = None, **more: Any) -> Path:
    given = {"HOME": str(home), "PATH": os.defpath, **(environ or {})}
    return kernel_install(KernelRequest(target=target, **more), given, Console(-2))


def read(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text())
    return data


def test_a_kernel_starts_the_installations_python(tmp_path: Path) -> None:
    target = installation(tmp_path / "My env")
    path = install(target, tmp_path / "home")
    assert path == tmp_path / "home/.local/share/jupyter/kernels/my-env/kernel.json"
    told = read(path)
    words = ["-m", "ipykernel_launcher", "-f", "{connection_file}"]
    assert told["argv"] == [str(target / "bin/python"), *words]
    assert (told["language"], told["display_name"]) == ("python", "Python (My env)")
    assert told["metadata"]["debugger"] is True


def test_debuggers_are_promised_where_they_are(tmp_path: Path) -> None:
    target = installation(tmp_path / "p", "echo a warning; echo 1 0")
    assert read(install(target, tmp_path))["metadata"]["debugger"] is False


@pytest.mark.parametrize(
    ("variable", "below"),
    [("JUPYTER_DATA_DIR", "kernels"), ("XDG_DATA_HOME", "jupyter/kernels")],
)
def test_jupyters_own_variables_say_where(tmp_path: Path, variable: str, below: str) -> None:
    target, data = installation(tmp_path / "p"), tmp_path / "data"
    path = install(target, tmp_path / "home", {variable: str(data)}, name="A.b")
    assert path == data / below / "a.b/kernel.json"
    assert not (tmp_path / "home").exists()


def test_a_prefix_gets_it_and_nothing_else(tmp_path: Path) -> None:
    target, other = installation(tmp_path / "p"), tmp_path / "jupyter"
    for text in ("one", "two"):  # again: in its place
        path = install(target, tmp_path / "home", prefix=other, name="x", display_name=text)
        assert path == other / "share/jupyter/kernels/x/kernel.json"
        assert read(path)["display_name"] == text
    assert [*path.parent.iterdir()] == [path]
    assert not (tmp_path / "home").exists()


def test_others_kernels_stay(tmp_path: Path) -> None:
    target, other = installation(tmp_path / "p"), tmp_path / "home"
    theirs = other / ".local/share/jupyter/kernels/p/kernel.json"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("{}")
    with pytest.raises(InputError, match="something else"):
        install(target, other)
    assert theirs.read_text() == "{}"


@pytest.mark.parametrize("name", ["a/b", "..", "-x", "a b", "ä"])
def test_names_are_jupyters(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot be the name"):
        install(installation(tmp_path / "p"), tmp_path, name=name)


def test_an_installation_is_no_jupyters_prefix(tmp_path: Path) -> None:
    target = installation(tmp_path / "p")
    with pytest.raises(InputError, match="is an installation"):
        install(target, tmp_path, prefix=target)


@pytest.mark.parametrize(
    ("kind", "more", "command"),
    [
        ("conda", {}, "echo ipykernel > more.txt; conda-containerize update {} -r more.txt"),
        ("pip", {}, "echo ipykernel > more.txt; pip-containerize update {} -r more.txt"),
        ("install", {}, "wrap-install"),
        (
            "container",
            {"base": {"kind": "image", "source": "/x y.sif"}},
            "pip-containerize new --prefix NEW --reuse-base --base-image '/x y.sif' more.txt",
        ),
    ],
)
def test_without_ipykernel_the_command_is_told_that_adds_it(
    tmp_path: Path, kind: str, more: dict[str, Any], command: str
) -> None:
    target = installation(tmp_path / "p", "echo 0 0", kind=kind, **more)
    with pytest.raises(InputError, match="no ipykernel") as caught:
        install(target, tmp_path)
    assert command.format(target) in caught.value.hint
    assert not (tmp_path / ".local").exists()


def test_what_cannot_be_a_kernel(tmp_path: Path) -> None:
    with pytest.raises(PrefixError, match="no installation"):
        install(tmp_path / "none", tmp_path)
    (tmp_path / "text").write_text("no image")
    with pytest.raises(InputError, match="no container image"):
        install(tmp_path / "text", tmp_path)
    broken = installation(
        tmp_path / "broken", "echo FATAL: of the runtime >&2; echo more >&2; exit 255"
    )
    with pytest.raises(ToolError, match="fails here") as caught:
        install(broken, tmp_path)
    assert caught.value.detail == "FATAL: of the runtime"
    (broken / "bin/python").unlink()
    with pytest.raises(InputError, match="has no Python"):
        install(broken, tmp_path)


# -- of a SIF --------------------------------------------------------------------------------------
ANSWER = '[ "$1" = --version ] && echo apptainer version 1.4.5 || echo {}'


def test_a_sifs_kernel_has_the_sites_directories_that_are_there(tmp_path: Path) -> None:
    runtime, target = (
        script(tmp_path / "bin/apptainer", ANSWER.format("1 1")),
        image(tmp_path / "x.sif"),
    )
    here = tmp_path / "scratch"
    here.mkdir()
    site = Site(runtime=str(runtime), mounts=(str(here), "/no/such/place"), gpus=Gpus(kind="sm_90"))
    told = read(install(target, tmp_path, site=site))
    words = ["-m", "ipykernel_launcher", "-f", "{connection_file}"]
    exec_ = [str(runtime), "exec", "--nv", "-B", str(here), str(target), "python3"]
    assert told["argv"] == [*exec_, *words]


def test_a_sif_without_ipykernel_gets_the_command_that_adds_it(tmp_path: Path) -> None:
    runtime, target = (
        script(tmp_path / "bin/apptainer", ANSWER.format("0 0")),
        image(tmp_path / "x.sif"),
    )
    with pytest.raises(InputError, match="no ipykernel") as caught:
        install(target, tmp_path, site=Site(runtime=str(runtime)))
    assert f"--reuse-base --base-image {target} more.txt" in caught.value.hint


@pytest.mark.root("only root can give files away")
def test_root_starts_nobodys_programs(tmp_path: Path) -> None:
    runtime = script(tmp_path / "bin/apptainer", ANSWER.format("1 1"))
    target = installation(tmp_path / "p", "echo 1 1")
    os.chown(target, 65534, 65534)
    with pytest.raises(PrefixError, match="whose programs root would run"):
        install(target, tmp_path)
    os.chown(image(tmp_path / "x.sif"), 65534, 65534)
    with pytest.raises(PrefixError, match="whose programs root would run"):
        install(tmp_path / "x.sif", tmp_path, site=Site(runtime=str(runtime)))
