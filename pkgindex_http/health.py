"""Whether the process lives, and whether it should get requests. Neither tells names."""

from __future__ import annotations

from pkgindex_core.errors import PkgIndexError
from pkgindex_http.replies import Reply, json_reply, text_reply
from pkgindex_http.requests import Ask


async def live(ask: Ask) -> Reply:  # noqa: ARG001 - handlers have one signature
    """Answer. No store is asked: a server with a broken disk is alive."""
    return text_reply("alive", headers={"Cache-Control": "no-store"})


async def ready(ask: Ask) -> Reply:
    """Whether this server should get requests: 503 while it stops, or when a store does not answer."""
    parts = {"stopping": ask.server.stopping, "index_store": True, "blob_store": True}
    try:
        await ask.engine.store.head()
    except PkgIndexError:
        parts["index_store"] = False
    try:
        await ask.server.blob_probe()
    except PkgIndexError:
        parts["blob_store"] = False
    good = parts["index_store"] and parts["blob_store"] and not parts["stopping"]
    return json_reply({"ready": good, **parts}, status=200 if good else 503, headers={"Cache-Control": "no-store"})
