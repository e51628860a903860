"""Asking somebody else's index over HTTP.

Every answer is a value: a document, unchanged, gone, or failed. Only the statuses in `Site.absent` mean gone. Whatever else is
not a whole and readable answer is a failure, so that trouble is never taken for absence.

Credentials belong to the upstream's own scheme, host and port: redirects are followed by hand, one that leaves that origin goes on
without them for good, and one from https to http is refused. No URL with userinfo is ever formed, so none can be logged.

Two connection pools: one for the hosts that operators configured, one for hosts that only pages and redirects
name. The second judges each address right before it connects (`addresses`); no connection of the first is ever lent to it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import TypeVar

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.resolver import DefaultResolver
from msgspec import Struct
from msgspec.structs import replace
from yarl import URL

from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.errors import BadUpstream, Unavailable
from pkgindex_core.models import IndexConfig
from pkgindex_core.names import ProjectName, owner
from pkgindex_core.rules.freshness import parse_retry_after
from pkgindex_core.rules.kept_options import mirror_options
from pkgindex_core.rules.permissions import ROOT
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_mirror import urls
from pkgindex_mirror.addresses import AddressGuard, AddressRefusedError, PinningResolver, parse_networks
from pkgindex_mirror.bodies import BodyDecoder, BodyRefusedError, too_large
from pkgindex_mirror.breaker import CircuitBreaker
from pkgindex_mirror.markup import is_empty, says_its_end
from pkgindex_mirror.pages import is_json
from pkgindex_mirror.retry import RetryPolicy
from pkgindex_mirror.settings import MirrorSettings

ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"
"""JSON first: HTML has no sizes, upload times and versions. What uv sends, so every index has seen it."""

REDIRECTS_LIMIT = 10
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CHUNK = 256 * 1024
_VALIDATOR_LIMIT = 512
_HOSTS_LIMIT = 1000
GLIMPSE = 64 * 1024
"""Bytes of a page that a glimpse takes."""
_FIRST_PROBE = 1.0
_LONGEST_REST = 300.0

_log = logging.getLogger(__name__)


class Site(Struct, frozen=True, kw_only=True):
    """An upstream as an index configures it. Its repr shows no secret."""

    base: str
    authorization: str = ""
    """The header's value; empty for none."""
    trusted: bool = True
    """Whether the operator has named it, so that it may lie in a private network. Others may only name what is open to all."""
    absent: frozenset[int] = frozenset({404, 410})
    """The statuses that mean "there is none" (`absent_statuses` of the index)."""

    def __repr__(self) -> str:
        return f"Site({self.base!r})"

    def project_url(self, project: ProjectName) -> str:
        return f"{self.base}{project}/"


def site_of(index: IndexConfig) -> Site | None:
    """The upstream of a mirror; None when its URL is unusable.

    A mirror below `root` is the operator's. Anybody else who may make an index could otherwise read through it whatever this
    machine can reach.
    """
    options = mirror_options(index)
    base = urls.cleaned(options.url)
    if base is None:
        return None
    return Site(
        base=urls.with_slash(base),
        authorization=urls.basic(options.credentials) if options.credentials else "",
        trusted=owner(index.name) == ROOT,
        absent=frozenset(options.absent_statuses),
    )


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
            while data := await self._response.content.read(_CHUNK):
                yield data
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            yield failure_of(error)


class _Host:
    """What we know of one origin."""

    def __init__(self, breaker: CircuitBreaker, pages: int) -> None:
        self.breaker = breaker
        self.pages = asyncio.Semaphore(pages)
        self.last: Failed | None = None
        """Its last failure, when nothing has succeeded since."""
        self.waited = 0.0
        """Seconds that somebody waited in vain since it last answered."""
        self.sent: dict[str, float] = {}
        """When the requests that are under way were sent, by URL; monotonic."""


class _Trail:
    """Where the redirects of one request have led."""

    def __init__(self) -> None:
        self.left = False
        """The asked origin has answered: with a redirect to another origin, which was asked last."""


Value = TypeVar("Value")
FileAnswer = Transfer | Gone | Failed


class Glimpse(Struct, frozen=True, kw_only=True):
    """The beginning of a page."""

    body: bytes
    content_type: str


class UpstreamClient:
    """The one client of a program. Opened lazily inside the loop, closed by its owner."""

    def __init__(
        self,
        settings: MirrorSettings,
        clock: Clock,
        *,
        resolver: AbstractResolver | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._guard = AddressGuard(parse_networks(settings.allow_networks))
        self._given_resolver = resolver
        self._own_resolver: AbstractResolver | None = None
        self._sleep = sleep
        self._clock = clock
        self._dice = dice
        self._hosts: BoundedCache[urls.Origin, _Host] = BoundedCache(_HOSTS_LIMIT)  # pages name hosts as they like
        self._configured: aiohttp.ClientSession | None = None
        self._strangers: aiohttp.ClientSession | None = None
        self._files = asyncio.Semaphore(settings.concurrent_files)

    async def document(
        self,
        site: Site,
        url: str,
        *,
        validators: Mapping[str, str] | None = None,
        accept: str = ACCEPT,
        policy: RetryPolicy | None = None,
        past_caches: bool = False,
    ) -> Document | Unchanged | Gone | Failed:
        """Ask for a page or a project list, with `validators` only if it changed.

        `past_caches` asks intermediaries to ask the origin (RFC 9111 5.2.1.4).
        """
        headers = {"Accept": accept, "Accept-Encoding": "gzip"}
        if past_caches:
            headers["Cache-Control"] = "no-cache"
        known = validators if validators and validators.get("url") == url else {}
        if known.get("etag"):
            headers["If-None-Match"] = known["etag"]
        elif known.get("last-modified"):
            headers["If-Modified-Since"] = known["last-modified"]

        async def once(trail: _Trail) -> Document | Unchanged | Gone | Failed:
            response = await self._send(site, url, headers, trail)
            if isinstance(response, Failed):
                return response
            try:
                return await self._read_document(response, site, url, conditional=len(known) > 0)
            finally:
                response.release()

        host = self._host(url)
        if refusal := self._refused(host, url):
            return refusal
        # Per host, so that one that answers slowly does not hold up the others.
        async with host.pages:
            return await self._attempts(url, policy or self._settings.page_policy(), once)

    async def glimpse(self, site: Site, url: str) -> Glimpse | Gone | Failed:
        """Ask once for the beginning of a page."""
        headers = {"Accept": ACCEPT, "Accept-Encoding": "identity"}

        async def once(trail: _Trail) -> Glimpse | Gone | Failed:
            response = await self._send(site, url, headers, trail)
            if isinstance(response, Failed):
                return response
            try:
                if response.status != 200:
                    return _refusal(response, site, self._clock.now())
                # Some servers compress although they were asked not to.
                decoder = BodyDecoder(response.headers.get("Content-Encoding", ""), self._settings.page_limit)
                while len(decoder.beginning()) < GLIMPSE and (data := await response.content.read(GLIMPSE)):
                    decoder.feed(data)
            except BodyRefusedError as error:
                return _unusable(str(error))
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                return failure_of(error)
            finally:
                response.close()
            return Glimpse(
                body=decoder.beginning()[:GLIMPSE], content_type=response.headers.get("Content-Type", "")[:200]
            )

        return await self._attempts(url, replace(self._settings.page_policy(), attempts=1), once)

    @asynccontextmanager
    async def file(
        self, site: Site, url: str, *, span: tuple[int, int | None] | None = None, validator: str = ""
    ) -> AsyncIterator[FileAnswer]:
        """Ask for a file or, with `span`, a part: (start, stop or None), (-n, None) for the last n bytes.

        The caller reads `chunks` inside the context. An upstream that ignores the range, or whose file is no longer the one
        that `validator` names, answers with the whole: `Transfer.start` tells.
        """
        # A file is stored as it was hashed: no content coding.
        headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
        if span is not None:
            start, stop = span
            headers["Range"] = f"bytes={start}" if start < 0 else f"bytes={start}-{'' if stop is None else stop - 1}"
            if validator:
                headers["If-Range"] = validator
        opened: aiohttp.ClientResponse | None = None

        async def once(trail: _Trail) -> FileAnswer:
            nonlocal opened
            response = await self._send(site, url, headers, trail)
            if isinstance(response, Failed):
                return response
            answer = _file_answer(response, site, url, self._clock.now())
            if isinstance(answer, Transfer):
                opened = response
            else:
                response.close()
            return answer

        answer: FileAnswer = await self._attempts(url, self._settings.page_policy(), once)
        try:
            yield answer
        finally:
            if opened is not None:
                opened.close() if not opened.content.at_eof() else opened.release()

    async def leads_out(self, site: Site, url: str) -> bool:
        """Whether somebody else may be sent to a file's URL: somewhere that we would fetch it from ourselves.

        Never from an upstream that wants credentials: at its own origin they would be refused, and links that it gives only to
        those whom it knows may carry a signature.
        """
        if site.authorization or (site.base.startswith("https:") and not url.startswith("https:")):
            return False
        if self._is_home(site, url):
            return True
        try:
            async with asyncio.timeout(self._settings.connect_timeout):
                return await self._guard.permits_host(urls.host(url), self._resolver())
        except (OSError, TimeoutError):
            return False

    @asynccontextmanager
    async def file_slot(self) -> AsyncIterator[None]:
        """The global bound on files that are fetched at once."""
        async with self._files:
            yield

    async def pause(self, url: str, attempt: int) -> None:
        """Wait before a broken transfer is taken up again, at least until its host may be asked."""
        wait = self._settings.page_policy().wait(
            min(attempt, self._settings.attempts - 1), elapsed=0.0, dice=self._dice()
        )
        await self._sleep(max(wait or 0.0, self._host(url).breaker.remaining(self._clock.monotonic())))

    def patience(self, url: str, seconds: float, *, least: float) -> float:
        """How long to wait for a host instead of `seconds`: what others waited in vain since its last answer is not waited again."""
        host = self._host(url)
        return max(0.0 if host.breaker.is_open else seconds - host.waited, min(least, seconds))

    def sent(self, url: str) -> float | None:
        """When the request for a URL that is under way was sent (monotonic); None when none is: it is queued, or was answered."""
        return self._host(url).sent.get(url)

    def waited_in_vain(self, url: str, seconds: float) -> None:
        """Remember that a host gave no answer for so long, the waits before included."""
        host = self._host(url)
        host.waited = max(host.waited, seconds)

    async def close(self) -> None:
        for session in (self._configured, self._strangers):
            if session is not None:
                await session.close()
        if self._own_resolver is not None:
            await self._own_resolver.close()
        self._configured = self._strangers = self._own_resolver = None

    async def _attempts(
        self, url: str, policy: RetryPolicy, once: Callable[[_Trail], Awaitable[Value | Failed]]
    ) -> Value | Failed:
        host = self._host(url)
        attempts = 1 if host.breaker.is_open else policy.attempts  # a probe is one question
        begun = self._clock.monotonic()
        failed = Failed(reason="not asked")
        trail = _Trail()
        host.sent.setdefault(url, begun)
        try:
            async with asyncio.timeout(policy.deadline):
                for attempt in range(1, attempts + 1):
                    if refusal := self._refused(host, url):
                        return refusal
                    host.breaker.permits(self._clock.monotonic())
                    trail = _Trail()
                    outcome = await once(trail)
                    if not isinstance(outcome, Failed):
                        self._succeeded(host, url)
                        return outcome
                    failed = outcome
                    if not failed.again or attempt == attempts:
                        break
                    pause = policy.wait(
                        attempt,
                        elapsed=self._clock.monotonic() - begun,
                        dice=self._dice(),
                        retry_after=failed.retry_after,
                    )
                    if pause is None:
                        break
                    _log.info("asking %s again in %.1f s: %s", urls.shown(url), pause, failed.reason)
                    await self._sleep(pause)
        except TimeoutError:
            failed = Failed(reason=f"no whole answer within {policy.deadline:.0f} s", again=True, healthy=False)
        finally:
            host.sent.pop(url, None)
        if trail.left and failed.healthy is not True:
            # The asked host works, and where it led may not. What others waited for it stays, so that they do not wait again.
            self._works(host, url)
        elif failed.healthy:
            self._succeeded(host, url)
        elif failed.healthy is not None:
            was_open = host.breaker.is_open
            host.last = failed
            host.breaker.failed(self._clock.monotonic(), down=failed.down, rest=failed.rest)
            if host.breaker.is_open and not was_open:
                _log.warning("%s is left alone for a while: %s", urls.origin(url), failed.reason)
        return failed

    def _refused(self, host: _Host, url: str) -> Failed | None:
        """Why a host is not asked now."""
        if host.last is None or not host.breaker.remaining(self._clock.monotonic()):
            return None
        reason = f"{urls.origin(url)} failed a moment ago: {host.last.reason}"
        return Failed(reason=reason, again=host.last.again, asked=False)

    def _succeeded(self, host: _Host, url: str) -> None:
        self._works(host, url)
        host.waited = 0.0

    def _works(self, host: _Host, url: str) -> None:
        if host.breaker.is_open:
            _log.warning("%s answers again", urls.origin(url))
        host.breaker.succeeded()
        host.last = None

    def _host(self, url: str) -> _Host:
        where = urls.origin(url)
        host = self._hosts.get(where)
        if host is None:
            settings = self._settings
            host = _Host(
                CircuitBreaker(
                    failures=settings.breaker_failures, interval=settings.breaker_interval, first=_FIRST_PROBE
                ),
                settings.concurrent_pages,
            )
            self._hosts.put(where, host)
        return host

    async def _send(
        self, site: Site, url: str, headers: Mapping[str, str], trail: _Trail
    ) -> aiohttp.ClientResponse | Failed:
        """One request, redirects followed. The response is open; its headers have been judged only for redirects."""
        seen: set[str] = set()
        asked = urls.origin(url)
        at_home = True
        while True:
            if url in seen or len(seen) > REDIRECTS_LIMIT:
                return _unusable(f"redirects in a circle at {urls.shown(url)}")
            seen.add(url)
            trail.left = urls.origin(url) != asked
            at_home = at_home and urls.origin(url) == urls.origin(site.base)
            sent = dict(headers)
            if at_home and site.authorization:
                sent["Authorization"] = site.authorization
            try:
                response = await self._session(site, url).get(
                    URL(url, encoded=url.isascii()), headers=sent, allow_redirects=False
                )
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
                return failure_of(error)
            if response.status not in _REDIRECTS:
                return response
            target = urls.cleaned(response.headers.get("Location", ""), url)
            response.release()
            if target is None:
                return _unusable(f"{urls.shown(url)} redirects to nowhere")
            if url.startswith("https:") and target.startswith("http:"):
                return _unusable(f"{urls.shown(url)} redirects from https to http, which is not followed")
            url = target

    def _is_home(self, site: Site, url: str) -> bool:
        """Whether a URL leads to the very host that the operator has named."""
        return site.trusted and urls.host(url) == urls.host(site.base)

    def _session(self, site: Site, url: str) -> aiohttp.ClientSession:
        if self._is_home(site, url):
            if self._configured is None:
                resolver = PinningResolver(self._resolver(), self._guard)
                self._configured = self._new_session(aiohttp.TCPConnector(limit=0, ssl=self._tls(), resolver=resolver))
            return self._configured
        if self._strangers is None:
            self._strangers = self._new_session(
                aiohttp.TCPConnector(
                    limit=0, ssl=self._tls(), resolver=self._resolver(), socket_factory=self._guard.open_socket
                )
            )
        return self._strangers

    def _resolver(self) -> AbstractResolver:
        if self._given_resolver is not None:
            return self._given_resolver
        if self._own_resolver is None:
            self._own_resolver = DefaultResolver()
        return self._own_resolver

    def _new_session(self, connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
        settings = self._settings
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": settings.user_agent or user_agent()},
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=settings.connect_timeout, sock_read=settings.read_timeout
            ),
            auto_decompress=False,
            trust_env=False,
            read_bufsize=_CHUNK,
        )

    def _tls(self) -> ssl.SSLContext | bool:
        """True is aiohttp's own context, which trusts what the system trusts."""
        return ssl.create_default_context(cafile=self._settings.ca_file) if self._settings.ca_file else True

    async def _read_document(
        self, response: aiohttp.ClientResponse, site: Site, asked: str, *, conditional: bool
    ) -> Document | Unchanged | Gone | Failed:
        if response.status == 304:
            return Unchanged() if conditional else _unusable("it answered 304 to an unconditional request", again=True)
        if response.status != 200:
            return _refusal(response, site, self._clock.now())
        try:
            decoder = BodyDecoder(response.headers.get("Content-Encoding", ""), self._settings.page_limit)
            if (response.content_length or 0) > self._settings.page_limit:
                raise too_large(self._settings.page_limit)
            while data := await response.content.read(_CHUNK):
                decoder.feed(data)
            body = decoder.finish()
        except BodyRefusedError as error:
            response.close()
            return _unusable(str(error))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return failure_of(error)
        if is_empty(body):
            return _unusable("it answered with an empty page", again=True)
        content_type = response.headers.get("Content-Type", "")[:200]
        # JSON that was cut off is no JSON.
        if not _is_delimited(response) and not is_json(body, content_type) and not says_its_end(body):
            return _unusable("its answer may be cut off: it has no length, and its HTML does not end", again=True)
        return Document(
            body=body,
            content_type=content_type,
            url=str(response.url),
            validators=_validators(response, asked),
            received=decoder.received,
        )


def _unusable(reason: str, *, again: bool = False) -> Failed:
    """A whole answer that is none: the host works, so that its breaker closes."""
    return Failed(reason=reason, again=again, healthy=True)


def _is_delimited(response: aiohttp.ClientResponse) -> bool:
    """Whether a body that broke off could be told from a whole one (RFC 9112 8)."""
    headers = response.headers
    compressed = headers.get("Content-Encoding", "").strip().lower() not in {"", "identity"}
    return compressed or "Content-Length" in headers or "Transfer-Encoding" in headers


def user_agent() -> str:
    """How we introduce ourselves."""
    try:
        return f"pkgindex-mirror/{version('pkgindex')}"
    except PackageNotFoundError:  # a source tree that was never installed
        return "pkgindex-mirror"


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


def _refusal(response: aiohttp.ClientResponse, site: Site, now: Timestamp) -> Gone | Failed:
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


def _file_answer(response: aiohttp.ClientResponse, site: Site, url: str, now: Timestamp) -> FileAnswer:
    headers = response.headers
    if response.status not in {200, 206}:
        return _refusal(response, site, now)
    name = urls.last_segment(url).lower()
    if headers.get("Content-Type", "").lower().startswith("text/html") and not name.endswith((".html", ".htm")):
        return _unusable("it answered with an HTML page instead of the file")
    coding = headers.get("Content-Encoding", "").strip().lower()
    # Some servers label a .tar.gz, whose bytes are gzip, as gzip-encoded. The bytes are the file's; the digest decides.
    if coding not in {"", "identity"} and not (coding in {"gzip", "x-gzip"} and name.endswith(("gz", ".tar.z"))):
        return _unusable(f"it sent the file with content encoding {coding[:40]!r}, which was not asked for")
    if response.status == 200:
        return Transfer(response, start=0, size=response.content_length)
    match = re.fullmatch(
        r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", headers.get("Content-Range", "").strip()
    )
    if match is None:
        return _unusable("it answered with a part and does not say which")
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
