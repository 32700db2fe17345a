"""What is told of where packages come from, and of hashes that tell little."""

from __future__ import annotations

from pathlib import Path

import pytest
from rattler import PackageRecord, RepoDataRecord
from rattler.package import BuildString

from wrapper.errors import InputError
from wrapper.inputs.requirements import Requirements, read_requirements
from wrapper.models import Resolution
from wrapper.trust import conda_warnings, pip_warnings, require_hashes, unencrypted


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("http://host/ch", True),
        ("HTTP://u:p@10.0.0.1:8080/ch", True),
        ("git+http://host/r", True),
        ("https://host/ch", False),
        ("file:///ch", False),
        ("git+ssh://git@host/r", False),
        ("http://127.0.0.1:8000/ch", False),
        ("http://127.1.2.3/ch", False),
        ("http://[::1]:8000/ch", False),
        ("http://localhost/ch", False),
        ("http://127.0.0.1.example.org/ch", True),
        ("http://[bad/ch", False),
        ("conda-forge", False),
    ],
)
def test_what_goes_over_a_network_in_plain_text(url: str, plain: bool) -> None:
    assert unencrypted([url, url]) == ([url] if plain else [])


def record(name: str, url: str, **hashes: bytes) -> RepoDataRecord:
    package = PackageRecord(
        name=name,
        version="1",
        build=BuildString("0"),
        build_number=0,
        subdir="noarch",
        depends=[],
        **hashes,
    )
    channel, _, file = url.rpartition("/noarch/")
    return RepoDataRecord(package, file, url, channel)


GOOD = record("good", "http://a/ch/noarch/good-1-0.conda", sha256=bytes(32))
WEAK = record("weak", "http://b/ch/noarch/weak-1-0.conda", md5=bytes(16))
PRIVATE = record("private", "http://u:p@c/ch/noarch/private-1-0.conda", sha256=bytes(32))


def warned(*records: RepoDataRecord, locked: bool, channels: tuple[str, ...] = ()) -> list[str]:
    return conda_warnings(Resolution(records=records, channels=channels), locked=locked)


def test_channels_of_a_solve_are_named() -> None:
    told = warned(GOOD, locked=False, channels=("http://a/ch", "https://d/ch", "http://u:pw@c/ch"))
    assert len(told) == 2
    assert "the channel http://a/ch is not encrypted" in told[0] and "login" not in told[0]
    assert "the channel http://c/ch is not encrypted" in told[1] and "read the login" in told[1]
    assert "pw" not in told[1]


def test_a_locks_hashes_tell_whatever_the_way() -> None:
    assert warned(GOOD, locked=True, channels=("http://a/ch",)) == []
    (exposed,) = warned(PRIVATE, locked=True)
    assert "http://c/ch is not encrypted" in exposed and "read the login" in exposed


def test_an_md5_alone_is_told() -> None:
    told = warned(GOOD, WEAK, locked=True)
    assert len(told) == 2 and "the channel http://b/ch is" in told[0]
    assert told[1].startswith("only an MD5 is known of weak:")


def test_a_channel_that_tells_no_hash() -> None:
    bare = record("bare", "https://a/ch/noarch/bare-1-0.conda")
    assert warned(GOOD, bare, locked=False) == ["no hash is known of bare"]


def test_hashes_can_be_required_of_conda_packages() -> None:
    require_hashes([GOOD], Path("lock.yml"))
    with pytest.raises(InputError, match="there is no SHA-256 of weak") as caught:
        require_hashes([GOOD, WEAK], Path("lock.yml"))
    assert caught.value.where == "lock.yml"


def wanted(*lines: str) -> Requirements:
    return read_requirements(lines, Path("/"), "r.txt")


def test_indexes_of_requirements_and_settings_are_named() -> None:
    asked = wanted(
        "-i http://u:pw@a/simple",
        "-f http://127.0.0.1/links",
        "x @ http://b/x.whl",
        f"y @ http://c/y.whl --hash=sha256:{'0' * 64}",
        "--trusted-host d:8443",
        "--trusted-host localhost",
    )
    settings = {"UV_INDEX": "https://e my-index=http://f/simple", "UV_INSECURE_HOST": "g"}
    told = pip_warnings(asked, settings)
    named = ["index http://a/simple", "index http://f/simple", "package http://b/x.whl"]
    assert [any(f"the {name} is not encrypted" in text for text in told) for name in named] == [
        True, True, True,
    ]  # fmt: skip
    assert [text for text in told if "certificate of" in text] == [
        text for text in told if "certificate of d:8443 " in text or "certificate of g " in text
    ]
    assert len(told) == 5 and not any("pw" in text for text in told)


@pytest.mark.parametrize(
    ("lines", "required"),
    [
        (["x"], False),
        (["--require-hashes"], True),
        (["x", f"y==1 --hash=sha256:{'0' * 64}"], True),
    ],
)
def test_one_hash_asks_for_all_as_with_pip(lines: list[str], required: bool) -> None:
    assert wanted(*lines).hashes_required is required
