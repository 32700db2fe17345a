"""Random calls of a program, natively and through a shim, and what differs.

A case is what a caller can choose: words, variables, the working directory, signals, the umask, how
the program is named. The program is a copy of ``/bin/sh`` that prints what the kernel knows of it.
What may differ is the table "What cannot be kept" of ``docs/users.md``, see :func:`differences`.

As a program, ``python -IS calls.py CASES RESULTS`` makes the calls of a file, as whoever runs it.
"""

import json
import os
import random
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

PROBE = r"""
cat() { /bin/cat "/proc/$$/$1"; printf '\0==@@==\0'; }
umask; /bin/readlink -n "/proc/$$/cwd"; printf '\0==@@==\0'
cat cmdline; cat environ; cat limits; exec /bin/grep -E '^Sig(Blk|Ign)' /proc/self/status
"""  # (a shell that starts a process blocks signals meanwhile)
_SECTIONS = 5
SECONDS = 60

WORDS = [b"", b" ", b"a b", b"'", b'"', b"*", b"?", b"~", b"~root", b"$HOME", b"`x`", b"$(x)"]
WORDS += [b"\\", b"\\\\", b"a\nb", b"\n", b"\t", b"\r", b"--", b"-n", b"-c", b"!!", b"{a,b}", b"#"]
WORDS += [b"[0]=x", b"a=b", b"=", b"%s", b"\x01\x1b\x7f", b"\\u000A", b"a\\u000Ab", b"@@", b":/a:"]
TEXTS = ["é", "käse", "日本", "😀", "e\u0301", "\ufffd", "\u00a0", "\U0010ffff"]
NAMES = ["A", "_", "a", "e", "key", "X1", "__script__", "i", "n", "name", "value", "old", "words"]
NAMES += ["IFS", "PS2", "PS4", "SHELLOPTS", "BASHOPTS", "BASH_ENV", "ENV", "CDPATH", "GLOBIGNORE"]
NAMES += ["OLDPWD", "PWD", "SHLVL", "UID", "EUID", "GID", "PPID", "OPTIND", "OPTARG", "OPTERR"]
NAMES += ["RANDOM", "SECONDS", "LINENO", "BASH", "BASH_VERSION", "BASHPID", "DIRSTACK", "GROUPS"]
NAMES += ["FUNCNAME", "HISTCMD", "BASH_REMATCH", "MAPFILE", "REPLY", "COLUMNS", "LINES", "TERM"]
NAMES += [
    "POSIXLY_CORRECT",
    "TMPDIR",
    "LANG",
    "LC_CTYPE",
    "TZ",
    "USER",
    "LOGNAME",
    "EDITOR",
    "MAIL",
]
NAMES += ["a.b", "a-b", "1a", "BASH_FUNC_f%%", "BASH_FUNC_exec%%", "SLURM_JOB_ID", "PYTHONPATH"]
NAMES += ["LD_LIBRARY_PATH", "XDG_RUNTIME_DIR", "GOMAXPROCS", "GODEBUG", "NO_COLOR", "PREPEND_PATH"]
SETTINGS = [
    "CLEANENV",
    "CONTAIN",
    "CONTAINALL",
    "COMPAT",
    "PWD",
    "CWD",
    "FAKEROOT",
    "NET",
    "OVERLAY",
]
SETTINGS += [
    "ENV_FILE",
    "WRITABLE",
    "WRITABLE_TMPFS",
    "SHARENS",
    "HOME",
    "NO_HOME",
    "NO_MOUNT",
    "PID",
]
SETTINGS += [
    "MOUNT",
    "SCRATCH",
    "WORKDIR",
    "DNS",
    "SECURITY",
    "HOSTNAME",
    "NOENV",
    "UNSQUASH",
    "DEBUG",
]
# SIGKILL and SIGSTOP cannot be ignored, 32 and 33 are the C library's.
SIGNALS = [number for number in range(1, 65) if number not in (9, 19, 32, 33)]
_WAYS = ("absolute", "relative", "link")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One call. Bytes are kept as latin-1 text, for JSON.

    :ivar cwd: a name of :func:`make_places`. :ivar way: how the program is named.
    """

    words: list[str]
    variables: dict[str, str]
    unset: list[str]
    cwd: str
    ignored: list[int]
    blocked: list[int]
    umask: int
    way: str


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where the calls are made; all paths are of the account that makes them.

    :ivar native: a directory with the program ``probe``; so :ivar shims:, of an installation.
    :ivar root: of the working directories.
    """

    native: str
    shims: str
    root: str
    home: str
    path: str


@dataclass(kw_only=True)
class Seen:
    """What a program says of itself."""

    status: int
    umask: str = ""
    cwd: bytes = b""
    words: list[bytes] = field(default_factory=list)
    environ: dict[bytes, bytes] = field(default_factory=dict)
    limits: str = ""
    ignored: int = 0
    blocked: int = 0
    stderr: str = ""


# -- cases -----------------------------------------------------------------------------------------
def case(seed: str) -> Case:
    """The case of a seed."""
    dice = random.Random(seed)
    names = dice.sample(NAMES, dice.randint(0, 12))
    variables = {name: _value(dice, name) for name in names}
    for family in ("APPTAINER", "SINGULARITY"):
        if dice.random() < 0.2:
            variables[f"{family}_{dice.choice(SETTINGS)}"] = dice.choice(["1", "true", "/tmp", ""])
    if dice.random() < 0.2:
        variables["HOME"] = dice.choice(
            ["", "/", "/tmp", "/a:b", "/no/such", "rel", "/caf\xe9", "~"]
        )
    if dice.random() < 0.2:
        variables["PATH"] = dice.choice(
            ["", "/usr/bin", ":/a", "/a:", "/\xe9:/$x:/`y`", "~/bin:/a\\"]
        )
    if dice.random() < 0.15:
        variables["LC_ALL"] = dice.choice(["C", "C.UTF-8", "POSIX", ""])
    return Case(
        words=[_word(dice) for _ in range(dice.randint(0, 8))],
        variables=variables,
        unset=[name for name in ("HOME", "PATH") if dice.random() < 0.05 and name not in variables],
        cwd=dice.choice(list(_PLACES)),
        ignored=sorted(dice.sample(SIGNALS, dice.choice([0, 0, 1, 2, 5]))),
        blocked=sorted(dice.sample(SIGNALS, dice.choice([0, 0, 0, 1, 3]))),
        umask=dice.choice([0o022, 0o077, 0o007, 0o002, 0]),
        way=dice.choice(_WAYS),
    )


def _word(dice: random.Random) -> str:
    kind = dice.random()
    if kind < 0.5:
        word = dice.choice(WORDS)
    elif kind < 0.7:
        word = "".join(dice.choice(TEXTS) for _ in range(dice.randint(1, 4))).encode()
    elif kind < 0.9:
        word = bytes(dice.randint(1, 255) for _ in range(dice.randint(1, 12)))
    else:
        word = dice.choice([b"x", b"\xe9", b"' "]) * dice.choice([1, 100, 5000])
    return word.decode("latin-1")


def _value(dice: random.Random, name: str) -> str:
    """Mostly any; names that steer the dynamic loader, or a Go program, have harmless ones."""
    if name in ("GODEBUG", "GOMAXPROCS", "XDG_RUNTIME_DIR", "TMPDIR"):
        return dice.choice(["", "/tmp"]) if "DIR" in name else ""
    if name == "LD_LIBRARY_PATH":
        return dice.choice(["/no/such", "/no/$ORIGIN", "/caf\xe9"])
    if name.startswith("BASH_FUNC_"):
        return "() {  :" + dice.choice(["", " é", " \xe9"]) + "\n}"
    if name in ("SHLVL", "OPTIND"):  # others dash itself does not start with
        return str(dice.randint(1, 99))
    if name in ("LANG", "LC_CTYPE"):
        return dice.choice(["C", "C.UTF-8", "en_US.UTF-8", ""])
    return _word(dice)


# -- working directories ---------------------------------------------------------------------------
_PLACES = {  # name -> (path below the root, what PWD says), both as latin-1
    "plain": ("plain", "plain"),
    "blanks": ("a b*'\"$x", "a b*'\"$x"),
    "text": ("k\xc3\xa4se", "k\xc3\xa4se"),
    "latin": ("caf\xe9", "caf\xe9"),
    "below latin": ("caf\xe9/x", "caf\xe9/x"),
    "link": ("plain/deep", "link/deep"),
    "link to latin": ("caf\xe9", "latin-link"),
    "closed": ("closed", "closed"),
    "without PWD": ("plain", ""),
    "wrong PWD": ("plain", "no/such"),
    "root": ("/", "/"),
}


def make_places(root: Path) -> None:
    """The working directories, below a directory that is there."""
    for name in ("plain/deep", "a b*'\"$x", "k\xc3\xa4se", "caf\xe9/x", "closed"):
        _below(root, name).mkdir(parents=True)
    (root / "link").symlink_to("plain")
    (root / "latin-link").symlink_to(_below(Path(), "caf\xe9"))
    (root / "closed").chmod(0o311)


def _below(root: Path, latin: str) -> Path:
    return root / os.fsdecode(_bytes(latin))


# -- running ---------------------------------------------------------------------------------------
def run_case(case: Case, places: Places, *, shim: bool) -> Seen:
    """Make the call, natively or through the shim."""
    root, folder = Path(places.root), Path(places.shims if shim else places.native)
    below, logical = _PLACES[case.cwd]
    cwd = _below(root, below)
    env = {b"PATH": _bytes(places.path), b"HOME": _bytes(places.home)}
    if logical:
        env[b"PWD"] = os.fsencode(_below(root, logical))
    env |= {_bytes(name): _bytes(value) for name, value in case.variables.items()}
    for name in case.unset:
        del env[_bytes(name)]
    program = folder / "probe"
    first = {
        "absolute": program,
        "relative": os.path.relpath(program, cwd.resolve()),
        "link": root / ("shim-link" if shim else "native-link"),
    }[case.way]
    words = [os.fsencode(first), b"-c", PROBE.encode(), b"probe", *map(_bytes, case.words)]

    def prepare() -> None:
        os.umask(case.umask)
        for number in signal.valid_signals() - {9, 19}:
            signal.signal(number, signal.SIG_IGN if number in case.ignored else signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, case.blocked)
        os.chdir(cwd)

    done = subprocess.run(
        words,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        preexec_fn=prepare,
        restore_signals=False,
        timeout=SECONDS,
        check=False,
    )
    return _read(done.returncode, done.stdout, done.stderr.decode("utf-8", "backslashreplace"))


def _bytes(text: str) -> bytes:
    return text.encode("latin-1")


def _read(status: int, out: bytes, err: str) -> Seen:
    parts = out.split(b"\0==@@==\0")
    seen = Seen(status=status, stderr=err)
    if len(parts) != _SECTIONS:
        seen.stderr += f"\n{out!r}"
        return seen
    head, words, environ, limits, signals = parts
    mask, _, seen.cwd = head.partition(b"\n")
    seen.umask = mask.decode()
    seen.words = words.split(b"\0")[4:-1]
    items = (item.partition(b"=") for item in environ.split(b"\0") if item)
    seen.environ = {name: value for name, _, value in items}
    seen.limits = limits.decode()
    found = dict(line.split(":\t") for line in signals.decode().splitlines())
    seen.ignored, seen.blocked = int(found["SigIgn"], 16), int(found["SigBlk"], 16)
    return seen


# -- comparing -------------------------------------------------------------------------------------
RUNTIMES_OWN = {  # variables that the runtime sets itself
    *(
        f"{family}_{name}".encode()
        for family in ("APPTAINER", "SINGULARITY")
        for name in ("NAME", "CONTAINER", "COMMAND", "ENVIRONMENT", "APPNAME", "BIND")
    ),
    b"PS1",
    b"PROMPT_COMMAND",
    b"USER_PATH",
}
SHELLS = {b"SHLVL", b"_"}  # as a shell sets them
ALWAYS = {b"PYTHONNOUSERSITE", b"SSL_CERT_FILE", b"__CA_CERTIFICATES_SET"}  # where they are not set
CONDA = {b"CONDA_PREFIX", b"CONDA_DEFAULT_ENV", b"CONDA_SHLVL"}
_LIBS = b":/.singularity.d/libs"


def differences(case: Case, native: Seen, inside: Seen, places: Places) -> list[str]:
    """What differs and is not documented, in words; none where all is well."""
    found = []
    pairs: dict[str, tuple[object, object]] = {
        "status": (native.status, inside.status),
        "umask": (native.umask, inside.umask),
        "words": (native.words, inside.words),
        "limits": (native.limits, inside.limits),
        "cwd": (native.cwd, inside.cwd),
        "ignored": (native.ignored & ~(1 << signal.SIGCHLD - 1), inside.ignored),
        "blocked": (0, inside.blocked),
        "stderr": (native.stderr, inside.stderr),
    }
    found += [f"{what}: {one!r} -> {two!r}" for what, (one, two) in pairs.items() if one != two]
    expected, got = _normal(native, places, case), _normal(inside, places, case)
    for name in sorted(expected.keys() | got.keys()):
        one, two = expected.get(name), got.get(name)
        if one != two:
            found.append(f"variable {name.decode('latin-1')}: {one!r} -> {two!r}")
    return found


def _normal(seen: Seen, places: Places, case: Case) -> dict[bytes, bytes]:
    """The variables without what is documented to differ."""
    own = RUNTIMES_OWN | SHELLS | CONDA
    environ = {name: value for name, value in seen.environ.items() if name not in own}
    for name in ALWAYS:
        if _bytes(case.variables.get(name.decode(), "")) != environ.get(name):
            environ.pop(name, None)
    environ.setdefault(b"HOME", _bytes(places.home))  # the account's
    if "HOME" in case.unset:
        environ.pop(b"HOME")
    path = environ.pop(b"PATH", b"")
    if "PATH" not in case.unset:
        environ[b"PATH"] = b":".join(
            part for part in path.split(b":") if part != _bytes(places.shims)
        )
    if b"LD_LIBRARY_PATH" in environ:
        environ[b"LD_LIBRARY_PATH"] = environ[b"LD_LIBRARY_PATH"].removesuffix(_LIBS)
    pwd = environ.pop(b"PWD", b"")
    environ[b"PWD"] = pwd if _is(pwd, seen.cwd) else seen.cwd
    return environ


def _is(path: bytes, place: bytes) -> bool:
    try:
        return path.startswith(b"/") and Path(os.fsdecode(path)).samefile(os.fsdecode(place))
    except OSError:
        return False


def main(cases: Path, results: Path) -> None:
    """Make the calls that the file ``cases`` names; all that differs, as JSON."""
    data: dict[str, Any] = json.loads(cases.read_text())
    places = Places(**data["places"])
    make_places(Path(places.root))
    found: dict[str, list[str]] = {}
    for seed in data["seeds"]:
        chosen = case(seed)
        native = run_case(chosen, places, shim=False)
        inside = run_case(chosen, places, shim=True)
        if lines := differences(chosen, native, inside, places):
            found[seed] = [*lines, json.dumps(asdict(chosen))]
    results.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
