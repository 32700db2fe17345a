"""What the runtime spoils arrives all the same: where there is something, a bash inside mends it.

What real runtimes spoil is measured in ``tests/e2e/test_calls.py``.
"""

from __future__ import annotations

import os
import pwd
import signal
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from tests.activation import activation, prepends, recorded, unsets
from tests.shell.conftest import ORDINARY_USER, Install, Prefix, make_prefix, write_environment

ACCOUNTS_HOME = os.fsencode(pwd.getpwuid(os.getuid()).pw_dir)
LATIN = b"caf\xe9 '\"$x`\\*\n"
TEXT = "käse €😀".encode()
NO_TEXT = [
    LATIN,
    b"\xff",
    b"\xc3",
    b"\xc3\xc3\xa9\xa9",
    b"\xed\xa0\x80",
    b"\xc0\xaf",
    b"\xf5\x80\x80\x80",
]


@pytest.fixture
def spoiling(install: Install) -> Prefix:
    return install(spoils=True)


def arrived(prefix: Prefix, env: Mapping[str, bytes]) -> dict[bytes, bytes]:
    """The variables of a program."""
    call = prefix.run("/bin/cat", "/proc/self/environ", name="_debug_exec", env=env)
    return dict(item.partition(b"=")[::2] for item in call.stdout.split(b"\0") if item)


# -- the ordinary call -----------------------------------------------------------------------------
@pytest.mark.parametrize(
    "env",
    [
        {},
        {"X": TEXT, "Y": b"a\nb\n", "Z": b"a ~b", "W": b"\\u00e9"},
        {"X": b"~root", "Y": b"a\\u000Ab"},  # the runtime has a way for these
        {"OLDPWD": b"/usr", "PS1": b"\\w", "SHLVL": b"3", "BASH_ENV": b"/x", "LC_ALL": b"C"},
    ],
)
def test_an_ordinary_call_needs_no_bash_inside(prefix: Prefix, env: dict[str, bytes]) -> None:
    call = prefix.run("a b", TEXT, env=env)
    assert call.command == (os.fsencode(prefix.program()), b"a b", TEXT)


# -- arguments -------------------------------------------------------------------------------------
@pytest.mark.parametrize("word", NO_TEXT)
def test_arguments_that_are_no_text(spoiling: Prefix, word: bytes) -> None:
    words = [b"", b"[0]=x", b"~", b"{a,b}", TEXT, word, b"-n"]
    call = spoiling.run("/usr/bin/printf", "%s\\0", *words, name="_debug_exec")
    assert call.stdout.split(b"\0")[:-1] == words


@pytest.mark.parametrize("locale", ["C", "C.UTF-8", "xx_YY.UTF-8"])
def test_the_callers_locale_does_not_matter(spoiling: Prefix, locale: str) -> None:
    env = {"LC_ALL": locale, "X": LATIN}
    call = spoiling.run("/usr/bin/printf", "%s\\0", LATIN, TEXT, name="_debug_exec", env=env)
    assert call.stdout.split(b"\0")[:-1] == [LATIN, TEXT]
    assert call.stderr.count("xx_YY") <= 3  # one line of each bash


def test_the_path_it_was_called_by_may_be_no_text(prefix: Prefix, tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    (folder / "tool").symlink_to(prefix.program("tool"))
    call = prefix.call(folder / "tool", "x y")
    assert call.command[:3] == (b"/bin/bash", b"-p", b"-c")
    assert call.command[-2:] == (rf"$'{tmp_path}/caf\351/tool' ".encode(), rb"x\ y ")


# -- variables -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "value", [*NO_TEXT, b"~root/x", b"~", b"a\\u000Ab", b"~\xe9", b"`$(x)$y\\ \xe9"]
)
def test_values_arrive(spoiling: Prefix, value: bytes) -> None:
    assert arrived(spoiling, {"X": value, "_x": value})[b"X"] == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("IFS", b",:"), ("IFS", b""), ("PS2", b"> "), ("PS4", b"+ "), ("e", b"E"), ("key", b"K")],
        *[("SHELLOPTS", b"braceexpand:pipefail:errexit:noglob:nounset"), ("BASHOPTS", b"nullglob")],
        *[("OLDPWD", b"/no/such"), ("UID", b"7"), ("EUID", b"7"), ("PPID", b"7"), ("OPTIND", b"3")],
        *[("RANDOM", b"r"), ("SECONDS", b"s"), ("LINENO", b"l"), ("GROUPS", b"g"), ("BASH", b"b")],
        *[("BASH_VERSION", b"v"), ("BASH_REMATCH", b"r"), ("MAPFILE", b"m"), ("HISTCMD", b"h")],
        *[("a.b", b"\xe9"), ("BASH_FUNC_x%%", b"() {  touch pwned \xe9\n}"), ("a.b", b"~")],
    ],
)
def test_names_that_mean_something_to_a_shell(spoiling: Prefix, name: str, value: bytes) -> None:
    words = [b"a b", b"*", b"/,:"]
    command = ("/bin/sh", "-c", 'cat /proc/$$/environ; printf "%s\\0" "" "$@"', "-", *words)
    call = spoiling.run(*command, name="_debug_exec", env={name: value, "X": b"x"})
    environ, _, arguments = call.stdout.partition(b"\0\0")
    assert f"{name}=".encode() + value in environ.split(b"\0") and b"X=x" in environ.split(b"\0")
    assert arguments.split(b"\0")[:-1] == words
    assert not (spoiling.out / "pwned").exists()


@pytest.mark.parametrize("name", ["PREPEND_PATH", "APPEND_PATH"])
def test_a_variable_that_means_path_to_the_runtime(spoiling: Prefix, name: str) -> None:
    seen = arrived(spoiling, {name: b"~root"})
    assert seen[name.encode()] == b"~root" and b"~root" not in seen[b"PATH"]


def test_what_the_activation_sets_is_not_put_back(install: Install) -> None:
    script = recorded(prepends("P", "/first"), unsets("U"))
    prefix = install(spoils=True, activation=activation(script, A="env", T="~x"))
    seen = arrived(prefix, {"A": LATIN, "P": LATIN, "U": LATIN, "T": LATIN, "X": LATIN})
    assert (seen[b"A"], seen[b"T"], seen[b"X"]) == (b"env", b"~x", LATIN)
    assert seen[b"P"] == b"/first:" + LATIN
    assert b"U" not in seen


def test_a_path_that_is_no_text_still_begins_with_the_installation(spoiling: Prefix) -> None:
    seen = arrived(
        spoiling, {"PATH": b"/usr/bin:/bin:/\xe9:/$x", "LD_LIBRARY_PATH": b"/\xe9:$ORIGIN"}
    )
    assert seen[b"PATH"] == os.fsencode(spoiling.root) + b"/bin:/usr/bin:/bin:/\xe9:/$x"
    assert seen[b"LD_LIBRARY_PATH"] == b"/\xe9:$ORIGIN"


@pytest.mark.parametrize("home", [b"/a:b", b"/caf\xe9", b""])
def test_a_home_that_the_runtime_cannot_express(spoiling: Prefix, home: bytes) -> None:
    call = spoiling.run("/bin/cat", "/proc/self/environ", name="_debug_exec", env={"HOME": home})
    assert b"HOME=" + home in call.stdout.split(b"\0")
    assert call.argv[call.argv.index(b"--home") + 1] == ACCOUNTS_HOME


# -- signals ---------------------------------------------------------------------------------------
IGNORED = [
    (signal.SIGHUP,),
    (signal.SIGINT, signal.SIGQUIT),
    (signal.SIGQUIT,),
    (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTSTP, signal.SIGPIPE),
    (signal.SIGRTMIN, signal.SIGRTMAX),
]


LIBRARYS_OWN = (32, 33)  # a caller built with another C library may ignore them


@pytest.mark.parametrize("numbers", IGNORED)
def test_what_the_caller_ignores_is_ignored(
    spoiling: Prefix, numbers: tuple[signal.Signals, ...]
) -> None:
    code = f"import os, signal, sys\nfor n in {[int(n) for n in numbers]}: signal.signal(n, 1)\n"
    code += "os.execv(sys.argv[1], sys.argv[1:])"
    before = (sys.executable, "-IS", "-c", code)
    words = (spoiling.program("_debug_exec"), "/bin/cat", "/proc/self/status")
    status = spoiling.call(*words, before=before).stdout.decode()
    ignored = int(status.partition("SigIgn:")[2].split()[0], 16)
    # Python, which starts it here, ignores these; the C library's two are nobody's to set.
    own = {signal.SIGPIPE, signal.SIGXFSZ, *LIBRARYS_OWN}
    assert ignored & ~_mask(own) == _mask(set(numbers) - own)
    assert ignored & _mask(set(numbers)) == _mask(set(numbers))


def _mask(numbers: Iterable[int]) -> int:
    return sum(1 << (number - 1) for number in numbers)


def test_an_ordinary_caller_ignores_nothing(spoiling: Prefix) -> None:
    call = spoiling.run("/bin/cat", "/proc/self/status", name="_debug_exec")
    ignored = int(call.stdout.decode().partition("SigIgn:")[2].split()[0], 16)
    assert ignored & ~_mask(LIBRARYS_OWN) == 0
    assert call.command[0] == b"/bin/cat"


# -- without a bash inside -------------------------------------------------------------------------
def test_in_an_image_without_bash_programs_start_all_the_same(
    prefix: Prefix, tmp_path: Path
) -> None:
    (tmp_path / "x.sif").touch()
    write_environment(prefix.root, image=str(tmp_path / "x.sif"), no_bash=True)
    words = (prefix.program("tool"), LATIN, "a b")
    env = {"X": LATIN, "HOME": b"/a:b", "OLDPWD": LATIN}
    call = prefix.call(*words, before=("nohup",), env=env)
    assert call.command == (os.fsencode(prefix.program("tool")), LATIN, b"a b")
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    odd.mkdir()
    call = prefix.call(prefix.program("tool"), cwd=odd)
    assert (call.started, call.status) == (False, 1)
    assert "cannot be started in the current directory" in call.stderr


# -- the working directory -------------------------------------------------------------------------
def where(prefix: Prefix, cwd: Path, **env: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    command = ("/bin/sh", "-c", "readlink -n /proc/$$/cwd; printf '\\0'; cat /proc/$$/environ")
    call = prefix.run(*command, name="_debug_exec", cwd=cwd, env=env)
    path, _, environ = call.stdout.partition(b"\0")
    return path, dict(item.partition(b"=")[::2] for item in environ.split(b"\0") if item)


def test_a_working_directory_that_is_no_text(spoiling: Prefix, tmp_path: Path) -> None:
    place = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    place.mkdir()
    path, environ = where(spoiling, place, PWD=os.fsencode(place), OLDPWD=b"/usr")
    assert path == environ[b"PWD"] == os.fsencode(place)
    assert environ[b"OLDPWD"] == b"/usr"
    assert b"OLDPWD" not in where(spoiling, place)[1]


def test_a_working_directory_that_may_be_entered_but_not_read(open_place: Path) -> None:
    """The runtime could not open it."""
    prefix = make_prefix(open_place, runs=True)
    prefix.out.chmod(0o777)
    (open_place / "link").symlink_to(prefix.root)
    closed = open_place / "closed"
    closed.mkdir()
    closed.chmod(0o311)
    words = (open_place / "link/bin/_debug_exec", "/bin/sh", "-c", "readlink -n /proc/$$/cwd")
    call = prefix.call(*words, cwd=closed, before=ORDINARY_USER)
    assert (call.cwd, call.stderr) == (Path("/"), "")
    assert call.stdout == os.fsencode(closed)


def test_a_working_directory_that_is_gone_is_told(prefix: Prefix, tmp_path: Path) -> None:
    """The runtime would go to the home directory without a word."""
    gone = tmp_path / "gone"
    gone.mkdir()
    script = 'rmdir "$1"; exec "$2" x'
    call = prefix.call("/bin/bash", "-c", script, "-", gone, prefix.program(), cwd=gone)
    assert (call.started, call.status) == (False, 1)
    assert f"[ ERROR ] the current directory has gone: {gone}" in call.stderr


# -- programs --------------------------------------------------------------------------------------
def test_a_command_that_is_not_there_is_told(spoiling: Prefix) -> None:
    call = spoiling.call(spoiling.program("_debug_exec"), "no-such", "x")
    assert (call.started, call.status) == (True, 127)
    assert "[ ERROR ] no such program inside: no-such" in call.stderr
    call = spoiling.call(spoiling.program("_debug_exec"), "/no/such/program")
    assert call.status == 127 and "no such program inside: /no/such/program" in call.stderr


# -- accounts --------------------------------------------------------------------------------------
def test_without_a_home_it_is_the_accounts(prefix: Prefix) -> None:
    call = prefix.run(env={"HOME": None})
    assert call.argv[call.argv.index(b"--home") + 1] == ACCOUNTS_HOME
    assert call.command[0] == os.fsencode(prefix.program())


@pytest.mark.root("only root can be another account")
def test_an_account_without_a_name_is_told(open_place: Path) -> None:
    """The runtime starts nothing for one."""
    prefix = make_prefix(open_place)
    before = ("setpriv", "--reuid=54321", "--regid=54321", "--clear-groups")
    call = prefix.call(prefix.program(), before=before, cwd=Path("/"))
    assert (call.started, call.status) == (False, 1)
    assert "[ ERROR ] your account (number 54321) has no name here" in call.stderr
