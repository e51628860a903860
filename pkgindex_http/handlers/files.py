"""Serves files: ranges, validators, and the fastest way to the bytes.

The bytes of a path never change, so answers are immutable: the ETag is the sha256, and a conditional request is answered
without reading the file. Bytes are sent unchanged, without a content coding.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from email.utils import formatdate
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

import msgspec
from msgspec.structs import replace

from pkgindex_core.digests import Sha256
from pkgindex_core.models import File
from pkgindex_core.names import IndexName
from pkgindex_core.protocols import Place, SignedUrl, Span
from pkgindex_core.rules.stamping import matches
from pkgindex_core.services.reading.opened_files import (
    ArrivingContent,
    ElsewhereFile,
    OpenedPart,
    PartContent,
    PartOf,
    StoredContent,
)
from pkgindex_core.tools.currency import Holding
from pkgindex_http.requests import SIDECAR, Ask
from pkgindex_http.wire import web
from pkgindex_http.wire.bodies import read_json
from pkgindex_http.wire.handing_over import HandedOver
from pkgindex_http.wire.preconditions import Validators
from pkgindex_http.wire.ranges import parse_range, range_applies, unchanged_since
from pkgindex_http.wire.redirecting import may_redirect
from pkgindex_http.wire.replies import SECURITY_HEADERS, Reply, json_reply, text_reply
from pkgindex_http.wire.sending import CHUNK, FileResponse, StreamedResponse
from pkgindex_http.wire.served_files import FileCounts
from pkgindex_http.wire.unasked import warning_headers

IMMUTABLE: Final = "max-age=365000000, immutable"
_TRIES: Final = 3
"""Times that a file is opened for one request, while another server removes it each time."""


class _Yank(msgspec.Struct, forbid_unknown_fields=True):
    yanked: bool | str


async def download(ask: Ask) -> Reply | web.StreamResponse:
    """A file, or the sidecar of a wheel when `.metadata` follows its name (PEP 658)."""
    return await _opened(ask, ask.index, ask.pinned, ask.values["filename"], caching=IMMUTABLE)


async def download_by_name(
    ask: Ask, filename: str, *, caching: str, index: IndexName | None = None
) -> Reply | web.StreamResponse:
    """A file or sidecar, under a URL that does not pin the bytes.

    `caching`: the directives of `Cache-Control`, beside those about readers. `index`: the index with the file; None: that of the URL.
    """
    return await _opened(ask, index or ask.index, None, filename, caching=caching)


async def _opened(
    ask: Ask, index: IndexName, pinned: str | None, filename: str, *, caching: str, tries: int = _TRIES
) -> Reply | web.StreamResponse:
    sidecar = filename.endswith(SIDECAR)
    found, holding = await ask.engine.files.holding_open(
        index,
        pinned,
        filename.removesuffix(SIDECAR),
        sidecar=sidecar,
        principal=ask.principal,
        may_redirect=may_redirect(ask.settings.object_downloads, ask.request.method, ask.request.headers),
        part=_part_of(ask),
    )
    if ask.index not in ask.served_files:
        ask.served_files.forget_others((await ask.engine.store.tree()).indexes)
    counts = ask.served_files.of(ask.index, sidecar=sidecar)
    if isinstance(found, ElsewhereFile):
        counts.elsewhere += 1
        _count(ask, found, 302)
        # Not to be cached: the file may be stored here later, or the option may change.
        headers = {"Location": found.url, "Cache-Control": "no-store", **SECURITY_HEADERS}
        return Reply(status=302, headers=headers | warning_headers(found.warnings))
    headers = _headers(found.public, sidecar=sidecar, caching=caching) | warning_headers(found.warnings)
    if not found.public:
        await ask.read_log.record(ask.principal.label, ask.origin.client(ask.request), index, found.file)
    if isinstance(found, ArrivingContent):
        answer = await _arriving(ask, found, headers)
    elif isinstance(found, PartContent):
        answer = _part(ask, found, headers)
    else:
        answer = await _stored(ask, found, headers)
        if isinstance(found.place, Path) and (found.public or not ask.read_log.enabled):
            answer = _repeatable(
                answer, found.blob.sha256, holding, _counting(ask, found, counts, answer.status, sidecar=sidecar)
            )
    if isinstance(answer, FileResponse | StreamedResponse) and tries > 1:
        answer.again = partial(_opened, ask, index, pinned, filename, caching=caching, tries=tries - 1)
    counts.answered(answer, arriving=not isinstance(found, StoredContent))
    if not sidecar:
        _count(ask, found, answer.status)
    return answer


def _count(ask: Ask, found: OpenedPart, status: int) -> None:
    """Count a download: an answer to GET that begins at the first byte. Installers that read the end of a wheel, or resume, do not count again."""
    if ask.request.method != "GET" or status not in {200, 206, 302} or ask.engine.replica is not None:
        return  # the counts of a replica would not be written
    if status == 206 and not ask.request.headers.get("Range", "").replace(" ", "").startswith("bytes=0-"):
        return
    ask.engine.activity.downloaded(ask.index, found.project, fetched=isinstance(found, ArrivingContent))


def _repeatable(
    answer: Reply | web.StreamResponse, sha256: Sha256, holding: Holding, again: Callable[[], None]
) -> Reply | web.StreamResponse:
    """The answer, as one that may be given again: with the whole file, its head or a 304."""
    if isinstance(answer, FileResponse) and answer.status == 200:
        answer.sha256 = sha256
        answer.reply = replace(answer.reply, holding=holding, again=again)
    elif isinstance(answer, Reply) and answer.status == 304:
        return replace(answer, holding=holding, again=again)
    return answer


def _counting(ask: Ask, found: StoredContent, counts: FileCounts, status: int, *, sidecar: bool) -> Callable[[], None]:
    """Counts a repetition of an answer as `_opened` counts the answer."""
    is_get = ask.request.method == "GET"
    repeated = partial(counts.repeated, status, found.blob.size if is_get else 0)
    if sidecar or not is_get or status != 200 or ask.engine.replica is not None:
        return repeated
    downloaded = partial(ask.engine.activity.downloaded, ask.index, found.project)

    def count() -> None:
        repeated()
        downloaded()

    return count


async def validators(ask: Ask) -> Validators:
    """The validators of the file of the URL; none while its sha256 is not known."""
    filename = ask.values["filename"]
    file = (await ask.engine.files.lookup(ask.index, ask.pinned, filename, principal=ask.principal)).file
    blob = await ask.engine.blobs.stat(file.sha256) if file.sha256 else None
    return Validators(f'"{file.sha256}"', blob.modified if blob is not None else 0.0) if file.sha256 else Validators()


async def modify(ask: Ask) -> Reply:
    """Yank or unyank a file."""
    document = await read_json(ask.request, _Yank)
    filename = ask.values["filename"]
    found = await ask.engine.files.lookup(ask.index, ask.pinned, filename, principal=ask.principal)
    await ask.engine.releases.yank(
        ask.index, found.project, filename, document.yanked, principal=ask.principal, sha256=found.file.sha256
    )
    return json_reply({"message": f"{filename} {'yanked' if document.yanked else 'is not yanked any more'}"})


async def _stored(ask: Ask, found: StoredContent, headers: dict[str, str]) -> Reply | web.StreamResponse:
    size = found.blob.size
    etag = f'"{found.blob.sha256}"'
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
        # Not to be cached: the URL works for minutes, and for everybody who has it.
        return Reply(status=302, headers={"Location": found.place.url, "Cache-Control": "no-store", **SECURITY_HEADERS})
    span: Span | str | None = None
    if range_applies(asked.get("If-Range"), etag=etag, modified=found.blob.modified):
        span = _span(ask, size)
    if span == "unsatisfiable":
        return _beyond(size)
    whole = span if isinstance(span, Span) else (Span(0, size) if size else None)
    if isinstance(found.place, Path) and (url := ask.handover.url(ask.request, found.place, span)):
        return HandedOver(headers={**headers, "X-Accel-Redirect": url}, length=whole.stop - whole.start if whole else 0)
    status = 200
    if isinstance(span, Span):
        status = 206
        headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{size}"
    reply = Reply(status=status, headers=headers)
    if isinstance(found.place, Path):
        return FileResponse(reply, found.place, whole, ask.engine.workers)
    if isinstance(found.place, Place):
        return FileResponse(reply, found.place.path, whole, ask.engine.workers, mark=found.place.mark)
    # With a span: without one the store would have to be asked for the size.
    body = ask.engine.files.read(found.blob.sha256, whole)
    return StreamedResponse(reply, body, length=whole.stop - whole.start if whole else 0)


async def _arriving(ask: Ask, found: ArrivingContent, headers: dict[str, str]) -> Reply | web.StreamResponse:
    """Stream a file while it is fetched. There is no ETag when its sha256 is only known at its end."""
    sha256 = found.file.sha256
    if sha256:
        headers["ETag"] = f'"{sha256}"'
    size = found.arriving.size
    span: Span | str | None = None
    # A client that resumes names the ETag of an earlier answer, from before the file was removed to make room.
    if size is not None and range_applies(
        ask.request.headers.get("If-Range"), etag=headers.get("ETag", ""), modified=0
    ):
        span = _span(ask, size)
    if size is not None and span == "unsatisfiable":
        return _beyond(size)
    if isinstance(span, Span):
        headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{size}"
        reply = Reply(status=206, headers=headers)
        return StreamedResponse(reply, found.arriving.read(span), length=span.stop - span.start)
    return StreamedResponse(Reply(headers=headers), found.arriving.read(), length=size)


def _part_of(ask: Ask) -> PartOf | None:
    """The part of a file that is enough for an answer: none for HEAD, a range. None if the answer may be the whole file."""
    if ask.request.method == "HEAD":
        return lambda _file, _size: Span(0, 0)
    if ask.request.method != "GET" or "Range" not in ask.request.headers:
        return None

    def wanted(file: File, size: int) -> Span | None:
        applies = range_applies(ask.request.headers.get("If-Range"), etag=f'"{file.sha256}"', modified=0)
        span = _span(ask, size) if applies else None
        return span if isinstance(span, Span) else None

    return wanted


def _part(ask: Ask, found: PartContent, headers: dict[str, str]) -> StreamedResponse:
    """Send a part of a file that is not stored; for HEAD the head of the whole."""
    headers["ETag"] = f'"{found.file.sha256}"'
    part = found.part
    if ask.request.method == "HEAD":
        return StreamedResponse(Reply(headers=headers), _pieces(b""), length=part.size)
    headers["Content-Range"] = f"bytes {part.span.start}-{part.span.stop - 1}/{part.size}"
    headers["Cache-Control"] = "no-store"  # nothing has verified these bytes
    return StreamedResponse(Reply(status=206, headers=headers), _pieces(part.data), length=len(part.data))


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    """Pieces that a client can be expected to take within the time for one."""
    for start in range(0, len(data), CHUNK):
        yield data[start : start + CHUNK]


def _span(ask: Ask, size: int) -> Span | str | None:
    """The requested range. Only a GET can have one (RFC 9110 14.2)."""
    return parse_range(ask.request.headers.get("Range"), size) if ask.request.method == "GET" else None


def _beyond(size: int) -> Reply:
    headers = {"Content-Range": f"bytes */{size}", "Accept-Ranges": "bytes", "Cache-Control": "no-store"}
    return text_reply("the range is beyond the end of the file", status=416, headers=headers)


def _headers(public: bool, *, sidecar: bool, caching: str) -> dict[str, str]:
    return {
        "Content-Type": "text/plain; charset=utf-8" if sidecar else "application/octet-stream",
        "Cache-Control": f"{'public' if public else 'private'}, {caching}",
        "Accept-Ranges": "bytes",
        "Access-Control-Allow-Origin": "*",
        **SECURITY_HEADERS,
    }


@lru_cache(4096)
def _http_date(moment: int) -> str:
    return formatdate(moment, usegmt=True)
