"""Whether the process lives, and whether it should get requests. Neither tells names."""

from __future__ import annotations

import asyncio
from typing import Final

from pkgindex_core.errors import PkgIndexError
from pkgindex_http.replies import Reply, json_reply, text_reply
from pkgindex_http.requests import Ask

_ANSWER_SECONDS: Final = 0.9
"""What each part may take: whoever balances load waits two seconds at most."""


async def live(ask: Ask) -> Reply:  # noqa: ARG001 - handlers have one signature
    """Answer. No store is asked: a server with a broken disk is alive."""
    return text_reply("alive", headers={"Cache-Control": "no-store"})


async def ready(ask: Ask) -> Reply:
    """Whether this server should get requests: 503 while it stops, or when a store does not answer."""
    parts = {"stopping": ask.server.stopping, "index_store": True, "blob_store": True}
    for part, question in (("index_store", ask.engine.store.head), ("blob_store", ask.server.blob_probe)):
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await question()
        except (PkgIndexError, TimeoutError):
            parts[part] = False
    good = parts["index_store"] and parts["blob_store"] and not parts["stopping"]
    return json_reply({"ready": good, **parts}, status=200 if good else 503, headers={"Cache-Control": "no-store"})
