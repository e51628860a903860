"""The source of hosted indexes. Their content is in the stores, and always current."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from msgspec.structs import replace

from pkgindex_core.changes import Change, Commit, Requirement
from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Corrupt, Missing
from pkgindex_core.models import File, IndexConfig, Standing
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import Blob, BlobStore, Freshness, IndexWriter, Names, OnDisk, Projects, Source
from pkgindex_core.protocols.sources import NOTHING_SPOOLED
from pkgindex_core.tools.bounded_cache import BoundedCache, NamedCache
from pkgindex_core.tools.name_streams import stored_names

_FRESH: Final = Freshness(state="fresh")
_ABSENT: Final = Freshness(state="absent")
_REMEMBERED: Final = 16_384
"""Sidecars whose sizes are remembered."""
_RESTORE: Final = "restore the blob from a backup, or upload the same file again"


class _Store(Projects, IndexWriter, Protocol): ...


class HostedSource:
    """A `Source` over an index store and a blob store."""

    def __init__(self, *, store: _Store, blobs: BlobStore) -> None:
        self._store = store
        self._blobs = blobs
        self._sidecars: BoundedCache[Sha256, int] = BoundedCache(_REMEMBERED)
        """The sizes of sidecars."""

    def caches(self) -> Sequence[NamedCache]:
        return [NamedCache("sidecar_sizes", self._sidecars)]

    def is_current(self, index: IndexConfig, project: ProjectName, standing: Standing) -> bool:  # noqa: ARG002  # the role's signature
        return True

    async def refresh(
        self,
        index: IndexConfig,  # noqa: ARG002  # the role's signature
        project: ProjectName,  # noqa: ARG002  # the role's signature
        standing: Standing,
        *,
        again: bool = False,  # noqa: ARG002  # the role's signature
    ) -> Freshness:
        return _FRESH if standing.holds else _ABSENT

    async def names(self, index: IndexConfig, *, ask: bool = True) -> Names:  # noqa: ARG002  # the role's signature
        return Names(read=partial(stored_names, self._store, index.name))

    async def open(
        self,
        index: IndexConfig,
        project: ProjectName,  # noqa: ARG002  # the role's signature
        file: File,
        *,
        elsewhere: bool = True,  # noqa: ARG002  # the role's signature
    ) -> OnDisk:
        blob = await stored(self._blobs, file, is_promised=True)
        if blob is None:
            raise Corrupt(
                f"{file.filename} is listed in {index.name}, but its bytes are not in the blob store, or damaged",
                hint=_RESTORE,
            )
        if not blob.modified and file.upload_time is not None:  # the store was not asked
            blob = replace(blob, modified=file.upload_time / 1_000_000)
        return OnDisk(blob)

    async def metadata(self, index: IndexConfig, project: ProjectName, file: File) -> Blob:  # noqa: ARG002  # the role's signature
        blob = await self._sidecar(file.metadata_sha256) if file.metadata_sha256 else None
        if blob is None and file.metadata_sha256:
            raise Corrupt(
                f"the metadata of {file.filename} is announced in {index.name}, but it is not in the blob store",
                hint=_RESTORE,
            )
        if blob is None:
            raise Missing("metadata file", f"{file.filename}.metadata")
        return blob

    async def _sidecar(self, key: Sha256) -> Blob | None:
        # The row does not tell the size of a sidecar. It never changes, so the store is asked once.
        blob = await self._blobs.stat(key, promised=self._sidecars.get(key))
        if blob is not None and blob.size:
            self._sidecars.put(key, blob.size)
        return blob

    async def put(
        self,
        index: IndexConfig,  # noqa: ARG002  # the role's signature
        changes: Sequence[Change],
        *,
        who: str,
        require: Iterable[Requirement] = (),
        spooled: Mapping[Sha256, Path] = NOTHING_SPOOLED,  # noqa: ARG002  # the role's signature
    ) -> Commit | None:
        return await self._store.apply(changes, who=who, require=require)

    async def close(self) -> None:
        """Do nothing: there is nothing to close."""


async def stored(blobs: BlobStore, file: File, *, is_promised: bool = False) -> Blob | None:
    """The blob of a file, if it is stored with the file's size. A truncated blob counts as missing.

    `is_promised`: a row was committed after the blob was stored, and nothing but a defect can have removed it.
    """
    blob = await blobs.stat(file.sha256, promised=file.size if is_promised else None) if file.sha256 else None
    return None if blob is not None and file.size not in {None, blob.size} else blob


if TYPE_CHECKING:
    _: type[Source] = HostedSource
