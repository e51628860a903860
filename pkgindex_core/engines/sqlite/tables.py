"""The one connection that writes, with the few ways in which it is used."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import apsw
import msgspec

from pkgindex_core.engines.sqlite.database import LIVE
from pkgindex_core.models import Serial
from pkgindex_core.names import IndexName

encode = msgspec.msgpack.Encoder().encode


class Tables:
    """The database as one commit sees it."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self.serial = Serial(0)
        """The serial of the commit that is being made."""
        self.ids: dict[IndexName, int] = {}
        """The numbers of the indexes that the commit speaks of."""

    def end(self, table: str, condition: str, bindings: tuple[int | str, ...]) -> None:
        """End the life of a table's live rows under a constant condition."""
        self.run(f"UPDATE {table} SET died = ? WHERE {condition} AND died = ?", (self.serial, *bindings, LIVE))  # noqa: S608 - names and conditions are constants of this package

    def rows(self, sql: str, bindings: apsw.Bindings = ()) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, bindings).fetchall()

    def row(self, sql: str, bindings: apsw.Bindings = ()) -> tuple[Any, ...] | None:
        return self._connection.execute(sql, bindings).fetchone()

    def run(self, sql: str, bindings: apsw.Bindings = ()) -> int:
        """Run a statement that returns nothing; returns how many rows it changed."""
        self._connection.execute(sql, bindings)
        return self._connection.changes()

    def run_many(self, sql: str, bindings: Iterable[apsw.Bindings]) -> int:
        before = self._connection.total_changes()
        self._connection.executemany(sql, bindings)
        return self._connection.total_changes() - before
