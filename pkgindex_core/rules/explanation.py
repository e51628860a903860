"""Why a page shows what it shows: sentences about a resolution and the page that was made of it.

No second algorithm: what is told here was decided before (`rules.resolution`, `rules.merging`, `rules.filtering`). Pure. A layer that the
asking principal may not read is not mentioned, and a reason that would name one is withheld.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from msgspec import Struct

from pkgindex_core.models import QUARANTINED, Page
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import MergedPage
from pkgindex_core.rules.filtering import Hidden
from pkgindex_core.rules.resolution import Layer, Resolution

_UNSAID = "decided by an index that you may not read"


class LayerStory(Struct, frozen=True, kw_only=True):
    """One index of the resolution order and its part in the page."""

    index: IndexName
    type: str
    joins: bool
    """Whether what it has is offered: the files that are counted are on the page, unless they are told to be hidden."""
    reason: str
    state: str
    """`holds`, `empty` (does not have the project), `stale`, `unavailable` or `not asked`."""
    files: int
    """How many files it has, whether or not they are shown."""
    detail: str = ""
    """For `stale` and `unavailable`: what went wrong."""


class HiddenStory(Struct, frozen=True, kw_only=True):
    """A file that a layer has and the page does not show."""

    filename: str
    origin: IndexName
    reason: str


class Explanation(Struct, frozen=True, kw_only=True):
    """What an index does with one project, and why."""

    index: IndexName
    project: ProjectName
    layers: tuple[LayerStory, ...]
    missing_bases: tuple[str, ...]
    """Bases that are named and do not exist, with the index that names them."""
    shown: Mapping[IndexName, int]
    """How many files of the page come from each layer."""
    hidden: tuple[HiddenStory, ...]


def explain(
    resolution: Resolution, pages: Sequence[tuple[Layer, Page]], page: MergedPage, filtered: Sequence[Hidden]
) -> Explanation:
    """Tell what each layer contributes to a project's page, or why it does not. `pages` are those that `page` was made of."""
    shown = Counter(entry.origin for entry in page.entries)
    winners = {entry.row.filename: entry.origin for entry in page.entries}
    winners |= {each.filename: each.origin for each in filtered}
    hidden = [
        HiddenStory(filename=each.filename, origin=each.origin, reason=f"{each.filter}: {each.reason}")
        for each in filtered
    ]
    hidden += [
        HiddenStory(filename=row.filename, origin=layer.index, reason=f"{winner} comes first and has it too")
        for layer, part in pages
        if layer.offers
        for row in part.rows
        if (winner := winners[row.filename]) != layer.index
    ]
    secret = [layer.index for layer in resolution.layers if not layer.readable]
    return Explanation(
        index=resolution.start,
        project=resolution.project,
        layers=tuple(_story(layer, resolution, secret) for layer in resolution.layers if layer.readable),
        missing_bases=tuple(
            f"{wanted} (named by {by})" for wanted, by in resolution.chain.missing if by in resolution.chain.readable
        ),
        shown=dict(shown),
        hidden=tuple(hidden),
    )


def _story(layer: Layer, resolution: Resolution, secret: Sequence[IndexName]) -> LayerStory:
    joins, reason = layer.verdict.joins, layer.verdict.reason
    if joins and layer.standing.holds and not layer.offers:
        joins, reason = False, _quarantine(layer, resolution)
    state, detail = _state(layer)
    return LayerStory(
        index=layer.index,
        type=layer.config.type,
        joins=joins,
        reason=_UNSAID if any(name in reason for name in secret) else reason,
        state=state,
        files=layer.standing.file_count if layer.standing.holds else 0,
        detail=detail,
    )


def _quarantine(layer: Layer, resolution: Resolution) -> str:
    """PEP 792: nothing of a quarantined project is offered, whoever says so first for all."""
    saying = (layer, *resolution.shown)
    by = next(each.index for each in saying if each.standing.status == QUARANTINED)
    return f"left out: {resolution.project} is quarantined in {by}, so its files are not offered"


def _state(layer: Layer) -> tuple[str, str]:
    if layer.failure is not None:
        return "unavailable", layer.failure.message
    if layer.freshness is not None and layer.freshness.state == "stale":
        return "stale", layer.freshness.reason
    if layer.freshness is None and layer.config.mirrored:
        return "not asked", ""
    return ("holds" if layer.standing.holds else "empty"), ""
