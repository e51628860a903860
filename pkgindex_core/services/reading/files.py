"""Files and their sidecars: from a URL's parts to bytes, wherever those are.

A path names a file by digest and filename, so what it answers never changes. Hosted bytes are in the blob store. A
mirrored file may be there too; if not, it streams to the client while it is fetched, checked and kept, and any number
of clients share one fetch. A lock file may name a file of a project that nobody has asked for yet: the page of that project
is fetched first.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from pkgindex_core.clock import Clock
from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Corrupt, Gone, Missing, Unavailable
from pkgindex_core.formats.filenames import candidate_projects
from pkgindex_core.formats.fragments import directory, former_directories
from pkgindex_core.formats.project_outlines import attachment_path
from pkgindex_core.models import Attachment, File, IndexConfig, Tree
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
from pkgindex_core.rules.access import allowed_index
from pkgindex_core.rules.filtering import applying, why_hidden
from pkgindex_core.rules.kept_options import mirror_options
from pkgindex_core.rules.merging import QUARANTINED
from pkgindex_core.rules.permissions import Action, permits
from pkgindex_core.tools.bounded_cache import BoundedCache

_KNOWN = 4096
_CANDIDATES = 3
_RESTORE = "restore the blob from a backup, or upload the same file again"


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


class ElsewhereFile(Struct, frozen=True, kw_only=True):
    """A file that is not kept here and that clients fetch from the upstream (`mirror_use_external_urls`)."""

    file: File
    url: str


class Found(Struct, frozen=True, kw_only=True):
    """What a path names."""

    project: ProjectName
    file: File
    """For an attachment: its name, digest and size as those of a file."""
    attachment: Attachment | None = None
    tested: File | None = None
    """For a test result: the file that it is about, which hides it when it is hidden."""


class _Known(Struct, kw_only=True):
    """What was found under a path. Holds while the generation does: bytes that a row names are not taken away."""

    generation: int
    found: Found
    quarantined: bool
    bytes: StoredFile | None = None
    sidecar: StoredFile | None = None


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
        self._known: BoundedCache[tuple[IndexName, str, str], _Known] = BoundedCache(_KNOWN)

    async def open(
        self, index: IndexName, pinned: str, filename: str, *, sidecar: bool, principal: Principal
    ) -> StoredFile | ArrivingFile | ElsewhereFile:
        """Find a file (or its `.metadata`), or say why not.

        `pinned` is the part of the path before the filename, such as `+f/b9b/94088c1a2fe8f`; a path that pins other bytes than
        the index has is `Missing`, like one that never existed.
        """
        tree = await self._store.tree()
        config = allowed_index(tree, index, principal, Action.READ, some_project=True)
        known = await self._named(tree, config, pinned, filename, principal)
        self._offer(tree, config, known, f"{index}/{pinned}/{filename}")
        stored = known.sidecar if sidecar else known.bytes
        if (
            stored is not None and isinstance(stored.place, Path) and stored.place.exists()
        ):  # damaged bytes are set aside
            return stored
        public = permits(Principal(), Action.READ, index=config).allowed
        if sidecar:
            return await self._sidecar(config, known, public=public)
        return await self._bytes(config, known, public=public)

    def read(self, key: Sha256, span: Span | None = None) -> AsyncIterator[bytes]:
        """Bytes from the blob store, for places that are neither paths nor URLs."""
        return self._blobs.read(key, span)

    async def lookup(self, index: IndexName, pinned: str, filename: str, *, principal: Principal) -> Found:
        """What a path names, as far as it is known here, for somebody who looks after the index: what is hidden or
        quarantined is named too.
        """
        tree = await self._store.tree()
        config = allowed_index(tree, index, principal, Action.READ, some_project=True)
        return (await self._named(tree, config, pinned, filename, principal, asking=False)).found

    async def describe(self, index: IndexName, pinned: str, filename: str, *, principal: Principal) -> Found:
        """What is known of a file that may be fetched, without fetching it."""
        tree = await self._store.tree()
        config = allowed_index(tree, index, principal, Action.READ, some_project=True)
        known = await self._named(tree, config, pinned, filename, principal)
        self._offer(tree, config, known, f"{index}/{pinned}/{filename}")
        return known.found

    async def _named(
        self,
        tree: Tree,
        config: IndexConfig,
        pinned: str,
        filename: str,
        principal: Principal,
        *,
        asking: bool = True,
    ) -> _Known:
        """What a path names, for who may read the project. What was deleted is told of only to them, too."""
        try:
            known = await self._find(config, pinned, filename, asking=asking)
        except Gone as gone:
            allowed_index(tree, config.name, principal, Action.READ, project=ProjectName(gone.project))
            raise
        allowed_index(tree, config.name, principal, Action.READ, project=known.found.project)
        return known

    async def _find(self, config: IndexConfig, pinned: str, filename: str, *, asking: bool) -> _Known:
        key = (config.name, pinned, filename)
        generation = self._store.generation()
        known = self._known.get(key)
        if known is not None and known.generation == generation:
            return known
        candidates = candidate_projects(filename)
        pair = await self._store.find_file(config.name, filename, candidates)
        if pair is None and config.mirrored and asking:
            pair = await self._find_upstream(config, filename, candidates)
        found: Found | None = None
        if pair is not None and _pins(pinned, pair[1]):
            found = Found(project=pair[0], file=pair[1])
        elif not config.mirrored:
            found = await self._find_attachment(config.name, pinned, filename)
        if found is None:
            await self._find_former(config.name, pinned, filename)
            raise Missing("file", f"{config.name}/{pinned}/{filename}")
        (standing,) = await self._store.standings(found.project, [config.name])
        known = _Known(generation=generation, found=found, quarantined=standing.status == QUARANTINED)
        self._known.put(key, known)
        return known

    async def _find_attachment(self, index: IndexName, pinned: str, filename: str) -> Found | None:
        """Documentation or a test result, which lies beside the file that was tested."""
        pair = await self._store.find_attachment(index, filename)
        if pair is None:
            return None
        project, attachment = pair
        tested = await self._store.file(index, project, attachment.about) if attachment.about else None
        if attachment_path(attachment, tested).rpartition("/")[0] != pinned:
            return None
        file = File(
            filename=filename,
            version=attachment.version,
            digests={"sha256": attachment.sha256},
            size=attachment.size,
            upload_time=attachment.added,
            history=attachment.history,
        )
        return Found(project=project, file=file, attachment=attachment, tested=tested)

    async def _find_former(self, index: IndexName, pinned: str, filename: str) -> None:
        """Say so when exactly this file was here, and was deleted or replaced."""
        for former in await self._store.former(index, filename):
            if pinned == f"+f/{former.sha256[:3]}/{former.sha256[3:16]}":
                raise Gone("file", f"{index}/{pinned}/{filename}", former.project)

    async def _find_upstream(
        self, config: IndexConfig, filename: str, candidates: Sequence[ProjectName]
    ) -> tuple[ProjectName, File] | None:
        """Fetch the pages of the projects a filename may belong to, the likeliest first, until one has it."""
        refresher = self._refresher(config)
        doubt = ""
        for project in candidates[:_CANDIDATES]:
            (standing,) = await self._store.standings(project, [config.name])
            if standing.holds and refresher.is_fresh(config, project, standing):
                continue  # its page was just looked at
            freshness = await refresher.refresh(config, project, standing)
            if freshness.state == "absent":
                continue
            file = await self._store.file(config.name, project, filename)
            if file is not None:
                return project, file
            if freshness.state == "stale":
                doubt = freshness.reason
        if doubt:
            raise Unavailable(f"whether {config.name} has {filename} cannot be said now: {doubt}")
        return None

    async def _bytes(
        self, config: IndexConfig, known: _Known, *, public: bool
    ) -> StoredFile | ArrivingFile | ElsewhereFile:
        file = known.found.file
        sha256 = file.sha256
        blob = await self._blobs.stat(sha256) if sha256 else None
        if blob is not None and file.size not in {None, blob.size}:
            blob = None  # damaged on the disk: a shorter file must not look whole
        if blob is None and config.mirrored:
            refresher = self._refresher(config)
            url = await refresher.external_url(config, file) if mirror_options(config).use_external_urls else None
            if url is not None:
                return ElsewhereFile(file=file, url=url)
            arriving = await refresher.fetch(config, known.found.project, file)
            return ArrivingFile(file=file, arriving=arriving, public=public)
        if blob is None:
            raise Corrupt(
                f"{file.filename} is listed in {config.name}, but its bytes are not in the blob store, or damaged",
                hint=_RESTORE,
            )
        stored = await self._placed(file, blob, file.filename, public=public)
        known.bytes = stored if isinstance(stored.place, Path) else None
        return stored

    async def _sidecar(self, config: IndexConfig, known: _Known, *, public: bool) -> StoredFile:
        file = known.found.file
        if not file.filename.endswith(".whl"):
            raise Missing("metadata file", f"{file.filename}.metadata", hint="only wheels have one")
        blob = await self._blobs.stat(file.metadata_sha256) if file.metadata_sha256 else None
        if blob is None and config.mirrored:
            blob = await self._refresher(config).sidecar(config, known.found.project, file)
        if blob is None and file.metadata_sha256:
            raise Corrupt(
                f"the metadata of {file.filename} is announced in {config.name}, but it is not in the blob store",
                hint=_RESTORE,
            )
        if blob is None:
            raise Missing("metadata file", f"{file.filename}.metadata")
        stored = await self._placed(file, blob, f"{file.filename}.metadata", public=public)
        known.sidecar = stored if isinstance(stored.place, Path) else None
        return stored

    async def _placed(self, file: File, blob: Blob, filename: str, *, public: bool) -> StoredFile:
        place = await self._blobs.locate(blob.sha256, filename=filename)
        return StoredFile(file=file, blob=blob, place=place, public=public)

    def _offer(self, tree: Tree, config: IndexConfig, known: _Known, path: str) -> None:
        """What hides a file from pages hides its URL too, also when its bytes are here already."""
        found = known.found
        if known.quarantined:  # PEP 792: no distributions are offered, by URL neither
            raise Missing("file", path, hint=f"the project {found.project} is quarantined")
        filters = applying(self._filters, tree, config.name)
        if not filters:
            return
        build = Build(tree=tree, start=config.name, project=found.project, moment=self._clock.now())
        reasons = why_hidden(config.name, found.tested or found.file, filters, build)
        if reasons:
            raise Missing("file", found.file.filename, hint=f"it is hidden: {reasons[0].reason}")

    def _refresher(self, config: IndexConfig) -> Refresher:
        refresher = self._refreshers.get(config.type)
        if refresher is None:
            raise Unavailable(f"nothing here can fetch for {config.name}", hint="ask a running server")
        return refresher


def _pins(pinned: str, file: File) -> bool:
    """Whether a path's directory is this file's, or was.

    Valid stay, for lock files: the one from before its sha256 was known, and those that devpi gave to mirrored files.
    """
    if pinned == directory(file):
        return True
    return bool(file.url) and pinned in former_directories(file)
