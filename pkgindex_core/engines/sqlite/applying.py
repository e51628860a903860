"""One list of changes: the facts that it needs, its effects, its place in the log.

Runs in the writer thread, inside a savepoint that the caller rolls back when anything raises. What a change means is said in `rules.planning`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import apsw

from pkgindex_core.changes import Change, Commit, MirrorPage, Requirement
from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.engines.sqlite import segments
from pkgindex_core.engines.sqlite.effects import write
from pkgindex_core.engines.sqlite.facts import load
from pkgindex_core.engines.sqlite.tables import Tables
from pkgindex_core.errors import RequirementFailed
from pkgindex_core.models import Serial
from pkgindex_core.rules import change_rules
from pkgindex_core.rules.planning import named_keys, plan

PACK_FROM: Final = 512
"""Bytes of encoded changes from which the log compresses them."""


class Applying:
    """Applies lists of changes through one connection."""

    def __init__(self, connection: apsw.Connection, clock: Clock) -> None:
        self._tables = Tables(connection)
        self._clock = clock

    def commit(self, changes: Sequence[Change], encoded: bytes, who: str, require: Iterable[Requirement]) -> Commit:
        """Check, apply and log one list; the caller's savepoint undoes it when this raises."""
        last, last_at = self._last()
        at = change_rules.commit_time(self._clock.now(), last_at)
        commit = Commit(serial=Serial(last + 1), at=at, who=who, changes=tuple(changes))
        self._make(commit, encoded, tuple(require))
        return commit

    def replay(self, commits: Sequence[Commit]) -> Commit:
        """Make commits of another store again, and return the last; the caller's savepoint undoes all when this raises."""
        for commit in commits:
            change_rules.successor(*self._last(), commit)
            self._make(commit, change_rules.encoded_changes(commit.changes), ())
        return commits[-1]

    def _last(self) -> tuple[Serial, Timestamp]:
        serial, at = self._tables.row("SELECT serial, at FROM commits ORDER BY serial DESC LIMIT 1") or (0, 0)
        return Serial(serial), Timestamp(at)

    def _make(self, commit: Commit, encoded: bytes, require: Sequence[Requirement]) -> None:
        self._tables.serial = commit.serial
        facts = load(self._tables, named_keys(commit.changes, require))
        effects = plan(commit.changes, require, facts, commit.serial)
        if isinstance(effects, RequirementFailed):
            raise effects
        write(self._tables, facts, effects)
        # Pages in one piece are compressed already, and are most of what mirrors commit.
        in_one_piece = sum(len(each.kept) for each in commit.changes if isinstance(each, MirrorPage))
        packed = len(encoded) - in_one_piece >= max(PACK_FROM, in_one_piece)
        self._tables.run(
            "INSERT INTO commits (serial, at, who, packed, changes) VALUES (?, ?, ?, ?, ?)",
            (commit.serial, commit.at, commit.who, int(packed), segments.compress(encoded) if packed else encoded),
        )
