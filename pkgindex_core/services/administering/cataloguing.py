"""Keeps the catalogue of searches as new as the index store, by small steps that a kill cannot halve.

    new catalogue ─► walk through the store, some projects a step ─► follow the log
                                                                     └─ each touched project is read as it is now, and put or dropped

Each step is one update of the catalogue with its own new progress, and happens only if the progress is still that from which it was made. So a
killed process, or two at once, leave nothing out and do nothing twice. Entries are made of what the store says now, not of commits, so it does
no harm to make one again. Only lists of mirrors, which have 886,000 names, are followed by the changes in the log.

The metadata of a mirrored project is known once a client has asked for that of its newest wheel. Clients ask just after they got the page, so
a page without it is looked at again after a few seconds and after a minute.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import suppress
from typing import Final, Protocol

from msgspec.structs import replace

from pkgindex_core.changes import Commit, DropIndex, MirrorNames
from pkgindex_core.models import IndexConfig, Tree
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import BlobStore, ChangeLog, ListedNames, Projects, ReleaseRecords, Trees
from pkgindex_core.protocols.catalogue import (
    CatalogueProgress,
    CatalogueUpdate,
    NamesUpdate,
    SearchCatalogue,
    SearchEntry,
)
from pkgindex_core.protocols.index_store import Touched
from pkgindex_core.rules.touching import together, touched_by
from pkgindex_core.services.administering.catalogue_entries import CatalogueEntries
from pkgindex_core.services.administering.ownership import identity_of

_PROJECTS: Final = 200
"""Projects of one step of the walk."""
_NAMES: Final = 5_000
"""Names of one step of the walk. The writer of the catalogue is busy for some 50 ms with them."""
_COMMITS: Final = 20
"""Commits of one step that reads the log, since some are large."""
_TOUCHED: Final = 1_000
"""Most touched projects of one step that does not read the log."""
_LATER_SECONDS: Final = (5.0, 60.0)
_MOST_LATER: Final = 10_000

_Key = tuple[IndexName, ProjectName]


class _Store(Trees, Projects, ListedNames, ReleaseRecords, ChangeLog, Protocol): ...


class Cataloguing:
    """Brings one catalogue up to date."""

    def __init__(self, *, store: _Store, blobs: BlobStore, catalogue: SearchCatalogue, workers: Executor) -> None:
        self._store = store
        self._catalogue = catalogue
        self._entries = CatalogueEntries(store=store, blobs=blobs, workers=workers)
        self.is_followed = False
        """Whether a follower makes steps in this process."""
        self._turn = asyncio.Lock()
        self._identity = ""
        self._later: dict[_Key, tuple[float, int]] = {}
        """Mirrored projects whose metadata may come: when to look, by the clock of the event loop, and for which time."""

    async def caught_up(self, seconds: float | None = None) -> CatalogueProgress:
        """Bring the catalogue up to date, for at most `seconds` and as far as this process may; return how far it is.

        The first walk is left to the follower, if there is one.
        """
        progress = await self._catalogue.progress()
        if self._turn.locked() or (self.is_followed and progress.walking is not None):
            return progress
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while progress.walking is not None or progress.serial != self._store.seen():
                    if not await self.may_step() or not await self.step():
                        break
                    progress = await self._catalogue.progress()
        return progress

    async def may_step(self) -> bool:
        """Whether this process is the one that updates the catalogue."""
        return await self._catalogue.lead()

    async def progress(self) -> CatalogueProgress:
        """How far the catalogue is."""
        return await self._catalogue.progress()

    async def step(self) -> bool:
        """Make one update. False: there is nothing to do."""
        async with self._turn:
            return await self._step()

    async def _step(self) -> bool:
        before = await self._catalogue.progress()
        self._identity = self._identity or await identity_of(self._store)
        if not self._identity:
            return False
        head = await self._store.head()
        if before.store != self._identity or before.serial > head:
            begun = CatalogueProgress(store=self._identity, serial=head, walking=(IndexName(""), "", ""))
            await self._catalogue.apply(CatalogueUpdate(clear=True, progress=begun), after=before)
        elif before.walking is not None:
            await self._catalogue.apply(await self._walk(before, before.walking), after=before)
        elif before.serial < head:
            await self._catalogue.apply(await self._follow(before), after=before)
        else:
            return await self._look_later(before)
        return True

    async def _walk(self, before: CatalogueProgress, place: tuple[IndexName, str, str]) -> CatalogueUpdate:
        """Read the next names or projects behind a place. Each mirror has two parts."""
        index, part, after = place
        tree = await self._store.tree()
        if part == "names" and index in tree.indexes:
            async for rows in self._store.listed_names(index, after=after):
                chosen = rows[:_NAMES]
                put = [(row.name, row.display_name) for row in chosen]
                progress = replace(before, walking=(index, part, chosen[-1].name))
                return CatalogueUpdate(names=[NamesUpdate(index=index, put=put)], progress=progress)
            return CatalogueUpdate(progress=replace(before, walking=(index, "projects", "")))
        if part == "projects" and index in tree.indexes:
            rows = await self._store.projects(index, after=after, limit=_PROJECTS)
            if rows:
                entries = await self._read(tree, [(index, row.name) for row in rows])
                progress = replace(before, walking=(index, part, rows[-1].name))
                return CatalogueUpdate(put=[each for each in entries.values() if each is not None], progress=progress)
        following = min((name for name in tree.indexes if name > index), default=None)
        if following is None:
            return CatalogueUpdate(progress=replace(before, walking=None))
        first = "names" if tree.indexes[following].mirrored else "projects"
        return CatalogueUpdate(progress=replace(before, walking=(following, first, "")))

    async def _follow(self, before: CatalogueProgress) -> CatalogueUpdate:
        """Read everything again that the next commits touched."""
        touched = await self._store.touched(before.serial)
        names: Sequence[NamesUpdate] = ()
        if not isinstance(touched, Touched) or touched.names or len(touched.projects) > _TOUCHED:
            commits = await self._store.commits(before.serial, limit=_COMMITS)
            touched = together((touched_by(each.changes, each.serial) for each in commits), commits[-1].serial)
            names = _names_of(commits)
        tree = await self._store.tree()
        entries = await self._read(tree, sorted(touched.projects))
        return CatalogueUpdate(
            drop_indexes=touched.indexes,
            drop=[key for key, entry in entries.items() if entry is None and key[0] in tree.indexes],
            put=[entry for entry in entries.values() if entry is not None],
            names=[each for each in names if each.index in tree.indexes],
            progress=replace(before, serial=touched.upto),
        )

    async def _read(self, tree: Tree, keys: Sequence[_Key]) -> dict[_Key, SearchEntry | None]:
        """The entries of projects as they are now; None: the index does not have it."""
        found: dict[_Key, SearchEntry | None] = {}
        for index, project in keys:
            config = tree.indexes.get(index)
            found[index, project] = entry = await self._entries.read(config, project) if config is not None else None
            self._expect(config, entry)
            await asyncio.sleep(0)  # small pages are read in this thread, and requests must not wait for all of them
        return found

    def _expect(self, config: IndexConfig | None, entry: SearchEntry | None) -> None:
        if config is None or entry is None:
            return
        key = (entry.index, entry.project)
        if entry.described or not config.mirrored:
            self._later.pop(key, None)
        elif len(self._later) < _MOST_LATER:
            self._later.setdefault(key, (asyncio.get_running_loop().time() + _LATER_SECONDS[0], 0))

    async def _look_later(self, before: CatalogueProgress) -> bool:
        """Look again for metadata that was not there. False: it is not time to look for any."""
        now = asyncio.get_running_loop().time()
        due = [key for key, (when, _) in self._later.items() if when <= now][:_PROJECTS]
        if not due:
            return False
        times = {key: self._later.pop(key)[1] + 1 for key in due}
        entries = await self._read(await self._store.tree(), due)
        for key, count in times.items():
            if key in self._later and count < len(_LATER_SECONDS):
                self._later[key] = (now + _LATER_SECONDS[count], count)
            else:
                self._later.pop(key, None)
        put = [each for each in entries.values() if each is not None and each.described]
        if put:
            await self._catalogue.apply(CatalogueUpdate(put=put, progress=before), after=before)
        return True


def _names_of(commits: Sequence[Commit]) -> list[NamesUpdate]:
    """The changes of lists in commits, in order, without those before their index was dropped."""
    found: list[NamesUpdate] = []
    for commit in commits:
        for change in commit.changes:
            if isinstance(change, MirrorNames):
                found.append(NamesUpdate(index=change.index, put=change.put, drop=change.drop))
            elif isinstance(change, DropIndex):
                found = [each for each in found if each.index != change.name]
    return found
