"""``containerize build``: one portable SIF, used with the runtime's own commands."""

from __future__ import annotations

import contextlib
import grp
import json
import os
import pty
import re
import shutil
import signal
import stat
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from operator import methodcaller
from pathlib import Path

import pytest

from tests.account import Account
from tests.e2e.conftest import (
    CONDA,
    PIP,
    UMBRELLA,
    entries,
    environment_text,
    open_directory,
    untouched,
)
from tests.images import OLD_SIF, system_files
from tests.index import write_index, write_wheel
from tests.killed import interrupted
from tests.steps import at_step
from tests.trees import different, image_tree
from wrapper.errors import ExitCode
from wrapper.images.sif import file as sif
from wrapper.images.sif import record as sif_record
from wrapper.images.squashfs.layout import File
from wrapper.images.squashfs.reader import read_image

BASE_ENVIRONMENT = """\
export PYTHONPATH="/opt/base/python"
export WITH_CONDA="source /opt/conda/bin/activate"
export PATH="/opt/base/bin:$PATH"
export FROM_BASE="yes"
"""
PACKAGES = ("python", "demo-noarch", "demo-activate", "demo-hostile-env", "demo-dynamic")
PACKAGES += ("demo-activations",)


@pytest.fixture(scope="session")
def base(runtime: Path) -> Iterator[Path]:
    """A base image with glibc and bash, that everybody may read."""
    with open_directory() as root:
        sandbox = system_files(root / "sandbox", BASE_ENVIRONMENT)
        image = root / "base.sif"
        subprocess.run([runtime, "-s", "build", image, sandbox], check=True)
        image.chmod(0o755)
        yield image


@pytest.fixture(scope="session")
def index() -> Iterator[Path]:
    """A directory with the package alpha."""
    with open_directory() as root:
        write_index(root, [write_wheel(root, "alpha", "1.0")])
        yield root


@pytest.fixture(scope="session")
def portable(account: Account, channel: Path, base: Path) -> Path:
    """An image with packages that activate in every way, of this account."""
    more = 'variables:\n  MY_VARIABLE: "it\'s $HOME"\n'
    file = account.file("portable.yml", environment_text(channel, *PACKAGES, more=more))
    image = account.work / "portable.sif"
    with untouched(
        account.home, but=frozenset({".apptainer", ".singularity"})
    ):  # the runtime's keys
        told = account.run(UMBRELLA, "build", image, "--base-image", base, "--conda-env", file)
    assert told.returncode == 0, told.stderr
    assert "demo-dynamic.sh depends on the moment" in told.stderr
    return image


@pytest.mark.every_runtime
@pytest.mark.parametrize("verb", ["exec", "run"])
def test_the_environment_is_active(
    account: Account, runtime: Path, portable: Path, verb: str
) -> None:
    code = (
        "import json, os, sys, demo_noarch; "
        "print(json.dumps({'prefix': sys.prefix, 'path': sys.path, **os.environ}))"
    )
    seen = json.loads(account.ok(account.runtime, verb, portable, "python3", "-c", code))
    assert seen["prefix"] == seen["CONDA_PREFIX"] == "/containerize"
    assert seen["PATH"].startswith("/containerize/demo-bin:/containerize/bin:/opt/base/bin:")
    assert seen["MY_VARIABLE"] == "it's $HOME" and seen["FROM_BASE"] == "yes"
    assert seen["DEMO_HOSTILE"].endswith("back\\slash\nand a line")
    assert seen["WITH_CONDA"] == seen["WITH_VENV"] == seen["WITH_CONDA_VENV"] == "true"
    assert "/opt/base/python" not in seen["path"], "the base's Python path would come first"
    assert seen["PYTHONNOUSERSITE"] == "1"
    assert re.search(r":\d+$", seen["DEMO_DYNAMIC"]), "a script that depends on the moment ran"


@pytest.mark.every_runtime
def test_what_scripts_make_of_the_users_variables(
    account: Account, runtime: Path, portable: Path
) -> None:
    def seen(**given: str) -> dict[str, str]:
        code = "import json, os; print(json.dumps(dict(os.environ)))"
        line = (account.runtime, "exec", portable, "python3", "-c", code)
        return json.loads(account.ok(*line, env=given))

    data = "/containerize/share/demo-gdal"
    mine = {"DEMO_GDAL_DATA": "/it's $HOME `id`", "DEMO_CERT_FILE": "/mine", "DEMO_WHICH_R": ""}
    for given in ({}, mine):
        env = seen(**given)
        assert env["DEMO_GDAL_DATA"] == data
        assert env.get("_CONDA_SET_DEMO_GDAL_DATA") == given.get("DEMO_GDAL_DATA")
        assert "DEMO_GDAL_DRIVERS" not in env, "unset"
        certificates = "/containerize/ssl/cacert.pem"
        assert env["DEMO_CERT_FILE"] == given.get("DEMO_CERT_FILE", certificates)
        assert env.get("DEMO_WHICH_R_PREV") == given.get("DEMO_WHICH_R"), "set, and empty"
        assert env["DEMO_WHICH_R"] == "/containerize/bin/R"
        assert not [name for name in env if name.startswith("_cw")]


@pytest.mark.every_runtime
def test_users_say_the_last_word(account: Account, runtime: Path, portable: Path) -> None:
    prepended = {f"{family}ENV_PREPEND_PATH": "/my/bin" for family in ("SINGULARITY", "APPTAINER")}
    env = {"PYTHONPATH": "/mine", **prepended}
    told = account.ok(
        *(account.runtime, "exec", portable, "bash", "-c", 'echo "$PYTHONPATH $PATH"; $WITH_CONDA'),
        env=env,
    )
    # The base image sets PYTHONPATH whatever it was before; what is left is nobody's.
    assert told.split()[-1].startswith("/my/bin:/containerize/demo-bin:/containerize/bin:")


def test_a_shell_and_a_run_without_a_command(
    account: Account, runtime: Path, portable: Path
) -> None:
    line = "found=$(type -p python); echo $found\n"
    for verb in ("shell", "run"):
        told = account.ok(account.runtime, verb, portable, stdin=line)
        assert told.strip().endswith("/containerize/bin/python")


def test_what_the_image_says_of_itself(account: Account, runtime: Path, portable: Path) -> None:
    labels = account.ok(account.runtime, "inspect", portable)
    for text in ("containerize.version: ", "containerize.lock.digest: sha256:", "base.digest"):
        assert text in labels
    assert 'exec "$@"' in account.ok(account.runtime, "inspect", "--runscript", portable)
    lock = account.ok(account.runtime, "exec", portable, "cat", "/.containerize/conda-lock.yml")
    assert "demo-noarch" in lock
    manifest = json.loads(account.ok(UMBRELLA, "inspect", portable))
    assert manifest["kind"] == "conda" and manifest["form"] == "sif"
    assert {p["name"] for p in manifest["packages"]} >= {"demo-noarch", "python"}
    listing = account.ok(account.runtime, "sif", "list", portable)
    assert len(re.findall(r"FS \(Squashfs/Overlay/amd64\)", listing)) == 1


def test_programs_start_without_a_process_more(
    me: Account, runtime: Path, channel: Path, base: Path, tmp_path: Path
) -> None:
    """No shell is started for the environment: the runtime reads its script itself."""
    if not shutil.which("strace"):
        pytest.skip("no strace")
    if os.getuid() != 0 and "SUID_INSTALL=1" in me.ok(me.runtime, "buildcfg"):
        pytest.skip("a set-uid runtime cannot be traced")
    file = me.file("plain.yml", environment_text(channel, "demo-tool", "demo-activate"))
    image = tmp_path / "plain.sif"
    me.ok(UMBRELLA, "build", image, "--base-image", base, "--conda-env", file)
    counts = []
    for target in (base, image):
        trace = tmp_path / "trace"
        options = ("-f", "-qq", "-e", "trace=execve", "-e", "status=successful", "-o", trace)
        me.ok("strace", *options, me.runtime, "exec", target, "true")
        counts.append(len(re.findall(r'execve\("[^"]*sh"', trace.read_text())))
    assert counts[1] <= counts[0]


# -- changing one ---------------------------------------------------------------------------------
@pytest.mark.every_runtime
def test_an_update_replaces_the_layer(
    account: Account, channel: Path, portable: Path, index: Path
) -> None:
    image = account.owns(Path(shutil.copy(portable, account.work / "updated.sif")))
    image.chmod(0o755)
    file = account.file("more.txt", f"--no-index\n--find-links {index}\nalpha\n")
    told = account.run(UMBRELLA, "build", "--update", image, "--requirements", file)
    assert told.returncode == 0, told.stderr
    assert "+ alpha" in told.stderr and "Unpacking the image" not in told.stderr
    made = image.stat()
    told = account.run(UMBRELLA, "build", "--update", image, "--requirements", file)
    assert told.returncode == 0 and f"nothing changes: {image}" in told.stderr, told.stderr
    assert (image.stat().st_ino, image.stat().st_mtime_ns) == (made.st_ino, made.st_mtime_ns)
    code = "import alpha, demo_noarch; print(alpha.VERSION)"
    assert account.ok(account.runtime, "exec", image, "python", "-c", code) == "1.0\n"
    assert len(sif.read_sif(image).overlays) == 1
    leaner = account.file("lean.yml", environment_text(channel, "python", "pip"))
    account.ok(UMBRELLA, "build", "--update", image, "--conda-env", leaner)
    gone = account.run(account.runtime, "exec", image, "python", "-c", "import demo_noarch")
    assert gone.returncode == 1 and "No module named" in gone.stderr
    seen = account.ok(account.runtime, "exec", image, "bash", "-c", 'echo "${MY_VARIABLE-unset}"')
    assert seen == "unset\n", "a new environment file says its variables anew"


@pytest.fixture(params=["pip in a script", "a script", "packages"])
def wish(
    request: pytest.FixtureRequest, account: Account, channel: Path, index: Path
) -> tuple[str, Path]:
    """What an update is asked for: an option and its file."""
    if request.param == "packages":  # one more, others less
        text = environment_text(channel, *PACKAGES[:3], "demo-tool")
        return "--conda-env", account.file("packages.yml", text)
    text = f"pip install --no-index --find-links {index} alpha\n"
    if request.param == "a script":
        text += "cd $env_root/lib/python3*; rm wave.py; mkdir -p a/b; chmod 500 a/b\n"
        text += "python3 -c \"import os; os.link('abc.py', 'a/abc.py')\"\n"
    return "--post-install", account.file(f"{request.param}.sh", text)


@pytest.mark.every_runtime
def test_an_update_leaves_packed_what_stays(
    account: Account, portable: Path, wish: tuple[str, Path]
) -> None:
    layers = []
    for options in ((), ("--compression", "gzip:1")):
        folder = account.directory(f"packed {wish[1].stem} {len(layers)}")
        image = account.owns(Path(shutil.copy(portable, folder)))
        image.chmod(0o755)
        told = account.run(UMBRELLA, "build", "--update", image, *wish, *options)
        assert told.returncode == 0, told.stderr
        assert ("Packing what is new" in told.stderr) is (not options), told.stderr
        code = "import demo_noarch, importlib.util as u; print(u.find_spec('alpha') is None)"
        said = account.ok(account.runtime, "exec", image, "python", "-c", code)
        assert said == f"{wish[0] == '--conda-env'}\n"
        layers.append(environment_tree(account, image, folder / "tree"))
    assert different(*layers) == set()


def environment_tree(account: Account, image: Path, place: Path) -> dict[str, object]:
    """What the layer of an image has of the environment. :param place: where it is unpacked."""
    layer = sif_record.environment_layer(sif.read_sif(image))
    tree = image_tree(account, image, place, layer.offset)
    return {path: it for path, it in tree.items() if path.startswith("containerize/")}


def test_files_lie_in_the_order_of_a_start(account: Account, portable: Path, index: Path) -> None:
    """Also after an update; the base's file system stays as it is."""
    folder = account.directory("profiled")
    image = account.owns(Path(shutil.copy(portable, folder)))
    image.chmod(0o755)

    def first_and_base() -> tuple[list[str], bytes]:
        found = sif.read_sif(image)
        layer = read_image(image, sif_record.environment_layer(found).offset)
        small = [(p, n) for p, n in layer.root.walk() if isinstance(n, File) and not n.stored]
        there = [(layer.fragments[n.fragment][0], n.offset, p) for p, n in small if n.size]
        return [Path(p).name for *_, p in sorted(there)][:30], image.read_bytes()[
            found.primary.offset :
        ][: found.primary.size]

    before, base = first_and_base()
    code = "import demo_noarch, xml.dom.minidom, wave"
    told = account.run(UMBRELLA, "profile", image, "--", "python3", "-c", code)
    assert told.returncode == 0 and "of the base image" in told.stderr, told.stderr
    first, same = first_and_base()
    assert (
        same == base
        and first[:10] != before[:10]
        and account.ok(UMBRELLA, "doctor", "--deep", image)
    )
    trees = [environment_tree(account, portable, folder / "before")]
    trees.append(environment_tree(account, image, folder / "after"))
    assert different(*trees) == set(), "nothing else changes"
    file = account.file("profiled.txt", f"--no-index\n--find-links {index}\nalpha\n")
    account.ok(UMBRELLA, "build", "--update", image, "--requirements", file)
    assert first_and_base()[0][:10] == first[:10]
    trees = [environment_tree(account, image, folder / "updated")]
    account.ok(UMBRELLA, "repack", image, "--compression", "gzip:2")
    trees.append(environment_tree(account, image, folder / "repacked"))
    assert different(*trees) == set(), "nor when it is repacked"
    assert first_and_base()[0][:10] == first[:10]
    code += ", alpha"
    account.ok(account.runtime, "exec", image, "python3", "-c", code)


@pytest.mark.parametrize("command", ["profile", "repack"])
def test_an_image_is_written_anew_whole_or_not(
    account: Account, portable: Path, command: str
) -> None:
    """Also when it is interrupted, at changes of files."""
    folder, tmp = account.directory(f"killed-{command}"), account.directory(f"killed-{command}-tmp")
    image = account.owns(Path(shutil.copy(portable, folder)))
    image.chmod(0o755)
    words = {"profile": ("--", "python3", "-c", "0"), "repack": ("--compression", "gzip:2")}
    start = (account.runtime, "exec", image, "python3", "-c", "import demo_noarch")

    def left() -> set[str]:  # drafts of locks may stay for an hour
        return {name for name in entries(folder) if not name.endswith(".partial")}

    for number, done in interrupted(account, tmp, UMBRELLA, command, image, *words[command]):
        assert done.returncode in (0, -number, 128 + number), done.stderr
        account.ok(*start)
        if number == signal.SIGTERM:
            assert left() == {image.name} and entries(tmp) == set()
        image.write_bytes(portable.read_bytes())
    account.ok(UMBRELLA, command, image, *words[command], env={"TMPDIR": str(tmp)})
    assert left() == {image.name} and entries(tmp) == set(), "nor of what was killed"
    account.ok(UMBRELLA, "doctor", "--deep", image)


def test_a_flattened_image_needs_no_overlay(
    account: Account, runtime: Path, channel: Path, base: Path
) -> None:
    image = account.work / "flat.sif"
    file = account.file("flat.yml", environment_text(channel, "demo-tool", "demo-activate"))
    options = ("--base-image", base, "--conda-env", file)
    account.ok(UMBRELLA, "build", image, *options, "--flatten")
    found = sif.read_sif(image)
    assert not found.overlays and found.primary
    show = ("bash", "-c", 'type -p demo-tool; echo "$CONDA_PREFIX $FROM_BASE"')
    told = account.ok(account.runtime, "exec", image, *show)
    assert told == "/containerize/bin/demo-tool\n/containerize yes\n"
    lean = account.file("flat2.yml", environment_text(channel, "demo-activate"))
    account.ok(UMBRELLA, "build", "--update", image, "--conda-env", lean)
    assert not sif.read_sif(image).overlays, "it stays what it is"
    told = account.ok(account.runtime, "exec", image, *show)
    assert told == "/containerize yes\n", "a layer could not have removed the program"


def test_an_image_of_anybody_gets_an_environment(
    me: Account, runtime: Path, channel: Path, base: Path, tmp_path: Path
) -> None:
    image, other = Path(shutil.copy(base, tmp_path / "theirs.sif")), tmp_path / "other.sif"
    file = me.file("theirs.yml", environment_text(channel, "demo-tool"))
    me.ok(UMBRELLA, "build", "--update", image, "--conda-env", file)
    assert me.ok(me.runtime, "exec", image, "bash", "-c", "type -p demo-tool").startswith("/conta")
    # And as the base of another one: the new environment takes the place of its own.
    lean = me.file("other.yml", environment_text(channel, "demo-sh-only"))
    me.ok(UMBRELLA, "build", other, "--base-image", image, "--conda-env", lean)
    assert me.run(me.runtime, "exec", other, "bash", "-c", "type -p demo-tool").stdout == ""
    assert len(sif.read_sif(other).overlays) == 1


def test_a_base_without_a_runtimes_files_gets_them(
    me: Account, channel: Path, base: Path, index: Path, tmp_path: Path
) -> None:
    """With ours alone beside nothing the runtime would set no variable: no PATH, no settings."""
    system, bare, image = tmp_path / "system.sqfs", tmp_path / "bare.sif", tmp_path / "made.sif"
    leave_out = ("-quiet", "-no-progress", "-e", ".singularity.d")
    me.ok("mksquashfs", base.parent / "sandbox", system, *leave_out)
    primary = sif.partition(sif.PRIMARY)
    part = sif.NewObject(kind=sif.PARTITION, name="system", content=system, extra=primary)
    sif.write_sif(bare, [part])
    file = me.file("bare.yml", environment_text(channel, "python"))
    me.ok(UMBRELLA, "build", image, "--base-image", bare, "--conda-env", file)
    variables = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index)}
    me.ok(UMBRELLA, "build", "--update", image, "-r", me.file("a.txt", "alpha\n"), env=variables)
    code = "import alpha, subprocess; subprocess.run(['ls', '/containerize/bin'], check=True)"
    assert "python3" in me.ok(me.runtime, "exec", image, "python3", "-c", code)
    extra = sif.NewObject(kind=sif.DEFINITION, name="its.def", content=b"Bootstrap: localimage")
    theirs = tmp_path / "theirs.sif"
    sif.write_sif(theirs, [part, extra])
    before = theirs.read_bytes()
    refused = me.run(UMBRELLA, "build", "--update", theirs, "--conda-env", file)
    assert refused.returncode == ExitCode.INPUT and theirs.read_bytes() == before
    assert "besides its system: a definition file" in refused.stderr


# -- cotainr's command line -----------------------------------------------------------------------
def test_cotainrs_command_line_works(
    me: Account, runtime: Path, channel: Path, base: Path, tmp_path: Path
) -> None:
    """With a sandbox directory as the base, as cotainr takes them."""
    sandbox = base.parent / "sandbox"
    systems = tmp_path / "systems.json"
    systems.write_text(json.dumps({"here": {"base-image": str(sandbox)}}))
    file = tmp_path / "conda env.yml"
    file.write_text(environment_text(channel, "python"))
    env = {"CONTAINERIZE_SYSTEMS": str(systems)}
    words = ("build", "my image.sif", "--system=here", f"--conda-env={file}", "--accept-licenses")
    told = me.run(UMBRELLA, *words, "-vv", "--no-color", "--log-to-file", cwd=tmp_path, env=env)
    assert told.returncode == 0, told.stderr
    code = "import sys; print(sys.prefix)"
    image = tmp_path / "my image.sif"
    assert me.ok(me.runtime, "exec", image, "python3", "-c", code) == "/containerize\n"
    logs = [name for name in entries(tmp_path) if name.endswith(".log")]
    assert len(logs) == 1 and logs[0].startswith("containerize_build_")
    assert "begin: Solving" in (tmp_path / logs[0]).read_text()
    assert "here" in me.ok(UMBRELLA, "info", env=env)
    unknown = me.run(UMBRELLA, "build", "x.sif", "--system=her", cwd=tmp_path, env=env)
    assert unknown.returncode == ExitCode.INPUT and "did you mean here" in unknown.stderr


def test_a_base_alone(me: Account, runtime: Path, base: Path, tmp_path: Path) -> None:
    """As cotainr without --conda-env; a script may put programs into it. The home is not there."""
    script = tmp_path / "script.sh"
    script.write_text('mkdir "$env_root/bin"\necho "echo mine" >"$env_root/bin/own"\n')
    with script.open("a") as file:
        file.write('chmod +x "$env_root/bin/own"\n')
    words = ("build", tmp_path / "out.sif", "--base-image", base, "--post-install", script)
    me.ok(UMBRELLA, *words, env={"HOME": str(tmp_path / "none")})
    assert me.ok(me.runtime, "exec", tmp_path / "out.sif", "bash", "-c", "own") == "mine\n"


@pytest.mark.parametrize("kind", ["conda", "pip", "sif"])
def test_a_build_reads_each_of_its_files_once(
    me: Account, channel: Path, base: Path, index: Path, kind: str
) -> None:
    """Each is a pipe: what was read of it is not there to be read again."""
    texts = {
        "env.yml": environment_text(channel, "python", "demo-noarch"),
        "requirements.txt": f"--no-index\n--find-links {index}\nalpha\n",
        "post.sh": 'echo done >"$env_root/done"\n',
        "variables": "MINE=1\n",
    }
    place = me.work / f"once-{kind}"
    place.mkdir()
    for name, text in texts.items():
        os.mkfifo(place / name)
        threading.Thread(target=(place / name).write_text, args=(text,), daemon=True).start()
    env, file, script, variables = (place / name for name in texts)
    target = place / f"made.{kind}"
    lines: dict[str, tuple[str | Path, ...]] = {
        "conda": (CONDA, "new", "--prefix", target, "-r", file, env),
        "pip": (PIP, "new", "--prefix", target, file),
        "sif": (UMBRELLA, "build", target, "--base-image", base, "-r", file, "--conda-env", env),
    }
    me.ok(*lines[kind], "--post-install", script, "--environ", variables)
    code = "import alpha, os, sys; print(os.environ['MINE'], os.path.exists(sys.prefix + '/done'))"
    start = (target / "bin/python3",)
    if kind == "sif":
        start = (me.runtime, "exec", target, "python3")
    assert me.ok(*start, "-c", code) == "1 True\n"
    if kind != "sif":
        recorded = {path.read_text() for path in (target / "current/inputs").iterdir()}
        read = {"requirements.txt", "post.sh"} | ({"env.yml"} if kind == "conda" else set())
        assert {texts[name] for name in read} <= recorded


# -- who may use the result -----------------------------------------------------------------------
@pytest.mark.parametrize("mask", [0o007, 0o077])
def test_colleagues_can_run_it(base: Path, account: Account, runtime: Path, mask: int) -> None:
    """In a project's directory, whatever the umask; nobody else can write it."""
    folder = account.directory(f"project-{mask:o}")
    folder.chmod(0o2770)
    image = folder / "out.sif"
    command = f'umask {mask:03o}; exec "$@"'
    account.ok("sh", "-c", command, "sh", UMBRELLA, "build", image, "--base-image", base)
    status = image.stat()
    assert stat.S_IMODE(status.st_mode) == 0o750
    assert status.st_gid == folder.stat().st_gid
    assert grp.getgrgid(status.st_gid)
    account.ok(account.runtime, "exec", image, "true")


# -- what goes wrong ------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class Place:
    """A directory to build in, another one for build directories, a tiny environment."""

    account: Account
    root: Path
    builds: Path
    file: Path

    def words(self, *words: str | Path) -> list[str | Path]:
        return [UMBRELLA, "build", *words, "--conda-env", self.file, "--tmpdir", self.builds]

    def argv(self, *words: str | Path) -> list[str]:
        return self.account.argv(self.words(*words))

    def interrupted(self, number: signal.Signals, step: str, *words: str | Path) -> int:
        """The status of a build that gets a signal when ``step`` begins."""
        line = [*self.words(*words), "-v"]
        return at_step(self.account, line, step, lambda child: child.send_signal(number))[0]

    def build(self, *words: str | Path) -> None:
        self.account.ok(*self.argv(*words), cwd=self.root)

    def fails(self, code: int, *words: str | Path) -> str:
        """What a build says that must fail and change nothing."""
        before = {path: path.read_bytes() for path in self.root.iterdir() if path.is_file()}
        told = self.account.run(*self.argv(*words), cwd=self.root)
        assert told.returncode == code, told.stderr
        assert "Traceback" not in told.stderr
        after = {path: path.read_bytes() for path in self.root.iterdir() if path.is_file()}
        assert after == before
        return told.stderr

    def left(self) -> set[str]:
        """Names in the directory, and paths of all that build directories left."""
        left = {str(path.relative_to(self.builds)) for path in self.builds.rglob("*")}
        return entries(self.root) | left


def test_an_image_is_extended_in_one_command(
    account: Account, portable: Path, base: Path, index: Path
) -> None:
    place = account.work / "on an image"
    mine = place / "extension"
    env = {"CONTAINERIZE_SITE": str(account.file("tac.yml", "host_programs: [tac]\n"))}
    account.ok(UMBRELLA, "extend", portable, "--to", place, env=env)
    call = "import subprocess; subprocess.run('tac', input=b'1\\n2\\n', check=True)"
    assert account.ok(mine / "bin/python", "-c", call) == "2\n1\n"
    (wheel,) = index.rglob("alpha*.whl")
    account.ok(mine / "bin/pip", "install", "--no-index", wheel)
    code = "import alpha, demo_noarch, os, sys; print(sys.prefix, os.environ['MY_VARIABLE'])"
    told = f"{mine} it's $HOME\n"
    for command in ("freeze", "thaw"):
        assert account.ok(mine / "bin/python", "-c", code) == told
        account.ok(UMBRELLA, command, place)
    assert account.ok(mine / "bin/python", "-c", code) == told

    new = account.work / "on no Python"
    none = account.run(UMBRELLA, "extend", base, "--to", new)
    assert none.returncode == ExitCode.INPUT and "no python3 on its PATH" in none.stderr
    assert not new.exists()
    line = (UMBRELLA, "extend", portable, "--to", new / "deep", "-v")
    status, said = at_step(account, line, "Making", methodcaller("send_signal", signal.SIGTERM))
    assert status == 128 + signal.SIGTERM and not new.exists(), said
    for words in ([portable], [place, "-w", "/opt/venv/bin"]):
        assert account.run(UMBRELLA, "extend", *words).returncode == ExitCode.USAGE


@pytest.mark.every_runtime
def test_doctor_looks_into_an_image(account: Account, portable: Path) -> None:
    told = account.ok(UMBRELLA, "doctor", "--deep", portable)
    assert "failed" not in told and "warning" not in told
    assert "ok       content: SHA-256 as in the manifest" in told
    assert "'exec --unsquash' and 'build --sandbox' leave out (for them: --flatten)" in told
    assert "ok       start: python3 -c pass in " in told
    copy = account.owns(Path(shutil.copy(portable, account.work / "ill.sif")))
    item = sif_record.environment_layer(sif.read_sif(copy))
    with copy.open("r+b") as file:
        file.seek(item.offset + item.size // 2)
        file.write(b"damage")
    done = account.run(UMBRELLA, "doctor", "-q", "--deep", copy)
    assert done.returncode == ExitCode.CHECKS and "failed   content: " in done.stdout
    os.truncate(copy, item.offset + 1000)
    done = account.run(UMBRELLA, "doctor", "-q", copy)
    assert done.returncode == ExitCode.CHECKS
    assert [line[:16] for line in done.stdout.splitlines()] == ["failed   image: "]
    copy.unlink()


@pytest.fixture
def place(me: Account, channel: Path, runtime: Path, tmp_path: Path) -> Place:
    root, builds, file = tmp_path / "place", tmp_path / "builds", tmp_path / "env.yml"
    root.mkdir()
    builds.mkdir()
    file.write_text(environment_text(channel, "demo-tool"))
    return Place(account=me, root=root, builds=builds, file=file)


def test_bases_that_cannot_be_used(place: Place, base: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.sif"
    text.write_text("hello\n")
    assert "no container image" in place.fails(ExitCode.INPUT, "out.sif", "--base-image", text)
    whole = base.read_bytes()
    cut = tmp_path / "cut.sif"
    cut.write_bytes(whole[: len(whole) // 2])
    assert "incomplete" in place.fails(ExitCode.PACKAGE, "out.sif", "--base-image", cut)
    other = tmp_path / "other.sif"
    other.write_bytes(whole[:45] + b"04\0" + whole[48:])
    assert "is for aarch64" in place.fails(ExitCode.INPUT, "out.sif", "--base-image", other)
    assert "no such image" in place.fails(ExitCode.INPUT, "out.sif", "--base-image", "nothing")
    place.fails(ExitCode.CHANNEL, "out.sif", "--base-image", f"docker-archive:{tmp_path}/none.tar")


def test_options_that_do_not_fit(place: Place, base: Path, tmp_path: Path) -> None:
    assert "--base-image or --system" in place.fails(ExitCode.USAGE, "out.sif")
    both = ("--base-image", base, "--system", "x")
    assert "--base-image or --system" in place.fails(ExitCode.USAGE, "out.sif", *both)
    assert "--update keeps" in place.fails(
        ExitCode.USAGE, "out.sif", "--update", "--base-image", base
    )
    missing = ("--base-image", base, "--requirements", "none.txt")
    assert "no such file" in place.fails(ExitCode.INPUT, "out.sif", *missing)
    bad = ("--base-image", base, "--os-package", "a;b")
    assert "'a;b' cannot be the name" in place.fails(ExitCode.INPUT, "out.sif", *bad)
    assert "no image to update" in place.fails(ExitCode.PREFIX, "out.sif", "--update")


def test_outputs_that_cannot_be(place: Place, base: Path, tmp_path: Path) -> None:
    (place.root / "old.sif").write_bytes(OLD_SIF)
    (place.root / "text.sif").write_text("old\n")
    (place.root / "folder").mkdir()
    there = place.fails(ExitCode.PREFIX, "old.sif", "--base-image", base)
    assert "exists already" in there and "--force" in there
    assert "is a directory" in place.fails(ExitCode.PREFIX, "folder", "--base-image", base)
    assert "no directory for" in place.fails(ExitCode.PREFIX, "no/out.sif", "--base-image", base)
    assert "is no SIF file" in place.fails(ExitCode.INPUT, "text.sif", "--update")
    for options in ((), ("--force",)):
        told = place.fails(ExitCode.PREFIX, "text.sif", "--base-image", base, *options)
        assert "a file, and no SIF" in told
    assert (place.root / "text.sif").read_text() == "old\n"


def on_a_terminal(argv: list[str], answer: str, cwd: Path) -> tuple[int, str]:
    """Status and output of a command that asks a question on its terminal."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(argv, cwd=cwd, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    told = b""
    with (
        os.fdopen(ours, "r+b", buffering=0) as terminal,
        contextlib.suppress(OSError),
    ):  # at its end
        while more := terminal.read(4096):
            told += more
            if told.endswith(b"[y/N]: "):
                terminal.write(answer.encode())
    return child.wait(60), told.decode()


def test_on_a_terminal_it_asks(place: Place, base: Path) -> None:
    image = place.root / "out.sif"
    image.write_bytes(OLD_SIF)
    argv = place.argv("out.sif", "--base-image", base)
    for answer in ("n\n", "\n", "\x04"):  # the last one is the end of the input
        status, told = on_a_terminal(argv, answer, place.root)
        assert status == ExitCode.PREFIX, told
        assert "Replace it?" in told and "the output exists already" in told
        assert image.read_bytes() == OLD_SIF
    status, told = on_a_terminal(argv, "y\n", place.root)
    assert status == 0, told
    assert sif.read_sif(image).overlays


def test_a_full_file_system(me: Account, base: Path, tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can mount a small file system")
    full = tmp_path / "full"
    full.mkdir()
    size = base.stat().st_size // 2
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "full", full], check=True)
    try:
        told = me.run(UMBRELLA, "build", full / "out.sif", "--base-image", base)
        assert told.returncode == ExitCode.SPACE, told.stderr
        assert "no room for the copy of the base image" in told.stderr
        assert entries(full) == set()
    finally:
        subprocess.run(["umount", full], check=True)


STEPS = ("Looking", "Solving", "Linking", "Recording", "Writing the", "Writing out")


@pytest.mark.parametrize(
    ("number", "steps"),
    [
        (signal.SIGTERM, STEPS),
        (signal.SIGINT, ("Writing out",)),
        (signal.SIGKILL, ("Linking", "Writing the", "Writing out")),
    ],
)
def test_interruptions_leave_the_old_image(
    place: Place, base: Path, number: signal.Signals, steps: tuple[str, ...]
) -> None:
    """At every step; what a kill leaves is gone after the next run."""
    image = place.root / "out.sif"
    image.write_bytes(OLD_SIF)
    for step in steps:
        status = place.interrupted(number, step, image, "--force", "--base-image", base)
        assert status == (-number if number == signal.SIGKILL else 128 + number), step
        assert image.read_bytes() == OLD_SIF
        if number != signal.SIGKILL:
            assert place.left() == {"out.sif"}, step
    place.build(image, "--force", "--base-image", base)
    assert place.left() == {"out.sif"}
    assert sif.read_sif(image).overlays


def test_an_interrupted_update_leaves_the_image(place: Place, base: Path, channel: Path) -> None:
    image = place.root / "out.sif"
    place.build(image, "--base-image", base)
    place.file.write_text(environment_text(channel, "demo-tool", "demo-sh-only"))
    before = image.read_bytes()
    for turn, step in enumerate(
        ("Unpacking what changes", "Packing what", "Writing the", "Writing out")
    ):
        number = (signal.SIGKILL, signal.SIGTERM)[turn % 2]
        status = place.interrupted(number, step, "--update", image)
        assert status == (-number if number == signal.SIGKILL else 128 + number), step
        assert image.read_bytes() == before
        assert number == signal.SIGKILL or place.left() == {"out.sif"}, step
    place.build("--update", image)
    assert place.left() == {"out.sif"} and image.read_bytes() != before
    place.account.ok(place.account.runtime, "exec", image, "demo-tool")


# -- packages of the system -----------------------------------------------------------------------
def test_packages_of_the_system_need_a_tool(
    account: Account, runtime: Path, base: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The refusal names what to load; a base without a package manager is told too."""
    words = ("--base-image", base, "--os-package", "less")
    told = account.run(UMBRELLA, "build", account.work / "packages.sif", *words)
    assert told.returncode in (ExitCode.INPUT, ExitCode.TOOL), told.stderr
    assert "proot" in told.stderr or "no package manager that is known" in told.stderr
    assert not (account.work / "packages.sif").exists()
