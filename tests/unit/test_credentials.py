"""No secret of a URL in what is shown or kept, and the secret where it is needed."""

from __future__ import annotations

import base64
import io
import os
import subprocess
from pathlib import Path

import pytest

from wrapper.console import Console
from wrapper.credentials import (
    git_settings,
    public_file,
    public_url,
    with_credentials,
    without_logins,
)


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("https://user:pw@host/simple", "https://host/simple"),
        ("https://token@host/simple", "https://host/simple"),
        ("https://user:p@ss:w,o'rd@host:8080/x", "https://host:8080/x"),
        ("'http://u:p@a/', 'http://u:p@b/'", "'http://a/', 'http://b/'"),
        ("https://a/x,https://u:p@b/y", "https://a/x,https://b/y"),
        ('{"url": "http://h", "to": "me@home"}', '{"url": "http://h", "to": "me@home"}'),
        ("git+https://ghp_1@github.com/o/r@v1", "git+https://github.com/o/r@v1"),
        ("git+ssh://git@host/o/r@v1", "git+ssh://git@host/o/r@v1"),
        ("ssh://me:pw@host/r", "ssh://me@host/r"),
        ("git@host:o/r, me@home", "git@host:o/r, me@home"),
        ("docker://ubuntu@sha256:0a", "docker://ubuntu@sha256:0a"),
        ("docker://u:p@host/x@sha256:0a", "docker://host/x@sha256:0a"),
        ("https://conda.host/t/tk-1/ch/noarch", "https://conda.host/ch/noarch"),
        ("https://h/api/t/tk/ch and http://b/t/x/y", "https://h/api/ch and http://b/y"),
        ("https://conda.host/t/tk-1", "https://conda.host"),
        ("see https://conda.host/t/tk-1.", "see https://conda.host"),
        ("https://h/t/tabulate/tabulate-1.whl", "https://h/t/tabulate/tabulate-1.whl"),
        ("https://h/packages/t/torch-1.whl", "https://h/packages/t/torch-1.whl"),
        ("file:///home/t/abc/ch", "file:///home/t/abc/ch"),
        ("https://host/x?a=1&token=abc&b=2#f", "https://host/x?a=1&token=…&b=2#f"),
        ("https://h/x?X-Amz-Signature=ab%2F&X-Amz-Date=1", "https://h/x?X-Amz-Signature=…&X-Amz-Date=1"),
        ("https://h/x?sv=1&sig=ab", "https://h/x?sv=1&sig=…"),
        ("http_proxy=http://u:p@proxy:3128", "http_proxy=http://proxy:3128"),
        ("https://host/a b@c", "https://host/a b@c"),
    ],
)  # fmt: skip
def test_a_text_without_its_secrets(text: str, public: str) -> None:
    assert public_url(text) == public
    assert public_url(public) == public, "once is enough"


def test_in_a_file_the_name_of_a_secret_stays() -> None:
    lines = [
        "-i https://user:${PW}@a/simple",
        "-i https://${TOKEN}@b/simple",
        "-i https://user:pw@c/simple",
        "-i https://user:pw${X}@d/simple",
        "-i https://${USER_NAME}:${PW}@e/simple",
    ]
    text = public_file("\n".join(lines)).splitlines()
    assert text[:2] == lines[:2]
    assert text[2:] == ["-i https://c/simple", "-i https://d/simple", "-i https://e/simple"]
    assert public_file("\0" + "0\0") == "0"


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("https://a/ch/noarch/x.conda", "https://u:p@a/ch/noarch/x.conda"),
        ("https://a/ch", "https://u:p@a/ch"),
        ("https://a/chx/noarch/x.conda", "https://a/chx/noarch/x.conda"),
        ("https://b/ch/noarch/x.conda", "https://b/t/tk/ch/noarch/x.conda"),
        ("https://c/ch/noarch/x.conda", "https://c/ch/noarch/x.conda"),
    ],
)
def test_what_is_fetched_has_the_secret_of_its_channel(url: str, asked: str) -> None:
    known = ["https://c/ch", "https://u:p@a/ch/", "https://b/t/tk/ch"]
    assert with_credentials(url, known) == asked


def test_whatever_is_shown_or_logged_is_without_them(tmp_path: Path) -> None:
    screen = io.StringIO()
    console = Console(1, screen)
    console.open_log(tmp_path / "log")
    url = "https://user:s3cret@host/x"
    console.log(f"+ uv {url}")
    console.info(url)
    console.warning(url)
    console.error(url, [f"  where:  {url}"])
    with console.step(url):
        pass
    console.close_log()
    for text in (screen.getvalue(), (tmp_path / "log").read_text()):
        assert "https://host/x" in text and "s3cret" not in text


def test_gits_words_have_no_login() -> None:
    logins: dict[str, str] = {}
    lines = [
        "a @ git+https://ghp_1@host/o/a.git@v1#subdirectory=x",
        "git+http://me:p%40w@host/b ; python_version > '3'",
        "c @ git+ssh://git@host/c",
        "d @ https://me:pw@host/d.whl",
        "git+http://me:p%40w@host/b",
    ]
    assert without_logins(lines, logins) == [
        "a @ git+https://host/o/a.git@v1#subdirectory=x",
        "git+http://host/b ; python_version > '3'",
        *lines[2:4],
        "git+http://host/b",
    ]
    assert logins == {"https://host/o/a.git": "ghp_1:", "http://host/b": "me:p@w"}


def test_git_takes_logins_from_variables(tmp_path: Path) -> None:
    """Besides the settings that the user gives it so."""
    environ = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "a.b", "GIT_CONFIG_VALUE_0": "c"}
    assert git_settings({}, environ) == {}
    settings = {**environ, **git_settings({"https://h/r": "me:p@w", "https://h/s": "t:"}, environ)}
    argv = ["git", "config", "--get-urlmatch", "http.extraHeader"]
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **settings}
    header = subprocess.check_output([*argv, "https://h/r/info/refs"], env=env, text=True).strip()
    assert header == f"Authorization: Basic {base64.b64encode(b'me:p@w').decode()}"
    other = subprocess.run([*argv, "https://h/x"], env=env, capture_output=True, check=False)
    assert other.stdout == b""
    assert subprocess.check_output(["git", "config", "a.b"], env=env, text=True) == "c\n"
