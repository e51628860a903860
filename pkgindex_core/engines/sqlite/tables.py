"""The one connection that writes, with the operations that every change is made of.

A row that is born and dies in one commit was never true at the end of any, so it is deleted instead of closed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import apsw
import msgspec
from msgspec import Struct

from pkgindex_core.engines.sqlite.database import LIVE
from pkgindex_core.models import IndexConfig, PageHead
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.stored_configs import decode_config

encode = msgspec.msgpack.Encoder().encode
_head_decoder = msgspec.msgpack.Decoder(PageHead)


class Index(Struct, frozen=True):
    """An index as a change finds it."""

    id: int
    config: IndexConfig | None


class Held(Struct, frozen=True):
    """The live row of `standings`."""

    born: int
    stamp: int
    mirrored: bool
    holds: bool
    file_count: int
    head: PageHead
    content: str
    kept: bool


class Tables:
    """The database as a change sees it; `serial` is that of the commit that is being made."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self.serial = 0

    def index(self, name: IndexName) -> Index:
        row = self.row(
            "SELECT id, body FROM index_names LEFT JOIN configs ON index_id = id AND died = ? WHERE name = ?",
            (LIVE, name),
        )
        if row is None:
            return Index(-1, None)
        return Index(row[0], decode_config(row[1]) if row[1] is not None else None)

    def held(self, index_id: int, project: ProjectName) -> Held | None:
        row = self.row(
            "SELECT born, stamp, mirrored, holds, file_count, head, content, kept FROM standings"
            " WHERE index_id = ? AND project = ? AND died = ?",
            (index_id, project, LIVE),
        )
        if row is None:
            return None
        born, stamp, mirrored, holds, file_count, head, content, kept = row
        return Held(
            born, stamp, bool(mirrored), bool(holds), file_count, _head_decoder.decode(head), content, bool(kept)
        )

    def stand(
        self, index_id: int, project: ProjectName, before: Held | None, head: PageHead | None, file_count: int
    ) -> None:
        """Give a hosted project its row as of this commit; no head: it is not held any more."""
        if before is not None:
            self.end("standings", "index_id = ? AND project = ?", (index_id, project))
        self.insert_standing(index_id, project, self.serial, head, file_count, mirrored=False)
        self.count(index_id, before, holds=head is not None)

    def insert_standing(
        self,
        index_id: int,
        project: ProjectName,
        stamp: int,
        head: PageHead | None,
        file_count: int,
        *,
        mirrored: bool,
        content: str = "",
        kept: bool = False,
    ) -> None:
        self.run(
            "INSERT INTO standings"
            " (index_id, project, died, born, stamp, mirrored, holds, file_count, status, head, content, kept)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                index_id,
                project,
                LIVE,
                self.serial,
                stamp,
                int(mirrored),
                int(head is not None),
                file_count,
                head.status if head else "",
                encode(head or PageHead()),
                content,
                int(kept),
            ),
        )

    def restand(
        self,
        index_id: int,
        project: ProjectName,
        stamp: int,
        head: PageHead | None,
        file_count: int,
        *,
        content: str = "",
        kept: bool = False,
    ) -> None:
        """Change a mirrored project's row in place."""
        self.run(
            "UPDATE standings SET stamp = ?, holds = ?, file_count = ?, status = ?, head = ?, content = ?, kept = ?"
            " WHERE index_id = ? AND project = ? AND died = ?",
            (
                stamp,
                int(head is not None),
                file_count,
                head.status if head else "",
                encode(head or PageHead()),
                content,
                int(kept),
                index_id,
                project,
                LIVE,
            ),
        )

    def count(self, index_id: int, before: Held | None, *, holds: bool) -> None:
        difference = int(holds) - int(before is not None and before.holds)
        if difference:
            self.run("UPDATE index_names SET project_count = project_count + ? WHERE id = ?", (difference, index_id))

    def end(self, table: str, condition: str, bindings: tuple[int | str, ...]) -> None:
        """End the life of a table's live rows under a constant condition."""
        self.run(f"DELETE FROM {table} WHERE {condition} AND died = ? AND born = ?", (*bindings, LIVE, self.serial))  # noqa: S608 - names and conditions are constants of this package
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
