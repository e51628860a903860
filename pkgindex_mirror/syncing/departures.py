"""Follows mirrored projects that leave the list of the upstream.

A list may be cut off, cached or wrong, so each such project is asked for. Only an upstream that has no page for it has removed it, and
then the policy counts. A quarantined one (PEP 792) is hidden at once, whatever the policy. And nothing is done at all if too many left at
the same time.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.failpoints import failpoint
from pkgindex_core.models import QUARANTINED
from pkgindex_mirror.documents.markup import UnreadablePage
from pkgindex_mirror.syncing.comparing import Comparison
from pkgindex_mirror.syncing.project_reading import read_project
from pkgindex_mirror.syncing.project_work import Addresses
from pkgindex_mirror.syncing.reports import FailedProject, RunReport
from pkgindex_mirror.syncing.settings import RunSettings
from pkgindex_mirror.syncing.targets import SyncTarget
from pkgindex_mirror.syncing.transport import Transport
from pkgindex_mirror.syncing.values import Listed, ProjectState
from pkgindex_mirror.upstreams.upstream_answers import AbsentAnswer, Document, Failed

_MICROSECONDS: Final = 1_000_000


def shrank(comparison: Comparison, settings: RunSettings) -> str:
    """Why nothing is removed: the list lost too much at once. Empty when it did not."""
    lost, rows = comparison.newly_vanished, comparison.rows
    if lost <= settings.shrink_count or lost * 100 <= rows * settings.shrink_percent:
        return ""
    return (
        f"the list of the upstream lacks {lost} of {rows} mirrored projects, more than {settings.shrink_percent:g} %:"
        " none of them is hidden or removed"
    )


class Departures:
    """Follows the departures of one run, and tells its report."""

    def __init__(
        self,
        *,
        target: SyncTarget,
        transport: Transport,
        addresses: Addresses,
        settings: RunSettings,
        clock: Clock,
        report: RunReport,
    ) -> None:
        self._target = target
        self._transport = transport
        self._addresses = addresses
        self._settings = settings
        self._clock = clock
        self._report = report
        self.next_due: Timestamp | None = None
        """The earliest time at which the grace of a project ends."""

    async def follow(self, listed: Listed) -> None:
        """Judge one project that left the list."""
        state = await self._target.state(listed.name)
        if state is None:
            return
        if not state.published:  # it failed or was refused, and nothing of it is here
            await self._target.remove(state.name)
            return
        if state.gone_since is None or state.hidden:
            state = await self._confirmed(state)
            if state is None:
                return
        await self._leave(state)

    async def _confirmed(self, state: ProjectState) -> ProjectState | None:
        """The row of a project that the upstream has removed; None when it has not."""
        answer = await self._transport.page(self._addresses.page_of(state.name), past_caches=True)
        match answer:
            case AbsentAnswer():
                return replace(state, gone_since=state.gone_since or self._clock.now())
            case Failed():
                self._report.fail(FailedProject(project=state.name, reason=f"it left the list: {answer.reason}"))
            case Document():
                found = read_project(answer, Listed(state.name, state.raw or state.name), self._clock.now())
                if isinstance(found, UnreadablePage):
                    self._report.fail(FailedProject(project=state.name, reason=f"it left the list: {found.reason}"))
                elif found[0].head.status == QUARANTINED:
                    await self._hide(state)
                else:
                    self._report.notes.append(f"{state.name} is not in the list, but the upstream has its page")
            case _:
                pass
        return None

    async def _leave(self, state: ProjectState) -> None:
        assert state.gone_since is not None
        policy = self._settings.removed
        grace_ends = Timestamp(state.gone_since + int(self._settings.grace * _MICROSECONDS))
        if policy != "keep" and grace_ends <= self._clock.now():
            if policy == "hide":
                await self._hide(state)
                return
            await self._target.remove(state.name)
            failpoint("sync.project_removed")
            self._report.removed.add(state.name)
            return
        if policy != "keep":
            self.next_due = min(self.next_due or grace_ends, grace_ends)
        await self._target.put_states([state])
        if not state.hidden:
            self._report.gone.add(state.name)

    async def _hide(self, state: ProjectState) -> None:
        if state.hidden:
            await self._target.put_states([state])
            return
        await self._target.hide(replace(state, hidden=True, validators={}))
        failpoint("sync.project_hidden")
        self._report.hidden.add(state.name)
