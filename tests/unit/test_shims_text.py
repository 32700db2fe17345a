"""Shell text that is made of values: nothing in a value is ever shell."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import pytest

from tests.activation import activation, dynamic, prepends, recorded, sets, unsets
from wrapper.activation.model import Activation
from wrapper.models import Site
from wrapper.prefix import shims
from wrapper.runtime.runtime import EXEC_FLAGS

HOSTILE = [
    "",
    " ",
    "it's",
    '"',
    "$HOME",
    "$(touch pwned)",
    "`touch pwned`",
    "\\",
    "a\nb",
    "*",
    "~",
    "a=b|c",
    "__PREFIX__",
    "!",
    "é",
    "#",
    ")",
]


@pytest.fixture
def template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A template of our own: ``x.sh``."""
    (tmp_path / "templates").mkdir()
    monkeypatch.setattr(shims, "files", lambda _package: tmp_path)
    return tmp_path / "templates/x.sh"


# -- render --------------------------------------------------------------------------------------
def test_tokens_are_replaced_by_quoted_values(template: Path) -> None:
    template.write_text("a=__ONE__ b=__TWO_WORDS__ c=__ONE__ __lower__ __\n")
    text = shims.render("x.sh", {"ONE": "it's", "TWO_WORDS": "x"})
    assert text == "a='it'\"'\"'s' b=x c='it'\"'\"'s' __lower__ __\n"


def test_a_token_without_a_value_is_a_mistake(template: Path) -> None:
    template.write_text("a=__ONE__\n")
    with pytest.raises(KeyError, match="ONE"):
        shims.render("x.sh", {})


def test_a_value_without_a_token_is_a_mistake(template: Path) -> None:
    template.write_text("a=__ONE__\n")
    with pytest.raises(KeyError, match=r"x\.sh has no token for \['TWO'\]"):
        shims.render("x.sh", {"ONE": "1", "TWO": "2"})


def test_a_value_that_looks_like_a_token_stays_a_value(template: Path) -> None:
    template.write_text("a=__ONE__ b=__TWO__\n")
    text = shims.render("x.sh", {"ONE": "__TWO__", "TWO": "__ONE__"})
    assert text == "a=__TWO__ b=__ONE__\n"


def test_every_template_is_there_and_begins_as_a_script() -> None:
    folder = resources.files("wrapper") / "templates"
    names = {entry.name for entry in folder.iterdir() if entry.name.endswith(".sh")}
    assert {"shim.sh", "list-packages.sh", "probe.sh", "run-active.sh"} <= names
    for name in names:
        assert (folder / name).read_text().startswith(("#!/bin/bash", "#!/bin/sh"))


# -- what is rendered ----------------------------------------------------------------------------
def sourced(text: str, *names: str) -> dict[str, list[str]]:
    """Variables and arrays after bash has read ``text``."""
    prints = "\n".join(f'printf "%s\\0" {n} "${{#{n}[@]}}" "${{{n}[@]}}"' for n in names)
    done = subprocess.run(
        ["/bin/bash", "--norc", "-c", f"{text}\n{prints}"],
        env={"HOME": "/wrong"},
        capture_output=True,
        check=True,
    )
    assert done.stderr == b""
    words = done.stdout.decode().split("\0")[:-1]
    found: dict[str, list[str]] = {}
    while words:
        name, count = words[0], int(words[1])
        found[name] = words[2 : 2 + count]
        words = words[2 + count :]
    return found


def head(text: str) -> str:
    """The shim's settings, before it begins to work."""
    return text.partition("\n_cw_fail()")[0]


@pytest.mark.parametrize("value", [v for v in HOSTILE if v])
def test_the_shims_settings_are_the_values(value: str) -> None:
    text = head(shims.shim(Path(f"/{value}/env"), Path(f"/run}}{value}")))
    got = sourced(text, "_cw_built_at", "_cw_runtime", "_cw_flags")
    assert got == {
        "_cw_built_at": [str(Path(f"/{value}/env"))],
        "_cw_runtime": [f"/run}}{value}"],
        "_cw_flags": [" ".join(EXEC_FLAGS)],
    }


def env_file(**changes: object) -> str:
    values: dict[str, object] = {
        "generation": 7,
        "install_path": "/containerize-1",
        "links": (),
        "activation": Activation(),
        "variables": {},
        "site": Site(),
    }
    return shims.environment_file(**{**values, **changes})  # type: ignore[arg-type]


NAMES = ["generation", "install_path", "links", "assign", "scripts", "when", "changes"]
NAMES += ["site_binds", "excluded", "always", "required_program", "mask", "image"]


def variables(text: str) -> Mapping[str, list[str]]:
    got = sourced(text, *(f"_cw_{name}" for name in NAMES))
    return {name: got[f"_cw_{name}"] for name in NAMES}


def test_an_environment_file_without_anything() -> None:
    assert variables(env_file()) == {
        "generation": ["7"],
        "install_path": ["/containerize-1"],
        **{name: [] for name in NAMES[2:10]},
        **{name: [""] for name in NAMES[10:]},
    }


def test_hostile_values_come_back_as_they_were() -> None:
    changes = [sets(f"S{n}", value) for n, value in enumerate(HOSTILE)]
    scripts = (
        *(dynamic(value) for value in HOSTILE),
        recorded(*changes, prepends("P", "/p"), path="/s", unless=("U", "V"), unless_empty=("E",)),
        recorded(unsets("U", "+S"), path="/t", after=(0, 7)),
    )
    values = {f"A{n}": value for n, value in enumerate(HOSTILE)}
    paths = dict.fromkeys(["install_path", "required_program", "mask", "image"], "/a 'b'\n$(c)")
    text = env_file(links=HOSTILE, activation=activation(*scripts, **values), **paths)
    got = variables(text)
    assert {name: got[name] for name in paths} == {name: [p] for name, p in paths.items()}
    assert got["links"] == HOSTILE
    assert got["scripts"] == [*HOSTILE, "/s", "/t"]
    assert got["when"] == [*["-"] * len(HOSTILE), "U V =E", "@0 @7"]
    assert got["assign"] == [f"A{n}={value}" for n, value in enumerate(HOSTILE)]
    last = len(HOSTILE)
    assert got["changes"] == [
        *(f"{last} . = S{n}={value}" for n, value in enumerate(HOSTILE)),
        *(f"{last} +P < P=/p:", f"{last} -P = P=/p", f"{last + 1} +S - U="),
    ]


def test_reading_an_environment_file_replaces_all_of_another() -> None:
    """The shim reads those of other installations first."""
    full = env_file(activation=activation(dynamic("s"), A="1"), links=["/bin"])
    assert variables(full + env_file()) == variables(env_file())
