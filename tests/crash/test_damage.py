"""Bytes that were lost or damaged on the disk: never served as if they were whole, and made good by sending them again."""

from __future__ import annotations

import json
import os
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from pkgindex_core.digests import Sha256
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.testing import ScriptedUpstream
from tests.crash.clients import ask
from tests.crash.oracle import HOSTED, MIRROR, examine_files, file_path, upload
from tests.http.conftest import Serve

Tally = Callable[[str, int], None]

WHEEL = build_wheel("demo", "1.0", files={"demo.bin": random.Random(1).randbytes(100_000)})


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE: dict[str, Callable[[Path], None]] = {
    "removed": Path.unlink,
    "emptied": lambda path: os.truncate(path, 0),
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "grown": lambda path: os.truncate(path, path.stat().st_size + 1),
    "flipped": _flip,
}


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as fake:
        fake.add("demo", WHEEL)
        yield fake


@pytest.mark.parametrize("damage", DAMAGE)
async def test_an_uploaded_file(damage: str, serve: Serve, tmp_path: Path, tally: Tally) -> None:
    """A changed size is seen when the file is asked for; one changed bit is for whoever reads all bytes, a client or a scrub."""
    async with serve(store="", blobs="") as served:
        assert (await upload(served.address, WHEEL)).status == 200
        DAMAGE[damage](blob_at(tmp_path, WHEEL.sha256))
        page = await ask(served.address, f"/{HOSTED}/+simple/demo/")
        assert WHEEL.sha256.encode() in page.body
        if damage != "flipped":
            answer = await ask(served.address, file_path(WHEEL))
            assert (answer.status, answer.is_whole) == (500, True)
            assert b"upload the same file again" in answer.body
        head = await served.engine.store.head()
        assert (await upload(served.address, WHEEL)).status == 200
        assert await served.engine.store.head() == head
        assert (await ask(served.address, file_path(WHEEL))).body == WHEEL.data
    await examine_files(tmp_path / "data", files=1)
    tally("damaged files made good", 1)


@pytest.mark.parametrize("damage", DAMAGE)
async def test_its_metadata(damage: str, serve: Serve, tmp_path: Path, tally: Tally) -> None:
    async with serve(store="", blobs="") as served:
        assert (await upload(served.address, WHEEL)).status == 200
        (metadata,) = [path for path in blobs(tmp_path) if path.name != WHEEL.sha256]
        DAMAGE[damage](metadata)
        if damage == "removed":
            answer = await ask(served.address, f"{file_path(WHEEL)}.metadata")
            assert answer.status == 500  # announced, so not absent
        assert (await upload(served.address, WHEEL)).status == 200
        answer = await ask(served.address, f"{file_path(WHEEL)}.metadata")
        assert (answer.status, answer.body) == (200, WHEEL.metadata)
    await examine_files(tmp_path / "data", files=1)
    tally("damaged files made good", 1)


@pytest.mark.parametrize("damage", [name for name in DAMAGE if name != "flipped"])
async def test_a_mirrored_file_is_fetched_again(
    damage: str, serve: Serve, upstream: ScriptedUpstream, tmp_path: Path, tally: Tally
) -> None:
    for fetches in (1, 2):  # the second time from a server that has just started, and finds the damage
        async with serve(store="", blobs="", mirrors=True, upstream=upstream.url) as served:
            answer = await ask(served.address, file_path(WHEEL, MIRROR))
            assert (answer.status, answer.is_whole, answer.body) == (200, True, WHEEL.data)
            assert upstream.count("file") == fetches
        if fetches == 1:
            DAMAGE[damage](blob_at(tmp_path, WHEEL.sha256))
    await examine_files(tmp_path / "data", files=0)
    tally("damaged files made good", 1)


async def test_damaged_pages_of_the_database_are_errors_and_no_other_answer(
    serve: Serve, upstream: ScriptedUpstream, tmp_path: Path, caplog: pytest.LogCaptureFixture, tally: Tally
) -> None:
    """One bit of each page changes under a running server. No answer is broken, and no private name is asked of the upstream."""
    private = [build_wheel(f"private{number}", "1.0") for number in range(100)]
    async with serve(store="", blobs="", mirrors=True, upstream=upstream.url) as served:
        for built in private:
            await served.put(built)
    asked = upstream.count("page")
    async with serve(store="", blobs="", mirrors=True, upstream=upstream.url) as served:
        database = tmp_path / "data" / "index.sqlite"
        chance = random.Random(3)
        with database.open("r+b") as file:
            for page in range(1, database.stat().st_size // 4096):
                place = page * 4096 + chance.randrange(4096)
                (byte,) = os.pread(file.fileno(), 1, place)
                os.pwrite(file.fileno(), bytes([byte ^ (1 << chance.randrange(8))]), place)
        refused = 0
        paths = ["/", "/root", "/root/dev", "/root/dev/", "/+status", "/simple/", "/root/dev/+simple/"]
        paths += [path for built in private for path in (f"/simple/{built.filename.split('-')[0]}/", file_path(built))]
        for path in paths:
            answer = await ask(served.address, path, Accept="application/json")
            assert answer.is_whole
            if answer.status == 200 and "+f" not in path:
                json.loads(answer.body)
            elif answer.status != 200:
                assert (answer.status, b"is damaged" in answer.body) == (500, True), (path, answer.body)
                refused += 1
        assert refused >= 2 * len(private)
    assert upstream.count("page") == asked
    told = [record for record in caplog.records if "is damaged" in record.getMessage()]
    assert 1 <= len(told) <= 3
    assert not any(record.exc_info for record in told)
    tally("answers from damaged pages refused", refused)


def blobs(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "data" / "blobs").rglob("sha256/*/*"))


def blob_at(tmp_path: Path, key: Sha256) -> Path:
    (found,) = [path for path in blobs(tmp_path) if path.name == key]
    return found
