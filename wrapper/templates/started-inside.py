"""The interpreter that was started by its path inside the image says that of the prefix.

Scripts of packages name it in their first line, and other files of the environment do so. No host
has this path, and what a program writes down to be started later (a job script, a hook, a kernel, a
virtual environment) names ``sys.executable``. That becomes what it is when Python is started from
the prefix: the shim's path outside, and the real program's inside.
"""

import os
import sys


def _prefix(place):
    """The installation's directory, from where the script is, or from PATH; ``None`` if unknown."""
    started = getattr(sys, "argv", [""])[0]
    for folder in [os.path.dirname(started), *os.environ.get("PATH", "").split(os.pathsep)]:
        try:
            if folder[:1] == "/" and os.readlink(folder + "/.share") == place + "/share":
                return os.path.dirname(folder)
        except OSError:
            pass
    return None


def settle(place):
    """:param place: the environment inside the container, as the links of a prefix name it."""
    prefix = _prefix(place)
    names = ["python", os.path.basename(sys.executable)]
    paths = ["%s/bin/%s" % (prefix, name) for name in names]
    paths = [path for path in paths if prefix and os.path.lexists(path)]
    if not paths:
        return
    base = getattr(sys, "_base_executable", None)
    real = prefix + "/bin/.python"
    if base == sys.executable:
        sys._base_executable = paths[0]
    elif base and os.path.islink(real) and os.readlink(real) == os.path.dirname(base):
        sys._base_executable = "%s/%s" % (real, os.path.basename(base))
    sys.executable = paths[0]
    if not os.path.islink(real):
        return
    if sys.prefix == sys.base_prefix:
        sys.prefix = sys.exec_prefix = sys.base_prefix = sys.base_exec_prefix = prefix
    elif os.path.isfile(prefix + "/pyvenv.cfg"):  # the environment is a virtual one
        sys.prefix = sys.exec_prefix = prefix
