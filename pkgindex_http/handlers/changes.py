"""The feed of replicas, below `/+changes`: commits, files, and news of mirrored projects.

A replica with the permission `changes` gets everything, one with `follow` on indexes these only. The answer to a question for commits waits
until there is one, so that a replica is behind by the time of a request.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final, cast, get_args

from msgspec import to_builtins

from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import parse_sha256
from pkgindex_core.errors import Refused
from pkgindex_core.formats.feed import MEDIA_TYPE
from pkgindex_core.models import Serial
from pkgindex_core.names import IndexName, index_name_or_none
from pkgindex_core.protocols import Arriving, OnDisk, Span
from pkgindex_core.services.moving.feeding import FeedKind, FeedRequest
from pkgindex_http.requests import Ask
from pkgindex_http.wire import web
from pkgindex_http.wire.replies import SECURITY_HEADERS, Reply, json_reply
from pkgindex_http.wire.sending import FileResponse, StreamedResponse

_LONGEST_WAIT: Final = 30
_TURN_SECONDS: Final = 0.5
"""How long a stop of the server may wait for a question that waits for a commit."""
_HEADERS: Final = {"Cache-Control": "no-store", **SECURITY_HEADERS}


async def may_follow(ask: Ask) -> None:
    """Check the right to copy anything."""
    await ask.engine.feeding.check(ask.principal)


async def may_copy(ask: Ask) -> None:
    """Check the right to copy the index of the URL."""
    await ask.engine.feeding.check_index(ask.principal, ask.index)


async def changes(ask: Ask) -> Reply:
    """The commits after `after`; waits up to `wait` seconds for the first one."""
    feeding = ask.engine.feeding
    request = FeedRequest(
        after=Serial(_number(ask, "after")),
        at=Timestamp(_number(ask, "at")),
        store=ask.query("store") or "",
        without=_indexes(ask.query("without") or ""),
    )
    await feeding.check_place(request)
    seconds = float(min(_number(ask, "wait"), _LONGEST_WAIT))
    while seconds > 0 and not ask.stopping() and not await feeding.wait(request, min(_TURN_SECONDS, seconds)):
        seconds -= _TURN_SECONDS
    body = await feeding.page(ask.principal, request)
    return Reply(headers={**_HEADERS, "Content-Type": MEDIA_TYPE}, body=body)


async def copied_file(ask: Ask, *, tries: int = 2) -> Reply | web.StreamResponse:
    """The bytes with the digest of the URL, if the index lists them under this name."""
    kind = ask.query("kind") or "file"
    if kind not in get_args(FeedKind):
        raise Refused(f"kind: write {', '.join(get_args(FeedKind))}")
    digest = parse_sha256(ask.values["digest"])
    if digest is None:
        raise Refused("the path has no sha256")
    filename = ask.values["filename"]
    opened = await ask.engine.feeding.open(ask.index, ask.project, digest, filename, cast(FeedKind, kind))
    reply = Reply(headers={**_HEADERS, "Content-Type": "application/octet-stream"})
    answer: FileResponse | StreamedResponse
    match opened:
        case OnDisk(blob):
            place = await ask.engine.blobs.locate(blob.sha256, filename=filename)
            if isinstance(place, Path):
                answer = FileResponse(reply, place, Span(0, blob.size) if blob.size else None, ask.engine.workers)
            else:
                answer = StreamedResponse(reply, ask.engine.files.read(blob.sha256), length=blob.size)
        case Arriving(arriving):
            answer = StreamedResponse(reply, arriving.read(), length=arriving.size)
        case _:
            raise AssertionError("the file was asked for with its bytes")
    if tries > 1:  # the bytes are gone: the next try finds out why, and says which file it is
        answer.again = partial(copied_file, ask, tries=tries - 1)
    return answer


async def refreshed(ask: Ask) -> Reply:
    """Bring a mirrored project up to date, and tell its state and the commit that has its page."""
    state = await ask.engine.feeding.refresh(ask.index, ask.project, again=bool(_number(ask, "again")))
    return json_reply(to_builtins(state), headers={"Cache-Control": "no-store"})


def _number(ask: Ask, name: str) -> int:
    text = ask.query(name) or "0"
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise Refused(f"{name}: write a number", hint="/+changes?after=0&wait=20")
    return int(text)


def _indexes(text: str) -> tuple[IndexName, ...]:
    parts = [each.partition("/") for each in text.split(",") if each]
    names = [index_name_or_none(user, index) for user, _, index in parts]
    if None in names:
        raise Refused("without: write names of indexes, with commas between them")
    return tuple(name for name in names if name is not None)
