"""Every way an upstream is known to misbehave, and what we answer for a page, a file and a sidecar.

One table; each row is asked six questions, each with an upstream and stores of its own:

page      nothing is stored        fresh | absent | unknown (Unavailable) | unusable (BadUpstream)
again     a page is stored         fresh | stale
file      a cold wheel             bytes | missing | unavailable | unusable
sidecar   only sidecars misbehave  bytes | missing | unavailable | unusable
neither   the wheel does too       bytes | missing | unavailable | unusable
size      the page has no sizes    right | none | wrong: what the next page shows, until the file is fetched

A failure that may pass is unknown or unavailable: clients come back in a moment. What somebody has to mend is unusable.

Whatever the answer: nothing is stored that is not exactly what was built.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from pkgindex_core.digests import sha256_of
from pkgindex_core.errors import BadUpstream, Missing, Unavailable
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.testing import Behaviour, ScriptedUpstream, behaviours

from .conftest import SIZES, MakeMirror, Mirror

WHEEL = build_wheel("demo", "1.0", description="word " * 300, stored=True)
SETTINGS: dict[str, Any] = {
    "attempts": 2,
    "read_timeout": 0.25,
    "page_deadline": 0.7,
    "file_allowance": 3.0,
    "breaker_failures": 1000,
    "page_limit": 64 * 1024,
}
LOGIN = b"<!DOCTYPE html><html><body><h1>Welcome to the hotel</h1><a href='/login'>log in</a></body></html>"


class Row(NamedTuple):
    name: str
    behaviour: Behaviour
    page: str
    again: str
    file: str
    sidecar: str
    neither: str
    size: str


def broken(name: str, behaviour: Behaviour, *, size: str = "none") -> Row:
    """No answer at all can be had now."""
    return Row(name, behaviour, "unknown", "stale", "unavailable", "bytes", "unavailable", size)


def wrong(name: str, behaviour: Behaviour, *, page: str = "unusable", size: str = "none") -> Row:
    """No waiting helps."""
    return Row(name, behaviour, page, "stale", "unusable", "bytes", "unusable", size)


def resumed(name: str, behaviour: Behaviour, *, size: str = "right") -> Row:
    """A page cannot be had, a file bit by bit."""
    return Row(name, behaviour, "unknown", "stale", "bytes", "bytes", "bytes", size)


def harmless(name: str, behaviour: Behaviour, *, size: str = "right") -> Row:
    return Row(name, behaviour, "fresh", "fresh", "bytes", "bytes", "bytes", size)


def page_only(name: str, page: str, change: Callable[[dict[str, Any]], Any]) -> Row:
    """A change to the JSON page; asked for a file such an upstream is as any other."""

    def body(original: bytes) -> bytes:
        if original[:1] != b"{":
            return original
        document = json.loads(original)
        changed = change(document)
        return changed if isinstance(changed, bytes) else json.dumps(changed or document).encode()

    return Row(
        name,
        behaviours.with_body(body),
        page,
        "fresh" if page == "fresh" else "stale",
        *("bytes", "bytes", "bytes", "right"),
    )


def set_size(value: str) -> Callable[[dict[str, Any]], bytes]:
    return lambda document: json.dumps(document).replace(f'"size": {WHEEL.size}', f'"size": {value}').encode()


TABLE = [
    *(wrong(f"status {code}", behaviours.status(code)) for code in (400, 401, 402, 403, 405, 406, 407, 418, 451)),
    *(wrong(f"status {code}", behaviours.status(code)) for code in (204, 205, 300)),
    *(broken(f"status {code}", behaviours.status(code)) for code in (408, 425, 500, 501, 502, 504, 520, 599)),
    broken("503 with Retry-After", behaviours.status(503, headers={"Retry-After": "120"})),
    broken("503 with a Retry-After that is none", behaviours.status(503, headers={"Retry-After": "soon"})),
    # The host wants to be left alone: after its answer for the sidecar it is not asked for the wheel.
    Row(
        "429 with Retry-After",
        behaviours.status(429, headers={"Retry-After": "120"}),
        *("unknown", "stale", "unavailable", "unavailable", "unavailable", "none"),
    ),
    wrong(
        "401 with a challenge",
        behaviours.status(401, headers={"WWW-Authenticate": 'Basic realm="elsewhere"'}, body=b"log in"),
    ),
    Row("404", behaviours.status(404), "absent", "stale", "missing", "bytes", "missing", "none"),
    Row("410", behaviours.status(410), "absent", "stale", "missing", "bytes", "missing", "none"),
    Row("304 to everything", behaviours.status(304), "unknown", "fresh", "unusable", "bytes", "unusable", "none"),
    wrong("206 without a range", behaviours.status(206, body=b"{}")),
    wrong("200 with an error page", behaviours.says("text/html", b"<html><body>Internal error</body></html>")),
    wrong(
        "an error page that is called JSON",
        behaviours.says("application/json", b"<html>nope</html>"),
        size="wrong",
    ),
    wrong("a captive portal", behaviours.redirect("/portal")),
    wrong("an empty 200", behaviours.with_body(lambda _: b""), page="unknown"),
    wrong("blanks only", behaviours.with_body(lambda _: b" \n "), page="unknown", size="wrong"),
    resumed("cut off, with length", behaviours.truncated(0.5)),
    Row(
        "cut off, without length",
        behaviours.truncated(0.5, length=False),
        *("unusable", "stale", "bytes", "bytes", "bytes", "none"),
    ),
    resumed("cut off inside a chunk", behaviours.cut_chunked(0.5), size="none"),
    resumed("reset inside the body", behaviours.reset(0.5)),
    resumed("falls silent inside the body", behaviours.silent_after(0.9)),
    broken("reset before an answer", behaviours.reset(0)),
    wrong("a promised length that is too large", behaviours.length_off_by(10), page="unknown", size="wrong"),
    broken("a promised length that is too small", behaviours.length_off_by(-10), size="wrong"),
    wrong("other bytes of the same length", behaviours.with_body(lambda body: b"x" * len(body)), size="right"),
    broken("never answers", behaviours.silent()),
    broken("drips its head", behaviours.dripping_head(0.05)),
    harmless("drips its body, but gets there", behaviours.dripping_body(0.001, size=400)),
    broken("no HTTP", behaviours.garbage()),
    harmless("a body that ends by closing", behaviours.until_close(), size="none"),
    broken("a header that never ends", behaviours.with_headers(X_Long="x" * 20_000)),
    wrong(
        "a gzip bomb",
        behaviours.says("application/json", gzip.compress(b"[" * 20_000_000, 9), headers={"Content-Encoding": "gzip"}),
    ),
    Row("gzip", behaviours.gzipped(), "fresh", "fresh", "unusable", "bytes", "unusable", "none"),
    wrong("called gzip, but is not", behaviours.with_headers(Content_Encoding="gzip")),
    wrong("an encoding nobody asked for", behaviours.with_headers(Content_Encoding="br")),
    harmless("an unknown charset", behaviours.with_headers(Content_Type="text/plain; charset=klingon")),
    Row(
        "JSON that is called HTML",
        behaviours.with_headers(Content_Type="text/html; charset=latin-1"),
        *("fresh", "fresh", "unusable", "bytes", "unusable", "none"),
    ),
    harmless("no media type worth the name", behaviours.with_headers(Content_Type="application/octet-stream")),
    wrong("redirects in a circle", behaviours.redirect_to_itself()),
    wrong("redirects to no usable URL", behaviours.status(302)),
    wrong("redirects to a file: URL", behaviours.redirect("file:///etc/passwd")),
    broken("redirects to a port that is closed", behaviours.redirect("http://127.0.0.1:9/")),
    harmless("an X-PyPI-Last-Serial that is none", behaviours.with_headers(X_PyPI_Last_Serial="-4e9")),
    harmless("an ETag that never changes", behaviours.with_headers(ETag='"same"')),
    page_only("a page beyond the limit", "unusable", lambda page: {**page, "_padding": "x" * 100_000}),
    page_only("api-version 2.0", "unusable", lambda page: {**page, "meta": {"api-version": "2.0"}}),
    page_only("api-version 1.99", "fresh", lambda page: {**page, "meta": {"api-version": "1.99"}}),
    page_only("api-version of no kind", "fresh", lambda page: {**page, "meta": {"api-version": [1]}}),
    page_only("no meta", "fresh", lambda page: {"files": page["files"]}),
    page_only("no files", "unusable", lambda page: {"meta": page["meta"], "name": "demo"}),
    page_only("files that are no list", "unusable", lambda page: {**page, "files": {"demo": 1}}),
    page_only("a list instead of an object", "unusable", lambda _: b"[]"),
    page_only("an error document", "unusable", lambda _: b'{"message": "not authorised"}'),
    page_only("half a document", "unusable", lambda page: json.dumps(page).encode()[:-20]),
    page_only("a key twice", "fresh", lambda page: b'{"files": 3,' + json.dumps(page).encode()[1:]),
    page_only("a size that is NaN", "fresh", set_size("NaN")),
    page_only("a size beyond all numbers", "fresh", set_size("1e400")),
    page_only("a size that is text", "fresh", set_size('"12"')),
    page_only("entries of every kind", "fresh", lambda page: {**page, "files": [None, 3, "x", {}, *page["files"]]}),
    page_only("deeply nested", "unusable", lambda _: b'{"files":' + b"[" * 30_000),
    page_only("bytes that are no UTF-8", "unusable", lambda _: b'{"files": "\xff\xfe"}'),
    page_only("a byte order mark", "fresh", lambda page: b"\xef\xbb\xbf" + json.dumps(page).encode()),
]
QUESTIONS = ("page", "again", "file", "sidecar", "neither", "size")


def test_the_table_is_large_enough() -> None:
    assert len({row.name for row in TABLE}) == len(TABLE) >= 40


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name.replace(" ", "-"))
async def test_what_we_answer(row: Row, make_mirror: MakeMirror, tally) -> None:
    answers = await asyncio.gather(*(ask(row, question, make_mirror) for question in QUESTIONS))
    assert dict(zip(QUESTIONS, answers, strict=True)) == {question: getattr(row, question) for question in QUESTIONS}
    tally("upstream behaviours", 1)
    tally("answers to upstream behaviours", len(answers))


async def ask(row: Row, question: str, make_mirror: MakeMirror) -> str:
    async with ScriptedUpstream() as upstream:
        upstream.add("demo", WHEEL, **({"size": None} if question == "size" else {}))
        upstream.script("/portal", behaviours.says("text/html", LOGIN))
        mirror = await make_mirror(upstream.url, config=SIZES if question == "size" else None, **SETTINGS)
        if question == "size":
            return await ask_size(row, upstream, mirror)
        if question != "page":
            await mirror.refresh()
            mirror.clock.advance(10_000)
            upstream.gives_validators = question != "again"  # a 304 would hide what the script does to the body
        places = {
            "page": ["page"],
            "again": ["page"],
            "file": ["file"],
            "sidecar": ["sidecar"],
            "neither": ["sidecar", "file"],
        }[question]
        for place in places:
            upstream.script(place, row.behaviour)
        answer = await (ask_page(mirror) if question in {"page", "again"} else ask_file(mirror, question))
        for sha256, (data, _) in mirror.blobs.blobs.items():
            assert sha256 == sha256_of(data)
            assert data in {WHEEL.data, WHEEL.metadata}
        files = await mirror.files()
        assert not files or {file.sha256 for file in files.values()} == {WHEEL.sha256}
        return answer


async def ask_page(mirror: Mirror) -> str:
    try:
        freshness = await mirror.refresh()
    except Unavailable as error:
        return "unusable" if isinstance(error, BadUpstream) else "unknown"
    if freshness.state == "fresh":
        assert list(await mirror.files()) == [WHEEL.filename]
    if freshness.state == "stale":
        assert freshness.reason
        assert list(await mirror.files()) == [WHEEL.filename]
    if freshness.state == "absent":
        assert not await mirror.files()
    return freshness.state


async def ask_size(row: Row, upstream: ScriptedUpstream, mirror: Mirror) -> str:
    upstream.script("head", row.behaviour)
    await mirror.refresh()
    await mirror.sized()
    shown = (await mirror.file(WHEEL.filename)).shown_size
    assert upstream.count("head")
    # The fetched file has its size, whatever was stated.
    mirror.clock.advance(500)
    assert await mirror.download(WHEEL.filename) == WHEEL.data
    file = await mirror.file(WHEEL.filename)
    assert (file.size, file.stated_size) == (WHEEL.size, None)
    return "none" if shown is None else "right" if shown == WHEEL.size else "wrong"


async def ask_file(mirror: Mirror, question: str) -> str:
    try:
        if question == "file":
            assert await mirror.download(WHEEL.filename) == WHEEL.data
        else:
            assert await mirror.sidecar(WHEEL.filename) == WHEEL.metadata
    except Missing:
        return "missing"
    except Unavailable as error:
        return "unusable" if isinstance(error, BadUpstream) else "unavailable"
    return "bytes"
