"""Stopping, dying, restarting, and sharing one data directory: whatever a service manager or an operator does to a server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pkgindex_core.config import Settings
from pkgindex_core.digests import sha256_of
from pkgindex_core.engine import Engine
from pkgindex_core.testing.wheels import BuiltFile, build_wheel
from tests.crash.clients import Address, Got, ask, read_all
from tests.crash.oracle import (
    JSON,
    age_spools,
    examine,
    examine_files,
    file_path,
    prepare_data,
    upload,
    upload_request,
)
from tests.crash.processes import ServerProcess, Starter, running
from tests.http.conftest import basic

Tally = Callable[[str, int], None]

KILLS = int(os.environ.get("PKGINDEX_TEST_KILLS", "20"))
"""How often the loop of `test_killed_again_and_again` kills (see tests/README.md)."""

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def test_a_signal_lets_what_is_under_way_finish(starter: Starter, tmp_path: Path, tally: Tally) -> None:
    """Uploads whose second half is not sent yet, large and small downloads that nobody reads yet: all of them come out whole."""
    data = tmp_path / "data"
    await prepare_data(data)
    large, small = wheel_of(6_000_000, "1.0"), wheel_of(60_000, "2.0")
    wheels = [build_wheel("slow", f"{number}.0") for number in range(10)]
    server = ServerProcess(starter, data, PKGINDEX_SHUTDOWN_TIMEOUT="30")
    async with running(server), connections() as connect:
        for built in (large, small):
            assert_acknowledged(await upload(server.address, built))
        uploads = []
        for built in wheels:
            reader, writer = await connect(server.address)
            request = upload_request(built)
            writer.write(request[: len(request) // 2])
            await writer.drain()
            uploads.append((reader, writer, request[len(request) // 2 :]))
        downloads = []
        for path in [file_path(large)] * 5 + [file_path(small)] * 5:
            reader, writer = await connect(server.address, buffer=4096)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            await writer.drain()
            downloads.append(reader)
        idle = await connect(server.address)
        await wait_for_answers(downloads)

        begun = time.monotonic()
        server.signal(signal.SIGTERM)
        await wait_until_refused(server.address)
        idle[1].write(b"GET /+ready HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await read_all(idle[0])).status in {None, 503}
        assert server.status() is None
        answers = await asyncio.gather(
            *(finish_upload(*each) for each in uploads), *(read_all(reader, pause=0.001) for reader in downloads)
        )
        assert await server.ended() == 0
        assert time.monotonic() - begun < 30
    for answer in answers[:10]:
        assert (answer.status, answer.is_whole) == (200, True), answer.body
    for answer, expected in zip(answers[10:], [large] * 5 + [small] * 5, strict=True):
        assert (answer.status, answer.is_whole, sha256_of(answer.body)) == (200, True, expected.sha256)
    async with running(server):
        await examine(server, [large, small, *wheels])
    tally("requests finished while stopping", len(answers))
    tally("acknowledged uploads checked", len(wheels) + 2)


async def test_what_does_not_finish_is_cut_when_the_time_is_up(starter: Starter, tmp_path: Path) -> None:
    data = tmp_path / "data"
    await prepare_data(data)
    large = wheel_of(6_000_000, "1.0")
    doubtful = build_wheel("slow", "1.0")
    server = ServerProcess(starter, data, PKGINDEX_SHUTDOWN_TIMEOUT="3")
    async with running(server), connections() as connect:
        assert_acknowledged(await upload(server.address, large))
        half, writer = await connect(server.address)
        writer.write(upload_request(doubtful)[:-40])
        unread, writer = await connect(server.address, buffer=4096)
        writer.write(f"GET {file_path(large)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await wait_for_answers([unread])
        begun = time.monotonic()
        server.signal(signal.SIGTERM)
        assert await server.ended() == 0
        assert 2.9 < time.monotonic() - begun < 3 + 20  # seconds; the second figure is for a busy machine
        assert (await read_all(half)).status != 200
        assert not (await read_all(unread)).is_whole
    async with running(server):
        assert not await examine(server, [large], doubtful=doubtful)


async def test_a_second_signal_stops_at_once(starter: Starter, tmp_path: Path) -> None:
    data = tmp_path / "data"
    await prepare_data(data)
    doubtful = build_wheel("slow", "1.0")
    server = ServerProcess(starter, data)
    async with running(server), connections() as connect:
        _, writer = await connect(server.address)
        writer.write(upload_request(doubtful)[:-40])
        await writer.drain()
        await ask(server.address, "/+live")
        server.signal(signal.SIGTERM)
        await wait_until_refused(server.address)
        begun = time.monotonic()
        server.signal(signal.SIGTERM)
        assert await server.ended() == -signal.SIGTERM
        assert time.monotonic() - begun < 20  # the first signal alone would let it take a minute
    age_spools(data)
    async with running(server):
        assert not await examine(server, [], doubtful=doubtful)


@pytest.mark.timeout(60 + 3 * KILLS)
async def test_killed_again_and_again(starter: Starter, tmp_path: Path, tally: Tally) -> None:
    """A stream of uploads from three clients; kill -9 at any moment, start again, go on."""
    data = tmp_path / "data"
    await prepare_data(data)
    dice = random.Random(KILLS)
    server = ServerProcess(starter, data)
    acknowledged: dict[str, BuiltFile] = {}
    doubtful: dict[str, BuiltFile] = {}
    numbers = iter(range(1_000_000))

    async def client() -> None:
        while True:
            built = wheel_of(dice.choice([100, 5_000, 200_000]), f"{next(numbers)}.0")
            doubtful[built.filename] = built
            answer = await upload(server.address, built)
            if answer is None:
                return
            assert_acknowledged(answer)
            acknowledged[built.filename] = doubtful.pop(built.filename)

    for _ in range(KILLS):
        async with running(server):
            await assert_lists(server, acknowledged.values())
            for built in list(doubtful.values()):  # nobody was told: they ask again
                assert_acknowledged(await upload(server.address, built))
                acknowledged[built.filename] = doubtful.pop(built.filename)
            clients = [asyncio.create_task(client()) for _ in range(3)]
            await asyncio.sleep(dice.uniform(0.02, 0.3))
            await server.kill()
            await asyncio.gather(*clients)
    age_spools(data)
    async with running(server):
        for built in doubtful.values():
            assert_acknowledged(await upload(server.address, built))
        acknowledged |= doubtful
        await examine(server, acknowledged.values())
    assert len(acknowledged) >= KILLS
    tally("kills", KILLS)
    tally("restarts", KILLS)
    tally("acknowledged uploads checked", len(acknowledged))


async def test_two_servers_over_one_directory_are_one(starter: Starter, tmp_path: Path, tally: Tally) -> None:
    data = tmp_path / "data"
    await prepare_data(data)
    one = ServerProcess(starter, data)
    two = ServerProcess(starter, data)
    async with running(one), running(two):
        # What was acknowledged by one is on the very next page of the other.
        page = await ask(two.address, "/simple/before/", **JSON)
        assert page.status == 200
        for number in range(10):
            built = build_wheel("before", f"2.{number}")
            here, there = (one, two) if number % 2 else (two, one)
            assert_acknowledged(await upload(here.address, built))
            changed = await ask(there.address, "/simple/before/", If_None_Match=page.headers["etag"], **JSON)
            assert changed.status == 200
            assert built.sha256.encode() in changed.body
            assert changed.headers["etag"] != page.headers["etag"]
            assert (await ask(there.address, file_path(built))).body == built.data
            page = changed
            unchanged = await ask(here.address, "/simple/before/", If_None_Match=page.headers["etag"], **JSON)
            assert unchanged.status == 304

        # One name, many contents: one has it.
        for name in ("race-a", "race-b", "race-c"):
            rivals = [build_wheel(name, "1.0", description=f"{number}") for number in range(20)]
            answers = await asyncio.gather(
                *(upload((one, two)[number % 2].address, built) for number, built in enumerate(rivals))
            )
            statuses = [answer.status if answer else None for answer in answers]
            assert sorted(statuses, key=str) == [200] + [400] * 19
            winner = rivals[statuses.index(200)]
            for server in (one, two):
                shown = await ask(server.address, f"/simple/{name}/", **JSON)
                assert shown.body.count(b'"sha256"') == 2  # of the file and of its metadata
                assert winner.sha256.encode() in shown.body
                assert (await ask(server.address, file_path(winner))).body == winner.data
                for loser in rivals:
                    if loser is not winner:
                        assert (await ask(server.address, file_path(loser))).status == 404

        # The same bytes from everybody: everybody is told yes, and it happened once.
        same = build_wheel("same", "1.0")
        answers = await asyncio.gather(*(upload((one, two)[number % 2].address, same) for number in range(20)))
        assert [answer.status if answer else None for answer in answers] == [200] * 20
        await examine_files(data, files=1 + 10 + 3 + 1)

        # A right that was taken away is gone at the next request, everywhere.
        async with Engine.open(Settings(data=data), mirrors=False) as engine:
            text, token = await engine.tokens.make("root", who="[test]")
            login = basic("__token__", str(text))["Authorization"]
            for number, server in enumerate((one, two)):
                built = build_wheel("token", f"{number}.0")
                answer = await upload_with(server.address, built, login)
                assert answer.status == 200
            await engine.tokens.revoke(token.id, who="[test]")
            for server in (one, two):
                answer = await upload_with(server.address, build_wheel("token", "9.0"), login)
                assert answer.status == 401
    tally("uploads raced", 60)
    tally("acknowledged uploads checked", 10 + 3 + 20)


async def test_two_first_starts_at_once_agree(starter: Starter, tmp_path: Path) -> None:
    for turn in range(4):
        data = tmp_path / f"data{turn}"
        one, two = ServerProcess(starter, data), ServerProcess(starter, data)
        try:
            await asyncio.gather(one.start(), two.start())
            password = (data / "root-password").read_text().strip()
            assert re.fullmatch("[0-9a-f]{32}", password)
            for server in (one, two):
                built = build_wheel("first", f"{server.pid}.0")
                answer = await upload_with(server.address, built, basic("root", password)["Authorization"])
                assert answer.status == 200, answer.body
            assert not list(data.glob(".root-password*"))
        finally:
            await one.kill()
            await two.kill()
        await examine_files(data, files=2)


async def upload_with(address: Address, built: BuiltFile, authorization: str) -> Got:
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(upload_request(built, authorization=authorization))
        return await read_all(reader)
    finally:
        writer.close()


def wheel_of(size: int, version: str) -> BuiltFile:
    """A wheel of about this size."""
    return build_wheel("demo", version, files={"demo.bin": random.Random(version).randbytes(size)}, stored=True)


def assert_acknowledged(answer: object) -> None:
    assert answer is not None
    assert getattr(answer, "status", None) == 200, answer


async def assert_lists(server: ServerProcess, expected: object) -> None:
    """The page has every file that was acknowledged."""
    page = await ask(server.address, "/simple/demo/", **JSON)
    assert isinstance(expected, type({}.values()))
    for built in expected:
        assert built.sha256.encode() in page.body


async def finish_upload(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rest: bytes) -> Got:
    writer.write(rest)
    return await read_all(reader)


@asynccontextmanager
async def connections() -> AsyncIterator[Callable[..., asyncio.Future[Connection]]]:
    """Opens connections, with a small receive buffer if asked, and closes them all in the end."""
    opened: list[asyncio.StreamWriter] = []

    async def connect(address: Address, *, buffer: int = 0) -> Connection:
        sock = socket.socket()
        if buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address)
        reader, writer = await asyncio.open_connection(sock=sock, limit=2048)
        opened.append(writer)
        return reader, writer

    try:
        yield connect
    finally:
        for writer in opened:
            writer.close()
        for writer in opened:
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def wait_for_answers(readers: list[asyncio.StreamReader]) -> None:
    """Until the first bytes of every answer are here; they stay unread."""
    while not all(reader._buffer for reader in readers):
        await asyncio.sleep(0.005)


async def wait_until_refused(address: Address) -> None:
    """Until nobody new is let in."""
    while True:
        answer = await ask(address, "/+ready")
        if answer.status != 200:
            assert answer.status in {None, 503}
            return
        await asyncio.sleep(0.005)
