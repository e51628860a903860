"""The envelope of devpi's protocol, for answers and for errors: `{"result": …, "type": …, "message": …}`.

devpi's client has these rules: the content type is exactly `application/json` (with parameters the client ignores the message);
`result` and `type` come together; an error has a `message`; every answer has `X-Devpi-Api-Version: 2`. Further texts have
their own keys (`hint`), which the client ignores.

Routes with `envelope` get the form of their errors here, and their handlers return `document` or `said`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pkgindex_core.errors import Denied, Missing, PkgIndexError
from pkgindex_core.rules.access import NEEDS_CREDENTIALS
from pkgindex_http.errors import challenge, retry_headers, status_of
from pkgindex_http.wire import web
from pkgindex_http.wire.bodies import read_json
from pkgindex_http.wire.marks import marks
from pkgindex_http.wire.replies import JSON, SECURITY_HEADERS, Reply, json_reply
from pkgindex_http.wire.sending import StreamedResponse

if TYPE_CHECKING:
    from pkgindex_core.engine import Engine

_AT_ONCE: Final = 64 * 1024
"""Bytes of a value up to which the answer is sent as a whole."""
_HEADERS: Final = {"Content-Type": JSON, **SECURITY_HEADERS, "Cache-Control": "no-store"}
_OBJECT_OR_LIST: Final[Any] = dict[str, Any] | list[Any]
CLIENT: Final = "devpi-client/"
"""The beginning of the `User-Agent` of devpi's client."""


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
    """The same for a value that comes as pieces of JSON. A large value is streamed.

    Nothing is sent before the whole value, or the first 64 KiB of it, are there, so an earlier failure has a status.
    """
    rest = {"type": kind, "message": message} if message else {"type": kind}
    behind = b"," + msgspec.json.encode(rest)[1:] + b"\n"
    start, is_all = await beginning(pieces)
    before = b'{"result":' + start
    if is_all:
        return Reply(headers={**_HEADERS, **(headers or {})}, body=before + behind)
    return await streamed(before, pieces, behind, engine, headers or {})


async def beginning(pieces: AsyncGenerator[bytes, None]) -> tuple[bytes, bool]:
    """The first bytes of a value, and whether they are all of it."""
    start = bytearray()
    async for piece in pieces:
        start += piece
        if len(start) > _AT_ONCE:
            return bytes(start), False
    return bytes(start), True


async def streamed(
    before: bytes, rest: AsyncGenerator[bytes, None], behind: bytes, engine: Engine, headers: Mapping[str, str]
) -> web.StreamResponse:
    """A document that is streamed."""
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
    """The options in a request: an object or a list of changes. The client may also send back a whole document of this `kind`."""
    given: Any = await read_json(request, _OBJECT_OR_LIST)
    if isinstance(given, dict) and given.get("type") == kind and isinstance(given.get("result"), dict):
        given = given["result"]
    return given  # type: ignore[no-any-return]  # decoded as one of the two


def said(message: str, *, status: int = 200) -> Reply:
    """An answer with a message only."""
    return _reply({"message": message}, status)


def failure(
    message: str, status: int, *, hint: str = "", realm: str = "", headers: Mapping[str, str] | None = None
) -> Reply:
    """An error with the handler's own text. A 401 needs the `realm` of its challenge."""
    challenges = {"WWW-Authenticate": challenge(realm)} if status == 401 else {}
    body = {"message": message, "hint": hint} if hint else {"message": message}
    return _reply(body, status, {**challenges, **(headers or {})})


def refusal(error: PkgIndexError, method: str, *, realm: str, agent: str = "") -> Reply:
    """An error in the form of the protocol; `agent` is the `User-Agent`.

    A changing method without credentials is 403, as in devpi, because devpi's client takes a 401 for an expired log-in. A read is
    401 with a challenge, which installers need. For devpi's client a read is 403 too: it then says "you need to be logged in",
    while it does not handle a 401.
    """
    status = status_of(error)
    if status == 401 and (method not in {"GET", "HEAD"} or CLIENT in agent):
        status = 403
    text = error.message
    if isinstance(error, Missing) and error.what == "index":
        text = f"The stage {error.name} could not be found."
    if isinstance(error, Denied) and error.anonymous and text == NEEDS_CREDENTIALS and CLIENT in agent:
        # devpi's client shows no hint, and the general hint is about other clients.
        text = f"{text}: devpi login USER"
    return failure(text, status, hint=error.hint, realm=realm, headers=retry_headers(error))


def _reply(body: Any, status: int, headers: Mapping[str, str] | None = None) -> Reply:
    return json_reply(body, status=status, headers={"Cache-Control": "no-store", **(headers or {})})
