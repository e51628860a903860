"""Group commit, and what is done when another server committed first or an answer was lost.

    apply ─┐                 one statement reads the facts of all      one call of commit_batch writes all, if the head is still
    apply ─┼─► a group ─►    lists of the group, then each is    ─►    the one that was read, and commits
    apply ─┘                 planned

Two round trips, and nothing is locked between them. The lists of a group name different rows, so no plan depends on another one of the group; each has
its own serial. If another server has committed meanwhile, nothing is written, and the group is planned again with the head locked
(three round trips), and so are the groups of the next second: a server that is slower than the others gets its turn.

If an answer is lost, the commit was made or was not, or will be in a moment. The group is sent again with the same random token. It can only
be written in the place of the lost one: if that place is taken, the token of the commit there says by whom.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeAlias

from pkgindex_core.changes import Change, Commit, Requirement
from pkgindex_core.clock import Timestamp
from pkgindex_core.engines.postgresql import sending
from pkgindex_core.engines.postgresql.facts import Sought, load
from pkgindex_core.engines.postgresql.failures import closed
from pkgindex_core.engines.postgresql.grouping import Footprint, footprint
from pkgindex_core.engines.postgresql.planned import Outcome, Submission, guards, plan_one, planned, request
from pkgindex_core.engines.postgresql.sessions import Sessions
from pkgindex_core.errors import PkgIndexError, Unavailable, afresh
from pkgindex_core.models import Serial
from pkgindex_core.rules import change_rules

GROUP_LIMIT: Final = 64
"""Most lists of changes in one group."""
LOCKS_SECONDS: Final = 1.0
"""Seconds for which the head is locked after another server has committed in between."""
PATIENCE: Final = 3
"""A write is tried again for so many times the patience of a read: an upload that fails has to be sent again."""

_Sent: TypeAlias = dict[Serial, Sequence[Outcome]]


class Committer:
    """Takes lists of changes from any number of tasks. Used from one event loop."""

    def __init__(
        self,
        sessions: Sessions,
        given_time: Callable[[], Timestamp | None],
        *,
        made: Callable[[Sequence[Commit]], None],
    ) -> None:
        """`made` is called with what was committed, before its callers go on."""
        self._sessions = sessions
        self._given_time = given_time
        self._made = made
        self._waiting: deque[Submission] = deque()
        self._task: asyncio.Task[None] | None = None
        self._is_closing = False
        self._locks_until = 0.0
        self._one_at_a_time = asyncio.Lock()

    async def submit(self, changes: Sequence[Change], who: str, require: Iterable[Requirement]) -> Commit:
        """Commit a list, and wait for the answer. A cancelled caller leaves the queue if its turn has not come."""
        if self._is_closing:
            raise closed()
        one = request(changes, who, require)
        self._waiting.append(one)
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return await one.future

    async def replay(self, commits: Sequence[Commit]) -> None:
        """Make commits that another store made, all or none."""
        if self._is_closing:
            raise closed()
        requests = [request(commit.changes, commit.who, ()) for commit in commits]
        await asyncio.shield(asyncio.ensure_future(self._replay(commits, requests)))

    async def close(self) -> None:
        """Refuse further lists, and wait until the waiting ones are answered."""
        self._is_closing = True
        if self._task is not None:
            await asyncio.wait([self._task])
        async with self._one_at_a_time:
            pass

    async def _run(self) -> None:
        await asyncio.sleep(0)  # callers that are ready come along
        try:
            while group := self._next_group():
                await self._answer(group)
        finally:
            self._task = None

    def _next_group(self) -> list[Submission]:
        """The first lists that wait, as far as they can be planned without each other."""
        group: list[Submission] = []
        taken: set[Footprint] = set()
        while self._waiting and len(group) < GROUP_LIMIT:
            one = self._waiting[0]
            if one.future.cancelled():
                self._waiting.popleft()
                continue
            named = footprint(one.changes, one.require)
            if group and (named is None or not taken.isdisjoint(named)):
                break
            group.append(self._waiting.popleft())
            if named is None:
                break
            taken |= named
        return group

    async def _answer(self, group: Sequence[Submission]) -> None:
        try:
            async with self._one_at_a_time:
                outcomes = await self._commit(group)
        except PkgIndexError as error:
            outcomes = [afresh(error) for _ in group]
        except Exception as error:  # a defect, which every caller gets
            outcomes = [error] * len(group)
        for one, outcome in zip(group, outcomes, strict=True):
            if one.future.done():  # cancelled
                continue
            if isinstance(outcome, Commit):
                one.future.set_result(outcome)
            else:
                one.future.set_exception(outcome)

    async def _commit(self, group: Sequence[Submission]) -> Sequence[Outcome]:
        """Commit the lists of a group that fit, and return what each caller gets."""
        sent: _Sent = {}
        try:
            return await self._tried(group, uuid.uuid4().hex, sent)
        except Unavailable as error:
            if not sent:
                raise
            raise _in_doubt(error) from error

    async def _tried(self, group: Sequence[Submission], token: str, sent: _Sent) -> Sequence[Outcome]:
        """Commit a group, again until its fate is known. `sent`: the outcomes of each attempt that was sent, by its first serial."""
        sought = Sought.of((one.keys for one in group), (change for one in group for change in one.changes))
        attempts = self._sessions.attempts(PATIENCE)
        while True:
            async with attempts, self._sessions.session() as session:
                if sent and (first := await sending.landed(session, token, sent)) is not None:
                    self._tell(sent[first])
                    return sent[first]
                is_locked = asyncio.get_running_loop().time() < self._locks_until
                if is_locked:
                    await session.run(sending.LOCKED)
                loaded = await load(session, sought, self._given_time())
                batches, outcomes = planned(group, loaded, token)
                commits = [each for each in outcomes if isinstance(each, Commit)]
                if commits:
                    sent[Serial(loaded.serial + 1)] = outcomes
                told = guards(group, outcomes, loaded.now)
                if is_locked:
                    await sending.write_and_commit(session, loaded.serial, commits, batches, told)
                elif commits and not await sending.write(session, loaded.serial, commits, batches, told):
                    self._locks_until = asyncio.get_running_loop().time() + LOCKS_SECONDS
                    continue
                self._tell(outcomes)
                return outcomes

    async def _replay(self, commits: Sequence[Commit], requests: Sequence[Submission]) -> None:
        token, sent = uuid.uuid4().hex, _Sent()
        attempts = self._sessions.attempts(PATIENCE)
        async with self._one_at_a_time:
            while True:
                async with attempts, self._sessions.session() as session:
                    if not sent or await sending.landed(session, token, sent) is None:
                        await session.run(sending.LOCKED)
                        for commit, one in zip(commits, requests, strict=True):
                            loaded = await load(session, Sought.of([one.keys], one.changes), commit.at)
                            change_rules.successor(loaded.serial, loaded.at, commit)
                            batch = plan_one(commit, one, loaded, token)
                            await sending.write(session, loaded.serial, [commit], [batch])
                        sent[commits[0].serial] = commits
                        await session.run("COMMIT")
                    self._tell(commits)
                    return

    def _tell(self, outcomes: Iterable[Outcome]) -> None:
        self._made([each for each in outcomes if isinstance(each, Commit)])


def _in_doubt(error: Unavailable) -> Unavailable:
    """The error of a write that was sent and of which nothing is known."""
    return Unavailable(
        f"{error.message}; it is not known whether the change was stored",
        retry_after=error.retry_after,
        hint="the same request can be sent again: a change that was stored is not made twice",
    )
