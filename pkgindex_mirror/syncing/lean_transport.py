"""A fast transport for plain small answers, which are nearly all: a page, a document, a small file.

    question ─► own connection ─► 200, 304 or absent, whole, not too large ─► answer
                              └─► anything else ─► the careful transport asks again, with its retries, redirects and circuit breaker

So every judgement about trouble is that of the careful one. The same addresses are permitted as there: any for the host of the
upstream, if it did not move to a private one, and public ones for hosts that only pages name.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

from pkgindex_mirror import urls
from pkgindex_mirror.documents.document_kinds import is_empty
from pkgindex_mirror.settings import MirrorSettings, parse_networks
from pkgindex_mirror.syncing.lean_streams import LeanStream, opened_stream
from pkgindex_mirror.syncing.transport import LIST_LIMIT, CarefulTransport, ListAnswer, PageAnswer
from pkgindex_mirror.upstreams.addresses import AddressGuard, PinningResolver, Resolver, SystemResolver
from pkgindex_mirror.upstreams.bodies import BodyDecoder, BodyRefusedError
from pkgindex_mirror.upstreams.connections import user_agent
from pkgindex_mirror.upstreams.lean_connections import ConnectionPool, LeanReply, NotPlainError
from pkgindex_mirror.upstreams.sites import Site
from pkgindex_mirror.upstreams.upstream import ACCEPT, UpstreamClient
from pkgindex_mirror.upstreams.upstream_answers import AbsentAnswer, Document, Failed, FileAnswer, Unchanged

SMALL_FILE: Final = 1024 * 1024
"""Largest file in bytes that is fetched in one piece."""
SMALL_PAGE: Final = 4 * 1024 * 1024
"""Largest page in bytes that is fetched by these connections, as it comes and decompressed."""
_OK: Final = 200
_NOT_MODIFIED: Final = 304
_VALIDATOR_LIMIT: Final = 512
_SERIAL_DIGITS: Final = 18
_HOSTS_LIMIT: Final = 64


class LeanTransport:
    """Plays `Transport` by connections of its own, and by a careful transport for all else."""

    def __init__(self, client: UpstreamClient, site: Site, settings: MirrorSettings) -> None:
        self._client = client
        self._careful = CarefulTransport(client, site)
        self._site = site
        self._home = urls.origin(site.base)
        self._settings = settings
        self._guard = AddressGuard(parse_networks(settings.allow_networks))
        self._resolver = SystemResolver()
        self._pinning = PinningResolver(self._resolver, self._guard)
        self._pools: dict[str, ConnectionPool] = {}
        self._fixed = f"User-Agent: {settings.user_agent or user_agent()}\r\n"

    async def page(
        self, url: str, *, validators: Mapping[str, str] | None = None, accept: str = ACCEPT, past_caches: bool = False
    ) -> PageAnswer:
        if not past_caches:
            headers, is_conditional = _question(url, accept, validators)
            try:
                reply = await self._ask(url, headers, SMALL_PAGE)
                answer = self._page_answer(url, reply, conditional=is_conditional)
            except (NotPlainError, BodyRefusedError):
                answer = None
            if answer is not None:
                return answer
        return await self._careful.page(url, validators=validators, accept=accept, past_caches=past_caches)

    @asynccontextmanager
    async def listing(self, url: str, *, validators: Mapping[str, str] | None = None) -> AsyncIterator[ListAnswer]:
        async with AsyncExitStack() as opened:
            answer = await self._listing(url, validators, opened)
            if answer is None:
                await opened.aclose()
                answer = await opened.enter_async_context(self._careful.listing(url, validators=validators))
            yield answer

    async def _listing(
        self, url: str, validators: Mapping[str, str] | None, opened: AsyncExitStack
    ) -> ListAnswer | None:
        """The answer, or None if the careful transport is to ask."""
        headers, is_conditional = _question(url, ACCEPT, validators)
        try:
            pool, request = self._asked(url, headers)
            stream = await opened.enter_async_context(
                opened_stream(
                    pool,
                    request,
                    limit=LIST_LIMIT,
                    silence=self._settings.read_timeout,
                    connect_timeout=self._settings.connect_timeout,
                )
            )
        except NotPlainError:
            return None
        if stream.status in self._site.absent:
            return AbsentAnswer(stream.status)
        if stream.status == _NOT_MODIFIED and is_conditional:
            return Unchanged()
        return ArrivingList(stream, _validators(url, stream.headers)) if stream.status == _OK else None

    async def small_file(self, url: str, size: int | None) -> bytes | AbsentAnswer | Failed | None:
        if (size or 0) > SMALL_FILE:
            return None
        try:
            reply = await self._ask(url, "Accept: */*\r\nAccept-Encoding: identity\r\n", SMALL_FILE)
        except NotPlainError:
            return None
        if reply.status in self._site.absent:
            return AbsentAnswer(reply.status)
        if reply.status != _OK or reply.headers.get("content-encoding", "identity").lower() != "identity":
            return None
        # Another size is for the careful transport to judge.
        return reply.body if size in {None, len(reply.body)} else None

    def file(
        self, url: str, *, span: tuple[int, int | None] | None = None, validator: str = ""
    ) -> AbstractAsyncContextManager[FileAnswer]:
        return self._careful.file(url, span=span, validator=validator)

    async def pause(self, url: str, attempt: int) -> None:
        await self._careful.pause(url, attempt)

    async def close(self) -> None:
        for pool in self._pools.values():
            pool.close()
        await self._resolver.close()
        await self._careful.close()

    async def _ask(self, url: str, headers: str, limit: int) -> LeanReply:
        pool, request = self._asked(url, headers)
        return await pool.ask(
            request,
            limit=limit,
            silence=self._settings.read_timeout,
            connect_timeout=self._settings.connect_timeout,
        )

    def _asked(self, url: str, headers: str) -> tuple[ConnectionPool, bytes]:
        """The connections and the request for a URL. Raises `NotPlainError` for one of unusual form, or of a host that is left alone just now."""
        origin = urls.origin(url)
        if not url.isascii() or self._settings.offline or self._client.hosts.is_left_alone(origin):
            raise NotPlainError("it is not asked by these connections")
        pool = self._pools.get(origin)
        if pool is None:
            if len(self._pools) >= _HOSTS_LIMIT:
                raise NotPlainError("too many hosts")
            pool = self._pools[origin] = self._new_pool(url)
        _, _, place, path = url.split("/", 3)
        if self._site.authorization and origin == self._home:
            headers += f"Authorization: {self._site.authorization}\r\n"
        return pool, f"GET /{path} HTTP/1.1\r\nHost: {place}\r\n{self._fixed}{headers}\r\n".encode("ascii")

    def _new_pool(self, url: str) -> ConnectionPool:
        parts = urlsplit(url)
        host, secure = urls.host(url), parts.scheme == "https"
        is_home = self._site.trusted and host == urls.host(self._site.base)
        resolver: Resolver = self._pinning if is_home else self._resolver

        async def addresses() -> Sequence[str]:
            found = [each["host"] for each in await resolver.resolve(host, 0, socket.AF_UNSPEC)]
            return found if is_home else [address for address in found if self._guard.permits(address)]

        return ConnectionPool(addresses, parts.port or (443 if secure else 80), self._tls() if secure else None, host)

    def _tls(self) -> ssl.SSLContext:
        if not self._settings.verify_tls:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            return context
        return ssl.create_default_context(cafile=self._settings.ca_file or None)

    def _page_answer(self, url: str, reply: LeanReply, *, conditional: bool) -> PageAnswer | None:
        """The answer, or None if the careful transport is to judge it."""
        if reply.status in self._site.absent:
            return AbsentAnswer(reply.status)
        if reply.status == _NOT_MODIFIED and conditional:
            return Unchanged()
        if reply.status != _OK:
            return None
        decoder = BodyDecoder(reply.headers.get("content-encoding", ""), SMALL_PAGE)
        decoder.feed(reply.body)
        body = decoder.finish()
        if is_empty(body):
            return None
        return Document(
            body=body,
            content_type=reply.headers.get("content-type", "")[:200],
            url=url,
            validators=_validators(url, reply.headers),
            received=len(reply.body),
        )


class ArrivingList:
    """The list of an answer of these connections, as `DocumentStream` has it."""

    is_delimited: Final = True

    def __init__(self, stream: LeanStream, validators: Mapping[str, str]) -> None:
        self.content_type = stream.headers.get("content-type", "")[:200]
        self.validators = validators
        self.chunks = stream.chunks


def _question(url: str, accept: str, validators: Mapping[str, str] | None) -> tuple[str, bool]:
    """The headers of a question, and whether they make it conditional."""
    headers = f"Accept: {accept}\r\nAccept-Encoding: gzip\r\n"
    known = validators if validators and validators.get("url") == url else {}
    if known.get("etag"):
        headers += f"If-None-Match: {known['etag']}\r\n"
    elif known.get("last-modified"):
        headers += f"If-Modified-Since: {known['last-modified']}\r\n"
    return headers, len(known) > 0


def _validators(url: str, headers: Mapping[str, str]) -> dict[str, str]:
    found = {"url": url}
    for key in ("etag", "last-modified"):
        value = headers.get(key, "")
        if value and len(value) <= _VALIDATOR_LIMIT and value.isascii() and value.isprintable():
            found[key] = value
    serial = headers.get("x-pypi-last-serial", "")
    if serial.isascii() and serial.isdigit() and len(serial) <= _SERIAL_DIGITS:
        found["serial"] = serial
    return found
