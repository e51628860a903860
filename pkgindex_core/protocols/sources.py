"""The role of where an index's content comes from, by the type of the index.

    is_current ─► refresh      a project, before its page is made
    names                      the projects that there are
    open, metadata             a file, its core metadata
    put                        what was uploaded, where uploads are taken

What a source knows of projects and files lies in the index store, and is read there; a source is asked to see to it that this is so. The
types that come with the library are played by `engines.hosted_source` and `pkgindex_mirror`; a plugin offers others through the
hook `pkgindex_sources`. The contract suite is `pkgindex_core.testing.sources`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Literal, Protocol, runtime_checkable

from msgspec import Struct

from pkgindex_core.changes import Change, Commit, Requirement
from pkgindex_core.clock import Timestamp
from pkgindex_core.models import File, IndexConfig, ProjectRow, Serial, Standing
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols.blob_store import Blob, Span


class Freshness(Struct, frozen=True, kw_only=True):
    """What a source knows of a project, or of its project list, after it was asked."""

    state: Literal["fresh", "stale", "absent"]
    """`fresh`: as it is now, or was within the expiry. `stale`: the upstream could not be asked, what is stored
    is served. `absent`: there is no such project, and nothing is stored."""
    reason: str = ""
    """For `stale`: what went wrong, without secrets."""
    checked: Timestamp | None = None
    """When the upstream last answered."""


class ColdFile(Protocol):
    """A file that is being fetched from an upstream; any number of readers share one fetch.

    A reader that stops does not stop the fetch. The last bytes are held back until the digest was checked, so that
    nobody receives a complete file with wrong bytes: a reader gets an `Unavailable` instead.
    """

    @property
    def size(self) -> int | None:
        """Bytes, when the upstream said so."""
        ...

    def read(self, span: Span | None = None) -> AsyncIterator[bytes]: ...

    async def finished(self) -> Blob:
        """Wait until the bytes are checked and stored durably."""
        ...


class OnDisk(Struct, frozen=True):
    """The file's bytes are in the blob store."""

    blob: Blob


class Redirect(Struct, frozen=True):
    """The client fetches the bytes itself."""

    url: str
    """Absolute, percent-encoded."""


class Arriving(Struct, frozen=True):
    """The bytes are on their way here."""

    file: ColdFile


Opened = OnDisk | Redirect | Arriving


class Names(Struct, frozen=True, kw_only=True):
    """The projects of an index itself, by normalised name."""

    read: Callable[[str], AsyncIterator[Sequence[ProjectRow]]]
    """The rows behind a name (`""`: all of them), in batches; none holds the whole list."""
    stamp: Serial | None = None
    """The serial that last changed the list. None: the list is short, is read whole, and is named by what is in it."""
    freshness: Freshness = Freshness(state="fresh")
    is_whole: bool = True
    """False: the list was asked for and is not stored to its end (yet), so there may be other names."""
    is_partial: bool = False
    """True: the source lists only the projects that somebody asked for."""


class Source(Protocol):
    """Where the content of the indexes of one type comes from. Calls for the same thing share the work; each waits a bounded time.

    What cannot be known now is `Unavailable`, with nothing stored of it: unknown is not absent.
    """

    def is_current(self, index: IndexConfig, project: ProjectName, standing: Standing) -> bool:
        """Whether `refresh` would return at once with `fresh` or `absent`; never of what it last called `stale`.

        Synchronous and cheap: asked for every warm page.
        """
        ...

    async def refresh(
        self, index: IndexConfig, project: ProjectName, standing: Standing, *, again: bool = False
    ) -> Freshness:
        """See to it that the stored page is as fresh as it can be. Raises `Unavailable` when nothing is stored and the upstream
        could not be asked.

        `again` asks the upstream now, however new the page is. What is stored stays until there is something newer.
        """
        ...

    async def names(self, index: IndexConfig, *, ask: bool = True) -> Names:
        """The projects that there are. Without `ask` nothing is asked of anybody, and what is known is told.

        Raises `Unavailable` when no list is stored and the upstream could not be asked.
        """
        ...

    async def open(self, index: IndexConfig, project: ProjectName, file: File, *, elsewhere: bool = True) -> Opened:
        """The way to a file's bytes. With `elsewhere` false the client is sent nowhere: the bytes are wanted here.

        A source that cannot stream waits until the bytes are stored and says `OnDisk`.

        Raises `Missing` when the upstream says that the file is gone, `Unavailable` when it could not be asked, `Corrupt` when bytes that
        should be here are not.
        """
        ...

    async def metadata(self, index: IndexConfig, project: ProjectName, file: File) -> Blob:
        """The core metadata of a wheel, in the blob store; same errors. A wheel without core metadata is `Missing`."""
        ...

    async def put(
        self, index: IndexConfig, changes: Sequence[Change], *, who: str, require: Iterable[Requirement] = ()
    ) -> Commit | None:
        """Make what was uploaded part of the index; its blobs are stored. Durable when it returns; errors as those of `IndexStore.apply`.

        A source that takes no uploads raises `ReadOnly`.
        """
        ...

    async def close(self) -> None: ...


@runtime_checkable
class Examiner(Protocol):
    """A source that can also look at the upstream of an index before anybody asks it for something."""

    async def examine(self, index: IndexConfig) -> str:
        """What is wrong with the upstream and what to do, in one sentence without secrets; empty when it looks right.

        Takes a bounded time. Raises nothing.
        """
        ...
