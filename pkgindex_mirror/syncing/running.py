"""One run of a mirror: the list, what it has to do, the projects, those that left, and the facts of the mirror at its end.

    facts ─► list ─ 304 and nothing due ─► end
               └─► compared with the rows ─► projects ─► departures ─► finish

The validators of the list are stored only when all of it was done: after a run that was killed, the list is read again, and the rows
tell what is left.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Iterator, Mapping
from typing import Final

from msgspec import Struct

from pkgindex_core.clock import Clock, Timestamp, to_rfc3339
from pkgindex_core.errors import PkgIndexError, StorageFull
from pkgindex_core.failpoints import failpoint
from pkgindex_core.storage_failures import storage_failure
from pkgindex_mirror.filters.filtering import Chosen
from pkgindex_mirror.syncing.comparing import Comparing, Comparison
from pkgindex_mirror.syncing.crew import Crew, StoppedError, UpstreamDownError
from pkgindex_mirror.syncing.departures import Departures, shrank
from pkgindex_mirror.syncing.file_queue import FileQueue
from pkgindex_mirror.syncing.listing import NoList, ReadList, read_list
from pkgindex_mirror.syncing.progress import Progress
from pkgindex_mirror.syncing.project_work import Addresses, ProjectOutcome, ProjectWork
from pkgindex_mirror.syncing.reports import FailedProject, RunReport
from pkgindex_mirror.syncing.settings import RunSettings
from pkgindex_mirror.syncing.targets import FORGOTTEN_LIST, SyncTarget
from pkgindex_mirror.syncing.transport import Transport
from pkgindex_mirror.syncing.values import Listed, ProjectState
from pkgindex_mirror.upstreams.upstream_answers import Unchanged

SERIAL: Final = "serial"
LIST_URL: Final = "list-url"
LIST_ETAG: Final = "list-etag"
LIST_MODIFIED: Final = "list-last-modified"
CHOSEN_BY: Final = "chosen-by"
REMOVED: Final = "removed"
"""The policy for projects that the upstream does not have any more, and its grace in seconds."""
NEXT_DUE: Final = "next-due"
"""The time at which the first project that rests is due."""
RESTING: Final = "resting"
"""The number of projects that failed and rest, as it was after the last run."""
UNFINISHED: Final = "unfinished"
"""Set while a run changes the mirror: what describes the mirror as a whole has to be written."""
SYNCED: Final = "synced"
_SHOWN: Final = 20
"""Names in a message."""


class UpstreamPlaces(Struct, frozen=True, kw_only=True):
    """The URLs of an upstream."""

    list_url: str
    addresses: Addresses


class MirrorRun:
    """One run. The caller holds the turn of the target."""

    def __init__(
        self,
        *,
        target: SyncTarget,
        transport: Transport,
        places: UpstreamPlaces,
        chosen: Chosen,
        queue: FileQueue,
        settings: RunSettings,
        clock: Clock,
        progress: Progress,
        report: RunReport,
    ) -> None:
        self._target = target
        self._transport = transport
        self._places = places
        self._chosen = chosen
        self._queue = queue
        self._settings = settings
        self._clock = clock
        self._progress = progress
        self.report = report
        self._policy = f"{settings.removed} {settings.grace:g}"
        self._failed_serial: int | None = None
        self._next_due: Timestamp | None = None
        self._validators: Mapping[str, str] = {}
        self._is_whole = True
        """Whether the next run may ask for news of this list only."""

    async def mirror(self, *, force: bool = False) -> RunReport:
        """Bring the whole mirror up to date. `force`: look at every project, whatever is known of it."""
        await self._guarded(self._mirror(force=force))
        return self.report

    async def sync(self, projects: Iterable[Listed], *, with_list: bool = True) -> RunReport:
        """Bring some projects up to date, whatever is known of them. `with_list`: write the list of the mirror's projects too."""
        await self._guarded(self._sync([*projects], with_list=with_list))
        return self.report

    async def _guarded(self, work: Awaitable[None]) -> None:
        began = self._clock.monotonic()
        report = self.report
        report.began = to_rfc3339(self._clock.now())
        try:
            try:
                await work
            except OSError as error:
                raise storage_failure(error, "while the mirror was brought up to date", place="the mirror") from error
        except StorageFull as error:
            report.ending, report.message = "storage-full", error.message
        except UpstreamDownError as error:
            report.ending, report.message = "partial", f"the upstream stopped answering: {error}"
        except StoppedError as error:
            report.ending, report.message = "stopped", f"stop-on-error: {error}"
        except BaseException as error:
            report.ending = "stopped"
            report.message = error.message if isinstance(error, PkgIndexError) else "it was stopped"
            raise
        finally:
            self._progress.phase = "ended"
            report.files_fetched = self._progress.files_done
            report.files_failed = self._progress.files_failed
            report.bytes_fetched = self._progress.bytes_done
            report.seconds = round(self._clock.monotonic() - began, 3)
            report.ended = to_rfc3339(self._clock.now())
        if report.ending == "clean" and (report.failed or report.resting or report.message):
            report.ending = "partial"

    async def _mirror(self, *, force: bool) -> None:
        report = self.report
        facts = await self._target.facts()
        self._progress.phase = "listing"
        found = await read_list(self._transport, self._places.list_url, None if force else self._known_list(facts))
        if isinstance(found, NoList):
            report.ending, report.message = "upstream-down", found.reason
            return
        if isinstance(found, Unchanged):
            report.list_unchanged = True
            report.serial = _number(facts.get(SERIAL))
            if _number(facts.get(RESTING)):
                await self._tell_resting()
            await self._target.put_facts({SYNCED: str(self._clock.now())})
            return
        failpoint("sync.list_read")
        await self._bring_up_to_date(found, force=force)

    async def _tell_resting(self) -> None:
        """Tell of the projects that are left alone, without the list."""
        for state in await self._target.failing():
            is_wanted = self._chosen.name(Listed(state.name, state.raw)) is None
            if is_wanted and not state.absent and state.gone_since is None and state.rests(self._clock.now()):
                self.report.rest(_resting(state))

    async def _bring_up_to_date(self, found: ReadList, *, force: bool) -> None:
        report, listing = self.report, found.projects
        report.listed, report.has_serials = listing.pile.count, listing.has_serials
        report.notes.extend(listing.notes)
        self._progress.phase = "comparing"
        comparison = await self._compared(found, force=force)
        if not listing.pile.count and comparison.rows:
            report.ending = "upstream-down"
            report.message = f"its list of projects is empty, and {comparison.rows} projects are mirrored"
            return
        del found
        serial = listing.serial
        listing.pile.clear()
        if comparison.work.count or comparison.vanished.count:
            await self._target.put_facts({UNFINISHED: "1", **FORGOTTEN_LIST})
        await self._work(comparison, force=force)
        await self._follow(comparison)
        await self._finish(self._facts(serial, comparison, has_serials=report.has_serials))

    async def _compared(self, found: ReadList, *, force: bool) -> Comparison:
        comparing = Comparing(
            permits=lambda listed: self._chosen.name(listed) is None,
            chosen_by=self._chosen.fingerprint,
            now=self._clock.now(),
            everything=force,
        )
        comparison = await comparing.run(found.projects.pile.entries(), self._target.states())
        report = self.report
        report.chosen, report.new = comparison.chosen, comparison.new
        report.changed, report.due_again = comparison.changed, comparison.due_again
        report.resting, report.resting_projects = comparison.resting, [*map(_resting, comparison.rests)]
        report.unchosen.count, report.unchosen.names = comparing.unchosen, comparison.unchosen
        self._validators = found.validators
        self._next_due = comparison.next_due
        self._failed_serial = comparison.least_serial
        return comparison

    async def _work(self, comparison: Comparison, *, force: bool) -> None:
        self._progress.phase = "projects"
        self._progress.projects = comparison.work.count
        await self._crew(iter(comparison.work), force=force)

    async def _crew(self, projects: Iterator[Listed], *, force: bool) -> None:
        work = ProjectWork(
            target=self._target,
            transport=self._transport,
            addresses=self._places.addresses,
            chosen=self._chosen,
            queue=self._queue,
            settings=self._settings,
            clock=self._clock,
            progress=self._progress,
            force=force,
        )
        try:
            await Crew(work, self._settings, self._clock, self._ended).run(projects)
        except (UpstreamDownError, StoppedError, StorageFull):
            self._is_whole = False
            raise
        finally:
            await self._queue.close()

    def _ended(self, listed: Listed, outcome: ProjectOutcome) -> None:
        report = self.report
        match outcome.kind:
            case "published":
                report.published += 1
                policy = self._settings.policies.of(listed.name)
                report.on_demand += outcome.files if policy == "on-demand" else 0
                report.streamed += outcome.files if policy == "streamed" else 0
            case "current":
                report.current += 1
            case "refused":
                report.refused += 1
            case "hidden":
                report.hidden.add(listed.name)
            case "absent":
                report.absent.add(listed.name)
            case _:
                report.fail(_failure(listed, outcome))
        if outcome.kind in {"failed", "absent"}:
            self._is_whole = self._is_whole and outcome.next_try is not None
            if outcome.next_try is not None:
                self._next_due = min(self._next_due or outcome.next_try, outcome.next_try)
            if listed.serial is not None:
                self._failed_serial = min(listed.serial, self._failed_serial or listed.serial)
        report.remarks.add(listed.name, outcome.remarks)
        self._progress.project_ended(failed=outcome.kind == "failed", remarked=bool(outcome.remarks))

    async def _follow(self, comparison: Comparison) -> None:
        """Follow the departures."""
        self._progress.phase = "departures"
        report = self.report
        problem = shrank(comparison, self._settings)
        if problem:
            report.message = problem
            self._is_whole = False
            return
        departures = Departures(
            target=self._target,
            transport=self._transport,
            addresses=self._places.addresses,
            settings=self._settings,
            clock=self._clock,
            report=report,
        )
        failed = report.failed
        for listed in comparison.vanished:
            await departures.follow(listed)
        self._is_whole = self._is_whole and report.failed == failed
        if departures.next_due is not None:
            self._next_due = min(self._next_due or departures.next_due, departures.next_due)

    def _facts(self, serial: int | None, comparison: Comparison, *, has_serials: bool) -> dict[str, str]:
        report = self.report
        facts = {
            CHOSEN_BY: self._chosen.fingerprint,
            REMOVED: self._policy,
            NEXT_DUE: "" if self._next_due is None else str(self._next_due),
            RESTING: str(report.resting + report.failed),
            SYNCED: str(self._clock.now()),
            UNFINISHED: "",
        }
        if self._is_whole and has_serials:
            facts[LIST_URL] = self._validators.get("url", "")
            facts[LIST_ETAG] = self._validators.get("etag", "")
            facts[LIST_MODIFIED] = self._validators.get("last-modified", "")
        if self._is_whole and serial is not None and comparison.chosen:
            # bandersnatch, if it goes on with this mirror, asks for all that has a higher serial.
            report.serial = serial if self._failed_serial is None else min(serial, self._failed_serial - 1)
            facts[SERIAL] = str(report.serial)
        return facts

    async def _finish(self, facts: Mapping[str, str]) -> None:
        self._progress.phase = "finishing"
        failpoint("sync.projects_done")
        await self._target.finish(facts)
        failpoint("sync.finished")
        await self._target.settle()

    async def _sync(self, projects: list[Listed], *, with_list: bool) -> None:
        self.report.chosen = len(projects)
        self._progress.phase = "projects"
        self._progress.projects = len(projects)
        await self._target.put_facts({UNFINISHED: "1"})
        await self._crew(iter(projects), force=True)
        if self.report.absent.count:
            self.report.message = f"the upstream has no page of {', '.join(self.report.absent.names[:_SHOWN])}"
        await self._remember_due()
        self._progress.phase = "finishing"
        if with_list:
            await self._target.finish({UNFINISHED: ""})
        await self._target.settle()

    async def _remember_due(self) -> None:
        """Have the next run look at what failed now, also if the list is the same then."""
        known = await self._target.facts()
        before = _number(known.get(NEXT_DUE))
        if self._next_due is not None and (before is None or self._next_due < before):
            await self._target.put_facts({NEXT_DUE: str(self._next_due)})
        if self.report.failed:
            await self._target.put_facts({RESTING: str((_number(known.get(RESTING)) or 0) + self.report.failed)})

    def _known_list(self, facts: Mapping[str, str]) -> Mapping[str, str] | None:
        """The validators of the list, if news of it are all that this run needs."""
        due = _number(facts.get(NEXT_DUE))
        if facts.get(UNFINISHED) or facts.get(CHOSEN_BY) != self._chosen.fingerprint:
            return None
        if facts.get(REMOVED) != self._policy:
            return None
        if due is not None and due <= self._clock.now():
            return None
        return {
            "url": facts.get(LIST_URL, ""),
            "etag": facts.get(LIST_ETAG, ""),
            "last-modified": facts.get(LIST_MODIFIED, ""),
        }


def _failure(listed: Listed, outcome: ProjectOutcome) -> FailedProject:
    return FailedProject(
        project=listed.name,
        reason=outcome.reason,
        failures=outcome.failures,
        next_try="" if outcome.next_try is None else to_rfc3339(outcome.next_try),
    )


def _resting(state: ProjectState) -> FailedProject:
    return FailedProject(
        project=state.name,
        reason=state.error,
        failures=state.failures,
        next_try="" if state.next_try is None else to_rfc3339(state.next_try),
    )


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() else None
