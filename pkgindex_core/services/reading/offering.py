"""Decides whether a file is given out: its project is not quarantined, and no filter of its index hides it.

A file is judged before it is opened. One of unknown digest is judged again when its bytes are here, if a filter asks for the digest.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from pkgindex_core.clock import Timestamp
from pkgindex_core.errors import Missing, Unavailable
from pkgindex_core.models import IndexConfig, Tree
from pkgindex_core.protocols import Build, PageFilter
from pkgindex_core.rules.filtering import judged, needs_digest, warnings_of
from pkgindex_core.services.reading.applying_filters import ApplyingFilters
from pkgindex_core.services.reading.deciding import Decisions
from pkgindex_core.services.reading.finding import FoundFile
from pkgindex_core.services.reading.opened_files import ArrivingContent, ElsewhereFile, OpenedFile, StoredContent
from pkgindex_core.services.reading.release_files import ReleaseFiles


class Offering:
    """Judges files by the filters of their index."""

    def __init__(self, *, filters: Mapping[str, PageFilter], release_files: ReleaseFiles, decisions: Decisions) -> None:
        self.filters = ApplyingFilters(filters)
        self._release_files = release_files
        self._decisions = decisions

    async def offer(
        self, tree: Tree, config: IndexConfig, found: FoundFile, path: str, moment: Timestamp
    ) -> tuple[str, ...]:
        """Refuse a file that is hidden or quarantined on pages, even if its bytes are stored. Returns what filters warn of."""
        if not found.offers:
            raise Missing("file", path, hint=f"the project {found.project} is quarantined")
        filters = self.filters.of(tree, config.name)
        if not filters:
            return ()
        build = Build(
            tree=tree,
            start=config.name,
            project=found.project,
            moment=moment,
            release=await self._release_files.of(filters, config.name, found.project),
        )
        if found.attachment is not None and found.tested is None:
            version = found.attachment.version
            rulings = await self._release_files.why_version_hidden(filters, build, config.name, version)
        else:
            rulings = judged(config.name, found.tested or found.file, filters, build)
            self._decisions.hear(found.project, rulings)
        for each in rulings:
            if each.hides:
                raise Missing("file", found.file.filename, hint=f"it is hidden: {each.said}")
        return warnings_of(rulings)

    async def compare(
        self, tree: Tree, config: IndexConfig, found: FoundFile, opened: OpenedFile, moment: Timestamp
    ) -> None:
        """Judge a file of unknown digest again, when its bytes are here, if a filter asks for the digest. Its reader waits for the last byte."""
        build = Build(tree=tree, start=config.name, project=found.project, moment=moment)
        if not needs_digest(config.name, found.file, self.filters.of(tree, config.name), build):
            return
        match opened:
            case StoredContent():
                sha256 = opened.blob.sha256
            case ArrivingContent():
                sha256 = (await opened.arriving.finished()).sha256
            case ElsewhereFile():
                raise Unavailable(f"the sha256 of {found.file.filename} is not known, and its bytes do not come here")
        file = replace(found.file, digests={**found.file.digests, "sha256": sha256})
        await self.offer(tree, config, replace(found, file=file), file.filename, moment)
