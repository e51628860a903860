"""The sizes of files whose upstream lists none, from the heads of its answers, so that a later page shows them (`File.stated_size`).

An upstream with such a page is asked with HEAD behind the answer, about the newest files of the page that lack a size. Each file is asked
about once, since its size is stored. A file that is fetched gets its real size instead.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from heapq import nlargest
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from pkgindex_core.clock import Clock
from pkgindex_core.errors import Unavailable
from pkgindex_core.formats.versions import version_ranks
from pkgindex_core.models import File, IndexConfig, PageRow, decode_file
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import Projects
from pkgindex_core.rules.kept_options import mirror_options
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_core.tools.single_flight import SingleFlight
from pkgindex_core.tools.tasks import Tasks
from pkgindex_mirror import urls
from pkgindex_mirror.documents.document_kinds import is_json
from pkgindex_mirror.upstreams.sites import Site
from pkgindex_mirror.upstreams.upstream import UpstreamClient
from pkgindex_mirror.upstreams.upstream_answers import AbsentAnswer, Document, Failed

if TYPE_CHECKING:
    from pkgindex_mirror.readthrough.files.mirrored_files import Amend

UNLISTED: Final = "unlisted"
"""The value of `sizes` in `Document.validators`: the page tells the size of no file."""
THIS_PROGRAM: Final = "pkgindex"
"""The name of this program in the head `Server` of its answers."""
_AT_ONCE: Final = 4
"""Pages whose files are asked about at once, one file of each."""
_WAITING: Final = 1000
"""Pages that may wait. Others are asked about after a later answer of their upstream."""
_REST: Final = 3600.0
"""Seconds without a further question about a file that the upstream does not have, or to a host that does not tell a size."""
_REMEMBERED: Final = 10_000
"""Such files and hosts that are remembered."""
_LISTED: Final = re.compile(rb'"size"\s*:\s*[0-9]')
_LOOKED_THROUGH: Final = 1024 * 1024
"""Bytes at the beginning of a page that are looked through."""


class StatedSizes:
    """Asks for the sizes of files of all mirrors."""

    def __init__(
        self, *, client: UpstreamClient, store: Projects, clock: Clock, workers: Executor, amend: Amend
    ) -> None:
        self._client = client
        self._store = store
        self._clock = clock
        self._workers = workers
        self._amend = amend
        self._tasks = Tasks(_WAITING)
        self._flights: SingleFlight[None] = SingleFlight(self._tasks, turns=_AT_ONCE)
        self._resting: BoundedCache[str, float] = BoundedCache(_REMEMBERED)
        """When files and hosts may be asked about again, by URL and origin."""

    def ask(self, index: IndexConfig, site: Site, project: ProjectName) -> None:
        """Begin to ask about a page that is stored, unless the option `mirror_sizes` is 0 or too many pages wait."""
        if mirror_options(index).sizes:
            with suppress(Unavailable):
                self._flights.join(
                    (index.name, project), lambda: self._ask(index, site, project), name=f"sizes of {project}"
                )

    async def close(self) -> None:
        await self._tasks.close(grace=0.0)

    async def _ask(self, index: IndexConfig, site: Site, project: ProjectName) -> None:
        page = await self._store.page(index.name, project)
        if page is None:
            return
        choose = partial(newest_without_size, page.rows, mirror_options(index).sizes)
        changes = {}
        for file in await asyncio.get_running_loop().run_in_executor(self._workers, choose):
            size = await self._size(site, file.url)
            if size is not None:
                changes[file.filename] = partial(with_stated_size, asked=file, size=size)
        if changes:
            await self._amend(index, project, changes)

    async def _size(self, site: Site, url: str) -> int | None:
        host = urls.origin(url)
        if self._client.hosts.is_left_alone(host) or self._rests(host) or self._rests(url):
            return None
        answer = await self._client.size(site, url)
        if isinstance(answer, int):
            return answer
        if isinstance(answer, AbsentAnswer) or answer.asked:
            self._resting.put(host if isinstance(answer, Failed) else url, self._clock.monotonic() + _REST)
        return None

    def _rests(self, what: str) -> bool:
        return self._clock.monotonic() < (self._resting.get(what) or 0.0)


def lacks_sizes(page: Document) -> bool:
    """Whether an upstream's page tells the size of no file. HTML has no place for one.

    False for an upstream that is this program: it learns the sizes itself.
    """
    listed = is_json(page.body, page.content_type) and _LISTED.search(page.body, 0, _LOOKED_THROUGH) is not None
    return not listed and page.server != THIS_PROGRAM


def newest_without_size(rows: Collection[PageRow], limit: int) -> Sequence[File]:
    """Of the `limit` newest files those without a size, the newest version first."""
    ranks = version_ranks({row.version for row in rows})
    newest = nlargest(limit, rows, key=lambda row: (ranks[row.version], row.filename))
    return [file for row in newest if (file := decode_file(row.body)).shown_size is None]


def with_stated_size(now: File, asked: File, size: int | None) -> File:
    """Record the size that an answer about a file stated, if the page still has the same file and does not tell its size."""
    if size is None or now.size is not None or now.url != asked.url:
        return now
    return replace(now, stated_size=size)
