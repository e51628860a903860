"""Explanations of a page: sentences about a resolution and the page that was made of it.

Decides nothing: the decisions were made before (`rules.resolution`, `rules.merging`, `rules.filtering`). Pure. A layer that the
principal may not read is not mentioned, and a reason that names one is withheld.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from msgspec import Struct

from pkgindex_core.clock import Timestamp
from pkgindex_core.models import QUARANTINED, Page
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import MergedPage
from pkgindex_core.rules.filtering import Judgement
from pkgindex_core.rules.resolution import Layer, Resolution

_UNSAID = "decided by an index that you may not read"


class LayerStory(Struct, frozen=True, kw_only=True):
    """One layer and its part in the page."""

    index: IndexName
    type: str
    joins: bool
    """Whether its files are offered. Its files are then on the page, except those listed as hidden."""
    reason: str
    state: str
    """`holds`, `empty` (does not have the project), `stale`, `unavailable` or `not asked`."""
    files: int
    """The number of its files, shown or hidden."""
    detail: str = ""
    """For `stale` and `unavailable`: the failure."""


class HiddenStory(Struct, frozen=True, kw_only=True):
    """A file that a layer has and the page does not show."""

    filename: str
    origin: IndexName
    reason: str
    until: Timestamp | None = None
    """The first instant at which it may be shown, if a page filter lets it wait."""


class Explanation(Struct, frozen=True, kw_only=True):
    """How an index shows one project, and why."""

    index: IndexName
    project: ProjectName
    layers: tuple[LayerStory, ...]
    missing_bases: tuple[str, ...]
    """Missing bases, each with the index that names it."""
    shown: Mapping[IndexName, int]
    """The number of the page's files from each layer."""
    hidden: tuple[HiddenStory, ...]
    warned: tuple[HiddenStory, ...] = ()
    """Files that the page shows although a filter warns of them."""


def explain(
    resolution: Resolution, pages: Sequence[tuple[Layer, Page]], page: MergedPage, judgements: Sequence[Judgement]
) -> Explanation:
    """Describe what each layer gives to a project's page, or why nothing. `page` was made of `pages`."""
    shown = Counter(entry.origin for entry in page.entries)
    winners = {entry.row.filename: entry.origin for entry in page.entries}
    winners |= {each.filename: each.origin for each in judgements}
    hidden = [_judged(each) for each in judgements if each.hides]
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
        warned=tuple(_judged(each) for each in judgements if each.ruling.mode == "warn"),
    )


def _judged(judgement: Judgement) -> HiddenStory:
    ruling = judgement.ruling
    return HiddenStory(
        filename=judgement.filename,
        origin=judgement.origin,
        reason=f"{judgement.rule}: {ruling.reason}",
        until=ruling.until,
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
    """The reason for a quarantined project, which PEP 792 forbids to offer. It names the first index with that status."""
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
