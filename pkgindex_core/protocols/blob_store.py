"""The role of a blob store: immutable bytes under their sha256.

Equal keys are equal bytes, so a lost answer costs nothing and a write can be repeated. The contract suite is
`pkgindex_core.testing.blob_store`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from pkgindex_core.digests import Sha256


class Blob(Struct, frozen=True):
    """Bytes that are stored."""

    sha256: Sha256
    size: int
    modified: float = 0.0
    """Seconds since the epoch when they were stored (for grace periods); 0 when the store cannot tell."""


class Span(Struct, frozen=True):
    """A byte range: `start` inclusive, `stop` exclusive, 0 <= start < stop <= size."""

    start: int
    stop: int


class SignedUrl(Struct, frozen=True):
    """A URL from which a client may fetch a blob directly until it expires."""

    url: str


class Stage(Protocol):
    """Bytes on their way into a store. Nothing is visible before `keep` returns.

    Owned by one task. Leaving the context without `keep` discards everything, also when the process is killed
    (a later start sweeps what was left behind).
    """

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append. May buffer; hashing happens here, off the event loop for anything large."""
        ...

    async def flush(self) -> None:
        """Make everything written so far readable through `path`."""
        ...

    @property
    def size(self) -> int:
        """Bytes written so far."""
        ...

    @property
    def path(self) -> Path:
        """A local file with everything that was flushed, for inspecting and for following its growth. Read only."""
        ...

    def hexdigest(self, algorithm: str = "sha256") -> str:
        """The digest of everything written; `algorithm` must have been asked for when the stage was opened."""
        ...

    async def keep(self) -> Blob:
        """Store the bytes durably under their sha256 and return. Call once.

        Durable means file synced, renamed, directory synced, or the equivalent of the medium. If any of that
        fails, nothing was stored, it is not tried again on the same file, and an `Unavailable` or `StorageFull` is raised.
        Bytes that are stored already are not stored twice; stored bytes of another size are replaced (repair).
        """
        ...


class BlobStore(Protocol):
    """Immutable bytes under their sha256. Equal keys are equal bytes, so a lost answer costs nothing."""

    def stage(self, *algorithms: str) -> AbstractAsyncContextManager[Stage]:
        """Open a place for new bytes. sha256 is always computed; name what else is to be compared."""
        ...

    async def put(self, data: bytes) -> Blob:
        """Store small bytes durably: a `stage`, `write`, `keep` in one."""
        ...

    def read(self, key: Sha256, span: Span | None = None) -> AsyncIterator[bytes]:
        """The bytes or a span of them, in chunks. An unknown key is `Missing`, raised at the first chunk."""
        ...

    async def stat(self, key: Sha256) -> Blob | None:
        """Whether the bytes are there. None means that they are not; a store that cannot tell raises `Unavailable`."""
        ...

    async def locate(self, key: Sha256, *, filename: str, expires: int = 300) -> Path | SignedUrl | None:
        """A faster way to the bytes: a local path for sendfile, a URL for a redirect, or None: use `read`.

        None also for an unknown key. `filename` names the download where the medium can say so; it is never part of a key.
        """
        ...

    async def drop(self, key: Sha256) -> bool:
        """Remove the bytes; False when they were not there. Durable when it returns."""
        ...

    async def set_aside(self, key: Sha256) -> bool:
        """Take damaged bytes out of the blobs without deleting them; False when there are none, or they are those of the key.

        Bytes that cannot be read count as damaged. Afterwards the key is not there, durably, and the bytes lie beside the blobs,
        where an operator finds them. Right bytes that are stored meanwhile stay, where the medium can tell.
        """
        ...

    def walk(self) -> AsyncIterator[Blob]:
        """Every blob, in no particular order. Blobs that come or go meanwhile may be missed."""
        ...

    async def owner(self) -> str:
        """The identity of the index that these blobs belong to; empty when no index has claimed them."""
        ...

    async def claim(self, identity: str, *, instead: bool = False) -> str:
        """Write down, durably, that these blobs belong to an index; return whose they are afterwards.

        Blobs that belong to another index stay that index's, unless `instead`. The mark lies beside the blobs and is none:
        `walk` does not yield it, and no key leads to it. Of several that claim at once, one gets the blobs, where the
        medium can tell.
        """
        ...

    async def sweep(self, *, older_than: float) -> int:
        """Remove leftovers of stages that were abandoned more than `older_than` seconds ago; return how many."""
        ...

    async def close(self) -> None: ...
