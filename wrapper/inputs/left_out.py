"""What a lock says it lacks: packages that were there and of which it can tell no file.

The line is a comment, so that others read the file too. Whoever builds from the lock has to bring
what it names, or remove it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from packaging.utils import canonicalize_name

from wrapper.errors import PackageError
from wrapper.packages import LockedPackage

_LINE = "# Not in this lock, a build from it needs them besides: "


def left_out_line(packages: Iterable[LockedPackage]) -> str:
    """The line that names them, with its end; empty where there are none."""
    names = sorted(f"{package.canonical}=={package.version}" for package in packages)
    return f"{_LINE}{' '.join(names)}\n" if names else ""


def left_out(text: str) -> dict[str, str]:
    """What the text of a lock says that it lacks: canonical names, each with ``NAME==VERSION``."""
    lines = (line for line in text.splitlines() if line.startswith(_LINE))
    words = [word for line in lines for word in line.removeprefix(_LINE).split()]
    return {canonicalize_name(word.partition("==")[0]): word for word in words}


def describe_left_out(packages: Iterable[LockedPackage]) -> str:
    """Why these are not in the lock that is being written, for the user."""
    unknown: list[str] = []
    placed: list[str] = []
    for package in sorted(packages, key=lambda package: package.canonical):
        (placed if package.url else unknown).append(package.name)
    reasons = [f"no index offers {', '.join(unknown)}"] if unknown else []
    if placed:
        reasons.append(f"it holds only files with a hash: {', '.join(placed)}")
    return f"not in the lock, a build from it will ask for them: {'; '.join(reasons)}"


def require_left_out(lacking: Mapping[str, str], present: Collection[str]) -> None:
    """:param lacking: what the locks of a build lack, see :func:`left_out`. :param present:
        canonical names of what is there.

    :raises PackageError: something has not come from elsewhere either.
    """
    if missing := sorted(word for name, word in lacking.items() if name not in present):
        raise PackageError(
            f"the lock was written without packages that were there: {', '.join(missing)}",
            where="the line 'Not in this lock' at its beginning",
            hint="bring them with a requirements file (-r) or a script, or remove that line to do "
            "without them",
        )
