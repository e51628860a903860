"""What would the load of PyPI take: servers, database, store, and how much of it a CDN keeps away?

The load is PyPI's, as it was published in 2025 and 2026 (`LOAD`). The costs are those of this program, measured by `stores.py` and `large_store.py` on
the machine that the tables name, and given as options; the defaults are from the tables of README.md.

A CDN is simulated: projects are as popular as Zipf's law says, requests come at random, and each page is kept for `--page-seconds` by one shield before
the servers. Of a page that is asked for `r` times in that time, `r / (1 + r)` are answered by the CDN. Files never change, so each is asked for once in a
year for each time that the shield forgets it (`--file-turnover`).

    python -m benchmarks.sizing [--page-ms 0.13] [--upload-ms 6.9] [--row-bytes 981] …

Left out: TLS and logs (one core for each 10,000 requests a second is added for them), bursts (the peak is `--peak` times the mean), and spare machines.
"""

from __future__ import annotations

import argparse

from msgspec import Struct

DAY, YEAR = 86_400, 365 * 86_400
_OF_A_PAGE, _OF_A_FILE = 2, 4
"""Questions to PostgreSQL for one answer, as counted at a server that nobody else asked. Uploads are too rare to count."""


class Load(Struct, frozen=True, kw_only=True):
    """The requests and the data of an index."""

    page_requests: float
    """A second, of pages and lists."""
    file_requests: float
    """A second, of files and their metadata."""
    uploads: float
    """Files a second."""
    projects: int
    files: int
    stored_bytes: float


LOAD = Load(
    page_requests=6e9 / DAY,
    file_requests=7e9 / DAY,
    uploads=3.9e6 / YEAR,
    projects=780_000,
    files=17_100_000,
    stored_bytes=41.8e12,
)
"""PyPI's: 6 G requests a day to the site and 13 G with files (August 2026), 3.9 million new files in 2025, 780,000 projects with 17.1 million files."""


class Need(Struct, frozen=True, kw_only=True):
    """The servers and the database for a load."""

    page_hits: float
    """Share of the requests for pages that the CDN answers."""
    origin_pages: float
    """Requests for pages that reach the servers, a second."""
    origin_files: float
    """The same of files. The servers redirect them to the store."""
    cores: float
    """Cores of the servers at the peak."""
    questions: float
    """Round trips to the database, a second at the peak."""
    database_bytes: float


def hits(projects: int, rate: float, seconds: float, exponent: float) -> float:
    """The share of requests that a cache answers which keeps each page for some seconds after it was fetched."""
    weights = [1 / rank**exponent for rank in range(1, projects + 1)]
    whole = sum(weights)
    answered = 0.0
    for weight in weights:
        asked = rate * weight / whole * seconds
        answered += weight / whole * asked / (1 + asked)
    return answered


def need(load: Load, options: argparse.Namespace) -> Need:
    page_hits = hits(load.projects, load.page_requests, options.page_seconds, options.exponent)
    origin_pages = load.page_requests * (1 - page_hits)
    origin_files = load.files * options.file_turnover / YEAR
    milliseconds = (origin_pages * options.page_ms + origin_files * options.file_ms) * options.peak
    milliseconds += load.uploads * options.upload_ms * options.peak
    requests = (origin_pages + origin_files + load.uploads) * options.peak
    return Need(
        page_hits=page_hits,
        origin_pages=origin_pages,
        origin_files=origin_files,
        cores=milliseconds / 1e3 + requests / 10_000,
        questions=(origin_pages * _OF_A_PAGE + origin_files * _OF_A_FILE) * options.peak,
        database_bytes=load.files * options.row_bytes,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--page-ms", type=float, default=0.13, help="CPU time of a page that is made anew, over PostgreSQL"
    )
    parser.add_argument("--file-ms", type=float, default=0.68, help="CPU time of a file that is found and redirected")
    parser.add_argument("--upload-ms", type=float, default=6.9, help="CPU time of an upload")
    parser.add_argument("--row-bytes", type=float, default=981, help="bytes of the database for each file")
    parser.add_argument("--page-seconds", type=float, default=600, help="how long the CDN keeps a page")
    parser.add_argument("--file-turnover", type=float, default=12, help="how often a year the CDN fetches a file again")
    parser.add_argument("--exponent", type=float, default=1.0, help="of Zipf's law")
    parser.add_argument("--peak", type=float, default=2.0, help="the peak, in terms of the mean")
    found = need(LOAD, parser.parse_args())
    for what, value in (
        ("requests for pages, a second", f"{LOAD.page_requests:,.0f}"),
        ("of them answered by the CDN", f"{found.page_hits:.2%}"),
        ("pages from the servers, a second", f"{found.origin_pages:,.0f}"),
        ("files from the servers, a second", f"{found.origin_files:,.1f}"),
        ("uploads, a second", f"{LOAD.uploads:.2f}"),
        ("cores of servers at the peak", f"{found.cores:,.1f}"),
        ("questions to the database at the peak, a second", f"{found.questions:,.0f}"),
        ("database, GB", f"{found.database_bytes / 1e9:,.0f}"),
        ("object store, TB", f"{LOAD.stored_bytes / 1e12:,.1f}"),
    ):
        print(f"| {what} | {value} |")


if __name__ == "__main__":
    main()
