"""Tykky's configuration files: a site's (``CW_GLOBAL_YAML``) and a tool's (``advanced``, ``-y``).

Keys that mean something here are taken, others are named with what to do instead. Tykky hands the
values to a shell; here no shell sees any. Source: ``construct.py``, ``configs/`` and ``frontends/``
of CSCfi/hpc-container-wrapper.
"""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wrapper.errors import InputError
from wrapper.inputs.variables import why_not
from wrapper.util import toml, yaml_nodes

_HINT = "see docs/tykky.md"
_keys = functools.partial(toml.beside, __file__)
MKSQUASHFS_OPTIONS = ("-comp", "-Xcompression-level", "-b", "-mem", "-processors")
"""Those that may be chosen, each with a value; the others are ours to say."""
Placed = Mapping[str, tuple[object, str]]
"""Values by key, each with its place for messages."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One file of site configuration, by keys of :mod:`wrapper.settings`."""

    path: Path
    values: Placed = field(default_factory=dict)
    force: Placed = field(default_factory=dict)
    prepends: Placed = field(default_factory=dict)
    appends: Placed = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    places: Mapping[str, str] = field(default_factory=dict)  # of the keys of tables, with dots


def parse_global(text: str, path: Path) -> Layer:
    """Parse a site's file: sections ``defaults``, ``force``, ``prepends`` and ``appends``.

    :raises InputError: it is not YAML, or has no such sections.
    """
    hint = "it has the sections of Tykky's configs/*.yaml"
    keys = yaml_nodes.top_level(text, path, hint, may_be_empty=True)
    sections: dict[str, dict[str, tuple[object, str]]] = {}
    strange = [name for name in keys if name not in ("defaults", "force", "prepends", "appends")]
    without = [f"{name} (no section of Tykky's)" for name in strange]
    for name, (_, node) in keys.items():
        entries = yaml_nodes.plain(node, path) or {}
        if name in strange:
            continue
        if not isinstance(entries, dict):
            raise InputError(
                f"'{name}:' must be a mapping", where=yaml_nodes.place(node, path), hint=_HINT
            )
        places = {key: yaml_nodes.place(node, path) for key in entries}
        places |= yaml_nodes.places(node, path)
        sections[name] = dict(_translated(entries, places, without))
    forced = sections.get("force", {})
    if "tmpdir" in forced:  # all of Tykky's sites force it, and CW_BUILD_TMPDIR wins nevertheless
        sections.setdefault("defaults", {})["tmpdir"] = forced.pop("tmpdir")
    warning = f"{path}: without effect: {', '.join(dict.fromkeys(without))}"
    return Layer(
        path=path,
        values=sections.get("defaults", {}),
        force=forced,
        prepends=sections.get("prepends", {}),
        appends=sections.get("appends", {}),
        warnings=(warning,) if without else (),
    )


def _translated(
    entries: Mapping[str, object], places: Mapping[str, str], without: list[str]
) -> Iterator[tuple[str, tuple[object, str]]]:
    """Our keys and values for Tykky's; what has no effect goes into ``without``."""
    most = [entries[key] for key in ("num_cpus", "max_num_cpus") if key in entries]
    for key, given in entries.items():
        value, ours = given, _keys()["site"].get(key)
        place = f"{places[key]}: {key}"
        if value is None or value == "":
            continue
        if ours is None:
            without += _without_effect(key, value)
            continue
        if key == "extra_envs":
            value = _variables(value, place)
        elif ours == "processors":
            value = min(most, key=lambda number: int(str(number)) if str(number).isdigit() else 0)
        elif key == "installation_path" and not re.fullmatch(r"/[\w-]+", str(value)):
            without.append(f"{key} (it must be a directory of the root, such as /SITE)")
            continue
        elif key == "sqfs_options":
            value = _squashfs(value, place, without)
        yield ours, (value, place)


def _without_effect(key: str, value: object) -> list[str]:
    silent = _keys()["nothing_to_say"]
    if key in silent and (not silent[key] or value in silent[key]):
        return []
    known = "only of a site's file" if key in _keys()["site"] else "unknown here"
    return [f"{key} ({_keys()['instead'].get(key, known)})"]


def _squashfs(value: object, where: str, without: list[str]) -> list[str]:
    """Options of mksquashfs that may be chosen; the others are ours to say."""
    try:
        words = [str(w) for w in value] if isinstance(value, list) else shlex.split(str(value))
    except ValueError as error:
        raise InputError(
            f"options of mksquashfs cannot be read: {error}", where=where, hint="check the quotes"
        ) from None
    kept = []
    for index, word in enumerate(words):
        if word in MKSQUASHFS_OPTIONS:
            kept += words[index : index + 2]
        elif word.startswith("-") and word != "-noappend":
            without.append(f"sqfs_options {word} (not one that can be chosen)")
    return kept


def _variables(entries: object, where: str) -> dict[str, str]:
    """``extra_envs``: entries with ``name``, ``value`` and ``type: set``, or a ``file``."""
    from wrapper.inputs import read_variables

    found: dict[str, str] = {}
    for entry in entries if isinstance(entries, list) else [entries]:
        if not isinstance(entry, dict) or not {"file", "filenames", "name"} & set(entry):
            raise InputError(
                "an entry has neither 'file:' nor 'name:' and 'value:'", where=where, hint=_HINT
            )
        for name in _files_of(entry):
            found |= read_variables(Path(str(name)))
        if "name" not in entry:
            continue
        value = entry.get("value", "")
        if isinstance(value, list | dict) or re.search(r"[\n\0]", str(value)):
            raise InputError(
                f"'{entry['name']}' must have one value in one line, found {value!r}",
                where=where,
                hint=_HINT,
            )
        if reason := why_not(str(entry["name"])):
            raise InputError(
                f"'{entry['name']}' cannot be the name of a variable", where=where, hint=reason
            )
        if entry.get("type", "set") != "set":
            raise InputError(
                f"'{entry['name']}' has the type '{entry['type']}', which cannot be done",
                where=where,
                hint="use 'type: set', or a script in etc/conda/activate.d of the environment",
            )
        found[str(entry["name"])] = "" if value is None else _text(value)
    return found


def _files_of(entry: Mapping[str, object]) -> list[object]:
    return [*_listed(entry.get("filenames")), *_listed(entry.get("file"))]


def _listed(value: object) -> list[object]:
    """A list; of a single value one with it alone."""
    return value if isinstance(value, list) else [value] if value else []


def _text(value: object) -> str:
    """What YAML 1.1 takes for a truth value was a word when it was written."""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


# -- a tool's file -----------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class ToolFile:
    """What a file for ``advanced`` or ``-y`` asks for; paths start at the working directory.

    ``pre_install`` and ``post_install`` are files and, as texts, lines of a script.
    """

    mode: str = ""
    prefix: Path | None = None
    environment: Path | None = None
    requirements: Path | None = None
    pre_install: tuple[Path | str, ...] = ()
    post_install: tuple[Path | str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    wrapper_paths: tuple[str, ...] = ()
    system_site: bool = False
    warnings: tuple[str, ...] = ()


_TOOL_KEYS = frozenset(
    (
        *("env_file", "extra_env", "extra_envs", "installation_path", "installation_prefix"),
        *("mode", "post_install", "pre_install", "requirements_file", "wrapper_paths"),
        *("enable_site_packages", "system_site_packages"),
    )
)


def parse_tool(text: str, path: Path, modes: Sequence[str] = ()) -> ToolFile:
    """Parse a tool's file.

    :param modes: those that the command can do. :raises InputError: it is for another command, or
        not what Tykky would take.
    """
    file = _ToolKeys(text, path)
    inside = file.text("installation_path")
    wrapped = (part for name in file.texts("wrapper_paths") for part in name.split(","))
    without = [reason for key in file.others() for reason in _without_effect(key, file.values[key])]
    return ToolFile(
        mode=file.mode(modes),
        prefix=file.path("installation_prefix"),
        environment=file.path("env_file"),
        requirements=file.path("requirements_file"),
        pre_install=file.scripts("pre_install"),
        post_install=file.scripts("post_install"),
        variables={**file.variables("extra_env"), **file.variables("extra_envs")},
        wrapper_paths=tuple(
            name.removeprefix(inside).strip("/") if inside else name for name in wrapped if name
        ),
        system_site=file.yes("enable_site_packages") or file.yes("system_site_packages"),
        warnings=(f"{path}: without effect: {', '.join(without)}",) if without else (),
    )


class _ToolKeys:
    """The keys of a tool's file; every mistake is told with its place."""

    def __init__(self, text: str, path: Path) -> None:
        nodes = yaml_nodes.top_level(text, path, _HINT)
        self.values = {name: yaml_nodes.plain(node, path) for name, (_, node) in nodes.items()}
        self._places = {name: yaml_nodes.place(node, path) for name, (_, node) in nodes.items()}

    def others(self) -> list[str]:
        return [key for key in self.values if key not in _TOOL_KEYS]

    def text(self, key: str) -> str:
        value = self.values.get(key)
        return "" if value is None else self._one(key, value)

    def path(self, key: str) -> Path | None:
        return Path(text) if (text := self.text(key)) else None

    def texts(self, key: str) -> list[str]:
        return [self._one(key, value) for value in _listed(self.values.get(key))]

    def yes(self, key: str) -> bool:
        text = self.text(key) or "no"
        if text not in ("yes", "no"):
            raise self._wrong(key, f"must be yes or no, found {text!r}")
        return text == "yes"

    def mode(self, modes: Sequence[str]) -> str:
        mode = self.text("mode")
        if mode and modes and mode not in modes:
            hint = _keys()["commands"].get(mode, _HINT)
            raise self._wrong("mode", f"must be {' or '.join(modes)} here, found '{mode}'", hint)
        return mode

    def variables(self, key: str) -> dict[str, str]:
        return _variables(self.values[key], self._places[key]) if self.values.get(key) else {}

    def scripts(self, key: str) -> tuple[Path | str, ...]:
        """Lines of a script, and entries with a ``file``."""
        found: list[Path | str] = []
        for entry in _listed(self.values.get(key)):
            if isinstance(entry, dict):
                names = _files_of(entry)
                if not names:
                    raise self._wrong(key, "has an entry that has no 'file:'")
                found += [Path(self._one(key, name)) for name in names]
            else:
                found.append(self._one(key, entry))
        return tuple(found)

    def _one(self, key: str, value: object) -> str:
        """A single value as it was written. No file's name and no script has a zero byte."""
        if value is None or isinstance(value, list | dict) or "\0" in str(value):
            raise self._wrong(key, f"must be a text, found {value!r}")
        return _text(value)

    def _wrong(self, key: str, what: str, hint: str = _HINT) -> InputError:
        return InputError(f"'{key}:' {what}", where=self._places[key], hint=hint)
