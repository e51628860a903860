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

    With `for=read` the status does not depend on writing; of a replica that is so without it too. With `for=follow` it is 200 for a replica
    whose primary answers.
    """
    wanted = ask.query("for") or ("write" if ask.engine.replica is None else "read")
    if wanted not in {"read", "write", "follow"}:
        raise Refused("for: write read or write; of a replica also follow", hint="/+ready?for=read")
    report = await ask.readiness()
    good = {"read": report.read, "write": report.write, "follow": report.read and report.follows}[wanted]
    document = {"ready": good, "read": report.read, "write": report.write, **to_builtins(report)}
    return json_reply(document, status=200 if good else 503, headers={"Cache-Control": "no-store"})
