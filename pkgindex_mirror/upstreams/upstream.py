"""Asking an upstream index over HTTP.

Answers and failures are values of `upstream_answers`; failures are not raised.

Credentials are sent only to the scheme, host and port of the upstream. Redirects are followed here: the first one to another origin ends
the sending of credentials, and one from https to http is refused. No URL with userinfo is formed, so none can be logged.

There are two connection pools: one for hosts that operators configured, one for hosts that only pages and redirects name. The second one
checks each address right before it connects (`addresses`). The pools share no connections.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar, cast

from msgspec.structs import replace

from pkgindex_core.clock import Clock
from pkgindex_core.installed import installed_version
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_mirror import urls
from pkgindex_mirror.retry import RetryPolicy
from pkgindex_mirror.settings import MirrorSettings, parse_networks
from pkgindex_mirror.upstreams.addresses import AddressGuard, PinningResolver, Resolver
from pkgindex_mirror.upstreams.bodies import BodyDecoder, BodyRefusedError
from pkgindex_mirror.upstreams.breaker import CircuitBreaker
from pkgindex_mirror.upstreams.sites import Site
from pkgindex_mirror.upstreams.slots import Slots
from pkgindex_mirror.upstreams.socks_proxies import is_socks, socks_connector, socks_errors
from pkgindex_mirror.upstreams.upstream_answers import (
    CHUNK,
    AbsentAnswer,
    Document,
    DocumentStream,
    Failed,
    FileAnswer,
    Glimpse,
    StreamAnswer,
    Transfer,
    Unchanged,
    connection_errors,
    failed_by_proxy,
    failure_of,
    file_answer,
    read_document,
    refused,
    size_answer,
    stream_answer,
    unusable,
)
from pkgindex_mirror.upstreams.upstream_counts import UpstreamCounts, UpstreamsCounts

if TYPE_CHECKING:
    import aiohttp
    from aiohttp.abc import AbstractResolver

ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"
"""JSON is preferred, since HTML has no sizes, upload times and versions. Equal to what uv sends, so indexes know it."""

REDIRECTS_LIMIT = 10
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HOSTS_LIMIT = 1000
_HOSTS_AT_ONCE = 4
"""Hosts from which the largest number of files can be fetched at the same time."""
GLIMPSE = 64 * 1024
"""Bytes of a page that a glimpse takes."""
_FIRST_PROBE = 1.0
_LEAST = 1.0
"""Shortest wait for a host in seconds. Other callers may have waited in vain before, but a fast answer still counts."""

_FILE: Mapping[str, str] = {"Accept": "*/*", "Accept-Encoding": "identity"}
"""The headers of a request for a file. It is stored as it was hashed: no content coding."""

_log = logging.getLogger(__name__)


class _Host:
    """The state of one origin."""

    def __init__(self, breaker: CircuitBreaker, *, pages: int, files: int, requests: int) -> None:
        self.breaker = breaker
        self.pages = Slots(pages)
        self.files = Slots(files)
        self.requests = Slots(requests)
        self.last: Failed | None = None
        """The last failure; None after a success."""
        self.waited = 0.0
        """Longest time in seconds that a caller waited in vain since the last answer."""
        self.sent: dict[str, float] = {}
        """Monotonic times at which the requests under way were sent, by URL."""


class _Trail:
    """Where the redirects of one request have led."""

    def __init__(self, counts: UpstreamCounts) -> None:
        self.counts = counts
        """Those of the origin that was asked."""
        self.left = False
        """The origin that was asked redirected to another origin."""


Value = TypeVar("Value")


class UpstreamClient:
    """The one client of a program. Opened lazily inside the loop, closed by its owner."""

    def __init__(
        self,
        settings: MirrorSettings,
        clock: Clock,
        *,
        resolver: AbstractResolver | None = None,
        proxy: str = "",
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        dice: Callable[[], float] = random.random,
    ) -> None:
        """`proxy`: the URL of an http or SOCKS proxy for all requests, instead of the one of the settings.

        It resolves the names of hosts, so what they lead to is for it to judge.
        """
        self._settings = settings
        self._proxy = proxy or settings.proxy
        self._proxy_errors = socks_errors() if is_socks(self._proxy) else ()
        self._guard = AddressGuard(parse_networks(settings.allow_networks))
        self._given_resolver = resolver
        self._own_resolver: AbstractResolver | None = None
        self._sleep = sleep
        self._clock = clock
        self._dice = dice
        self._hosts: BoundedCache[urls.Origin, _Host] = BoundedCache(
            _HOSTS_LIMIT
        )  # bounded: pages may name any number of hosts
        self._configured: aiohttp.ClientSession | None = None
        self._strangers: aiohttp.ClientSession | None = None
        self._files = Slots(settings.concurrent_files * _HOSTS_AT_ONCE)
        self.counts = UpstreamsCounts()

    async def document(
        self,
        site: Site,
        url: str,
        *,
        validators: Mapping[str, str] | None = None,
        accept: str = ACCEPT,
        policy: RetryPolicy | None = None,
        past_caches: bool = False,
    ) -> Document | Unchanged | AbsentAnswer | Failed:
        """Ask for a page or a project list. With `validators`, the answer may be `Unchanged`.

        `past_caches` makes caches on the way ask the origin (RFC 9111 5.2.1.4).
        """
        headers, conditional = _question(url, accept, validators)
        if past_caches:
            headers["Cache-Control"] = "no-cache"

        async def once(trail: _Trail) -> Document | Unchanged | AbsentAnswer | Failed:
            response = await self._send(site, url, headers, trail)
            if isinstance(response, Failed):
                return response
            try:
                answer = await read_document(
                    response,
                    site,
                    url,
                    conditional=conditional,
                    limit=self._settings.page_limit,
                    now=self._clock.now(),
                    silence=self._settings.read_timeout,
                )
            finally:
                response.release()
            if isinstance(answer, Document):
                trail.counts.received += answer.received
            return answer

        host = self._host(url)
        if refusal := self._refused(host, url):
            return refusal
        # Bounds per host, so that a slow host does not delay the others.
        async with host.pages, host.requests:
            return await self._attempts(url, policy or self._settings.page_policy(), once, self._counts_of(site, url))

    @asynccontextmanager
    async def stream(
        self, site: Site, url: str, *, validators: Mapping[str, str] | None = None, accept: str = ACCEPT, limit: int
    ) -> AsyncIterator[StreamAnswer]:
        """Ask for a long document, of at most `limit` bytes. The caller reads `chunks` inside the context."""
        headers, conditional = _question(url, accept, validators)
        answer_of = partial(
            stream_answer,
            site=site,
            asked=url,
            conditional=conditional,
            limit=limit,
            silence=self._settings.read_timeout,
        )
        async with self._opened(site, url, headers, self._settings.names_policy(), answer_of) as answer:
            yield answer

    async def glimpse(self, site: Site, url: str) -> Glimpse | AbsentAnswer | Failed:
        """Ask once for the beginning of a page."""
        headers = {"Accept": ACCEPT, "Accept-Encoding": "identity"}

        async def once(trail: _Trail) -> Glimpse | AbsentAnswer | Failed:
            response = await self._send(site, url, headers, trail)
            if isinstance(response, Failed):
                return response
            try:
                if response.status != 200:
                    return refused(response, site, self._clock.now())
                # Some servers compress all the same.
                decoder = BodyDecoder(response.headers.get("Content-Encoding", ""), self._settings.page_limit)
                while len(decoder.beginning()) < GLIMPSE and (data := await response.content.read(GLIMPSE)):
                    decoder.feed(data)
            except BodyRefusedError as error:
                return unusable(str(error))
            except connection_errors() as error:
                return failure_of(error)
            finally:
                response.close()
            return Glimpse(
                body=decoder.beginning()[:GLIMPSE], content_type=response.headers.get("Content-Type", "")[:200]
            )

        policy = replace(self._settings.page_policy(), attempts=1)
        async with self._host(url).requests:
            return await self._attempts(url, policy, once, self._counts_of(site, url))

    @asynccontextmanager
    async def file(
        self, site: Site, url: str, *, span: tuple[int, int | None] | None = None, validator: str = ""
    ) -> AsyncIterator[FileAnswer]:
        """Ask for a file or, with `span`, a part: (start, stop or None), (-n, None) for the last n bytes.

        The caller reads `chunks` inside the context. If the upstream ignores the range, or if its file does not match `validator`,
        the answer is the whole file, and `Transfer.start` is 0.
        """
        headers = dict(_FILE)
        if span is not None:
            start, stop = span
            headers["Range"] = f"bytes={start}" if start < 0 else f"bytes={start}-{'' if stop is None else stop - 1}"
            if validator:
                headers["If-Range"] = validator
        answer_of = partial(file_answer, site=site, url=url, silence=self._settings.read_timeout)
        async with self._opened(site, url, headers, self._settings.page_policy(), answer_of) as answer:
            yield answer

    async def size(self, site: Site, url: str) -> int | AbsentAnswer | Failed:
        """Ask once, with HEAD, how many bytes a file has. `Failed` also if the answer does not tell."""

        async def once(trail: _Trail) -> int | AbsentAnswer | Failed:
            response = await self._send(site, url, _FILE, trail, method="HEAD")
            if isinstance(response, Failed):
                # Some servers fail at HEAD alone. This must not end the requests for pages.
                return response if response.down else replace(response, healthy=None)
            answer = size_answer(response, site, url, self._clock.now(), limit=self._settings.file_limit)
            _let_go(response)
            return replace(answer, healthy=None) if isinstance(answer, Failed) and not answer.rest else answer

        host = self._host(url)
        if refusal := self._refused(host, url):
            return refusal
        policy = replace(self._settings.page_policy(), attempts=1)
        async with host.requests:
            return await self._attempts(url, policy, once, self._counts_of(site, url))

    @asynccontextmanager
    async def _opened(
        self,
        site: Site,
        url: str,
        headers: Mapping[str, str],
        policy: RetryPolicy,
        answer_of: Callable[..., Value],
    ) -> AsyncIterator[Value | Failed]:
        """Ask for something whose body the caller reads inside the context. `answer_of` is called with each response and `now`."""
        opened: aiohttp.ClientResponse | None = None

        async def once(trail: _Trail) -> Value | Failed:
            nonlocal opened
            response = await self._send(site, url, headers, trail)
            if isinstance(response, Failed):
                return response
            answer = answer_of(response, now=self._clock.now())
            if isinstance(answer, Transfer | DocumentStream):
                opened = response
            else:
                _let_go(response)
            return answer

        counts, host = self._counts_of(site, url), self._host(url)
        if refusal := self._refused(host, url):
            yield refusal
            return
        async with host.requests:
            answer = await self._attempts(url, policy, once, counts)
            try:
                yield answer
            finally:
                if opened is not None:
                    _let_go(opened)
                if isinstance(answer, Transfer | DocumentStream):
                    counts.received += answer.received
                    if answer.broke is not None:
                        counts.failed(answer.broke.kind)

    async def leads_out(self, site: Site, url: str) -> bool:
        """Whether a client may be redirected to a file's URL. Only to a URL that this client would fetch itself.

        Not for an upstream with credentials: the client has none, and a link to another origin may contain a signature.
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
    async def file_slot(self, url: str) -> AsyncIterator[None]:
        """Wait for one of the `concurrent_files` of a host."""
        async with self._host(url).files, self._files:
            yield

    async def pause(self, url: str, attempt: int) -> None:
        """Wait before a broken transfer is resumed, at least until its host may be asked."""
        wait = self._settings.page_policy().wait(
            min(attempt, self._settings.attempts - 1), elapsed=0.0, dice=self._dice()
        )
        await self._sleep(max(wait or 0.0, self._host(url).breaker.remaining(self._clock.monotonic())))

    def is_left_alone(self, origin: urls.Origin) -> bool:
        """Whether the circuit breaker of a host is open."""
        host = self._hosts.get(origin)
        return host is not None and host.breaker.is_open

    def load(self) -> tuple[int, int]:
        """The requests under way to all hosts, and the questions that wait for their turn."""
        hosts = [host for _, host in self._hosts.items()]
        waiting = sum(host.pages.waiting + host.files.waiting + host.requests.waiting for host in hosts)
        return sum(host.requests.used for host in hosts), waiting + self._files.waiting

    def patience(self, url: str, seconds: float, *, least: float = _LEAST) -> float:
        """How long to wait for a host: `seconds`, less the time that callers waited in vain since its last answer."""
        host = self._host(url)
        return max(0.0 if host.breaker.is_open else seconds - host.waited, min(least, seconds))

    def waited_in_vain(self, url: str, seconds: float, begun: float) -> None:
        """Record that a host gave no answer to a URL within `seconds` from `begun` (monotonic).

        Only the time since the request was sent counts: the queue here and the store are not the host's fault.
        """
        host = self._host(url)
        sent = host.sent.get(url)
        if sent is not None:
            host.waited = max(host.waited, seconds - max(sent - begun, 0.0))

    async def close(self) -> None:
        for session in (self._configured, self._strangers):
            if session is not None:
                await session.close()
        if self._own_resolver is not None:
            await self._own_resolver.close()
        self._configured = self._strangers = self._own_resolver = None

    async def _attempts(
        self,
        url: str,
        policy: RetryPolicy,
        once: Callable[[_Trail], Awaitable[Value | Failed]],
        counts: UpstreamCounts,
    ) -> Value | Failed:
        host = self._host(url)
        attempts = 1 if host.breaker.is_open else policy.attempts  # a probe is one attempt
        begun = self._clock.monotonic()
        failed = Failed(reason="not asked")
        trail = _Trail(counts)
        host.sent.setdefault(url, begun)
        try:
            async with asyncio.timeout(policy.deadline):
                for attempt in range(1, attempts + 1):
                    if refusal := self._refused(host, url):
                        return refusal
                    host.breaker.permits(self._clock.monotonic())
                    trail = _Trail(counts)
                    outcome = await once(trail)
                    if not isinstance(outcome, Failed):
                        self._succeeded(host, url)
                        return outcome
                    failed = outcome
                    counts.failed(failed.kind)
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
            reason = f"no whole answer within {policy.deadline:.0f} s"
            failed = Failed(reason=reason, kind="timeout", again=True, healthy=False)
            counts.failed(failed.kind)
        finally:
            host.sent.pop(url, None)
        if trail.left and failed.healthy is not True:
            # The asked host works, and the redirect leads to one that may not. `waited` stays, so that callers do not wait again.
            self._works(host, url)
        elif failed.healthy:
            self._succeeded(host, url)
        elif failed.healthy is not None:
            was_open = host.breaker.is_open
            host.last = failed
            host.breaker.failed(self._clock.monotonic(), down=failed.down, rest=failed.rest)
            if host.breaker.is_open and not was_open:
                _log.warning("%s is not asked for a while: %s", urls.origin(url), failed.reason)
        return failed

    def _refused(self, host: _Host, url: str) -> Failed | None:
        """The failure of a request that is not sent, since the breaker of the host is open or the server is offline. None: the host may be asked."""
        if self._settings.offline:
            return Failed(reason="this server is offline (setting offline of the mirror plugin)", asked=False)
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
                pages=settings.concurrent_pages,
                files=settings.concurrent_files,
                requests=settings.concurrent_requests,
            )
            self._hosts.put(where, host)
        return host

    async def _send(
        self, site: Site, url: str, headers: Mapping[str, str], trail: _Trail, *, method: str = "GET"
    ) -> aiohttp.ClientResponse | Failed:
        """Make one request and follow redirects. The response is open and not read; its status is none of a followed redirect."""
        from yarl import URL  # see `_connector`

        seen: set[str] = set()
        asked = urls.origin(url)
        at_home = True
        while True:
            if url in seen or len(seen) > REDIRECTS_LIMIT:
                return unusable(f"it redirects in a circle at {urls.shown(url)}")
            seen.add(url)
            trail.left = urls.origin(url) != asked
            at_home = at_home and urls.origin(url) == urls.origin(site.base)
            sent = dict(headers)
            if at_home and site.authorization:
                sent["Authorization"] = site.authorization
            counts, begun = trail.counts if at_home else self.counts.others, self._clock.monotonic()
            if self._proxy and not self._is_home(site, url) and not self._guard.permits_unresolved(urls.host(url)):
                return unusable(f"{urls.shown(url)} leads to an address that is not public and not in allow_networks")
            http_proxy = None if is_socks(self._proxy) else self._proxy or None
            try:
                response = await self._session(site, url).request(
                    method,
                    URL(url, encoded=url.isascii()),
                    headers=sent,
                    allow_redirects=False,
                    proxy=http_proxy,
                )
            except self._proxy_errors:
                counts.answers["none"] += 1
                return failed_by_proxy()
            except connection_errors(ValueError) as error:
                counts.answers["none"] += 1
                return failure_of(error)
            except asyncio.CancelledError:  # no whole answer in time
                counts.answers["none"] += 1
                raise
            counts.replied(response.status, self._clock.monotonic() - begun)
            if response.status not in _REDIRECTS:
                return response
            target = urls.cleaned(response.headers.get("Location", ""), url)
            response.release()
            if target is None:
                return unusable(f"{urls.shown(url)} redirects to no usable URL")
            if url.startswith("https:") and target.startswith("http:"):
                return unusable(f"{urls.shown(url)} redirects from https to http, which is not followed")
            url = target

    def _counts_of(self, site: Site, url: str) -> UpstreamCounts:
        origin = urls.origin(url)
        return self.counts.of(origin) if origin == urls.origin(site.base) else self.counts.others

    def _is_home(self, site: Site, url: str) -> bool:
        """Whether a URL leads to the host that the operator configured."""
        return site.trusted and urls.host(url) == urls.host(site.base)

    def _session(self, site: Site, url: str) -> aiohttp.ClientSession:
        if self._proxy or self._is_home(site, url):
            if self._configured is None and is_socks(self._proxy):
                self._configured = self._new_session(socks_connector(self._proxy, self._tls()))
            if self._configured is None:
                self._configured = self._new_session(self._connector(PinningResolver(self._resolver(), self._guard)))
            return self._configured
        if self._strangers is None:
            self._strangers = self._new_session(self._connector(self._resolver(), self._guard))
        return self._strangers

    def _resolver(self) -> AbstractResolver:
        if self._given_resolver is not None:
            return self._given_resolver
        if self._own_resolver is None:
            from aiohttp.resolver import DefaultResolver

            self._own_resolver = DefaultResolver()
        return self._own_resolver

    def _connector(self, resolver: Resolver, guard: AddressGuard | None = None) -> aiohttp.BaseConnector:
        """Make the connections of a pool. `guard` checks each address right before it is connected to."""
        import aiohttp  # at the first request, since it takes as long to load as the rest of the program

        return aiohttp.TCPConnector(
            limit=0,
            ssl=self._tls(),
            resolver=cast("AbstractResolver", resolver),
            socket_factory=None if guard is None else guard.open_socket,
        )

    def _new_session(self, connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
        import aiohttp

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
            read_bufsize=CHUNK,
        )

    def _tls(self) -> ssl.SSLContext | bool:
        """The TLS context. True stands for aiohttp's own, which trusts the certificates of the system; with False nothing is checked."""
        if not self._settings.verify_tls:
            return False
        return ssl.create_default_context(cafile=self._settings.ca_file) if self._settings.ca_file else True


def _question(url: str, accept: str, validators: Mapping[str, str] | None) -> tuple[dict[str, str], bool]:
    """The headers of a request for a document, and whether they make it conditional."""
    headers = {"Accept": accept, "Accept-Encoding": "gzip"}
    known = validators if validators and validators.get("url") == url else {}
    if known.get("etag"):
        headers["If-None-Match"] = known["etag"]
    elif known.get("last-modified"):
        headers["If-Modified-Since"] = known["last-modified"]
    return headers, len(known) > 0


def _let_go(response: aiohttp.ClientResponse) -> None:
    """Give the connection back, or close it if the body was not read to its end."""
    if response.content.at_eof():
        response.release()
    else:
        response.close()


def user_agent() -> str:
    version = installed_version("pkgindex")
    return f"pkgindex-mirror/{version}" if version else "pkgindex-mirror"
