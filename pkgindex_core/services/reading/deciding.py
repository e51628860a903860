"""Keeps the decisions of page filters that hid a file, let it wait, warned of it or only observed it.

    a page is made, a file is asked for, an upload is judged -> heard, in memory -> after some seconds written as notes, in one batch

A decision is one record for each file, rule and verdict, however often it is made: a new record is written when the verdict changes. No request
waits for a write. Notes end by themselves after the time that a setting gives. They are of this server's store, and no part of its history.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.errors import PkgIndexError
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Notes
from pkgindex_core.protocols.policies import Mode
from pkgindex_core.rules.filtering import Judgement
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_core.tools.tasks import Tasks

KIND: Final = "decision"
_BY_RULE: Final = "decision-by-rule"
"""The same records, with the rule before their keys: the few decisions of a rare rule are not looked for among all others."""
_PAUSE_SECONDS: Final = 5.0
_WAITING: Final = 20_000
"""The most decisions that wait to be written. Further ones are dropped, and made again with the next page."""
_KNOWN: Final = 20_000
"""The most decisions that are remembered as written."""
_GRACE_SECONDS: Final = 5.0

_log = logging.getLogger(__name__)


class DecisionRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One record."""

    at: Timestamp
    """When it was made first."""
    index: IndexName
    """The index that holds the file."""
    project: ProjectName
    version: str
    filename: str
    """Empty: it is about a version without files."""
    rule: str
    mode: Mode
    verdict: str
    """`hide`, `wait`, `warn` or `observe`."""
    reason: str
    next_eligible_at: Timestamp | None = None


class Decisions:
    """Hears decisions, and lists them. `seconds`: how long records are kept; 0: nothing is recorded."""

    def __init__(self, *, notes: Notes, clock: Clock, seconds: float) -> None:
        self._notes = notes
        self._clock = clock
        self._seconds = seconds
        self._heard: list[tuple[ProjectName, Sequence[Judgement], Timestamp]] = []
        self._count = 0
        self.kept: BoundedCache[str, Timestamp] = BoundedCache(_KNOWN)
        """Until when decisions need not be written again."""
        self._tasks = Tasks()
        self._planned = False

    def hear(self, project: ProjectName, judgements: Sequence[Judgement]) -> None:
        """Take note of decisions. Called in the event loop; never waits and never fails."""
        if not self._seconds or not judgements or self._count + len(judgements) > _WAITING:
            return
        self._heard.append((project, judgements, self._clock.now()))
        self._count += len(judgements)
        if not self._planned:
            self._planned = True
            self._tasks.start(self._write_soon, name="decisions")

    async def listed(
        self,
        *,
        after: str = "",
        limit: int = 200,
        indexes: Iterable[IndexName] | None = None,
        project: ProjectName | None = None,
        rule: str | None = None,
        chosen: Callable[[DecisionRecord], bool] = lambda _: True,
    ) -> tuple[Sequence[DecisionRecord], str]:
        """Decisions in order of index, project and filename; and the place after which the next ones are, empty at the end.

        Of `indexes` (None: of all), a project (None: of all) and a rule (None: of all) only those are read. With a project, `indexes` are needed.
        A place names a decision that was chosen, and none of the others: the caller may not know them.
        """
        found: list[DecisionRecord] = []
        about = "" if project is None else f"{project} "
        kind, before = (KIND, "") if rule is None else (_BY_RULE, f"{rule} ")
        beginnings = [""] if indexes is None else sorted(f"{index} {about}" for index in indexes)
        for beginning in beginnings:
            async for key, decision in self._read(kind, before, max(after, beginning), beginning):
                if (rule is not None and decision.rule != rule) or not chosen(decision):
                    continue
                if len(found) == limit:
                    return found, after
                found.append(decision)
                after = key
        return found, ""

    async def flush(self) -> None:
        """Write what waits. Decisions that were known before keep the time of their first record."""
        heard, self._heard, self._count = self._heard, [], 0
        new: dict[str, bytes] = {}
        rules: dict[str, str] = {}
        for project, judgements, now in heard:
            for each in judgements:
                key = _key(project, each)
                if key in new or (self.kept.get(key) or 0) > now:
                    continue
                rules[key] = each.rule
                before = await self._notes.note(KIND, key)
                new[key] = before.value if before is not None else msgspec.json.encode(_decision(project, each, now))
            await asyncio.sleep(0)  # requests come between
        if new:
            await self._notes.put_notes(KIND, new, seconds=self._seconds)
            by_rule = {f"{rule} {key}": new[key] for key, rule in rules.items()}
            await self._notes.put_notes(_BY_RULE, by_rule, seconds=self._seconds)
        # A decision that is still made is written again before its record ends.
        until = Timestamp(self._clock.now() + int(self._seconds * 500_000))
        for key in new:
            self.kept.put(key, until)

    async def close(self) -> None:
        """Write what waits, and end."""
        await self._tasks.close(0)
        try:
            await asyncio.wait_for(self.flush(), _GRACE_SECONDS)
        except (PkgIndexError, TimeoutError) as error:
            _log.warning("the last decisions of policies were not written: %s", error)

    async def _read(
        self, kind: str, before: str, after: str, beginning: str
    ) -> AsyncIterator[tuple[str, DecisionRecord]]:
        """The records after a place whose keys have a beginning. `before` is in front of all these keys in notes of the kind."""
        async for batch in self._notes.notes(kind, after=before + after):
            for note in batch:
                if not note.key.startswith(before + beginning):
                    return
                yield note.key.removeprefix(before), msgspec.json.decode(note.value, type=DecisionRecord)

    async def _write_soon(self) -> None:
        await asyncio.sleep(_PAUSE_SECONDS)
        self._planned = False
        try:
            await self.flush()
        except PkgIndexError as error:
            _log.warning("decisions of policies were not written: %s", error)


def _key(project: ProjectName, judgement: Judgement) -> str:
    ruling = judgement.ruling
    verdict = hashlib.blake2b(f"{ruling.mode} {ruling.until} {ruling.reason}".encode(), digest_size=8).hexdigest()
    filename = judgement.filename.replace("\0", "") or f"version {judgement.version}"
    return f"{judgement.origin} {project} {filename[:300]} {judgement.rule} {verdict}"


def _decision(project: ProjectName, judgement: Judgement, now: Timestamp) -> DecisionRecord:
    ruling = judgement.ruling
    verdict = ruling.mode if not ruling.hides else "hide" if ruling.until is None else "wait"
    return DecisionRecord(
        at=now,
        index=judgement.origin,
        project=project,
        version=judgement.version,
        filename=judgement.filename,
        rule=judgement.rule,
        mode=ruling.mode,
        verdict=verdict,
        reason=ruling.reason,
        next_eligible_at=ruling.until,
    )
