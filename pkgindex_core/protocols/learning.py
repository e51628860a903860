"""The roles of stores that show learned data at once, and store it a moment later.

The answer of an upstream can be asked for again, so a client does not wait until it is on disk:

    learn ─► every read of this process sees it, from memory ─► a batch commits it, with the ordinary durable write

Other processes and later starts see only durable data. If the process dies first, the upstream is asked again. Uploads are
never stored this way. The contract suites are in `pkgindex_core.testing.learning`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol, runtime_checkable

from pkgindex_core.changes import MirrorPage
from pkgindex_core.digests import Sha256
from pkgindex_core.models import IndexConfig, PageRow, Serial, Standing
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.blob_store import Blob, BlobStore
from pkgindex_core.protocols.index_store import IndexStore


class Learning(Protocol):
    """Takes mirrored pages that are shown before they are stored.

    Pending pages have no serial: reads of the past, the log and the head know commits only.
    """

    async def learn(
        self,
        change: MirrorPage,
        *,
        index: IndexConfig,
        seen: Standing,
        who: str,
        lost: Callable[[], None],
        rows: Collection[PageRow] | None = None,
    ) -> Standing:
        """Apply a change for every read that begins after this call, and commit it soon, together with others.

        The change is whole and was computed from `seen` and its page. If the page has changed since, raises `RequirementFailed` and
        changes nothing. The commit requires that `index` still has this configuration and that the project is unchanged; otherwise the
        change is dropped and `lost` is called: ask the upstream again, starting from the stored page.

        The page is shown under a new stamp above the head, and its commit keeps stamp and content name. Two stores that learn the same
        change of the same page under the same head show it under the same name. If they learn different changes under one stamp, the
        content names differ (`Standing.content`).

        `rows`: `formats.kept_pages.KeptRows` whose `digest` is in the place of the page in `change.kept`. They are packed when they are stored.

        Returns the standing of the project that is shown from now on. Waits while the pending changes exceed their bound; if the medium fails
        too, raises the errors of `apply`.
        """
        ...

    def listen(
        self, touched: Callable[[IndexName, ProjectName], object], stored: Callable[[Serial], object] | None = None
    ) -> None:
        """Register callbacks: `touched` for projects that read differently without a commit (`tools.currency.Currency.touch`), and `stored` for
        commits after which all reads of this process are as before (`Currency.shown_before`).

        `touched` of the store reports these commits like every other, since other processes read differently after them.
        """
        ...

    async def settle(self) -> None:
        """Wait until everything learned before is stored or lost. If storing fails, raises the error, and the data stays pending."""
        ...


@runtime_checkable
class LearningIndex(IndexStore, Learning, Protocol):
    """An index store that shows mirrored pages before they are stored."""


@runtime_checkable
class LearningBlobs(BlobStore, Protocol):
    """A blob store that shows small blobs before they are stored, and that keeps copies of what upstreams have apart from its own blobs."""

    async def learn(self, data: bytes) -> Blob:
        """Make small bytes readable from memory, and store them soon. Waits and raises as `Learning.learn`.

        For bytes that can be fetched again. Use `put` for bytes that must not be lost.
        """
        ...

    async def settle(self) -> None:
        """Wait until everything learned before is stored. If storing fails, raises the error."""
        ...

    async def copies(self) -> BlobStore | None:
        """The store of the copies: files that a mirror fetched, and can fetch again. Any of them may be dropped at any time.

        They can be read through this store too, but no row of a hosted index may rely on them. None: the copies are among the other blobs,
        so that none may be dropped.
        """
        ...

    async def make_own(self, key: Sha256) -> None:
        """Store a copy among the store's own blobs as well, durably, before a hosted index names it. Does nothing for an own blob.

        Raises `Missing` if the blob is neither, as when it was dropped meanwhile.
        """
        ...

    def own(self) -> BlobStore:
        """The store's own blobs alone, without copies, and without what is not stored yet."""
        ...

    async def owns(self, key: Sha256) -> bool:
        """Whether a blob is among the store's own, so that a hosted index may name it."""
        ...

    def is_read(self, key: Sha256) -> bool:
        """Whether this process is reading the blob through `read`. Files that are sent by path are not known here."""
        ...

    def used(self, key: Sha256) -> bool:
        """Tell the listeners of `watch` that a client is given a blob. False: the blob is being dropped just now, so look it up again.

        Synchronous; takes a microsecond.
        """
        ...

    def watch(self, used: Callable[[Sha256], bool]) -> None:
        """Register a listener for `used`, which returns False for a blob that is being dropped."""
        ...
