"""Resolutions: one project as an index shows it. Pages, documents, files and explanations are made of them.

    Chain        an index and its bases, as one principal sees them
    Resolution   a project in a chain: each layer with its standing, verdict, freshness, and whether it offers files

Only `services.reading.resolving` makes resolutions, so all readers agree on the layer of a file. Pure: a resolution holds data
that was read, and the decisions that follow from it.
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
"""The answers of sources; `Unavailable`: the source could not be asked."""


class Chain(Struct, frozen=True, kw_only=True):
    """An index and its bases, as one principal sees them."""

    tree: Tree
    start: IndexName
    order: tuple[IndexName, ...]
    """All layers, the most important first; also unreadable ones, which still guard their names."""
    missing: tuple[MissingBase, ...]
    readable: frozenset[IndexName]
    public: bool
    """Whether anonymous clients may read every layer. Then all clients get the same answer, and shared caches may keep it. A layer that
    is hidden from this principal counts too, since others get more at the same URL."""

    @property
    def layers(self) -> tuple[IndexConfig, ...]:
        """The layers that the principal may read, the most important first."""
        return tuple(self.tree.indexes[name] for name in self.order if name in self.readable)


class Layer(Struct, frozen=True, kw_only=True):
    """One layer and its part in a project."""

    config: IndexConfig
    standing: Standing
    verdict: Verdict
    readable: bool
    """Whether the principal may read it. An unreadable layer counts in admission but gives nothing."""
    freshness: Freshness | None = None
    """The answer of its source; None: not asked. A layer whose source was asked may still be left out."""
    failure: Unavailable | None = None
    """Why the source could not be asked, when nothing of the project is stored."""
    offers: bool = False
    """Whether its files are offered: it joins, is readable, has the project, and the project is not quarantined (PEP 792)."""

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
    """The layers of a page, the most important first: those that offer files, and those that give only a status or a display name."""
    key: Hashable
    """A key for the page's content: for one index and project, equal keys mean equal pages."""

    @property
    def start(self) -> IndexName:
        return self.chain.start

    @property
    def tree(self) -> Tree:
        return self.chain.tree

    @property
    def serial(self) -> Serial:
        """The newest stamp of the shown layers."""
        return max((layer.standing.stamp for layer in self.shown), default=Serial(0))

    @property
    def file_count(self) -> int:
        """The number of files in the shown layers. A filename that two layers have is counted twice."""
        return sum(layer.standing.file_count for layer in self.shown)

    @property
    def offering(self) -> tuple[Layer, ...]:
        """The layers whose files and versions are offered."""
        return tuple(layer for layer in self.shown if layer.offers)

    @property
    def stale(self) -> tuple[tuple[IndexName, str], ...]:
        """The joining layers that show a stored page because their upstream could not be asked, each with the failure."""
        return tuple(
            (layer.index, layer.freshness.reason)
            for layer in self.layers
            if layer.verdict.joins and layer.freshness is not None and layer.freshness.state == "stale"
        )

    @property
    def unknown(self) -> tuple[tuple[IndexName, str], ...]:
        """Layers that join, could not be asked, and have nothing stored, each with the reason."""
        return tuple(
            (layer.index, layer.failure.message)
            for layer in self.layers
            if layer.verdict.joins and layer.failure is not None
        )

    def require_whole(self) -> None:
        """Raise the failure of an unknown layer: without the layer the page would be shorter, and nothing would show it."""
        for layer in self.layers:
            if layer.verdict.joins and layer.failure is not None:
                raise layer.failure

    def require_needed(self) -> None:
        """Raise the failure of an unknown layer that is `needed`, or of any if nothing else is shown. The answer names the others (`unknown`)."""
        for layer in self.layers:
            if layer.verdict.joins and layer.failure is not None and (layer.verdict.needed or not self.shown):
                raise layer.failure

    def require_some(self) -> None:
        """Raise `Missing` when no layer has the project. An unknown layer raises only if nothing else is shown. This is for web pages,
        which tell people what is missing. An installer would take the rest for the whole.
        """
        if not self.shown:
            self.require_whole()
            raise Missing("project", self.project)


def chain(tree: Tree, start: IndexName, lineage: Lineage, principal: Principal, project: ProjectName | None) -> Chain:
    """Make the chain of an index for a principal whose right to the start was checked. `project` matters for tokens with limits.

    The start counts as readable, since a token may permit a push but not reading. The rights to its bases are checked.
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
    """Make a resolution; `standings` and `verdicts` are in the order of `seen.order`."""
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
