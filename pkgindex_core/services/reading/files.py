"""Files and their sidecars: from a URL's parts to bytes, wherever those are.

A path names a file by digest and filename, so what it answers never changes. The index's source opens it: bytes that are in the blob
store, that stream to the client while they are fetched, checked and kept, or that the client is sent to. A lock file may name a file of a
project that nobody has asked for yet: the source looks for that project first.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from msgspec import Struct

from pkgindex_core.clock import Clock
from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Gone, Missing
from pkgindex_core.models import File, IndexConfig, Tree
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import (
    Arriving,
    Blob,
    BlobStore,
    Build,
    ColdFile,
    OnDisk,
    PageFilter,
    Principal,
    Redirect,
    SignedUrl,
    Span,
    Trees,
)
from pkgindex_core.rules.access import allowed_index
from pkgindex_core.rules.filtering import applying, why_hidden
from pkgindex_core.rules.permissions import Action, permits
from pkgindex_core.services.reading.finding import Finding, Found
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_core.tools.sources import Sources

_PLACED = 4096


class StoredFile(Struct, frozen=True, kw_only=True):
    """Bytes that are in the blob store, and the fastest way to them."""

    file: File
    blob: Blob
    place: Path | SignedUrl | None
    """A local path, a URL to redirect to, or None: use `Files.read`."""
    public: bool
    """Whether anonymous clients may have it; shared caches may keep it then."""


class ArrivingFile(Struct, frozen=True, kw_only=True):
    """Bytes that are on their way here."""

    file: File
    arriving: ColdFile
    public: bool


class ElsewhereFile(Struct, frozen=True, kw_only=True):
    """A file that is not kept here and that clients fetch elsewhere themselves."""

    file: File
    url: str


class Files:
    """Opens files for those who may read them."""

    def __init__(
        self,
        *,
        store: Trees,
        blobs: BlobStore,
        finding: Finding,
        sources: Sources,
        filters: Mapping[str, PageFilter],
        clock: Clock,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._finding = finding
        self._sources = sources
        self._filters = filters
        self._clock = clock
        self._placed: BoundedCache[tuple[IndexName, str, str], tuple[Found, StoredFile]] = BoundedCache(_PLACED)
        """Where local files lie, by index, path and name, as long as the same was found there."""

    async def open(
        self, index: IndexName, pinned: str, filename: str, *, sidecar: bool, principal: Principal
    ) -> StoredFile | ArrivingFile | ElsewhereFile:
        """Find a file (or its `.metadata`), or say why not.

        `pinned` is the part of the path before the filename, such as `+f/b9b/94088c1a2fe8f`; a path that pins other bytes than
        the index has is `Missing`, like one that never existed.
        """
        tree, config, found = await self._named(index, pinned, filename, principal, asking=True)
        self._offer(tree, config, found, f"{index}/{pinned}/{filename}")
        key = (index, pinned, f"{filename}.metadata" if sidecar else filename)
        # Not what was remembered: that may be of a moment before the readers were narrowed.
        public = permits(Principal(), Action.READ, index=config).allowed
        known = self._remembered(key, found)
        if known is not None and known.public == public:
            return known
        opened = await (self._sidecar if sidecar else self._bytes)(config, found, public=public)
        if isinstance(opened, StoredFile) and isinstance(opened.place, Path):
            self._placed.put(key, (found, opened))
        return opened

    def read(self, key: Sha256, span: Span | None = None) -> AsyncIterator[bytes]:
        """Bytes from the blob store, for places that are neither paths nor URLs."""
        return self._blobs.read(key, span)

    async def lookup(self, index: IndexName, pinned: str, filename: str, *, principal: Principal) -> Found:
        """What a path names, as far as it is known here, for somebody who looks after the index: what is hidden or
        quarantined is named too.
        """
        _, _, found = await self._named(index, pinned, filename, principal, asking=False)
        return found

    async def describe(self, index: IndexName, pinned: str, filename: str, *, principal: Principal) -> Found:
        """What is known of a file that may be fetched, without fetching it."""
        tree, config, found = await self._named(index, pinned, filename, principal, asking=True)
        self._offer(tree, config, found, f"{index}/{pinned}/{filename}")
        return found

    async def _named(
        self, index: IndexName, pinned: str, filename: str, principal: Principal, *, asking: bool
    ) -> tuple[Tree, IndexConfig, Found]:
        """What a path names, for who may read the project. What was deleted is told of only to them, too."""
        tree = await self._store.tree()
        config = allowed_index(tree, index, principal, Action.READ, some_project=True)
        try:
            found = await self._finding.find(config, pinned, filename, asking=asking)
        except Gone as gone:
            allowed_index(tree, index, principal, Action.READ, project=ProjectName(gone.project))
            raise
        allowed_index(tree, index, principal, Action.READ, project=found.project)
        return tree, config, found

    def _remembered(self, key: tuple[IndexName, str, str], found: Found) -> StoredFile | None:
        """Where the bytes were, as far as they are still there: they may have been dropped, evicted, or set aside as damaged."""
        known = self._placed.get(key)
        if known is None or known[0] is not found or not isinstance(known[1].place, Path):
            return None
        return known[1] if known[1].place.exists() else None

    async def _bytes(
        self, config: IndexConfig, found: Found, *, public: bool
    ) -> StoredFile | ArrivingFile | ElsewhereFile:
        file = found.file
        match await self._sources.of(config).open(config, found.project, file):
            case Redirect(url):
                return ElsewhereFile(file=file, url=url)
            case Arriving(arriving):
                return ArrivingFile(file=file, arriving=arriving, public=public)
            case OnDisk(blob):
                return await self._stored(file, blob, file.filename, public=public)

    async def _sidecar(self, config: IndexConfig, found: Found, *, public: bool) -> StoredFile:
        file = found.file
        if not file.filename.endswith(".whl"):
            raise Missing("metadata file", f"{file.filename}.metadata", hint="only wheels have one")
        blob = await self._sources.of(config).metadata(config, found.project, file)
        return await self._stored(file, blob, f"{file.filename}.metadata", public=public)

    async def _stored(self, file: File, blob: Blob, filename: str, *, public: bool) -> StoredFile:
        place = await self._blobs.locate(blob.sha256, filename=filename)
        return StoredFile(file=file, blob=blob, place=place, public=public)

    def _offer(self, tree: Tree, config: IndexConfig, found: Found, path: str) -> None:
        """What hides a file from pages hides its URL too, also when its bytes are here already."""
        if not found.offers:
            raise Missing("file", path, hint=f"the project {found.project} is quarantined")
        filters = applying(self._filters, tree, config.name)
        if not filters:
            return
        build = Build(tree=tree, start=config.name, project=found.project, moment=self._clock.now())
        reasons = why_hidden(config.name, found.tested or found.file, filters, build)
        if reasons:
            raise Missing("file", found.file.filename, hint=f"it is hidden: {reasons[0].reason}")
