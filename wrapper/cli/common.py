"""What all commands share: signals, errors to messages and exit codes, common options."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from types import FrameType
from typing import NoReturn

import click

from wrapper import process
from wrapper.console import Console, visible
from wrapper.errors import (
    ContainerizeError,
    ExitCode,
    InputError,
    Interrupted,
    SpaceError,
    means_no_space,
)
from wrapper.process import SIGNALS

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
# What a system call says of paths that can be nothing: only the user can have named them.
_WRONG_PATHS = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP)


class Command(click.Command):
    """A command whose long options may be shortened, ``--post`` for ``--post-install``.

    Those of Tykky and cotainr may, and their users and documentation do so.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        _help_without_words(ctx, args)
        options = {
            name: option
            for option in self.get_params(ctx)
            for name in option.opts
            if name.startswith("--")
        }
        end = args.index("--") if "--" in args else len(args)
        whole = [_whole(word, options) for word in args[:end]]
        try:
            return super().parse_args(ctx, [*whole, *args[end:]])
        except click.NoSuchOption as error:
            if end == len(args) and any("--" in str(it.metavar) for it in self.get_params(ctx)):
                text = f"{error.format_message()} If it is COMMAND's, write -- before COMMAND."
                raise click.UsageError(text, ctx) from None
            raise


class Group(click.Group):
    """A command with sub-commands, whose options may be shortened."""

    command_class = Command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        _help_without_words(ctx, args)
        return super().parse_args(ctx, args)


def _help_without_words(ctx: click.Context, args: list[str]) -> None:
    """The command alone is a question, not a mistake: status 0, as Tykky's."""
    if not args and ctx.parent is None and not ctx.resilient_parsing:
        say(ctx.get_help())
        ctx.exit()


# A later option, which takes no short form away from Tykky's --requirements-file.
_UNSHORTENED = "--require-hashes"


def _whole(word: str, options: Mapping[str, click.Parameter]) -> str:
    """``word`` with the whole name, where it begins that of one option and of no other."""
    name, equals, value = word.partition("=")
    meant = {
        option.name: whole
        for whole, option in options.items()
        if whole.startswith(name) and whole != _UNSHORTENED
    }
    if len(name) < len("--x") or name in options or len(meant) != 1:
        return word
    (whole,) = meant.values()
    return whole + equals + value


def run_command(work: Callable[[Console], object], *, verbosity: int, debug: bool) -> NoReturn:
    """Do ``work``; end the process with its exit code, every failure told in full.

    What is to be removed goes after the last word, and without an interruption.
    """
    process.in_utf8()
    console = Console(verbosity)
    interrupt = functools.partial(_interrupt, process.children())
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup wants it ignored
            signal.signal(number, interrupt)
    try:
        code = _exit_code(work, console, debug=debug)
    finally:
        process.ignore_signals()
        with contextlib.suppress(BrokenPipeError):
            console.finish()
    _leave(code)


def _exit_code(work: Callable[[Console], object], console: Console, *, debug: bool) -> int:
    try:
        work(console)
        code = 0
    except click.ClickException:
        raise
    except ContainerizeError as error:
        code = _report(console, error, debug=debug)
    except Interrupted as interrupted:
        _tell(console, interrupted.what, [], debug=False)
        code = interrupted.code
    except BrokenPipeError:  # who read our output (head, grep -q) has seen enough
        code = 128 + signal.SIGPIPE
    except OSError as error:
        if known := _explained(error):
            code = _report(console, known, debug=debug)
        else:
            code = _report_bug(console, error, debug=debug)
    except Exception as error:  # a bug of ours, but the user shall not see its entrails
        code = _report_bug(console, error, debug=debug)
    return code


def _interrupt(strangers: set[int], number: int, _frame: FrameType | None) -> NoReturn:
    """:param strangers: children of the shell that became this process by exec."""
    process.ignore_signals()  # a second one must not stop the cleaning up after the first
    process.end_all(process.children() - strangers)  # other threads may wait for programs
    raise Interrupted(number)


def _explained(error: OSError) -> ContainerizeError | None:
    """What a system call says as an error of the user's; ``None`` where it is a bug of ours."""
    where = error.filename or ""
    if isinstance(error, PermissionError):
        return InputError("no permission", where=where, hint="check the path and its permissions")
    if means_no_space(error):
        return SpaceError("no room left", where=where, hint="free some space or quota")
    if isinstance(error, FileNotFoundError) and not where and _nowhere():
        return InputError(
            "the working directory has gone",
            where=os.environ.get("PWD"),
            hint="change to one that exists: cd",
        )
    if error.errno in _WRONG_PATHS:
        return InputError(
            f"a path cannot be used: {error.strerror}",
            where=where,
            hint="check the paths that you named",
        )
    return None


def _nowhere() -> bool:
    """Whether the working directory was removed."""
    try:
        os.getcwd()  # noqa: PTH109
    except FileNotFoundError:
        return True
    return False


def _report(console: Console, error: ContainerizeError, *, debug: bool) -> int:
    lines = []
    if error.where:
        lines.append(f"  where:  {error.where}")
    if error.hint:
        lines.append(f"  to do:  {error.hint}")
    if console.log_path:
        lines.append(f"  log:    {console.log_path}")
    if error.detail:
        lines += ["", *(f"    {line}" for line in error.detail.splitlines())]
    _tell(console, error.what, lines, debug=debug)
    return error.code


def _report_bug(console: Console, error: Exception, *, debug: bool) -> int:
    lines = ["  to do:  run again with --debug and report what it prints"]
    if console.log_path:
        lines.append(f"  log:    {console.log_path}")
    what = f"internal error: {type(error).__name__}: {error}"
    _tell(console, what, lines, debug=debug)
    return ExitCode.BUG


def _tell(console: Console, what: str, lines: list[str], *, debug: bool) -> None:
    if debug:
        lines += traceback.format_exc().splitlines()
    with contextlib.suppress(BrokenPipeError):  # the status says it too
        console.error(what, lines)


def say(text: object, *, end: str = "\n") -> None:
    """Print a result to standard output, which can be anywhere and of any encoding."""
    encoding = sys.stdout.encoding or "utf-8"
    shown = visible(str(text)).encode(encoding, "backslashreplace").decode(encoding)
    click.echo(shown + end, nl=False)


def _leave(code: int) -> NoReturn:
    """End without tearing down the interpreter.

    rattler's threads outlive its calls, and the interpreter sometimes crashes at exit because of
    them (measured with py-rattler 0.28: status 139 or 134). All our files are closed by now.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code)


def with_console(command: Callable[..., object]) -> Callable[..., object]:
    """``-v``, ``-q`` and ``--debug`` make a command's console, its first argument; it ends as
    :func:`run_command` says.
    """

    @click.option("-v", "--verbose", is_flag=True, help="Show the output of every program.")
    @click.option("-q", "--quiet", is_flag=True, help="Show only warnings and errors.")
    @click.option("--debug", is_flag=True, help="Show tracebacks with errors; implies -v.")
    @functools.wraps(command)
    def wrapped(*, verbose: bool, quiet: bool, debug: bool, **options: object) -> NoReturn:
        verbosity = 1 if verbose or debug else -1 if quiet else 0
        run_command(functools.partial(command, **options), verbosity=verbosity, debug=debug)

    return wrapped
