"""pip's settings in uv's terms."""

from __future__ import annotations

from pathlib import Path

import pytest

from wrapper.pip import config as pip_config
from wrapper.pip.config import pip_variables, uv_settings, without_indexes


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory, on a machine whose own configuration is in ``site``."""
    monkeypatch.setattr(pip_config, "_SITE_CONFIGS", (tmp_path / "site/pip.conf",))
    return tmp_path


def configure(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def settings(home: Path, **environ: str) -> dict[str, str]:
    return uv_settings({"HOME": str(home), **environ})


def test_without_settings_there_are_none(home: Path) -> None:
    assert settings(home) == {}


def test_every_setting_in_its_form(home: Path) -> None:
    configure(
        home / ".config/pip/pip.conf",
        "[global]\nindex-url = https://a\nextra-index-url =\n  https://b\n  https://c\n"
        "find-links = https://d /e%20f\ntrusted-host = a b\nno-index = true\ntimeout = 5\n"
        "cert = /c.pem\nconstraint = ./c.txt\nno-color = true\n",
    )
    assert settings(home) == {
        "UV_DEFAULT_INDEX": "https://a",
        "UV_INDEX": "https://b https://c",
        "UV_FIND_LINKS": "https://d,/e%20f",
        "UV_INSECURE_HOST": "a b",
        "UV_NO_INDEX": "true",
        "UV_HTTP_TIMEOUT": "5",
        "SSL_CERT_FILE": "/c.pem",
        "UV_CONSTRAINT": str(Path("c.txt").absolute()),
    }
    assert settings(home, REQUESTS_CA_BUNDLE="/b.pem")["SSL_CERT_FILE"] == "/c.pem"
    configure(home / ".config/pip/pip.conf", "")
    assert settings(home, REQUESTS_CA_BUNDLE="/b.pem") == {"SSL_CERT_FILE": "/b.pem"}
    own = {"REQUESTS_CA_BUNDLE": "/b.pem", "SSL_CERT_FILE": "/mine.pem"}
    assert settings(home, **own) == {}
    assert settings(home, **own, PIP_CERT="/pip.pem") == {"SSL_CERT_FILE": "/pip.pem"}
    configure(home / ".config/pip/pip.conf", "[global]\ncert = /c.pem\n")
    assert settings(home, **own) == {}


def test_a_pip_that_cannot_see_the_files_is_told(home: Path) -> None:
    text = "[global]\nindex-url = https://a\nextra-index-url =\n  https://b\n  https://c\n"
    configure(home / "site/pip.conf", text)
    own = {"HOME": str(home), "PIP_INDEX_URL": "https://mine"}
    assert pip_variables(own) == {"PIP_EXTRA_INDEX_URL": "https://b https://c"}
    configure(home / "site/pip.conf", "[global]\nconstraint = ~/c.txt rel.txt\n")
    files = f"{Path('~/c.txt').expanduser()} {Path('rel.txt').absolute()}"
    assert pip_variables(own) == {"PIP_CONSTRAINT": files}, "scripts run in other directories"


def test_variables_come_before_files_and_the_users_before_the_sites(home: Path) -> None:
    def index(**environ: str) -> str | None:
        return settings(home, **environ).get("UV_DEFAULT_INDEX")

    configure(home / "site/pip.conf", "[global]\nindex-url = https://site\n")
    assert index() == "https://site"
    configure(home / ".pip/pip.conf", "[global]\nindex-url = https://legacy\n")
    assert index() == "https://legacy"
    configure(home / ".config/pip/pip.conf", "[global]\nindex-url = https://user\n")
    assert index() == "https://user"
    other = configure(home / "other.conf", "[global]\nindex-url = https://other\n")
    assert index(PIP_CONFIG_FILE=str(other)) == "https://other"
    variables = {"PIP_CONFIG_FILE": str(other), "PIP_INDEX_URL": "https://variable"}
    assert index(**variables) == "https://variable"
    assert index(**variables, UV_DEFAULT_INDEX="https://uv") is None


def test_the_configuration_directory_can_be_named(home: Path) -> None:
    configure(home / "xdg/pip/pip.conf", "[global]\nno-index = 1\n")
    assert settings(home, XDG_CONFIG_HOME=f"{home}/xdg") == {"UV_NO_INDEX": "1"}


def test_the_section_of_the_command_comes_before_the_global_one(home: Path) -> None:
    text = (
        "[install]\nindex-url = https://i\n[global]\nindex-url = https://g\n[wheel]\nno-index=1\n"
    )
    configure(home / ".pip/pip.conf", text)
    assert settings(home) == {"UV_DEFAULT_INDEX": "https://i"}


def test_names_may_have_underscores(home: Path) -> None:
    configure(home / ".pip/pip.conf", "[global]\nEXTRA_INDEX_URL = https://b\n")
    assert settings(home) == {"UV_INDEX": "https://b"}


def test_no_files_at_all_can_be_asked_for(home: Path) -> None:
    configure(home / "site/pip.conf", "[global]\nindex-url = https://site\n")
    assert settings(home, PIP_CONFIG_FILE="/dev/null", PIP_NO_INDEX="1") == {"UV_NO_INDEX": "1"}


@pytest.mark.parametrize("content", [b"no section", b"[global]\n\xff = 1\n", b"[global\n"])
def test_a_broken_file_is_pips_to_complain_about(home: Path, content: bytes) -> None:
    configure(home / ".pip/pip.conf", "").write_bytes(content)
    configure(home / ".config/pip/pip.conf", "[global]\nno-index = 1\n")
    assert settings(home) == {"UV_NO_INDEX": "1"}


def test_indexes_are_no_words_of_a_command() -> None:
    words = ["-r", "f", "--index-url", "https://u:p@a", "--pre", "--extra-index-url", "https://b"]
    words += ["--extra-index-url", "https://c", "--find-links", "/d,e", "--find-links", "https://f"]
    kept, found = without_indexes(words, {})
    assert kept == ["-r", "f", "--pre"]
    assert found == {
        "UV_DEFAULT_INDEX": "https://u:p@a",
        "UV_INDEX": "https://b https://c",
        "UV_FIND_LINKS": "file:///d%2Ce,https://f",
    }


def test_a_files_indexes_come_before_the_users_settings() -> None:
    """As with pip: the one index of a file is in the place of theirs, the others are added."""
    user = {"UV_DEFAULT_INDEX": "https://m", "UV_INDEX": "https://n", "UV_FIND_LINKS": "/l"}
    words = ["--index-url", "https://a", "--extra-index-url", "https://b", "--find-links", "/c"]
    assert without_indexes(words, user)[1] == {
        "UV_DEFAULT_INDEX": "https://a",
        "UV_INDEX": "https://b https://n",
        "UV_FIND_LINKS": "file:///c,/l",
    }
    assert without_indexes(["--pre"], user) == (["--pre"], {})
