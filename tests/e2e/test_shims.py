"""A wrapped program against what an ordinary installation would do."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.account import Account
from tests.e2e.conftest import Installation

HOSTILE = ["", " ", "a b", "'", '"', "*", "$HOME", "$(touch pwned)", "`x`", "\\", "a\nb", "é", "--"]


def test_arguments_arrive_byte_for_byte(scientific: Installation) -> None:
    out = scientific.python("import json, sys; print(json.dumps(sys.argv[1:]))", *HOSTILE)
    assert json.loads(out) == HOSTILE
    assert not (scientific.account.work / "pwned").exists()


def test_the_environment_arrives_as_it_is(scientific: Installation) -> None:
    given = {f"GIVEN_{number}": value for number, value in enumerate(HOSTILE)}
    code = "import json, os; print(json.dumps({k: v for k, v in os.environ.items()}))"
    seen = json.loads(scientific.python(code, env=given))
    assert {name: seen.get(name) for name in given} == given
    assert not [name for name in seen if "ENV_" in name and name.startswith(("APPT", "SING"))]
    assert not [name for name in seen if name.startswith("_cw_")]


def test_standard_streams_and_status_are_the_programs(scientific: Installation) -> None:
    code = (
        "import sys; sys.stdout.write(sys.stdin.read()[::-1]); sys.stderr.write('e'); sys.exit(7)"
    )
    done = scientific.account.run(scientific.program("python3"), "-c", code, stdin="abc")
    assert (done.returncode, done.stdout, done.stderr) == (7, "cba", "e")


def test_a_terminal_is_the_programs(scientific: Installation) -> None:
    master, slave = os.openpty()
    account = scientific.account
    code = "import os, sys; print(sys.stdin.isatty(), sys.stdout.isatty(), os.get_terminal_size())"
    argv = account.argv([scientific.program("python3"), "-c", code])
    with subprocess.Popen(
        argv, env=account.environment(), cwd=account.work, stdin=slave, stdout=slave
    ) as child:
        assert child.wait(30) == 0
    os.close(slave)
    assert os.read(master, 1000).startswith(b"True True os.terminal_size")
    os.close(master)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signals_reach_the_program(scientific: Installation, number: signal.Signals) -> None:
    code = (
        "import signal, sys, time\n"
        f"signal.signal({int(number)}, lambda *_: sys.exit(42))\n"
        "print('ready', flush=True); time.sleep(60)"
    )
    account = scientific.account
    argv = account.argv([scientific.program("python3"), "-c", code])
    with subprocess.Popen(
        argv, env=account.environment(), cwd=account.work, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        assert status_after(child, number) == 42


def status_after(child: subprocess.Popen[str], number: signal.Signals) -> int:
    """The exit status of a program that ends at a signal, sent again each second, ten times.

    A runtime passes signals on from a queue of two places, which it reads only when the program
    runs already; with SIGCHLD and Go's own SIGURG in it, what comes at that moment is lost (seen on
    a busy machine; SingularityCE 4.1.5 and Apptainer 1.4.5 alike).
    """
    for _ in range(10):
        child.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return child.wait(1)
    raise AssertionError(f"{number.name} did not reach the program")


def test_a_program_survives_what_its_caller_ignores(scientific: Installation) -> None:
    """As with nohup, and as background jobs of scripts do."""
    code = "import sys; print('ready', flush=True); sys.stdin.readline(); print('survived')"
    account = scientific.account
    ignoring = ["sh", "-c", "trap '' HUP INT QUIT TERM USR1; exec \"$@\"", "sh"]
    argv = account.argv([*ignoring, scientific.program("python3"), "-c", code])
    with subprocess.Popen(
        argv,
        env=account.environment(),
        cwd=account.work,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None and child.stdin is not None
        assert child.stdout.readline() == "ready\n"
        for name in ("HUP", "INT", "QUIT", "TERM", "USR1"):
            child.send_signal(signal.Signals[f"SIG{name}"])
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.stdout.readline() == "survived\n"
        assert child.wait(30) == 0


def test_the_same_path_names_the_shim_outside_and_the_program_inside(
    scientific: Installation,
) -> None:
    shim = str(scientific.program("python3"))
    code = """
import os, shutil, subprocess, sys
print(sys.executable); print(shutil.which('python3')); print(os.path.realpath(sys.executable))
code = 'import sys; print(sys.executable)'
print(subprocess.check_output([sys.executable, '-c', code], text=True))
"""
    lines = scientific.python(code).split()
    inside = scientific.manifest["install_path"]
    assert lines == [shim, shim, f"{inside}/bin/python3.11", shim]


def test_programs_find_each_other_by_name(scientific: Installation) -> None:
    out = scientific.account.ok(scientific.program("demo-caller"))
    assert scientific.manifest["install_path"] in out


def test_a_shell_in_the_container_runs_shims_directly(scientific: Installation) -> None:
    out = scientific.account.ok(
        scientific.program("_debug_shell"),
        *("-c", 'command -v python3; "$0" -c "print(1)"; echo $CONDA_PREFIX'),
        scientific.program("python3"),
    )
    inside = scientific.manifest["install_path"]
    assert out.split() == [str(scientific.program("python3")), "1", inside]


def test_activation_is_what_the_packages_say(scientific: Installation) -> None:
    inside = scientific.manifest["install_path"]
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    seen = json.loads(scientific.python(code, env={"DEMO_PATHLIKE": "/mine"}))
    assert seen["CONDA_PREFIX"] == inside
    assert seen["DEMO_ACTIVATE_HOME"] == f"{inside}/share/demo"
    assert seen["DEMO_ENV_VAR"] == "from-json"
    assert seen["MY_VARIABLE"] == "it's $HOME"
    assert seen["DEMO_PATHLIKE"] == f"{inside}/share/demo-pathlike:/mine"
    first = [f"{inside}/demo-bin", f"{inside}/libexec/demo-pathlike"]  # the later one comes first
    assert seen["PATH"].split(":")[:2] == first
    assert str(scientific.prefix / "bin") in seen["PATH"].split(":")
    for character in ("'", '"', "$(touch", "\\", "\n", ","):
        assert character in seen["DEMO_HOSTILE"]
    assert not Path("/tmp/pwned").exists()


def test_a_default_yields_to_the_users_value(scientific: Installation) -> None:
    code = "import os; print(os.environ.get('SSL_CERT_FILE'))"
    inside = scientific.manifest["install_path"]
    # An empty value counts as none, as in the package's own script.
    assert scientific.python(code, env={"SSL_CERT_FILE": ""}) == f"{inside}/ssl/cacert.pem\n"
    assert scientific.python(code, env={"SSL_CERT_FILE": "/mine"}) == "/mine\n"


def inside(installation: Installation, code: str, env: Mapping[str, str]) -> dict[str, str]:
    """Variables of a program that bash starts inside after ``code``."""
    line = f"{code}\nexec env -0"
    words = (installation.program("_debug_exec"), "/bin/bash", "-c", line)
    items = installation.account.ok(*words, env=env).split("\0")
    own = ("_", "SHLVL", "CW_NO_CONDA_ACTIVATE", "install_root", "env_root")
    pairs = [item.split("=", 1) for item in items if item]
    return {name: value for name, value in pairs if name not in own}


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"DEMO_GDAL_DATA": "/mine", "DEMO_PERL5LIB": "/it's $HOME", "DEMO_CATALOGS": "file:/mine"},
        {"DEMO_JAVA_HOME": "", "DEMO_CERT_FILE": "/mine", "DEMO_MPI_AGENT": "rsh"},
        {"DEMO_CFLAGS": "-O0", "DEMO_GCC": "/usr/bin/gcc", "LD_LIBRARY_PATH": "/l:/m"},
    ],
)
def test_activation_is_what_a_shell_makes_of_the_scripts(
    scientific: Installation, given: dict[str, str]
) -> None:
    """Those of well-known kinds, recorded, and sourced natively."""
    root = scientific.manifest["install_path"]
    conda = f"export CONDA_PREFIX={root} CONDA_DEFAULT_ENV={root[1:]} CONDA_SHLVL=1"
    conda += " DEMO_ENV_VAR=from-json MY_VARIABLE='it'\\''s $HOME'"
    sourcing = 'for script in "$CONDA_PREFIX"/etc/conda/activate.d/*.sh; do . "$script"; done'
    code = f"{conda}\n{sourcing} >/dev/null 2>&1; unset script"
    native = inside(scientific, code, {**given, "CW_NO_CONDA_ACTIVATE": "1"})
    assert inside(scientific, "", given) == native


def test_scripts_that_are_constant_cost_nothing(scientific: Installation) -> None:
    """They are data; what an ordinary call starts inside is the program itself."""
    assert not [script["why"] for script in scientific.manifest["activation"] if script["why"]]
    parent = "import os; print(open(f'/proc/{os.getpid()}/cmdline').read().split(chr(0))[0])"
    assert scientific.python(parent) == f"{scientific.program('python3')}\n"


MOMENT = """
folder=$env_root/etc/conda/activate.d
mkdir -p $folder
echo 'export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}' >$folder/a.sh
echo 'export SCR=/scratch/$(whoami) DAY=$(date +%F) NODE=$(hostname)' >$folder/b.sh
echo 'unset PYTHONPATH' >$folder/c.sh
echo 'mkdir -p "$HOME/.side"' >$folder/d.sh
echo 'export LOOKED=${GIVEN%%:*}' >$folder/e.sh
"""


def test_what_depends_on_the_moment_is_decided_at_the_moment(
    me: Account, channel: Path, runtime: Path
) -> None:
    from tests.e2e.conftest import CONDA, UMBRELLA, environment_text

    file = me.file("moment.yml", environment_text(channel, "python", "demo-dynamic"))
    script, prefix = me.file("moment.sh", MOMENT), me.work / "moment"
    done = me.run(CONDA, "new", "--post-install", script, "--prefix", prefix, file)
    assert done.returncode == 0, done.stderr
    for name, why in (
        ("b.sh", "runs whoami, runs date, runs hostname"),
        ("d.sh", "makes files (mkdir), reads HOME"),
        ("demo-dynamic.sh", "reads $$, reads HOME"),
    ):
        assert f"{name} depends on the moment it runs: it {why}." in done.stderr
    assert "look into: e.sh (GIVEN)" in done.stderr
    assert "/a.sh" not in done.stderr and "/c.sh" not in done.stderr
    names = ["OMP_NUM_THREADS", "SCR", "DAY", "NODE", "PYTHONPATH", "LOOKED", "DEMO_DYNAMIC"]
    code = f"import json, os, sys; print(json.dumps([*map(os.environ.get, {names}), sys.argv[1]]))"
    installation = Installation(prefix=prefix, account=me)
    home = me.work / "another home"
    home.mkdir(exist_ok=True)
    given = {"SLURM_CPUS_PER_TASK": "16", "PYTHONPATH": "/bad", "GIVEN": "a:b", "HOME": str(home)}
    threads, scratch, day, node, path, looked, dynamic, word = json.loads(
        installation.python(code, "a b", env=given)
    )
    assert (threads, path, looked, word) == ("16", None, "a", "a b")
    user = me.ok("bash", "-c", "whoami; date +%F; hostname").split()
    assert [scratch, day, node] == [f"/scratch/{user[0]}", *user[1:]]
    assert dynamic.startswith(f"{home}:") and (home / ".side").is_dir()
    assert json.loads(installation.python(code, ""))[0] == "1"
    told = me.ok(UMBRELLA, "doctor", prefix)
    assert "activation: 7 scripts of packages, 3 sourced at every start: b.sh (runs whoami" in told

    # As installations are that were made without a look at what scripts read.
    manifest = prefix / "current/manifest.json"
    data = json.loads(manifest.read_text())
    del data["activation"]
    manifest.write_text(json.dumps(data))
    env = prefix / "current/env"
    lines = re.sub(r"(?m)^_cw_(scripts|when|changes)=.*\n", "", env.read_text())
    env.write_text(f"{lines}_cw_scripts=(/x/etc/conda/activate.d/demo-dynamic.sh)\n")
    told = me.run(UMBRELLA, "doctor", prefix).stdout
    for text in (
        "a.sh reads SLURM_CPUS_PER_TASK",
        "b.sh runs whoami, runs date, runs hostname",
        "c.sh removes PYTHONPATH",
        "d.sh reads HOME, makes files (mkdir)",
        "e.sh reads GIVEN",
    ):
        assert text in told
    assert "demo-dynamic.sh" not in told


def test_home_and_user_site(scientific: Installation) -> None:
    code = "import os, site; print(os.path.expanduser('~'), site.ENABLE_USER_SITE)"
    assert scientific.python(code) == f"{scientific.account.home} False\n"
    on = scientific.python(code, env={"PYTHONNOUSERSITE": ""})
    assert on == f"{scientific.account.home} True\n"


# -- places ------------------------------------------------------------------------------------
def test_virtual_environments_work_from_outside(scientific: Installation, venv: Path) -> None:
    account = scientific.account
    code = "import sys; print(sys.prefix, sys.base_prefix, sys.executable)"
    out = account.ok(venv / "bin/python", "-c", code).split()
    assert out == [str(venv), str(scientific.prefix), str(venv / "bin/python")]
    assert scientific.python("import sys; print(sys.prefix)") == f"{scientific.prefix}\n"
    second = account.work / "venv of a venv"
    account.ok(venv / "bin/python", "-m", "venv", "--without-pip", second)
    assert account.ok(second / "bin/python", "-c", code).splitlines() == [
        f"{second} {scientific.prefix} {second}/bin/python"
    ]
    assert str(venv) in account.ok(venv / "bin/pip", "--version")
    by_name = "import subprocess as s; s.run(['python', '-c', 'import sys; print(sys.prefix)'])"
    assert account.ok(venv / "bin/python", "-c", by_name) == f"{venv}\n"
    active = f". '{venv}/bin/activate' && python -c \"$0\""
    assert account.ok("bash", "-c", active, by_name) == f"{venv}\n"
    activated = f". '{venv}/bin/activate' && command -v python"
    assert account.ok("bash", "-c", activated) == f"{venv}/bin/python\n"
    visible = account.work / "venv-site"
    words = ("-m", "venv", "--system-site-packages", "--without-pip", visible)
    account.ok(scientific.program("python3"), *words)
    assert account.ok(visible / "bin/python", "-c", "import numpy; print('numpy')") == "numpy\n"


def test_shebangs_name_the_shim(scientific: Installation) -> None:
    script = scientific.account.file(
        "script.py", f"#!{scientific.program('python3')}\nimport numpy, sys\nprint(sys.argv[1:])\n"
    )
    script.chmod(0o755)
    assert scientific.account.ok(script, "a b") == "['a b']\n"


def test_multiprocessing_spawns_the_same_python(scientific: Installation) -> None:
    script = scientific.account.file(
        "spawn.py",
        "import multiprocessing as m, numpy\n"
        "def square(x): return x * x\n"
        "if __name__ == '__main__':\n"
        "    m.set_start_method('spawn')\n"
        "    print(m.Pool(2).map(square, [1, 2, 3]))\n",
    )
    assert scientific.account.ok(scientific.program("python3"), script) == "[1, 4, 9]\n"


@pytest.mark.parametrize("name", ["moved", "with space", "quo'te", "dol$lar `x`", "st*r"])
def test_a_moved_installation_works(small: Installation, name: str) -> None:
    account = small.account
    place = account.work / f"copy {name}"
    shutil.copytree(small.prefix, place, symlinks=True)
    code = "import demo_noarch, subprocess as s, sys; print(sys.executable); "
    code += "print(s.check_output([sys.executable, '-c', 'print(1)'], text=True))"
    out = account.ok(place / "bin/python3", "-c", code).splitlines()
    assert out[:2] == [str(place / "bin/python3"), "1"]


def test_a_prefix_reached_through_links(scientific: Installation) -> None:
    account = scientific.account
    link = account.work / "link"
    link.symlink_to(scientific.prefix)
    code = "import sys; print(sys.executable, sys.prefix)"
    assert account.ok(link / "bin/python3", "-c", code) == f"{link}/bin/python3 {link}\n"
    single = account.work / "my-python"
    single.symlink_to(scientific.program("python3"))
    assert account.ok(single, "-c", code) == f"{single} {scientific.prefix}\n"


def test_called_by_relative_paths(scientific: Installation) -> None:
    account = scientific.account
    code = "import os, sys; print(os.path.realpath(sys.prefix))"
    for cwd, path in (
        (scientific.prefix / "bin", "./python3"),
        (scientific.prefix, "bin/python3"),
        (scientific.prefix / "bin", "../bin/python3"),
    ):
        out = account.ok("bash", "-c", f'{path} -c "{code}"', cwd=cwd)
        assert out == f"{scientific.prefix}\n"


def test_the_working_directory_through_a_link(scientific: Installation) -> None:
    account = scientific.account
    real = account.directory("pfs/project")
    link = account.work / "scratch"
    link.symlink_to(real)
    code = "import os; print(os.getcwd()); open('here', 'w').close()"
    out = account.ok("bash", "-c", f'cd {link} && {scientific.program("python3")} -c "{code}"')
    assert out == f"{real}\n"
    assert (real / "here").exists()


def test_the_working_directory_may_be_the_bin_directory(scientific: Installation) -> None:
    code = (
        "import subprocess as s; print(s.check_output(['./python3', '-c', 'print(1)'], text=True))"
    )
    assert scientific.python(code, cwd=scientific.prefix / "bin").strip() == "1"


def test_tmpdir_through_a_link(scientific: Installation) -> None:
    account = scientific.account
    real = account.directory("tmp-real")
    link = account.work / "tmp-link"
    link.symlink_to(real)
    out = scientific.python("import tempfile; print(tempfile.mkdtemp())", env={"TMPDIR": str(link)})
    assert out.startswith(f"{link}/")
    assert len(list(real.iterdir())) == 1


# -- the user's own settings, other containers ---------------------------------------------------
@pytest.mark.every_runtime
@pytest.mark.parametrize("name", ["SINGULARITY_BIND", "APPTAINER_BIND", "APPTAINER_BINDPATH"])
def test_the_users_binds_are_kept(scientific: Installation, name: str) -> None:
    account = scientific.account
    source = account.work / "data"
    source.mkdir(exist_ok=True)
    (source / "file").write_text("content")
    env = {name: f"{source}:/mnt"}
    if name == "SINGULARITY_BIND":  # Apptainer alone would drop the one for the other
        other = account.work / "other-data"
        other.mkdir(exist_ok=True)
        env["APPTAINER_BIND"] = f"{other}:/media"
    out = scientific.python("print(open('/mnt/file').read())", env=env)
    assert out == "content\n"


@pytest.mark.every_runtime
def test_the_users_container_variables_are_kept(scientific: Installation) -> None:
    family = scientific.account.family  # Apptainer reads both
    env = {"SINGULARITYENV_ONE": "1", f"{family}ENV_TWO": "2", "LD_LIBRARY_PATH": "/some/lib"}
    code = "import os; print([os.environ[n] for n in ('ONE', 'TWO', 'LD_LIBRARY_PATH')])"
    assert scientific.python(code, env=env).startswith("['1', '2', '/some/lib")


@pytest.mark.every_runtime
def test_inside_another_container_a_shim_says_how_to_compose(
    scientific: Installation, small: Installation
) -> None:
    account = scientific.account
    command = [small.program("_debug_exec"), scientific.program("python3"), "-c"]
    refused = account.run(*command, "pass")
    assert refused.returncode == 1
    assert f"CONTAINERIZE_WITH={scientific.prefix}" in refused.stderr
    composed = account.ok(
        *command, "import numpy; print('yes')", env={"CONTAINERIZE_WITH": str(scientific.prefix)}
    )
    assert composed == "yes\n"


def test_shims_of_a_removed_generation_fail_clearly(small: Installation) -> None:
    place = small.account.work / "broken copy"
    shutil.copytree(small.prefix, place, symlinks=True)
    (place / "current").unlink()
    (place / "current").symlink_to(".generations/99")
    done = small.account.run(place / "bin/python3", "-c", "pass")
    assert done.returncode != 0
    assert "[ ERROR ]" in done.stderr


def test_many_programs_at_once(scientific: Installation) -> None:
    account = scientific.account
    argv = account.argv([scientific.program("python3"), "-c", "import numpy; print(1)"])
    children = [
        subprocess.Popen(
            argv,
            env=account.environment(),
            cwd=account.work,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(16)
    ]
    outputs = [child.communicate(timeout=120)[0] for child in children]
    assert outputs == ["1\n"] * 16


def test_a_started_program_keeps_running_where_its_parent_was(scientific: Installation) -> None:
    """exec: the process that was started is the one that ends, nothing stays behind."""
    account = scientific.account
    code = f"import time; print('ready', flush=True); time.sleep(600)  # {account.work}"
    argv = account.argv([scientific.program("python3"), "-c", code])
    env = account.environment()
    with subprocess.Popen(argv, env=env, cwd=account.work, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdout.readline() == b"ready\n"
        child.kill()
    search = ["pgrep", "--full", f"# {re.escape(str(account.work))}$"]
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        found = subprocess.run(search, capture_output=True, text=True, check=False)
        if not found.stdout:
            return
        time.sleep(0.2)
    pytest.fail(f"left behind: {found.stdout}")


def test_calls_that_tykkys_users_rely_on(scientific: Installation) -> None:
    """What Tykky checks of its own wrappers, asked of ours, with ``bin`` on PATH."""
    account, lines = scientific.account, []
    for line in (
        'test "$(command -v python)" = "$(_debug_exec bash -c "command -v python")"',
        r"""test "$(python -c "print('a  b --c \\ ')")" = 'a  b --c \ '""",
        """python -c "import os; os.environ['CONDA_DEFAULT_ENV']" """,
        'f=$(python -c "import numpy; print(numpy.__file__)") && test -n "$f" && ! test -e "$f"',
        'test "$(python3 -c "import sys; print(sys.executable)")" = "$(command -v python3)"',
        '_debug_exec "$1/_bin/demo-tool"',  # the real program by its other name
        'python -m venv "$PWD/VE" && VE/bin/pip --version | grep -q "$PWD/VE/"',
        'VE/bin/python -c "import sys; sys.exit(sys.prefix == sys.base_prefix)"',
        'grep -q "^tag: ." "$1/share/VERSION.yml"',
    ):
        done = account.run(
            *("bash", "-c", line, "bash", scientific.prefix),
            env={"PATH": f"{scientific.prefix}/bin:{os.environ['PATH']}"},
            cwd=account.work,
        )
        if done.returncode:
            lines.append((line, done.stderr))
    assert lines == []
