"""Indexes that let through only what their constraints allow: devpi-constrained's rule, for whole trees.

    numpy>=1.26,<3        only these versions of numpy
    requests              all versions of requests
    *                     and no other project; without this line the others pass untouched

An index is constrained that has the option `constraints`: one of type `constrained`, which has no files. What its bases offer passes through
it. For an index that inherits from one the question is which way a file can have come: it is hidden when *every* path from the queried index
to the file's index leads through a constrained one that does not allow it (`gates`; in graphs, the dominators). A way around a constrained index is a
way that whoever configured the tree has opened.

Hidden files have URLs of their own in the index that holds them, and that index's rules guard those, not the constraints of others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from msgspec import Struct
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from pkgindex_core.errors import Refused
from pkgindex_core.models import File, Tree
from pkgindex_core.names import IndexName, ProjectName, parse_project_name
from pkgindex_core.protocols.index_types import IndexOption, IndexType
from pkgindex_core.protocols.policies import Build

KIND: Final = "constrained"
OPTION: Final = "constraints"
ALL_OTHERS: Final = "*"

_SHOWN: Final = 80


class Constraints(Struct, frozen=True):
    """What one index lets through."""

    versions: Mapping[ProjectName, SpecifierSet]
    closed: bool
    """Whether projects that are not named are blocked."""

    def blocks_project(self, project: ProjectName) -> bool:
        """Whether nothing of a project passes, whatever its version."""
        return self.closed and project not in self.versions

    def allows(self, project: ProjectName, version: str) -> bool:
        """Whether a version passes. One that no standard can read passes only where every version does."""
        specifier = self.versions.get(project)
        if specifier is None:
            return not self.closed
        return not len(specifier) or _contains(specifier, version)


def constraint_lines(value: Any) -> tuple[str, ...]:
    """Read the option: a list of lines, or one text of them. Blank lines and comments do not count.

    Everything that is wrong with any line is one `Refused`.
    """
    lines = value.splitlines() if isinstance(value, str) else value
    if not isinstance(lines, list | tuple):
        raise Refused("constraints are requirement lines", hint="write a list, or text with one requirement a line")
    # A comment begins at a # that follows a blank, as in pip's files; one inside a word belongs to it.
    stripped = (f" {line}".split(" #", 1)[0].strip() for line in lines)
    kept = tuple(line for line in stripped if line)
    _parsed(kept)
    return kept


def parse_constraints(lines: Sequence[str]) -> Constraints:
    """What lines that were accepted say."""
    return _parsed(tuple(lines))


@lru_cache(maxsize=256)
def _parsed(lines: tuple[str, ...]) -> Constraints:
    versions: dict[ProjectName, SpecifierSet] = {}
    problems: list[str] = []
    for line in lines:
        if line == ALL_OTHERS:
            continue
        try:
            requirement = Requirement(line)
            project = parse_project_name(requirement.name)
        except InvalidRequirement as error:
            problems.append(f"Error while parsing constraints: {line[:_SHOWN]!r}: {str(error).splitlines()[0]}")
            continue
        except Refused as error:
            problems.append(f"Error while parsing constraints: {line[:_SHOWN]!r}: {error.message}")
            continue
        if requirement.url:
            problems.append(f"Error while parsing constraints: {line[:_SHOWN]!r}: a URL constrains no version")
        elif project in versions:
            problems.append(f"Error while parsing constraints: Constraint for {project!r} already exists.")
        else:
            versions[project] = requirement.specifier
    if problems:
        raise Refused(problems, hint="write one requirement a line, such as numpy>=1.26,<3, and * to block all others")
    return Constraints(versions, ALL_OTHERS in lines)


def gates(tree: Tree, start: IndexName) -> dict[IndexName, tuple[IndexName, ...]]:
    """For every index that can be reached: which constrained indexes stand on every way to it, the start and itself included."""
    reached = _reach(tree, start, None)
    found: dict[IndexName, list[IndexName]] = {name: [] for name in reached}
    for gate in reached:
        if OPTION in tree.indexes[gate].options:
            around = _reach(tree, start, gate)
            for name in reached:
                if name not in around:
                    found[name].append(gate)
    return {name: tuple(names) for name, names in found.items()}


def _reach(tree: Tree, start: IndexName, without: IndexName | None) -> list[IndexName]:
    """The indexes that can be reached when one is not there, in the order met."""
    if start not in tree.indexes or start == without:
        return []
    seen = {start: None}
    queue = deque([start])
    while queue:
        config = tree.indexes[queue.popleft()]
        for base in () if config.mirrored else config.bases:
            if base in tree.indexes and base != without and base not in seen:
                seen[base] = None
                queue.append(base)
    return list(seen)


@lru_cache(maxsize=65_536)
def _contains(specifier: SpecifierSet, version: str) -> bool:
    try:
        return specifier.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False


class ConstraintFilter:
    """The page filter. What it decides depends on the tree alone, whose serial is part of every ETag."""

    fingerprint = "constrained-1"
    rounding = 0

    def __init__(self) -> None:
        self._known: dict[IndexName, tuple[Tree, Mapping[IndexName, tuple[tuple[IndexName, Constraints], ...]]]] = {}

    def applies(self, tree: Tree, start: IndexName) -> bool:
        """Whether any constrained index is on any way from here."""
        return any(self._gates(tree, start).values())

    def withheld(self, tree: Tree, start: IndexName, origin: IndexName, project: ProjectName) -> str | None:
        """Why a whole project does not come from an index."""
        for gate, constraints in self._gates(tree, start).get(origin, ()):
            if constraints.blocks_project(project):
                return f"{gate} lets only the projects of its constraints through"
        return None

    def hidden(self, origin: IndexName, file: File, build: Build) -> str | None:
        """Why a version does not come from an index."""
        for gate, constraints in self._gates(build.tree, build.start).get(origin, ()):
            if not constraints.allows(build.project, file.version):
                return f"the constraints of {gate} do not allow version {file.version or '(unknown)'}"
        return None

    def _gates(self, tree: Tree, start: IndexName) -> Mapping[IndexName, tuple[tuple[IndexName, Constraints], ...]]:
        known = self._known.get(start)
        if known is None or known[0] is not tree:
            found = {
                name: tuple((gate, parse_constraints(_lines(tree, gate))) for gate in on_the_way)
                for name, on_the_way in gates(tree, start).items()
            }
            self._known[start] = known = (tree, found)
        return known[1]


def _lines(tree: Tree, index: IndexName) -> tuple[str, ...]:
    return tuple(tree.indexes[index].options.get(OPTION, ()))


CONSTRAINED_TYPE: Final = IndexType(takes_uploads=False)
CONSTRAINTS_OPTION: Final = IndexOption(parse=constraint_lines, types=(KIND,), default=lambda _: (), is_list=True)
