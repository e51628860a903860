"""Indexes that show a snapshot of another one: dev, test, prod. Each is a mirror with pages of its own, so the URLs of its files stay as they are.

    noted ─► pages that differ, and the list, in as few commits as they fit in ─► the note is dropped

The store has each page once, so an index costs one row for each project. A promotion of few changes is one commit, and a reader sees the old state
or the new one. A longer one shows each project as it was or as it is; if its process dies, the next command finishes it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.changes import (
    Change,
    DropIndex,
    DropMirrorPage,
    IndexAbsent,
    IndexIs,
    MirrorNames,
    MirrorPage,
    PutIndex,
)
from pkgindex_core.engine import Engine
from pkgindex_core.errors import Missing, Refused
from pkgindex_core.failpoints import failpoint
from pkgindex_core.formats.kept_pages import KeptRows
from pkgindex_core.models import IndexConfig, Page, decode_file
from pkgindex_core.names import IndexName, ProjectName, owner, parse_index_name
from pkgindex_core.protocols import PARTIAL
from pkgindex_core.rules.change_rules import looks_the_same
from pkgindex_core.rules.kept_options import with_options
from pkgindex_core.rules.planning.past import SNAPSHOTS
from pkgindex_mirror.documents.differences import PART
from pkgindex_mirror.engine_target.committing import WHO
from pkgindex_mirror.engine_target.index_snapshots import IndexSnapshot, IndexSnapshots
from pkgindex_mirror.engine_target.turns import RunTurn
from pkgindex_mirror.synced_indexes import SHOWS

_REMEMBERED: Final = 10
"""The most snapshots that an index remembers."""
_MOST: Final = 1000
"""Pages of one commit."""
_MOST_BYTES: Final = 32 * 1024 * 1024
_NAMES: Final = 10_000
"""Names of one commit."""
_OWN: Final = frozenset({SNAPSHOTS, "mirror_history"})
"""Options that an index does not take over from the mirror."""


class Shown(Struct, frozen=True):
    """The snapshots that an index has shown, the present one last. `of`: the mirror."""

    of: IndexName
    numbers: tuple[int, ...]


def shown_by(config: IndexConfig) -> Shown | None:
    """The snapshots that an index shows; None for an index that shows none."""
    found = config.options.get(SHOWS)
    return msgspec.convert(found, Shown) if found else None


class PromotedIndexes:
    """The indexes that show snapshots of one mirror. What changes them is called inside `turn`, after `recover`."""

    def __init__(self, engine: Engine, snapshots: IndexSnapshots) -> None:
        self._store = engine.store
        self._snapshots = snapshots
        self._mirror = snapshots.index
        self.prefix = f"{owner(self._mirror)}/"
        """The user of names that lack one."""
        self._notes = f"mirror.promoting/{self._mirror}"
        self._lease = RunTurn(engine.store, self._mirror, what="snapshots of ")

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Hold this for any change of snapshots, or of what shows them."""
        async with self._lease.held():
            yield

    async def recover(self) -> None:
        """Finish promotions whose process died."""
        names = [note.key async for batch in self._store.notes(self._notes) for note in batch]
        for name in map(IndexName, names):
            config = (await self._store.tree()).indexes.get(name)
            shown = shown_by(config) if config is not None else None
            if config is not None and shown is not None and shown.of == self._mirror:
                await self._show(config, config, await self._snapshots.snapshot(shown.numbers[-1]))
            await self._store.drop_note(self._notes, name)

    async def current(self) -> dict[str, int]:
        """The snapshot of each index, by its name; without the user, if that is the one of the mirror."""
        return {self._short(name): shown.numbers[-1] for name, shown in await self._all()}

    async def needed(self) -> set[int]:
        """The snapshots that indexes show, and those to which they would go back."""
        return {number for _, shown in await self._all() for number in shown.numbers[-2:]}

    async def promote(self, number: int, name: str) -> IndexName:
        """Let an index show a snapshot; it is made if it is missing. Returns its name."""
        snapshot = await self._snapshots.snapshot(number)
        index = self.name_of(name)
        tree = await self._store.tree()
        before = tree.indexes.get(index)
        shown = shown_by(before) if before is not None else Shown(self._mirror, ())
        if shown is None or shown.of != self._mirror:
            raise Refused(f"{index} is an index that shows no snapshots of {self._mirror}", hint="name another index")
        if before is None and await self._store.user(owner(index)) is None:
            raise Missing("user", owner(index), hint=f"make the user first, or name an index of another one: {index}")
        numbers = shown.numbers if shown.numbers[-1:] == (number,) else (*shown.numbers, number)[-_REMEMBERED:]
        await self._switch(before, tree.indexes[self._mirror], Shown(self._mirror, numbers), index, snapshot)
        return index

    async def roll_back(self, name: str) -> int:
        """Let an index show the snapshot that it had before. Returns its number."""
        config, shown = await self._existing(name)
        there = {each.number for each in await self._snapshots.kept()}
        numbers = tuple(number for number in shown.numbers[:-1] if number in there)
        if not numbers:
            raise Refused(f"{name} has no snapshot to go back to", hint="promote one of `snapshot list`")
        snapshot = await self._snapshots.snapshot(numbers[-1])
        mirror = (await self._store.tree()).indexes[self._mirror]
        await self._switch(config, mirror, Shown(self._mirror, numbers), config.name, snapshot)
        return numbers[-1]

    async def withdraw(self, name: str) -> None:
        """Remove an index. Its snapshots stay."""
        config, _ = await self._existing(name)
        await self._store.apply([DropIndex(config.name)], who=WHO, require=(IndexIs(config),))

    def name_of(self, word: str) -> IndexName:
        """The index of a name, which may lack the user."""
        return parse_index_name(word if "/" in word else f"{self.prefix}{word}")

    async def _switch(
        self, before: IndexConfig | None, mirror: IndexConfig, shown: Shown, name: IndexName, snapshot: IndexSnapshot
    ) -> None:
        # Files that are not stored come from the upstream of the mirror, so both have the same options.
        options = {key: value for key, value in mirror.options.items() if key not in _OWN}
        kept = {} if before is None else {key: value for key, value in before.options.items() if key not in options}
        config = replace(before or replace(mirror, name=name), options={**kept, **options})
        config = with_options(config, **{SHOWS: msgspec.to_builtins(shown)})
        await self._store.put_note(self._notes, name, b"")
        failpoint("index_snapshots.promotion_noted")
        await self._show(before, config, snapshot)
        await self._store.drop_note(self._notes, name)

    async def _show(self, before: IndexConfig | None, config: IndexConfig, snapshot: IndexSnapshot) -> None:
        """Make the pages and the list of an index those of a snapshot."""
        index, require = config.name, (IndexIs(before) if before is not None else IndexAbsent(config.name))
        waiting: list[Change] = [] if before == config else [PutIndex(config)]
        size = 0

        async def commit(changes: Sequence[Change]) -> None:
            nonlocal require
            await self._lease.apply(changes, who=WHO, require=(require,))
            require = IndexIs(config)
            failpoint("index_snapshots.promotion_committed")

        names: list[tuple[ProjectName, str]] = []
        there = {row.name for row in await self._store.projects(index)} if before is not None else set()
        for row in await self._store.projects(self._mirror, at=snapshot.at):
            names.append((row.name, row.display_name or row.name))
            is_there = row.name in there
            there.discard(row.name)
            if is_there and await self._is_same(index, row.name, snapshot):
                continue
            page = await self._store.page(self._mirror, row.name, at=snapshot.at)
            assert page is not None, "snapshots are not dropped meanwhile"
            own = await self._store.page(index, row.name) if is_there else None
            for change in _changes(index, page, own):
                if (
                    change.part not in {"whole", "first"}
                    or size + len(change.kept) > _MOST_BYTES
                    or len(waiting) >= _MOST
                ):
                    await commit(waiting)
                    waiting, size = [], 0
                waiting.append(change)
                size += len(change.kept)
        if len(waiting) + len(there) > _MOST:
            await commit(waiting)
            waiting = []
        waiting += [DropMirrorPage(index, name) for name in sorted(there)]
        lists = [each async for each in self._lists(index, names, is_new=before is None)]
        await commit([*waiting, *lists[:1]])
        for each in lists[1:]:
            await commit([each])

    async def _is_same(self, index: IndexName, project: ProjectName, snapshot: IndexSnapshot) -> bool:
        """Whether a page has the content of that of the snapshot, as far as its name tells."""
        (own,) = await self._store.standings(project, [index])
        (wanted,) = await self._store.standings(project, [self._mirror], at=snapshot.at)
        return bool(own.content) and own.content == wanted.content

    async def _lists(
        self, index: IndexName, names: Sequence[tuple[ProjectName, str]], *, is_new: bool
    ) -> AsyncIterator[MirrorNames]:
        """The changes that make the list one of these names. It counts as unknown until its last part, if there was none before."""
        listed: dict[ProjectName, str] = {}
        if not is_new:
            listed = {row.name: row.display_name async for batch in self._store.listed_names(index) for row in batch}
        put = [each for each in names if listed.get(each[0]) != each[1]]
        drop = sorted(listed.keys() - {name for name, _ in names})
        meanwhile = {} if not is_new and (await self._store.listing(index)).is_whole else {PARTIAL: "1"}
        count = max(1, -(-max(len(put), len(drop)) // _NAMES))
        for part in range(count):
            span = slice(part * _NAMES, (part + 1) * _NAMES)
            validators = {} if part == count - 1 else meanwhile
            yield MirrorNames(index, tuple(put[span]), tuple(drop[span]), validators)

    async def _all(self) -> list[tuple[IndexName, Shown]]:
        indexes = (await self._store.tree()).indexes
        found = [(name, shown_by(indexes[name])) for name in sorted(indexes)]
        return [(name, shown) for name, shown in found if shown is not None and shown.of == self._mirror]

    async def _existing(self, name: str) -> tuple[IndexConfig, Shown]:
        config = (await self._store.tree()).indexes.get(self.name_of(name))
        shown = shown_by(config) if config is not None else None
        if config is None or shown is None or shown.of != self._mirror:
            names: Mapping[str, int] = await self.current()
            raise Missing("published name", name, hint=f"the names are: {', '.join(names) or 'none'}")
        return config, shown

    def _short(self, name: IndexName) -> str:
        return name.removeprefix(self.prefix)


def _changes(index: IndexName, page: Page, own: Page | None) -> Iterator[MirrorPage]:
    """The changes that make a stored page the one of a snapshot: none, one, or several parts of a long page."""
    if own is not None and looks_the_same(own.head, page.head) and _bodies(own) == _bodies(page):
        return
    if isinstance(page.rows, KeptRows):
        yield MirrorPage(index, page.project, page.head, kept=page.rows.kept)
        return
    before = _bodies(own) if own is not None else {}
    after = _bodies(page)
    put = [decode_file(body) for name, body in after.items() if before.get(name) != body]
    drop = sorted(before.keys() - after.keys())
    count = max(1, -(-max(len(put), len(drop)) // PART))
    for part in range(count):
        span = slice(part * PART, (part + 1) * PART)
        change = MirrorPage(index, page.project, page.head, tuple(put[span]), tuple(drop[span]))
        if count > 1:
            change = replace(change, part="first" if part == 0 else "last" if part == count - 1 else "middle")
        yield change


def _bodies(page: Page) -> dict[str, bytes]:
    return {row.filename: row.body for row in page.rows}
