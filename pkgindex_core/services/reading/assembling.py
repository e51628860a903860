"""Makes a page of a resolution: one read a layer, merged and filtered.

    resolution -> its layers' pages -> first layer to name a file wins -> filters -> the page, and what is hidden

Reading waits for the store and is done here; merging is pure and is done by the caller, in the worker that goes on to write the bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from msgspec import Struct

from pkgindex_core.clock import Timestamp
from pkgindex_core.formats.kept_pages import KeptRows
from pkgindex_core.models import Page, Serial
from pkgindex_core.protocols import Build, MergedPage, PageFilter, Projects
from pkgindex_core.rules.filtering import Hidden, apply_filters
from pkgindex_core.rules.merging import merge
from pkgindex_core.rules.resolution import Layer, Resolution

_QUICK = 200
"""Files of a page in one piece that is written in the event loop's thread."""
_QUICK_BYTES = 128 * 1024
"""Bytes of JSON of such a page, half as many again as 200 files mostly have: an upstream's fields may be long."""


class Parts(Struct, frozen=True):
    """The pages that a resolution's page is made of, as they were read."""

    resolution: Resolution
    pages: tuple[tuple[Layer, Page], ...]

    @property
    def file_count(self) -> int:
        return sum(len(page.rows) for _, page in self.pages)

    @property
    def is_quick(self) -> bool:
        """Whether writing the page takes about a millisecond at most, less than handing it to a worker and back costs both threads."""
        return self.file_count <= _QUICK and all(
            isinstance(page.rows, KeptRows) and page.rows.json_size <= _QUICK_BYTES for _, page in self.pages
        )


class Assembling:
    """Reads and merges."""

    def __init__(self, *, store: Projects, filters: Mapping[str, PageFilter]) -> None:
        self._store = store
        self._filters = filters

    async def read(self, resolution: Resolution) -> Parts | None:
        """The pages of the layers that are shown; None when one of them has changed since the resolution was made."""
        parts = await self.read_at(resolution, None)
        seen = [(layer.standing.stamp, layer.standing.content) for layer in resolution.shown]
        return parts if [(page.stamp, page.content) for _, page in parts.pages] == seen else None

    async def read_at(self, resolution: Resolution, serial: Serial | None) -> Parts:
        """The same as of a commit (None: now), without what was not there then. What is mirrored has no past and is as it is now."""
        reads = [
            self._store.page(layer.index, resolution.project, at=None if layer.config.mirrored else serial)
            for layer in resolution.shown
        ]
        pages = [await reads[0]] if len(reads) == 1 else await asyncio.gather(*reads)
        return Parts(
            resolution, tuple((layer, page) for layer, page in zip(resolution.shown, pages, strict=True) if page)
        )

    def merged(self, parts: Parts, root: str, moment: Timestamp) -> tuple[MergedPage, tuple[Hidden, ...]]:
        """The page, and the files that filters hide. `root` is the URL from the page to the server's root, such as `../../../../`.

        Pure; of a long page it takes its time.
        """
        resolution = parts.resolution
        layers = [(layer.index, f"{root}{layer.index}/", page) for layer, page in parts.pages]
        build = Build(tree=resolution.tree, start=resolution.start, project=resolution.project, moment=moment)
        return apply_filters(merge(resolution.project, layers), self._filters, build)
