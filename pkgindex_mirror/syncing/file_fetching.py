"""Brings one file from its upstream into a target: small ones in one piece, the others in a transfer that is resumed when it breaks off.

A target puts a file in its place only if its size and digests are those of its page. Bytes that an earlier run left are used again; if
they turn out to be wrong, the file is fetched from its beginning.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from pkgindex_core.errors import BadUpstream, PkgIndexError, StorageFull
from pkgindex_core.failpoints import failpoint
from pkgindex_core.models import File
from pkgindex_mirror.syncing.file_queue import FetchedFile, FileOutcome, UnfetchedFile
from pkgindex_mirror.syncing.progress import Progress
from pkgindex_mirror.syncing.settings import RunSettings
from pkgindex_mirror.syncing.targets import FileSink, SyncTarget
from pkgindex_mirror.syncing.transport import Transport
from pkgindex_mirror.upstreams.upstream_answers import AbsentAnswer, Failed, Transfer

SIDECAR: Final = ".metadata"
_RESUMES_LIMIT: Final = 50
_SIDECAR_LIMIT: Final = 16 * 1024 * 1024


class FileSource(Struct, frozen=True):
    """A place from which files are fetched, and its URL for a URL of a page."""

    transport: Transport
    url_of: Callable[[str], str]


class FileFetching:
    """Called with a file by the queue. `sources` are asked in their order."""

    def __init__(
        self, target: SyncTarget, sources: Sequence[FileSource], settings: RunSettings, progress: Progress
    ) -> None:
        self._target = target
        self._sources = sources
        self._settings = settings
        self._progress = progress

    async def __call__(self, file: File) -> FileOutcome:
        """Fetch a file. Raises `StorageFull`, which ends the run."""
        outcome: FileOutcome = _unfetched(file, "no place to fetch it from")
        for source in self._sources:
            try:
                outcome = await self._from(source, file)
            except StorageFull:
                raise
            except PkgIndexError as error:
                outcome = _unfetched(file, error.message.removeprefix(f"{file.filename}: "))
            if isinstance(outcome, FetchedFile):
                self._progress.file_fetched(outcome.size)
                return outcome
        self._progress.file_failed()
        return outcome

    async def _from(self, source: FileSource, file: File) -> FileOutcome:
        if not file.url:
            return _unfetched(file, "its page gives no URL for it")
        if (file.size or 0) > self._settings.file_limit:
            return _unfetched(file, f"it is larger than {self._settings.file_limit} bytes")
        url = source.url_of(file.url)
        is_sidecar = file.filename.endswith(SIDECAR)
        if file.size is not None or is_sidecar:
            answer = await source.transport.small_file(url, file.size)
            if isinstance(answer, bytes):
                return await self._keep(file, answer)
            if isinstance(answer, AbsentAnswer):
                return _unfetched(file, f"the upstream answered {answer.status}")
            if isinstance(answer, Failed):
                return _unfetched(file, answer.reason, trouble=answer.again)
        return await self._long(source.transport, url, file)

    async def _keep(self, file: File, body: bytes) -> FetchedFile:
        failpoint("sync.file_came")
        await self._target.keep(file, body)
        failpoint("sync.file_kept")
        return FetchedFile(len(body))

    async def _long(self, transport: Transport, url: str, file: File) -> FileOutcome:
        resumed = False
        for last in (False, True):
            async with self._target.sink(file) as sink:
                resumed = sink.offset > 0
                try:
                    async with asyncio.timeout(self._settings.file_allowance + self._patience(file.size)):
                        outcome = await _Download(transport, url, file, sink, self._settings, self._progress).run()
                except TimeoutError:
                    return _unfetched(
                        file, f"it came slower than {self._settings.slowest_file} bytes a second", trouble=True
                    )
                if isinstance(outcome, UnfetchedFile):
                    return outcome
                failpoint("sync.file_came")
                try:
                    await sink.keep()
                except BadUpstream:
                    if last or not resumed:
                        raise
                    continue  # the bytes of an earlier run were those of another file
            failpoint("sync.file_kept")
            return outcome
        return _unfetched(file, "its bytes are not those of its page")

    def _patience(self, size: int | None) -> float:
        return (self._settings.file_limit if size is None else size) / self._settings.slowest_file


class _Download:
    """One file on its way into a sink."""

    def __init__(
        self, transport: Transport, url: str, file: File, sink: FileSink, settings: RunSettings, progress: Progress
    ) -> None:
        self._transport = transport
        self._url = url
        self._file = file
        self._sink = sink
        self._limit = (
            file.size
            if file.size is not None
            else _SIDECAR_LIMIT
            if file.filename.endswith(SIDECAR)
            else settings.file_limit
        )
        self._attempts = settings.file_attempts
        self._progress = progress
        self._validator = ""

    async def run(self) -> FileOutcome:
        stuck = 0
        for _ in range(_RESUMES_LIMIT):
            before = self._sink.offset
            if self._file.size is not None and before > self._file.size:
                await self._sink.restart()
            elif before and before == self._file.size:
                return FetchedFile(before)
            broke = await self._transfer()
            if broke is None:
                return FetchedFile(self._sink.offset)
            if isinstance(broke, UnfetchedFile):
                return broke
            stuck = 1 if self._sink.offset > before else stuck + 1
            if stuck >= self._attempts or not broke.again:
                return _unfetched(self._file, broke.reason, trouble=broke.again)
            await self._transport.pause(self._url, stuck)
        return _unfetched(self._file, "its transfer broke off too often", trouble=True)

    async def _transfer(self) -> Failed | UnfetchedFile | None:
        """Make one request. None when the body is complete."""
        offset = self._sink.offset
        span = (offset, None) if offset else None
        async with self._transport.file(self._url, span=span, validator=self._validator if offset else "") as answer:
            match answer:
                case AbsentAnswer():
                    return _unfetched(self._file, f"the upstream answered {answer.status}")
                case Failed():
                    if offset and not answer.again:  # perhaps 416, since what is there is longer than the file
                        await self._sink.restart()
                        return Failed(reason=answer.reason, again=True)
                    return answer
                case Transfer():
                    return await self._receive(answer, offset)

    async def _receive(self, answer: Transfer, offset: int) -> Failed | UnfetchedFile | None:
        size = self._file.size
        if size is not None and answer.size is not None and answer.size != size:
            return _unfetched(self._file, f"the upstream's file has {answer.size} bytes instead of {size}")
        if answer.start != offset:
            if answer.start:
                return _unfetched(self._file, "the upstream answered with another part than was asked for")
            await self._sink.restart()
        self._validator = answer.validator
        total = size if size is not None else answer.size
        async for piece in answer.chunks():
            if isinstance(piece, Failed):
                return None if self._sink.offset == total else piece
            if self._sink.offset + len(piece) > self._limit:
                return _unfetched(self._file, f"the upstream sends more than {self._limit} bytes")
            await self._sink.write(piece)
            self._progress.bytes_came(len(piece))
            failpoint("sync.file_piece")
        if total is not None and self._sink.offset < total:
            return Failed(reason="its answer was cut off", again=True)
        return None


def _unfetched(file: File, reason: str, *, trouble: bool = False) -> UnfetchedFile:
    return UnfetchedFile(filename=file.filename, reason=reason, is_trouble=trouble)
