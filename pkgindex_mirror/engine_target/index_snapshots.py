"""Snapshots of a synced index: numbered states of its pages, which stay readable and keep their files.

A snapshot is the serial of a commit. The store keeps the past of pages since the oldest one (`rules.planning.past`), so taking one copies
nothing. All are in one option of the index, and go with it. Files that a page does not list any more stay while a snapshot has them
(`synced_files`); those on demand are pinned with the snapshot, since an upstream may remove them before they are fetched again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.changes import IndexIs, PutIndex
from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import Sha256
from pkgindex_core.engine import Engine
from pkgindex_core.errors import Missing, Refused
from pkgindex_core.failpoints import failpoint
from pkgindex_core.models import File, IndexConfig, Page, Serial, decode_file
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.rules.kept_options import with_options
from pkgindex_core.rules.planning.past import SNAPSHOTS
from pkgindex_mirror.engine_target.committing import WHO
from pkgindex_mirror.engine_target.sync_notes import SyncNotes
from pkgindex_mirror.engine_target.synced_files import SyncedFiles
from pkgindex_mirror.engine_target.turns import RunTurn
from pkgindex_mirror.file_policies import policies_of
from pkgindex_mirror.snapshots.listings import FileChange, SnapshotFile
from pkgindex_mirror.snapshots.words import parse_word
from pkgindex_mirror.synced_indexes import is_synced


class IndexSnapshot(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One snapshot."""

    number: int
    name: str = ""
    created: Timestamp
    at: Serial
    """The commit of the store as of which its pages are read."""
    serial: int | None = None
    """The serial of the upstream up to which the index was mirrored, if there is one."""
    projects: int
    files: int
    bytes: int


class KeptSnapshots(Struct, frozen=True, kw_only=True):
    """The snapshots of an index, by number. `last`: the highest number that one ever had."""

    last: int = 0
    kept: tuple[IndexSnapshot, ...] = ()


def snapshots_of(config: IndexConfig) -> KeptSnapshots:
    """The snapshots of an index."""
    found = config.options.get(SNAPSHOTS)
    return msgspec.convert(found, KeptSnapshots) if found else KeptSnapshots()


class IndexSnapshots:
    """The snapshots of one index. What changes them holds the `turn` of the index, so no run changes pages meanwhile."""

    def __init__(self, engine: Engine, files: SyncedFiles, index: IndexName) -> None:
        self._store = engine.store
        self._clock = engine.clock
        self._files = files
        self._notes = SyncNotes(engine.store, index)
        self.index = index
        self.turn = RunTurn(engine.store, index)

    async def kept(self) -> Sequence[IndexSnapshot]:
        return snapshots_of(await self._config()).kept

    async def take(self, name: str = "") -> IndexSnapshot:
        """Take a snapshot. Raises `Refused` for an index that no run has brought up to date yet."""
        parse_word(name, "name of a snapshot", empty=True)
        config = await self._config()
        if not is_synced(config) or not (await self._store.listing(self.index)).is_whole:
            raise Refused(
                f"{self.index} was not brought up to date by a run", hint="run `pkgindex-mirror mirror --index` first"
            )
        before = snapshots_of(config)
        states = [state async for batch in self._notes.states() for state in batch if state.is_mirrored]
        for state in states:
            await self._hold(config, state.name)
        serial = (await self._notes.facts()).get("serial", "")
        taken = IndexSnapshot(
            number=before.last + 1,
            name=name,
            created=self._clock.now(),
            at=await self._store.head(),
            serial=int(serial) if serial.isdigit() else None,
            projects=len(states),
            files=sum(state.files for state in states),
            bytes=sum(state.bytes for state in states),
        )
        await self._put(config, KeptSnapshots(last=taken.number, kept=(*before.kept, taken)))
        failpoint("index_snapshots.taken")
        return taken

    async def drop(self, numbers: Iterable[int]) -> None:
        """Drop snapshots, and the files that nothing else lists."""
        # The files are judged again, now or in the turn of the next run if this process dies.
        await self._notes.judge_kept_again()
        config = await self._config()
        before, gone = snapshots_of(config), set(numbers)
        kept = tuple(each for each in before.kept if each.number not in gone)
        await self._put(config, replace(before, kept=kept))
        failpoint("index_snapshots.dropped")
        await self._files.judge_left(self._notes)

    async def number_of(self, word: str, names: Mapping[str, int]) -> int:
        """The number of the snapshot of a number, of a published name (`names`), `latest`, or the newest that was taken under a name."""
        kept = await self.kept()
        if word in names:
            return names[word]
        if word == "latest":
            found = [each.number for each in kept]
        elif word.isascii() and word.isdigit():
            found = [each.number for each in kept if f"{each.number}" == word.lstrip("0")]
        else:
            found = [each.number for each in kept if each.name == word]
        if not found:
            hint = "`snapshot list` lists them" if kept else "there is none yet: `snapshot create` takes one"
            raise Missing("snapshot", word[:80], hint=hint)
        return found[-1]

    async def snapshot(self, number: int) -> IndexSnapshot:
        for each in await self.kept():
            if each.number == number:
                return each
        raise Missing("snapshot", f"{number}", hint="`snapshot list` lists them")

    async def files(self, snapshot: IndexSnapshot) -> AsyncIterator[SnapshotFile]:
        """The files of a snapshot, by project and name. The path is PROJECT/FILENAME; a digest or size that the upstream does not tell is empty or 0."""
        for row in await self._store.projects(self.index, at=snapshot.at):
            page = await self._store.page(self.index, row.name, at=snapshot.at)
            for _, file in sorted(_files_of(page).values(), key=lambda each: each[1].filename):
                yield _told(row.name, file)

    async def changes(self, old: IndexSnapshot, new: IndexSnapshot) -> AsyncIterator[FileChange]:
        """The files that two snapshots do not have in common. A file that is yanked, or changes otherwise, is a changed one."""
        stamps = [
            {row.name: row.stamp for row in await self._store.projects(self.index, at=each.at)} for each in (old, new)
        ]
        for name in sorted({*stamps[0], *stamps[1]}):
            if stamps[0].get(name) == stamps[1].get(name):
                continue
            before, after = [
                _files_of(await self._store.page(self.index, name, at=each.at)) if name in held else {}
                for each, held in zip((old, new), stamps, strict=True)
            ]
            for filename in sorted({*before, *after}):
                was, now = before.get(filename), after.get(filename)
                if was is None or now is None or was[0] != now[0]:
                    yield FileChange(
                        f"{name}/{filename}",
                        _told(name, was[1]) if was is not None else None,
                        _told(name, now[1]) if now is not None else None,
                    )

    async def _hold(self, config: IndexConfig, project: ProjectName) -> None:
        """Pin the files of a project that is on demand. Those of others are pinned, or never kept."""
        if policies_of(config).of(project) == "on-demand":
            page = await self._store.page(self.index, project)
            await self._files.hold([file for _, file in _files_of(page).values()])

    async def _put(self, config: IndexConfig, snapshots: KeptSnapshots) -> None:
        changed = with_options(config, **{SNAPSHOTS: msgspec.to_builtins(snapshots)})
        await self.turn.apply([PutIndex(changed)], who=WHO, require=(IndexIs(config),))

    async def _config(self) -> IndexConfig:
        config = (await self._store.tree()).indexes.get(self.index)
        if config is None:
            raise Missing("index", self.index)
        return config


def _files_of(page: Page | None) -> dict[str, tuple[bytes, File]]:
    """The files of a page by name, each with its stored form."""
    if page is None:
        return {}
    return {row.filename: (row.body, decode_file(row.body)) for row in page.rows}


def _told(project: ProjectName, file: File) -> SnapshotFile:
    return SnapshotFile(f"{project}/{file.filename}", file.sha256 or Sha256(""), file.size or 0)
