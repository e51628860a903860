"""The connection that writes, with helpers for statements, the state of one commit, and what the next commit need not read again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import apsw
import msgspec

from pkgindex_core.clock import Timestamp
from pkgindex_core.engines.sqlite.database import LIVE
from pkgindex_core.models import IndexConfig, Serial
from pkgindex_core.names import IndexName

encode = msgspec.msgpack.Encoder().encode


class Tables:
    """The database as one commit sees it."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self.serial = Serial(0)
        """The serial of the commit that is being made, or was made last."""
        self.head: tuple[Serial, Timestamp] | None = None
        """Serial and time of the last commit, if this transaction has read or made it."""
        self.ids: dict[IndexName, int] = {}
        """The numbers of indexes that were read or written since the last `forget`."""
        self.configs: dict[IndexName, IndexConfig | None] = {}
        """The configurations of the known indexes, while every commit since they were read was made here."""
        self.logged: dict[bytes, int] = {}
        """The numbers of the pages in one piece of the commit, by their bytes."""

    def begin(self) -> None:
        """Read the head again: another process may have committed since the last transaction."""
        self.head = None

    def last(self) -> tuple[Serial, Timestamp]:
        """Serial and time of the last commit. Forgets the rest if another process made it."""
        if self.head is None:
            serial, at = self.row("SELECT serial, at FROM commits ORDER BY serial DESC LIMIT 1") or (0, 0)
            if serial != self.serial:
                self.forget()
            self.head = Serial(serial), Timestamp(at)
        return self.head

    def forget(self) -> None:
        """Forget all rows that were read or written, because a transaction was rolled back or another process has committed."""
        self.serial, self.head = Serial(-1), None
        self.ids.clear()
        self.configs.clear()

    def end(self, table: str, condition: str, bindings: tuple[int | str, ...]) -> None:
        """End the life of the live rows that meet a condition, which is a constant."""
        self.run(f"UPDATE {table} SET died = ? WHERE {condition} AND died = ?", (self.serial, *bindings, LIVE))  # noqa: S608 - names and conditions are constants of this package

    def rows(self, sql: str, bindings: apsw.Bindings = ()) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, bindings).fetchall()

    def row(self, sql: str, bindings: apsw.Bindings = ()) -> tuple[Any, ...] | None:
        return self._connection.execute(sql, bindings).fetchone()

    def run(self, sql: str, bindings: apsw.Bindings = ()) -> None:
        """Run a statement that returns nothing."""
        self._connection.execute(sql, bindings)

    def run_counting(self, sql: str, bindings: apsw.Bindings = ()) -> int:
        """Run a statement; returns the number of changed rows."""
        self.run(sql, bindings)
        return self._connection.changes()

    def run_many(self, sql: str, bindings: Iterable[apsw.Bindings]) -> int:
        """Run a statement for each of several bindings; returns the number of changed rows."""
        before = self._connection.total_changes()
        self._connection.executemany(sql, bindings)
        return self._connection.total_changes() - before
