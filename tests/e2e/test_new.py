"""``conda-containerize new``: what it leaves on disk, and what it does not."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.account import Account, ordinary_user, own_account
from tests.channel.serve import serve
from tests.e2e.conftest import (
    CONDA,
    UMBRELLA,
    Builder,
    Installation,
    entries,
    environment_text,
    open_directory,
)
from wrapper.errors import ExitCode
from wrapper.images.compression import NAMES


def tree_state(root: Path) -> dict[str, tuple[int, int]]:
    """Every path below ``root`` with its mode and modification time."""
    return {str(path): (path.lstat().st_mode, path.lstat().st_mtime_ns) for path in root.rglob("*")}


@pytest.mark.every_runtime
def test_imports_and_programs_work(scientific: Installation) -> None:
    out = scientific.python("import numpy, scipy.linalg, ssl, sqlite3; print(numpy.ones(3).sum())")
    assert out == "3.0\n"
    assert scientific.account.ok(scientific.program("demo-noarch")).startswith("demo-noarch")
    assert scientific.account.ok(scientific.program("demo-textprefix")) == f"{scientific.prefix}\n"


def test_the_layout_is_the_documented_one(scientific: Installation) -> None:
    prefix = scientific.prefix
    assert (prefix / "current").readlink() == Path(".generations/1")
    assert {"img.sqfs", "_bin", "env", "manifest.json", "conda-lock.yml"} <= entries(
        prefix / ".generations/1"
    )
    for name in ("img.sqfs", "container.sif", "common.sh", "_bin", "share"):
        assert (prefix / name).is_symlink() and (prefix / name).exists()
    files = [p for p in prefix.rglob("*") if not p.is_symlink() and p.is_file()]
    assert len({p.stat().st_ino for p in files}) < 15, "shims are one file with many names"


def test_the_directory_that_a_shell_stands_in(me: Account, channel: Path, tmp_path: Path) -> None:
    """``mkdir env; cd env; conda-containerize new --prefix .``: it stays that directory."""
    me.owns(tmp_path)
    (tmp_path / "env.yml").write_text(environment_text(channel, "demo-sh-only"))
    script = 'mkdir env && cd env && "$0" new -q --prefix . ../env.yml && ls bin && pwd -P'
    said = me.ok("bash", "-c", script, CONDA, cwd=tmp_path).split()
    assert "demo-hello" in said and said[-1] == str(tmp_path / "env")
    assert entries(tmp_path) == {"env.yml", "env"}


def test_packages_are_listed(scientific: Installation) -> None:
    out = scientific.account.ok(scientific.program("list-packages"))
    assert {"numpy", "scipy", "demo-activate"} <= {line.split()[0] for line in out.splitlines()}


def test_the_manifest_tells_what_was_built(scientific: Installation) -> None:
    manifest = json.loads(scientific.account.ok(UMBRELLA, "inspect", scientific.prefix))
    image = (scientific.prefix / "img.sqfs").read_bytes()
    assert manifest["format"] == 1
    assert manifest["image"] == {
        "sha256": hashlib.sha256(image).hexdigest(),
        "size": len(image),
        "compression": NAMES[image[20]],
    }
    assert manifest["tree"]["files"] > 5000


def test_post_link_scripts_ran_at_the_final_path(scientific: Installation) -> None:
    text = scientific.python(
        "import os; print(open(f'{os.environ[\"CONDA_PREFIX\"]}/postlink.ran').read())"
    )
    assert f"PREFIX={scientific.manifest['install_path']}\n" in text


def test_every_module_has_an_unchecked_pyc(scientific: Installation) -> None:
    code = """
import importlib.util, pathlib, sys
for path in pathlib.Path(sys.prefix, "lib/python3.11").rglob("*.py"):
    pyc = pathlib.Path(importlib.util.cache_from_source(str(path)))
    kind = pyc.read_bytes()[4] if pyc.exists() else None
    if kind != 1: print(path.relative_to(sys.prefix), kind)
"""
    odd = scientific.python(code).splitlines()
    assert [line for line in odd if "bad" not in line and "lib2to3" not in line] == []


@pytest.mark.every_runtime
def test_nothing_is_written_to_home_or_left_behind(
    account: Account, channel: Path, runtime: Path
) -> None:
    account.file("clean.yml", environment_text(channel, "python", "demo-postlink"))
    (account.home / "marker").touch()
    before = tree_state(account.home)
    tmp = account.directory("clean-tmp")
    beside = account.directory("clean")
    account.ok(
        CONDA, "new", "--prefix", beside / "env", account.work / "clean.yml", "--tmpdir", tmp
    )
    assert tree_state(account.home) == before
    assert entries(tmp) == set()
    assert entries(beside) == {"env"}


@pytest.mark.parametrize("umask", [0o007, 0o077])
@pytest.mark.parametrize("below", ["", "new/env"])
def test_the_members_of_a_project_may_use_it(
    me: Account, channel: Path, runtime: Path, umask: int, below: str
) -> None:
    """Whether the prefix is there, or is to be made in the project's directory."""
    file = me.file("mode.yml", environment_text(channel, "demo-sh-only"))
    project = me.directory(f"mode-{umask:o}-{bool(below)}")
    project.chmod(0o2770)
    prefix = project / below
    old = os.umask(umask)
    try:
        me.ok(CONDA, "new", "--prefix", prefix, file)
    finally:
        os.umask(old)
    made = 0o2770 if umask == 0o007 or not below else 0o2750
    assert stat.S_IMODE(prefix.stat().st_mode) == made
    for path in project.rglob("*"):
        if path.is_symlink():
            continue
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode & stat.S_IRGRP, f"the group cannot read {path}"
        assert not mode & stat.S_IRWXO, f"{path} is open to others"
        if path.is_dir() or path.parent.name == "bin":
            assert mode & stat.S_IXGRP, f"the group cannot use {path}"


def test_the_same_lock_gives_the_same_image(build: Builder, me: Account) -> None:
    specs = ("python", "demo-noarch", "demo-postlink", "demo-textprefix")
    first = build(me, "same", *specs, more="variables:\n  KEPT: a b\n")
    lock = me.file("same.lock.yml", (first.prefix / "current/conda-lock.yml").read_text())
    first.prefix.rename(me.work / "same-first")
    me.ok(CONDA, "new", "--prefix", first.prefix, lock)
    digests = [
        json.loads((me.work / name / "current/manifest.json").read_text())["image"]["sha256"]
        for name in ("same-first", "same")
    ]
    assert digests[0] == digests[1]
    assert first.python("import os; print(os.environ['KEPT'])") == "a b\n"


def test_an_explicit_list_is_an_input(build: Builder, me: Account) -> None:
    solved = build(me, "solved", "python", "demo-noarch")
    from wrapper.inputs import read_spec

    locked = read_spec(solved.prefix / "current/conda-lock.yml").locked or ()
    lines = [f"{p.url}#{p.sha256}" for p in locked]
    explicit = me.file("explicit.txt", "\n".join(["@EXPLICIT", *lines]) + "\n")
    me.ok(CONDA, "new", "--prefix", me.work / "explicit", explicit)
    assert "demo-noarch" in me.ok(me.work / "explicit/bin/demo-noarch")

    named = "".join(f"      - conda: {p.url}\n" for p in locked)
    more = "  subdir: {}\n  sha256: '{}'\n"
    told = "".join(
        f"- conda: {p.url}\n{more.format(p.url.split('/')[-2], p.sha256)}" for p in locked
    )
    text = (
        "version: 6\nenvironments:\n  default:\n    channels: []\n    packages:\n      linux-64:\n"
    )
    pixi = me.file("pixi.lock", f"{text}{named}packages:\n{told}")
    plan = me.ok(CONDA, "new", "--dry-run", "--prefix", me.work / "of-pixi", pixi)
    assert {line.split()[0] for line in plan.splitlines()} >= {p.name for p in locked}


def test_surroundings_that_lack_what_most_have(me: Account, channel: Path) -> None:
    file = me.file("odd.yml", environment_text(channel, "python"))
    odd = {"HOME": "/dev/null", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    prefix = me.work / "eü"
    me.ok(CONDA, "new", "--prefix", prefix, file, env=odd)
    assert me.ok(prefix / "bin/python3", "-c", "print(1)") == "1\n"
    gone = me.directory("gone")
    words = ("-c", 'cd "$1"; rmdir "$1"; shift; exec "$@"', "bash", gone, CONDA, "new", "--dry-run")
    done = me.run("/bin/bash", *words, "--prefix", me.work / "of-gone", file)
    assert done.returncode == ExitCode.INPUT and "the working directory has gone" in done.stderr


def test_conda_lock_itself_reads_the_lock(scientific: Installation) -> None:
    lock = scientific.prefix / "current/conda-lock.yml"
    done = subprocess.run(
        [
            *(Path(sys.executable).parent / "conda-lock", "render", "--kind", "explicit", lock),
            *("--filename-template", str(scientific.account.home / "{platform}.txt")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rendered = (scientific.account.home / "linux-64.txt").read_text()
    assert "numpy-2" in rendered


def test_dry_run_prints_the_packages_and_leaves_nothing(me: Account, channel: Path) -> None:
    file = me.file("dry.yml", environment_text(channel, "python", "numpy"))
    tmp = me.directory("dry-tmp")
    before = entries(me.work)
    options = ("--prefix", me.work / "dry", file, "--dry-run", "--tmpdir", tmp)
    nothing = {"PATH": str(CONDA.parent)}  # neither a runtime nor mksquashfs
    plain = me.ok(CONDA, "new", *options, env=nothing)
    plan = json.loads(me.ok(CONDA, "new", *options, "--json"))
    assert "numpy" in plain and "to download" in plain
    assert {"numpy", "python"} <= {p["name"] for p in plan["packages"]}
    assert plan["download_size"] > 1_000_000
    assert entries(me.work) == before
    assert entries(tmp) == set()


def test_another_platform_is_solved_and_locked(me: Account) -> None:
    channel = me.directory("two-kinds")
    wants = {"linux-64": [], "linux-aarch64": ["__archspec 1 aarch64", "zlib"], "noarch": None}
    for subdir, depends in wants.items():
        name = "zlib" if depends is None else "python"
        record = {"name": name, "version": "3", "build": "0", "build_number": 0, "subdir": subdir}
        record |= {"depends": depends or [], "md5": "0" * 32, "sha256": "0" * 64, "size": 1000}
        found = {"packages": {}, "packages.conda": {f"{name}-3-0.conda": record}}
        (channel / subdir).mkdir()
        (channel / subdir / "repodata.json").write_text(json.dumps(found))
    file = me.file("kinds.yml", environment_text(channel, "python"))
    new = (CONDA, "new", "--prefix", me.work / "kinds")
    other = ("--platform", "linux-aarch64")
    lock = me.work / "kinds-lock.yml"
    refused = me.run(*new, file, *other)
    assert refused.returncode == ExitCode.INPUT
    assert "for linux-aarch64 cannot be built on" in refused.stderr and "--lock" in refused.stderr
    assert "zlib" in me.ok(*new, file, *other, "--lock", lock)
    assert f"{channel.as_uri()}/linux-aarch64/python-3-0.conda" in lock.read_text()
    plan = json.loads(me.ok(*new, lock, *other, "--dry-run", "--json"))
    assert {p["name"] for p in plan["packages"]} == {"python", "zlib"}
    refused = me.run(*new, file, "--lock", file)
    assert refused.returncode == ExitCode.INPUT and "something that is no lock" in refused.stderr
    assert "no packages for linux-64" in me.run(*new, lock, "--dry-run").stderr
    assert not (me.work / "kinds").exists()


def test_json_is_the_only_thing_on_standard_output(
    me: Account, channel: Path, runtime: Path
) -> None:
    file = me.file("json.yml", environment_text(channel, "demo-sh-only"))
    out = me.ok(CONDA, "new", "--prefix", me.work / "json", file, "--json", "-v")
    assert json.loads(out)["kind"] == "conda"


def test_quiet_is_quiet(me: Account, channel: Path, runtime: Path) -> None:
    file = me.file("quiet.yml", environment_text(channel, "demo-sh-only"))
    done = me.run(CONDA, "new", "--prefix", me.work / "quiet", file, "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_scripts_run_in_the_container_from_the_users_directory(me: Account, build: Builder) -> None:
    me.file("before.sh", 'test -d "$env_root"; pwd > "$env_root/before.txt"\n')
    me.file(
        "after.sh",
        'test "$CW_INSTALLATION_PATH" = "$env_root"; test -d "$CW_WORKDIR"\n'
        'test "$install_root" = "$env_root"; cat before.txt.none 2>/dev/null || true\n'
        'python -c "import demo_noarch, sys; print(sys.prefix)" > "$env_root/after.txt"\n'
        'echo "$DEMO_ACTIVATE_HOME" >> "$env_root/after.txt"\n'
        'printf "#!/bin/sh\\necho extra\\n" > "$env_root/extra-tool"\n'
        'chmod +x "$env_root/extra-tool"\n',
    )
    options = ("--pre-install", "before.sh", "--post-install", "after.sh", "-w", "extra-tool")
    done = build(me, "scripts", "python", "demo-noarch", "demo-activate", options=options)
    inside = done.manifest["install_path"]
    read = f"print(open('{inside}/before.txt').read(), open('{inside}/after.txt').read())"
    assert done.python(read).split() == [str(me.work), inside, f"{inside}/share/demo"]
    assert me.ok(done.program("extra-tool")) == "extra\n"


def test_environ_files_and_variables_are_set_at_run_time(me: Account, build: Builder) -> None:
    me.file("environ", '# comment\nexport ONE=1\nTWO=$HOME `x` "y"\n')
    done = build(
        me,
        "environ-env",
        "python",
        options=("--environ", "environ"),
        more="variables:\n  THREE: three words\n",
    )
    code = "import os; print([os.environ[n] for n in ('ONE', 'TWO', 'THREE')])"
    assert done.python(code) == "['1', '$HOME `x` \"y\"', 'three words']\n"


def test_an_environment_without_python(me: Account, build: Builder) -> None:
    done = build(me, "shell-only", "demo-sh-only")
    assert me.ok(done.program("demo-hello"))


def test_programs_with_odd_names_get_no_shim(me: Account, channel: Path, runtime: Path) -> None:
    file = me.file("odd.yml", environment_text(channel, "demo-oddnames"))
    done = me.run(CONDA, "new", "--prefix", me.work / "odd", file)
    assert done.returncode == 0, done.stderr
    assert "'odd name'" in done.stderr and "'-dash'" in done.stderr
    assert entries(me.work / "odd/bin") == {
        *("demo-odd", "list-packages", "_debug_exec", "_debug_shell", ".share")
    }


def test_info_names_the_tools(me: Account, runtime: Path) -> None:
    out = me.ok(UMBRELLA, "info")
    assert "runtime" in out and "mksquashfs" in out


# -- what builds share ---------------------------------------------------------------------------
def test_a_script_cannot_write_into_the_cache(me: Account, build: Builder) -> None:
    """Packages are hard-linked into a tree: a kept cache of unpacked ones would be written to."""
    file = me.file("append.sh", 'echo "# changed" >> "$env_root/lib/python3.11/this.py"\n')
    env = {"CONTAINERIZE_CACHE_DIR": str(me.work / "shared-cache")}
    source = me.file("cached.yml", (me.work / "same.yml").read_text())
    me.ok(CONDA, "new", "--prefix", me.work / "c1", source, "--post-install", file, env=env)
    me.ok(CONDA, "new", "--prefix", me.work / "c2", source, env=env)
    code = "import sys; print(open(sys.prefix + '/lib/python3.11/this.py').read().count('changed'))"
    first, second = (Installation(prefix=me.work / name, account=me) for name in ("c1", "c2"))
    assert (first.python(code), second.python(code)) == ("1\n", "0\n")


def test_builds_may_share_a_cache_at_the_same_time(
    me: Account, channel: Path, runtime: Path
) -> None:
    env = me.environment({"CONTAINERIZE_CACHE_DIR": str(me.work / "busy-cache")})
    with serve(channel) as url:
        file = me.file("busy.yml", f"channels: ['{url}']\ndependencies: [python]\n")
        children = [
            subprocess.Popen(
                [CONDA, "new", "-q", "--prefix", me.work / f"busy-{number}", file],
                env=env,
                cwd=me.work,
                stderr=subprocess.PIPE,
                text=True,
            )
            for number in range(3)
        ]
        said = [child.communicate(timeout=120)[1] for child in children]
    assert [child.returncode for child in children] == [0, 0, 0], said


@pytest.fixture
def project() -> Iterator[Path]:
    with open_directory() as root:
        yield root


@pytest.fixture
def members(project: Path) -> list[Account]:
    """Root and an ordinary user, or whoever runs the tests."""
    makers = [own_account, ordinary_user] if os.getuid() == 0 else [own_account]
    return [make(project / str(number)) for number, make in enumerate(makers)]


def test_members_of_a_project_share_a_cache(
    project: Path, members: list[Account], channel: Path, runtime: Path
) -> None:
    """The second account finds what the first one left, and adds to it."""
    (cache := project / "cache").mkdir()
    cache.chmod(0o2770)
    for number, account in enumerate(members):
        if account.uid is not None:
            for path in (cache, *cache.rglob("*")):
                os.chown(path, -1, account.uid)
        archives = cache / "archives"
        before = entries(archives) if number else set()
        with serve(channel) as url:
            _builds_with_a_shared_cache(account, url, channel, cache, another=bool(number))
        after = entries(archives)
        assert after > before and len(after - before) == (1 if number else len(after))


def _builds_with_a_shared_cache(
    account: Account, url: str, channel: Path, cache: Path, *, another: bool
) -> None:
    """One that works, one that must not; ``another`` member has built with it before."""
    env = {"CONTAINERIZE_CACHE_DIR": str(cache)}
    more = "  - demo-noarch\n" if another else ""
    text = f"channels: ['{url}']\ndependencies:\n  - python\n  - pip\n{more}"
    file = account.file("member.yml", f"{text}  - pip:\n    - iniconfig\n")
    exchanged = next((cache / "archives").glob("*/pip-*")) if another else None
    if exchanged:  # by that member: a sound package, and not the one that was asked for
        good = exchanged.read_bytes()
        exchanged.write_bytes(next(channel.glob("noarch/wheel-*.conda")).read_bytes())
    account.ok(CONDA, "new", "--prefix", account.work / "member", file, env=env)
    assert not exchanged or exchanged.read_bytes() == good
    own = cache / "users" / str(os.getuid() if account.uid is None else account.uid)
    own.rename(own.with_name("aside"))  # and another's directory in the place of one's own
    own.symlink_to("/tmp")
    done = account.run(CONDA, "new", "--prefix", account.work / "member2", file, env=env)
    own.unlink()
    own.with_name("aside").rename(own)
    assert done.returncode == ExitCode.INPUT
    assert "the cache directory cannot be used" in done.stderr


def test_a_build_sees_what_a_program_will_see(me: Account, build: Builder) -> None:
    site = me.home / ".local/lib/python3.11/site-packages"
    site.mkdir(parents=True, exist_ok=True)
    (site / "only_mine.py").touch()
    me.file("sees.sh", '! python -c "import only_mine"; test -z "${LD_LIBRARY_PATH##/my/lib*}"\n')
    file = me.file("sees.yml", (me.work / "same.yml").read_text())
    options = ("--prefix", me.work / "sees", file, "--post-install", "sees.sh")
    me.ok(CONDA, "new", *options, env={"LD_LIBRARY_PATH": "/my/lib"})


def test_a_process_left_behind_does_not_hold_the_build(
    me: Account, channel: Path, runtime: Path
) -> None:
    me.file("daemon.sh", "sleep 300 &\n")
    file = me.file("daemon.yml", environment_text(channel, "demo-sh-only"))
    options = ("--prefix", me.work / "daemon", file, "--post-install", "daemon.sh")
    assert me.run(CONDA, "new", *options, timeout=60).returncode == 0


def test_secrets_of_channels_are_not_recorded(me: Account, channel: Path, runtime: Path) -> None:
    with serve(channel) as url:
        secret = url.replace("://", "://user:s3cret@")
        file = me.file("secret.yml", f"channels: ['{secret}']\ndependencies: [demo-sh-only]\n")
        me.ok(CONDA, "new", "--prefix", me.work / "secret", file)
    generation = me.work / "secret/current"
    for name in ("manifest.json", "conda-lock.yml", "packages.txt"):
        assert "s3cret" not in (generation / name).read_text(), name
