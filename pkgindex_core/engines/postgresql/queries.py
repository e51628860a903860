"""Reads: each is one statement, so it is of one moment and takes one round trip.

`at` is always a serial: `NOW` for the present.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from itertools import chain
from typing import Any, Final

import msgspec

from pkgindex_core.changes import Commit
from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import Sha256
from pkgindex_core.engines.packing import ANSWER_BYTES, changes_of, kept_of, release_of, some_changes, with_kept
from pkgindex_core.engines.postgresql.facts import LIVE
from pkgindex_core.engines.postgresql.sessions import Session, Sessions
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
PAGES: Final = 200
"""Pages in one piece of one batch."""
NOW: Final = LIVE - 1
"""The serial of reads of the present: only live rows are true as of it."""

_head_decoder = msgspec.msgpack.Decoder(PageHead)
_user_decoder = msgspec.msgpack.Decoder(User)
_token_decoder = msgspec.msgpack.Decoder(Token)
_attachment_decoder = msgspec.msgpack.Decoder(Attachment)
_validators_decoder = msgspec.msgpack.Decoder(dict[str, str])


def serial_of(at: Serial | None) -> int:
    """The serial for a read as of `at`; `NOW` for None."""
    return NOW if at is None else max(min(at, NOW), -1)


async def heads(session: Session) -> tuple[Serial, Serial]:
    """The newest commit, and the newest one that changed the tree."""
    ((head, tree),) = await session.rows("SELECT serial, (SELECT max(serial) FROM tree_changes) FROM head")
    return Serial(head), Serial(tree or 0)


async def serial_at(sessions: Sessions, moment: Timestamp) -> Serial:
    row = await sessions.row(
        "SELECT serial FROM commits WHERE at <= $1 ORDER BY at DESC, serial DESC LIMIT 1", min(moment, LIVE)
    )
    return Serial(row[0] if row else 0)


async def tree(sessions: Sessions, at: int) -> Tree:
    rows = await sessions.rows(
        "SELECT max(serial), NULL::bytea FROM tree_changes WHERE serial <= $1"
        " UNION ALL SELECT 0, body FROM configs WHERE died > $1 AND born <= $1",
        at,
    )
    configs = [decode_config(body) for _, body in rows if body is not None]
    (serial,) = (serial for serial, body in rows if body is None)
    return Tree(serial=Serial(serial or 0), indexes={config.name: config for config in configs})


async def standings(
    sessions: Sessions, project: ProjectName, order: Sequence[IndexName], at: int
) -> tuple[Standing, ...]:
    rows = await sessions.rows(
        "SELECT index_name, stamp, holds, file_count, status, content FROM standings"
        " WHERE index_name = ANY($1::text[]) AND project = $2 AND died > $3 AND born <= $3",
        list(order),
        project,
        at,
    )
    found = {
        index: Standing(
            index=index, stamp=Serial(stamp), holds=holds, file_count=file_count, status=status, content=content
        )
        for index, stamp, holds, file_count, status, content in rows
    }
    return tuple(found.get(index) or Standing(index=index, stamp=Serial(0), holds=False) for index in order)


# The files of a standing are those that lived just before it died. Its own row comes first.
_PAGE: Final = """
WITH s AS (SELECT * FROM standings WHERE index_name = $1 AND project = $2 AND died > $3 AND born <= $3 AND holds ORDER BY died LIMIT 1)
SELECT true, content AS filename, '' AS version, head AS fragment, kept AS body, ARRAY[stamp, (page IS NOT NULL)::int] FROM s LEFT JOIN pages ON digest = page
UNION ALL SELECT false, f.filename, f.version, f.fragment, f.body, NULL FROM s JOIN files AS f
    ON f.index_name = $1 AND f.project = $2 AND f.born < s.died AND f.died >= s.died AND s.page IS NULL"""


async def page(sessions: Sessions, index: IndexName, project: ProjectName, at: int) -> Page | None:
    found = await sessions.rows(_PAGE, index, project, at)
    if not found:
        return None
    ((_, content, _, encoded_head, kept, (stamp, is_kept)),) = (row for row in found if row[0])
    rows = _kept_rows(kept, project) if is_kept else tuple(PageRow(*row[1:5]) for row in found if not row[0])
    head = _head_decoder.decode(encoded_head)
    return Page(index=index, project=project, stamp=Serial(stamp), head=head, rows=rows, content=content)


_PAGE_SINCE: Final = """
WITH s AS (SELECT stamp, head FROM standings WHERE index_name = $1 AND project = $2 AND died = 9223372036854775807 AND holds AND NOT mirrored)
SELECT stamp, '' AS filename, '' AS version, head AS fragment, NULL AS body FROM s
UNION ALL SELECT NULL, f.filename, f.version, f.fragment, f.body FROM s JOIN files AS f
    ON f.index_name = $1 AND f.project = $2 AND f.born > $3 AND f.died = 9223372036854775807
UNION ALL SELECT NULL, f.filename, f.version, NULL, NULL FROM s JOIN files AS f
    ON f.index_name = $1 AND f.project = $2 AND f.born <= $3 AND f.died > $3 AND f.died < 9223372036854775807"""


async def page_since(sessions: Sessions, index: IndexName, project: ProjectName, since: int) -> PageSince | None:
    found = await sessions.rows(_PAGE_SINCE, index, project, since)
    if not found:
        return None
    ((stamp, _, _, encoded_head, _),) = (row for row in found if row[0] is not None)
    files = [row for row in found if row[0] is None]
    head = _head_decoder.decode(encoded_head)
    came = tuple(PageRow(*row[1:]) for row in files if row[3] is not None)
    return PageSince(
        page=Page(index=index, project=project, stamp=Serial(stamp), head=head, rows=came),
        gone=[(row[2], row[1]) for row in files if row[3] is None],
    )


def _kept_rows(kept: bytes | None, project: ProjectName) -> KeptRows:
    if kept is None:
        raise Corrupt(f"the page of {project} is missing in the index database")
    return rows_of(kept)


_FILE: Final = (
    "SELECT s.project, s.mirrored, s.page IS NOT NULL, f.body, p.kept FROM {projects} AS s"
    " LEFT JOIN files AS f ON f.index_name = $1 AND f.project = s.project AND f.filename = $2 AND f.born < s.died AND f.died >= s.died"
    " AND s.page IS NULL LEFT JOIN pages AS p ON p.digest = s.page WHERE f.body IS NOT NULL OR s.page IS NOT NULL"
)
_FILE_OF_PROJECT: Final = _FILE.format(
    projects="(SELECT * FROM standings WHERE index_name = $1 AND project = $3 AND died > $4 AND born <= $4 AND holds ORDER BY died LIMIT 1)"
)
_FILE_OF_ANY: Final = _FILE.format(
    projects="(SELECT DISTINCT ON (project) * FROM standings WHERE index_name = $1 AND died > $4 AND born <= $4 AND holds AND project IN ("
    "SELECT unnest($3::text[]) UNION ALL SELECT project FROM strays WHERE index_name = $1 AND filename = $2"
    " UNION ALL SELECT project FROM files WHERE index_name = $1 AND filename = $2 AND mirrored"
    " UNION ALL SELECT project FROM files WHERE index_name = $1 AND filename = $2 AND NOT mirrored AND died > $4 AND born <= $4)"
    " ORDER BY project, died)"
)


async def file(sessions: Sessions, index: IndexName, project: ProjectName, filename: str, at: int) -> File | None:
    rows = await sessions.rows(_FILE_OF_PROJECT, index, filename, project, at)
    return _file(rows[0], filename) if rows else None


async def find_file(
    sessions: Sessions, index: IndexName, filename: str, candidates: Sequence[ProjectName], at: int
) -> tuple[ProjectName, File] | None:
    rows = await sessions.rows(_FILE_OF_ANY, index, filename, list(candidates), at)
    order = {name: number for number, name in reversed([*enumerate(candidates)])}
    # The one file of a hosted index, else the first candidate that has the file, else the first by name.
    for row in sorted(rows, key=lambda row: (row[1], order.get(row[0], len(order)), row[0])):
        found = _file(row, filename)
        if found is not None:
            return ProjectName(row[0]), found
    return None


def _file(row: Any, filename: str) -> File | None:
    project, _, is_kept, body, kept = row
    return _kept_rows(kept, project).find(filename) if is_kept else decode_file(body)


async def taken(sessions: Sessions, index: IndexName, filename: str) -> Taken | None:
    row = await sessions.row(
        "SELECT project, sha256, true FROM files WHERE index_name = $1 AND filename = $2 AND died = 9223372036854775807 AND NOT mirrored"
        " UNION ALL SELECT project, sha256, false FROM tombstones WHERE index_name = $1 AND filename = $2",
        index,
        filename,
    )
    return Taken(project=ProjectName(row[0]), sha256=Sha256(row[1].hex()), live=row[2]) if row else None


# An index was made at its latest configuration whose birth is no other one's death.
_FORMER: Final = """
WITH made (serial) AS (SELECT max(born) FROM configs AS later WHERE index_name = $1
    AND EXISTS (SELECT FROM configs WHERE index_name = $1 AND died = 9223372036854775807)
    AND NOT EXISTS (SELECT FROM configs AS earlier WHERE index_name = $1 AND earlier.died = later.born))
SELECT project, sha256 FROM files, made WHERE index_name = $1 AND filename = $2 AND NOT mirrored
    AND died < 9223372036854775807 AND born >= made.serial
    AND NOT EXISTS (SELECT FROM files AS live WHERE live.index_name = $1 AND live.filename = $2 AND NOT live.mirrored
        AND live.died = 9223372036854775807 AND live.sha256 = files.sha256)
UNION SELECT project, sha256 FROM tombstones WHERE index_name = $1 AND filename = $2"""


async def former(sessions: Sessions, index: IndexName, filename: str) -> Sequence[Taken]:
    rows = await sessions.rows(_FORMER, index, filename)
    return [Taken(project=ProjectName(project), sha256=Sha256(sha256.hex()), live=False) for project, sha256 in rows]


_OF_PROJECT: Final = "WHERE index_name = $1 AND project = $2 AND died > $3 AND born <= $3"


async def releases(sessions: Sessions, index: IndexName, project: ProjectName, at: int) -> Sequence[Release]:
    rows = await sessions.rows(f"SELECT packed, body FROM releases {_OF_PROJECT}", index, project, at)
    return [release_of(packed, body) for packed, body in rows]


async def released(sessions: Sessions, index: IndexName, project: ProjectName, at: int) -> Sequence[str]:
    rows = await sessions.rows(f"SELECT version FROM releases {_OF_PROJECT}", index, project, at)
    return [version for (version,) in rows]


async def release(sessions: Sessions, index: IndexName, project: ProjectName, version: str, at: int) -> Release | None:
    row = await sessions.row(
        f"SELECT packed, body FROM releases {_OF_PROJECT} AND version = $4",
        index,
        project,
        at,
        canonical_version(version),
    )
    return release_of(*row) if row else None


async def attachments(sessions: Sessions, index: IndexName, project: ProjectName, at: int) -> Sequence[Attachment]:
    rows = await sessions.rows(
        f"SELECT body FROM attachments {_OF_PROJECT} ORDER BY filename",
        index,
        project,
        at,
    )
    return [_attachment_decoder.decode(body) for (body,) in rows]


async def find_attachment(
    sessions: Sessions, index: IndexName, filename: str, at: int
) -> tuple[ProjectName, Attachment] | None:
    row = await sessions.row(
        "SELECT project, body FROM attachments WHERE index_name = $1 AND filename = $2 AND died > $3 AND born <= $3"
        " ORDER BY project LIMIT 1",
        index,
        filename,
        at,
    )
    return (ProjectName(row[0]), _attachment_decoder.decode(row[1])) if row else None


async def projects(
    sessions: Sessions, index: IndexName, at: int, after: str, limit: int | None
) -> Sequence[ProjectRow]:
    rows = await sessions.rows(
        "SELECT project, head, stamp FROM standings"
        " WHERE index_name = $1 AND project > $3 AND died > $2 AND born <= $2 AND holds ORDER BY project LIMIT $4",
        index,
        at,
        after,
        limit,
    )
    return [ProjectRow(name, _head_decoder.decode(body).display_name or name, stamp) for name, body, stamp in rows]


async def stored_bytes(sessions: Sessions, index: IndexName, project: ProjectName) -> int:
    row = await sessions.row("SELECT bytes FROM sizes WHERE index_name = $1 AND project = $2", index, project)
    return int(row[0]) if row is not None else 0


async def project_count(sessions: Sessions, index: IndexName) -> int:
    row = await sessions.row("SELECT project_count FROM indexes WHERE name = $1", index)
    return int(row[0]) if row else 0


async def listing(sessions: Sessions, index: IndexName) -> Listing:
    row = await sessions.row("SELECT stamp, count, validators FROM listings WHERE index_name = $1", index)
    if row is None:
        return Listing(stamp=Serial(0), count=0, validators={})
    return Listing(stamp=Serial(row[0]), count=row[1], validators=_validators_decoder.decode(row[2]))


async def listed_names(sessions: Sessions, index: IndexName, after: str) -> AsyncIterator[Sequence[ProjectRow]]:
    stamp = (await listing(sessions, index)).stamp
    while True:
        rows = await sessions.rows(
            "SELECT name, coalesce(display, name) FROM listed_names WHERE index_name = $1 AND name > $2 ORDER BY name LIMIT $3",
            index,
            after,
            BATCH,
        )
        if not rows:
            return
        yield [ProjectRow(ProjectName(name), display, stamp) for name, display in rows]
        after = rows[-1][0]


async def user(sessions: Sessions, name: str, at: int) -> User | None:
    row = await sessions.row("SELECT body FROM users WHERE name = $1 AND died > $2 AND born <= $2", name, at)
    return _user_decoder.decode(row[0]) if row else None


async def users(sessions: Sessions, at: int) -> Sequence[User]:
    rows = await sessions.rows("SELECT body FROM users WHERE died > $1 AND born <= $1 ORDER BY name", at)
    return [_user_decoder.decode(body) for (body,) in rows]


async def token(sessions: Sessions, token_id: str) -> Token | None:
    row = await sessions.row("SELECT body FROM tokens WHERE id = $1", token_id)
    return _token_decoder.decode(row[0]) if row else None


async def tokens(sessions: Sessions, owner: str) -> Sequence[Token]:
    rows = await sessions.rows("SELECT body FROM tokens WHERE owner = $1 ORDER BY created, id", owner)
    return [_token_decoder.decode(body) for (body,) in rows]


_LAST: Final = "\U0010ffff"
"""The filename of a page in one piece: after all files of its project. A page that becomes one piece during the iteration is still found."""
# By place, so a row that lives throughout the iteration is found, whatever is committed meanwhile.
_BLOBS: Final = f"""
SELECT index_name, project, filename, sha256, metadata_sha256, NULL::bytea FROM files
    WHERE (index_name, project, filename) > ($1, $2, $3) AND died = 9223372036854775807
UNION ALL SELECT index_name, project, '{_LAST}' COLLATE "C", NULL, NULL, kept FROM standings JOIN pages ON digest = page
    WHERE (index_name, project) >= ($1, $2) AND (index_name, project, '{_LAST}' COLLATE "C") > ($1, $2, $3) AND died = 9223372036854775807
ORDER BY 1, 2, 3 LIMIT {PAGES}"""
_ATTACHED: Final = f"""
SELECT index_name, project, filename, sha256, NULL::bytea, NULL::bytea FROM attachments
    WHERE (index_name, project, filename) > ($1, $2, $3) AND died = 9223372036854775807 ORDER BY 1, 2, 3 LIMIT {BATCH}"""


async def blobs_in_use(sessions: Sessions) -> AsyncIterator[Sequence[Sha256]]:
    for sql in (_BLOBS, _ATTACHED):
        place = ("", "", "")
        while rows := await sessions.rows(sql, *place):
            digests = [Sha256(each.hex()) for _, _, _, *both, _ in rows for each in both if each is not None]
            for *_, kept in rows:
                if kept is not None:
                    digests += KeptRows(kept).blobs()
            yield digests
            place = tuple(rows[-1][:3])


# Those behind `ANSWER_BYTES` of stored changes are not sent, since all rows of an answer are in memory at once. Their lengths are known without reading them.
_COMMITS: Final = f"""
SELECT serial, at, who, by_digest, packed, changes FROM (
    SELECT *, sum(octet_length(changes)) OVER (ORDER BY serial) - octet_length(changes) AS before
    FROM (SELECT * FROM commits WHERE serial > $1 ORDER BY serial LIMIT $2) AS following
) AS measured WHERE before <= {ANSWER_BYTES} ORDER BY serial"""

_LENGTHS: Final = "SELECT digest, octet_length(kept) FROM pages WHERE digest = ANY($1::bytea[])"


async def commits(sessions: Sessions, after: Serial, limit: int) -> Sequence[Commit]:
    rows = await sessions.rows(_COMMITS, max(after, 0), max(limit, 0))
    found = [
        (Serial(serial), Timestamp(at), who, by_digest, changes)
        for (serial, at, who, by_digest), changes in some_changes(map(tuple, rows))
    ]
    digests = {serial: kept_of(changes) for serial, _, _, by_digest, changes in found if by_digest}
    lengths = dict(await sessions.rows(_LENGTHS, [*chain(*digests.values())])) if any(digests.values()) else {}
    left = ANSWER_BYTES
    for count, (serial, *_) in enumerate(found, 1):
        left -= sum(lengths.get(digest, 0) for digest in digests.get(serial, ()))
        if left < 0:
            del found[count:]
            break
    named = {digest for serial, *_ in found for digest in digests.get(serial, ())}
    kept = await _logged(sessions, named) if named else {}
    return [
        Commit(serial=serial, at=at, who=who, changes=with_kept(changes, kept) if by_digest else changes)
        for serial, at, who, by_digest, changes in found
    ]


async def _logged(sessions: Sessions, digests: set[bytes]) -> dict[bytes, bytes]:
    """Pages that the log names. They are never dropped."""
    found = dict(await sessions.rows("SELECT digest, kept FROM pages WHERE digest = ANY($1::bytea[])", [*digests]))
    for digest in digests - found.keys():
        raise Corrupt(f"the page with the sha256 {digest.hex()}, which the log names, is missing in the index database")
    return found


async def touched(sessions: Sessions, serials: Sequence[Serial]) -> Touched | Everything:
    """The things that commits touched, unless they are too long to look through."""
    sizes = await sessions.row(
        "SELECT count(*), sum(octet_length(changes)) FROM commits WHERE serial = ANY($1::bigint[])", serials
    )
    if sizes[0] < len(serials) or sizes[1] > LOG_BYTES:
        return EVERYTHING
    rows = await sessions.rows("SELECT serial, packed, changes FROM commits WHERE serial = ANY($1::bigint[])", serials)
    return together((touched_by(changes_of(packed, data), serial) for serial, packed, data in rows), serials[-1])


_PROBLEMS: Final = """
SELECT 'the log has ' || count(*) || ' commits but its last serial is ' || head.serial || ': some are missing'
    FROM head LEFT JOIN commits ON true GROUP BY head.serial HAVING count(commits.serial) <> head.serial OR max(commits.serial) <> head.serial
UNION ALL SELECT 'index ' || name || ' counts ' || project_count || ' projects but holds ' || held FROM (SELECT name, project_count,
    (SELECT count(*) FROM standings WHERE index_name = name AND died = 9223372036854775807 AND holds) AS held FROM indexes) AS counted
    WHERE project_count <> held
UNION ALL SELECT coalesce(nullif(s.project, ''), 'everything') || ' in ' || s.index_name || ' counts ' || s.bytes || ' bytes but holds '
    || coalesce(held, 0) FROM sizes AS s LEFT JOIN (SELECT index_name, project, sum(size_of(fragment)) AS held FROM files
    WHERE died = 9223372036854775807 AND NOT mirrored GROUP BY GROUPING SETS ((index_name, project), (index_name))) AS counted
    ON counted.index_name = s.index_name AND coalesce(counted.project, '') = s.project WHERE s.bytes <> coalesce(held, 0)
UNION ALL SELECT 'the list of names of ' || index_name || ' counts ' || count || ' names but has ' || names FROM (SELECT index_name, count,
    (SELECT count(*) FROM listed_names WHERE listed_names.index_name = listings.index_name) AS names FROM listings) AS counted WHERE count <> names
UNION ALL SELECT DISTINCT 'the page of ' || project || ' in ' || index_name || ' is missing' FROM standings
    WHERE page IS NOT NULL AND NOT EXISTS (SELECT FROM pages WHERE digest = page)
UNION ALL SELECT 'page ' || encode(digest, 'hex') || ' is stored but nothing has it' FROM pages
    WHERE NOT logged AND NOT EXISTS (SELECT FROM standings WHERE page = digest)
UNION ALL SELECT count(*) || ' pages were not cleared away' FROM loose_pages HAVING count(*) > 0
UNION ALL SELECT 'index ' || index_name || ' has the file ' || filename || ', and says that it was deleted' FROM tombstones
    JOIN files USING (index_name, filename) WHERE died = 9223372036854775807 AND NOT mirrored
UNION ALL SELECT 'index ' || f.index_name || ' has the file ' || filename || ' of ' || f.project || ', but not the project' FROM files AS f
    WHERE f.died = 9223372036854775807 AND NOT EXISTS (SELECT FROM standings AS s WHERE s.index_name = f.index_name AND s.project = f.project
    AND s.died = f.died AND (holds OR s.mirrored) AND s.mirrored = f.mirrored)
UNION ALL SELECT project || ' in ' || index_name || ' counts ' || file_count || ' files but has ' || count FROM (SELECT index_name, project,
    file_count, (SELECT count(*) FROM files AS f WHERE f.index_name = s.index_name AND f.project = s.project AND f.died = s.died AND NOT mirrored)
    FROM standings AS s WHERE died = 9223372036854775807 AND NOT mirrored) AS counted WHERE file_count <> count
UNION ALL SELECT 'index ' || index_name || ' has a project with the invalid name ' || project FROM standings
    WHERE died = 9223372036854775807 AND project !~ '^[a-z0-9]+(-[a-z0-9]+)*$'"""


async def problems(sessions: Sessions) -> Sequence[str]:
    """The problems of the database, as sentences. PostgreSQL itself finds damaged pages when they are read, if it has checksums."""
    return [text for (text,) in await sessions.rows(_PROBLEMS)]
