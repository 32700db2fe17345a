"""What uv says of a failure, as its cause. The texts are uv 0.13's."""

from __future__ import annotations

from pathlib import Path

import pytest

from wrapper.errors import (
    ChannelError,
    InputError,
    PackageError,
    ScriptError,
    SolveError,
    ToolError,
)
from wrapper.inputs.requirements import Requirements, Wanted
from wrapper.pip.uv_output import explained, together

PACKAGES = [
    Wanted(text="six", where="r.txt, line 1", name="six"),
    Wanted(text="Num-Py >=99", where="r.txt, line 2", name="num-py"),
]
WANTED = Requirements(packages=PACKAGES)


def no_solution(cause: str) -> ScriptError:
    detail = f"Using Python 3.11.7 environment at: v\nerror: No solution found\n  cause: {cause}"
    return ScriptError("uv pip install failed with status 1", detail=detail)


@pytest.mark.parametrize(
    ("cause", "what", "where"),
    [
        (
            "Because num-py was not found in the package registry and you require num-py, we can",
            "no index has a package 'num-py'",
            "r.txt, line 2",
        ),
        (
            "Because six was not found in the provided package locations and you require six, we",
            "no index has a package 'six'",
            "r.txt, line 1",
        ),
        (
            "Because there is no version of num-py==99 and you require num-py==99, we can",
            "no index has a package that fits 'Num-Py >=99'",
            "r.txt, line 2",
        ),
        (
            "Because only num-py<=2.5.5 is available and you require num-py>=99,<100, we can",
            "no index has a package that fits 'Num-Py >=99'",
            "r.txt, line 2",
        ),
        (
            "Because only the following versions of num-py are available:\n      num-py==1\n"
            "      num-py==2\n  and you require num-py>=99, we can",
            "no index has a package that fits 'Num-Py >=99'",
            "r.txt, line 2",
        ),
        (
            "Because six==1 has no wheels with a matching platform tag (e.g., `manylinux_2_36`) "
            "and you require six==1, we can",
            "no index has 'six' for this Python on Linux",
            "r.txt, line 1",
        ),
        (
            "Because num-py<=302 has no wheels with a matching Python ABI tag (e.g., `cp311`) and "
            "only the following versions of num-py are available:\n      num-py<=302\n      "
            "num-py>=303\n    we can conclude that num-py<303 cannot be used.\n    And because "
            "num-py>=303 has no wheels with a matching platform tag (e.g., `x`) and you require "
            "num-py, we can",
            "no index has 'num-py' for this Python on Linux",
            "r.txt, line 2",
        ),
        (
            "Because six==1 has no usable wheels and other==2 depends on six==1, we can conclude",
            "the pip packages cannot be installed together",
            None,
        ),
        (
            "Because other was not found in the package registry and six==1 depends on other, we",
            "the pip packages cannot be installed together",
            None,
        ),
        (
            "Because you require six<1.15 and six>1.16, we can conclude that your requirements",
            "the pip packages cannot be installed together",
            None,
        ),
    ],
)
def test_what_no_index_has_is_told_with_its_place(cause: str, what: str, where: str | None) -> None:
    error = explained(no_solution(cause), WANTED)
    assert isinstance(error, SolveError)
    assert (error.what, error.where) == (what, where)
    assert cause in error.detail and error.hint


def test_several_packages_are_told_with_the_places_that_are_known() -> None:
    """A line of a remote file has none."""
    found = [SolveError("no six", hint="a"), SolveError("no x", where="r.txt, line 2", hint="b")]
    error = together(found)
    assert error.detail == "no six\n  a\nr.txt, line 2: no x\n  b"


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("error: command 'gcc' failed: No such file or directory", "gcc"),
        ("ERROR: Unknown compiler(s): [['cc'], ['gcc']]", "cc"),
        ("CMake Error: No CMAKE_CXX_COMPILER could be found.", ""),
        (
            "error: [Errno 2] No such file or directory: 'x86_64-linux-gnu-gcc'",
            "x86_64-linux-gnu-gcc",
        ),
    ],
)
def test_a_missing_compiler(line: str, named: str) -> None:
    error = explained(ScriptError("uv failed", detail=f"building\n{line}\n"), WANTED)
    assert isinstance(error, ToolError)
    assert error.what == f"a package must be compiled, and there is no compiler {named}".strip()


@pytest.mark.parametrize("quote", ["", "`"])
def test_an_index_that_cannot_be_reached(quote: str) -> None:
    detail = (
        "error: Request failed after 3 retries in 7.1s\n"
        f"  cause: Failed to fetch: {quote}https://index.example/simple/rich/{quote}\n"
        "  cause: client error (Connect)\n  cause: Connection refused (os error 111)"
    )
    error = explained(ScriptError("uv pip install failed with status 2", detail=detail), WANTED)
    assert isinstance(error, ChannelError) and error.detail == detail
    assert error.where == "https://index.example/simple/rich/" and "proxy" in error.hint


@pytest.mark.parametrize(
    "detail",
    [
        "error: connection refused",
        "cause: Failed to fetch: https://i/x/\ncause: client error (Connect)\n"
        "cause: invalid peer certificate: UnknownIssuer",
    ],
)
def test_what_is_not_known_stays_as_it_is(detail: str) -> None:
    error = ScriptError("uv pip install failed with status 2", detail=detail)
    assert explained(error, WANTED) is error


def test_a_base_image_without_git() -> None:
    detail = "error: Git operation failed\n  cause: Git executable not found. Ensure that Git is"
    repository = Wanted(text="git+https://h/x", where="r.txt, line 3")
    wanted = Requirements(packages=[*PACKAGES, repository])
    found = explained(ScriptError("uv pip install failed with status 1", detail=detail), wanted)
    assert isinstance(found, ToolError) and "has no git" in found.what
    assert found.where == "r.txt, line 3"


@pytest.mark.parametrize(
    ("text", "named", "where"),
    [
        (
            "error: In `--require-hashes` mode, all requirements must have their versions pinned "
            "with `==`, but found: num-py",
            "num-py",
            "r.txt, line 2",
        ),
        (
            "error: In `--require-hashes` mode, all requirements must have a hash, but none were "
            "provided for: six==1",
            "six==1",
            "r.txt, line 1",
        ),
        (
            "error: Hash-checking is required, but no trusted hash was provided for: `other`",
            "other",
            None,
        ),
    ],
)
def test_a_hash_that_is_required(text: str, named: str, where: str | None) -> None:
    error = explained(ScriptError("uv failed", detail=text), WANTED)
    assert isinstance(error, InputError) and error.where == where
    assert error.what == f"hashes are required, and there is none of {named}"


@pytest.mark.parametrize(
    "text",
    [
        "HTTP status client error (401 Unauthorized) for url (http://h/x.whl)",
        "fatal: could not read Username for 'https://h': terminal prompts disabled",
    ],
)
def test_a_login_that_is_missing(text: str) -> None:
    error = explained(ScriptError("uv failed", detail=text), WANTED)
    assert isinstance(error, ChannelError) and "~/.netrc" in error.hint


def test_the_index_that_refused_is_named() -> None:
    text = "hint: An index URL (https://me:x@h.example/simple) could not be queried due to a lack "
    text += "of valid authentication credentials (401 Unauthorized)"
    error = explained(ScriptError("uv failed", detail=text), WANTED)
    assert error.where == "https://h.example/simple"
    assert "'machine h.example login NAME password SECRET'" in error.hint
    assert "${NAME}:${PASSWORD}@" in error.hint


def test_a_server_is_told_with_the_line_that_names_it() -> None:
    refused = "HTTP status client error (401 Unauthorized) for url (https://h.example{})"
    gone = "HTTP status client error (404 Not Found) for url (https://h.example{})"
    wheel = Wanted(text="a @ https://me:x@h.example/f/a-1-py3-none-any.whl", where="r.txt, line 3")
    asked = Requirements(
        packages=[*PACKAGES, wheel], sources=[("https://me:x@h.example/simple/", "r.txt, line 1")]
    )
    for text, kind in ((refused, ChannelError), (gone, PackageError)):
        for path, place in (
            ("/simple", " (r.txt, line 1)"),
            ("/simple/six/", " (r.txt, line 1)"),
            ("/f/a-1-py3-none-any.whl", " (r.txt, line 3)"),
            ("/simpler", ""),
        ):
            error = explained(ScriptError("uv failed", detail=text.format(path)), asked)
            assert isinstance(error, kind)
            assert error.where == f"https://h.example{path}{place}"


def test_a_build_that_lacks_a_module() -> None:
    text = "  x Failed to build `six==0.2.4`\nModuleNotFoundError: No module named '{}'"
    error = explained(ScriptError("uv failed", detail=text.format("pkg_resources")), WANTED)
    assert error.what.startswith("six is built from source") and error.where == "r.txt, line 1"
    assert "'setuptools<81'" in error.hint and "PIP_BUILD_CONSTRAINT" in error.hint
    error = explained(ScriptError("uv failed", detail=text.format("torch")), WANTED)
    assert "'--no-build-isolation six'" in error.hint
    other = (
        "No module named 'x'\nhint: This error likely indicates that `visdom@0.2.4` depends on `x`"
    )
    error = explained(ScriptError("uv failed", detail=f"ModuleNotFoundError: {other}"), WANTED)
    assert error.what.startswith("visdom is built from source") and error.where is None


@pytest.mark.parametrize("late", ["six", ":all:"])
def test_a_build_without_isolation_lacks_what_is_not_asked_for(late: str) -> None:
    """The line that would turn isolation off is there."""
    text = "  x Failed to build `six==0.2.4`\nModuleNotFoundError: No module named '{}'"
    asked = Requirements(packages=PACKAGES, late={late})
    error = explained(ScriptError("uv failed", detail=text.format("setuptools")), asked)
    assert "write a line with what has it (setuptools)" in error.hint
    error = explained(ScriptError("uv failed", detail=text.format("pkg_resources")), asked)
    assert error.hint.endswith("write a line 'setuptools<81'")


def test_a_project_whose_name_only_its_build_tells() -> None:
    """uv has no name for it: "The build backend returned an error"."""
    local = [Wanted(text=f"./{n}", where=f"r.txt, line {n}", path=Path(f"/w/{n}")) for n in (3, 4)]
    missing = ScriptError("uv failed", detail="ModuleNotFoundError: No module named 'numpy'")
    error = explained(missing, Requirements(packages=[*PACKAGES, local[0]]))
    assert error.what.startswith("./3 is built from source") and error.where == "r.txt, line 3"
    assert "write 'NAME @ file:///w/3'" in error.hint
    error = explained(missing, Requirements(packages=[*PACKAGES, *local]))
    assert error.what.startswith("a package is built from source") and error.where is None
