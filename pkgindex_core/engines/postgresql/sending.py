"""Sends the statements of a group: in one call if the head has not moved, or with the head locked. Finds a commit whose answer was lost."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import Final

from pkgindex_core.changes import Commit
from pkgindex_core.engines.postgresql.batches import Statements, together
from pkgindex_core.engines.postgresql.sessions import Session
from pkgindex_core.models import Serial

LOCKED: Final = "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '15s'; SELECT serial FROM head FOR UPDATE"
# A backend that was ended while it waited for a standby has left its commit on the primary alone. The lock is written to the log of the database after
# that commit, so this statement ends when the standby has both.
_LANDED: Final = (
    "WITH h AS MATERIALIZED (SELECT FROM head FOR UPDATE)"
    " SELECT min(serial) FROM commits, h WHERE serial = ANY($1::bigint[]) AND token = $2"
)


async def write(
    session: Session, expected: Serial, commits: Sequence[Commit], batches: Iterable[Statements], guards: str = "[]"
) -> bool:
    """Write, if the head is `expected` and the notes of `guards` have their versions; whether they did."""
    sql, last = "SELECT commit_batch($1, $2, $3, $4::jsonb, $5, $6)", commits[-1]
    ((is_written,),) = await session.rows(sql, expected, last.serial, last.at, guards, *together(batches))
    return bool(is_written)


async def write_and_commit(
    session: Session, expected: Serial, commits: Sequence[Commit], batches: Iterable[Statements], guards: str
) -> None:
    """Write in the transaction that has locked the head, and end it, in one round trip. Without commits the transaction just ends.

    Only statements without values can be sent together, so the values are part of the text, in letters that need no quoting. If a note has
    another version than in `guards`, the database reports a serialization failure, after which everything is tried again.
    """
    if not commits:
        await session.run("ROLLBACK")
        return
    last, (texts, arguments) = commits[-1], together(batches)
    values = f"{expected}, {last.serial}, {last.at}, {_literal(guards)}::jsonb, {_array(texts)}::text[], {_array(arguments)}::jsonb[]"
    await session.run(f"SELECT commit_locked({values}); COMMIT")


async def landed(session: Session, token: str, sent: Iterable[Serial]) -> Serial | None:
    """The first serial of the attempt that was committed although its answer was lost. `sent`: the first serials of all attempts."""
    ((serial,),) = await session.rows(_LANDED, list(sent), token)
    return None if serial is None else Serial(serial)


def _array(texts: Iterable[str]) -> str:
    return f"ARRAY[{', '.join(map(_literal, texts))}]"


def _literal(text: str) -> str:
    """An expression for a text, with letters that need no quoting."""
    return f"convert_from(decode('{base64.b64encode(text.encode()).decode()}', 'base64'), 'UTF8')"
