"""The access log: one line a request, without secrets, for programs (JSON) or for people.

A line holds the path and never the query (which may carry what a client should not have put there), the name of who asked and
never what they presented. Values are JSON strings, so no request can forge a line.
"""

from __future__ import annotations

import logging

import msgspec
from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from msgspec import Struct

from pkgindex_core.clock import SystemClock, to_rfc3339

logger = logging.getLogger("pkgindex.access")
_encoder = msgspec.json.Encoder()
_clock = SystemClock()
_TEXT_LIMIT = 500

CLIENT = web.RequestKey("client", str)
WHO = web.RequestKey("who", str)


class AccessLogger(AbstractAccessLogger):
    """Writes one line when an answer has left."""

    @property
    def enabled(self) -> bool:
        return self.logger.isEnabledFor(logging.INFO)

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Write the line. `time` is in seconds."""
        line = AccessLine(
            time=to_rfc3339(_clock.now()),
            client=request.get(CLIENT, "") or request.remote or "",
            who=request.get(WHO, ""),
            method=request.method,
            path=_plain(request.rel_url.raw_path),
            status=response.status,
            bytes=response.body_length,
            ms=round(time * 1000, 3),
            agent=_plain(request.headers.get("User-Agent", "")),
        )
        self.logger.info("%s", line)


class AccessLine(Struct, frozen=True, kw_only=True):
    """One answered request. Its text is one JSON object."""

    time: str
    client: str
    who: str
    """Who asked; empty: nobody that we know."""
    method: str
    path: str
    """ASCII, as it was sent, without the query."""
    status: int
    bytes: int
    ms: float
    agent: str

    def __str__(self) -> str:
        return _encoder.encode(self).decode()


class AccessTextFormatter(logging.Formatter):
    """Writes access lines short, for a person at a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        line = record.args[0] if isinstance(record.args, tuple) and record.args else None
        if not isinstance(line, AccessLine):
            return super().format(record)
        who = f" {line.who}" if line.who else ""
        return f"{line.time[11:19]} {line.status} {line.method} {line.path} {line.bytes} B {line.ms:.0f} ms {line.client}{who}"


class JsonFormatter(logging.Formatter):
    """Writes other log records as JSON lines too, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        document = {
            "time": to_rfc3339(_clock.now()),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _encodable(record.getMessage()),
        }
        if record.exc_info:
            document["traceback"] = _encodable(self.formatException(record.exc_info))
        return _encoder.encode(document).decode()


def _plain(text: str) -> str:
    """Text from a request, in ASCII: neither bytes that were not UTF-8, which JSON cannot hold, nor U+2028, at which some viewers
    of logs begin a new line.
    """
    return text[:_TEXT_LIMIT].encode("ascii", "backslashreplace").decode()


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
