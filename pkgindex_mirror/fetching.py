"""Fetching one file from an upstream: request, stage, digests, keep, commit, each behind its failpoint.

A transfer that breaks is taken up where it broke (Range, If-Range). An upstream that answers with the whole again is read past
what is there already, if its validator is the same or a digest will tell; otherwise the fetch fails. Nothing is kept
whose size or digests are not those of the page.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from pkgindex_core.digests import HEX_LENGTHS
from pkgindex_core.errors import BadUpstream, Missing, PkgIndexError, Unavailable
from pkgindex_core.failpoints import failpoint
from pkgindex_core.models import File
from pkgindex_core.protocols import Blob, BlobStore, Stage
from pkgindex_mirror import urls
from pkgindex_mirror.cold_files import ArrivingFile
from pkgindex_mirror.settings import MirrorSettings
from pkgindex_mirror.sites import Site
from pkgindex_mirror.upstream import UpstreamClient
from pkgindex_mirror.upstream_answers import Failed, Gone, Transfer

_UNKNOWN_SIZE = 3600.0
_RESUMES_LIMIT = 50

_log = logging.getLogger(__name__)


class Fetch:
    """One file on its way from one upstream into the blob store and to the readers of `arriving`."""

    def __init__(
        self,
        client: UpstreamClient,
        blob_store: BlobStore,
        settings: MirrorSettings,
        *,
        site: Site,
        file: File,
        arriving: ArrivingFile,
        stored: Callable[[], Awaitable[Blob | None]],
        commit: Callable[[Blob], Awaitable[None]],
    ) -> None:
        self._client = client
        self._blob_store = blob_store
        self._settings = settings
        self._site = site
        self._file = file
        self._arriving = arriving
        self._stored = stored
        self._commit = commit
        self._digests = {name: value for name, value in file.digests.items() if name in HEX_LENGTHS}
        self._size = file.size
        self._offset = 0
        self._validator = ""
        self._answered = False
        """The transfer has begun: readers may have an answer, which a failure would break off."""
        self.wrong = ""
        """What was wrong with the upstream's bytes; empty when nothing was, or when none came."""

    async def run(self) -> None:
        """Fetch to the end. Whatever happens is told to the readers; nothing is raised but cancellation."""
        try:
            # An earlier fetch may have stored the file after our caller had looked.
            blob = await self._stored()
            if blob is None:
                async with self._client.file_slot(), self._blob_store.stage(*self._digests) as stage:
                    blob = await self._into(stage)
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

    async def _into(self, stage: Stage) -> Blob:
        failpoint("fetch.requested")
        try:
            async with asyncio.timeout(self._patience(self._size or 0)) as limit:
                await self._receive(stage, limit)
        except TimeoutError as error:
            raise self._broken(f"the transfer is slower than {self._settings.slowest_file} bytes a second") from error
        failpoint("fetch.body_complete")
        await self._check(stage)
        failpoint("fetch.digest_checked")
        self._arriving.verify()
        blob = await stage.keep()
        failpoint("fetch.kept")
        try:
            await self._commit(blob)
        except PkgIndexError as error:
            # The bytes are kept and right. That their digest is not recorded costs a second fetch, no wrong answer.
            _log.warning("%s is stored, but its page could not be updated: %s", urls.shown(self._file.url), error)
        failpoint("fetch.committed")
        return blob

    async def _receive(self, stage: Stage, limit: asyncio.Timeout) -> None:
        stuck = 0
        for _ in range(_RESUMES_LIMIT):
            before = self._offset
            broke = await self._transfer(stage, limit)
            if broke is None or self._offset == self._size:
                return  # every byte is there; how the connection ended after that is of no interest
            stuck = 1 if self._offset > before else stuck + 1
            resumable = bool(self._digests or self._validator)
            if stuck >= self._settings.attempts or not (broke.again and resumable):
                raise broke.error(f"{self._file.filename} could not be fetched")
            _log.info("%s broke off at %d bytes: %s", urls.shown(self._file.url), self._offset, broke.reason)
            await self._client.pause(self._file.url, stuck)
        raise self._broken("the transfer broke off too often")

    async def _transfer(self, stage: Stage, limit: asyncio.Timeout) -> Failed | None:
        """One request; None when the body is complete, otherwise why it broke off."""
        resuming = self._offset > 0
        span = (self._offset, None) if resuming else None
        validator = self._validator if resuming else ""
        async with self._client.file(self._site, self._file.url, span=span, validator=validator) as answer:
            if isinstance(answer, Gone):
                if resuming:
                    raise self._broken("the file disappeared while it was fetched")
                # devpi's words, which its users' scripts look for.
                where = f"error {answer.status} getting {urls.shown(self._file.url)}"
                raise Missing("file", self._file.filename, message=where, hint="the upstream no longer has it")
            if isinstance(answer, Failed):
                if self._answered:
                    return answer  # one more break
                raise answer.error(f"{self._file.filename} could not be fetched")
            self._open(answer, limit, resuming=resuming)
            skip = self._offset - answer.start
            async for piece in answer.chunks():
                if isinstance(piece, Failed):
                    return piece
                data = piece[skip:] if skip else piece
                skip = max(skip - len(piece), 0)
                if data:
                    await self._take(stage, data)
        if self._size is not None and self._offset < self._size:
            return Failed(reason="its answer was cut off", again=True)
        return None

    def _open(self, answer: Transfer, limit: asyncio.Timeout, *, resuming: bool) -> None:
        if answer.start > self._offset:
            raise self._broken("the upstream answered with another part than was asked for")
        if answer.size is not None:
            if self._size is None:
                self._size = answer.size
                limit.reschedule(asyncio.get_running_loop().time() + self._patience(answer.size))
            elif answer.size != self._size:
                raise self._wrong(f"the upstream's file has {answer.size} bytes, {self._size} were expected")
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
        self._arriving.open(self._size)

    async def _take(self, stage: Stage, data: bytes) -> None:
        first = self._offset == 0
        self._offset += len(data)
        if self._offset > (self._settings.file_limit if self._size is None else self._size):
            raise self._wrong("the upstream sent more bytes than the file has")
        await stage.write(data)
        if first:
            failpoint("fetch.first_bytes")
        if self._arriving.append(data):
            await stage.flush()
            self._arriving.flushed(stage.path)

    async def _check(self, stage: Stage) -> None:
        if self._offset > 1024 * 1024:
            await stage.flush()  # what is not hashed yet is hashed in a worker
        wrong = [name for name, value in self._digests.items() if stage.hexdigest(name) != value]
        if wrong:
            _log.error(
                "%s: the upstream's bytes do not have the page's %s; nothing was kept",
                urls.shown(self._file.url),
                ", ".join(wrong),
            )
            raise self._wrong(f"the upstream's bytes do not have the {', '.join(wrong)} of its page")

    def _patience(self, size: int) -> float:
        return self._settings.file_allowance + size / self._settings.slowest_file

    def _broken(self, reason: str) -> Unavailable:
        return Unavailable(f"{self._file.filename} could not be fetched: {reason}")

    def _wrong(self, reason: str) -> BadUpstream:
        self.wrong = f"{self._file.filename} cannot be had: {reason}"
        return BadUpstream(self.wrong, hint="nothing of it was kept")
