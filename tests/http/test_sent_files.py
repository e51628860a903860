"""Large files that the kernel sends: who is cut, who is not, and that a part of a file never looks whole."""

from __future__ import annotations

import asyncio
import os
import select
import socket
from pathlib import Path

import pytest

from pkgindex_core.testing.wheels import build_wheel
from pkgindex_http.wire import sending
from tests.http.conftest import Serve, Served
from tests.http.test_replayed_files import DISK, path_of

SIZE = 24_000_000
LARGE = build_wheel("demo", "1.0", files={"noise.bin": os.urandom(SIZE)}, stored=True)


async def begun(served: Served, path: str) -> socket.socket:
    """A client that has asked and read nothing."""
    client = socket.socket()
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, served.address)
    await loop.sock_sendall(client, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    return client


async def rest(client: socket.socket, *, pause: float = 0, most: int = 2 * SIZE) -> bytes:
    got = b""
    async with asyncio.timeout(30):
        while len(got) < most and (data := await asyncio.get_running_loop().sock_recv(client, 100_000)):
            got += data
            await asyncio.sleep(pause)
    return got


async def test_who_reads_nothing_for_long_is_cut(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "STALL_SECONDS", 0.2)
    async with serve(blobs=DISK) as served:
        path = path_of(await served.put(LARGE))
        with await begun(served, path) as client:
            end = select.poll()
            end.register(client, 0)  # only of errors
            assert await asyncio.to_thread(end.poll, 20_000), "the connection is held for ever"
        with await begun(served, path) as client:
            assert (await rest(client)).endswith(LARGE.data[-1000:])


async def test_who_reads_slowly_gets_all(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system has room for megabytes, and none for new bytes until the client has taken a good part of them."""
    monkeypatch.setattr(sending, "STALL_SECONDS", 1)
    async with serve(blobs=DISK) as served:
        loop = asyncio.get_running_loop()
        with await begun(served, path_of(await served.put(LARGE))) as client:
            started, whole = loop.time(), b""
            while loop.time() < started + 4 * sending.STALL_SECONDS:
                whole += await rest(client, pause=0.2, most=1)
            whole += await rest(client)
        assert whole.partition(b"\r\n\r\n")[2] == LARGE.data


async def test_a_file_that_becomes_shorter_is_no_whole_answer(serve: Serve, tmp_path: Path) -> None:
    async with serve(blobs=DISK) as served:
        with await begun(served, path_of(await served.put(LARGE))) as client:
            first = await rest(client, most=100_000)
            (blob,) = [each for each in tmp_path.rglob("*") if each.is_file() and each.stat().st_size == LARGE.size]
            os.truncate(blob, SIZE // 2)
            try:
                whole = first + await rest(client)
            except ConnectionResetError:
                whole = first
        assert len(whole) < LARGE.size
        assert b"Content-Length: %d\r\n" % LARGE.size in whole


async def test_who_goes_away_leaves_nothing_behind(serve: Serve) -> None:
    def count() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    async with serve(blobs=DISK) as served:
        path = path_of(await served.put(LARGE))
        before = count()
        for _ in range(5):
            with await begun(served, path) as client:
                await rest(client, most=50_000)
        async with asyncio.timeout(20):
            while count() > before:
                await asyncio.sleep(0.01)
