"""``wrap-container``: shims for programs of an image that exists; no image of ours."""

from __future__ import annotations

import os
from collections.abc import Mapping

from wrapper import __version__, layout, platforms
from wrapper.activation.model import Activation
from wrapper.base import find as images
from wrapper.base.catalogue import read_catalogues
from wrapper.base.find import BaseImage
from wrapper.build import inputs
from wrapper.commands.prepare import finish, first_generation
from wrapper.console import Console
from wrapper.images.format import mark, rarest_compression
from wrapper.manifest import BaseRecord, Manifest
from wrapper.models import Environment, Site, names_of
from wrapper.prefix import checks as prefix
from wrapper.prefix import shims
from wrapper.prefix.checks import install_path
from wrapper.prefix.image_programs import Contents, Looker, check_paths
from wrapper.prefix.record import identity, now, write_inputs, write_record
from wrapper.prefix.staging import Staging
from wrapper.requests import Result, WrapContainerRequest
from wrapper.runtime.runtime import Runtime, find_runtime
from wrapper.workspace import Workspace


def wrap_container(request: WrapContainerRequest, console: Console) -> Result:
    """:raises ContainerizeError: of every kind in :mod:`wrapper.errors`."""
    check_paths(request.wrapper_paths)
    variables = inputs.read(request, console).variables
    target = prefix.absolute_prefix(request.prefix)
    prefix.check_new(target)
    runtime = find_runtime(os.environ, request.site)
    catalogue = read_catalogues(os.environ, request.site.base_images)
    with first_generation(target, request.site, console) as (space, staging):
        image = images.find_base(
            request.image,
            runtime=runtime,
            console=console,
            catalogue=catalogue,
            cache=space.lasting_cache,
            staging=staging.directory,
            scratch=space.scratch,
        )
        if image.uri:  # caches are emptied, an installation stays
            image = images.own_image(image, staging.directory, console=console)
        look = Looker(image=image.path, runtime=runtime, scratch=space.scratch, console=console)
        with console.step("Looking into the image"):
            found = look.contents(request.wrapper_paths)
        manifest = _write(
            image,
            found,
            variables,
            staging=staging,
            runtime=runtime,
            site=request.site,
            space=space,
        )
        finish(staging, manifest, runtime=runtime, space=space, console=console)
    return Result(prefix=target, manifest=manifest, seconds=console.seconds)


def _write(
    image: BaseImage,
    found: Contents,
    variables: Mapping[str, str],
    *,
    staging: Staging,
    runtime: Runtime,
    site: Site,
    space: Workspace,
) -> Manifest:
    """Complete the staging directory; returns the manifest."""
    # By this path a shim sees that it runs in the container.
    inside = install_path(staging.prefix, site)
    venv = found.venv
    sign, reference = mark(image.path), image.reference
    environment = found.environment or Environment(root=venv or inside)
    staging.write_programs(
        found.programs, "", shims.shim(staging.prefix, runtime.path), environment
    )
    staging.write_links(environment, own_image=False)
    if venv:  # it is to be active; its Python is called by another path
        (staging.root / layout.VENV).symlink_to(f"{venv}/pyvenv.cfg")
    active = {"VIRTUAL_ENV": venv} if venv else {}
    there = site.on_image(names_of(image.name, image.source, image.path))
    env = shims.environment_file(
        generation=staging.generation,
        install_path=inside,
        links=(),
        activation=Activation(assign={**active, **site.variables, **variables}),
        variables={**site.variables, **variables},
        site=there,
        image=reference,
        mark=sign,
        no_bash=not found.has_bash,
        compressed=rarest_compression({reference: image.path}),
        runtime=runtime.path,
    )
    (staging.directory / layout.ENV).write_text(env, encoding="utf-8", errors="surrogateescape")
    manifest = Manifest(
        tool=__version__,
        created=now(),
        machine=platforms.machine(),
        kind="container",
        generation=staging.generation,
        prefix=str(staging.prefix),
        install_path=inside,
        base=BaseRecord(
            kind="image",
            name=image.name,
            source=image.source,
            path=reference,
            digest=image.digest,
            mark=sign,
            size=image.size,
            owned=image.owned,
            has_bash=found.has_bash,
        ),
        runtime=runtime.as_record(),
        site=there.shaping,
        variables=dict(variables),
        activation=(),
        programs=len(found.programs),
        inputs=write_inputs(staging.directory, (), ()),
        image=identity(image.path),
    )
    write_record(staging.directory, manifest, space.log)
    return manifest
