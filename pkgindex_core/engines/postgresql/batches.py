"""Many statements in one round trip: those of a group of commits are one call of the function `commit_batch` in the database.

Each statement has one argument, a list of objects, which it reads with `records`. All texts of statements are constants of this package.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

_encode = msgspec.json.Encoder().encode


def records(columns: str) -> str:
    """The FROM item `x` with the objects of a statement: "name text, body bytea"."""
    return f"jsonb_to_recordset($1) AS x ({columns})"


def ended(table: str, *key: str) -> str:
    """A statement that ends the live rows with a key."""
    columns = ", ".join(f"{each} text" for each in key)
    same = " AND ".join(f"old.{each} = x.{each}" for each in key)
    return f"UPDATE {table} AS old SET died = x.serial FROM {records(f'serial bigint, {columns}')} WHERE {same} AND old.died = 9223372036854775807"


class Statements:
    """The statements of one commit, in order, each with its rows."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.rows: list[list[dict[str, Any]]] = []

    def add(self, sql: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add a statement, unless it has nothing to do. Values are texts, numbers, booleans, None and bytes."""
        found = [{name: _written(value) for name, value in row.items()} for row in rows]
        if found:
            self.texts.append(sql)
            self.rows.append(found)

    def add_one(self, sql: str, **values: Any) -> None:
        self.add(sql, [values])


def together(several: Iterable[Statements]) -> tuple[list[str], list[str]]:
    """The statements of several commits that touch different rows, and their arguments. Commits with the same statements share them."""
    joined: list[Statements] = []
    for each in several:
        if not joined or joined[-1].texts != each.texts:
            joined.append(Statements())
            joined[-1].texts, joined[-1].rows = each.texts, [[] for _ in each.rows]
        for rows, more in zip(joined[-1].rows, each.rows, strict=True):
            rows.extend(more)
    texts = [text for each in joined for text in each.texts]
    return texts, [_encode(rows).decode() for each in joined for rows in each.rows]


def _written(value: Any) -> Any:
    return rf"\x{value.hex()}" if isinstance(value, bytes) else value
