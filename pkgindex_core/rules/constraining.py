"""Constrained indexes: they let through only the versions that their constraints allow (devpi-constrained's rule, for trees).

    numpy>=1.26,<3        only these versions of numpy
    requests              all versions of requests
    *                     no other projects; without this line other projects are not constrained

An index of type `constrained` has the option `constraints` and no files; the files of its bases pass through it. An index may
inherit from a constrained one and also reach a file by another path. A file is hidden when *every* path from the queried index
to the file's index leads through a constrained index that does not allow it (`gates`; in graphs, the dominators). A path around
a constrained index is thus a decision of the administrator.

Constraints do not apply to a hidden file's URL in the index that holds it; the rules of that index do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Protocol

from msgspec import Struct

from pkgindex_core.clock import Timestamp
from pkgindex_core.errors import Refused
from pkgindex_core.models import File, Tree
from pkgindex_core.names import IndexName, ProjectName, parse_project_name
from pkgindex_core.protocols.index_types import IndexOption, IndexType
from pkgindex_core.protocols.policies import Build, Ruling

if TYPE_CHECKING:
    from packaging.version import Version

KIND: Final = "constrained"
OPTION: Final = "constraints"
ALL_OTHERS: Final = "*"

_SHOWN: Final = 80


class Specifier(Protocol):
    """The versions that a constraint allows: a `SpecifierSet` of packaging, which a start does not load."""

    def __hash__(self) -> int: ...

    def __len__(self) -> int: ...

    def contains(self, item: Version, prereleases: bool | None = None) -> bool: ...


class Constraints(Struct, frozen=True):
    """The parsed constraints of one index."""

    versions: Mapping[ProjectName, Specifier]
    closed: bool
    """Whether unnamed projects are blocked."""

    def blocks_project(self, project: ProjectName) -> bool:
        """Whether no version of a project passes."""
        return self.closed and project not in self.versions

    def allows(self, project: ProjectName, version: str) -> bool:
        """Whether a version passes. A version that is not PEP 440 passes only if all versions of the project do."""
        specifier = self.versions.get(project)
        if specifier is None:
            return not self.closed
        return not len(specifier) or _contains(specifier, version)


def constraint_lines(value: Any) -> tuple[str, ...]:
    """Read the option: a list of lines, or one text. Blank lines and comments are skipped.

    One `Refused` lists the problems of all lines.
    """
    lines = value.splitlines() if isinstance(value, str) else value
    if not isinstance(lines, list | tuple):
        raise Refused("constraints are requirement lines", hint="write a list, or text with one requirement a line")
    # As in pip's files: a comment begins at a # after a blank. A # inside a word belongs to the word.
    stripped = (f" {line}".split(" #", 1)[0].strip() for line in lines)
    kept = tuple(line for line in stripped if line)
    _parsed(kept)
    return kept


def parse_constraints(lines: Sequence[str]) -> Constraints:
    """Parse lines that `constraint_lines` accepted."""
    return _parsed(tuple(lines))


@lru_cache(maxsize=256)
def _parsed(lines: tuple[str, ...]) -> Constraints:
    # Every start makes the filter, and few indexes are constrained: the grammar of requirements is loaded for the first of them.
    from packaging.requirements import InvalidRequirement, Requirement

    versions: dict[ProjectName, Specifier] = {}
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
    """For every reachable index: the constrained indexes on every path to it, including the start and itself."""
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
    """The indexes that can be reached without one of them, in the order in which they are met."""
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
def _contains(specifier: Specifier, version: str) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        return specifier.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False


class ConstraintFilter:
    """The page filter. Its decisions depend on the tree alone, whose serial is part of every ETag."""

    fingerprint = "constrained-1"
    by_release = False

    def __init__(self) -> None:
        self._known: dict[IndexName, tuple[Tree, Mapping[IndexName, tuple[tuple[IndexName, Constraints], ...]]]] = {}

    def cut_off(self, tree: Tree, start: IndexName, moment: Timestamp) -> Timestamp:  # noqa: ARG002  # the role's signature
        return Timestamp(0)

    def applies(self, tree: Tree, start: IndexName) -> bool:
        """Whether a constrained index can be reached."""
        return any(self._gates(tree, start).values())

    def withheld(self, tree: Tree, start: IndexName, origin: IndexName, project: ProjectName) -> Ruling | None:
        """Why a whole project is hidden."""
        for gate, constraints in self._gates(tree, start).get(origin, ()):
            if constraints.blocks_project(project):
                return Ruling(reason=f"{gate} lets only the projects of its constraints through")
        return None

    def judge(self, origin: IndexName, file: File, build: Build) -> Ruling | None:
        """Why a version is hidden."""
        for gate, constraints in self._gates(build.tree, build.start).get(origin, ()):
            if not constraints.allows(build.project, file.version):
                return Ruling(reason=f"the constraints of {gate} do not allow version {file.version or '(unknown)'}")
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
