"""``update``, ``rollback``, ``list``, ``prune``: generations and the one switch between them."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.account import Account
from tests.e2e.conftest import (
    CONDA,
    PIP,
    UMBRELLA,
    Builder,
    Installation,
    change,
    current,
    entries,
    environment_text,
    has,
    needs_root,
    open_directory,
    seen,
    small_file_system,
)
from tests.index import write_files_wheel, write_project, write_wheel
from tests.trees import different, image_tree
from wrapper.errors import ExitCode


@pytest.fixture
def base(me: Account, build: Builder, request: pytest.FixtureRequest) -> Installation:
    """An installation of one test's own."""
    return build(me, request.node.name, "python", "demo-noarch")


@pytest.fixture
def everyones(account: Account, build: Builder) -> Installation:
    """The same for every account."""
    return build(account, "to-update", "python", "demo-noarch")


def env(installation: Installation, channel: Path, *specs: str) -> Path:
    return installation.account.file("changed.yml", environment_text(channel, *specs))


@pytest.mark.every_runtime
def test_an_update_adds_removes_and_lists(everyones: Installation, channel: Path) -> None:
    base = everyones
    more = env(base, channel, "python", "demo-noarch", "demo-tool", "demo-activate")
    said = change(base, more)
    assert said.index("+ demo-tool") < said.index("Linking"), "told before anything is changed"
    assert said.count("+ demo-tool") == 1
    assert "+ demo-tool" in said and "2 added (demo-activate, demo-tool)" in said
    assert current(base) == 2
    inside = base.manifest["install_path"]
    assert base.account.ok(base.program("demo-tool")).strip() == inside
    activated = "import os; print(os.environ['DEMO_ACTIVATE_HOME'])"
    assert base.python(activated) == f"{inside}/share/demo\n"

    said = change(base, env(base, channel, "python", "demo-tool"))
    assert "- demo-noarch" in said
    assert not has(base, "demo_noarch")
    assert not base.program("demo-noarch").exists()
    assert entries(base.prefix / "bin") >= {"python3", "demo-tool", "list-packages"}

    listed = base.account.ok(UMBRELLA, "list", base.prefix).splitlines()
    assert [line.startswith("*") for line in listed] == [False, False, True]
    history = json.loads(base.account.ok(UMBRELLA, "list", base.prefix, "--json"))
    assert [entry["number"] for entry in history] == [1, 2, 3]


@pytest.fixture
def numeric(me: Account, build: Builder, request: pytest.FixtureRequest) -> Installation:
    name = "joined-" + request.node.name.rpartition("[")[2].strip("]")
    # One module, no directory: what is compiled of it is the only thing in its __pycache__.
    project = write_project(me.work / f"{name}-project", "single", "1.0")
    pip = f"  - pip:\n    - {project}\n"
    return build(me, name, "python", "numpy=1", "demo-noarch", more=pip)


JOINED, REST, WHOLE = "Packing what is new", "Unpacking the rest", "Unpacking the image"


def differing(base: Installation, place: Path, one: str, other: str) -> set[str]:
    """Paths that are not the same in the images of these generations."""
    images = {number: base.prefix / ".generations" / number / "img.sqfs" for number in (one, other)}
    trees = [image_tree(base.account, image, place / it) for it, image in images.items()]
    return different(*trees)


@pytest.mark.parametrize(
    ("specs", "steps"),
    [
        (("python", "numpy=1", "demo-noarch", "demo-tool", "demo-activate"), [JOINED]),
        (("python", "numpy=2", "demo-noarch"), [JOINED]),
        (("python", "demo-noarch", "requests"), [JOINED]),
        (("python", "numpy=1", "demo-noarch", "demo-postlink"), [JOINED, REST]),
    ],
    ids=["added", "replaced", "removed", "scripts"],
)
def test_joined_images_hold_what_images_of_a_whole_tree_do(
    specs: tuple[str, ...], steps: list[str], numeric: Installation, channel: Path, tmp_path: Path
) -> None:
    base, me = numeric, numeric.account
    said = change(base, env(base, channel, *specs))
    assert [word for word in (JOINED, REST, WHOLE) if word in said] == steps
    joined = {name: base.manifest[name] for name in ("tree", "programs", "packages")}
    me.ok(UMBRELLA, "rollback", base.prefix, "1")
    said = change(base, "--compression", "fast", env(base, channel, *specs))
    assert [word for word in (JOINED, REST, WHOLE) if word in said] == [WHOLE]
    assert {name: base.manifest[name] for name in joined} == joined
    assert differing(base, tmp_path, "2", "3") == set()


@pytest.mark.parametrize("word", ["lz4", "gzip"])
def test_an_update_keeps_the_compression_and_joins(
    word: str, me: Account, build: Builder, channel: Path
) -> None:
    specs = ("python", "demo-noarch")
    base = build(me, f"packed-with-{word}", *specs, options=("--compression", word))
    site = me.file("blocks.yml", "squashfs_options: -b 64K\n")  # those of its image stay
    file = env(base, channel, *specs, "demo-tool")
    said = me.run(CONDA, "update", base.prefix, file, env={"CONTAINERIZE_SITE": str(site)}).stderr
    assert JOINED in said and REST not in said
    assert base.manifest["image"]["compression"] == word
    assert has(base, "demo_noarch") and me.ok(base.program("demo-tool"))


@pytest.fixture(scope="session")
def wheels() -> Iterator[Path]:
    """A directory of packages: two of one namespace, one that was a module before, and one with
    files among another's, of no name of its own, and outside of Python's library.
    """
    with open_directory() as root:
        write_wheels(root)
        yield root


def write_wheels(root: Path) -> None:
    """What :func:`wheels` has."""
    for name, version in (("alpha", "1.0"), ("alpha", "2.0"), ("beta", "1.0"), ("lone", "2.0")):
        write_wheel(root, name, version)
    write_files_wheel(root, "lone", "1.0", {"lone.py": "VERSION = '1.0'\n"})
    write_files_wheel(root, "solo", "1.0", {"solo.py": "", "shared/solo.txt": "solo\n"})
    for name, version in (("one", "1.0"), ("one", "2.0"), ("two", "1.0"), ("three", "1.0")):
        text = f"VERSION = {version!r}\n"
        write_files_wheel(root, f"space-{name}", version, {f"space/{name}.py": text})
    for version, more in (("1.0", "1"), ("2.0", "2")):  # beside other packages' files, and away
        files = {f"shared/odd{more}.py": "", "odd.py": f"VERSION = {version!r}\n"}
        files |= {
            f"odd-{version}.data/data/share/odd/{more}.txt": "odd\n",
            "__editable__.odd.pth": "",
        }
        write_files_wheel(root, "odd", version, files)


def pip_file(me: Account, wheels: Path, *lines: str) -> Path:
    text = "".join(f"{line}\n" for line in ("--no-index", f"--find-links {wheels}", *lines))
    return me.file(f"pip-{'-'.join(lines)}.txt", text)


def told_once_and_in_full(said: str) -> None:
    """No step is told twice, unless it is said to come once more, and together they are all."""
    steps = re.findall(r"^\[ INFO \] (.*): ([0-9.]+) s$", said, re.M)
    titles = [title for title, _ in steps]
    again = {"Fetching and checking 0 packages", "Linking"} if "once more" in said else set()
    assert all(titles.count(title) == 1 for title in {*titles} - again), said
    (total,) = re.findall(r" in ([0-9.]+) s$", said, re.M)
    assert abs(float(total) - sum(float(seconds) for _, seconds in steps)) < 1, said


HAD = ("alpha==1.0", "lone==1.0", "odd==1.0", "solo", "space-one==1.0", "space-two")


@pytest.fixture(scope="session", params=["conda", "pip"])
def with_pip(
    request: pytest.FixtureRequest, me: Account, wheels: Path, build: Builder
) -> Installation:
    """An installation with pip packages."""
    file, prefix = pip_file(me, wheels, *HAD), me.work / f"pip-{request.param}"
    if request.param == "pip":
        me.ok(PIP, "new", "--prefix", prefix, file)
        return Installation(prefix=prefix, account=me)
    specs = ("python", "numpy=1", "demo-activate")
    return build(me, prefix.name, *specs, options=("-r", str(file)))


@pytest.mark.parametrize(
    ("asked", "steps"),
    [
        ("beta", [JOINED]),
        ("alpha==2.0", [JOINED]),
        ("lone==2.0", [JOINED]),
        ("odd==2.0", [JOINED]),
        ("space-one==2.0", [JOINED]),
        ("space-three", [JOINED, WHOLE]),
    ],
    ids=["added", "replaced", "module", "odd", "namespace", "further part"],
)
def test_joined_images_with_pip_packages(
    with_pip: Installation, asked: str, steps: list[str], wheels: Path, tmp_path: Path
) -> None:
    base, me = with_pip, with_pip.account
    command = CONDA if base.manifest["kind"] == "conda" else PIP
    file = pip_file(me, wheels, asked)
    name, _, version = asked.partition("==")
    code = f"import alpha, space.one; import {name.replace('-', '.')} as m; "
    code += "print(getattr(m, 'VERSION', ''))"
    manifests = []
    for options in ((), ("--compression", "fast")):
        done = me.run(command, "update", base.prefix, "-r", file, *options)
        assert done.returncode == 0, done.stderr
        found = [word for word in (JOINED, REST, WHOLE) if word in done.stderr]
        assert found == ([WHOLE] if options else steps), done.stderr
        told_once_and_in_full(done.stderr)
        manifests.append(base.manifest)
        assert base.python(code).strip() in (version, "1.0")
        me.ok(UMBRELLA, "rollback", base.prefix, "1")
    numbers = [str(manifest["generation"]) for manifest in manifests]
    assert differing(base, tmp_path, *numbers) == set()
    for key in ("tree", "programs", "packages"):
        assert manifests[0][key] == manifests[1][key]


SCRIPTS = {
    "pip": ("set -e\npip install {index} beta\n", [JOINED]),
    "replaced": ("pip install {index} -U 'alpha>=2'\n", [JOINED, WHOLE]),
    "more": (
        'cd "$env_root"/lib/python3*/site-packages\n'
        "pip install {index} beta\n"
        "echo 'VERSION = \"3.0\"' >alpha/__init__.py\n"
        "mv space/two.py space/moved.py\n"
        "ln lone.py again.py; ln -s alpha beside; rm solo.py; rm -f */__pycache__/one.*\n"
        "cp -r odd.py kept; chmod +x kept; mkdir -p empty/deep\n"
        'find "$env_root" -type f -name "*.txt" -exec touch {{}} +\n',
        [JOINED, WHOLE],
    ),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_joined_images_after_scripts(
    with_pip: Installation, name: str, wheels: Path, tmp_path: Path
) -> None:
    base, me = with_pip, with_pip.account
    text, steps = SCRIPTS[name]
    index = f"--no-index --find-links {wheels}"
    script = me.file(f"script-{name}.sh", text.format(index=index))
    kind = CONDA if base.manifest["kind"] == "conda" else PIP
    numbers = []
    for options in ((), ("--compression", "fast")):
        done = me.run(kind, "update", base.prefix, "--post-install", script, *options)
        assert done.returncode == 0, done.stderr
        found = [word for word in (JOINED, REST, WHOLE) if word in done.stderr]
        assert found == ([WHOLE] if options else steps), done.stderr
        told = f"{script.name} does more than install with pip (line 3): "
        assert (told in done.stderr) is (name == "more" and not options)
        numbers.append(str(base.manifest["generation"]))
        me.ok(UMBRELLA, "rollback", base.prefix, "1")
    assert differing(base, tmp_path, *numbers) == set()


@pytest.fixture(scope="session")
def everyones_pip(account: Account, wheels: Path, runtime: Path) -> Installation:
    """An installation with pip packages for every account, with a directory that is closed."""
    text = 'mkdir -p "$env_root"/kept/closed; echo x >"$env_root"/kept/closed/x; '
    script = account.file("closed.sh", f'{text} chmod 555 "$env_root"/kept/closed\n')
    prefix = account.work / "everyones-pip"
    account.ok(
        PIP, "new", "--prefix", prefix, "--post-install", script, pip_file(account, wheels, *HAD)
    )
    return Installation(prefix=prefix, account=account)


EVERYWHERE = {"replaced": "alpha==2.0", "script": "pip", "other": "more"}


@pytest.mark.every_runtime
@pytest.mark.parametrize("way", EVERYWHERE)
def test_joined_images_of_every_account(
    everyones_pip: Installation, way: str, wheels: Path
) -> None:
    """Files, modes, links and times as the whole way gives them, with each runtime."""
    base, account, what = everyones_pip, everyones_pip.account, EVERYWHERE[way]
    words: tuple[str | Path, ...] = ("-r", pip_file(account, wheels, what))
    if what in SCRIPTS:
        text = SCRIPTS[what][0].format(index=f"--no-index --find-links {wheels}")
        words = ("--post-install", account.file(f"every-{what}.sh", text))
    numbers = []
    for options in ((), ("--compression", "gzip:1")):
        said = account.run(PIP, "update", base.prefix, *words, *options)
        assert said.returncode == 0, said.stderr
        assert (JOINED in said.stderr) is (not options), said.stderr
        numbers.append(str(current(base)))
        account.ok(UMBRELLA, "rollback", base.prefix, "1")
    place = account.directory(f"every-{way}")
    assert differing(base, place, *numbers) == set()


def test_an_update_that_changes_nothing_makes_nothing(with_pip: Installation, wheels: Path) -> None:
    base, me = with_pip, with_pip.account
    kind, words = base.manifest["kind"], ["-r", str(pip_file(me, wheels, *HAD))]
    if kind == "conda":  # other words for the same packages
        text = (me.work / f"{base.prefix.name}.yml").read_text()
        words.append(str(me.file("same.yml", f"# once more\n{text}")))
    before = seen(base.prefix)
    wishes = [words, words[:2], ["--keep", "99", "--compression", "default", *words]]
    for wish in [*wishes, *([words[2:]] if kind == "conda" else [])]:
        done = me.run(CONDA if kind == "conda" else PIP, "update", base.prefix, *wish)
        assert done.returncode == 0, done.stderr
        assert f"nothing changes: {base.prefix} " in done.stderr
        assert "package changes" not in done.stderr, "one line says so"
        assert ("Unpacking" in done.stderr) is ("-r" in wish)
        assert seen(base.prefix) == before


def test_a_project_is_installed_anew_where_it_has_changed(me: Account, runtime: Path) -> None:
    project = write_project(me.work / "edited", "edited", "1.0")
    file, prefix = me.file("edited.txt", f"--no-index\n-e {project}\n"), me.work / "edits"
    me.ok(PIP, "new", "--prefix", prefix, file)
    made = Installation(prefix=prefix, account=me)
    for text in ("VERSION = '1.0'\n", "VERSION = 'edited'\n"):
        (project / "edited.py").write_text(text)
        said = me.run(PIP, "update", prefix, file).stderr
        changed = made.python("import edited; print(edited.VERSION)") == "edited\n"
        assert said.count("~ edited") == changed, said
        assert current(made) == 1 + changed


@needs_root
def test_an_update_needs_room_for_what_it_unpacks(
    numeric: Installation, channel: Path, tmp_path: Path
) -> None:
    base, me = numeric, numeric.account
    more = env(base, channel, "python", "numpy=1", "demo-noarch", "demo-tool")
    with small_file_system(tmp_path / "small", 60) as small:
        assert JOINED in change(base, "--tmpdir", small, more)
        options = ("--tmpdir", small, "--compression", "fast", more)
        done = me.run(CONDA, "update", base.prefix, *options)
    assert done.returncode == ExitCode.SPACE
    assert "no room for the environment as it was: about 12" in done.stderr
    assert current(base) == 2


def test_rollback_and_prune(base: Installation, channel: Path) -> None:
    account = base.account
    change(base, env(base, channel, "python", "demo-tool"))
    account.ok(UMBRELLA, "rollback", base.prefix)
    assert current(base) == 1
    assert has(base, "demo_noarch") and not base.program("demo-tool").exists()
    account.ok(UMBRELLA, "rollback", base.prefix, "2")
    assert not has(base, "demo_noarch") and base.program("demo-tool").exists()
    account.ok(UMBRELLA, "prune", base.prefix, "--keep", "1")
    assert entries(base.prefix / ".generations") == {"2"}
    refused = account.run(UMBRELLA, "rollback", base.prefix)
    assert refused.returncode == ExitCode.PREFIX
    assert "no generation before this one" in refused.stderr
    missing = account.run(UMBRELLA, "rollback", base.prefix, "9")
    assert "there is no generation 9" in missing.stderr


def test_pruning_after_a_rollback_says_that_it_removes_newer_ones(base: Installation) -> None:
    account = base.account
    for number in (2, 3):
        change(base, "--environ", account.file("n.env", f"N={number}\n"))
    account.ok(UMBRELLA, "rollback", base.prefix, "1")
    some = account.run(UMBRELLA, "prune", base.prefix, "--keep", "2")
    assert entries(base.prefix / ".generations") == {"1", "3"}
    assert "removing generation 2 (20" in some.stderr and "newer than 1" in some.stderr
    rest = account.run(UMBRELLA, "prune", base.prefix, "--keep", "1")
    assert entries(base.prefix / ".generations") == {"1"}
    assert "removing generation 3 (20" in rest.stderr
    assert "newer than 1, which is in use)" in rest.stderr
    nothing = account.run(UMBRELLA, "prune", base.prefix, "--keep", "1")
    assert nothing.stderr == ""


def test_an_update_keeps_what_it_does_not_name(me: Account, build: Builder) -> None:
    account = me
    account.file("kept.env", "KEPT=yes\n")
    account.file("extra.sh", 'cd "$env_root"; printf "#!/bin/sh\\necho x\\n" >x; chmod +x x\n')
    options = ("--environ", "kept.env", "--post-install", "extra.sh", "-w", "x")
    done = build(account, "keeps", "python", "demo-noarch", options=options)
    account.file("again.env", "MORE=too\n")
    assert JOINED in change(done, "--environ", "again.env")
    code = "import os; print(os.environ['KEPT'], os.environ['MORE'])"
    assert done.python(code) == "yes too\n"
    assert account.ok(done.program("x")) == "x\n"
    assert has(done, "demo_noarch")


def test_post_install_scripts_may_call_package_managers(base: Installation, channel: Path) -> None:
    base.account.file(
        "managers.sh",
        f"conda install -y demo-tool --channel {channel.as_uri()}\n"
        "mamba remove -y demo-noarch\n"
        "conda list | grep demo-tool\n"
        "! conda frobnicate\n"
        "echo 'dependencies: [demo-needs-base2, {pip: [x]}]' >more.yml\n"
        "! conda env update --file more.yml 2>told\n"
        "grep 'has more than' told\n"
        "sed -i 's/, {pip.*/]/' more.yml\n"
        f"conda env update --file more.yml --channel {channel.as_uri()}\n"
        "! conda install --file missing 2>told\n"
        "grep 'no such file' told\n"
        "command -v pip uv\n",
    )
    change(base, "--post-install", "managers.sh")
    assert base.account.ok(base.program("demo-tool")).startswith("/containerize-")
    assert not has(base, "demo_noarch")
    listed = base.account.ok(base.program("list-packages"))
    assert "demo-tool" in listed and "demo-needs-base2" in listed and "demo-noarch" not in listed
    assert "demo-tool" in (base.prefix / "current/conda-lock.yml").read_text()


def test_a_changed_module_is_compiled_anew(base: Installation) -> None:
    """An unchecked .pyc of the old source would be believed."""
    text = "VALUE = {}\n"
    base.account.file("first.sh", f"echo '{text.format(1)}' > $env_root/lib/python3.11/m_x.py\n")
    base.account.file("second.sh", f"echo '{text.format(2)}' > $env_root/lib/python3.11/m_x.py\n")
    change(base, "--post-install", "first.sh")
    assert base.python("import m_x; print(m_x.VALUE)") == "1\n"
    change(base, "--post-install", "second.sh")
    assert base.python("import m_x; print(m_x.VALUE)") == "2\n"


def test_dry_run_shows_the_changes_and_makes_none(base: Installation, channel: Path) -> None:
    file = env(base, channel, "python", "demo-tool")
    before = entries(base.prefix / ".generations")
    out = base.account.ok(CONDA, "update", base.prefix, file, "--dry-run")
    assert "+ demo-tool" in out and "- demo-noarch" in out
    plan = base.account.ok(CONDA, "update", base.prefix, file, "--dry-run", "--json")
    assert {c["name"]: c["kind"] for c in json.loads(plan)["changes"]} == {
        "demo-tool": "added",
        "demo-noarch": "removed",
    }
    assert entries(base.prefix / ".generations") == before


def test_running_programs_keep_their_generation(base: Installation, channel: Path) -> None:
    """A program that imports lazily through ten updates never sees another's files."""
    account = base.account
    code = (
        "import sys, time, importlib, demo_noarch\n"
        "print('ready', flush=True)\n"
        "for line in sys.stdin:\n"
        "    for name in list(sys.modules):\n"
        "        if name.startswith(('demo_noarch', 'email', 'xml')): del sys.modules[name]\n"
        "    import demo_noarch, email.mime.text, xml.dom.minidom\n"
        "    print(demo_noarch.__file__, flush=True)\n"
    )
    argv = account.argv([base.program("python3"), "-u", "-c", code])
    with subprocess.Popen(
        argv,
        env=account.environment(),
        cwd=account.work,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdin is not None and child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        with_it = env(base, channel, "python", "demo-noarch")
        without = account.file("without.yml", environment_text(channel, "python"))
        for number in range(10):
            change(base, without if number % 2 == 0 else with_it)
            child.stdin.write("again\n")
            child.stdin.flush()
            assert "demo_noarch" in child.stdout.readline()
        busy = account.run(UMBRELLA, "prune", base.prefix, "--keep", "1")
        assert "generation 1 is kept: programs on this node use it" in busy.stderr
        child.stdin.close()
        assert child.wait(30) == 0
    account.ok(UMBRELLA, "prune", base.prefix, "--keep", "1")
    assert entries(base.prefix / ".generations") == {"11"}


def test_a_failing_update_changes_nothing(base: Installation, channel: Path) -> None:
    def state() -> tuple[set[str], set[str], str]:
        return (
            entries(base.prefix / ".generations"),
            entries(base.prefix / "bin"),
            str((base.prefix / "current").readlink()),
        )

    before = state()
    account = base.account
    account.file("bad.sh", "exit 3\n")
    for arguments, code in (
        ((env(base, channel, "no-such-package"),), ExitCode.SOLVE),
        (("--post-install", "bad.sh"), ExitCode.SCRIPT),
        (("nowhere.yml",), ExitCode.INPUT),
        (("-w", "no/such/path"), ExitCode.INPUT),
    ):
        done = account.run(CONDA, "update", base.prefix, *arguments)
        assert done.returncode == code, done.stderr
        assert state() == before
    assert base.python("print(1)") == "1\n"


def test_variables_of_environ_files_stay(me: Account, build: Builder, channel: Path) -> None:
    me.file("stays.env", "STAYS=yes\n")
    done = build(me, "stays", "python", options=("--environ", "stays.env"))
    change(done, me.file("stays2.yml", environment_text(channel, "python", "demo-tool")))
    assert done.python("import os; print(os.environ['STAYS'])") == "yes\n"


def test_a_newer_format_is_refused(base: Installation) -> None:
    manifest = base.prefix / "current/manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": 99}))
    for command in ([UMBRELLA, "list"], [UMBRELLA, "rollback"], [CONDA, "update"]):
        done = base.account.run(*command, base.prefix)
        assert done.returncode == ExitCode.PREFIX and "newer containerize" in done.stderr


def test_what_is_no_installation_cannot_be_updated(me: Account) -> None:
    for command in ([CONDA, "update"], [UMBRELLA, "list"], [UMBRELLA, "rollback"]):
        done = me.run(*command, me.work)
        assert done.returncode == ExitCode.PREFIX
        assert "no installation" in done.stderr


def test_two_updates_at_once(base: Installation) -> None:
    account = base.account
    account.file("wait.sh", "touch $env_root/w; sleep 6\n")
    first = subprocess.Popen(
        account.argv([CONDA, "update", base.prefix, "--post-install", "wait.sh", "-v"]),
        env=account.environment(),
        cwd=account.work,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert first.stderr is not None
    for line in first.stderr:
        if "begin: Running the post-install" in line:
            break
    second = account.run(CONDA, "update", base.prefix, "--compression", "fast")
    assert second.returncode == ExitCode.BUSY
    assert f"process {first.pid} on {socket.gethostname()}, since 20" in second.stderr
    first.communicate(timeout=60)
    assert first.returncode == 0
    assert current(base) == 2
