"""Reads a span of a remote file in windows, each asked for while the one before it is being sent.

    window 1 ─► window 2 ─► window 3       what the store is asked for
                window 1 ─► window 2       what the client gets

So at most two windows of a file are in memory, however large it is and however slow its client. No stream of the store is held open: a
client may pause for longer than stores keep an idle connection. A reader that stops, stops the request that is under way.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from pkgindex_core.errors import Corrupt
from pkgindex_core.protocols import Span

WINDOW: Final = 2 << 20
"""The bytes of one request. With s3fs one costs 3 to 6 ms of CPU time, whatever its size."""


async def read_ahead(fetch: Callable[[Span], Awaitable[bytes]], span: Span, *, what: str) -> AsyncIterator[bytes]:
    """Yield the bytes of a span. Raises `Corrupt` if `what` is shorter than the span: it was changed, or is damaged."""
    asked = _after(span.start, span)
    ahead = asyncio.ensure_future(fetch(asked))
    try:
        while True:
            data, offset = await ahead, asked.stop
            if len(data) != asked.stop - asked.start:
                raise Corrupt(
                    f"{what} ended at {asked.start + len(data)} bytes, {span.stop} were expected", hint="send it again"
                )
            if offset == span.stop:
                yield data
                return
            asked = _after(offset, span)
            ahead = asyncio.ensure_future(fetch(asked))
            yield data
    finally:
        ahead.cancel()
        await asyncio.gather(ahead, return_exceptions=True)


def _after(offset: int, span: Span) -> Span:
    return Span(offset, min(offset + WINDOW, span.stop))
