"""The envelope of devpi's protocol, for answers and for errors: `{"result": …, "type": …, "message": …}`.

Its client takes nothing else: the content type is exactly `application/json` (it ignores the message of anything longer), `result`
and `type` only stand together, an error has a `message`, and every answer carries `X-Devpi-Api-Version: 2`. What we have to
say beyond that stands in keys of its own (`hint`), which the client passes over.

A route whose `envelope` is set gets its errors and headers from here; its handlers return `document` or `said`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web

from pkgindex_core.errors import Denied, Missing, PkgIndexError
from pkgindex_core.rules.access import NEEDS_CREDENTIALS
from pkgindex_http.errors import retry_headers, status_of
from pkgindex_http.replies import JSON, SECURITY_HEADERS, Reply, json_reply
from pkgindex_http.sending import StreamedResponse

if TYPE_CHECKING:
    from pkgindex_core.engine import Engine

API_VERSION: Final = "2"
"""Any other makes the client give up."""

_VERSION: Final = version("pkgindex")
"""Read once: it is looked for in files."""

_AT_ONCE: Final = 64 * 1024
"""Bytes up to which a value is answered whole."""
CLIENT: Final = "devpi-client/"
"""In the `User-Agent` of devpi's own client."""
_MISSING: Final[Mapping[str, str]] = {
    "index": "The stage {name} could not be found.",
}


def document(result: Any, kind: str, *, message: str = "", status: int = 200) -> Reply:
    """An answer with a value; `kind` is devpi's name for its shape, such as `indexconfig`."""
    body = {"result": result, "type": kind}
    return _reply({**body, "message": message} if message else body, status)


async def spliced(
    pieces: AsyncGenerator[bytes, None],
    kind: str,
    engine: Engine,
    headers: Mapping[str, str] | None = None,
    *,
    message: str = "",
) -> Reply | web.StreamResponse:
    """The same with a value that is JSON already and comes piece by piece. A large one is sent as it comes.

    Nothing is promised before the value is there as a whole, or its beginning.
    """
    headers = {"Content-Type": JSON, **SECURITY_HEADERS, "Cache-Control": "no-store", **(headers or {})}
    rest = {"type": kind, "message": message} if message else {"type": kind}
    behind = b"," + msgspec.json.encode(rest)[1:] + b"\n"
    start = bytearray(b'{"result":')
    async for piece in pieces:
        start += piece
        if len(start) > _AT_ONCE:
            break
    else:
        return Reply(headers=headers, body=bytes(start) + behind)
    body = _around(bytes(start), pieces, behind)
    return StreamedResponse(Reply(headers={**headers, **await marks(engine)}), body, length=None)


async def _around(before: bytes, rest: AsyncGenerator[bytes, None], behind: bytes) -> AsyncIterator[bytes]:
    async with aclosing(rest):
        yield before
        del before
        async for piece in rest:
            yield piece
        yield behind


def said(message: str, *, status: int = 200) -> Reply:
    """An answer that is only words."""
    return _reply({"message": message}, status)


def failure(message: str, status: int, *, hint: str = "", realm: str = "") -> Reply:
    """An error in words of the handler's own; a 401 needs the `realm` of its challenge."""
    headers = {"WWW-Authenticate": _challenge(realm)} if status == 401 else {}
    return _reply({"message": message, "hint": hint} if hint else {"message": message}, status, headers)


def refusal(error: PkgIndexError, method: str, *, realm: str, agent: str = "") -> Reply:
    """An error, in the client's terms; `agent` is its `User-Agent`.

    Without credentials a changing method is 403, as in devpi: its client takes a 401 to a command for a log-in that ended. A
    401 with its challenge stays for reading, where installers need it. devpi's client gets 403 there too: to that it says "you need to
    be logged in", while a 401 is to it an error that cannot be, or nothing at all.
    """
    status = status_of(error)
    headers: dict[str, str] = {}
    if status == 401 and (method not in {"GET", "HEAD"} or CLIENT in agent):
        status = 403
    if status == 401:
        headers["WWW-Authenticate"] = _challenge(realm)
    headers |= retry_headers(error)
    text = error.message
    if isinstance(error, Missing) and error.what in _MISSING:
        text = _MISSING[error.what].format(name=error.name)
    if isinstance(error, Denied) and error.anonymous and text == NEEDS_CREDENTIALS and CLIENT in agent:
        # Its users see no hint, and ours is about other ways to log in.
        text = f"{text}: devpi login USER"
    return _reply({"message": text, "hint": error.hint} if error.hint else {"message": text}, status, headers)


async def marks(engine: Engine) -> dict[str, str]:
    """The headers by which the client and replicas know what they talk to, and up to which commit."""
    identity = await engine.uuid()
    return {
        "X-Devpi-Api-Version": API_VERSION,
        "X-Devpi-Server-Version": _VERSION,
        "X-Devpi-Uuid": identity,
        "X-Devpi-Primary-Uuid": identity,
        "X-Devpi-Master-Uuid": identity,
        "X-Devpi-Serial": str(engine.store.seen()),
    }


def _challenge(realm: str) -> str:
    return f'Basic realm="{realm}", charset="UTF-8"'


def _reply(body: Any, status: int, headers: Mapping[str, str] | None = None) -> Reply:
    return json_reply(body, status=status, headers={"Cache-Control": "no-store", **(headers or {})})
