"""Passwords: used, and seen nowhere. Not in a process's words, not in what is shown or recorded."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.account import Account
from tests.channel.serve import serve
from tests.e2e.conftest import CONDA, PIP, UMBRELLA, Installation, seen, untouched
from tests.index import write_index, write_project, write_wheel
from wrapper.errors import ExitCode

SECRET = "s3cretpw"
LOGIN = f"user:{SECRET}"


class Watcher:
    """Looks at the words of all processes, whenever a server is asked."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    def __call__(self, _path: str) -> None:
        for process in Path("/proc").iterdir():
            if process.name.isdecimal() and int(process.name) != os.getpid():
                try:
                    words = (process / "cmdline").read_bytes()
                except OSError:
                    continue
                if SECRET.encode() in words:
                    self.seen.append(words)


def with_login(url: str) -> str:
    return url.replace("://", f"://{LOGIN}@")


@pytest.fixture(scope="module")
def watcher() -> Watcher:
    return Watcher()


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, watcher: Watcher) -> Iterator[str]:
    """A server with an index (alpha), a wheel (beta) and a git repository (gamma)."""
    root = tmp_path_factory.mktemp("index")
    write_index(root, [write_wheel(root, "alpha", "1.0")])
    (root / "files").mkdir()
    write_wheel(root / "files", "beta", "1.0")
    project = write_project(root / "work", "gamma", "1.0")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@host", "-C", str(project)]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "1"]):
        subprocess.run([*git, *words], check=True)
    subprocess.run(["git", "clone", "-q", "--bare", project, root / "gamma.git"], check=True)
    subprocess.run(["git", "-C", root / "gamma.git", "update-server-info"], check=True)
    with serve(root, on_request=watcher, login=LOGIN) as url:
        yield url


@pytest.fixture(scope="module")
def installation(me: Account, index: str, runtime: Path) -> Iterator[tuple[Installation, str]]:
    """Of packages that need a login each, and a variable; and what its build said."""
    lines = [
        f"--index-url {index.replace('://', '://user:${IDXPW}@')}/simple",
        "alpha",
        f"beta @ {with_login(index)}/files/beta-1.0-py3-none-any.whl",
        f"gamma @ git+{with_login(index)}/gamma.git",
    ]
    file = me.file("private.txt", "\n".join(lines))
    variables = me.file("private.env", f"MY_TOKEN={SECRET}\n")
    variables.chmod(0o600)
    prefix = me.work / "private"
    done = me.run(
        *(PIP, "new", "-v", "--json", "--prefix", prefix, file, "--environ", variables),
        env={"IDXPW": SECRET},
    )
    assert done.returncode == 0, done.stderr
    yield Installation(prefix=prefix, account=me), done.stdout + done.stderr


def test_no_process_has_a_password_in_its_words(
    installation: tuple[Installation, str], watcher: Watcher
) -> None:
    assert watcher.seen == []


def test_a_password_is_neither_shown_nor_recorded(installation: tuple[Installation, str]) -> None:
    done, said = installation
    assert SECRET not in said
    inspected = done.account.ok(UMBRELLA, "inspect", done.prefix)
    assert SECRET not in inspected and json.loads(inspected)["environ"] == ["MY_TOKEN"]
    found = {path for path, (_, content) in seen(done.prefix).items() if SECRET in str(content)}
    # Whoever may start a program gets its variables; the copy is as closed as the file.
    names = {"env", "variables.json", "inputs/private.env"}
    assert found == {f".generations/1/{name}" for name in names}
    copy = done.prefix / "current/inputs/private.env"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert "${IDXPW}@" in (copy.parent / "private.txt").read_text(), "the name of a secret is none"
    inside = (done.prefix / "lib").readlink().parent
    done.account.ok(done.program("_debug_exec"), "bash", "-c", f"! grep -r {SECRET} {inside}")


def test_what_it_is_for_works(installation: tuple[Installation, str]) -> None:
    done, said = installation
    code = "import alpha, beta, gamma, os; print(alpha.VERSION, os.environ['MY_TOKEN'])"
    assert done.python(code) == f"1.0 {SECRET}\n"
    assert "private.env is closed to others, but whoever may use" in said


def test_a_lock_is_without_and_says_so(
    installation: tuple[Installation, str], me: Account, index: str
) -> None:
    lock = installation[0].prefix / "current/requirements.lock"
    assert lock.read_text().count(index) == 3, "its URLs are whole but for that"
    with untouched(me.home):  # uv looks for a login there
        done = me.run(PIP, "new", "--prefix", me.work / "unlocked", lock)
    assert done.returncode == ExitCode.CHANNEL
    assert "it asks for a login, which locks and records are without" in done.stderr
    home = me.directory("home-with-netrc")
    (home / ".netrc").write_text(f"machine 127.0.0.1 login user password {SECRET}\n")
    (home / ".netrc").chmod(0o600)
    me.owns(home / ".netrc")
    me.ok(PIP, "new", "--prefix", me.work / "unlocked", lock, env={"HOME": str(home)})


def test_a_wrong_password_of_an_index(me: Account, index: str, runtime: Path) -> None:
    wrong = with_login(index).replace(SECRET, "wrong")
    file = me.file("wrong.txt", f"--index-url {wrong}/simple\nalpha\n")
    done = me.run(PIP, "new", "--dry-run", "--prefix", me.work / "wrong", file)
    assert done.returncode == ExitCode.CHANNEL, done.stderr
    assert f"where:  {index}/simple ({file}, line 1)" in done.stderr
    assert "machine 127.0.0.1 login" in done.stderr


def test_an_update_lacks_the_login_of_a_channel(me: Account, channel: Path, runtime: Path) -> None:
    file = me.file("token.yml", "dependencies: [demo-sh-only]\n")
    with serve(channel, login=LOGIN) as url:
        prefix = me.work / "token"
        me.ok(CONDA, "new", "--channel", with_login(url), "--prefix", prefix, file)
        done = me.run(CONDA, "update", prefix, file)
        assert done.returncode == ExitCode.CHANNEL and f"where:  {url}\n" in done.stderr
        assert "/t/${TOKEN}/CHANNEL" in done.stderr
        me.ok(CONDA, "update", "--channel", with_login(url), prefix, file)


def test_channels_with_logins_and_tokens(me: Account, channel: Path, runtime: Path) -> None:
    watcher = Watcher()
    with serve(channel, on_request=watcher, login=LOGIN) as url:
        text = f"channels: ['{with_login(url)}']\ndependencies: [demo-sh-only]\n"
        file = me.file("private.yml", text)
        prefix = me.work / "private-conda"
        done = me.run(CONDA, "new", "-v", "--json", "--prefix", prefix, file)
        assert done.returncode == 0, done.stderr
        assert SECRET not in done.stdout + done.stderr
        found = {name for name, (_, content) in seen(prefix).items() if SECRET in str(content)}
        assert found == set() and watcher.seen == []

        lock = prefix / "current/conda-lock.yml"
        again: tuple[str | Path, ...] = (CONDA, "new", "--prefix", me.work / "again", lock)
        done = me.run(*again)
        assert done.returncode == ExitCode.CHANNEL and "it asks for a login" in done.stderr
        assert f"where:  {url}" in done.stderr
        me.ok(*again, "--channel", f"{url}/t/{SECRET}")
        assert SECRET not in (me.work / "again/current/conda-lock.yml").read_text()
