"""Why a page shows what it shows: the same decisions as `pages`, with the reasons kept.

No second algorithm: lineage, admission, refreshing, merging and filtering are asked as for a page, and what they answer is
written down. A layer that the asking principal may not read is not mentioned.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.clock import Clock
from pkgindex_core.errors import Unavailable
from pkgindex_core.models import IndexConfig, Page, Standing
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import AdmissionPolicy, Build, IndexStore, PageFilter, Principal, Refresher, Verdict
from pkgindex_core.rules.access import allowed_index
from pkgindex_core.rules.filtering import apply_filters
from pkgindex_core.rules.merging import merge
from pkgindex_core.rules.permissions import Action
from pkgindex_core.services.reading.pages import Pages

_UNSAID = "decided by an index that you may not read"


class LayerStory(Struct, frozen=True, kw_only=True):
    """One index of the resolution order and its part in the page."""

    index: IndexName
    type: str
    joins: bool
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


class Explaining:
    """Answers `explain`."""

    def __init__(
        self,
        *,
        store: IndexStore,
        pages: Pages,
        admission: AdmissionPolicy,
        filters: Mapping[str, PageFilter],
        refreshers: Mapping[str, Refresher],
        clock: Clock,
    ) -> None:
        self._store = store
        self._pages = pages
        self._admission = admission
        self._filters = filters
        self._refreshers = refreshers
        self._clock = clock

    async def explain(self, start: IndexName, project: ProjectName, *, principal: Principal) -> Explanation:
        """Tell what each layer contributes to a project's page, or why it does not."""
        tree = await self._store.tree()
        allowed_index(tree, start, principal, Action.EXPLAIN, project=project)
        order = self._pages.order(tree, start).order
        readable = self._pages.readable(tree, order, principal, project)
        secret = [name for name in order if name not in readable]
        standings = await self._store.standings(project, order)
        verdicts = self._admission.admit(tree, order, standings, project)
        layers: list[LayerStory] = []
        parts: list[tuple[IndexName, str, Page]] = []
        for verdict, standing in zip(verdicts, standings, strict=True):
            if standing.index not in readable:
                continue
            if any(name in verdict.reason for name in secret):
                verdict = replace(verdict, reason=_UNSAID)  # noqa: PLW2901 - the same verdict, with less said
            story, page = await self._layer(tree.indexes[standing.index], verdict, standing, project)
            layers.append(story)
            if page is not None and verdict.joins:
                parts.append((standing.index, "", page))
        build = Build(tree=tree, start=start, project=project, moment=self._clock.now())
        whole = merge(project, parts)
        merged, filtered = apply_filters(whole, self._filters, build)
        winners = {entry.row.filename: entry.origin for entry in whole.entries}
        hidden = [
            HiddenStory(filename=each.filename, origin=each.origin, reason=f"{each.filter}: {each.reason}")
            for each in filtered
        ]
        hidden.extend(
            HiddenStory(
                filename=row.filename, origin=name, reason=f"{winners[row.filename]} comes first and has it too"
            )
            for name, _, page in parts
            for row in page.rows
            if row.filename in winners and winners[row.filename] != name
        )
        shown: dict[IndexName, int] = {}
        for entry in merged.entries:
            shown[entry.origin] = shown.get(entry.origin, 0) + 1
        return Explanation(
            index=start,
            project=project,
            layers=tuple(layers),
            missing_bases=tuple(
                f"{wanted} (named by {by})" for wanted, by in self._pages.order(tree, start).missing if by in readable
            ),
            shown=shown,
            hidden=tuple(hidden),
        )

    async def _layer(
        self, config: IndexConfig, verdict: Verdict, standing: Standing, project: ProjectName
    ) -> tuple[LayerStory, Page | None]:
        state, detail = "", ""
        refresher = self._refreshers.get(config.type)
        if refresher is not None and verdict.joins:
            try:
                news = await refresher.refresh(config, project, standing)
                state, detail = ("stale", news.reason) if news.state == "stale" else ("", "")
            except Unavailable as error:
                state, detail = "unavailable", error.message
        elif refresher is not None:
            state = "not asked"
        page = await self._store.page(config.name, project)
        files = len(page.rows) if page is not None else 0
        state = state or ("holds" if page is not None else "empty")
        story = LayerStory(
            index=config.name,
            type=config.type,
            joins=verdict.joins,
            reason=verdict.reason,
            state=state,
            files=files,
            detail=detail,
        )
        return story, page
