"""Shows a project to people: one version with its files and their origins, and the list of all versions.

Layers and filters are those of the page for installers, so a file that they hide is not shown here either. Unlike that page, this one also
answers when a mirror could not be asked, and names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from functools import partial
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from pkgindex_core.clock import Clock
from pkgindex_core.errors import Missing, Unavailable
from pkgindex_core.formats.project_json import newest
from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.models import Attachment, File, decode_file
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import ChangeLog, MergedPage, PageEntry, Principal, ReleaseRecords
from pkgindex_core.rules.filtering import Judgement
from pkgindex_core.rules.resolution import Resolution
from pkgindex_core.services.reading.assembling import Assembling, Parts
from pkgindex_core.services.reading.resolving import Resolving
from pkgindex_core.tools.workers import in_worker


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
    hidden: int
    """The number of files that filters hide, of all versions."""


class _Store(ReleaseRecords, ChangeLog, Protocol): ...


class Showing:
    """Describes projects for people."""

    def __init__(
        self, *, store: _Store, resolving: Resolving, assembling: Assembling, workers: Executor, clock: Clock
    ) -> None:
        self._store = store
        self._resolving = resolving
        self._assembling = assembling
        self._workers = workers
        self._clock = clock

    async def project(
        self, start: IndexName, project: ProjectName, version: str | None, *, principal: Principal
    ) -> ProjectView:
        """Describe a version in any spelling, or the one that represents the project.

        Raises `Missing` when no layer has it, `Unavailable` when a layer that may have it could not be asked.
        """
        resolution = await self._resolving.resolve(start, project, principal)
        resolution.require_some()
        serial = await self._store.head()
        parts = await self._assembling.read_at(resolution, serial)
        page, judgements, latest = await in_worker(self._workers, partial(self._merged, parts))
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
            files=tuple(
                (entry, decode_file(entry.row.body))
                for entry in page.entries
                if canonical_version(entry.row.version) == wanted
            ),
            metadata=metadata,
            metadata_of=metadata_of,
            attachments=tuple(attachments),
            hidden=sum(each.hides for each in judgements),
        )

    def _merged(self, parts: Parts) -> tuple[MergedPage, tuple[Judgement, ...], str]:
        page, judgements = self._assembling.merged(parts, "", self._clock.now())
        return page, judgements, newest(page)
