"""One flat page of all files that an index has or inherits, without those of mirrors, for `pip install --find-links`.

    stamps of every project -> ETag -> 304 | cached | written project by project

The page is as of one commit, so that its tag names its bytes although writing takes a while. It is written piece by piece. Only a
small page is held whole, for the cache.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import Executor
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.errors import Unavailable
from pkgindex_core.formats.html_page import HtmlRenderer, flat_end, flat_line, flat_start
from pkgindex_core.models import Serial, Tree
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import AdmissionPolicy, ChangeLog, PageFilter, Principal, Projects
from pkgindex_core.rules.filtering import Fingerprints, fingerprints
from pkgindex_core.rules.resolution import Chain
from pkgindex_core.rules.stamping import etag, matches, recipe
from pkgindex_core.services.reading.assembling import Assembling, Parts
from pkgindex_core.services.reading.building import Bodies
from pkgindex_core.services.reading.resolving import Resolving
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_core.tools.currency import Currency, Moment
from pkgindex_core.tools.workers import in_worker

_BATCH_FILES = 2_000
"""The number of files that a worker writes at a time."""
_KEPT_BYTES = 8 * 1024 * 1024
_TURNS = 20
_NAMED = 1024
_PROJECT = ProjectName("-")
"""Not a valid project name: a place in the tag for data that belongs to no project."""


class FlatPage(Struct, frozen=True, kw_only=True):
    """A page of links; `body` None: the client has it already."""

    etag: str
    body: bytes | AsyncIterator[bytes] | None
    public: bool
    """Whether all clients get the same, with and without credentials."""


class _PageInputs(Struct, frozen=True, kw_only=True):
    """The inputs of a page."""

    seen: Chain
    root: str
    projects: Sequence[ProjectName]
    serial: Serial
    moment: Timestamp


class _Store(Projects, ChangeLog, Protocol): ...


class FindLinks:
    """Answers flat pages."""

    def __init__(
        self,
        *,
        store: _Store,
        resolving: Resolving,
        assembling: Assembling,
        currency: Currency,
        admission: AdmissionPolicy,
        filters: Mapping[str, PageFilter],
        bodies: Bodies,
        workers: Executor,
        clock: Clock,
    ) -> None:
        self._store = store
        self._resolving = resolving
        self._assembling = assembling
        self._currency = currency
        self._admission = admission
        self._filters = filters
        self._bodies = bodies
        self._workers = workers
        self._clock = clock
        self.named: BoundedCache[tuple[IndexName, Principal, str], _KeptTag] = BoundedCache(_NAMED)

    async def page(self, start: IndexName, *, principal: Principal, root: str, if_none_match: str | None) -> FlatPage:
        """Every file of the hosted layers that this principal may read. `root` is the relative URL to the server's root.

        While nothing is committed its tag is known without any read.
        """
        await self._currency.catch_up()
        key = (start, principal, root)
        known = self.named.get(key)
        now = self._clock.now()
        if (
            known is not None
            and self._currency.holds(known.moment, tree=True, indexes=known.order)
            and fingerprints(self._filters, known.tree, start, now) == known.decisions
        ):
            kept = self._bodies.get((known.tag, "identity"))
            unchanged = matches(if_none_match, known.tag)
            if kept is not None or unchanged:
                return FlatPage(etag=known.tag, body=None if unchanged else kept, public=known.public)
        moment = self._currency.moment()
        serial, seen = await self._seen(start, principal)
        hosted = [config.name for config in seen.layers if not config.mirrored]
        rows = [(layer, row) for layer in hosted for row in await self._store.projects(layer, at=serial)]
        projects = sorted({row.name for _, row in rows})
        view = _PageInputs(seen=seen, root=root, projects=projects, serial=serial, moment=now)
        decisions = fingerprints(self._filters, seen.tree, start, now)
        stamps = [(layer, row.name, row.stamp) for layer, row in rows]
        tag = await in_worker(self._workers, lambda: self._tag(view, stamps, decisions))
        self.named.put(key, _KeptTag(moment, tuple(seen.order), seen.tree, decisions, tag, seen.public))
        if matches(if_none_match, tag):
            return FlatPage(etag=tag, body=None, public=seen.public)
        kept = self._bodies.get((tag, "identity"))
        return FlatPage(etag=tag, body=kept if kept is not None else self._written(view, tag), public=seen.public)

    async def _seen(self, start: IndexName, principal: Principal) -> tuple[Serial, Chain]:
        """A commit, and the index as of it."""
        for _ in range(_TURNS):
            serial = await self._store.head()
            seen = await self._resolving.chain(start, principal)
            if seen.tree.serial <= serial:
                return serial, seen
        raise Unavailable("the indexes change faster than they can be read", retry_after=1)

    def _tag(
        self, view: _PageInputs, stamps: Sequence[tuple[IndexName, ProjectName, Serial]], decisions: Fingerprints
    ) -> str:
        seen = view.seen
        return etag(
            tree=seen.tree.serial,
            start=seen.start,
            project=_PROJECT,
            layers=[(layer, f"{view.root}{name}", stamp) for layer, name, stamp in stamps],
            recipe=f"flat {recipe(HtmlRenderer(), self._admission, decisions)}",
        )

    async def _written(self, view: _PageInputs, tag: str) -> AsyncIterator[bytes]:
        """Write the page in pieces; cache it if it is small."""
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
            self._bodies.put((tag, "identity"), b"".join(pieces))

    async def _pieces(self, view: _PageInputs) -> AsyncIterator[bytes]:
        yield flat_start(f"{view.seen.start}: links to all files without those of mirrors")
        batch: list[Parts] = []
        count = 0
        for project in view.projects:
            parts = await self._parts(view, project)
            batch.append(parts)
            count += parts.file_count + 1
            if count >= _BATCH_FILES:
                yield await in_worker(self._workers, self._lines, view, batch)
                batch, count = [], 0
        yield await in_worker(self._workers, self._lines, view, batch) + flat_end()

    async def _parts(self, view: _PageInputs, project: ProjectName) -> Parts:
        """The hosted layers' pages of a project, as of the commit."""
        standings = await self._store.standings(project, view.seen.order, at=view.serial)
        whole = self._resolving.admitted(view.seen, project, standings)
        return await self._assembling.read_at(
            replace(whole, shown=tuple(layer for layer in whole.shown if not layer.config.mirrored)), view.serial
        )

    def _lines(self, view: _PageInputs, batch: Sequence[Parts]) -> bytes:
        pages = [self._assembling.merged(parts, view.root, view.moment)[0] for parts in batch]
        return b"".join([flat_line(entry) for page in pages for entry in page.entries])


class _KeptTag(Struct, frozen=True):
    """The tag of a page, with its dependencies."""

    moment: Moment
    order: tuple[IndexName, ...]
    tree: Tree
    decisions: Fingerprints
    tag: str
    public: bool
