"""What changes of mirrored projects do to the tables: pages in one piece, packed segments, strays, the list of names.

A mirrored project has no past; its rows are changed in place.
"""

from __future__ import annotations

from collections.abc import Sequence

from pkgindex_core.changes import DropMirrorPage, MirrorNames, MirrorPage
from pkgindex_core.engines import change_rules
from pkgindex_core.engines.sqlite import segments
from pkgindex_core.engines.sqlite.tables import Tables, encode
from pkgindex_core.errors import Corrupt, Missing
from pkgindex_core.formats.filenames import leads_to
from pkgindex_core.formats.fragments import page_row
from pkgindex_core.formats.kept_pages import KeptRows
from pkgindex_core.models import PageHead, PageRow, Serial
from pkgindex_core.names import ProjectName
from pkgindex_core.rules.stamping import stamp_after


def change_mirrored(tables: Tables, index_id: int, change: MirrorPage | DropMirrorPage | MirrorNames) -> None:
    match change:
        case MirrorPage():
            _mirror_page(tables, index_id, change)
        case DropMirrorPage(project=project):
            held = tables.held(index_id, project)
            if held is None or not held.holds:
                raise Missing("project", project)
            _forget_files(tables, index_id, project)
            tables.restand(index_id, project, stamp_after(Serial(tables.serial), Serial(held.stamp)), None, 0)
            tables.count(index_id, held, holds=False)
        case MirrorNames():
            _mirror_names(tables, index_id, change)


def _mirror_page(tables: Tables, index_id: int, change: MirrorPage) -> None:
    project, head = change.project, change.head
    before = tables.held(index_id, project)
    known = before if before is not None and before.mirrored else None
    held = known is not None and known.holds
    count = known.file_count if known is not None else 0
    if count and not held and change.part in {"whole", "first"}:
        _forget_files(tables, index_id, project)
        count = 0
    same_files = not change.kept and not change.put and not change.drop
    unseen = known is not None and known.holds and same_files and change_rules.looks_the_same(known.head, head)
    stored = _kept_page(tables, index_id, project) if known is not None and known.kept and not unseen else None
    kept = change_rules.kept_rows(stored, change)
    if kept is not None and kept is not stored:
        if known is not None:
            _forget_files(tables, index_id, project)
        _keep_page(tables, index_id, project, kept)
        count = len(kept)
    elif not same_files:
        if stored is not None:
            _unfold_page(tables, index_id, project, stored)
        count += _edit_segments(tables, index_id, project, change)
    is_last = change.part in {"whole", "last"}
    shown = head if is_last else known.head if known is not None and held else None
    stamp, content = change_rules.page_name(
        change,
        Serial(tables.serial),
        (known.stamp, known.content) if known is not None else (0, ""),
        unseen=unseen,
        head=shown or PageHead(),
        rows=kept,
    )
    is_kept = known.kept if known is not None and unseen else kept is not None
    if known is not None:
        tables.restand(index_id, project, stamp, shown, count, content=content, kept=is_kept)
    else:
        if before is not None:
            tables.end("standings", "index_id = ? AND project = ?", (index_id, project))
        tables.insert_standing(index_id, project, stamp, shown, count, mirrored=True, content=content, kept=is_kept)
    tables.count(index_id, before, holds=shown is not None)


def _forget_files(tables: Tables, index_id: int, project: ProjectName) -> None:
    for table in ("segments", "kept_pages", "strays"):
        tables.run(f"DELETE FROM {table} WHERE index_id = ? AND project = ?", (index_id, project))  # noqa: S608 - constants, just above


def _keep_page(tables: Tables, index_id: int, project: ProjectName, rows: KeptRows) -> None:
    tables.run("REPLACE INTO kept_pages (index_id, project, kept) VALUES (?, ?, ?)", (index_id, project, rows.kept))
    tables.run_many(
        "INSERT INTO strays (index_id, filename, project) VALUES (?, ?, ?)",
        [(index_id, filename, project) for filename in rows.strays],
    )


def _kept_page(tables: Tables, index_id: int, project: ProjectName) -> KeptRows:
    row = tables.row("SELECT kept FROM kept_pages WHERE index_id = ? AND project = ?", (index_id, project))
    if row is None:
        raise Corrupt(f"the page of {project} is not in the index database")
    return KeptRows(row[0])


def _unfold_page(tables: Tables, index_id: int, project: ProjectName, rows: KeptRows) -> None:
    """Put the files of a kept page into segments, which take differences. Its strays stay what they are."""
    tables.run("DELETE FROM kept_pages WHERE index_id = ? AND project = ?", (index_id, project))
    _store_segment(tables, index_id, project, None, "", list(rows))


def _edit_segments(tables: Tables, index_id: int, project: ProjectName, change: MirrorPage) -> int:
    """Apply the difference to the segments that it touches; returns by how many the files became more."""
    stored = tables.rows(
        "SELECT id, low FROM segments WHERE index_id = ? AND project = ? ORDER BY low", (index_id, project)
    )
    lows = [low for _, low in stored] or [""]
    put: dict[int, list[PageRow]] = {}
    drop: dict[int, list[str]] = {}
    for file in {file.filename: file for file in change.put}.values():
        put.setdefault(segments.segment_of(lows, file.filename), []).append(page_row(file))
    for filename in change.drop:
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
    _mark_strays(tables, index_id, project, change)
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


def _mark_strays(tables: Tables, index_id: int, project: ProjectName, change: MirrorPage) -> None:
    """Remember the files that nobody would look for in this project, going by their name."""
    put = {file.filename for file in change.put}
    for filename in set(change.drop) - put:
        if not leads_to(filename, project):
            tables.run(
                "DELETE FROM strays WHERE index_id = ? AND filename = ? AND project = ?",
                (index_id, filename, project),
            )
    for filename in put:
        if not leads_to(filename, project):
            tables.run(
                "INSERT OR IGNORE INTO strays (index_id, filename, project) VALUES (?, ?, ?)",
                (index_id, filename, project),
            )


def _mirror_names(tables: Tables, index_id: int, change: MirrorNames) -> None:
    stamp, count = tables.row("SELECT stamp, count FROM listings WHERE index_id = ?", (index_id,)) or (0, 0)
    count -= tables.run_many(
        "DELETE FROM listed_names WHERE index_id = ? AND name = ?", ((index_id, name) for name in change.drop)
    )
    put = dict(
        sorted(dict(change.put).items())
    )  # in the order of the table: a first list of 886,000 is appended, not scattered
    new = tables.run_many(
        "INSERT OR IGNORE INTO listed_names (index_id, name, display) VALUES (?, ?, ?)",
        ((index_id, name, None if display in {name, ""} else display) for name, display in put.items()),
    )
    if new < len(put):
        tables.run_many(
            "UPDATE listed_names SET display = ?3 WHERE index_id = ?1 AND name = ?2 AND display IS NOT ?3",
            ((index_id, name, None if display in {name, ""} else display) for name, display in put.items()),
        )
    if not stamp or change.put or change.drop:
        stamp = tables.serial
    tables.run(
        "REPLACE INTO listings (index_id, stamp, count, validators) VALUES (?, ?, ?, ?)",
        (index_id, stamp, count + new, encode(change.validators)),
    )
