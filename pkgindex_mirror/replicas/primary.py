"""The client of a primary: asks its feed (`/+changes`) for commits, files, and news of mirrored projects.

The operator names the primary, so it may be in any network. Redirects are not followed: the credentials are for this server.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import quote

import aiohttp
import msgspec
from msgspec import Struct
from yarl import URL

from pkgindex_core.changes import Commit
from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import Sha256
from pkgindex_core.errors import BadUpstream, Conflict, Denied, Gone, Missing, PkgIndexError, Refused, Unavailable
from pkgindex_core.formats.feed import FeedHead, Refreshed, decode_commits, decode_head
from pkgindex_core.models import Serial
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_mirror import urls
from pkgindex_mirror.settings import MirrorSettings
from pkgindex_mirror.upstreams.connections import user_agent

_WAIT_SECONDS: Final = 20
"""How long the primary waits for a commit before it answers that there is none."""
_TEXT_LIMIT: Final = 16 * 1024
_DENIED: Final = "give the replica a token of root for everything, or a token with `follow` on the indexes to copy"


class LogPlace(Struct, frozen=True, kw_only=True):
    """Where a replica is in the log."""

    after: Serial
    at: Timestamp
    """The time of that commit; 0 without one."""
    store: str
    """The identity of the store that is copied; empty if it is not known."""
    without: tuple[IndexName, ...] = ()


class Primary:
    """Asks one server. Owns its connections; `close` ends them."""

    def __init__(self, url: str, credentials: str, settings: MirrorSettings) -> None:
        """`url` has no slash at its end. `credentials`: `user:password`."""
        self.url = url
        self._credentials = credentials
        self._settings = settings
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"Primary({self.url})"

    async def changes(self, place: LogPlace, *, wait: bool = True) -> tuple[FeedHead, Sequence[Commit]]:
        """The next commits; waits for the first one for some seconds.

        Raises `Conflict` if the primary is not the one that was copied or went back, `Denied` if the credentials do not suffice, `Refused` if
        it is no server with a feed, and `Unavailable` if it does not answer.
        """
        query = {"after": str(place.after), "at": str(place.at), "store": place.store}
        query |= {"wait": str(_WAIT_SECONDS)} if wait else {}
        query |= {"without": ",".join(place.without)} if place.without else {}
        async with self._asked("/+changes", query) as response:
            body = await response.read()
        first, *lines = body.split(b"\n")
        return decode_head(first), decode_commits(filter(None, lines), place.after)

    async def file(
        self, index: IndexName, project: ProjectName, digest: Sha256, filename: str, kind: str
    ) -> AsyncIterator[bytes]:
        """The bytes of a file, not compared with the digest. Raises `Gone` if the primary does not list it any more."""
        path = f"/+changes/{index}/{project}/{digest}/{quote(filename, safe='')}"
        async with self._asked(path, {"kind": kind}) as response:
            async for chunk in response.content.iter_chunked(256 * 1024):
                yield chunk

    async def refreshed(self, index: IndexName, project: ProjectName, *, again: bool) -> Refreshed:
        """Let the primary bring a mirrored project up to date; with `again` although its page is fresh. Raises `Unavailable` if nothing is known of it."""
        async with self._asked(f"/+changes/{index}/{project}", {"again": str(int(again))}) as response:
            return msgspec.json.decode(await response.read(), type=Refreshed)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    @asynccontextmanager
    async def _asked(self, path: str, query: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        from pkgindex_mirror.upstreams.upstream_answers import failure_of  # no start needs it

        url = URL(f"{self.url}{path}", encoded=True).with_query(query)
        try:
            async with self._opened().get(url, allow_redirects=False) as response:
                if response.status != 200:
                    raise await self._failure(response)
                yield response
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            if isinstance(error, PkgIndexError):
                raise
            raise Unavailable(f"{self.url}: {failure_of(error).reason}") from error

    async def _failure(self, response: aiohttp.ClientResponse) -> PkgIndexError:
        said = await _detail(response)
        told = f"{self.url} says: {said}"
        match response.status:
            case 401 | 403:
                return Denied(told, anonymous=False, hint=_DENIED)
            case 404:
                return Missing(
                    "feed", self.url, message=told, hint="name the URL of a server that is as new as this one"
                )
            case 409:
                return Conflict(told)
            case 410:
                return Gone("file", str(response.url.name), "")
            case status if 300 <= status < 400:
                target = urls.cleaned(response.headers.get("Location", ""), str(response.url))
                return Refused(
                    f"{self.url} redirects to {urls.shown(target) if target else 'nowhere'}", hint="follow that URL"
                )
            case 400:
                return Refused(told)
            case 502:
                return BadUpstream(told)
            case _:
                return Unavailable(told)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            settings = self._settings
            tls: ssl.SSLContext | bool = settings.verify_tls
            if settings.ca_file:
                tls = ssl.create_default_context(cafile=settings.ca_file)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=16, ssl=tls),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={
                    "User-Agent": settings.user_agent or user_agent(),
                    "Authorization": urls.basic(self._credentials),
                    "Accept": "application/json",
                    "Accept-Encoding": "identity",
                },
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=settings.connect_timeout, sock_read=_WAIT_SECONDS + settings.read_timeout
                ),
                trust_env=False,
            )
        return self._session


async def _detail(response: aiohttp.ClientResponse) -> str:
    """The reason of an answer that is an error."""
    text = (await response.content.read(_TEXT_LIMIT)).decode("utf-8", "replace")
    try:
        document: Any = msgspec.json.decode(text)
        text = str(document["detail"])
    except (msgspec.DecodeError, TypeError, KeyError):
        text = ""
    return text or f"{response.status} {response.reason}"
