"""What is written down about requests: enough, one JSON line each, nobody's secrets, and no line that a request made up."""

from __future__ import annotations

import asyncio
import base64
import fcntl
import io
import json
import logging
import os
import select
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from pkgindex_core.testing.wheels import build_wheel
from pkgindex_http import access_log
from pkgindex_http.access_log import AccessLine, JsonFormatter
from pkgindex_http.commands.logs import configure_logging
from pkgindex_http.settings import ServerSettings
from tests.conftest import Tally
from tests.http.conftest import PASSWORD, Serve, Served, basic
from tests.http.forms import CONTENT_TYPE, encode_form, upload_parts
from tests.http.wire import RawAnswer, RawRequest, ask_raw, connected, read_answer

CANARY = "canary-7f3a91c2"
"""Stands in every place where a client may put a secret."""
LOST = "lines of the access log that are lost, since its reader takes none"
LATE = AccessLine(time="", client="", who="", method="GET", path="/late", status=200, bytes=0, ms=0, agent="")


class Logs:
    """What the program has written to standard error so far."""

    def __init__(self, stream: io.StringIO) -> None:
        self._stream = stream

    def read(self) -> str:
        return self._stream.getvalue()

    def lines(self) -> list[dict[str, Any]]:
        """Every line, each a JSON object."""
        return [json.loads(line) for line in self.read().split("\n") if line]

    def access(self) -> list[dict[str, Any]]:
        return [line for line in self.lines() if "method" in line]


class Writes(io.StringIO):
    """A stream that keeps each write apart, and waits before each."""

    def __init__(self, written: list[str], goes_on: threading.Event | None = None) -> None:
        super().__init__()
        self._written = written
        self._goes_on = goes_on

    def write(self, text: str) -> int:
        if self._goes_on is not None:
            assert self._goes_on.wait(60)
        self._written.append(text)
        return len(text)


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Logs]:
    """Logging as the server sets it up, at its most talkative."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    root, access = logging.getLogger(), logging.getLogger("pkgindex.access")
    before = (root.handlers[:], root.level, access.handlers[:], access.level, access.propagate)
    configure_logging(ServerSettings(data=tmp_path, log_level="debug", access_log=True))
    monkeypatch.undo()
    yield Logs(stream)
    root.handlers[:], access.handlers[:] = before[0], before[2]
    root.setLevel(before[1])
    access.setLevel(before[3])
    access.propagate = before[4]


async def _ask(served: Served, *lines: str | bytes, body: bytes = b"") -> RawAnswer:
    head = b"\r\n".join(line.encode() if isinstance(line, str) else line for line in lines)
    return await ask_raw(served.address, head + b"\r\n\r\n" + body, method="GET")


async def test_a_line_says_who_asked_for_what_and_what_came_of_it(serve: Serve, logs: Logs) -> None:
    async with serve(access_log=True) as served:
        await served.put(build_wheel("demo", "1.0"))
        anna = await served.user("anna")
        async with served.get("/simple/demo/?x=y", headers={**anna, "User-Agent": "pip/26.3"}) as answer:
            size = len(await answer.read())
        async with served.request("HEAD", "/simple/none/") as answer:
            await answer.read()
    page, missing = logs.access()
    assert datetime.fromisoformat(page.pop("time")).tzinfo
    assert page.pop("ms") > 0
    assert page == {
        "client": "127.0.0.1",
        "who": "anna",
        "method": "GET",
        "path": "/simple/demo/",
        "status": 200,
        "bytes": size,
        "agent": "pip/26.3",
    }
    assert (missing["method"], missing["status"], missing["who"], missing["bytes"]) == ("HEAD", 404, "", 0)


async def test_lines_are_written_together_but_not_cut(
    serve: Serve, logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each write has whole lines, and so few bytes that a pipe does not mix them with those of other processes."""
    written: list[str] = []
    monkeypatch.setattr(logging.getLogger("pkgindex.access").handlers[0], "stream", Writes(written))
    async with serve(access_log=True) as served, connected(served.address) as (reader, writer):
        for number in range(40):
            writer.write(b"GET /+live?%d HTTP/1.1\r\nHost: x\r\nUser-Agent: %s\r\n\r\n" % (number, b"x" * 10 * number))
            assert (await read_answer(reader)).status == 200
    assert len(written) < 40
    assert all(len(each) <= select.PIPE_BUF and each.endswith("\n") for each in written)
    assert [len(json.loads(line)["agent"]) for each in written for line in each.splitlines()] == [*range(0, 400, 10)]


@pytest.mark.parametrize("character", ["\U0001f600", '"', "\\"], ids=["beyond ASCII", "quote", "backslash"])
async def test_a_line_of_characters_that_are_written_longer_is_one_write(
    serve: Serve, logs: Logs, monkeypatch: pytest.MonkeyPatch, character: str
) -> None:
    written: list[str] = []
    monkeypatch.setattr(logging.getLogger("pkgindex.access").handlers[0], "stream", Writes(written))
    text = (character * 1000).encode()
    async with serve(access_log=True) as served, connected(served.address) as (reader, writer):
        writer.write(b"GET /+live HTTP/1.1\r\nHost: x\r\nUser-Agent: %s\r\n\r\n" % text)
        assert (await read_answer(reader)).status == 200
    (line,) = written
    assert len(line) <= select.PIPE_BUF
    assert len(json.loads(line)["agent"]) == 500


async def test_no_answer_waits_for_a_reader_of_the_log(
    serve: Serve, logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While nobody takes the lines, requests are answered. Afterwards all lines are there."""
    written: list[str] = []
    goes_on = threading.Event()
    monkeypatch.setattr(logging.getLogger("pkgindex.access").handlers[0], "stream", Writes(written, goes_on))
    async with serve(access_log=True) as served:
        try:
            for _ in range(20):
                async with served.get("/+live") as answer:
                    assert answer.status == 200
                await asyncio.sleep(0.01)
            assert not written
        finally:
            goes_on.set()
    assert len("".join(written).splitlines()) == 20


async def test_a_stop_does_not_wait_for_ever_for_a_reader_of_the_log(
    serve: Serve, logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log tells how many lines are lost, also of requests that end later."""
    written: list[str] = []
    goes_on = threading.Event()
    monkeypatch.setattr(logging.getLogger("pkgindex.access").handlers[0], "stream", Writes(written, goes_on))
    try:
        async with asyncio.timeout(20), serve(access_log=True, shutdown_timeout=0.1) as served:
            log = served.server._access_log
            assert log is not None
            for _ in range(20):
                async with served.get("/+live") as answer:
                    assert answer.status == 200
                await asyncio.sleep(0.01)
        assert not written
        assert [line["message"] for line in logs.lines() if line["level"] == "warning"] == [f"{LOST}: 20"]
        log.add(LATE, "", 0.0)
        async with asyncio.timeout(20):
            while f'{LOST}: 1"' not in logs.read():
                await asyncio.sleep(0.01)
    finally:
        goes_on.set()


async def test_a_line_after_the_close_is_written(serve: Serve, logs: Logs) -> None:
    async with serve(access_log=True) as served:
        log = served.server._access_log
        assert log is not None
    log.add(LATE, "", 0.0)
    assert [line["path"] for line in logs.access()] == ["/late"]


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_server_ends_although_nothing_reads_its_log(tmp_path: Path, workers: int) -> None:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    filling = os.open(f"/proc/self/fd/{writing}", os.O_WRONLY | os.O_NONBLOCK)
    words = ("--data", tmp_path / "data", "--port", "0", "--workers", workers, "--access-log")
    process = await asyncio.create_subprocess_exec(
        *map(str, (sys.executable, "-m", "pkgindex_http", "run", *words)), stdout=asyncio.subprocess.PIPE, stderr=writing,
    )  # fmt: skip
    os.close(writing)
    try:
        async with asyncio.timeout(40):
            assert process.stdout is not None
            url = (await process.stdout.readline()).decode().strip()
            assert os.read(reading, 4096)
            address = ("127.0.0.1", int(url.rstrip("/").rpartition(":")[2]))
            async with asyncio.TaskGroup() as group:
                for _ in range(100):
                    group.create_task(ask_raw(address, b"GET /+live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
            with suppress(BlockingIOError):
                while True:
                    os.write(filling, b"x")
            process.terminate()
            assert await process.wait() == 0
    finally:
        os.close(reading)
        os.close(filling)
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_lines_for_which_there_is_no_room_are_written_by_the_loop(
    serve: Serve, logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_log, "_MOST_WAITING", 0)
    async with serve(access_log=True) as served, connected(served.address) as (reader, writer):
        for number in range(5):
            writer.write(b"GET /+live HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await read_answer(reader)).status == 200
            assert number <= len(logs.access()) <= number + 1  # the answer is read before its line is written
    assert len(logs.access()) == 5


async def test_a_token_is_named_by_its_id(serve: Serve, logs: Logs) -> None:
    async with serve(access_log=True) as served:
        text, token = await served.engine.tokens.make("root", who="[test]", name="ci", actions=("read",))
        for headers in (basic("__token__", text), basic(text, ""), {"Authorization": f"Bearer {text}"}):
            async with served.get("/simple/", headers=headers) as answer:
                assert answer.status == 200
    assert {line["who"] for line in logs.access()} == {f"root (token {token.id})"}
    assert text not in logs.read()
    assert text.rpartition("_")[2] not in logs.read()


async def test_the_client_is_who_the_trusted_proxy_says(serve: Serve, logs: Logs) -> None:
    for trusted in (("127.0.0.0/8",), ()):
        async with serve(access_log=True, trusted_proxies=trusted) as served:
            answer = await _ask(served, "GET /+live HTTP/1.1", "Host: x", "X-Forwarded-For: 203.0.113.7")
            assert answer.status == 200
    assert [line["client"] for line in logs.access()] == ["203.0.113.7", "127.0.0.1"]


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


_HEADERS = [
    f"Authorization: Basic {_encoded(f'root:{CANARY}')}",
    f"Authorization: Basic {_encoded(f'{CANARY}:')}",
    f"Authorization: Basic {_encoded(f':{CANARY}')}",
    f"Authorization: Basic {CANARY}",
    f"Authorization: Bearer {CANARY}",
    f"Authorization: token {CANARY}",
    f"Authorization: {CANARY}",
    f"Authorization: Digest {CANARY}",
    f"Authorization: Bearer {CANARY}é",
    f"Authorization: Bearer {CANARY} and more",
    f"X-Devpi-Auth: {_encoded(f'root:{CANARY}')}",
    f"X-Devpi-Auth: {CANARY}",
    f"Proxy-Authorization: Basic {_encoded(f'root:{CANARY}')}",
    f"Cookie: session={CANARY}",
    f"X-Api-Key: {CANARY}",
    f"Referer: https://root:{CANARY}@example.com/",
]
_MALFORMED_LINES = [
    f"Authorization: Bearer {CANARY}\0".encode(),
    f"Authorization: Bearer {CANARY}\rX: y".encode(),
    f"Authorization Bearer {CANARY}".encode(),
    f"Authorization : Bearer {CANARY}".encode(),
    f"{CANARY}".encode(),
    f" {CANARY}".encode(),
    b"Authorization: Bearer " + CANARY.encode() * 3000,
    f"Transfer-Encoding: {CANARY}".encode(),
    f"Content-Length: {CANARY}".encode(),
]
_TARGETS = [
    f"http://root:{CANARY}@localhost/simple/",
    f"http://root:{CANARY}@localhost/nowhere",
    f"http://root:{CANARY}@localhost",
    f"https://{CANARY}@localhost/simple/none/",
    f"/simple/?token={CANARY}",
    f"/simple/none/?password={CANARY}",
    f"/nowhere?{CANARY}",
    f"/+explain?token={CANARY}",
    f"/simple/?format=x&token={CANARY}",
    f"/root/dev/+f/abc/0123456789abc/demo-1.0.tar.gz?X-Amz-Signature={CANARY}",
]
_ACCEPTS = ["*/*", "text/html", "application/json"]


async def test_no_secret_of_a_request_is_written_down_or_sent_back(serve: Serve, logs: Logs, tally: Tally) -> None:
    starts = ["GET /simple/", "GET /nowhere/", "GET /root/none/+simple/", "GET /+explain?project=x"]
    starts += ["POST /legacy/", "DELETE /root/dev/demo", "PATCH /root/dev/+f/abc/0123456789abc/demo-1.0.tar.gz"]
    requests: list[list[str | bytes]] = [[f"{start} HTTP/1.1", line] for start in starts for line in _HEADERS]
    requests += [["GET /simple/ HTTP/1.1", line] for line in _MALFORMED_LINES]
    requests += [[f"{method} {target} HTTP/1.1"] for method in ("GET", "POST") for target in _TARGETS]
    requests += [
        [f"GET {CANARY} HTTP/1.1"],
        [f"{CANARY} / HTTP/1.1"],
        [f"GET / {CANARY}"],
        [f"GET /\0{CANARY} HTTP/1.1"],
    ]
    async with serve(access_log=True) as served:
        for accept in _ACCEPTS:
            for first, *others in requests:
                length = (
                    []
                    if any(b"Content-Length" in line for line in others if isinstance(line, bytes))
                    else ["Content-Length: 0"]
                )
                usual = ("Host: localhost", f"Accept: {accept}", "Connection: close", *length)
                answer = await _ask(served, first, *usual, *others)
                assert answer.status < 500, (first, others)
                assert CANARY.encode() not in answer.head + answer.body, (first, others)
    for secret in (CANARY, _encoded(f"root:{CANARY}"), _encoded(f"{CANARY}:"), CANARY[2:]):
        assert secret not in logs.read()
    tally("requests with secrets in odd places", len(requests) * len(_ACCEPTS))


async def test_no_secret_of_a_body_is_written_down_or_sent_back(serve: Serve, logs: Logs) -> None:
    built = build_wheel("demo", "1.0")
    secrets = [(name, None, CANARY.encode()) for name in ("password", "token", ":password", "username", "api_key")]
    async with serve(access_log=True, failed_logins=0) as served:
        forms = [
            encode_form([*secrets, *upload_parts(built)]),
            encode_form([*secrets, *upload_parts(built, data=b"no archive")]),
            encode_form([*secrets, *upload_parts(built)])[:-400],
            encode_form([*secrets, ("name", "x", CANARY.encode())]),
            encode_form([*secrets, ("name", None, CANARY.encode() + b"\xff")]),
            CANARY.encode() * 1000,
        ]
        for accept in _ACCEPTS:
            for form in forms:
                for auth in (basic("root"), basic("root", CANARY), {}):
                    lines = [f"{name}: {value}".encode() for name, value in auth.items()]
                    lines += [b"Content-Type: " + CONTENT_TYPE, b"Accept: " + accept.encode(), b"Connection: close"]
                    answer = await ask_raw(served.address, RawRequest("POST", b"/legacy/", tuple(lines), form).encode())
                    assert answer.status < 500
                    assert CANARY.encode() not in answer.head + answer.body
            for body in (
                {"user": "root", "password": CANARY},
                {"user": "nobody", "password": CANARY},
                {"user": "root", "password": [CANARY]},
                {"user": "root", "passwort": CANARY},
                {"user": 1, "password": CANARY},
                CANARY,
                [CANARY],
            ):
                for text in (json.dumps(body).encode(), json.dumps(body).encode()[:-1]):
                    async with served.request("POST", "/+login", data=text, headers={"Accept": accept}) as login:
                        assert login.status in {400, 401}
                        assert CANARY not in await login.text()
                        assert CANARY not in str(login.headers)
    assert CANARY not in logs.read()


async def test_a_login_is_not_written_down_either(serve: Serve, logs: Logs) -> None:
    async with serve(access_log=True) as served:
        async with served.request("POST", "/+login", json={"user": "root", "password": PASSWORD}) as answer:
            assert answer.status == 200
            assert answer.headers["Cache-Control"] == "no-store"
            token = json.loads(await answer.read())["result"]["password"]
        async with served.get("/simple/", headers={"X-Devpi-Auth": _encoded(f"root:{token}")}) as answer:
            assert answer.status == 200
    assert token not in logs.read()
    assert PASSWORD not in logs.read()
    assert [line["who"] for line in logs.access()] == ["", "root"]


_FORGED = b'{"time": "2026-01-01T00:00:00Z", "method": "GET", "who": "root", "path": "/forged", "status": 200}'


async def test_no_request_forges_a_line(serve: Serve, logs: Logs) -> None:
    asked = 0
    async with serve(access_log=True) as served:
        quoted = _FORGED.replace(b" ", b"%20").replace(b'"', b"%22")
        for end in (
            b"%0a",
            b"%0d%0a",
            b"%0d",
            b"%E2%80%A8",
            b"%C2%85",
            b"%00",
            b'"}%0a',
            b"\\n",
            b"\xe2\x80\xa8",
            b"\xc2\x85",
        ):
            await _ask(served, b"GET /simple/x" + end + quoted + b"/ HTTP/1.1", "Host: localhost", "Connection: close")
            asked += 1
        for agent in (
            b"x\\n" + _FORGED,
            b'x"}' + _FORGED,
            b"\xe2\x80\xa8" + _FORGED,
            b"\xc2\x85" + _FORGED,
            b"\xff\xfe" + _FORGED,
            b"\x0b\x0c\x1c\x1d\x1e" + _FORGED,
            b"\t\x1b[2J" + _FORGED,
            b"%s %d {0} %(message)s " + _FORGED,
            b"x" * 16_000,
        ):
            await _ask(served, b"GET /+live HTTP/1.1", "Host: localhost", b"User-Agent: " + agent, "Connection: close")
            asked += 1
        for bare in (b"x\n" + _FORGED, b"x\r" + _FORGED, b"x\r\n" + _FORGED):
            await _ask(served, b"GET /+live HTTP/1.1", "Host: localhost", b"User-Agent: " + bare, "Connection: close")
            asked += 1
    lines = logs.access()
    assert len(lines) == asked
    assert "/forged" not in {line["path"] for line in lines}
    for line in logs.read().splitlines():  # which splits at more than line feeds
        assert json.loads(line)
        assert len(line) < 2000


async def test_bytes_that_are_not_text_do_not_stop_the_log(serve: Serve, logs: Logs) -> None:
    async with serve(access_log=True) as served, connected(served.address) as (reader, writer):
        for _ in range(2):
            writer.write(b"GET /simple/ HTTP/1.1\r\nHost: localhost\r\nUser-Agent: \xff\r\n\r\n")
            assert (await read_answer(reader)).status == 200
    assert [line["agent"] for line in logs.access()] == ["\\udcff", "\\udcff"]


async def test_an_unforeseen_failure_is_in_the_log_and_not_in_the_answer(serve: Serve, logs: Logs) -> None:
    async with serve(access_log=True) as served:

        async def fail(request: Any) -> None:
            raise RuntimeError(f"boom é in a {type(request).__name__}")

        served.engine.pages.holding_project = fail  # type: ignore[method-assign, assignment]  # a service that fails
        for accept in _ACCEPTS:
            async with served.get(
                "/simple/demo/", headers={"Accept": f"{accept}, text/html;q=0.1", **basic("root")}
            ) as answer:
                text = await answer.text()
                assert answer.status == 500
                assert answer.headers["Cache-Control"] == "no-store"
                assert "boom" not in text
                assert "Traceback" not in text
                assert ".py" not in text
    errors = [line for line in logs.lines() if line.get("level") == "error"]
    assert len(errors) == 3
    for error in errors:
        assert "RuntimeError: boom é" in error["traceback"]
    assert errors[-1]["message"].split()[1] in text  # the reference that the client can quote
    assert PASSWORD not in logs.read()


def test_other_records_are_json_lines_too() -> None:
    record = logging.LogRecord("x", logging.WARNING, "p", 1, "a %s\nb \udcff", ("\r\n",), None)
    line = JsonFormatter().format(record)
    assert "\n" not in line
    document = json.loads(line)
    assert document["message"] == "a \r\n\nb \\udcff"
    assert (document["level"], document["logger"]) == ("warning", "x")
