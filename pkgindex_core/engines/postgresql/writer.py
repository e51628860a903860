"""Group commit, and what is done when another server committed first or an answer was lost.

    apply ─┐                 one statement reads the facts of all      one call of commit_batch writes all, if the head is still
    apply ─┼─► a group ─►    lists of the group, then each is    ─►    the one that was read, and commits
    apply ─┘                 planned

Two round trips, and nothing is locked between them. The lists of a group name different rows, so no plan depends on another one of the group; each has
its own serial. If another server has committed meanwhile, nothing is written, and the group is planned again with the head locked
(four round trips), and so are the groups of the next second: a server that is slower than the others gets its turn.

If an answer is lost, the commit was made or was not, or will be in a moment. The group is sent again with the same random token. It can only
be written in the place of the lost one: if that place is taken, the token of the commit there says by whom.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeAlias

import msgspec
from msgspec import Struct

from pkgindex_core.changes import Change, Commit, NoteIs, Requirement
from pkgindex_core.clock import Timestamp
from pkgindex_core.engines.packing import digests_of, packed, with_kept
from pkgindex_core.engines.postgresql import mirrored
from pkgindex_core.engines.postgresql.batches import Statements, records, together
from pkgindex_core.engines.postgresql.effects import write
from pkgindex_core.engines.postgresql.facts import Loaded, Sought, load
from pkgindex_core.engines.postgresql.failures import closed
from pkgindex_core.engines.postgresql.grouping import Footprint, footprint
from pkgindex_core.engines.postgresql.sessions import Session, Sessions
from pkgindex_core.errors import PkgIndexError, RequirementFailed, Unavailable, afresh
from pkgindex_core.models import Serial
from pkgindex_core.rules import change_rules
from pkgindex_core.rules.planning import Keys, named_keys, plan

GROUP_LIMIT: Final = 64
"""Most lists of changes in one group."""
LOCKS_SECONDS: Final = 1.0
"""Seconds for which the head is locked after another server has committed in between."""
PATIENCE: Final = 3
"""A write is tried again for so many times the patience of a read: an upload that fails has to be sent again."""
_LOCKED: Final = "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '15s'; SELECT serial FROM head FOR UPDATE"
_LOG_RECORDS: Final = records(
    "who text, serial bigint, at bigint, token text, packed boolean, by_digest boolean, changes bytea"
)
_LOG: Final = (
    "INSERT INTO commits (serial, at, who, token, packed, by_digest, changes)"
    f" SELECT serial, at, who, token, packed, by_digest, changes FROM {_LOG_RECORDS}"
)
# A backend that was ended while it waited for a standby has left its commit on the primary alone. The lock is written to the log of the database after
# that commit, so this statement ends when the standby has both.
_LANDED: Final = (
    "WITH h AS MATERIALIZED (SELECT FROM head FOR UPDATE)"
    " SELECT min(serial) FROM commits, h WHERE serial = ANY($1::bigint[]) AND token = $2"
)

_Outcome: TypeAlias = Commit | Exception
_Sent: TypeAlias = dict[Serial, Sequence[_Outcome]]


class Submission(Struct, eq=False):
    """One waiting caller."""

    changes: tuple[Change, ...]
    who: str
    require: tuple[Requirement, ...]
    encoded: bytes
    """The changes for the log, with digests in the place of pages."""
    kept: Sequence[bytes]
    """The pages in one piece of the changes."""
    keys: Keys
    future: asyncio.Future[Commit]


def request(changes: Sequence[Change], who: str, require: Iterable[Requirement]) -> Submission:
    """Make a request. Raises `Refused` for values that could not be read back."""
    changes, require = tuple(changes), tuple(require)
    digests = digests_of(changes)
    encoded = change_rules.encoded_changes(with_kept(changes, digests) if digests else changes)
    future = asyncio.get_running_loop().create_future()
    return Submission(changes, who, require, encoded, tuple(digests), named_keys(changes, require), future)


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

    async def _commit(self, group: Sequence[Submission]) -> Sequence[_Outcome]:
        """Commit the lists of a group that fit, and return what each caller gets."""
        sent: _Sent = {}
        try:
            return await self._tried(group, uuid.uuid4().hex, sent)
        except Unavailable as error:
            if not sent:
                raise
            raise _in_doubt(error) from error

    async def _tried(self, group: Sequence[Submission], token: str, sent: _Sent) -> Sequence[_Outcome]:
        """Commit a group, again until its fate is known. `sent`: the outcomes of each attempt that was sent, by its first serial."""
        sought = Sought.of((one.keys for one in group), (change for one in group for change in one.changes))
        attempts = self._sessions.attempts(PATIENCE)
        while True:
            async with attempts, self._sessions.session() as session:
                if sent and (landed := await _landed(session, token, sent)) is not None:
                    self._tell(sent[landed])
                    return sent[landed]
                is_locked = asyncio.get_running_loop().time() < self._locks_until
                if is_locked:
                    await session.run(_LOCKED)
                loaded = await load(session, sought, self._given_time())
                batches, outcomes = _planned(group, loaded, token)
                commits = [each for each in outcomes if isinstance(each, Commit)]
                if commits:
                    sent[Serial(loaded.serial + 1)] = outcomes
                guards = _guards(group, outcomes, loaded.now)
                is_written = not commits or await _write(session, loaded.serial, commits[-1], batches, guards)
                if is_locked:
                    await session.run("COMMIT")
                if is_written:
                    self._tell(outcomes)
                    return outcomes
                self._locks_until = asyncio.get_running_loop().time() + LOCKS_SECONDS

    async def _replay(self, commits: Sequence[Commit], requests: Sequence[Submission]) -> None:
        token, sent = uuid.uuid4().hex, _Sent()
        attempts = self._sessions.attempts(PATIENCE)
        async with self._one_at_a_time:
            while True:
                async with attempts, self._sessions.session() as session:
                    if not sent or await _landed(session, token, sent) is None:
                        await session.run(_LOCKED)
                        for commit, one in zip(commits, requests, strict=True):
                            loaded = await load(session, Sought.of([one.keys], one.changes), commit.at)
                            change_rules.successor(loaded.serial, loaded.at, commit)
                            await _write(session, loaded.serial, commit, [_plan(commit, one, loaded, token)])
                        sent[commits[0].serial] = commits
                        await session.run("COMMIT")
                    self._tell(commits)
                    return

    def _tell(self, outcomes: Iterable[_Outcome]) -> None:
        self._made([each for each in outcomes if isinstance(each, Commit)])


def _planned(group: Sequence[Submission], loaded: Loaded, token: str) -> tuple[list[Statements], list[_Outcome]]:
    """Plan each list of a group. A list that does not fit has its error for an outcome."""
    batches, outcomes = list[Statements](), list[_Outcome]()
    serial, at = loaded.serial, change_rules.commit_time(loaded.now, loaded.at)
    for one in group:
        commit = Commit(serial=Serial(serial + 1), at=at, who=one.who, changes=one.changes)
        try:
            batches.append(_plan(commit, one, loaded, token))
        except Exception as error:  # a refusal or a defect, which only this caller gets
            outcomes.append(error)
        else:
            outcomes.append(commit)
            serial = commit.serial
    return batches, outcomes


def _plan(commit: Commit, one: Submission, loaded: Loaded, token: str) -> Statements:
    """The statements of one commit. Raises the refusal of one that does not fit."""
    effects = plan(one.changes, one.require, loaded.facts, commit.serial)
    if isinstance(effects, RequirementFailed):
        raise effects
    batch = Statements()
    mirrored.put_pages(batch, one.kept, logged=True)
    write(batch, loaded.facts, effects, commit.serial)
    is_packed, changes = packed(one.encoded)
    batch.add_one(
        _LOG,
        serial=commit.serial,
        at=commit.at,
        who=commit.who,
        token=token,
        packed=is_packed,
        by_digest=bool(one.kept),
        changes=changes,
    )
    return batch


def _guards(group: Sequence[Submission], outcomes: Sequence[_Outcome], now: Timestamp) -> str:
    """The notes that the commits of a group require, for `commit_batch`: another process may write one after it was read."""
    looked_at = [
        {"kind": each.kind, "key": each.key, "version": each.version, "now": now}
        for one, outcome in zip(group, outcomes, strict=True)
        if isinstance(outcome, Commit)
        for each in one.require
        if isinstance(each, NoteIs)
    ]
    return msgspec.json.encode(looked_at).decode()


async def _write(
    session: Session, expected: Serial, last: Commit, batches: Iterable[Statements], guards: str = "[]"
) -> bool:
    sql = "SELECT commit_batch($1, $2, $3, $4::jsonb, $5, $6)"
    ((is_written,),) = await session.rows(sql, expected, last.serial, last.at, guards, *together(batches))
    return bool(is_written)


def _in_doubt(error: Unavailable) -> Unavailable:
    """The error of a write that was sent and of which nothing is known."""
    return Unavailable(
        f"{error.message}; it is not known whether the change was stored",
        retry_after=error.retry_after,
        hint="the same request can be sent again: a change that was stored is not made twice",
    )


async def _landed(session: Session, token: str, sent: _Sent) -> Serial | None:
    """The first serial of the attempt that was committed although its answer was lost."""
    ((serial,),) = await session.rows(_LANDED, list(sent), token)
    return None if serial is None else Serial(serial)
