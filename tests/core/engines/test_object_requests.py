"""How many requests a store gets, in which order, and what is signed for clients: the fsspec engine with libraries of real stores."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from botocore.exceptions import NoCredentialsError
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pkgindex_core.clock import SystemClock
from pkgindex_core.digests import Sha256, sha256_of
from pkgindex_core.engines.fsspec import media
from pkgindex_core.engines.fsspec.connecting import open_files
from pkgindex_core.engines.fsspec.failures import failure
from pkgindex_core.engines.fsspec.media import ATTEMPTS, Medium
from pkgindex_core.engines.fsspec.opening import open_fsspec
from pkgindex_core.engines.fsspec.reading import WINDOW, read_ahead
from pkgindex_core.engines.fsspec.signing import Signer
from pkgindex_core.errors import Corrupt, Refused, Unavailable
from pkgindex_core.hookspecs import Context
from pkgindex_core.protocols import Span
from pkgindex_core.testing.blob_store import collect, some_bytes

S3_OPTIONS = {"key": "a-key", "secret": "a-secret", "client_kwargs": {"region_name": "eu-central-1"}}


@pytest.fixture
def workers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as workers:
        yield workers


class FakeS3:
    """A fake of S3: it has no object, and answers each request with the next of its statuses, the last one for ever."""

    def __init__(self) -> None:
        self.statuses = [404]
        self.requests: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        await request.read()
        self.requests.append(request.method)
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        code = {500: "InternalError", 503: "SlowDown", 403: "AccessDenied", 404: "NoSuchKey"}.get(status, "")
        return web.Response(status=status, body=f"<Error><Code>{code}</Code></Error>", content_type="application/xml")


@pytest.fixture
async def s3(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[FakeS3, str]]:
    monkeypatch.setattr(media, "_ATTEMPT_PAUSE_SECONDS", 0.001)
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    fake = FakeS3()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", fake.answer)
    async with TestServer(application) as server:
        yield fake, str(server.make_url("/"))


@pytest.fixture
async def medium(s3: tuple[FakeS3, str], workers: ThreadPoolExecutor) -> AsyncIterator[Medium]:
    opened = await open_files("s3://bucket/here", {**S3_OPTIONS, "endpoint_url": s3[1]})
    medium = Medium(opened.files, workers, opened.session)
    yield medium
    await medium.close()


@pytest.mark.parametrize("status", [500, 503])
async def test_a_failing_store_is_asked_a_few_times(s3: tuple[FakeS3, str], medium: Medium, status: int) -> None:
    """The defaults of s3fs and of its client are five attempts each, one around the other."""
    s3[0].statuses = [status]
    with pytest.raises(Unavailable):
        await medium.ask("rm_file", "bucket/here/x")
    assert s3[0].requests == ["DELETE"] * ATTEMPTS


@pytest.mark.parametrize("status", [500, 503])
async def test_what_failed_once_is_asked_again(s3: tuple[FakeS3, str], medium: Medium, status: int) -> None:
    s3[0].statuses = [status, 204]
    await medium.ask("rm_file", "bucket/here/x")
    assert s3[0].requests == ["DELETE", "DELETE"]


async def test_a_refusal_is_not_asked_again(s3: tuple[FakeS3, str], medium: Medium) -> None:
    s3[0].statuses = [403]
    with pytest.raises(Unavailable, match="denies access"):
        await medium.ask("rm_file", "bucket/here/x")
    assert s3[0].requests == ["DELETE"]


async def test_a_bucket_that_is_not_there_is_said(medium: Medium) -> None:
    for call in (medium.create("bucket/here/owner", b"a mark"), medium.abort_parts("bucket/here/", 0.0)):
        with pytest.raises(Unavailable, match="the bucket or root of the remote store does not exist"):
            await call


def test_missing_credentials_are_said() -> None:
    assert "no credentials" in failure(NoCredentialsError()).message


async def test_nothing_listens_there(workers: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "_ATTEMPT_PAUSE_SECONDS", 0.001)
    opened = await open_files("s3://bucket", {**S3_OPTIONS, "endpoint_url": "http://127.0.0.1:1"})
    medium = Medium(opened.files, workers, opened.session)
    with pytest.raises(Unavailable):
        await medium.ask("info", "bucket/x")
    await medium.close()


# Reading ahead.


class Windows:
    """A file whose windows are given one by one. `asked` has those that were asked for."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.asked: list[Span] = []
        self.waiting = 0

    async def fetch(self, span: Span) -> bytes:
        self.asked.append(span)
        self.waiting += 1
        try:
            await asyncio.sleep(0)
        finally:
            self.waiting -= 1
        return self.data[span.start : span.stop]


@pytest.mark.parametrize("span", [Span(0, 1), Span(5, WINDOW), Span(7, 3 * WINDOW), Span(0, 3 * WINDOW + 1)], ids=str)
async def test_windows_make_the_span(span: Span) -> None:
    windows = Windows(some_bytes(4 * WINDOW))
    assert await collect(read_ahead(windows.fetch, span, what="x")) == windows.data[span.start : span.stop]
    assert max(each.stop - each.start for each in windows.asked) <= WINDOW


async def test_one_window_is_read_ahead_and_no_more() -> None:
    windows = Windows(some_bytes(6 * WINDOW))
    reading = read_ahead(windows.fetch, Span(0, 6 * WINDOW), what="x")
    await anext(reading)
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(windows.asked) == 2, "a slow client holds two windows, not the file"
    await reading.aclose()  # type: ignore[attr-defined]  # every async generator has it


async def test_a_reader_that_stops_ends_its_request() -> None:
    windows = Windows(some_bytes(6 * WINDOW))
    reading = read_ahead(windows.fetch, Span(0, 6 * WINDOW), what="x")
    await anext(reading)
    await asyncio.sleep(0)
    await reading.aclose()  # type: ignore[attr-defined]  # every async generator has it
    assert windows.waiting == 0


async def test_a_short_window_is_corrupt() -> None:
    windows = Windows(some_bytes(WINDOW + 10))
    with pytest.raises(Corrupt, match=f"a blob ended at {WINDOW + 10} bytes, {WINDOW + 11} were expected"):
        await collect(read_ahead(windows.fetch, Span(0, WINDOW + 11), what="a blob"))


# Signed URLs.

PATH = f"bucket/sha256/ab/{'ab' * 32}"


async def _signed(url: str, options: dict[str, Any], workers: ThreadPoolExecutor, public: str = "") -> str | None:
    connection = await open_files(url, options)
    signer = Signer(url, connection, workers=workers, storage_options=options, public_endpoint=public)
    medium = Medium(connection.files, workers, connection.session)
    try:
        return await signer.sign(PATH, filename="demo-1.0.tar.gz", expires=300)
    finally:
        await signer.close()
        await medium.close()


async def test_s3_signs_by_the_host_of_its_region(workers: ThreadPoolExecutor, s3: object) -> None:
    signed = urlsplit(await _signed("s3://bucket", S3_OPTIONS, workers) or "")
    assert (signed.scheme, signed.path) == ("https", PATH.removeprefix("bucket"))
    assert (signed.hostname or "").startswith("bucket.s3.")
    query = parse_qs(signed.query)
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"], "the older way is refused by newer regions"
    assert query["X-Amz-Expires"] == ["300"]
    assert query["response-content-disposition"] == ['attachment; filename="demo-1.0.tar.gz"']


@pytest.mark.parametrize(
    ("style", "host", "path"),
    [("path", "s3.example.com", f"/{PATH}"), ("virtual", "bucket.s3.example.com", PATH.removeprefix("bucket"))],
)
async def test_urls_follow_the_style_of_addresses(
    workers: ThreadPoolExecutor, s3: object, style: str, host: str, path: str
) -> None:
    options = {**S3_OPTIONS, "config_kwargs": {"s3": {"addressing_style": style}}}
    signed = urlsplit(await _signed("s3://bucket", options, workers, "https://s3.example.com/") or "")
    assert (signed.hostname, signed.path) == (host, path)


async def test_a_private_endpoint_is_not_shown_to_clients(
    workers: ThreadPoolExecutor, s3: tuple[FakeS3, str], caplog: pytest.LogCaptureFixture
) -> None:
    options = {**S3_OPTIONS, "endpoint_url": "http://s3.internal:9000"}
    assert await _signed("s3://bucket", options, workers) is None
    assert "public_endpoint is not set" in caplog.text
    signed = urlsplit(await _signed("s3://bucket", options, workers, "https://files.example.com") or "")
    assert signed.hostname == "files.example.com"
    assert "internal" not in signed.geturl()


async def test_google_signs_with_the_key_of_a_service_account(workers: ThreadPoolExecutor) -> None:
    token = _service_account()
    options = {"token": token, "project": "a-project"}
    signed = urlsplit(await _signed("gs://bucket", options, workers) or "")
    assert (signed.hostname, signed.path) == ("storage.googleapis.com", f"/{PATH}")
    assert parse_qs(signed.query)["X-Goog-Expires"] == ["300"]
    assert parse_qs(signed.query)["response-content-disposition"] == ['attachment; filename="demo-1.0.tar.gz"']


async def test_google_without_a_key_is_streamed(workers: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    assert await _signed("gs://bucket", {"token": "anon", "project": "a-project"}, workers) is None
    assert caplog.text.count("files are streamed") == 1


async def test_other_media_have_no_urls(workers: ThreadPoolExecutor) -> None:
    assert await _signed("memory://here", {}, workers, "https://files.example.com") is None


@pytest.mark.parametrize("value", ["s3.example.com", "ftp://s3.example.com", 7, "https://"])
async def test_a_public_endpoint_is_a_url(workers: ThreadPoolExecutor, tmp_path: Path, value: object) -> None:
    context = Context(data=tmp_path, clock=SystemClock(), workers=workers, settings={"public_endpoint": value})
    with pytest.raises(Refused, match="public_endpoint"):
        await open_fsspec("memory://here", context)


async def test_a_key_that_is_none_is_not_signed(
    workers: ThreadPoolExecutor, tmp_path: Path, s3: tuple[FakeS3, str]
) -> None:
    settings = {"storage_options": {**S3_OPTIONS, "endpoint_url": s3[1]}, "public_endpoint": "https://s3.example.com"}
    context = Context(data=tmp_path, clock=SystemClock(), workers=workers, settings=settings)
    store = await open_fsspec("s3://bucket", context)
    asked = len(s3[0].requests)
    assert await store.locate(Sha256("../x"), filename="x", may_redirect=True) is None
    assert await store.locate(sha256_of(b"x"), filename="x", may_redirect=True) is not None
    assert len(s3[0].requests) == asked, "signing asks nobody"
    await store.close()


def _service_account() -> dict[str, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return {
        "type": "service_account",
        "client_email": "signer@a-project.example.com",
        "private_key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        "private_key_id": "1",
        "token_uri": "https://127.0.0.1:1/token",
        "project_id": "a-project",
    }
