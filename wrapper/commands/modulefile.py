"""``containerize modulefile``: a module of an installation or of a SIF, for Lmod or for Environment
Modules.

A module file is a program that the module system runs at each ``module load``. Its code is the same
for all (``templates/module*``). Before that stand the values that it uses, each of them quoted: a
path may have quotes, brackets and dollars in it.
"""

from __future__ import annotations

import os
import re
import shlex
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from string import Template

from wrapper import __version__
from wrapper.console import Console, counted
from wrapper.errors import InputError
from wrapper.images.format import SIF, read_format
from wrapper.images.sif.file import read_sif
from wrapper.images.sif.record import manifest_of
from wrapper.manifest import Manifest, read_manifest
from wrapper.models import Site, names_of
from wrapper.prefix import checks as prefix
from wrapper.runtime.binds import OWN_SYSTEM
from wrapper.runtime.host_program import HOST_BIND
from wrapper.util.sync import write_owned

LUA, TCL, EASYCONFIG = "lua", "tcl", "easyconfig"
MARK = "made by 'containerize modulefile'"
"""In the first lines of a file that may be written anew."""
_NAME = re.compile(r"[A-Za-z0-9_][\w.+@-]*(/[\w.+@-]+)?", re.ASCII)
_NAMES = "letters, digits and the characters _ . + @ -"
_PLAIN = frozenset(string.ascii_letters + string.digits + " !#$%&'()*+,-./:;<=>?@[]^_`{|}~")
_PREFIX_SIGN = "/current/env"


@dataclass(frozen=True, kw_only=True)
class ModuleRequest:
    """A ``containerize modulefile``.

    :ivar target: an installation or a SIF file. :ivar language: :data:`LUA`, :data:`TCL`, or
        :data:`EASYCONFIG`, by which EasyBuild copies a SIF and makes its module.
    :ivar output: the file, ``None`` to return its text only. :ivar name: as ``module load`` is to
        know it, ``NAME`` or ``NAME/VERSION``, empty for that of the target.
    :ivar fallback: another installation or SIF, for when the target has gone.
    :ivar conflicts: names of modules that cannot be loaded beside it.
    """

    target: Path
    language: str = LUA
    output: Path | None = None
    name: str = ""
    fallback: Path | None = None
    conflicts: tuple[str, ...] = ()
    site: Site = field(default_factory=Site)


@dataclass(frozen=True, kw_only=True)
class Module:
    """What a module file says.

    :ivar places: the target, and what is used where it has gone; absolute paths.
    :ivar is_sif: whether these are SIF files. :ivar binds: for a SIF.
    """

    name: str
    version: str
    places: tuple[str, ...]
    is_sif: bool
    about: str
    help: str
    conflicts: tuple[str, ...]
    binds: tuple[str, ...] = ()

    @property
    def missing(self) -> str:
        """What is said where none of the places is there."""
        there = f"{self.places[0]} is not there"
        if len(self.places) > 1:
            there = f"neither {self.places[0]} nor {self.places[1]} is there"
        return f"{self.name}: {there}: moved or removed? Ask who made this module."

    @property
    def replaced(self) -> str:
        """What is said where the second one is used."""
        return f"{self.name}: {self.places[0]} is not there, {self.places[-1]} is used instead."


def modulefile(request: ModuleRequest, console: Console) -> str:
    """The text of a module file, written to a file where one is named.

    :raises ContainerizeError: the target is nothing that a module can be of, a name cannot be one,
        or the file cannot be written.
    """
    module = describe(request)
    fallback = request.fallback
    if fallback and not _is_there(module.places[-1], is_sif=module.is_sif):
        console.warning(f"{fallback} is not there now: the module will say so if it is needed")
    if unread := _unread_here(request.language, os.environ):
        console.warning(unread)
    text = {LUA: as_lua, TCL: as_tcl, EASYCONFIG: as_easyconfig}[request.language](module)
    if request.output:
        write_owned(request.output, text, MARK)
        console.info(f"{request.output}: {_how_to_use(request, request.output, module)}")
    return text


def _unread_here(language: str, environ: Mapping[str, str]) -> str:
    """Why ``module load`` would not read the file in this shell; empty where it would."""
    if language == EASYCONFIG or "LMOD_CMD" in environ:
        return ""
    if "MODULESHOME" not in environ:
        return "there is no module system in this shell (LMOD_CMD and MODULESHOME are not set)"
    what = "the module system here is Environment Modules, which reads no Lua: --tcl"
    return what if language == LUA else ""


def _how_to_use(request: ModuleRequest, output: Path, module: Module) -> str:
    """For a file ``…/NAME/VERSION.lua`` the directory of modules is two above."""
    if request.language == EASYCONFIG:
        return shlex.join(["eb", str(output), "--sourcepath", str(Path(module.places[0]).parent)])
    depth = 2 if module.version and output.absolute().parent.name == module.name else 1
    top = [*output.absolute().parents][depth - 1]
    name = str(output.absolute().relative_to(top)).removesuffix(".lua")
    return f"module use {top}; module load {name}"


def describe(request: ModuleRequest) -> Module:
    """What the module is to say; raises as :func:`modulefile`."""
    is_sif = request.target.is_file()
    place = Path.absolute if is_sif else prefix.absolute_prefix
    target = place(request.target)
    manifest = image_manifest(target) if is_sif else read_manifest(target)
    name, version = _name(request, target.stem if is_sif else target.name)
    places = [target, *([place(request.fallback)] if request.fallback else [])]
    usage = _usage_of_sif(name) if is_sif else _usage_of_prefix(manifest)
    return Module(
        name=name,
        version=version,
        places=tuple(map(str, places)),
        is_sif=is_sif,
        about=_about(manifest),
        help=f"{_about(manifest)}, in {target}\n{usage}",
        conflicts=_conflicts(request, name),
        binds=site_binds(request.site, target, manifest) if is_sif else (),
    )


def _usage_of_prefix(manifest: Manifest | None) -> str:
    programs = counted(manifest.programs if manifest else 0, "program")
    return (
        f"Its {programs} are first on PATH: call them by their names. What they run in is not to "
        "be noticed.\nCONTAINERROOT is the directory of the installation."
    )


def _usage_of_sif(name: str) -> str:
    return (
        "Run a program of it:  singularity exec $SIF python my_program.py\n"
        f"SIF and {_variable(name)} are the image, CONTAINERROOT its directory, RUNSCRIPTS that of "
        "its helpers; SINGULARITY_BIND has the directories of this machine."
    )


def image_manifest(image: Path) -> Manifest | None:
    """What a SIF says of itself, ``None`` where it is not of our making.

    :raises InputError: it is another kind of file. :raises PackageError: it is not whole.
    """
    if read_format(image).kind != SIF:
        raise InputError(
            f"{image.name} is no SIF file", where=image, hint="name a SIF or an installation"
        )
    return manifest_of(read_sif(image))


def site_binds(site: Site, image: Path, manifest: Manifest | None) -> tuple[str, ...]:
    """What a SIF needs of this site's machines: its directories, what such an image needs, and the
    root for the host's MPI.

    :param manifest: of one of ours; it is known by the names of its base too.
    """
    names = {image.name}
    host = [HOST_BIND] if manifest and manifest.mpi and manifest.mpi.directory else []
    if manifest:
        base = manifest.base
        names |= {*names_of(base.name, base.source, Path(base.path))}
    own = [mount for mount in site.mounts if mount not in (*OWN_SYSTEM, *site.exclude_binds)]
    return tuple(dict.fromkeys([*own, *site.on_image(sorted(names)).binds, *host]))


def _about(manifest: Manifest | None) -> str:
    if manifest is None:
        return "A container image"
    if manifest.kind == "container":
        return "Programs of a container image"
    python = next((p.version for p in manifest.packages if p.name == "python"), "")
    if manifest.interpreter:
        python = manifest.interpreter.version
    what = f"An environment of {counted(len(manifest.packages), 'package')}"
    return f"{what} with Python {python}" if python else what


def _name(request: ModuleRequest, found: str) -> tuple[str, str]:
    """Name and version: those asked for, else the target's name as far as a module may have it."""
    name = request.name or re.sub(r"^[^A-Za-z0-9_]+|[^\w.+@-]+", "-", found, flags=re.A).strip("-")
    if not _NAME.fullmatch(name or ""):
        raise InputError(
            f"'{name}' cannot be the name of a module",
            where=f"--name {request.name}" if request.name else str(request.target),
            hint=f"give one with --name, NAME or NAME/VERSION of {_NAMES}",
        )
    first, _, version = name.partition("/")
    return first, version


def _variable(name: str) -> str:
    """``SIFPYTORCH`` for a module ``PyTorch``."""
    return "SIF" + re.sub(r"[^A-Z0-9]", "_", name.upper())


def _conflicts(request: ModuleRequest, name: str) -> tuple[str, ...]:
    """Another version of the same, and what is named."""
    for each in request.conflicts:
        if not _NAME.fullmatch(each):
            raise InputError(
                f"'{each}' cannot be the name of a module",
                where=f"--conflict {each}",
                hint=f"NAME or NAME/VERSION of {_NAMES}",
            )
    return tuple(dict.fromkeys([name, *request.conflicts]))


def _is_there(place: str, *, is_sif: bool) -> bool:
    return Path(place + ("" if is_sif else _PREFIX_SIGN)).is_file()


# -- Lua -----------------------------------------------------------------------------------------
def quote_lua(text: str) -> str:
    """A text as a string of Lua, in ASCII: bytes that might mean something are numbers."""
    data = text.encode("utf-8", "surrogateescape")
    return '"' + "".join(chr(b) if chr(b) in _PLAIN else f"\\{b:03d}" for b in data) + '"'


def as_lua(module: Module) -> str:
    """The text of a module file for Lmod."""
    lines = [f"-- {MARK} {__version__}: make it anew with that", ""]
    lines += [f"help({quote_lua(module.help)})"]
    lines += [f"whatis({quote_lua(line)})" for line in _whatis(module)]
    lines += [f"conflict({quote_lua(name)})" for name in module.conflicts]
    return "\n".join([*lines, "", _lua_code(module)])


def _lua_code(module: Module) -> str:
    """All but what the module says of itself."""

    def several(values: Sequence[str]) -> str:
        return "{ " + ", ".join(map(quote_lua, values)) + " }"

    lines = [f"local places = {several(module.places)}"]
    lines += [f"local {name} = {quote_lua(value)}" for name, value in _values(module).items()]
    if module.is_sif:
        lines += [f"local binds = {several(module.binds)}"]
    return _text(lines, module, ".lua")


# -- Tcl -----------------------------------------------------------------------------------------
def quote_tcl(text: str) -> str:
    """A text as a word of Tcl.

    Letters beyond ASCII stay as they are: Tcl reads and writes them in the same encoding, whatever
    the locale.

    :raises InputError: it has bytes that are no UTF-8, which Tcl cannot say.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(
            "the path has bytes that are not UTF-8, which Tcl cannot say",
            where=text,
            hint="rename it, or make a module for Lmod: --lua",
        ) from None
    return '"' + re.sub(r'[\x00-\x1f\x7f"$\[\]\\{}]', _tcl_escape, text) + '"'


def _tcl_escape(match: re.Match[str]) -> str:
    letter = match[0]
    return f"\\{letter}" if letter.isprintable() else f"\\{ord(letter):03o}"


def as_tcl(module: Module) -> str:
    """The text of a module file for Environment Modules, which Lmod reads too."""

    def several(values: Sequence[str]) -> str:
        return "[list " + " ".join(map(quote_tcl, values)) + "]"

    lines = ["#%Module1.0", f"# {MARK} {__version__}: make it anew with that", ""]
    lines += [f"proc ModulesHelp {{ }} {{ puts stderr {quote_tcl(module.help)} }}"]
    lines += [f"module-whatis {quote_tcl(line)}" for line in _whatis(module)]
    lines += [f"conflict {quote_tcl(name)}" for name in module.conflicts]
    lines += ["", f"set places {several(module.places)}"]
    lines += [f"set {name} {quote_tcl(value)}" for name, value in _values(module).items()]
    if module.is_sif:
        lines += [f"set binds {several(module.binds)}"]
    return _text(lines, module, ".tcl")


# -- EasyBuild -----------------------------------------------------------------------------------
_HERE = "@root@"  # in whose place comes what EasyBuild's modules call their directory
_EASY_FILE = re.compile(r"[\w.+@-]+", re.ASCII)


def as_easyconfig(module: Module) -> str:
    """The text of an EasyConfig, by which EasyBuild copies the SIF and makes a module for Lmod.

    :raises InputError: it is no SIF, or has no version, which EasyBuild needs.
    """
    if not (module.is_sif and module.version):
        raise InputError(
            "EasyBuild installs files that have a version",
            where=module.places[0],
            hint="name a SIF, and what it is to be called: --name NAME/VERSION",
        )
    image = Path(module.places[0]).name
    if not _EASY_FILE.fullmatch(image):
        raise InputError(
            "EasyBuild takes no file of such a name",
            where=module.places[0],
            hint=f"rename it, or link to it: {_NAMES}",
        )
    here = replace(module, places=(f"{_HERE}/{image}", *module.places[1:]))
    others = [f"conflict({quote_lua(name)})\n" for name in module.conflicts[1:]]
    footer = "".join([*others, _lua_code(here)])
    footer = footer.replace("%", "%%").replace(_HERE, '" .. root .. "')
    footer = footer.replace("\\", "\\\\").replace("'", "\\'")
    texts = {"name": module.name, "version": module.version, "image": image}
    for key, text in {"about": module.about, "usage": module.help.partition("\n")[2]}.items():
        texts[key] = text.replace("%", "%%")
    return Template((files("wrapper") / "templates" / "module.eb").read_text()).substitute(
        {key: repr(text) for key, text in texts.items()},
        made=f"{MARK} {__version__}",
        footer=footer,
    )


# -- both ----------------------------------------------------------------------------------------
def _whatis(module: Module) -> list[str]:
    version = [f"Version: {module.version}"] if module.version else []
    return [f"Name: {module.name}", *version, f"Description: {module.about}"]


def _values(module: Module) -> Mapping[str, str]:
    """Variables of the file's own, by name."""
    values = {
        "sign": "" if module.is_sif else _PREFIX_SIGN,
        "missing": module.missing,
    }
    if len(module.places) > 1:
        values["replaced"] = module.replaced
    if module.is_sif:
        values |= {"variable": _variable(module.name), "root": str(Path(module.places[0]).parent)}
    return values


def _text(lines: Sequence[str], module: Module, suffix: str) -> str:
    form = "sif" if module.is_sif else "prefix"
    templates = files("wrapper") / "templates"
    code = [(templates / f"{name}{suffix}").read_text() for name in ("module", f"module-{form}")]
    return "\n".join([*lines, "", "".join(code)])
