"""Remembers which page filters apply to which index, so that a warm page does not ask all of them."""

from __future__ import annotations

from collections.abc import Mapping

from pkgindex_core.clock import Timestamp
from pkgindex_core.models import Tree
from pkgindex_core.names import IndexName
from pkgindex_core.protocols import PageFilter
from pkgindex_core.rules.filtering import Fingerprints, applying, fingerprints


class ApplyingFilters:
    """The filters of an engine. Whether one applies depends on the tree and the index only; the answers for the latest tree are kept."""

    def __init__(self, filters: Mapping[str, PageFilter]) -> None:
        self._all = filters
        self._tree: Tree | None = None
        self._known: dict[IndexName, dict[str, PageFilter]] = {}

    def of(self, tree: Tree, start: IndexName) -> Mapping[str, PageFilter]:
        """Those that can rule on anything in pages of an index of this tree."""
        if tree is not self._tree:
            self._tree, self._known = tree, {}
        found = self._known.get(start)
        if found is None:
            found = self._known[start] = applying(self._all, tree, start)
        return found

    def fingerprints(self, tree: Tree, start: IndexName, moment: Timestamp) -> Fingerprints:
        """The dependencies of their decisions besides the files and the tree."""
        return fingerprints(self.of(tree, start), tree, start, moment)
