"""Makes the stored files of a project equal to the files in the roots: compare, read new files, commit the difference.

    files in the roots ── the digest of the stored file ─► no change
          │               no noted digest ─► read: digest, metadata, whether it is whole
          └──────────────────────────────────► one commit a project, under the stamp that was compared

A file is read once for each mark (`journal`). A file that is not whole is not listed, and is read again when its mark changes. A page is never
committed in part: an installer cannot see that files are missing.

Such a file still claims its project's name: a project of which no file can be listed is stored without files. Otherwise a mirror, or the index
to which unknown names are redirected, would give somebody else's project of that name.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Final, Protocol

from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.changes import (
    Change,
    DropFile,
    DropProject,
    DropRelease,
    IndexIs,
    ProjectAt,
    PutFile,
    PutProject,
    PutRelease,
    Requirement,
)
from pkgindex_core.clock import Clock
from pkgindex_core.digests import Sha256
from pkgindex_core.engines.directory.journal import Journal
from pkgindex_core.engines.directory.listing import Entry, names_a_distribution
from pkgindex_core.engines.directory.root import Changed, Root
from pkgindex_core.engines.directory.walking import age_of
from pkgindex_core.errors import Unavailable
from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.models import File, IndexConfig, Page, PageHead, Serial, decode_file
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import ChangeLog, IndexWriter, Projects, ReleaseRecords, Trees
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_core.tools.committing import until_committed
from pkgindex_core.tools.workers import in_worker

if TYPE_CHECKING:
    from pkgindex_core.engines.directory.reading import Distribution

WHO: Final = "[directory]"
_QUIET_SECONDS: Final = 10.0
"""Seconds without a change after which a file counts as whole if its end cannot be checked."""
_AT_ONCE: Final = 2
"""Files that are read at once: the other workers stay free for requests."""
_UNFINISHED: Final = 10_000
"""Files to remember that were not whole when they were read: they are not read again until their mark changes."""

_log = logging.getLogger(__name__)


class Store(Trees, Projects, ReleaseRecords, ChangeLog, IndexWriter, Protocol): ...


class Settled(Struct, frozen=True):
    """The stored state of a project, and the state of the roots that it equals."""

    versions: tuple[int, ...]
    """`RootListing.version` of each root."""
    stamp: Serial
    holds: bool


class ProjectSettling:
    """Settles projects. `later` is called with a project that must be settled again, and in how many seconds."""

    def __init__(
        self,
        *,
        store: Store,
        journal: Journal,
        clock: Clock,
        workers: Executor,
        later: Callable[[IndexName, ProjectName, float], None],
    ) -> None:
        self._store = store
        self._journal = journal
        self._clock = clock
        self._workers = workers
        self._later = later
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._unfinished: BoundedCache[tuple[str, str], bool] = BoundedCache(_UNFINISHED)
        self.read = 0
        """The number of files that were read whole."""

    async def settle(self, index: IndexConfig, roots: Sequence[Root], project: ProjectName) -> Settled:
        """Make the stored files equal to the files in the roots. `Unavailable` when a file cannot be read."""

        async def attempt(_turn: int) -> Settled:
            (standing,) = await self._store.standings(project, [index.name])
            page = await self._store.page(index.name, project) if standing.holds else None
            stored = {row.filename: decode_file(row.body) for row in page.rows} if page is not None else {}
            # The roots are read after the store: another server may just have put a file there.
            for root in roots:
                await root.update(project)
            if not stored.keys() <= files_of(roots, project).keys():
                for root in roots:
                    await root.update(project, again=True)
            versions = tuple(root.listing.version(project) for root in roots)
            changes, holds = await self._compare(index, roots, project, page, stored)
            if not changes:
                return Settled(versions, standing.stamp, standing.holds)
            config = (await self._store.tree()).indexes.get(index.name)
            if config is None or config.options.get("roots") != index.options.get("roots"):
                raise Unavailable(f"the roots of {index.name} were changed meanwhile", retry_after=1)
            guards: list[Requirement] = [IndexIs(config), ProjectAt(index.name, project, standing.stamp)]
            commit = await self._store.apply(changes, who=WHO, require=guards)
            return Settled(versions, commit.serial if commit is not None else standing.stamp, holds)

        return await until_committed(attempt, f"{project} changes faster than it can be read")

    async def _compare(
        self,
        index: IndexConfig,
        roots: Sequence[Root],
        project: ProjectName,
        page: Page | None,
        stored: Mapping[str, File],
    ) -> tuple[list[Change], bool]:
        """The changes that make the stored files equal to the files in the roots, and whether the index has the project then."""
        changes: list[Change] = []
        there: dict[str, File] = {}
        is_claimed = False
        for filename, (root, entry) in sorted(files_of(roots, project).items()):
            before = stored.get(filename)
            noted = self._journal.known(entry.path, entry.mark)
            if before is not None and noted is not None and before.sha256 == noted:
                there[filename] = before
                continue
            found = await self._read(index, root, entry, noted)
            if found is None:
                is_claimed |= names_a_distribution(filename)
                continue
            if before is not None and before.sha256 == found.file.sha256:
                there[filename] = before  # touched, or uploaded
                continue
            if not stored and not there and page is not None and page.head.display_name == project:
                # The project was stored for a file that could not be listed. Only a listed file spells its name.
                changes.append(PutProject(index.name, project, replace(page.head, display_name=found.display_name)))
            file = replace(found.file, upload_time=self._clock.now())
            there[filename] = file
            changes.append(PutFile(index.name, project, file, found.display_name))
            changes += await self._said(index.name, project, found, changes)
        if not there and not is_claimed:
            if stored or (page is not None and await self._emptied(page)):
                return [DropProject(index.name, project)], False
            return [], page is not None
        if not there and page is None:
            return [PutProject(index.name, project, PageHead(display_name=project))], True
        gone = [filename for filename in stored if filename not in there]
        changes = [*(DropFile(index.name, project, filename) for filename in gone), *changes]
        changes += await self._unsaid(index.name, project, [stored[name] for name in gone], there)
        return changes, True

    async def _emptied(self, page: Page) -> bool:
        """Whether this module stored the page without files, because none could be listed. Otherwise a client has registered the project."""
        commits = await self._store.commits(Serial(page.stamp - 1), limit=1)
        return bool(commits) and (commits[0].serial, commits[0].who) == (page.stamp, WHO)

    def is_damaged(self, entry: Entry) -> bool:
        """Whether the file was read as it is now, and could not be listed. It may still become whole."""
        return bool(self._unfinished.get((entry.path, entry.mark)))

    async def _read(self, index: IndexConfig, root: Root, entry: Entry, noted: Sha256 | None) -> Distribution | None:
        from pkgindex_core.engines.directory.reading import read_distribution, shows_its_end  # loads archive readers

        if self.is_damaged(entry):
            return None
        # A time a little in the future comes from a clock that is ahead. A time far in the future is not when the file was written.
        age = age_of(entry.modified)
        if abs(age) < _QUIET_SECONDS and not shows_its_end(entry.filename):
            self._later(index.name, entry.project, _QUIET_SECONDS - age)
            return None
        if abs(age) < root.grain:
            # A second change within the same tick of the clock does not change the mark.
            await asyncio.sleep(root.grain - age)
        try:
            async with self._turns, root.reading(entry) as path:
                found = await in_worker(self._workers, read_distribution, path, entry.filename, noted)
        except Changed:
            return None  # it is being written; another event comes when that is done
        self.read += noted is None
        if found is None:
            _log.warning(
                "%s is not whole, or its name is not that of a distribution; it is not listed until it changes",
                entry.path,
            )
            self._unfinished.put((entry.path, entry.mark), True)
        elif found.file.sha256 is not None:
            self._journal.note(entry.path, entry.mark, found.file.sha256)
        return found

    async def _said(
        self, index: IndexName, project: ProjectName, found: Distribution, changes: Sequence[Change]
    ) -> list[Change]:
        """The release of a version, from its first file; empty if the version has a release already."""
        version = canonical_version(found.release.version)
        said = any(
            isinstance(each, PutRelease) and canonical_version(each.release.version) == version for each in changes
        )
        if said or await self._store.release(index, project, found.release.version) is not None:
            return []
        return [PutRelease(index, project, found.release)]

    async def _unsaid(
        self, index: IndexName, project: ProjectName, gone: Sequence[File], there: Mapping[str, File]
    ) -> list[Change]:
        """Drop the releases of versions that have no file left."""
        left = {canonical_version(file.version) for file in there.values()}
        versions = {canonical_version(file.version): file.version for file in gone}
        return [
            DropRelease(index, project, spelled)
            for version, spelled in versions.items()
            if version not in left and await self._store.release(index, project, spelled) is not None
        ]


def files_of(roots: Sequence[Root], project: ProjectName) -> dict[str, tuple[Root, Entry]]:
    """The files of a project by name. Of several with one name, the first counts."""
    files: dict[str, tuple[Root, Entry]] = {}
    for root, entry in copies_of(roots, project):
        files.setdefault(entry.filename, (root, entry))
    return files


def copies_of(roots: Sequence[Root], project: ProjectName) -> list[tuple[Root, Entry]]:
    """All files of a project, root by root. Of several with one name, the first counts."""
    return [(root, entry) for root in roots for entry in root.listing.entries(project)]
