"""Writes edits of mirrored projects: packed segments, strays and lists of names; and drops the past of a project. `pages` stores those
in one piece.

An edit reads and writes only the segments that it changes. If the project has a past, the old segment is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from pkgindex_core.engines.sqlite import pages, segments
from pkgindex_core.engines.sqlite.database import LIVE
from pkgindex_core.engines.sqlite.tables import Tables, encode
from pkgindex_core.formats.filenames import leads_to
from pkgindex_core.formats.fragments import page_row
from pkgindex_core.models import PageRow, Serial
from pkgindex_core.names import ProjectName
from pkgindex_core.rules.planning import NamesEdit, PageEdit
from pkgindex_core.rules.planning.facts import ProjectKey

_STRAYS_OF_PROJECT: Final = "strays INDEXED BY strays_by_project"
"""SQLite would look through all strays of the index, by the primary key."""


def edit_page(tables: Tables, key: ProjectKey, edit: PageEdit, *, is_new: bool, stays: bool) -> int:
    """Edit the files of a page; returns the number of files added, less those removed. Of a page in one piece, only its strays are here.

    `is_new`: nothing is stored of the page. `stays`: the stored page stays as the past.
    """
    index_id, project = tables.ids[key[0]], key[1]
    if edit.fresh and not is_new:
        _forget_files(tables, index_id, project, stays=stays)
    if edit.kept is not None:
        _mark_strays(tables, index_id, project, edit.kept.strays)
        return 0
    return _edit_segments(tables, index_id, project, edit, stays=stays) if edit.put or edit.drop else 0


def forget_past(tables: Tables, key: ProjectKey, upto: Serial) -> None:
    """Drop the past of a mirrored project that ended by the serial `upto`."""
    of_past = (tables.ids[key[0]], key[1], upto)
    gone = "index_id = ? AND project = ? AND died <= ? AND mirrored"
    born = tables.row(f"SELECT min(born), max(died) FROM standings WHERE {gone}", of_past)  # noqa: S608 - a constant
    if born is None or born[0] is None:
        return
    pages.let_go(tables, gone, of_past)
    tables.run(f"DELETE FROM standings WHERE {gone}", of_past)  # noqa: S608 - a constant
    # The oldest remaining row answers for the time of the dropped ones.
    tables.run(
        "UPDATE standings SET born = ? WHERE index_id = ? AND project = ? AND born = ? AND mirrored",
        (born[0], *of_past[:2], born[1]),
    )
    for table in ("past_segments", _STRAYS_OF_PROJECT):
        tables.run(f"DELETE FROM {table} WHERE index_id = ? AND project = ? AND died <= ?", of_past)  # noqa: S608 - constants, just above


def _forget_files(tables: Tables, index_id: int, project: ProjectName, *, stays: bool) -> None:
    of_project = (index_id, project)
    if stays:
        _keep_segments(tables, "index_id = ? AND project = ?", of_project)
        tables.run(
            f"UPDATE {_STRAYS_OF_PROJECT} SET died = ? WHERE index_id = ? AND project = ? AND died = ?",  # noqa: S608 - a constant
            (tables.serial, *of_project, LIVE),
        )
    else:
        live = "index_id = ? AND project = ? AND died = ?"
        tables.run(f"DELETE FROM {_STRAYS_OF_PROJECT} WHERE {live}", (*of_project, LIVE))  # noqa: S608 - constants
    tables.run("DELETE FROM segments WHERE index_id = ? AND project = ?", of_project)


def _keep_segments(tables: Tables, condition: str, bindings: tuple[int | str, ...]) -> None:
    """Copy segments into the past before they change, unless this commit has changed and copied them already."""
    kept = f"SELECT index_id, project, ?, born, low, rows FROM segments WHERE {condition} AND born < ?"  # noqa: S608 - conditions are constants of this module
    tables.run(
        f"INSERT INTO past_segments (index_id, project, died, born, low, rows) {kept}",
        (tables.serial, *bindings, tables.serial),
    )


def _edit_segments(tables: Tables, index_id: int, project: ProjectName, edit: PageEdit, *, stays: bool) -> int:
    """Apply a difference to its segments; returns the number of files added, less those removed."""
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
        if stays and segment_id is not None:
            _keep_segments(tables, "id = ?", (segment_id,))
        _store_segment(tables, index_id, project, segment_id, lows[at], after)
    # The first segment has all names below the second, so its `low` is always empty, also when another one becomes the first.
    first = "low != '' AND id = (SELECT id FROM segments WHERE index_id = ? AND project = ? ORDER BY low LIMIT 1)"
    if stays:
        _keep_segments(tables, first, (index_id, project))
    tables.run(f"UPDATE segments SET low = '', born = ? WHERE {first}", (tables.serial, index_id, project))  # noqa: S608 - a constant
    _end_strays(tables, index_id, project, edit.drop, stays=stays)
    _mark_strays(tables, index_id, project, edit.put)
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
            tables.run("UPDATE segments SET rows = ?, born = ? WHERE id = ?", (packed, tables.serial, segment_id))
        else:
            tables.run(
                "INSERT INTO segments (index_id, project, low, rows, born) VALUES (?, ?, ?, ?, ?)",
                (index_id, project, part_low, packed, tables.serial),
            )


def _end_strays(tables: Tables, index_id: int, project: ProjectName, filenames: Iterable[str], *, stays: bool) -> None:
    for filename in filenames:
        if leads_to(filename, project):
            continue
        stray = (index_id, filename, project)
        if stays:
            tables.run(
                "UPDATE strays SET died = ? WHERE index_id = ? AND filename = ? AND project = ? AND died = ?",
                (tables.serial, *stray, LIVE),
            )
        else:
            tables.run("DELETE FROM strays WHERE index_id = ? AND filename = ? AND project = ?", stray)


def _mark_strays(tables: Tables, index_id: int, project: ProjectName, filenames: Iterable[str]) -> None:
    """Record the files whose names do not lead to this project."""
    for filename in filenames:
        if not leads_to(filename, project):
            tables.run(
                "REPLACE INTO strays (index_id, filename, project, died) VALUES (?, ?, ?, ?)",
                (index_id, filename, project, LIVE),
            )


def edit_names(tables: Tables, index_id: int, edit: NamesEdit) -> None:
    (count,) = tables.row("SELECT count FROM listings WHERE index_id = ?", (index_id,)) or (0,)
    count -= tables.run_many(
        "DELETE FROM listed_names WHERE index_id = ? AND name = ?", ((index_id, name) for name in edit.drop)
    )
    # In the order of the table, so that a first list of 886,000 names is appended.
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
