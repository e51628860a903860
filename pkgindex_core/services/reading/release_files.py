"""Reads the other files of a release, for page filters that judge releases as wholes, where no page is read anyway.

The times of a project's files are cached until the project is touched. Nothing is read while no such filter applies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Final

from msgspec import Struct

from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.models import Attachment, File, Page, decode_file
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Build, PageFilter, Projects
from pkgindex_core.protocols.policies import alone
from pkgindex_core.rules.filtering import Judgement, needs_releases, releases_of, why_version_hidden
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_core.tools.currency import Currency, Moment
from pkgindex_core.tools.workers import in_worker

_FILES: Final = 100_000
"""The most files in all cached projects. One takes some 300 bytes."""
_QUICK: Final = 200
"""The most files that are decoded in the event loop's thread."""

OfRelease = Callable[[IndexName, File], Sequence[File]]


class _Known(Struct, frozen=True):
    release: OfRelease
    files: int
    moment: Moment


class ReleaseFiles:
    """Reads and caches the files of releases."""

    def __init__(self, *, store: Projects, currency: Currency, workers: Executor) -> None:
        self._store = store
        self._currency = currency
        self._workers = workers
        self.kept: BoundedCache[tuple[IndexName, ProjectName], _Known] = BoundedCache(
            _FILES, size_of=lambda known: min(known.files + 1, _FILES)
        )

    async def why_version_hidden(
        self, filters: Mapping[str, PageFilter], build: Build, index: IndexName, version: str
    ) -> tuple[Judgement, ...]:
        """Why a layer does not show what belongs to a version besides its files, such as documentation; empty when it shows it."""
        if not filters:
            return ()
        page = await self._store.page(index, build.project)
        wanted = canonical_version(version)
        rows = page.rows if page is not None else ()
        files = [decode_file(row.body) for row in rows if canonical_version(row.version) == wanted]
        return why_version_hidden(index, version, files, filters, build)

    async def shown(
        self, filters: Mapping[str, PageFilter], build: Build, index: IndexName, attachments: Sequence[Attachment]
    ) -> Sequence[Attachment]:
        """The attachments of a layer whose versions are shown."""
        return [each for each in attachments if not await self.why_version_hidden(filters, build, index, each.version)]

    async def of(self, filters: Mapping[str, PageFilter], index: IndexName, project: ProjectName) -> OfRelease:
        """A value for `Build.release`, for the files of one layer. `filters` are those that apply."""
        if not needs_releases(filters):
            return alone
        await self._currency.catch_up()
        key = (index, project)
        known = self.kept.get(key)
        if known is None or not self._currency.holds(known.moment, tree=True, keys=(key,)):
            moment = self._currency.moment()
            page = await self._store.page(index, project)
            count = 0 if page is None else len(page.rows)
            quick = page is None or count <= _QUICK
            release = _read(page) if quick else await in_worker(self._workers, _read, page)
            known = _Known(release, count, moment)
            self.kept.put(key, known)
        return known.release


def _read(page: Page | None) -> OfRelease:
    if page is None:
        return alone
    files = (decode_file(row.body) for row in page.rows)
    return releases_of(
        (
            page.index,
            File(
                filename=each.filename, version=each.version, upload_time=each.upload_time, first_seen=each.first_seen
            ),
        )
        for each in files
    )
