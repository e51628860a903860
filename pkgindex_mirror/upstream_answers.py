"""What an upstream answers, as values: a document, a glimpse of one, unchanged, a file that begins to arrive, gone, or failed.

Only the statuses in `Site.absent` mean gone. Whatever else is not a whole and readable answer is a failure, so that trouble is never
taken for absence.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncIterator, Mapping
from typing import Final

import aiohttp
from msgspec import Struct

from pkgindex_core.clock import Timestamp
from pkgindex_core.errors import BadUpstream, Unavailable
from pkgindex_core.rules.freshness import parse_retry_after
from pkgindex_mirror import urls
from pkgindex_mirror.addresses import AddressRefusedError
from pkgindex_mirror.bodies import BodyDecoder, BodyRefusedError, too_large
from pkgindex_mirror.markup import is_empty, says_its_end
from pkgindex_mirror.pages import is_json
from pkgindex_mirror.sites import Site

CHUNK: Final = 256 * 1024
"""Bytes of a body that are taken at a time."""
_VALIDATOR_LIMIT: Final = 512
_LONGEST_REST: Final = 300.0
"""Seconds for which a host is left alone at most, whatever it asks for."""


class Document(Struct, kw_only=True):
    """A page or project list, decoded, not yet read."""

    body: bytes
    content_type: str
    url: str
    """Where it came from after redirects; relative links start there."""
    validators: dict[str, str]
    """To ask again with: `etag`, `last-modified`; `serial`; `url`, the URL that was asked: they mean nothing at another."""
    received: int
    """Bytes on the wire."""

    def take(self) -> bytes:
        """The body, which is not kept: a large one is gone once it was read."""
        body, self.body = self.body, b""
        return body


class Unchanged(Struct, frozen=True):
    """304: the stored page is current."""


class Gone(Struct, frozen=True):
    """A status of `Site.absent`: the upstream says that there is no such thing."""

    status: int


class Failed(Struct, frozen=True, kw_only=True):
    """The upstream could not be asked, or its answer is not one."""

    reason: str
    """One clause without secrets."""
    retry_after: float | None = None
    again: bool = False
    """Worth another attempt, now or later. Otherwise somebody has to mend something."""
    healthy: bool | None = None
    """What this says of the host, for the circuit breaker: it works, it does not, or nothing."""
    down: bool = False
    """The host cannot be reached, whatever it is asked for."""
    rest: float = 0.0
    """Seconds for which the host wants to be left alone."""
    asked: bool = True
    """False when the host failed so lately that it was not asked."""

    def error(self, what: str) -> Unavailable:
        message = f"{what}: {self.reason}"
        return Unavailable(message) if self.again else BadUpstream(message)


class Transfer:
    """A file's body that has begun to arrive."""

    def __init__(self, response: aiohttp.ClientResponse, *, start: int, size: int | None) -> None:
        self._response = response
        self.start = start
        """The offset of the first byte that will come."""
        self.size = size
        """Bytes of the whole file, when the upstream said so."""
        self.whole = response.status == 200
        """The answer is the file and not a part of it."""
        headers = response.headers
        etag = headers.get("ETag", "")
        # RFC 9110 13.1.5: If-Range compares strongly; a weak tag would never match.
        self.validator = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified", "")

    async def chunks(self) -> AsyncIterator[bytes | Failed]:
        """The body as it arrives; the last item is a `Failed` when it breaks off."""
        try:
            while data := await self._response.content.read(CHUNK):
                yield data
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            yield failure_of(error)


class Glimpse(Struct, frozen=True, kw_only=True):
    """The beginning of a page."""

    body: bytes
    content_type: str


FileAnswer = Transfer | Gone | Failed


async def read_document(
    response: aiohttp.ClientResponse, site: Site, asked: str, *, conditional: bool, limit: int, now: Timestamp
) -> Document | Unchanged | Gone | Failed:
    """Read a page of at most `limit` bytes that was asked for under the URL `asked`; `conditional`: 304 was a possible answer."""
    if response.status == 304:
        return Unchanged() if conditional else unusable("it answered 304 to an unconditional request", again=True)
    if response.status != 200:
        return refused(response, site, now)
    try:
        decoder = BodyDecoder(response.headers.get("Content-Encoding", ""), limit)
        if (response.content_length or 0) > limit:
            raise too_large(limit)
        while data := await response.content.read(CHUNK):
            decoder.feed(data)
        body = decoder.finish()
    except BodyRefusedError as error:
        response.close()
        return unusable(str(error))
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        return failure_of(error)
    if is_empty(body):
        return unusable("it answered with an empty page", again=True)
    content_type = response.headers.get("Content-Type", "")[:200]
    # JSON that was cut off is no JSON.
    if not _is_delimited(response) and not is_json(body, content_type) and not says_its_end(body):
        return unusable("its answer may be cut off: it has no length, and its HTML does not end", again=True)
    return Document(
        body=body,
        content_type=content_type,
        url=str(response.url),
        validators=_validators(response, asked),
        received=decoder.received,
    )


def unusable(reason: str, *, again: bool = False) -> Failed:
    """A whole answer that is none: the host works, so that its breaker closes."""
    return Failed(reason=reason, again=again, healthy=True)


def _is_delimited(response: aiohttp.ClientResponse) -> bool:
    """Whether a body that broke off could be told from a whole one (RFC 9112 8)."""
    headers = response.headers
    compressed = headers.get("Content-Encoding", "").strip().lower() not in {"", "identity"}
    return compressed or "Content-Length" in headers or "Transfer-Encoding" in headers


def _validators(response: aiohttp.ClientResponse, asked: str) -> dict[str, str]:
    found = {"url": asked}
    for key, header in (("etag", "ETag"), ("last-modified", "Last-Modified")):
        value = response.headers.get(header, "")
        if value and len(value) <= _VALIDATOR_LIMIT and value.isascii() and value.isprintable():
            found[key] = value
    serial = response.headers.get("X-PyPI-Last-Serial", "").strip()
    if re.fullmatch(r"[0-9]{1,18}", serial):
        found["serial"] = serial
    return found


_ADVICE: Mapping[int, str] = {
    # The usual reason: an http mirror_url that redirects to https, where credentials given for http are not sent.
    401: "does mirror_url have the scheme and host that want mirror_credentials?",
    403: "if it means that it has no such project, as object stores do, set absent_statuses=404,410,403 on the mirror",
}


def refused(response: aiohttp.ClientResponse, site: Site, now: Timestamp) -> Gone | Failed:
    """What a status other than success means."""
    status = response.status
    if status in site.absent:
        return Gone(status)
    passing = status in {408, 425, 429} or status >= 500
    ask = f" ({_ADVICE[status]})" if status in _ADVICE else ""
    retry_after = parse_retry_after(response.headers.get("Retry-After"), now)
    return Failed(
        reason=f"it answered {status}{ask}",
        retry_after=retry_after,
        again=passing,
        healthy=not passing,
        # RFC 6585 4: with 429 it is us who ask too much. A 503 is about the host, and may end before it thought.
        rest=min(retry_after or 0.0, _LONGEST_REST) if status == 429 else 0.0,
    )


def file_answer(response: aiohttp.ClientResponse, site: Site, url: str, now: Timestamp) -> FileAnswer:
    """What an answer to the question for a file, or for a part of one, means."""
    headers = response.headers
    if response.status not in {200, 206}:
        return refused(response, site, now)
    name = urls.last_segment(url).lower()
    if headers.get("Content-Type", "").lower().startswith("text/html") and not name.endswith((".html", ".htm")):
        return unusable("it answered with an HTML page instead of the file")
    coding = headers.get("Content-Encoding", "").strip().lower()
    # Some servers label a .tar.gz, whose bytes are gzip, as gzip-encoded. The bytes are the file's; the digest decides.
    if coding not in {"", "identity"} and not (coding in {"gzip", "x-gzip"} and name.endswith(("gz", ".tar.z"))):
        return unusable(f"it sent the file with content encoding {coding[:40]!r}, which was not asked for")
    if response.status == 200:
        return Transfer(response, start=0, size=response.content_length)
    match = re.fullmatch(
        r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", headers.get("Content-Range", "").strip()
    )
    if match is None:
        return unusable("it answered with a part and does not say which")
    return Transfer(response, start=int(match[1]), size=None if match[3] == "*" else int(match[3]))


def failure_of(error: BaseException) -> Failed:
    """Translate what aiohttp and the network raise. Their texts are not repeated: they may quote what was sent."""
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, AddressRefusedError):
        return Failed(reason=f"{error.os_error} (setting allow_networks of the mirror plugin)")
    if isinstance(error, TimeoutError):
        connecting = isinstance(error, aiohttp.ConnectionTimeoutError)
        return Failed(reason="it did not answer in time", again=True, healthy=False, down=connecting)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return Failed(reason="its TLS certificate is not valid", healthy=False, down=True)
    if isinstance(error, (aiohttp.ClientSSLError, ssl.SSLError)):
        return Failed(reason="TLS could not be established", again=True, healthy=False, down=True)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return Failed(reason="its host name could not be resolved", again=True, healthy=False, down=True)
    if isinstance(error, aiohttp.ClientConnectorError):
        return Failed(reason="it could not be connected to", again=True, healthy=False, down=True)
    if isinstance(error, aiohttp.ClientPayloadError):
        return Failed(reason="its answer was cut off", again=True, healthy=False)
    if isinstance(error, (aiohttp.InvalidURL, ValueError)):
        return Failed(reason="the URL cannot be used")
    if isinstance(error, aiohttp.ClientResponseError):
        return Failed(reason="its answer is not HTTP", again=True, healthy=False)
    return Failed(reason="the connection broke", again=True, healthy=False)
