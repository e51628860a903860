"""The meters of mirrors, each with its meaning, and their values.

The page about operating has this table (`pkgindex_http/OPERATING.md`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from pkgindex_core.models import IndexConfig
from pkgindex_core.names import IndexName
from pkgindex_core.protocols.measuring import Figures, Histogram, Meter
from pkgindex_mirror import urls
from pkgindex_mirror.caching.file_cache import FileCache
from pkgindex_mirror.readthrough.counts import IndexCounts, IndexesCounts
from pkgindex_mirror.upstreams.sites import site_of
from pkgindex_mirror.upstreams.upstream_counts import BOUNDS, UpstreamCounts, UpstreamsCounts

if TYPE_CHECKING:
    from pkgindex_mirror.upstreams.upstream import UpstreamClient

OTHERS: Final = "other"
"""The label of all hosts to which only pages and redirects lead."""

Values = dict[tuple[str, ...], "float | Histogram"]

PAGES: Final = Meter(
    "pkgindex_mirror_pages_total",
    "counter",
    ("index", "answer"),
    "Requests that needed the page of a project: for the page, and for documents and files of it. `hit`: it is stored and current."
    " `negative`: the upstream said a moment ago that it has none. The upstream was asked for the others. `miss`: nothing was stored."
    " `refreshed`: it is current again. `absent`: the upstream has none. `stale`: what is stored was served. `unknown`: 503 or 502.",
)
STALE_PAGES: Final = Meter(
    "pkgindex_mirror_stale_pages_total",
    "counter",
    ("index", "reason"),
    "The stale ones of these. `failed`: the upstream cannot be asked, or its answer is unusable. `unanswered`: it has not answered within"
    " `stale_wait`. `gone`: it has removed the project. `asked_again`: it is being asked (`stale_while_revalidate`).",
)
QUESTIONS: Final = Meter(
    "pkgindex_mirror_questions_total",
    "counter",
    ("index", "result"),
    "Questions to the upstream for the page of a project; requests at the same time share one. `new`: another page than the stored one."
    " `unchanged`: the stored one (304, or the same page). `absent`, `failed`: as above.",
)
ANSWERED: Final = Meter(
    "pkgindex_mirror_answered_timestamp_seconds",
    "gauge",
    ("index",),
    "When the upstream last told the content of a page, or that there is none.",
)
STORED: Final = Meter("pkgindex_mirror_stored_pages", "gauge", ("index",), "Projects of which a page is stored.")
FETCHES: Final = Meter(
    "pkgindex_mirror_file_fetches_total",
    "counter",
    ("index", "result"),
    "Files that were not stored. `stored`: fetched, or brought by another process. `streamed`: passed on and not kept. `failed`: neither. `joined`: requests that shared the"
    " fetch of an earlier one.",
)
SIDECARS: Final = Meter(
    "pkgindex_mirror_sidecar_fetches_total",
    "counter",
    ("index", "result"),
    "Metadata of wheels that was not stored: `stored` now, or `failed`.",
)
REQUESTS: Final = Meter(
    "pkgindex_mirror_upstream_requests_total",
    "counter",
    ("upstream", "answer"),
    "Requests that were sent to an upstream (`scheme://host:port`), or to hosts to which only pages and redirects lead (`other`), by the"
    " class of the answer's status. `none`: no answer.",
)
LATENCY: Final = Meter(
    "pkgindex_mirror_upstream_seconds",
    "histogram",
    ("upstream",),
    "Seconds from sending a request, with the time to connect, until the head of its answer.",
)
ERRORS: Final = Meter(
    "pkgindex_mirror_upstream_errors_total",
    "counter",
    ("upstream", "kind"),
    "Failures of questions to an upstream, each attempt counted. `timeout`: no answer in time. `connect`, `dns`, `tls`: no connection."
    " `cut_off`: it broke. `status`: the status is no success, and does not mean absent. `unusable`: the answer cannot be used."
    " `forbidden`: the address may not be connected to (`allow_networks`).",
)
RECEIVED: Final = Meter(
    "pkgindex_mirror_upstream_bytes_total",
    "counter",
    ("upstream",),
    "Bytes of whole pages and lists, as they were sent, and of files as far as they arrived.",
)
LEFT_ALONE: Final = Meter(
    "pkgindex_mirror_upstream_left_alone",
    "gauge",
    ("index", "upstream"),
    "1 while the upstream of an index is not asked, except by probes, because it fails (the circuit breaker is open); otherwise 0.",
)
TASKS: Final = Meter(
    "pkgindex_mirror_tasks", "gauge", (), "Questions and fetches that are under way or wait. `pending` is their limit."
)
UNDER_WAY: Final = Meter("pkgindex_mirror_requests_under_way", "gauge", (), "Requests to upstreams that are under way.")
WAITING: Final = Meter(
    "pkgindex_mirror_requests_waiting",
    "gauge",
    (),
    "Questions and fetches that wait because as many are under way as `concurrent_pages`, `concurrent_files` or `concurrent_requests`.",
)

CACHE: Final = Meter(
    "pkgindex_mirror_cache_bytes",
    "gauge",
    (),
    "Bytes of mirrored files that are kept, if `cache_size` or `cache_age` is set.",
)
CACHE_LIMIT: Final = Meter("pkgindex_mirror_cache_limit_bytes", "gauge", (), "The value of `cache_size`, if it is set.")
REMOVED: Final = Meter(
    "pkgindex_mirror_cache_removed_files_total",
    "counter",
    (),
    "Mirrored files that this process removed to make room, or because of their age.",
)
REMOVED_BYTES: Final = Meter("pkgindex_mirror_cache_removed_bytes_total", "counter", (), "Bytes of these files.")

METERS: Final = (
    *(PAGES, STALE_PAGES, QUESTIONS, ANSWERED, STORED, FETCHES, SIDECARS),
    *(REQUESTS, LATENCY, ERRORS, RECEIVED, LEFT_ALONE, TASKS, UNDER_WAY, WAITING),
    *(CACHE, CACHE_LIMIT, REMOVED, REMOVED_BYTES),
)


async def figures(
    mirrors: Sequence[IndexConfig],
    stored: Mapping[IndexName, int],
    *,
    counts: IndexesCounts,
    client: UpstreamClient | None,
    cache: FileCache,
    under_way: int,
) -> Sequence[Figures]:
    """The values of all meters, in their order.

    `stored`: the number of stored pages of each mirror. `client`: None if no upstream was asked yet.
    """
    values: dict[Meter, Values] = {meter: {} for meter in METERS}
    upstreams = client.counts if client is not None else UpstreamsCounts()
    for mirror in mirrors:
        values[STORED][(mirror.name,)] = stored[mirror.name]
        _of_index(values, mirror.name, counts[mirror.name])
        if (site := site_of(mirror)) is not None:
            origin = urls.origin(site.base)
            values[LEFT_ALONE][mirror.name, origin] = int(client is not None and client.hosts.is_left_alone(origin))
            _of_upstream(values, origin, upstreams.of(origin))
    _of_upstream(values, OTHERS, upstreams.others)
    values[TASKS][()] = under_way
    values[UNDER_WAY][()], values[WAITING][()] = client.hosts.load() if client is not None else (0, 0)
    if cache.is_bounded:
        values[CACHE][()] = await cache.kept_bytes()
        values[REMOVED][()], values[REMOVED_BYTES][()] = cache.removed
    if cache.size:
        values[CACHE_LIMIT][()] = cache.size
    return [Figures(meter, values[meter]) for meter in METERS]


def _of_index(values: Mapping[Meter, Values], index: IndexName, counts: IndexCounts) -> None:
    for word in ("hit", "negative", "miss", "refreshed", "absent", "unknown"):
        values[PAGES][index, word] = getattr(counts, word)
    values[PAGES][index, "stale"] = sum(counts.stale.values())
    for meter, by_word in (
        (STALE_PAGES, counts.stale),
        (QUESTIONS, counts.asked),
        (FETCHES, counts.fetched),
        (SIDECARS, counts.sidecars),
    ):
        values[meter].update({(index, word): count for word, count in by_word.items()})
    if counts.answered is not None:
        values[ANSWERED][(index,)] = counts.answered / 1_000_000


def _of_upstream(values: Mapping[Meter, Values], origin: str, counts: UpstreamCounts) -> None:
    values[REQUESTS].update({(origin, word): count for word, count in counts.answers.items()})
    values[ERRORS].update({(origin, kind): count for kind, count in counts.failures.items()})
    values[LATENCY][(origin,)] = Histogram(BOUNDS, tuple(counts.latencies), counts.waited)
    values[RECEIVED][(origin,)] = counts.received
