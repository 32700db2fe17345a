"""Byte-compile an environment. Run by the environment's own Python, in the container.

usage: compile.py DIRECTORY PROCESSES IMAGE_TIME [LENT]

Every module gets a .pyc of the kind "unchecked hash" (PEP 552): importing it looks at no source
file, and it does not depend on time stamps, which an image does not keep. A .pyc that a package
brought and that still fits its source keeps its code and only gets the new header: compiling
again would give the same code for several times the work.

Files of an image that is updated have IMAGE_TIME (seconds since 1970) as their time: a module whose
source and .pyc both have it was compiled for that image, and nobody touched it since. Of such an
image a part may be there as links to what is below LENT; these are left alone, too.

The work is split by a fixed rule and each part done in a fresh process, so that the result does
not depend on how many processors there are (marshal's output depends on what else was compiled
in the process before).
"""

import os
import py_compile
import struct
import sys
import traceback
from importlib.util import MAGIC_NUMBER, cache_from_source, source_hash

PART = 100
UNCHECKED_HASH = 0b01


def sources(directory, lent):
    for folder, names, files in os.walk(directory):
        names.sort()
        if "__pycache__" in names:
            names.remove("__pycache__")
        for name in sorted(files):
            path = os.path.join(folder, name)
            if not name.endswith(".py") or (lent and is_link_into(lent, path)):
                continue
            if folder == directory and os.path.islink(path):
                continue  # of a virtual environment: another Python's library
            yield path


def is_link_into(directory, path):
    return os.path.islink(path) and os.readlink(path).startswith(directory + "/")


def settled(source, image_time):
    """Whether a module is as it was in the image before."""
    try:
        times = {os.stat(path).st_mtime for path in (source, cache_from_source(source))}
    except OSError:
        return False
    return times == {image_time}


def rehead(source, target):
    """Give a .pyc that fits its source the new header; false where there is none that fits.

    It fits by time and size, or (from an earlier build, whose sources may have been replaced) by
    the source's hash.
    """
    try:
        with open(target, "rb") as file:
            data = file.read()
        with open(source, "rb") as file:
            digest = source_hash(file.read())
        status = os.stat(source)
        names = os.stat(target).st_nlink
    except OSError:
        return False
    if data[:16] == MAGIC_NUMBER + struct.pack("<L", UNCHECKED_HASH) + digest:
        return True
    stamp = struct.pack("<LL", int(status.st_mtime) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF)
    if data[:16] != MAGIC_NUMBER + struct.pack("<L", 0) + stamp:
        return False
    header = MAGIC_NUMBER + struct.pack("<L", UNCHECKED_HASH) + digest
    if names == 1:
        with open(target, "r+b") as file:
            file.write(header)
    else:  # beside it and renamed: the old one may be a hard link into a cache
        with open(target + ".new", "wb") as file:
            file.write(header + data[16:])
        os.replace(target + ".new", target)
    return True


def compile_part(part):
    """Compile a list of files; one that cannot be (a test of syntax errors) has no .pyc."""
    for source in part:
        target = cache_from_source(source)
        if not rehead(source, target):
            try:
                py_compile.compile(
                    source,
                    cfile=target,
                    doraise=True,
                    invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
                )
            except Exception:  # whatever a broken source raises, the others go on
                if os.path.lexists(target):
                    os.unlink(target)


def start(part):
    """Compile a list of files in a process of its own; its number."""
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        compile_part(part)
        status = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


def compile_parts(parts, processes):
    """Compile all, so many parts at once; after each, yield how many files it had.

    Not multiprocessing's pool: it forks while threads hold locks, which can stop a child for ever,
    and waits for ever for a child that was killed.
    """
    waiting, running = parts[::-1], {}
    while waiting or running:
        while waiting and len(running) < processes:
            part = waiting.pop()
            running[start(part)] = len(part)
        process, status = os.wait()
        if os.WIFSIGNALED(status):
            killed = "a process that compiles modules was ended by signal %d (memory full?)"
            sys.exit(killed % os.WTERMSIG(status))
        if status:
            sys.exit("modules cannot be compiled")
        yield running.pop(process)


def remove_orphans(directory):
    """Remove what was compiled from sources that are gone, and folders that held only that."""
    for folder, _, files in os.walk(directory, topdown=False):
        if os.path.basename(folder) != "__pycache__":
            continue
        for name in files:
            stem, tag, _ = (name + "..").split(".", 2)
            if tag.startswith("cpython-") and not os.path.exists(
                os.path.join(os.path.dirname(folder), stem + ".py")
            ):
                os.unlink(os.path.join(folder, name))
        for empty in (folder, os.path.dirname(folder)):
            if not os.listdir(empty):
                os.rmdir(empty)


def main():
    directory, processes, image_time = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    lent = sys.argv[4] if len(sys.argv) > 4 else ""
    remove_orphans(directory)
    files = list(sources(directory, lent))
    parts = [files[start : start + PART] for start in range(0, len(files), PART)]
    parts = [part for part in parts if not all(settled(file, image_time) for file in part)]
    total, done = sum(map(len, parts)), 0
    for count in compile_parts(parts, processes):
        done += count
        print("compiled %d/%d" % (done, total), flush=True)


if __name__ == "__main__":
    main()
