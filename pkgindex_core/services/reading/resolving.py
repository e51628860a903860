"""Makes resolutions: who may see which layers of an index, what they hold, and what their sources say.

    tree -> order -> standings -> admission -> sources that join and are not current are asked -> standings, admission again

The only place where the gesture is made. Whoever shows anything (a page, a list, a document, a file, an explanation) asks here. What was
resolved is kept while nothing that it depends on was touched (`tools.currency`) and its sources are current: a warm answer reads nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from pkgindex_core.errors import Unavailable
from pkgindex_core.models import IndexConfig, Serial, Standing, Tree
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import AdmissionPolicy, Freshness, Principal, Projects, Source, Trees
from pkgindex_core.rules.access import allowed_index
from pkgindex_core.rules.lineage import Lineage, lineage
from pkgindex_core.rules.permissions import Action
from pkgindex_core.rules.resolution import Chain, Resolution, chain, resolve
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_core.tools.currency import Currency, Moment
from pkgindex_core.tools.side_by_side import side_by_side
from pkgindex_core.tools.sources import Sources

_TURNS = 5
_KEPT_LAYERS = 32_768
"""Of all resolutions that are kept; some 20 MB. An order of a hundred indexes weighs as much as fifty short ones."""


class _Kept(Struct, frozen=True):
    """A resolution and what it holds by."""

    resolution: Resolution
    moment: Moment
    touchable: tuple[tuple[IndexName, ProjectName], ...]
    asked: tuple[tuple[Source, IndexConfig, Standing], ...]


class _Store(Trees, Projects, Protocol): ...


class Resolving:
    """Sees indexes and projects as principals do."""

    def __init__(self, *, store: _Store, sources: Sources, admission: AdmissionPolicy, currency: Currency) -> None:
        self._store = store
        self._sources = sources
        self._admission = admission
        self._currency = currency
        self._lineages: dict[IndexName, tuple[Serial, Lineage]] = {}
        self._kept: BoundedCache[tuple[IndexName, ProjectName, Principal, bool], _Kept] = BoundedCache(
            _KEPT_LAYERS, size_of=lambda each: len(each.touchable)
        )

    async def chain(self, start: IndexName, principal: Principal, *, project: ProjectName | None = None) -> Chain:
        """An index and what it inherits from. Raises as `rules.access.allowed_index`."""
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
        """One project as an index shows it, as fresh as it can be. With `alone` nothing is inherited.

        `instead_of` is an answer that was found out of date by what was read after it: it is not given again, whether or not what
        has changed was heard of. What a source cannot say is part of the value: the caller decides whether the rest will do (`require_whole`, `require_some`).
        Raises what forbids the principal to look.
        """
        await self._currency.catch_up()
        key = (start, project, principal, alone)
        known = self._kept.get(key) if action is Action.READ else None
        if known is not None and known.resolution is not instead_of and self._holds(known, project):
            return known.resolution
        made = await self._resolve(start, project, principal, action, alone=alone, again=False)
        if action is Action.READ and not made.resolution.stale and not made.resolution.unknown:
            self._kept.put(key, made)
        return made.resolution

    async def refresh(self, start: IndexName, project: ProjectName, principal: Principal) -> Resolution:
        """Ask the sources of a project again now, however current it is: those alone that its page would be made of, since a name
        that is ours is told to nobody.
        """
        return (await self._resolve(start, project, principal, Action.REFRESH, alone=False, again=True)).resolution

    async def stored(self, start: IndexName, project: ProjectName, principal: Principal) -> Resolution:
        """One project as it is known here: nobody is asked."""
        seen = await self.chain(start, principal, project=project)
        return self.admitted(seen, project, await self._store.standings(project, seen.order))

    def admitted(self, seen: Chain, project: ProjectName, standings: Sequence[Standing]) -> Resolution:
        """A project of which the standings are at hand, as a list sees it: nobody is asked."""
        verdicts = self._admission.admit(seen.tree, seen.order, standings, project)
        verdicts = self._admission.settle(seen.tree, seen.order, standings, verdicts, project, frozenset())
        return resolve(seen, project, standings, verdicts, {})

    def _holds(self, known: _Kept, project: ProjectName) -> bool:
        return self._currency.holds(known.moment, tree=True, keys=known.touchable) and all(
            source.is_current(config, project, standing) for source, config, standing in known.asked
        )

    def _lineage(self, tree: Tree, start: IndexName) -> Lineage:
        known = self._lineages.get(start)
        if known is None or known[0] != tree.serial:
            known = (tree.serial, lineage(tree, start))
            self._lineages[start] = known
        return known[1]

    async def _resolve(
        self,
        start: IndexName,
        project: ProjectName,
        principal: Principal,
        action: Action,
        *,
        alone: bool,
        again: bool,
    ) -> _Kept:
        """Admit, ask, and admit again if anything of it was touched meanwhile.

        Asking takes a while. A private package that is published in that while has its say, and so has a list of readers that was
        narrowed: what was decided before is not what is shown. A source is asked once.
        """
        news: dict[IndexName, Freshness | Unavailable] = {}
        await self._currency.catch_up()
        moment = self._currency.moment()
        seen = await self._seen(start, project, principal, action, alone=alone)
        for _ in range(_TURNS):
            standings = await self._store.standings(project, seen.order)
            verdicts = self._admission.admit(seen.tree, seen.order, standings, project)
            layers = [seen.tree.indexes[name] for name in seen.order]
            asked = tuple(
                (self._sources.of(config), config, standing)
                for config, verdict, standing in zip(layers, verdicts, standings, strict=True)
                if verdict.joins and config.name in seen.readable
            )
            unasked = [each for each in asked if each[1].name not in news]
            if unasked:
                news.update(await self._ask(project, unasked, again=again))
            touchable = tuple((name, project) for name in seen.order)
            before = moment
            await self._currency.catch_up()
            if self._currency.holds(before, tree=True, keys=touchable):
                break
            moment = self._currency.moment()
            if not self._currency.holds(before, tree=True):
                seen = await self._seen(start, project, principal, action, alone=alone)
        failed = frozenset(name for name, said in news.items() if isinstance(said, Unavailable))
        verdicts = self._admission.settle(seen.tree, seen.order, standings, verdicts, project, failed)
        return _Kept(resolve(seen, project, standings, verdicts, news), before, touchable, asked)

    async def _seen(
        self, start: IndexName, project: ProjectName, principal: Principal, action: Action, *, alone: bool
    ) -> Chain:
        """The layers of a project's resolution.

        Every layer has its say in admission, also one that this principal may not read: whoever cannot see the private package of a
        name must not be given the public one instead. It contributes nothing afterwards.
        """
        tree = await self._store.tree()
        allowed_index(tree, start, principal, action, project=project)
        order = self._lineage(tree, start)
        return chain(tree, start, Lineage((start,)) if alone else order, principal, project)

    async def _ask(
        self, project: ProjectName, sources: Sequence[tuple[Source, IndexConfig, Standing]], *, again: bool
    ) -> dict[IndexName, Freshness | Unavailable]:
        """Ask sources: those that may take a while side by side, the others in place, without a task of their own."""
        news: dict[IndexName, Freshness | Unavailable] = {}

        async def ask(each: tuple[Source, IndexConfig, Standing]) -> None:
            source, config, standing = each
            try:
                news[config.name] = await source.refresh(config, project, standing, again=again)
            except Unavailable as error:
                news[config.name] = error

        slow = [each for each in sources if again or not each[0].is_current(each[1], project, each[2])]
        if len(slow) > 1:
            await side_by_side(slow, ask, at_once=len(slow))
        for each in sources:
            if each[1].name not in news:
                await ask(each)
        return news
