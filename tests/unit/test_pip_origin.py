"""Where installed pip packages came from, as lock entries."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import Distribution
from pathlib import Path

import pytest

from wrapper.packages import LockedPackage
from wrapper.pip.local import copy_project
from wrapper.pip.origin import (
    direct_entry,
    forget_origin,
    locked_files,
    planned_entry,
    planned_files,
)


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


def installed_by(found: Distribution, installer: str, *files: str) -> dict[str, Distribution]:
    folder = Path(str(found._path))  # type: ignore[attr-defined]
    (folder / "INSTALLER").write_text(f"{installer}\n")
    for name in files:
        (folder / name).write_text("{}")
    return {found.name: found}


RAY = [f"https://host/ray-2-cp311-cp311-{tag}.whl" for tag in ("manylinux2014_x86_64", "win32")]


def test_a_wheel_with_another_tag_inside_than_in_its_name(tmp_path: Path) -> None:
    """Ray's says linux_x86_64: it was left out of the lock, or locked as its source."""
    ray = distribution(tmp_path, "ray", "2", "cp311-cp311-linux_x86_64")
    by_uv = installed_by(ray, "uv")
    chosen = {"ray-2-cp311-cp311-manylinux2014_x86_64.whl"}
    source = "https://host/ray-2.tar.gz"
    for text in (pylock("ray", "2", *RAY), pylock("ray", "2", *RAY, sdist=source)):
        assert locked_files(text, by_uv, chosen) == [entry("ray", "2", RAY[0])]
    # Another wheel has the tag that is inside.
    other = "https://host/ray-2-cp311-cp311-linux_x86_64.whl"
    text = pylock("ray", "2", other, *RAY)
    assert locked_files(text, by_uv, chosen) == [entry("ray", "2", RAY[0])]
    by_pip = installed_by(ray, "pip")
    assert locked_files(text, by_pip, chosen) == [entry("ray", "2", other)]
    assert locked_files(pylock("ray", "2", *RAY), by_pip, chosen) == [entry("ray", "2", RAY[0])]


def test_what_uv_says_it_built_was_the_source(tmp_path: Path) -> None:
    tags = ("cp311-cp311-manylinux2014_x86_64",)
    built = installed_by(distribution(tmp_path, "ray", "2", *tags), "uv", "uv_build.json")
    text = pylock("ray", "2", *RAY, sdist="https://host/ray-2.tar.gz")
    chosen = {"ray-2-cp311-cp311-manylinux2014_x86_64.whl"}
    assert locked_files(text, built, chosen) == [entry("ray", "2", "https://host/ray-2.tar.gz")]


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


# -- what came by another way than an index --------------------------------------------------------
def came_from(site: Path, data: dict[str, object]) -> Distribution:
    found = distribution(site, "x", "1", "py3-none-any")
    (site / "x-1.dist-info/direct_url.json").write_text(json.dumps(data))
    return found


def direct(site: Path, data: dict[str, object]) -> LockedPackage:
    found = direct_entry(came_from(site, data))
    assert found is not None
    return found


def test_a_repository_is_known_by_its_commit(tmp_path: Path) -> None:
    vcs = {"vcs": "git", "commit_id": "c" * 40, "requested_revision": "main"}
    found = direct(tmp_path, {"url": "https://host/x", "vcs_info": vcs, "subdirectory": "s"})
    assert found.url == f"git+https://host/x@{'c' * 40}#subdirectory=s"


def test_a_local_file_is_known_by_its_hash(tmp_path: Path) -> None:
    wheel = tmp_path / "x-1 y.whl"
    wheel.write_bytes(b"")
    found = direct(tmp_path, {"url": wheel.as_uri(), "archive_info": {}})
    assert found.sha256 == hashlib.sha256(b"").hexdigest() and found.url == wheel.as_uri()


def test_a_directory_is_known_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    copy = copy_project(tmp_path / "project", tmp_path / "places")
    found = direct(tmp_path, {"url": copy.as_uri(), "dir_info": {}})
    assert found.url == (tmp_path / "project").as_uri() and found.content and not found.sha256


def test_what_came_from_an_index_has_no_such_entry(tmp_path: Path) -> None:
    assert direct_entry(distribution(tmp_path, "x", "1")) is None


def test_traces_are_taken_out_of_the_record_too(tmp_path: Path) -> None:
    came_from(tmp_path, {})
    info = tmp_path / "x-1.dist-info"
    lines = ("x.py", "x-1.dist-info/direct_url.json", "x-1.dist-info/RECORD")
    (info / "RECORD").write_text("".join(f"{line},,\n" for line in lines))
    forget_origin(info)
    assert not (info / "direct_url.json").exists()
    assert (info / "RECORD").read_text() == "x.py,,\nx-1.dist-info/RECORD,,\n"


def test_files_of_a_directory_of_wheels_have_a_path(tmp_path: Path) -> None:
    text = """[[packages]]
name = "a"
version = "1"
wheels = [{ path = "w/a-1-py3-none-any.whl", size = 7, hashes = { sha256 = "1" } }]
"""
    (found,) = planned_files(text, (), tmp_path)
    assert (found.url, found.size) == (f"{tmp_path.as_uri()}/w/a-1-py3-none-any.whl", 7)


def test_a_plan_counts_the_file_that_uv_takes() -> None:
    text = pylock("ray", "2", *RAY[::-1], sdist="https://host/ray-2.tar.gz")
    (first,) = planned_files(text)
    (taken,) = planned_files(text, {"ray-2-cp311-cp311-manylinux2014_x86_64.whl"})
    assert (first.url, taken.url) == (RAY[1], RAY[0])


def test_of_a_project_with_a_version_of_its_own_the_content_is_known_before(tmp_path: Path) -> None:
    project = tmp_path / "here"
    project.mkdir()
    (project / "a.py").write_text("")
    for text, known in (
        ("[project]\nname = 'a'\nversion = '1'\n", True),
        ("[project]\nname = 'a'\ndynamic = ['version']\n", False),
        ("[tool.other]\n", False),
        ("no TOML", False),
    ):
        (project / "pyproject.toml").write_text(text)
        planned = planned_entry("a", None, project.as_uri())
        assert planned.version == f"@ {project.as_uri()}" and bool(planned.content) is known
    assert planned_entry("a", "1", "").version == "1"
    assert (
        planned_entry("a", None, (project / "a.py").as_uri()).sha256 == hashlib.sha256().hexdigest()
    )


@pytest.mark.parametrize(
    "line", ['open("../VERSION")', "here.parents[1]", "os.path.join(here, os.pardir)"]
)
def test_what_a_project_reads_outside_is_no_content_of_it(tmp_path: Path, line: str) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "a"\nversion = "1"\n')
    assert planned_entry("a", None, tmp_path.as_uri()).content
    (tmp_path / "setup.py").write_text(line)
    assert not planned_entry("a", None, tmp_path.as_uri()).content, "it may have changed"
