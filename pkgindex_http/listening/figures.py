"""The figures of a server's requests, and of what it keeps in memory for the next ones, for `/+metrics`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from pkgindex_core.protocols.measuring import Figures, Meter
from pkgindex_core.tools.bounded_cache import NamedCache

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
    " `lists`: lists of mirrors, which the processes of a server share through files in its data directory."
    " `documents`: PyPI's JSON of projects. `flat_pages`: pages of flat upstreams, split by projects.",
)
LIMIT: Final = Meter("pkgindex_cache_limit_bytes", "gauge", ("cache",), "The most memory that each of these may use.")
ENTRIES: Final = Meter(
    "pkgindex_cache_entries",
    "gauge",
    ("cache",),
    "Entries of each cache in memory, of these and of the others (`pkgindex_cache_size`). A cache appears when its owner is first used.",
)
SIZE: Final = Meter(
    "pkgindex_cache_size",
    "gauge",
    ("cache", "unit"),
    "The size of each cache without a limit of bytes, in the unit of its limit. Of pages: `tags`, `warnings`, `page_filters`. Of layers"
    " of indexes: `resolutions`. Of files: `findings` (by URL), `places` (on the disk), `file_filters`, `release_files`, `sidecar_sizes`,"
    " `decisions` (of policies), `kept_blobs` (written here), `copies` (of mirrors), `doubted_blobs` (in a bucket). Of log-ins: `verdicts`,"
    " `htpasswd` (of a password file), `failed_log_ins` (addresses). Of pages for people: `shown_pages`, `find_links`, `descriptions`,"
    " `documentation`, `documentation_members`, `listings` and `listing_members` (of archives), `wheel_sizes`, `installed_sizes`. Of requests:"
    " `routes`. Of the log: `troubles`. Of mirrors: `checks` and `doubts` (of pages), `uses` and `written_uses` (of files), `hosts`,"
    " `counted_upstreams`, `stated_sizes`, `wrong_files`, `no_sidecars` (hosts). Of directories: `absent_names`, `unfinished_files`,"
    " `looked` (projects), `folders`. Of a replica: `asked` (projects).",
)
SIZE_LIMIT: Final = Meter(
    "pkgindex_cache_limit", "gauge", ("cache", "unit"), "The limit of each of these, in that unit."
)
METERS: Final = (REQUESTS, REPEATED, BYTES, LIMIT, ENTRIES, SIZE, SIZE_LIMIT)


def answer_figures(requests: int, repeated: Mapping[str, int], caches: Iterable[NamedCache]) -> Sequence[Figures]:
    """`repeated`: by kind."""
    values: dict[Meter, Counter[tuple[str, ...]]] = {
        meter: Counter() for meter in (BYTES, LIMIT, ENTRIES, SIZE, SIZE_LIMIT)
    }
    for name, cache, unit in caches:
        values[ENTRIES][(name,)] += len(cache)
        if unit == "bytes":
            values[BYTES][(name,)] += cache.size
            values[LIMIT][(name,)] += cache.limit
        else:
            values[SIZE][name, unit] += cache.size
            values[SIZE_LIMIT][name, unit] += cache.limit
    return [
        Figures(REQUESTS, {(): requests}),
        Figures(REPEATED, {(kind,): count for kind, count in repeated.items()}),
        *(Figures(meter, dict(counted)) for meter, counted in values.items()),
    ]
