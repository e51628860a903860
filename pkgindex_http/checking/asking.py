"""Asks an index within bounds, and remembers the answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urljoin, urlsplit

import aiohttp
from msgspec import Struct

from pkgindex_core.errors import Unavailable

BODY_BYTES: Final = 64 << 20
"""The bytes of a body that are read. Lists of projects are the largest."""
_REDIRECTS: Final = 5


class SeenAnswer(Struct, frozen=True):
    """An answer."""

    url: str
    """The URL that answered, after redirects."""
    status: int
    headers: Mapping[str, str]
    """By names in lower case."""
    body: bytes

    @property
    def kind(self) -> str:
        """The content type without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")


class CheckClient:
    """A client of one index. `credentials` are those of Basic authentication, encoded; they go to its origin only."""

    def __init__(self, session: aiohttp.ClientSession, root: str, *, credentials: str, most: int) -> None:
        self._session = session
        self._origin = urlsplit(root)[:2]
        self._credentials = credentials
        self._left = most
        self._known: dict[tuple[str, str, tuple[tuple[str, str], ...], bool], SeenAnswer] = {}

    async def get(self, url: str, *, method: str = "GET", follow: bool = True, **headers: str) -> SeenAnswer:
        """Ask once for each combination. Underscores in names of headers are hyphens. Raises `Unavailable`."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        key = (method, url, tuple(sorted(sent.items())), follow)
        if key not in self._known:
            self._known[key] = await self.send(method, url, headers=sent, follow=follow)
        return self._known[key]

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        follow: bool = False,
        data: bytes | None = None,
        anonymous: bool = False,
    ) -> SeenAnswer:
        """Send one request, and follow redirects of a GET if asked to."""
        from yarl import URL

        for _ in range(_REDIRECTS):
            self._left -= 1
            if self._left < 0:
                raise Unavailable("the check has sent as many requests as it may", hint="name a smaller project")
            known = bool(self._credentials) and not anonymous and urlsplit(url)[:2] == self._origin
            sent = {**headers, "Authorization": f"Basic {self._credentials}"} if known else headers
            try:
                # The URL is sent as it is written: dots and escapes are what is tested.
                async with self._session.request(
                    method, URL(url, encoded=True), headers=sent, data=data, allow_redirects=False
                ) as answer:
                    body = await answer.content.read(BODY_BYTES) if method != "HEAD" else b""
                    while method != "HEAD" and len(body) < BODY_BYTES and (more := await answer.content.read(1 << 20)):
                        body += more
                    seen = SeenAnswer(
                        url, answer.status, {name.lower(): value for name, value in answer.headers.items()}, body
                    )
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                why = str(error) or type(error).__name__
                raise Unavailable(f"{url} cannot be asked: {why}", hint="is the server running there?") from error
            if not follow or seen.status not in {301, 302, 303, 307, 308}:
                return seen
            url = urljoin(url, seen.headers.get("location", ""))
        return seen
