"""Clients that download a file from the page of an index: how long it takes to the first byte, and to the last."""

from __future__ import annotations

import http.client
import re
import statistics
import threading
import time
from urllib.parse import urljoin, urlsplit

import msgspec

from benchmarks.load import Failed, Found, found_of
from benchmarks.peers import JSON

_SECONDS = 120.0
_PIECE = 1 << 18
_REDIRECTS = 3
_HREF = re.compile(r'href="([^"#]+)')


class Download:
    """One file, downloaded by clients that start at once."""

    def __init__(self) -> None:
        self.first = found_of([0.0], 0.0, 0)
        """The median time to the first byte."""

    def by(self, index: str, project: str, *, clients: int, size: int) -> Found:
        """Download the only file of a project's page. `size`: about how large it must be. `seconds` ends with the last client."""
        url = _link(f"{index}{project}/")
        firsts: list[float] = []
        ends: list[float] = []
        failures: list[Exception] = []
        begun = time.perf_counter()

        def client() -> None:
            try:
                first, end = _download(url, least=size - 1_000)
            except (Failed, OSError, http.client.HTTPException) as error:
                failures.append(error)
                return
            firsts.append(first - begun)
            ends.append(end - begun)

        threads = [threading.Thread(target=client) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise Failed(f"{url}: {failures[0]}")
        self.first = found_of(firsts, statistics.median(firsts), 0)
        return found_of([max(ends)], max(ends), size * clients)


def _link(page: str) -> str:
    """The first link of a page."""
    where = urlsplit(page)
    connection = http.client.HTTPConnection(where.netloc, timeout=_SECONDS)
    try:
        connection.request("GET", where.path, headers={"Accept": f"{JSON}, text/html;q=0.1"})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise Failed(f"{page}: {answer.status}")
        if "json" in answer.headers.get("Content-Type", ""):
            return urljoin(page, msgspec.json.decode(body)["files"][0]["url"])
        found = _HREF.search(body.decode())
        if found is None:
            raise Failed(f"{page} has no link")
        return urljoin(page, found[1])
    finally:
        connection.close()


def _download(url: str, *, least: int) -> tuple[float, float]:
    """The moments of the first and the last byte."""
    for _ in range(_REDIRECTS):
        where = urlsplit(url)
        connection = http.client.HTTPConnection(where.netloc, timeout=_SECONDS)
        try:
            connection.request("GET", where.path)
            answer = connection.getresponse()
            if answer.status in {301, 302, 307, 308}:
                url = urljoin(url, answer.headers["Location"])
                continue
            if answer.status != 200:
                raise Failed(f"{url}: {answer.status}")
            buffer = bytearray(_PIECE)
            got = answer.readinto1(buffer) if hasattr(answer, "readinto1") else len(answer.read(1))
            first = time.perf_counter()
            while size := answer.readinto(buffer):
                got += size
            if got < least:
                raise Failed(f"{url}: {got} bytes instead of {least}")
            return first, time.perf_counter()
        finally:
            connection.close()
    raise Failed(f"{url} redirects too often")
