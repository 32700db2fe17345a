"""``containerize activate`` and ``deactivate``: the shell functions, in every shell that is here.

bash is always tested; zsh and fish where the machine has them.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import pytest

from tests.conftest import require
from tests.shell.conftest import write_program

TEMPLATES = Path(str(files("wrapper") / "templates"))
POSIX = TEMPLATES / "shell-init.sh"
FISH = TEMPLATES / "shell-init.fish"
CALLS = {"bash": ["--norc", "--noprofile"], "zsh": ["-f"], "fish": ["--no-config"]}
SHELLS = {name: [shutil.which(name) or "", *words] for name, words in CALLS.items()}
PATH = "/usr/bin:/bin"


@pytest.fixture
def envs(tmp_path: Path) -> Path:
    """A directory with installations: two of ours, one around a container, one of Tykky's."""
    root = tmp_path / "my envs"
    for name, image in (
        ("one", "''"),
        ("two", "''"),
        ("julia", "/julia.sif"),
        ("odd $(x)`y`", "''"),
    ):
        (root / name / "bin").mkdir(parents=True)
        (root / name / ".generations/1").mkdir(parents=True)
        (root / name / ".generations/1/env").write_text(f"_cw_links=()\n_cw_image={image}\n")
        (root / name / "current").symlink_to(".generations/1")
        (root / name / "common.sh").symlink_to("current/env")
    (root / "tykkys/bin").mkdir(parents=True)
    (root / "tykkys/common.sh").touch()
    (root / "other/bin").mkdir(parents=True)
    return root


def run(
    shell: str, script: str, *, env: Mapping[str, str] | None = None, cwd: Path, strict: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run ``script`` in a shell that has the functions, by default under ``set -eu``."""
    options = "set -eu\n" * strict
    return subprocess.run(
        [*SHELLS[shell], "-c", f"{options}. {shlex.quote(str(POSIX))}\n{script}"],
        env={"PATH": PATH, "HOME": "/", **(env or {})},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def ok(shell: str, script: str, *, cwd: Path, env: Mapping[str, str] | None = None) -> list[str]:
    """Lines of standard output of a script that must succeed in silence."""
    done = run(shell, script, env=env, cwd=cwd)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.fixture(params=["bash", "zsh"])
def shell(request: pytest.FixtureRequest) -> str:
    require(bool(SHELLS[request.param][0]), request.param)
    return str(request.param)


STATE = 'echo "$PATH|${PS1-}|${CONTAINERIZE_PREFIX-none}|${CONTAINERIZE_WITH-none}"\n'


@pytest.mark.parametrize("variable", ["CONTAINERIZE_PATH", "TYKKY_PATH"])
@pytest.mark.parametrize("path", ["/usr/bin:/bin", "/usr/bin::/bin:", ":/bin", ""])
def test_a_round_trip_restores_everything(shell: str, envs: Path, variable: str, path: str) -> None:
    script = f"PATH={path}; PS1='a b> '\n{STATE}containerize activate one\n{STATE}"
    lines = ok(
        shell,
        f"{script}containerize deactivate\n{STATE}containerize deactivate\n{STATE}",
        env={variable: f"/nowhere:{envs}/one::{envs}"},
        cwd=envs,
    )
    one = envs / "one"
    active = f"{one}/bin:{path}".removesuffix(":" * (not path))
    assert lines[1] == f"{active}|(one) a b> |{one}|none"
    assert lines[0] == lines[2] == lines[3] == f"{path}|a b> |none|none"


def test_what_came_to_path_meanwhile_stays(shell: str, envs: Path) -> None:
    script = (
        f"PATH={shlex.quote(f'/usr/bin:{envs}/one/bin')}; PS1='> '; containerize activate ./one\n"
        'PATH=/module/bin:$PATH; PS1="(ve) $PS1"; containerize deactivate\n' + STATE
    )
    assert ok(shell, script, cwd=envs) == [f"/module/bin:/usr/bin:{envs}/one/bin|(ve) > |none|none"]


def test_another_one_takes_the_place_of_the_first(shell: str, envs: Path) -> None:
    script = f"PATH=/bin; PS1='> '; containerize activate one; containerize activate two/\n{STATE}"
    lines = ok(shell, script, env={"CONTAINERIZE_PATH": str(envs)}, cwd=envs)
    assert lines == [f"{envs}/two/bin:/bin|(two) > |{envs}/two|none"]


def test_several_are_used_together(shell: str, envs: Path) -> None:
    """Also one around a container, which others cannot have inside."""
    script = f"PATH=/bin; PS1='> '; containerize activate one julia two tykkys\n{STATE}"
    script += f"containerize deactivate\n{STATE}"
    for before in ("none", "/mine"):
        env = {"CONTAINERIZE_PATH": str(envs)}
        env |= {} if before == "none" else {"CONTAINERIZE_WITH": before}
        lines = ok(shell, script, env=env, cwd=envs)
        path = "".join(f"{envs}/{name}/bin:" for name in ("one", "julia", "two", "tykkys"))
        prefixes = path.replace("/bin:", ":").rstrip(":")
        more = "" if before == "none" else f":{before}"
        joined = f"{envs}/one:{envs}/two{more}"
        assert lines[0] == f"{path}/bin|(one julia two tykkys) > |{prefixes}|{joined}"
        assert lines[1] == f"/bin|> |none|{before}"


def test_a_child_shell_can_deactivate(shell: str, envs: Path) -> None:
    child = f". {shlex.quote(str(POSIX))}; containerize deactivate; {STATE}"
    script = "containerize activate one two\n" + shlex.join([*SHELLS[shell], "-c", child])
    lines = ok(shell, f"{STATE}{script}", env={"CONTAINERIZE_PATH": str(envs)}, cwd=envs)
    assert lines[0].split("|")[0] == lines[1].split("|")[0]
    assert lines[1].split("|")[2:] == ["none", "none"]


def test_names_are_looked_up_before_the_directory_here(shell: str, envs: Path) -> None:
    here = envs / "two"
    (here / "one").symlink_to(envs / "tykkys")
    env = {"CONTAINERIZE_PATH": f"{envs}/two/none:{envs}", "TYKKY_PATH": str(here)}
    show = 'echo "$CONTAINERIZE_PREFIX"\n'
    script = f"containerize activate one\n{show}containerize activate ./one/\n{show}"
    assert ok(shell, script, env=env, cwd=here) == [f"{envs}/one", f"{here}/one"]
    assert ok(shell, f"containerize activate one\n{show}", cwd=here) == [f"{here}/one"]


@pytest.mark.parametrize("variable", ["CONTAINERIZE_CHANGE_PS1", "TYKKY_CHANGE_PS1"])
def test_the_prompt_can_be_left_alone(shell: str, envs: Path, variable: str) -> None:
    script = "PS1='> '; containerize activate one; echo \"$PS1\"\n"
    assert ok(shell, script, env={variable: "0"}, cwd=envs) == ["> "]


def test_a_name_is_nothing_to_run_in_a_prompt(shell: str, envs: Path) -> None:
    script = "PS1='> '; containerize activate 'odd $(x)`y`'; echo \"$PS1\"; containerize deactivate"
    assert ok(shell, script + '; echo "$PS1"', cwd=envs) == ["(odd ??x??y?) > ", "> "]


@pytest.mark.parametrize("words", ["nope", "./nope", "other", "one nope", "'no pe*'"])
def test_what_is_none_is_told_and_changes_nothing(shell: str, envs: Path, words: str) -> None:
    script = f"PATH=/bin; PS1='> '; containerize activate two\n{STATE}"
    script += f"containerize activate {words} || echo status $?\n{STATE}"
    done = run(shell, script, env={"CONTAINERIZE_PATH": str(envs)}, cwd=envs)
    before, status, after = done.stdout.splitlines()
    assert (before, status) == (after, "status 1")
    assert "is no installation" in done.stderr.splitlines()[0]
    assert "CONTAINERIZE_PATH" in done.stderr.splitlines()[2]


@pytest.mark.parametrize("words", ["list 'a b'", "", "inspect *"])
def test_everything_else_is_the_program_itself(shell: str, envs: Path, words: str) -> None:
    program = write_program(
        envs / "programs/containerize", '#!/bin/sh\nprintf "<%s>" "$@"\nexit 3\n'
    )
    script = f"PATH={shlex.quote(str(program.parent))}:$PATH\ncontainerize {words} || echo $?"
    expected = {"list 'a b'": "<list><a b>3", "": "<>3"}
    lines = ok(shell, script, cwd=envs)
    assert lines == [
        expected.get(
            words,
            "<inspect>"
            + "".join(f"<{name}>" for name in sorted(entry.name for entry in envs.iterdir()))
            + "3",
        )
    ]


@pytest.mark.parametrize(("word", "status"), [("", 2), ("-h", 0), ("--help", 0), ("--wrong", 2)])
def test_usage_comes_from_the_program(shell: str, envs: Path, word: str, status: int) -> None:
    program = write_program(envs / "programs/containerize", '#!/bin/sh\necho "$@"\n')
    script = f"PATH={shlex.quote(str(program.parent))}:$PATH\ncontainerize activate {word}"
    done = run(shell, script, cwd=envs)
    assert (done.returncode, done.stdout) == (status, "activate --help\n")
    done = run(
        shell,
        f"PATH={shlex.quote(str(program.parent))}:$PATH\ncontainerize deactivate -h",
        cwd=envs,
    )
    assert (done.returncode, done.stdout) == (0, "deactivate -h\n")


def test_tykkys_own_command_works_where_there_is_no_tykky(shell: str, envs: Path) -> None:
    script = 'tykky activate one; echo "$CONTAINERIZE_PREFIX"; tykky deactivate'
    assert ok(shell, script, cwd=envs) == [f"{envs}/one"]
    own = f"tykky() {{ echo own; }}\n. {shlex.quote(str(POSIX))}\ntykky activate"
    assert ok(shell, own, cwd=envs) == ["own"]


def test_tykkys_variable_names_the_first(shell: str, envs: Path) -> None:
    """Scripts look at TYKKY_PREFIX to see whether something is active."""
    show = 'echo "${TYKKY_PREFIX-none}"\n'
    script = f"{show}containerize activate one\n{show}containerize activate two one\n{show}"
    script += f"containerize deactivate\n{show}"
    env = {"CONTAINERIZE_PATH": str(envs)}
    assert ok(shell, script, cwd=envs, env=env) == [
        *("none", f"{envs}/one", f"{envs}/two", "none"),
    ]
    theirs = ok(shell, script, cwd=envs, env={**env, "TYKKY_PREFIX": "/theirs"})
    assert theirs == ["/theirs"] * 4, "of Tykky's own function, which takes it away again"


def test_both_names_are_completed(envs: Path) -> None:
    script = "complete -p containerize tykky"
    lines = ok("bash", script, cwd=envs)
    assert [line.split()[-1] for line in lines] == ["containerize", "tykky"]
    assert len({line.rsplit(" ", 1)[0] for line in lines}) == 1
    own = f"tykky() {{ :; }}\n. {shlex.quote(str(POSIX))}\ncomplete -p | grep -c tykky || true"
    fresh = subprocess.run(
        [*SHELLS["bash"], "-c", own], env={"PATH": PATH}, capture_output=True, text=True, check=True
    )
    assert fresh.stdout == "0\n"


def test_sourcing_starts_no_program(envs: Path) -> None:
    """Nothing to start on PATH: users have it in their ~/.bashrc."""
    done = subprocess.run(
        ["/bin/bash", "--norc", "-euc", f". {shlex.quote(str(POSIX))}; echo $BASHPID $$"],
        env={"PATH": "/nowhere"},
        cwd=envs,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(set(done.stdout.split())) == 1


def test_names_are_completed(envs: Path) -> None:
    def completions(*words: str) -> list[str]:
        script = f"""
COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}
_containerize_complete; printf '%s\\n' "${{COMPREPLY[@]}}" """
        return sorted(
            ok(
                "bash",
                script,
                env={"CONTAINERIZE_PATH": str(envs), "TYKKY_PATH": "/nowhere"},
                cwd=envs,
            )
        )

    assert completions("containerize", "activate", "t") == ["two", "tykkys"]
    assert completions("containerize", "activate", "one", "od") == ["odd $(x)`y`"]
    assert completions("containerize", "activate", "x") == [""]


def test_installations_of_ours_are_accepted_by_tykky(envs: Path) -> None:
    """Tykky's function, by its documentation: common.sh is a file and bin a directory."""
    for name in ("one", "julia"):
        assert (envs / name / "common.sh").is_file() and (envs / name / "bin").is_dir()


# -- fish ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("with_before", [None, "/mine"])
def test_fish_does_the_same(envs: Path, with_before: str | None) -> None:
    require(bool(SHELLS["fish"][0]), "fish")
    state = 'echo (string join : $PATH)"|"(fish_prompt)"|$CONTAINERIZE_PREFIX|$CONTAINERIZE_WITH"\n'
    script = (
        f"source {shlex.quote(str(FISH))}\nfunction fish_prompt; echo '> '; end\n{state}"
        f"containerize activate one\n{state}containerize activate two julia ./tykkys one\n{state}"
        f"containerize activate nope; echo $status\n{state}"
        f"containerize deactivate\n{state}"
        f"set -x CONTAINERIZE_CHANGE_PS1 0; tykky activate one; {state}"
        "_containerize_names | sort; echo $TYKKY_PREFIX\n"
        "complete -C 'tykky activate o'; containerize deactivate; set -q TYKKY_PREFIX; echo $status"
    )
    env = {"PATH": "/usr/bin:/bin", "HOME": str(envs), "CONTAINERIZE_PATH": str(envs)}
    env |= {"CONTAINERIZE_WITH": with_before} if with_before else {}
    done = subprocess.run(
        [*SHELLS["fish"], "-c", script],
        env=env,
        cwd=envs,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    mine = with_before or ""
    assert lines[0] == f"/usr/bin:/bin|> ||{mine}"
    assert lines[1] == f"{envs}/one/bin:/usr/bin:/bin|(one) > |{envs}/one|{mine}"
    four = [envs / name for name in ("two", "julia", "tykkys", "one")]
    assert lines[2] == (
        f"{':'.join(f'{p}/bin' for p in four)}:/usr/bin:/bin|(two julia tykkys one) > |"
        f"{':'.join(map(str, four))}|{envs}/two:{envs}/one{':' * bool(mine)}{mine}"
    )
    assert lines[3:5] == ["1", lines[2]] and "nope is no installation" in done.stderr
    assert lines[5] == lines[0]
    assert lines[6] == f"{envs}/one/bin:/usr/bin:/bin|> |{envs}/one|{mine}"
    assert lines[7:12] == sorted(["one", "two", "julia", "odd $(x)`y`", "tykkys"])
    assert lines[12] == str(envs / "one") and lines[-1] == "1"
    assert {"one", "odd $(x)`y`"} <= {line.replace("\\", "") for line in lines[13:-1]}
