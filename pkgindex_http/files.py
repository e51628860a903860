"""Files over HTTP: ranges, validators, the fastest way to the bytes.

A path pins its bytes, so everything here is immutable: the ETag is the sha256, and a conditional request is answered
without touching the disk. Bytes leave untouched: no content coding, no guessing of types.
"""

from __future__ import annotations

from email.utils import formatdate
from functools import lru_cache
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web

from pkgindex_core.protocols import SignedUrl, Span
from pkgindex_core.rules.stamping import matches
from pkgindex_core.services.reading.files import ArrivingFile, ElsewhereFile, StoredFile
from pkgindex_http.bodies import read_json
from pkgindex_http.preconditions import Validators
from pkgindex_http.ranges import parse_range, range_applies, unchanged_since
from pkgindex_http.replies import SECURITY_HEADERS, Reply, json_reply, text_reply
from pkgindex_http.requests import SIDECAR, Ask
from pkgindex_http.sending import FileResponse, StreamedResponse

IMMUTABLE: Final = "max-age=365000000, immutable"


class _Yank(msgspec.Struct, forbid_unknown_fields=True):
    yanked: bool | str


async def download(ask: Ask) -> Reply | web.StreamResponse:
    """A file, or with `.metadata` behind its name the core metadata of a wheel (PEP 658)."""
    filename = ask.values["filename"]
    sidecar = filename.endswith(SIDECAR)
    found = await ask.engine.files.open(
        ask.index, ask.pinned, filename.removesuffix(SIDECAR), sidecar=sidecar, principal=ask.principal
    )
    if isinstance(found, ElsewhereFile):
        # Not for keeping: the file may be kept here tomorrow, or the option be gone.
        return Reply(status=302, headers={"Location": found.url, "Cache-Control": "no-store", **SECURITY_HEADERS})
    if isinstance(found, ArrivingFile):
        return await _arriving(ask, found)
    return await _stored(ask, found, sidecar=sidecar)


async def validators(ask: Ask) -> Validators:
    """By what the bytes under a URL are told from others. A file whose sha256 is not known has nothing."""
    filename = ask.values["filename"]
    file = (await ask.engine.files.lookup(ask.index, ask.pinned, filename, principal=ask.principal)).file
    blob = await ask.engine.blobs.stat(file.sha256) if file.sha256 else None
    return Validators(f'"{file.sha256}"', blob.modified if blob is not None else 0.0) if file.sha256 else Validators()


async def modify(ask: Ask) -> Reply:
    """Yank or unyank a file."""
    document = await read_json(ask.request, _Yank)
    filename = ask.values["filename"]
    found = await ask.engine.files.lookup(ask.index, ask.pinned, filename, principal=ask.principal)
    await ask.engine.releases.yank(ask.index, found.project, filename, document.yanked, principal=ask.principal)
    return json_reply({"message": f"{filename} {'yanked' if document.yanked else 'is not yanked any more'}"})


async def _stored(ask: Ask, found: StoredFile, *, sidecar: bool) -> Reply | web.StreamResponse:
    size = found.blob.size
    etag = f'"{found.blob.sha256}"'
    headers = _headers(found.public, sidecar=sidecar)
    headers["ETag"] = etag
    if found.blob.modified:
        headers["Last-Modified"] = _http_date(int(found.blob.modified))
    asked = ask.request.headers
    tags = asked.get("If-None-Match")
    if matches(tags, etag) or (
        tags is None and unchanged_since(asked.get("If-Modified-Since"), modified=found.blob.modified)
    ):
        del headers["Content-Type"]
        return Reply(status=304, headers=headers)
    if isinstance(found.place, SignedUrl):
        return Reply(status=302, headers={"Location": found.place.url, "Cache-Control": "no-store"})
    span: Span | str | None = None
    if range_applies(asked.get("If-Range"), etag=etag, modified=found.blob.modified):
        span = _span(ask, size)
    if span == "unsatisfiable":
        return _beyond(size)
    status = 200
    if isinstance(span, Span):
        status = 206
        headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{size}"
    whole = span if isinstance(span, Span) else (Span(0, size) if size else None)
    reply = Reply(status=status, headers=headers)
    if isinstance(found.place, Path):
        return FileResponse(reply, found.place, whole, ask.engine.workers)
    body = ask.engine.files.read(found.blob.sha256, span if isinstance(span, Span) else None)
    return StreamedResponse(reply, body, length=whole.stop - whole.start if whole else 0)


async def _arriving(ask: Ask, found: ArrivingFile) -> Reply | web.StreamResponse:
    """Stream a file while it is being fetched. Its sha256 may not be known before its end, so there may be no ETag."""
    headers = _headers(found.public, sidecar=False)
    sha256 = found.file.sha256
    if sha256:
        headers["ETag"] = f'"{sha256}"'
    size = found.arriving.size
    span: Span | str | None = None
    if size is not None and "If-Range" not in ask.request.headers:
        span = _span(ask, size)
    if size is not None and span == "unsatisfiable":
        return _beyond(size)
    if isinstance(span, Span):
        headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{size}"
        reply = Reply(status=206, headers=headers)
        return StreamedResponse(reply, found.arriving.read(span), length=span.stop - span.start)
    return StreamedResponse(Reply(headers=headers), found.arriving.read(), length=size)


def _span(ask: Ask, size: int) -> Span | str | None:
    """The range asked for; it means something for GET alone (RFC 9110 14.2)."""
    return parse_range(ask.request.headers.get("Range"), size) if ask.request.method == "GET" else None


def _beyond(size: int) -> Reply:
    headers = {"Content-Range": f"bytes */{size}", "Accept-Ranges": "bytes", "Cache-Control": "no-store"}
    return text_reply("the range lies beyond the end of the file", status=416, headers=headers)


def _headers(public: bool, *, sidecar: bool) -> dict[str, str]:
    return {
        "Content-Type": "text/plain; charset=utf-8" if sidecar else "application/octet-stream",
        "Cache-Control": f"{'public' if public else 'private'}, {IMMUTABLE}",
        "Accept-Ranges": "bytes",
        "Access-Control-Allow-Origin": "*",
        **SECURITY_HEADERS,
    }


@lru_cache(4096)
def _http_date(moment: int) -> str:
    return formatdate(moment, usegmt=True)
