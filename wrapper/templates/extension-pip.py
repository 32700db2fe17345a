"""pip in an extension of an installation: what is below stays as it is, and a frozen one is told.

Imported by a ``.pth`` file where a word of the command has "pip" in it. pip would put another torch
on top of the one that packages were built for, so each package below is a constraint. Where nothing
can be written it would install into ``~/.local`` without a word, or tell of a file system.
"""

import importlib.metadata
import json
import os
import pathlib
import re
import shlex
import sys
import tempfile

COMMANDS = ("install", "uninstall", "download", "wheel")
ELSEWHERE = r"-t|--target|--prefix|--root|--dry-run|--python|-h|--help|help"
FREE = ("pip", "setuptools", "wheel")  # what builds need of these is not what runs
VERSION = re.compile(  # what a constraint can name; one that pip cannot parse ends all it does
    r"v?(\d+!)?\d+(\.\d+)*([-_.]?(a|b|c|rc|alpha|beta|pre|preview)[-_.]?\d*)?"
    r"(-\d+|[-_.]?(post|rev|r)[-_.]?\d*)?([-_.]?dev[-_.]?\d*)?(\+[a-z0-9]+([-_.][a-z0-9]+)*)?",
    re.IGNORECASE | re.ASCII,
)
TOLD = """[ ERROR ] the extension is frozen: pip can install nothing into it, and remove nothing
  where:  %s
  to do:  containerize thaw %s
          then pip again, and then: containerize freeze %s
"""


def words_of_pip(words):
    """What pip is told, nothing where this is another program."""
    for number, word in enumerate(words[1:], 1):
        if word[:1] != "-" and words[number - 1] not in ("-W", "-X"):
            is_pip = re.fullmatch(r"pip[0-9.]*", os.path.basename(word))
            return words[number + 1 :] if is_pip else []
    return []


def is_frozen(place):
    """Whether the image lies over it: a file system that nobody can write to."""
    return bool(os.statvfs(place).f_flag & os.ST_RDONLY)


def constraints(sites):
    """A line for each package below."""
    found = {}
    for package in importlib.metadata.distributions(path=sites):
        about = package.metadata or {}  # of half a package there is nothing
        name, version = about.get("Name"), about.get("Version")
        if name and version:
            name = re.sub(r"[-_.]+", "-", str(name)).lower()
            found.setdefault(name, str(version))  # the first is the one that is imported
    named = [
        (name, version)
        for name, version in sorted(found.items())
        if name not in FREE and re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
        if VERSION.fullmatch(version)
    ]
    return "".join("%s==%s\n" % pair for pair in named)


def write(file, text):
    """A file by one rename; its draft has a name that nobody else can put a link under."""
    handle, draft = tempfile.mkstemp(prefix=".constraints.", dir=str(file.parent))
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            os.fchmod(handle, 0o644)
            out.write(text)
        os.replace(draft, str(file))
    finally:
        if os.path.lexists(draft):
            os.unlink(draft)


def heed(words, place):
    """:param words: of the command line. :param place: the extension."""
    # Not the first without a dash: that may be the value of an option (--log FILE install).
    command = next((word for word in words_of_pip(words) if word in COMMANDS), None)
    if command is None:
        return
    elsewhere = any(re.fullmatch(r"(%s)(=.*)?" % ELSEWHERE, word) for word in words)
    if command.endswith("install") and not elsewhere and is_frozen(place):
        sys.stderr.write(TOLD % (place, shlex.quote(place), shlex.quote(place)))
        sys.stderr.flush()
        os._exit(1)
    if command == "uninstall" or is_frozen(place):
        return
    record = json.loads(pathlib.Path(place, "extension.json").read_text(encoding="utf-8"))
    file = pathlib.Path(place, "constraints.txt")
    write(file, constraints(record["sites"]))
    given = os.environ.get("PIP_CONSTRAINT", "")
    os.environ["PIP_CONSTRAINT"] = ("%s %s" % (file.as_uri(), given)).strip()


def main():
    """An extension's pip is called as it is without this where anything goes wrong here."""
    with open("/proc/self/cmdline", encoding="utf-8", errors="surrogateescape") as file:
        words = file.read().split("\0")[:-1]
    try:
        heed(words, sys.prefix)
    except (OSError, ValueError) as error:
        sys.stderr.write("[ WARNING ] packages below are not protected: %s\n" % error)


main()
