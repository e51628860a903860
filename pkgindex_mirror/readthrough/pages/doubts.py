"""Pages and lists that a client has declared doubtful (`DELETE /cache/NAME`): they are not current until their upstream was asked.

A doubt lasts until an answer to a question that was asked after it. It is in memory: another server over the store keeps to the expiry.
"""

from __future__ import annotations

from pkgindex_core.names import IndexName
from pkgindex_core.tools.bounded_cache import BoundedCache


class Doubt:
    """A doubt about one page or list. A later doubt about the same page is another object."""


class Doubts:
    """The doubts by index and project. The project list is the project ""."""

    def __init__(self, limit: int) -> None:
        self._doubts: BoundedCache[tuple[IndexName, str], Doubt] = BoundedCache(limit)

    def add(self, index: IndexName, project: str) -> None:
        self._doubts.put((index, project), Doubt())

    def of(self, index: IndexName, project: str) -> Doubt | None:
        return self._doubts.get((index, project)) if len(self._doubts) else None

    def settle(self, index: IndexName, project: str, doubt: Doubt | None) -> None:
        """End this doubt, if no later one came meanwhile."""
        if doubt is not None and self.of(index, project) is doubt:
            self._doubts.drop((index, project))
