"""Puts the result of the work on a closure together. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from pkgindex_core.formats.versions import version_key
from pkgindex_core.names import ProjectName
from pkgindex_mirror.closing.closure import (
    Asker,
    ClosedFile,
    ClosedProject,
    ClosedVersion,
    Closure,
    Demand,
    Mode,
    Unmet,
)
from pkgindex_mirror.closing.fixed_point import FixedPoint
from pkgindex_mirror.closing.install_targets import positions
from pkgindex_mirror.closing.locking import LockedProject, Locking
from pkgindex_mirror.closing.settling import DemandOrigin, SettlingDemand, SettlingProject, bits


def gathered(point: FixedPoint, mode: Mode, locking: Locking | None = None) -> Closure:
    """The closure that a finished `FixedPoint` found, with the files of lock files."""
    assembly = _ClosureAssembly(point)
    locked = {} if locking is None else locking.projects
    projects = {
        name: project
        for name in sorted({*point.states, *locked})
        if (project := assembly.project(name, locked.get(name))).versions
    }
    unmet = [*assembly.unmet(), *(() if locking is None else locking.unmet)]
    return Closure(
        mode=mode,
        targets=tuple(target.shown for target in point.targets.targets),
        projects=projects,
        unmet=tuple(sorted(unmet, key=lambda each: (each.project, each.requirement, each.targets))),
    )


class _ClosureAssembly:
    def __init__(self, point: FixedPoint) -> None:
        self._point = point

    def project(self, name: ProjectName, locked: LockedProject | None) -> ClosedProject:
        state = self._point.states.get(name)
        demands: dict[str, Demand] = {}
        versions: dict[str, ClosedVersion] = {}
        if state is not None and state.candidates is not None:
            kept = [each for each in state.demands.values() if any(each.shares)]
            kept.sort(key=lambda each: each.shown)
            demands = {each.shown: self._demand(each) for each in kept}
            versions = {each.version: each for each in self._versions(state, kept)}
        if locked is not None:
            _add_locked(demands, versions, locked)
        ordered = sorted(versions.values(), key=lambda each: version_key(each.version))
        return ClosedProject(demands=tuple(demands.values()), versions=tuple(ordered))

    def unmet(self) -> Iterator[Unmet]:
        for state in self._point.states.values():
            for demand in state.demands.values():
                shares = demand.shares or [0] * len(self._point.targets.targets)
                left = tuple(number for number in positions(demand.mask) if not shares[number])
                if left:
                    yield Unmet(
                        project=state.name,
                        requirement=demand.shown,
                        askers=tuple(self._askers(demand.origins)),
                        targets=left,
                        missing=state.is_missing,
                    )

    def _versions(self, state: SettlingProject, demands: list[SettlingDemand]) -> Iterator[ClosedVersion]:
        assert state.candidates is not None
        chosen = 0
        for found in state.chosen:
            chosen |= found
        for number in bits(chosen):
            version = state.candidates.versions[number]
            mask, pinned = state.mask_of(number, state.chosen), state.mask_of(number, state.pinned)
            files = [
                ClosedFile(
                    filename=candidate.file.filename,
                    sha256=candidate.file.sha256 or "",
                    size=candidate.file.size,
                    targets=positions(fits),
                )
                for candidate, fits in version.available(
                    mask, pinned=pinned, sdists=self._point.sdists, refuted=state.refuted_files
                ).values()
            ]
            yield ClosedVersion(
                version=str(version.version),
                files=tuple(sorted(files, key=lambda each: each.filename)),
                demands=tuple(
                    place for place, demand in enumerate(demands) if any(share >> number & 1 for share in demand.shares)
                ),
                unknown="; ".join(sorted(state.unknown.get(number, ()))),
            )

    def _demand(self, demand: SettlingDemand) -> Demand:
        return Demand(requirement=demand.shown, askers=tuple(self._askers(demand.origins)))

    def _askers(self, origins: Iterable[DemandOrigin]) -> list[Asker]:
        """The origins of a requirement, with the versions of each project together."""
        places = [Asker(where=each.where) for each in origins if each.where]
        versions: dict[tuple[ProjectName, str, bool], list[int]] = {}
        for each in origins:
            if not each.where:
                versions.setdefault((each.project, each.extra, each.building), []).append(each.version)
        grouped = [
            Asker(project=project, extra=extra, building=building, versions=tuple(self._spelled(project, numbers)))
            for (project, extra, building), numbers in versions.items()
        ]
        return [*places, *sorted(grouped)]

    def _spelled(self, project: ProjectName, numbers: Iterable[int]) -> Iterator[str]:
        state = self._point.states.get(project)
        if state is not None and state.candidates is not None:
            for number in sorted(number for number in numbers if number >= 0):
                yield str(state.candidates.versions[number].version)


def _add_locked(demands: dict[str, Demand], versions: dict[str, ClosedVersion], locked: LockedProject) -> None:
    """Add locked files to what the project has because of other requirements."""
    places: dict[str, list[str]] = {}
    for where in locked.where.values():
        for requirement, place in where:
            places.setdefault(requirement, []).append(place)
    for requirement, found in places.items():
        known = demands.get(requirement)
        others = () if known is None else known.askers
        askers = (*(Asker(where=place) for place in dict.fromkeys(found)), *others)
        demands[requirement] = Demand(requirement=requirement, askers=askers)
    numbers: Mapping[str, int] = {requirement: number for number, requirement in enumerate(demands)}
    for version, files in locked.files.items():
        old = versions.get(version)
        merged = {**({} if old is None else {each.filename: each for each in old.files}), **files}
        asked = {numbers[requirement] for requirement, _ in locked.where[version]}
        versions[version] = ClosedVersion(
            version=version,
            files=tuple(merged[name] for name in sorted(merged)),
            demands=tuple(sorted({*asked, *(() if old is None else old.demands)})),
            unknown="" if old is None else old.unknown,
        )
