"""The role of a source: it provides the content of the indexes of one type.

    is_current ─► refresh      a project, before its page is made
    names                      the projects that there are
    open, metadata             a file, its core metadata
    put                        an upload, if the type takes uploads

Projects and files are read from the index store; a source brings the store up to date. `engines.hosted_source` and
`pkgindex_mirror` are the sources of the built-in types; plugins offer others through the hook `pkgindex_sources`. The
contract suite is `pkgindex_core.testing.sources`.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, Protocol, runtime_checkable

from msgspec import Struct

from pkgindex_core.changes import Change, Commit, Requirement
from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import Sha256
from pkgindex_core.models import File, IndexConfig, ProjectRow, Serial, Standing
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols.blob_store import Blob, Span

NOTHING_SPOOLED: Final[Mapping[Sha256, Path]] = MappingProxyType({})


class Freshness(Struct, frozen=True, kw_only=True):
    """The state of a project, or of a project list, after its source was asked."""

    state: Literal["fresh", "stale", "absent"]
    """`fresh`: current, or checked within the expiry. `stale`: the upstream could not be asked, and the stored page is served.
    `absent`: there is no such project, and nothing is stored."""
    reason: str = ""
    """For `stale`: the failure, without secrets."""
    checked: Timestamp | None = None
    """The time of the upstream's last answer."""


class ColdFile(Protocol):
    """A file that is being fetched from an upstream. Any number of readers share one fetch.

    A reader that stops does not stop the fetch. The last bytes are held back until the digest is checked, so that no
    reader gets a complete file with wrong bytes: it gets an `Unavailable` instead.
    """

    @property
    def size(self) -> int | None:
        """The size in bytes, if the upstream told it."""
        ...

    def read(self, span: Span | None = None) -> AsyncIterator[bytes]: ...

    async def finished(self) -> Blob:
        """Wait until the bytes are checked and stored durably."""
        ...


class Place(Struct, frozen=True):
    """A file on a local disk that others may change, and how it looked when its digest was taken."""

    path: Path
    mark: str
    """`mark_of` the file. One that looks otherwise may have other bytes, and these are not given."""


def mark_of(found: os.stat_result) -> str:
    """Describe how a file looks; writing or replacing it changes this: size, time of change in nanoseconds, inode."""
    return f"{found.st_size}-{found.st_mtime_ns}-{found.st_ino}"


class OnDisk(Struct, frozen=True):
    """The file's bytes are in the blob store, or at a place of the source's."""

    blob: Blob
    place: Place | None = None
    """Where they lie outside of the blob store. Only clients are sent there: with `elsewhere` false the bytes are in the blob store."""


class Redirect(Struct, frozen=True):
    """The client fetches the bytes from another URL."""

    url: str
    """Absolute, percent-encoded."""


class Arriving(Struct, frozen=True):
    """The bytes are being fetched."""

    file: ColdFile


Opened = OnDisk | Redirect | Arriving

Wanted = Callable[[int], Span | None]
"""The part of a file of so many bytes that a client wants; `Span(0, 0)` if it is the size alone, None if it is the whole file."""


class FilePart(Struct, frozen=True, kw_only=True):
    """A part of a file that is not stored. Nothing has verified its bytes, since digests are of whole files."""

    size: int
    """Bytes of the whole file."""
    span: Span
    data: bytes
    """Exactly the bytes of `span`; none for `Span(0, 0)`."""


class Names(Struct, frozen=True, kw_only=True):
    """The projects of one index without its bases, by normalised name."""

    read: Callable[[str], AsyncIterator[Sequence[ProjectRow]]]
    """Yields the rows behind a name (`""`: all rows), in batches."""
    stamp: Serial | None = None
    """The serial that last changed the list. None: the list is short, is read whole, and its ETag is made of its rows."""
    freshness: Freshness = Freshness(state="fresh")
    is_whole: bool = True
    """False: parts of the list are not stored yet, as while a long list is fetched for the first time. The upstream has more names."""
    is_partial: bool = False
    """True: the source cannot list its upstream, and knows only the projects that a client has asked for. So the list never becomes whole."""


class Source(Protocol):
    """Provides the content of the indexes of one type. Calls for the same thing share the work, and each waits a bounded time.

    If nothing is stored and the upstream cannot be asked, raises `Unavailable`: unknown is not absent.
    """

    def is_current(self, index: IndexConfig, project: ProjectName, standing: Standing) -> bool:
        """Whether `refresh` would return at once with `fresh` or `absent`; False if it last returned `stale`.

        Synchronous and cheap: called for every warm page.
        """
        ...

    async def refresh(
        self, index: IndexConfig, project: ProjectName, standing: Standing, *, again: bool = False
    ) -> Freshness:
        """Bring the stored page up to date. Raises `Unavailable` when nothing is stored and the upstream cannot be asked.

        `again` asks the upstream even if the page is new. The stored page stays until there is a newer one.
        """
        ...

    async def names(self, index: IndexConfig, *, ask: bool = True) -> Names:
        """The projects of an index. Without `ask` the upstream is not asked, and the stored list is returned.

        Raises `Unavailable` when no list is stored and the upstream cannot be asked.
        """
        ...

    async def open(self, index: IndexConfig, project: ProjectName, file: File, *, elsewhere: bool = True) -> Opened:
        """The way to a file's bytes. With `elsewhere` false it is never a `Redirect`.

        A source that cannot stream waits until the bytes are stored and returns `OnDisk`.

        Raises `Missing` when the upstream no longer has the file, `Unavailable` when it cannot be asked or sends bytes of another digest or
        size than it announced, and `Corrupt` when bytes that were stored here are missing or damaged.
        """
        ...

    async def metadata(self, index: IndexConfig, project: ProjectName, file: File) -> Blob:
        """The core metadata of a wheel, in the blob store. Raises the errors of `open`; `Missing` also for a wheel without core metadata."""
        ...

    async def put(
        self,
        index: IndexConfig,
        changes: Sequence[Change],
        *,
        who: str,
        require: Iterable[Requirement] = (),
        spooled: Mapping[Sha256, Path] = NOTHING_SPOOLED,
    ) -> Commit | None:
        """Commit an upload whose bytes are in the blob store or `spooled`, or a deletion. Durable when it returns. Raises the errors of
        `IndexStore.apply`.

        `spooled`: local files with bytes that are not in the blob store, by digest. There are none for an index that needs its blobs
        (`IndexConfig.needs_blobs`). The files stay until `put` returns.

        A source that takes no uploads raises `ReadOnly`.
        """
        ...

    async def close(self) -> None: ...


@runtime_checkable
class Examiner(Protocol):
    """A source that can also check the upstream of an index before it is first used."""

    async def examine(self, index: IndexConfig) -> str:
        """Describe what is wrong with the upstream and what to do, in one sentence without secrets; empty when nothing is wrong.

        Takes a bounded time and raises nothing.
        """
        ...


@runtime_checkable
class Proving(Protocol):
    """A source that can also get the provenance of a file (PEP 740) from where the file comes from."""

    async def provenance(self, index: IndexConfig, project: ProjectName, file: File) -> tuple[bytes, str]:
        """The document, and its verified publisher (`formats.publishers`); "" if it was not verified.

        Raises `Missing` if there is none, `Unavailable` if it is not known now, and `BadUpstream` for one that does not hold.
        """
        ...


@runtime_checkable
class Excerpting(Protocol):
    """A source that can also give a part of a file, or its size, without fetching the file."""

    async def open_part(
        self, index: IndexConfig, project: ProjectName, file: File, wanted: Wanted
    ) -> Opened | FilePart:
        """As `Source.open`. If the file is not stored and its sha256 is known, the answer may be the wanted part instead."""
        ...


@runtime_checkable
class Doubting(Protocol):
    """A source that believes an upstream's answer for a while, and can be told not to."""

    def doubt(self, index: IndexConfig, project: ProjectName | None) -> None:
        """Ask the upstream at the next request, even if its answer is new. None: for the list of projects.

        Nothing that is stored is dropped. The project is not current until the upstream has answered.
        """
        ...
