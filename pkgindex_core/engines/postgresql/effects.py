"""The statements that write the effects of a plan: rows end and begin by their keys. All decisions are in the plan.

Rows with a past get the serial at which they died, others are replaced. `mirrored` has the statements of pages and lists of names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from pkgindex_core.engines.packing import packed_release
from pkgindex_core.engines.postgresql import mirrored
from pkgindex_core.engines.postgresql.batches import Statements, ended, records
from pkgindex_core.engines.postgresql.configured import write_configs, write_identities
from pkgindex_core.models import PageHead, Serial
from pkgindex_core.rules.planning import Effects, Emptied, Facts, StandingRow
from pkgindex_core.rules.planning.facts import ProjectKey

_encode = msgspec.msgpack.Encoder().encode


def write(batch: Statements, facts: Facts, effects: Effects, serial: Serial) -> None:
    """Add the statements of all effects. The log is not among them."""
    write_configs(batch, effects, serial)  # first, because rows of an index refer to its name
    for place in effects.emptied:
        _empty(batch, place, serial)
    mirrored.forget_past(batch, effects.forgotten)
    write_identities(batch, effects, serial)
    _write_files(batch, effects, serial)
    _write_tombstones(batch, effects)
    _write_parts(batch, effects, serial)
    mirrored.edit_pages(batch, facts, effects, serial)
    _write_standings(batch, facts, effects, serial)
    for index, names in effects.names.items():
        mirrored.edit_names(batch, index, names)
    batch.add(_COUNT, ({"name": index, "more": more} for index, more in effects.counts.items()))
    if effects.tree_changed:
        batch.add_one(_TREE, serial=serial)
    if effects.standings or effects.emptied or effects.forgotten:
        mirrored.drop_loose(batch)


# Several commits may count in one index.
_COUNT: Final = (
    "UPDATE indexes SET project_count = project_count + x.more"
    f" FROM (SELECT name, sum(more)::bigint AS more FROM {records('name text, more bigint')} GROUP BY name) AS x WHERE indexes.name = x.name"
)
_TREE: Final = f"INSERT INTO tree_changes SELECT serial FROM {records('serial bigint')}"


_OF_INDEX: Final = records("serial bigint, index_name text, head bytea")
_EMPTY_INDEX: Final = (
    ended("files", "index_name") + " AND NOT old.mirrored",
    ended("releases", "index_name"),
    ended("attachments", "index_name"),
    *(
        f"DELETE FROM {table} AS old USING {_OF_INDEX} WHERE old.index_name = x.index_name"
        for table in ("tombstones", "strays", "listed_names", "listings")
    ),
    f"DELETE FROM files AS old USING {_OF_INDEX} WHERE old.index_name = x.index_name AND old.mirrored",
    # Mirrored projects lose their past, and their rows change in place, with the stamp of `stamp_after` …
    mirrored.loosen(f"standings AS old JOIN {_OF_INDEX} ON old.index_name = x.index_name"),
    f"DELETE FROM standings AS old USING {_OF_INDEX} WHERE old.index_name = x.index_name AND old.mirrored AND old.died < 9223372036854775807",
    "UPDATE standings AS old SET born = old.since, holds = false, stamp = greatest(x.serial, old.stamp + 1), file_count = 0, status = '',"
    f" head = x.head, content = '', page = NULL FROM {_OF_INDEX}"
    " WHERE old.index_name = x.index_name AND old.died = 9223372036854775807 AND old.mirrored",
    # … and the rows of held projects end and stay, each followed by a row that does not hold the project.
    ended("standings", "index_name") + " AND old.holds",
    "INSERT INTO standings (index_name, project, died, born, since, stamp, mirrored, holds, file_count, status, head, content)"
    " SELECT old.index_name, old.project, 9223372036854775807, x.serial, x.serial, x.serial, false, false, 0, '', x.head, ''"
    f" FROM standings AS old JOIN {_OF_INDEX} ON old.index_name = x.index_name AND old.died = x.serial ON CONFLICT DO NOTHING",
    f"UPDATE indexes SET project_count = 0 FROM {_OF_INDEX} WHERE indexes.name = x.index_name",
)
_EMPTY_PROJECT: Final = (
    "INSERT INTO tombstones (index_name, filename, project, sha256) SELECT f.index_name, f.filename, f.project, f.sha256 FROM files AS f"
    f" JOIN {records('serial bigint, index_name text, project text')} ON f.index_name = x.index_name AND f.project = x.project"
    " WHERE f.died = 9223372036854775807 AND NOT f.mirrored"
    " ON CONFLICT (index_name, filename) DO UPDATE SET project = excluded.project, sha256 = excluded.sha256",
    ended("files", "index_name", "project") + " AND NOT old.mirrored",
    ended("releases", "index_name", "project"),
    ended("attachments", "index_name", "project"),
)
_EMPTY_RESULTS: Final = ended("attachments", "index_name", "project", "about")


def _empty(batch: Statements, place: Emptied, serial: Serial) -> None:
    if place.project is None:
        for sql in _EMPTY_INDEX:
            batch.add_one(sql, serial=serial, index_name=place.index, head=_encode(PageHead()))
    elif place.about:
        of_file = {"index_name": place.index, "project": place.project, "about": place.about}
        batch.add_one(_EMPTY_RESULTS, serial=serial, **of_file)
    else:
        for sql in _EMPTY_PROJECT:
            batch.add_one(sql, serial=serial, index_name=place.index, project=place.project)


_END_FILES: Final = ended("files", "index_name", "filename") + " AND NOT old.mirrored"


def _write_files(batch: Statements, effects: Effects, serial: Serial) -> None:
    files = effects.files.items()
    batch.add(_END_FILES, ({"serial": serial, "index_name": key[0], "filename": key[1]} for key, _ in files))
    batch.add(
        mirrored.BEGIN_FILES,
        (
            mirrored.file_record((key[0], stored.project), stored.file, serial, is_mirrored=False)
            for key, stored in files
            if stored is not None
        ),
    )


_DROP_TOMBSTONES: Final = (
    f"DELETE FROM tombstones AS old USING {records('index_name text, filename text')}"
    " WHERE old.index_name = x.index_name AND old.filename = x.filename"
)
_PUT_TOMBSTONES: Final = (
    "INSERT INTO tombstones (index_name, filename, project, sha256) SELECT index_name, filename, project, sha256"
    f" FROM {records('index_name text, filename text, project text, sha256 bytea')}"
)


def _write_tombstones(batch: Statements, effects: Effects) -> None:
    keys = {key: {"index_name": key[0], "filename": key[1]} for key in effects.tombstones}
    batch.add(_DROP_TOMBSTONES, keys.values())
    batch.add(
        _PUT_TOMBSTONES,
        (
            {**keys[key], "project": taken.project, "sha256": bytes.fromhex(taken.sha256)}
            for key, taken in effects.tombstones.items()
            if taken is not None
        ),
    )


_END_RELEASES: Final = ended("releases", "index_name", "project", "version")
_BEGIN_RELEASES: Final = (
    "INSERT INTO releases (index_name, project, version, died, born, packed, body)"
    " SELECT index_name, project, version, 9223372036854775807, serial, packed, body"
    f" FROM {records('serial bigint, index_name text, project text, version text, packed boolean, body bytea')}"
)
_END_ATTACHMENTS: Final = ended("attachments", "index_name", "project", "filename")
_BEGIN_ATTACHMENTS: Final = (
    "INSERT INTO attachments (index_name, project, filename, died, born, about, sha256, body)"
    " SELECT index_name, project, filename, 9223372036854775807, serial, about, sha256, body"
    f" FROM {records('serial bigint, index_name text, project text, filename text, about text, sha256 bytea, body bytea')}"
)


def _write_parts(batch: Statements, effects: Effects, serial: Serial) -> None:
    releases: list[Mapping[str, Any]] = []
    ended = [_part(key, "version", serial) for key in effects.releases]
    for key, release in effects.releases.items():
        if release is not None:
            packed, body = packed_release(release)
            releases.append({**_part(key, "version", serial), "packed": packed, "body": body})
    batch.add(_END_RELEASES, ended)
    batch.add(_BEGIN_RELEASES, releases)
    attachments = effects.attachments.items()
    batch.add(_END_ATTACHMENTS, (_part(key, "filename", serial) for key, _ in attachments))
    batch.add(
        _BEGIN_ATTACHMENTS,
        (
            {
                **_part(key, "filename", serial),
                "about": each.about,
                "sha256": bytes.fromhex(each.sha256),
                "body": _encode(each),
            }
            for key, each in attachments
            if each is not None
        ),
    )


def _part(key: tuple[str, str, str], last: str, serial: Serial) -> dict[str, Any]:
    return {"serial": serial, "index_name": key[0], "project": key[1], last: key[2]}


_STANDING: Final = records(
    "serial bigint, index_name text, project text, since bigint, stamp bigint, mirrored boolean, holds boolean, file_count bigint,"
    " counts boolean, status text, head bytea, content text, page bytea, same boolean, stays boolean"
)
_OF_STANDING: Final = "old.index_name = x.index_name AND old.project = x.project AND old.died = 9223372036854775807"
# The files of a page that is not in one piece are counted when they are written.
_FILE_COUNT: Final = (
    "CASE WHEN x.counts THEN (SELECT count(*) FROM files AS f WHERE f.index_name = x.index_name AND f.project = x.project"
    " AND f.died = 9223372036854775807 AND f.mirrored) ELSE x.file_count END"
)
_CHANGE: Final = (
    f"UPDATE standings AS old SET stamp = x.stamp, holds = x.holds, file_count = {_FILE_COUNT}, status = x.status, head = x.head,"
    f" content = x.content, page = CASE WHEN x.same THEN old.page ELSE x.page END FROM {_STANDING} WHERE {_OF_STANDING}"
)
_DROP_MADE: Final = f"DELETE FROM standings AS old USING {_STANDING} WHERE {_OF_STANDING} AND old.born = x.serial"
_END_STANDINGS: Final = (
    f"UPDATE standings AS old SET died = x.serial, mirrored = x.stays FROM {_STANDING} WHERE {_OF_STANDING}"
)
_BEGIN_STANDINGS: Final = (
    "INSERT INTO standings (index_name, project, died, born, since, stamp, mirrored, holds, file_count, status, head, content, page)"
    " SELECT x.index_name, x.project, 9223372036854775807, x.serial, x.since, x.stamp, x.mirrored, x.holds,"
    f" {_FILE_COUNT}, x.status, x.head, x.content, CASE WHEN x.same THEN"
    " (SELECT old.page FROM standings AS old WHERE old.index_name = x.index_name AND old.project = x.project AND old.died = x.serial)"
    f" ELSE x.page END FROM {_STANDING}"
)


def _write_standings(batch: Statements, facts: Facts, effects: Effects, serial: Serial) -> None:
    emptied = {place.index for place in effects.emptied if place.project is None}
    changed: list[Mapping[str, Any]] = []
    made: list[Mapping[str, Any]] = []
    begun: list[Mapping[str, Any]] = []
    for key, row in effects.standings.items():
        stored, stays = facts.standings.get(key), key in effects.superseded
        record = _standing(effects, key, row, serial, stays=stays)
        if stored is not None and stored.since == row.since and not stays:
            changed.append(record)
            continue
        begun.append(record)
        if key[0] in emptied:  # emptying has made a row of this commit
            made.append(record)
    batch.add(mirrored.LOOSEN_CHANGED, changed)
    batch.add(_CHANGE, changed)
    batch.add(_DROP_MADE, made)
    batch.add(_END_STANDINGS, begun)
    batch.add(_BEGIN_STANDINGS, begun)


def _standing(effects: Effects, key: ProjectKey, row: StandingRow, serial: Serial, *, stays: bool) -> dict[str, Any]:
    edit = effects.pages.get(key)
    page = mirrored.digest(edit.kept.kept) if edit is not None and edit.kept is not None else None
    return {
        "serial": serial,
        "index_name": key[0],
        "project": key[1],
        "since": row.since,
        "stamp": row.stamp,
        "mirrored": row.mirrored,
        "holds": row.holds,
        "file_count": row.file_count,
        "counts": edit is not None and bool(edit.put or edit.drop),
        "status": row.head.status,
        "head": _encode(row.head),
        "content": row.content,
        "page": page,
        "same": page is None and row.kept,
        "stays": stays,
    }
