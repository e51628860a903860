"""A proxy dies at every step of fetching, and of storing behind: nobody is left with a wrong file that looks whole, and what was
answered before it was stored is fetched again, once.

A client asks for a page, a file and its metadata, one of which kills the server. After that, two futures, each on its own
copy of the disk: with the upstream there, everything is served right; without it, what was kept is served right and what
was not is unknown (503), never absent (404).
"""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from pkgindex_core import failpoints
from pkgindex_core.clock import SystemClock
from pkgindex_core.engines.sqlite.index import SqliteIndex
from pkgindex_core.failpoints import POINTS
from pkgindex_core.names import ProjectName
from pkgindex_core.testing.wheels import BuiltFile, build_wheel
from pkgindex_mirror.testing import ScriptedUpstream, behaviours
from tests.crash.clients import ask
from tests.crash.oracle import MIRROR, age_spools, examine_files, file_path, prepare_data, wait_until_ready
from tests.crash.processes import PATIENCE_SECONDS, ServerProcess, Starter, running
from tests.http.conftest import Serve

Tally = Callable[[str, int], None]

STEPS = sorted(
    point
    for point in POINTS
    if point.startswith(("page.", "fetch.", "sidecar.", "behind."))
    and point != "page.part_committed"  # a page of many thousand files passes it: tests/mirror/test_long_pages.py
)
BEFORE_THE_PAGE = {*(point for point in STEPS if point.startswith("page.")), "behind.learned", "behind.gathered"}
"""The page is not stored when the server dies there: it is asked for again."""
BEHIND_THE_PAGE = {"behind.gathered", "behind.committed"}
"""Passed when the client has the page: it asks for nothing else."""
KEPT_FILE = {"fetch.kept", "fetch.committed"}
AFTER_THE_FILE = {
    "behind.blob_learned",
    "behind.blob_kept",
    *(point for point in STEPS if point.startswith("sidecar.")),
}

OTHER = build_wheel("other", "1.0")
DEMO = build_wheel("demo", "1.0", files={"demo.bin": random.Random(1).randbytes(400_000)})
PATHS = ("/root/pypi/+simple/demo/", file_path(DEMO, MIRROR), f"{file_path(DEMO, MIRROR)}.metadata")
QUICK = {"PKGINDEX_PLUGINS__MIRROR__ATTEMPTS": "1"}


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as fake:
        fake.add("other", OTHER)
        fake.add("demo", DEMO)
        yield fake


async def test_a_file_from_upstream_passes_every_step_once(
    serve: Serve, upstream: ScriptedUpstream, armed: None, tally: Tally
) -> None:
    async with serve(store="", blobs="", mirrors=True, upstream=upstream.url) as served:
        failpoints.arm("")
        for path in PATHS:
            assert (await ask(served.address, path)).is_whole
        while failpoints.hits["fetch.committed"] == 0:
            await asyncio.sleep(0)
        await served.engine.settle()
        assert {point: failpoints.hits[point] for point in STEPS} == dict.fromkeys(STEPS, 1)
    tally("failpoints of a fetch", len(STEPS))


@pytest.mark.parametrize(
    ("point", "sized"),
    [(point, True) for point in STEPS] + [(point, False) for point in STEPS if point.startswith("fetch.")],
)
async def test_killed_at_a_step_of_a_fetch(
    point: str, sized: bool, starter: Starter, upstream: ScriptedUpstream, tmp_path: Path, tally: Tally
) -> None:
    """Unsized: neither page nor upstream say how large the file is, so that the client's answer has no length either."""
    if not sized:
        upstream.projects["demo"][0].says["size"] = None
        upstream.script("file", behaviours.until_close())
    data = tmp_path / "data"
    await prepare_data(data, upstream=upstream.url)
    server = ServerProcess(starter, data, **QUICK)
    async with running(server):
        await check_all(server, OTHER)
        assert await server.stop() == 0  # and with that everything is stored
    async with running(server, f"{point}=kill"):
        answers = [await ask(server.address, PATHS[0])]
        if point not in BEFORE_THE_PAGE | BEHIND_THE_PAGE:
            await page_is_stored(data)
        if point not in BEHIND_THE_PAGE:
            answers.append(await ask(server.address, PATHS[1]))
            if point in AFTER_THE_FILE:
                await blob_is_there(data, DEMO.sha256)
            answers.append(await ask(server.address, PATHS[2]))
        assert await server.ended() == -signal.SIGKILL
    for answer, expected in zip(answers[1:], (DEMO.data, DEMO.metadata), strict=False):
        assert expected.startswith(answer.body)
        assert answer.status in {200, None}
        assert answer.is_whole == (answer.body == expected)
    # What is done behind the answers keeps nobody from an answer; whoever is fast has everything before a file is kept.
    if point not in KEPT_FILE:
        assert all(answer.is_whole for answer in answers) == (point in BEHIND_THE_PAGE | {"behind.blob_kept"})
    age_spools(data)
    alone = ServerProcess(starter, shutil.copytree(data, tmp_path / "alone"), **QUICK)
    again = ServerProcess(starter, data, **QUICK)
    async with running(again):
        await wait_until_ready(again)
        await check_all(again, OTHER)
        await check_all(again, DEMO)
        assert await again.stop() == 0
        await examine_files(data, files=1)
    assert len([asked for asked in upstream.asked if asked.path.endswith("/demo/")]) <= 2
    await upstream.stop()
    async with running(alone):
        await wait_until_ready(alone)
        await check_all(alone, OTHER)
        page, file, sidecar = [await ask(alone.address, path) for path in PATHS]
        page_kept = point not in BEFORE_THE_PAGE
        file_kept = point in KEPT_FILE | AFTER_THE_FILE
        assert page.status == (200 if page_kept else 503)
        assert (file.status, file.body if file_kept else b"") == ((200, DEMO.data) if file_kept else (503, b""))
        # A wheel that was kept still gives its metadata.
        assert sidecar.status == (200 if file_kept else 503)
        assert await alone.stop() == 0
        await examine_files(alone.data, files=1)
    tally("kills", 1)
    tally("restarts", 2)


@pytest.mark.parametrize("dies", [False, True])
async def test_two_servers_share_a_fetch(
    dies: bool, starter: Starter, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    """One of them fetches; when it is killed, readers of the other are cut off, and their next request gets the file."""
    large = build_wheel("large", "1.0", files={"large.bin": random.Random(1).randbytes(6_000_000)})
    upstream.add("large", large)
    data = tmp_path / "data"
    await prepare_data(data, upstream=upstream.url)
    first, second = ServerProcess(starter, data, **QUICK), ServerProcess(starter, data, **QUICK)
    async with running(first), running(second):
        path = file_path(large, MIRROR)
        for server in (first, second):
            assert (await ask(server.address, "/root/pypi/+simple/large/")).is_whole
        upstream.script("file", behaviours.dripping_body(0.02, size=200_000), times=1)
        asking = [asyncio.ensure_future(ask(first.address, path))]
        while not upstream.count("file"):
            await asyncio.sleep(0.01)
        asking.append(asyncio.ensure_future(ask(second.address, path)))
        if dies:
            await asyncio.sleep(0.4)
            await first.kill()
        one, other = await asyncio.gather(*asking)
        for answer in (one, other):
            assert large.data.startswith(answer.body)
            assert answer.is_whole == (answer.body == large.data) == (not dies)
        assert upstream.count("file") == 1
        again = await ask(second.address, path)
        assert (again.is_whole, again.body == large.data) == (True, True)
        assert upstream.count("file") == 1 + dies
        async with asyncio.timeout(PATIENCE_SECONDS):
            while list((data / "fetching").iterdir()):  # the fetch ends a moment after the answer
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("point", [point for point in STEPS if point.startswith("fetch.")])
async def test_the_server_that_fetches_for_two_is_killed_at_a_step(
    point: str, starter: Starter, upstream: ScriptedUpstream, tmp_path: Path, tally: Tally
) -> None:
    """The other one's reader gets the whole file or is cut off; the next request gets it."""
    large = build_wheel("large", "1.0", files={"large.bin": random.Random(1).randbytes(3_000_000)})
    upstream.add("large", large)
    data = tmp_path / "data"
    await prepare_data(data, upstream=upstream.url)
    first, second = ServerProcess(starter, data, **QUICK), ServerProcess(starter, data, **QUICK)
    path = file_path(large, MIRROR)
    async with running(first, f"{point}=kill"), running(second):
        for server in (first, second):
            assert (await ask(server.address, "/root/pypi/+simple/large/")).is_whole
        upstream.script("file", behaviours.dripping_body(0.02, size=300_000), times=1)
        asking = asyncio.ensure_future(ask(first.address, path))
        while not list((data / "fetching").glob("*")):
            await asyncio.sleep(0.001)
        other = await ask(second.address, path)
        assert await first.ended() == -signal.SIGKILL
        one = await asking
        for answer in (one, other):
            assert answer.status in {200, 503, None}
            if answer.status == 200:
                assert large.data.startswith(answer.body)
                assert answer.is_whole == (answer.body == large.data)
        again = await ask(second.address, path)
        assert (again.status, again.is_whole, again.body == large.data) == (200, True, True)
        assert upstream.count("file") <= 2
        assert await second.stop() == 0
    third = ServerProcess(starter, data, **QUICK)
    async with running(third):
        # What the killed server left of a fetch that is not repeated goes with the first fetch of the next process.
        assert (await ask(third.address, "/root/pypi/+simple/other/")).is_whole
        assert (await ask(third.address, file_path(OTHER, MIRROR))).is_whole
        assert await third.stop() == 0
        assert list((data / "fetching").iterdir()) == []
    tally("kills", 1)


async def page_is_stored(data: Path) -> None:
    """Wait until the page of the file that is going to be fetched is committed."""
    store = await SqliteIndex.open(data / "index.sqlite", SystemClock())
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await store.page(MIRROR, ProjectName("demo")) is None:
                await store.wait(await store.head(), timeout=1)
    finally:
        await store.close()


async def blob_is_there(data: Path, sha256: str) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not (data / "blobs" / "mirrored" / "sha256" / sha256[:2] / sha256).exists():
            await asyncio.sleep(0.005)


async def check_all(server: ServerProcess, built: BuiltFile) -> None:
    """A mirrored file's page, bytes and metadata are there and right."""
    place = file_path(built, MIRROR)
    page = await ask(server.address, f"/root/pypi/+simple/{built.filename.split('-')[0]}/")
    assert page.is_whole
    assert built.sha256.encode() in page.body
    for path, expected in ((place, built.data), (f"{place}.metadata", built.metadata)):
        answer = await ask(server.address, path)
        assert (answer.status, answer.is_whole, answer.body) == (200, True, expected)
