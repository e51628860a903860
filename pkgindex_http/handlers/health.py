"""`/+live` and `/+ready`: whether the process runs, and whether it should get requests. The answers have no names of indexes or files."""

from __future__ import annotations

from msgspec import to_builtins

from pkgindex_core.errors import Refused
from pkgindex_http.requests import Ask
from pkgindex_http.wire.replies import Reply, json_reply, text_reply


async def live(ask: Ask) -> Reply:  # noqa: ARG001 - handlers have one signature
    """Answer without asking a store: a server with a broken disk is alive."""
    return text_reply("alive", headers={"Cache-Control": "no-store"})


async def ready(ask: Ask) -> Reply:
    """Whether this server should get requests: 503 while it stops, or when a store cannot be read or written.

    With `for=read` the status does not depend on writing.
    """
    wanted = ask.query("for")
    if wanted not in {None, "read", "write"}:
        raise Refused("for: write read or write", hint="/+ready?for=read")
    report = await ask.readiness()
    good = report.read if wanted == "read" else report.write
    document = {"ready": good, "read": report.read, "write": report.write, **to_builtins(report)}
    return json_reply(document, status=200 if good else 503, headers={"Cache-Control": "no-store"})
