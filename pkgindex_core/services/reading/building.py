"""Makes the bodies of pages: short ones in place, others in a worker, and long hosted ones in sections (`long_pages`).

A body is made once for all who wait for it, and cached by the page's ETag and its coding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial

from pkgindex_core.compression import compress, decompress
from pkgindex_core.errors import PkgIndexError
from pkgindex_core.memory import LARGE, give_back
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import Renderer
from pkgindex_core.rules.filtering import Judgement, warnings_of
from pkgindex_core.rules.resolution import Resolution
from pkgindex_core.services.reading.assembling import QUICK, Assembling, Parts
from pkgindex_core.services.reading.deciding import Decisions
from pkgindex_core.services.reading.long_pages import LongPages, PageForm
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_core.tools.single_flight import SingleFlight
from pkgindex_core.tools.workers import in_worker

_WARNED = 8192

Bodies = BoundedCache[tuple[str, str], bytes]
"""Compressed bodies by (ETag, coding), bounded in bytes; pages and lists share one."""
_Written = tuple[bytes, int, Sequence[Judgement]]
"""A body, its size before compression, and the rulings of filters."""


class Building:
    """Makes bodies."""

    def __init__(
        self,
        *,
        assembling: Assembling,
        renderers: Mapping[str, Renderer],
        bodies: Bodies,
        long_pages: LongPages,
        decisions: Decisions,
        workers: Executor,
    ) -> None:
        self.long_pages = long_pages
        self._assembling = assembling
        self._renderers = renderers
        self._bodies = bodies
        self._decisions = decisions
        self._workers = workers
        self.kept_warnings: BoundedCache[str, tuple[str, ...]] = BoundedCache(_WARNED)
        self._building: SingleFlight[bytes] = SingleFlight()

    def warnings(self, tag: str) -> tuple[str, ...]:
        """The warnings of filters about a page that was made, as far as they are still known."""
        return self.kept_warnings.get(tag) or ()

    async def body(self, resolution: Resolution, form: PageForm, *, is_long: bool) -> bytes | None:
        """Make a body that is not cached; None when the layers have changed since the resolution was made. `is_long`: `LongPages` takes it."""
        key = (form.tag, form.coding)

        def write(parts: Parts) -> _Written:
            merged, judgements = self._assembling.merged(parts, form.root, form.moment)
            page = self._renderers[form.media_type].page(merged)
            return compress(page, form.coding), len(page), judgements

        async def build() -> bytes:
            body = await self._in_sections(resolution, form) if is_long else None
            return body if body is not None else await self._build(resolution, parts, form.tag, write)

        try:
            # A short page is read first. If it is also written quickly, it is made here, which costs less than a task.
            parts = await self._read(resolution) if resolution.file_count <= QUICK else None
            body = self._bodies.get(key)
            if body is None and parts is not None and parts.is_quick:
                body, _, judgements = write(parts)
                self._hear(resolution.project, form.tag, judgements)
            elif body is None:
                body = await self._building.get(key, build)
        except _LayerChanged:
            return None
        if len(body) < LARGE:  # clients take such a page compressed
            self._bodies.put(key, body)
        return body

    async def _in_sections(self, resolution: Resolution, form: PageForm) -> bytes | None:
        is_current, body = await self.long_pages.body(resolution, form)
        if not is_current:
            raise _LayerChanged(f"{resolution.project} changed")
        if body is None or form.coding == "gzip":
            return body
        return await in_worker(self._workers, lambda: compress(decompress(body, "gzip"), form.coding))

    async def _build(
        self, resolution: Resolution, parts: Parts | None, tag: str, write: Callable[[Parts], _Written]
    ) -> bytes:
        parts = parts or await self._read(resolution)
        body, size, judgements = await in_worker(self._workers, partial(write, parts))
        self._hear(resolution.project, tag, judgements)
        if size >= LARGE:
            del parts
            await in_worker(self._workers, give_back)
        return body

    def _hear(self, project: ProjectName, tag: str, judgements: Sequence[Judgement]) -> None:
        self._decisions.hear(project, judgements)
        if warnings := warnings_of(judgements):
            self.kept_warnings.put(tag, warnings)

    async def _read(self, resolution: Resolution) -> Parts:
        parts = await self._assembling.read(resolution)
        if parts is None:
            raise _LayerChanged(f"{resolution.project} changed")
        return parts


class _LayerChanged(PkgIndexError):
    """A layer has changed since the resolution was made."""
