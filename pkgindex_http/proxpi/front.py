"""The front page of a cache: the lines to paste, the upstreams, and buttons that make the next request ask them again."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from pkgindex_core.errors import ReadOnly
from pkgindex_http.pasting import installing_lines
from pkgindex_http.proxpi.settings import FIRST, ProxySettings
from pkgindex_http.requests import Ask
from pkgindex_http.wire.replies import Reply

_SCRIPT: Final = Path(__file__).with_suffix(".js")
_POLICY: Final = "Content-Security-Policy"


class FrontPage:
    def __init__(self, settings: ProxySettings) -> None:
        self._upstreams = [each.shown for each in settings.upstreams]
        self._script = ""

    async def page(self, ask: Ask) -> Reply:
        self._script = self._script or await ask.engine.in_worker(_SCRIPT.read_text)
        reply = await ask.templates.page(
            "proxpi.html",
            lines=installing_lines(f"{ask.url}/index"),
            upstreams=self._upstreams,
            is_first=ask.settings.admission == FIRST,
            script=self._script,
        )
        digest = base64.b64encode(hashlib.sha256(self._script.encode()).digest()).decode()
        policy = f"{reply.headers[_POLICY]}; script-src 'sha256-{digest}'; connect-src 'self'"
        return replace(reply, headers={**reply.headers, _POLICY: policy})


async def no_uploads(ask: Ask) -> Reply:
    """Refuse an upload, with and without credentials."""
    refused = ReadOnly(ask.default_index, "cache")
    refused.hint = "upload to one of its upstreams"
    raise refused
