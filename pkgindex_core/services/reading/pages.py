"""The life of a page: who may see which layers, what they hold, what names the bytes, and only then the bytes.

    tree -> order -> verdicts -> refresh what joins and is stale -> standings -> ETag -> 304 | cached | build

The ETag is computed from serials before anything of the page is read, and is the cache key: nothing is ever purged, a
new serial is a new key. What is cached is the compressed body. A warm answer costs one generation check of the store, a
freshness check per mirror, and a dictionary look-up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import Executor

from msgspec import Struct

from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.compression import compress
from pkgindex_core.errors import Missing, PkgIndexError, Unavailable
from pkgindex_core.memory import LARGE, give_back
from pkgindex_core.models import IndexConfig, Page, Serial, Standing, Tree
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import (
    AdmissionPolicy,
    Build,
    Freshness,
    IndexStore,
    PageFilter,
    Principal,
    Refresher,
    Renderer,
)
from pkgindex_core.rules.access import allowed_index
from pkgindex_core.rules.filtering import apply_filters, applying
from pkgindex_core.rules.lineage import Lineage, lineage
from pkgindex_core.rules.merging import merge
from pkgindex_core.rules.permissions import Action, permits
from pkgindex_core.rules.stamping import coded, etag, matches, recipe
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_core.tools.building import Building
from pkgindex_core.tools.workers import in_worker

_BUILD_TURNS = 5
_DECIDE_TURNS = 5
_DECISIONS = 8192


class View(Struct, frozen=True, kw_only=True):
    """From where a page is looked at, as far as its links depend on it."""

    start: IndexName
    root: str
    """The relative URL from the page to the root of the server, such as `../../../../`."""

    def prefix(self, origin: IndexName) -> str:
        """The relative URL from the page to the root of the index a file comes from."""
        return f"{self.root}{origin}/"


class PageRequest(Struct, frozen=True, kw_only=True):
    """What one request wants of a project's page."""

    view: View
    project: ProjectName
    principal: Principal
    media_type: str
    coding: str = "identity"
    if_none_match: str | None = None


class PageAnswer(Struct, frozen=True, kw_only=True):
    """A page, or (`body` None) the news that the client has it already."""

    etag: str
    media_type: str
    coding: str
    serial: Serial
    body: bytes | None
    public: bool
    """Whether everybody gets the same, with and without credentials."""
    stale: tuple[tuple[IndexName, str], ...] = ()
    """Mirrors that could not be asked, with the reason; what is shown of them is what was stored."""
    unknown: tuple[tuple[IndexName, str], ...] = ()
    """Lists only: mirrors that could not be asked and of which nothing is stored, with the reason."""
    partial: tuple[IndexName, ...] = ()
    """Lists only: mirrors of which only the projects are listed that somebody asked for."""


class Decision(Struct, frozen=True, kw_only=True):
    """What a page, or another document of a project, will be made of, decided without reading it.

    Holds while the generation does and its mirrors are fresh.
    """

    generation: int
    mirrors: tuple[tuple[Refresher, IndexConfig, Standing], ...]
    tree: Tree
    standings: tuple[Standing, ...]
    """Of the layers that join and hold the project, in order."""
    public: bool
    stale: tuple[tuple[IndexName, str], ...]
    unknown: tuple[tuple[IndexName, str], ...]
    """Layers that would have a say, could not be asked, and of which nothing is stored; only of a decision for what is `known`."""
    tags: dict[tuple[str, str], str]
    """ETags by (media type, root), as far as they were asked for; none where a filter looks at the time."""

    @property
    def key(self) -> Hashable:
        """Names the layers as they are, for what is built of them."""
        return (self.tree.serial, tuple((standing.index, standing.stamp) for standing in self.standings))


class Pages:
    """Answers project pages."""

    def __init__(
        self,
        *,
        store: IndexStore,
        admission: AdmissionPolicy,
        filters: Mapping[str, PageFilter],
        renderers: Mapping[str, Renderer],
        refreshers: Mapping[str, Refresher],
        workers: Executor,
        clock: Clock,
        cache_bytes: int,
    ) -> None:
        self._store = store
        self._admission = admission
        self._filters = filters
        self._renderers = renderers
        self._refreshers = refreshers
        self._workers = workers
        self._clock = clock
        self.cache: BoundedCache[tuple[str, str], bytes] = BoundedCache(cache_bytes, size_of=len)
        """Bodies by (ETag, coding)."""
        self._decisions: BoundedCache[tuple[IndexName, ProjectName, Principal, bool], Decision] = BoundedCache(
            _DECISIONS
        )
        self._lineages: dict[IndexName, tuple[Serial, Lineage]] = {}
        self._building: Building[bytes] = Building()

    async def project(self, request: PageRequest) -> PageAnswer:
        """One project's page as an index shows it.

        Raises `Missing` when no layer has the project and every layer could be asked, `Unavailable` when one that would have
        a say could not be asked and nothing of it is stored, `Denied` when credentials are needed.
        """
        renderer = self._renderers[request.media_type]
        for _ in range(_BUILD_TURNS):
            decision = await self.decide(request.view.start, request.project, request.principal)
            if not decision.standings:
                raise Missing("project", request.project)
            moment = self._clock.now()
            tag = self._tag(request, decision, renderer, moment)
            name = coded(tag, request.coding)
            unchanged = matches(request.if_none_match, name)
            body = None if unchanged else self.cache.get((tag, request.coding))
            if body is None and not unchanged:
                body = await self._built(request, decision, renderer, tag, moment)
                if body is None:
                    continue  # the project changed while its page was read: name it anew
            return PageAnswer(
                etag=name,
                media_type=renderer.media_type,
                coding=request.coding,
                serial=Serial(max(standing.stamp for standing in decision.standings)),
                body=body,
                public=decision.public,
                stale=decision.stale,
            )
        raise Unavailable(f"the page of {request.project} changes faster than it can be read", retry_after=1)

    async def refresh(self, start: IndexName, project: ProjectName, *, principal: Principal) -> None:
        """Ask the upstreams of a page's mirrors again now, however new it is. Only those that the page would be made of: a name
        that is ours alone is told to nobody.

        Raises as `project` does, except that a project which nobody has is no error.
        """
        tree = await self._store.tree()
        allowed_index(tree, start, principal, Action.REFRESH, project=project)
        await self._decide(start, project, principal, again=True)

    def order(self, tree: Tree, start: IndexName) -> Lineage:
        """The resolution order of an index."""
        known = self._lineages.get(start)
        if known is None or known[0] != tree.serial:
            known = (tree.serial, lineage(tree, start))
            self._lineages[start] = known
        return known[1]

    def readable(
        self, tree: Tree, order: Sequence[IndexName], principal: Principal, project: ProjectName | None = None
    ) -> frozenset[IndexName]:
        """The layers of an order that this principal may read."""
        return frozenset(
            name for name in order if permits(principal, Action.READ, index=tree.indexes[name], project=project).allowed
        )

    def is_public(self, tree: Tree, order: Sequence[IndexName]) -> bool:
        """Whether everybody may read every layer, so that everybody gets the same and shared caches may keep it.

        A layer that an anonymous client is not shown counts: what it gets is less than what others get at the same URL.
        """
        return len(self.readable(tree, order, Principal())) == len(order)

    async def decide(
        self,
        start: IndexName,
        project: ProjectName,
        principal: Principal,
        *,
        alone: bool = False,
        known_only: bool = False,
    ) -> Decision:
        """Which layers give an index's page of a project, for this principal, as fresh as they can be.

        Raises as `project` does, except that nobody having the project is an answer too. With `alone` nothing is inherited. With
        `known_only` a layer that could not be asked is left out and named, as long as another one has the project: for people, not for
        installers, to which a page without it would be whole. What was decided before holds while nothing it depends on has changed.
        """
        key = (start, project, principal, alone)
        known = self._decisions.get(key)
        if (
            known is not None
            and known.generation == self._store.generation()
            and all(refresher.is_fresh(config, project, standing) for refresher, config, standing in known.mirrors)
        ):
            return known
        decision = await self._decide(start, project, principal, alone=alone, known_only=known_only)
        if not decision.stale and not decision.unknown:
            self._decisions.put(key, decision)
        return decision

    async def _decide(
        self,
        start: IndexName,
        project: ProjectName,
        principal: Principal,
        *,
        alone: bool = False,
        again: bool = False,
        known_only: bool = False,
    ) -> Decision:
        """Admit, refresh, and admit again if anything was committed meanwhile.

        Asking an upstream takes a while. A private package that is published in that while has its say, and so has a list of
        readers that was narrowed: what was decided before is not what is shown. A mirror is asked once.
        """
        news: dict[IndexName, Freshness | Unavailable] = {}
        for _ in range(_DECIDE_TURNS):
            generation = self._store.generation()
            tree = await self._store.tree()
            allowed_index(tree, start, principal, Action.READ, project=project)
            # Every layer has its say in admission, also one that this principal may not read: whoever cannot see the
            # private package of a name must not be given the public one instead. It is left out afterwards.
            order = (start,) if alone else self.order(tree, start).order
            readable = self.readable(tree, order, principal, project)
            standings = await self._store.standings(project, order)
            verdicts = self._admission.admit(tree, order, standings, project)
            joining = [
                (tree.indexes[standing.index], standing)
                for standing, verdict in zip(standings, verdicts, strict=True)
                if verdict.joins and standing.index in readable
            ]
            unasked = [
                (config, standing) for config, standing in joining if config.mirrored and config.name not in news
            ]
            if unasked:
                news.update(await self._refresh(project, unasked, again=again))
            if self._store.generation() == generation:
                break
        shown = tuple(standing for _, standing in joining if standing.holds)
        told = [(config.name, news[config.name]) for config, _ in joining if config.name in news]
        failed = [(name, error) for name, error in told if isinstance(error, Unavailable)]
        if failed and not (known_only and shown):
            raise failed[0][1]
        return Decision(
            generation=generation,
            mirrors=tuple(
                (self._refreshers[config.type], config, standing)
                for config, standing in joining
                if config.type in self._refreshers
            ),
            tree=tree,
            standings=shown,
            public=self.is_public(tree, order),
            stale=tuple(
                (name, each.reason) for name, each in told if isinstance(each, Freshness) and each.state == "stale"
            ),
            unknown=tuple((name, error.message) for name, error in failed),
            tags={},
        )

    async def _refresh(
        self, project: ProjectName, mirrors: Sequence[tuple[IndexConfig, Standing]], *, again: bool
    ) -> dict[IndexName, Freshness | Unavailable]:
        """Make mirrors fresh, all at once. One that cannot say is an error, not absent: without it, a page would be quietly shorter."""
        answers = await asyncio.gather(
            *(self._ask(config, project, standing, again=again) for config, standing in mirrors), return_exceptions=True
        )
        news: dict[IndexName, Freshness | Unavailable] = {}
        for (config, _), answer in zip(mirrors, answers, strict=True):
            if isinstance(answer, BaseException) and not isinstance(answer, Unavailable):
                raise answer
            news[config.name] = answer
        return news

    async def _ask(self, config: IndexConfig, project: ProjectName, standing: Standing, *, again: bool) -> Freshness:
        refresher = self._refreshers.get(config.type)
        if refresher is not None:
            return await refresher.refresh(config, project, standing, again=again)
        # Nobody here can ask (a command without mirrors): what is stored counts as it is, what is not is unknown.
        if not standing.holds:
            raise Unavailable(f"{config.name} cannot be asked from here", hint="ask a running server")
        return Freshness(state="stale", reason="nobody here can ask its upstream")

    def _tag(self, request: PageRequest, decision: Decision, renderer: Renderer, moment: Timestamp) -> str:
        """The page's ETag, without reading the page."""
        key = (request.media_type, request.view.root)
        known = decision.tags.get(key)
        if known is not None:
            return known
        start = request.view.start
        filters = applying(self._filters, decision.tree, start)
        tag = etag(
            tree=decision.tree.serial,
            start=start,
            project=request.project,
            layers=[
                (standing.index, request.view.prefix(standing.index), standing.stamp) for standing in decision.standings
            ],
            recipe=recipe(renderer, self._admission, filters, moment),
        )
        if not any(each.rounding for each in filters.values()):
            decision.tags[key] = tag
        return tag

    async def _built(
        self, request: PageRequest, decision: Decision, renderer: Renderer, tag: str, moment: Timestamp
    ) -> bytes | None:
        """Build the body once for all who wait for it; None when what was read is newer than its name."""
        key = (tag, request.coding)
        try:
            body = await self._building.get(key, lambda: self._build(request, decision, renderer, moment))
        except _Overtaken:
            return None
        if len(body) < LARGE:  # clients take such a page compressed
            self.cache.put(key, body)
        return body

    async def _build(self, request: PageRequest, decision: Decision, renderer: Renderer, moment: Timestamp) -> bytes:
        pages = await asyncio.gather(
            *(self._store.page(standing.index, request.project) for standing in decision.standings)
        )
        parts: list[tuple[IndexName, str, Page]] = []
        for standing, page in zip(decision.standings, pages, strict=True):
            if page is None or page.stamp != standing.stamp:
                raise _Overtaken(f"{standing.index} changed")
            parts.append((standing.index, request.view.prefix(standing.index), page))
        build = Build(tree=decision.tree, start=request.view.start, project=request.project, moment=moment)

        def write() -> tuple[bytes, int]:
            merged, _ = apply_filters(merge(request.project, parts), self._filters, build)
            page = renderer.page(merged)
            return compress(page, request.coding), len(page)

        body, size = await in_worker(self._workers, write)
        parts.clear()
        if size >= LARGE:
            del pages, page
            await in_worker(self._workers, give_back)
        return body


class _Overtaken(PkgIndexError):
    """What was read is newer than what was named."""
