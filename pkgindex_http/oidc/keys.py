"""The keys of issuers (JWKS), fetched over HTTP and kept.

    discovery document (OpenID Connect Discovery 4) -> jwks_uri on the same host -> keys, kept for an hour

A token with an unknown key makes the server ask again, at most once a minute: issuers change their keys. While an issuer does not answer, known
keys are used for a day, and it is asked again after some seconds at most: anybody may send tokens that name it. No redirect is followed, and
answers are bounded.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from pkgindex_core.clock import Clock
from pkgindex_core.errors import BadUpstream, Unavailable
from pkgindex_http.oidc.configured import Issuer

if TYPE_CHECKING:
    import aiohttp

_FRESH: Final = 3600.0
_USABLE: Final = 86_400.0
_PAUSE: Final = 60.0
_PAUSE_AFTER_FAILURE: Final = 5.0
_TIMEOUT: Final = 10.0
_MOST_BYTES: Final = 1024 * 1024


_T = TypeVar("_T")


class _Discovery(Struct, frozen=True):
    issuer: str
    jwks_uri: str


class _KeySet(Struct, frozen=True):
    keys: list[dict[str, Any]]


class _KeptKeys(Struct, frozen=True):
    keys: Mapping[str, Mapping[str, Any]]
    fetched: float
    """In monotonic seconds."""


class IssuerKeys:
    """The keys of all issuers, by issuer and key id."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[str, _KeptKeys] = {}
        self._asked: dict[str, float] = {}
        self._failed: dict[str, Unavailable | None] = {}
        """The failure of the last question; None: it was answered."""
        self._turns: dict[str, asyncio.Lock] = {}
        """One fetch of an issuer at a time: tokens are rare, and concurrent ones want the same keys."""

    async def key(self, issuer: Issuer, key_id: str) -> Mapping[str, Any] | None:
        """A key; None if the issuer has no key of this id. Raises `Unavailable` if that is not known now."""
        if (found := self._known(issuer, key_id, _FRESH)) is not None:
            return found
        async with self._turns.setdefault(issuer.name, asyncio.Lock()):
            if (found := self._known(issuer, key_id, _FRESH)) is not None:
                return found
            failure = self._failed.get(issuer.name)
            pause = _PAUSE if failure is None else _PAUSE_AFTER_FAILURE
            asked = self._asked.get(issuer.name)
            if asked is None or self._clock.monotonic() - asked >= pause:
                failure = self._failed[issuer.name] = await self._ask(issuer)
                self._asked[issuer.name] = self._clock.monotonic()
            if (found := self._known(issuer, key_id, _USABLE)) is None and failure is not None:
                raise failure.with_traceback(None)
            return found

    async def _ask(self, issuer: Issuer) -> Unavailable | None:
        """Keep the keys that an issuer has now, or return why they are not known."""
        try:
            self._kept[issuer.name] = _KeptKeys(await self._fetched(issuer), self._clock.monotonic())
        except Unavailable as error:
            return error
        return None

    def _known(self, issuer: Issuer, key_id: str, seconds: float) -> Mapping[str, Any] | None:
        kept = self._kept.get(issuer.name)
        if kept is None or self._clock.monotonic() - kept.fetched > seconds:
            return None
        return kept.keys.get(key_id)

    async def _fetched(self, issuer: Issuer) -> Mapping[str, Mapping[str, Any]]:
        import aiohttp

        tls: ssl.SSLContext | bool = ssl.create_default_context(cafile=issuer.ca_file) if issuer.ca_file else True
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls, force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=_TIMEOUT),
        )
        async with session:
            url = issuer.keys_url or await self._discovered(session, issuer)
            keys = await _document(session, issuer, url, _KeySet)
        return {str(each["kid"]): each for each in keys.keys if each.get("kid") and each.get("use", "sig") == "sig"}

    async def _discovered(self, session: aiohttp.ClientSession, issuer: Issuer) -> str:
        place = f"{issuer.url.rstrip('/')}/.well-known/openid-configuration"
        found = await _document(session, issuer, place, _Discovery)
        if found.issuer != issuer.url:
            raise BadUpstream(f"the issuer at {place} calls itself {found.issuer[:200]!r}")
        ours, theirs = urlsplit(issuer.url), urlsplit(found.jwks_uri)
        if (ours.scheme, ours.netloc) != (theirs.scheme, theirs.netloc):
            raise BadUpstream(
                f"the issuer {issuer.name} has its keys on another host, {theirs.netloc[:200]!r}",
                hint="if that is right, name it: keys_url of the issuer",
            )
        return found.jwks_uri


async def _document(session: aiohttp.ClientSession, issuer: Issuer, url: str, kind: type[_T]) -> _T:
    import aiohttp

    try:
        async with session.get(url, allow_redirects=False) as answer:
            if answer.status != 200:
                raise Unavailable(f"the issuer {issuer.name} cannot be asked: {url} answered {answer.status}")
            body = await answer.content.read(_MOST_BYTES + 1)
            while len(body) <= _MOST_BYTES and (more := await answer.content.read(_MOST_BYTES)):
                body += more
        if len(body) > _MOST_BYTES:
            raise BadUpstream(f"the answer of the issuer {issuer.name} is larger than {_MOST_BYTES} bytes")
        return msgspec.json.decode(body, type=kind)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise Unavailable(f"the issuer {issuer.name} cannot be asked: {type(error).__name__}") from error
    except msgspec.DecodeError as error:
        raise BadUpstream(f"the answer of the issuer {issuer.name} at {url} cannot be read: {error}") from error
