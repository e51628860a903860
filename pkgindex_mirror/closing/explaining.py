"""Why a project is in a closure. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from packaging.requirements import InvalidRequirement, Requirement

from pkgindex_core.errors import Missing
from pkgindex_core.names import ProjectName
from pkgindex_core.spelling import nearest
from pkgindex_mirror.closing.closure import Asker, ClosedProject, Closure

_REMEMBERED: Final = 4096


class Reason(Struct, frozen=True):
    """One step of an explanation: a project, the requirement that admits versions of it, and what has the requirement."""

    project: ProjectName
    requirement: str
    asker: Asker


def chain(closure: Closure, project: ProjectName) -> list[Reason]:
    """A shortest chain of requirements that leads to a project. Its last step is a requirement of the user. Raises `Missing`.

    Each step's requirement admits one of the versions whose requirement is the step before.
    """
    if project not in closure.projects:
        close = nearest(project, closure.projects)
        hint = f"did you mean {close!r}?" if close else "nothing asks for it"
        raise Missing("project", project, message=f"{project} is not in the closure", hint=hint)
    steps: list[Reason] = []
    found = _steps(closure)
    step = next((each for each in found if each[0] == project), None)
    while step is not None:
        reason, step = found[step]
        steps.append(reason)
    return steps


def explained(closure: Closure, project: ProjectName) -> Iterator[str]:
    """The chain and all requirements for a project, as lines for people. Raises `Missing`."""
    steps = chain(closure, project)
    found = closure.projects[project]
    listed = [each.version for each in found.versions]
    shown = ", ".join(listed) if len(listed) <= 8 else f"{', '.join(listed[:3])} … {', '.join(listed[-3:])}"
    yield f"{project}: {len(listed)} {'version' if len(listed) == 1 else 'versions'}: {shown}"
    for depth, step in enumerate(steps):
        yield f"{'  ' * depth}  {step.requirement}: asked for by {step.asker.shown}"
    yield f"All requirements for {project}:"
    for demand, admitted in zip(found.demands, _admitted(found), strict=True):
        count = len(admitted)
        askers = [each.shown for each in demand.askers]
        more = f" and {len(askers) - 3} more" if len(askers) > 3 else ""
        yield f"  {demand.requirement} ({count} of these versions): {', '.join(askers[:3])}{more}"


_Step = tuple[ProjectName, int]
"""A project and the position of one of its requirements."""


def _steps(closure: Closure) -> dict[_Step, tuple[Reason, _Step | None]]:
    """For each requirement its reason, and the requirement that brought in the asker; the nearest to the user first."""
    required_by: dict[ProjectName, list[tuple[_Step, Reason]]] = {}
    found: dict[_Step, tuple[Reason, _Step | None]] = {}
    for name, project in closure.projects.items():
        for number, demand in enumerate(project.demands):
            for asker in demand.askers:
                reason = Reason(name, demand.requirement, asker)
                if asker.project:
                    required_by.setdefault(asker.project, []).append(((name, number), reason))
                else:
                    found.setdefault((name, number), (reason, None))
    admitted_by: dict[ProjectName, list[set[str]]] = {}
    waiting = deque(found)
    while waiting:
        step = waiting.popleft()
        name, number = step
        if name not in admitted_by:
            admitted_by[name] = _admitted(closure.projects[name])
        admitted = admitted_by[name][number]
        for other, reason in required_by.get(name, ()):
            asking = tuple(each for each in reason.asker.versions if each in admitted)
            is_asking = asking or not reason.asker.versions
            if other not in found and is_asking and number in _bringing(closure.projects[name], reason.asker.extra):
                found[other] = replace(reason, asker=replace(reason.asker, versions=asking)), step
                waiting.append(other)
    return found


def _bringing(project: ClosedProject, extra: str) -> set[int]:
    """The requirements for a project that ask for one of its extras; all of them for the project itself."""
    asked = [_extras(demand.requirement) for demand in project.demands]
    if not extra:
        return {*range(len(asked))}
    named = {number for number, extras in enumerate(asked) if extra in extras}
    # An extra that nothing else asks for is asked for by another extra of the same project.
    return named or {number for number, extras in enumerate(asked) if extras}


@lru_cache(maxsize=_REMEMBERED)
def _extras(requirement: str) -> frozenset[str]:
    """The extras of a requirement; none when it cannot be read, as in a file that somebody edited."""
    try:
        return frozenset(Requirement(requirement).extras)
    except InvalidRequirement:
        return frozenset()


def _admitted(project: ClosedProject) -> list[set[str]]:
    """For each requirement for a project, the versions that it admits."""
    found: list[set[str]] = [set() for _ in project.demands]
    for version in project.versions:
        for number in version.demands:
            found[number].add(version.version)
    return found
