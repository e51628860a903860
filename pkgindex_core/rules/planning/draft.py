"""The store in the middle of a list of changes: the facts, with the changes so far over them.

Only `plan` uses a draft. Rows are read and written by key, and all that was written becomes effects at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Generic, TypeVar

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from pkgindex_core.changes import MirrorNames
from pkgindex_core.formats.kept_pages import KeptRows
from pkgindex_core.models import File, PageHead, Serial
from pkgindex_core.names import IndexName, owner
from pkgindex_core.protocols.index_store import Taken
from pkgindex_core.rules import change_rules
from pkgindex_core.rules.planning.effects import Effects, Emptied, NamesEdit, PageEdit
from pkgindex_core.rules.planning.facts import Facts, FileKey, ProjectKey, StandingRow, StoredFile
from pkgindex_core.rules.planning.past import keeps_past
from pkgindex_core.rules.stamping import stamp_after

_Key = TypeVar("_Key")
_Row = TypeVar("_Row")


class Rows(Struct, Generic[_Key, _Row]):
    """The rows of one table, as facts with what was written over them."""

    stored: Mapping[_Key, _Row]
    changed: dict[_Key, _Row | None] = {}

    def get(self, key: _Key) -> _Row | None:
        row: _Row | UnsetType | None = self.changed.get(key, UNSET)
        return self.stored.get(key) if row is UNSET else row

    def put(self, key: _Key, row: _Row) -> None:
        self.changed[key] = row

    def end(self, key: _Key) -> None:
        self.changed[key] = None

    def live(self) -> list[tuple[_Key, _Row]]:
        return [(key, row) for key, row in {**self.stored, **self.changed}.items() if row is not None]


class Draft:
    """The rows of all tables. `serial` is that of the commit."""

    def __init__(self, facts: Facts, serial: Serial) -> None:
        self.serial = serial
        self.users = Rows(facts.users)
        self.tokens = Rows(facts.tokens)
        self.configs = Rows(facts.configs)
        self.standings = Rows(facts.standings)
        self.files = Rows(facts.files)
        self.tombstones = Rows(facts.tombstones)
        self.releases = Rows(facts.releases)
        self.attachments = Rows(facts.attachments)
        self.listings = Rows(facts.listings)
        self.tree_changed = False
        self._facts = facts
        self._pages: dict[ProjectKey, PageEdit] = {}
        self._names: dict[IndexName, NamesEdit] = {}
        self._emptied: list[Emptied] = []
        self._forgotten = dict(facts.expired)
        self._superseded: set[ProjectKey] = set()

    def owned_by(self, user: str) -> list[IndexName]:
        """The indexes of a user of `Keys.owners`."""
        stored = [name for name in self._facts.owned if owner(name) == user and name not in self.configs.changed]
        return stored + [name for name, config in self.configs.changed.items() if config and owner(name) == user]

    def stand(self, key: ProjectKey, head: PageHead | None, file_count: int) -> None:
        """Give a hosted project a new standing. Without a head it is not held any more."""
        row = StandingRow(
            since=self.serial,
            stamp=self.serial,
            mirrored=False,
            holds=head is not None,
            file_count=file_count,
            head=head or PageHead(),
        )
        self.standings.put(key, row)

    def succeed(self, key: ProjectKey, row: StandingRow) -> None:
        """Give a mirrored project a new standing. The one before stays as its past, if the index keeps one."""
        stored = self._facts.standings.get(key)
        if stored is not None and stored.mirrored and stored.since == row.since:
            if keeps_past(self.configs.get(key[0])):
                self._superseded.add(key)
            else:
                self._superseded.discard(key)
                if stored.has_past:
                    self._forgotten[key] = self.serial
        self.standings.put(key, row)

    def abandon(self, key: ProjectKey, row: StandingRow) -> None:
        """Give a project a standing that does not hold it."""
        if row.mirrored:
            stamp = stamp_after(self.serial, row.stamp)
            self.succeed(key, StandingRow(since=row.since, stamp=stamp, mirrored=True, holds=False))
        else:
            self.stand(key, None, 0)

    def empty_index(self, index: IndexName) -> None:
        """End everything in an index."""
        _end_all(self.files, lambda key, _: key[0] == index)
        _end_all(self.tombstones, lambda key, _: key[0] == index)
        _end_all(self.releases, lambda key, _: key[0] == index)
        _end_all(self.attachments, lambda key, _: key[0] == index)
        self.listings.end(index)
        self._names.pop(index, None)
        for key, row in self.standings.live():
            if key[0] == index and (row.mirrored or row.holds):
                self.abandon(key, row)
        self._pages = {key: edit for key, edit in self._pages.items() if key[0] != index}
        self._forgotten = {key: upto for key, upto in self._forgotten.items() if key[0] != index}
        self._superseded = {key for key in self._superseded if key[0] != index}
        self._emptied.append(Emptied(index))

    def empty_project(self, key: ProjectKey) -> None:
        """End the files of a hosted project, which leave tombstones, with its releases and attachments."""
        for file_key, stored in self.files.live():
            if (file_key[0], stored.project) == key:
                self.bury(file_key, stored)
        _end_all(self.releases, lambda part, _: part[:2] == key)
        _end_all(self.attachments, lambda part, _: part[:2] == key)
        self._emptied.append(Emptied(*key))

    def empty_results(self, key: ProjectKey, filename: str) -> None:
        """End the attachments about a file of a project."""
        _end_all(self.attachments, lambda part, attachment: part[:2] == key and attachment.about == filename)
        self._emptied.append(Emptied(*key, filename))

    def bury(self, key: FileKey, stored: StoredFile) -> None:
        """End a file and leave a tombstone."""
        self.files.end(key)
        sha256 = change_rules.hosted_digest(stored.file)
        self.tombstones.put(key, Taken(project=stored.project, sha256=sha256, live=False))

    def kept_page(self, key: ProjectKey) -> KeptRows:
        """The files of a mirrored page that is kept in one piece."""
        edit = self._pages.get(key)
        return edit.kept if edit is not None and edit.kept is not None else self._facts.kept_page(key)

    def keep_page(self, key: ProjectKey, kept: KeptRows) -> None:
        self._pages[key] = PageEdit(fresh=True, kept=kept)

    def forget_page(self, key: ProjectKey) -> None:
        self._pages[key] = PageEdit(fresh=True)

    def unfold_page(self, key: ProjectKey, kept: KeptRows) -> None:
        """Turn a page in one piece into single files."""
        self._pages[key] = PageEdit(fresh=True, put={file.filename: file for _, file in kept.files()})

    def edit_page(self, key: ProjectKey, put: Iterable[File], drop: Collection[str]) -> None:
        """Apply a difference to a page that is not kept in one piece; drops go first."""
        edit = self._pages.get(key, _NO_EDIT)
        gone = set(drop)
        files = {name: file for name, file in edit.put.items() if name not in gone} if gone else dict(edit.put)
        files.update((file.filename, file) for file in put)
        self._pages[key] = replace(edit, put=files, drop=gone.union(edit.drop).difference(files))

    def edit_names(self, change: MirrorNames, stamp: Serial) -> None:
        edit = self._names.get(change.index)
        gone = set(change.drop)
        before = edit.put if edit is not None else {}
        put = {name: display for name, display in before.items() if name not in gone} | dict(change.put)
        drop = gone.union(edit.drop) if edit is not None else gone
        self._names[change.index] = NamesEdit(stamp=stamp, put=put, drop=drop, validators=change.validators)
        self.listings.put(change.index, stamp)

    def effects(self) -> Effects:
        """The effects of all changes so far."""
        return Effects(
            emptied=self._emptied,
            forgotten=self._forgotten,
            users=self.users.changed,
            tokens=self.tokens.changed,
            configs=self.configs.changed,
            standings={key: row for key, row in self.standings.changed.items() if row is not None},
            superseded=self._superseded,
            files=self.files.changed,
            tombstones=self.tombstones.changed,
            releases=self.releases.changed,
            attachments=self.attachments.changed,
            pages=self._pages,
            names=self._names,
            counts=self._counts(),
            tree_changed=self.tree_changed,
        )

    def _counts(self) -> dict[IndexName, int]:
        emptied = {each.index for each in self._emptied if each.project is None} if self._emptied else ()
        counts: dict[IndexName, int] = {}
        for key, row in self.standings.changed.items():
            before = self._facts.standings.get(key) if key[0] not in emptied else None
            difference = (row is not None and row.holds) - (before is not None and before.holds)
            if difference:
                counts[key[0]] = counts.get(key[0], 0) + difference
        return counts


def _end_all(rows: Rows[_Key, _Row], ends: Callable[[_Key, _Row], bool]) -> None:
    for key, row in rows.live():
        if ends(key, row):
            rows.end(key)


_NO_EDIT = PageEdit()
