"""The role of a blob store: immutable bytes under their sha256.

Equal keys are equal bytes, so a write whose answer was lost can be repeated. The contract suite is
`pkgindex_core.testing.blob_store`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import BinaryIO, Protocol

from msgspec import Struct

from pkgindex_core.digests import Sha256


class Blob(Struct, frozen=True):
    """Bytes that are stored."""

    sha256: Sha256
    size: int
    modified: float = 0.0
    """When they were stored, in seconds since the epoch (for grace periods); 0 when the store does not know."""


class Span(Struct, frozen=True):
    """A byte range: `start` inclusive, `stop` exclusive, 0 <= start < stop <= size."""

    start: int
    stop: int


class SignedUrl(Struct, frozen=True):
    """A URL from which a client may fetch a blob directly until it expires."""

    url: str


class Spool(Protocol):
    """New bytes before a store has them. Nothing is visible before `keep` returns.

    Owned by one task. Leaving the context without `keep` discards everything. If the process is killed, a later start
    sweeps the leftovers.
    """

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes. May buffer. Large amounts are hashed outside the event loop."""
        ...

    async def flush(self) -> None:
        """Make all bytes written so far readable through `path`."""
        ...

    def flushed(self) -> Path:
        """The same in the calling thread, a worker, which reads the file next; return `path`. Blocks."""
        ...

    def opened(self) -> BinaryIO:
        """All bytes written so far, to read in the calling thread, a worker, which closes it. Blocks. Few bytes need no file."""
        ...

    @property
    def size(self) -> int:
        """Bytes written so far."""
        ...

    @property
    def path(self) -> Path:
        """A local file with all flushed bytes, to inspect and to read while it grows. Read only."""
        ...

    def hexdigest(self, algorithm: str = "sha256") -> str:
        """The digest of all bytes written. `algorithm` must be one that the spool was opened with."""
        ...

    async def keep(self) -> Blob:
        """Store the bytes durably under their sha256 and return. Call once.

        Durable: the file is synced and renamed and its directory synced, or the equivalent on another medium. If a step
        fails, nothing is stored, `Unavailable` or `StorageFull` is raised, and the step is not repeated on the same file.
        Bytes that are stored already are not stored twice. Stored bytes of another size are replaced (repair).
        """
        ...


class BlobStore(Protocol):
    """Immutable bytes under their sha256."""

    def spool(self, *algorithms: str) -> AbstractAsyncContextManager[Spool]:
        """Open a spool for new bytes. sha256 is always computed; `algorithms` names other digests to compute."""
        ...

    async def put(self, data: bytes) -> Blob:
        """Store small bytes durably: a `spool`, `write`, `keep` in one."""
        ...

    def read(self, key: Sha256, span: Span | None = None) -> AsyncIterator[bytes]:
        """Read the bytes or a span of them, in chunks. An unknown key raises `Missing` at the first chunk."""
        ...

    async def stat(self, key: Sha256, *, promised: int | None = None) -> Blob | None:
        """Look up a blob. None: it is not stored. A store that cannot tell raises `Unavailable`.

        `promised`: the size of a blob that a committed row names. A store for which a look is a request over a network may believe the row
        (then `modified` is 0), until a read finds something else.
        """
        ...

    async def locate(
        self, key: Sha256, *, filename: str, expires: int = 300, may_redirect: bool = False
    ) -> Path | SignedUrl | None:
        """Find a faster way to the bytes: a local path for sendfile, or with `may_redirect` a URL for a redirect. None: use `read`.

        None also for an unknown key; a URL does not tell whether there is a blob. A medium that can name downloads names this one `filename`,
        which is never part of a key. A URL works for `expires` seconds, for everybody who has it.
        """
        ...

    async def drop(self, key: Sha256, *, modified: float | None = None) -> bool:
        """Remove a blob, durably; False when it was not there.

        With `modified`, remove it only if that is still its time (`Blob.modified`): a blob that was stored again meanwhile stays, if the
        medium can tell.
        """
        ...

    async def set_aside(self, key: Sha256) -> bool:
        """Move damaged bytes out of the blobs. False: there are none, or they match the key.

        Unreadable bytes count as damaged. Afterwards the key is unknown, durably, and the bytes lie beside the blobs for an
        operator. Good bytes that are stored meanwhile stay, if the medium can tell.
        """
        ...

    def walk(self, prefix: str = "") -> AsyncIterator[Blob]:
        """Yield every blob whose key begins with `prefix`, in no particular order. Blobs that are stored or dropped meanwhile may be missed.

        With two or more digits the cost is that of the blobs with these first two, on a medium that can list so.
        """
        ...

    async def owner(self) -> str:
        """The identity of the store that owns these blobs; empty when none has claimed them."""
        ...

    async def claim(self, identity: str, *, instead: bool = False) -> str:
        """Make a store the owner of these blobs, durably; return the identity of the owner.

        An earlier owner stays, unless `instead`. The mark lies beside the blobs: `walk` does not yield it, and no key leads to
        it. Of several claims at once one wins, if the medium can tell.
        """
        ...

    async def sweep(self, *, older_than: float) -> int:
        """Remove the leftovers of spools that were abandoned more than `older_than` seconds ago; return their number."""
        ...

    async def close(self) -> None: ...
