#!/usr/bin/python3 -IS
"""``singularity``, a stand-in for SingularityCE that runs containers by a real Apptainer.

Apptainer starts much that SingularityCE refuses, and most clusters have the latter. What differs,
as seen of SingularityCE 4.1.5 and 3.11.4:

- It reads the compression in a SquashFS image's superblock, and knows no zstd. Root images, bound
  ones and overlays it refuses; an overlay partition of a SIF it leaves out without a word.
- It tells of any compression but gzip, unless it is silenced.
- ``APPTAINER_*`` and ``APPTAINERENV_*`` mean nothing to it: plain variables, seen inside too.
- It does not know the options that are Apptainer's alone.
- Before 4.0 it mounts bound images before it binds directories, whatever their order: a directory
  that is bound above an image covers it.

Beside this program (or a link to it) lie ``runtime``, a link to Apptainer, and ``version``.
"""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

HERE = Path(sys.argv[0]).parent
RUNTIME = str(HERE / "runtime")
VERSION = (HERE / "version").read_text().strip()

COMPRESSIONS = {1: "gzip", 2: "lzma", 3: "lzo", 4: "xz", 5: "lz4"}
STARTING = ("exec", "run", "shell", "test", "inspect")
QUIET = {"-q", "--quiet", "-s", "--silent"}
# Options with a value of their own, of those commands and of the program itself.
VALUED = set(
    """
    -B -H -S -W -o --add-caps --app --apply-cgroups --authfile --bind --blkio-weight
    --blkio-weight-device --config --cpu-shares --cpus --cpuset-cpus --cpuset-mems --cwd --dns
    --docker-host --drop-caps --env --env-file --fusemount --home --hostname --memory
    --memory-reservation --memory-swap --mount --network --network-args --no-mount --overlay
    --pem-path --pids-limit --pwd --scratch --security --workdir
    """.split()  # noqa: SIM905
)
APPTAINER_ONLY = set(
    """
    --arch-variant --dmtcp-launch --dmtcp-restart --ignore-fakeroot-command --ignore-subuid
    --ignore-userns --keysdir --mksquashfs-args --netns-path --runscript-timeout --sharens
    --unsquash --warn-unused-build-args
    """.split()  # noqa: SIM905
)

SIF_MAGIC = (32, b"SIF_MAGIC")
SIF_TABLE = 88  # in the header: number of descriptors, and where they begin
DESCRIPTOR = struct.Struct("<i?3I5q2q128s384s")
PARTITION, SQUASHFS, PRIMARY, DATA, OVERLAY = 0x4004, 1, 2, 3, 4


def fatal(text: str) -> NoReturn:
    """End as the real program does."""
    print(f"FATAL:   {text}", file=sys.stderr)
    sys.exit(255)


# -- the command line ------------------------------------------------------------------------------
class Call:
    """What a command line says.

    :ivar command: its first word that is no option. :ivar options: (name, value) of those up to the
        image. :ivar image: where in the line that stands; ``None`` where no container is started.
    """

    def __init__(self, words: list[str]) -> None:
        self.command = ""
        self.options: list[tuple[str, str]] = []
        self.image: int | None = None
        before_image = sys.maxsize  # words that are no options: "exec", "instance start"
        at = -1
        while (at := at + 1) < len(words):
            name, equals, value = words[at].partition("=")
            if name.startswith("-"):
                if name in VALUED and not equals:
                    at += 1
                    value = words[at] if at < len(words) else ""
                self.options.append((name, value))
            elif before_image == 0:
                self.image = at
                break
            elif not self.command:
                self.command = name
                before_image = 0 if name in STARTING else 1 if name == "instance" else sys.maxsize
            else:
                before_image -= 1

    def values(self, *names: str) -> list[str]:
        return [value for name, value in self.options if name in names]

    @property
    def quiet(self) -> bool:
        return any(name in QUIET for name, _ in self.options)


def refuse_options(call: Call) -> None:
    """Name an option that is Apptainer's alone."""
    for name, _ in call.options:
        if name in APPTAINER_ONLY:
            text = f'Error for command "{call.command}": unknown flag: {name}'
            sys.exit(f"{text}\n\nRun 'singularity --help' for more detailed usage information.")


# -- images ----------------------------------------------------------------------------------------
def check_squashfs(content: bytes, call: Call) -> str:
    """Why SingularityCE refuses an image that begins so, empty where it takes it."""
    if content[:4] != b"hsqs":
        return ""
    (number,) = struct.unpack_from("<H", content, 20)
    if number not in COMPRESSIONS:
        return f"corrupted image: unknown compression algorithm value {number}"
    if number != 1 and not call.quiet:
        text = f"squashfs image was compressed with {COMPRESSIONS[number]}, if it failed to run"
        print(f"INFO:    {text}, please contact image's author", file=sys.stderr)
    return ""


def check_image(path: str, call: Call) -> tuple[str, list[int]]:
    """Why an image is refused, or which descriptors of a SIF are left out (their offsets)."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(128)
            at, magic = SIF_MAGIC
            if head[at : at + len(magic)] != magic:
                return check_squashfs(head, call), []
            primary, dropped = "", []
            total, start = struct.unpack_from("<2q", head, SIF_TABLE)
            for place in range(start, start + total * DESCRIPTOR.size, DESCRIPTOR.size):
                file.seek(place)
                kind, used, *numbers, _, extra = DESCRIPTOR.unpack(file.read(DESCRIPTOR.size))
                system, role = struct.unpack_from("<2i", extra)
                if not used or kind != PARTITION or system != SQUASHFS:
                    continue
                file.seek(numbers[3])
                refused = check_squashfs(file.read(96), call)
                if role == PRIMARY and refused:
                    primary = (
                        "while checking system partition header: error while checking squashfs "
                        f"header: {refused}"
                    )
                if role == OVERLAY and refused:
                    dropped.append(place)
            return primary, dropped
    except OSError:
        return "", []  # Apptainer says why it cannot be opened


def check_images(call: Call, image: str, binds: list[str]) -> list[int]:
    """Refuse what the real program refuses; returns the descriptors to leave out."""
    refused, dropped = check_image(image, call)
    if refused and call.command == "inspect":
        fatal(f"Failed to open image {image}: {refused}")
    if refused:
        fatal(f"While checking image: could not open image {Path(image).resolve()}: {refused}")
    for bind in binds:
        source = bind.split(":")[0]
        if is_image_bind(bind) and (refused := check_image(source, call)[0]):
            fatal(f"while loading data bind images: failed to load data image {source}: {refused}")
    for overlay in call.values("-o", "--overlay"):
        path = overlay.split(":")[0]
        if refused := check_image(path, call)[0]:
            path = str(Path(path).absolute())
            fatal(f"while loading overlay images: failed to open overlay image {path}: {refused}")
    return dropped


def without(image: str, descriptors: list[int]) -> str:
    """A copy of a SIF whose overlay partitions at ``descriptors`` are plain data."""
    handle, copy = tempfile.mkstemp(suffix=".sif")
    os.close(handle)
    subprocess.run(["cp", "--reflink=auto", image, copy], check=True)
    with Path(copy).open("r+b") as file:
        for place in descriptors:
            file.seek(place + DESCRIPTOR.size - 384 + 4)
            file.write(struct.pack("<i", DATA))
    return copy


# -- binds -----------------------------------------------------------------------------------------
def is_image_bind(bind: str) -> bool:
    return ":image-src=" in bind or ":id=" in bind


def place_of(bind: str) -> str:
    """Where a bind is seen inside."""
    source, _, rest = bind.partition(":")
    return (rest.partition(":")[0] or source).rstrip("/")


def without_covered(binds: list[str]) -> list[str]:
    """The binds that are seen where images are mounted first: directories may lie over them."""
    above = [place_of(bind) for bind in binds if not is_image_bind(bind)]
    return [
        bind
        for bind in binds
        if not is_image_bind(bind)
        or not any(f"{place_of(bind)}/".startswith(f"{place}/") for place in above)
    ]


def binds_of(call: Call, environ: dict[str, str]) -> list[str]:
    """All binds that the options and the variables name, in order."""
    given = call.values("-B", "--bind")
    given += [environ.get(f"SINGULARITY_{name}", "") for name in ("BIND", "BINDPATH")]
    return [bind for value in given for bind in value.split(",") if bind]


def with_binds(options: list[str], binds: list[str]) -> list[str]:
    """The words up to the image with these binds in place of all others."""
    result, skip = [], False
    for word in options:
        name, equals, _ = word.partition("=")
        if skip or name in ("-B", "--bind"):
            skip = not skip and not equals
        else:
            result.append(word)
    return [*result, "-B", ",".join(binds)]


# -- variables -------------------------------------------------------------------------------------
def translated(environ: dict[str, str], call: Call) -> dict[str, str]:
    """The environment in Apptainer's names."""
    result = {}
    clean = {"-e", "--cleanenv", "-C", "--containall"} & {name for name, _ in call.options}
    for name, value in environ.items():
        if re.match("APPTAINER(ENV)?_", name):
            if not clean:  # evaluated by a shell as if it stood in double quotes
                result[f"APPTAINERENV_{name}"] = re.sub(r"([\\$`])", r"\\\1", value)
        elif match := re.match("SINGULARITY((?:ENV)?_.*)", name, re.S):
            result[f"APPTAINER{match[1]}"] = value
        else:
            result[name] = value
    return result


def main() -> None:
    words, environ = sys.argv[1:], dict(os.environ)
    call = Call(words)
    if words == ["--version"]:
        sys.exit(print(f"singularity-ce version {VERSION}"))
    if call.command == "version":
        sys.exit(print(VERSION))
    refuse_options(call)
    if call.image is None:
        os.execve(RUNTIME, [RUNTIME, *words], translated(environ, call))
    options, image, rest = words[: call.image], words[call.image], words[call.image + 1 :]
    binds = binds_of(call, environ)
    dropped = check_images(call, image, binds)
    if int(VERSION.split(".")[0]) < 4 and (seen := without_covered(binds)) != binds:
        options = with_binds(options, seen)
        environ = {k: v for k, v in environ.items() if not k.startswith("SINGULARITY_BIND")}
    environ = translated(environ, call)
    if not dropped:
        os.execve(RUNTIME, [RUNTIME, *options, image, *rest], environ)
    copy = without(image, dropped)
    try:
        line = [RUNTIME, *options, copy, *rest]
        sys.exit(subprocess.run(line, env=environ, check=False).returncode)
    finally:
        Path(copy).unlink()


if __name__ == "__main__":
    main()
