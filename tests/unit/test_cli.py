"""The command line: help without accidents, options into requests, errors into exit codes."""

from __future__ import annotations

import errno
import inspect
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

import click
import pytest
from click.testing import CliRunner, Result

from tests.manifests import manifest
from wrapper import __version__
from wrapper.cli import common
from wrapper.cli.conda import conda_containerize
from wrapper.cli.pip import pip_containerize
from wrapper.cli.umbrella import containerize
from wrapper.cli.wrap import wrap_container, wrap_install
from wrapper.console import Console
from wrapper.errors import (
    BusyError,
    ChannelError,
    ContainerizeError,
    ExitCode,
    InputError,
    Interrupted,
    PackageError,
    PrefixError,
    ScriptError,
    SolveError,
    SpaceError,
    ToolError,
)
from wrapper.manifest import as_json, manifest_text
from wrapper.models import Site
from wrapper.requests import NewPipRequest, NewRequest, UpdatePipRequest
from wrapper.requests import Result as Built

INSTALLED: list[click.Command] = [
    conda_containerize,
    pip_containerize,
    containerize,
    wrap_container,
    wrap_install,
]


def commands(
    program: click.Command, *words: str
) -> Iterator[tuple[click.Command, list[str], click.Command]]:
    """A program with all its commands: the words that lead to each, and itself."""
    for name, command in getattr(program, "commands", {}).items():
        yield from ((program, found, one) for _, found, one in commands(command, *words, name))
    yield program, [*words], program


EVERY = [entry for program in INSTALLED for entry in commands(program)]


@pytest.fixture(autouse=True)
def stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands end this test and not this process, and leave its signals alone."""

    def leave(code: int) -> NoReturn:
        raise SystemExit(int(code))

    monkeypatch.setattr(common, "_leave", leave)
    monkeypatch.setattr(signal, "signal", lambda *_: None)


def invoke(program: click.Command, *words: str | Path) -> Result:
    return CliRunner().invoke(program, [str(word) for word in words])


def test_an_option_of_a_command_without_two_dashes_before_it() -> None:
    for name in ("profile", "jobscript"):
        result = invoke(containerize, name, "DIR", "python3", "-c", "0")
        assert result.exit_code == ExitCode.USAGE and "write -- before COMMAND" in result.stderr
        result = invoke(containerize, name, "--nothing", "DIR", "--", "python3", "-c", "0")
        assert "--nothing" in result.stderr and "before COMMAND" not in result.stderr


# -- help ----------------------------------------------------------------------------------------
def test_help_is_help() -> None:
    for program, words, _ in EVERY:
        for option in ("--help", "-h"):
            result = invoke(program, *words, option)
            assert (result.exit_code, result.stderr) == (0, ""), words
            assert "Usage:" in result.stdout and "Traceback" not in result.stdout
            assert max(map(len, result.stdout.splitlines())) <= 100, words


def test_summaries_are_whole() -> None:
    for program, words, _ in EVERY:
        result = CliRunner().invoke(program, [*words, "--help"], terminal_width=80)
        listed = result.stdout.partition("Commands:")[2].splitlines()
        assert [line for line in listed if line.endswith("...")] == []


def test_everything_is_explained() -> None:
    unexplained = [
        (*words, parameter.name)
        for _, words, command in EVERY
        for parameter in command.params
        if isinstance(parameter, click.Option) and not (parameter.help or "").endswith(".")
    ]
    assert unexplained == []
    assert all(one.help and one.help.splitlines()[0].endswith(".") for _, _, one in EVERY)


def test_arguments_have_readable_names() -> None:
    arguments = [p for _, _, one in EVERY for p in one.params if isinstance(p, click.Argument)]
    assert arguments and all(argument.metavar for argument in arguments)


def test_a_program_alone_shows_its_help() -> None:
    for program in INSTALLED:
        result = invoke(program)
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout == invoke(program, "--help").stdout


def test_the_version_is_told() -> None:
    for program in INSTALLED:
        result = invoke(program, "--version")
        assert (result.exit_code, result.stdout) == (0, f"{program.name}, version {__version__}\n")


@pytest.mark.parametrize(
    "words",
    [
        ["new"],
        ["new", "env.yml"],
        ["new", "--prefix", "x"],
        ["advanced"],
        ["new", "--prefix", "x", "a", "b"],
        ["new", "--prefix", "", "a"],
        ["new", "--prefix", "x", ""],
        ["update", ""],
        ["new", "--prefix", "x", "a", "--compression", "best"],
        ["new", "--prefix", "x", "a", "--no-such-option"],
        ["frobnicate"],
    ],
)
def test_wrong_usage_is_clicks_to_tell(words: list[str]) -> None:
    result = invoke(conda_containerize, *words)
    assert result.exit_code == ExitCode.USAGE
    assert "Usage:" in result.stderr and "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("command", "work"), [("new", "new.new_pip"), ("update", "update.update_pip")]
)
@pytest.mark.parametrize("words", [["r.txt", "-r", "s.txt"], ["-r", "r.txt", "-r", "s.txt"]])
def test_requirements_are_named_with_and_without_their_option(
    command: str, work: str, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[NewPipRequest | UpdatePipRequest] = []
    monkeypatch.setattr(f"wrapper.commands.{work}", lambda request, *_: asked.append(request))
    place = ["--prefix", "x"] if command == "new" else ["x"]
    result = invoke(pip_containerize, command, *place, *words)
    assert [one.requirements for one in asked] == [(Path("r.txt"), Path("s.txt"))], result.stderr
    nothing = invoke(pip_containerize, "new", "--prefix", "x")
    assert nothing.exit_code == ExitCode.USAGE and "REQ_FILE" in nothing.stderr


# -- options that are shortened --------------------------------------------------------------------
@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["--post", "x"], ["--post-install", "x"]),
        (["--wrap=a,b"], ["--wrapper-paths=a,b"]),
        (["--requirement", "x"], ["--requirement", "x"]),
        (["--prefix=--post"], ["--prefix=--post"]),
        (["--pre", "x"], ["--pre", "x"]),  # --prefix, --pre-install
        (["--p"], ["--p"]),
        (["--", "--post"], ["--", "--post"]),
        (["-r", "x"], ["-r", "x"]),
    ],
)
def test_options_may_be_shortened(
    given: list[str], meant: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(click.Command, "parse_args", lambda self, ctx, args: seen.append(args))
    command = conda_containerize.commands["new"]
    command.parse_args(click.Context(command), given)
    assert seen == [meant]


def test_one_option_may_have_two_names_that_begin_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """``--requirement`` and ``--requirements-file`` of pip-containerize."""
    seen: list[list[str]] = []
    monkeypatch.setattr(click.Command, "parse_args", lambda self, ctx, args: seen.append(args))
    command = pip_containerize.commands["update"]
    command.parse_args(click.Context(command), ["--req", "x"])
    assert seen[0][0] in ("--requirement", "--requirements-file")


# -- options and their types -----------------------------------------------------------------------
def taken(command: click.Command) -> dict[str, object]:
    """What a command's function takes: the type of each value by name, those of groups too."""
    assert command.callback
    types = get_type_hints(inspect.unwrap(command.callback))
    groups = [name for name, kind in types.items() if is_dataclass(kind)]
    types |= {name: kind for group in groups for name, kind in get_type_hints(types[group]).items()}
    own = {name: kind for name, kind in types.items() if name not in (*groups, "return")}
    return {name: kind for name, kind in own.items() if kind is not Console}


def made(parameter: click.Parameter) -> object:
    """The type of what click makes of an option or an argument."""
    kind: Any = {"integer": int, "integer range": int, "boolean": bool}.get(
        parameter.type.name, str
    )
    if isinstance(parameter.type, click.Path):
        kind = Path
    if parameter.multiple or parameter.nargs == -1:
        return tuple[kind, ...]
    default = parameter.get_default(click.Context(click.Command("x")))
    return kind if parameter.required or isinstance(default, str | int) else kind | None


def test_functions_take_what_click_makes() -> None:
    """Click hands values over by name, where no checker of types sees them."""
    common_ones = {"verbose", "quiet", "debug", "help", "version"}
    for _, words, command in EVERY:
        if not isinstance(command, click.Group):
            handed = [one for one in command.params if one.expose_value]
            own = {one.name: made(one) for one in handed if one.name not in common_ones}
            assert taken(command) == own, words


# -- shells --------------------------------------------------------------------------------------
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_functions_of_a_shell_are_a_file(shell: str) -> None:
    file = Path(invoke(containerize, "shell-init", "--path", shell).stdout.rstrip("\n"))
    assert invoke(containerize, "shell-init", shell).stdout == file.read_text()


@pytest.mark.parametrize("words", [["activate", "x"], ["deactivate"]])
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_without_its_functions_activating_is_explained(
    words: list[str], shell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHELL", f"/bin/{shell}")
    result = invoke(containerize, *words)
    assert result.exit_code == ExitCode.USAGE
    assert f"containerize shell-init {shell}" in result.stderr


# -- requests ------------------------------------------------------------------------------------
MANIFEST = manifest(
    tree={"files": 10, "size": 2000}, image={"sha256": "0", "size": 1000}, programs=3
)


@pytest.fixture
def sites(monkeypatch: pytest.MonkeyPatch) -> list[Site]:
    """The configuration of each request; none comes from outside."""
    for name in ("CW_GLOBAL_YAML", "CW_BUILD_TMPDIR", "CONTAINERIZE_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CONTAINERIZE_SITE", "")
    return []


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch, sites: list[Site]) -> list[NewRequest]:
    """What ``new`` was asked for; it succeeds."""
    seen: list[NewRequest] = []

    def new(request: NewRequest, _console: object) -> Built:
        sites.append(request.site)
        seen.append(replace(request, site=Site()))
        return Built(prefix=request.prefix, manifest=MANIFEST, seconds=1.25)

    monkeypatch.setattr("wrapper.commands.new.new", new)
    return seen


def test_a_plain_call(requests: list[NewRequest]) -> None:
    result = invoke(conda_containerize, "new", "--prefix", "/p", "env.yml")
    assert result.exit_code == 0
    assert requests == [NewRequest(prefix=Path("/p"), environment=Path("env.yml"))]
    assert result.stdout == ""
    assert "10 files, 2.0 kB -> one image of 1.0 kB, 3 programs in /p/bin" in result.stderr


def test_every_option_reaches_the_request(requests: list[NewRequest], sites: list[Site]) -> None:
    invoke(
        conda_containerize,
        *("new", "--prefix", "/p", "env.yml", "-r", "a.txt", "--requirement", "b.txt"),
        *("--pre-install", "pre.sh", "--post-install", "post.sh", "--environ", "vars"),
        *("-w", "libexec,tools/x", "--wrapper-paths", "more,", "-c", "one", "--channel", "two"),
        *("--nocache", "--tmpdir", "/t", "--compression", "small"),
    )
    assert requests == [
        NewRequest(
            prefix=Path("/p"),
            environment=Path("env.yml"),
            requirements=(Path("a.txt"), Path("b.txt")),
            pre_install=(Path("pre.sh"),),
            post_install=(Path("post.sh"),),
            environ=Path("vars"),
            wrapper_paths=("libexec", "tools/x", "more"),
            channels=("one", "two"),
            use_cache=False,
            compression="small",
        )
    ]
    assert (sites[0].tmpdir, sites[0].compression) == (Path("/t"), "small")


@pytest.mark.parametrize("options", [["--mamba"], ["--uv"], ["--mamba", "--uv"]])
def test_tykkys_options_are_accepted(requests: list[NewRequest], options: list[str]) -> None:
    result = invoke(conda_containerize, "new", "--prefix", "/p", "env.yml", *options)
    assert result.exit_code == 0 and len(requests) == 1
    assert "change nothing" in result.stderr
    quiet = invoke(conda_containerize, "new", "--prefix", "/p", "env.yml", "-q", *options)
    assert "change nothing" not in quiet.stderr


def test_the_result_as_json_is_all_of_standard_output(requests: list[NewRequest]) -> None:
    result = invoke(conda_containerize, "new", "--prefix", "/p", "env.yml", "--json", "-v")
    assert json.loads(result.stdout) == {"prefix": "/p", "seconds": 1.2, **as_json(MANIFEST)}


@pytest.mark.parametrize(("option", "shown"), [("-q", False), ("-v", True), ("--debug", True)])
def test_quiet_is_quiet(requests: list[NewRequest], option: str, shown: bool) -> None:
    result = invoke(conda_containerize, "new", "--prefix", "/p", "env.yml", option)
    assert ("[ INFO ]" in result.stderr) == shown


# -- failures ------------------------------------------------------------------------------------
def failing(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, *options: str, log: Path | None = None
) -> Result:
    """Run ``new``, which fails with ``error``."""

    def new(_request: object, console: Any) -> NoReturn:
        console.log_path = log
        raise error

    monkeypatch.setattr("wrapper.commands.new.new", new)
    return invoke(conda_containerize, "new", "--prefix", "/p", "env.yml", *options)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (InputError, 3),
        (SolveError, 4),
        (ChannelError, 5),
        (PackageError, 6),
        (ScriptError, 7),
        (PrefixError, 8),
        (SpaceError, 9),
        (ToolError, 10),
        (BusyError, 11),
    ],
)
def test_every_kind_of_error_has_its_documented_status(
    monkeypatch: pytest.MonkeyPatch, kind: type[ContainerizeError], code: int
) -> None:
    error = kind("what happened", where="/there", hint="do this", detail="last\nwords")
    result = failing(monkeypatch, error, log=Path("/tmp/build.log"))
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.splitlines() == [
        "[ ERROR ] what happened",
        "  where:  /there",
        "  to do:  do this",
        "  log:    /tmp/build.log",
        "",
        "    last",
        "    words",
    ]


def test_an_error_without_more_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    result = failing(monkeypatch, InputError("what happened"))
    assert result.stderr == "[ ERROR ] what happened\n"


def test_quiet_still_tells_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "what happened" in failing(monkeypatch, InputError("what happened"), "-q").stderr


def test_tracebacks_are_for_debugging(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Traceback" not in failing(monkeypatch, InputError("x"), "-v").stderr
    assert "Traceback" in failing(monkeypatch, InputError("x"), "--debug").stderr


def test_a_bug_is_said_to_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    result = failing(monkeypatch, ValueError("entrails"), log=Path("/tmp/build.log"))
    assert result.exit_code == ExitCode.BUG
    assert "internal error: ValueError: entrails" in result.stderr
    assert "--debug" in result.stderr and "/tmp/build.log" in result.stderr
    assert "Traceback" not in result.stderr
    assert "Traceback" in failing(monkeypatch, ValueError("x"), "--debug").stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_ends_as_the_signal_would(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    result = failing(monkeypatch, Interrupted(number))
    assert result.exit_code == code
    assert result.stderr == "[ ERROR ] interrupted, nothing was changed\n"


@pytest.mark.parametrize(
    ("end", "code", "word"),
    [("pass", 0, ""), ("raise InputError('why')", ExitCode.INPUT, "[ ERROR ] why\n")],
)
def test_what_is_to_be_removed_goes_after_the_last_word_whoever_interrupts(
    end: str, code: int, word: str
) -> None:
    work = f"""
import os, signal, sys
from wrapper.cli.common import run_command
from wrapper.errors import InputError

def work(console):
    def remove():
        os.kill(os.getpid(), signal.SIGINT)
        print("removed", file=sys.stderr, flush=True)

    console.afterwards(remove)
    console.info("told")
    {end}

run_command(work, verbosity=0, debug=False)
"""
    done = subprocess.run([sys.executable, "-c", work], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, f"[ INFO ] told\n{word}removed\n")


def test_a_reader_that_has_seen_enough_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    result = failing(monkeypatch, BrokenPipeError(32, "Broken pipe"))
    assert (result.exit_code, result.stderr) == (128 + signal.SIGPIPE, "")


@pytest.mark.parametrize("option", [[], ["--debug"]])
def test_a_full_disk_while_the_log_is_written(
    monkeypatch: pytest.MonkeyPatch, option: list[str]
) -> None:
    def build(_request: NewRequest, console: Console) -> Built:
        console.open_log(Path("/dev/full"))
        console.info("on the way")
        raise AssertionError("it ended there")

    monkeypatch.setattr("wrapper.commands.new.new", build)
    result = invoke(conda_containerize, "new", "--prefix", "/p", "env.yml", *option)
    assert result.exit_code == ExitCode.SPACE == 9
    assert "[ ERROR ] the log cannot be written: No space left on device" in result.stderr
    assert ("Traceback" in result.stderr) is bool(option)


def test_an_error_steers_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    steering = "\x1b[2J"
    error = InputError(*[f"what{steering}"], where=steering, hint=steering, detail=f"x\n{steering}")
    result = failing(monkeypatch, error, "--debug")
    assert steering not in result.stderr and result.stderr.count("\\x1b[2J") >= 4


def test_a_path_that_can_be_none_is_the_users_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    error = OSError(errno.ENAMETOOLONG, "File name too long", "/a/path")
    result = failing(monkeypatch, error)
    assert result.exit_code == ExitCode.INPUT
    assert "File name too long" in result.stderr and "where:  /a/path" in result.stderr
    assert failing(monkeypatch, OSError(errno.EIO, "Input/output error")).exit_code == ExitCode.BUG


def test_an_output_that_cannot_be_looked_at(tmp_path: Path) -> None:
    output = tmp_path / ("x" * 300)
    result = invoke(containerize, "build", str(output), "--base-image", "b.sif")
    assert result.exit_code == ExitCode.INPUT
    assert "File name too long" in result.stderr


def test_what_cannot_be_read_is_no_wrong_command_line() -> None:
    types = [p.type for _, _, one in EVERY for p in one.params if isinstance(p.type, click.Path)]
    assert types and not [kind for kind in types if kind.readable or kind.exists]


# -- the umbrella --------------------------------------------------------------------------------
def test_the_manifest_is_printed(tmp_path: Path) -> None:
    (tmp_path / "current").mkdir()
    (tmp_path / "current/manifest.json").write_text(manifest_text(MANIFEST))
    result = invoke(containerize, "inspect", tmp_path)
    assert json.loads(result.stdout) == as_json(MANIFEST)


def test_a_prefix_that_is_none_is_told(tmp_path: Path) -> None:
    result = invoke(containerize, "inspect", tmp_path)
    assert result.exit_code == ExitCode.PREFIX
    assert f"where:  {tmp_path}" in result.stderr


def test_the_tools_of_this_machine_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, script in (
        ("apptainer", "echo apptainer version 1.4.5"),
        ("mksquashfs", 'echo mksquashfs version 4.6.1; [ "$1" = -version ] || : >"$2"'),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CW_BUILD_TMPDIR", str(tmp_path))
    monkeypatch.delenv("CONTAINERIZE_RUNTIME", raising=False)
    monkeypatch.setenv("CONTAINERIZE_CACHE_DIR", "/my/cache")
    lines = invoke(containerize, "info").stdout.splitlines()
    assert lines[0] == f"runtime      apptainer 1.4.5 ({tmp_path}/apptainer)"
    assert lines[1] == f"mksquashfs   4.6 ({tmp_path}/mksquashfs)"
    assert lines[2].startswith(f"builds in    {tmp_path} (")
    assert lines[3] == "compression  zstd:3"
    assert lines[4] == "overlays     mounted"
    assert lines[6] == "cache        /my/cache"
