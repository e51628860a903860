"""Reads the wishes of a user: names and requirements of a command line, requirements files, lock files and files of morgan."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet

from pkgindex_core.errors import Missing, Refused
from pkgindex_core.names import ProjectName, normalized_or_none
from pkgindex_mirror.bandersnatch.morgan import MorganEnvironment, read_morgan
from pkgindex_mirror.closing.fixed_point import Constraints
from pkgindex_mirror.closing.install_targets import TargetSet
from pkgindex_mirror.closing.morgan_targets import wanted_of
from pkgindex_mirror.closing.version_facts import LONGEST
from pkgindex_mirror.prefetching.lock_files import read_wanted
from pkgindex_mirror.prefetching.requirement_files import read_requirements
from pkgindex_mirror.prefetching.wanted import Wanted, wanted_by

COMMAND_LINE = "command line"


class Wishes(Struct, frozen=True):
    """Everything that a user wants."""

    wanted: tuple[Wanted, ...]
    left_out: tuple[str, ...]
    """Lines that name no project of an index, and other remarks, each as a sentence."""
    environments: tuple[MorganEnvironment, ...] = ()
    """The environments that files of morgan name."""


def read_inputs(names: Iterable[str], paths: Iterable[Path]) -> Wishes:
    """Read everything. Raises `Refused` with everything that cannot be read, or when nothing is wanted."""
    wanted: list[Wanted] = []
    left_out: list[str] = []
    environments: list[MorganEnvironment] = []
    problems: list[str] = []
    for name in names:
        try:
            wanted.append(read_name(name))
        except Refused as error:
            problems += error.problems
    for path in paths:
        try:
            read = _read_file(path)
        except Refused as error:
            problems += error.problems
        except Missing as error:
            problems.append(error.message)
        else:
            wanted += read.wanted
            left_out += read.left_out
            environments += read.environments
    problems += map(_too_long, filter(_is_long, wanted))
    if not problems and not wanted:
        problems.append("nothing is wanted")
    if problems:
        raise Refused(problems, hint="name projects (requests, 'black[jupyter]>=24'), or files with -r")
    return Wishes(tuple(wanted), tuple(left_out), tuple(environments))


def read_constraints(paths: Iterable[Path], targets: TargetSet) -> Constraints:
    """Read files of constraints, as pip's `-c`, without those that hold on some targets only. Raises `Refused`."""
    found: dict[ProjectName, SpecifierSet] = {}
    for path in paths:
        try:
            read = read_requirements(path).wanted
        except Refused as error:
            error.hint = error.hint or "-c names a file of constraints, as for pip: lines such as `requests<3`"
            raise
        if problems := [*map(_too_long, filter(_is_long, read))]:
            raise Refused(problems)
        for each in read:
            if targets.holding(each.marker) == targets.everything:
                found[each.project] = found.get(each.project, SpecifierSet()) & each.specifier
    return found


def _is_long(wanted: Wanted) -> bool:
    return any(len(str(each)) > LONGEST for each in (wanted.specifier, wanted.marker))


def _too_long(wanted: Wanted) -> str:
    return f"{wanted.where}: the requirement of {wanted.project} has more than {LONGEST} characters"


def _read_file(path: Path) -> Wishes:
    if path.suffix.lower() == ".ini":
        found = read_morgan(path)
        return Wishes(tuple(wanted_of(found, where=str(path))), found.remarks, found.targets)
    read = read_wanted(path)
    return Wishes(read.wanted, read.left_out)


def read_name(text: str, *, where: str = COMMAND_LINE) -> Wanted:
    """Read a name or a requirement, such as `flask[async]>=3`. Raises `Refused`."""
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        raise Refused(f"{text[:80]!r} is no requirement") from error
    project = normalized_or_none(requirement.name)
    if project is None or requirement.url:
        raise Refused(f"{text[:80]!r} is no project of an index")
    return wanted_by(requirement, project, where=where)
