"""Connections: how long clients are waited for, which of them go when there are too many, and that PUSH is a method and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct

from pkgindex_core.names import ProjectName
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_http.errors import BodyStalled
from pkgindex_http.listening.connections import UNREAD_SECONDS, Connections, Patience, _connections_for
from pkgindex_http.wire.bodies import chunks
from pkgindex_http.wire.replies import Reply, WholeResponse
from tests.conftest import Tally
from tests.http.conftest import HOSTED, Serve, basic
from tests.http.forms import CONTENT_TYPE, encode_form, upload_parts
from tests.http.wire import connected, read_answer

_HEAD = b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
_GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Seen(Struct, frozen=True):
    """A request as the server read it."""

    method: str
    agent: str
    body: bytes


class Listening(Struct):
    """A server without the rest of ours."""

    connections: Connections
    address: tuple[str, int]
    seen: list[Seen]
    stalled: list[BodyStalled]
    let_go: asyncio.Event


@asynccontextmanager
async def listening(patience: Patience = Patience()) -> AsyncIterator[Listening]:  # noqa: B008 - a frozen value
    seen: list[Seen] = []
    stalled: list[BodyStalled] = []
    let_go = asyncio.Event()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/wait":
            await let_go.wait()
        if request.path == "/large":
            return WholeResponse(Reply(body=bytes(8_000_000)))
        try:
            body = b"".join([data async for data in chunks(request)])
        except BodyStalled as error:
            stalled.append(error)
            return WholeResponse(Reply(status=408), close=True)
        seen.append(Seen(request.method, request.headers.get("User-Agent", ""), body))
        return WholeResponse(Reply())

    connections = Connections(handle, patience=patience, lingering_time=30, keepalive_timeout=75)
    server = await asyncio.get_running_loop().create_server(connections, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield Listening(connections, (host, port), seen, stalled, let_go)
    finally:
        server.close()
        let_go.set()
        await connections.shutdown(1)


async def settled(condition: Callable[[], bool]) -> None:
    """Wait until the server's loop has come to it."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


def request(method: str, *, agent: str = "", body: bytes = b"", chunked: bool = False, length: bool = True) -> bytes:
    lines = [f"{method} /x HTTP/1.1", "Host: x", f"User-Agent: {agent}"]
    if chunked:
        lines.append("Transfer-Encoding: chunked")
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
    elif body or length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


_METHOD = st.sampled_from(["GET", "PUSH", "BIND", "POST", "PUT"])
_TEXT = st.sampled_from(["", "PUSH me", "PUSH ", "BIND it", "P", "PUSHPUSH / HTTP/1.1"])
_BODIES = st.sampled_from(
    [b"", b"PUSH ", b"\r\n\r\nPUSH /x HTTP/1.1\r\n\r\n", b"BIND PUSH", b"P", b"PUSH" * 9, b"PUSH " * 90, b"\r\n", b"\r\n\r\n", b"x\r\n\r\nPU"]
)  # fmt: skip
_REQUESTS = st.lists(st.tuples(_METHOD, _TEXT, _BODIES, st.booleans()), min_size=1, max_size=6)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(requests=_REQUESTS, cuts=st.lists(st.integers(0, 2000), max_size=12))
def test_push_is_a_method_and_nothing_else_is_touched(
    requests: list[tuple[str, str, bytes, bool]], cuts: list[int], tally: Tally
) -> None:
    """Pipelined, and cut into segments anywhere: every method, header and body is read as it was sent, a BIND too."""
    data = b"".join(
        request(method, agent=agent, body=body, chunked=chunked and len(body) < 100)
        for method, agent, body, chunked in requests
    )
    expected = [Seen(method, agent.strip(), body) for method, agent, body, _ in requests]
    assert asyncio.run(_read(data, cuts, len(expected))) == expected
    tally("pipelined requests with PUSH", len(expected))


async def _read(data: bytes, cuts: list[int], count: int) -> list[Seen]:
    """Have the server take `data` in segments that end at these places."""
    async with listening() as server, connected(server.address) as (reader, _):
        await settled(lambda: bool(server.connections.connections))
        (protocol,) = server.connections.connections
        places = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
        for start, stop in pairwise(places):
            if start != stop:
                protocol.data_received(data[start:stop])
        for _ in range(count):
            assert (await read_answer(reader)).status == 200
        return list(server.seen)


async def test_every_byte_in_a_segment_of_its_own() -> None:
    parts = [("GET", "PUSH me", b""), ("PUSH", "", b'{"PUSH ": 1}'), ("BIND", "", b"PUSH "), ("PUSH", "PUSH ", b"")]
    data = b"\r\n".join(request(method, agent=agent, body=body) for method, agent, body in parts)
    expected = [Seen(method, agent.strip(), body) for method, agent, body in parts]
    assert await _read(data, list(range(len(data))), len(parts)) == expected


async def test_more_requests_than_the_queue_takes_are_answered_in_order() -> None:
    """The parser stops at 32 requests that wait, in the middle of a segment; PUSH is known behind that, too."""
    methods = ["GET", "PUSH", "BIND"] * 40
    async with listening() as server, connected(server.address) as (reader, writer):
        writer.write(b"".join(request(method, agent=str(number)) for number, method in enumerate(methods)))
        for _ in methods:
            assert (await read_answer(reader)).status == 200
        assert [(each.method, each.agent) for each in server.seen] == [
            (method, str(number)) for number, method in enumerate(methods)
        ]


async def test_a_large_body_before_a_push() -> None:
    """The body is read slower than it comes, so the parser stops in it."""
    body = b"PUSH /x \r\n\r\n" * 100_000
    plain = bytes(len(body))
    async with listening() as server, connected(server.address) as (reader, writer):
        for chunked in (False, True):
            writer.write(
                request("POST", body=plain if chunked else body, chunked=chunked) + request("PUSH", body=b"{}")
            )
            assert [(await read_answer(reader)).status, (await read_answer(reader)).status] == [200, 200]
        assert [(each.method, len(each.body)) for each in server.seen] == [("POST", len(body)), ("PUSH", 2)] * 2


@pytest.mark.parametrize("head", [_HEAD, _HEAD.replace(b"Content-Length: 1000", b"Transfer-Encoding: chunked")])
async def test_a_body_that_stops_coming_is_given_up(head: bytes) -> None:
    async with listening(Patience(stall_seconds=0.1)) as server, connected(server.address) as (reader, writer):
        writer.write(head + b"3\r\nabc\r\n")
        answer = await read_answer(reader, "POST")
        assert (answer.status, answer.header("Connection")) == (408, "close")
        assert await reader.read() == b""  # at once: nobody waits for the rest
        assert len(server.stalled) == 1


async def test_a_body_that_only_trickles_is_given_up() -> None:
    """It never pauses for long; but what it has sent earns less time than it takes."""
    async with listening(Patience(stall_seconds=0.3, bytes_per_second=10_000)) as server:
        async with connected(server.address) as (reader, writer):
            writer.write(_HEAD)
            trickling = asyncio.create_task(_trickle(writer))
            assert (await read_answer(reader, "POST")).status == 408
            trickling.cancel()
        assert 0 < int(str(server.stalled[0]).split()[-4]) < 900


async def test_a_body_that_is_slow_and_honest_gets_through() -> None:
    """The same pauses, at a rate that is allowed."""
    async with listening(Patience(stall_seconds=5, bytes_per_second=10)) as server, connected(server.address) as (reader, writer):  # fmt: skip
        writer.write(_HEAD.replace(b"1000", b"20"))
        trickling = asyncio.create_task(_trickle(writer))
        assert (await read_answer(reader, "POST")).status == 200
        trickling.cancel()
        assert len(server.seen[0].body) == 20


async def _trickle(writer: asyncio.StreamWriter) -> None:
    while True:
        await asyncio.sleep(0.01)
        writer.write(b"x")


async def test_time_that_the_server_takes_is_not_the_clients() -> None:
    """A body that is here already is never given up, however slow it is read."""
    async with listening(Patience(stall_seconds=0.05)) as server, connected(server.address) as (reader, writer):
        writer.write(b"POST /wait HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
        await asyncio.sleep(0.2)
        server.let_go.set()
        assert (await read_answer(reader, "POST")).status == 200


@pytest.mark.parametrize("sent", [b"", b"GET", b"GET / HTTP/1.1\r\nHost: x\r\nX: y", _GET + b"GET / HT", b"PUS"])
async def test_a_head_that_does_not_come_is_given_up(sent: bytes) -> None:
    async with listening() as server, connected(server.address) as (reader, writer):
        writer.write(sent)
        await settled(lambda: bool(server.connections.connections))
        if sent.startswith(_GET):
            await read_answer(reader)
        (protocol,) = server.connections.connections
        loop = asyncio.get_running_loop()
        await settled(lambda: not sent or bool(protocol._held) or not protocol.is_between_requests)
        server.connections.sweep(loop.time() + 29)
        assert not protocol._force_close
        server.connections.sweep(loop.time() + 31)
        assert await reader.read() == b""


async def test_an_idle_connection_is_kept_for_the_next_request() -> None:
    async with listening() as server, connected(server.address) as (reader, writer):
        writer.write(_GET)
        await read_answer(reader)
        server.connections.sweep(asyncio.get_running_loop().time() + 60)
        writer.write(_GET)
        assert (await read_answer(reader)).status == 200


async def test_an_answer_that_is_not_read_is_given_up() -> None:
    async with listening() as server, connected(server.address) as (_, writer):
        writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
        await settled(lambda: bool(server.connections.connections))
        (protocol,) = server.connections.connections
        await settled(lambda: protocol.writing_paused)
        loop = asyncio.get_running_loop()
        transport = protocol.transport
        assert transport is not None
        await settled(lambda: transport.get_write_buffer_size() > 0)
        await asyncio.sleep(0.1)  # until the kernel takes no more
        server.connections.sweep(loop.time())
        server.connections.sweep(loop.time() + UNREAD_SECONDS - 1)
        assert not transport.is_closing()
        server.connections.sweep(loop.time() + UNREAD_SECONDS + 1)
        assert transport.is_closing()
        await settled(lambda: not server.connections.connections)


async def test_the_most_silent_connections_make_room(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:  # fmt: skip
    """At the limit idle connections go first, then those whose body does not come, and never one that is being answered."""
    monkeypatch.setattr("pkgindex_http.listening.connections._SILENT_SECONDS", 0.0)
    async with listening(Patience(connections=6)) as server, AsyncExitStack() as stack:

        async def come(sent: bytes, seen: int = 1) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            reader, writer = await stack.enter_async_context(connected(server.address))
            writer.write(sent)
            await settled(lambda: len(server.connections.connections) >= seen)
            return reader, writer

        working = [await come(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n", number + 1) for number in range(2)]
        stalled = [await come(_HEAD + b"{", number + 3) for number in range(2)]
        idle = [await come(_GET, number + 5) for number in range(2)]
        for reader, _ in idle:
            await read_answer(reader)
        gone = [idle[0], idle[1], stalled[0], stalled[1]]
        for reader, _ in gone:  # one new one each, which asks and is answered, and stays silent then for less long
            new, _ = await come(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n", 6)
            assert await reader.read() == b""
        assert len([record for record in caplog.records if "connections is reached" in record.message]) == 1
        server.let_go.set()
        for reader, _ in working:
            assert (await read_answer(reader)).status == 200
        assert (await read_answer(new)).status == 200


async def test_a_burst_leaves_no_more_than_fit_and_others_are_answered() -> None:
    async with listening(Patience(connections=20)) as server, AsyncExitStack() as stack:
        for _ in range(60):
            _, writer = await stack.enter_async_context(connected(server.address))
            writer.write(_HEAD + b"{")
        await settled(lambda: len(server.connections.connections) == 20)
        for _ in range(30):
            async with connected(server.address) as (reader, writer):
                writer.write(_GET)
                assert (await read_answer(reader)).status == 200


def busy(server: Listening) -> int:
    """How many requests are being answered."""
    return sum(each._request_in_progress for each in server.connections.connections)


async def test_when_all_are_busy_the_newest_goes() -> None:
    async with listening(Patience(connections=2)) as server, AsyncExitStack() as stack:
        pairs = []
        for _ in range(3):
            reader, writer = await stack.enter_async_context(connected(server.address))
            pairs.append((reader, writer))
            writer.write(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
            await settled(lambda: busy(server) == min(len(pairs), 2))
        with pytest.raises(asyncio.IncompleteReadError):
            await read_answer(pairs[2][0])
        server.let_go.set()
        for reader, _ in pairs[:2]:
            assert (await read_answer(reader)).status == 200


def test_a_quarter_of_the_descriptors_is_for_files() -> None:
    assert [_connections_for(each) for each in (64, 256, 512, 1024, 65_536)] == [16, 144, 336, 720, 49_104]


async def test_a_stalled_log_in_and_a_stalled_upload_are_told_so(serve: Serve) -> None:
    """And nothing of the upload stays."""
    form = encode_form(upload_parts(build_wheel("demo", "1.0")))
    async with serve(stall_timeout=0.2) as served:
        root = f"Authorization: {basic('root')['Authorization']}\r\n".encode()
        for path, headers, body in (
            (b"/+login", b"Content-Type: application/json\r\n", b"{"),
            (b"/root/dev/", root + b"Content-Type: " + CONTENT_TYPE + b"\r\n", form[:-10]),
        ):
            async with connected(served.address) as (reader, writer):
                head = b"POST %s HTTP/1.1\r\nHost: x\r\n%sContent-Length: %d\r\n\r\n" % (path, headers, len(form))
                writer.write(head + body)
                answer = await read_answer(reader, "POST")
                assert (answer.status, answer.header("Connection")) == (408, "close")
                assert b"did not come" in answer.body
                assert await reader.read() == b""
        assert await served.engine.store.page(HOSTED, ProjectName("demo")) is None
