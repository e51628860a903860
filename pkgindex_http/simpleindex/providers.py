"""Plugins of simpleindex: classes that its entry points `simpleindex.routes` name, made as simpleindex makes them.

    plugin = Class(root=Path("…"), to="…")
    await plugin.get_page({"project": "demo"}) ─► an object with content, status_code, media_type, headers
    await plugin.get_file({"project": "demo"}, "demo-1.0-py3-none-any.whl") ─► the same

What a plugin answers is passed on as it is: it is in no list, has no digests of ours, and no cache. Its code runs in the loop of the server, as it
does in simpleindex, so what it reads without `await` stops all other answers meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from pkgindex_core.errors import PkgIndexError, Refused, Unavailable
from pkgindex_http.wire.replies import SECURITY_HEADERS, Reply
from pkgindex_http.wire.sending import StreamedResponse

GROUP: Final = "simpleindex.routes"
_OURS: Final = frozenset({"connection", "content-length", "transfer-encoding", "date", "server"})
"""Headers that the server writes itself, in lower case."""

_log = logging.getLogger(__name__)


def plugin_names() -> frozenset[str]:
    """The names of all installed plugins."""
    return frozenset(each.name for each in entry_points(group=GROUP))


class Provided:
    """One route of a plugin."""

    def __init__(self, plugin: Any, name: str) -> None:
        self._plugin = plugin
        self._name = name

    async def page(self, values: Mapping[str, str]) -> Reply | web.StreamResponse:
        return await self._answered("get_page", dict(values))

    async def file(self, values: Mapping[str, str], filename: str) -> Reply | web.StreamResponse:
        return await self._answered("get_file", dict(values), filename)

    async def _answered(self, method: str, *arguments: object) -> Reply | web.StreamResponse:
        try:
            return _reply(await getattr(self._plugin, method)(*arguments))
        except PkgIndexError:
            raise
        except Exception as error:  # foreign code: its failure does not mean that the project does not exist
            _log.exception("the source %s failed", self._name)
            raise Unavailable(f"the source {self._name} failed", hint="the log of the server has the reason") from error


def load_provider(name: str, directory: str, to: str, place: str) -> Provided:
    """Load a plugin and make its route. Raises `Refused` if it cannot be loaded, or is no route."""
    found = next(iter(entry_points(group=GROUP, name=name)), None)
    if found is None:
        raise Refused(f"{place}: the source {name!r} is not installed", hint="install its distribution again")
    try:
        plugin = found.load()(root=Path(directory), to=to)
    except Exception as error:
        raise Refused(
            f"{place}: the source {name!r} cannot be made: {type(error).__name__}: {error}",
            hint="a plugin of simpleindex needs simpleindex installed beside it: pip install simpleindex",
        ) from error
    if not all(callable(getattr(plugin, method, None)) for method in ("get_page", "get_file")):
        raise Refused(
            f"{place}: the source {name!r} is no route of simpleindex: it lacks get_page or get_file",
            hint="derive its class from simpleindex.routes.Route",
        )
    return Provided(plugin, name)


def _reply(said: Any) -> Reply | web.StreamResponse:
    """The answer of a plugin as one of the server."""
    status = int(said.status_code)
    headers = {str(name): str(value) for name, value in (said.headers or {}).items() if str(name).lower() not in _OURS}
    names = {name.lower() for name in headers}
    if "content-type" not in names and said.media_type:
        kind = str(said.media_type)
        headers["Content-Type"] = f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
    ours = {**SECURITY_HEADERS, "Cache-Control": "no-store"}
    headers |= {name: value for name, value in ours.items() if name.lower() not in names}
    content = said.content
    if isinstance(content, str | bytes | bytearray | memoryview):
        return Reply(status=status, headers=headers, body=_bytes(content))
    return StreamedResponse(Reply(status=status, headers=headers), _pieces(content), length=None)


async def _pieces(content: Any) -> AsyncIterator[bytes]:
    if hasattr(content, "__aiter__"):
        async for piece in content:
            yield _bytes(piece)
        return
    for piece in content:
        yield _bytes(piece)


def _bytes(piece: Any) -> bytes:
    return piece.encode() if isinstance(piece, str) else bytes(piece)
