"""Many statements in one round trip: a batch is sent as one call of the function `commit_batch` in the database.

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


class Statements:
    """The statements of a group of commits, in order."""

    def __init__(self) -> None:
        self.statements: list[str] = []
        self.arguments: list[str] = []

    def add(self, sql: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add a statement, unless it has nothing to do. Values are texts, numbers, booleans, None and bytes."""
        found = [{name: _written(value) for name, value in row.items()} for row in rows]
        if found:
            self.statements.append(sql)
            self.arguments.append(_encode(found).decode())

    def add_one(self, sql: str, **values: Any) -> None:
        self.add(sql, [values])


def _written(value: Any) -> Any:
    return rf"\x{value.hex()}" if isinstance(value, bytes) else value
