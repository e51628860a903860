"""Reading a wheel's METADATA without the whole wheel: from the upstream's sidecar, or by range requests for parts of the wheel.

The bytes stay as they are, since PEP 658 lets clients compare their digest. Tried in this order:

1. `<url>.metadata`, if the upstream announces it or may have it unannounced; compared with the announced digest.
2. The last 64 KiB of the wheel, which have its directory and mostly METADATA too; at most three more small ranges.
3. The whole wheel, which the caller fetches and reads with `metadata_in` from the blob store.
"""

from __future__ import annotations

from email.parser import BytesHeaderParser
from typing import Protocol

from pkgindex_core.digests import Sha256
from pkgindex_core.names import ProjectName, normalized_or_none
from pkgindex_core.protocols import BlobStore, Span
from pkgindex_mirror import urls
from pkgindex_mirror.documents import zip_parts
from pkgindex_mirror.documents.zip_parts import Odd
from pkgindex_mirror.readthrough.files.cold_files import ArrivingFile
from pkgindex_mirror.readthrough.files.passed_files import PassedReading
from pkgindex_mirror.upstreams.sites import Site
from pkgindex_mirror.upstreams.upstream import UpstreamClient
from pkgindex_mirror.upstreams.upstream_answers import AbsentAnswer, Failed, Transfer

TAIL = 64 * 1024
_HEADERS_LIMIT = 1024 * 1024


class ByteSource(Protocol):
    """Bytes of a known size, of which parts can be read."""

    size: int

    async def read(self, start: int, stop: int) -> bytes | Failed:
        """Exactly these bytes."""
        ...


async def metadata_in(source: ByteSource, project: ProjectName) -> bytes | Odd | Failed:
    """Read the METADATA of a wheel."""
    tail = await source.read(max(source.size - TAIL, 0), source.size)
    if isinstance(tail, Failed):
        return tail
    found = zip_parts.directory(tail, source.size)
    if found is None:  # the archive ends with a long comment
        start = max(source.size - TAIL - zip_parts.COMMENT_LIMIT, 0)
        more = await source.read(start, source.size)
        if isinstance(more, Failed):
            return more
        found = zip_parts.directory(more, source.size) or Odd("its end record cannot be found")
    if isinstance(found, zip_parts.LargeEnd):
        record = await source.read(found.start, min(found.start + 56, source.size))
        if isinstance(record, Failed):
            return record
        found = zip_parts.large_directory(record, source.size)
    if isinstance(found, Odd):
        return found
    listing = await source.read(found.start, found.start + found.size)
    if isinstance(listing, Failed):
        return listing
    member = zip_parts.find_metadata(listing, project)
    if isinstance(member, Odd):
        return member
    if member.start >= source.size:
        return Odd("its metadata lies beyond its end")
    # Name and extra field of the local header may be longer than those of the directory: read a little more than needed.
    room = member.start + zip_parts.LOCAL_SIZE + len(member.name) + member.compressed + 256
    around = await source.read(member.start, min(room, source.size))
    if isinstance(around, Failed):
        return around
    begin = zip_parts.data_start(around, member)
    if isinstance(begin, Odd):
        return begin
    stop = begin + member.compressed
    if stop > source.size:
        return Odd("its metadata lies beyond its end")
    if stop <= member.start + len(around):
        data: bytes | Failed = around[begin - member.start : stop - member.start]
    else:
        data = await source.read(begin, stop)
    if isinstance(data, Failed):
        return data
    return zip_parts.unpack(data, member)


class StoredWheel:
    """A wheel in the blob store."""

    def __init__(self, blob_store: BlobStore, key: Sha256, size: int) -> None:
        self.size = size
        self._blob_store = blob_store
        self._key = key

    async def read(self, start: int, stop: int) -> bytes | Failed:
        if start >= stop:
            return b""
        return b"".join([data async for data in self._blob_store.read(self._key, Span(start, stop))])


class ArrivedWheel:
    """A wheel whose bytes arrived and are verified, while it is being stored."""

    def __init__(self, arriving: ArrivingFile | PassedReading, size: int) -> None:
        self.size = size
        self._arriving = arriving

    async def read(self, start: int, stop: int) -> bytes | Failed:
        if start >= stop:
            return b""
        return b"".join([data async for data in self._arriving.read(Span(start, stop))])


async def arrived(arriving: ArrivingFile | PassedReading) -> ArrivedWheel:
    """Wait until all bytes of a wheel arrived and are verified."""
    return ArrivedWheel(arriving, await arriving.verified())


class RemoteWheel:
    """A wheel at an upstream that answers range requests. Its tail is in memory, since most reads are in it."""

    def __init__(self, client: UpstreamClient, site: Site, url: str, *, size: int, tail: bytes, validator: str) -> None:
        self.size = size
        self._client = client
        self._site = site
        self._url = url
        self._tail = tail
        self._validator = validator

    async def read(self, start: int, stop: int) -> bytes | Failed:
        if start >= stop:
            return b""
        begin = self.size - len(self._tail)
        if start >= begin:
            return self._tail[start - begin : stop - begin]
        answer = await _part(self._client, self._site, self._url, span=(start, stop), validator=self._validator)
        if isinstance(answer, AbsentAnswer):
            return Failed(reason="the wheel disappeared while it was read", again=True)
        if isinstance(answer, Failed):
            return answer
        if answer.start != start or len(answer.data) != stop - start or answer.size not in {None, self.size}:
            return Failed(reason="the upstream answered with another range than the requested one")
        return answer.data


class _WheelPart:
    def __init__(self, data: bytes, transfer: Transfer) -> None:
        self.data = data
        self.start = transfer.start
        self.size = transfer.size
        self.validator = transfer.validator


async def open_remote(client: UpstreamClient, site: Site, url: str) -> RemoteWheel | AbsentAnswer | Failed:
    """Read the tail of a remote wheel. `Failed` also when the upstream does not answer range requests."""
    answer = await _part(client, site, url, span=(-TAIL, None), validator="")
    if not isinstance(answer, _WheelPart):
        return answer
    size = answer.size
    if size is None or answer.start + len(answer.data) != size:
        return Failed(reason="the upstream answered with another range than the requested one")
    return RemoteWheel(client, site, url, size=size, tail=answer.data, validator=answer.validator)


async def offered(client: UpstreamClient, site: Site, url: str) -> bytes | AbsentAnswer | Failed:
    """The whole sidecar from the upstream."""
    async with client.file(site, urls.with_suffix(url, ".metadata"), short=True) as answer:
        if not isinstance(answer, Transfer):
            return answer
        return await _whole(answer, zip_parts.METADATA_LIMIT)


def describes(data: bytes, project: ProjectName) -> bool:
    """Whether bytes are core metadata of the project: the answer for an unannounced sidecar may be any page."""
    head = data[:_HEADERS_LIMIT]
    headers = BytesHeaderParser().parsebytes(head)
    name = headers.get("Name")
    return "Metadata-Version" in headers and name is not None and normalized_or_none(str(name).strip()) == project


async def _part(
    client: UpstreamClient, site: Site, url: str, *, span: tuple[int, int | None], validator: str
) -> _WheelPart | AbsentAnswer | Failed:
    async with client.file(site, url, span=span, validator=validator) as answer:
        if not isinstance(answer, Transfer):
            return answer
        if answer.whole:
            return Failed(reason="the upstream does not answer range requests")
        start, stop = span
        data = await _whole(answer, -start if stop is None else stop - start)
        return data if isinstance(data, Failed) else _WheelPart(data, answer)


async def _whole(answer: Transfer, limit: int) -> bytes | Failed:
    collected = bytearray()
    async for piece in answer.chunks():
        if isinstance(piece, Failed):
            return piece
        collected += piece
        if len(collected) > limit:
            return Failed(reason="the upstream sent more bytes than requested", again=True)
    if answer.whole and answer.size is not None and len(collected) != answer.size:
        return Failed(reason="its answer was cut off", again=True)
    return bytes(collected)
