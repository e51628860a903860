"""Writes the effects of a plan: rows end and begin by their keys. All decisions are in the plan.

Rows with a past get the serial at which they died, others are replaced. `mirrored` writes pages and lists of names.
"""

from __future__ import annotations

from pkgindex_core.engines.packing import packed_release
from pkgindex_core.engines.sqlite import pages
from pkgindex_core.engines.sqlite.database import LIVE
from pkgindex_core.engines.sqlite.mirrored import edit_names, edit_page, forget_past
from pkgindex_core.engines.sqlite.tables import Tables, encode
from pkgindex_core.formats.fragments import page_row
from pkgindex_core.models import PageHead
from pkgindex_core.rules.planning import Effects, Emptied, Facts, PageEdit, StandingRow
from pkgindex_core.rules.planning.facts import ProjectKey


def write(tables: Tables, facts: Facts, effects: Effects) -> None:
    """Write all effects. The log is not among them."""
    _write_configs(tables, effects)  # first, so that a new index has a number
    for place in effects.emptied:
        _empty(tables, place)
    for key, upto in effects.forgotten.items():
        forget_past(tables, key, upto)
    _write_identities(tables, effects)
    _write_files(tables, facts, effects)
    _write_tombstones(tables, effects)
    _write_releases(tables, effects)
    _write_attachments(tables, effects)
    emptied = {place.index for place in effects.emptied if place.project is None}
    for key, row in effects.standings.items():
        _write_standing(tables, effects, key, row, facts.standings.get(key), is_emptied=key[0] in emptied)
    for index, names in effects.names.items():
        edit_names(tables, tables.ids[index], names)
    for index, more in effects.counts.items():
        tables.run("UPDATE index_names SET project_count = project_count + ? WHERE id = ?", (more, tables.ids[index]))
    if effects.tree_changed:
        tables.run("INSERT INTO tree_changes (serial) VALUES (?)", (tables.serial,))


def _empty(tables: Tables, place: Emptied) -> None:
    index_id = tables.ids[place.index]
    if place.project is None:
        _empty_index(tables, index_id)
        return
    of_project = (index_id, place.project)
    if place.about:
        tables.end("attachments", "index_id = ? AND project = ? AND about = ?", (*of_project, place.about))
        return
    tables.run(
        "REPLACE INTO tombstones (index_id, filename, project, sha256)"
        " SELECT index_id, filename, project, sha256 FROM files WHERE index_id = ? AND project = ? AND died = ?",
        (*of_project, LIVE),
    )
    for table in ("files", "releases", "attachments"):
        tables.end(table, "index_id = ? AND project = ?", of_project)


def _empty_index(tables: Tables, index_id: int) -> None:
    of_index = (index_id,)
    for table in ("files", "releases", "attachments"):
        tables.end(table, "index_id = ?", of_index)
    for table in ("tombstones", "segments", "past_segments", "strays", "listed_names", "listings"):
        tables.run(f"DELETE FROM {table} WHERE index_id = ?", of_index)  # noqa: S608 - constants, just above
    nothing = encode(PageHead())
    # Mirrored projects lose their past, and their rows change in place, with the stamp of `stamp_after` …
    pages.let_go(tables, "index_id = ?", of_index)
    tables.run("DELETE FROM standings WHERE index_id = ? AND mirrored AND died < 9223372036854775807", of_index)
    tables.run(
        "UPDATE standings SET born = since, holds = 0, stamp = max(?1, stamp + 1), file_count = 0, status = '', head = ?2, content = '', page = 0"
        " WHERE index_id = ?3 AND died = ?4 AND mirrored",
        (tables.serial, nothing, index_id, LIVE),
    )
    # … and the rows of held projects end and stay, each followed by a row that does not hold the project.
    tables.end("standings", "holds AND index_id = ?", of_index)
    tables.run(
        "INSERT OR IGNORE INTO standings"
        " (index_id, project, died, born, since, stamp, mirrored, holds, file_count, status, head)"
        " SELECT index_id, project, ?1, ?2, ?2, ?2, 0, 0, 0, '', ?3 FROM standings WHERE index_id = ?4 AND died = ?2",
        (LIVE, tables.serial, nothing, index_id),
    )
    tables.run("UPDATE index_names SET project_count = 0 WHERE id = ?", of_index)


def _write_identities(tables: Tables, effects: Effects) -> None:
    for name, user in effects.users.items():
        tables.end("users", "name = ?", (name,))
        if user is not None:
            tables.run(
                "INSERT INTO users (name, died, born, body) VALUES (?, ?, ?, ?)",
                (name, LIVE, tables.serial, encode(user)),
            )
    for token_id, token in effects.tokens.items():
        if token is None:
            tables.run("DELETE FROM tokens WHERE id = ?", (token_id,))
        else:
            tables.run(
                "REPLACE INTO tokens (id, user, created, body) VALUES (?, ?, ?, ?)",
                (token_id, token.user, token.created, encode(token)),
            )


def _write_configs(tables: Tables, effects: Effects) -> None:
    for name, config in effects.configs.items():
        index_id = tables.ids.get(name)
        if index_id is None:
            tables.run("INSERT INTO index_names (name) VALUES (?)", (name,))
            (index_id,) = tables.row("SELECT id FROM index_names WHERE name = ?", (name,)) or (0,)
            tables.ids[name] = index_id
        tables.configs.pop(name, None)  # the next commit reads it again, as it is stored
        tables.end("configs", "index_id = ?", (index_id,))
        if config is not None:
            tables.run(
                "INSERT INTO configs (index_id, died, born, body) VALUES (?, ?, ?, ?)",
                (index_id, LIVE, tables.serial, encode(config)),
            )


def _write_files(tables: Tables, facts: Facts, effects: Effects) -> None:
    for (index, filename), stored in effects.files.items():
        index_id = tables.ids[index]
        if (index, filename) in facts.files:
            tables.end("files", "index_id = ? AND filename = ?", (index_id, filename))
        if stored is None:
            continue
        row, metadata = page_row(stored.file), stored.file.metadata_sha256
        tables.run(
            "INSERT INTO files (index_id, project, filename, born, died, sha256, metadata_sha256, version, fragment, body)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                index_id,
                stored.project,
                filename,
                tables.serial,
                LIVE,
                bytes.fromhex(stored.file.sha256 or ""),
                bytes.fromhex(metadata) if metadata else None,
                row.version,
                row.fragment,
                row.body,
            ),
        )


def _write_tombstones(tables: Tables, effects: Effects) -> None:
    for (index, filename), taken in effects.tombstones.items():
        index_id = tables.ids[index]
        if taken is None:
            tables.run("DELETE FROM tombstones WHERE index_id = ? AND filename = ?", (index_id, filename))
        else:
            tables.run(
                "REPLACE INTO tombstones (index_id, filename, project, sha256) VALUES (?, ?, ?, ?)",
                (index_id, filename, taken.project, bytes.fromhex(taken.sha256)),
            )


def _write_releases(tables: Tables, effects: Effects) -> None:
    for (index, project, version), release in effects.releases.items():
        key = (tables.ids[index], project, version)
        tables.end("releases", "index_id = ? AND project = ? AND version = ?", key)
        if release is None:
            continue
        is_packed, body = packed_release(release)
        tables.run(
            "INSERT INTO releases (index_id, project, version, born, died, packed, body) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*key, tables.serial, LIVE, int(is_packed), body),
        )


def _write_attachments(tables: Tables, effects: Effects) -> None:
    for (index, project, filename), attachment in effects.attachments.items():
        key = (tables.ids[index], project, filename)
        tables.end("attachments", "index_id = ? AND project = ? AND filename = ?", key)
        if attachment is not None:
            tables.run(
                "INSERT INTO attachments (index_id, project, filename, about, born, died, sha256, body)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *key,
                    attachment.about,
                    tables.serial,
                    LIVE,
                    bytes.fromhex(attachment.sha256),
                    encode(attachment),
                ),
            )


def _write_standing(
    tables: Tables, effects: Effects, key: ProjectKey, row: StandingRow, stored: StandingRow | None, *, is_emptied: bool
) -> None:
    """Write a standing and point it at its page. `stored`: the row before the commit; `is_emptied`: whether its index was emptied."""
    of_project = (tables.ids[key[0]], key[1])
    edit, stays = effects.pages.get(key), key in effects.superseded
    more = edit_page(tables, key, edit, is_new=stored is None, stays=stays) if edit is not None else 0
    page = _page(tables, row, edit)
    says = (row.stamp, int(row.holds), row.file_count + more, row.head.status, encode(row.head), row.content)
    if stored is not None and stored.since == row.since and not stays:
        if stored.kept and page is not None:
            pages.let_go(tables, "index_id = ? AND project = ? AND died = ?", (*of_project, LIVE))
        tables.run(
            "UPDATE standings SET stamp = ?, holds = ?, file_count = ?, status = ?, head = ?, content = ?, page = coalesce(?, page)"
            " WHERE index_id = ? AND project = ? AND died = ?",
            (*says, page, *of_project, LIVE),
        )
        return
    if is_emptied:  # emptying has made a row of this commit
        tables.run(
            "DELETE FROM standings WHERE index_id = ? AND project = ? AND died = ? AND born = ?",
            (*of_project, LIVE, tables.serial),
        )
    if page is None:
        page = pages.point_again(tables, *of_project)
    if stored is not None:
        tables.run(
            "UPDATE standings SET died = ?, mirrored = ? WHERE index_id = ? AND project = ? AND died = ?",
            (tables.serial, int(stays), *of_project, LIVE),
        )
    tables.run(
        "INSERT INTO standings (index_id, project, died, born, since, mirrored, stamp, holds, file_count, status, head, content, page)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*of_project, LIVE, tables.serial, row.since, int(row.mirrored), *says, page),
    )


def _page(tables: Tables, row: StandingRow, edit: PageEdit | None) -> int | None:
    """The number of the page in one piece that a row will point at. 0: none. None: the page stays the same."""
    if edit is not None and edit.kept is not None:
        return pages.point_at(tables, edit.kept.kept)
    return None if row.kept else 0
