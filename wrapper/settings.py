"""Site configuration: one value of what the site, the environment and the command line say.

Later ones win: defaults < the site's file < Tykky's file < ``.condarc`` < environment variables <
command-line options < what a file forces. Every value knows where it comes from. No shell reads
any of it; ``$NAME`` in a path stands for an environment variable.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

from wrapper import inputs as spec
from wrapper import sites
from wrapper.errors import InputError
from wrapper.inputs.condarc import parse_condarc
from wrapper.inputs.tykky import Layer, parse_global
from wrapper.models import Site
from wrapper.settings_keys import KEYS, Key
from wrapper.site_profile import near
from wrapper.util import yaml_nodes

SITE_VARIABLE = "CONTAINERIZE_SITE"
TYKKY_VARIABLE = "CW_GLOBAL_YAML"
_HINT = "see 'Site configuration' in docs/admins.md"


_FLAG_VALUES = {"fix_permissions": False}  # CW_NO_…


def load(environ: Mapping[str, str], options: Mapping[str, object] | None = None) -> Site:
    """All that is set, in one value.

    :param options: of the command line, by key; ``None`` is not given.
    :raises InputError: a file or a variable is not what it should be.
    """
    sheet = _Sheet()
    if environ.get("TMPDIR"):  # of the system: no word of the user's about builds
        sheet.put("tmpdir", Path(environ["TMPDIR"]).absolute(), "TMPDIR")
    file, found_by = _site_file(environ)
    layers = [_site_layer(file)] if file else []
    if tykky := environ.get(TYKKY_VARIABLE):
        layers.append(parse_global(spec.read_text(Path(tykky)), Path(tykky)))
    for layer in layers:
        sheet.read(layer.values, layer)
    for name, key in KEYS.items():
        if key.flag and key.variable in environ:
            sheet.put(name, _FLAG_VALUES.get(name, True), key.variable)
        elif text := environ.get(key.variable):
            sheet.put(name, _checked(key, text, key.variable), key.variable)
    for name, value in (options or {}).items():
        if value is not None:
            sheet.put(name, value, KEYS[name].option)
            sheet.chosen.add(name)
    for layer in layers:
        for first, extra in ((True, layer.prepends), (False, layer.appends)):
            sheet.extend(extra, layer, first=first)
    for layer in reversed(layers):  # the site's own file has the last word
        sheet.force(layer, options or {})
    if sheet.site.condarc:
        sheet.add_condarc(environ)
    return replace(
        sheet.site,
        origins=sheet.origins,
        chosen=frozenset(sheet.chosen),
        warnings=tuple(sheet.warnings),
        file=file,
        found_by=found_by,
    )


class _Sheet:
    """A site in the making, with the origins of its values."""

    def __init__(self) -> None:
        self.site = Site()
        self.origins: dict[str, str] = {}
        self.warnings: list[str] = []
        self.chosen: set[str] = set()

    def put(self, name: str, value: object, origin: str) -> None:
        """Set a value; ``None`` is none (a path with a variable that is not set)."""
        if value is not None:
            self.site = KEYS[name].field.put(self.site, value)
            self.origins[name] = origin

    def read(self, values: Mapping[str, tuple[object, str]], layer: Layer) -> None:
        for name, (value, where) in values.items():
            self.put(name, _checked(KEYS[name], value, where, layer), str(layer.path))
        self.warnings += layer.warnings

    def extend(
        self, values: Mapping[str, tuple[object, str]], layer: Layer, *, first: bool
    ) -> None:
        """Put more entries before or after those of a list or a mapping."""
        for name, (value, where) in values.items():
            more = _checked(KEYS[name], value, where, layer)
            if not isinstance(more, dict | tuple):
                raise InputError(
                    "a setting has one value, to which nothing can be added",
                    where=where,
                    hint="put it into 'defaults:' or 'force:'",
                )
            old = getattr(self.site, name) if name in self.origins else None
            joined: object
            if old is None:
                joined = more
            elif isinstance(more, dict):
                joined = {**more, **old} if first else {**old, **more}
            else:
                joined = (*more, *old) if first else (*old, *more)
            origin = self.origins.get(name)
            self.put(name, joined, f"{origin} and {layer.path}" if origin else str(layer.path))

    def force(self, layer: Layer, options: Mapping[str, object]) -> None:
        for name, (value, where) in layer.force.items():
            checked = _checked(KEYS[name], value, where, layer)
            if checked is None:  # a path with a variable that is not set
                continue
            self.put(name, checked, f"{layer.path} (forced)")
            self.chosen.add(name)
            if options.get(name) is not None:
                self.warnings.append(
                    f"{KEYS[name].option} has no effect: the site sets it to {checked}"
                )

    def add_condarc(self, environ: Mapping[str, str]) -> None:
        """What the user's ``.condarc`` says of channels; the site's mirrors stay."""
        path = Path(environ.get("CONDARC") or Path(environ.get("HOME", "/")) / ".condarc")
        if not path.is_file():
            self.warnings.append(f"CW_ENABLE_CONDARC is set, but there is no {path}")
            return
        condarc = parse_condarc(spec.read_text(path), path)
        mirrors = {**condarc.mirrors, **self.site.mirrors}
        self.put("mirrors", mirrors, str(path))
        self.site = replace(self.site, more_channels=condarc.channels)
        self.warnings += condarc.warnings


def _checked(key: Key, value: object, where: str, layer: Layer | None = None) -> object:
    """A setting's value. :param layer: the file which has it, where one does."""
    try:
        read = key.field.read(value)
    except ValueError as error:
        inside = getattr(error, "inside", ()) if layer else ()
        raise InputError(
            f"a setting {error}", where=_place_inside(layer, where, inside), hint=_HINT
        ) from None
    if key.beside and isinstance(read, tuple):
        above = (layer.path if layer else Path()).absolute().parent
        return tuple(above / path for path in read)
    return read


def _place_inside(layer: Layer | None, where: str, inside: tuple[str, ...]) -> str:
    """Where what is wrong in a table stands. :param where: the table, ``PLACE: KEY``."""
    dotted = ".".join((where.rpartition(": ")[2], *inside))
    places = layer.places if layer and inside else {}
    place = places.get(dotted) or places.get(f"force.{dotted}")
    return f"{place}: {dotted}" if place else where


def _site_file(environ: Mapping[str, str]) -> tuple[Path | None, str]:
    """The site's file: the one named, else the installed one, else the profile that fits here.

    :returns: it, and what led to a profile that nobody named.
    """
    named = environ.get(SITE_VARIABLE)
    if named is None:
        installed = Path(sys.prefix, "etc/containerize/site.yml")
        if installed.is_file():
            return installed, ""
        found = sites.find(environ)
        return (found.path, found.why) if found else (None, "")
    if re.fullmatch(r"[\w-]+", named):
        return sites.named(named, SITE_VARIABLE), ""
    return (Path(named), "") if named else (None, "")


def _site_layer(path: Path) -> Layer:
    """Read a file of our own format: keys with values, and ``force:`` with more of them."""
    keys = yaml_nodes.top_level(spec.read_text(path), path, _HINT, may_be_empty=True)
    values: dict[str, tuple[object, str]] = {}
    forced: dict[str, tuple[object, str]] = {}
    warnings: list[str] = []
    inside: dict[str, str] = {}
    for name, (_, node) in keys.items():
        value = yaml_nodes.plain(node, path)
        where = yaml_nodes.place(node, path)
        inside |= yaml_nodes.all_places(node, path, name)
        if name == "force" and isinstance(value, dict):
            places = yaml_nodes.places(node, path)
            known = {n: (v, f"{places.get(n, where)}: {n}") for n, v in value.items() if n in KEYS}
            forced |= known
            unknown = set(value) - set(known)
        else:
            unknown = set() if name in KEYS else {name}
            values |= {} if unknown else {name: (value, f"{where}: {name}")}
        warnings += [  # no error: a newer version may know it
            "; ".join(filter(None, [f"{where}: unknown setting '{n}' is ignored", near(n, KEYS)]))
            for n in sorted(map(str, unknown))
        ]
    return Layer(path=path, values=values, force=forced, warnings=tuple(warnings), places=inside)


def describe_site(site: Site) -> str:
    """Whose settings count, and why, for a person."""
    if site.file is None:
        return "none (CONTAINERIZE_SITE)"
    how = f"found by itself: {site.found_by}" if site.found_by else "named"
    return f"{site.name} ({how}; {site.file})"


def describe(site: Site) -> list[tuple[str, str, str]]:
    """Key, value and origin of every setting, for ``containerize info``; sources see below."""
    names = [name for name in KEYS if name != "sources"]
    return [
        (name, _shown(getattr(site, name)), site.origins.get(name, "default")) for name in names
    ]


def source_of(site: Site, name: str) -> str:
    """What the site's file says of where it has a setting's value from, empty where nothing."""
    theirs = site.origins.get(name, "").startswith(str(site.file))
    return site.sources.get(name, "") if theirs else ""


def _shown(value: object) -> str:
    if is_dataclass(value) and not isinstance(value, type):
        told = {f.name: getattr(value, f.name) for f in fields(value)}
        return _shown({name: item for name, item in told.items() if item})
    if isinstance(value, Mapping):
        return " ".join(f"{name}={_inner(item)}" for name, item in value.items())
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def _inner(value: object) -> str:
    """A value in a table: several in brackets."""
    several = isinstance(value, Mapping) or is_dataclass(value)
    several = several or (isinstance(value, tuple) and len(value) > 1)
    return f"({_shown(value)})" if several else _shown(value)
