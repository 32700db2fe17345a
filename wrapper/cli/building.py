"""What ``conda-containerize`` and ``pip-containerize`` do alike: options to a result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from wrapper.cli.common import run_command, say
from wrapper.cli.options import prefix_of, request_fields
from wrapper.console import Console

if TYPE_CHECKING:
    from wrapper.inputs.tykky import ToolFile
    from wrapper.requests import Plan, Request, Result

R = TypeVar("R", bound="Request")


@dataclass(frozen=True, kw_only=True)
class Steps(Generic[R]):
    """What a new installation, or an update, is made of: its request, its plan, its build."""

    request: type[R]
    plan: Callable[[R, Console], Plan]
    build: Callable[[R, Console], Result]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What the commands differ in.

    :ivar modes: Tykky's words for a new installation and for an update.
    :ivar steps: of a new installation (true) or an update; imports what they need.
    :ivar asks: whether there is something to install for a new one, :ivar needed: and the line of a
        tool's file that says it.
    """

    modes: tuple[str, str]
    steps: Callable[[bool], Steps[Any]]
    asks: Callable[[Request], bool]
    needed: str


def run_build(options: dict[str, Any], kind: Kind, *, new: bool | None) -> None:
    """Build, or say what would be built, and end the process.

    :param new: a new installation or an update; ``None``: the tool's file says which.
    """
    dry_run, as_json = options.pop("dry_run", False), options.pop("as_json")
    tool_file = options.pop("tool_file", None)

    def work(console: Console) -> None:
        from wrapper.build import inputs

        tool = inputs.read_tool(tool_file, kind.modes, console)
        fresh = new if new is not None else tool.mode != kind.modes[1]
        steps = kind.steps(fresh)
        request = _request(steps.request, {"prefix": None, **options}, tool, tool_file, console)
        if fresh and not kind.asks(request):
            raise inputs.incomplete(tool_file, "what to install", kind.needed)
        if dry_run or options.get("lock"):
            _tell_plan(steps.plan(request, console), as_json=as_json)
        else:
            _tell_result(steps.build(request, console), console, as_json=as_json)

    run_command(work, verbosity=options["verbosity"], debug=options["debug"])


def _request(
    kind: type[R],
    options: dict[str, Any],
    tool: ToolFile,
    tool_file: Path | None,
    console: Console,
) -> R:
    from wrapper.build import inputs

    fields = request_fields(options, console)
    if tool_file and not (fields["prefix"] or tool.prefix):
        raise inputs.incomplete(tool_file, "where to install", "installation_prefix: DIR")
    fields["prefix"] = prefix_of(fields, tool)
    return inputs.completed(kind(**fields), tool)


def _tell_plan(plan: Plan, *, as_json: bool) -> None:
    from wrapper.cli import report

    say(report.plan_json(plan) if as_json else report.plan_table(plan))


def _tell_result(result: Result, console: Console, *, as_json: bool) -> None:
    from wrapper.cli import report

    for line in (report.describe_variables(result), report.describe(result)):
        if line:
            console.info(line)
    if as_json:
        say(report.result_json(result))
