"""Makes a commit of one list of changes: loads facts, plans, writes the effects and the log.

Runs in the writer thread, inside a transaction that the caller rolls back when anything raises after the first row was written.
`rules.planning` says what changes mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pkgindex_core.changes import Change, Commit, Requirement
from pkgindex_core.clock import Clock
from pkgindex_core.engines.packing import digests_of, packed, with_kept
from pkgindex_core.engines.sqlite import pages
from pkgindex_core.engines.sqlite.effects import write
from pkgindex_core.engines.sqlite.facts import load
from pkgindex_core.engines.sqlite.tables import Tables
from pkgindex_core.errors import RequirementFailed
from pkgindex_core.models import Serial
from pkgindex_core.rules import change_rules
from pkgindex_core.rules.planning import named_keys, plan


class Applying:
    """Applies lists of changes through one connection."""

    def __init__(self, tables: Tables, clock: Clock) -> None:
        self._tables = tables
        self._clock = clock

    def commit(self, changes: Sequence[Change], who: str, require: Iterable[Requirement]) -> Commit:
        """Check, apply and log one list. A list that is refused has written nothing."""
        last, last_at = self._tables.last()
        at = change_rules.commit_time(self._clock.now(), last_at)
        commit = Commit(serial=Serial(last + 1), at=at, who=who, changes=tuple(changes))
        self._make(commit, tuple(require))
        return commit

    def replay(self, commits: Sequence[Commit]) -> Commit:
        """Make commits that another store made, and return the last. The caller rolls all back when this raises."""
        for commit in commits:
            change_rules.successor(*self._tables.last(), commit)
            self._make(commit, ())
        return commits[-1]

    def _make(self, commit: Commit, require: Sequence[Requirement]) -> None:
        digests = digests_of(commit.changes)
        logged = with_kept(commit.changes, digests) if digests else commit.changes
        encoded = change_rules.encoded_changes(logged)
        facts = load(self._tables, named_keys(commit.changes, require), commit.at)
        effects = plan(commit.changes, require, facts, commit.serial)
        if isinstance(effects, RequirementFailed):
            raise effects
        self._tables.serial = commit.serial
        pages.log(self._tables, digests)
        write(self._tables, facts, effects)
        is_packed, data = packed(encoded)
        self._tables.run(
            "INSERT INTO commits (serial, at, who, packed, changes, by_digest) VALUES (?, ?, ?, ?, ?, ?)",
            (
                commit.serial,
                commit.at,
                commit.who,
                int(is_packed),
                data,
                int(bool(digests)),
            ),
        )
        self._tables.head = commit.serial, commit.at
