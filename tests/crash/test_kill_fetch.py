"""A proxy dies at every step of fetching: nobody is left with a wrong file that looks whole, and nothing is forgotten.

A client asks for a page, a file and its metadata, one of which kills the server. After that, two futures, each on its own
copy of the disk: with the upstream there, everything is served right; without it, what was kept is served right and what
was not is unknown (503), never absent (404).
"""

from __future__ import annotations

import random
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from pkgindex_core import failpoints
from pkgindex_core.failpoints import POINTS
from pkgindex_core.testing.wheels import BuiltFile, build_wheel
from pkgindex_mirror.testing import ScriptedUpstream, behaviours
from tests.crash.clients import ask
from tests.crash.oracle import MIRROR, age_stages, examine_files, file_path, prepare_data, wait_until_ready
from tests.crash.processes import ServerProcess, Starter, running
from tests.http.conftest import Serve

Tally = Callable[[str, int], None]

STEPS = sorted(
    point
    for point in POINTS
    if point.startswith(("page.", "fetch.", "sidecar."))
    and point != "page.part_committed"  # a page of many thousand files passes it: tests/mirror/test_long_pages.py
)
KEPT_PAGE, KEPT_FILE, KEPT_SIDECAR = {"page.committed"}, {"fetch.kept", "fetch.committed"}, {"sidecar.kept"}

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
    async with running(server, f"{point}=kill@2"):
        await check_all(server, OTHER)
        answers = [await ask(server.address, path) for path in PATHS]
        assert await server.ended() == -signal.SIGKILL
    for answer, expected in zip(answers[1:], (DEMO.data, DEMO.metadata), strict=True):
        assert expected.startswith(answer.body)
        assert answer.status in {200, None}
        assert answer.is_whole == (answer.body == expected)
    assert not all(answer.is_whole for answer in answers)
    age_stages(data)
    alone = ServerProcess(starter, shutil.copytree(data, tmp_path / "alone"), **QUICK)
    again = ServerProcess(starter, data, **QUICK)
    async with running(again):
        await wait_until_ready(again)
        await check_all(again, OTHER)
        await check_all(again, DEMO)
        await examine_files(data, files=1)
    await upstream.stop()
    async with running(alone):
        await wait_until_ready(alone)
        await check_all(alone, OTHER)
        page, file, sidecar = [await ask(alone.address, path) for path in PATHS]
        page_kept = not point.startswith("page.") or point in KEPT_PAGE
        file_kept = point.startswith("sidecar.") or point in KEPT_FILE
        assert page.status == (200 if page_kept else 503)
        assert (file.status, file.body if file_kept else b"") == ((200, DEMO.data) if file_kept else (503, b""))
        # A wheel that was kept still gives its metadata.
        sidecar_there = file_kept or point in KEPT_SIDECAR
        assert sidecar.status == (200 if sidecar_there else 503)
        await examine_files(alone.data, files=1)
    tally("kills", 1)
    tally("restarts", 2)


async def check_all(server: ServerProcess, built: BuiltFile) -> None:
    """A mirrored file's page, bytes and metadata are there and right."""
    place = file_path(built, MIRROR)
    page = await ask(server.address, f"/root/pypi/+simple/{built.filename.split('-')[0]}/")
    assert page.is_whole
    assert built.sha256.encode() in page.body
    for path, expected in ((place, built.data), (f"{place}.metadata", built.metadata)):
        answer = await ask(server.address, path)
        assert (answer.status, answer.is_whole, answer.body) == (200, True, expected)
