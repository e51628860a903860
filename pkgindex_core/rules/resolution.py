"""How an index sees one project: the one value that pages, documents, files and explanations are made from.

    Chain        an index and what it inherits from, as one principal sees it
    Resolution   the same for a project: each layer with its standing, its verdict, its freshness, and whether it offers anything

A resolution is made in one place (`services.reading.resolving`) and is never worked out again: two readers of the same resolution
cannot disagree about which layer a file comes from. Pure; it holds what was read and decides what follows from that.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import compress

from msgspec import Struct

from pkgindex_core.errors import Missing, Unavailable
from pkgindex_core.models import IndexConfig, Serial, Standing, Tree
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Freshness, Principal, Verdict
from pkgindex_core.rules.lineage import Lineage, MissingBase
from pkgindex_core.rules.merging import offered
from pkgindex_core.rules.permissions import Action, permits

News = Mapping[IndexName, Freshness | Unavailable]
"""What sources said when they were asked; `Unavailable` is what one could not say."""


class Chain(Struct, frozen=True, kw_only=True):
    """An index and what it inherits from, as one principal sees it."""

    tree: Tree
    start: IndexName
    order: tuple[IndexName, ...]
    """All layers, most important first, also those that the principal may not read: they still guard their names."""
    missing: tuple[MissingBase, ...]
    readable: frozenset[IndexName]
    public: bool
    """Whether everybody may read every layer, so that everybody gets the same and shared caches may keep it.

    A layer that an anonymous client is not shown counts: what it gets is less than what others get at the same URL."""

    @property
    def layers(self) -> tuple[IndexConfig, ...]:
        """The layers that the principal may read, most important first."""
        return tuple(self.tree.indexes[name] for name in self.order if name in self.readable)


class Layer(Struct, frozen=True, kw_only=True):
    """One index of the order and its part in a project."""

    config: IndexConfig
    standing: Standing
    verdict: Verdict
    readable: bool
    """Whether the principal may read it. What may not be read has its say in admission and contributes nothing."""
    freshness: Freshness | None = None
    """What its source said. None: nobody asked. One that was asked may be left out all the same, by what was said."""
    failure: Unavailable | None = None
    """Why the source could say nothing, while nothing of the project is stored."""
    offers: bool = False
    """Whether its files and versions are offered: it joins, may be read, has the project, and that is not quarantined (PEP 792)."""

    @property
    def index(self) -> IndexName:
        return self.config.name


class Resolution(Struct, frozen=True, kw_only=True):
    """One project as an index shows it to a principal, before anything of a page is read."""

    chain: Chain
    project: ProjectName
    layers: tuple[Layer, ...]
    """Every index of the order."""
    shown: tuple[Layer, ...]
    """The layers that a page is made of, most important first: those that offer files, and those that say something of the project."""
    key: Hashable
    """Names all that the content of the page depends on: equal keys of one index and project are equal pages."""

    @property
    def start(self) -> IndexName:
        return self.chain.start

    @property
    def tree(self) -> Tree:
        return self.chain.tree

    @property
    def serial(self) -> Serial:
        """The newest stamp of what is shown."""
        return max((layer.standing.stamp for layer in self.shown), default=Serial(0))

    @property
    def offering(self) -> tuple[Layer, ...]:
        """The layers whose files and versions are offered."""
        return tuple(layer for layer in self.shown if layer.offers)

    @property
    def stale(self) -> tuple[tuple[IndexName, str], ...]:
        """Layers whose upstream could not be asked, with the reason; what is shown of them is what was stored."""
        return tuple(
            (layer.index, layer.freshness.reason)
            for layer in self.layers
            if layer.verdict.joins and layer.freshness is not None and layer.freshness.state == "stale"
        )

    @property
    def unknown(self) -> tuple[tuple[IndexName, str], ...]:
        """Layers that would have a say, could not be asked, and of which nothing is stored, with the reason."""
        return tuple(
            (layer.index, layer.failure.message)
            for layer in self.layers
            if layer.verdict.joins and layer.failure is not None
        )

    def require_whole(self) -> None:
        """Raise what a layer could not say: without it, a page would be quietly shorter."""
        for layer in self.layers:
            if layer.verdict.joins and layer.failure is not None:
                raise layer.failure

    def require_some(self) -> None:
        """Raise `Missing` when no layer has the project. What is not known raises only where nothing else is shown: for people, who are told
        what lacks, and not for installers, which would take the rest for the whole.
        """
        if not self.shown:
            self.require_whole()
            raise Missing("project", self.project)


def chain(tree: Tree, start: IndexName, lineage: Lineage, principal: Principal, project: ProjectName | None) -> Chain:
    """See an index as a principal does who may do there what they came for; `project` is what for, where a token is limited to some.

    A token may be for pushing and not for reading: the start counts as readable, and only what it inherits is asked about.
    """

    def readable(by: Principal, about: ProjectName | None) -> frozenset[IndexName]:
        return frozenset(
            name for name in lineage.order if permits(by, Action.READ, index=tree.indexes[name], project=about)
        )

    open_to_all = readable(Principal(), None)
    nobody = principal.name is None and principal.scope is None
    return Chain(
        tree=tree,
        start=start,
        order=lineage.order,
        missing=lineage.missing,
        readable=(open_to_all if nobody else readable(principal, project)) | {start},
        public=len(open_to_all) == len(lineage.order),
    )


def resolve(
    seen: Chain, project: ProjectName, standings: Sequence[Standing], verdicts: Sequence[Verdict], news: News
) -> Resolution:
    """Write down what follows from what was read and said; `standings` and `verdicts` go along `seen.order`."""
    shown = [
        verdict.joins and name in seen.readable and standing.holds
        for name, standing, verdict in zip(seen.order, standings, verdicts, strict=True)
    ]
    offers = iter(offered([standing.status for standing in compress(standings, shown)]))
    layers = []
    for name, standing, verdict, is_shown in zip(seen.order, standings, verdicts, shown, strict=True):
        said = news.get(name) if name in seen.readable else None
        layers.append(
            Layer(
                config=seen.tree.indexes[name],
                standing=standing,
                verdict=verdict,
                readable=name in seen.readable,
                freshness=None if isinstance(said, Unavailable) else said,
                failure=said if isinstance(said, Unavailable) else None,
                offers=is_shown and next(offers),
            )
        )
    parts = tuple(compress(layers, shown))
    return Resolution(
        chain=seen,
        project=project,
        layers=tuple(layers),
        shown=parts,
        key=(seen.tree.serial, tuple((each.index, each.standing.stamp, each.standing.content) for each in parts)),
    )
