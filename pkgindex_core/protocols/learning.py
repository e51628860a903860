"""The roles of stores that show at once what a source has learned, and store it behind.

What an upstream said can be asked for again, so nobody who waits for an answer waits for a disk as well:

    learn ─► every read of this process sees it, from memory ─► a batch commits it, with the ordinary durable write

Nothing lies where another process or a restart finds it before it is durable. What was learned and not stored when the process dies is
asked for again. What users upload never goes this way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from pkgindex_core.changes import MirrorPage
from pkgindex_core.models import IndexConfig, Standing
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.blob_store import Blob, BlobStore
from pkgindex_core.protocols.index_store import IndexStore


class Learning(Protocol):
    """Takes mirrored pages that are shown before they are stored.

    What is pending has no serial: reads of the past, the log and the head know committed things only.
    """

    async def learn(
        self, change: MirrorPage, *, index: IndexConfig, seen: Standing, who: str, lost: Callable[[], None]
    ) -> None:
        """Show what a change makes of a page to every read that begins after this, and commit it soon, with others.

        The change is whole, and was made up from what `seen` and the page said. `RequirementFailed` when that is not so any more, and nothing
        is changed. The commit requires that `index` is still configured so and that nobody else changed the project; if somebody did,
        what was learned is dropped and `lost` is called: ask the upstream again, with what is stored.

        The page is shown under a stamp that it never had, above the head, and keeps stamp and content name when it is committed. Stores that
        learn the same of the same page under the same head show it under the same name; of two that learn different things under one
        stamp the content tells (`Standing.content`).

        Waits while more is pending than may be; while the medium fails as well, raises what `apply` would.
        """
        ...

    def listen(self, touched: Callable[[IndexName, ProjectName], object]) -> None:
        """Have this called whenever a project reads differently although nothing was committed (`tools.currency.Currency.touch`).

        What is committed of it later is told by `touched`, as every commit is.
        """
        ...

    async def settle(self) -> None:
        """Wait until what was learned before is stored or lost. Raises what keeps it from being stored; it stays pending then."""
        ...


@runtime_checkable
class LearningIndex(IndexStore, Learning, Protocol):
    """An index store to which mirrored pages may be told before they are stored."""


@runtime_checkable
class LearningBlobs(BlobStore, Protocol):
    """A blob store to which small bytes may be told before they are stored."""

    async def learn(self, data: bytes) -> Blob:
        """Have small bytes readable from memory when it returns, and store them soon. Waits and raises as `Learning.learn`.

        For what can be had again. Whatever must not be lost is `put`.
        """
        ...

    async def settle(self) -> None:
        """Wait until what was learned before is stored; raises what keeps it from being stored."""
        ...
