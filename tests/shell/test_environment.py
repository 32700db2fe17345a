"""The user's environment reaches the runtime as it is, and the installation's joins it."""

from __future__ import annotations

import os
import re
from importlib.resources import files
from pathlib import Path

import pytest

from tests.activation import (
    Changes,
    activation,
    appends,
    copies,
    defaults,
    dynamic,
    prepends,
    recorded,
    sets,
    unsets,
)
from tests.shell.conftest import Call, Install, Prefix, write_environment
from wrapper.activation.model import Activation

TEMPLATE = "".join(
    (files("wrapper") / f"templates/{name}.sh").read_text() for name in ("shim", "shim-rare")
)
# What the shim is there to read and to change, and what bash itself sets in every process.
MEANT = {"CONTAINERIZE_WITH", "CONTAINERIZE_RUNTIME", "PATH"}
MEANT |= {"PWD", "OLDPWD", "IFS", "SHELLOPTS", "_"}
MEANT |= {"PS1"}  # a shell that is not interactive drops it, and the runtime brings its own
MEANT |= {"SINGULARITY_BIND", "SINGULARITY_BINDPATH", "APPTAINER_BIND", "APPTAINER_BINDPATH"}
MEANT |= {"install_root", "env_root"}  # of _debug_exec and _debug_shell, as in Tykky
WORDS = {
    word
    for word in re.findall(r"[A-Za-z_][A-Za-z0-9_]*", TEMPLATE)
    if not word.startswith(("_cw_", "SINGULARITY", "APPTAINER"))
} - MEANT
HOSTILE = {
    "EMPTY": b"",
    "QUOTES": b"'\"",
    "DOLLAR": b"$HOME $(touch pwned) `touch pwned`",
    "LINES": b"a\nb\n",
    "BYTES": b"\xff\xfe",
    "BACKSLASH": b"\\",
    "STAR": b"*",
}


# -- the user's own ------------------------------------------------------------------------------
def test_variables_arrive_byte_for_byte(prefix: Prefix) -> None:
    call = prefix.run(env=HOSTILE)
    assert {name: call.environ.get(name.encode()) for name in HOSTILE} == HOSTILE
    assert not (prefix.out / "pwned").exists()


def test_no_word_of_the_shim_is_a_variable_that_users_could_have(install: Install) -> None:
    assert {"list", "apptainer", "singularity", "LD_LIBRARY_PATH"} <= WORDS
    given = dict.fromkeys([*WORDS, "name", "self", "value", "n", "i"], "the user's")
    seen = program_environment(install(runs=True), given)
    assert {name: seen.get(name) for name in given if seen.get(name) != "the user's"} == {}


def test_nothing_is_added_but_what_is_documented(prefix: Prefix) -> None:
    call = prefix.run()
    added = {os.fsdecode(name) for name in call.environ} - {"PATH", "HOME", "_", "PWD", "SHLVL"}
    binds = {"APPTAINERENV_APPTAINER_BIND", "APPTAINERENV_SINGULARITY_BIND"}
    own = {"APPTAINERENV_PATH", "APPTAINERENV_PWD", "APPTAINERENV_PS1"}
    assert added == {*own, "PYTHONNOUSERSITE", *binds}


@pytest.mark.parametrize(
    ("runtime", "own", "other"),
    [
        ("apptainer", "APPTAINERENV", "SINGULARITYENV"),
        ("singularity", "SINGULARITYENV", "APPTAINERENV"),
        ("my-singularity", "SINGULARITYENV", "APPTAINERENV"),  # which Apptainer knows too
    ],
)
def test_a_runtime_gets_its_own_familys_variables(
    install: Install, tmp_path: Path, runtime: str, own: str, other: str
) -> None:
    """SingularityCE hands APPTAINERENV_PATH to programs as a variable like any other."""
    prefix = install(runtime=tmp_path / "runtime" / runtime)
    names = {"PATH": "/a", "PS1": "mine", "LD_LIBRARY_PATH": "/l"}
    for family in (own, other):
        given = {f"{family}_{name}": value for name, value in names.items()}
        call = prefix.run(env={**given, f"{family}_OTHER": "the user's"})
        assert {name: call.variable(f"{own}_{name}") for name in names} == {
            **names,
            "PATH": f"{prefix.root}/bin:/a",
        }
        left = {os.fsdecode(name) for name in call.environ if name.startswith(other.encode())}
        assert left == ({f"{other}_OTHER"} if family == other else set())


def test_of_a_value_for_both_families_the_runtimes_own_counts(prefix: Prefix) -> None:
    call = prefix.run(env={"APPTAINERENV_PS1": "mine", "SINGULARITYENV_PS1": "other"})
    assert call.inside("PS1") == "mine"


def test_the_runtimes_prompt_does_not_replace_the_users(prefix: Prefix) -> None:
    """The runtime puts the value into PROMPT_COMMAND='PS1="VALUE"', after ~/.bashrc has run."""
    assert prefix.run().inside("PS1") == "\\${PS1-}"
    shell = prefix.run(name="_debug_shell").inside("PS1")
    assert shell == f"[{prefix.root.name}] \\\\w \\\\\\$ "


def test_the_shell_level_is_not_counted_up(prefix: Prefix) -> None:
    assert prefix.run(env={"SHLVL": "3"}).variable("SHLVL") == "3"


@pytest.mark.parametrize("name", ["BASH_FUNC_x%%", "BASH_FUNC_exec%%", "a.b", "a-b", "1a"])
def test_names_that_are_no_identifiers_arrive_and_are_no_functions(
    prefix: Prefix, name: str
) -> None:
    value = "() {  touch pwned\n}"
    assert prefix.run(env={name: value}).variable(name) == value
    assert not (prefix.out / "pwned").exists()


@pytest.mark.parametrize("name", ["export", "printf", "unset", "[[", "cd", "read", "local", "."])
def test_an_exported_function_does_not_replace_a_builtin(prefix: Prefix, name: str) -> None:
    value = "() {  touch pwned; exit 9\n}"
    call = prefix.run(env={f"BASH_FUNC_{name}%%": value})
    assert call.variable(f"BASH_FUNC_{name}%%") == value
    assert not (prefix.out / "pwned").exists()


@pytest.mark.parametrize("name", ["BASH_ENV", "ENV"])
def test_the_startup_file_of_shells_is_not_read_but_handed_on(
    prefix: Prefix, tmp_path: Path, name: str
) -> None:
    startup = tmp_path / "startup"
    startup.write_text(f"touch '{tmp_path}/read'\n")
    assert prefix.run(env={name: str(startup)}).variable(name) == str(startup)
    assert not (tmp_path / "read").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GLOBIGNORE", "/*"),
        ("CDPATH", "/tmp"),
        ("SHELLOPTS", "noglob:errexit:nounset"),
        ("BASHOPTS", "nullglob:failglob"),
        ("IFS", "/,:"),
        ("POSIXLY_CORRECT", ""),
    ],
)
def test_settings_of_the_shell_change_nothing(prefix: Prefix, name: str, value: str) -> None:
    plain, call = prefix.run("a b"), prefix.run("a b", env={name: value})
    assert (call.binds, call.image) == (plain.binds, plain.image)
    assert call.command[-2:] == plain.command


def test_bashs_default_path_is_not_exported_where_there_was_none(prefix: Prefix) -> None:
    call = prefix.run(env={"PATH": None})
    assert call.variable("PATH") is None
    path = (call.inside("PATH") or "").split(":")
    assert path[0] == f"{prefix.root}/bin" and "/usr/bin" in path and "." not in path
    assert (prefix.run(env={"PATH": "/a:."}).inside("PATH") or "").endswith("/a:.")


def test_the_shims_own_options_do_not_reach_a_bash_inside(prefix: Prefix) -> None:
    options = prefix.run(env={"SHELLOPTS": "pipefail"}).variable("SHELLOPTS")
    assert options and "privileged" not in options


# -- of the runtime ------------------------------------------------------------------------------
OTHERS = ("CLEANENV", "CONTAIN", "CONTAINALL", "COMPAT", "PWD", "CWD", "FAKEROOT", "NET", "OVERLAY")
OTHERS += ("ENV_FILE", "WRITABLE", "SHARENS", "HOME", "NO_MOUNT", "DEBUG", "OF_A_VERSION_TO_COME")


@pytest.mark.parametrize("family", ["APPTAINER", "SINGULARITY"])
@pytest.mark.parametrize("name", OTHERS)
def test_what_is_meant_for_other_containers_is_kept_from_the_runtime(
    prefix: Prefix, family: str, name: str
) -> None:
    plain, call = prefix.run(), prefix.run(env={f"{family}_{name}": "the $user's"})
    assert call.argv == plain.argv
    assert call.variable(f"{family}_{name}") is None
    assert call.variable(f"APPTAINERENV_{family}_{name}") == r"the \$user's"  # as on any machine


@pytest.mark.parametrize("name", ["CACHEDIR", "TMPDIR", "CONFIGDIR", "ENCRYPTION_PASSPHRASE"])
def test_some_settings_are_the_users_word(prefix: Prefix, name: str) -> None:
    call = prefix.run(env={f"APPTAINER_{name}": "/mine"})
    assert call.variable(f"APPTAINER_{name}") == "/mine"
    assert call.variable(f"APPTAINERENV_APPTAINER_{name}") == "/mine"


@pytest.mark.parametrize("name", ["APPTAINER_NV", "SINGULARITY_ROCM"])
def test_the_drivers_libraries_are_asked_for_on_an_image_alone(
    prefix: Prefix, tmp_path: Path, name: str
) -> None:
    """On the host's own system they are there, and the user means other containers."""
    assert prefix.run(env={name: "1"}).variable(name) is None
    (tmp_path / "x.sif").touch()
    write_environment(prefix.root, image=str(tmp_path / "x.sif"))
    call = prefix.run(env={name: "1", "APPTAINER_CLEANENV": "1"})
    assert call.variable(name) == "1" and call.variable("APPTAINER_CLEANENV") is None
    assert not {"--nv", "--rocm"} & {*call.argv}


def test_programs_see_the_users_binds_not_the_shims(prefix: Prefix) -> None:
    """A job that a program submits inherits them, and its node may not have these directories."""
    call = prefix.run(env={"SINGULARITY_BIND": "/usr/lib,/etc:/c"})
    assert "/etc:/c" in call.binds and call.variable("SINGULARITY_BIND") is None
    assert call.variable("APPTAINERENV_SINGULARITY_BIND") == "/usr/lib,/etc:/c"
    assert call.variable("APPTAINERENV_APPTAINER_BIND") == ""


# -- PATH ----------------------------------------------------------------------------------------
def inside(prefix: Prefix, name: str, **env: str) -> str | None:
    return prefix.run(env=env).inside(name)


def test_the_installation_comes_first_on_path(prefix: Prefix) -> None:
    assert inside(prefix, "PATH", PATH="/a:/b") == f"{prefix.root}/bin:/a:/b"


@pytest.mark.parametrize("path", ["{bin}", "{bin}:/a", "/a:{bin}", "/a:{bin}:/b"])
def test_the_users_order_is_kept_where_the_installation_is_on_path(
    prefix: Prefix, path: str
) -> None:
    path = path.format(bin=f"{prefix.root}/bin")
    assert inside(prefix, "PATH", PATH=path) == path


@pytest.mark.parametrize("path", ["/x{bin}", "{bin}x", "/a:{bin}/sub"])
def test_a_path_that_only_contains_the_installations_is_another(prefix: Prefix, path: str) -> None:
    path = path.format(bin=f"{prefix.root}/bin")
    assert inside(prefix, "PATH", PATH=path) == f"{prefix.root}/bin:{path}"


@pytest.mark.parametrize("family", ["APPTAINERENV", "SINGULARITYENV"])
def test_a_path_that_the_user_gave_the_runtime_is_respected(prefix: Prefix, family: str) -> None:
    got = inside(prefix, "PATH", PATH="/a", **{f"{family}_PATH": "/mine:$HOME/bin"})
    assert got == f"{prefix.root}/bin:/mine:$HOME/bin"


def test_the_hosts_path_is_escaped_for_the_runtimes_shell(prefix: Prefix) -> None:
    got = inside(prefix, "PATH", PATH=r"/a$HOME:/b`x`:/c\d:/usr/bin")
    assert got == rf"{prefix.root}/bin:/a\$HOME:/b\`x\`:/c\\d:/usr/bin"


def test_the_installations_path_is_escaped_too_and_found_again(
    install: Install, tmp_path: Path
) -> None:
    prefix = install(tmp_path / "do$lar")
    escaped = str(prefix.root).replace("$", r"\$")
    assert inside(prefix, "PATH", PATH="/a") == f"{escaped}/bin:/a"
    assert inside(prefix, "PATH", PATH=f"/a:{prefix.root}/bin") == f"/a:{escaped}/bin"


def test_an_empty_path_becomes_the_installation_alone(prefix: Prefix) -> None:
    assert inside(prefix, "PATH", PATH="") == f"{prefix.root}/bin"


# -- a virtual environment on top ----------------------------------------------------------------
def on_top(prefix: Prefix, place: Path) -> Path:
    """What ``DIR/bin/python3 -m venv PLACE`` makes of it."""
    (place / "bin").mkdir(parents=True)
    (place / "pyvenv.cfg").touch()
    (place / "bin/python3").symlink_to(prefix.program("python3"))
    (place / "bin/python").symlink_to("python3")
    return place / "bin"


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("/a", "{venv}:{own}:/a"),  # called by its path, not active
        ("{venv}:/a", "{venv}:{own}:/a"),  # active
        ("/a:{venv}:/b", "/a:{venv}:{own}:/b"),
        ("{venv}:{own}:/a", "{venv}:{own}:/a"),
        ("{own}:/a:{venv}", "{own}:/a:{venv}"),  # the user's order
        ("{own}:/a", "{venv}:{own}:/a"),
        ("/a:", "{venv}:{own}:/a:"),
    ],
)
def test_a_virtual_environment_that_is_called_comes_first(
    prefix: Prefix, tmp_path: Path, path: str, inside: str
) -> None:
    venv = on_top(prefix, tmp_path / "ve n$v")
    names = {"venv": str(venv), "own": f"{prefix.root}/bin"}
    call = prefix.call(venv / "python", env={"PATH": path.format(**names)})
    escaped = {**names, "venv": str(venv).replace("$", r"\$")}
    assert call.variable("APPTAINERENV_PATH") == inside.format(**escaped)


def test_an_active_virtual_environment_comes_first_for_every_program(
    prefix: Prefix, tmp_path: Path
) -> None:
    venv = on_top(prefix, tmp_path / "venv")
    env = {"VIRTUAL_ENV": str(venv.parent), "PATH": f"{venv}:/a"}
    assert inside(prefix, "PATH", **env) == f"{venv}:{prefix.root}/bin:/a"
    call = prefix.run(env=env, name="tool")
    assert call.variable("VIRTUAL_ENV") == str(venv.parent)


def test_the_image_of_a_frozen_extension_lies_over_it(prefix: Prefix, tmp_path: Path) -> None:
    mine = on_top(prefix, tmp_path / "mine").parent
    linked = mine.with_name("a link to it")
    linked.symlink_to(mine)
    bind = f"{mine}/extension.sqfs:{mine}:image-src=/"
    for place in (mine, linked):
        (mine / "extension.sqfs").unlink(missing_ok=True)
        assert bind not in prefix.run(env={"VIRTUAL_ENV": str(place)}).binds
        (mine / "extension.sqfs").touch()
        assert prefix.run(env={"VIRTUAL_ENV": str(place)}).binds[-1] == bind


def test_a_virtual_environment_of_another_python_does_not(prefix: Prefix, tmp_path: Path) -> None:
    """Else programs of the installation would find the other's Python by name."""
    venv = on_top(prefix, tmp_path / "venv")
    (venv / "python3").unlink()
    (venv / "python3").symlink_to("/usr/bin/env")
    env = {"VIRTUAL_ENV": str(venv.parent), "PATH": f"{venv}:/a"}
    assert inside(prefix, "PATH", **env) == f"{prefix.root}/bin:{venv}:/a"


def test_the_installation_itself_may_be_a_virtual_environment(prefix: Prefix) -> None:
    (prefix.root / "pyvenv.cfg").touch()
    env = {"VIRTUAL_ENV": str(prefix.root), "PATH": "/a"}
    assert inside(prefix, "PATH", **env) == f"{prefix.root}/bin:/a"


def test_on_an_image_the_virtual_environment_comes_first_too(
    prefix: Prefix, tmp_path: Path
) -> None:
    (tmp_path / "x.sif").touch()
    active = activation(VIRTUAL_ENV="/opt/venv")
    write_environment(prefix.root, image=str(tmp_path / "x.sif"), activation=active)
    venv = on_top(prefix, tmp_path / "venv")
    env = {"VIRTUAL_ENV": str(venv.parent), "PATH": f"{venv}:/a", "APPTAINERENV_PREPEND_PATH": "/m"}
    call = prefix.call(venv / "python", env=env)
    assert call.variable("APPTAINERENV_PREPEND_PATH") == f"{venv}:{prefix.root}/bin:/m"
    assert call.variable("APPTAINERENV_VIRTUAL_ENV") == str(venv.parent)
    assert prefix.run().variable("APPTAINERENV_VIRTUAL_ENV") == "/opt/venv"


def test_the_library_path_is_handed_on(prefix: Prefix) -> None:
    assert inside(prefix, "LD_LIBRARY_PATH", LD_LIBRARY_PATH="/a:$ORIGIN") == r"/a:\$ORIGIN"
    assert inside(prefix, "LD_LIBRARY_PATH") is None
    given = {"LD_LIBRARY_PATH": "/a", "SINGULARITYENV_LD_LIBRARY_PATH": "/mine"}
    assert inside(prefix, "LD_LIBRARY_PATH", **given) == "/mine"


# -- the activated environment -------------------------------------------------------------------
ODD = 'it\'s "$HOME" `x` \\ *\n'


def activated(install: Install, *changes: Changes, **assign: str) -> Prefix:
    return install(activation=activation(recorded(*changes), **assign))


def test_assignments_replace_the_users_value(install: Install) -> None:
    values = {"CONDA_PREFIX": "/env", "HOSTILE": ODD, "EMPTY": ""}
    call = activated(install, **values).run(env={"CONDA_PREFIX": "/other"})
    assert {name: call.variable(name) for name in values} == values


@pytest.mark.parametrize("name", ["LD_LIBRARY_PATH", "LD_PRELOAD"])
def test_what_is_for_the_loader_inside_is_kept_from_the_runtime(
    install: Install, name: str
) -> None:
    """Runtimes set LD_LIBRARY_PATH anew, and must not load the environment's libraries."""
    call = activated(install, **{name: "/env/lib$x"}).run()
    assert call.variable(name) is None
    assert call.inside(name) == r"/env/lib\$x"


def test_an_assigned_path_still_begins_with_the_installation(install: Install) -> None:
    prefix = activated(install, PATH="/assigned")
    assert inside(prefix, "PATH", PATH="/a") == f"{prefix.root}/bin:/assigned"


@pytest.mark.parametrize(("before", "after"), [(None, "/x"), ("", "/x"), ("/mine", "/x:/mine")])
def test_prepended_values_come_before_the_users(
    install: Install, before: str | None, after: str
) -> None:
    call = activated(install, prepends("XDG_DATA_DIRS", "/x")).run(env={"XDG_DATA_DIRS": before})
    assert call.variable("XDG_DATA_DIRS") == after


def test_a_value_is_prepended_to_what_was_assigned(install: Install) -> None:
    prefix = activated(install, prepends("ONE", "/b"), ONE="/a")
    assert prefix.run().variable("ONE") == "/b:/a"


@pytest.mark.parametrize("name", ["PATH", "LD_LIBRARY_PATH"])
def test_paths_of_the_runtime_are_prepended_in_its_own_variables(
    install: Install, name: str
) -> None:
    prefix = activated(install, prepends(name, "/first:/second$x"))
    given = {"PATH": "/p", "LD_LIBRARY_PATH": "/l"}
    rest = f"{prefix.root}/bin:/p" if name == "PATH" else "/l"
    assert inside(prefix, name, **given) == rf"/first:/second\$x:{rest}"


@pytest.mark.parametrize("name", ["PATH", "LD_LIBRARY_PATH", "XDG_DATA_DIRS"])
def test_a_value_can_be_put_behind_the_users(install: Install, name: str) -> None:
    prefix = activated(install, appends(name, "/last$x"))
    call = prefix.run(env={name: "/mine"})
    if name == "XDG_DATA_DIRS":
        assert call.variable(name) == "/mine:/last$x"
    else:
        first = f"{prefix.root}/bin:" if name == "PATH" else ""
        assert call.inside(name) == rf"{first}/mine:/last\$x"


def test_an_images_own_path_gets_more_at_both_ends(prefix: Prefix) -> None:
    """What PATH is in the image is not known outside: the runtime adds to it."""
    changes = (prepends("PATH", "/one"), prepends("PATH", "/two"), appends("PATH", "/last"))
    image = str(prefix.runtime)  # any file
    write_environment(prefix.root, activation=activation(recorded(*changes)), image=image)
    call = prefix.run(env={"PATH": "/mine"})
    assert call.inside("PREPEND_PATH") == f"/two:/one:{prefix.root}/bin"
    assert call.inside("APPEND_PATH") == "/last"
    assert call.inside("PATH") is None


CERTIFICATE = (sets("CERT_SET", "1", "-CERT"), defaults("CERT", "/env/cert|a"))


def test_defaults_fill_what_is_unset_or_empty(install: Install) -> None:
    call = activated(install, *CERTIFICATE).run(env={"CERT": ""})
    assert (call.variable("CERT"), call.variable("CERT_SET")) == ("/env/cert|a", "1")


def test_defaults_yield_to_a_value(install: Install) -> None:
    call = activated(install, *CERTIFICATE).run(env={"CERT": "/mine"})
    assert (call.variable("CERT"), call.variable("CERT_SET")) == ("/mine", None)


@pytest.mark.parametrize(("given", "saved"), [(None, None), ("", None), (ODD, ODD)])
def test_the_users_value_is_saved_before_it_is_replaced(
    install: Install, given: str | None, saved: str | None
) -> None:
    changes = (copies("SAVED", "DATA"), sets("DATA", "/env/data"))
    call = activated(install, *changes).run(env={"DATA": given})
    assert (call.variable("SAVED"), call.variable("DATA")) == (saved, "/env/data")


def test_scripts_change_what_those_before_them_left(install: Install) -> None:
    one = recorded(sets("A", "/1"), defaults("B", "/1"), unsets("C"))
    two = recorded(prepends("A", "/2"), prepends("B", "/2"), defaults("C", "/2"))
    call = install(activation=activation(one, two)).run(env={"C": "mine"})
    assert [call.variable(name) for name in "ABC"] == ["/2:/1", "/2:/1", "/2"]


def test_an_environment_file_of_an_earlier_version_counts_as_it_did(prefix: Prefix) -> None:
    """After a rollback to a generation that was made before the shims."""
    path = prefix.root / ".generations/1/env"
    path.write_text(
        "_cw_generation=1\n_cw_install_path=/nowhere\n_cw_assign=(A=/a)\n"
        "_cw_prepends=('A=/b' 'N=/n$x')\n_cw_unsets=(U)\n_cw_scripts=(/s.sh)\n"
        "_cw_defaults=('G H|G=1' 'G H|H=it'\\''s' 'K|K=1')\n"
    )
    call = prefix.run(env={"U": "u", "K": "mine"})
    got = {name: call.variable(name) for name in "ANUGHK"}
    assert got == {"A": "/b:/a", "N": "/n$x", "U": None, "G": "1", "H": "it's", "K": "mine"}
    assert b"/s.sh" in b" ".join(call.command)


def test_unset_variables_are_gone(install: Install) -> None:
    given = {"GONE": "x", "LD_LIBRARY_PATH": "/l", "STAYS": "y"}
    call = activated(install, unsets("GONE"), unsets("LD_LIBRARY_PATH")).run(env=given)
    assert call.variable("GONE") is None
    assert call.variable("LD_LIBRARY_PATH") is None
    assert call.inside("LD_LIBRARY_PATH") is None
    assert call.variable("STAYS") == "y"


@pytest.mark.parametrize(("given", "seen"), [(None, "1"), ("", ""), ("x", "x")])
def test_the_users_own_site_packages_are_off_unless_they_say_so(
    prefix: Prefix, given: str | None, seen: str
) -> None:
    assert prefix.run(env={"PYTHONNOUSERSITE": given}).variable("PYTHONNOUSERSITE") == seen


@pytest.mark.parametrize("given", [None, "", "1"])
def test_or_said_so_when_they_built_it(prefix: Prefix, given: str | None) -> None:
    write_environment(prefix.root, user_site=True)
    assert prefix.run(env={"PYTHONNOUSERSITE": given}).variable("PYTHONNOUSERSITE") == given


@pytest.mark.parametrize("given", [None, "C", "C.UTF-8", "xx_YY"])
def test_the_callers_locale_is_theirs(install: Install, given: str | None) -> None:
    """For the shim itself words are bytes."""
    plain = install().run(env={"LC_ALL": given, "X": "\udce9"})
    assert plain.variable("LC_ALL") == given


@pytest.mark.parametrize("given", [None, "C", "C.UTF-8"])
def test_the_installation_may_set_a_locale(install: Install, given: str | None) -> None:
    prefix = install()

    def seen(given_activation: Activation, **env: str) -> Call:
        write_environment(prefix.root, activation=given_activation)
        return prefix.run(env={"LC_ALL": given, **env})

    wanted = given or "POSIX"
    changes = defaults("LC_ALL", "POSIX"), copies("SEEN", "LC_ALL")
    call = seen(activation(recorded(*changes)))
    assert (call.variable("LC_ALL"), call.variable("SEEN")) == (wanted, wanted)
    assert seen(activation(recorded(unsets("LC_ALL")))).variable("LC_ALL") is None
    call = seen(activation(LC_ALL="POSIX"), CONTAINERIZE_KEEP="LC_ALL")
    assert call.variable("LC_ALL") == wanted


# -- the caller's word ---------------------------------------------------------------------------
KEEP = {"A": "mine", "P": "/p", "D": "", "U": "u", "LD_LIBRARY_PATH": "/l", "PATH": "/x"}


def test_the_caller_may_keep_values_of_their_own(install: Install) -> None:
    prefix = activated(
        install,
        *(prepends("P", "/env"), prepends("LD_LIBRARY_PATH", "/env")),
        *(defaults("D", "env|x=y"), unsets("U")),
        A="env",
        B="env",
        C="env",
    )
    call = prefix.run(env={**KEEP, "B": "mine", "CONTAINERIZE_KEEP": "A,P, D,U,LD_LIBRARY_PATH,C"})
    seen = {name: call.variable(name) for name in ("A", "B", "C", "P", "D", "U")}
    assert seen == {"A": "mine", "B": "env", "C": "env", "P": "/p", "D": "", "U": "u"}
    assert call.variable("APPTAINERENV_LD_LIBRARY_PATH") == "/l"
    plain = prefix.run(env=KEEP)
    assert (plain.variable("A"), plain.variable("D"), plain.variable("U")) == (
        "env",
        "env|x=y",
        None,
    )


def test_the_callers_path_may_be_kept_as_it_is(prefix: Prefix) -> None:
    assert inside(prefix, "PATH", PATH="/x:/y", CONTAINERIZE_KEEP="PATH") == "/x:/y"


def test_what_is_kept_wins_over_an_image_too(prefix: Prefix, tmp_path: Path) -> None:
    (tmp_path / "x.sif").touch()
    write_environment(prefix.root, image=str(tmp_path / "x.sif"), activation=activation(A="env"))
    call = prefix.run(env={"A": "$mine", "CONTAINERIZE_KEEP": "A"})
    assert call.variable("APPTAINERENV_A") == r"\$mine"


def test_what_is_kept_wins_over_scripts_too(install: Install, tmp_path: Path) -> None:
    prefix = scripted(install, tmp_path, "export A=script B=script\n")
    script = dynamic(str(tmp_path / "script 0.sh"))
    write_environment(prefix.root, activation=activation(script, A="env"))
    seen = program_environment(prefix, {"A": "mine", "B": "mine", "CONTAINERIZE_KEEP": "A,B"})
    assert (seen["A"], seen["B"]) == ("mine", "mine")


# -- scripts that depend on the moment -------------------------------------------------------------
def scripted(install: Install, tmp_path: Path, *texts: str) -> Prefix:
    """An installation whose runtime runs the command, after these scripts."""
    paths = []
    for number, text in enumerate(texts):
        path = tmp_path / f"script {number}.sh"
        path.write_text(text)
        paths.append(str(path))
    return install(runs=True, activation=activation(*map(dynamic, paths)))


def program_environment(prefix: Prefix, env: dict[str, str]) -> dict[str, str]:
    call = prefix.run("/usr/bin/env", "-0", name="_debug_exec", env=env)
    items = (os.fsdecode(item).partition("=") for item in call.stdout.split(b"\0") if item)
    return {name: value for name, _, value in items}


def sourced_scripts(call: Call) -> list[bytes]:
    """Names of the scripts that a call sources."""
    return re.findall(rb"/(\w+)\.sh", b" ".join(call.command))


@pytest.mark.parametrize(
    ("env", "sourced"),
    [
        ({}, b""),
        ({"NAME": "x"}, b"one three"),
        ({"NAME": ""}, b"one three"),
        ({"APPTAINERENV_NAME": "x"}, b"one three"),
        ({"EMPTY": "x"}, b""),
        ({"EMPTY": ""}, b"two"),
        ({"NAME": "x", "EMPTY": ""}, b"one two three"),
    ],
)
def test_a_recorded_script_is_sourced_where_what_it_looks_into_is_set(
    install: Install, env: dict[str, str], sourced: bytes
) -> None:
    scripts = (
        recorded(sets("ONE", "1"), path="/one.sh", unless=("OTHER", "NAME")),
        recorded(sets("TWO", "2"), path="/two.sh", unless_empty=("EMPTY",)),
        recorded(sets("THREE", "3"), path="/three.sh", after=(0,)),
        recorded(sets("FOUR", "4"), path="/four.sh"),
    )
    call = install(activation=activation(*scripts)).run(env=env)
    assert sourced_scripts(call) == sourced.split()
    values = {name: call.variable(name.upper()) for name in ("one", "two", "three", "four")}
    expected = {name: str(n) for n, name in enumerate(values, 1) if name.encode() not in sourced}
    assert {name: value for name, value in values.items() if value} == expected


def test_scripts_are_sourced_in_order_before_the_program(install: Install, tmp_path: Path) -> None:
    prefix = scripted(install, tmp_path, "export A=$$ B=1\n", "export B=${B}2\n")
    seen = program_environment(prefix, {})
    assert seen["A"].isdigit() and seen["B"] == "12"


def test_scripts_leave_the_arguments_alone(install: Install, tmp_path: Path) -> None:
    prefix = scripted(install, tmp_path, "set -- x y z\nshift\nn=7\n", "set -u\n")
    words = [b"", b"a b", b"*", b"$x", b"\xff", b"-c"]
    call = prefix.run("/usr/bin/printf", "%s\\0", *words, name="_debug_exec")
    assert call.stdout.split(b"\0")[:-1] == words


def test_scripts_see_no_arguments(install: Install, tmp_path: Path) -> None:
    prefix = scripted(install, tmp_path, 'export COUNT=$# FIRST="${1-none}"\n')
    seen = program_environment(prefix, {})
    assert (seen["COUNT"], seen["FIRST"]) == ("0", "none")


def test_the_users_variables_survive_the_scripts_shell(install: Install, tmp_path: Path) -> None:
    prefix = scripted(install, tmp_path, "")
    given = dict.fromkeys([*WORDS, "n", "i", "script"], "the user's")
    seen = program_environment(prefix, given)
    assert {name: seen.get(name) for name in given if seen.get(name) != "the user's"} == {}


def test_the_scripts_shell_reads_no_startup_file_and_no_functions(
    install: Install, tmp_path: Path
) -> None:
    startup = tmp_path / "startup"
    startup.write_text(f"touch '{tmp_path}/read'\n")
    prefix = scripted(install, tmp_path, "")
    function = "() {  touch pwned\n}"
    seen = program_environment(prefix, {"BASH_ENV": str(startup), "BASH_FUNC_exec%%": function})
    assert (seen["BASH_ENV"], seen["BASH_FUNC_exec%%"]) == (str(startup), function)
    assert not (tmp_path / "read").exists() and not (prefix.out / "pwned").exists()


def test_the_scripts_shells_own_options_do_not_reach_a_bash_inside(
    install: Install, tmp_path: Path
) -> None:
    seen = program_environment(scripted(install, tmp_path, ""), {"SHELLOPTS": "pipefail"})
    assert "privileged" not in seen["SHELLOPTS"]


def test_the_program_takes_the_place_of_the_scripts_shell(install: Install, tmp_path: Path) -> None:
    prefix = scripted(install, tmp_path, "")
    call = prefix.run("/bin/sh", "-c", "echo $$", name="_debug_exec")
    assert int(call.stdout) == call.pid
