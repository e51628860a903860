"""Files and their sidecars: from a URL's parts to bytes, wherever those are.

A path names a file by digest and filename, so what it answers never changes. Hosted bytes are in the blob store. A
mirrored file may be there too; if not, it streams to the client while it is fetched, checked and kept, and any number
of clients share one fetch. A lock file may name a file of a project that nobody has asked for yet: the page of that project
is fetched first.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from pkgindex_core.clock import Clock
from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Corrupt, Missing, Unavailable
from pkgindex_core.formats.filenames import candidate_projects
from pkgindex_core.formats.fragments import directory
from pkgindex_core.models import File, IndexConfig, Tree
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import (
    Blob,
    BlobStore,
    Build,
    ColdFile,
    IndexStore,
    PageFilter,
    Principal,
    Refresher,
    SignedUrl,
    Span,
)
from pkgindex_core.rules.filtering import applying, why_hidden
from pkgindex_core.rules.permissions import Action, permits
from pkgindex_core.services.access import allowed_index

_MEMO = 4096


class StoredFile(Struct, frozen=True, kw_only=True):
    """Bytes that are in the blob store, and the fastest way to them."""

    file: File
    blob: Blob
    place: Path | SignedUrl | None
    """A local path, a URL to redirect to, or None: use `Files.read`."""
    public: bool
    """Whether anonymous clients may have it; shared caches may keep it then."""


class ArrivingFile(Struct, frozen=True, kw_only=True):
    """Bytes that are on their way from an upstream."""

    file: File
    arriving: ColdFile
    public: bool


class Files:
    """Finds files for those who may read them."""

    def __init__(
        self,
        *,
        store: IndexStore,
        blobs: BlobStore,
        filters: Mapping[str, PageFilter],
        refreshers: Mapping[str, Refresher],
        clock: Clock,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._filters = filters
        self._refreshers = refreshers
        self._clock = clock
        self._memo: dict[tuple[IndexName, str, str], tuple[int, ProjectName, File]] = {}

    async def open(
        self, index: IndexName, pinned: str, filename: str, *, sidecar: bool, principal: Principal
    ) -> StoredFile | ArrivingFile:
        """Find a file (or its `.metadata`), or say why not.

        `pinned` is the part of the path before the filename, such as `+f/b9b/94088c1a2fe8f`; a path that pins other bytes than
        the index has is `Missing`, like one that never existed.
        """
        tree = await self._store.tree()
        config = allowed_index(tree, index, principal, Action.READ)
        project, file = await self._find(config, pinned, filename)
        self._guard(tree, config, project, file)
        public = permits(Principal(), Action.READ, index=config).allowed
        if sidecar:
            return await self._sidecar(config, project, file, public=public)
        sha256 = file.sha256
        blob = await self._blobs.stat(sha256) if sha256 else None
        if blob is not None:
            place = await self._blobs.locate(blob.sha256, filename=filename)
            return StoredFile(file=file, blob=blob, place=place, public=public)
        if not config.is_mirror:
            raise Corrupt(
                f"{filename} is listed in {index}, but its bytes are not in the blob store",
                hint="restore the blob from a backup, or upload the same file again",
            )
        arriving = await self._refresher(config).fetch(config, project, file)
        return ArrivingFile(file=file, arriving=arriving, public=public)

    def read(self, key: Sha256, span: Span | None = None) -> AsyncIterator[bytes]:
        """Bytes from the blob store, for places that are neither paths nor URLs."""
        return self._blobs.read(key, span)

    async def lookup(self, index: IndexName, pinned: str, filename: str) -> tuple[ProjectName, File]:
        """The project and record of a file that is stored or mirrored, without asking who wants to know."""
        config = (await self._store.tree()).indexes.get(index)
        if config is None:
            raise Missing("index", index)
        return await self._find(config, pinned, filename)

    async def _find(self, config: IndexConfig, pinned: str, filename: str) -> tuple[ProjectName, File]:
        key = (config.name, pinned, filename)
        generation = self._store.generation()
        memo = self._memo.get(key)
        if memo is not None and memo[0] == generation:
            return memo[1], memo[2]
        candidates = candidate_projects(filename)
        found = await self._store.find_file(config.name, filename, candidates)
        if found is None and config.is_mirror:
            found = await self._find_upstream(config, filename, candidates)
        if found is None or not _pins(pinned, found[1]):
            raise Missing("file", f"{config.name}/{pinned}/{filename}")
        (standing,) = await self._store.standings(found[0], [config.name])
        if standing.status == "quarantined":  # PEP 792: no distributions are offered, by URL neither
            raise Missing("file", f"{config.name}/{pinned}/{filename}", hint=f"the project {found[0]} is quarantined")
        if len(self._memo) >= _MEMO:
            self._memo.clear()
        self._memo[key] = (generation, *found)
        return found

    async def _find_upstream(
        self, config: IndexConfig, filename: str, candidates: Sequence[ProjectName]
    ) -> tuple[ProjectName, File] | None:
        """Fetch the pages of the projects a filename may belong to, the likeliest first, until one has it."""
        refresher = self._refresher(config)
        for project in candidates[:3]:
            (standing,) = await self._store.standings(project, [config.name])
            if standing.holds:
                continue  # its page was just looked at
            freshness = await refresher.refresh(config, project, standing)
            if freshness.state != "absent":
                file = await self._store.file(config.name, project, filename)
                if file is not None:
                    return project, file
        return None

    async def _sidecar(self, config: IndexConfig, project: ProjectName, file: File, *, public: bool) -> StoredFile:
        if not file.filename.endswith(".whl"):
            raise Missing("metadata file", f"{file.filename}.metadata", hint="only wheels have one")
        blob = await self._blobs.stat(file.metadata_sha256) if file.metadata_sha256 else None
        if blob is None and config.is_mirror:
            blob = await self._refresher(config).sidecar(config, project, file)
        if blob is None:
            raise Missing("metadata file", f"{file.filename}.metadata")
        place = await self._blobs.locate(blob.sha256, filename=f"{file.filename}.metadata")
        return StoredFile(file=file, blob=blob, place=place, public=public)

    def _guard(self, tree: Tree, config: IndexConfig, project: ProjectName, file: File) -> None:
        """What hides a file from pages hides its URL too, also when its bytes are here already."""
        filters = applying(self._filters, tree, config.name)
        if not filters:
            return
        build = Build(tree=tree, start=config.name, project=project, moment=self._clock.now())
        reasons = why_hidden(config.name, file, filters, build)
        if reasons:
            raise Missing("file", file.filename, hint=f"it is hidden: {reasons[0].reason}")

    def _refresher(self, config: IndexConfig) -> Refresher:
        refresher = self._refreshers.get(config.type)
        if refresher is None:
            raise Unavailable(f"nothing here can fetch for {config.name}", hint="ask a running server")
        return refresher


def _pins(pinned: str, file: File) -> bool:
    """Whether a path's directory is this file's. The one from before its sha256 was known stays valid (lock files)."""
    if pinned == directory(file):
        return True
    return bool(file.url) and pinned == f"+e/{hashlib.sha256(file.url.encode()).hexdigest()[:16]}"
