"""Makes resolutions: the layers of an index that a principal may read, their standings, and the answers of their sources.

    tree -> order -> standings -> admission -> sources that join and are not current are asked -> standings, admission again
                                               our own before any mirror: what they have decides whether mirrors are told the name

Pages, lists, documents, files and explanations all use the resolutions of this module. A resolution is cached while nothing that it
depends on was touched (`tools.currency`) and its sources are current, so a repeated request reads nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol
from weakref import ref

from msgspec import Struct

from pkgindex_core.errors import Unavailable
from pkgindex_core.models import Serial, Standing, Tree
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import AdmissionPolicy, Freshness, Principal, Projects, Trees, Verdict
from pkgindex_core.rules.access import allowed_index
from pkgindex_core.rules.lineage import Lineage, lineage
from pkgindex_core.rules.permissions import Action
from pkgindex_core.rules.resolution import Chain, Resolution, chain, resolve
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_core.tools.currency import Currency, Holds, Moment
from pkgindex_core.tools.side_by_side import side_by_side
from pkgindex_core.tools.sources import LayerSource, Sources

_TURNS = 5
_KEPT_LAYERS = 32_768
"""The most layers in all cached resolutions; they take some 20 MB."""
_News = dict[IndexName, Freshness | Unavailable]


class _KeptResolution(Struct, weakref=True):
    """A cached resolution with its dependencies."""

    resolution: Resolution
    moment: Moment
    """When it was last known to hold."""
    touchable: tuple[tuple[IndexName, ProjectName], ...]
    asked: tuple[LayerSource, ...]


class _Store(Trees, Projects, Protocol): ...


class Resolving:
    """Resolves indexes and projects for principals."""

    def __init__(self, *, store: _Store, sources: Sources, admission: AdmissionPolicy, currency: Currency) -> None:
        self._store = store
        self._sources = sources
        self._admission = admission
        self._currency = currency
        self._lineages: tuple[Serial, dict[IndexName, Lineage]] = Serial(-1), {}
        """Those of the latest tree: indexes of earlier ones may be gone."""
        self.kept: BoundedCache[tuple[IndexName, ProjectName, Principal, bool], _KeptResolution] = BoundedCache(
            _KEPT_LAYERS, size_of=lambda each: len(each.touchable)
        )

    async def chain(self, start: IndexName, principal: Principal, *, project: ProjectName | None = None) -> Chain:
        """An index and its bases. Raises the errors of `rules.access.allowed_index`."""
        tree = await self._store.tree()
        allowed_index(tree, start, principal, Action.READ, project=project)
        return chain(tree, start, self._lineage(tree, start), principal, project)

    async def resolve(
        self,
        start: IndexName,
        project: ProjectName,
        principal: Principal,
        *,
        action: Action = Action.READ,
        alone: bool = False,
        instead_of: Resolution | None = None,
    ) -> Resolution:
        """Resolve a project, after asking the sources that are not current. With `alone` bases are left out.

        `instead_of` is a resolution that a later read found outdated: it is not returned again, even if the change is not known yet.
        The failure of a source is part of the value; the caller decides whether the rest is enough (`require_whole`, `require_some`).
        Raises the errors of missing permissions.
        """
        await self._currency.catch_up()
        key = (start, project, principal, alone)
        known = self.kept.get(key) if action is Action.READ else None
        if known is not None and known.resolution is not instead_of and self._holds(known, project):
            return known.resolution
        made = await self._resolve(start, project, principal, action, alone=alone, again=False)
        if action is Action.READ and not made.resolution.stale and not made.resolution.unknown:
            self.kept.put(key, made)
        return made.resolution

    def holding(self, resolution: Resolution, principal: Principal) -> Holds | None:
        """Make a check whether `resolve` would return this resolution again. None if it is not cached.

        The check does not hold the resolution in memory: it fails when the cache has dropped it.
        """
        known = self.kept.get((resolution.start, resolution.project, principal, False))
        if known is None or known.resolution is not resolution:
            return None
        return partial(self._is_kept, ref(known), resolution.project)

    async def refresh(self, start: IndexName, project: ProjectName, principal: Principal) -> Resolution:
        """Ask the sources of a project again, even if they are current. Only the sources of joining layers are asked, since an upstream
        must not learn a private name.
        """
        return (await self._resolve(start, project, principal, Action.REFRESH, alone=False, again=True)).resolution

    async def stored(self, start: IndexName, project: ProjectName, principal: Principal) -> Resolution:
        """Resolve a project from stored data: no source is asked."""
        seen = await self.chain(start, principal, project=project)
        return self.admitted(seen, project, await self._store.standings(project, seen.order))

    def admitted(self, seen: Chain, project: ProjectName, standings: Sequence[Standing]) -> Resolution:
        """Resolve a project from given standings, for lists: no source is asked."""
        verdicts = self._admission.admit(seen.tree, seen.order, standings, project)
        verdicts = self._admission.settle(seen.tree, seen.order, standings, verdicts, project, frozenset())
        return resolve(seen, project, standings, verdicts, {})

    def _is_kept(self, kept: ref[_KeptResolution], project: ProjectName) -> bool:
        known = kept()
        return known is not None and self._holds(known, project)

    def _holds(self, known: _KeptResolution, project: ProjectName) -> bool:
        if not self._currency.holds(known.moment, tree=True, keys=known.touchable):
            return False
        known.moment = self._currency.moment()  # the next check looks only at what is touched from now on
        # Unpacked: a repeated answer makes a call less for each layer.
        return all(source.is_current(config, project, standing) for source, config, standing in known.asked)

    def _lineage(self, tree: Tree, start: IndexName) -> Lineage:
        if self._lineages[0] != tree.serial:
            self._lineages = tree.serial, {}
        known = self._lineages[1]
        return known.get(start) or known.setdefault(start, lineage(tree, start))

    async def _resolve(
        self,
        start: IndexName,
        project: ProjectName,
        principal: Principal,
        action: Action,
        *,
        alone: bool,
        again: bool,
    ) -> _KeptResolution:
        """Admit, ask, and admit again if anything was touched meanwhile.

        Asking takes a while. A private package that is uploaded meanwhile, or a read list that is narrowed meanwhile, changes the result.
        Each source is asked once. A policy may have mirrors asked in turn (`Verdict.in_turn`).
        """
        news: _News = {}
        await self._currency.catch_up()
        moment = self._currency.moment()
        seen = await self._seen(start, project, principal, action, alone=alone)
        for _ in range(_TURNS + len(seen.order)):  # mirrors may be asked one a turn
            standings = await self._store.standings(project, seen.order)
            verdicts = self._admission.admit(seen.tree, seen.order, standings, project)
            layers = [seen.tree.indexes[name] for name in seen.order]
            joining = tuple(
                LayerSource(self._sources.of(config), config, standing)
                for config, verdict, standing in zip(layers, verdicts, standings, strict=True)
                if verdict.joins and (config.name in seen.readable or not config.mirrored)
            )
            asked = self._due(joining, verdicts, news)
            own, unasked = self._unasked(project, asked, news, seen)
            if own or unasked:
                news.update(await self._ask(project, own or unasked, again=again))
            touchable = tuple((name, project) for name in seen.order)
            before = moment
            await self._currency.catch_up()
            is_last = not own and len(self._due(joining, verdicts, news)) == len(asked)
            if is_last and self._currency.holds(before, tree=True, keys=touchable):
                break
            moment = self._currency.moment()
            if not self._currency.holds(before, tree=True):
                seen = await self._seen(start, project, principal, action, alone=alone)
        failed = frozenset(name for name, said in news.items() if isinstance(said, Unavailable))
        verdicts = self._admission.settle(seen.tree, seen.order, standings, verdicts, project, failed)
        return _KeptResolution(resolve(seen, project, standings, verdicts, news), before, touchable, asked)

    @staticmethod
    def _due(joining: tuple[LayerSource, ...], verdicts: Sequence[Verdict], news: _News) -> tuple[LayerSource, ...]:
        """The layers whose sources are to be asked, without mirrors whose turn has not come."""
        waiting = {verdict.index for verdict in verdicts if verdict.in_turn}
        if not waiting:
            return joining
        due: list[LayerSource] = []
        has_come = True
        for each in joining:
            config = each.config
            if has_come or config.name not in waiting:
                due.append(each)
            said = news.get(config.name)
            has_come &= not config.mirrored or (isinstance(said, Freshness) and said.state == "absent")
        return tuple(due)

    @staticmethod
    def _unasked(
        project: ProjectName, asked: Sequence[LayerSource], news: _News, seen: Chain
    ) -> tuple[list[LayerSource], list[LayerSource]]:
        """The hosted layers whose sources are not current, and the readable layers that were not asked yet.

        A hosted layer that the principal may not read guards its names too, so its source is asked as well. While a hosted layer cannot say
        whether it has the name, no mirror is asked for the name.
        """
        unasked = [each for each in asked if each.config.name not in news]
        own = [each for each in unasked if not each.config.mirrored and not each.is_current(project)]
        doubtful = any(not config.mirrored and isinstance(news.get(config.name), Unavailable) for _, config, _ in asked)
        readable = [each for each in unasked if each.config.name in seen.readable]
        return own, [each for each in readable if not (doubtful and each.config.mirrored)]

    async def _seen(
        self, start: IndexName, project: ProjectName, principal: Principal, action: Action, *, alone: bool
    ) -> Chain:
        """The layers of a project's resolution.

        Admission sees every layer, also unreadable ones, which then give nothing. A principal that cannot see a private package must
        not get the public one of that name instead.
        """
        tree = await self._store.tree()
        allowed_index(tree, start, principal, action, project=project)
        order = self._lineage(tree, start)
        return chain(tree, start, Lineage((start,)) if alone else order, principal, project)

    async def _ask(self, project: ProjectName, sources: Sequence[LayerSource], *, again: bool) -> _News:
        """Ask sources: slow ones concurrently, the others one after the other without tasks of their own."""
        news: _News = {}

        async def ask(each: LayerSource) -> None:
            source, config, standing = each
            try:
                news[config.name] = await source.refresh(config, project, standing, again=again)
            except Unavailable as error:
                news[config.name] = error

        slow = [each for each in sources if again or not each.is_current(project)]
        if len(slow) > 1:
            await side_by_side(slow, ask, at_once=len(slow))
        for each in sources:
            if each.config.name not in news:
                await ask(each)
        return news
