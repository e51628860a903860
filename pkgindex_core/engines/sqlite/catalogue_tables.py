"""The tables of the catalogue in SQLite, and how updates change them. `catalogue_queries` reads them.

entries   a row for each project of each index
parts     trigrams of their names; texts: words of their metadata. Both are full-text tables without the texts themselves (FTS5)
state     how far the catalogue is
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import apsw
import msgspec

from pkgindex_core.engines.sqlite.catalogue_queries import LENGTH, MIRRORED, indexed_name
from pkgindex_core.engines.sqlite.database import require_safe_sqlite
from pkgindex_core.names import IndexName
from pkgindex_core.protocols.catalogue import CatalogueProgress, CatalogueUpdate, NamesUpdate, SearchEntry
from pkgindex_core.rules.searching.folding import folded

_CACHE_KIB: Final = 2000
_PATIENCE_MS: Final = 10_000
_SCHEMA: Final = 1
"""The version of the tables. A file of another version is made again."""
_LONGEST_BUCKET: Final = 255
_TABLES: Final = f"""
CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 0), progress BLOB NOT NULL) STRICT;
CREATE TABLE layers (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE entries (
    id INTEGER PRIMARY KEY,   -- mirrored * 2^40 + length * 2^32 + a number
    name TEXT NOT NULL,
    layer INTEGER NOT NULL,
    listed TEXT,              -- the display name in the list of a mirror, empty if it is the name; NULL: not listed
    known BLOB                -- the entry; NULL: nothing but the name is known
) STRICT;
CREATE UNIQUE INDEX entries_by_name ON entries (name, layer);
CREATE INDEX entries_known ON entries (id) WHERE known IS NOT NULL;
CREATE VIRTUAL TABLE parts USING fts5 (name, content = '', contentless_delete = 1, tokenize = 'trigram', detail = none);
CREATE VIRTUAL TABLE texts USING fts5 (
    said, elsewhere, authors, classifiers, licence, imports, depends,
    content = '', contentless_delete = 1, tokenize = "ascii tokenchars '-._'"
);
PRAGMA user_version = {_SCHEMA};
"""
# In one statement each, so that SQLite goes through many names without Python.
_NEW_NAMES: Final = f"""
CREATE TEMP TABLE fresh AS
WITH given AS (
    SELECT value ->> 0 AS name, value ->> 1 AS display_name, {MIRRORED} + min(length(value ->> 0), {_LONGEST_BUCKET}) * {LENGTH} AS bucket
    FROM json_each(:names)
)
SELECT coalesce((SELECT max(id) FROM entries WHERE id >= bucket AND id < bucket + {LENGTH}), bucket)
       + row_number() OVER (PARTITION BY bucket ORDER BY name) AS id, name, display_name
FROM given WHERE NOT EXISTS (SELECT 1 FROM entries e WHERE e.name = given.name AND e.layer = :layer)
"""  # noqa: S608  # numbers of this package
_ADD_NAMES: Final = (
    """UPDATE entries SET listed = given.display_name
    FROM (SELECT value ->> 0 AS name, value ->> 1 AS display_name FROM json_each(:names)) given
    WHERE entries.name = given.name AND entries.layer = :layer""",
    _NEW_NAMES,
    "INSERT INTO entries SELECT id, name, :layer, display_name, NULL FROM fresh ORDER BY id",
    "INSERT INTO parts (rowid, name) SELECT id, '^-' || replace(name, '-', '--') || '-' FROM fresh ORDER BY id",
    "DROP TABLE fresh",
)

_encode: Final = msgspec.msgpack.Encoder().encode
_decode_progress: Final = msgspec.msgpack.Decoder(CatalogueProgress).decode


def opened(path: Path) -> apsw.Connection:
    require_safe_sqlite(apsw.sqlite_lib_version())
    # It has names that not everybody may read, so it is private.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = apsw.Connection(str(path))
    try:
        connection.set_busy_timeout(_PATIENCE_MS)
        for setting in ("synchronous = NORMAL", "temp_store = MEMORY", f"cache_size = -{_CACHE_KIB}"):
            connection.execute(f"PRAGMA {setting}").fetchall()
        if connection.pragma("user_version") != _SCHEMA:
            _make_tables(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _make_tables(connection: apsw.Connection) -> None:
    connection.pragma("journal_mode", "wal")
    connection.execute("BEGIN IMMEDIATE")
    try:
        if connection.pragma("user_version") != _SCHEMA:  # another process may have made them meanwhile
            tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql IS NOT NULL AND name NOT LIKE 'sqlite!_%' ESCAPE '!'"
            # Those that are virtual first: their own tables go with them.
            for (name,) in connection.execute(f"{tables} ORDER BY sql NOT LIKE 'CREATE VIRTUAL%'").fetchall():
                connection.execute(f'DROP TABLE IF EXISTS "{name}"')
            connection.execute(_TABLES).fetchall()
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def progress_of(connection: apsw.Connection) -> CatalogueProgress:
    row = connection.execute("SELECT progress FROM state").fetchone()
    return _decode_progress(row[0]) if row is not None else CatalogueProgress()


def write(connection: apsw.Connection, update: CatalogueUpdate) -> None:
    if update.clear:
        connection.execute(
            "DELETE FROM entries; DELETE FROM layers; INSERT INTO parts (parts) VALUES ('delete-all');"
            " INSERT INTO texts (texts) VALUES ('delete-all')"
        ).fetchall()
    for index in update.drop_indexes:
        layer = connection.execute("SELECT id FROM layers WHERE name = ?", (index,)).get
        if layer is not None:
            _forget(connection, "SELECT id FROM entries WHERE layer = ?", (layer,))
            connection.execute("DELETE FROM layers WHERE id = ?", (layer,))
    for index, project in update.drop:
        layer = _layer(connection, index)
        place = (project, layer)
        connection.execute(
            "DELETE FROM texts WHERE rowid IN (SELECT id FROM entries WHERE name = ? AND layer = ? AND known IS NOT NULL)",
            place,
        )
        connection.execute("UPDATE entries SET known = NULL WHERE name = ? AND layer = ?", place)
        _forget(connection, "SELECT id FROM entries WHERE name = ? AND layer = ? AND listed IS NULL", place)
    for entry in update.put:
        _put(connection, entry)
    for names in update.names:
        _list(connection, names)
    connection.execute(
        "INSERT INTO state VALUES (0, ?) ON CONFLICT DO UPDATE SET progress = excluded.progress",
        (_encode(update.progress),),
    )


def _layer(connection: apsw.Connection, index: IndexName) -> int:
    """The number of an index, which gets one if it has none."""
    row = connection.execute("SELECT id FROM layers WHERE name = ?", (index,)).fetchone()
    if row is None:
        connection.execute("INSERT INTO layers (name) VALUES (?)", (index,))
        return connection.last_insert_rowid()
    return int(row[0])


def _put(connection: apsw.Connection, entry: SearchEntry) -> None:
    layer = _layer(connection, entry.index)
    row = connection.execute(
        "SELECT id, known IS NOT NULL FROM entries WHERE name = ? AND layer = ?", (entry.project, layer)
    ).fetchone()
    if row is None:
        number = _new_id(connection, entry)
        connection.execute(
            "INSERT INTO entries VALUES (?, ?, ?, NULL, ?)", (number, entry.project, layer, _encode(entry))
        )
        connection.execute("INSERT INTO parts (rowid, name) VALUES (?, ?)", (number, indexed_name(entry.project)))
    else:
        number = row[0]
        connection.execute("UPDATE entries SET known = ? WHERE id = ?", (_encode(entry), number))
        if row[1]:
            connection.execute("DELETE FROM texts WHERE rowid = ?", (number,))
    connection.execute(
        "INSERT INTO texts (rowid, said, elsewhere, authors, classifiers, licence, imports, depends) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (number, *_columns(entry)),
    )


def _new_id(connection: apsw.Connection, entry: SearchEntry) -> int:
    bucket = entry.mirrored * MIRRORED + min(len(entry.project), _LONGEST_BUCKET) * LENGTH
    last = connection.execute("SELECT max(id) FROM entries WHERE id >= ? AND id < ?", (bucket, bucket + LENGTH)).get
    return (last or bucket) + 1


def _columns(entry: SearchEntry) -> Iterator[str]:
    """The texts of the columns of `texts`: folded words, and names as they are."""
    authors = " ".join(folded(entry.authors))
    classifiers = " ".join(folded(" ".join(entry.classifiers)))
    imports = " ".join(entry.imports).lower()
    yield " ".join([entry.project.replace("-", " "), *folded(entry.summary), *folded(entry.keywords)])
    yield " ".join([authors, classifiers, *folded(imports)])
    yield authors
    yield classifiers
    yield " ".join(folded(entry.licence))
    yield imports
    yield " ".join(entry.depends)


def _list(connection: apsw.Connection, names: NamesUpdate) -> None:
    layer = _layer(connection, names.index)
    if names.drop:
        gone = msgspec.json.encode(names.drop).decode()
        chosen = "layer = ? AND name IN (SELECT value FROM json_each(?))"
        connection.execute(f"UPDATE entries SET listed = NULL WHERE {chosen}", (layer, gone))  # noqa: S608  # a text of this function
        _forget(connection, f"SELECT id FROM entries WHERE {chosen} AND known IS NULL", (layer, gone))  # noqa: S608  # the same
    if names.put:
        given = [(name, "" if display_name == name else display_name) for name, display_name in names.put]
        values = {"layer": layer, "names": msgspec.json.encode(given).decode()}
        for statement in _ADD_NAMES:
            connection.execute(statement, values).fetchall()


def _forget(connection: apsw.Connection, ids: str, bindings: tuple[int | str, ...]) -> None:
    """Remove entries altogether."""
    for table, key in (("parts", "rowid"), ("texts", "rowid"), ("entries", "id")):
        connection.execute(f"DELETE FROM {table} WHERE {key} IN ({ids})", bindings)  # noqa: S608  # texts of this module
