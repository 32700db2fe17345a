"""Module files: their words are the user's paths, whatever these have in them.

They run in real interpreters of Lua and Tcl, with stand-ins for what a module system adds. Where
Lmod or Environment Modules are installed (they cannot be together), these read them too.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import require
from tests.images import PRIMARY, SQUASHFS, sif_bytes, squashfs_bytes
from tests.manifests import manifest
from wrapper.commands.modulefile import (
    LUA,
    TCL,
    ModuleRequest,
    modulefile,
    quote_lua,
    quote_tcl,
    site_binds,
)
from wrapper.console import Console
from wrapper.errors import InputError, PrefixError
from wrapper.manifest import manifest_text
from wrapper.models import Site

_LUA = next(filter(None, map(shutil.which, ("lua", "lua5.4", "lua5.3", "lua5.1", "luajit"))), "")
_TCL = shutil.which("tclsh") or ""
LANGUAGES = [LUA, TCL]

# What happens is told in fields that end in a byte 1, lines that end in a byte 2.
_LUA_SYSTEM = r"""
local function tell(what) return function(...)
   io.write(what, "\1"); for _, w in ipairs({...}) do io.write(w, "\1") end; io.write("\2")
end end
help, whatis, conflict, setenv = tell("help"), tell("whatis"), tell("conflict"), tell("setenv")
prepend_path, append_path = tell("prepend"), tell("append")
LmodMessage = tell("message")
LmodError = function(text) tell("error")(text); os.exit(0) end
mode = function() return os.getenv("MODE") end
isFile = function(path)
   local file = io.open(path); if file then file:close() end; return file ~= nil
end
isDir = function(path) return isFile(path .. "/.") end
"""
_TCL_SYSTEM = r"""
proc tell {args} { puts -nonewline "[join $args "\1"]\1\2" }
proc module-whatis {text} { tell whatis $text }
proc conflict {name} { tell conflict $name }
proc setenv {name value} { tell setenv $name $value }
proc prepend-path {name value} { tell prepend $name $value }
proc append-path {option delimiter name value} { tell append $name $value $delimiter }
proc module-info {mode which} { expr {$::env(MODE) eq $which} }
rename puts tclputs
proc puts {args} {
    if {[lindex $args 0] eq "stderr"} { tell message [lindex $args 1] } else { tclputs {*}$args }
}
rename error tclerror
proc error {text args} { tell error $text; exit 0 }
"""


def told(tmp_path: Path, language: str, code: str, mode: str = "load") -> list[list[str]]:
    """What the code of a module file does, in order."""
    require(bool(_LUA if language == LUA else _TCL), f"an interpreter of {language}")
    suffix, system = (".lua", _LUA_SYSTEM) if language == LUA else (".tcl", _TCL_SYSTEM)
    script = tmp_path / f"script{suffix}"
    script.write_bytes((system + code).encode("utf-8", "surrogateescape"))
    run = subprocess.run(
        [_LUA if language == LUA else _TCL, script],
        capture_output=True,
        env={"MODE": mode, "PATH": os.defpath, "LC_ALL": "C.UTF-8"},
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, b"")
    lines = run.stdout.decode("utf-8", "surrogateescape").split("\2")
    assert lines.pop() == ""
    return [line.split("\1")[:-1] for line in lines]


def image(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(sif_bytes([(PRIMARY, SQUASHFS, squashfs_bytes())]))
    return path


def installation(root: Path) -> Path:
    generation = root / ".generations/1"
    generation.mkdir(parents=True)
    (generation / "manifest.json").write_text(manifest_text(manifest(programs=3)))
    (generation / "env").touch()
    (root / "current").symlink_to(".generations/1")
    return root


def text_of(target: Path, language: str, **more: Any) -> str:
    return modulefile(ModuleRequest(target=target, language=language, **more), Console(-2))


# -- words ---------------------------------------------------------------------------------------
HOSTILE = [
    "a ]] b [[ c ]==] --[[ d",
    "[exit 3] $env(HOME) ${x} $x {a} }{ \\",
    'os.exit(3)") os.exit(3) --',
    '"; exit 3; #',
    "#%Module -- # ;",
    "\ttab\nline\\nno\r\x1b",
    "\\010 \\x41 %d %s %%",
    "élan 東京",
    "'`\"",
    "",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_is_the_same_in_lua(tmp_path: Path, text: str) -> None:
    assert told(tmp_path, LUA, f"whatis({quote_lua(text)})") == [["whatis", text]]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_is_the_same_in_tcl(tmp_path: Path, text: str) -> None:
    code = f"set x {quote_tcl(text)}\nmodule-whatis $x"
    assert told(tmp_path, TCL, code) == [["whatis", text]]
    code = f"proc f {{}} {{ module-whatis {quote_tcl(text)} }}\nf"
    assert told(tmp_path, TCL, code) == [["whatis", text]]


def test_lua_takes_any_bytes(tmp_path: Path) -> None:
    assert told(tmp_path, LUA, f"whatis({quote_lua(chr(0xDCFF))})") == [["whatis", "\udcff"]]
    assert quote_lua("é").isascii()


def test_what_tcl_cannot_say_is_told() -> None:
    with pytest.raises(InputError, match="not UTF-8") as caught:
        quote_tcl("a\udcff")
    assert "--lua" in caught.value.hint


# -- installations -------------------------------------------------------------------------------
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_module_of_an_installation(tmp_path: Path, language: str) -> None:
    target = installation(tmp_path / "o'd $HOME [x] {y")
    done = told(tmp_path, language, text_of(target, language, name="env/1.0", conflicts=("old",)))
    assert done[-5:] == [
        ["conflict", "env"],
        ["conflict", "old"],
        ["setenv", "CONTAINERROOT", str(target)],
        ["setenv", "RUNSCRIPTS", f"{target}/bin"],
        ["prepend", "PATH", f"{target}/bin"],
    ]
    assert ["whatis", "Name: env"] in done and ["whatis", "Version: 1.0"] in done


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_fallback_counts_where_the_target_has_gone(tmp_path: Path, language: str) -> None:
    target, shared = installation(tmp_path / "own"), installation(tmp_path / "shared")
    code = text_of(target, language, fallback=shared)
    shutil.rmtree(target)
    done = told(tmp_path, language, code)
    assert ["prepend", "PATH", f"{shared}/bin"] in done
    assert ["message", f"own: {target} is not there, {shared} is used instead."] in done
    # What was loaded before it went is taken away too, and nothing is said.
    done = told(tmp_path, language, code, mode="unload")
    paths = [words[2] for words in done if words[0] == "prepend"]
    assert paths == [f"{target}/bin", f"{shared}/bin"]
    assert "message" not in {words[0] for words in done}


@pytest.mark.parametrize("language", LANGUAGES)
def test_with_neither_there_loading_is_an_error_and_unloading_works(
    tmp_path: Path, language: str
) -> None:
    target = installation(tmp_path / "own")
    code = text_of(target, language, fallback=tmp_path / "shared")
    shutil.rmtree(target)
    what = f"own: neither {target} nor {tmp_path / 'shared'} is there"
    (error,) = [words[1] for words in told(tmp_path, language, code) if words[0] == "error"]
    assert error.startswith(what)
    done = told(tmp_path, language, code, mode="unload")
    assert ["prepend", "PATH", f"{target}/bin"] in done


# -- SIF files -----------------------------------------------------------------------------------
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_module_of_an_image(tmp_path: Path, language: str) -> None:
    target = image(tmp_path / 'a "b" $c/py torch.sif')
    (there := tmp_path / "scratch").mkdir()
    site = Site(mounts=("/nowhere",), binds=(f"{there}:/data:ro", "/no/such"))
    code = text_of(target, language, site=site, name="py-torch/2")
    done = [words for words in told(tmp_path, language, code) if words[0] in ("setenv", "append")]
    assert done == [
        ["setenv", "SIF", str(target)],
        ["setenv", "SIFPY_TORCH", str(target)],
        ["setenv", "CONTAINERROOT", str(target.parent)],
        ["setenv", "RUNSCRIPTS", "/runscripts"],
        ["append", "SINGULARITY_BIND", f"{there}:/data:ro", ","],
    ]
    # A directory may come or go while it is loaded.
    done = told(tmp_path, language, code, mode="unload")
    assert [words[2] for words in done if words[0] == "append"] == [
        *("/nowhere", f"{there}:/data:ro", "/no/such")
    ]


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_image_may_be_replaced_by_the_shared_one(tmp_path: Path, language: str) -> None:
    target, shared = image(tmp_path / "own/x.sif"), image(tmp_path / "shared.sif")
    (target.parent / "runscripts").mkdir()
    code = text_of(target, language, fallback=shared)
    target.unlink()
    done = told(tmp_path, language, code)
    assert ["setenv", "SIFX", str(shared)] in done
    assert ["setenv", "CONTAINERROOT", str(target.parent)] in done
    assert ["setenv", "RUNSCRIPTS", str(target.parent / "runscripts")] in done


def test_an_image_gets_what_the_site_gives_to_images_of_its_name() -> None:
    site = Site(
        mounts=("/scratch", "/opt", "/users"),
        exclude_binds=("/users",),
        image_binds={"lumi-*": ("/opt/cray", "/scratch"), "*": ("/var/spool/slurmd",)},
    )
    assert site_binds(site, Path("/x/lumi-a.sif"), None) == ("/scratch", "/opt/cray")
    assert site_binds(site, Path("/x/a.sif"), None) == ("/scratch", "/var/spool/slurmd")
    base = {"kind": "image", "name": "lumi-rocm", "source": "", "path": "/x/lumi-rocm"}
    assert "/opt/cray" in site_binds(site, Path("/x/a.sif"), manifest(base=base))
    mpi = {"kind": "host", "directory": "mpi-1"}
    assert site_binds(Site(), Path("/x/a.sif"), manifest(mpi=mpi)) == ("/:/.containerize-host",)


# -- what cannot be ------------------------------------------------------------------------------
def test_what_is_no_target_is_told(tmp_path: Path) -> None:
    with pytest.raises(PrefixError, match="no installation"):
        text_of(tmp_path, LUA)
    (tmp_path / "raw.sqfs").write_bytes(squashfs_bytes())
    with pytest.raises(InputError, match="no SIF file"):
        text_of(tmp_path / "raw.sqfs", LUA)


@pytest.mark.parametrize("name", ["a b", "/x", "a/b/c", "-x", "a/", 'a"', "é"])
def test_what_no_module_can_be_called_is_told(tmp_path: Path, name: str) -> None:
    target = image(tmp_path / "x.sif")
    with pytest.raises(InputError, match="cannot be the name"):
        text_of(target, LUA, name=name)
    with pytest.raises(InputError, match="cannot be the name"):
        text_of(target, LUA, conflicts=(name,))


@pytest.mark.parametrize(("found", "name"), [("my env", "my-env"), (" (x)", "x"), ("a.1", "a.1")])
def test_a_name_is_made_of_the_targets(tmp_path: Path, found: str, name: str) -> None:
    assert f'"Name: {name}"' in text_of(image(tmp_path / f"{found}.sif"), LUA)


@pytest.mark.parametrize(
    ("variables", "language", "said"),
    [
        ({}, TCL, "no module system in this shell"),
        ({"MODULESHOME": "/usr/share/modules"}, LUA, "reads no Lua: --tcl"),
        ({"MODULESHOME": "/usr/share/modules"}, TCL, ""),
        ({"MODULESHOME": "/opt/lmod", "LMOD_CMD": "/opt/lmod/lmod"}, LUA, ""),
    ],
)
def test_a_module_system_that_would_not_read_it_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    language: str,
    said: str,
) -> None:
    for name in ("LMOD_CMD", "MODULESHOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    console = Console(stream=(screen := io.StringIO()))
    modulefile(ModuleRequest(target=image(tmp_path / "x.sif"), language=language), console)
    assert said in screen.getvalue() and bool(said) == bool(screen.getvalue())


def test_a_file_is_written_anew_and_no_other_is_overwritten(tmp_path: Path) -> None:
    target, output = image(tmp_path / "x.sif"), tmp_path / "modules/x/1.lua"
    first = text_of(target, LUA, name="x/1", output=output)
    assert output.read_text() == first
    output.chmod(0o664)
    before = os.umask(0o077)
    second = text_of(target, LUA, name="x/1", conflicts=("y",), output=output)
    os.umask(before)
    assert output.stat().st_mode & 0o777 == 0o664, "its readers keep it"
    assert output.read_text() == second != first
    assert [path.name for path in output.parent.iterdir()] == ["1.lua"]
    output.write_text('help("mine")')
    with pytest.raises(InputError, match="something else"):
        text_of(target, LUA, name="x/1", output=output)
    assert output.read_text() == 'help("mine")'


# -- module systems ------------------------------------------------------------------------------
_LMOD = Path("/usr/share/lmod/lmod/libexec/lmod")
_MODULECMD = shutil.which("modulecmd") or next(
    (str(p) for p in Path("/usr/lib").glob("*/modulecmd.tcl")), ""
)


@pytest.mark.parametrize(
    ("language", "program"),
    [
        pytest.param(
            LUA, [str(_LMOD)], marks=pytest.mark.skipif(not _LMOD.exists(), reason="no Lmod")
        ),
        pytest.param(
            TCL,
            [_TCL, _MODULECMD],
            marks=pytest.mark.skipif(
                not (_TCL and _MODULECMD), reason="there are no Environment Modules"
            ),
        ),
    ],
)
def test_module_systems_load_and_unload_it(
    tmp_path: Path, language: str, program: list[str]
) -> None:
    target = image(tmp_path / 'o\'d "q" $HOME [x] `id` %d.sif')
    suffix = ".lua" if language == LUA else ""
    output = tmp_path / f"modules/img/1{suffix}"
    site = Site(binds=("/mnt:/data:ro", "/tmp"))
    text_of(target, language, name="img/1", output=output, site=site)

    def call(*words: str) -> str:
        """Shell code: what ``module`` evaluates."""
        return f'eval "$("$@" bash {" ".join(words)})"'

    show = r'printf "%s\0" "${SIF-}" "${SIFIMG-}" "${SINGULARITY_BIND-}"'
    script = [f"export SINGULARITY_BIND=/mnt:/mine,/tmp; {call('use', str(output.parents[1]))}"]
    script += [call("load", "img"), show, call("unload", "img"), show]
    run = subprocess.run(
        ["bash", "-c", "; ".join(script), "bash", *program],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"},
        check=True,
    )
    *there, binds, no_sif, neither, left, end = run.stdout.split("\0")
    assert (there, no_sif, neither, end) == ([str(target)] * 2, "", "", ""), run.stderr
    # (Lmod moves what is there already to the end.)
    assert sorted(binds.split(",")) == ["/mnt:/data:ro", "/mnt:/mine", "/tmp"]
    assert left == "/mnt:/mine,/tmp"
