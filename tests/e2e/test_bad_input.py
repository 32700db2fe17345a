"""Every kind of bad input: one clear message, its own exit status, nothing left behind."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.account import Account
from tests.channel.broken import Damage, copy_with
from tests.channel.serve import Faults, serve
from tests.e2e.conftest import CONDA, entries, environment_text, needs_root, small_file_system
from wrapper.errors import ExitCode


class Place:
    """A directory to fail in: an env.yml, a directory for builds, nothing else."""

    def __init__(self, root: Path, account: Account) -> None:
        self.account = account
        self.root = root
        self.tmp = root / "tmp"
        self.tmp.mkdir()
        self.file = root / "env.yml"
        self.prefix = root / "prefix"

    def new(self, *options: str | Path, env: dict[str, str] | None = None) -> tuple[int, str]:
        """Run ``new`` on the env.yml; its status and what it said."""
        done = self.account.run(
            *(CONDA, "new", "--prefix", self.prefix, self.file, "--tmpdir", self.tmp),
            *options,
            env=env,
            cwd=self.root,
        )
        return done.returncode, done.stderr

    def assert_clean(self) -> None:
        """Nothing but, at most, the log of the failed build."""
        assert not self.prefix.exists() or not entries(self.prefix)
        assert [name for name in entries(self.root) if name.startswith(".")] == []
        left = [path for path in self.tmp.rglob("*") if path.is_file()]
        assert [path.name for path in left] in ([], ["build.log"])


@pytest.fixture
def place(tmp_path: Path, me: Account) -> Place:
    return Place(tmp_path, me)


def check(place: Place, outcome: tuple[int, str], code: ExitCode, *texts: str) -> None:
    status, said = outcome
    assert status == code, said
    assert "[ ERROR ]" in said and "Traceback" not in said
    for text in texts:
        assert text in said, said
    place.assert_clean()


# -- the environment file ------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "messages"),
    [
        (None, ("no such file", "env.yml")),
        ("a: 1\nb: c: d\n", ("env.yml is not valid YAML", "line 2, column 5")),
        ("- python\n", ("not a mapping", "line 1")),
        ("", ("is empty",)),
        ("channels: [x]\n", ("no dependencies",)),
        ("dependencies: []\n", ("no dependencies", "line 1")),
        ("dependencies:\n  - python\n  - 3.11\n", ("must be a string, found 3.11", "line 3")),
        ("dependencies:\n  - numpy: 1.26\n", ("must be a string", "line 2")),
        ("dependencies:\n  - 'numpy>='\n", ("not a package specification", "line 2")),
    ],
)
def test_environment_files(place: Place, text: str | None, messages: tuple[str, ...]) -> None:
    if text is not None:
        place.file.write_text(text)
    check(place, place.new(), ExitCode.INPUT, *messages)


def test_unknown_keys_are_a_warning(place: Place, channel: Path) -> None:
    place.file.write_text(environment_text(channel, "demo-sh-only", more="colour: blue\n"))
    status, said = place.new("--dry-run")
    assert status == 0
    assert "[ WARNING ]" in said and "env.yml:5: unknown key 'colour'" in said


# -- solving -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("specs", "messages"),
    [
        (("no-such-package",), ("no channel has", "No candidates were found for no-such-package")),
        (("python", "nunpy>=1"), ("no channel has a package 'nunpy'", "line 5", "mean numpy")),
        (("nunpy", "python=99"), ("no channel has 2 of", "mean numpy", "fits 'python=99'")),
        (
            ("python", "numpy=9.9"),
            ("a package that fits 'numpy=9.9'", "line 5", "there are numpy 2.2.1, 1.26.4"),
        ),
        (("numpy>=1.26 <3",), ("line 4", "joined by a comma: 'numpy>=1.26,<3'")),
        (("numpy=1.26.4=other_0",), ("line 4", "write 'numpy==1.26.4' for any build")),
        (("numpy=99",), ("fits 'numpy=99'", "line 4", "No candidates were found for numpy")),
        (
            ("demo-needs-base1", "demo-needs-base2"),
            ("cannot be installed together", "demo-base", "demo-needs-base2"),
        ),
        (("demo-needs-cuda",), ("cannot be installed together", "__cuda")),
    ],
)
def test_solver_failures_are_shown_whole(
    place: Place, channel: Path, runtime: Path, specs: tuple[str, ...], messages: tuple[str, ...]
) -> None:
    place.file.write_text(environment_text(channel, *specs))
    check(place, place.new(), ExitCode.SOLVE, *messages)


def test_virtual_packages_can_be_overridden(place: Place, channel: Path) -> None:
    place.file.write_text(environment_text(channel, "demo-needs-cuda"))
    status, said = place.new("--dry-run", env={"CONDA_OVERRIDE_CUDA": "12.4"})
    assert status == 0, said
    place.file.write_text(environment_text(channel, "demo-newglibc"))
    old = place.account.ok(
        *(CONDA, "new", "--prefix", place.prefix, place.file, "--dry-run", "-q"),
        env={"CONDA_OVERRIDE_GLIBC": "2.20"},
    )
    assert re.search(r"demo-newglibc\s+0\.9", old)


# -- channels and packages -----------------------------------------------------------------------
@pytest.mark.parametrize("url", ["http://127.0.0.1:9/channel", "file:///no/such/channel"])
def test_unreachable_channels(place: Place, runtime: Path, url: str) -> None:
    place.file.write_text(f"channels: ['{url}']\ndependencies: [python]\n")
    check(place, place.new(), ExitCode.CHANNEL, url, "to do:")


@pytest.mark.parametrize("scheme", ["file", "http"])
@pytest.mark.parametrize("damage", [Damage.CORRUPT, Damage.TRUNCATED, Damage.WRONG_SHA256])
def test_damaged_packages(
    place: Place, channel: Path, runtime: Path, scheme: str, damage: Damage
) -> None:
    bad = place.root / "channel"
    copy_with(channel, bad, {"demo-noarch": damage})
    with _url(bad, scheme) as url:
        place.file.write_text(f"channels: ['{url}']\ndependencies: [python, demo-noarch]\n")
        check(place, place.new(), ExitCode.PACKAGE, "demo-noarch-1.0", "sha256 expected")


@pytest.mark.parametrize("scheme", ["file", "http"])
def test_packages_that_are_gone(place: Place, channel: Path, runtime: Path, scheme: str) -> None:
    bad = place.root / "channel"
    copy_with(channel, bad, {"demo-noarch": Damage.MISSING})
    with _url(bad, scheme) as url:
        place.file.write_text(f"channels: ['{url}']\ndependencies: [python, demo-noarch]\n")
        code = ExitCode.PACKAGE if scheme == "file" else ExitCode.CHANNEL
        check(place, place.new(), code, "demo-noarch-1.0")


@contextlib.contextmanager
def _url(channel: Path, scheme: str) -> Iterator[str]:
    if scheme == "file":
        yield channel.as_uri()
    else:
        with serve(channel, Faults()) as url:
            yield url


def test_a_damaged_cache_is_noticed(place: Place, channel: Path, runtime: Path) -> None:
    cache = place.root / "cache"
    env = {"CONTAINERIZE_CACHE_DIR": str(cache)}
    with serve(channel) as url:
        place.file.write_text(f"channels: ['{url}']\ndependencies: [demo-sh-only]\n")
        assert place.new(env=env)[0] == 0
        place.prefix.rename(place.root / "first")
        (archive,) = cache.glob("archives/*/demo-sh-only*.conda")
        archive.write_bytes(b"damaged" + archive.read_bytes()[7:])
        status, said = place.new(env=env)
    assert status == 0, said


# -- scripts -------------------------------------------------------------------------------------
def test_a_failing_post_link_script(place: Place, channel: Path, runtime: Path) -> None:
    place.file.write_text(environment_text(channel, "demo-failing-postlink"))
    outcome = place.new()
    check(place, outcome, ExitCode.SCRIPT, "status 3", "cannot configure", "build.log")
    (log,) = place.tmp.rglob("build.log")
    assert str(log) in outcome[1]


@pytest.mark.parametrize("option", ["--pre-install", "--post-install"])
def test_a_failing_script_of_the_user(
    place: Place, channel: Path, runtime: Path, option: str
) -> None:
    place.file.write_text(environment_text(channel, "demo-sh-only"))
    script = place.root / "script.sh"
    script.write_text("echo last words >&2\nfalse\necho not reached\n")
    outcome = place.new(option, script)
    check(place, outcome, ExitCode.SCRIPT, "script.sh failed with status 1", "last words", "log:")
    assert "not reached" not in outcome[1]


def test_a_failing_pip_step(place: Place, channel: Path, runtime: Path) -> None:
    more = "  - pip:\n    - --no-index\n    - no-such-distribution\n"
    place.file.write_text(environment_text(channel, "python", more=more))
    told = "no index has a package 'no-such-distribution'", f"where:  {place.file}"
    check(place, place.new(), ExitCode.SOLVE, *told)


def test_pip_packages_without_python(place: Place, channel: Path, runtime: Path) -> None:
    more = "  - pip:\n    - anything\n"
    place.file.write_text(environment_text(channel, "demo-sh-only", more=more))
    check(place, place.new(), ExitCode.INPUT, "no Python", "add 'python'")


@pytest.mark.parametrize("option", ["-r", "--pre-install", "--post-install", "--environ"])
def test_missing_files_of_options(place: Place, channel: Path, option: str) -> None:
    place.file.write_text(environment_text(channel, "demo-sh-only"))
    check(place, place.new(option, "nowhere"), ExitCode.INPUT, "no such file", "nowhere")


# -- the prefix ----------------------------------------------------------------------------------
def test_a_prefix_that_is_not_empty(place: Place, channel: Path, runtime: Path) -> None:
    place.file.write_text(environment_text(channel, "demo-sh-only"))
    place.prefix.mkdir()
    (place.prefix / "mine").write_text("keep")
    status, said = place.new()
    assert status == ExitCode.PREFIX and "not empty" in said
    assert entries(place.prefix) == {"mine"}


def test_a_prefix_that_is_an_installation(place: Place, channel: Path, runtime: Path) -> None:
    place.file.write_text(environment_text(channel, "demo-sh-only"))
    assert place.new()[0] == 0
    status, said = place.new()
    assert status == ExitCode.PREFIX and "installation already" in said


@pytest.mark.parametrize("below", ["", "/sub/dir"])
def test_a_prefix_that_is_a_file_or_below_one(place: Place, channel: Path, below: str) -> None:
    place.file.write_text(environment_text(channel, "demo-sh-only"))
    (place.root / "file").write_text("keep")
    place.prefix = Path(f"{place.root}/file{below}")
    status, said = place.new()
    assert status == ExitCode.PREFIX and "file" in said
    assert (place.root / "file").read_text() == "keep"


def test_a_prefix_that_cannot_be_written(account: Account, channel: Path, runtime: Path) -> None:
    if account.name == "root":
        pytest.skip("root may write anywhere; the ordinary user's turn tests it")
    file = account.file("unwritable.yml", environment_text(channel, "demo-sh-only"))
    closed = account.directory("closed")
    closed.chmod(0o555)
    done = account.run(CONDA, "new", "--prefix", closed / "env", file)
    assert done.returncode == ExitCode.PREFIX
    assert "no permission to write" in done.stderr and str(closed) in done.stderr


@pytest.mark.parametrize("name", ["a:b", "a,b", 'a"b', "a\\b", "a\nb"])
def test_a_prefix_that_no_bind_can_express(place: Place, channel: Path, name: str) -> None:
    place.file.write_text(environment_text(channel, "demo-sh-only"))
    place.prefix = place.root / name
    status, said = place.new()
    assert status == ExitCode.PREFIX and "the prefix contains" in said


@pytest.mark.parametrize("path", ["a b", "a'b", 'a"b', "$HOME", "a\nb", "-x", "../../etc"])
def test_wrapper_paths_that_cannot_be_names(place: Place, channel: Path, path: str) -> None:
    place.file.write_text(environment_text(channel, "demo-sh-only"))
    check(place, place.new(f"--wrapper-paths={path}"), ExitCode.INPUT, "cannot be wrapped")


def test_wrapper_paths_that_do_not_exist(place: Place, channel: Path, runtime: Path) -> None:
    place.file.write_text(environment_text(channel, "demo-sh-only"))
    check(place, place.new("-w", "libexec/nothing"), ExitCode.INPUT, "libexec/nothing")


# -- tools and room ------------------------------------------------------------------------------
def fake_tools(directory: Path, **answers: str) -> str:
    """A PATH with programs that give these answers, and the system's own."""
    directory.mkdir()
    for name, answer in answers.items():
        program = directory / name
        program.write_text(f"#!/bin/sh\necho '{answer}'\n")
        program.chmod(0o755)
    return f"{directory}:/usr/bin:/bin"


@pytest.mark.parametrize(
    ("tools", "messages"),
    [
        ({"mksquashfs": "mksquashfs version 4.6"}, ("neither singularity nor apptainer",)),
        (
            {"singularity": "singularity version 2.6.0", "mksquashfs": "mksquashfs version 4.6"},
            ("singularity 2.6 is too old",),
        ),
        ({"apptainer": "apptainer version 1.3.0"}, ("mksquashfs is not on PATH",)),
        (
            {"apptainer": "apptainer version 1.3.0", "mksquashfs": "mksquashfs version 4.3"},
            ("mksquashfs 4.3 is too old",),
        ),
    ],
)
def test_missing_and_old_tools(
    place: Place, channel: Path, tools: dict[str, str], messages: tuple[str, ...]
) -> None:
    place.file.write_text(environment_text(channel, "demo-sh-only"))
    path = fake_tools(place.root / "tools", **tools)
    check(place, place.new(env={"PATH": path}), ExitCode.TOOL, *messages)


@needs_root
@pytest.mark.parametrize("what", ["build", "image"])
def test_no_room_to_begin(place: Place, channel: Path, runtime: Path, what: str) -> None:
    place.file.write_text(environment_text(channel, "python", "numpy", "scipy"))
    with small_file_system(place.root / "full", 20) as full:
        if what == "build":
            outcome = place.new("--tmpdir", full)
        else:
            place.prefix = full / "prefix"
            outcome = place.new()
        check(place, outcome, ExitCode.SPACE, f"no room for the {what}", "MB needed")
        assert [p for p in full.rglob("*") if p.name != "build.log" and p.is_file()] == []


@needs_root
def test_room_runs_out_for_the_image(place: Place, channel: Path, runtime: Path) -> None:
    place.file.write_text(environment_text(channel, "demo-sh-only"))
    script = place.root / "fill.sh"
    script.write_text('head -c 40000000 /dev/urandom > "$env_root/big"\n')
    with small_file_system(place.root / "full", 20) as full:
        place.prefix = full / "prefix"
        outcome = place.new("--post-install", script)
        check(place, outcome, ExitCode.SPACE, "no room left")
        assert entries(full) == set()


@needs_root
def test_room_runs_out_while_the_log_is_written(place: Place, channel: Path, runtime: Path) -> None:
    place.file.write_text(environment_text(channel, "demo-sh-only"))
    script = place.root / "fill.sh"
    script.write_text('head -c 40000000 /dev/zero >"$env_root/big" || :\nseq 10000\n')
    with small_file_system(place.root / "full", 20) as full:
        outcome = place.new("--pre-install", script, "--tmpdir", full)
        check(place, outcome, ExitCode.SPACE, "the log cannot be written: No space left")


# -- interruptions -------------------------------------------------------------------------------
STEPS = ["Solving", "Preparing", "Fetching", "Linking", "pre-install", "Byte-compiling"]
STEPS += ["post-install", "Recording", "Writing"]
BARE = {"pre-install", "post-install", "Recording"}  # last as long without a Python


@pytest.mark.parametrize(
    ("step", "number"),
    [
        *((step, number) for step in STEPS for number in (signal.SIGINT, signal.SIGTERM)),
        ("post-install", signal.SIGHUP),
    ],
)
@pytest.mark.usefixtures("runtime")
def test_an_interruption_leaves_nothing(
    place: Place, channel: Path, step: str, number: signal.Signals
) -> None:
    specs = ("demo-activate",) if step in BARE else ("python", "demo-activate")
    place.file.write_text(environment_text(channel, *specs))
    script = place.root / "slow.sh"
    script.write_text("sleep 0.5\n")
    account = place.account
    argv = account.argv(
        [
            *(CONDA, "new", "--prefix", place.prefix, place.file, "--tmpdir", place.tmp, "-v"),
            *("--pre-install", script, "--post-install", script),
        ]
    )
    env = account.environment()
    with subprocess.Popen(
        argv, env=env, cwd=place.root, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as child:
        assert child.stderr is not None
        said = ""
        for line in child.stderr:
            said += line
            if f"begin: {step}" in line or f"begin: Running the {step}" in line:
                time.sleep(0.05)
                os.killpg(child.pid, number)
        status = child.wait(60)
    assert f"begin: {step}" in said or f"begin: Running the {step}" in said
    assert status == 128 + number, said
    assert "Traceback" not in said
    assert not place.prefix.exists()
    assert entries(place.tmp) == set()
    assert [name for name in entries(place.root) if name.startswith(".")] == []


def test_nohup_is_respected(place: Place, channel: Path, runtime: Path) -> None:
    place.file.write_text(environment_text(channel, "demo-sh-only"))
    script = place.root / "hang-up.sh"
    script.write_text("kill -HUP $(cat builder)\n")
    argv = ["nohup", CONDA, "new", "--prefix", place.prefix, place.file, "--post-install", script]
    with subprocess.Popen(
        argv, env=place.account.environment(), cwd=place.root, stderr=subprocess.DEVNULL
    ) as child:
        (place.root / "builder").write_text(str(child.pid))
        assert child.wait(60) == 0
    assert place.prefix.is_dir()
