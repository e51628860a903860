"""The contents of requirements and lock files, as values."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from pkgindex_core.names import ProjectName


class Wanted(Struct, frozen=True, kw_only=True):
    """One project that is wanted, in one version."""

    project: ProjectName
    specifier: SpecifierSet = SpecifierSet()
    """The permitted versions, of which the newest is wanted."""
    marker: Marker | None = None
    extras: frozenset[str] = frozenset()
    choices: frozenset[str] = frozenset()
    """The extras and dependency groups of the lock file that names it. All of them are wanted."""
    filenames: frozenset[str] = frozenset()
    """The files from which to choose; empty: any of the version."""
    sha256s: frozenset[str] = frozenset()
    """Their digests; empty: any."""
    follow: bool = True
    """Whether its dependencies are wanted too. A lock file names them itself."""
    where: str
    """The place that asks for it, such as `requirements.txt, line 3`, for messages."""

    @property
    def shown(self) -> str:
        """The requirement as a text: `demo[extra]<2`."""
        extras = f"[{','.join(sorted(self.extras))}]" if self.extras else ""
        return f"{self.project}{extras}{self.specifier}"


def wanted_by(requirement: Requirement, project: ProjectName, *, where: str) -> Wanted:
    """The project of a requirement, with its dependencies."""
    return Wanted(
        project=project,
        specifier=requirement.specifier,
        marker=requirement.marker,
        extras=frozenset(requirement.extras),
        where=where,
    )


def constrained(wanted: Wanted, constraints: Iterable[Wanted]) -> Wanted:
    """Restrict a requirement by the constraints on its project."""
    for each in constraints:
        if each.project == wanted.project:
            wanted = replace(wanted, specifier=wanted.specifier & each.specifier, sha256s=wanted.sha256s | each.sha256s)
    return wanted
