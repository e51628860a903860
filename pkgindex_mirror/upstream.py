"""Asking somebody else's index over HTTP.

Every answer is a value of `upstream_answers`; nothing that goes wrong on the way is raised.

Credentials belong to the upstream's own scheme, host and port: redirects are followed by hand, one that leaves that origin goes on
without them for good, and one from https to http is refused. No URL with userinfo is ever formed, so none can be logged.

Two connection pools: one for the hosts that operators configured, one for hosts that only pages and redirects
name. The second judges each address right before it connects (`addresses`); no connection of the first is ever lent to it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import TypeVar

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.resolver import DefaultResolver
from msgspec.structs import replace
from yarl import URL

from pkgindex_core.clock import Clock
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_mirror import urls
from pkgindex_mirror.addresses import AddressGuard, PinningResolver, parse_networks
from pkgindex_mirror.bodies import BodyDecoder, BodyRefusedError
from pkgindex_mirror.breaker import CircuitBreaker
from pkgindex_mirror.retry import RetryPolicy
from pkgindex_mirror.settings import MirrorSettings
from pkgindex_mirror.sites import Site
from pkgindex_mirror.upstream_answers import (
    CHUNK,
    Document,
    Failed,
    FileAnswer,
    Glimpse,
    Gone,
    Transfer,
    Unchanged,
    failure_of,
    file_answer,
    read_document,
    refused,
    unusable,
)

ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"
"""JSON first: HTML has no sizes, upload times and versions. What uv sends, so every index has seen it."""

REDIRECTS_LIMIT = 10
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HOSTS_LIMIT = 1000
GLIMPSE = 64 * 1024
"""Bytes of a page that a glimpse takes."""
_FIRST_PROBE = 1.0

_log = logging.getLogger(__name__)


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
                return await read_document(
                    response,
                    site,
                    url,
                    conditional=len(known) > 0,
                    limit=self._settings.page_limit,
                    now=self._clock.now(),
                )
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
                    return refused(response, site, self._clock.now())
                # Some servers compress although they were asked not to.
                decoder = BodyDecoder(response.headers.get("Content-Encoding", ""), self._settings.page_limit)
                while len(decoder.beginning()) < GLIMPSE and (data := await response.content.read(GLIMPSE)):
                    decoder.feed(data)
            except BodyRefusedError as error:
                return unusable(str(error))
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
            answer = file_answer(response, site, url, self._clock.now())
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
                return unusable(f"redirects in a circle at {urls.shown(url)}")
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
                return unusable(f"{urls.shown(url)} redirects to nowhere")
            if url.startswith("https:") and target.startswith("http:"):
                return unusable(f"{urls.shown(url)} redirects from https to http, which is not followed")
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
            read_bufsize=CHUNK,
        )

    def _tls(self) -> ssl.SSLContext | bool:
        """True is aiohttp's own context, which trusts what the system trusts."""
        return ssl.create_default_context(cafile=self._settings.ca_file) if self._settings.ca_file else True


def user_agent() -> str:
    """How we introduce ourselves."""
    try:
        return f"pkgindex-mirror/{version('pkgindex')}"
    except PackageNotFoundError:  # a source tree that was never installed
        return "pkgindex-mirror"
