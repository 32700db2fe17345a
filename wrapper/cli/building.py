"""What ``conda-containerize`` and ``pip-containerize`` do alike: options to a result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wrapper.cli.common import run_command, say
from wrapper.cli.options import request_fields, require
from wrapper.console import Console


@dataclass(frozen=True, kw_only=True)
class Steps:
    """What a new installation, or an update, is made of: its request, its plan, its build."""

    request: Callable[..., Any]
    plan: Callable[[Any, Console], Any]
    build: Callable[[Any, Console], Any]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What the commands differ in.

    :ivar modes: Tykky's words for a new installation and for an update.
    :ivar steps: of a new installation (true) or an update; imports what they need.
    :ivar needed: the field of a request without which there is nothing to install, and the line of
        a tool's file that says it.
    """

    modes: tuple[str, str]
    steps: Callable[[bool], Steps]
    needed: tuple[str, str]


def run_build(options: dict[str, Any], kind: Kind, *, new: bool | None) -> None:
    """Build, or say what would be built, and end the process.

    :param new: a new installation or an update; ``None``: the tool's file says which.
    """
    dry_run, as_json = options.pop("dry_run", False), options.pop("as_json")
    tool_file = options.pop("tool_file", None)

    def work(console: Console) -> None:
        from wrapper.build import inputs
        from wrapper.cli import report

        tool = inputs.read_tool(tool_file, kind.modes, console)
        fresh = new if new is not None else tool.mode != kind.modes[1]
        steps = kind.steps(fresh)
        request = steps.request(**request_fields({"prefix": None, **options}, console))
        request = inputs.completed(request, tool)
        if tool_file and not request.prefix:
            raise inputs.incomplete(tool_file, "where to install", "installation_prefix: DIR")
        require(request.prefix, "--prefix")
        name, line = kind.needed
        if fresh and not getattr(request, name):
            raise inputs.incomplete(tool_file, "what to install", line)
        if dry_run:
            plan = steps.plan(request, console)
            say(report.plan_json(plan) if as_json else report.plan_table(plan))
            return
        result = steps.build(request, console)
        for line in (report.describe_variables(result), report.describe(result)):
            if line:
                console.info(line)
        if as_json:
            say(report.result_json(result))

    run_command(work, verbosity=options["verbosity"], debug=options["debug"])
