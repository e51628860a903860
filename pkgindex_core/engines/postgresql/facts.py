"""Reads the facts for the plans of a group: one statement, and one row for each fact.

The statement is put together from a part for each kind of key that the group has, so all facts are of one moment.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from pkgindex_core.changes import Change, MirrorPage
from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import Sha256
from pkgindex_core.engines.packing import release_of
from pkgindex_core.engines.postgresql.sessions import Session
from pkgindex_core.errors import Corrupt
from pkgindex_core.formats.kept_pages import KeptRows
from pkgindex_core.models import Attachment, IndexConfig, PageHead, Serial, Token, User, decode_file
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.index_store import Taken
from pkgindex_core.rules.planning import Facts, Keys, StandingRow, StoredFile
from pkgindex_core.rules.planning.facts import ProjectKey
from pkgindex_core.rules.planning.past import SWEPT
from pkgindex_core.stored_configs import decode_config

_user_decoder: Final = msgspec.msgpack.Decoder(User)
_token_decoder: Final = msgspec.msgpack.Decoder(Token)
_head_decoder: Final = msgspec.msgpack.Decoder(PageHead)
_attachment_decoder: Final = msgspec.msgpack.Decoder(Attachment)

LIVE: Final = 2**63 - 1
"""`died` of a row that has not died."""


class Loaded(Struct, frozen=True):
    """The facts of one moment, with the last commit then and the database's time (or the given one)."""

    serial: Serial
    at: Timestamp
    now: Timestamp
    facts: Facts


class Sought(Struct):
    """The keys of a group, and the mirrored pages whose bytes a plan may read (`Facts.kept_page`)."""

    keys: Keys
    pages: set[ProjectKey]

    @classmethod
    def of(cls, several: Iterable[Keys], changes: Iterable[Change]) -> Sought:
        keys = Keys()
        for each in several:
            for field in Keys.__struct_fields__:
                getattr(keys, field).update(getattr(each, field))
        pages = {
            (change.index, change.project) for change in changes if isinstance(change, MirrorPage) and not change.kept
        }
        return cls(keys, pages)


# Each row: kind, three texts, numbers, bytes, more bytes. {0} {1} … are the arrays of a part; h has the last commit and the time of the next one.
_HEAD: Final = """
WITH h AS (SELECT serial, at, greatest(at, coalesce($1::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)) AS now FROM head)
SELECT 'head' AS kind, '' AS a, '' AS b, '' AS c, ARRAY[serial, at, now] AS numbers, NULL::bytea AS body, NULL::bytea AS more FROM h"""
_PARTS: Final = {
    "users": "SELECT 'users', name, '', '', NULL::bigint[], body, NULL::bytea FROM users WHERE name = ANY({0}::text[]) AND died = 9223372036854775807",
    "tokens": "SELECT 'tokens', id, '', '', NULL::bigint[], body, NULL::bytea FROM tokens WHERE id = ANY({0}::text[])",
    "owners": "SELECT 'tokens', id, '', '', NULL::bigint[], body, NULL::bytea FROM tokens WHERE owner = ANY({0}::text[])"
    " UNION ALL SELECT 'owned', index_name, '', '', NULL::bigint[], NULL::bytea, NULL::bytea FROM configs"
    " WHERE split_part(index_name, '/', 1) = ANY({0}::text[]) AND died = 9223372036854775807",
    "indexes": "SELECT 'indexes', index_name, '', '', NULL::bigint[], body, NULL::bytea FROM configs"
    " WHERE index_name = ANY({0}::text[]) AND died = 9223372036854775807"
    " UNION ALL SELECT 'expired', c.index_name, ended.project, '', ARRAY[upto.serial], NULL::bytea, NULL::bytea"
    " FROM configs AS c CROSS JOIN h CROSS JOIN LATERAL"
    " (SELECT serial FROM commits WHERE at <= least(h.now - c.history * 1000000, c.kept_since) ORDER BY at DESC, serial DESC LIMIT 1) AS upto"
    " CROSS JOIN LATERAL (SELECT project FROM standings WHERE index_name = c.index_name AND mirrored AND died < 9223372036854775807"
    f" AND died <= upto.serial ORDER BY died, project LIMIT {SWEPT}) AS ended"
    " WHERE c.index_name = ANY({0}::text[]) AND c.died = 9223372036854775807 AND c.mirrored",
    "projects": "SELECT 'projects', index_name, project, content,"
    " ARRAY[since, born, stamp, mirrored::int, holds::int, file_count, (page IS NOT NULL)::int], head, kept"
    " FROM unnest({0}::text[], {1}::text[], {2}::boolean[]) AS k (a, b, reads) JOIN standings ON index_name = a AND project = b"
    " LEFT JOIN pages ON reads AND digest = page WHERE died = 9223372036854775807",
    "files": "SELECT 'files', index_name, filename, project, NULL::bigint[], body, NULL::bytea"
    " FROM unnest({0}::text[], {1}::text[]) AS k (a, b) JOIN files ON index_name = a AND filename = b"
    " WHERE died = 9223372036854775807 AND NOT mirrored"
    " UNION ALL SELECT 'tombstones', index_name, filename, project, NULL::bigint[], sha256, NULL::bytea"
    " FROM unnest({0}::text[], {1}::text[]) AS k (a, b) JOIN tombstones ON index_name = a AND filename = b",
    "releases": "SELECT 'releases', index_name, project, version, ARRAY[packed::int]::bigint[], body, NULL::bytea"
    " FROM unnest({0}::text[], {1}::text[], {2}::text[]) AS k (a, b, c)"
    " JOIN releases ON index_name = a AND project = b AND version = c WHERE died = 9223372036854775807",
    "attachments": "SELECT 'attachments', index_name, project, filename, NULL::bigint[], body, NULL::bytea"
    " FROM unnest({0}::text[], {1}::text[], {2}::text[]) AS k (a, b, c)"
    " JOIN attachments ON index_name = a AND project = b AND filename = c WHERE died = 9223372036854775807",
    "listings": "SELECT 'listings', index_name, '', '', ARRAY[stamp], NULL::bytea, NULL::bytea FROM listings WHERE index_name = ANY({0}::text[])",
    "notes": "SELECT 'notes', kind, key, '', ARRAY[version], NULL::bytea, NULL::bytea"
    " FROM unnest({0}::text[], {1}::text[]) AS k (a, b) JOIN notes ON kind = a AND key = b CROSS JOIN h WHERE until > h.now",
    "sizes": "SELECT 'sizes', index_name, sizes.project, '', ARRAY[bytes], NULL::bytea, NULL::bytea"
    " FROM unnest({0}::text[], {1}::text[]) AS k (a, b) JOIN sizes ON index_name = a AND sizes.project = b",
}


async def load(session: Session, sought: Sought, at: Timestamp | None) -> Loaded:
    """Read the facts in one round trip. `at`: the time to take for now; None: the database's."""
    sql, values = [_HEAD], [at]
    for kind in Keys.__struct_fields__:
        keys: Collection[Any] = getattr(sought.keys, kind)
        if keys:
            columns = _columns(kind, keys, sought.pages)
            sql.append(_PARTS[kind].format(*(f"${len(values) + number}" for number in range(1, len(columns) + 1))))
            values += columns
    return _loaded(await session.rows(" UNION ALL ".join(sql), *values))


def _columns(kind: str, keys: Collection[Any], pages: Collection[ProjectKey]) -> list[Any]:
    if kind in {"users", "tokens", "owners", "indexes", "listings"}:
        return [sorted(keys)]
    several = sorted(keys)
    columns = [list(column) for column in zip(*several, strict=True)]
    return [*columns, [key in pages for key in several]] if kind == "projects" else columns


def _loaded(rows: Sequence[Any]) -> Loaded:
    by_kind: dict[str, list[tuple[Any, ...]]] = {}
    for kind, *row in rows:
        by_kind.setdefault(kind, []).append(tuple(row))
    ((*_, (serial, at, now), _, _),) = by_kind["head"]
    kept = {(a, b): more for a, b, _, _, _, more in by_kind.get("projects", ()) if more is not None}

    def made(kind: str, key: Callable[..., Any], value: Callable[..., Any]) -> dict[Any, Any]:
        return {key(*row): value(*row) for row in by_kind.get(kind, ())}

    def kept_page(key: ProjectKey) -> KeptRows:
        if key not in kept:
            raise Corrupt(f"the page of {key[1]} is missing in the index database")
        return KeptRows(kept[key])

    facts = Facts(
        users=made("users", _first, _decoded(_user_decoder)),
        tokens=made("tokens", _first, _decoded(_token_decoder)),
        owned=[IndexName(name) for name, *_ in by_kind.get("owned", ())],
        configs=made("indexes", _first, _config),
        standings=made("projects", _pair, _standing),
        files=made("files", _pair, lambda _a, _b, project, _n, body, _m: StoredFile(project, decode_file(body))),
        tombstones=made("tombstones", _pair, _tombstone),
        releases=made("releases", _triple, lambda _a, _b, _c, numbers, body, _m: release_of(numbers[0], body)),
        attachments=made("attachments", _triple, _decoded(_attachment_decoder)),
        listings=made("listings", _first, _number),
        expired=made("expired", _pair, _number),
        notes=made("notes", _pair, _number),
        sizes=made("sizes", _pair, _number),
        kept_page=kept_page,
    )
    return Loaded(Serial(serial), Timestamp(at), Timestamp(now), facts)


def _first(a: str, *_: object) -> str:
    return a


def _pair(a: str, b: str, *_: object) -> tuple[str, str]:
    return a, b


def _triple(a: str, b: str, c: str, *_: object) -> tuple[str, str, str]:
    return a, b, c


def _number(_a: str, _b: str, _c: str, numbers: Sequence[int], *_: object) -> Serial:
    return Serial(numbers[0])


def _decoded(decoder: msgspec.msgpack.Decoder[Any]) -> Callable[..., Any]:
    return lambda _a, _b, _c, _n, body, _m: decoder.decode(body)


def _config(_a: str, _b: str, _c: str, _n: object, body: bytes, _m: object) -> IndexConfig:
    return decode_config(body)


def _tombstone(_a: str, _b: str, project: str, _n: object, sha256: bytes, _m: object) -> Taken:
    return Taken(project=ProjectName(project), sha256=Sha256(sha256.hex()), live=False)


def _standing(_a: str, _b: str, content: str, numbers: Sequence[int], head: bytes, _m: object) -> StandingRow:
    since, born, stamp, mirrored, holds, file_count, is_kept = numbers
    return StandingRow(
        since=Serial(since),
        stamp=Serial(stamp),
        mirrored=bool(mirrored),
        holds=bool(holds),
        file_count=file_count,
        head=_head_decoder.decode(head),
        content=content,
        kept=bool(is_kept),
        has_past=bool(mirrored) and born != since,
    )
