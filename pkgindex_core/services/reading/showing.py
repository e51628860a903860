"""Shows a project to people: one version with its files and their origins, and the list of all versions.

Layers and filters are those of the page for installers, so a file that they hide is not shown here either. Unlike that page, this one also
answers when a mirror could not be asked, and names it.

    resolution -> merged and filtered page, its files by version (kept while its key holds) -> one version

So a page about one of ten thousand files reads and decodes the files of its version only.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct

from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.errors import Missing, Unavailable
from pkgindex_core.formats.project_json import newest
from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.models import Attachment, File, Serial, decode_file
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import ChangeLog, MergedPage, PageEntry, PageFilter, Principal, ReleaseRecords
from pkgindex_core.rules.filtering import fingerprints
from pkgindex_core.rules.resolution import Resolution
from pkgindex_core.services.reading.assembling import Assembling, Parts
from pkgindex_core.services.reading.resolving import Resolving
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_core.tools.single_flight import SingleFlight
from pkgindex_core.tools.workers import in_worker

_KEPT: Final = 20_000
"""The most files in all cached pages. One takes some 700 bytes."""


class ProjectView(Struct, frozen=True, kw_only=True):
    """A project as an index shows it, and one of its versions."""

    resolution: Resolution
    page: MergedPage
    version: str
    """The version that is shown, in the spelling of the page."""
    latest: str
    """The version that represents the project (`formats.project_json.newest`)."""
    files: tuple[tuple[PageEntry, File], ...]
    """The files of the version. The entry tells the index that each comes from."""
    metadata: Mapping[str, Any]
    """The metadata of the version under the keys of `formats.version_documents`; empty if no hosted layer has it."""
    metadata_of: IndexName | None
    """The hosted layer that the metadata is from."""
    attachments: tuple[tuple[IndexName, Attachment], ...]
    """Documentation and test results of the version, each with its index."""
    yanked: frozenset[str]
    """The versions of the page all of whose files are yanked."""
    hidden: int
    """The number of files that filters hide, of all versions."""


class _Merged(Struct, frozen=True):
    """A merged page, its files by canonical version, and the number of files that filters hide."""

    page: MergedPage
    latest: str
    files: Mapping[str, Sequence[PageEntry]]
    yanked: frozenset[str]
    """The versions, as the page spells them, all of whose files are yanked."""
    hidden: int


class _Store(ReleaseRecords, ChangeLog, Protocol): ...


class Showing:
    """Describes projects for people."""

    def __init__(
        self,
        *,
        store: _Store,
        resolving: Resolving,
        assembling: Assembling,
        filters: Mapping[str, PageFilter],
        workers: Executor,
        clock: Clock,
    ) -> None:
        self._store = store
        self._resolving = resolving
        self._assembling = assembling
        self._workers = workers
        self._clock = clock
        self._filters = filters
        self._merging: SingleFlight[_Merged] = SingleFlight()
        self.kept: BoundedCache[Hashable, _Merged] = BoundedCache(
            _KEPT, size_of=lambda each: min(len(each.page.entries) + 1, _KEPT)
        )

    async def project(
        self, start: IndexName, project: ProjectName, version: str | None, *, principal: Principal, asking: bool = True
    ) -> ProjectView:
        """Describe a version in any spelling, or the one that represents the project. `asking`: whether sources that are not current are asked.

        Raises `Missing` when no layer has it, `Unavailable` when a layer that may have it could not be asked.
        """
        resolving = self._resolving.resolve if asking else self._resolving.stored
        resolution = await resolving(start, project, principal)
        resolution.require_some()
        serial = await self._store.head()
        merged = await self._merged(resolution, serial)
        page, latest = merged.page, merged.latest
        wanted = canonical_version(latest if version is None else version)
        shown = next((each for each in page.versions if canonical_version(each) == wanted), None)
        if shown is None and version is not None:
            if resolution.unknown:
                index, reason = resolution.unknown[0]
                raise Unavailable(f"it is not known whether {index} has {project} {version[:80]}: {reason}")
            raise Missing("version", f"{project} {version[:80]}")
        metadata: Mapping[str, Any] = {}
        metadata_of: IndexName | None = None
        attachments: list[tuple[IndexName, Attachment]] = []
        for layer in resolution.offering:
            if layer.config.mirrored or shown is None:
                continue
            if metadata_of is None:
                release = await self._store.release(layer.index, project, shown, at=serial)
                if release is not None:
                    metadata, metadata_of = msgspec.json.decode(release.metadata), layer.index
            found = await self._store.attachments(layer.index, project, at=serial)
            attachments += [(layer.index, each) for each in found if canonical_version(each.version) == wanted]
        return ProjectView(
            resolution=resolution,
            page=page,
            version=shown or "",
            latest=latest,
            files=tuple((entry, decode_file(entry.row.body)) for entry in merged.files.get(wanted, ())),
            metadata=metadata,
            metadata_of=metadata_of,
            attachments=tuple(attachments),
            yanked=merged.yanked,
            hidden=merged.hidden,
        )

    async def _merged(self, resolution: Resolution, serial: Serial) -> _Merged:
        """The page of a resolution. Concurrent callers share one."""
        moment = self._clock.now()
        key = (
            resolution.start,
            resolution.project,
            resolution.key,
            fingerprints(self._filters, resolution.tree, resolution.start, moment),
        )
        known = self.kept.get(key)
        if known is not None:
            return known
        parts = await self._assembling.read(resolution)
        if parts is None:  # changed meanwhile
            parts = await self._assembling.read_at(resolution, serial)
            return await in_worker(self._workers, self._merge, parts, moment)
        merged = await self._merging.get(key, lambda: in_worker(self._workers, self._merge, parts, moment))
        self.kept.put(key, merged)
        return merged

    def _merge(self, parts: Parts, moment: Timestamp) -> _Merged:
        page, judgements = self._assembling.merged(parts, "", moment)
        files: dict[str, list[PageEntry]] = {}
        for entry in page.entries:
            files.setdefault(canonical_version(entry.row.version), []).append(entry)
        yanked = {
            version for version, entries in files.items() if all(decode_file(each.row.body).yanked for each in entries)
        }
        spelled = frozenset(each for each in page.versions if canonical_version(each) in yanked)
        return _Merged(page, newest(page), files, spelled, sum(each.hides for each in judgements))
