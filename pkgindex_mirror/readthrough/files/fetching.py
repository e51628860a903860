"""Fetching one file from an upstream: request, spool, digests, keep, commit, each behind its failpoint.

A transfer that breaks off is resumed (Range, If-Range). If the upstream answers with the whole file again, the bytes that arrived
already are skipped, provided that the validator is the same or the page has a digest; otherwise the fetch fails. A file is only kept
if its size and digests are those of the page.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from pkgindex_core.digests import HEX_LENGTHS, Sha256
from pkgindex_core.errors import BadUpstream, Missing, PkgIndexError, Unavailable
from pkgindex_core.failpoints import failpoint
from pkgindex_core.models import File
from pkgindex_core.protocols import Blob, BlobStore, Spool
from pkgindex_mirror import urls
from pkgindex_mirror.caching.file_cache import FileCache
from pkgindex_mirror.readthrough.files.cold_files import ArrivingFile
from pkgindex_mirror.readthrough.files.shared_fetches import Turn
from pkgindex_mirror.settings import MirrorSettings
from pkgindex_mirror.upstreams.sites import Site
from pkgindex_mirror.upstreams.upstream import UpstreamClient
from pkgindex_mirror.upstreams.upstream_answers import AbsentAnswer, Failed, Transfer

_UNKNOWN_SIZE = 3600.0
_RESUMES_LIMIT = 50

_log = logging.getLogger(__name__)


class FilePlace(Protocol):
    """The place to which the bytes of one file go, such as `caching.file_cache.ArrivingCopy`."""

    copies: BlobStore
    """The store in which the spool of the file is opened."""

    def expect(self, size: int, sha256: str) -> None: ...

    async def keep(self, spool: Spool) -> Blob: ...


class Fetch:
    """One file on its way from one upstream to where `arrival` says, and to the readers of `arriving`."""

    def __init__(
        self,
        client: UpstreamClient,
        cache: FileCache,
        settings: MirrorSettings,
        *,
        site: Site,
        file: File,
        arriving: ArrivingFile,
        arrival: Callable[[], AbstractAsyncContextManager[FilePlace]],
        turn: Callable[[ArrivingFile], AbstractAsyncContextManager[Turn | Sha256]],
        stored: Callable[[], Awaitable[Blob | None]],
        commit: Callable[[Blob], Awaitable[None]],
    ) -> None:
        self._client = client
        self._cache = cache
        self._settings = settings
        self._site = site
        self._file = file
        self._arriving = arriving
        self._arrival = arrival
        self._turn = turn
        self._ours = Turn()
        self._stored = stored
        self._commit = commit
        self._digests = {name: value for name, value in file.digests.items() if name in HEX_LENGTHS}
        self._size = file.size
        self._offset = 0
        self._validator = ""
        self._answered = False
        """The transfer has begun, so readers may have begun an answer too."""
        self.wrong = ""
        """The problem of the upstream's bytes; empty when none is known."""

    async def run(self) -> None:
        """Fetch to the end. Failures go to the readers of `arriving`; only cancellation is raised."""
        try:
            # An earlier fetch may have stored the file since the caller looked.
            blob = await self._stored()
            while blob is None:
                async with self._turn(self._arriving) as turn:
                    blob = await self._in_turn(turn)
            self._arriving.keep(blob)
        except PkgIndexError as error:
            _log.warning("%s was not fetched: %s", urls.shown(self._file.url), error)
            self._arriving.fail(error)
        except OSError as error:
            _log.warning("%s was not fetched: %s", urls.shown(self._file.url), error.strerror)
            self._arriving.fail(Unavailable("the file could not be stored"))
        except asyncio.CancelledError:
            self._arriving.fail(Unavailable("the server is stopping"))
            raise
        except Exception:
            _log.exception("fetching %s failed unexpectedly", urls.shown(self._file.url))
            self._arriving.fail(Unavailable("the file could not be fetched"))

    async def _in_turn(self, turn: Turn | Sha256) -> Blob | None:
        """Fetch the file, unless another process has fetched it while this one waited for its turn. None if that is removed already."""
        if not isinstance(turn, Turn):
            blob = await self._cache.stat(turn)
            if blob is not None:
                await self._committed(blob)
            elif self._arriving.is_open:  # its readers may have bytes, and another fetch could bring others
                raise self._broken("another process stored it, and it is gone already")
            return blob
        blob = await self._stored()
        if blob is None:
            async with (
                self._client.hosts.file_slot(self._file.url),
                self._arrival() as copy,
                copy.copies.spool(*self._digests) as spool,
            ):
                self._ours = turn
                blob = await self._into(spool, copy)
                # Before `copy` ends: from then on a file is removed to make room, unless it is marked as being read.
                self._arriving.keep(blob)
        turn.stored(blob.sha256)
        return blob

    async def _into(self, spool: Spool, copy: FilePlace) -> Blob:
        failpoint("fetch.requested")
        try:
            async with asyncio.timeout(self._patience(self._size or 0)) as limit:
                await self._receive(spool, copy, limit)
        except TimeoutError as error:
            raise self._broken(f"the transfer is slower than {self._settings.slowest_file} bytes a second") from error
        failpoint("fetch.body_complete")
        await self._check(spool)
        failpoint("fetch.digest_checked")
        self._arriving.verify()
        blob = await copy.keep(spool)
        failpoint("fetch.kept")
        await self._committed(blob)
        failpoint("fetch.committed")
        return blob

    async def _committed(self, blob: Blob) -> None:
        try:
            await self._commit(blob)
        except PkgIndexError as error:
            # The file is kept, and its bytes are right. Without its digest on the page, the next request fetches it again.
            _log.warning("%s is stored, but its page could not be updated: %s", urls.shown(self._file.url), error)

    async def _receive(self, spool: Spool, copy: FilePlace, limit: asyncio.Timeout) -> None:
        stuck = 0
        for _ in range(_RESUMES_LIMIT):
            before = self._offset
            broke = await self._transfer(spool, copy, limit)
            if broke is None or self._offset == self._size:
                return  # complete, whatever ended the connection
            stuck = 1 if self._offset > before else stuck + 1
            resumable = bool(self._digests or self._validator)
            if stuck >= self._settings.attempts or not (broke.again and resumable):
                raise broke.error(f"{self._file.filename} could not be fetched")
            _log.info("%s broke off at %d bytes: %s", urls.shown(self._file.url), self._offset, broke.reason)
            await self._client.hosts.pause(self._file.url, stuck)
        raise self._broken("the transfer broke off too often")

    async def _transfer(self, spool: Spool, copy: FilePlace, limit: asyncio.Timeout) -> Failed | None:
        """Make one request. None when the body is complete, otherwise why it broke off."""
        resuming = self._offset > 0
        span = (self._offset, None) if resuming else None
        validator = self._validator if resuming else ""
        async with self._client.file(self._site, self._file.url, span=span, validator=validator) as answer:
            if isinstance(answer, AbsentAnswer):
                if resuming:
                    raise self._broken("the file disappeared while it was fetched")
                # devpi's message: scripts search for it.
                where = f"error {answer.status} getting {urls.shown(self._file.url)}"
                raise Missing("file", self._file.filename, message=where, hint="the upstream no longer has it")
            if isinstance(answer, Failed):
                if self._answered:
                    return answer
                raise answer.error(f"{self._file.filename} could not be fetched")
            self._open(answer, limit, resuming=resuming)
            if self._size is not None:
                copy.expect(self._size, self._digests.get("sha256", ""))
            skip = self._offset - answer.start
            async for piece in answer.chunks():
                if isinstance(piece, Failed):
                    return piece
                data = piece[skip:] if skip else piece
                skip = max(skip - len(piece), 0)
                if data:
                    await self._take(spool, data)
        if self._size is not None and self._offset < self._size:
            return Failed(reason="its answer was cut off", again=True)
        return None

    def _open(self, answer: Transfer, limit: asyncio.Timeout, *, resuming: bool) -> None:
        if answer.start > self._offset:
            raise self._broken("the upstream answered with another range than the requested one")
        if answer.size is not None:
            if self._size is None:
                self._size = answer.size
                limit.reschedule(asyncio.get_running_loop().time() + self._patience(answer.size))
            elif answer.size != self._size:
                raise self._wrong(f"the upstream's file has {answer.size} bytes instead of {self._size}")
        elif self._size is None and not resuming:
            limit.reschedule(asyncio.get_running_loop().time() + _UNKNOWN_SIZE)
        if (self._size or 0) > self._settings.file_limit:
            raise self._wrong(f"the file is larger than {self._settings.file_limit} bytes")
        if resuming:
            same = bool(self._validator) and answer.validator == self._validator
            if not (same or self._digests):
                raise self._broken("the file changed while it was fetched")
            return
        failpoint("fetch.headers")
        self._validator = answer.validator
        self._answered = True
        self._arriving.open(self._size, self._validator)

    async def _take(self, spool: Spool, data: bytes) -> None:
        first = self._offset == 0
        self._offset += len(data)
        if self._offset > (self._settings.file_limit if self._size is None else self._size):
            raise self._wrong("the upstream sent more bytes than the file has")
        await spool.write(data)
        if first:
            failpoint("fetch.first_bytes")
        if self._arriving.append(data):
            await spool.flush()
            self._arriving.flushed(spool.path)
            self._ours.tell(spool.path, self._size)

    async def _check(self, spool: Spool) -> None:
        if self._offset > 1024 * 1024:
            await spool.flush()  # hashes the remaining bytes in a worker
        wrong = [name for name, value in self._digests.items() if spool.hexdigest(name) != value]
        if wrong:
            _log.error(
                "%s: the bytes of the upstream do not match the %s of its page; the file is not kept",
                urls.shown(self._file.url),
                ", ".join(wrong),
            )
            raise self._wrong(f"the bytes of the upstream do not match the {', '.join(wrong)} of its page")

    def _patience(self, size: int) -> float:
        return self._settings.file_allowance + size / self._settings.slowest_file

    def _broken(self, reason: str) -> Unavailable:
        return Unavailable(f"{self._file.filename} could not be fetched: {reason}")

    def _wrong(self, reason: str) -> BadUpstream:
        self.wrong = f"{self._file.filename} cannot be fetched: {reason}"
        return BadUpstream(self.wrong, hint="the file was not kept; report it to the operator of the upstream")
