"""Plots: downloads and uploads by day, what was here already, the growth of an index, and the freshness of mirrors.

    GET /{user}/{index}/+plots              of an index
    GET /{user}/{index}/+plots/{project}    of a project

The numbers are those of all servers (`services.administering.activity`), each plot with a table. The uploads of a hosted project are read from
its files, so they go back to its first.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from markupsafe import Markup

from pkgindex_core.errors import Missing
from pkgindex_core.models import IndexConfig, decode_file
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.measuring import Measured
from pkgindex_core.services.administering.activity import DayCounts
from pkgindex_http.requests import Ask
from pkgindex_http.wire.replies import Reply
from pkgindex_http.working.drawing import Series, drawn
from pkgindex_http.working.forms import form_page

_DAYS: Final = 90
_MICROSECONDS: Final = 1_000_000
_ANSWERED: Final = "pkgindex_mirror_answered_timestamp_seconds"


class Plot(dict[str, Any]):
    """The values of one plot for the template."""


async def of_index(ask: Ask) -> Reply:
    """The plots of an index."""
    config = await ask.engine.indexes.config(ask.index)
    days = await ask.engine.activity.days(ask.index)
    plots = [_downloads(ask, config, days)]
    if config.mirrored:
        plots.append(_hits(ask, days))
    else:
        plots.append(_plot(ask, "Uploads", {day: (counts.uploads,) for day, counts in days.items()}, ("uploads",)))
        stored = await ask.engine.store.stored_bytes(ask.index)
        grown = _carried({day: counts.stored_bytes for day, counts in days.items()}, stored, _today(ask))
        plots.append(_plot(ask, "Stored bytes", {day: (value,) for day, value in grown.items()}, ("bytes",), unit="B"))
    return await form_page(
        ask,
        "working/plots.html",
        index=ask.index,
        project="",
        plots=plots,
        freshness=await _freshness(ask, config),
    )


async def of_project(ask: Ask) -> Reply:
    """The plots of a project."""
    config = await ask.engine.indexes.config(ask.index)
    if not await ask.engine.browsing.has(ask.index, ask.project, principal=ask.principal):
        raise Missing("project", ask.project)
    days = await ask.engine.activity.days(ask.index, ask.project)
    plots = [_downloads(ask, config, days)]
    if config.mirrored:
        plots.append(_hits(ask, days))
    else:
        uploads = await _uploads(ask, ask.index, ask.project)
        plots.append(_plot(ask, "Uploads", {day: (count,) for day, count in uploads.items()}, ("uploads",)))
    return await form_page(ask, "working/plots.html", index=ask.index, project=ask.project, plots=plots, freshness=None)


def _downloads(ask: Ask, config: IndexConfig, days: Mapping[date, DayCounts]) -> Plot:
    about = "" if config.mirrored else f"Files of {config.name} itself. What it inherits counts where it comes from."
    return _plot(
        ask, "Downloads", {day: (counts.downloads,) for day, counts in days.items()}, ("downloads",), about=about
    )


def _hits(ask: Ask, days: Mapping[date, DayCounts]) -> Plot:
    values = {day: (counts.downloads - counts.fetched, counts.fetched) for day, counts in days.items()}
    answered, here = sum(map(sum, values.values())), sum(hits for hits, _ in values.values())
    about = f"{here / answered:.0%} of the files were here already." if answered else ""
    return _plot(ask, "Cache hits", values, ("here already", "fetched from the upstream"), about=about)


def _plot(
    ask: Ask,
    title: str,
    values: Mapping[date, tuple[float, ...]],
    names: tuple[str, ...],
    *,
    unit: str = "",
    about: str = "",
) -> Plot:
    """A plot of the last days. The table has only days with a value."""
    today = _today(ask)
    labels = [today - timedelta(days=ago) for ago in range(_DAYS - 1, -1, -1)]
    none = (0.0,) * len(names)
    series = [
        Series(name=name, values=tuple(values.get(day, none)[number] for day in labels))
        for number, name in enumerate(names)
    ]
    drawing = Markup(drawn(title, [day.isoformat() for day in labels], series, unit=unit))  # noqa: S704  # it escapes
    rows = [(day.isoformat(), values[day]) for day in reversed(labels) if any(values.get(day, none))]
    total = [sum(each.values) for each in series]
    return Plot(title=title, drawing=drawing, names=names, rows=rows, total=total, about=about, sums=unit != "B")


async def _uploads(ask: Ask, index: IndexName, project: ProjectName) -> Mapping[date, int]:
    page = await ask.engine.store.page(index, project)
    found: dict[date, int] = {}
    for row in page.rows if page is not None else ():
        at = decode_file(row.body).upload_time
        if at is not None:
            day = datetime.fromtimestamp(at / _MICROSECONDS, UTC).date()
            found[day] = found.get(day, 0) + 1
    return found


def _carried(values: Mapping[date, int], now: int, today: date) -> Mapping[date, int]:
    """A size for each day from the first known one: that of the day before where nothing was uploaded."""
    if not values:
        return {today: now}
    found = {}
    size = 0
    day = min(values)
    while day < today:
        size = values.get(day, 0) or size
        found[day] = size
        day += timedelta(days=1)
    found[today] = now
    return found


async def _freshness(ask: Ask, config: IndexConfig) -> str | None:
    """When the upstream of a mirror last answered, as text; None for a hosted index."""
    if not config.mirrored:
        return None
    source = ask.engine.sources.of(config)
    for figures in await source.figures([config]) if isinstance(source, Measured) else ():
        value = figures.values.get((config.name,)) if figures.meter.name == _ANSWERED else None
        if isinstance(value, float | int) and value > 0:
            ago = max(0, int(ask.engine.clock.now() / _MICROSECONDS - value))
            at = datetime.fromtimestamp(value, UTC)
            return f"{at:%Y-%m-%d %H:%M:%S} UTC, {ago // 3600} h {ago % 3600 // 60} min ago"
    return "not since this server started"


def _today(ask: Ask) -> date:
    return datetime.fromtimestamp(ask.engine.clock.now() / _MICROSECONDS, UTC).date()
