"""Opens files and their sidecars by the parts of a URL.

A path names a file by digest and filename, so its bytes never change. The index's source opens it: the bytes are in the blob
store, or stream to the client while they are fetched, or the client is redirected. A lock file may name a file of a
project that was never asked for: the source then looks for the project first.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from pkgindex_core.clock import Clock
from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Gone, Missing, Removed
from pkgindex_core.models import IndexConfig, Tree
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import (
    Arriving,
    Blob,
    OnDisk,
    Principal,
    Redirect,
    Span,
    Trees,
)
from pkgindex_core.protocols.learning import LearningBlobs
from pkgindex_core.protocols.sources import Excerpting, FilePart
from pkgindex_core.rules.access import allowed_index
from pkgindex_core.rules.filtering import Fingerprints, withheld
from pkgindex_core.rules.permissions import Action, as_for_files, permits
from pkgindex_core.services.reading.finding import Finding, FoundFile
from pkgindex_core.services.reading.offering import Offering
from pkgindex_core.services.reading.opened_files import (
    ArrivingContent,
    ElsewhereFile,
    OpenedFile,
    OpenedPart,
    PartContent,
    PartOf,
    StoredContent,
)
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_core.tools.currency import Holding, Holds
from pkgindex_core.tools.sources import Sources

_PLACED = 4096


class Files:
    """Opens files for those who may read them."""

    def __init__(
        self,
        *,
        store: Trees,
        blobs: LearningBlobs,
        finding: Finding,
        sources: Sources,
        offering: Offering,
        clock: Clock,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self.finding = finding
        self._sources = sources
        self.offering = offering
        self._clock = clock
        self.placed: BoundedCache[tuple[IndexName, str | None, str], tuple[FoundFile, StoredContent]] = BoundedCache(
            _PLACED
        )
        """Paths of local files by index, path and name; valid while `finding` returns the same object."""

    async def open(
        self,
        index: IndexName,
        pinned: str | None,
        filename: str,
        *,
        sidecar: bool,
        principal: Principal,
        may_redirect: bool = False,
    ) -> OpenedFile:
        """Find a file (or its `.metadata`).

        `pinned` is the part of the path before the filename, such as `+f/b9b/94088c1a2fe8f`. A path that pins other bytes than the
        index has raises `Missing`, like an unknown one. None finds the file that has the name now. `may_redirect`: whether a signed URL of
        the blob store is of use. Sidecars get none: they are small, and the second request costs more than it saves.
        """
        opened, _ = await self.holding_open(
            index, pinned, filename, sidecar=sidecar, principal=principal, may_redirect=may_redirect
        )
        assert not isinstance(opened, PartContent)
        return opened

    async def holding_open(
        self,
        index: IndexName,
        pinned: str | None,
        filename: str,
        *,
        sidecar: bool,
        principal: Principal,
        may_redirect: bool = False,
        part: PartOf | None = None,
    ) -> tuple[OpenedPart, Holding]:
        """The same, and a function that makes a check whether this principal would get the same stored bytes again.

        `part`: what the client wants, if it may be less than the whole file. Then the answer may be a `PartContent`, for which the file is
        not fetched.
        """
        tree, config, found = await self._named(index, pinned, filename, principal, asking=True)
        moment = self._clock.now()
        decisions = self.offering.filters.fingerprints(tree, index, moment, found.project)
        warnings = await self.offering.offer(tree, config, found, f"{index}/{pinned or ''}/{filename}", moment)
        opened = await self._open(config, pinned, found, sidecar=sidecar, may_redirect=may_redirect, part=part)
        if not (sidecar or found.file.sha256 or isinstance(opened, PartContent)):
            await self.offering.compare(tree, config, found, opened, moment)
        if warnings:
            opened = replace(opened, warnings=warnings)
        return opened, partial(self._holding, tree, config, pinned, found, opened, decisions)

    def _holding(
        self,
        tree: Tree,
        config: IndexConfig,
        pinned: str | None,
        found: FoundFile,
        opened: OpenedPart,
        decisions: Fingerprints,
    ) -> Holds | None:
        """A check whether the file, and the decisions of filters about it, are the same. Each check counts as a use of a mirrored file."""
        holds = self.finding.holding(config.name, pinned, found.file.filename, found)
        if holds is None or not isinstance(opened, StoredContent):
            return None
        key = opened.blob.sha256
        decided = self.offering.filters.holding(tree, config.name, self._clock, found.project, decisions)

        def check() -> bool:
            if decisions and not decided():
                return False
            return holds() and (not config.mirrored or self._blobs.used(key))

        return check

    async def _open(
        self,
        config: IndexConfig,
        pinned: str | None,
        found: FoundFile,
        *,
        sidecar: bool,
        may_redirect: bool,
        part: PartOf | None,
    ) -> OpenedPart:
        filename = found.file.filename
        key = (config.name, pinned, f"{filename}.metadata" if sidecar else filename)
        # Decided anew: a cached answer may be from before the read list was narrowed.
        public = permits(Principal(), Action.READ, index=as_for_files(config)).allowed
        known = self._remembered(key, found)
        is_valid = known is not None and known.public == public
        if known is not None and is_valid and (not config.mirrored or self._blobs.used(known.blob.sha256)):
            return known
        if sidecar:
            opened: OpenedPart = await self._sidecar(config, found, public=public)
        else:
            opened = await self._bytes(config, found, public=public, may_redirect=may_redirect, part=part)
        if isinstance(opened, StoredContent) and isinstance(opened.place, Path):
            self.placed.put(key, (found, opened))
        return opened

    async def read(self, key: Sha256, span: Span | None = None) -> AsyncIterator[bytes]:
        """Bytes from the blob store, when there is neither a path nor a URL. Raises `Removed` if they were removed since `open`."""
        try:
            async for data in self._blobs.read(key, span):
                yield data
        except Missing as error:
            raise Removed from error

    async def lookup(self, index: IndexName, pinned: str, filename: str, *, principal: Principal) -> FoundFile:
        """Find a file for maintenance of the index, without asking the source. Finds hidden and quarantined files too."""
        _, _, found = await self._named(index, pinned, filename, principal, asking=False)
        return found

    async def describe(self, index: IndexName, pinned: str, filename: str, *, principal: Principal) -> FoundFile:
        """Describe a readable file without fetching it."""
        tree, config, found = await self._named(index, pinned, filename, principal, asking=True)
        await self.offering.offer(tree, config, found, f"{index}/{pinned}/{filename}", self._clock.now())
        return found

    async def _named(
        self, index: IndexName, pinned: str | None, filename: str, principal: Principal, *, asking: bool
    ) -> tuple[Tree, IndexConfig, FoundFile]:
        """Find a file if the principal may read the project. Only then an error says that a file was deleted."""
        tree = await self._store.tree()
        config = allowed_index(tree, index, principal, Action.READ, some_project=True, files=True)
        try:
            is_withheld = withheld(self.offering.filters.of(tree, index), tree, index, index) if asking else None
            found = await self.finding.find(config, pinned, filename, asking=asking, is_withheld=is_withheld)
        except Gone as gone:
            allowed_index(tree, index, principal, Action.READ, project=ProjectName(gone.project), files=True)
            raise
        allowed_index(tree, index, principal, Action.READ, project=found.project, files=True)
        return tree, config, found

    def _remembered(self, key: tuple[IndexName, str | None, str], found: FoundFile) -> StoredContent | None:
        """The cached path of a file, if the file is still there: it may have been dropped, evicted, or set aside as damaged."""
        known = self.placed.get(key)
        if known is None or known[0] is not found or not isinstance(known[1].place, Path):
            return None
        return known[1] if known[1].place.exists() else None

    async def _bytes(
        self, config: IndexConfig, found: FoundFile, *, public: bool, may_redirect: bool, part: PartOf | None
    ) -> OpenedPart:
        file = found.file
        source = self._sources.of(config)
        # Filters may judge a file of unknown digest by its bytes, so it has no parts.
        if part is not None and file.sha256 and isinstance(source, Excerpting):
            opened = await source.open_part(config, found.project, file, partial(part, file))
        else:
            opened = await source.open(config, found.project, file)
        match opened:
            case FilePart():
                return PartContent(project=found.project, file=file, part=opened, public=public)
            case Redirect(url):
                return ElsewhereFile(project=found.project, file=file, url=url)
            case Arriving(arriving):
                return ArrivingContent(project=found.project, file=file, arriving=arriving, public=public)
            case OnDisk(blob, None):
                return await self._stored(found, blob, file.filename, public=public, may_redirect=may_redirect)
            case OnDisk(blob, place):
                return StoredContent(project=found.project, file=file, blob=blob, place=place, public=public)

    async def _sidecar(self, config: IndexConfig, found: FoundFile, *, public: bool) -> StoredContent:
        file = found.file
        if not file.filename.endswith(".whl"):
            raise Missing("metadata file", f"{file.filename}.metadata", hint="only wheels have one")
        blob = await self._sources.of(config).metadata(config, found.project, file)
        return await self._stored(found, blob, f"{file.filename}.metadata", public=public, may_redirect=False)

    async def _stored(
        self, found: FoundFile, blob: Blob, filename: str, *, public: bool, may_redirect: bool
    ) -> StoredContent:
        place = await self._blobs.locate(blob.sha256, filename=filename, may_redirect=may_redirect)
        return StoredContent(project=found.project, file=found.file, blob=blob, place=place, public=public)
