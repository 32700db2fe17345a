"""Makes a virtual environment on top of an installation's packages; its Python runs this.

Arguments: the directory, the installation's ``bin``. What is there of it is made anew, the record
last. Beside this file is the module that goes into it. A virtual environment of a virtual
environment sees only the packages of the outermost Python: what it misses its ``.pth`` file names.
"""

import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
import venv

RUN = """%s
import re
import sys
from %s import %s
if __name__ == "__main__":
    sys.argv[0] = re.sub(r"(-script\\.pyw|\\.exe)?$", "", sys.argv[0])
    sys.exit(%s())
"""
PIP = 'import sys; any("pip" in w for w in getattr(sys, "orig_argv", ["pip"])) and __import__("%s")'
MODULE = "_containerize_extension"
HOOK = "containerize-extension.pth"
# What Python sees without the hook of an earlier time, which stays until there is a new one, and
# without the current directory, of which site would make one of packages.
SEEN = (
    """
import sys
sys.path[:] = filter(None, sys.path)
import json, site
add = site.addpackage
site.addpackage = lambda root, name, *known: None if name == "%s" else add(root, name, *known)
site.main()
print(json.dumps(sys.path))
"""
    % HOOK
)


def first_line(python):
    """That of a script, as pip writes it where the kernel would not take the path."""
    if " " in python or len(python) > 120:
        return "#!/bin/sh\n'''exec' \"%s\" \"$0\" \"$@\"\n' '''" % python
    return "#!" + python


def package_directories(places):
    """Those of a path of modules that are not the standard library's."""
    paths = sysconfig.get_paths()
    library = {os.path.realpath(paths[name]) for name in ("stdlib", "platstdlib")}
    return [
        path
        for path in places
        if path and os.path.isdir(path) and os.path.realpath(path) not in library
        if os.path.basename(path) != "lib-dynload"
    ]


def draft_of(name):
    """Beside it, to be renamed: who is killed leaves what was there. No program, no ``.pth``."""
    draft = os.path.join(os.path.dirname(name), ".containerize.new")
    if os.path.lexists(draft):
        os.unlink(draft)
    return draft


def link(target, name):
    """A link in the place of what is there."""
    draft = draft_of(name)
    os.symlink(target, draft)
    os.replace(draft, name)


def write(name, text, mode=0o666):
    """A file in the place of what is there, with what the umask leaves of ``mode``."""
    draft = draft_of(name)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
    os.replace(draft, name)


def link_programs(place, programs, version):
    """The Python by the path of its shim, and all other programs for which nothing is there."""
    own = place + "/bin/"
    python = "%s/python%s" % (programs, version)
    link(python if os.path.lexists(python) else programs + "/python3", own + "python3")
    link("python3", own + "python")
    link("python3", own + "python" + version)
    for name in [*os.listdir(programs), "_debug_exec", "_debug_shell"]:
        if name[0] != "." and not os.path.lexists(own + name) and name != "list-packages":
            os.symlink("%s/%s" % (programs, name), own + name)


def make_scripts(place, sites):
    """Packages' programs for this Python: those of the installation see only its own packages."""
    own = place + "/bin/"
    for found in importlib.metadata.distributions(path=sites):
        for entry in found.entry_points:
            module, _, name = entry.value.partition("[")[0].strip().partition(":")
            path = own + entry.name
            if entry.group not in ("console_scripts", "gui_scripts") or not name:
                continue
            # What pip has installed on top stays.
            if "/" not in entry.name and (os.path.islink(path) or not os.path.lexists(path)):
                line, name = first_line(own + "python"), name.strip()
                words = (line, module.strip(), name.partition(".")[0], name)
                write(path, RUN % words, 0o777)


def main(place, programs):
    """See above."""
    sys.path[:] = [path for path in sys.path if path not in ("", os.path.dirname(__file__))]
    version = "%d.%d" % sys.version_info[:2]
    sites = package_directories(sys.path)  # an image's PYTHONPATH among them
    python = place + "/bin/python"
    packages = "%s/lib/python%s/site-packages" % (place, version)
    hook = packages + "/" + HOOK
    # A virtual environment's Python may not see what is the system's; then this one does not.
    for system in (True, False):
        venv.EnvBuilder(system_site_packages=system, symlinks=True).create(place)
        link_programs(place, programs, version)
        seen = json.loads(subprocess.check_output([python, "-S", "-c", SEEN]).decode())
        if set(package_directories(seen)) <= {*sites, packages}:
            break
    missing = [path for path in sites if path not in seen]
    lines = [PIP % MODULE, *("import site; site.addsitedir(%r)" % path for path in missing)]
    module = MODULE + ".py"
    os.replace(os.path.join(os.path.dirname(__file__), module), os.path.join(packages, module))
    write(hook, "\n".join(lines) + "\n")
    make_scripts(place, sites)
    if importlib.util.find_spec("pip") is None:
        subprocess.check_call([python, "-I", "-m", "ensurepip", "--upgrade", "--default-pip"])
    link("pip", place + "/bin/pip" + version)
    record = {
        "format": 1,
        "installation": os.path.dirname(programs),
        "directory": place,
        "python": version,
        "sites": sites,
    }
    write(place + "/extension.json", json.dumps(record, indent=1) + "\n")


main(*sys.argv[1:])
