"""The work on one project: its page, its document, the choice of its files, the files, and its new page.

    row ─► page (or what is held) ─► filters ─► missing files ─► queue ─► publish
                │                                   │
                └ stale: asked again later          └ some cannot be fetched: the page gets the others, and the row remembers the failure

A row gets the serial of a change only when all of the change is mirrored. Nothing here ends the run but a full disk.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.errors import PkgIndexError, StorageFull
from pkgindex_core.failpoints import failpoint
from pkgindex_core.models import QUARANTINED, File
from pkgindex_core.names import ProjectName
from pkgindex_core.rules.freshness import backoff
from pkgindex_mirror.documents.markup import UnreadablePage
from pkgindex_mirror.filters.filtering import Chosen
from pkgindex_mirror.syncing.file_queue import FileQueue, UnfetchedFile
from pkgindex_mirror.syncing.progress import Progress
from pkgindex_mirror.syncing.project_reading import is_document, read_project
from pkgindex_mirror.syncing.settings import RunSettings
from pkgindex_mirror.syncing.targets import SyncTarget
from pkgindex_mirror.syncing.transport import ACCEPT_DOCUMENT, Transport
from pkgindex_mirror.syncing.values import Listed, ProjectState, UpstreamProject
from pkgindex_mirror.upstreams.upstream_answers import AbsentAnswer, Document, Failed, Unchanged

_log = logging.getLogger(__name__)

_MICROSECONDS: Final = 1_000_000

Kind = Literal["published", "current", "refused", "hidden", "absent", "stale", "failed"]


class ProjectOutcome(Struct, frozen=True, kw_only=True):
    """How the work on a project ended."""

    kind: Kind
    files: int = 0
    """Files on its page, for `published`."""
    reason: str = ""
    """For `absent`, `stale` and `failed`."""
    failures: int = 0
    """Failed runs in a row."""
    next_try: Timestamp | None = None
    is_down: bool = False
    """Whether the upstream could not be asked at all."""
    remarks: tuple[str, ...] = ()
    """As `UpstreamProject.remarks`."""


class Addresses(Struct, frozen=True):
    """Where an upstream has the pages and documents of projects."""

    page_of: Callable[[str], str]
    document_of: Callable[[str], str]


class ProjectWork:
    """Works on any number of projects at the same time. `force`: pages are asked for and files are looked at whatever the rows say."""

    def __init__(
        self,
        *,
        target: SyncTarget,
        transport: Transport,
        addresses: Addresses,
        chosen: Chosen,
        queue: FileQueue,
        settings: RunSettings,
        clock: Clock,
        progress: Progress,
        force: bool = False,
    ) -> None:
        self._target = target
        self._transport = transport
        self._addresses = addresses
        self._chosen = chosen
        self._chosen_by = chosen.fingerprint
        self._queue = queue
        self._settings = settings
        self._clock = clock
        self._progress = progress
        self._force = force
        self._wants_document = settings.with_documents or chosen.needs_document

    async def bring(self, listed: Listed, *, attempt: int = 1) -> ProjectOutcome:
        """Bring a project up to date. `attempt`: from 1, counts how often its page is asked for in this run."""
        state = ProjectState(name=listed.name, raw=listed.raw, published=False)
        try:
            state = await self._target.state(listed.name) or state
            listed = replace(listed, raw=listed.raw or state.raw)
            project = await self._held(listed, state)
            if project is None:
                found = await self._asked(listed, state, attempt)
                if isinstance(found, ProjectOutcome):
                    return found
                project = found
            return replace(await self._publish(listed, state, project), remarks=project.remarks)
        except StorageFull:
            raise
        except PkgIndexError as error:
            return await self._failed(state, error.message)
        except OSError:
            raise
        except Exception as error:  # a filter of somebody else, or a fault of ours, holds no other project back
            _log.exception("%s could not be mirrored", listed.name)
            return await self._failed(state, f"{type(error).__name__}: see the log")

    async def _held(self, listed: Listed, state: ProjectState) -> UpstreamProject | None:
        """The project as it is held, if it did not change: other filters then choose without the network."""
        if self._force or state.error or listed.serial is None or state.serial is None or state.hidden:
            return None
        # The page that is held of a refused project is the one before the change that was refused.
        if state.serial < listed.serial or not state.published or state.refused:
            return None
        held = await self._target.held(listed.name)
        if held is None or (self._wants_document and not held.document):
            return None
        return held

    async def _asked(self, listed: Listed, state: ProjectState, attempt: int) -> UpstreamProject | ProjectOutcome:
        same = state.chosen_by == self._chosen_by and not (self._force or state.error or state.hidden)
        answer = await self._transport.page(
            self._addresses.page_of(listed.name),
            validators=state.validators if same else None,
            past_caches=attempt > 1,
        )
        match answer:
            case Failed():
                return await self._failed(state, answer.reason, is_down=answer.down or not answer.asked)
            case AbsentAnswer():
                return await self._absent(state, answer.status)
            case Unchanged():
                return await self._unchanged(listed, state, attempt)
            case Document():
                failpoint("sync.page_fetched")
                return await self._read(answer, listed, state, attempt)

    async def _read(
        self, answer: Document, listed: Listed, state: ProjectState, attempt: int
    ) -> UpstreamProject | ProjectOutcome:
        found = read_project(answer, listed, self._clock.now())
        if isinstance(found, UnreadablePage):
            return await self._failed(state, found.reason)
        project, doubt = found
        if _is_older(project.serial, listed):
            return await self._stale(listed, state, project.serial, attempt)
        if doubt and state.files:
            return await self._failed(state, doubt)
        if not self._wants_document:
            return project
        return await self._with_document(project, state)

    async def _with_document(self, project: UpstreamProject, state: ProjectState) -> UpstreamProject | ProjectOutcome:
        answer = await self._transport.page(self._addresses.document_of(project.name), accept=ACCEPT_DOCUMENT)
        match answer:
            case Document() if is_document(answer.body):
                return replace(project, document=answer.body)
            case Document():
                return await self._failed(state, "its JSON document cannot be read")
            case Failed():
                return await self._failed(state, f"its JSON document: {answer.reason}", is_down=answer.down)
            case _ if self._chosen.needs_document:
                return await self._failed(state, "the upstream has no JSON document of it, and a filter reads it")
            case _:
                return project

    async def _unchanged(self, listed: Listed, state: ProjectState, attempt: int) -> ProjectOutcome:
        serial = state.validators.get("serial", "")
        known = int(serial) if serial.isdigit() else None
        if _is_older(known, listed):
            return await self._stale(listed, state, known, attempt)
        now = replace(state, serial=_highest(listed.serial, state.serial), error="", failures=0, next_try=None)
        now = replace(now, gone_since=None, absent=False)
        if now != state:
            await self._target.put_states([now])
        return ProjectOutcome(kind="refused" if state.refused and not state.published else "current")

    async def _publish(self, listed: Listed, state: ProjectState, project: UpstreamProject) -> ProjectOutcome:
        now = replace(
            state,
            raw=project.raw,
            serial=_highest(listed.serial, project.serial),
            validators=dict(project.head.validators),
            chosen_by=self._chosen_by,
            error="",
            failures=0,
            next_try=None,
            absent=False,
            gone_since=None,
            refused="",
        )
        refusal = self._chosen.project(project)
        if refusal is not None:
            await self._target.put_states([replace(now, refused=f"{refusal.filter}: {refusal.reason}")])
            return ProjectOutcome(kind="refused")
        if project.head.status == QUARANTINED:
            # PEP 792: an index offers no files of it. The files stay here, since a quarantine may be lifted.
            return await self._hide(state, replace(now, hidden=True))
        files, _ = self._chosen.files(project)
        unfetched = await self._fetch(listed.name, files)
        wrong = {each.filename for each in unfetched}
        there = [file for file in files if file.filename not in wrong] if wrong else files
        now = replace(now, files=len(there), bytes=sum(file.size or 0 for file in there), published=True, hidden=False)
        if unfetched:
            reason = f"{len(unfetched)} of its files: {unfetched[0].filename}: {unfetched[0].reason}"
            now = self._resting(replace(now, serial=state.serial, validators={}), state, reason)
        await self._target.publish(project, there, now)
        failpoint("sync.project_published")
        if unfetched:
            return _told_failed(now)
        return ProjectOutcome(kind="published", files=len(there))

    async def _hide(self, state: ProjectState, now: ProjectState) -> ProjectOutcome:
        if not state.published:
            await self._target.put_states([replace(now, hidden=False)])
        elif not state.hidden:
            await self._target.hide(now)
        else:
            await self._target.put_states([now])
        return ProjectOutcome(kind="hidden")

    async def _fetch(self, name: ProjectName, files: Sequence[File]) -> Sequence[UnfetchedFile]:
        if not files or not self._settings.fetches_files(name):
            return ()
        missing = await self._target.missing(files)
        if not missing:
            return ()
        self._progress.files_wanted(len(missing), sum(file.size or 0 for file in missing))
        unfetched = await self._queue.bring(missing)
        listed = {file.filename for file in files}
        # A wheel whose metadata file is absent is mirrored without it: installers read the wheel.
        return [each for each in unfetched if each.is_trouble or each.filename in listed]

    async def _absent(self, state: ProjectState, status: int) -> ProjectOutcome:
        reason = f"the upstream lists it, and answers {status} for its page"
        now = replace(self._resting(state, state, reason), absent=True)
        await self._target.put_states([now])
        return ProjectOutcome(kind="absent", reason=reason, failures=now.failures, next_try=now.next_try)

    async def _stale(self, listed: Listed, state: ProjectState, serial: int | None, attempt: int) -> ProjectOutcome:
        reason = f"its page has serial {serial}, and the list says {listed.serial}"
        if attempt < self._settings.stale_attempts:
            return ProjectOutcome(kind="stale", reason=reason)
        return await self._failed(state, reason)

    async def _failed(self, state: ProjectState, reason: str, *, is_down: bool = False) -> ProjectOutcome:
        if is_down:  # no fault of the project: the next run asks for it
            return ProjectOutcome(kind="failed", reason=reason, failures=state.failures, is_down=True)
        now = self._resting(state, state, reason)
        await self._target.put_states([now])
        return _told_failed(now)

    def _resting(self, now: ProjectState, before: ProjectState, reason: str) -> ProjectState:
        """The row of a project that failed once more."""
        settings = self._settings
        wait = backoff(
            before.failures,
            random.random(),  # noqa: S311 - spreads retries, keeps no secret
            first=settings.first_rest,
            longest=settings.longest_rest,
        )
        moment = Timestamp(self._clock.now() + int(wait * _MICROSECONDS))
        return replace(now, error=reason, failures=before.failures + 1, next_try=moment, absent=False)


def _told_failed(state: ProjectState) -> ProjectOutcome:
    return ProjectOutcome(kind="failed", reason=state.error, failures=state.failures, next_try=state.next_try)


def _is_older(serial: int | None, listed: Listed) -> bool:
    return serial is not None and listed.serial is not None and serial < listed.serial


def _highest(one: int | None, other: int | None) -> int | None:
    return max((each for each in (one, other) if each is not None), default=None)
