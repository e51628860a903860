"""Bodies that the kernel sends without a copy: the bytes are those of the body whatever the client and the socket do, and nothing is left open."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
import trustme
import uvloop

from pkgindex_core.changes import YankFile
from pkgindex_core.names import ProjectName
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_http.listening import memory_files
from pkgindex_http.listening.memory_files import IS_POSSIBLE, WORTH, MemoryFile
from tests.http.conftest import HOSTED, Serve, Served
from tests.http.test_replays import get

pytestmark = pytest.mark.skipif(not IS_POSSIBLE, reason="the system has no memory files")

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"
BODY = os.urandom(3_000_000)
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
PAGE = "/root/dev/+simple/demo/"


async def written(send: Callable[[asyncio.WriteTransport], None], size: int, *, pause: float = 0) -> bytes:
    """Let `send` write to the server's end of a connection with little room, and return the `size` bytes that its client reads after a pause in seconds."""
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
    theirs.setblocking(False)
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
    send(transport)
    await asyncio.sleep(pause)
    got = b""
    async with asyncio.timeout(20):
        while len(got) < size:
            got += await loop.sock_recv(theirs, 100_000)
    transport.close()
    theirs.close()
    return got


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Callable[..., bytes]:
    """Run `written` in each kind of loop."""

    def start(send: Callable[[asyncio.WriteTransport], None], size: int, *, pause: float = 0) -> bytes:
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            return runner.run(written(send, size, pause=pause))

    return start


@pytest.mark.parametrize("size", [1, WORTH, len(BODY)])
@pytest.mark.parametrize("pause", [0, 0.05])
def test_head_and_body_arrive_whole(run: Callable[..., bytes], size: int, pause: float) -> None:
    file = MemoryFile(BODY[:size])
    assert run(lambda transport: file.write(transport, HEAD), len(HEAD) + size, pause=pause) == HEAD + BODY[:size]


def test_an_answer_comes_behind_what_waits_in_the_transport(run: Callable[..., bytes]) -> None:
    file, earlier = MemoryFile(BODY[:100_000]), BODY[:500_000]

    def send(transport: asyncio.WriteTransport) -> None:
        transport.write(earlier)
        file.write(transport, HEAD)
        file.write(transport, HEAD)

    answer = HEAD + BODY[:100_000]
    assert run(send, len(earlier) + 2 * len(answer)) == earlier + 2 * answer


def test_a_client_that_is_gone_is_the_transports_to_tell(run: Callable[..., bytes]) -> None:
    file = MemoryFile(BODY)

    def send(transport: asyncio.WriteTransport) -> None:
        with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as connection:
            connection.shutdown(socket.SHUT_RDWR)
        file.write(transport, HEAD)  # raises nothing

    assert run(send, 0) == b""


@pytest.mark.parametrize("loop_name", LOOPS)
def test_over_tls_the_transport_encrypts_the_body(loop_name: str) -> None:
    authority, ours, theirs = (
        trustme.CA(),
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH),
        ssl.create_default_context(),
    )
    authority.issue_cert("127.0.0.1").configure_cert(ours)
    authority.configure_trust(theirs)
    file = MemoryFile(BODY)

    class Sender(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            file.write(cast("asyncio.WriteTransport", transport), HEAD)

    async def read() -> bytes:
        server = await asyncio.get_running_loop().create_server(Sender, "127.0.0.1", 0, ssl=ours)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), ssl=theirs)
        got = await reader.readexactly(len(HEAD) + len(BODY))
        writer.close()
        server.close()
        return got

    with asyncio.Runner(loop_factory=LOOPS[loop_name]) as runner:
        assert runner.run(read()) == HEAD + BODY


def test_short_bodies_have_no_file() -> None:
    assert MemoryFile.of(BODY[: WORTH - 1]) is None
    file = MemoryFile.of(BODY[:WORTH])
    assert file is not None
    assert file.length == WORTH


def test_a_file_cannot_be_changed() -> None:
    file = MemoryFile(BODY)
    with pytest.raises(PermissionError):
        os.pwrite(file._descriptor, b"x", 0)
    with pytest.raises(PermissionError):
        os.ftruncate(file._descriptor, 0)


def test_the_number_of_descriptors_is_bounded_and_all_are_closed() -> None:
    def count() -> int:
        gc.collect()
        return len(list(Path("/proc/self/fd").iterdir()))

    before = count()
    files = [MemoryFile.of(BODY[:WORTH]) for _ in range(2 * memory_files._MOST)]
    made = [file for file in files if file is not None]
    assert len(made) == memory_files._MOST
    view = made[0]._view
    assert count() == before + len(made) + 1  # the map has its own
    files.clear()
    made.clear()
    assert view == BODY[:WORTH]  # a client that still reads
    del view
    assert count() == before
    assert MemoryFile.of(BODY[:WORTH]) is not None


def test_without_descriptors_or_memory_there_is_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(name: str, flags: int) -> int:
        raise OSError(24, f"Too many open files: {name} {flags}")

    monkeypatch.setattr(os, "memfd_create", none_left)
    assert MemoryFile.of(BODY) is None


async def ask(served: Served, request: bytes) -> bytes:
    """The body of an answer, over a connection of its own."""
    reader, writer = await asyncio.open_connection(*served.address)
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    body = await reader.readexactly(length)
    writer.close()
    return body


async def test_a_long_page_is_sent_from_one_file_until_it_changes(serve: Serve) -> None:
    async with serve() as served:
        for number in range(200):
            await served.put(build_wheel("demo", f"1.{number}"))
        replays = served.server.replays
        assert replays is not None
        first = await ask(served, get())
        assert len(first) > WORTH
        for agent in ("pip", "uv"):
            for _ in range(4):
                assert await ask(served, get(User_Agent=agent)) == first
        files = [kept.file for _, kept in replays.kept.items()]
        assert len(files) == 2
        assert files[0] is files[1] is not None
        head = get(method="HEAD")
        for _ in range(4):
            reader, writer = await asyncio.open_connection(*served.address)
            writer.write(head)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert b"Content-Length: %d\r\n" % len(first) in answer
            writer.close()
        await served.engine.store.apply(
            [YankFile(HOSTED, ProjectName("demo"), "demo-1.0-py3-none-any.whl", "bad")], who="[test]"
        )
        second = await ask(served, get(User_Agent="pip"))
        assert second != first
        assert b"data-yanked" in second
        del files
        for _ in range(4):
            assert await ask(served, get(User_Agent="pip")) == second
