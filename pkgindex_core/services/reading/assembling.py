"""Makes a page of a resolution: one read for each layer, merged and filtered.

    resolution -> pages of its layers -> the first layer with a file wins -> filters -> the page, and the rulings of the filters

`read` waits for the store. `merged` is pure, and the caller runs it in the worker that then writes the bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.clock import Timestamp
from pkgindex_core.formats.kept_pages import KeptRows
from pkgindex_core.models import Page, Serial
from pkgindex_core.protocols import Build, MergedPage, PageFilter, Projects
from pkgindex_core.rules.filtering import Judgement, apply_filters
from pkgindex_core.rules.merging import merge
from pkgindex_core.rules.namespaces import granted, namespaces_of
from pkgindex_core.rules.resolution import Layer, Resolution

QUICK: Final = 200
"""The most files of a page in one piece that is written in the event loop's thread."""
_QUICK_BYTES = 128 * 1024
"""The most bytes of JSON of such a page: 1.5 times the usual size of 200 files, because fields of an upstream may be long."""


class Parts(Struct, frozen=True):
    """The pages of a resolution's layers, as they were read."""

    resolution: Resolution
    pages: tuple[tuple[Layer, Page], ...]

    @property
    def file_count(self) -> int:
        return sum(len(page.rows) for _, page in self.pages)

    @property
    def is_quick(self) -> bool:
        """Whether writing the page takes a millisecond or less, which is less than the cost of a hop to a worker."""
        return self.file_count <= QUICK and all(
            isinstance(page.rows, KeptRows) and page.rows.json_size <= _QUICK_BYTES for _, page in self.pages
        )


class Assembling:
    """Reads and merges the pages of layers."""

    def __init__(self, *, store: Projects, filters: Mapping[str, PageFilter]) -> None:
        self._store = store
        self._filters = filters

    async def read(self, resolution: Resolution) -> Parts | None:
        """The pages of the shown layers; None when one of them has changed since the resolution was made."""
        parts = await self.read_at(resolution, None)
        seen = [(layer.standing.stamp, layer.standing.content) for layer in resolution.shown]
        return parts if [(page.stamp, page.content) for _, page in parts.pages] == seen else None

    async def read_at(self, resolution: Resolution, serial: Serial | None) -> Parts:
        """The same as of a commit (None: now). Projects that were absent then are left out. Mirrored pages are current, also if not stored yet."""
        reads = [
            self._store.page(layer.index, resolution.project, at=None if layer.config.mirrored else serial)
            for layer in resolution.shown
        ]
        pages = [await reads[0]] if len(reads) == 1 else await asyncio.gather(*reads)
        return Parts(
            resolution, tuple((layer, page) for layer, page in zip(resolution.shown, pages, strict=True) if page)
        )

    def merged(
        self, parts: Parts, root: str, moment: Timestamp, *, now: Timestamp | None = None
    ) -> tuple[MergedPage, tuple[Judgement, ...]]:
        """The page, and the rulings on its files. `root` is the relative URL from the page to the server's root, such as `../../../../`.

        `moment` is the time of the page; `now` is given for a page of the past. Pure. Slow for a long page.
        """
        resolution = parts.resolution
        layers = [(layer.index, f"{root}{layer.index}/", page) for layer, page in parts.pages]
        build = Build(tree=resolution.tree, start=resolution.start, project=resolution.project, moment=moment, now=now)
        page, judgements = apply_filters(merge(resolution.project, layers), self._filters, build)
        if grants := granted(resolution.tree, resolution.start):
            holders = {layer.index for layer, _ in parts.pages}
            page = replace(page, namespaces=namespaces_of(grants, resolution.project, holders))
        return page, judgements
