"""pip's requirement forms, together in one installation, and the Pythons it may be built on."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.account import Account
from tests.channel.serve import serve
from tests.conftest import CHANNEL, require
from tests.e2e.conftest import BIN, Builder, Installation, entries
from tests.index import write_index, write_project, write_wheel
from wrapper.errors import ExitCode

PIP = BIN / "pip-containerize"
WHEELS = CHANNEL.with_name(f"{CHANNEL.name}-work") / "wheels"
TOOLS = ("bash", "sh", "env", "cat", "cp", "ldd", "find", "git")


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an index with alpha 1.0, 2.0 and beta 1.0, 2.0rc1."""
    root = tmp_path_factory.mktemp("index")
    versions = [("alpha", "1.0"), ("alpha", "2.0"), ("beta", "1.0"), ("beta", "2.0rc1")]
    write_index(root, [write_wheel(root, name, version) for name, version in versions])
    with serve(root) as url:
        yield f"{url.rstrip('/')}/simple"


@pytest.fixture(scope="module")
def plain_path(tmp_path_factory: pytest.TempPathFactory, runtime: Path) -> str:
    """A PATH without Python and without compilers."""
    folder = tmp_path_factory.mktemp("tools")
    for name in (*TOOLS, "mksquashfs", "unsquashfs"):
        program = shutil.which(name)
        require(program is not None, name)
        (folder / name).symlink_to(str(program))
    return f"{folder}:{runtime.parent}"


@pytest.fixture(scope="module")
def python_tree(build: Builder, me: Account, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A relocatable Python 3.11 as a directory: the channel's."""
    done = build(me, "python-tree", "python")
    inside = (done.prefix / "lib").readlink().parent
    target = tmp_path_factory.mktemp("python") / "python"
    exec_ = done.program("_debug_exec")
    subprocess.run([exec_, "cp", "-a", inside, target], check=True)
    shutil.rmtree(target / "conda-meta")
    # As CPython's build begins it; uv looks for it.
    for data in target.glob("lib/python3.11/_sysconfigdata_*.py"):
        mark = "# system configuration generated and used by the sysconfig module\n"
        data.write_text(mark + data.read_text())
    return target


def write_requirements(account: Account, index: str) -> Path:
    """A requirements file with every form, in a directory of its own."""
    root = account.directory("forms")
    write_project(root / "project", "delta", "1.0", extra="beta")
    write_project(root / "last", "omega", "1.0", builds_with="alpha")
    write_project(root / "whole", "theta", "1.0", extra="zeta")
    write_project(root / "whole/zeta", "zeta", "1.0")
    with (root / "whole/pyproject.toml").open("a") as project:
        project.write('[tool.uv.sources]\nzeta = {path = "zeta", editable = true}\n')
    (root / "VERSION").write_text("1\n")  # outside of the project, which reads it
    with (root / "last/backend.py").open("a") as backend:
        backend.write('open("../VERSION").close()\n')
    write_project(root / "repository", "gamma", "1.0")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@host", "-C", root / "repository"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *words], check=True)
    (root / "wheels").mkdir()
    write_wheel(root / "wheels", "epsilon", "1.0")
    (root / "sub").mkdir()
    (root / "sub/limits.txt").write_text("alpha<2\n")
    (root / "sub/more.txt").write_text(
        "-c limits.txt\n--find-links ../wheels\nepsilon==1.0 \\\n  ; python_version > '3'\n"
    )
    return account.file(
        "forms/r.txt",
        f"--index-url {index}\n--pre\n--trusted-host 127.0.0.1\n--only-binary epsilon\n"
        "-r sub/more.txt\n"
        "alpha; python_version > '3'\n"
        "nothing; python_version < '3'\n"
        "-e ./project[x]  # with beta\n"
        f"gamma @ git+{(root / 'repository').as_uri()}\n"
        "--no-build-isolation omega\nomega @ ./last\n./project\n./whole[x]\n",
    )


def test_all_forms_are_installed_and_locked(me: Account, index: str, runtime: Path) -> None:
    file = write_requirements(me, index)
    prefix, root = me.work / "forms-env", file.parent
    before = {path.name for path in root.rglob("*")}
    done = me.run(PIP, "new", "--prefix", prefix, "r.txt", cwd=root)
    assert done.returncode == 0, done.stderr
    assert "line 8: '-e ./project[x]' is installed as a copy" in done.stderr
    assert {path.name for path in root.rglob("*")} == before, "projects are not built in place"
    installation = Installation(prefix=prefix, account=me)
    code = "import alpha, beta, gamma, delta, epsilon, omega as o, theta, zeta;" + (
        "print(*(m.VERSION for m in (alpha, beta, gamma, delta, epsilon, o, theta, zeta)))"
    )
    assert installation.python(code) == "1.0 2.0rc1 1.0 1.0 1.0 1.0 1.0 1.0\n"

    lock = (prefix / "current/requirements.lock").read_text().splitlines()
    told = {line.split(" @ ")[0]: line for line in lock[1:]}
    assert told.keys() == {"alpha", "beta", "gamma", "delta", "epsilon", "omega", "theta", "zeta"}
    assert f"{(root / 'whole/zeta').as_uri()} " in told["zeta"]
    assert "--hash=sha256:" in told["epsilon"] and "git+file://" in told["gamma"]
    assert " content=sha256:" in told["delta"]
    assert told["omega"].endswith(" no-build-isolation")
    first = installation.manifest["image"]["sha256"]
    prefix.rename(me.work / "forms-first")
    copy = me.file("forms.lock", "\n".join(lock) + "\n")
    me.ok(PIP, "new", "--prefix", prefix, copy, cwd=root)
    assert installation.manifest["image"]["sha256"] == first

    (root / "project/delta.py").write_text("VERSION = '1.1'\n")
    changed = me.run(PIP, "new", "--prefix", me.work / "forms-no", copy, cwd=root)
    assert changed.returncode == ExitCode.PACKAGE
    assert "delta has changed since it was locked" in changed.stderr
    said = me.run(PIP, "update", prefix, "-r", "r.txt", cwd=root)
    assert "~ delta" in said.stderr, "the same version, but other content"
    assert installation.python("import delta; print(delta.VERSION)") == "1.1\n"


def test_a_dry_run_shows_what_would_change(me: Account, index: str, runtime: Path) -> None:
    file = me.file("dry.txt", f"--index-url {index}\nalpha<2\n")
    prefix = me.work / "dry"
    plan = json.loads(me.ok(PIP, "new", "--dry-run", "--json", "--prefix", prefix, file))
    assert [(p["name"], p["version"]) for p in plan["packages"]] == [("alpha", "1.0")]
    assert not prefix.exists()
    last = me.file(
        "dry-last.txt", f"--index-url {index}\n--no-build-isolation alpha\nalpha<2\nbeta\n"
    )
    plan = json.loads(me.ok(PIP, "new", "--dry-run", "--json", "--prefix", prefix, last))
    assert [p["name"] for p in plan["packages"]] == ["alpha", "beta"], "what is built last counts"
    me.ok(PIP, "new", "--prefix", prefix, file)
    more = me.file("dry-more.txt", f"--index-url {index}\nalpha>1\nbeta\n")
    shown = me.ok(PIP, "update", "--dry-run", prefix, "-r", more)
    assert [line.split()[:2] for line in shown.splitlines()[:2]] == [["~", "alpha"], ["+", "beta"]]
    assert "1 added, 1 changed (alpha, beta)" in shown
    assert entries(prefix / ".generations") == {"1"}


def test_mistakes_are_told_before_anything_is_built(
    me: Account, runtime: Path, tmp_path: Path
) -> None:
    (tmp_path / "r.txt").write_text("numpy\n-r more.txt\n")
    (tmp_path / "more.txt").write_text("\nscipy = 1\n")
    for command in (["pip-containerize", "new"], ["conda-containerize", "new", "-r", "r.txt"]):
        last = "env.yml" if "-r" in command else "r.txt"
        (tmp_path / "env.yml").write_text("dependencies: [python]\n")
        words = [BIN / command[0], *command[1:], "--prefix", tmp_path / "p", last]
        done = me.run(*words, cwd=tmp_path)
        assert done.returncode == ExitCode.INPUT
        assert "'scipy = 1' is not a requirement" in done.stderr
        assert "more.txt, line 2" in done.stderr and "Preparing" not in done.stderr
    assert entries(tmp_path) == {"r.txt", "more.txt", "env.yml"}


def test_git_is_looked_for_first(me: Account, plain_path: str, tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text("x @ git+https://host/x\n")
    env = {"PATH": plain_path.split(":")[1]}
    done = me.run(PIP, "new", "--prefix", tmp_path / "p", tmp_path / "r.txt", env=env)
    assert done.returncode == ExitCode.TOOL and "there is no git on PATH" in done.stderr
    assert "r.txt, line 1" in done.stderr


# -- packages with compiled parts ------------------------------------------------------------------
_EXTENSION = """\
#include <Python.h>
#include <assert.h>
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "answer", NULL, -1, NULL};
PyMODINIT_FUNC PyInit_answer(void) {
    PyObject *module = PyModule_Create(&definition);
    assert(module);
    PyModule_AddIntConstant(module, "VALUE", 42);
    return module;
}
"""


@pytest.fixture(scope="module")
def extension(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the source archive of a C extension, which setuptools builds."""
    root = tmp_path_factory.mktemp("extension")
    folder = root / "answer-1.0"
    folder.mkdir()
    (folder / "answer.c").write_text(_EXTENSION)
    (folder / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: answer\nVersion: 1.0\n")
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools", "wheel"]\n'
        'build-backend = "setuptools.build_meta"\n'
    )
    (folder / "setup.py").write_text(
        "from setuptools import Extension, setup\n"
        'setup(name="answer", version="1.0", ext_modules=[Extension("answer", ["answer.c"])])\n'
    )
    with tarfile.open(root / "answer-1.0.tar.gz", "w:gz") as archive:
        archive.add(folder, "answer-1.0")
    return root


def test_an_extension_is_compiled_and_the_same_again(
    me: Account, extension: Path, runtime: Path, plain_path: str
) -> None:
    require(WHEELS.is_dir(), "the local channel's wheels")
    compiler = shutil.which("gcc")
    headers = list(Path("/usr/include").glob("python3*/Python.h"))
    require(bool(compiler and headers), "a C compiler or Python's headers")
    file = me.file("c.txt", f"--no-index\n--find-links {WHEELS}\n-f {extension}\nanswer\n")
    env = {"PATH": f"/usr/bin:{os.environ['PATH']}"}
    prefix, digests = me.work / "compiled", []
    for name in ("once", "twice"):
        me.ok(PIP, "new", "--prefix", prefix, file, env=env)
        done = Installation(prefix=prefix, account=me)
        assert done.python("import answer; print(answer.VALUE)") == "42\n"
        digests.append(done.manifest["image"]["sha256"])
        lock = (prefix / "current/requirements.lock").read_text()
        file = me.file("compiled.lock", lock)
        assert "answer-1.0.tar.gz --hash" in lock
        prefix.rename(me.work / f"compiled-{name}")
        env["CFLAGS"] = "-O0 -march=native"  # of a login node: packages are for others too
        if "setuptools" not in lock:  # the build's own requirements are found as before
            env["UV_FIND_LINKS"] = str(WHEELS)
            env["UV_NO_INDEX"] = "1"
    assert digests[0] == digests[1]

    lonely = me.directory("lonely-python")
    (lonely / "python3").symlink_to("/usr/bin/python3")
    env["PATH"] = f"{lonely}:{plain_path}"
    failed = me.run(PIP, "new", "--prefix", me.work / "uncompiled", file, env=env)
    assert failed.returncode == ExitCode.TOOL, failed.stderr
    assert "there is no compiler" in failed.stderr and "Traceback" not in failed.stderr
    assert not (me.work / "uncompiled").exists()


def test_crays_own_packages_are_kept_unless_they_do_not_fit(
    me: Account, python_tree: Path, index: str, runtime: Path, plain_path: str
) -> None:
    """A whole Python at Cray's path, with numpy, as the site's module puts it on PATH."""
    require(WHEELS.is_dir(), "the local channel's wheels")
    root = Path("/opt/cray/pe/python/3.11.2-containerize-test")
    if not os.access("/opt", os.W_OK):
        root = me.work / "cray-python"
    shutil.copytree(python_tree, root, symlinks=True)
    try:
        site = root / "lib/python3.11/site-packages"
        for name, version in (("alpha", "1.0"), ("beta", "1.0")):
            shutil.unpack_archive(write_wheel(me.work, name, version), site, "zip")
        env = {"PATH": f"{root}/bin:{plain_path}"}
        links = f"--find-links {WHEELS}\n--index-url {index}\n"
        file = me.file("cray.txt", f"{links}alpha\nbeta>1.0\n--pre\nnumpy<2\n")
        prefix = me.work / "on-cray"
        me.ok(PIP, "new", "--system-site-packages", "--prefix", prefix, file, env=env)
        done = Installation(prefix=prefix, account=me)
        where = done.python(
            "import alpha, beta, numpy as n; print(alpha.__file__, beta.VERSION, n.__version__)"
        )
        assert where.split() == [f"{site}/alpha/__init__.py", "2.0rc1", "1.26.4"]
        assert done.manifest["interpreter"]["path"] == f"{root}/bin/python3.11"

        # Replaced by another version at the same path.
        (root / "lib/python3.11").rename(root / "lib/python3.12")
        changed = me.run(done.program("python3"), "-c", "pass")
        assert changed.returncode == 1 and "is another version now" in changed.stderr
        assert f"{prefix}/current/inputs" in changed.stderr
    finally:
        shutil.rmtree(root)


# -- which Python ----------------------------------------------------------------------------------
def test_a_python_of_a_version(
    me: Account, index: str, runtime: Path, plain_path: str, tmp_path: Path
) -> None:
    file = me.file("pyver.txt", f"--index-url {index}\nalpha\n")
    words = [PIP, "new", "--prefix", tmp_path / "p", file, "--pyver"]
    (tmp_path / "python3").symlink_to("/usr/bin/python3")
    env = {"PATH": f"{tmp_path}:{plain_path}"}
    none = me.run(*words, "3.99", env=env)
    assert none.returncode == ExitCode.TOOL
    assert "no Python 3.99 on PATH, only 3." in none.stderr and "--uv" in none.stderr
    wrong = me.run(*words, "newest", env=env)
    assert wrong.returncode == ExitCode.INPUT and "is not a version" in wrong.stderr
    version = me.ok("/usr/bin/python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])")
    me.ok(*words, f"{version.strip()}-slim", env=env)


@pytest.fixture
def mirror(python_tree: Path, tmp_path: Path) -> Iterator[Callable[[str], dict[str, str]]]:
    """Makes variables for uv by which it finds Python 3.11.2, of such a SHA-256 (empty: right)."""
    with tarfile.open(tmp_path / "python.tar.gz", "w:gz", compresslevel=1) as archive:
        archive.add(python_tree, "python")
    right = hashlib.sha256((tmp_path / "python.tar.gz").read_bytes()).hexdigest()
    with serve(tmp_path) as url:

        def variables(sha256: str = "") -> dict[str, str]:
            entry = {
                **{"name": "cpython", "arch": {"family": "x86_64", "variant": None}},
                **{"os": "linux", "libc": "gnu", "major": 3, "minor": 11, "patch": 2},
                **{"url": f"{url}/python.tar.gz", "sha256": sha256 or right},
                **{"prerelease": "", "variant": None, "build": "1"},
            }
            downloads = tmp_path / "downloads.json"
            downloads.write_text(json.dumps({"cpython-3.11.2-linux-x86_64-gnu": entry}))
            return {"UV_PYTHON_DOWNLOADS_JSON_URL": str(downloads)}

        yield variables


def test_a_python_from_uv_is_in_the_image(
    me: Account, mirror: Callable[[str], dict[str, str]], index: str, plain_path: str
) -> None:
    env = {"PATH": plain_path}
    file = me.file("managed.txt", f"--index-url {index}\nalpha\n")
    words = ("new", "--prefix", me.work / "refused", "--uv", file)
    refused = me.run(PIP, *words, env={**env, **mirror("0" * 64)})
    assert refused.returncode == ExitCode.PACKAGE and "not the right one" in refused.stderr
    prefix = me.work / "managed"
    words = ("new", "--prefix", prefix, "--uv", "--pyver", "3.11", file)
    me.ok(PIP, *words, env={**env, **mirror("")})
    done = Installation(prefix=prefix, account=me)
    code = "import sys, alpha; print(alpha.VERSION, sys.base_prefix, sys.executable)"
    _, base, executable = done.python(code).split()
    assert base.startswith("/containerize-") and executable == str(done.program("python3"))
    assert "_cw_required_program=''" in (prefix / "current/env").read_text()
    me.ok(PIP, "update", prefix, "-r", file, "--compression", "fast", env=env)
    assert done.python("import alpha; print(alpha.VERSION)") == "2.0\n"
    venv = me.work / "on-managed"  # it works outside, where that Python is not
    words = ("-m", "venv", "--without-pip", "--system-site-packages", venv)
    me.ok(done.program("python3"), *words)
    code = "import alpha, sys; print(sys.base_prefix)"
    assert me.ok(venv / "bin/python", "-c", code) == f"{prefix}\n"


def test_hashes_are_required_where_one_is_or_it_is_said(
    me: Account, index: str, tmp_path: Path
) -> None:
    root = me.directory("hashed")
    wheel = write_wheel(root, "alpha", "1.0")
    hashed = f"alpha==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}"
    plan = (PIP, "new", "--dry-run", "--prefix", tmp_path / "p")
    for name, text, options in (
        ("one", f"{hashed}\nbeta==1.0", ()),
        ("said", "beta==1.0", ("--require-hashes",)),
    ):
        file = me.file(f"{name}.txt", f"-i {index}\n{text}\n")
        done = me.run(*plan, file, *options)
        assert done.returncode == ExitCode.INPUT, done.stderr
        assert "hashes are required, and there is none of beta==1.0" in done.stderr
        assert f"{file}, line" in done.stderr
    assert "alpha" in me.ok(*plan, me.file("all.txt", f"-i {index}\n{hashed}\n"))
