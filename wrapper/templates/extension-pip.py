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

ELSEWHERE = r"-t|--target|--prefix|--root|--dry-run|--python|-h|--help"
FREE = ("pip", "setuptools", "wheel")  # what builds need of these is not what runs
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
        if name and version and name.lower() not in FREE:
            found.setdefault(name, version)  # the first is the one that is imported
    return "".join("%s==%s\n" % pair for pair in sorted(found.items()))


def heed(words, place):
    """:param words: of the command line. :param place: the extension."""
    command = [word for word in words_of_pip(words) if not word.startswith("-")][:1]
    if command not in (["install"], ["uninstall"], ["download"], ["wheel"]):
        return
    elsewhere = any(re.fullmatch(r"(%s)(=.*)?" % ELSEWHERE, word) for word in words)
    if command[0].endswith("install") and not elsewhere and is_frozen(place):
        sys.stderr.write(TOLD % (place, shlex.quote(place), shlex.quote(place)))
        sys.stderr.flush()
        os._exit(1)
    if command == ["uninstall"] or is_frozen(place):
        return
    record = json.loads(pathlib.Path(place, "extension.json").read_text(encoding="utf-8"))
    file = pathlib.Path(place, "constraints.txt")
    draft = file.with_name(".constraints.%d" % os.getpid())
    draft.write_text(constraints(record["sites"]), encoding="utf-8")
    draft.replace(file)
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
