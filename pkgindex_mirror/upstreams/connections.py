"""Connections to upstreams: one request with its redirects, over one of two pools.

Credentials are sent only to the scheme, host and port of the upstream. Redirects are followed here: the first one to another origin ends
the sending of credentials, and one from https to http is refused. No URL with userinfo is formed, so none can be logged.

Pages and sidecars come over connections of our own, if they can (`short_answers`). For all else there are two connection pools: one for hosts that operators configured, one for hosts that only pages and redirects name. The second one
checks each address right before it connects (`addresses`). The pools share no connections.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, cast

from pkgindex_core.clock import Clock
from pkgindex_core.installed import installed_version
from pkgindex_mirror import urls
from pkgindex_mirror.settings import MirrorSettings, parse_networks
from pkgindex_mirror.upstreams.addresses import AddressGuard, PinningResolver, Resolver
from pkgindex_mirror.upstreams.hosts import Trail
from pkgindex_mirror.upstreams.short_answers import ShortAnswers
from pkgindex_mirror.upstreams.sites import Site
from pkgindex_mirror.upstreams.socks_proxies import is_socks, socks_connector, socks_errors
from pkgindex_mirror.upstreams.upstream_answers import (
    CHUNK,
    Failed,
    Response,
    connection_errors,
    failed_by_proxy,
    failure_of,
    unusable,
)
from pkgindex_mirror.upstreams.upstream_counts import UpstreamCounts

if TYPE_CHECKING:
    import aiohttp
    from aiohttp.abc import AbstractResolver

REDIRECTS_LIMIT: Final = 10
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class UpstreamConnections:
    """The pools of one client. Opened lazily inside the loop."""

    def __init__(
        self,
        settings: MirrorSettings,
        clock: Clock,
        *,
        resolver: AbstractResolver | None,
        proxy: str,
        strangers: UpstreamCounts,
    ) -> None:
        """`strangers` counts the answers of hosts to which redirects lead."""
        self._settings = settings
        self._clock = clock
        self._given_resolver = resolver
        self._own_resolver: AbstractResolver | None = None
        self._proxy = proxy or settings.proxy
        self._proxy_errors = socks_errors() if is_socks(self._proxy) else ()
        self._guard = AddressGuard(parse_networks(settings.allow_networks))
        self._agent = settings.user_agent or user_agent()
        self._counts = strangers
        self._configured: aiohttp.ClientSession | None = None
        self._strangers: aiohttp.ClientSession | None = None
        self._pinning: PinningResolver | None = None
        self._short: ShortAnswers | None = None

    async def send(
        self,
        site: Site,
        url: str,
        headers: Mapping[str, str],
        trail: Trail,
        *,
        method: str = "GET",
        short: bool = False,
    ) -> Response | Failed:
        """Make one request and follow redirects. The response is open and not read; its status is none of a followed redirect.

        `short`: the answer to this GET is usually short, and wanted whole.
        """
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
            counts, begun = trail.counts if at_home else self._counts, self._clock.monotonic()
            if self._proxy and not self._is_home(site, url) and not self._guard.permits_unresolved(urls.host(url)):
                return unusable(f"{urls.shown(url)} leads to an address that is not public and not in allow_networks")
            try:
                response = await self._sent(site, url, sent, method, short=short)
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

    async def _sent(self, site: Site, url: str, headers: Mapping[str, str], method: str, *, short: bool) -> Response:
        """Send a request over the connections that are for it. Raises `connection_errors` and `ValueError`."""
        from yarl import URL  # see `_connector`

        if short and not self._proxy:
            is_home = self._is_home(site, url)
            resolver = self._home_resolver() if is_home else self._resolver()
            answer = await self._short_answers().ask(url, headers, is_home=is_home, resolver=resolver)
            if answer is not None:
                return answer
        http_proxy = None if is_socks(self._proxy) else self._proxy or None
        return await self._session(site, url).request(
            method, URL(url, encoded=url.isascii()), headers=headers, allow_redirects=False, proxy=http_proxy
        )

    def _short_answers(self) -> ShortAnswers:
        if self._short is None:
            self._short = ShortAnswers(self._settings, self._guard, tls=self._context, agent=self._agent)
        return self._short

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

    async def close(self) -> None:
        if self._short is not None:
            self._short.close()
        for session in (self._configured, self._strangers):
            if session is not None:
                await session.close()
        if self._own_resolver is not None:
            await self._own_resolver.close()
        self._configured = self._strangers = self._own_resolver = self._pinning = self._short = None

    def _is_home(self, site: Site, url: str) -> bool:
        """Whether a URL leads to the host that the operator configured."""
        return site.trusted and urls.host(url) == urls.host(site.base)

    def _session(self, site: Site, url: str) -> aiohttp.ClientSession:
        if self._proxy or self._is_home(site, url):
            if self._configured is None and is_socks(self._proxy):
                self._configured = self._new_session(socks_connector(self._proxy, self._tls()))
            if self._configured is None:
                self._configured = self._new_session(self._connector(self._home_resolver()))
            return self._configured
        if self._strangers is None:
            self._strangers = self._new_session(self._connector(self._resolver(), self._guard))
        return self._strangers

    def _home_resolver(self) -> PinningResolver:
        """The resolver of the hosts that operators configured."""
        if self._pinning is None:
            self._pinning = PinningResolver(self._resolver(), self._guard)
        return self._pinning

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
            headers={"User-Agent": self._agent},
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

    def _context(self) -> ssl.SSLContext:
        """The TLS context of short answers, which checks what `_tls` checks."""
        context = ssl.create_default_context(cafile=self._settings.ca_file or None)
        if not self._settings.verify_tls:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def user_agent() -> str:
    version = installed_version("pkgindex")
    return f"pkgindex-mirror/{version}" if version else "pkgindex-mirror"
