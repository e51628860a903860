"""The access log: one line a request, without secrets, as JSON for programs or as text for people.

A line has the path without the query, since a query may hold a secret, and the name of the user without the credentials.
Values are JSON strings, so no request can forge a line.
"""

from __future__ import annotations

import logging

import msgspec
from aiohttp.abc import AbstractAccessLogger
from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.clock import SystemClock, to_rfc3339
from pkgindex_http.wire import web

logger = logging.getLogger("pkgindex.access")
_encoder = msgspec.json.Encoder()
_clock = SystemClock()
_TEXT_LIMIT = 500

CLIENT = web.RequestKey("client", str)
WHO = web.RequestKey("who", str)
REFERENCE = web.RequestKey("reference", str)
"""The name of a request in its answer and in the log. Only requests that failed have one."""


class AccessLogger(AbstractAccessLogger):
    """Writes one line when an answer has left."""

    @property
    def enabled(self) -> bool:
        return self.logger.isEnabledFor(logging.INFO)

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Write the line. `time` is in seconds."""
        client = request.get(CLIENT, "") or request.remote or ""
        self.log_line(line_of(request, response.status, response.body_length), client, time)

    def log_line(self, line: AccessLine, client: str, seconds: float) -> None:
        """Write the line of an answer that was just given to this client."""
        now = to_rfc3339(_clock.now())
        self.logger.info("%s", replace(line, time=now, client=client, ms=round(seconds * 1000, 3)))


def line_of(request: web.BaseRequest, status: int, size: int) -> AccessLine:
    """The line of an answer with a body of this size, without client and times."""
    return AccessLine(
        time="",
        client="",
        who=request.get(WHO, ""),
        method=request.method,
        path=_plain(request.rel_url.raw_path),
        status=status,
        bytes=size,
        ms=0.0,
        agent=_plain(request.headers.get("User-Agent", "")),
        reference=request.get(REFERENCE, ""),
    )


class AccessLine(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One answered request. Its text is one JSON object."""

    time: str
    client: str
    who: str
    """The name of the user; empty for an anonymous client."""
    method: str
    path: str
    """ASCII, as the client sent it, without the query."""
    status: int
    bytes: int
    ms: float
    agent: str
    reference: str = ""
    """The `X-Request-ID` of the answer; empty if it has none."""

    def __str__(self) -> str:
        return _encoder.encode(self).decode()


class AccessTextFormatter(logging.Formatter):
    """Writes access lines short, for a person at a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        line = record.args[0] if isinstance(record.args, tuple) and record.args else None
        if not isinstance(line, AccessLine):
            return super().format(record)
        who = f" {line.who}" if line.who else ""
        reference = f" [{line.reference}]" if line.reference else ""
        return f"{line.time[11:19]} {line.status} {line.method} {line.path} {line.bytes} B {line.ms:.0f} ms {line.client}{who}{reference}"


class JsonFormatter(logging.Formatter):
    """Writes log records as JSON lines, with their tracebacks."""

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
    """Text from a request in ASCII. JSON cannot hold bytes that are not UTF-8, and some log viewers begin a new line at U+2028."""
    return text[:_TEXT_LIMIT].encode("ascii", "backslashreplace").decode()


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
