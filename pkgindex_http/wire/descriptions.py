"""Renders descriptions of projects (README) to safe HTML, in a process of its own with bounds.

A description is text of a stranger. Parsers of Markdown and reStructuredText have inputs that take hours, so each description is rendered in
a process that is killed after `SECONDS`; at most two run at once. A description that cannot be rendered is shown as plain text.
"""

from __future__ import annotations

import asyncio
import html
import os
import sys
from hashlib import sha256
from typing import Final

from pkgindex_core.tools.bounded_cache import BoundedCache

SECONDS: Final = 10.0
LONGEST: Final = 512 * 1024
"""Bytes of a description that is rendered. Of a longer one the beginning is shown as plain text."""
_CACHE_BYTES: Final = 8 * 1024 * 1024
_AT_ONCE: Final = 2
_WAITING: Final = 20


class Descriptions:
    """Renders, and keeps what was rendered by the digest of its text."""

    def __init__(self, *, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._rendered: BoundedCache[str, str] = BoundedCache(_CACHE_BYTES, size_of=len)
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._waiting = 0

    async def rendered(self, text: str, content_type: str) -> str:
        """HTML without scripts, styles, images and links other than http, https and mailto; empty for an empty text.

        `content_type` is the metadata field `Description-Content-Type`; without one the text is reStructuredText, as for PyPI.
        """
        data = text.strip().encode("utf-8", "replace")
        kind = (content_type.partition(";")[0].strip().lower() or "text/x-rst").encode()[:100]
        if not data:
            return ""
        if len(data) > LONGEST:
            return _plain(data[:LONGEST])
        key = sha256(kind + b"\n" + data).hexdigest()
        known = self._rendered.get(key)
        if known is not None:
            return known
        if self._waiting >= _WAITING:
            return _plain(data)
        self._waiting += 1
        try:
            async with self._turns:
                result = self._rendered.get(key) or await self._run(kind + b"\n" + data) or _plain(data)
        finally:
            self._waiting -= 1
        self._rendered.put(key, result)
        return result

    async def _run(self, sent: bytes) -> str:
        """The HTML that the process writes; empty if it fails or does not end in time."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "pkgindex_http.wire.description_renderer",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},  # no other variable: some are secrets of the server
        )  # fmt: skip
        try:
            async with asyncio.timeout(self._seconds):
                written, _ = await process.communicate(sent)
        except TimeoutError:
            return ""
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return written.decode("utf-8", "replace") if process.returncode == 0 else ""


def _plain(data: bytes) -> str:
    return f'<pre tabindex="0">{html.escape(data.decode("utf-8", "replace"))}</pre>'
