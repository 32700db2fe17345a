"""How a runtime mounts images, what its configuration keeps from users, and how doctor says so."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.conftest import Program
from tests.unit.test_doctor_machine import NO_SITE, apptainer, on_path, text, told
from wrapper.console import Console
from wrapper.doctor import machine, rights
from wrapper.doctor.finding import FAILED, OK, WARNING
from wrapper.doctor.rights import FUSE, KERNEL, UNPACKED, Settings, how_mounted, read_settings
from wrapper.runtime.runtime import Runtime

APPTAINER = Runtime(path=Path("/a"), name="apptainer", version="1.4.5")


# -- rights --------------------------------------------------------------------------------------
@pytest.mark.root("only root can make a set-uid program of root's")
def test_a_set_uid_runtime(program: Program, tmp_path: Path) -> None:
    starter = tmp_path / "libexec/apptainer/bin/starter-suid"
    starter.parent.mkdir(parents=True)
    starter.touch()
    path = apptainer(program, tmp_path / "libexec")
    assert "set-uid" not in text(rights.mode(on_path(path), NO_SITE))
    starter.chmod(0o4755)
    assert f"set-uid ({starter})" in text(rights.mode(on_path(path), NO_SITE))


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 1000)


def fake_kernel(root: Path, **settings: str) -> Path:
    for name, value in settings.items():
        file = root / "proc/sys" / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(value)
    return root


def test_an_unprivileged_runtime(program: Program, tmp_path: Path, nobody: None) -> None:
    environ = on_path(apptainer(program, tmp_path))
    root = fake_kernel(tmp_path / "root", user__max_user_namespaces="100\n")
    assert told(rights.mode(environ, NO_SITE, root)) == [("mode", OK), ("/dev/fuse", FAILED)]
    (root / "dev").mkdir()
    (root / "dev/fuse").touch()
    assert told(rights.mode(environ, NO_SITE, root)) == [("mode", OK), ("/dev/fuse", OK)]


@pytest.mark.parametrize("name", ["user__max_user_namespaces", "kernel__unprivileged_userns_clone"])
def test_closed_namespaces(name: str, program: Program, tmp_path: Path, nobody: None) -> None:
    root = fake_kernel(tmp_path / "root", **{name: "0\n"})
    found = rights.mode(on_path(apptainer(program, tmp_path)), NO_SITE, root)
    assert told(found) == [("mode", FAILED)]
    assert name.replace("__", ".") in text(found)


# -- settings ------------------------------------------------------------------------------------
CONFIGURATION = """\
# ALLOW SETUID: [BOOL]
allow setuid = yes
max loop devices = 128
  enable overlay=no   # no comment in this format
bind path = /etc/localtime
bind path = /etc/hosts
cni configuration path =
"""


def settings(tmp_path: Path, program: Program, text: str = CONFIGURATION) -> Settings:
    file = tmp_path / "singularity.conf"
    file.write_text(text)
    answer = f"echo LIBEXECDIR={tmp_path}; echo SINGULARITY_CONF_FILE={file}"
    found = Runtime(path=program("singularity", answer), name="singularity", version="4.1.5")
    return read_settings(found, {"PATH": "/usr/bin:/bin"})


def test_settings_are_read_as_the_runtime_reads_them(tmp_path: Path, program: Program) -> None:
    found = settings(tmp_path, program)
    assert found.values == {
        "allow setuid": "yes",
        "max loop devices": "128",
        "enable overlay": "no   # no comment in this format",
        "bind path": "/etc/hosts",
        "cni configuration path": "",
    }
    assert found.beside == tmp_path / "singularity/bin"


def test_settings_that_cannot_be_read_are_none(program: Program) -> None:
    for answer in ("exit 1", "echo SINGULARITY_CONF_FILE=/no/such", "echo x"):
        found = Runtime(path=program("singularity", answer), name="singularity", version="4.1.5")
        assert read_settings(found, {}).values == {}


def test_what_keeps_something_from_users_is_named(tmp_path: Path, program: Program) -> None:
    both = "enable overlay = no\nenable underlay = no\n"
    found = settings(tmp_path, program, both)
    expected = f"'enable overlay = no' with 'enable underlay = no' in {found.path}"
    assert found.hint(rights.NO_CONTAINER) == f"ask the administrators to change {expected}"
    one = settings(tmp_path, program, "enable overlay = no\nenable underlay = yes\n")
    assert one.hint(rights.NO_CONTAINER, "otherwise") == "otherwise"
    assert "'enable overlay = no' in" in one.reasons(rights.NO_OVERLAY)


# -- how images are mounted ----------------------------------------------------------------------
SESSION = "/var/lib/apptainer/mnt/session"
OVER = f"216 86 0:46 / / rw,nodev - overlay overlay ro,lowerdir={SESSION}/rootfs\n"
TMPFS = f"239 238 0:45 / {SESSION} rw,nosuid master:44 - tmpfs tmpfs rw,size=65536k\n"
ROOT = f"241 239 7:1 / {SESSION}/rootfs ro,nosuid master:45 - "


@pytest.mark.parametrize(
    ("mounts", "expected"),
    [
        (f"{OVER}{TMPFS}{ROOT}squashfs /dev/loop1 ro\n", KERNEL),
        (f"{OVER}{TMPFS}{ROOT}fuse fuse ro,user_id=1002\n", FUSE),
        (f"{OVER}{TMPFS}{ROOT}fuse.squashfuse_ll squashfuse_ll ro\n", FUSE),
        (f"{OVER}{TMPFS}", UNPACKED),
        (f"{OVER}{TMPFS}{ROOT}ext4 /dev/sda1 rw\n", UNPACKED),
        ("1 0 7:1 / / ro - squashfs /dev/loop1 ro\n", KERNEL),
        (OVER, ""),
        ("", ""),
        ("damaged - \n1 2 - ", ""),
    ],
)
def test_the_mounts_of_a_container_tell_how_its_image_is_mounted(
    mounts: str, expected: str
) -> None:
    assert how_mounted(mounts) == expected


def images(mounts: str, found: Settings) -> list[tuple[str, str]]:
    return told(rights.images(mounts, APPTAINER, found))


def test_what_each_way_costs() -> None:
    limited = Settings(
        path=Path("/etc/a.conf"),
        values={"allow setuid-mount squashfs": "iflimited"},
        beside=Path("/libexec/apptainer/bin"),
    )
    kernel = f"{OVER}{TMPFS}{ROOT}squashfs /dev/loop1 ro\n"
    assert images(kernel, limited) == [("images", OK), ("loop devices", WARNING)]
    assert images(kernel, Settings()) == [("images", OK)], "its configuration cannot be read"
    assert images(f"{OVER}{TMPFS}{ROOT}fuse fuse ro\n", limited) == [("images", OK)]
    assert images(f"{OVER}{TMPFS}", limited) == [("images", WARNING)]
    assert images(OVER, limited) == [], "nothing is said that is not known"
    said = text(rights.images(f"{OVER}{TMPFS}", APPTAINER, limited))
    assert "unpacks the whole image" in said
    assert "'allow setuid-mount squashfs = iflimited' in /etc/a.conf" in said
    assert "squashfuse in /libexec/apptainer/bin" in said


def test_loop_devices(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"sys/block/loop{number}/loop").mkdir(parents=True)
    (tmp_path / "sys/block/loop1/loop/backing_file").touch()
    few = Settings(path=Path("/etc/s.conf"), values={"max loop devices": "64"})
    found = rights.loop_devices(few, tmp_path)
    assert found.state == WARNING and "one of 64" in found.line and "(1 in use)" in found.line
    assert "'shared loop devices = yes' in /etc/s.conf" in found.hint
    shared = Settings(values={"shared loop devices": "yes"})
    assert rights.loop_devices(shared, tmp_path).state == OK


# -- trials --------------------------------------------------------------------------------------
_RUNTIME = """
case $1 in
    --version) echo singularity-ce version 4.1.5; exit;;
    buildcfg) echo SINGULARITY_CONF_FILE={conf}; exit;;
esac
for word; do [ "$last" != -B ] || binds=$word; last=$word; done
image=no
case $binds in *:image-src=/) image=${{binds##*.sqfs:}}; esac
case " $* " in *overlay.sif*) image=overlay;; esac
case $image in {fails}) echo "FATAL: {words}" >&2; exit {status};; esac
echo "{mounts}"
"""


def trials(
    program: Program,
    tmp_path: Path,
    fails: str,
    *,
    words: str = "it is so",
    status: int = 255,
    conf: str = "",
) -> machine.Trials:
    """Trials with a runtime that refuses what matches the shell pattern ``fails``: ``no`` an image
    alone, ``overlay``, or where an image would be bound.
    """
    file = tmp_path / "s.conf"
    file.write_text(conf)
    mounts = f"{TMPFS}{ROOT}squashfs /dev/loop1 ro"
    script = _RUNTIME.format(conf=file, fails=fails, words=words, status=status, mounts=mounts)
    path = program("singularity", script)
    squash = '[ "$1" = -version ] && echo mksquashfs version 4.6 || echo gzip >"$2"'
    program("mksquashfs", squash)
    (tmp_path / "scratch").mkdir()
    return machine.Trials(
        environ={"PATH": f"{path.parent}:/usr/bin:/bin"},
        site=NO_SITE,
        scratch=tmp_path / "scratch",
        console=Console(-1),
    )


def test_where_all_works(program: Program, tmp_path: Path) -> None:
    tried = trials(program, tmp_path, "nothing", conf="shared loop devices = yes\n")
    assert told(tried.start()) == [
        ("start of a container", OK),
        ("images", OK),
        ("loop devices", OK),
    ]
    assert told(tried.bind_image()) == [("bind of an image", OK)]
    assert told(tried.overlay()) == [("overlay partitions", OK)]
    assert [*(tmp_path / "scratch").iterdir()] == []


@pytest.mark.parametrize(
    ("conf", "hint"),
    [
        ("allow container squashfs = no", "'allow container squashfs = no' in"),
        ("user bind control = no", "'user bind control = no' in"),
        ("enable overlay = no\nenable underlay = no", "'enable overlay = no' with 'enable under"),
        ("", "see 'mode' and '/dev/fuse' above"),
    ],
)
def test_where_nothing_starts_it_is_told_once(
    program: Program, tmp_path: Path, conf: str, hint: str
) -> None:
    tried = trials(program, tmp_path, "*", conf=conf)
    found = tried.start()
    assert told(found) == [("start of a container", FAILED)]
    assert "nothing works: FATAL: it is so" in found[0].detail and hint in found[0].hint
    assert [*tried.bind_image(), *tried.overlay(), *tried.compression()] == []


def test_no_free_loop_device_is_told_as_that(program: Program, tmp_path: Path) -> None:
    words = "failed to attach loop device: no loop devices available"
    (found,) = trials(program, tmp_path, "*", words=words, conf="allow setuid = no").start()
    assert "takes a loop device until its program ends" in found.hint


def test_image_binds_that_are_refused(program: Program, tmp_path: Path) -> None:
    (found,) = trials(program, tmp_path, "/*").bind_image()
    assert found.state == FAILED and "--base-image" in found.detail


def test_a_place_without_a_mount_point(program: Program, tmp_path: Path) -> None:
    """The other trial's place is in its image, and shows nothing of overlay and underlay."""
    conf = "enable overlay = no\nenable underlay = no\n"
    found = trials(program, tmp_path, "/containerize-new*", conf=conf).bind_image()
    assert told(found) == [("bind of an image", OK), ("mount points", WARNING)]
    assert "CONTAINERIZE_WITH" in found[1].detail and "enable underlay" in found[1].hint


def test_a_runtime_that_mounts_directories_over_images(program: Program, tmp_path: Path) -> None:
    """SingularityCE before 4.0; a trial's own status says that the image is not seen."""
    found = trials(program, tmp_path, f"{tmp_path}*", status=77).bind_image()
    assert told(found) == [("bind of an image", OK), ("masks", WARNING)]
    assert "--mask" in found[1].hint


def test_overlay_partitions_that_are_not_mounted(program: Program, tmp_path: Path) -> None:
    (found,) = trials(program, tmp_path, "overlay", conf="enable overlay = no\n").overlay()
    assert "--flatten" in found.hint and "'enable overlay = no' in" in found.hint
