"""Test results: what somebody's tests said of one file, kept beside it and gone with it.

Who may add them is the index's `acl_toxresult_upload`; they decide nothing and stand on no page. A result is kept as it came in,
after a look at whether it is JSON at all, under a name that says what was tested and when.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from datetime import UTC, datetime

import msgspec

from pkgindex_core.changes import AttachmentAbsent, ProjectAt, PutAttachment, Requirement
from pkgindex_core.clock import Clock
from pkgindex_core.errors import Denied, Missing, Refused, RequirementFailed, Unavailable
from pkgindex_core.formats.project_outlines import attachment_path
from pkgindex_core.models import Attachment, Event, File
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import BlobStore, IndexStore, Principal
from pkgindex_core.rules.permissions import Action, permits
from pkgindex_core.services.access import hosted_index

KIND = "toxresult"
FORBIDDEN = "No permission to upload tox results. You can use the devpi test --no-upload option to skip the upload."
"""devpi's words; its client looks for the first of them."""
_COMMIT_TURNS = 20


class Results:
    """Keeps test results."""

    def __init__(self, *, store: IndexStore, blobs: BlobStore, workers: Executor, clock: Clock) -> None:
        self._store = store
        self._blobs = blobs
        self._workers = workers
        self._clock = clock

    async def may_add(self, index: IndexName, *, principal: Principal, project: ProjectName | None = None) -> None:
        """Let a principal add results to an index that it may read, or refuse in the words that devpi's client knows."""
        tree = await self._store.tree()
        config = tree.indexes.get(index)
        if config is None:
            raise Missing("index", index)
        decision = permits(
            principal, Action.UPLOAD_RESULTS, index=config, project=project, some_project=project is None
        )
        if config.is_mirror or not decision.allowed:
            reason = "a mirror keeps no test results" if config.is_mirror else decision.reason
            raise Denied(FORBIDDEN, anonymous=principal.name is None, hint=reason)
        hosted_index(tree, index, principal, Action.UPLOAD_RESULTS, project=project, some_project=project is None)

    async def add(
        self, index: IndexName, project: ProjectName, tested: File, document: bytes, *, principal: Principal
    ) -> str:
        """Keep a result; return its path below the index, with its digest behind a `#`."""
        await self.may_add(index, principal=principal, project=project)
        await asyncio.get_running_loop().run_in_executor(self._workers, _check, document)
        blob = await self._blobs.put(document)
        for turn in range(_COMMIT_TURNS):
            (standing,) = await self._store.standings(project, [index])
            file = await self._store.file(index, project, tested.filename)
            if file is None or file.sha256 != tested.sha256:
                raise Missing("file", tested.filename, hint="it was deleted or overwritten meanwhile")
            known = await self._store.attachments(index, project)
            number = sum(each.about == tested.filename for each in known) + turn
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
            try:
                await self._store.apply(
                    [PutAttachment(index, project, attachment)], who=principal.label, require=guards
                )
            except RequirementFailed:
                continue
            return f"{attachment_path(attachment, tested)}#sha256={attachment.sha256}"
        raise Unavailable(f"{tested.filename} is tested faster than it can be written down", retry_after=1)


def _check(document: bytes) -> None:
    """Refuse what is no JSON, without building anything of it."""
    try:
        msgspec.json.decode(document, type=msgspec.Raw)
        document.decode()
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(f"Bad request: could not decode json: {error}") from error
    except RecursionError:
        raise Refused("Bad request: could not decode json: it is nested too deeply") from None
