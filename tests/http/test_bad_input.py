"""Hostile requests over a real socket: refused or not found, in bounds, and never a byte that is not theirs to have.

Tricks with paths and names, and malformed requests. Nothing here passes through an HTTP client, which would put right what is wrong.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import Struct

from pkgindex_core.testing.wheels import build_wheel
from pkgindex_http.routes import ROUTES
from tests.conftest import Tally
from tests.corpora.path_tricks import PathTrick, path_tricks
from tests.http.conftest import HOSTED, Serve, Served, basic
from tests.http.forms import CONTENT_TYPE, FIELD_BYTES, MALFORMED, encode_form, upload_fields, upload_parts
from tests.http.test_advisories import record, take_in
from tests.http.wire import RawAnswer, RawRequest, ask_all, ask_raw, connected, read_answer

CANARY = b"canary-of-the-file-system-5d41402a"
PRIVATE = b"canary-of-another-index-7d793037"
_ANSWER_LIMIT = 16 * 1024
"""Bytes that an answer to a trick may have; real pages here are smaller still."""
_EXPECTED = {200, 301, 302, 308, 400, 401, 403, 404, 405, 409, 413}
_HEADERS = {
    *("content-type", "content-length", "date", "server", "connection", "cache-control", "vary", "etag", "location"),
    *("www-authenticate", "allow", "x-content-type-options", "content-security-policy", "referrer-policy"),
    *(
        "x-pypi-last-serial",
        "access-control-allow-origin",
        "access-control-expose-headers",
        "accept-ranges",
        "set-cookie",
    ),
    *("last-modified", "content-encoding", "retry-after"),
    *(f"x-devpi-{name}" for name in ("api-version", "server-version", "serial", "uuid", "primary-uuid", "master-uuid")),
}
_PREFIXED = (
    b"X-Forwarded-Prefix: /some/prefix",
    b"X-Forwarded-Proto: https",
    b"X-Forwarded-Host: packages.example.com",
)


def _targets(trick: PathTrick, values: dict[str, str]) -> Iterator[tuple[str, bytes]]:
    """Every route once, with the trick in place of one of its placeholders, in turn."""
    turn = sum(trick.raw)
    for route in ROUTES:
        holes = [segment for segment in route.segments if segment.startswith("{")]
        if not holes:
            continue
        hole = holes[turn % len(holes)]
        turn += 1
        if route.method == "DELETE" and b"?force" in trick.raw:
            continue  # no trick: a query, with which root deletes what stands before it
        parts = [trick.raw if segment == hole else values.get(segment, segment).encode() for segment in route.segments]
        yield route.method, b"/" + b"/".join(parts)
        if route.method == "GET" and turn % 2:
            yield "HEAD", b"/" + b"/".join(parts)
    yield "GET", b"/" + trick.raw
    yield "GET", b"/+explain?project=" + trick.raw


def _assert_harmless(request: RawRequest, answer: RawAnswer) -> None:
    shown = f"{request.method} {request.target[:200]!r}: {answer.status} {answer.reason}"
    assert answer.status in _EXPECTED, shown
    assert answer.names <= _HEADERS, f"{shown}: {answer.names - _HEADERS}"
    assert len(answer.head) + len(answer.body) <= _ANSWER_LIMIT, shown
    for canary in (CANARY, PRIVATE, b"root:x:0:"):
        assert canary not in answer.body + answer.head, shown
    location = answer.header("Location")
    if location is not None:
        # To another spelling beside this one, never to another place or another server.
        assert location.startswith(("../", "./")) or (location[:1].isalnum() or location.startswith("+")), shown
        assert "://" not in location.partition("?")[0], shown
        assert "//" not in location.partition("?")[0], shown
    if b"<script" in request.target or b"<img" in request.target or b"<svg" in request.target:
        assert not (answer.header("Content-Type") or "").startswith("text/html") or b"<s" not in answer.body, shown


async def _fill(served: Served) -> dict[str, str]:
    """One file that everybody may see, one that nobody may who asks here, and a canary beside the data directory."""
    file = await served.put(build_wheel("demo", "1.0"))
    await served.user("anna")
    secret = build_wheel("secret", "1.0", files={"secret.py": PRIVATE}, stored=True)
    await served.put(secret, index=await served.index("anna/private", acl_read=("anna",)))
    assert file.sha256
    return {
        "{user}": "root",
        "{index}": "dev",
        "{project}": "demo",
        "{version}": "1.0",
        "{a}": file.sha256[:3],
        "{b}": file.sha256[3:16],
        "{filename}": file.filename,
    }


@pytest.mark.parametrize("prefixed", [False, True], ids=["direct", "prefixed"])
async def test_no_path_trick_finds_anything(
    serve: Serve, tmp_path: Path, tally: Tally, caplog: pytest.LogCaptureFixture, prefixed: bool
) -> None:
    """The corpus on every route that has a placeholder: GET and HEAD without credentials, the others as root."""
    canary = tmp_path / "canary.txt"
    canary.write_bytes(CANARY)
    tricks = path_tricks(str(canary))
    assert len(tricks) >= 400
    asked = answered = 0
    statuses: Counter[int] = Counter()
    options = {"trusted_proxies": ("127.0.0.0/8",)} if prefixed else {}
    take_in(tmp_path / "data", record("GHSA-1"))  # without any, questions about advisories are 503
    async with serve(blobs=(tmp_path / "data" / "blobs").as_uri(), **options) as served:
        values = await _fill(served)
        async with served.get("/simple/demo/") as page:
            before = await page.read()
        root = f"Authorization: {basic('root')['Authorization']}".encode()
        for number, trick in enumerate(tricks):
            requests = [
                RawRequest(
                    method, target, (*(_PREFIXED if prefixed else ()), *(() if method in {"GET", "HEAD"} else (root,)))
                )
                for method, target in _targets(trick, values)
            ]
            if prefixed:
                requests = requests[number % 5 :: 5]
            answers = await ask_all(served.address, requests)
            for request, answer in zip(requests, answers, strict=True):
                _assert_harmless(request, answer)
                statuses[answer.status] += 1
            asked += len(requests)
            answered += len(answers)
        async with served.get("/simple/demo/") as page:
            assert await page.read() == before
    assert asked == answered
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    tally("path tricks", len(tricks))
    tally("requests with path tricks", asked)


class _Raw(Struct, frozen=True):
    """Bytes for a connection, and what is known of the outcome."""

    why: str
    data: bytes
    waits: bool = False
    """The server rightly waits for more."""


_SMUGGLED = b"GET /+smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"


def _post(*headers: bytes, body: bytes = b"") -> bytes:
    return (
        b"POST /root/dev/ HTTP/1.1\r\nHost: localhost\r\n"
        + b"".join(line + b"\r\n" for line in headers)
        + b"\r\n"
        + body
    )


def _get(
    *headers: bytes, target: bytes = b"/simple/", version: bytes = b"HTTP/1.1", host: bytes = b"Host: localhost\r\n"
) -> bytes:
    return b"GET %s %s\r\n%s" % (target, version, host) + b"".join(line + b"\r\n" for line in headers) + b"\r\n"


_CHUNKED = b"Transfer-Encoding: chunked"
_MALFORMED_HTTP = [
    # Two opinions about where a body ends (CL/TE): whatever is answered, what hides in the body is not.
    _Raw("length and chunked", _post(b"Content-Length: 5", _CHUNKED, body=b"0\r\n\r\n" + _SMUGGLED)),
    _Raw("chunked and length", _post(_CHUNKED, b"Content-Length: 5", body=b"0\r\n\r\n" + _SMUGGLED)),
    _Raw("two lengths", _post(b"Content-Length: 0", b"Content-Length: %d" % len(_SMUGGLED), body=_SMUGGLED)),
    _Raw("two lengths in one", _post(b"Content-Length: 0, %d" % len(_SMUGGLED), body=_SMUGGLED)),
    _Raw("length with a sign", _post(b"Content-Length: +%d" % len(_SMUGGLED), body=_SMUGGLED)),
    _Raw("negative length", _post(b"Content-Length: -1", body=_SMUGGLED)),
    _Raw("hexadecimal length", _post(b"Content-Length: 0x10", body=_SMUGGLED)),
    _Raw("length with a blank", _post(b"Content-Length: 1 0", body=_SMUGGLED)),
    _Raw("length in other digits", _post("Content-Length: ٥".encode(), body=_SMUGGLED)),
    _Raw("length with an underscore", _post(b"Content-Length: 1_0", body=_SMUGGLED)),
    _Raw("empty length", _post(b"Content-Length:", body=_SMUGGLED)),
    _Raw("endless length", _post(b"Content-Length: " + b"9" * 400, body=_SMUGGLED)),
    _Raw("blank before the colon", _post(b"Content-Length : %d" % len(_SMUGGLED), body=_SMUGGLED)),
    _Raw("blank before chunked's colon", _post(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n" + _SMUGGLED)),
    _Raw("xchunked", _post(b"Transfer-Encoding: xchunked", b"Content-Length: 0", body=_SMUGGLED)),
    _Raw("chunked twice", _post(b"Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n" + _SMUGGLED)),
    _Raw("two codings", _post(_CHUNKED, b"Transfer-Encoding: identity", body=b"0\r\n\r\n" + _SMUGGLED)),
    _Raw("chunked is not last", _post(b"Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n" + _SMUGGLED)),
    _Raw("vertical tab", _post(b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n" + _SMUGGLED)),
    _Raw("NUL in the coding", _post(b"Transfer-Encoding: chunked\0", body=b"0\r\n\r\n" + _SMUGGLED)),
    _Raw("folded coding", _post(b"Transfer-Encoding:\r\n chunked", body=b"0\r\n\r\n" + _SMUGGLED)),
    _Raw("chunked in HTTP/1.0", _post(_CHUNKED, b"Content-Length: 3", body=b"0\r\n\r\n" + _SMUGGLED).replace(b"1.1", b"1.0", 1)),
    _Raw("chunk size with a sign", _post(_CHUNKED, body=b"+5\r\nhello\r\n0\r\n\r\n")),
    _Raw("negative chunk", _post(_CHUNKED, body=b"-1\r\nhello\r\n0\r\n\r\n")),
    _Raw("hexadecimal chunk", _post(_CHUNKED, body=b"0x5\r\nhello\r\n0\r\n\r\n")),
    _Raw("chunk size with an underscore", _post(_CHUNKED, body=b"1_0\r\nhello\r\n0\r\n\r\n")),
    _Raw("endless chunk size", _post(_CHUNKED, body=b"F" * 400 + b"\r\nhello\r\n")),
    _Raw("chunk that is too long", _post(_CHUNKED, body=b"3\r\nhello\r\n0\r\n\r\n")),
    _Raw("chunk extension with a line feed", _post(_CHUNKED, body=b"5;\nhello\r\n0\r\n\r\n")),
    _Raw("chunks that end in line feeds", _post(_CHUNKED, body=b"5\nhello\n0\n\n" + _SMUGGLED)),
    _Raw("no chunk size", _post(_CHUNKED, body=b"\r\nhello\r\n0\r\n\r\n")),
    _Raw("a megabyte of chunk extension", _post(_CHUNKED, body=b"5;" + b"x" * 1_000_000 + b"\r\nhello\r\n0\r\n\r\n")),
    _Raw("a megabyte of trailers", _post(_CHUNKED, body=b"0\r\n" + b"X-T: y\r\n" * 125_000 + b"\r\n")),
    # The request line.
    _Raw("HTTP/0.9", b"GET /simple/\r\n\r\n"),
    _Raw("HTTP/9.9", _get(version=b"HTTP/9.9")),
    _Raw("HTTP/2.0", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    _Raw("lower-case version", _get(version=b"http/1.1")),
    _Raw("version with a line feed", _get(version=b"HTTP/1.1\nX: y")),
    _Raw("two blanks", b"GET  /simple/ HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    _Raw("tabs", b"GET\t/simple/\tHTTP/1.1\r\nHost: localhost\r\n\r\n"),
    _Raw("a blank in the target", _get(target=b"/simple/a b/")),
    _Raw("NUL in the target", _get(target=b"/simple/\0/")),
    _Raw("line feed in the target", _get(target=b"/simple/\nX-Injected: yes")),
    _Raw("carriage return in the target", _get(target=b"/simple/\rX-Injected: yes")),
    _Raw("no target", b"GET HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    _Raw("a relative target", _get(target=b"simple/")),
    _Raw("an asterisk", b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    _Raw("another server's URL", _get(target=b"http://evil.example.com/simple/")),
    _Raw("another scheme", _get(target=b"file:///etc/passwd")),
    _Raw("a broken URL", _get(target=b"http://[::1/simple/")),
    _Raw("a port that is none", _get(target=b"http://a:b/simple/")),
    _Raw("CONNECT", b"CONNECT evil.example.com:443 HTTP/1.1\r\nHost: evil.example.com\r\n\r\n"),
    _Raw("TRACE", b"TRACE / HTTP/1.1\r\nHost: localhost\r\nX-Secret: s\r\n\r\n"),
    _Raw("a lower-case method", b"get /simple/ HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    _Raw("a method that is none", b"G\xffT /simple/ HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    _Raw("a method with markup", b"<B> /simple/ HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    _Raw("a long method", b"A" * 5000 + b" /simple/ HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    _Raw("a long line", _get(target=b"/" + b"a" * 100_000)),
    # Headers.
    _Raw("no host", _get(host=b"")),
    _Raw("two hosts", _get(b"Host: evil.example.com")),
    _Raw("the same host twice", _get(b"Host: localhost")),
    _Raw("a host with a path", _get(host=b"Host: localhost/evil\r\n", target=b"/")),
    _Raw("a host with markup", _get(host=b"Host: <script>alert(1)</script>\r\n", target=b"/")),
    _Raw("a host that is not text", _get(host=b"Host: \xff\xfe\r\n", target=b"/")),
    _Raw("a long header", _get(b"X-Long: " + b"x" * 100_000)),
    _Raw("a long header name", _get(b"X" * 100_000 + b": y")),
    _Raw("a thousand headers", _get(*[b"X-%d: y" % number for number in range(1000)])),
    _Raw("the same header 10,000 times", _get(*[b"Accept: text/html"] * 10_000)),
    _Raw("a header without colon", _get(b"Authorization Basic abc")),
    _Raw("a header without name", _get(b": value")),
    _Raw("a header name with a blank", _get(b"X Y: z")),
    _Raw("a header name with NUL", _get(b"X\0Y: z")),
    _Raw("a header name in brackets", _get(b"X(Y): z")),
    _Raw("a header value with NUL", _get(b"X: y\0z")),
    _Raw("a header value with CR", _get(b"X: y\rz")),
    _Raw("a header value with LF", _get(b"X: y\nInjected: z")),
    _Raw("a folded header", _get(b"X: y\r\n z")),
    _Raw("a folded first header", b"GET / HTTP/1.1\r\n Host: localhost\r\n\r\n"),
    _Raw("line feeds alone", b"GET /simple/ HTTP/1.1\nHost: localhost\n\n"),
    _Raw("bytes that are not UTF-8", _get(b"Accept: \xff", b"User-Agent: \xfe\xff", b"If-None-Match: \xff", b"Range: \xff")),
    _Raw("credentials that are not UTF-8", _get(b"Authorization: Bearer \xff\xfe")),
    _Raw("devpi credentials that are not UTF-8", _get(b"X-Devpi-Auth: \xff\xfe")),
    _Raw("a query that is not UTF-8", _get(target=b"/simple/?format=\xff&\xfe=%ff")),
    _Raw("an endless Accept", _get(b"Accept: " + b"a/b;q=0.1," * 1200)),
    _Raw("odd conditions", _get(b'If-None-Match: "', b"If-Modified-Since: never", b"If-Range: ;", b"Range: bytes=a-")),
    _Raw("expects the unexpected", _get(b"Expect: 200-ok")),
    _Raw("an upgrade to websockets", _get(b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: AA==")),
    _Raw("an upgrade to HTTP/2", _get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AA")),
    # Something else altogether.
    _Raw("TLS", bytes.fromhex("16030100c8010000c40303") + bytes(range(200))),
    _Raw("SSH", b"SSH-2.0-OpenSSH_9.6\r\n"),
    _Raw("NULs", b"\0" * 5000),
    _Raw("line ends", b"\r\n" * 5000, waits=True),
    _Raw("nothing", b"", waits=True),
    _Raw("half a request", b"GET /simple/ HT", waits=True),
    _Raw("half the headers", b"GET /simple/ HTTP/1.1\r\nHost: loc", waits=True),
    _Raw("half a body", _post(b"Content-Length: 100", b"Content-Type: " + CONTENT_TYPE, body=b"--"), waits=True),
    _Raw("half a chunk", _post(_CHUNKED, b"Content-Type: " + CONTENT_TYPE, body=b"5\r\nhe"), waits=True),
    _Raw("pipelined rubbish", b"GET /+live HTTP/1.1\r\nHost: localhost\r\n\r\n\xff\xff\xff\r\n\r\n"),
]  # fmt: skip


async def _outcome(address: tuple[str, int], case: _Raw) -> bytes:
    """Everything the server says: the first answer is waited for, then the connection is ended from this side."""
    async with asyncio.timeout(20), connected(address) as (reader, writer):
        said = b""
        try:
            writer.write(case.data)
            if not case.waits:
                said = await reader.read(65_536)
            writer.write_eof()
            while data := await reader.read(65_536):
                said += data
        except OSError:  # the server has closed, as it may
            return said
        return said


async def test_malformed_http_never_fails_the_server(
    serve: Serve, tally: Tally, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve() as served:
        anna = await served.user("anna")
        await served.put(build_wheel("demo", "1.0"))
        outcomes = await asyncio.gather(*(_outcome(served.address, case) for case in _MALFORMED_HTTP))
        for case, said in zip(_MALFORMED_HTTP, outcomes, strict=True):
            for line in said.split(b"\r\n"):
                if line.startswith(b"HTTP/"):
                    assert line.startswith((b"HTTP/1.0 ", b"HTTP/1.1 ")), f"{case.why}: {line!r}"
                    assert line.split(b" ")[1] < b"500", f"{case.why}: {line!r}"
                assert not line.lower().startswith((b"x-injected", b"injected")), case.why
            assert said or case.waits, f"{case.why}: no answer"
            assert b"+smuggled" not in said, f"{case.why}: {said[-300:]!r}"
            assert b"<script>" not in said, case.why
            assert b"X-Secret" not in said, case.why
            assert b"aiohttp" not in said.lower(), case.why
            assert len(said) < _ANSWER_LIMIT, case.why
        async with served.get("/simple/demo/", headers=anna) as answer:
            assert answer.status == 200
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    tally("malformed HTTP requests", len(_MALFORMED_HTTP))


async def test_several_hosts_or_none_are_400(serve: Serve) -> None:
    async with serve() as served:
        for lines in (b"Host: a\r\nHost: b\r\n", b"Host: a\r\nHost: a\r\n", b""):
            answer = await ask_raw(served.address, b"GET /simple/ HTTP/1.1\r\n" + lines + b"\r\n")
            assert answer.status == 400
        assert (await ask_raw(served.address, b"GET /simple/ HTTP/1.0\r\n\r\n")).status == 200


@pytest.mark.parametrize(
    ("version", "coding", "status"),
    [
        (b"HTTP/1.0", b"chunked", 400),
        (b"HTTP/1.1", b"gzip, chunked", 501),
        (b"HTTP/1.1", b"gzip", 400),  # RFC 9112 6.1: without `chunked` at the end its length is not known, "MUST respond with 400"
        (b"HTTP/1.1", b"Chunked", 405),
    ],
)  # fmt: skip
async def test_transfer_codings(serve: Serve, version: bytes, coding: bytes, status: int) -> None:
    """RFC 9112 6.1: behind a body whose length is uncertain nothing is believed; the connection is closed."""
    head = b"POST /simple/ %s\r\nHost: x\r\nConnection: keep-alive\r\nTransfer-Encoding: %s\r\n\r\n" % (version, coding)
    async with serve() as served, connected(served.address) as (reader, writer):
        writer.write(head + b"0\r\n\r\n" + _SMUGGLED)
        answer = await read_answer(reader, "POST")
        assert answer.status == status
        if status == 405:
            assert (await read_answer(reader)).status == 404  # it was another request, and no secret one
        else:
            assert await reader.read() == b""


async def test_a_whole_url_as_target_means_its_path(serve: Serve) -> None:
    async with serve() as served:
        for target in (b"http://other.example.com/+live", b"HTTPS://user:password@other/+live?x", b"/+live"):
            answer = await ask_raw(served.address, b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % target)
            assert (answer.status, answer.body) == (200, b"alive\n")


async def test_malformed_forms_are_refused_over_http(
    serve: Serve, tally: Tally, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(max_upload_field_bytes=FIELD_BYTES) as served:
        root = f"Authorization: {basic('root')['Authorization']}".encode()
        for accept in (b"*/*", b"application/json", b"text/html"):
            requests = [
                RawRequest("POST", b"/legacy/", (root, b"Accept: " + accept, b"Content-Type: " + kind), body)
                for _, kind, body in MALFORMED
            ]
            answers = await ask_all(served.address, requests)
            for (why, _, _), answer in zip(MALFORMED, answers, strict=True):
                assert answer.status in {400, 413}, f"{why}: {answer.status} {answer.reason}"
                assert answer.names <= _HEADERS, why
                assert answer.reason.isascii()
                assert answer.body, why
        assert [blob async for blob in served.engine.blobs.walk()] == []
        assert not await served.engine.store.projects(HOSTED)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    tally("malformed forms over HTTP", len(MALFORMED))


_JSON_BODIES = [
    *(
        b"",
        b" ",
        b"{",
        b"}",
        b"[]",
        b"null",
        b"true",
        b"0",
        b'""',
        b"NaN",
        b"{}",
        b'{"a"}',
        b"{'a': 1}",
        b"\xff",
        b"\xef\xbb\xbf{}",
    ),
    *(
        b'{"user": "x", "password": "y"',
        b'{"user": "x", "password": null}',
        b'{"user": {}, "password": []}',
        b'{"user": "x"}',
    ),
    *(
        b'{"user": "\xff", "password": "y"}',
        b'{"user": "\\ud800", "password": "y"}',
        b'{"user": "\\udc80", "password": "y"}',
    ),
    *(
        b'{"yanked": "\xff"}',
        b'{"yanked": "\\udfff"}',
        b'{"yanked": 1e999}',
        b'{"yanked": []}',
        b'{"yanked": {"a": "b"}}',
        b'{"\xff": 1}',
    ),
    b'{"user": "x", "password": "y", "z": ' + b"[" * 100_000,
    b'{"user": "x", "password": "y", "z": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
    b'{"yanked": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"user": "x", "password": "y", "n": 1' + b"0" * 100_000 + b"e99999}",
    b'{"user": "' + b"u" * 900_000 + b'", "password": "y"}',
    b'{"user": "x", "password": "' + b"p" * 900_000 + b'"}',
    b'{"user": "x\\u0000y", "password": "\\u0000"}',
    b'{"user": "x", "password": "y"}' + b" " * 2_000_000,
    b"x" * 2_000_000,
]


async def test_malformed_documents_are_refused(serve: Serve, tally: Tally, caplog: pytest.LogCaptureFixture) -> None:
    async with serve() as served:
        values = await _fill(served)
        root = f"Authorization: {basic('root')['Authorization']}".encode()
        targets = [
            ("POST", b"/+login"),
            ("PATCH", f"/root/dev/+f/{values['{a}']}/{values['{b}']}/{values['{filename}']}".encode()),
        ]
        requests = [
            RawRequest(method, target, (root, b"Accept: " + accept, b"Content-Type: application/json"), body)
            for method, target in targets
            for accept in (b"*/*", b"application/json")
            for body in _JSON_BODIES
        ]
        for request, answer in zip(requests, await ask_all(served.address, requests), strict=True):
            shown = f"{request.target!r} {request.body[:80]!r}: {answer.status} {answer.body[:200]!r}"
            assert answer.status in {400, 401, 413}, shown
            assert answer.names <= _HEADERS, shown
            assert len(answer.body) < 2000, shown
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    tally("malformed documents", len(_JSON_BODIES))


async def test_no_name_trick_in_a_form_gets_anywhere(
    serve: Serve, tally: Tally, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The corpus as filenames and as field values: nothing is published, kept, or written anywhere else."""
    canary = tmp_path / "canary.txt"
    canary.write_bytes(CANARY)
    blobs = tmp_path / "data" / "blobs"
    async with serve(blobs=blobs.as_uri()) as served:
        root = f"Authorization: {basic('root')['Authorization']}".encode()
        built = build_wheel("demo", "1.0")
        requests = []
        for trick in path_tricks(str(canary)):
            filename = trick.text.replace("\\", "\\\\").replace('"', '\\"')
            bodies = [
                encode_form(upload_parts(built, filename=filename, data=b"no archive")),
                encode_form(upload_parts(built, filename=f"{filename}-1.0-py3-none-any.whl", data=b"no archive")),
                encode_form(upload_parts(built, fields=upload_fields(built, name=trick.text), data=b"no archive")),
                encode_form(upload_parts(built, fields=upload_fields(built, version=trick.text), data=b"no archive")),
            ]
            requests += [
                RawRequest("POST", b"/legacy/", (root, b"Content-Type: " + CONTENT_TYPE), body) for body in bodies
            ]
        for request, answer in zip(requests, await ask_all(served.address, requests), strict=True):
            assert answer.status in {400, 413}, f"{request.body[:400]!r}: {answer.status} {answer.reason}"
            assert answer.names <= _HEADERS, answer.names - _HEADERS
            assert CANARY not in answer.body
        assert not await served.engine.store.projects(HOSTED)
        assert [blob async for blob in served.engine.blobs.walk()] == []
    assert canary.read_bytes() == CANARY
    # What is on the disk is what the server made: no name from a form is a name of a file.
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert all(name == "canary.txt" or name.startswith("data/") for name in left)
    assert not [name for name in left if "demo" in name or "passwd" in name]
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    tally("name tricks in forms", len(requests))
