"""Reads, as plain functions of a connection.

`at` is always a serial: `NOW` for the present (see `database`). A function with more than one statement runs inside `snapshot`. Only
`file` and `find_file` decode files.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

import apsw
import msgspec

from pkgindex_core.changes import Commit
from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import Sha256
from pkgindex_core.engines.packing import ANSWER_BYTES, changes_of, kept_of, release_of, some_changes, with_kept
from pkgindex_core.engines.sqlite import segments
from pkgindex_core.engines.sqlite.database import LIVE, NOW
from pkgindex_core.engines.touches import LOG_BYTES
from pkgindex_core.errors import Corrupt
from pkgindex_core.formats.kept_pages import KeptRows, rows_of
from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.models import (
    Attachment,
    File,
    Page,
    PageHead,
    PageRow,
    ProjectRow,
    Release,
    Serial,
    Standing,
    Token,
    Tree,
    User,
    decode_file,
)
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.index_store import EVERYTHING, Everything, Listing, PageSince, Taken, Touched
from pkgindex_core.rules.touching import together, touched_by
from pkgindex_core.stored_configs import decode_config

BATCH: Final = 5_000
"""Rows of one batch of a list."""

_SIZE: Final = (
    "CAST(CAST(substr(fragment, nullif(instr(fragment, CAST('\"size\":' AS BLOB)), 0) + 7, 20) AS TEXT) AS INTEGER)"
)
"""The size of a file by its fragment, as migration 7 counts it."""

_head_decoder = msgspec.msgpack.Decoder(PageHead)
_user_decoder = msgspec.msgpack.Decoder(User)
_token_decoder = msgspec.msgpack.Decoder(Token)
_attachment_decoder = msgspec.msgpack.Decoder(Attachment)
_validators_decoder = msgspec.msgpack.Decoder(dict[str, str])


class Reader:
    """A connection that reads, with a cache of the numbers of index names, which never change."""

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection
        self._ids: dict[IndexName, int] = {}

    def index_id(self, index: IndexName) -> int:
        """The index's number; -1, which no row has, when the name was never used."""
        known = self._ids.get(index)
        if known is None:
            row = self.row("SELECT id FROM index_names WHERE name = ?", (index,))
            if row is None:
                return -1
            known = self._ids[index] = row[0]
        return known

    def row(self, sql: str, bindings: apsw.Bindings = ()) -> tuple[Any, ...] | None:
        # Fetched to the end: an unfinished statement would hold the connection in an old snapshot.
        rows = self.connection.execute(sql, bindings).fetchall()
        return rows[0] if rows else None

    def rows(self, sql: str, bindings: apsw.Bindings = ()) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql, bindings).fetchall()

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Run several statements on one state of the database."""
        self.connection.execute("BEGIN")
        try:
            yield
        finally:
            self.connection.execute("COMMIT")

    def close(self) -> None:
        self.connection.close()


def data_version(reader: Reader) -> int:
    """Differs after any other connection's commit, in any process."""
    version: int = reader.connection.execute("PRAGMA data_version").get
    return version


def head(reader: Reader) -> Serial:
    row = reader.row("SELECT max(serial) FROM commits")
    return Serial((row and row[0]) or 0)


def serial_at(reader: Reader, moment: Timestamp) -> Serial:
    row = reader.row("SELECT serial FROM commits WHERE at <= ? ORDER BY at DESC, serial DESC LIMIT 1", (moment,))
    return Serial(row[0] if row else 0)


def tree_serial(reader: Reader, at: int) -> Serial:
    row = reader.row("SELECT max(serial) FROM tree_changes WHERE serial <= ?", (at,))
    return Serial((row and row[0]) or 0)


def tree(reader: Reader, at: int) -> Tree:
    with reader.snapshot():
        serial = tree_serial(reader, at)
        bodies = reader.rows("SELECT body FROM configs WHERE died > ?1 AND born <= ?1", (at,))
    configs = [decode_config(body) for (body,) in bodies]
    return Tree(serial=serial, indexes={config.name: config for config in configs})


def standings(reader: Reader, project: ProjectName, order: Sequence[IndexName], at: int) -> tuple[Standing, ...]:
    ids = [reader.index_id(index) for index in order]
    # One statement, so one state. The lives of rows do not overlap, so each index has at most one row.
    found = {row[0]: row for row in reader.rows(_standings_sql(len(ids)), (project, at, at, *ids))}
    return tuple(_standing(index, found.get(index_id)) for index, index_id in zip(order, ids, strict=True))


@functools.cache
def _standings_sql(count: int) -> str:
    marks = ",".join("?" * count)
    return (
        "SELECT index_id, stamp, holds, file_count, status, content FROM standings"  # noqa: S608 - only question marks are added
        f" WHERE project = ? AND died > ? AND born <= ? AND index_id IN ({marks})"
    )


def _standing(index: IndexName, row: tuple[Any, ...] | None) -> Standing:
    if row is None:
        return Standing(index=index, stamp=Serial(0), holds=False)
    _, stamp, holds, file_count, status, content = row
    return Standing(
        index=index, stamp=Serial(stamp), holds=bool(holds), file_count=file_count, status=status, content=content
    )


class TooLong(msgspec.Struct, frozen=True):
    """The page has more files than the caller wants to read in this thread."""

    file_count: int


def page(reader: Reader, index: IndexName, project: ProjectName, at: int, *, most: int = LIVE) -> Page | TooLong | None:
    """A page, unless it has more than `most` files and is not kept in one piece."""
    index_id = reader.index_id(index)
    with reader.snapshot():
        row = reader.row(
            "SELECT died, stamp, mirrored, file_count, head, content, page, kept FROM standings LEFT JOIN pages ON id = page"
            " WHERE index_id = ? AND project = ? AND died > ? AND born <= ? AND holds ORDER BY died LIMIT 1",
            (index_id, project, at, at),
        )
        if row is None:
            return None
        died, stamp, mirrored, file_count, encoded_head, content, number, kept = row
        if file_count > most and not number:
            return TooLong(file_count)
        if number:
            rows: Collection[PageRow] = _kept_rows(kept, project)
        elif mirrored:
            rows = _mirrored_rows(reader, index_id, project, file_count, died)
        else:
            rows = _hosted_rows(reader, index_id, project, at)
    head = _head_decoder.decode(encoded_head)
    return Page(index=index, project=project, stamp=Serial(stamp), head=head, rows=rows, content=content)


def _hosted_rows(reader: Reader, index_id: int, project: ProjectName, at: int) -> Collection[PageRow]:
    found = reader.connection.execute(
        "SELECT filename, version, fragment, body FROM files"
        " WHERE index_id = ? AND project = ? AND died > ? AND born <= ?",
        (index_id, project, at, at),
    )
    return tuple([PageRow(*row) for row in found])


def page_since(reader: Reader, index: IndexName, project: ProjectName, since: int) -> PageSince | None:
    of_project = (reader.index_id(index), project)
    with reader.snapshot():
        row = reader.row(
            "SELECT stamp, head FROM standings WHERE index_id = ? AND project = ? AND died = ? AND holds AND NOT mirrored",
            (*of_project, LIVE),
        )
        if row is None:
            return None
        gone = reader.rows(
            "SELECT version, filename FROM files WHERE index_id = ? AND project = ? AND died > ? AND died < ? AND born <= ?",
            (*of_project, since, LIVE, since),
        )
        # Rows are appended and never removed, so the latest are the last ones. The index has them in this order.
        found = reader.connection.execute(
            "SELECT born, filename, version, fragment, body FROM files WHERE index_id = ? AND project = ? AND died = ? ORDER BY id DESC",
            (*of_project, LIVE),
        )
        with contextlib.closing(found):
            came = tuple([PageRow(*row[1:]) for row in itertools.takewhile(lambda row: row[0] > since, found)])
    stamp, encoded_head = row
    head = _head_decoder.decode(encoded_head)
    return PageSince(page=Page(index=index, project=project, stamp=Serial(stamp), head=head, rows=came), gone=gone)


def _mirrored_rows(reader: Reader, index_id: int, project: ProjectName, count: int, died: int) -> Collection[PageRow]:
    table, bindings = _segments(index_id, project, died)
    found = reader.rows(f"SELECT rows FROM {table} ORDER BY low", bindings)  # noqa: S608 - one of two constants
    packed = segments.PackedRows([data for (data,) in found], count)
    return packed if count >= segments.LONG else tuple(packed)


def _segments(index_id: int, project: ProjectName, died: int) -> tuple[str, tuple[Any, ...]]:
    """The FROM clause of the segments that a page had when its standing died, with a WHERE to which conditions can be added."""
    if died == LIVE:
        return "segments WHERE index_id = ? AND project = ?", (index_id, project)
    before = (
        "(SELECT low, rows FROM segments WHERE index_id = ? AND project = ? AND born < ?"
        " UNION ALL SELECT low, rows FROM past_segments WHERE index_id = ? AND project = ? AND born < ? AND died >= ?) WHERE true"
    )
    return before, (index_id, project, died, index_id, project, died, died)


def _kept_rows(kept: bytes | None, project: ProjectName) -> KeptRows:
    if kept is None:
        raise Corrupt(f"the page of {project} is missing in the index database")
    return rows_of(kept)


def file(reader: Reader, index: IndexName, project: ProjectName, filename: str, at: int) -> File | None:
    with reader.snapshot():
        return _file(reader, reader.index_id(index), project, filename, at)


def _file(reader: Reader, index_id: int, project: ProjectName, filename: str, at: int) -> File | None:
    row = reader.row(
        "SELECT died, mirrored, page, kept FROM standings LEFT JOIN pages ON id = page"
        " WHERE index_id = ? AND project = ? AND died > ? AND born <= ? AND holds ORDER BY died LIMIT 1",
        (index_id, project, at, at),
    )
    if row is None:
        return None
    died, is_mirrored, number, kept = row
    if not is_mirrored:
        found = _hosted_file(reader, index_id, filename, at)
        return found[1] if found is not None and found[0] == project else None
    if number:
        return _kept_rows(kept, project).find(filename)
    table, bindings = _segments(index_id, project, died)
    sql = f"SELECT rows FROM {table} AND low <= ? ORDER BY low DESC LIMIT 1"  # noqa: S608 - one of two constants
    packed = reader.row(sql, (*bindings, filename))
    mirrored = segments.row_named(segments.unpack(packed[0]), filename) if packed else None
    return decode_file(mirrored.body) if mirrored is not None else None


def _hosted_file(reader: Reader, index_id: int, filename: str, at: int) -> tuple[ProjectName, File] | None:
    row = reader.row(
        "SELECT project, body FROM files WHERE index_id = ? AND filename = ? AND died > ? AND born <= ?",
        (index_id, filename, at, at),
    )
    return (ProjectName(row[0]), decode_file(row[1])) if row else None


def find_file(
    reader: Reader, index: IndexName, filename: str, candidates: Sequence[ProjectName], at: int
) -> tuple[ProjectName, File] | None:
    index_id = reader.index_id(index)
    with reader.snapshot():
        hosted = _hosted_file(reader, index_id, filename, at)
        if hosted is not None:
            return hosted
        strays = reader.rows(
            "SELECT project FROM strays WHERE index_id = ? AND filename = ? ORDER BY project", (index_id, filename)
        )
        for project in (*candidates, *(ProjectName(stray) for (stray,) in strays)):
            found = _file(reader, index_id, project, filename, at)
            if found is not None:
                return project, found
    return None


def taken(reader: Reader, index: IndexName, filename: str) -> Taken | None:
    index_id = reader.index_id(index)
    row = reader.row(
        "SELECT project, sha256, 1 FROM files WHERE index_id = ?1 AND filename = ?2 AND died = ?3"
        " UNION ALL SELECT project, sha256, 0 FROM tombstones WHERE index_id = ?1 AND filename = ?2",
        (index_id, filename, LIVE),
    )
    if row is None:
        return None
    return Taken(project=ProjectName(row[0]), sha256=Sha256(row[1].hex()), live=bool(row[2]))


def former(reader: Reader, index: IndexName, filename: str) -> Sequence[Taken]:
    index_id = reader.index_id(index)
    # An index was made at its latest configuration whose birth is no other one's death.
    found = reader.connection.execute(
        "WITH made (serial) AS (SELECT max(born) FROM configs AS later WHERE index_id = ?1"
        " AND EXISTS (SELECT 1 FROM configs WHERE index_id = ?1 AND died = ?3)"
        " AND NOT EXISTS (SELECT 1 FROM configs AS earlier WHERE index_id = ?1 AND earlier.died = later.born))"
        " SELECT project, sha256 FROM files, made WHERE index_id = ?1 AND filename = ?2 AND died < ?3 AND born >= made.serial"
        " AND NOT EXISTS (SELECT 1 FROM files AS live WHERE live.index_id = ?1 AND live.filename = ?2 AND live.died = ?3"
        " AND live.sha256 = files.sha256)"
        " UNION SELECT project, sha256 FROM tombstones WHERE index_id = ?1 AND filename = ?2",
        (index_id, filename, LIVE),
    )
    return [Taken(project=ProjectName(row[0]), sha256=Sha256(row[1].hex()), live=False) for row in found]


def releases(reader: Reader, index: IndexName, project: ProjectName, at: int) -> Sequence[Release]:
    found = reader.connection.execute(
        "SELECT packed, body FROM releases WHERE index_id = ? AND project = ? AND died > ? AND born <= ?",
        (reader.index_id(index), project, at, at),
    )
    return [release_of(packed, body) for packed, body in found]


def released(reader: Reader, index: IndexName, project: ProjectName, at: int) -> Sequence[str]:
    found = reader.connection.execute(
        "SELECT version FROM releases WHERE index_id = ? AND project = ? AND died > ? AND born <= ?",
        (reader.index_id(index), project, at, at),
    )
    return [version for (version,) in found]


def release(reader: Reader, index: IndexName, project: ProjectName, version: str, at: int) -> Release | None:
    row = reader.row(
        "SELECT packed, body FROM releases"
        " WHERE index_id = ? AND project = ? AND version = ? AND died > ? AND born <= ?",
        (reader.index_id(index), project, canonical_version(version), at, at),
    )
    return release_of(*row) if row is not None else None


def attachments(reader: Reader, index: IndexName, project: ProjectName, at: int) -> Sequence[Attachment]:
    found = reader.connection.execute(
        "SELECT body FROM attachments WHERE index_id = ? AND project = ? AND died > ? AND born <= ? ORDER BY filename",
        (reader.index_id(index), project, at, at),
    )
    return [_attachment_decoder.decode(body) for (body,) in found]


def find_attachment(reader: Reader, index: IndexName, filename: str, at: int) -> tuple[ProjectName, Attachment] | None:
    row = reader.row(
        "SELECT project, body FROM attachments"
        " WHERE index_id = ? AND filename = ? AND died > ? AND born <= ? ORDER BY project LIMIT 1",
        (reader.index_id(index), filename, at, at),
    )
    return (ProjectName(row[0]), _attachment_decoder.decode(row[1])) if row else None


def projects(reader: Reader, index: IndexName, at: int, after: str, limit: int | None) -> Sequence[ProjectRow]:
    # No name is empty, so all names are after "". A negative limit is none.
    found = reader.connection.execute(
        "SELECT project, head, stamp FROM standings"
        " WHERE index_id = ? AND project > ? AND died > ? AND born <= ? AND holds ORDER BY project LIMIT ?",
        (reader.index_id(index), after, at, at, -1 if limit is None else limit),
    )
    return [ProjectRow(name, _head_decoder.decode(body).display_name or name, stamp) for name, body, stamp in found]


def stored_bytes(reader: Reader, index: IndexName, project: ProjectName) -> int:
    sql = "SELECT bytes FROM sizes JOIN index_names ON id = index_id WHERE name = ? AND project = ?"
    row = reader.row(sql, (index, project))
    return row[0] if row is not None else 0


def project_count(reader: Reader, index: IndexName) -> int:
    row = reader.row("SELECT project_count FROM index_names WHERE name = ?", (index,))
    return int(row[0]) if row else 0


def listing(reader: Reader, index: IndexName) -> Listing:
    row = reader.row("SELECT stamp, count, validators FROM listings WHERE index_id = ?", (reader.index_id(index),))
    if row is None:
        return Listing(stamp=Serial(0), count=0, validators={})
    validators: Mapping[str, str] = _validators_decoder.decode(row[2])
    return Listing(stamp=Serial(row[0]), count=row[1], validators=validators)


def listed_names(reader: Reader, index: IndexName, after: str, stamp: Serial) -> Sequence[ProjectRow]:
    """One batch of a list, after a name."""
    found = reader.connection.execute(
        "SELECT name, coalesce(display, name) FROM listed_names WHERE index_id = ? AND name > ? ORDER BY name LIMIT ?",
        (reader.index_id(index), after, BATCH),
    )
    return [ProjectRow(ProjectName(name), display, stamp) for name, display in found]


def user(reader: Reader, name: str, at: int) -> User | None:
    row = reader.row("SELECT body FROM users WHERE name = ? AND died > ? AND born <= ?", (name, at, at))
    return _user_decoder.decode(row[0]) if row else None


def users(reader: Reader, at: int) -> Sequence[User]:
    found = reader.rows("SELECT body FROM users WHERE died > ?1 AND born <= ?1 ORDER BY name", (at,))
    return [_user_decoder.decode(body) for (body,) in found]


def token(reader: Reader, token_id: str) -> Token | None:
    row = reader.row("SELECT body FROM tokens WHERE id = ?", (token_id,))
    return _token_decoder.decode(row[0]) if row else None


def tokens(reader: Reader, user: str) -> Sequence[Token]:
    found = reader.rows("SELECT body FROM tokens WHERE user = ? ORDER BY created, id", (user,))
    return [_token_decoder.decode(body) for (body,) in found]


def hosted_blobs(reader: Reader, after: int) -> tuple[int, Sequence[Sha256]]:
    """The digests of a batch of live hosted files after a row number, and the last row's number (0: none left).

    Rows keep their numbers, so a file that lives throughout the iteration is found, whatever is committed meanwhile.
    """
    found = reader.rows(
        "SELECT id, hex(sha256), hex(metadata_sha256) FROM files WHERE id > ? AND died = ? ORDER BY id LIMIT ?",
        (after, LIVE, BATCH),
    )
    digests = [Sha256(digest.lower()) for _, *both in found for digest in both if digest]
    return (found[-1][0] if found else 0), digests


def attached_blobs(reader: Reader, after: int) -> tuple[int, Sequence[Sha256]]:
    """The same for a batch of attachments."""
    found = reader.rows(
        "SELECT id, hex(sha256) FROM attachments WHERE id > ? AND died = ? ORDER BY id LIMIT ?", (after, LIVE, BATCH)
    )
    return (found[-1][0] if found else 0), [Sha256(digest.lower()) for _, digest in found]


Place = tuple[int, str, str]
"""The position of an iteration over segments: index, project, low."""


_LAST: Final = "\U0010ffff"
"""The `low` of a page in one piece: after all segments of its project. So a page that becomes one piece during an iteration over
its segments is still found."""


def mirrored_blobs(reader: Reader, after: Place | None) -> tuple[Place | None, Sequence[Sha256]]:
    """The same for a batch of pages and segments. Segments are only split upwards, so none is missed."""
    found = reader.rows(
        "SELECT index_id, project, low, rows, 0 FROM segments"
        " WHERE (index_id, project) >= (?1, ?2) AND (index_id, project, low) > (?1, ?2, ?3)"
        " UNION ALL SELECT index_id, project, ?4, kept, 1 FROM standings JOIN pages ON id = page"
        " WHERE (index_id, project) >= (?1, ?2) AND (index_id, project, ?4) > (?1, ?2, ?3) AND died = ?5"
        " ORDER BY index_id, project, low LIMIT 200",
        (*(after or (-1, "", "")), _LAST, LIVE),
    )
    digests: list[Sha256] = []
    for *_, data, is_kept in found:
        digests += KeptRows(data).blobs() if is_kept else segments.blobs(segments.unpack(data))
    return (found[-1][:3] if found else None), digests


def commits(reader: Reader, after: Serial, limit: int) -> Sequence[Commit]:
    found = reader.connection.execute(
        "SELECT serial, at, who, by_digest, packed, changes FROM commits WHERE serial > ? ORDER BY serial LIMIT ?",
        (after, max(limit, 0)),
    )
    with contextlib.closing(found):
        read = [*some_changes(found)]
    answer = []
    left = ANSWER_BYTES
    for (serial, at, who, by_digest), changes in read:
        kept = {digest: _logged(reader, digest) for digest in kept_of(changes)} if by_digest else {}
        whole = with_kept(changes, kept) if by_digest else changes
        answer.append(Commit(serial=Serial(serial), at=Timestamp(at), who=who, changes=whole))
        left -= sum(map(len, kept.values()))
        if left < 0:
            break
    return answer


def touched(reader: Reader, serials: Sequence[Serial]) -> Touched | Everything:
    """The things that commits touched, unless they are too long to look through."""
    left = LOG_BYTES
    found = []
    for serial in serials:
        # SQLite knows the length without reading the value.
        size = reader.row("SELECT length(changes) FROM commits WHERE serial = ?", (serial,))
        if size is None or (left := left - size[0]) < 0:
            return EVERYTHING
        for packed, data in reader.rows("SELECT packed, changes FROM commits WHERE serial = ?", (serial,)):
            found.append(touched_by(changes_of(packed, data), serial))
    return together(found, serials[-1])


def _logged(reader: Reader, digest: bytes) -> bytes:
    """A page that the log names. It is never dropped."""
    row = reader.row("SELECT kept FROM pages WHERE digest = ?", (digest,))
    if row is None:
        raise Corrupt(f"the page with the sha256 {digest.hex()}, which the log names, is missing in the index database")
    kept: bytes = row[0]
    return kept


def problems(reader: Reader) -> Sequence[str]:
    """The problems of the database, as sentences."""
    found = [
        f"the database is damaged: {text}" for (text,) in reader.rows("PRAGMA integrity_check(100)") if text != "ok"
    ]
    if found:
        return found
    for table, row, parent, _ in reader.rows("PRAGMA foreign_key_check"):
        found.append(f"row {row} of {table} refers to a missing row of {parent}")
    count, last = reader.row("SELECT count(*), coalesce(max(serial), 0) FROM commits") or (0, 0)
    if count != last:
        found.append(f"the log has {count} commits but its last serial is {last}: some are missing")
    counts = reader.rows(
        "SELECT name, project_count, (SELECT count(*) FROM standings"
        " WHERE index_id = id AND died = ? AND holds) AS held FROM index_names WHERE project_count != held",
        (LIVE,),
    )
    found += [f"index {name} counts {counted} projects but holds {held}" for name, counted, held in counts]
    sizes = reader.rows(
        f"WITH counts AS (SELECT index_id, project, total({_SIZE}) AS held FROM files WHERE died = ? GROUP BY index_id, project)"  # noqa: S608 - a constant
        " SELECT name, sizes.project, bytes, coalesce(held, 0) FROM sizes JOIN index_names ON index_names.id = sizes.index_id"
        " LEFT JOIN (SELECT index_id, project, held FROM counts UNION ALL SELECT index_id, '', sum(held) FROM counts GROUP BY index_id)"
        " AS counted ON counted.index_id = sizes.index_id AND counted.project = sizes.project WHERE bytes != coalesce(held, 0)",
        (LIVE,),
    )
    found += [
        f"{project or 'everything'} in {name} counts {counted} bytes but holds {held:.0f}"
        for name, project, counted, held in sizes
    ]
    missing = reader.rows(
        "SELECT DISTINCT name, project FROM standings JOIN index_names ON index_names.id = index_id"
        " WHERE page AND NOT EXISTS (SELECT 1 FROM pages WHERE pages.id = page)"
    )
    found += [f"the page of {project} in {name} is missing" for name, project in missing]
    uses = reader.rows(
        "SELECT pages.id, pages.uses, coalesce(counted.uses, 0) FROM pages"
        " LEFT JOIN (SELECT page, count(*) AS uses FROM standings WHERE page GROUP BY page) AS counted ON pages.id = page"
        " WHERE pages.uses != coalesce(counted.uses, 0)"
    )
    found += [f"page {page} counts {counted} uses but has {used}" for page, counted, used in uses]
    return found + [text for (text,) in reader.rows(_MISFITS, (LIVE,))]


_MISFITS: Final = """
SELECT 'index ' || name || ' has the file ' || filename || ', and says that it was deleted' FROM tombstones
    JOIN files USING (index_id, filename) JOIN index_names ON index_names.id = index_id WHERE died = ?1
UNION ALL SELECT 'index ' || name || ' has the file ' || filename || ' of ' || project || ', but not the project' FROM files
    JOIN index_names ON index_names.id = index_id WHERE died = ?1 AND NOT EXISTS (SELECT 1 FROM standings
    WHERE standings.index_id = files.index_id AND standings.project = files.project AND standings.died = ?1 AND holds AND NOT mirrored)
UNION ALL SELECT project || ' in ' || name || ' counts ' || file_count || ' files but has ' || files FROM (SELECT name, project, file_count,
    (SELECT count(*) FROM files WHERE files.index_id = standings.index_id AND files.project = standings.project AND files.died = ?1) AS files
    FROM standings JOIN index_names ON index_names.id = index_id WHERE standings.died = ?1 AND NOT mirrored) WHERE file_count != files
UNION ALL SELECT 'index ' || name || ' has a project with the invalid name ' || project FROM standings
    JOIN index_names ON index_names.id = index_id WHERE died = ?1 AND (project = '' OR project GLOB '*[^a-z0-9-]*' OR project GLOB '-*'
    OR project GLOB '*-' OR project GLOB '*--*')"""
"""Rows of hosted projects that do not fit each other, tombstones, and names that no client can ask for, as sentences."""


def serial_of(at: Serial | None) -> int:
    """The serial for a read as of `at`; `NOW` for None."""
    return NOW if at is None else min(at, NOW)
