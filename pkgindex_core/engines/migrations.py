"""Numbered migrations of the SQL engines: `{dialect}/sql/{number}_{name}.sql`, applied in order and never edited.

The folder of an engine has the name of its dialect. Only loading is common; each engine runs and records its migrations.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from msgspec import Struct

_FILE = re.compile(r"\A(?P<number>[0-9]{4})_(?P<name>[a-z0-9_]+)\.sql\Z")


class Migration(Struct, frozen=True):
    """One step of a schema, as shipped."""

    number: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


def migrations(dialect: str) -> tuple[Migration, ...]:
    """Every migration of a dialect, by number: 1, 2, 3 … without a gap."""
    found = []
    for entry in (Path(__file__).with_name(dialect) / "sql").iterdir():
        match = _FILE.match(entry.name)
        if match:
            found.append(Migration(int(match["number"]), match["name"], entry.read_text(encoding="utf-8")))
    found.sort(key=lambda migration: migration.number)
    if [migration.number for migration in found] != list(range(1, len(found) + 1)):
        raise LookupError(f"the migrations of {dialect!r} are not numbered without a gap")
    return tuple(found)
