"""`StaticProjects` reads the projects of an index for a static tree, as one reader sees them, and finds the changed ones.

A tree shows the same projects and files as the server, since both are made by the same resolution, merging and filters. No upstream is
asked: of mirrors a tree has at most what is stored. Files that the reader may see but not fetch (`acl_download`) are not in the tree, since
everybody who reaches a tree fetches from it.

Indexes whose files lie elsewhere, such as directories, are brought up to date before the survey (`static_sources`). What changed in them is in
commits then, as with any other index.

A mirror's files are in the tree only on request, and only if their bytes are stored, since a tree cannot fetch them later. Fetching a file
makes no commit, so all projects of mirrors are looked at each time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final, Protocol
from urllib.parse import quote

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.clock import Clock
from pkgindex_core.digests import Sha256
from pkgindex_core.formats.fragments import file_path
from pkgindex_core.formats.package_lists import package_line
from pkgindex_core.formats.static_tree import PAGE_NAMES, UP, StaticFile, StaticProject, file_place, is_segment, linked
from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.models import File, IndexConfig, Page, Serial, decode_file
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import (
    AdmissionPolicy,
    BlobStore,
    ChangeLog,
    MergedPage,
    PageEntry,
    PageFilter,
    Principal,
    Projects,
    ReleaseRecords,
    Renderer,
    Touched,
)
from pkgindex_core.rules.filtering import fingerprints
from pkgindex_core.rules.permissions import Action, as_for_files, permits
from pkgindex_core.rules.resolution import Chain, Layer
from pkgindex_core.rules.stamping import recipe
from pkgindex_core.services.reading.assembling import Assembling, Parts
from pkgindex_core.services.reading.resolving import Resolving

_FORMAT: Final = "static-2"
"""Raise it when the same store would give other trees."""


class StaticView(Struct, frozen=True, kw_only=True):
    """The reader of a tree, and the layers that belong to it."""

    start: IndexName
    principal: Principal = Principal()
    mirrors: bool = False
    """Whether stored files of mirrors belong to the tree."""
    packages_url: str = ""
    """The URL of a server of this index, with a slash at its end; files stay there, under the paths of its own pages. Empty: files are in
    the tree."""


class Survey(Struct, frozen=True, kw_only=True):
    """The projects to look at."""

    serial: Serial
    """Everything that is read after the survey is at least as new."""
    recipe: str
    """A name of all settings that shape pages. If it changes, every project is looked at."""
    names: frozenset[ProjectName]
    """The projects that may have changed, or all projects."""
    is_whole: bool
    """Whether `names` has all projects."""


class _Store(Projects, ReleaseRecords, ChangeLog, Protocol): ...


class StaticProjects:
    """Reads projects for a tree."""

    def __init__(
        self,
        *,
        store: _Store,
        blobs: BlobStore,
        resolving: Resolving,
        assembling: Assembling,
        admission: AdmissionPolicy,
        filters: Mapping[str, PageFilter],
        renderers: Mapping[str, Renderer],
        clock: Clock,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._resolving = resolving
        self._assembling = assembling
        self._admission = admission
        self._filters = filters
        self._clock = clock
        self.renderers: Sequence[Renderer] = [renderers[media_type] for media_type in PAGE_NAMES]
        """The renderers of a tree's pages."""

    async def elsewhere(self, view: StaticView) -> Sequence[IndexConfig]:
        """The hosted layers whose files are outside of the store: their sources are needed. Raises the errors of `survey`."""
        layers = (await self._resolving.chain(view.start, view.principal)).layers
        return [layer for layer in layers if layer.files_elsewhere and not layer.mirrored]

    async def survey(self, view: StaticView, *, since: tuple[Serial, str] | None) -> Survey:
        """The projects that may look different from a tree of the serial and recipe `since`; all of them without it.

        Raises as `Resolving.chain` does when there is no such index, or the principal may not read it.
        """
        serial = await self._store.head()
        seen = await self._resolving.chain(view.start, view.principal)
        named = self._recipe(view, seen)
        names: set[ProjectName] | None = None
        if since is not None and since[1] == named and since[0] <= serial:
            touched = await self._store.touched(since[0])
            if isinstance(touched, Touched) and not touched.indexes & {*seen.order}:
                names = {project for index, project in touched.projects if index in seen.order}
        is_whole = names is None
        found = set() if names is None else names
        for layer in seen.layers:
            if view.mirrors if layer.mirrored else is_whole:
                found |= {row.name for row in await self._store.projects(layer.name)}
        return Survey(serial=serial, recipe=named, names=frozenset(found), is_whole=is_whole)

    async def read(self, view: StaticView, project: ProjectName) -> StaticProject | None:
        """A project as the tree shows it now; None when it shows nothing of it."""
        resolution = await self._resolving.stored(view.start, project, view.principal)
        if not any(_belongs(layer, view) for layer in resolution.shown):
            return None
        parts = await self._assembling.read_at(resolution, None)
        pages = [(layer, page) for layer, page in parts.pages if _belongs(layer, view)]
        if not view.packages_url:
            pages = [(layer, await self._stored(page) if layer.config.mirrored else page) for layer, page in pages]
            pages = [(layer, page) for layer, page in pages if page.rows or not layer.config.mirrored]
        if not pages:
            return None
        merged, _ = self._assembling.merged(Parts(resolution, tuple(pages)), UP, self._clock.now())
        metadata = await self._metadata([layer for layer, _ in pages if layer.offers], project)
        fetched = {layer.index: layer.config for layer, _ in pages if _may_fetch(view, layer.config, project)}
        return _static_project(merged, view, metadata, fetched)

    def _recipe(self, view: StaticView, seen: Chain) -> str:
        decisions = fingerprints(self._filters, seen.tree, view.start, self._clock.now())
        layers = [(seen.tree.indexes[name], name in seen.readable) for name in seen.order]
        written = [recipe(each, self._admission, decisions) for each in self.renderers]
        looks = (view.start, view.principal.name, view.principal.groups, view.mirrors, view.packages_url)
        return hashlib.sha256(msgspec.msgpack.encode((_FORMAT, looks, layers, written))).hexdigest()

    async def _stored(self, page: Page) -> Page:
        """A mirror's page with the files alone whose bytes are here, and with the sidecars that are here."""
        rows = []
        for row in page.rows:
            file = decode_file(row.body)
            if file.sha256 is None or await self._blobs.stat(file.sha256) is None:
                continue
            sidecar = file.metadata_sha256
            if sidecar is None or await self._blobs.stat(sidecar) is None:
                file = replace(file, metadata_sha256=None, metadata_offered=False)
            rows.append(linked(file, "", file_path(file), page.index).row)
        return replace(page, rows=tuple(rows), head=replace(page.head, versions=()))

    async def _metadata(self, layers: list[Layer], project: ProjectName) -> dict[str, bytes]:
        """Of each version: what the first layer says that says anything. Pages of mirrors have no metadata."""
        metadata: dict[str, bytes] = {}
        for layer in layers:
            if not layer.config.mirrored:
                for release in await self._store.releases(layer.index, project):
                    metadata.setdefault(canonical_version(release.version), release.metadata)
        return metadata


def _belongs(layer: Layer, view: StaticView) -> bool:
    return view.mirrors or not layer.config.mirrored


def _may_fetch(view: StaticView, config: IndexConfig, project: ProjectName) -> bool:
    return permits(view.principal, Action.READ, index=as_for_files(config), project=project).allowed


def _static_project(
    merged: MergedPage, view: StaticView, metadata: dict[str, bytes], fetched: Mapping[IndexName, IndexConfig]
) -> StaticProject:
    """`fetched` are the layers whose files the reader may fetch. A file of another layer still hides those of its name below it."""
    entries: list[PageEntry] = []
    files: list[StaticFile] = []
    placed: dict[str, Sha256] = {}
    elsewhere: dict[str, tuple[IndexName, File]] = {}
    for entry in merged.entries:
        file = decode_file(entry.row.body)
        if not file.provenance.startswith("https://"):  # a path below the index, which a tree does not have
            file = replace(file, provenance="")
        if view.packages_url:
            entries.append(linked(file, f"{view.packages_url}{entry.origin}/", file_path(file), entry.origin))
        elif entry.origin not in fetched or file.sha256 is None or not is_segment(file.filename):
            continue  # bytes that are not known cannot be put anywhere
        else:
            place = file_place(merged.project, file.sha256, file.filename)
            own = {place: file.sha256}
            if file.metadata_sha256 is not None:
                own[f"{place}.metadata"] = file.metadata_sha256
            placed |= own
            layer = fetched[entry.origin]
            if layer.files_elsewhere and not layer.mirrored:
                elsewhere |= dict.fromkeys(own, (entry.origin, file))
            entries.append(linked(file, UP, quote(place), entry.origin))
        files.append(_listed(file))
    return StaticProject(
        page=replace(merged, entries=tuple(entries)),
        metadata=metadata,
        files=tuple(files),
        placed=placed,
        elsewhere=elsewhere,
    )


def _listed(file: File) -> StaticFile:
    uploader = next((event.who for event in file.history if event.who), "")
    return StaticFile(file.filename, file.version, file.upload_time, uploader, package_line(file))
