"""pip's requirements, settings and locks in uv's terms."""

from __future__ import annotations

from importlib.metadata import Distribution
from pathlib import Path

import pytest

from wrapper import pip
from wrapper.models import LockedPackage
from wrapper.pip import absolute_files, locked_files, source_options, uv_settings

HERE = Path("/data/here")


# -- requirement lines ---------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("-r more.txt", "-r /data/here/more.txt"),
        ("-rmore.txt", "-r /data/here/more.txt"),
        ("--requirement=sub/more.txt", "--requirement /data/here/sub/more.txt"),
        ("  --requirement  more.txt", "--requirement /data/here/more.txt"),
        ("-r a b.txt", "-r /data/here/a b.txt"),
        ("-r ../more.txt", "-r /data/here/../more.txt"),
        ("-r /abs/more.txt", "-r /abs/more.txt"),
        ("-c limits.txt", "-c /data/here/limits.txt"),
        ("--constraint limits.txt", "--constraint /data/here/limits.txt"),
        ("-r more.txt # why", "-r /data/here/more.txt # why"),
        ("-r https://host/more.txt", "-r https://host/more.txt"),
        ("requests==2.0", "requests==2.0"),
        ("--index-url https://host/simple", "--index-url https://host/simple"),
        ("-e ./local", "-e ./local"),
        ("# -r more.txt", "# -r more.txt"),
        ("", ""),
    ],
)
def test_files_that_lines_name_become_absolute(line: str, expected: str) -> None:
    assert absolute_files([line], HERE) == [expected]


OPTIONS = [
    "--index-url https://host/simple",
    "--index-url=https://host/simple",
    "-i https://host/simple",
    "--extra-index-url https://host/more",
    "--find-links ./wheels",
    "-f https://host/wheels.html",
    "--no-index",
    "--trusted-host host",
    "--no-binary :all:",
    "--only-binary numpy",
    "--pre",
]


@pytest.mark.parametrize("line", OPTIONS)
def test_options_that_say_where_packages_come_from_are_kept(line: str) -> None:
    assert source_options([f"  {line}  # why"], HERE) == [line]


@pytest.mark.parametrize(
    "line", ["requests", "-e ./x", "--prefer-binary", "# --pre", "-c x.txt", "--hash=sha256:1", ""]
)
def test_other_lines_are_not(line: str) -> None:
    assert source_options([line], HERE) == []


def test_options_of_nested_files_count_once_each(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "one.txt").write_text("requests\n-i https://one\n-r sub/two.txt # nested\n")
    (tmp_path / "sub/two.txt").write_text("-i https://one\n--requirement three.txt\nnumpy\n")
    (tmp_path / "sub/three.txt").write_bytes(b"# caf\xe9\n--pre\n")
    assert source_options(["-r one.txt"], tmp_path) == ["-i https://one", "--pre"]


def test_files_that_name_themselves_end(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("-r b.txt\n--pre\n")
    (tmp_path / "b.txt").write_text("-r a.txt\n--no-index\n")
    assert source_options(["-r a.txt"], tmp_path) == ["--no-index", "--pre"]


@pytest.mark.parametrize("line", ["-r missing.txt", "-r https://host/more.txt", "-r ."])
def test_files_that_are_not_there_have_no_options(tmp_path: Path, line: str) -> None:
    assert source_options([line], tmp_path) == []


# -- settings ------------------------------------------------------------------------------------
@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory, on a machine whose own configuration is in ``site``."""
    monkeypatch.setattr(pip, "_SITE_CONFIGS", (tmp_path / "site/pip.conf",))
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


# -- locks ---------------------------------------------------------------------------------------
def distribution(site: Path, name: str, version: str, *tags: str) -> Distribution:
    """An installed distribution, as a wheel with these tags (or an sdist) leaves it."""
    folder = site / f"{name}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    if tags:
        text = "Wheel-Version: 1.0\n" + "".join(f"Tag: {tag}\n" for tag in tags)
        (folder / "WHEEL").write_text(text)
    return Distribution.at(folder)


def pylock(name: str, version: str, *wheels: str, sdist: str = "") -> str:
    files = ", ".join(
        f'{{ url = "{url}", hashes = {{ sha256 = "{_digest(url)}" }} }}' for url in wheels
    )
    text = f'[[packages]]\nname = "{name}"\nversion = "{version}"\nwheels = [{files}]\n'
    if sdist:
        text += f'sdist = {{ url = "{sdist}", hashes = {{ sha256 = "{_digest(sdist)}" }} }}\n'
    return text


def _digest(url: str) -> str:
    return format(len(url), "064x")


def entry(name: str, version: str, url: str) -> LockedPackage:
    return LockedPackage(manager="pip", name=name, version=version, url=url, sha256=_digest(url))


WHEELS = [
    f"https://host/numpy-2.0-cp311-cp311-{platform}.whl"
    for platform in ("macosx_11_0_arm64", "manylinux_2_17_x86_64.manylinux2014_x86_64", "win32")
]


def test_of_several_wheels_the_installed_one_is_locked(tmp_path: Path) -> None:
    tags = ("cp311-cp311-manylinux_2_17_x86_64", "cp311-cp311-manylinux2014_x86_64")
    installed = {"numpy": distribution(tmp_path, "numpy", "2.0", *tags)}
    text = pylock("numpy", "2.0", *WHEELS, sdist="https://host/numpy-2.0.tar.gz")
    assert locked_files(text, installed) == [entry("numpy", "2.0", WHEELS[1])]


def test_where_no_wheel_fits_it_was_the_source(tmp_path: Path) -> None:
    installed = {"numpy": distribution(tmp_path, "numpy", "2.0", "cp311-cp311-linux_x86_64")}
    sdist = "https://host/numpy-2.0.tar.gz"
    assert locked_files(pylock("numpy", "2.0", *WHEELS, sdist=sdist), installed) == [
        entry("numpy", "2.0", sdist)
    ]
    assert locked_files(pylock("numpy", "2.0", *WHEELS), installed) == []


def test_a_distribution_without_a_wheel_record_was_the_source(tmp_path: Path) -> None:
    installed = {"old": distribution(tmp_path, "old", "1")}
    text = pylock("old", "1", "https://host/old-1-py3-none-any.whl", sdist="https://host/old-1.zip")
    assert locked_files(text, installed) == [entry("old", "1", "https://host/old-1.zip")]


def test_escaped_urls_are_wheels_too(tmp_path: Path) -> None:
    """PyTorch's ROCm wheels have local versions, whose plus sign is escaped in URLs."""
    version = "2.1.0+rocm5.7"
    installed = {"torch": distribution(tmp_path, "torch", version, "cp311-cp311-linux_x86_64")}
    url = "https://host/whl/torch-2.1.0%2Brocm5.7-cp311-cp311-linux_x86_64.whl#sha256=1"
    assert locked_files(pylock("torch", version, url), installed) == [entry("torch", version, url)]


def test_names_are_compared_as_pip_does(tmp_path: Path) -> None:
    installed = {"my-pkg": distribution(tmp_path, "My_Pkg", "1", "py3-none-any")}
    url = "https://host/My_Pkg-1-py3-none-any.whl"
    assert locked_files(pylock("my.pkg", "1", url), installed) == [entry("my.pkg", "1", url)]


def test_what_is_not_installed_or_has_no_hash_is_left_out(tmp_path: Path) -> None:
    installed = {"a": distribution(tmp_path, "a", "1", "py3-none-any")}
    without = '[[packages]]\nname = "a"\nversion = "1"\n'
    without += 'wheels = [{ url = "https://host/a-1-py3-none-any.whl", hashes = {} }]\n'
    text = pylock("b", "1", "https://host/b-1-py3-none-any.whl")
    assert locked_files(text + without, installed) == []
    assert locked_files("lock-version = '1.0'\n", installed) == []


def test_a_file_that_is_no_wheel_by_name_fits_nothing(tmp_path: Path) -> None:
    installed = {"a": distribution(tmp_path, "a", "1", "py3-none-any")}
    assert locked_files(pylock("a", "1", "https://host/strange.whl"), installed) == []
