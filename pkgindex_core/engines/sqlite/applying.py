"""One list of changes: its preconditions, its effects, its place in the log.

Runs in the writer thread, inside a savepoint that the caller rolls back when anything raises. Users, tokens and
indexes are changed here; projects in `hosted` and `mirrored`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, assert_never

import apsw

from pkgindex_core.changes import (
    AttachmentAbsent,
    Change,
    Commit,
    DropAttachment,
    DropFile,
    DropIndex,
    DropMirrorPage,
    DropProject,
    DropRelease,
    DropToken,
    DropUser,
    FileAbsent,
    IndexAbsent,
    IndexIs,
    IndexPresent,
    MirrorNames,
    MirrorPage,
    ProjectAt,
    PutAttachment,
    PutFile,
    PutIndex,
    PutProject,
    PutRelease,
    PutToken,
    PutUser,
    Requirement,
    UserAbsent,
    UserIs,
    YankFile,
)
from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.engines import change_rules
from pkgindex_core.engines.sqlite import segments
from pkgindex_core.engines.sqlite.database import LIVE
from pkgindex_core.engines.sqlite.hosted import change_hosted, live_file, tombstone
from pkgindex_core.engines.sqlite.mirrored import change_mirrored
from pkgindex_core.engines.sqlite.releases import change_release, has_attachment
from pkgindex_core.engines.sqlite.tables import Tables, encode
from pkgindex_core.errors import Missing
from pkgindex_core.models import IndexConfig, PageHead, Serial
from pkgindex_core.names import IndexName, owner

PACK_FROM: Final = 512
"""Bytes of encoded changes from which the log compresses them."""


class Applying:
    """Applies lists of changes through one connection."""

    def __init__(self, connection: apsw.Connection, clock: Clock) -> None:
        self._tables = Tables(connection)
        self._clock = clock

    def commit(self, changes: Sequence[Change], encoded: bytes, who: str, require: Iterable[Requirement]) -> Commit:
        """Check, apply and log one list; the caller's savepoint undoes it when this raises."""
        last, last_at = self._last()
        self._tables.serial = last + 1
        for requirement in require:
            if not self._holds(requirement):
                raise change_rules.failed(requirement)
        at = change_rules.commit_time(self._clock.now(), last_at)
        commit = Commit(serial=Serial(last + 1), at=at, who=who, changes=tuple(changes))
        self._make(commit, encoded)
        return commit

    def replay(self, commits: Sequence[Commit]) -> Commit:
        """Make commits of another store again, and return the last; the caller's savepoint undoes all when this raises."""
        for commit in commits:
            change_rules.successor(*self._last(), commit)
            self._tables.serial = commit.serial
            self._make(commit, change_rules.encoded_changes(commit.changes))
        return commits[-1]

    def _last(self) -> tuple[Serial, Timestamp]:
        serial, at = self._tables.row("SELECT serial, at FROM commits ORDER BY serial DESC LIMIT 1") or (0, 0)
        return Serial(serial), Timestamp(at)

    def _make(self, commit: Commit, encoded: bytes) -> None:
        for change in commit.changes:
            self._apply(change)
        packed = len(encoded) >= PACK_FROM
        self._tables.run(
            "INSERT INTO commits (serial, at, who, packed, changes) VALUES (?, ?, ?, ?, ?)",
            (commit.serial, commit.at, commit.who, int(packed), segments.compress(encoded) if packed else encoded),
        )

    def _holds(self, requirement: Requirement) -> bool:
        match requirement:
            case FileAbsent(index, filename):
                index_id = self._tables.index(index).id
                live = live_file(self._tables, index_id, filename)
                return live is None and tombstone(self._tables, index_id, filename) is None
            case AttachmentAbsent(index, project, filename):
                return not has_attachment(self._tables, self._tables.index(index).id, project, filename)
            case ProjectAt(index, project, stamp, content):
                held = self._tables.held(self._tables.index(index).id, project)
                known_as = (held.stamp, held.content) if held is not None else (0, "")
                return known_as == (stamp, known_as[1] if content is None else content)
            case UserAbsent(name):
                return not self._user_exists(name)
            case IndexAbsent(name):
                return self._tables.index(name).config is None
            case IndexPresent(name):
                return self._tables.index(name).config is not None
            case UserIs(user):
                row = self._tables.row("SELECT body FROM users WHERE name = ? AND died = ?", (user.name, LIVE))
                return row is not None and row[0] == encode(user)
            case IndexIs(config):
                return self._tables.index(config.name).config == config
            case _:
                assert_never(requirement)

    def _apply(self, change: Change) -> None:
        match change:
            case PutUser():
                self._tables.end("users", "name = ?", (change.user.name,))
                self._tables.run(
                    "INSERT INTO users (name, died, born, body) VALUES (?, ?, ?, ?)",
                    (change.user.name, LIVE, self._tables.serial, encode(change.user)),
                )
            case DropUser():
                self._drop_user(change.name)
            case PutToken():
                self._put_token(change)
            case DropToken():
                if not self._tables.run("DELETE FROM tokens WHERE id = ?", (change.id,)):
                    raise Missing("token", change.id)
            case PutIndex():
                self._put_index(change.config)
            case DropIndex():
                self._drop_index(change.name)
            case PutProject() | DropProject() | PutFile() | DropFile() | YankFile():
                index = self._tables.index(change.index)
                change_rules.take_uploads(index.config, change.index)
                change_hosted(self._tables, index.id, change)
            case PutRelease() | DropRelease() | PutAttachment() | DropAttachment():
                index = self._tables.index(change.index)
                change_rules.take_uploads(index.config, change.index)
                change_release(self._tables, index.id, change)
            case MirrorPage() | DropMirrorPage() | MirrorNames():
                index = self._tables.index(change.index)
                change_rules.take_mirrored(index.config, change.index)
                change_mirrored(self._tables, index.id, change)
            case _:
                assert_never(change)

    # Users and tokens.

    def _user_exists(self, name: str) -> bool:
        return self._tables.row("SELECT 1 FROM users WHERE name = ? AND died = ?", (name, LIVE)) is not None

    def _drop_user(self, name: str) -> None:
        if not self._user_exists(name):
            raise Missing("user", name)
        live = self._tables.rows("SELECT name FROM index_names JOIN configs ON index_id = id WHERE died = ?", (LIVE,))
        change_rules.user_is_free(name, [IndexName(index) for (index,) in live if owner(index) == name])
        self._tables.run("DELETE FROM tokens WHERE user = ?", (name,))
        self._tables.end("users", "name = ?", (name,))

    def _put_token(self, change: PutToken) -> None:
        token = change.token
        if not self._user_exists(token.user):
            raise Missing("user", token.user)
        self._tables.run(
            "REPLACE INTO tokens (id, user, created, body) VALUES (?, ?, ?, ?)",
            (token.id, token.user, token.created, encode(token)),
        )

    # Indexes.

    def _put_index(self, config: IndexConfig) -> None:
        if not self._user_exists(owner(config.name)):
            raise Missing("user", owner(config.name))
        change_rules.keep_type(self._tables.index(config.name).config, config)
        self._tables.run("INSERT OR IGNORE INTO index_names (name) VALUES (?)", (config.name,))
        index_id = self._tables.index(config.name).id
        self._tables.end("configs", "index_id = ?", (index_id,))
        self._tables.run(
            "INSERT INTO configs (index_id, died, born, body) VALUES (?, ?, ?, ?)",
            (index_id, LIVE, self._tables.serial, encode(config)),
        )
        self._tree_changed()

    def _drop_index(self, name: IndexName) -> None:
        index = self._tables.index(name)
        if index.config is None:
            raise Missing("index", name)
        of_index = (index.id,)
        self._tables.end("configs", "index_id = ?", of_index)
        self._tree_changed()
        for table in ("files", "releases", "attachments"):
            self._tables.end(table, "index_id = ?", of_index)
        for table in ("tombstones", "segments", "kept_pages", "strays", "listed_names", "listings"):
            self._tables.run(f"DELETE FROM {table} WHERE index_id = ?", of_index)  # noqa: S608 - constants, just above
        nothing = encode(PageHead())
        # What has no past, or was born in this very commit, changes in place …
        self._tables.run(
            "UPDATE standings SET holds = 0, stamp = iif(mirrored, max(?1, stamp + 1), ?1), file_count = 0, status = '', head = ?2,"
            " content = '', kept = 0"  # the stamp of what is mirrored is that of `stamp_after`
            " WHERE index_id = ?3 AND died = ?4 AND (holds OR file_count) AND (mirrored OR born = ?1)",
            (self._tables.serial, nothing, index.id, LIVE),
        )
        # … and what was held until now stays on record as that, followed by a row that says no.
        self._tables.run(
            "UPDATE standings SET died = ? WHERE index_id = ? AND died = ? AND holds",
            (self._tables.serial, index.id, LIVE),
        )
        self._tables.run(
            "INSERT OR IGNORE INTO standings"
            " (index_id, project, died, born, stamp, mirrored, holds, file_count, status, head)"
            " SELECT index_id, project, ?1, ?2, ?2, 0, 0, 0, '', ?3 FROM standings WHERE index_id = ?4 AND died = ?2",
            (LIVE, self._tables.serial, nothing, index.id),
        )
        self._tables.run("UPDATE index_names SET project_count = 0 WHERE id = ?", of_index)

    def _tree_changed(self) -> None:
        self._tables.run("INSERT OR IGNORE INTO tree_changes (serial) VALUES (?)", (self._tables.serial,))
