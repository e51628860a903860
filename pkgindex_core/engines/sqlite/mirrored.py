"""How edits of mirrored projects are written: pages in one piece, packed segments, strays, lists of names.

A mirrored project has no past; its rows are changed in place. A segment is read and written only where an edit touches it.
"""

from __future__ import annotations

from collections.abc import Sequence

from pkgindex_core.engines.sqlite import segments
from pkgindex_core.engines.sqlite.tables import Tables, encode
from pkgindex_core.formats.filenames import leads_to
from pkgindex_core.formats.fragments import page_row
from pkgindex_core.formats.kept_pages import KeptRows
from pkgindex_core.models import PageRow
from pkgindex_core.names import ProjectName
from pkgindex_core.rules.planning import NamesEdit, PageEdit
from pkgindex_core.rules.planning.facts import ProjectKey


def edit_page(tables: Tables, key: ProjectKey, edit: PageEdit) -> int:
    """Edit the files of a page; returns by how many the rows became more. A page in one piece has none."""
    index_id, project = tables.ids[key[0]], key[1]
    if edit.fresh:
        _forget_files(tables, index_id, project)
    if edit.kept is not None:
        _keep_page(tables, index_id, project, edit.kept)
        return 0
    return _edit_segments(tables, index_id, project, edit) if edit.put or edit.drop else 0


def _forget_files(tables: Tables, index_id: int, project: ProjectName) -> None:
    for table in ("segments", "kept_pages", "strays"):
        tables.run(f"DELETE FROM {table} WHERE index_id = ? AND project = ?", (index_id, project))  # noqa: S608 - constants, just above


def _keep_page(tables: Tables, index_id: int, project: ProjectName, rows: KeptRows) -> None:
    tables.run("REPLACE INTO kept_pages (index_id, project, kept) VALUES (?, ?, ?)", (index_id, project, rows.kept))
    tables.run_many(
        "INSERT INTO strays (index_id, filename, project) VALUES (?, ?, ?)",
        [(index_id, filename, project) for filename in rows.strays],
    )


def _edit_segments(tables: Tables, index_id: int, project: ProjectName, edit: PageEdit) -> int:
    """Apply the difference to the segments that it touches; returns by how many the files became more."""
    stored = tables.rows(
        "SELECT id, low FROM segments WHERE index_id = ? AND project = ? ORDER BY low", (index_id, project)
    )
    lows = [low for _, low in stored] or [""]
    put: dict[int, list[PageRow]] = {}
    drop: dict[int, list[str]] = {}
    for file in edit.put.values():
        put.setdefault(segments.segment_of(lows, file.filename), []).append(page_row(file))
    for filename in edit.drop:
        drop.setdefault(segments.segment_of(lows, filename), []).append(filename)
    more = 0
    for at in sorted(put.keys() | drop.keys()):
        segment_id = stored[at][0] if stored else None
        before = _segment(tables, segment_id)
        after = segments.edited(before, put.get(at, ()), drop.get(at, ()))
        more += len(after) - len(before)
        _store_segment(tables, index_id, project, segment_id, lows[at], after)
    # The first segment takes every name below the second, so its `low` stays empty also when another becomes the first.
    tables.run(
        "UPDATE segments SET low = '' WHERE low != '' AND id ="
        " (SELECT id FROM segments WHERE index_id = ? AND project = ? ORDER BY low LIMIT 1)",
        (index_id, project),
    )
    _mark_strays(tables, index_id, project, edit)
    return more


def _segment(tables: Tables, segment_id: int | None) -> list[PageRow]:
    row = tables.row("SELECT rows FROM segments WHERE id = ?", (segment_id,)) if segment_id is not None else None
    return segments.unpack(row[0]) if row else []


def _store_segment(
    tables: Tables, index_id: int, project: ProjectName, segment_id: int | None, low: str, rows: Sequence[PageRow]
) -> None:
    if not rows:
        tables.run("DELETE FROM segments WHERE id = ?", (segment_id,))
        return
    for part_low, part in segments.split(low, rows):
        packed = segments.pack(part)
        if segment_id is not None and part_low == low:
            tables.run("UPDATE segments SET rows = ? WHERE id = ?", (packed, segment_id))
        else:
            tables.run(
                "INSERT INTO segments (index_id, project, low, rows) VALUES (?, ?, ?, ?)",
                (index_id, project, part_low, packed),
            )


def _mark_strays(tables: Tables, index_id: int, project: ProjectName, edit: PageEdit) -> None:
    """Remember the files that nobody would look for in this project, going by their name."""
    for filename in edit.drop:
        if not leads_to(filename, project):
            tables.run(
                "DELETE FROM strays WHERE index_id = ? AND filename = ? AND project = ?",
                (index_id, filename, project),
            )
    for filename in edit.put:
        if not leads_to(filename, project):
            tables.run(
                "INSERT OR IGNORE INTO strays (index_id, filename, project) VALUES (?, ?, ?)",
                (index_id, filename, project),
            )


def edit_names(tables: Tables, index_id: int, edit: NamesEdit) -> None:
    (count,) = tables.row("SELECT count FROM listings WHERE index_id = ?", (index_id,)) or (0,)
    count -= tables.run_many(
        "DELETE FROM listed_names WHERE index_id = ? AND name = ?", ((index_id, name) for name in edit.drop)
    )
    # In the order of the table: a first list of 886,000 is appended, not scattered.
    put = sorted(edit.put.items())
    new = tables.run_many(
        "INSERT OR IGNORE INTO listed_names (index_id, name, display) VALUES (?, ?, ?)",
        ((index_id, name, None if display in {name, ""} else display) for name, display in put),
    )
    if new < len(put):
        tables.run_many(
            "UPDATE listed_names SET display = ?3 WHERE index_id = ?1 AND name = ?2 AND display IS NOT ?3",
            ((index_id, name, None if display in {name, ""} else display) for name, display in put),
        )
    tables.run(
        "REPLACE INTO listings (index_id, stamp, count, validators) VALUES (?, ?, ?, ?)",
        (index_id, edit.stamp, count + new, encode(edit.validators)),
    )
