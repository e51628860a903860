"""Numbered migrations of the SQL engines: `{dialect}/sql/{number}_{name}.sql`, applied in order and never edited.

The folder of an engine is named for its dialect. Only the loading is common. What a migration runs in, and where it is recorded, differs between databases and stands
in each engine.
"""

from __future__ import annotations

import hashlib
import re
from importlib import resources

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
    """Every migration of a dialect, by number; the numbers are 1, 2, 3 … without a gap."""
    found = []
    for entry in resources.files("pkgindex_core.engines").joinpath(dialect, "sql").iterdir():
        match = _FILE.match(entry.name)
        if match:
            found.append(Migration(int(match["number"]), match["name"], entry.read_text(encoding="utf-8")))
    found.sort(key=lambda migration: migration.number)
    if [migration.number for migration in found] != list(range(1, len(found) + 1)):
        raise LookupError(f"the migrations of {dialect!r} are not numbered without a gap")
    return tuple(found)
