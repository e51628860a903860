"""Reads the facts for a plan: one statement a table, run for each key."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, TypeVar

import msgspec

from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import Sha256
from pkgindex_core.engines.packing import release_of
from pkgindex_core.engines.sqlite.database import LIVE
from pkgindex_core.engines.sqlite.tables import Tables
from pkgindex_core.errors import Corrupt
from pkgindex_core.formats.kept_pages import KeptRows
from pkgindex_core.models import Attachment, IndexConfig, PageHead, Serial, Token, User, decode_file
from pkgindex_core.names import IndexName, owner
from pkgindex_core.protocols.index_store import Taken
from pkgindex_core.rules.planning import Facts, Keys, StandingRow, StoredFile
from pkgindex_core.rules.planning.facts import NoteKey, ProjectKey
from pkgindex_core.rules.planning.past import SWEPT, kept_since
from pkgindex_core.stored_configs import decode_config

_Key = TypeVar("_Key", bound=tuple[Any, ...])
_Row = TypeVar("_Row")

_user_decoder: Final = msgspec.msgpack.Decoder(User)
_token_decoder: Final = msgspec.msgpack.Decoder(Token)
_head_decoder: Final = msgspec.msgpack.Decoder(PageHead)
_attachment_decoder: Final = msgspec.msgpack.Decoder(Attachment)


def load(tables: Tables, keys: Keys, now: Timestamp) -> Facts:
    """Read the live rows of the keys, and put the numbers of their indexes into `tables.ids`. `now` is the time of the commit."""
    configs = _configs(tables, keys.indexes)
    return Facts(
        users=_users(tables, keys.users) if keys.users else {},
        tokens=_tokens(tables, keys) if keys.tokens or keys.owners else {},
        owned=_owned(tables, keys.owners) if keys.owners else (),
        configs=configs,
        standings=_found(
            tables,
            "SELECT since, born, stamp, mirrored, holds, file_count, head, content, page FROM standings"
            " WHERE index_id = ? AND project = ? AND died = ?",
            keys.projects,
            _standing,
        ),
        files=_found(
            tables,
            "SELECT project, body FROM files WHERE index_id = ? AND filename = ? AND died = ?",
            keys.files,
            lambda project, body: StoredFile(project, decode_file(body)),
        ),
        tombstones=_found(
            tables,
            "SELECT project, sha256 FROM tombstones WHERE index_id = ? AND filename = ?",
            keys.files,
            lambda project, sha256: Taken(project=project, sha256=Sha256(sha256.hex()), live=False),
            died=(),
        ),
        releases=_found(
            tables,
            "SELECT packed, body FROM releases WHERE index_id = ? AND project = ? AND version = ? AND died = ?",
            keys.releases,
            release_of,
        ),
        attachments=_found(
            tables,
            "SELECT body FROM attachments WHERE index_id = ? AND project = ? AND filename = ? AND died = ?",
            keys.attachments,
            _attachment_decoder.decode,
        ),
        listings=_listings(tables, keys.listings) if keys.listings else {},
        expired=_expired(tables, configs, now),
        notes=_notes(tables, keys.notes, now) if keys.notes else {},
        sizes=_found(tables, "SELECT bytes FROM sizes WHERE index_id = ? AND project = ?", keys.sizes, int, died=()),
        kept_page=lambda key: _kept_page(tables, key),
    )


def _found(
    tables: Tables, sql: str, keys: Collection[_Key], made: Callable[..., _Row], *, died: tuple[int, ...] = (LIVE,)
) -> dict[_Key, _Row]:
    """The rows of one table. An index without a number has none."""
    found: dict[_Key, _Row] = {}
    for key in keys:
        index_id = tables.ids.get(key[0])
        row = tables.row(sql, (index_id, *key[1:], *died)) if index_id is not None else None
        if row is not None:
            found[key] = made(*row)
    return found


def _users(tables: Tables, names: Iterable[str]) -> dict[str, User]:
    found = ((name, tables.row("SELECT body FROM users WHERE name = ? AND died = ?", (name, LIVE))) for name in names)
    return {name: _user_decoder.decode(row[0]) for name, row in found if row is not None}


def _configs(tables: Tables, names: Iterable[IndexName]) -> dict[IndexName, IndexConfig]:
    """Read unknown configurations, and put the numbers of their indexes into `tables.ids`, which all other reads need."""
    for name in names:
        if name in tables.configs:
            continue
        row = tables.row(
            "SELECT id, body FROM index_names LEFT JOIN configs ON index_id = id AND died = ? WHERE name = ?",
            (LIVE, name),
        )
        if row is not None:
            tables.ids[name] = row[0]
            tables.configs[name] = None if row[1] is None else decode_config(row[1])
    return {name: config for name in names if (config := tables.configs.get(name)) is not None}


def _standing(
    since: int, born: int, stamp: int, mirrored: int, holds: int, file_count: int, head: bytes, content: str, page: int
) -> StandingRow:
    return StandingRow(
        since=Serial(since),
        stamp=Serial(stamp),
        mirrored=bool(mirrored),
        holds=bool(holds),
        file_count=file_count,
        head=_head_decoder.decode(head),
        content=content,
        kept=bool(page),
        has_past=bool(mirrored) and born != since,
    )


def _tokens(tables: Tables, keys: Keys) -> dict[str, Token]:
    found = [row for name in keys.owners for row in tables.rows("SELECT body FROM tokens WHERE user = ?", (name,))]
    found += [row for name in keys.tokens for row in tables.rows("SELECT body FROM tokens WHERE id = ?", (name,))]
    tokens = [_token_decoder.decode(body) for (body,) in found]
    return {token.id: token for token in tokens}


def _owned(tables: Tables, owners: Iterable[str]) -> list[IndexName]:
    live = tables.rows("SELECT name FROM index_names JOIN configs ON index_id = id WHERE died = ?", (LIVE,))
    return [IndexName(name) for (name,) in live if owner(IndexName(name)) in owners]


def _listings(tables: Tables, names: Iterable[IndexName]) -> dict[IndexName, Serial]:
    known = [name for name in names if name in tables.ids]
    found = ((name, tables.row("SELECT stamp FROM listings WHERE index_id = ?", (tables.ids[name],))) for name in known)
    return {name: Serial(row[0]) for name, row in found if row is not None}


def _notes(tables: Tables, keys: Iterable[NoteKey], now: Timestamp) -> dict[NoteKey, int]:
    sql = "SELECT version FROM notes WHERE kind = ? AND key = ? AND until > ?"
    found = ((key, tables.row(sql, (*key, now))) for key in keys)
    return {key: row[0] for key, row in found if row is not None}


def _expired(tables: Tables, configs: Mapping[IndexName, IndexConfig], now: Timestamp) -> dict[ProjectKey, Serial]:
    found = {}
    for config in configs.values():
        if config.mirrored:
            for project, upto in tables.rows(
                "WITH ended (upto) AS (SELECT serial FROM commits WHERE at <= ? ORDER BY at DESC, serial DESC LIMIT 1)"
                " SELECT project, upto FROM standings, ended WHERE index_id = ? AND mirrored AND died < 9223372036854775807"
                " AND died <= upto ORDER BY died, project LIMIT ?",
                (kept_since(config, now), tables.ids[config.name], SWEPT),
            ):
                found[config.name, project] = Serial(upto)
    return found


def _kept_page(tables: Tables, key: ProjectKey) -> KeptRows:
    row = tables.row(
        "SELECT kept FROM standings JOIN pages ON id = page WHERE index_id = ? AND project = ? AND died = ?",
        (tables.ids[key[0]], key[1], LIVE),
    )
    if row is None:
        raise Corrupt(f"the page of {key[1]} is missing in the index database")
    return KeptRows(row[0])
