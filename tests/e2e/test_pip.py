"""pip packages in a conda environment, from an index on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from uv import find_uv_bin

from tests.account import Account
from tests.channel.serve import serve
from tests.e2e.conftest import CONDA, Builder, Installation, environment_text
from tests.index import write_index, write_project, write_wheel
from wrapper.errors import ExitCode


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an index with: alpha 1.0 and 2.0 (needs beta), beta 1.0, numpy 99 (a trap)."""
    root = tmp_path_factory.mktemp("index")
    wheels = [
        write_wheel(root, "alpha", "1.0"),
        write_wheel(root, "alpha", "2.0", requires=("beta", "demo-noarch")),
        write_wheel(root, "beta", "1.0"),
        write_wheel(root, "demo_noarch", "9.0"),
    ]
    write_index(root, wheels)
    with serve(root) as url:
        yield f"{url.rstrip('/')}/simple"


@pytest.fixture(scope="module")
def with_pip(account: Account, build: Builder, index: str) -> Installation:
    """An environment with a ``pip:`` section that uses every way to name a package."""
    account.file("more.txt", "beta\n")
    more = f"  - pip:\n    - --index-url {index}\n    - alpha\n    - -r more.txt\n"
    return build(account, "with-pip", "python", "demo-noarch", more=more)


def test_packages_are_installed_with_their_programs(with_pip: Installation) -> None:
    code = "import alpha, beta, demo_noarch; print(alpha.VERSION, beta.VERSION)"
    assert with_pip.python(code) == "2.0 1.0\n"
    assert with_pip.account.ok(with_pip.program("alpha-run")) == "alpha 2.0\n"


def test_what_conda_installed_and_fits_is_kept(with_pip: Installation) -> None:
    code = "import importlib.metadata as m; print(m.version('demo-noarch'))"
    assert with_pip.python(code) == "1.0\n"


def test_they_are_listed_and_locked_with_hashes(with_pip: Installation) -> None:
    from wrapper.inputs import read_spec

    listed = with_pip.account.ok(with_pip.program("list-packages"))
    assert "alpha" in listed and "beta" in listed
    locked = read_spec(with_pip.prefix / "current/conda-lock.yml").locked or ()
    pip = {p.name: p for p in locked if p.manager == "pip"}
    assert set(pip) == {"alpha", "beta"}
    assert all(p.sha256 and p.url.endswith(".whl") for p in pip.values())


def test_the_lock_rebuilds_the_same_image(me: Account, build: Builder, index: str) -> None:
    more = f"  - pip:\n    - --index-url {index}\n    - alpha\n"
    first = build(me, "pip-same", "python", "demo-noarch", more=more)
    lock = me.file("pip-same.lock.yml", (first.prefix / "current/conda-lock.yml").read_text())
    first.prefix.rename(me.work / "pip-same-first")
    me.ok(CONDA, "new", "--prefix", first.prefix, lock)
    digests = {
        json.loads((me.work / name / "current/manifest.json").read_text())["image"]["sha256"]
        for name in ("pip-same-first", "pip-same")
    }
    assert len(digests) == 1


def test_a_file_that_changed_since_it_was_locked_is_refused(
    me: Account, build: Builder, tmp_path: Path
) -> None:
    wheel = write_wheel(tmp_path, "alpha", "1.0")
    write_index(tmp_path, [wheel])
    with serve(tmp_path) as url:
        more = f"  - pip:\n    - --index-url {url.rstrip('/')}/simple\n    - alpha\n"
        first = build(me, "pip-changed", "python", more=more)
        lock = me.file("changed.lock.yml", (first.prefix / "current/conda-lock.yml").read_text())
        write_wheel(tmp_path, "alpha", "1.0", requires=("something",))
        done = me.run(CONDA, "new", "--prefix", me.work / "pip-refused", lock, "--nocache")
    assert done.returncode == 7
    assert "hash" in done.stderr.lower()
    assert not (me.work / "pip-refused").exists()


def test_installing_into_the_image_is_refused_with_advice(
    scientific: Installation, venv: Path, index: str
) -> None:
    account, python = scientific.account, scientific.program("python3")
    env = {"PIP_INDEX_URL": index, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_CACHE_DIR": "1"}
    refused = [
        [scientific.program("pip"), "install", "beta"],
        [python, "-m", "pip", "install", "--user", "beta"],
        [python, "-m", "pip", "uninstall", "-y", "pip"],
        [scientific.program("_debug_exec"), find_uv_bin(), "pip", "install", "--system", "beta"],
    ]
    for argv in refused:
        done = account.run(*argv, env=env)
        assert done.returncode != 0
        assert f"conda-containerize update {scientific.prefix} -r" in done.stderr
    assert not (account.home / ".local").exists()

    assert "pip" in account.ok(python, "-m", "pip", "list", env=env)
    place = account.directory("pip-elsewhere")
    for words in (["download"], ["install", "--target", "t"], ["install", "--prefix", "p"]):
        account.ok(python, "-m", "pip", *words, "beta", env=env, cwd=place)
    assert {path.name for path in place.iterdir()} == {"beta-1.0-py3-none-any.whl", "t", "p"}
    account.ok(venv / "bin/pip", "install", "beta", env=env)
    assert account.ok(venv / "bin/beta-run") == "beta 1.0\n"
    account.ok(venv / "bin/pip", "uninstall", "-y", "beta", env=env)


def test_scripts_of_a_build_may_install(me: Account, build: Builder, index: str) -> None:
    script = me.file(
        "post.sh", f"python -m pip install --index-url {index} beta; pip uninstall -y beta\n"
    )
    built = build(me, "pip-script", "python", "pip", options=("--post-install", str(script)))
    script.write_text("uv pip install alpha==1.0\n")  # the pip of an environment without one
    home = me.directory("home-with-pip-conf")
    (home / ".config/pip").mkdir(parents=True)
    (home / ".config/pip/pip.conf").write_text(f"[global]\nindex-url = {index}\n")
    me.owns(home)
    before = {*home.rglob("*")}
    me.ok(CONDA, "update", built.prefix, "--post-install", script, env={"HOME": str(home)})
    assert {*home.rglob("*")} == before
    assert built.python("import alpha; print(alpha.VERSION)") == "1.0\n"
    assert me.run(built.program("pip"), "install", "alpha").returncode != 0


def test_a_requirements_file_is_an_option(me: Account, build: Builder, index: str) -> None:
    me.file("r.txt", f"--index-url {index}\nalpha==1.0\n")
    done = build(me, "pip-option", "python", options=("-r", "r.txt"))
    assert done.python("import alpha; print(alpha.VERSION)") == "1.0\n"


def test_paths_are_installed_and_locked_or_said_not_to_be(
    me: Account, channel: Path, runtime: Path
) -> None:
    package = me.work / "local-package"
    package.mkdir()
    wheel = write_wheel(package, "gamma", "3.0")
    write_project(package / "delta", "delta", "1.0")
    more = f"  - pip:\n    - ./local-package/{wheel.name}\n    - -e ./local-package/delta\n"
    file = me.file("path.yml", environment_text(channel, "python", more=more))
    done = me.run(CONDA, "new", "--prefix", me.work / "pip-path", file)
    assert done.returncode == 0, done.stderr
    assert (
        "a build from it will ask for them: it holds only files with a hash: delta\n" in done.stderr
    )
    installation = Installation(prefix=me.work / "pip-path", account=me)
    code = "import gamma, delta; print(gamma.VERSION, delta.VERSION)"
    assert installation.python(code) == "3.0 1.0\n"
    lock = me.file("path.lock.yml", (installation.prefix / "current/conda-lock.yml").read_text())
    assert wheel.name in lock.read_text()
    again = me.run(CONDA, "new", "--prefix", me.work / "pip-path-no", lock)
    assert again.returncode == ExitCode.PACKAGE and "delta==1.0" in again.stderr
    script = me.file("path.sh", "true\n")
    again = me.run(
        CONDA, "new", "--prefix", me.work / "pip-path-no", lock, "--post-install", script
    )
    assert again.returncode == ExitCode.PACKAGE and "delta==1.0" in again.stderr
    requirements = me.file("path.txt", "./local-package/delta\n")
    options = ("--prefix", me.work / "pip-path-again", lock, "-r", requirements)
    me.ok(CONDA, "new", *options, cwd=me.work)
