"""Looking into an image that is to be wrapped: where it does not start, and for its MPI."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests import elf
from tests.images import squashfs_bytes
from tests.manifests import manifest
from tests.unit.conftest import Program
from wrapper.base.find import describe_file
from wrapper.cli.report import describe_mpi
from wrapper.commands import wrap_container
from wrapper.console import Console
from wrapper.errors import InputError, ToolError
from wrapper.images import tree
from wrapper.models import Site
from wrapper.mpi.choice import Choice
from wrapper.prefix.image_programs import Looker
from wrapper.requests import Result
from wrapper.runtime.runtime import Runtime
from wrapper.site_profile import MpiPlaces


@pytest.mark.parametrize(
    ("number", "hint"), [(1, "that this runtime accepts?"), (6, "containerize repack '{image}'")]
)
def test_the_way_out_of_an_image_that_does_not_start(
    program: Program, console: Console, tmp_path: Path, number: int, hint: str
) -> None:
    image = tmp_path / "my base.sqfs"
    image.write_bytes(squashfs_bytes(compression=number))
    path = program("singularity", "echo 'FATAL: unknown compression algorithm value' >&2; exit 255")
    look = looker(path, image, console)
    with pytest.raises(ToolError, match="the container cannot be started") as caught:
        look.programs(["/usr/bin"])
    assert caught.value.hint.endswith(hint.format(image=image))
    assert "FATAL: unknown compression" in caught.value.detail


@pytest.mark.parametrize(
    ("python", "wrapped"),
    [("/opt/venv/bin/python3", "/opt/venv/bin"), ("/usr/bin/python3", "/usr/bin/python3")],
)
def test_the_python_of_an_image_is_the_one_its_users_get(
    program: Program, console: Console, tmp_path: Path, python: str, wrapped: str
) -> None:
    """After its conda was activated, as their job scripts do."""
    says = (
        f'case "$*" in *WITH_CONDA*python3*) echo found:{python};; *) echo found:/bin/bash;; esac'
    )
    look = looker(program("singularity", says), tmp_path / "x.sif", console)
    assert look.python_paths() == (wrapped,)
    fails = 'case "$*" in *WITH_CONDA*) echo no python3; exit 127;; *) echo found:/bin/bash;; esac'
    look = looker(program("singularity", fails), tmp_path / "x.sif", console)
    with pytest.raises(InputError, match="no python3 on its PATH") as caught:
        look.python_paths()
    assert caught.value.detail == "no python3"


def looker(runtime: Path, image: Path, console: Console) -> Looker:
    found = Runtime(path=runtime, name="singularity", version="4.1.3")
    return Looker(image=image, runtime=found, scratch=image.parent, console=console)


class TestItsMpi:
    """By the site's default, and by option."""

    LIBC = b"\0GNU C Library (Debian GLIBC) stable release version 2.36.\n"
    OPEN_MPI = ("usr/lib64/libmpi.so.40", b"\0Open MPI v5.0.8, package\0")

    @pytest.fixture
    def image(self, tmp_path: Path) -> Path:
        elf.put(tmp_path / "image/usr/lib64/libc.so.6", text=self.LIBC)
        (tmp_path / "image/etc").mkdir()
        (tmp_path / "image/etc/hosts").touch()
        return tmp_path / "image"

    @pytest.fixture
    def listings(self, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
        """What was listed, one after the other."""
        found: list[Path] = []
        walk = tree._list_directory

        def listed(root: Path, *into: Any) -> None:
            found.append(root)
            walk(root, *into)

        monkeypatch.setattr(tree, "_list_directory", listed)
        squasher = SimpleNamespace(unsquashfs=Path("/nowhere"))
        monkeypatch.setattr(wrap_container, "find_squasher", lambda *_: squasher)
        return found

    def chosen(
        self, image: Path, console: Console, places: MpiPlaces, asked: str | None = None
    ) -> Choice:
        site = Site(mpi=places)
        space: Any = SimpleNamespace(scratch=image.parent, lasting_cache=None)
        found = describe_file(image, name="x", console=console, cache=None)
        facts, files = wrap_container._look_into(found, asked, space, site, console)
        return wrap_container._mpi(asked, site, image, facts, files, console=console)

    def host(self, image: Path) -> MpiPlaces:
        elf.put(image.parent / "host/libmpi.so.12")
        return MpiPlaces(
            default="host", directories=(f"{image.parent}/host",), srun={"container": "pmi2"}
        )

    def test_an_image_without_any_is_no_reason_to_warn(
        self, image: Path, console: Console, screen: io.StringIO, listings: list[Path]
    ) -> None:
        nowhere = MpiPlaces(default="host", directories=("/nowhere",))
        assert self.chosen(image, console, nowhere) == Choice()
        assert "WARNING" not in screen.getvalue() and listings == [image]

    def test_it_is_listed_once(self, image: Path, console: Console, listings: list[Path]) -> None:
        elf.put(image / "usr/lib64/libmpi.so.12")
        assert self.chosen(image, console, self.host(image)).kind == "host"
        assert listings == [image]

    def test_a_default_of_container_counts(
        self, image: Path, console: Console, listings: list[Path]
    ) -> None:
        places = MpiPlaces(default="container", srun={"container": "pmi2"})
        assert self.chosen(image, console, places) == Choice()
        elf.put(image / "usr/lib64/libmpi.so.12")
        choice = self.chosen(image, console, places)
        assert (choice.kind, choice.srun) == ("container", "pmi2")
        assert listings == [image, image]

    @pytest.mark.usefixtures("listings")
    def test_open_mpi_alone_stays_its_own(
        self, image: Path, console: Console, screen: io.StringIO
    ) -> None:
        name, text = self.OPEN_MPI
        elf.put(image / name, text=text)
        choice = self.chosen(image, console, self.host(image))
        assert (choice.kind, choice.srun) == ("container", "pmi2")
        assert "image has Open MPI 5.0.8: Open MPI cannot be replaced" in screen.getvalue()
        choice = self.chosen(image, console, self.host(image), "host")
        assert (choice.kind, choice.beside) == ("host", "Open MPI 5.0.8")
        made = manifest(mpi={"kind": "host", "abi": "MPICH", "beside": choice.beside})
        told = describe_mpi(Result(prefix=image, manifest=made, seconds=1.0))
        assert "those for Open MPI 5.0.8 keep the image's" in told

    def test_without_a_tool_that_can_tell(
        self, image: Path, console: Console, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def missing(*_: object) -> None:
            raise ToolError("no squasher", where="PATH", hint="load it")

        monkeypatch.setattr(wrap_container, "find_squasher", missing)
        assert self.chosen(image, console, self.host(image)) == Choice()
        with pytest.raises(ToolError, match="no squasher"):
            self.chosen(image, console, self.host(image), "host")
