"""Sends requests and counts answers: with wrk where it is installed, else with a driver of our own.

Both keep a number of connections busy for a time: the next request leaves when the answer before it is whole. Requests are
byte-identical, which is what an installer sends for one page. wrk costs a fraction of what our own driver does; with our own
the driver is the limit above a few thousand answers a second, so tables of the two are never mixed, and say which it was.

    python -m benchmarks.load     what our own driver runs as: a job as JSON on stdin, what was found on stdout
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, Self

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from benchmarks import machine

HERE = Path(__file__).parent
ROOT = HERE.parent
AGENT = 'pip/26.1 {"ci":null,"installer":{"name":"pip","version":"26.1"}}'
"""devpi answers installers faster than browsers."""
ANSWER_SECONDS = 120.0


class Failed(Exception):
    """A server did not answer as it must; a figure would mean nothing."""


class Request(Struct, frozen=True, kw_only=True):
    """One GET."""

    port: int
    path: str
    headers: Mapping[str, str] = {}
    expected: int = 200
    """The status that the answers must have."""

    def asking_again(self, etag: str) -> Request:
        """The same with the ETag of the last answer, expecting that nothing changed."""
        return replace(self, headers={**self.headers, "If-None-Match": etag}, expected=304)

    @property
    def all_headers(self) -> dict[str, str]:
        return {"User-Agent": AGENT, **self.headers}

    @property
    def data(self) -> bytes:
        lines = [f"GET {self.path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}"]
        lines += [f"{name}: {value}" for name, value in self.all_headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Answer(Struct, frozen=True, kw_only=True):
    status: int
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes
    seconds: float


class Found(Struct, frozen=True, kw_only=True):
    """What a driver counted."""

    requests: int
    seconds: float
    bytes: int = 0
    p50_ms: float
    p99_ms: float


class Driver(Protocol):
    name: str

    def run(self, request: Request, *, connections: int, seconds: float) -> Found:
        """Keep the connections busy for that long."""
        ...


class Wrk:
    """The driver of choice: https://github.com/wg/wrk, packaged by most systems."""

    name = "wrk"

    def run(self, request: Request, *, connections: int, seconds: float) -> Found:
        headers = [text for name, value in request.all_headers.items() for text in ("-H", f"{name}: {value}")]
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", f"--timeout={ANSWER_SECONDS:.0f}s"]
        command += [*headers, "-s", str(HERE / "report.lua"), f"http://127.0.0.1:{request.port}{request.path}"]
        output = _output(machine.driver_command(command))
        raw = msgspec.json.decode(output.splitlines()[-1])
        if raw["failed"] or raw["refused"]:
            raise Failed(f"{request.path}: {raw['failed']} broken and {raw['refused']} refused of {raw['requests']}")
        return Found(
            requests=raw["requests"],
            seconds=raw["duration"] / 1e6,
            bytes=raw["bytes"],
            p50_ms=raw["p50"] / 1e3,
            p99_ms=raw["p99"] / 1e3,
        )


class _Job(Struct):
    port: int
    data: bytes
    expected: int
    connections: int
    seconds: float


class OwnDriver:
    """The fallback: a process of asyncio with raw sockets."""

    name = "own driver"

    def run(self, request: Request, *, connections: int, seconds: float) -> Found:
        job = _Job(request.port, request.data, request.expected, connections, seconds)
        command = machine.driver_command([sys.executable, "-m", "benchmarks.load"])
        return msgspec.json.decode(_output(command, msgspec.json.encode(job)), type=Found)


def choose_driver(*, own: bool = False) -> Driver:
    """wrk when it is there; ours when it is not, or when asked for."""
    if not own and shutil.which("wrk"):
        return Wrk()
    if not own:
        print("wrk is not installed: the driver is our own, and the limit of the fast rows", file=sys.stderr)
    return OwnDriver()


def fetch(request: Request) -> Answer:
    """Send a request once, on a connection of its own, and check the answer."""
    with Connection(request.port) as connection:
        answer = connection.send(request.data)
    if answer.status != request.expected:
        raise Failed(f"port {request.port} {request.path}: {answer.status} instead of {request.expected}")
    return answer


def one_after_another(request: Request, *, count: int) -> Found:
    """Answers that take seconds: `count` of them over one connection. Threads on one interpreter lock gain nothing."""
    taken = []
    size = 0
    with Connection(request.port) as connection:
        for _ in range(count):
            answer = connection.send(request.data)
            if answer.status != request.expected:
                raise Failed(f"port {request.port} {request.path}: {answer.status} instead of {request.expected}")
            taken.append(answer.seconds)
            size += len(answer.body)
    return found_of(taken, sum(taken), size)


class Connection:
    """A blocking keep-alive connection. A server that closes after each answer gets a new one."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def send(self, data: bytes, method: str = "GET") -> Answer:
        start = time.perf_counter()
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=ANSWER_SECONDS)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(data)
        reader = Reader(head_only=method == "HEAD")
        while not reader.complete:
            received = self._socket.recv(1 << 20)
            if not received:
                reader.end()
                break
            reader.feed(received)
        seconds = time.perf_counter() - start
        if reader.closes:
            self._close()
        return Answer(status=reader.status, headers=reader.headers, body=reader.body, seconds=seconds)

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Reader:
    """Just enough HTTP to find the end of an answer: a length, chunks, or the end of the connection."""

    def __init__(self, *, head_only: bool = False) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.complete = False
        self.closes = False
        self._buffer = bytearray()
        self._head_size = 0
        self._end: int | None = None
        self._head_only = head_only
        self._chunked = False

    def feed(self, data: bytes) -> None:
        self._buffer += data
        if not self.status:
            self._head_size = self._buffer.find(b"\r\n\r\n") + 4
            if self._head_size < 4:
                return
            self._read_head(bytes(self._buffer[: self._head_size]))
        if self._end is not None:
            self.complete = len(self._buffer) >= self._end
        elif self._chunked:
            # A chunk may end in what looks like the last one, never with nothing behind it: answers are not pipelined.
            self.complete = self._buffer.endswith(b"\r\n0\r\n\r\n") or self._buffer[self._head_size :] == b"0\r\n\r\n"

    def end(self) -> None:
        """The connection was closed."""
        self.closes = True
        if self._chunked or self._end is not None or not self.status:
            raise Failed("the connection ended before the answer did")
        self.complete = True

    @property
    def body(self) -> bytes:
        raw = bytes(self._buffer[self._head_size :])
        if not self._chunked:
            return raw
        parts = []
        while raw:
            size, _, raw = raw.partition(b"\r\n")
            length = int(size.partition(b";")[0], 16)
            parts.append(raw[:length])
            raw = raw[length + 2 :]
        return b"".join(parts)

    def _read_head(self, head: bytes) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")
        version, status = first.split(" ")[:2]
        self.status = int(status)
        for line in lines:
            name, _, value = line.partition(":")
            self.headers[name.lower()] = value.strip()
        connection = self.headers.get("connection", "").lower()
        self.closes = connection == "close" or (version == "HTTP/1.0" and connection != "keep-alive")
        if self._head_only or self.status in {204, 304}:
            self._end = self._head_size
        elif "chunked" in self.headers.get("transfer-encoding", ""):
            self._chunked = True
        elif "content-length" in self.headers:
            self._end = self._head_size + int(self.headers["content-length"])


class _Busy(asyncio.Protocol):
    """One connection of our own driver."""

    def __init__(self, job: _Job, counts: list[float], until: float) -> None:
        self._job = job
        self._counts = counts
        self._until = until
        self.size = 0
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self.size += len(data)
        self._reader.feed(data)
        if self._reader.complete:
            self._answered()

    def eof_received(self) -> None:
        if not self._reader.complete:
            self._fail("the connection ended before the answer did")

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.finished.done():
            self._fail(f"the connection was lost: {exc}")

    def _send(self) -> None:
        self._reader = Reader()
        self._start = time.perf_counter()
        self._transport.write(self._job.data)

    def _answered(self) -> None:
        now = time.perf_counter()
        self._counts.append(now - self._start)
        if self._reader.status != self._job.expected:
            self._fail(f"status {self._reader.status} instead of {self._job.expected}")
        elif now >= self._until:
            self.finished.set_result(None)
            self._transport.close()
        elif self._reader.closes:
            self._fail("the server closes connections; use wrk")
        else:
            self._send()

    def _fail(self, reason: str) -> None:
        if not self.finished.done():
            self.finished.set_exception(Failed(reason))
        self._transport.close()


async def _drive(job: _Job) -> Found:
    loop = asyncio.get_running_loop()
    counts: list[float] = []
    start = time.perf_counter()
    until = start + job.seconds
    pairs = [
        await loop.create_connection(lambda: _Busy(job, counts, until), "127.0.0.1", job.port)
        for _ in range(job.connections)
    ]
    await asyncio.gather(*(busy.finished for _, busy in pairs))
    return found_of(counts, time.perf_counter() - start, sum(busy.size for _, busy in pairs))


def found_of(taken: list[float], seconds: float, size: int) -> Found:
    """Count answers that took so many seconds each."""
    ordered = sorted(taken)
    return Found(
        requests=len(ordered),
        seconds=seconds,
        bytes=size,
        p50_ms=statistics.median(ordered) * 1e3,
        p99_ms=ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] * 1e3,
    )


def _output(command: list[str], given: bytes = b"") -> bytes:
    done = subprocess.run(command, input=given, capture_output=True, cwd=ROOT, check=False)
    if done.returncode:
        raise Failed(f"{command[0]}: {done.stderr.decode(errors='replace').strip()[-400:]}")
    return done.stdout


if __name__ == "__main__":
    found = asyncio.run(_drive(msgspec.json.decode(sys.stdin.buffer.read(), type=_Job)))
    sys.stdout.write(msgspec.json.encode(found).decode())
