"""Tell what a Python of a base image has. Run by that Python, in the container.

usage: base-python.py ANSWER RECORDS

Writes a JSON object to the file ANSWER, see wrapper.base_python.packages, and copies the records of
the conda environment that the Python is a part of, if it is, into the new directory RECORDS.
"""

import glob
import json
import os
import shutil
import sys
from importlib.metadata import distributions

# Shell functions for activation, and package managers that would work on the base itself.
NOT_OFFERED = ("activate", "deactivate", "conda", "mamba", "python", "Activate")


def size_of(distribution):
    """Bytes of the files of a package: of those in its own list, else of its modules."""
    files = [os.fspath(file.locate()) for file in distribution.files or ()]
    if not files:
        root = os.fspath(distribution.locate_file(""))
        called = distribution.metadata["Name"].replace("-", "_")
        modules = (distribution.read_text("top_level.txt") or "").split()
        for name in modules or {called, called.lower()}:
            files.append(os.path.join(root, name + ".py"))
            for folder, _, leaves in os.walk(os.path.join(root, name)):
                files += [os.path.join(folder, leaf) for leaf in leaves]
    return sum(os.lstat(file).st_size for file in files if os.path.lexists(file))


def packages():
    """Distributions on the import path; of two with one name the first counts, as for import."""
    found = {}
    for distribution in distributions():
        name = distribution.metadata["Name"]
        if name and name not in found:
            found[name] = {
                "version": distribution.version,
                "requires": distribution.requires or [],
                "size": size_of(distribution),
            }
    return found


def own_scripts():
    """Paths of programs that packages brought, for a Python that has no directory of its own."""
    folders = [os.path.join(sys.prefix, "local/bin"), os.path.join(sys.prefix, "bin")]
    names = set()
    for distribution in distributions():
        names.update(e.name for e in distribution.entry_points if e.group.endswith("_scripts"))
        names.update(f.name for f in distribution.files or () if f.parent.name == "bin")
    for name in sorted(names):
        found = [os.path.join(folder, name) for folder in folders]
        yield from [path for path in found if os.path.exists(path)][:1]


def body(path, folders):
    """What follows the line that names this Python, in a script for it; None for other programs."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(2)
            text += file.read() if text == "#!" else ""
    except (OSError, UnicodeDecodeError):
        return None
    head, _, rest = text.partition("\n")
    if head == "#!/bin/sh" and rest.startswith("'''exec' "):  # where the path is a long one
        head = "#!" + rest.partition("\n")[0][len("'''exec' ") :].split('" ')[0].strip('"')
        rest = rest.split("\n", 2)[2]
    program = head[2:].strip().split(" ")[0]
    if not os.path.basename(program).startswith("python"):
        return None
    same = os.path.realpath(program) == os.path.realpath(sys.executable)
    return rest if same or os.path.dirname(program) in folders else None


def programs(roots):
    """Scripts of this Python (name -> text), other programs (name -> path)."""
    folders = [os.path.join(root, "bin") for root in roots]
    paths = [path for folder in folders for path in sorted(glob.glob(folder + "/*"))]
    scripts, others = {}, {}
    for path in paths if roots else own_scripts():
        name = os.path.basename(path)
        if name.startswith(NOT_OFFERED) or name in scripts or name in others:
            continue
        if not (os.path.isfile(path) and os.access(path, os.X_OK)):
            continue
        text = body(path, folders)
        if text is not None:
            scripts[name] = text
        elif roots:
            others[name] = path
    return scripts, others


def readable(paths):
    """Those that we may read. Where the kernel has mounted the image, some may be root's alone."""
    return [path for path in sorted(paths) if os.access(path, os.R_OK)]


def is_conda(root):
    """Whether ``root`` is a conda environment, perhaps one whose records are root's alone."""
    meta = root + "/conda-meta"
    closed = os.path.isdir(meta) and not os.access(meta, os.X_OK)
    return closed or os.path.isfile(meta + "/history")


def conda_part(root, records):
    """The conda environment at ``root``: how it is activated, its libraries.

    ``closed`` says whether there are records that we may not read.
    """
    os.mkdir(records)
    meta = root + "/conda-meta"
    found = glob.glob(meta + "/*.json")
    for path in readable(found):
        shutil.copyfile(path, os.path.join(records, os.path.basename(path)))
    variables = {}
    for path in readable(glob.glob(root + "/etc/conda/env_vars.d/*.json")):
        with open(path) as file:
            variables.update(json.load(file))
    for path in readable([meta + "/state"]):
        with open(path) as file:
            variables.update(json.load(file).get("env_vars", {}))
    return {
        "root": root,
        "closed": not os.access(meta, os.R_OK | os.X_OK) or readable(found) != sorted(found),
        "activation": readable(glob.glob(root + "/etc/conda/activate.d/*.sh")),
        "variables": {name: str(value) for name, value in variables.items()},
        "libraries": sorted(glob.glob(root + "/lib/*.so*")),
    }


def main(answer, records):
    own = [sys.prefix] if sys.prefix != sys.base_prefix else []
    in_conda = is_conda(sys.base_prefix)
    scripts, others = programs(own + [sys.base_prefix] * in_conda)
    given = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if os.path.isdir(p)]
    sites = [p for p in sys.path if os.path.basename(p) in ("site-packages", "dist-packages")]
    facts = {
        "executable": sys.executable,
        "version": "%d.%d.%d" % sys.version_info[:3],
        "library": os.path.dirname(os.__file__),
        "python_path": given,
        "sites": [path for path in sites if path not in given],
        "packages": packages(),
        "scripts": scripts,
        "programs": others,
        "conda": conda_part(sys.base_prefix, records) if in_conda else None,
    }
    with open(answer, "w") as file:
        json.dump(facts, file)


main(*sys.argv[1:])
