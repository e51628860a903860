"""The role of what makes a mirror index fresh. `pkgindex_mirror` plays it; an index without mirrors has none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal, Protocol, runtime_checkable

from msgspec import Struct

from pkgindex_core.clock import Timestamp
from pkgindex_core.models import File, IndexConfig, Standing
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols.blob_store import Blob, Span


class Freshness(Struct, frozen=True, kw_only=True):
    """What a mirror knows of a project after it was asked to get fresh."""

    state: Literal["fresh", "stale", "absent"]
    """`fresh`: as the upstream has it, within the expiry. `stale`: the upstream could not be asked, what is stored
    is served. `absent`: the upstream says that there is no such project, and nothing is stored."""
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


class Refresher(Protocol):
    """How a mirror index gets fresh. Implemented by `pkgindex_mirror`; absent in an index without mirrors.

    Calls for the same thing share one upstream request. Each call waits a bounded time.
    """

    def is_fresh(self, index: IndexConfig, project: ProjectName, standing: Standing) -> bool:
        """Whether `refresh` would return at once with `fresh` or `absent`. Synchronous and cheap."""
        ...

    async def refresh(
        self, index: IndexConfig, project: ProjectName, standing: Standing, *, again: bool = False
    ) -> Freshness:
        """Make the stored page as fresh as it can be. Raises `Unavailable` when nothing is stored and the upstream
        could not be asked: unknown is not absent.

        `again` asks the upstream now, however new the page is. What is stored stays until there is something newer.
        """
        ...

    async def refresh_names(self, index: IndexConfig) -> Freshness:
        """The same for the mirror's project list."""
        ...

    async def fetch(self, index: IndexConfig, project: ProjectName, file: File) -> ColdFile:
        """Fetch a file that is not stored. Returns once the upstream has answered with a file; raises `Missing`
        when the upstream says that it is gone, `Unavailable` when it could not be asked.
        """
        ...

    async def external_url(self, index: IndexConfig, file: File) -> str | None:
        """Where at the upstream a client may fetch a file itself (`mirror_use_external_urls`), percent-encoded; None when it
        could not, or should not be sent there, and the file is fetched for it.
        """
        ...

    async def sidecar(self, index: IndexConfig, project: ProjectName, file: File) -> Blob:
        """Store a wheel's core metadata, from the upstream's sidecar or out of the wheel itself; same errors."""
        ...

    async def close(self) -> None: ...


@runtime_checkable
class Examiner(Protocol):
    """What a refresher may do besides: look at the upstream of an index before anybody asks it for something."""

    async def examine(self, index: IndexConfig) -> str:
        """What is wrong with the upstream and what to do, in one sentence without secrets; empty when it looks right.

        Takes a bounded time. Raises nothing.
        """
        ...
