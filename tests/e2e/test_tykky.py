"""What Tykky's users have written down: its files, variables and spellings work."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.account import Account
from tests.channel.elf import printing
from tests.e2e.conftest import BIN, CONDA, UMBRELLA, Installation, environment_text
from tests.images import system_files
from tests.index import write_wheel
from wrapper import __version__
from wrapper.errors import ExitCode

PIP = BIN / "pip-containerize"

pytestmark = pytest.mark.usefixtures("runtime")


@pytest.fixture
def here(me: Account, tmp_path: Path) -> Path:
    """A directory to call commands in."""
    return me.owns(tmp_path)


def write(here: Path, name: str, text: str) -> Path:
    path = here / name
    path.write_text(text)
    return path


TOOL = """
mode: conda
env_file: env.yml
requirements_file: req.txt
installation_prefix: adv
installation_path: /SITE
pre_install:
  - echo begun >"$env_root/begun"
post_install:
  - mkdir -p "$env_root/libexec"
  - file: post.sh
  - python -c 'import demo_pip'
extra_envs:
  - {name: BY_NAME, value: yes, type: set}
  - file: vars.sh
wrapper_paths: [/SITE/libexec]
num_threads_of_mine: "$(touch evil)"
"""


def test_a_tools_file_in_tykkys_format(me: Account, here: Path, channel: Path) -> None:
    write_wheel(here, "demo_pip", "1.0")
    write(here, "env.yml", environment_text(channel, "python"))
    write(here, "req.txt", f"--no-index\n--find-links {here}\ndemo_pip\n")
    write(here, "post.sh", 'cp /bin/true "$env_root/libexec/mine"\n')
    write(here, "vars.sh", 'export BY_FILE="a b"\n')
    write(here, "tool.yml", TOOL)
    done = me.run(CONDA, "advanced", "tool.yml", cwd=here)
    assert done.returncode == 0, done.stderr
    assert "[ WARNING ] tool.yml: without effect: num_threads_of_mine (unknown here)" in done.stderr
    assert not (here / "evil").exists()
    me.ok(here / "adv/bin/mine")
    said = me.ok(
        here / "adv/bin/_debug_exec",
        "sh",
        "-c",
        'echo $BY_NAME,$BY_FILE; cat "$CONDA_PREFIX/begun"',
    )
    assert said == "yes,a b\nbegun\n"

    write(
        here, "more.yml", "mode: conda_modify\ninstallation_prefix: adv\npost_install: ['true']\n"
    )
    me.ok(CONDA, "advanced", "more.yml", cwd=here)
    assert (here / "adv/current").readlink().name == "2"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mode: venv\n", "use pip-containerize advanced"),
        ("mode: conda\ninstallation_prefix: x\n", "add 'env_file: ENV_FILE'"),
        ("mode: conda\nenv_file: x.yml\n", "add 'installation_prefix: DIR'"),
        ("mode: conda_modify\n", "add 'installation_prefix: DIR'"),
        ('env_file: "a\\0b"\ninstallation_prefix: x\n', "'env_file:' must be a text"),
        ("a: [\n", "not valid YAML"),
        ("post_install: [{x: y}]\n", "an entry that has no 'file:'"),
    ],
)
def test_tools_files_that_are_wrong(me: Account, here: Path, text: str, message: str) -> None:
    file = write(here, "tool.yml", text)
    done = me.run(CONDA, "advanced", file, cwd=here)
    assert done.returncode == ExitCode.INPUT and message in done.stderr, done.stderr
    assert {path.name for path in here.iterdir()} == {"tool.yml"}


def test_a_directory_is_wrapped_with_a_file_and_a_script(me: Account, here: Path) -> None:
    (here / "tool/bin").mkdir(parents=True)
    write(here / "tool/bin", "say", '#!/bin/sh\necho "$WORD"\n').chmod(0o755)
    write(here, "post.sh", 'echo extra >"$env_root/extra"\n')
    write(
        here,
        "wrap.yml",
        "installation_prefix: wrapped\nwrapper_paths: [bin]\n"
        "extra_envs: [{name: WORD, value: hello, type: set}]\n",
    )
    me.ok(BIN / "wrap-install", "tool", "-y", "wrap.yml", "--post-install", "post.sh", cwd=here)
    assert me.ok(here / "wrapped/bin/say") == "hello\n"
    inside = me.ok(here / "wrapped/bin/_debug_exec", "sh", "-c", "cat /containerize-*/extra")
    assert inside == "extra\n"
    for options in (["-w", "bin"], ["--prefix", "x"]):
        lacking = me.run(BIN / "wrap-install", "tool", *options, cwd=here)
        assert lacking.returncode == ExitCode.USAGE and "Missing option" in lacking.stderr


def test_scripts_and_variables_of_wrapping(me: Account, here: Path) -> None:
    """The options of ``wrap-install`` and ``wrap-container`` by their long names."""
    (here / "tool/bin").mkdir(parents=True)
    write(here / "tool/bin", "say", '#!/bin/sh\necho "$WORD"\n').chmod(0o755)
    write(here, "pre.sh", 'test ! -e "$env_root/bin"; echo early >"$env_root/early"\n')
    write(here, "post.sh", 'test -e "$env_root/bin/say"; cat "$env_root/early"\n')
    write(here, "vars.sh", "export WORD='a b'\n")
    write(here, "wrap.yml", "mode: wrapdisk\ninstallation_prefix: wrapped\n")
    options = ["--pre-install", "pre.sh", "--post-install", "post.sh", "--environ", "vars.sh"]
    options += ["--wrapper-paths", "bin", "--yaml", "wrap.yml"]
    me.ok(BIN / "wrap-install", "tool", *options, cwd=here)
    assert me.ok(here / "wrapped/bin/say") == "a b\n"
    debug = here / "wrapped/bin/_debug_exec"
    assert me.ok(debug, "sh", "-c", "cat /containerize-*/early") == "early\n"

    system = system_files(here / "system")
    options = ["--environ", "vars.sh", "--wrapper-paths", "/bin/cat", "--prefix", "cat"]
    me.ok(BIN / "wrap-container", *options, system, cwd=here)
    said = me.ok(here / "cat/bin/_debug_exec", "/bin/sh", "-c", "echo $WORD")
    assert said == "a b\n"


def test_options_that_are_on_anyway_and_the_cache(me: Account, here: Path, channel: Path) -> None:
    """``--mamba`` and ``--uv`` change nothing; ``--nocache`` neither uses nor fills the cache."""
    write_wheel(here, "demo_pip", "1.0")
    write(here, "env.yml", environment_text(channel, "python", "demo-noarch"))
    write(here, "req.txt", f"--no-index\n--find-links {here}\ndemo_pip\n")
    cache = {"CONTAINERIZE_CACHE_DIR": str(here / "cache")}
    options = ["--mamba", "--uv", "--requirement", "req.txt", "env.yml"]
    new = (CONDA, "new", "--prefix")
    done = me.run(*new, "one", "--nocache", *options, cwd=here, env=cache)
    assert done.returncode == 0, done.stderr
    assert "--mamba and --uv change nothing" in done.stderr
    assert not (here / "cache").exists()
    me.ok(here / "one/bin/python3", "-c", "import demo_pip, demo_noarch")
    me.ok(*new, "two", *options, cwd=here, env=cache)
    assert any(path.is_file() for path in (here / "cache").rglob("*"))
    packages = [(here / name / "current/packages.txt").read_text() for name in ("one", "two")]
    assert packages[0] == packages[1]


def test_a_virtual_environment_with_a_file(me: Account, here: Path) -> None:
    """``pip-containerize advanced``, and the long name of the option for more requirements."""
    for name in ("demo_one", "demo_two", "demo_three"):
        write_wheel(here, name, "1.0")
    indexes = f"--no-index\n--find-links {here}\n"
    for number in ("one", "two", "three"):
        write(here, f"{number}.txt", f"{indexes}demo_{number}\n")
    write(
        here,
        "tool.yml",
        "mode: venv\nrequirements_file: one.txt\ninstallation_prefix: ve\n"
        "enable_site_packages: yes\nextra_envs: [{name: WORD, value: hello, type: set}]\n",
    )
    me.ok(PIP, "advanced", "tool.yml", cwd=here)
    python = here / "ve/bin/python3"
    assert me.ok(python, "-c", "import demo_one, os; print(os.environ['WORD'])") == "hello\n"
    settings = me.ok(here / "ve/bin/_debug_exec", "sh", "-c", 'cat "$env_root/pyvenv.cfg"')
    assert "include-system-site-packages = true" in settings

    write(
        here,
        "more.yml",
        "mode: venv_modify\ninstallation_prefix: ve\nrequirements_file: two.txt\n",
    )
    me.ok(PIP, "advanced", "more.yml", cwd=here)
    me.ok(PIP, "update", "ve", "--requirements-file", "three.txt", cwd=here)
    me.ok(python, "-c", "import demo_one, demo_two, demo_three")
    assert (here / "ve/current").readlink().name == "3"


def test_a_container_is_wrapped_with_a_file(me: Account, here: Path) -> None:
    system = system_files(here / "system")
    tool = system / "opt/tool/bin/hello"
    tool.parent.mkdir(parents=True)
    tool.write_bytes(printing(b"hello from the container\n"))
    tool.chmod(0o755)
    write(
        here,
        "wrap.yml",
        "mode: wrapcont\ninstallation_prefix: wrapped\nwrapper_paths: [/opt/tool/bin]\n",
    )
    me.ok(BIN / "wrap-container", "-y", "wrap.yml", system, cwd=here)
    assert me.ok(here / "wrapped/bin/hello") == "hello from the container\n"
    me.ok(BIN / "wrap-container", "-y", "wrap.yml", "--prefix", "other", system, cwd=here)
    assert (here / "other/bin/hello").exists(), "the command line wins over the file"


# -- variables and a site's files ------------------------------------------------------------------
def test_a_site_and_tykkys_variables_shape_a_build(me: Account, here: Path, channel: Path) -> None:
    """One build with everything; each effect is looked for."""
    env_file = write(here, "env.yml", "dependencies: [demo-sh-only]\n")
    for name in ("build", "data"):
        (here / name).mkdir()
    write(here / "data", "file", "seen\n")
    site = write(
        here,
        "site.yml",
        f"tmpdir: {here}/nowhere\nchannels: [local]\nmirrors: {{local: '{channel.as_uri()}'}}\n"
        f"binds: ['{here}/data:/mnt']\nvariables: {{OF_THE_SITE: '1'}}\nmessage: Welcome.\n"
        "squashfs_options: -comp gzip\n",
    )
    tykky = write(
        here, "tykky.yaml", "defaults:\n  installation_path: /OURS\nforce:\n  max_num_cpus: 1\n"
    )
    write(here, "modes.sh", 'touch "$env_root/own"; chmod 600 "$env_root/own"\n')
    environ = {
        "CONTAINERIZE_SITE": str(site),
        "CW_GLOBAL_YAML": str(tykky),
        "CW_BUILD_TMPDIR": f"{here}/build",
        "CW_DEBUG_KEEP_FILES": "",
        "CW_NO_FIX_PERM": "",
    }
    prefix = here / "env"
    done = me.run(
        *(CONDA, "new", "--prefix", prefix, env_file, "--post-install", "modes.sh"),
        env=environ,
        cwd=here,
    )
    assert done.returncode == 0, done.stderr
    for text in ("Welcome.", "no channels in env.yml: using local", "build directory is kept"):
        assert text in done.stderr, done.stderr
    assert [path.name[:12] for path in (here / "build").iterdir()] == ["containerize"]
    shell = prefix / "bin/_debug_exec"
    said = me.ok(shell, "sh", "-c", "cat /mnt/file; echo $OF_THE_SITE; stat -c %a /OURS-*/own")
    assert said == "seen\n1\n600\n"
    log = (prefix / "current/build.log").read_text()
    assert "-comp gzip" in log and "-processors 1 " in log

    shown = me.ok(UMBRELLA, "info", env=environ)
    assert f"tmpdir             {here}/build  (CW_BUILD_TMPDIR)" in shown
    assert f"({tykky})" in shown and f"processors         1  ({tykky} (forced))" in shown


def test_the_users_condarc_counts_where_it_is_wanted(
    me: Account, here: Path, channel: Path
) -> None:
    write(here, ".condarc", f"channels: ['{channel.as_uri()}']\n")
    env_file = here / "env.yml"
    empty = here / "empty"
    for subdir in ("noarch", "linux-64"):
        (empty / subdir).mkdir(parents=True)
        write(empty / subdir, "repodata.json", '{"packages": {}, "packages.conda": {}}')
    env_file.write_text(f"channels: ['{empty.as_uri()}']\ndependencies: [demo-sh-only]\n")
    line = [CONDA, "new", "--dry-run", "--prefix", here / "x", env_file]
    without = me.run(*line, env={"HOME": str(here)})
    assert without.returncode == ExitCode.SOLVE and "no channel has" in without.stderr
    assert "demo-sh-only" in me.ok(*line, env={"HOME": str(here), "CW_ENABLE_CONDARC": "1"})


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("0", ()),
        ("1", ("[ WARNING ]",)),
        ("2", ("[ WARNING ]", "[ INFO ]")),
        ("3", ("[ WARNING ]", "[ INFO ]", "begin: Solving")),
    ],
)
def test_how_much_is_said(
    me: Account, here: Path, channel: Path, level: str, shown: tuple[str, ...]
) -> None:
    file = write(here, "env.yml", environment_text(channel, "demo-sh-only", more="colour: blue\n"))
    done = me.run(
        *(CONDA, "new", "--dry-run", "--prefix", here / "x", file), env={"CW_LOG_LEVEL": level}
    )
    assert done.returncode == 0
    every = ("[ WARNING ]", "[ INFO ]", "begin: Solving")
    assert tuple(text for text in every if text in done.stderr) == shown


# -- updates and inputs ----------------------------------------------------------------------------
def test_an_update_knows_the_channel_and_wants_something_to_do(
    me: Account, here: Path, channel: Path
) -> None:
    line = 'exec "$0" "$@" <(printf "dependencies: [demo-sh-only]\\n") -c "$CHANNEL"'
    new = ["bash", "-c", line, str(CONDA), "new", "--prefix", "env"]
    me.ok(*new, cwd=here, env={"CHANNEL": str(channel)})
    assert (here / "env/current/inputs/env.yml").read_text() == "dependencies: [demo-sh-only]\n"
    nothing = me.run(CONDA, "update", "env", cwd=here)
    assert nothing.returncode == ExitCode.INPUT and "nothing to do" in nothing.stderr
    more = write(here, "more.yml", "dependencies: [demo-sh-only, demo-tool]\n")
    done = me.run(CONDA, "update", "env", more, cwd=here)
    assert done.returncode == 0 and "+ demo-tool" in done.stderr, done.stderr
    assert "no channels" not in done.stderr


@pytest.mark.parametrize("variable", ["CW_EXTRA_BIND_MOUNTS", "SINGULARITY_BIND"])
def test_binds_are_there_in_builds_and_programs(
    me: Account, here: Path, channel: Path, variable: str
) -> None:
    """Also over a directory that the host has."""
    (here / "data").mkdir()
    write(here / "data", "file", "seen\n")
    write(here, "env.yml", environment_text(channel, "demo-sh-only"))
    write(here, "post.sh", 'cp /mnt/file "$env_root/got"\n')
    bind = {variable: f"{here}/data:/mnt"}
    options = ("--prefix", "env", "--post-install", "post.sh")
    me.ok(CONDA, "new", *options, "env.yml", cwd=here, env=bind)
    debug = here / "env/bin/_debug_exec"
    assert me.ok(debug, "sh", "-c", 'cat "$CONDA_PREFIX/got" /mnt/file', env=bind) == "seen\nseen\n"


def test_tykkys_variables_of_running_programs(small: Installation) -> None:
    """The shim's side of them is tested in tests/shell; here in a real container."""
    code = "import os; print('CONDA_PREFIX' in os.environ)"
    assert small.python(code) == "True\n"
    assert small.python(code, env={"CW_NO_CONDA_ACTIVATE": "1"}) == "False\n"


def test_no_runtime_hides_nothing_else(me: Account) -> None:
    done = me.run(UMBRELLA, "info", env={"CONTAINERIZE_RUNTIME": "/no/such"})
    assert done.returncode == ExitCode.TOOL
    assert "runtime      none: the container runtime '/no/such'" in done.stdout
    assert "mksquashfs   4" in done.stdout and "compression" in done.stdout


def test_tykkys_own_checks_of_a_pip_installation(me: Account, here: Path) -> None:
    """What its repository checks, with packages of this host; messages have our words."""
    for name in ("demo_pip", "demo_more"):
        write_wheel(here, name, "1.0")
    where = f"--no-index\n--find-links {here}\n"
    write(here, "typo.txt", f"{where}demo_pipp\n")
    write(here, "req.txt", f"{where}demo_pip\n")
    write(here, "post.sh", f"pip install --no-index --find-links {here} demo_more\n")
    (here / "dir").mkdir()
    me.owns(here / "dir")
    done = me.run(PIP, "new", "--prefix", "dir", "typo.txt", cwd=here)
    assert done.returncode == ExitCode.SOLVE and "no index has a package 'demo-pipp'" in done.stderr
    me.ok(PIP, "new", "--prefix", "dir", "req.txt", cwd=here)
    assert (here / "dir/container.sif").is_symlink()
    me.ok(PIP, "update", "dir", "--post", "post.sh", cwd=here)
    code = "import sys, demo_pip, demo_more; print(sys.executable, sys.prefix != sys.base_prefix)"
    python = here / "dir/bin/python3"
    assert me.ok(python, "-c", code) == f"{python} True\n"
    me.ok(python, "-m", "venv", "--without-pip", "VE", cwd=here)
    code = "import sys; print(sys.prefix, sys.prefix != sys.base_prefix)"
    assert me.ok(here / "VE/bin/python", "-c", code) == f"{here}/VE True\n"
    again = me.run(PIP, "new", "--prefix", "dir", "req.txt", cwd=here)
    assert again.returncode == ExitCode.PREFIX and "'update' changes it" in again.stderr
    active = {"PATH": f"{here}/dir/bin:{me.path}"}
    done = me.run(PIP, "new", "--prefix", "other", "req.txt", cwd=here, env=active)
    assert done.returncode == ExitCode.TOOL and "take that installation's bin" in done.stderr


def test_tykkys_own_checks_of_runtimes_and_containers(small: Installation) -> None:
    """Those of its repository that :mod:`tests.e2e.test_together` has not; in our words."""
    me, here = small.account, small.account.directory("tykkys-checks")
    fake = me.file("tykkys-checks/fake", "#!/bin/bash\nexit 0\n")
    fake.chmod(0o755)
    for runtime, words in (("Missing", "'Missing' is not a program"), (fake, "runtime's version")):
        setting = f"defaults: {{singularity_executable_path: '{runtime}'}}\n"
        site = me.file("tykkys-checks/site.yaml", setting)
        wanted = me.file("tykkys-checks/env.yml", "dependencies: [python]\n")
        command = (CONDA, "new", "--mamba", "--prefix", "S", wanted)
        done = me.run(*command, cwd=here, env={"CW_GLOBAL_YAML": str(site)})
        assert done.returncode == ExitCode.TOOL and words in done.stderr, done.stderr
    me.ok(small.program("python3"), "-m", "venv", "--without-pip", "Py", cwd=here)
    code = "import os, shutil; print(shutil.which('python3'), 'CONDA_PREFIX' in os.environ)"
    assert me.ok(here / "Py/bin/python", "-c", code, cwd=here) == f"{here}/Py/bin/python3 True\n"

    system = system_files(here / "system")
    (system / "usr/bin/bash").unlink()
    tools = system / "usr/sbin"
    tools.mkdir()
    for name in ("zdump", "zic"):
        (tools / name).write_bytes(printing(f"{name}\n".encode()))
        (tools / name).chmod(0o755)
    for path in (system, *system.rglob("*")):
        me.owns(path)
    for prefix, paths in (("one", "/usr/sbin/zdump"), ("all", "/usr/sbin")):
        me.ok(BIN / "wrap-container", "-w", paths, "--prefix", prefix, system, cwd=here)
    assert me.ok(here / "one/bin/zdump") == me.ok(here / "all/bin/zdump") == "zdump\n"
    assert {path.name for path in (here / "all/bin").iterdir()} >= {"zdump", "zic"}
    root = me.ok(small.program("_debug_exec"), "sh", "-c", "echo $install_root").strip()
    other = f"{small.prefix}/img.sqfs:{root}:image-src=/"
    environ = {"PATH": f"{me.path}:/some/extra", "CW_EXTRA_BIND_MOUNTS": other}
    told = me.ok(here / "all/bin/_debug_exec", "sh", "-c", "echo $PATH; echo /*", env=environ)
    assert "/usr/sbin" in told and "/some/extra" not in told and root not in told
    crossed = me.run(small.program("_debug_exec"), here / "all/bin/zdump")
    assert crossed.returncode and "cannot be started from inside another" in crossed.stderr
    version = (here / "all/share/VERSION.yml").read_text()
    assert f"tag: {__version__}\n" in version
