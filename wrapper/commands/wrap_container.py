"""``wrap-container``: shims for programs of an image that exists; no image of ours."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from wrapper import __version__, layout, platforms, runscripts
from wrapper.activation.model import Activation
from wrapper.base import find as images
from wrapper.base.catalogue import read_catalogues
from wrapper.base.facts import ImageFacts, inspect_image
from wrapper.base.find import BaseImage
from wrapper.base.resolve import as_base
from wrapper.build import inputs, mpi
from wrapper.commands.prepare import finish, first_generation
from wrapper.console import Console
from wrapper.errors import ToolError
from wrapper.gpu import Use, settings_for
from wrapper.images.format import rarest_compression
from wrapper.images.squasher import find_squasher
from wrapper.manifest import BaseRecord, Manifest
from wrapper.models import Environment, HostPrograms, Site, names_of
from wrapper.mpi.abis import HOST, NONE, OPEN_MPI, is_launcher
from wrapper.mpi.choice import BaseSystem, Choice, found_first, is_mpich, write
from wrapper.mpi.files import InImage
from wrapper.prefix import checks as prefix
from wrapper.prefix import host_programs, shims
from wrapper.prefix.checks import install_path
from wrapper.prefix.image_programs import Contents, Looker, check_paths
from wrapper.prefix.record import identity, now, write_inputs, write_record
from wrapper.prefix.staging import Staging
from wrapper.requests import Result, WrapContainerRequest
from wrapper.runtime.runtime import Runtime, find_runtime
from wrapper.workspace import Workspace

_OF_MPI = re.compile(r"/libmpi(?:ch)?\.so\.|/mpi4py/MPI[^/]*\.so$")


def wrap_container(request: WrapContainerRequest, console: Console) -> Result:
    """:raises ContainerizeError: of every kind in :mod:`wrapper.errors`."""
    check_paths(request.wrapper_paths)
    variables = inputs.read(request, console).variables
    target = prefix.absolute_prefix(request.prefix)
    prefix.check_new(target)
    runtime = find_runtime(os.environ, request.site)
    catalogue = read_catalogues(os.environ, request.site.base_images, console.warning)
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
            found = look.contents(request.wrapper_paths or look.python_paths())
        facts, files = _look_into(image, request.mpi, space, request.site, console)
        facts.tell_entry_point(image.name, console)
        choice = _mpi(request.mpi, request.site, image.path, facts, files, console=console)
        if choice.kind == HOST:
            kept = {n: path for n, path in found.programs.items() if not is_launcher(n)}
            found = replace(found, programs=kept)
        host = HostPrograms()
        if files and found.has_bash and request.site.host_programs:
            wanted, passwd = request.site.host_programs, partial(files.tree.text, "/etc/passwd")
            host = host_programs.put(staging.directory, wanted, passwd, console)
        manifest = _write(
            image,
            found,
            choice,
            facts,
            variables,
            host=host,
            staging=staging,
            runtime=runtime,
            site=request.site,
            space=space,
        )
        finish(staging, manifest, runtime=runtime, space=space, console=console)
    return Result(prefix=target, manifest=manifest, seconds=console.seconds)


def _mpi(
    asked: str | None,
    site: Site,
    image: Path,
    facts: ImageFacts,
    files: InImage | None,
    *,
    console: Console,
) -> Choice:
    """Whose MPI the programs get. :param files: see :func:`_look_into`.

    :raises ToolError: the host's is asked for, and cannot be had. :raises InputError: so, and the
        image's own comes first.
    """
    paths = [*files.tree.modes] if files else []
    if not asked and not any(_OF_MPI.search(path) for path in paths):
        return Choice()
    kind = asked or site.mpi.default
    open_mpi = []
    if kind == HOST and facts.mpi == OPEN_MPI:
        open_mpi = [f"{image.name} has Open MPI {facts.mpi_version}".rstrip()]
        if not asked and not any(is_mpich(path.rsplit("/", 1)[-1]) for path in paths):
            return mpi.yielding_to_open_mpi(open_mpi, asked, site, console)
    mpi.tell_open_mpi(open_mpi, console)

    def base() -> BaseSystem:
        assert files
        return BaseSystem(files=files, name=str(image), glibc=facts.glibc)

    choice = mpi.chosen(kind, site.mpi, base, console, asked=bool(asked))
    own = found_first(paths, files) if files and choice.kind == HOST else ()
    given = mpi.yielding(choice, own, asked, site, console)
    beside = f"{facts.mpi} {facts.mpi_version}".rstrip() if open_mpi else ""
    return replace(given, beside=beside)


def _look_into(
    image: BaseImage, asked: str | None, space: Workspace, site: Site, console: Console
) -> tuple[ImageFacts, InImage | None]:
    """What the image sets, and what it does before a program, nothing where no tool can tell; and
    its files, where the choice of an MPI or the host's programs depend on them.

    :param asked: whose MPI. :raises ToolError: no tool can tell, and it is to be the host's.
    """
    try:
        unsquashfs = find_squasher(os.environ, site).unsquashfs
    except ToolError as error:
        if asked == HOST:
            raise
        console.warning(f"whether the image has an entry point is not known: {error}")
        return ImageFacts(), None
    files = None
    if asked == HOST or not (asked or site.mpi.default == NONE) or site.host_programs:
        files = mpi.image_files(image.path, unsquashfs, space.scratch, console)
    facts = inspect_image(
        image,
        unsquashfs=unsquashfs,
        scratch=space.scratch,
        cache=space.lasting_cache,
        console=console,
        tree=files.tree if files else None,
    )
    return facts, files


def _write(
    image: BaseImage,
    found: Contents,
    choice: Choice,
    facts: ImageFacts,
    variables: Mapping[str, str],
    *,
    host: HostPrograms,
    staging: Staging,
    runtime: Runtime,
    site: Site,
    space: Workspace,
) -> Manifest:
    """Complete the staging directory; returns the manifest."""
    # By this path a shim sees that it runs in the container.
    inside = install_path(staging.prefix, site)
    venv = found.venv
    reference = image.reference
    environment = found.environment or Environment(root=venv or inside)
    programs = dict(found.programs)
    scripts = "torchrun" in programs and found.has_bash
    if scripts:
        programs = {**runscripts.programs(facts.runscripts), **programs}
        if not facts.runscripts:
            runscripts.write(staging.directory)
    staging.write_programs(programs, "", shims.shim(staging.prefix, runtime.path), environment)
    staging.write_links(environment, own_image=False)
    if venv:  # it is to be active; its Python is called by another path
        (staging.root / layout.VENV).symlink_to(f"{venv}/pyvenv.cfg")
    active = {"VIRTUAL_ENV": venv} if venv else {}
    record = write(choice, staging.directory)
    if scripts:  # where the image does not say itself how it is activated
        active |= {n: value for n, value in runscripts.NO_OPS.items() if n not in facts.environment}
    base = replace(as_base(image, facts), has_bash=found.has_bash)
    there = site.on_image(names_of(image.name, image.source, image.path))
    env = shims.environment_file(
        generation=staging.generation,
        install_path=inside,
        links=(),
        activation=Activation(assign={**active, **site.variables, **variables}),
        variables={**site.variables, **variables},
        site=there,
        image=reference,
        mark=base.mark,
        mpi=record,
        no_bash=not found.has_bash,
        compressed=rarest_compression({reference: image.path}),
        runtime=runtime.path,
        gpu=settings_for(Use.of(base, site=site.name), base.sets),
        scripts=scripts and not facts.runscripts,
        entry_point=base.entry_point,
        level=base.level,
        host=host,
    )
    shims.write_environment(staging.directory, env)
    manifest = Manifest(
        tool=__version__,
        created=now(),
        machine=platforms.machine(),
        kind="container",
        mpi=record,
        generation=staging.generation,
        prefix=str(staging.prefix),
        install_path=inside,
        base=BaseRecord.of(base, {}, image.size),
        runtime=runtime.as_record(),
        site=there.shaping(mpi=choice.kind == HOST),
        variables=dict(variables),
        activation=(),
        programs=len(programs),
        inputs=write_inputs(staging.directory, (), ()),
        image=identity(image.path),
    )
    write_record(staging.directory, manifest, space.log)
    return manifest
