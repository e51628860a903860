"""How bandersnatch's release filters judge: one release after the other, while those that were refused are already gone.

A judge opens a project, with the releases that are left at any time, and gives a function from a version to a reason; an empty
reason keeps the release.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from pkgindex_core.models import File
from pkgindex_core.names import ProjectName
from pkgindex_mirror.filters.bandersnatch.package_lists import RequirementLine, plain_packages
from pkgindex_mirror.filters.fingerprints import fingerprint_of
from pkgindex_mirror.syncing.values import UpstreamProject

Releases = Mapping[str, Sequence[File]]
"""The files of the releases that are left, by version."""
Verdicts = Callable[[str], str]
"""From a version to the reason for which its release is left out; empty: it stays."""

_PRE_RELEASES = tuple(map(re.compile, (r".+rc\d+$", r".+a(lpha)?\d+$", r".+b(eta)?\d+$", r".+dev\d+$")))


class ReleaseJudge(Protocol):
    """One release filter."""

    word: str
    needs_document: bool

    @property
    def fingerprint(self) -> str: ...

    def decides_alone(self, project: UpstreamProject) -> bool:
        """Whether the other release filters are not asked about this project."""
        ...

    def opened(self, project: UpstreamProject, releases: Releases) -> Verdicts:
        """`releases` shrinks while the verdicts are asked for."""
        ...


class ListedReleases:
    """`allowlist_release` and `project_requirements_pinned`: leave out the versions that no line of a list has."""

    needs_document = False

    def __init__(self, word: str, packages: Sequence[RequirementLine], *, pinning: bool) -> None:
        """`pinning`: a project that the list names with a specifier is judged by this filter alone."""
        self.word = word
        self._pinning = pinning
        self._packages: dict[ProjectName, list[RequirementLine]] = {}
        for package in packages:
            self._packages.setdefault(package.project, []).append(package)
        self.fingerprint = fingerprint_of(word, plain_packages(packages))

    def decides_alone(self, project: UpstreamProject) -> bool:
        return self._pinning and any(each.specifier for each in self._packages.get(project.name, ()))

    def opened(self, project: UpstreamProject, _releases: Releases) -> Verdicts:
        packages = self._packages.get(project.name, ())
        if not packages:
            return lambda _version: "its project is not in the list"
        shown = ", ".join(each.shown for each in packages)
        return lambda version: "" if any(each.has(version) for each in packages) else f"its version is not in {shown}"


class BlockedReleases:
    """`blocklist_release`: leaves out the versions that a line of the list has."""

    needs_document = False

    def __init__(self, word: str, packages: Sequence[RequirementLine]) -> None:
        self.word = word
        self._packages: dict[ProjectName, list[RequirementLine]] = {}
        for package in packages:
            self._packages.setdefault(package.project, []).append(package)
        self.fingerprint = fingerprint_of(word, plain_packages(packages))

    def decides_alone(self, _project: UpstreamProject) -> bool:
        return False

    def opened(self, project: UpstreamProject, _releases: Releases) -> Verdicts:
        packages = self._packages.get(project.name, ())
        return lambda version: next((f"its version is in {each.shown}" for each in packages if each.has(version)), "")


class PreReleases:
    """`prerelease_release`: leaves out versions that are spelled as pre-releases, of all projects or of some."""

    needs_document = False

    def __init__(self, word: str, names: Collection[str], *, only_raw: bool) -> None:
        """`only_raw`: the normalised names of the list are compared with the upstream's spelling, so that `Demo` never matches."""
        self.word = word
        self._names = frozenset(names)
        self._only_raw = only_raw
        self.fingerprint = fingerprint_of(word, [sorted(names), only_raw])

    def decides_alone(self, _project: UpstreamProject) -> bool:
        return False

    def opened(self, project: UpstreamProject, _releases: Releases) -> Verdicts:
        name = project.raw if self._only_raw else project.name
        if self._names and name not in self._names:
            return lambda _version: ""
        return lambda version: (
            "its version is a pre-release" if any(each.match(version) for each in _PRE_RELEASES) else ""
        )


class MatchedReleases:
    """`regex_release`: leaves out versions that a pattern matches at their beginning."""

    needs_document = False

    def __init__(self, word: str, patterns: Sequence[re.Pattern[str]]) -> None:
        self.word = word
        self._patterns = tuple(patterns)
        self.fingerprint = fingerprint_of(word, [each.pattern for each in patterns])

    def decides_alone(self, _project: UpstreamProject) -> bool:
        return False

    def opened(self, _project: UpstreamProject, _releases: Releases) -> Verdicts:
        return lambda version: next(
            (f"its version matches {each.pattern!r}" for each in self._patterns if each.match(version)), ""
        )
