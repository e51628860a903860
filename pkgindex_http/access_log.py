"""The access log: one line a request, without secrets, as JSON for programs or as text for people.

A line has the path without the query, since a query may hold a secret, and the name of the user without the credentials.
Values are JSON strings, so no request can forge a line.

Lines gather for a moment and are written together by a thread, so that no answer waits for a slow reader of the log, and a line costs some microseconds.
Each write has whole lines and at most `PIPE_BUF` bytes of JSON, so lines of several processes that write to one pipe do not mix (POSIX, `write`).
No line is dropped: when too many wait, the event loop writes them itself. Only a stop does not wait for a reader that is stuck: it tells how many lines are lost.
"""

from __future__ import annotations

import asyncio
import logging
import select
from collections.abc import Sequence
from threading import Lock
from typing import Any, Final

import msgspec
from aiohttp.abc import AbstractAccessLogger
from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.clock import SystemClock, Timestamp, to_rfc3339
from pkgindex_core.tools.workers import aside
from pkgindex_http.wire import web

logger = logging.getLogger("pkgindex.access")
_other_log = logging.getLogger("pkgindex.http")
_encoder = msgspec.json.Encoder()
_clock = SystemClock()
_TEXT_LIMIT = 500
"""The most characters of a text from a request. JSON at most doubles them, so that every line fits into one write."""
_GATHER_SECONDS: Final = 0.05
_MOST_WAITING: Final = 4 * 1024 * 1024
"""Bytes of lines that wait for the thread. Then the event loop waits for the log."""
_LEAST_PATIENCE: Final = 1.0
_MOST_PATIENCE: Final = 5.0
"""Seconds for which a stop waits for the reader of the log."""
_ONE_WRITE: Final = getattr(select, "PIPE_BUF", 512)

CLIENT = web.RequestKey("client", str)
WHO = web.RequestKey("who", str)
REFERENCE = web.RequestKey("reference", str)
"""The name of a request in its answer and in the log. Only requests that failed have one."""


class AccessLog:
    """Gathers the lines of all connections, and writes them to the logger: one record for the lines of one write (`AccessLines`)."""

    def __init__(self) -> None:
        self._limit = _MOST_WAITING
        self._is_stuck = False
        self._added = self._written = 0
        self._lock = Lock()
        """Guards `_written`, which the thread and the event loop change."""
        self._lines: list[AccessLine] = []
        self._texts: list[bytes] = []
        self._size = 0
        self._second, self._seconds = -1, ""
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Future[None] | None = None

    @property
    def enabled(self) -> bool:
        return logger.isEnabledFor(logging.INFO)

    def add(self, line: AccessLine, client: str, seconds: float) -> None:
        """Write the line of an answer that was just given to this client, soon."""
        if self._is_stuck:
            aside(_tell_lost, 1)
            return
        self._added += 1
        line = replace(line, time=self._now(), client=client, ms=round(seconds * 1000, 3))
        text = _encoder.encode(line)
        self._lines.append(line)
        self._texts.append(text)
        self._size += len(text) + 1
        if self._size > self._limit:
            self._write(*self._taken())
        elif self._timer is None and self._writing is None:
            self._wait()

    def _now(self) -> str:
        """The time as `to_rfc3339` writes it, with all digits. Its seconds are written once."""
        second, micros = divmod(_clock.now(), 1_000_000)
        if second != self._second:
            self._second, self._seconds = second, to_rfc3339(Timestamp(second * 1_000_000))[:-1]
        return f"{self._seconds}.{micros:06d}Z"

    async def close(self, left: float = _MOST_PATIENCE) -> None:
        """Write the lines that wait, and later ones at once. `left`: seconds until the server should have stopped.

        If the reader of the log takes none for some of them, the lines are lost, and later ones too. The other log tells their number.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + max(_LEAST_PATIENCE, min(_MOST_PATIENCE, left))
        while self._timer is not None or self._writing is not None:
            if loop.time() >= end:
                self._is_stuck = True
                # This log may have the same reader.
                await asyncio.wait([aside(_tell_lost, self._added - self._written)], timeout=_LEAST_PATIENCE)
                break
            if self._timer is not None:
                self._timer.cancel()
                self._hand_over()
            if self._writing is not None:
                await asyncio.wait([self._writing], timeout=end - loop.time())
        self._limit = 0

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_GATHER_SECONDS, self._hand_over)

    def _hand_over(self) -> None:
        """Have a thread write the lines. A worker of the engine would keep the engine from closing while the reader of the log is stuck."""
        self._timer = None
        if not self._lines:  # the loop has written them
            return
        self._writing = aside(self._write, *self._taken())
        self._writing.add_done_callback(self._wrote)

    def _wrote(self, _: asyncio.Future[None]) -> None:
        self._writing = None
        if self._lines:
            self._wait()

    def _taken(self) -> tuple[Sequence[AccessLine], Sequence[bytes]]:
        taken = self._lines, self._texts
        self._lines, self._texts, self._size = [], [], 0
        return taken

    def _write(self, lines: Sequence[AccessLine], texts: Sequence[bytes]) -> None:
        first = size = 0
        for place, text in enumerate(texts):
            if size + len(text) >= _ONE_WRITE and place > first:
                self._write_once(lines[first:place], texts[first:place])
                first, size = place, 0
            size += len(text) + 1
        self._write_once(lines[first:], texts[first:])

    def _write_once(self, lines: Sequence[AccessLine], texts: Sequence[bytes]) -> None:
        logger.info("%s", AccessLines(lines, texts))
        with self._lock:
            self._written += len(lines)


def _tell_lost(lines: int) -> None:
    _other_log.warning("lines of the access log that are lost, since its reader takes none: %d", lines)


class AccessLogger(AbstractAccessLogger):
    """Adds one line when an answer has left. Its logger is an `AccessLog`."""

    logger: Any  # typed as a logger there

    @property
    def enabled(self) -> bool:
        return bool(self.logger.enabled)

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Write the line. `time` is in seconds."""
        client = request.get(CLIENT, "") or request.remote or ""
        self.logger.add(line_of(request, response.status, response.body_length), client, time)


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
    """One answered request."""

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


class AccessLines(Struct, frozen=True):
    """The lines of one write. Its text has a JSON object on each line."""

    lines: Sequence[AccessLine]
    texts: Sequence[bytes]

    def __str__(self) -> str:
        return b"\n".join(self.texts).decode()


class AccessTextFormatter(logging.Formatter):
    """Writes access lines short, for a person at a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        some = record.args[0] if isinstance(record.args, tuple) and record.args else None
        return "\n".join(map(_short, some.lines)) if isinstance(some, AccessLines) else super().format(record)


def _short(line: AccessLine) -> str:
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
    escaped = text[:_TEXT_LIMIT].encode("ascii", "backslashreplace")  # up to ten characters for one
    return escaped[:_TEXT_LIMIT].decode()


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
