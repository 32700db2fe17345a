"""``wrap-install``: an installation that lies on disk becomes an image."""

from __future__ import annotations

from dataclasses import replace

from wrapper.commands.new import build_new
from wrapper.commands.prepare import prepared_new
from wrapper.console import Console
from wrapper.prefix import checks as prefix
from wrapper.requests import Result, WrapInstallRequest


def wrap_install(request: WrapInstallRequest, console: Console) -> Result:
    """:raises ContainerizeError: of every kind in :mod:`wrapper.errors`."""
    from wrapper.build.sources.copy import CopySource, below, check_source

    target = prefix.absolute_prefix(request.prefix)
    source = check_source(request.source, prefix=target, mask=request.mask)
    request = replace(request, wrapper_paths=below(source, request.wrapper_paths))
    return build_new(
        prepared_new(request, console),
        console,
        lambda context: CopySource(context=context, source=source, mask=request.mask),
    )
