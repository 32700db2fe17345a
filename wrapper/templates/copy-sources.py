"""Run inside by an installation's Python: copies what an editor reads of its packages.

Words: OUT, and the directories inside that OUT/lib stands for. What else of ``sys.path`` is in the
image goes below OUT/image; directories of the host are there outside too. Of compiled modules there
is an empty file, by which a language server sees that they exist.

Prints JSON: ``paths`` (below OUT, of packages), ``files`` and ``size``.
"""

import sys

# Started with -c, which looks into the working directory first: its json.py would be taken.
sys.path[:] = [path for path in sys.path if path.startswith("/")]

import json  # noqa: E402
import os  # noqa: E402
import shutil  # noqa: E402

out, libraries = sys.argv[1], sys.argv[2:]
standard = os.path.dirname(os.__file__)
standard = (standard, standard + "/lib-dynload")
image = os.stat("/").st_dev
READ, NAMED = (".py", ".pyi", ".pth", "py.typed"), (".so",)


def place_of(path):
    """Where a directory of ``sys.path`` goes, below OUT; ``None`` where it stays."""
    for library in libraries:
        if path.startswith(library + "/"):
            return "lib" + path[len(library) :]
    own = os.stat(path).st_dev == image and path not in standard
    return "image" + path if own else None


def copy(source, target):
    """The bytes of each file that is copied."""
    for folder, names, found in os.walk(source):
        names[:] = [name for name in names if name != "__pycache__"]
        there = target + folder[len(source) :]
        for name in found:
            old, new = os.path.join(folder, name), os.path.join(there, name)
            if name.endswith(READ + NAMED) and os.access(old, os.R_OK):
                os.makedirs(there, exist_ok=True)
                if name.endswith(READ):
                    shutil.copyfile(old, new)
                else:
                    open(new, "w").close()
                yield os.path.getsize(new)


places = {path: place_of(path) for path in sys.path if os.path.isabs(path) and os.path.isdir(path)}
places = {path: place for path, place in places.items() if place}
tops = [path for path in places if not any(path.startswith(other + "/") for other in places)]
sizes = [size for path in tops for size in copy(path, os.path.join(out, places[path]))]
paths = [place for path, place in places.items() if path not in standard]
paths = [place for place in paths if os.path.isdir(os.path.join(out, place))]
print(json.dumps({"paths": paths, "files": len(sizes), "size": sum(sizes)}))
