"""The runtimes that tests run with are what they claim to be: see ``tests/runtimes.py``."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests import runtimes, strict
from tests.account import Account, setuid_user
from tests.conftest import require
from wrapper.images.sif import file as sif
from wrapper.images.sif.file import NewObject
from wrapper.runtime.binds import host_binds, write_skeleton
from wrapper.util.removal import remove_tree

Images = Callable[..., Path]
ZSTD = "corrupted image: unknown compression algorithm value 6"


@pytest.fixture(scope="module")
def images(runtime: Path) -> Iterator[Images]:
    """``images(compression, overlay="")``: mount points with the directories /mine and /over.

    With ``overlay`` it is a SIF, in which a layer of that compression has the directory /new.
    """
    root = Path(tempfile.mkdtemp(prefix="test-containerize-"))
    root.chmod(0o755)
    (root / "bottom").mkdir()
    write_skeleton(root / "bottom")
    (root / "bottom/mine/below").mkdir(parents=True)
    (root / "bottom/over").mkdir()
    (root / "top/new").mkdir(parents=True)

    def layer(tree: str, compression: str) -> Path:
        image = root / f"{tree}.{compression}"
        if not image.exists():
            words = ("mksquashfs", root / tree, image, "-comp", compression, "-quiet")
            subprocess.run([*words, "-no-progress"], check=True)
        return image

    def make(compression: str, overlay: str = "") -> Path:
        bottom = layer("bottom", compression)
        if not overlay:
            return bottom
        parts = ((sif.PRIMARY, bottom), (sif.OVERLAY, layer("top", overlay)))
        image = root / f"{compression}-{overlay}.sif"
        new = [
            NewObject(kind=sif.PARTITION, name="", content=part, extra=sif.partition(role))
            for role, part in parts
        ]
        sif.write_sif(image, new)
        return image

    yield make
    remove_tree(root)


def start(
    account: Account, runtime: Path | str, image: Path, *command: str, **options: object
) -> CompletedProcess[str]:
    """Run ``command`` in a container that sees the host; ``words`` are further options."""
    words = options.pop("words", ())
    quiet = ("-q",) if options.pop("quiet", False) else ()
    assert isinstance(words, tuple)
    binds = ("-B", ",".join(host_binds()))
    line = (runtime, *quiet, "exec", "--no-home", *binds, *words, image, *command)
    return account.run(*line, **options)  # type: ignore[arg-type]


# -- the strict singularity ------------------------------------------------------------------------
@pytest.fixture(scope="module")
def singularity(runtime: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    real = runtimes.real_apptainer()
    require(bool(real), "Apptainer")
    return strict.install(tmp_path_factory.mktemp("strict") / "bin", Path(str(real)))


@pytest.mark.parametrize(
    ("compression", "told"), [("gzip", ""), ("lz4", "INFO"), ("xz", "INFO"), ("zstd", "FATAL")]
)
def test_strict_compressions(
    me: Account, singularity: Path, images: Images, compression: str, told: str
) -> None:
    image = images(compression)
    done = start(me, singularity, image, "true")
    assert done.returncode == (255 if told == "FATAL" else 0), done.stderr
    informed = f"INFO:    squashfs image was compressed with {compression}"
    assert (informed in done.stderr) == (told == "INFO")
    refused = f"FATAL:   While checking image: could not open image {image}: {ZSTD}"
    assert (refused in done.stderr) == (told == "FATAL")
    quietly = start(me, singularity, image, "true", quiet=True)
    assert "INFO" not in quietly.stderr and quietly.returncode == done.returncode
    bound = f"{image}:/over:image-src=/"
    done = start(me, singularity, images("gzip"), "ls", "/over", words=("-B", bound))
    assert done.stdout.split() == ([] if told == "FATAL" else sorted(done.stdout.split()))
    assert ("mine" in done.stdout.split()) == (told != "FATAL")
    assert (f"failed to load data image {image}: {ZSTD}" in done.stderr) == (told == "FATAL")
    bound_by_variable = {"SINGULARITY_BIND": bound}
    done = start(me, singularity, images("gzip"), "ls", "/over", env=bound_by_variable)
    assert ("mine" in done.stdout.split()) == (told != "FATAL")


def test_strict_sif_files(me: Account, singularity: Path, images: Images) -> None:
    """An overlay that it cannot read is not there, and nothing says so."""
    seen = start(me, singularity, images("gzip", "gzip"), "ls", "-d", "/new", "/mine")
    assert seen.stdout == "/mine\n/new\n" and seen.returncode == 0
    dropped = start(me, singularity, images("gzip", "zstd"), "ls", "-d", "/new", "/mine")
    assert dropped.stdout == "/mine\n" and dropped.returncode == 2
    assert "zstd" not in dropped.stderr and "FATAL" not in dropped.stderr
    refused = start(me, singularity, images("zstd", "gzip"), "true")
    assert f"while checking squashfs header: {ZSTD}" in refused.stderr


def test_strict_variables_and_options(me: Account, singularity: Path, images: Images) -> None:
    plain = 'it\'s $HOME `x` \\ "q"'
    env = {
        **{"SINGULARITYENV_ONE": "1", "SINGULARITY_BIND": f"{me.work}:/over"},
        **{"APPTAINERENV_TWO": plain, "APPTAINER_BIND": f"{me.work}:/mine"},
    }
    script = 'echo "$ONE" "${TWO-unset}"; printenv APPTAINERENV_TWO; ls /mine; [ -d /over/below ]'
    done = start(me, singularity, images("gzip"), "sh", "-c", script, env=env, quiet=True)
    assert done.stdout == f"1 unset\n{plain}\nbelow\n" and done.returncode == 1
    done = start(me, singularity, images("gzip"), "true", words=("--unsquash",))
    assert done.returncode == 1
    assert 'Error for command "exec": unknown flag: --unsquash' in done.stderr
    mine = start(me, singularity, images("gzip"), "echo", "--unsquash")
    assert mine.stdout == "--unsquash\n", "a word of the command's own"


@pytest.mark.parametrize(("version", "hidden"), [("3.11.4", True), ("4.1.5", False)])
def test_strict_order_of_binds(
    me: Account, images: Images, tmp_path: Path, version: str, hidden: bool
) -> None:
    real = runtimes.real_apptainer()
    require(bool(real), "Apptainer")
    older = strict.install(tmp_path / "bin", Path(str(real)), version)
    assert me.ok(older, "--version") == f"singularity-ce version {version}\n"
    image = images("gzip")
    (tmp_path / "over/below").mkdir(parents=True)
    words = ("-B", f"{tmp_path}/over:/mine,{image}:/mine/below:image-src=/")
    seen = start(me, older, image, "ls", "/mine/below", words=words)
    assert (seen.stdout == "") == hidden, seen.stderr


# -- accounts with a runtime of their own ----------------------------------------------------------
@pytest.mark.every_runtime
def test_an_account_has_one_runtime(
    account: Account, images: Images, request: pytest.FixtureRequest
) -> None:
    kind = request.node.callspec.params["account"]
    expected = {"strict": "singularity-ce version 4", "setuid": "apptainer version 1"}
    version = account.ok(account.runtime, "--version")
    assert version.startswith(expected.get(kind, ""))
    if kind in expected:
        found = account.ok("bash", "-c", "type -p apptainer mksquashfs || true")
        names = [Path(line).name for line in found.splitlines()]
        assert names[-1] == "mksquashfs" and ("apptainer" in names) == (kind == "setuid")
    assert start(account, account.runtime, images("gzip"), "true").returncode == 0
    if kind == "setuid":
        assert account.run("unshare", "--user", "true").returncode != 0


@pytest.fixture
def place() -> Iterator[Path]:
    root = Path(tempfile.mkdtemp(prefix="test-containerize-"))
    yield root
    remove_tree(root)


@pytest.mark.setuid
@pytest.mark.root("they need a set-uid runtime")
@pytest.mark.parametrize(
    ("settings", "helpers", "mounted"),
    [(runtimes.KERNEL, True, "squashfs"), ({}, True, "fuse"), ({}, False, "")],
    ids=["kernel", "fuse", "unpack"],
)
def test_setuid_configurations(
    place: Path, images: Images, settings: dict[str, str], helpers: bool, mounted: str
) -> None:
    account = setuid_user(place, settings, helpers=helpers)
    image = images("gzip")
    script = "while read -r _ place kind _; do [ $place != /over ] || echo $kind; done"
    command = ("sh", "-c", f"{script} </proc/mounts")
    words = ("-B", f"{image}:/over:image-src=/")
    bound = start(account, account.runtime, image, *command, words=words)
    assert bound.stdout == (f"{mounted}\n" if mounted else ""), bound.stderr
    assert ("disallows users from mounting squashFS" in bound.stderr) == (not mounted)
    assert start(account, account.runtime, image, "true").returncode == 0
