"""The state of the server for people: `/+status` in a browser.

    everybody                              whether it works, version and serial, the mirrors that one may read, the age of the advisories
    who may read `/+metrics`               what waits, what the search lacks, damaged files
    administrators                         the stores, and room on the disk

It asks no upstream. Mirrors tell what they have seen since the start of the server, all its processes together.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from pkgindex_core.clock import Timestamp, to_rfc3339
from pkgindex_core.installed import installed_version
from pkgindex_core.models import IndexConfig
from pkgindex_core.rules.access import readable_tree
from pkgindex_core.rules.kept_options import mirror_options
from pkgindex_core.rules.permissions import Action, permits
from pkgindex_http.handlers.metrics import may_see_counts, measured
from pkgindex_http.pages.layout import reading_page
from pkgindex_http.requests import Ask
from pkgindex_http.wire.replies import Reply

if TYPE_CHECKING:
    from pkgindex_core.protocols.measuring import Figures

_SHOWN: Final = 200
"""The most mirrors on the page."""
_ANSWERED: Final = "pkgindex_mirror_answered_timestamp_seconds"
_LEFT_ALONE: Final = "pkgindex_mirror_upstream_left_alone"
_UNDER_WAY: Final = "pkgindex_mirror_requests_under_way"
_WAITING: Final = "pkgindex_mirror_requests_waiting"
_DAMAGED: Final = "pkgindex_scrub_damaged_files"


class MirrorRow(Struct, frozen=True, kw_only=True):
    """A mirror, as the page shows it."""

    config: IndexConfig
    count: int
    """Its projects."""
    is_left_alone: bool
    """Its upstream fails, and is only probed."""
    answered: float
    """When its upstream last answered, in seconds since 1970; 0: not since the start."""
    expiry: float
    """Seconds for which an answer of its upstream is believed."""


class Disk(Struct, frozen=True, kw_only=True):
    """The room where a directory is."""

    path: Path
    free: int
    total: int


async def status(ask: Ask) -> Reply:
    """The page. What its reader may not know is neither shown nor counted."""
    engine = ask.engine
    now = engine.clock.now() / 1_000_000
    serial, at = await engine.last_commit()
    tree = readable_tree(await engine.store.tree(), ask.principal)
    configs = [config for _, config in sorted(tree.indexes.items()) if config.mirrored]
    figures = await measured(ask, {each.name for each in configs})
    counts, runs = may_see_counts(ask), bool(permits(ask.principal, Action.ADMIN))
    feed = engine.context.advisories.state()
    return await reading_page(
        ask,
        "pages/status.html",
        report=await ask.readiness(),
        version=installed_version("pkgindex"),
        serial=serial,
        committed=_moment(at / 1_000_000, now) if serial else None,
        mirrors=[
            (each, _moment(each.answered, now) if each.answered else None, span(each.expiry))
            for each in [await _mirror(ask, config, figures) for config in configs[:_SHOWN]]
        ],
        more_mirrors=max(0, len(configs) - _SHOWN),
        advisories=feed.records,
        checked=_moment((feed.checked or feed.taken or 0) / 1_000_000, now) if feed.feed else None,
        counts=_queue(figures) if counts else None,
        behind=await _behind(ask) if counts else None,
        stores=_stores(ask) if runs else (),
        disks=await engine.in_worker(partial(_disks, ask)) if runs else (),
    )


async def _mirror(ask: Ask, config: IndexConfig, figures: Sequence[Figures]) -> MirrorRow:
    return MirrorRow(
        config=config,
        count=await ask.engine.browsing.count(config),
        is_left_alone=any(_values(figures, _LEFT_ALONE, index=config.name)),
        answered=max(_values(figures, _ANSWERED, index=config.name), default=0.0),
        expiry=float(mirror_options(config).cache_expiry),
    )


def _queue(figures: Sequence[Figures]) -> Mapping[str, int]:
    """The requests that are under way or wait, and the damaged files, all of which each process of the server knows."""
    return {
        "under_way": int(sum(_values(figures, _UNDER_WAY))),
        "waiting": int(sum(_values(figures, _WAITING))),
        "damaged": int(max(_values(figures, _DAMAGED), default=0.0)),
    }


async def _behind(ask: Ask) -> int | None:
    """The commits that the search does not know yet; None while it walks through the store for the first time."""
    progress = await ask.engine.catalogue.progress()
    if progress.walking is not None or not progress.store:
        return None
    return max(0, await ask.engine.store.head() - progress.serial)


def _stores(ask: Ask) -> Sequence[tuple[str, str]]:
    """The kind of each store. A URL may have a password, so only its scheme is shown."""
    places = (("Index store", ask.settings.store), ("Files", ask.settings.blobs))
    return [(title, urlsplit(url).scheme) for title, url in places]


def _disks(ask: Ask) -> Sequence[Disk]:
    """The room of the server's directory, and that of files if they are on another disk."""
    places = [Path(ask.settings.data)]
    if ask.settings.blobs.startswith("file://"):
        places.append(Path(unquote(urlsplit(ask.settings.blobs).path)))
    found: dict[int, Disk] = {}
    for path in places:
        if path.exists():
            used = shutil.disk_usage(path)
            found.setdefault(path.stat().st_dev, Disk(path=path, free=used.free, total=used.total))
    return list(found.values())


def _values(figures: Sequence[Figures], name: str, **labels: str) -> Iterator[float]:
    """The values of a meter with these labels, of all processes."""
    for each in figures:
        if each.meter.name == name:
            for found, value in each.values.items():
                if (
                    isinstance(value, float | int)
                    and labels.items() <= dict(zip(each.meter.labels, found, strict=True)).items()
                ):
                    yield value


def _moment(seconds: float, now: float) -> tuple[str, str]:
    """A time for people, and how long ago it was. A time of 0 was never."""
    if not seconds:
        return "", ""
    text = to_rfc3339(Timestamp(int(seconds * 1_000_000)))[:19].replace("T", " ")
    return f"{text} UTC", span(max(0.0, now - seconds))


def span(seconds: float) -> str:
    """A span of time for people, in its largest unit of which there are two, or in seconds."""
    for unit, length in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{int(seconds / length)} {unit}"
    return f"{int(seconds)} s"
