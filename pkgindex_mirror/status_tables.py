"""The state of mirrors as tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pkgindex_mirror.amounts import amount
from pkgindex_mirror.statuses import Status


def lines(status: Status) -> Iterator[str]:
    """The state as tables for people."""
    if not status.mirrors:
        yield "there is no mirror, or none that you may see"
        return
    if not status.server:
        yield from _table(
            ("index", "upstream", "pages", "names", "last answer"),
            [
                (each.index, each.upstream, each.stored_pages, _or_dash(each.listed_names), each.answered or "-")
                for each in status.mirrors
            ],
        )
        yield ""
        yield f"{status.blobs:,} files and metadata of all indexes are stored: {amount(status.blob_bytes or 0)}"
        if status.mirrored_files is not None:
            yield f"{status.mirrored_files:,} of them mirrors have fetched: {amount(status.mirrored_bytes or 0)}"
        return
    yield from _table(
        ("index", "upstream", "state", "stored", "hit", "negative", "asked", "stale", "unknown", "last answer"),
        [
            (each.index, each.upstream, each.state, each.stored_pages, each.pages["hit"], each.pages["negative"],
             sum(each.pages[word] for word in ("miss", "refreshed", "absent")),
             each.pages["stale"], each.pages["unknown"], each.answered or "-")
            for each in status.mirrors
        ],
    )  # fmt: skip
    yield ""
    yield from _table(
        ("files of", "from the store", "fetched", "joined", "failed", "saved", "sent while fetched"),
        [
            (each.index, each.files.get("store", 0), each.fetches["stored"], each.fetches["joined"], each.fetches["failed"],
             amount(each.bytes.get("store", 0)), amount(each.bytes.get("upstream", 0)))
            for each in status.mirrors
        ],
    )  # fmt: skip
    yield ""
    yield from _table(
        ("upstream", "requests", "mean", "received", "errors"),
        [
            (each.upstream, sum(each.requests.values()),
             "-" if each.mean_seconds is None else f"{each.mean_seconds:.3f} s", amount(each.bytes),
             ", ".join(f"{kind} {count}" for kind, count in each.errors.items()) or "-")
            for each in status.upstreams
        ],
    )  # fmt: skip
    yield ""
    if status.cache_bytes is not None:
        limit = f" of {amount(status.cache_limit)}" if status.cache_limit else ""
        yield f"the cache keeps {amount(status.cache_bytes)}{limit}, and removed {status.removed_files:,} files"
    yield f"{status.under_way} requests to upstreams are under way, {status.waiting} wait; counts are since the start of the server"


def _table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    """Columns with two blanks between them; numbers to the right."""
    cells = [list(heads), *([f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    right = [isinstance(cell, int) for cell in rows[0]] if rows else [False] * len(heads)
    for row in cells:
        aligned = [
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(row, widths, right, strict=True)
        ]
        yield "  ".join(aligned).rstrip()


def _or_dash(number: int | None) -> object:
    return "-" if number is None else number
