"""The base of a build: the host, the image that was asked for, or that of the generation before."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from pathlib import Path

from wrapper import rocm
from wrapper.base import find as images
from wrapper.base.built import Tools, find_image, look_into, ready_image
from wrapper.base.catalogue import read_catalogues
from wrapper.base.facts import ImageFacts
from wrapper.base.find import BaseImage
from wrapper.console import Console
from wrapper.errors import InputError, PrefixError
from wrapper.images.format import mark
from wrapper.models import Base
from wrapper.prefix.generations import Generation
from wrapper.requests import Request


def find_base(
    request: Request,
    tools: Tools,
    staging: Path,
    previous: Generation | None = None,
    *,
    trial: bool = False,
) -> Base:
    """The base that the user named, else the one of the previous generation, else the host.

    :param staging: the new generation's directory, for an image that it shall own.
    :param trial: nothing is to be built: an image on disk is looked at where it is.
    :raises ContainerizeError: see :func:`wrapper.base.find.find_base`.
    """
    if request.base_image:
        base, facts = named_base(request.base_image, tools, staging, trial=trial)
        facts.tell_entry_point(base.name, tools.console)
    else:
        base = _kept_base(previous, None if trial else staging) if previous else Base()
        if base.image:
            tools.trials.require(base.image)
            tell_moved(base, tools.console)
        if base.image and base.mark and mark(base.image) != base.mark:
            tools.console.warning(
                f"{base.image} is not the image that this was built on; where it shall be from now "
                f"on, say so: --base-image {shlex.quote(str(base.image))}"
            )
    if request.copy_base:
        if base.image is None:
            raise InputError(
                "there is no base image to copy",
                where="--copy-base",
                hint="name one with --base-image, or do without",
            )
        if not (base.owned or trial):
            hashed = base.digest if request.base_image else ""  # just now
            image = images.copied(base.image, staging, digest=hashed, console=tools.console)
            base = replace(base, image=image, owned=True)
    return base


def tell_moved(base: Base, console: Console) -> None:
    """That the link by which the user named the image (``…-latest.sif``) leads to another now."""
    if base.image is None or base.owned or not base.source.startswith("/"):
        return
    now = os.path.realpath(base.source)
    if now != str(base.image) and os.path.exists(now):  # noqa: PTH110 - false, not raised
        console.info(
            f"{base.source} leads to {now} now; this stays on {base.image.name}. "
            f"To change: --base-image {shlex.quote(base.source)}"
        )


def named_base(
    name: str, tools: Tools, staging: Path, *, trial: bool = False
) -> tuple[Base, ImageFacts]:
    """The image that the user named, and what is in it; see :func:`find_base`.

    One of a catalogue's definitions is built where it is not there yet.
    """
    catalogue = read_catalogues(os.environ, tools.site.base_images, tools.console.warning)
    entry = catalogue.get(name)
    if entry and entry.is_definition:
        built = ready_image(entry, tools, staging)
        name = name if tools.space.lasting_cache else str(built)
    image = find_image(name, catalogue, tools, staging)
    if not trial:
        cache = tools.space.lasting_cache
        image = images.kept_image(image, staging, cache, console=tools.console)
    tools.trials.require(image.path)
    facts = look_into(image, tools)
    base = replace(
        as_base(image, facts),
        name=entry.name if entry else name,
        virtual_packages=_offered(facts),
        owned=image.owned or image.path.parent == staging,
        environments=facts.environments,
    )
    driver = rocm.driver_release(os.environ)
    if why := rocm.misfit(facts.rocm, driver):
        tools.console.warning(f"{base.name} has ROCm {facts.rocm}: {why}")
    return base, facts


def as_base(image: BaseImage, facts: ImageFacts) -> Base:
    """An image as what programs stand on. :param facts: what is in it."""
    return Base(
        image=image.path,
        name=image.name,
        source=image.source,
        digest=image.digest,
        mark=mark(image.path),
        has_bash=facts.bash,
        owned=image.owned,
        rocm=facts.rocm,
        level=facts.level,
        sets=tuple(sorted(facts.environment)),
        entry_point=facts.entry_point,
        runscripts=facts.runscripts,
    )


def _offered(facts: ImageFacts) -> dict[str, str]:
    """Virtual packages in which an image differs from the host.

    On a base with ROCm there is no ``__cuda``: the solver would prefer builds for CUDA.
    """
    offered = {"__glibc": facts.glibc}
    if facts.rocm or facts.cuda:
        offered["__cuda"] = "" if facts.rocm else facts.cuda
    return offered


def _kept_base(previous: Generation, staging: Path | None) -> Base:
    """The base of the generation before; one that it owns becomes a file of the next one too.

    :param staging: directory of the next one, ``None`` where there will be none.

    :raises PrefixError: the image has gone.
    """
    known = previous.manifest.base
    if known.kind == "host":
        return Base()
    image = previous.directory / known.path
    if not image.exists():
        raise PrefixError(
            f"the base image has gone: {known.name}",
            where=image,
            hint="put it back, or name another one with --base-image",
        )
    if known.owned and staging:
        link = staging / image.name
        link.hardlink_to(image)
        image = link
    return known.on(image)
