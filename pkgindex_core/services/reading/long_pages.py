"""Long pages of hosted projects, made in sections, so that an upload changes one of them.

    files that came and went  ->  their sections are written anew  ->  one body
                                  the others are copied from the former body, compressed as they are

A page of 10,000 files is read, sorted, written and compressed once. After a change the store tells what changed since (`PageChanges`), and a section is
made of its own compressed bytes and of what changed in it (`formats.page_sections`).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from operator import attrgetter
from typing import Final, Protocol

from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.clock import Timestamp
from pkgindex_core.formats.page_sections import (
    NotInSectionsError,
    PageSection,
    PageWriting,
    WritesPieces,
    edited,
    joined,
    rows_of,
    written,
)
from pkgindex_core.models import Page, Serial
from pkgindex_core.protocols import PageChanges, PageEntry, Projects, Renderer
from pkgindex_core.rules.resolution import Layer, Resolution
from pkgindex_core.services.reading.assembling import Assembling, Parts
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_core.tools.workers import in_worker

LONG: Final = 1000
"""The fewest files of a page in sections. A shorter page is made in two milliseconds."""


class _Store(Projects, PageChanges, Protocol): ...


class PageForm(Struct, frozen=True, kw_only=True):
    """The form of a page, besides what it shows."""

    tag: str
    """The ETag without a coding, which names the page."""
    media_type: str
    root: str
    """As `View.root`."""
    coding: str
    moment: Timestamp


class _KeptBody(Struct, frozen=True):
    stamp: Serial
    tag: str
    sections: Sequence[PageSection]
    body: bytes

    @property
    def size(self) -> int:
        return len(self.body) + sum(len(each.listing) for each in self.sections)


class LongPages:
    """Makes the bodies of long pages, and keeps the latest of each."""

    def __init__(
        self,
        *,
        store: _Store,
        assembling: Assembling,
        renderers: Mapping[str, Renderer],
        limit: int,
        workers: Executor,
    ) -> None:
        """`limit`: bytes of all bodies, and of the names in them. A page that is longer is made anew each time."""
        self.kept: BoundedCache[Hashable, _KeptBody] = BoundedCache(limit, size_of=attrgetter("size"))
        self._store = store
        self._assembling = assembling
        self._renderers = {name: each for name, each in renderers.items() if isinstance(each, WritesPieces)}
        self._workers = workers

    def takes(self, resolution: Resolution, media_type: str) -> bool:
        """Whether a page that no filter concerns may be made in sections: it has many files, of one hosted layer."""
        layer = resolution.shown[0]
        return (
            layer.standing.file_count >= LONG
            and len(resolution.shown) == 1
            and layer.offers
            and not layer.config.mirrored
            and media_type in self._renderers
        )

    async def body(self, resolution: Resolution, form: PageForm) -> tuple[bool, bytes | None]:
        """Whether the layer still is what the resolution says, and then the body, with gzip. None: the page has to be written as a whole."""
        (layer,) = resolution.shown
        key = (form.media_type, form.root, layer.index, resolution.project)
        former = self.kept.get(key)
        if former is not None and former.tag == form.tag:
            return True, former.body
        changes = None
        if former is not None:
            changes = await self._store.page_since(layer.index, resolution.project, former.stamp)
        page = changes.page if changes is not None else await self._store.page(layer.index, resolution.project)
        if page is None or page.stamp != layer.standing.stamp:
            return False, None
        sections = former.sections if former is not None and changes is not None else ()
        gone = changes.gone if changes is not None else ()
        try:
            kept = await in_worker(
                self._workers, partial(self._made, resolution, layer, form, page, sections=sections, gone=gone)
            )
        except NotInSectionsError:
            self.kept.drop(key)
            return True, None
        self.kept.put(key, kept)
        return True, kept.body

    def _made(
        self,
        resolution: Resolution,
        layer: Layer,
        form: PageForm,
        page: Page,
        *,
        sections: Sequence[PageSection],
        gone: Sequence[tuple[str, str]],
    ) -> _KeptBody:
        """The page that has `sections`, without the files that have gone, and with those of `page`."""
        if page.head.versions:
            raise NotInSectionsError
        renderer = self._renderers[form.media_type]
        prefix = f"{form.root}{layer.index}/"
        came = rows_of([PageEntry(prefix, layer.index, row) for row in page.rows], renderer)
        writing = PageWriting(renderer, renderer.around(prefix))
        parts = [*(edited(writing, sections, gone, came) if sections else written(writing, came))]
        empty = Parts(resolution, ((layer, replace(page, rows=())),))
        merged, _ = self._assembling.merged(empty, form.root, form.moment)
        body, kept = joined(parts, renderer.frame(merged))
        return _KeptBody(page.stamp, form.tag, kept, body)
