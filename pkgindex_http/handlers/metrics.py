"""`/+metrics`: what the server and its sources have counted, for Prometheus, and as JSON for programs.

The answer names only indexes that the caller may read, and upstreams of those. So it may be opened to everybody (`open_metrics`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Sequence
from typing import Final

from msgspec.structs import replace

from pkgindex_core.engine import Engine
from pkgindex_core.formats.exposition import CONTENT_TYPE, document, exposition
from pkgindex_core.names import IndexName
from pkgindex_core.protocols.measuring import Figures, Measured
from pkgindex_core.rules.access import denied
from pkgindex_core.rules.permissions import Action, permits
from pkgindex_http.replicas import figures_of
from pkgindex_http.requests import Ask, wants_document
from pkgindex_http.wire.advisory_figures import advisory_figures
from pkgindex_http.wire.replies import Reply, json_reply, text_reply
from pkgindex_http.wire.scrub_figures import scrub_figures

_HEADERS: Final = {"Cache-Control": "no-store", "Vary": "Accept, Authorization"}


async def may_measure(ask: Ask) -> None:
    """Check the right to read the counts; with `open_metrics` everybody has it."""
    if not may_see_counts(ask):
        raise denied(ask.principal, permits(ask.principal, Action.METRICS).reason)


def may_see_counts(ask: Ask) -> bool:
    """Whether the principal has that right."""
    is_open = ask.settings.open_metrics and ask.principal.name is None
    return is_open or permits(ask.principal, Action.METRICS).allowed


async def metrics(ask: Ask) -> Reply:
    """Answer all counts."""
    # A token that may read counts sees those of all indexes that its user may read, although it may not read the indexes themselves.
    reader = replace(ask.principal, scope=None)
    tree = await ask.engine.store.tree()
    indexes = [each for each in tree.indexes.values() if permits(reader, Action.READ, index=each).allowed]
    figures = await measured(ask, {each.name for each in indexes})
    if wants_document(ask):
        return json_reply(document(figures), headers=_HEADERS)
    return text_reply(exposition(figures), headers={**_HEADERS, "Content-Type": CONTENT_TYPE})


async def measured(ask: Ask, names: Collection[IndexName]) -> Sequence[Figures]:
    """The counts of all processes of this server about the named indexes, and those about no index."""
    figures = await counted(ask.engine, ask.figures, names)
    return figures if ask.siblings is None else await ask.siblings.joined(figures, names)


async def counted(
    engine: Engine, own: Callable[[Container[IndexName]], Sequence[Figures]], names: Container[IndexName]
) -> Sequence[Figures]:
    """The counts of this process about the named indexes, and those about no index. `own`: those that the server has (`Server.figures`)."""
    tree = await engine.store.tree()
    indexes = [each for name, each in tree.indexes.items() if name in names]
    figures = [
        *own(names),
        *scrub_figures(await engine.scrubbing.state()),
        *advisory_figures(engine.context.advisories.state(), len(await engine.examining.without_advisories())),
        *await figures_of(engine),
        *engine.attesting.figures(),
    ]
    for source in engine.sources.by_type.values():
        if isinstance(source, Measured):
            figures += await source.figures([each for each in indexes if engine.sources.of(each) is source])
    return figures
