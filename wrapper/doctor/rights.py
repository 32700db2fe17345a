"""How the runtime comes by its rights, and what its configuration allows the users of a node."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from wrapper import process
from wrapper.doctor.finding import Finding, failed, ok, warning
from wrapper.errors import ToolError
from wrapper.models import Site
from wrapper.process import ToolFailed
from wrapper.runtime.runtime import Runtime, find_runtime

_SECONDS = 15.0
KERNEL, FUSE, UNPACKED = "kernel", "FUSE", "unpacked"
"""How an image becomes a container's root."""

# Settings that keep something from users, each as the directives that have to be so together.
# Source: the comments in singularity.conf and apptainer.conf.
NO_CONTAINER = (
    {"allow container squashfs": "no"},
    {"user bind control": "no"},
    {"enable overlay": "no", "enable underlay": "no"},
)
NO_IMAGE_BIND = ({"user bind control": "no"}, {"allow kernel squashfs": "no"})
NO_NEW_PLACE = ({"enable overlay": "no", "enable underlay": "no"}, {"enable underlay": "no"})
NO_OVERLAY = ({"enable overlay": "no"}, {"enable overlay": "driver"})
NO_KERNEL_MOUNT = (
    {"allow kernel squashfs": "no"},
    {"allow setuid-mount squashfs": "no"},
    {"allow setuid-mount squashfs": "iflimited"},
)
_DEFAULTS = {"APPTAINER": {"allow setuid-mount squashfs": "iflimited"}}
Rules = tuple[Mapping[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a runtime was built and configured with.

    :ivar path: the configuration file.
    :ivar values: its directives; of a repeated one the last.
    :ivar beside: the directory of the runtime's own programs.
    """

    path: Path = Path()
    values: Mapping[str, str] = field(default_factory=dict)
    beside: Path = Path()

    @property
    def set_uid(self) -> Path | None:
        """The starter that is root's, where the runtime has one and may use it."""
        if self.values.get("allow setuid") == "no":
            return None
        starter = self.beside / "starter-suid"
        with contextlib.suppress(OSError):
            status = starter.stat()
            if status.st_mode & stat.S_ISUID and status.st_uid == 0:
                return starter
        return None

    def reasons(self, rules: Rules) -> str:
        """Which settings are so that they keep from users what the rules are about, for a person;
        empty where none is.
        """
        found = [rule for rule in rules if all(self.values.get(n) == v for n, v in rule.items())]
        lines = [" with ".join(f"'{n} = {v}'" for n, v in rule.items()) for rule in found]
        return f"{', '.join(lines)} in {self.path}" if lines else ""

    def hint(self, rules: Rules, otherwise: str = "") -> str:
        """Whom to ask for another setting, where one keeps something from users."""
        found = self.reasons(rules)
        return f"ask the administrators to change {found}" if found else otherwise


def read_settings(runtime: Runtime, environ: Mapping[str, str]) -> Settings:
    """The settings of a runtime; as many as there are to be read."""
    env = process.base_environment(environ)
    try:
        answer = process.capture([runtime.path, "buildcfg"], env=env, timeout=_SECONDS)
    except ToolFailed:
        return Settings()
    built = dict(re.findall(r"^(\w+)=(.*)$", answer, re.M))
    path = Path(built.get(f"{runtime.family}_CONF_FILE", ""))
    try:
        text = path.read_text(errors="replace") if path.is_absolute() else ""
    except OSError:  # a site may keep it to itself
        text = ""
    said = re.findall(r"^[ \t]*(\w[^#=\n]*?)[ \t]*=[ \t]*(.*?)[ \t]*$", text, re.M)
    return Settings(
        path=path,
        values={**_DEFAULTS.get(runtime.family, {}), **dict(said)},
        beside=Path(built.get("LIBEXECDIR", "/nowhere"), runtime.name, "bin"),
    )


def mode(environ: Mapping[str, str], site: Site, root: Path = Path("/")) -> list[Finding]:
    """How the runtime gets its rights: set-uid, user namespaces, root."""
    try:
        runtime = find_runtime(environ, site)
    except ToolError:
        return []  # told by the check of the runtime
    if starter := read_settings(runtime, environ).set_uid:
        return [ok("mode", f"set-uid ({starter})")]
    if os.getuid() == 0:
        return [ok("mode", "root")]
    if closed := _closed_namespaces(root):
        return [
            failed(
                "mode",
                f"not set-uid, and users may have no namespaces here ({closed})",
                "use a set-uid installation of the runtime (load its module), or ask the "
                "administrators to allow user namespaces",
            )
        ]
    return [ok("mode", "unprivileged: user namespaces"), *_fuse(root)]


def _closed_namespaces(root: Path) -> str:
    """The setting of the kernel that keeps users from namespaces, empty where none does."""
    for name in ("user/max_user_namespaces", "kernel/unprivileged_userns_clone"):
        try:
            if int((root / "proc/sys" / name).read_text()) == 0:
                return f"{name.replace('/', '.')} is 0"
        except (OSError, ValueError):
            continue
    return ""


def _fuse(root: Path) -> list[Finding]:
    device = root / "dev/fuse"
    if os.access(device, os.R_OK | os.W_OK):
        return [ok("/dev/fuse", "can be used")]
    found = "cannot be opened by you" if device.exists() else "is not there"
    hint = "ask the administrators: without set-uid the runtime mounts images through it"
    return [failed("/dev/fuse", f"{found}", hint)]


# -- how images are mounted ----------------------------------------------------------------------
def how_mounted(mountinfo: str) -> str:
    """How the image of a container was mounted, from proc(5) mountinfo inside it; empty where that
    cannot be told.

    The root is often an overlay over the image. But the runtime mounts that below its session
    directory first, which is seen where the host's directories are bound (measured with Apptainer
    1.4.5). Where it unpacked the image there is no such mount, or one of an ordinary file system.
    """
    kinds: dict[str, str] = {}
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        if separator and len(before.split()) > 4:
            kinds[before.split()[4]] = after.split()[0]
    session = any(place.endswith("/mnt/session") for place in kinds)
    places = [place for place in kinds if place.endswith("/mnt/session/rootfs")]
    found = {kinds[place] for place in (*places, "/") if place in kinds}
    if "squashfs" in found:
        return KERNEL
    if any(kind.startswith("fuse") for kind in found):
        return FUSE
    return UNPACKED if session else ""


def images(mountinfo: str, runtime: Runtime, settings: Settings) -> list[Finding]:
    """How images are mounted, and what that costs.

    :param mountinfo: as :func:`how_mounted` takes it.
    """
    what, how = "images", how_mounted(mountinfo)
    if how == KERNEL:
        loops = [loop_devices(settings)] if settings.values else []  # else it may be as it should
        return [ok(what, "mounted by the kernel"), *loops]
    if how == FUSE:
        reasons = settings.reasons(NO_KERNEL_MOUNT) if settings.set_uid else ""
        because = f" ({reasons})" if reasons else ""
        return [ok(what, f"mounted by FUSE, each by a process squashfuse{because}")]
    if how == UNPACKED:
        detail = f"each start of {runtime.name} unpacks the whole image, which takes seconds"
        return [warning(what, detail, ask_for_mounts(runtime, settings))]
    return []


def ask_for_mounts(runtime: Runtime, settings: Settings) -> str:
    """What lets a set-uid runtime mount images for users.

    SingularityCE (4.1.5, measured) uses squashfuse for SIF files only.
    """
    change = settings.hint(NO_KERNEL_MOUNT)
    fuse = f"for squashfuse in {settings.beside}"
    if runtime.name == "apptainer":
        return f"{change}, or {fuse}" if change else f"ask the administrators {fuse}"
    return change or "ask the administrators with this line"


def loop_devices(settings: Settings, root: Path = Path("/")) -> Finding:
    """What each image that the kernel mounts takes of the node.

    *Measured* (SingularityCE 4.1.5): of 135 starts at once 16 failed; with shared devices none did,
    and they took 6.
    """
    what, shared = "loop devices", "shared loop devices"
    if settings.values.get(shared) == "yes":
        return ok(what, f"programs of one image share one, and what they read ('{shared} = yes')")
    used = len([*root.glob("sys/block/loop*/loop/backing_file")])
    most = settings.values.get("max loop devices", "256")
    detail = (
        f"each program that runs takes one of {most} on this node, two with a base image or an "
        f"image of 'containerize build', and reads files anew ({used} in use)"
    )
    hint = f"ask the administrators for '{shared} = yes' in {settings.path}; see docs/admins.md"
    return warning(what, detail, hint)
