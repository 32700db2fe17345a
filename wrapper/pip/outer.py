"""Packages that an environment sees besides its own: those of the Python that it is built on.

uv does not look at them. pip does: what is there and fits is not installed again. That matters
where they are special (Cray's NumPy and mpi4py), so they are kept out of uv's resolution.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import Distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from wrapper.inputs.requirements import Wanted, counting


@dataclass(frozen=True, kw_only=True)
class OuterPackages:
    """:ivar versions: by canonical name. :ivar python: version of the Python, for markers."""

    versions: Mapping[str, str] = field(default_factory=dict)
    python: str = ""

    @classmethod
    def of(cls, packages: Mapping[str, str], *, python: str) -> OuterPackages:
        return cls(versions={canonicalize_name(n): v for n, v in packages.items()}, python=python)

    def fitting(self, wanted: Sequence[Wanted]) -> set[str]:
        """Names of those that nothing in ``wanted`` asks for in another form."""
        others = {
            one.name
            for one in wanted
            if one.path or one.extras or " @ " in one.text or not self._fits(one.text)
        }
        return set(self.versions) - others

    def unfit(self, distributions: Iterable[Distribution]) -> set[str]:
        """Names of those in whose place the installed distributions need other versions."""
        return {
            canonicalize_name(Requirement(text).name)
            for distribution in distributions
            for text in distribution.requires or ()
            if not self._fits(text)
        }

    def _fits(self, text: str) -> bool:
        """Whether a requirement that speaks of one of them is met by it."""
        wanted = counting(text, self.python)
        if wanted is None:
            return True
        version = self.versions.get(canonicalize_name(wanted.name))
        return version is None or wanted.specifier.contains(version, prereleases=True)
