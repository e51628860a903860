"""Remembers which page filters apply to which index, and their fingerprints, so that a warm page does not ask all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.models import Tree
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import PageFilter
from pkgindex_core.rules.filtering import Fingerprints, Foretells, Revised, applying, fingerprints
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_core.tools.currency import Holds

_KEPT = 8192


class _KeptFingerprints(Struct, frozen=True):
    """Fingerprints that hold for a span of time, and while no filter has another revision."""

    fingerprints: Fingerprints
    revisions: Sequence[tuple[Revised, str]]
    """The things that filters watch, each once, with their revisions."""
    since: Timestamp
    until: Timestamp

    def holds(self, moment: Timestamp) -> bool:
        if not self.since <= moment < self.until:
            return False
        for watched, revision in self.revisions:  # noqa: SIM110 - a generator would take longer than all else here
            if watched.revision != revision:
                return False
        return True


class ApplyingFilters:
    """The filters of an engine. Whether one applies depends on the tree and the index only; the answers for the latest tree are kept."""

    def __init__(self, filters: Mapping[str, PageFilter]) -> None:
        self._all = filters
        self._tree: Tree | None = None
        self._applying: dict[IndexName, dict[str, PageFilter]] = {}
        self.kept: BoundedCache[tuple[IndexName, ProjectName], _KeptFingerprints] = BoundedCache(_KEPT)

    def of(self, tree: Tree, start: IndexName) -> Mapping[str, PageFilter]:
        """Those that can rule on anything in pages of an index of this tree."""
        if tree is not self._tree:
            self._tree, self._applying = tree, {}
            self.kept = BoundedCache(_KEPT)
        found = self._applying.get(start)
        if found is None:
            found = self._applying[start] = applying(self._all, tree, start)
        return found

    def fingerprints(self, tree: Tree, start: IndexName, moment: Timestamp, project: ProjectName) -> Fingerprints:
        """The dependencies of their decisions about a project besides the files and the tree."""
        filters = self.of(tree, start)
        if not filters:
            return ()
        known = self.kept.get((start, project))
        if known is not None and known.holds(moment):
            return known.fingerprints
        foretelling = [each for each in filters.values() if isinstance(each, Foretells)]
        watched = {id(thing): thing for each in foretelling if (thing := each.watched) is not None}
        revisions = [(thing, thing.revision) for thing in watched.values()]
        found = fingerprints(filters, tree, start, moment, project)  # read after the revisions that it is kept under
        if len(foretelling) == len(filters):
            until = min(each.until(tree, start, moment) for each in foretelling)
            self.kept.put((start, project), _KeptFingerprints(found, revisions, moment, until))
        return found

    def holding(self, tree: Tree, start: IndexName, clock: Clock, project: ProjectName, found: Fingerprints) -> Holds:
        """Make a check whether `fingerprints` would return the same again."""
        now = clock.now
        known = self.kept.get((start, project)) if tree is self._tree else None
        if known is None or known.fingerprints != found:
            return lambda: self.fingerprints(tree, start, now(), project) == found
        return lambda: known.holds(now()) or self.fingerprints(tree, start, now(), project) == found
