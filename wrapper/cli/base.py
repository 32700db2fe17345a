"""``containerize base``: base images."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wrapper.cli.common import CONTEXT, say, with_console
from wrapper.cli.options import COMPRESSION, TMPDIR, apply, configured, file, flag
from wrapper.console import Console, human_size

if TYPE_CHECKING:
    from wrapper.base.catalogue import Entry
    from wrapper.base.facts import ImageFacts
    from wrapper.base.find import BaseImage
    from wrapper.commands.base import Check, Listed
    from wrapper.models import Site

_JSON = flag("--json", "as_json", help="Print it as JSON.")
_NAME = click.argument("name", metavar="NAME")


@click.group("base", context_settings=CONTEXT, short_help="List, build and check base images.")
def base() -> None:
    """List, show, build and check base images: containers that environments stand on.

    Images come from catalogues: those named in CONTAINERIZE_BASE_IMAGES (catalogue files and
    directories of images, separated by colons), the site's, and the ones that come with
    containerize. NAME may also be the path of an image.
    """


@base.command("list", short_help="List base images.")
@apply(_JSON, with_console)
def list_bases(console: Console, as_json: bool) -> None:
    """List base images: name, whether it is there, what is in it and what it is for.

    'outdated' is an image whose definition has changed since it was built. The next build that
    names it builds it anew.
    """
    from wrapper.commands import base as base_commands

    settings, catalogue = _configured(console)
    rows = base_commands.listing(catalogue, settings.cache)
    if as_json:
        say(list_json(rows))
    else:
        say(list_table(rows, settings.cache))


@base.command("show", short_help="Show what is in a base image.")
@apply(_NAME, _JSON, with_console)
def show_base(console: Console, name: str, as_json: bool) -> None:
    """Show what is in the base image NAME: system, ROCm, Pythons, MPI, environment.

    It is read from the image's files. A catalogue's image that is not there is not fetched for it.
    """
    from wrapper.commands import base as base_commands

    settings, catalogue = _configured(console)
    found = base_commands.show(name, catalogue, settings, console)
    if as_json:
        say(json.dumps(show_data(*found), indent=1))
    else:
        say(show_text(*found))


@base.command("build", short_help="Build a base image from its definition.")
@apply(
    _NAME,
    file(
        "--output",
        "-o",
        help="The image to write; default: in CONTAINERIZE_CACHE_DIR, where builds find it by its "
        "name as long as the definition does not change; without that NAME.sif, here.",
    ),
    click.option(
        "--mirror",
        envvar="CONTAINERIZE_DEBIAN_MIRROR",
        metavar="URL",
        default="",
        help="Root of a Debian archive to fetch packages from; default: the definition's, else "
        "the one of this machine's apt.",
    ),
    TMPDIR,
    COMPRESSION,
    flag("--force", help="Replace an image that exists."),
    with_console,
)
def build_base(
    console: Console,
    *,
    name: str,
    output: Path | None,
    mirror: str,
    tmpdir: Path | None,
    compression: str | None,
    force: bool,
) -> None:
    """Build the base image NAME from its definition; or a definition file NAME.def.

    Where a list of packages with their hashes lies beside the definition, neither root nor
    anything else that is special is needed, and the same list gives the same image. Other
    definitions are built by the container runtime, which mostly needs root.

    \b
    Example:
      containerize base build rocm --output rocm.sif
    """
    from wrapper.base.catalogue import read_catalogues
    from wrapper.commands import base as base_commands

    settings = configured(console, tmpdir=tmpdir, compression=compression)
    catalogue = read_catalogues(os.environ, settings.base_images, console.warning)
    image = base_commands.build(
        name, catalogue, settings, console, output=output, mirror=mirror, force=force
    )
    console.info(f"{image.path}: {human_size(image.size)}, {image.digest}")
    if not (settings.cache and settings.cache.absolute() in image.path.parents):
        console.info(f"builds use it by its path: --base-image {shlex.quote(str(image.path))}")


@base.command("prune", short_help="Remove base images whose definitions have changed.")
@apply(flag("--dry-run", help="Only say what would be removed."), with_console)
def prune_bases(console: Console, dry_run: bool) -> None:
    """Remove images in CONTAINERIZE_CACHE_DIR that were built before their definitions changed.

    Installations that stand on one need it: build them anew before, or use --copy-base for them.
    """
    from wrapper.commands import base as base_commands

    settings, catalogue = _configured(console)
    paths = base_commands.outdated_images(catalogue, settings)
    for path in paths:
        what = "would be removed" if dry_run else "removed"
        console.info(f"{what}: {path}, {human_size(path.stat().st_size)}")
    if not dry_run:
        base_commands.remove_images(paths)
    if not paths:
        console.info("no image is outdated")


@base.command("check", short_help="Check a base image, and whether it fits this machine.")
@apply(_NAME, _JSON, with_console)
def check_base(console: Console, name: str, as_json: bool) -> None:
    """Check the base image NAME: is it there, unchanged, does it start, does it fit this machine.

    Ends with an error where it does not. '?' stands before what cannot be told here.
    """
    from wrapper.commands import base as base_commands

    settings, catalogue = _configured(console)
    checks = base_commands.check(name, catalogue, settings, console)
    say(check_json(checks) if as_json else check_text(checks))
    base_commands.require_good(name, checks)


def _configured(console: Console) -> tuple[Site, Mapping[str, Entry]]:
    """All configuration, and the base images that it names."""
    from wrapper.base.catalogue import read_catalogues

    settings = configured(console, building=False)
    return settings, read_catalogues(os.environ, settings.base_images, console.warning)


# -- as text for a person and as JSON for a program ----------------------------------------------
_WORDS = {"rocm": "ROCm", "libfabric": "libfabric", "python": "Python", "torch": "torch"}
_MARKS = {True: "ok", False: "FAILED", None: "?"}


def list_table(rows: Sequence[Listed], cache: Path | None) -> str:
    """Two lines an image: name, state and facts; what it is for. Then where built ones lie."""
    width = max((len(row.entry.name) for row in rows), default=0)
    lines = []
    for row in rows:
        facts = [f"{_WORDS.get(key, '')} {text}".strip() for key, text in _told(row.entry)]
        lines.append(f"{row.entry.name:<{width}}  {row.state:<9}  {', '.join(facts)}".rstrip())
        if row.entry.purpose:
            lines.append(f"{'':<{width}}  {row.entry.purpose}")
    if any(row.entry.is_definition for row in rows):
        lines += ["", _where_built(cache)]
    return "\n".join(lines)


def _where_built(cache: Path | None) -> str:
    from wrapper.images.store import images_directory

    how = "by the first build that names one, or by 'containerize base build NAME'"
    if cache:
        return f"Images are built in {images_directory(cache)}, once: {how}."
    return (
        "CONTAINERIZE_CACHE_DIR is not set: each build that names one builds it for itself. Set it "
        f"to a directory, and they are built there once: {how}."
    )


def _told(entry: Entry) -> list[tuple[str, str]]:
    order = ("os", "rocm", "python", "mpi", "libfabric", "torch")
    return [(key, entry.facts[key]) for key in order if key in entry.facts]


def list_json(rows: Sequence[Listed]) -> str:
    """The same for a program."""
    data = [
        {**_entry_data(row.entry), "state": row.state, "path": str(row.path or "")} for row in rows
    ]
    return json.dumps(data, indent=1)


def _entry_data(entry: Entry) -> dict[str, object]:
    return {
        "name": entry.name,
        "purpose": entry.purpose,
        "source": entry.source,
        "digest": entry.digest,
        "catalogue": str(entry.catalogue),
        "told": dict(entry.facts),
    }


def show_data(
    image: BaseImage | None, facts: ImageFacts | None, entry: Entry | None
) -> dict[str, object]:
    """What is known of an image; of one that is not there what its catalogue says."""
    data = _entry_data(entry) if entry else {}
    if image:
        data |= {"name": image.name, "path": image.reference, "size": image.size}
        data |= {"format": image.format.kind, "digest": image.digest}
    if facts:
        data["found"] = asdict(facts)
    return data


def show_text(image: BaseImage | None, facts: ImageFacts | None, entry: Entry | None) -> str:
    """The same for a person, a line a fact; what is empty is left out."""
    data = show_data(image, facts, entry)
    rows = [
        (key, str(data[key]))
        for key in ("name", "purpose", "source", "path", "format", "digest")
        if data.get(key)
    ]
    if image and image.size:
        rows.append(("size", human_size(image.size)))
    if facts:
        rows += _found_rows(facts)
    else:
        rows += entry.facts.items() if entry else ()
        rows.append(("state", "not there; only what the catalogue says is known"))
    return "\n".join(f"{key:<17} {value}" for key, value in rows)


def _found_rows(found: ImageFacts) -> list[tuple[str, str]]:
    pythons = [f"{version} ({path})" for path, version in found.pythons.items()]
    rows = [
        ("system", found.os_name),
        ("libc", f"{found.libc} {found.libc_version}".strip()),
        ("architecture", found.architecture),
        ("ROCm", found.rocm),
        ("GPU architectures", " ".join(found.gpu)),
        ("CUDA", found.cuda),
        ("Python", ", ".join(pythons)),
        ("conda", " ".join(found.condas)),
        ("environments", " ".join(found.environments)),
        ("virtual env.", " ".join(found.venvs)),
        ("MPI", f"{found.mpi} {found.mpi_version}".strip()),
        ("libfabric", found.libfabric),
        ("its providers", " ".join(found.libfabric_providers)),
        ("bash", "yes" if found.bash else "no"),
        ("package manager", found.package_manager),
        *((f"${name}", value) for name, value in found.environment.items()),
    ]
    return [(key, value) for key, value in rows if value]


def check_text(checks: Sequence[Check]) -> str:
    """A line a check: whether it is good, what was looked at, what was found."""
    return "\n".join(f"{_MARKS[c.good]:<7} {c.what:<13} {c.detail}" for c in checks)


def check_json(checks: Sequence[Check]) -> str:
    """The same for a program."""
    return json.dumps([asdict(check) for check in checks], indent=1)
