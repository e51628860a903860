"""The answers of an upstream as values: a document, a glimpse of one, unchanged, a file that begins to arrive, absent, or failed.

Only the statuses in `Site.absent` mean absent. Any other answer that is not whole and readable is a failure.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from typing import Final, Literal, Protocol

from msgspec import Struct

from pkgindex_core.clock import Timestamp
from pkgindex_core.errors import BadUpstream, Unavailable
from pkgindex_core.rules.freshness import parse_lifetime, parse_retry_after
from pkgindex_mirror import urls
from pkgindex_mirror.documents.document_kinds import is_empty, is_json, says_its_end
from pkgindex_mirror.upstreams.addresses import AddressRefusedError
from pkgindex_mirror.upstreams.bodies import BodyDecoder, BodyRefusedError, PieceDecoder, too_large
from pkgindex_mirror.upstreams.sites import Site

CHUNK: Final = 256 * 1024
"""Bytes of a body that are read at a time."""
_VALIDATOR_LIMIT: Final = 512
_LONGEST_REST: Final = 300.0
"""Longest `Retry-After` of a 429 in seconds that is respected."""


class Body(Protocol):
    """The body of an answer while it comes."""

    async def read(self, size: int, /) -> bytes: ...

    def at_eof(self) -> bool: ...


class Response(Protocol):
    """An answer as aiohttp has it, of which this package reads so much."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]:
        """By name in any case."""
        ...

    @property
    def url(self) -> object: ...

    @property
    def content_length(self) -> int | None: ...

    @property
    def content(self) -> Body: ...

    def release(self) -> object:
        """Let the connection be used again."""
        ...

    def close(self) -> object:
        """End the connection, if the body has not come whole."""
        ...


class Document(Struct, kw_only=True):
    """A page or project list, decoded, not yet read."""

    body: bytes
    content_type: str
    url: str
    """The URL after redirects, to which links are relative."""
    validators: dict[str, str]
    """For the next request: `etag`, `last-modified`, `serial`, and `url`, the only URL for which they are valid. Also `lifetime`: the seconds
    for which the upstream calls the answer fresh, `times` (`first_seen`), and `sizes` (`stated_sizes`).
    """
    received: int
    """Bytes on the wire."""
    server: str = ""
    """The program that answered, as it calls itself."""

    def take(self) -> bytes:
        """Hand over the body, so that its memory is free once the caller has read it."""
        body, self.body = self.body, b""
        return body


class Unchanged(Struct, frozen=True):
    """304: what is stored is current."""

    news: Mapping[str, str] = {}
    """New values for `Document.validators`: the `lifetime`, if the answer states one (RFC 9111 3.2)."""


class AbsentAnswer(Struct, frozen=True):
    """A status of `Site.absent`: the upstream has no such page or file."""

    status: int


Failure = Literal["unusable", "status", "timeout", "connect", "dns", "tls", "cut_off", "forbidden"]
"""The kind of a failure: the answer is unusable; its status tells of a failure; no answer in time; no connection; no address for the
host; no TLS; the connection broke or its answer was cut off; its address may not be connected to."""


class Failed(Struct, frozen=True, kw_only=True):
    """The upstream could not be asked, or its answer is unusable."""

    reason: str
    """One clause without secrets."""
    kind: Failure = "unusable"
    retry_after: float | None = None
    again: bool = False
    """Whether another attempt may succeed. If not, the configuration or the upstream has to be corrected."""
    healthy: bool | None = None
    """For the circuit breaker: True if the host works, False if it does not, None if this does not show it."""
    down: bool = False
    """Whether the host cannot be reached at all."""
    rest: float = 0.0
    """Seconds for which the host asked not to be asked (429 with `Retry-After`)."""
    asked: bool = True
    """False when the circuit breaker was open, so that no request was sent."""

    def error(self, what: str) -> Unavailable:
        message = f"{what}: {self.reason}"
        return Unavailable(message) if self.again else BadUpstream(message)


class Transfer:
    """A file's body that has begun to arrive."""

    def __init__(self, response: Response, *, start: int, size: int | None, silence: float) -> None:
        self._response = response
        self._silence = silence
        self.start = start
        """The offset of the first byte that will come."""
        self.size = size
        """Bytes of the whole file; None when the upstream did not say."""
        self.whole = response.status == 200
        """Whether the answer is the whole file."""
        headers = response.headers
        etag = headers.get("ETag", "")
        # RFC 9110 13.1.5: If-Range compares strongly; a weak tag would never match.
        self.validator = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified", "")
        self.received = 0
        """Bytes of the body that arrived."""
        self.broke: Failed | None = None
        """Why the transfer broke off."""

    async def chunks(self) -> AsyncIterator[bytes | Failed]:
        """The body in pieces as they arrive; the last item is a `Failed` when the transfer breaks off."""
        try:
            while data := await _next_piece(self._response, self._silence):
                self.received += len(data)
                yield data
        except connection_errors() as error:
            self.broke = failure_of(error)
            yield self.broke


class DocumentStream:
    """A page or project list that has begun to arrive, and is read while it does."""

    def __init__(self, response: Response, asked: str, *, limit: int, silence: float) -> None:
        self._response = response
        self._silence = silence
        self._decoder = PieceDecoder(response.headers.get("Content-Encoding", ""), limit)
        self.content_type = response.headers.get("Content-Type", "")[:200]
        self.url = str(response.url)
        """As `Document.url`."""
        self.validators = _validators(response, asked)
        """As `Document.validators`."""
        self.is_delimited = _is_delimited(response)
        """Whether it is noticed when the answer is cut off."""
        self.broke: Failed | None = None
        """Why the transfer broke off."""

    @property
    def received(self) -> int:
        """Bytes on the wire."""
        return self._decoder.received

    async def chunks(self) -> AsyncIterator[bytes | Failed]:
        """The decoded body in pieces as they arrive; the last item is a `Failed` when it is not whole."""
        try:
            while data := await _next_piece(self._response, self._silence):
                for piece in self._decoder.pieces(data):
                    yield piece
            yield self._decoder.last_piece()
        except BodyRefusedError as error:
            self.broke = unusable(str(error))
            yield self.broke
        except connection_errors() as error:
            self.broke = failure_of(error)
            yield self.broke


class Glimpse(Struct, frozen=True, kw_only=True):
    """The beginning of a page."""

    body: bytes
    content_type: str


FileAnswer = Transfer | AbsentAnswer | Failed
StreamAnswer = DocumentStream | Unchanged | AbsentAnswer | Failed


def _no_document(
    response: Response, site: Site, now: Timestamp, *, conditional: bool
) -> Unchanged | AbsentAnswer | Failed | None:
    """The meaning of an answer by its status; None if it has a document."""
    if response.status == 304:
        if not conditional:
            return unusable("it answered 304 to an unconditional request", again=True)
        return Unchanged(_lifetime(response))
    return refused(response, site, now) if response.status != 200 else None


def stream_answer(
    response: Response,
    site: Site,
    asked: str,
    *,
    conditional: bool,
    limit: int,
    now: Timestamp,
    silence: float,
) -> StreamAnswer:
    """The meaning of the answer to a request for a long document. Parameters as for `read_document`."""
    if (other := _no_document(response, site, now, conditional=conditional)) is not None:
        return other
    try:
        return DocumentStream(response, asked, limit=limit, silence=silence)
    except BodyRefusedError as error:
        return unusable(str(error))


async def read_document(
    response: Response,
    site: Site,
    asked: str,
    *,
    conditional: bool,
    limit: int,
    now: Timestamp,
    silence: float,
) -> Document | Unchanged | AbsentAnswer | Failed:
    """Read a page of at most `limit` bytes. `asked`: the requested URL. `conditional`: the request had validators, so 304 is a valid answer.

    `silence`: seconds after which a silent upstream has failed.
    """
    if (other := _no_document(response, site, now, conditional=conditional)) is not None:
        return other
    try:
        decoder = BodyDecoder(response.headers.get("Content-Encoding", ""), limit)
        if (response.content_length or 0) > limit:
            raise too_large(limit)
        while data := await _next_piece(response, silence):
            decoder.feed(data)
        body = decoder.finish()
    except BodyRefusedError as error:
        response.close()
        return unusable(str(error))
    except connection_errors() as error:
        return failure_of(error)
    if is_empty(body):
        return unusable("it answered with an empty page", again=True)
    content_type = response.headers.get("Content-Type", "")[:200]
    # No check for JSON: a part of a JSON document cannot be read.
    if not _is_delimited(response) and not is_json(body, content_type) and not says_its_end(body):
        return unusable("its answer may be cut off: it has no length, and its HTML does not end", again=True)
    return Document(
        body=body,
        content_type=content_type,
        url=str(response.url),
        validators=_validators(response, asked),
        received=decoder.received,
        server=response.headers.get("Server", "")[:200],
    )


async def _next_piece(response: Response, silence: float) -> bytes:
    """The next bytes of a body; empty at its end. Raises `TimeoutError` after `silence` seconds without any."""
    if response.content.at_eof():  # nothing more comes over the network
        return await response.content.read(CHUNK)
    # aiohttp's own time-out is not enough: 3.14 may wait on without it when an upstream breaks the rules of HTTP.
    async with asyncio.timeout(silence):
        return await response.content.read(CHUNK)


def unusable(reason: str, *, again: bool = False) -> Failed:
    """A failure by an answer that is unusable. The host works, so its breaker closes."""
    return Failed(reason=reason, again=again, healthy=True)


def _is_delimited(response: Response) -> bool:
    """Whether the answer shows where its body ends, so that one that was cut off is noticed (RFC 9112 8)."""
    headers = response.headers
    compressed = headers.get("Content-Encoding", "").strip().lower() not in {"", "identity"}
    return compressed or "Content-Length" in headers or "Transfer-Encoding" in headers


def _validators(response: Response, asked: str) -> dict[str, str]:
    found = {"url": asked}
    for key, header in (("etag", "ETag"), ("last-modified", "Last-Modified")):
        value = response.headers.get(header, "")
        if value and len(value) <= _VALIDATOR_LIMIT and value.isascii() and value.isprintable():
            found[key] = value
    serial = response.headers.get("X-PyPI-Last-Serial", "").strip()
    if re.fullmatch(r"[0-9]{1,18}", serial):
        found["serial"] = serial
    return found | _lifetime(response)


def _lifetime(response: Response) -> dict[str, str]:
    lifetime = parse_lifetime(response.headers.get("Cache-Control", ""), response.headers.get("Age", ""))
    return {} if lifetime is None else {"lifetime": str(lifetime)}


_ADVICE: Mapping[int, str] = {
    # Usually an http mirror_url that redirects to https, another origin, where credentials are not sent.
    401: "check mirror_credentials; if mirror_url redirects, set it to the URL to which it redirects",
    403: "if this means that it has no such project, as with object stores, set absent_statuses=404,410,403 on the mirror",
}


def refused(response: Response, site: Site, now: Timestamp) -> AbsentAnswer | Failed:
    """The meaning of a status other than success."""
    status = response.status
    if status in site.absent:
        return AbsentAnswer(status)
    passing = status in {408, 425, 429} or status >= 500
    ask = f" ({_ADVICE[status]})" if status in _ADVICE else ""
    retry_after = parse_retry_after(response.headers.get("Retry-After"), now)
    return Failed(
        reason=f"it answered {status}{ask}",
        kind="status",
        retry_after=retry_after,
        again=passing,
        healthy=not passing,
        # RFC 6585 4: 429 means too many requests of ours. The Retry-After of a 503 is a guess, so probes go on.
        rest=min(retry_after or 0.0, _LONGEST_REST) if status == 429 else 0.0,
    )


def file_answer(response: Response, site: Site, url: str, now: Timestamp, *, silence: float) -> FileAnswer:
    """The meaning of the answer to a request for a file or for a part of one. `silence`: as for `read_document`."""
    headers = response.headers
    if response.status not in {200, 206}:
        return refused(response, site, now)
    name = urls.last_segment(url).lower()
    if headers.get("Content-Type", "").lower().startswith("text/html") and not name.endswith((".html", ".htm")):
        return unusable("it answered with an HTML page instead of the file")
    coding = headers.get("Content-Encoding", "").strip().lower()
    # Some servers label a .tar.gz as gzip-encoded. Its bytes are still those of the file, which the digest shows.
    if coding not in {"", "identity"} and not (coding in {"gzip", "x-gzip"} and name.endswith(("gz", ".tar.z"))):
        return unusable(f"it sent the file with content encoding {coding[:40]!r}, which was not asked for")
    if response.status == 200:
        return Transfer(response, start=0, size=response.content_length, silence=silence)
    match = re.fullmatch(
        r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", headers.get("Content-Range", "").strip()
    )
    if match is None:
        return unusable("it answered 206 without a valid Content-Range")
    size = None if match[3] == "*" else int(match[3])
    return Transfer(response, start=int(match[1]), size=size, silence=silence)


def failed_by_proxy() -> Failed:
    """The failure when a SOCKS proxy did not connect. Which of the two is at fault is not known."""
    reason = "it could not be connected to by the SOCKS proxy"
    return Failed(reason=reason, kind="connect", again=True, healthy=False, down=True)


def size_answer(response: Response, site: Site, url: str, now: Timestamp, *, limit: int) -> int | AbsentAnswer | Failed:
    """The meaning of the answer to a HEAD for a file of at most `limit` bytes: its size."""
    answer = file_answer(response, site, url, now, silence=0.0)
    if not isinstance(answer, Transfer):
        return answer
    coding = response.headers.get("Content-Encoding", "").strip().lower()
    if not answer.whole or coding not in {"", "identity"} or not 0 < (answer.size or 0) <= limit:
        return unusable("it does not state the size of the file")
    return answer.size or 0


def connection_errors(*more: type[Exception]) -> tuple[type[Exception], ...]:
    """The exceptions of a question that fails on its way, which `failure_of` translates. aiohttp is loaded for them."""
    import aiohttp

    return aiohttp.ClientError, OSError, TimeoutError, *more


def failure_of(error: BaseException) -> Failed:
    """Translate errors of aiohttp and of the network, without their texts, which may quote the request."""
    import aiohttp

    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, AddressRefusedError):
        return Failed(
            reason=f"{error.os_error} (setting allow_networks of the mirror plugin, --allow-network of a cache)",
            kind="forbidden",
        )
    if isinstance(error, TimeoutError):
        connecting = isinstance(error, aiohttp.ConnectionTimeoutError)
        return Failed(reason="it did not answer in time", kind="timeout", again=True, healthy=False, down=connecting)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return Failed(reason="its TLS certificate is not valid", kind="tls", healthy=False, down=True)
    if isinstance(error, (aiohttp.ClientSSLError, ssl.SSLError)):
        return Failed(reason="TLS could not be established", kind="tls", again=True, healthy=False, down=True)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        reason = "its host name could not be resolved"
        return Failed(reason=reason, kind="dns", again=True, healthy=False, down=True)
    if isinstance(error, aiohttp.ClientConnectorError):
        return Failed(reason="it could not be connected to", kind="connect", again=True, healthy=False, down=True)
    if isinstance(error, aiohttp.ClientPayloadError):
        return Failed(reason="its answer was cut off", kind="cut_off", again=True, healthy=False)
    if isinstance(error, (aiohttp.InvalidURL, ValueError)):
        return Failed(reason="the URL cannot be used")
    if isinstance(error, aiohttp.ClientResponseError):
        return Failed(reason="its answer is not HTTP", again=True, healthy=False)
    return Failed(reason="the connection broke", kind="cut_off", again=True, healthy=False)
