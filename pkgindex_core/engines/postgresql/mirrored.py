"""The statements of mirrored projects: pages in one piece, single files, strays, lists of names, and the past.

A page in one piece stands once in `pages`, under the sha256 of its bytes. Statements that let standings stop pointing at pages note those in
`loose_pages`, and the last statement of a commit drops the ones at which nothing points any more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from pkgindex_core.engines.postgresql.batches import Statements, records
from pkgindex_core.formats.filenames import leads_to
from pkgindex_core.formats.fragments import page_row
from pkgindex_core.models import File, Serial
from pkgindex_core.names import IndexName
from pkgindex_core.rules.planning import Effects, Facts, NamesEdit, PageEdit
from pkgindex_core.rules.planning.facts import ProjectKey

_encode = msgspec.msgpack.Encoder().encode

BEGIN_FILES: Final = (
    "INSERT INTO files (index_name, project, filename, died, born, mirrored, sha256, metadata_sha256, version, fragment, body)"
    " SELECT index_name, project, filename, 9223372036854775807, serial, mirrored, sha256, metadata_sha256, version, fragment, body FROM "
) + records(
    "serial bigint, index_name text, project text, filename text, mirrored boolean, sha256 bytea, metadata_sha256 bytea, version text,"
    " fragment bytea, body bytea"
)


def file_record(key: ProjectKey, file: File, serial: Serial, *, is_mirrored: bool) -> Mapping[str, Any]:
    """The object of a file for `BEGIN_FILES`."""
    row = page_row(file)
    return {
        "serial": serial,
        "index_name": key[0],
        "project": key[1],
        "filename": row.filename,
        "mirrored": is_mirrored,
        "sha256": bytes.fromhex(file.sha256) if file.sha256 else None,
        "metadata_sha256": bytes.fromhex(file.metadata_sha256) if file.metadata_sha256 else None,
        "version": row.version,
        "fragment": row.fragment,
        "body": row.body,
    }


def digest(kept: bytes) -> bytes:
    return hashlib.sha256(kept).digest()


def loosen(standings: str) -> str:
    """A statement that notes the pages of standings, a FROM item with the table as `old`, which stop pointing at them next."""
    return f"INSERT INTO loose_pages SELECT DISTINCT old.page FROM {standings} WHERE old.page IS NOT NULL ON CONFLICT DO NOTHING"


LOOSEN_CHANGED: Final = loosen(
    f"standings AS old JOIN {records('index_name text, project text, same boolean')}"
    " ON old.index_name = x.index_name AND old.project = x.project AND old.died = 9223372036854775807 AND NOT x.same"
)
# Several commits may bring the same page.
_PUT_PAGES: Final = (
    "INSERT INTO pages (digest, logged, kept) SELECT DISTINCT ON (digest) digest, logged, kept"
    f" FROM {records('digest bytea, logged boolean, kept bytea')}"
    " ON CONFLICT (digest) DO UPDATE SET logged = true WHERE excluded.logged AND NOT pages.logged"
)
_DROP_LOOSE: Final = (
    "DELETE FROM pages USING loose_pages AS loose WHERE pages.digest = loose.digest AND NOT pages.logged"
    " AND NOT EXISTS (SELECT FROM standings WHERE standings.page = pages.digest)",
    "DELETE FROM loose_pages",
)


def put_pages(batch: Statements, pages: Iterable[bytes], *, logged: bool) -> None:
    """Store pages in one piece that are not stored yet. Those that the log names are never dropped."""
    found = {digest(kept): kept for kept in pages}
    batch.add(_PUT_PAGES, ({"digest": name, "logged": logged, "kept": kept} for name, kept in found.items()))


def drop_loose(batch: Statements) -> None:
    for sql in _DROP_LOOSE:
        batch.add_one(sql)


_PAST: Final = records("index_name text, project text, upto bigint")
_OF_PAST: Final = "old.index_name = x.index_name AND old.project = x.project AND old.died <= x.upto"
_FORGET: Final = (
    loosen(f"standings AS old JOIN {_PAST} ON {_OF_PAST} AND old.mirrored"),
    # The oldest remaining row answers for the time of the dropped ones.
    f"WITH gone AS (DELETE FROM standings AS old USING {_PAST} WHERE {_OF_PAST} AND old.mirrored"
    " RETURNING old.index_name, old.project, old.born, old.died),"
    " past AS (SELECT index_name, project, min(born) AS born, max(died) AS died FROM gone GROUP BY index_name, project)"
    " UPDATE standings AS next SET born = past.born FROM past"
    " WHERE next.index_name = past.index_name AND next.project = past.project AND next.born = past.died AND next.mirrored",
    f"DELETE FROM files AS old USING {_PAST} WHERE {_OF_PAST} AND old.mirrored",
    f"DELETE FROM strays AS old USING {_PAST} WHERE {_OF_PAST}",
)


def forget_past(batch: Statements, forgotten: Mapping[ProjectKey, Serial]) -> None:
    """Drop the past of mirrored projects that ended by a serial."""
    rows = [{"index_name": key[0], "project": key[1], "upto": upto} for key, upto in forgotten.items()]
    for sql in _FORGET:
        batch.add(sql, rows)


_PROJECT: Final = records("serial bigint, index_name text, project text")
_FILE: Final = records("serial bigint, index_name text, project text, filename text")
_OF_PROJECT: Final = "old.index_name = x.index_name AND old.project = x.project AND old.died = 9223372036854775807"
_OF_FILE: Final = f"{_OF_PROJECT} AND old.filename = x.filename AND old.mirrored"
# By whether the stored page stays as the past.
_FORGET_FILES: Final = {
    True: f"UPDATE files AS old SET died = x.serial FROM {_PROJECT} WHERE {_OF_PROJECT} AND old.mirrored",
    False: f"DELETE FROM files AS old USING {_PROJECT} WHERE {_OF_PROJECT} AND old.mirrored",
}
_FORGET_STRAYS: Final = {
    True: f"UPDATE strays AS old SET died = x.serial FROM {_PROJECT} WHERE {_OF_PROJECT}",
    False: f"DELETE FROM strays AS old USING {_PROJECT} WHERE {_OF_PROJECT}",
}
_DROP_FILES: Final = {
    True: f"UPDATE files AS old SET died = x.serial FROM {_FILE} WHERE {_OF_FILE}",
    False: f"DELETE FROM files AS old USING {_FILE} WHERE {_OF_FILE}",
}
_PUT_STRAYS: Final = (
    f"INSERT INTO strays (index_name, filename, project, died) SELECT index_name, filename, project, 9223372036854775807 FROM {_FILE}"
    " ON CONFLICT (index_name, filename, project) DO UPDATE SET died = excluded.died"
)


def edit_pages(batch: Statements, facts: Facts, effects: Effects, serial: Serial) -> None:
    """Edit the files of pages. Their standings are written next."""
    for key, edit in effects.pages.items():
        _edit_page(batch, key, edit, serial, is_new=key not in facts.standings, stays=key in effects.superseded)


def _edit_page(
    batch: Statements, key: ProjectKey, edit: PageEdit, serial: Serial, *, is_new: bool, stays: bool
) -> None:
    of_project = {"serial": serial, "index_name": key[0], "project": key[1]}
    if edit.fresh and not is_new:
        batch.add_one(_FORGET_FILES[stays], **of_project)
        batch.add_one(_FORGET_STRAYS[stays], **of_project)
    if edit.kept is not None:
        put_pages(batch, [edit.kept.kept], logged=False)
        strays = (filename for filename in edit.kept.strays if not leads_to(filename, key[1]))
        batch.add(_PUT_STRAYS, ({**of_project, "filename": filename} for filename in strays))
        return
    batch.add(_DROP_FILES[stays], ({**of_project, "filename": filename} for filename in (*edit.drop, *edit.put)))
    batch.add(BEGIN_FILES, (file_record(key, file, serial, is_mirrored=True) for file in edit.put.values()))


_LISTING: Final = records("index_name text, stamp bigint, validators bytea")
_NAMES: Final = records("index_name text, name text, display text")
_PUT_LISTING: Final = (
    f"INSERT INTO listings (index_name, stamp, count, validators) SELECT index_name, stamp, 0, validators FROM {_LISTING}"
    " ON CONFLICT (index_name) DO UPDATE SET stamp = excluded.stamp, validators = excluded.validators"
)
_DROP_NAMES: Final = (
    f"WITH gone AS (DELETE FROM listed_names AS old USING {_NAMES} WHERE old.index_name = x.index_name AND old.name = x.name RETURNING old.index_name)"
    " UPDATE listings SET count = count - (SELECT count(*) FROM gone) WHERE index_name IN (SELECT index_name FROM gone)"
)
_PUT_NAMES: Final = (
    f"WITH new AS (INSERT INTO listed_names (index_name, name, display) SELECT index_name, name, display FROM {_NAMES}"
    " ON CONFLICT DO NOTHING RETURNING index_name)"
    " UPDATE listings SET count = count + (SELECT count(*) FROM new) WHERE index_name IN (SELECT index_name FROM new)"
)
_RENAME: Final = (
    f"UPDATE listed_names AS old SET display = x.display FROM {_NAMES}"
    " WHERE old.index_name = x.index_name AND old.name = x.name AND old.display IS DISTINCT FROM x.display"
)


def edit_names(batch: Statements, index: IndexName, edit: NamesEdit) -> None:
    batch.add_one(_PUT_LISTING, index_name=index, stamp=edit.stamp, validators=_encode(edit.validators))
    batch.add(_DROP_NAMES, ({"index_name": index, "name": name} for name in edit.drop))
    put = [
        {"index_name": index, "name": name, "display": None if display in {name, ""} else display}
        for name, display in sorted(edit.put.items())
    ]
    batch.add(_PUT_NAMES, put)
    batch.add(_RENAME, put)
