"""The source of indexes whose content comes from elsewhere, where nobody can ask: a command without mirrors, a plugin that is missing.

What is stored counts as it is, and is called stale. What is not stored is unknown, never absent.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from pkgindex_core.changes import Change, Commit, Requirement
from pkgindex_core.engines.hosted_source import stored
from pkgindex_core.errors import ReadOnly, Unavailable
from pkgindex_core.models import File, IndexConfig, ProjectRow, Standing
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import Blob, BlobStore, Freshness, ListedNames, Names, OnDisk, Source

_STALE: Final = Freshness(state="stale", reason="nobody here can ask its upstream")
_ASK_A_SERVER: Final = "ask a running server"


class UnreachableSource:
    """A `Source` of what was stored."""

    def __init__(self, *, store: ListedNames, blobs: BlobStore) -> None:
        self._store = store
        self._blobs = blobs

    def is_current(self, index: IndexConfig, project: ProjectName, standing: Standing) -> bool:  # noqa: ARG002  # the role's signature
        return False

    async def refresh(
        self,
        index: IndexConfig,
        project: ProjectName,  # noqa: ARG002  # the role's signature
        standing: Standing,
        *,
        again: bool = False,  # noqa: ARG002  # the role's signature
    ) -> Freshness:
        if not standing.holds:
            raise Unavailable(f"{index.name} cannot be asked from here", hint=_ASK_A_SERVER)
        return _STALE

    async def names(self, index: IndexConfig, *, ask: bool = True) -> Names:
        listing = await self._store.listing(index.name)
        if ask and not listing.is_whole:
            raise Unavailable(f"the project list of {index.name} cannot be asked for from here", hint=_ASK_A_SERVER)

        def read(after: str) -> AsyncIterator[Sequence[ProjectRow]]:
            return self._store.listed_names(index.name, after=after)

        return Names(read=read, stamp=listing.stamp, freshness=_STALE, is_whole=listing.is_whole)

    async def open(
        self,
        index: IndexConfig,
        project: ProjectName,  # noqa: ARG002  # the role's signature
        file: File,
        *,
        elsewhere: bool = True,  # noqa: ARG002  # the role's signature
    ) -> OnDisk:
        blob = await stored(self._blobs, file)
        if blob is None:
            raise _unfetched(index)
        return OnDisk(blob)

    async def metadata(self, index: IndexConfig, project: ProjectName, file: File) -> Blob:  # noqa: ARG002  # the role's signature
        blob = await self._blobs.stat(file.metadata_sha256) if file.metadata_sha256 else None
        if blob is None:
            raise _unfetched(index)
        return blob

    async def put(
        self,
        index: IndexConfig,
        changes: Sequence[Change],  # noqa: ARG002  # the role's signature
        *,
        who: str,  # noqa: ARG002  # the role's signature
        require: Iterable[Requirement] = (),  # noqa: ARG002  # the role's signature
    ) -> Commit | None:
        raise ReadOnly(index.name, index.type)

    async def close(self) -> None:
        """Nothing is held here."""


def _unfetched(index: IndexConfig) -> Unavailable:
    return Unavailable(f"nothing here can fetch for {index.name}", hint=_ASK_A_SERVER)


if TYPE_CHECKING:
    _: type[Source] = UnreachableSource
