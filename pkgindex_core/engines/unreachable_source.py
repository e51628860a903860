"""The source of mirrored indexes when no upstream can be asked: in a command without mirrors, or when a plugin is missing.

Stored data counts, and is stale. Data that is not stored is unknown, never absent.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pkgindex_core.changes import Change, Commit, Requirement
from pkgindex_core.digests import Sha256
from pkgindex_core.engines.hosted_source import stored
from pkgindex_core.errors import Missing, ReadOnly, Unavailable
from pkgindex_core.models import File, IndexConfig, ProjectRow, Standing
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import Blob, BlobStore, Freshness, ListedNames, Names, OnDisk, Source
from pkgindex_core.protocols.sources import NOTHING_SPOOLED

_NOT_FROM_HERE: Final = "its upstream cannot be asked from here"
_ASK_A_SERVER: Final = "ask a running server"


class UnreachableSource:
    """A `Source` of stored data only. Clients read the `reason`, and the `hint` about what to do, when something is not stored."""

    def __init__(
        self, *, store: ListedNames, blobs: BlobStore, reason: str = _NOT_FROM_HERE, hint: str = _ASK_A_SERVER
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._hint = hint
        self._stale = Freshness(state="stale", reason=reason)

    def is_current(self, index: IndexConfig, project: ProjectName, standing: Standing) -> bool:  # noqa: ARG002  # the role's signature
        return False

    async def refresh(
        self,
        index: IndexConfig,
        project: ProjectName,
        standing: Standing,
        *,
        again: bool = False,  # noqa: ARG002  # the role's signature
    ) -> Freshness:
        if not standing.holds:
            raise self._unknown(f"project {project} of {index.name}")
        return self._stale

    async def names(self, index: IndexConfig, *, ask: bool = True) -> Names:
        listing = await self._store.listing(index.name)
        if ask and not listing.is_whole:
            raise self._unknown(f"the project list of {index.name}")

        def read(after: str) -> AsyncIterator[Sequence[ProjectRow]]:
            return self._store.listed_names(index.name, after=after)

        return Names(read=read, stamp=listing.stamp, freshness=self._stale, is_whole=listing.is_whole)

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
            raise self._unknown(f"{file.filename} of {index.name}")
        return OnDisk(blob)

    async def metadata(self, index: IndexConfig, project: ProjectName, file: File) -> Blob:  # noqa: ARG002  # the role's signature
        blob = await self._blobs.stat(file.metadata_sha256) if file.metadata_sha256 else None
        if blob is None:
            announced = file.metadata_sha256 or file.metadata_offered
            if not announced and await stored(self._blobs, file):
                raise Missing("metadata file", f"{file.filename}.metadata")
            raise self._unknown(f"{file.filename}.metadata of {index.name}")
        return blob

    async def put(
        self,
        index: IndexConfig,
        changes: Sequence[Change],  # noqa: ARG002  # the role's signature
        *,
        who: str,  # noqa: ARG002  # the role's signature
        require: Iterable[Requirement] = (),  # noqa: ARG002  # the role's signature
        spooled: Mapping[Sha256, Path] = NOTHING_SPOOLED,  # noqa: ARG002  # the role's signature
    ) -> Commit | None:
        raise ReadOnly(index.name, index.type)

    async def close(self) -> None:
        """Do nothing: there is nothing to close."""

    def _unknown(self, what: str) -> Unavailable:
        return Unavailable(f"{what} is not stored: {self._stale.reason}", hint=self._hint)


if TYPE_CHECKING:
    _: type[Source] = UnreachableSource
