"""Notes in PostgreSQL: each writing call is one statement, with the database's clock.

A write takes the next version from one row, so a later write has a larger one. If an answer was lost, the call is sent again, and knows
its own earlier write by a random token.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from pkgindex_core.clock import Clock, SystemClock, Timestamp
from pkgindex_core.engines.postgresql.facts import LIVE
from pkgindex_core.engines.postgresql.sessions import Sessions
from pkgindex_core.errors import Unavailable
from pkgindex_core.protocols.notes import Note, Notes

BATCH: Final = 1_000
"""Notes of one batch of `notes`."""
REMOVED: Final = 1_000
"""Most notes that have ended and are removed by one write."""

# $1 is the time of a clock that is not the system's (of a test), else null: the database's own clock, which all servers share.
_NOW: Final = "coalesce($1::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)"
_END: Final = f"CASE WHEN $2::bigint IS NULL THEN {LIVE} ELSE {_NOW} + $2 END"
_SWEEP: Final = f"DELETE FROM notes WHERE ctid = ANY(ARRAY(SELECT ctid FROM notes WHERE until <= {_NOW} LIMIT {REMOVED} FOR UPDATE SKIP LOCKED))"
# Without an expected version; with the expectation that there is none; with a version.
_PUT: Final = f"""
WITH v AS (UPDATE note_versions SET last = last + 1 RETURNING last)
INSERT INTO notes AS old (kind, key, value, until, token, version) SELECT $3, $4, $5, {_END}, $6, last FROM v
ON CONFLICT (kind, key) DO UPDATE SET value = excluded.value, until = excluded.until, token = excluded.token, version = excluded.version
"""
_PUT_FIRST: Final = f"{_PUT} WHERE old.until <= {_NOW} RETURNING version"
_PUT_ANY: Final = f"{_PUT} RETURNING version"
_PUT_OVER: Final = f"""
WITH v AS (UPDATE note_versions SET last = last + 1 RETURNING last)
UPDATE notes SET value = $5, until = {_END}, token = $6, version = v.last FROM v
WHERE kind = $3 AND key = $4 AND notes.version = $7 AND until > {_NOW} RETURNING notes.version"""
_PUT_MANY: Final = f"""
WITH v AS (UPDATE note_versions SET last = last + cardinality($4::text[]) RETURNING last)
INSERT INTO notes (kind, key, value, until, token, version)
SELECT $3, k.key, k.value, {_END}, '', v.last - cardinality($4::text[]) + k.number
FROM v, unnest($4::text[], $5::bytea[]) WITH ORDINALITY AS k (key, value, number)
ON CONFLICT (kind, key) DO UPDATE SET value = excluded.value, until = excluded.until, token = excluded.token, version = excluded.version"""
_DROP: Final = f"DELETE FROM notes WHERE kind = $2 AND key = $3 AND until > {_NOW} AND ($4::bigint IS NULL OR version = $4) RETURNING version"
_READ: Final = f"SELECT key, value, version, until FROM notes WHERE kind = $2 AND until > {_NOW}"


class PostgresqlNotes:
    """The part of a `PostgresqlIndex` that keeps notes."""

    def __init__(self, sessions: Sessions, clock: Clock) -> None:
        self._sessions = sessions
        self._clock = clock

    async def note(self, kind: str, key: str) -> Note | None:
        row = await self._sessions.row(f"{_READ} AND key = $3", self.given_time(), kind, key)
        return _made(row) if row is not None else None

    async def notes(self, kind: str, *, after: str = "") -> AsyncIterator[Sequence[Note]]:
        sql = f"{_READ} AND key > $3 ORDER BY key LIMIT {BATCH}"
        while rows := await self._sessions.rows(sql, self.given_time(), kind, after):
            found = [_made(row) for row in rows]
            yield found
            after = found[-1].key

    async def put_note(
        self, kind: str, key: str, value: bytes, *, seconds: float | None = None, expected: int | None = None
    ) -> int | None:
        token, was_sent = uuid.uuid4().hex, False
        attempts = self._sessions.attempts()
        while True:
            async with attempts, self._sessions.session() as session:
                await session.rows(_SWEEP, self.given_time())
                values = (self.given_time(), _micros(seconds), kind, key, value, token)
                repeated, was_sent = was_sent, True
                if expected is None:
                    rows = await session.rows(_PUT_ANY, *values)
                elif expected == 0:
                    rows = await session.rows(_PUT_FIRST, *values)
                else:
                    rows = await session.rows(_PUT_OVER, *values, expected)
                if not rows and repeated:  # the first call may have written it, and its answer was lost
                    rows = await session.rows(
                        "SELECT version FROM notes WHERE kind = $1 AND key = $2 AND token = $3", kind, key, token
                    )
                return int(rows[0][0]) if rows else None

    async def put_notes(self, kind: str, values: Mapping[str, bytes], *, seconds: float | None = None) -> None:
        if not values:
            return
        attempts = self._sessions.attempts()
        while True:
            async with attempts, self._sessions.session() as session:
                await session.rows(_SWEEP, self.given_time())
                await session.rows(
                    _PUT_MANY, self.given_time(), _micros(seconds), kind, list(values), list(values.values())
                )
                return

    async def drop_note(self, kind: str, key: str, *, expected: int | None = None) -> bool:
        was_sent = False
        attempts = self._sessions.attempts()
        while True:
            async with attempts, self._sessions.session() as session:
                repeated, was_sent = was_sent, True
                if await session.rows(_DROP, self.given_time(), kind, key, expected):
                    return True
                if repeated:
                    raise Unavailable(
                        "the answer of the index database was lost: it is not known who removed the note",
                        hint="read it again",
                    )
                return False

    def given_time(self) -> Timestamp | None:
        """The time of a clock that is not the system's; None: the database tells it."""
        return None if isinstance(self._clock, SystemClock) else self._clock.now()


def _micros(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * 1_000_000)


def _made(row: Sequence[Any]) -> Note:
    key, value, version, until = row
    return Note(key=key, value=value, version=version, until=None if until == LIVE else Timestamp(until))


if TYPE_CHECKING:
    _: type[Notes] = PostgresqlNotes
