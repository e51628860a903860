"""The figures of a server's requests, and of what it keeps in memory for the next ones, for `/+metrics`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from pkgindex_core.protocols.measuring import Figures, Meter

REQUESTS: Final = Meter(
    "pkgindex_requests_total", "counter", (), "Requests that were answered, repeated answers included."
)
REPEATED: Final = Meter(
    "pkgindex_repeated_answers_total",
    "counter",
    ("kind",),
    "Requests that got a kept answer, without being parsed (`replay_bytes`). Kind `page`: a page. `file`: a file, or metadata of a wheel."
    " `head`: the head of one of these. `unchanged`: the client has it already (304).",
)
BYTES: Final = Meter(
    "pkgindex_cache_bytes",
    "gauge",
    ("cache",),
    "Memory that is in use for answers. Cache `answers`: whole answers (`replay_bytes`). `pages`: bodies of pages and"
    " short lists (`page_cache_bytes`). `long_pages`: pages of 1,000 files and more, for the next change."
    " `lists`: lists of mirrors, which the processes of a server share through files in its data directory.",
)
LIMIT: Final = Meter("pkgindex_cache_limit_bytes", "gauge", ("cache",), "The most memory that each of these may use.")
ENTRIES: Final = Meter("pkgindex_cache_entries", "gauge", ("cache",), "How many answers or bodies each of these has.")
METERS: Final = (REQUESTS, REPEATED, BYTES, LIMIT, ENTRIES)


def answer_figures(
    requests: int, repeated: Mapping[str, int], caches: Mapping[str, tuple[int, int, int]]
) -> Sequence[Figures]:
    """`repeated`: by kind. `caches`: size and limit in bytes, and the number of entries, by name."""
    return [
        Figures(REQUESTS, {(): requests}),
        Figures(REPEATED, {(kind,): count for kind, count in repeated.items()}),
        *(
            Figures(meter, {(name,): values[place] for name, values in caches.items()})
            for place, meter in enumerate((BYTES, LIMIT, ENTRIES))
        ),
    ]
