"""Which versions of one project are in a closure, given the requirements for it that are known so far. Pure.

    requirements ─┐
                  ├─► settle ─► versions for each target, and with which extras
    candidates ───┘

Mode `all`: a version is in for a target if a requirement that counts there admits it. Requirements only ever come in addition, and so do
versions, so the closure is a least fixed point, whatever the order of the work.

A pre-release is in by the rule of installers (PEP 440, "Handling of pre-releases"): a requirement that admits it names a pre-release, or no
final version that is not yanked satisfies the requirements that admit it. An installer joins any of these requirements, and the more it joins, the fewer final
versions satisfy them. So all of them together decide.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct
from packaging.specifiers import SpecifierSet

from pkgindex_core.names import ProjectName
from pkgindex_mirror.closing.candidates import Candidates
from pkgindex_mirror.closing.install_targets import TargetSet


class DemandOrigin(Struct, frozen=True):
    """The author of a requirement: one version of a project, or a place such as `requirements.txt, line 3`."""

    where: str
    project: ProjectName = ProjectName("")
    version: int = -1
    """Its number among the candidates of the project."""
    extra: str = ""
    building: bool = False


class SettlingDemand:
    """A requirement for a project, with everything that has it."""

    def __init__(self, shown: str, specifier: SpecifierSet, extras: frozenset[str]) -> None:
        self.shown = shown
        self.specifier = specifier
        self.extras = extras
        self.names_prerelease = specifier.prereleases is True
        self.pins = is_pinned(specifier)
        self.mask = 0
        """The targets on which it counts."""
        self.admitted = 0
        """The versions that it admits, pre-releases among them."""
        self.shares: list[int] = []
        """For each target, the versions that are in because of it."""
        self.origins: dict[DemandOrigin, None] = {}


def is_pinned(specifier: SpecifierSet) -> bool:
    """Whether a specifier names one version, as a yanked file wants (PEP 592)."""
    return any(
        each.operator == "===" or (each.operator == "==" and not each.version.endswith(".*")) for each in specifier
    )


class Grown(Struct, frozen=True):
    """A version that came in for targets, itself (`extra` is empty) or with an extra."""

    number: int
    extra: str
    mask: int


class SettlingProject:
    """One project of a closure while requirements for it come in."""

    def __init__(self, name: ProjectName, targets: TargetSet, *, newest: bool) -> None:
        self.name = name
        self.is_missing = False
        """Whether the index has no such project."""
        self.candidates: Candidates | None = None
        self.demands: dict[tuple[str, frozenset[str]], SettlingDemand] = {}
        self.unknown: dict[int, dict[str, None]] = {}
        """By version, what is not known of its dependencies."""
        count = len(targets.targets)
        self.refuted_files: dict[str, int] = {}
        """By filename, the targets that the metadata of the file excludes, although its page does not."""
        self._newest = newest
        self.chosen = [0] * count
        """For each target, the versions that are in."""
        self.pinned = [0] * count
        """For each target, the versions that a requirement pins."""
        self._refuted = [0] * count
        self._extras: dict[str, list[int]] = {}
        self._own_extras: dict[str, list[int]] = {}

    def place(self, candidates: Candidates) -> None:
        """Take over the candidates, once."""
        self.candidates = candidates
        for demand in self.demands.values():
            demand.admitted = candidates.admitted(demand.specifier)

    def demand(
        self, shown: str, specifier: SpecifierSet, extras: frozenset[str], mask: int, origin: DemandOrigin
    ) -> bool:
        """Add a requirement that counts on targets. Returns whether versions may come in because of it."""
        key = (str(specifier), extras)
        found = self.demands.get(key)
        if found is None:
            found = self.demands[key] = SettlingDemand(shown, specifier, extras)
            if self.candidates is not None:
                found.admitted = self.candidates.admitted(specifier)
        found.origins[origin] = None
        is_news = bool(mask & ~found.mask)
        found.mask |= mask
        return is_news

    def refute_file(self, filename: str, mask: int) -> None:
        """Take a file out for targets that its own metadata excludes."""
        self.refuted_files[filename] = self.refuted_files.get(filename, 0) | mask

    def refute(self, number: int, mask: int) -> None:
        """Take a version out for targets that the metadata of all its files exclude."""
        for target in range(len(self._refuted)):
            if mask >> target & 1:
                self._refuted[target] |= 1 << number
                self.chosen[target] &= ~(1 << number)

    def add_own_extra(self, number: int, extra: str, mask: int) -> None:
        """Ask for another extra of one version, as `demo[all]` asks for `demo[more]` of the same version."""
        found = self._own_extras.setdefault(extra, [0] * len(self.chosen))
        for target in range(len(found)):
            found[target] |= (mask >> target & 1) << number

    def mask_of(self, number: int, sets: list[int]) -> int:
        """The targets in whose set a version is."""
        return sum(1 << target for target, found in enumerate(sets) if found >> number & 1)

    def settle(self) -> list[Grown]:
        """Bring in what the requirements admit. Returns what is new."""
        grown: dict[tuple[int, str], int] = {}
        for target in range(len(self.chosen)):
            before, pinned = self.chosen[target], self.pinned[target]
            self._settle_target(target)
            # Yanked files of a version that is in already come in with a requirement that pins it.
            again = before & self.pinned[target] & ~pinned & self._withdrawn(target)
            _note(grown, "", (self.chosen[target] & ~before) | again, target)
            for extra, found in self._extras_on(target).items():
                known = self._extras.setdefault(extra, [0] * len(self.chosen))
                _note(grown, extra, (found & ~known[target]) | (found & again), target)
                known[target] |= found
        return [Grown(number, extra, mask) for (number, extra), mask in sorted(grown.items())]

    def _settle_target(self, target: int) -> None:
        asking = [demand for demand in self.demands.values() if demand.mask >> target & 1]
        for demand in asking:
            demand.shares = demand.shares or [0] * len(self.chosen)
            if demand.pins:
                self.pinned[target] |= demand.admitted
        if self._newest:
            self._take_newest(target, asking)
        else:
            self._take_all(target, asking)

    def _fitting(self, target: int) -> int:
        assert self.candidates is not None
        return self.candidates.fitting[target] & ~self._refuted[target]

    def _withdrawn(self, target: int) -> int:
        assert self.candidates is not None
        return self.candidates.withdrawn[target] & ~self._refuted[target]

    def _take_all(self, target: int, asking: list[SettlingDemand]) -> None:
        assert self.candidates is not None
        usable = self._fitting(target) | (self._withdrawn(target) & self.pinned[target])
        finals = self._fitting(target) & self.candidates.finals
        admitted = named = 0
        for demand in asking:
            admitted |= demand.admitted
            named |= demand.admitted if demand.names_prerelease else 0
        chosen = self.chosen[target] | (admitted & usable & (self.candidates.finals | named))
        for number in bits(admitted & usable & ~chosen):
            common = finals
            for demand in asking:
                if demand.admitted >> number & 1:
                    common &= demand.admitted
            if not common:
                chosen |= 1 << number
        self.chosen[target] = chosen
        for demand in asking:
            demand.shares[target] = demand.admitted & chosen

    def _take_newest(self, target: int, asking: list[SettlingDemand]) -> None:
        assert self.candidates is not None
        for demand in asking:
            pool = demand.admitted & (self._fitting(target) | (self._withdrawn(target) if demand.pins else 0))
            finals = pool & self.candidates.finals
            pool = pool if demand.names_prerelease else finals or pool
            newest = 1 << (pool.bit_length() - 1) if pool else 0
            demand.shares[target] = newest
            self.chosen[target] |= newest

    def _extras_on(self, target: int) -> dict[str, int]:
        found = {extra: sets[target] & self.chosen[target] for extra, sets in self._own_extras.items()}
        for demand in self.demands.values():
            if demand.mask >> target & 1:
                for extra in demand.extras:
                    found[extra] = found.get(extra, 0) | (demand.shares[target] & self.chosen[target])
        return found


def bits(mask: int) -> Iterator[int]:
    """The positions of the bits that are set, the lowest first."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


def _note(grown: dict[tuple[int, str], int], extra: str, versions: int, target: int) -> None:
    for number in bits(versions):
        grown[number, extra] = grown.get((number, extra), 0) | 1 << target
