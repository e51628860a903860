"""The role of a target: a place into which a sync brings projects. A tree for web servers and an index of the engine play it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType
from typing import Final, Literal, Protocol

from pkgindex_core.models import File
from pkgindex_core.names import ProjectName
from pkgindex_mirror.syncing.values import ProjectState, UpstreamProject

FORGOTTEN_LIST: Final[Mapping[str, str]] = MappingProxyType({"list-etag": "", "list-last-modified": ""})
"""Facts after which the next run reads the list of its upstream, also if that is the same as before."""
Access = Literal["read", "change", "make"]
"""The use of a target: `read` writes nothing, `change` wants it to be there, and `make` makes it if it is not there."""


class FileSink(Protocol):
    """Where the bytes of one file go while they arrive. What is not kept leaves nothing behind."""

    @property
    def offset(self) -> int:
        """The bytes that an interrupted transfer left, with which this one goes on; 0: none."""
        ...

    async def write(self, data: bytes) -> None: ...

    async def restart(self) -> None:
        """Forget the bytes so far, as when an upstream cannot resume."""
        ...

    async def keep(self) -> None:
        """Compare size and digests with those of the file, and put it in its place, durably. Raises `BadUpstream` if they differ."""
        ...


class SyncTarget(Protocol):
    """A place for mirrored projects. Foreign exceptions leave as `Unavailable` or `StorageFull`.

    A sync brings the files of a project first and its page last, so that no page names a file that is not there.
    """

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Hold the lease for a whole run. Raises `Conflict` when another run holds it."""
        ...

    # State.

    def states(self) -> AsyncIterator[Sequence[ProjectState]]:
        """All rows in the order of their names, in batches."""
        ...

    async def state(self, name: ProjectName) -> ProjectState | None: ...

    async def failing(self) -> Sequence[ProjectState]:
        """The rows of all projects whose last try failed."""
        ...

    async def put_states(self, states: Iterable[ProjectState]) -> None: ...

    async def facts(self) -> Mapping[str, str]:
        """Facts about the mirror as a whole: `serial`, `list-etag`, `list-last-modified`, `chosen-by` (fingerprint of the filters), `synced`."""
        ...

    async def put_facts(self, facts: Mapping[str, str]) -> None: ...

    # Content.

    async def held(self, name: ProjectName) -> UpstreamProject | None:
        """The project as it was last published, with the files that were left out too, so that other filters need no network."""
        ...

    async def missing(self, files: Sequence[File]) -> Sequence[File]:
        """Those of these files whose bytes are not there, or are not those of the file by their size and recorded digest."""
        ...

    def sink(self, file: File) -> AbstractAsyncContextManager[FileSink]: ...

    async def keep(self, file: File, data: bytes) -> None:
        """Put a small file, all bytes of which have come, in its place as a sink does. Raises as `FileSink.keep`."""
        ...

    async def publish(self, project: UpstreamProject, chosen: Sequence[File], state: ProjectState) -> None:
        """Replace the page of a project by one of the chosen files, which are all there, and store its row.

        Files of the project that are not chosen any more are removed afterwards.
        """
        ...

    async def hide(self, state: ProjectState) -> None:
        """Take the page of a project away, and store its row. Its files stay, as does what `held` returns."""
        ...

    async def remove(self, name: ProjectName) -> None:
        """Remove a project with its page, its row, and the files that no other project has."""
        ...

    async def finish(self, facts: Mapping[str, str]) -> None:
        """Write what describes the mirror as a whole, such as the list of projects, and store facts."""
        ...

    async def settle(self) -> None:
        """Return when everything that was written survives a power cut."""
        ...

    async def close(self) -> None: ...


class OpenableTarget(SyncTarget, Protocol):
    """A target that is opened before it is read outside of a turn."""

    async def open(self) -> None: ...
