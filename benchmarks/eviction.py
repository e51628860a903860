"""Does a bound on mirrored files hold under load, and what does the removal of a file cost?

    python -m benchmarks.eviction load [--bound 1GB] [--total 20GB] [--file 10MB] [--clients 8]
    python -m benchmarks.eviction cost [--files 1000 100000]

`load`: a server in a process of its own, with `cache_size`, before an upstream with four times as many files as there is room for.
Clients download files in random order until they have the total; another one reads a byte a second. Unit: megabytes on the disk, sampled
each 50 ms: the most at once, and the most without the files that were being downloaded at that moment. Left out: sidecars, other disks.

`cost`: the account alone, over SQLite and files of 100 bytes on a disk. A cache with so many files is full; then files enter and others
leave. Unit: milliseconds (mean) and transactions for one file that enters and one that leaves, and milliseconds until a cache without a
record has counted its files. Left out: the transfer.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from aiohttp import web

from pkgindex_core.clock import SystemClock
from pkgindex_core.digests import Sha256
from pkgindex_core.engines.behind import BlobsBehind
from pkgindex_core.engines.local.blobs import LocalBlobs
from pkgindex_core.engines.sqlite.index import SqliteIndex
from pkgindex_core.formats.quantities import quantity
from pkgindex_mirror.caching.file_cache import FileCache

SAMPLE_SECONDS = 0.05
_ENTERING = 200
"""Files that enter a full cache in `cost`."""


class Upstream:
    """A simple index with one project, whose files are one random block with a number in front."""

    def __init__(self, count: int, size: int) -> None:
        self._block = random.Random(0).randbytes(size)
        self.digests = [Sha256(hashlib.sha256(self.data(number)).hexdigest()) for number in range(count)]
        self.sent = 0

    def data(self, number: int) -> bytes:
        return number.to_bytes(8, "big") + self._block[8:]

    def name(self, number: int) -> str:
        return f"demo-{number}.0-py3-none-any.whl"

    async def page(self, _: web.Request) -> web.Response:
        files = [
            {
                "filename": self.name(number),
                "url": f"/f/{number}",
                "hashes": {"sha256": digest},
                "size": len(self._block),
            }
            for number, digest in enumerate(self.digests)
        ]
        document = {"meta": {"api-version": "1.1"}, "name": "demo", "versions": [], "files": files}
        return web.json_response(document, content_type="application/vnd.pypi.simple.v1+json")

    async def file(self, request: web.Request) -> web.Response:
        self.sent += len(self._block)
        return web.Response(body=self.data(int(request.match_info["number"])))

    @asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        application = web.Application()
        application.router.add_get("/simple/demo/", self.page)
        application.router.add_get("/f/{number}", self.file)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/simple/"
        finally:
            await runner.cleanup()


class Load:
    """Clients, and the disk while they work."""

    def __init__(self, upstream: Upstream, data: Path, url: str, bound: int, total: int) -> None:
        self._upstream = upstream
        self._data = data
        self._url = url
        self._bound = bound
        self._left = total
        self._reading: Counter[str] = Counter()
        self.most = self.most_unread = 0
        self.samples = 0

    async def client(self, seed: int, session: aiohttp.ClientSession) -> None:
        chosen = random.Random(seed)
        while self._left > 0:
            number = chosen.randrange(len(self._upstream.digests))
            key = self._upstream.digests[number]
            self._reading[key] += 1
            digest = hashlib.sha256()
            async with session.get(self._path(number)) as answer:
                assert answer.status == 200, await answer.text()
                async for piece in answer.content.iter_any():
                    digest.update(piece)
                    self._left -= len(piece)
            assert digest.hexdigest() == key
            self._reading[key] -= 1

    async def slow_client(self, session: aiohttp.ClientSession) -> None:
        """Reads a byte a second for as long as the others work."""
        self._reading[self._upstream.digests[0]] += 1
        async with session.get(self._path(0), timeout=aiohttp.ClientTimeout(total=None)) as answer:
            while self._left > 0:
                await answer.content.readexactly(1)
                await asyncio.sleep(1)
        self._reading[self._upstream.digests[0]] -= 1

    async def watch(self) -> None:
        while self._left > 0:
            await asyncio.sleep(SAMPLE_SECONDS)
            reading = +self._reading
            sizes = await asyncio.to_thread(_sizes, self._data / "blobs/mirrored/sha256")
            self.samples += 1
            self.most = max(self.most, sum(sizes.values()))
            self.most_unread = max(self.most_unread, sum(size for key, size in sizes.items() if key not in reading))

    def _path(self, number: int) -> str:
        digest = self._upstream.digests[number]
        return f"{self._url}/root/pypi/+f/{digest[:3]}/{digest[3:16]}/{self._upstream.name(number)}"


async def load(bound: int, total: int, size: int, clients: int) -> None:
    """Print what the disk had at most."""
    upstream = Upstream(max(4 * bound // size, 8), size)
    with tempfile.TemporaryDirectory(prefix="pkgindex-eviction-") as directory:
        data = Path(directory) / "data"
        async with upstream.served() as upstream_url, _server(data, upstream_url, bound) as url:
            timeout = aiohttp.ClientTimeout(total=600)
            async with aiohttp.ClientSession(timeout=timeout) as session:
                async with session.get(f"{url}/root/pypi/+simple/demo/") as answer:
                    assert answer.status == 200, await answer.text()
                run = Load(upstream, data, url, bound, total)
                begun = time.perf_counter()
                await asyncio.gather(
                    *(run.client(seed, session) for seed in range(clients)), run.slow_client(session), run.watch()
                )
                seconds = time.perf_counter() - begun
            await asyncio.sleep(2.5)
            after = sum(_sizes(data / "blobs/mirrored/sha256").values())
    print(
        f"bound {bound / 1e6:.0f} MB, downloaded {total / 1e6:.0f} MB in files of {size / 1e6:.1f} MB by {clients} clients in"
        f" {seconds:.0f} s, fetched {upstream.sent / 1e6:.0f} MB\n"
        f"on the disk: {run.most / 1e6:.0f} MB at most, {run.most_unread / 1e6:.0f} MB without what was being downloaded"
        f" ({run.samples} samples), {after / 1e6:.0f} MB at the end"
    )


@asynccontextmanager
async def _server(data: Path, upstream: str, bound: int) -> AsyncIterator[str]:
    environment = {**os.environ, "PKGINDEX_PLUGINS__MIRROR__CACHE_SIZE": str(bound)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "from pkgindex_http.cli import main; main()",
        "run", "--data", str(data), "--port", "0", "--upstream", upstream, "--no-access-log",
        env=environment, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield (await process.stdout.readline()).decode().strip().rstrip("/")
    finally:
        process.terminate()
        await process.wait()


async def cost(counts: Sequence[int]) -> None:
    """Print what a file costs that enters a full cache."""
    for count in counts:
        with tempfile.TemporaryDirectory(prefix="pkgindex-eviction-") as directory, ThreadPoolExecutor(8) as workers:
            root, clock = Path(directory), SystemClock()
            copies = LocalBlobs(root / "copies", clock=clock, workers=workers)
            own = LocalBlobs(root / "own", clock=clock, workers=workers)
            for store in (own, copies):
                await store.open()
            for number in range(count):
                key = hashlib.sha256(_tiny(number)).hexdigest()
                path = root / "copies/sha256" / key[:2] / key
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(_tiny(number))
            index = await SqliteIndex.open(root / "index.sqlite", clock)

            async def open_copies(copies: LocalBlobs = copies) -> LocalBlobs:
                return copies

            blobs = BlobsBehind(own, clock=clock, open_copies=open_copies)
            cache = FileCache(notes=index, blobs=blobs, clock=clock, workers=workers, size=100 * count)
            begun = time.perf_counter()
            assert await cache.kept_bytes() == 100 * count
            counted = time.perf_counter() - begun
            begun = time.perf_counter()
            for number in range(count, count + _ENTERING):
                async with cache.arriving() as copy, copy.copies.spool() as spool:
                    data = _tiny(number)
                    copy.expect(len(data), hashlib.sha256(data).hexdigest())
                    await spool.write(data)
                    await copy.keep(spool)
            one = (time.perf_counter() - begun) / _ENTERING
            begun = time.perf_counter()
            for _ in range(_ENTERING):
                await index.put_note("benchmark", "one", b"")
            transaction = (time.perf_counter() - begun) / _ENTERING
            assert await cache.kept_bytes() == 100 * count
            print(
                f"{count:>7,} files: counted in {counted * 1000:.0f} ms; one enters and one leaves: {one * 1000:.1f} ms"
                f" (one transaction takes {transaction * 1000:.1f} ms)"
            )
            await cache.close()
            await index.close()


def _tiny(number: int) -> bytes:
    return str(number).encode().ljust(100, b".")


def _sizes(directory: Path) -> dict[str, int]:
    found = {}
    for path in directory.glob("*/*"):
        try:
            found[path.name] = path.stat().st_size
        except FileNotFoundError:
            continue
    return found


def _bytes(text: str) -> int:
    amount = quantity(text, "bytes")
    if amount is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no amount of bytes, such as 1GB")
    return int(amount)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.eviction",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    questions = parser.add_subparsers(dest="question", required=True)
    loading = questions.add_parser("load")
    loading.add_argument("--bound", type=_bytes, default=_bytes("1GB"))
    loading.add_argument("--total", type=_bytes, default=_bytes("20GB"))
    loading.add_argument("--file", type=_bytes, default=_bytes("10MB"))
    loading.add_argument("--clients", type=int, default=8)
    costing = questions.add_parser("cost")
    costing.add_argument("--files", type=int, nargs="+", default=[1_000, 100_000])
    arguments = parser.parse_args()
    if arguments.question == "load":
        asyncio.run(load(arguments.bound, arguments.total, arguments.file, arguments.clients))
    else:
        asyncio.run(cost(arguments.files))


if __name__ == "__main__":
    main()
