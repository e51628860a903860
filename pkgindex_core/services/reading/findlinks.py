"""One flat page of every file that an index has or inherits, without those of mirrors: for `pip install --find-links`.

    stamps of every project -> ETag -> 304 | cached | written project by project

The page is as of one commit, so that its tag names its bytes although it takes a while to write. It is written piece by piece
and never held whole, unless it is small enough to be kept for the next one who asks.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import Executor

from msgspec import Struct

from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.errors import Unavailable
from pkgindex_core.formats.html_page import HtmlRenderer, flat_end, flat_line, flat_start
from pkgindex_core.models import Page, Serial, Tree
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import AdmissionPolicy, Build, IndexStore, PageFilter, Principal
from pkgindex_core.rules.access import allowed_index
from pkgindex_core.rules.filtering import apply_filters, applying
from pkgindex_core.rules.merging import merge
from pkgindex_core.rules.permissions import Action
from pkgindex_core.rules.stamping import etag, matches, recipe
from pkgindex_core.services.reading.pages import Pages, View
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_core.tools.workers import in_worker

_BATCH_FILES = 2_000
"""Written at a time by a worker."""
_KEPT_BYTES = 8 * 1024 * 1024
_TURNS = 20
_NAMED = 1024
_PROJECT = ProjectName("-")
"""No project is called so: the tag's place for what is about none."""


class FlatPage(Struct, frozen=True, kw_only=True):
    """A page of links, or (`body` None) the news that the client has it already."""

    etag: str
    body: bytes | AsyncIterator[bytes] | None
    public: bool
    """Whether everybody gets the same, with and without credentials."""


class _View(Struct, frozen=True, kw_only=True):
    """What a page is made of."""

    tree: Tree
    start: IndexName
    root: str
    order: Sequence[IndexName]
    hosted: Sequence[IndexName]
    """The layers of the order that give files, most important first."""
    projects: Sequence[ProjectName]
    serial: Serial
    moment: Timestamp


class FindLinks:
    """Answers flat pages."""

    def __init__(
        self,
        *,
        store: IndexStore,
        pages: Pages,
        admission: AdmissionPolicy,
        filters: Mapping[str, PageFilter],
        workers: Executor,
        clock: Clock,
    ) -> None:
        self._store = store
        self._pages = pages
        self._admission = admission
        self._filters = filters
        self._workers = workers
        self._clock = clock
        self._named: BoundedCache[tuple[IndexName, Principal, str], tuple[int, str, bool]] = BoundedCache(_NAMED)

    async def page(self, start: IndexName, *, principal: Principal, root: str, if_none_match: str | None) -> FlatPage:
        """Every file of the hosted layers that this principal may read. `root` is the relative URL to the server's root.

        Its name is known without looking at anything while nothing was committed.
        """
        key = (start, principal, root)
        generation = self._store.generation()
        known = self._named.get(key)
        if known is not None and known[0] == generation:
            _, tag, public = known
            kept = self._pages.cache.get((tag, "identity"))
            if kept is not None or matches(if_none_match, tag):
                return FlatPage(etag=tag, body=None if matches(if_none_match, tag) else kept, public=public)
        for _ in range(_TURNS):
            serial = await self._store.head()
            tree = await self._store.tree()
            if tree.serial <= serial:
                break  # this is the tree as of that commit
        else:
            raise Unavailable("the indexes change faster than they can be read", retry_after=1)
        allowed_index(tree, start, principal, Action.READ)
        order = self._pages.order(tree, start).order
        readable = self._pages.readable(tree, order, principal)
        hosted = [layer for layer in order if layer in readable and not tree.indexes[layer].mirrored]
        rows = [(layer, row) for layer in hosted for row in await self._store.projects(layer, at=serial)]
        view = _View(
            tree=tree,
            start=start,
            root=root,
            order=order,
            hosted=hosted,
            projects=sorted({row.name for _, row in rows}),
            serial=serial,
            moment=self._clock.now(),
        )
        stamps = [(layer, row.name, row.stamp) for layer, row in rows]
        tag = await in_worker(self._workers, lambda: self._tag(view, stamps))
        public = self._pages.is_public(tree, order)
        if not any(each.rounding for each in self._filters.values()):
            self._named.put(key, (generation, tag, public))
        if matches(if_none_match, tag):
            return FlatPage(etag=tag, body=None, public=public)
        kept = self._pages.cache.get((tag, "identity"))
        return FlatPage(etag=tag, body=kept if kept is not None else self._written(view, tag), public=public)

    def _tag(self, view: _View, stamps: Sequence[tuple[IndexName, ProjectName, Serial]]) -> str:
        filters = applying(self._filters, view.tree, view.start)
        return etag(
            tree=view.tree.serial,
            start=view.start,
            project=_PROJECT,
            layers=[(layer, f"{view.root}{name}", stamp) for layer, name, stamp in stamps],
            recipe=f"flat {recipe(HtmlRenderer(), self._admission, filters, view.moment)}",
        )

    async def _written(self, view: _View, tag: str) -> AsyncIterator[bytes]:
        """The page in pieces; one that stays small is kept."""
        pieces: list[bytes] | None = []
        size = 0
        async for piece in self._pieces(view):
            size += len(piece)
            if pieces is not None:
                pieces.append(piece)
                if size > _KEPT_BYTES:
                    pieces = None
            yield piece
        if pieces is not None:
            self._pages.cache.put((tag, "identity"), b"".join(pieces))

    async def _pieces(self, view: _View) -> AsyncIterator[bytes]:
        yield flat_start(f"{view.start}: links to all files without those of mirrors")
        batch: list[tuple[ProjectName, list[tuple[IndexName, str, Page]]]] = []
        count = 0
        for project in view.projects:
            layers = await self._layers(view, project)
            batch.append((project, layers))
            count += sum(len(page.rows) for _, _, page in layers) + 1
            if count >= _BATCH_FILES:
                yield await self._lines(view, batch)
                batch, count = [], 0
        yield await self._lines(view, batch) + flat_end()

    async def _layers(self, view: _View, project: ProjectName) -> list[tuple[IndexName, str, Page]]:
        standings = await self._store.standings(project, view.order, at=view.serial)
        verdicts = self._admission.admit(view.tree, view.order, standings, project)
        joining = {
            verdict.index
            for standing, verdict in zip(standings, verdicts, strict=True)
            if verdict.joins and standing.holds
        }
        prefixes = View(start=view.start, root=view.root)
        layers = []
        for layer in view.hosted:
            page = await self._store.page(layer, project, at=view.serial) if layer in joining else None
            if page is not None:
                layers.append((layer, prefixes.prefix(layer), page))
        return layers

    async def _lines(
        self, view: _View, batch: Sequence[tuple[ProjectName, list[tuple[IndexName, str, Page]]]]
    ) -> bytes:
        def write() -> bytes:
            lines = []
            for project, layers in batch:
                build = Build(tree=view.tree, start=view.start, project=project, moment=view.moment)
                merged, _ = apply_filters(merge(project, layers), self._filters, build)
                lines += [flat_line(entry) for entry in merged.entries]
            return b"".join(lines)

        return await in_worker(self._workers, write)
