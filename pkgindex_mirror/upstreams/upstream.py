"""Questions to an upstream index over HTTP.

Answers and failures are values of `upstream_answers`; failures are not raised.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from pkgindex_core.clock import Clock
from pkgindex_mirror import urls
from pkgindex_mirror.retry import RetryPolicy
from pkgindex_mirror.settings import MirrorSettings
from pkgindex_mirror.upstreams.bodies import BodyDecoder, BodyRefusedError
from pkgindex_mirror.upstreams.connections import UpstreamConnections
from pkgindex_mirror.upstreams.hosts import Hosts, Trail
from pkgindex_mirror.upstreams.sites import Site
from pkgindex_mirror.upstreams.upstream_answers import (
    AbsentAnswer,
    Document,
    DocumentStream,
    Failed,
    FileAnswer,
    Glimpse,
    Response,
    StreamAnswer,
    Transfer,
    Unchanged,
    connection_errors,
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
    from aiohttp.abc import AbstractResolver

Value = TypeVar("Value")

ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"
"""JSON is preferred, since HTML has no sizes, upload times and versions. Equal to what uv sends, so indexes know it."""

GLIMPSE = 64 * 1024
"""Bytes of a page that a glimpse takes."""

_FILE: Mapping[str, str] = {"Accept": "*/*", "Accept-Encoding": "identity"}
"""The headers of a request for a file. It is stored as it was hashed: no content coding."""


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
        self._clock = clock
        self.counts = UpstreamsCounts()
        self.hosts = Hosts(settings, clock, sleep=sleep, dice=dice)
        self.connections = UpstreamConnections(
            settings, clock, resolver=resolver, proxy=proxy, strangers=self.counts.others
        )

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

        async def once(trail: Trail) -> Document | Unchanged | AbsentAnswer | Failed:
            # The list of projects is long: it is read as it comes.
            response = await self.connections.send(site, url, headers, trail, short=url != site.base)
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

        host = self.hosts.of(url)
        if refusal := self.hosts.refused(host, url):
            return refusal
        # Bounds per host, so that a slow host does not delay the others.
        async with host.pages, host.requests:
            return await self.hosts.attempts(
                url, policy or self._settings.page_policy(), once, self._counts_of(site, url)
            )

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

        async def once(trail: Trail) -> Glimpse | AbsentAnswer | Failed:
            response = await self.connections.send(site, url, headers, trail)
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
        async with self.hosts.of(url).requests:
            return await self.hosts.attempts(url, policy, once, self._counts_of(site, url))

    @asynccontextmanager
    async def file(
        self,
        site: Site,
        url: str,
        *,
        span: tuple[int, int | None] | None = None,
        validator: str = "",
        short: bool = False,
    ) -> AsyncIterator[FileAnswer]:
        """Ask for a file or, with `span`, a part: (start, stop or None), (-n, None) for the last n bytes. `short`: it is small, as sidecars are.

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
        async with self._opened(site, url, headers, self._settings.page_policy(), answer_of, short=short) as answer:
            yield answer

    async def size(self, site: Site, url: str) -> int | AbsentAnswer | Failed:
        """Ask once, with HEAD, how many bytes a file has. `Failed` also if the answer does not tell."""

        async def once(trail: Trail) -> int | AbsentAnswer | Failed:
            response = await self.connections.send(site, url, _FILE, trail, method="HEAD")
            if isinstance(response, Failed):
                # Some servers fail at HEAD alone. This must not end the requests for pages.
                return response if response.down else replace(response, healthy=None)
            answer = size_answer(response, site, url, self._clock.now(), limit=self._settings.file_limit)
            _let_go(response)
            return replace(answer, healthy=None) if isinstance(answer, Failed) and not answer.rest else answer

        host = self.hosts.of(url)
        if refusal := self.hosts.refused(host, url):
            return refusal
        policy = replace(self._settings.page_policy(), attempts=1)
        async with host.requests:
            return await self.hosts.attempts(url, policy, once, self._counts_of(site, url))

    @asynccontextmanager
    async def _opened(
        self,
        site: Site,
        url: str,
        headers: Mapping[str, str],
        policy: RetryPolicy,
        answer_of: Callable[..., Value],
        *,
        short: bool = False,
    ) -> AsyncIterator[Value | Failed]:
        """Ask for something whose body the caller reads inside the context. `answer_of` is called with each response and `now`."""
        opened: Response | None = None

        async def once(trail: Trail) -> Value | Failed:
            nonlocal opened
            response = await self.connections.send(site, url, headers, trail, short=short)
            if isinstance(response, Failed):
                return response
            answer = answer_of(response, now=self._clock.now())
            if isinstance(answer, Transfer | DocumentStream):
                opened = response
            else:
                _let_go(response)
            return answer

        counts, host = self._counts_of(site, url), self.hosts.of(url)
        if refusal := self.hosts.refused(host, url):
            yield refusal
            return
        async with host.requests:
            answer = await self.hosts.attempts(url, policy, once, counts)
            try:
                yield answer
            finally:
                if opened is not None:
                    _let_go(opened)
                if isinstance(answer, Transfer | DocumentStream):
                    counts.received += answer.received
                    if answer.broke is not None:
                        counts.failed(answer.broke.kind)

    async def close(self) -> None:
        await self.connections.close()

    def _counts_of(self, site: Site, url: str) -> UpstreamCounts:
        origin = urls.origin(url)
        return self.counts.of(origin) if origin == urls.origin(site.base) else self.counts.others


def _question(url: str, accept: str, validators: Mapping[str, str] | None) -> tuple[dict[str, str], bool]:
    """The headers of a request for a document, and whether they make it conditional."""
    headers = {"Accept": accept, "Accept-Encoding": "gzip"}
    known = validators if validators and validators.get("url") == url else {}
    if known.get("etag"):
        headers["If-None-Match"] = known["etag"]
    elif known.get("last-modified"):
        headers["If-Modified-Since"] = known["last-modified"]
    return headers, len(known) > 0


def _let_go(response: Response) -> None:
    """Give the connection back, or close it if the body was not read to its end."""
    if response.content.at_eof():
        response.release()
    else:
        response.close()
