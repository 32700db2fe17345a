"""What ``conda-containerize`` and ``pip-containerize`` do alike: options to a result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from wrapper.cli.common import say
from wrapper.cli.options import (
    BuildOptions,
    chosen_compression,
    configured,
    prefix_of,
    split_paths,
)
from wrapper.console import Console

if TYPE_CHECKING:
    from wrapper.inputs.tykky import ToolFile
    from wrapper.models import Site
    from wrapper.requests import Plan, Request, Result

R = TypeVar("R", bound="Request")


@dataclass(frozen=True, kw_only=True)
class Building:
    """A command that builds, begun: its options, and what site and tool's file say to them."""

    options: BuildOptions
    console: Console
    site: Site
    tool: ToolFile
    tool_file: Path | None

    def prefix(self, given: Path | None) -> Path:
        """Where to install. :raises ContainerizeError: nobody says it."""
        from wrapper.build import inputs

        if self.tool_file and not (given or self.site.prefix or self.tool.prefix):
            raise inputs.incomplete(self.tool_file, "where to install", "installation_prefix: DIR")
        return prefix_of(given, self.site, self.tool)

    def completed(self, request: R) -> R:
        """``request`` with what all these commands can be told, and what the tool's file adds."""
        from wrapper.build import inputs

        options = self.options
        request = replace(
            request,
            site=self.site,
            pre_install=options.pre_install,
            post_install=options.post_install,
            environ=options.environ,
            wrapper_paths=split_paths(options.wrapper_paths),
            use_cache=not options.nocache,
            compression=chosen_compression(self.site),
            base_image=options.base_image,
            copy_base=options.copy_base,
            reuse_base=options.reuse_base,
            mpi=options.mpi,
            others=options.others,
        )
        return inputs.completed(request, self.tool)

    def require(self, asked: object, line: str) -> None:
        """:raises InputError: nothing is ``asked`` for; ``line`` of a tool's file could do so."""
        from wrapper.build import inputs

        if not asked:
            raise inputs.incomplete(self.tool_file, "what to install", line)

    def run(
        self,
        request: R,
        build: Callable[[R, Console], Result],
        plan: Callable[[R, Console], Plan] | None,
    ) -> None:
        """Build and tell what was built; with a ``plan``, tell that instead."""
        from wrapper.cli import report

        as_json = self.options.as_json
        if plan:
            planned = plan(request, self.console)
            say(report.plan_json(planned) if as_json else report.plan_table(planned))
            return
        result = build(request, self.console)
        for line in report.lines(result):
            self.console.info(line)
        if as_json:
            say(report.result_json(result))


def begin(
    console: Console,
    options: BuildOptions,
    modes: tuple[str, str],
    tool_file: Path | None = None,
) -> Building:
    """Read what says how to build.

    :param modes: Tykky's words for a new installation and for an update.
    """
    from wrapper.build import inputs

    tool = inputs.read_tool(tool_file, modes, console)
    site = configured(console, tmpdir=options.tmpdir, compression=options.compression)
    return Building(options=options, console=console, site=site, tool=tool, tool_file=tool_file)
