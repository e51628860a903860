"""Targets of policies and exemptions: a project, a pattern of names, or versions of a project. Pure."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from pkgindex_core.errors import Refused
from pkgindex_core.names import ProjectName, parse_project_name

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

_SHOWN: Final = 80
_PATTERN: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-*?")


class PolicyTarget(Struct, frozen=True, kw_only=True):
    """The subject of a line. Without a name and a pattern it is all projects."""

    name: str = ""
    """The normalised name of one project."""
    pattern: str = ""
    """A shell-style pattern of normalised names, such as `acme-*`."""
    versions: str = ""
    """Specifiers of versions (PEP 440), only with a name."""

    @property
    def weight(self) -> tuple[int, int]:
        """Targets in the order of their weights are from the least to the most specific."""
        if self.name:
            return (3 if self.versions else 2), 0
        return (1, len(self.pattern)) if self.pattern else (0, 0)

    def covers(self, project: ProjectName) -> bool:
        """Whether it is about a project, or some of its versions."""
        if self.name:
            return self.name == project
        return not self.pattern or fnmatchcase(project, self.pattern)

    def covers_version(self, version: str) -> bool:
        """Whether it is about a version of a project that it covers. A version that is not PEP 440 is in no set of versions."""
        return not self.versions or _contains(self.versions, version)


EVERYTHING: Final = PolicyTarget()


def parse_target(text: str) -> PolicyTarget:
    """Read a target.

    >>> parse_target("Acme_*").pattern, parse_target("NumPy>=2").versions
    ('acme-*', '>=2')
    """
    word = text.strip()
    if word == "*":
        return EVERYTHING
    if "*" in word.partition("=")[0] or "?" in word:
        pattern = word.lower().replace("_", "-").replace(".", "-")
        if not _PATTERN.issuperset(pattern):
            raise Refused(f"{word[:_SHOWN]!r} is no pattern of project names", hint="write one such as acme-*")
        return PolicyTarget(pattern=pattern)
    from packaging.requirements import InvalidRequirement, Requirement  # few programs read targets

    try:
        requirement = Requirement(word)
    except InvalidRequirement as error:
        raise Refused(f"{word[:_SHOWN]!r} names no project: {str(error).splitlines()[0]}", hint=_HINT) from error
    if requirement.url or requirement.extras or requirement.marker:
        raise Refused(f"{word[:_SHOWN]!r} has more than a project and its versions", hint=_HINT)
    return PolicyTarget(name=parse_project_name(requirement.name), versions=str(requirement.specifier))


_HINT: Final = "write a project (numpy), some of its versions (numpy>=2,<3) or a pattern of names (acme-*)"


@lru_cache(maxsize=1024)
def _specifier(text: str) -> SpecifierSet:
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(text)


@lru_cache(maxsize=65_536)
def _contains(versions: str, version: str) -> bool:
    from packaging.version import Version

    try:
        return bool(_specifier(versions).contains(Version(version), prereleases=True))
    except ValueError:  # also one with more digits than an int is made of
        return False
