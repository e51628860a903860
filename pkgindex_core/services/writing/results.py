"""Takes test results. A result belongs to one file, and is removed with it.

`acl_toxresult_upload` of the index names the principals that may add results. Results decide nothing and are on no page. A result
is kept unchanged after a check that it is JSON, under a name with the tested file and the time. With devpi's defaults anonymous
clients may add results, so a result is never held in memory: it is spooled, and checked in its file.
"""

from __future__ import annotations

import asyncio
import codecs
import mmap
from collections.abc import AsyncIterable
from concurrent.futures import Executor
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

import msgspec

from pkgindex_core.changes import AttachmentAbsent, ProjectAt, PutAttachment, Requirement
from pkgindex_core.clock import Clock
from pkgindex_core.errors import Denied, Missing, Refused, TooLarge
from pkgindex_core.formats.project_outlines import attachment_path
from pkgindex_core.models import Attachment, Event, File
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Blob, BlobStore, IndexWriter, Principal, Projects, ReleaseRecords, Trees
from pkgindex_core.rules.access import hosted_index
from pkgindex_core.rules.permissions import Action, permits
from pkgindex_core.tools.committing import until_committed
from pkgindex_core.tools.workers import in_worker

KIND = "toxresult"
FORBIDDEN = "No permission to upload tox results. You can use the devpi test --no-upload option to skip the upload."
"""devpi's message; its client looks for the first words."""
RESULT_LIMIT: Final = 16 * 1024 * 1024
"""The most bytes of one test result, which has the output of every command of tox."""
_LOOKS: Final = 2
"""The number of results that are checked at once."""
_PART: Final = 256 * 1024


class _Store(Trees, Projects, ReleaseRecords, IndexWriter, Protocol): ...


class Results:
    """Keeps test results."""

    def __init__(self, *, store: _Store, blobs: BlobStore, workers: Executor, clock: Clock) -> None:
        self._store = store
        self._blobs = blobs
        self._workers = workers
        self._clock = clock
        self._looks = asyncio.Semaphore(_LOOKS)

    async def may_add(self, index: IndexName, *, principal: Principal, project: ProjectName | None = None) -> None:
        """Raise unless the principal may add results. Refusals have the message that devpi's client knows."""
        tree = await self._store.tree()
        config = tree.indexes.get(index)
        if config is None:
            raise Missing("index", index)
        decision = permits(
            principal, Action.UPLOAD_RESULTS, index=config, project=project, some_project=project is None
        )
        if config.mirrored or not decision.allowed:
            reason = "a mirror keeps no test results" if config.mirrored else decision.reason
            raise Denied(FORBIDDEN, anonymous=principal.name is None, hint=reason)
        hosted_index(tree, index, principal, Action.UPLOAD_RESULTS, project=project, some_project=project is None)

    async def add(
        self,
        index: IndexName,
        project: ProjectName,
        tested: File,
        document: AsyncIterable[bytes],
        *,
        principal: Principal,
    ) -> str:
        """Keep a result, which comes in pieces; return its path below the index, with its digest after a `#`."""
        await self.may_add(index, principal=principal, project=project)
        blob = await self._kept(document)

        async def attempt(turn: int) -> str:
            (standing,) = await self._store.standings(project, [index])
            file = await self._store.file(index, project, tested.filename)
            if file is None or file.sha256 != tested.sha256:
                raise Missing("file", tested.filename, hint="it was deleted or overwritten meanwhile")
            known = await self._store.attachments(index, project)
            number = sum((each.kind, each.about) == (KIND, tested.filename) for each in known) + turn
            now = self._clock.now()
            moment = datetime.fromtimestamp(now // 1_000_000, UTC)
            attachment = Attachment(
                kind=KIND,
                filename=f"{tested.filename}.toxresult-{moment:%Y%m%d%H%M%S}-{number}",
                version=tested.version,
                about=tested.filename,
                sha256=blob.sha256,
                size=blob.size,
                added=now,
                history=(Event(what="upload", at=now, who=principal.name or "", target=index),),
            )
            guards: list[Requirement] = [
                ProjectAt(index, project, standing.stamp),
                AttachmentAbsent(index, project, attachment.filename),
            ]
            await self._store.apply([PutAttachment(index, project, attachment)], who=principal.label, require=guards)
            return f"{attachment_path(attachment, tested)}#sha256={attachment.sha256}"

        return await until_committed(
            attempt, f"the test results of {tested.filename} change faster than they can be written"
        )

    async def _kept(self, document: AsyncIterable[bytes]) -> Blob:
        async with self._blobs.spool() as spool:
            async for data in document:
                if spool.size + len(data) > RESULT_LIMIT:
                    raise TooLarge("the document", RESULT_LIMIT)
                await spool.write(data)
            await spool.flush()
            async with self._looks:
                await in_worker(self._workers, _check, spool.path)
            return await spool.keep()


def _check(path: Path) -> None:
    """Refuse invalid JSON, without decoding it into objects."""
    with path.open("rb") as file:
        if not file.seek(0, 2):
            raise Refused("Bad request: could not decode json: there is nothing")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as document:
            _check_mapped(document)


def _check_mapped(document: mmap.mmap) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        msgspec.json.decode(document, type=msgspec.Raw)
        for start in range(0, len(document), _PART):
            decoder.decode(document[start : start + _PART])
        decoder.decode(b"", final=True)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(f"Bad request: could not decode json: {error}") from error
    except RecursionError:
        raise Refused("Bad request: could not decode json: it is nested too deeply") from None
