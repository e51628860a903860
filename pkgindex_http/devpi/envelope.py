"""The envelope of devpi's protocol, for answers and for errors: `{"result": …, "type": …, "message": …}`.

Its client takes nothing else: the content type is exactly `application/json` (it ignores the message of anything longer), `result`
and `type` only stand together, an error has a `message`, and every answer carries `X-Devpi-Api-Version: 2`. What we have to
say beyond that stands in keys of its own (`hint`), which the client passes over.

A route whose `envelope` is set gets its errors and headers from here; its handlers return `document` or `said`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web

from pkgindex_core.errors import Denied, Missing, PkgIndexError
from pkgindex_core.rules.access import NEEDS_CREDENTIALS
from pkgindex_http.bodies import read_json
from pkgindex_http.errors import challenge, retry_headers, status_of
from pkgindex_http.marks import marks
from pkgindex_http.replies import JSON, SECURITY_HEADERS, Reply, json_reply
from pkgindex_http.sending import StreamedResponse

if TYPE_CHECKING:
    from pkgindex_core.engine import Engine

_AT_ONCE: Final = 64 * 1024
"""Bytes up to which a value is answered whole."""
_HEADERS: Final = {"Content-Type": JSON, **SECURITY_HEADERS, "Cache-Control": "no-store"}
_OBJECT_OR_LIST: Final[Any] = dict[str, Any] | list[Any]
CLIENT: Final = "devpi-client/"
"""In the `User-Agent` of devpi's own client."""


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
    rest = {"type": kind, "message": message} if message else {"type": kind}
    behind = b"," + msgspec.json.encode(rest)[1:] + b"\n"
    start, is_all = await beginning(pieces)
    before = b'{"result":' + start
    if is_all:
        return Reply(headers={**_HEADERS, **(headers or {})}, body=before + behind)
    return await streamed(before, pieces, behind, engine, headers or {})


async def beginning(pieces: AsyncGenerator[bytes, None]) -> tuple[bytes, bool]:
    """What is answered at once, and whether that is all."""
    start = bytearray()
    async for piece in pieces:
        start += piece
        if len(start) > _AT_ONCE:
            return bytes(start), False
    return bytes(start), True


async def streamed(
    before: bytes, rest: AsyncGenerator[bytes, None], behind: bytes, engine: Engine, headers: Mapping[str, str]
) -> web.StreamResponse:
    """A document that is sent as it comes."""
    marked = Reply(headers={**_HEADERS, **headers, **await marks(engine)})
    return StreamedResponse(marked, _around(before, rest, behind), length=None)


async def _around(before: bytes, rest: AsyncGenerator[bytes, None], behind: bytes) -> AsyncIterator[bytes]:
    async with aclosing(rest):
        yield before
        del before
        async for piece in rest:
            yield piece
        yield behind


async def options_given(request: web.BaseRequest, kind: str) -> dict[str, Any] | list[Any]:
    """The options that a client sends: an object or a list of changes. A whole answer of this `kind` that is sent back is unpacked."""
    given: Any = await read_json(request, _OBJECT_OR_LIST)
    if isinstance(given, dict) and given.get("type") == kind and isinstance(given.get("result"), dict):
        given = given["result"]
    return given  # type: ignore[no-any-return]  # decoded as one of the two


def said(message: str, *, status: int = 200) -> Reply:
    """An answer that is only words."""
    return _reply({"message": message}, status)


def failure(
    message: str, status: int, *, hint: str = "", realm: str = "", headers: Mapping[str, str] | None = None
) -> Reply:
    """An error in words of the handler's own; a 401 needs the `realm` of its challenge."""
    challenges = {"WWW-Authenticate": challenge(realm)} if status == 401 else {}
    body = {"message": message, "hint": hint} if hint else {"message": message}
    return _reply(body, status, {**challenges, **(headers or {})})


def refusal(error: PkgIndexError, method: str, *, realm: str, agent: str = "") -> Reply:
    """An error, in the client's terms; `agent` is its `User-Agent`.

    Without credentials a changing method is 403, as in devpi: its client takes a 401 to a command for a log-in that ended. A
    401 with its challenge stays for reading, where installers need it. devpi's client gets 403 there too: to that it says "you need to
    be logged in", while a 401 is to it an error that cannot be, or nothing at all.
    """
    status = status_of(error)
    if status == 401 and (method not in {"GET", "HEAD"} or CLIENT in agent):
        status = 403
    text = error.message
    if isinstance(error, Missing) and error.what == "index":
        text = f"The stage {error.name} could not be found."
    if isinstance(error, Denied) and error.anonymous and text == NEEDS_CREDENTIALS and CLIENT in agent:
        # Its users see no hint, and ours is about other ways to log in.
        text = f"{text}: devpi login USER"
    return failure(text, status, hint=error.hint, realm=realm, headers=retry_headers(error))


def _reply(body: Any, status: int, headers: Mapping[str, str] | None = None) -> Reply:
    return json_reply(body, status=status, headers={"Cache-Control": "no-store", **(headers or {})})
