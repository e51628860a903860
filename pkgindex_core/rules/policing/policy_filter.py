"""The page filter of one rule: finds the lines that decide about a file, asks the rule, and minds modes and exemptions.

class AllowedLicences(PolicyFilter):
    rule = "licences"
    def decides(self, value, origin, file, build): return Held("its licence is …") if … else None

The lines are those of the index that holds the file (`origin`), so a file is judged alike on every page and under every URL that leads to it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from msgspec import Struct

from pkgindex_core.clock import Timestamp
from pkgindex_core.formats.columns import Columns
from pkgindex_core.models import File, Tree
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.advisories import AdvisoryBook
from pkgindex_core.protocols.policies import MODES, Build, PageFilter, Ruling
from pkgindex_core.rules.filtering import Revised
from pkgindex_core.rules.lineage import lineage
from pkgindex_core.rules.policing import kinds
from pkgindex_core.rules.policing.exemptions import Exempt, exempt_of
from pkgindex_core.rules.policing.lines import (
    CoveringLines,
    PolicyLine,
    ServerPolicies,
    candidates,
    lines_of,
    parsed_lines,
)
from pkgindex_core.rules.policing.uploads import PolicedUpload

_KEPT = 4096
END_OF_TIME: Final = Timestamp(1 << 62)
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Held(Struct, frozen=True):
    """A rule holds a file back, or a project."""

    reason: str
    until: Timestamp | None = None
    """The first instant at which it may pass."""


class _OriginLines(Struct, frozen=True):
    """The lines of one index for one rule, and its exemptions."""

    sets: tuple[tuple[bool, tuple[PolicyLine, ...]], ...]
    """The server's lines (True) and its own, judged apart."""
    exempt: Exempt


class _Times(Struct, frozen=True):
    """How the time matters in pages of an index."""

    grain: int
    """Microseconds to which it is rounded down; 0: it does not matter."""
    expiries: Sequence[Timestamp]
    """The instants at which exemptions end, in order."""


class _Lines:
    """The lines of one rule in one tree. A thread that still uses an old tree keeps its own."""

    def __init__(self, rule: str, server: ServerPolicies, tree: Tree | None) -> None:
        self.tree = tree
        self._rule = rule
        self._server = server
        self._origins: dict[IndexName, _OriginLines | None] = {}
        self._reached: dict[IndexName, tuple[IndexName, ...]] = {}
        self._times: dict[IndexName, _Times] = {}
        self._chosen: dict[tuple[IndexName, ProjectName], tuple[tuple[bool, CoveringLines], ...]] = {}

    def reached(self, start: IndexName) -> tuple[IndexName, ...]:
        """The layers of an index that have lines."""
        found = self._reached.get(start)
        if found is None:
            order = lineage(self.tree, start).order if self.tree is not None else ()
            found = tuple(each for each in order if self.origin(each) is not None)
            _put(self._reached, start, found)
        return found

    def times(self, start: IndexName, grain_of: Callable[[Any], int]) -> _Times:
        """How the time matters in pages of an index; `grain_of` gives the grain of a line's value."""
        known = self._times.get(start)
        if known is None:
            said = [each for name in self.reached(start) if (each := self.origin(name)) is not None]
            lines = [line for each in said for _, own in each.sets for line in own if not line.off]
            grains = [grain for line in lines if (grain := grain_of(line.value))]
            expiries = {until for each in said for until in each.exempt.expiries}
            known = _Times(min(grains, default=0), sorted(expiries))
            _put(self._times, start, known)
        return known

    def origin(self, name: IndexName) -> _OriginLines | None:
        """The lines of an index; None if it has none."""
        if name in self._origins:
            return self._origins[name]
        config = self.tree.indexes.get(name) if self.tree is not None else None
        found = None
        if config is not None:
            each = (True, self._server.of(config)), (False, lines_of(config))
            sets = tuple(
                (of_server, own)
                for of_server, lines in each
                if (own := tuple(line for line in parsed_lines(lines) if line.rule == self._rule))
            )
            found = _OriginLines(sets, exempt_of(config)) if sets else None
        _put(self._origins, name, found)
        return found

    def candidates(self, origin: IndexName, project: ProjectName) -> tuple[tuple[bool, CoveringLines], ...]:
        """The lines that cover a project in an index: the server's (True) and its own."""
        known = self._chosen.get((origin, project))
        if known is None:
            found = self.origin(origin)
            each = (
                (of_server, candidates(lines, self._rule, project))
                for of_server, lines in (found.sets if found is not None else ())
            )
            known = tuple(pair for pair in each if pair[1].lines)
            _put(self._chosen, (origin, project), known)
        return known


class PolicyFilter:
    """A `PageFilter` of the rule whose name it has. Subclasses say what the rule holds back."""

    rule: ClassVar[str]
    by_release: ClassVar[bool] = False
    by_version: ClassVar[bool] = False
    every_line: ClassVar[bool] = False
    """Whether all lines that cover a file count, and not only the most specific."""

    def __init__(self, server: ServerPolicies) -> None:
        self._server = server
        self._lines = _Lines(self.rule, server, None)
        self._fingerprint = f"{self.rule}-1 {server.fingerprint}"

    def decides(self, value: Any, origin: IndexName, file: File, build: Build) -> Held | None:
        """The decision of the rule about a file, given the value of a line; None when it passes."""
        raise NotImplementedError

    def decides_project(self, value: Any, origin: IndexName, project: ProjectName, tree: Tree) -> Held | None:
        """The decision of the rule about a whole project; only lines without versions are considered."""
        return None

    def decides_upload(self, value: Any, upload: PolicedUpload, build: Build) -> Held | None:
        """The decision of the rule about a file that is uploaded to its index; None when it is let in."""
        return None

    @property
    def fingerprint(self) -> str:
        """The lines of indexes are in the tree, whose serial is part of every ETag."""
        return self._fingerprint

    def grain(self, value: Any) -> int:
        """Microseconds to which the time is rounded down for a line; 0 if the rule does not look at it."""
        return 0

    @property
    def watched(self) -> Revised | None:
        return None

    def fingerprint_of(self, project: ProjectName) -> str:
        """The same for one project."""
        return self._fingerprint

    def until(self, tree: Tree, start: IndexName, moment: Timestamp) -> Timestamp:
        """The first instant after `moment` at which the cut-off may be another one."""
        times = self._of(tree).times(start, self.grain)
        next_grain = [moment - moment % times.grain + times.grain] if times.grain else []
        expired = bisect_right(times.expiries, moment)
        return Timestamp(min([*next_grain, *times.expiries[expired : expired + 1]], default=END_OF_TIME))

    def cut_off(self, tree: Tree, start: IndexName, moment: Timestamp) -> Timestamp:
        times = self._of(tree).times(start, self.grain)
        rounded = moment - moment % times.grain if times.grain else 0
        expired = bisect_right(times.expiries, moment)
        return Timestamp(max(rounded, times.expiries[expired - 1]) if expired else rounded)

    def applies(self, tree: Tree, start: IndexName) -> bool:
        return bool(self._of(tree).reached(start))

    def withheld(self, tree: Tree, start: IndexName, origin: IndexName, project: ProjectName) -> Ruling | None:
        rulings = [
            _ruling(self.rule, line, held)
            for _, found in self._of(tree).candidates(origin, project)
            if (line := found.decisive("")) is not None
            and not line.off
            and (held := self.decides_project(line.value, origin, project, tree)) is not None
        ]
        return _strictest(rulings)

    def may_hold(self, value: Any, columns: Columns, build: Build) -> Iterable[int] | None:
        """The places of files on which the value of a line lets the rule decide something; None: it may hold all files."""
        return None

    def suspects(self, origin: IndexName, columns: Columns, build: Build) -> Collection[str] | None:
        """The versions on whose files this filter may rule; None: on any (`rules.glancing`)."""
        found: set[str] = set()
        for _, covering in self._of(build.tree).candidates(origin, build.project):
            for line in covering.lines:
                if line.off:
                    continue
                places = self.may_hold(line.value, columns, build)
                if places is None:
                    if not line.targets[0].versions:
                        return None
                    found.update(filter(line.targets[0].covers_version, columns.distinct))
                elif places:
                    versions = columns.versions
                    found.update(versions[place] for place in places)
        return found

    def judge(self, origin: IndexName, file: File, build: Build) -> Ruling | None:
        return self._judged(origin, file.version, build, lambda value: self.decides(value, origin, file, build))

    def judge_upload(self, upload: PolicedUpload, build: Build) -> Ruling | None:
        """The ruling on a file that is uploaded; None when it is let in."""
        version = upload.file.version
        return self._judged(upload.index, version, build, lambda value: self.decides_upload(value, upload, build))

    def _judged(
        self, origin: IndexName, version: str, build: Build, decides: Callable[[Any], Held | None]
    ) -> Ruling | None:
        lines = self._of(build.tree)
        says = lines.origin(origin)
        rulings: list[Ruling] = []
        for of_server, found in lines.candidates(origin, build.project):
            for line in found.every(version) if self.every_line else found.decisive_of(version):
                held = None if line.off else decides(line.value)
                if held is not None and not (
                    says and says.exempt.find(build.project, version, self.rule, build.today, of_server=of_server)
                ):
                    rulings.append(_ruling(self.rule, line, held))
        return _strictest(rulings)

    def _of(self, tree: Tree) -> _Lines:
        lines = self._lines
        if lines.tree is not tree:
            self._lines = lines = _Lines(self.rule, self._server, tree)
        return lines


def made(kind: kinds.Kind, server: ServerPolicies, book: AdvisoryBook) -> PolicyFilter:
    """Make the filter of a kind of rules."""
    make: Callable[..., PolicyFilter] = kinds.found(kind.filter)
    return make(server, book) if kind.reads_book else make(server)


def _put(cache: dict[_Key, _Value], key: _Key, value: _Value) -> None:
    """Keep a value. A full cache is emptied: clients may ask for any names."""
    if len(cache) >= _KEPT:
        cache.clear()
    cache[key] = value


def _ruling(rule: str, line: PolicyLine, held: Held) -> Ruling:
    reason = held.reason
    if not reason.isprintable():  # it may name a file as a stranger spells it
        reason = "".join(each if each.isprintable() else "?" for each in reason)
    return Ruling(rule=rule, reason=reason, until=held.until, mode=line.mode)


def _strictest(rulings: list[Ruling]) -> Ruling | None:
    """The ruling with the strictest mode; of equal ones one that hides before one that waits, and a later time before an earlier."""
    if len(rulings) == 1:
        return rulings[0]
    return max(
        rulings,
        key=lambda each: (MODES.index(each.mode), each.until is None, each.until or 0),
        default=None,
    )


if TYPE_CHECKING:
    _filter: type[PageFilter] = PolicyFilter
