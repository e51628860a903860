"""Decides which users and indexes of a dump are imported, before anything is changed.

A name of the dump is acceptable if the store does not have it, has the same thing, has it from an earlier import (by the log),
or has it unchanged since the first start. Every other name is a collision, and then nothing is imported: the `anna` of two
teams must not become one user. Users and indexes come in one commit, which requires that the data read is unchanged. Missing
bases and circles are accepted: bases are looked up when a page is made.
"""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.changes import (
    Change,
    Commit,
    DropAttachment,
    DropIndex,
    DropProject,
    DropRelease,
    IndexAbsent,
    IndexIs,
    PutAttachment,
    PutIndex,
    PutRelease,
    PutUser,
    Requirement,
    UserAbsent,
    UserIs,
)
from pkgindex_core.errors import Conflict, Refused
from pkgindex_core.formats.devpi.dump import DevpiDump
from pkgindex_core.formats.devpi.translating import IMPORTER, translated_index, translated_user
from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.models import IndexConfig, Serial, User
from pkgindex_core.names import IndexName, ProjectName, owner
from pkgindex_core.protocols import Accounts, ChangeLog, Passwords, Projects, ReleaseRecords, Trees
from pkgindex_core.rules.index_options import IndexOptions
from pkgindex_core.rules.permissions import ROOT
from pkgindex_core.services.moving.importing.report import ImportReport

_STARTER = "[start]"
_BATCH = 8
"""The number of commits to read at once. One commit may hold ten thousand names of a mirror's list."""

Deleted = dict[IndexName, set[tuple[ProjectName, str]]]
"""Deleted versions, in canonical spelling, and names of deleted attachments."""


class Settlement(Struct, kw_only=True):
    """The first commit of an import, and the indexes that exist after it."""

    changes: list[Change]
    require: list[Requirement]
    indexes: dict[str, IndexConfig]
    """By their name in the dump."""
    foreign: set[IndexName]
    """Indexes that were here before and are the same, but did not come from an import. Their files may collide."""
    deleted: Deleted
    """Things that were deleted here, by the log. They are not imported again."""


class _Made(Struct):
    """The things that one author made, by the log, each in the last state that this author gave it."""

    users: dict[str, User]
    indexes: dict[IndexName, IndexConfig]


class _Store(Trees, Projects, ReleaseRecords, Accounts, ChangeLog, Protocol): ...


class Settling:
    """Compares one dump with one store."""

    def __init__(self, *, store: _Store, options: IndexOptions, passwords: Passwords, report: ImportReport) -> None:
        self._store = store
        self._options = options
        self._passwords = passwords
        self._report = report
        self._made: dict[str, _Made] | None = None
        self._deleted: Deleted = {}

    async def settle(self, dump: DevpiDump) -> Settlement:
        """Decide what to import. Raises `Conflict`, which names each collision."""
        settlement = Settlement(changes=[], require=[], indexes={}, foreign=set(), deleted=self._deleted)
        collisions: list[str] = []
        users = self._users(dump)
        for user in users.values():
            await self._user(user, settlement, collisions)
        tree = await self._store.tree()
        for config in self._configs(dump, users).values():
            await self._index(config, tree.indexes.get(config.name), settlement, collisions)
        if collisions:
            raise Conflict(
                f"the store has other things under names of the dump, and nothing was changed: {'; '.join(collisions)}",
                hint="import into an empty store (--data NEW), or rename or delete these first",
            )
        return settlement

    def _users(self, dump: DevpiDump) -> dict[str, User]:
        users = {}
        for name, raw in dump.users.items():
            try:
                users[name], remarks = translated_user(name, raw)
            except Refused as error:
                self._report.left_out("user", name, error.message)
                continue
            for remark in remarks:
                self._report.changed("user", name, remark)
        return users

    def _configs(self, dump: DevpiDump, users: dict[str, User]) -> dict[str, IndexConfig]:
        configs = {}
        for name, index in dump.indexes.items():
            if name.partition("/")[0] not in users:
                self._report.left_out("index", name, "its user did not come along; none of its files did")
                continue
            try:
                configs[name], remarks = translated_index(index, self._options)
            except Refused as error:
                self._report.left_out("index", name, f"{error.message}; none of its files came along")
                continue
            for remark in remarks:
                self._report.changed("index", name, remark)
        for config in configs.values():
            missing = [base for base in config.bases if base not in configs]
            if missing:
                self._report.changed("index", config.name, f"bases that the dump does not have: {', '.join(missing)}")
        return configs

    async def _user(self, user: User, settlement: Settlement, collisions: list[str]) -> None:
        if user.name == ROOT and user.password_hash and await self._passwords.verify(user.password_hash, ""):
            self._report.changed(
                "user", ROOT, "its password was empty, and an empty one lets everybody in: not taken over"
            )
            user = replace(user, password_hash="")
        existing = await self._store.user(user.name)
        if existing is None:
            settlement.changes.append(PutUser(user))
            settlement.require.append(UserAbsent(user.name))
            self._report.users += 1
            return
        if user.name == ROOT and not user.password_hash:  # in devpi 7, root has no password at first
            user = replace(user, password_hash=existing.password_hash)
        if existing == user:
            return
        started, imported = await self._made_by(_STARTER), await self._made_by(IMPORTER)
        before = imported.users.get(user.name)
        if before is None and started.users.get(user.name) == existing:
            before = existing
        if before is None:
            if user.name == ROOT:
                self._report.changed("user", ROOT, "root of the store stays as it is, with its password")
            else:
                collisions.append(f"user {user.name}")
        elif before == existing:
            if user != existing:
                settlement.changes.append(PutUser(user))
                settlement.require.append(UserIs(existing))
        elif before != user:
            self._report.changed(
                "user", user.name, "was changed here and in devpi since the last import: it stays as it is here"
            )

    async def _index(
        self, config: IndexConfig, existing: IndexConfig | None, settlement: Settlement, collisions: list[str]
    ) -> None:
        settlement.indexes[config.name] = config
        if existing is None:
            settlement.changes.append(PutIndex(config))
            settlement.require.append(IndexAbsent(config.name))
            self._report.indexes += 1
            return
        started, imported = await self._made_by(_STARTER), await self._made_by(IMPORTER)
        before = imported.indexes.get(config.name)
        if before is None and started.indexes.get(config.name) == existing and owner(config.name) == ROOT:
            before = existing
        if existing == config:
            if before is None:
                settlement.foreign.add(config.name)
        elif before is None:
            collisions.append(f"index {config.name}")
        elif before == existing:
            if existing.type != config.type:
                if await self._store.project_count(config.name):
                    collisions.append(f"index {config.name}, which is a {existing.type} here")
                    return
                settlement.changes.append(DropIndex(config.name))
            settlement.changes.append(PutIndex(config))
            settlement.require.append(IndexIs(existing))
        elif before != config:
            self._report.changed(
                "index",
                config.name,
                "was changed here and in devpi since the last import: its options stay as they are here",
            )

    async def _made_by(self, who: str) -> _Made:
        """Read the log, once, and only when a name of the dump is in the store."""
        if self._made is None:
            self._made = {_STARTER: _Made({}, {}), IMPORTER: _Made({}, {})}
            serial = Serial(0)
            while batch := await self._store.commits(serial, limit=_BATCH):
                for commit in batch:
                    await self._mind_deletions(commit)
                    made = self._made.get(commit.who)
                    if made is None:
                        continue
                    for change in commit.changes:
                        if isinstance(change, PutUser):
                            made.users[change.user.name] = change.user
                        elif isinstance(change, PutIndex):
                            made.indexes[change.config.name] = change.config
                serial = batch[-1].serial
        return self._made[who]

    async def _mind_deletions(self, commit: Commit) -> None:
        for change in commit.changes:
            match change:
                case DropRelease(index, project, version):
                    self._deleted.setdefault(index, set()).add((project, canonical_version(version)))
                case DropAttachment(index, project, filename):
                    self._deleted.setdefault(index, set()).add((project, filename))
                case DropProject(index, project):
                    before = Serial(commit.serial - 1)
                    releases = await self._store.releases(index, project, at=before)
                    attachments = await self._store.attachments(index, project, at=before)
                    names = [
                        *(canonical_version(one.version) for one in releases),
                        *(one.filename for one in attachments),
                    ]
                    self._deleted.setdefault(index, set()).update((project, name) for name in names)
                case PutRelease(index, project, release) if index in self._deleted:
                    self._deleted[index].discard((project, canonical_version(release.version)))
                case PutAttachment(index, project, attachment) if index in self._deleted:
                    self._deleted[index].discard((project, attachment.filename))
                case DropIndex(name):
                    self._deleted.pop(name, None)
                case _:
                    pass
