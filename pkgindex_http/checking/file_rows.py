"""Rows about files and the metadata beside them (FI)."""

from __future__ import annotations

import hashlib
import io
import zipfile
from typing import Final

from pkgindex_http.checking.asking import BODY_BYTES, SeenAnswer
from pkgindex_http.checking.outcomes import Advised, CheckedRow, Skipped
from pkgindex_http.checking.subjects import CheckedSubject, PageLink

_RUN: Final = frozenset({"text/html", "application/xhtml+xml", "image/svg+xml", "text/javascript"})


async def _wheel(subject: CheckedSubject) -> tuple[PageLink, SeenAnswer]:
    if subject.wheel is None:
        raise Skipped("the project has no wheel")
    seen = await subject.asking.get(subject.wheel.url)
    if len(seen.body) >= BODY_BYTES:
        raise Skipped("the wheel is too large to be checked")
    return subject.wheel, seen


def _metadata(body: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        name = next(
            each for each in archive.namelist() if each.count("/") == 1 and each.endswith(".dist-info/METADATA")
        )
        return archive.read(name)


async def _bytes(subject: CheckedSubject) -> str:
    link, seen = await _wheel(subject)
    if seen.status != 200:
        return f"{link.filename} answers {seen.status}"
    algorithm, _, digest = link.fragment.partition("=")
    if algorithm not in hashlib.algorithms_guaranteed:
        raise Skipped("the page has no digest")
    if hashlib.new(algorithm, seen.body, usedforsecurity=False).hexdigest() != digest.lower():
        return f"{link.filename} has another {algorithm} than the page says"
    files = (subject.document or {}).get("files", ())
    sizes = [each.get("size") for each in files if isinstance(each, dict) and each.get("filename") == link.filename]
    said = sizes[0] if sizes else None
    return (
        ""
        if said is None or said == len(seen.body)
        else f"{link.filename} has {len(seen.body)} bytes, the page says {said}"
    )


async def _sidecar(subject: CheckedSubject) -> str:
    link, wheel = await _wheel(subject)
    announced = any(name in link.attributes for name in ("data-core-metadata", "data-dist-info-metadata"))
    if not announced:
        raise Skipped("the page announces no metadata")
    seen = await subject.asking.get(f"{link.url}.metadata")
    if seen.status != 200:
        return f"{link.filename}.metadata is announced, and answers {seen.status}"
    try:
        inside = _metadata(wheel.body)
    except (zipfile.BadZipFile, StopIteration, KeyError):
        return f"{link.filename} is no wheel that can be read"
    return "" if seen.body == inside else f"{link.filename}.metadata differs from METADATA in the wheel"


async def _coding(subject: CheckedSubject) -> str:
    link, _ = await _wheel(subject)
    seen = await subject.asking.get(link.url, Accept_Encoding="gzip, deflate, br, zstd")
    coding = seen.headers.get("content-encoding", "identity")
    if coding != "identity":
        return f"{link.filename} has Content-Encoding {coding}"
    return f"{link.filename} is {seen.kind}, which browsers run" if seen.kind in _RUN else ""


async def _ranges(subject: CheckedSubject) -> str:
    link, whole = await _wheel(subject)
    seen = await subject.asking.get(link.url, Range="bytes=0-99")
    if seen.status == 200 and seen.body == whole.body:
        raise Advised("a range is ignored: the whole file is sent")
    if seen.status != 206 or seen.body != whole.body[:100]:
        return f"a range answers {seen.status} with {len(seen.body)} bytes"
    end = await subject.asking.get(link.url, Range="bytes=-100")
    if end.status != 206 or end.body != whole.body[-100:]:
        return f"a range from the end answers {end.status} with {len(end.body)} bytes"
    other = await subject.asking.get(link.url, Range="bytes=0-99", If_Range='"another"')
    return "" if other.status == 200 else f"If-Range with another tag answers {other.status}"


async def _kept(subject: CheckedSubject) -> str:
    _, seen = await _wheel(subject)
    said = seen.headers.get("cache-control", "")
    if not said and not seen.headers.get("etag") and not seen.headers.get("last-modified"):
        raise Advised("a file has neither Cache-Control nor a validator")
    if "no-store" in said:
        raise Advised(f"Cache-Control is {said}")
    return ""


FILE_ROWS: Final = (
    CheckedRow("FI-1", "metadata beside a wheel is that inside", "pip 26.2 stops with an error, and resolvers compute another result", _sidecar),
    CheckedRow("FI-4", "files are sent as they are", "hashes differ, and browsers run what a package brings", _coding),
    CheckedRow("FI-5", "ranges are honoured", "uv and pip load whole wheels, cut downloads begin anew, or they are continued with another file", _ranges),
    CheckedRow("FI-6", "files may be kept", "pip and proxies fetch every file again", _kept),
    CheckedRow("FI-7", "a file has the digest and size of its page", "pip and uv refuse it", _bytes),
)  # fmt: skip
