"""Finds files by path: distributions, documentation, test results, and former ones.

    index, directory, filename -> a row of the store | the source looks for the project | an attachment | said to be gone
                                   └ its digest is not known: the source fetches it

Results are cached until their project or the tree is touched. Permissions are checked in `files`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from msgspec import Struct

from pkgindex_core.errors import Gone, Missing, Unavailable
from pkgindex_core.formats.filenames import candidate_projects
from pkgindex_core.formats.fragments import directory, former_directories
from pkgindex_core.formats.project_outlines import attachment_path
from pkgindex_core.models import Attachment, File, IndexConfig
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Arriving, Projects, ReleaseRecords
from pkgindex_core.rules.merging import offered
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_core.tools.currency import Currency, Holds, Moment
from pkgindex_core.tools.sources import Sources

_KNOWN = 4096
CANDIDATES = 3
"""The most projects, the likeliest first, to which a filename may belong. Each may cost a request to an upstream."""


class FoundFile(Struct, frozen=True, kw_only=True):
    """The file of a path."""

    project: ProjectName
    file: File
    """For an attachment: its name, digest and size as those of a file."""
    offers: bool
    """False: the project is quarantined, and its files are not offered (PEP 792)."""
    attachment: Attachment | None = None
    tested: File | None = None
    """For a test result: the tested file. If the file is hidden, so is the result."""


class _KeptFinding(Struct, frozen=True):
    found: FoundFile
    moment: Moment


class _Store(Projects, ReleaseRecords, Protocol): ...


class Finding:
    """Finds files by path."""

    def __init__(self, *, store: _Store, sources: Sources, currency: Currency) -> None:
        self._store = store
        self._sources = sources
        self._currency = currency
        self.kept: BoundedCache[tuple[IndexName, str | None, str], _KeptFinding] = BoundedCache(_KNOWN)

    async def find(
        self,
        config: IndexConfig,
        pinned: str | None,
        filename: str,
        *,
        asking: bool,
        is_withheld: Callable[[ProjectName], bool] | None = None,
    ) -> FoundFile:
        """Find the file of a path; returns the same object while it is current. With `asking` the source looks for unknown files.

        With `pinned` None it is the file that has the name now, whatever its bytes are. `is_withheld`: projects that the source is not
        asked for.

        Raises `Missing` for an unknown path, `Gone` for a deleted or replaced file, `Unavailable` when the source cannot be asked.
        """
        await self._currency.catch_up()
        key = (config.name, pinned, filename)
        known = self.kept.get(key)
        if known is not None and self._currency.holds(
            known.moment, tree=True, keys=((config.name, known.found.project),)
        ):
            return known.found
        moment = self._currency.moment()
        found = await self._find(config, pinned, filename, asking=asking, is_withheld=is_withheld)
        self.kept.put(key, _KeptFinding(found, moment))
        return found

    def holding(self, index: IndexName, pinned: str | None, filename: str, found: FoundFile) -> Holds | None:
        """A check whether `find` would return this object without waiting; None if that is not so now."""
        known = self.kept.get((index, pinned, filename))
        if known is None or known.found is not found:
            return None
        return partial(self._currency.holds, known.moment, tree=True, keys=((index, found.project),))

    async def _find(
        self,
        config: IndexConfig,
        pinned: str | None,
        filename: str,
        *,
        asking: bool,
        is_withheld: Callable[[ProjectName], bool] | None,
    ) -> FoundFile:
        candidates = candidate_projects(filename)
        pair = await self._store.find_file(config.name, filename, candidates)
        if pair is None and asking and not (is_withheld and any(map(is_withheld, candidates))):
            # The other projects to which a file of a withheld one may belong are not asked for either: the upstream would learn of it.
            pair = await self._find_asking(config, filename, candidates)
        if pair is not None:
            project, file = pair
            offers = await self._offers(config.name, project)
            if asking and offers and pinned is not None and _may_pin(pinned, file):
                file = await self._fetched(config, project, file)
            if pinned is None or _pins(pinned, file):
                return FoundFile(project=project, file=file, offers=offers)
        if pinned is None:
            raise Missing("file", filename)
        found = await self._find_attachment(config.name, pinned, filename)
        if found is not None:
            return found
        for former in await self._store.former(config.name, filename):
            if pinned == f"+f/{former.sha256[:3]}/{former.sha256[3:16]}":
                raise Gone("file", f"{config.name}/{pinned}/{filename}", former.project)
        raise Missing("file", f"{config.name}/{pinned}/{filename}")

    async def _offers(self, index: IndexName, project: ProjectName) -> bool:
        (standing,) = await self._store.standings(project, [index])
        return all(offered([standing.status]))

    async def _find_attachment(self, index: IndexName, pinned: str, filename: str) -> FoundFile | None:
        """Documentation, or a test result, whose path has the directory of the tested file."""
        pair = await self._store.find_attachment(index, filename)
        if pair is None:
            return None
        project, attachment = pair
        tested = await self._store.file(index, project, attachment.about) if attachment.about else None
        if attachment_path(attachment, tested).rpartition("/")[0] != pinned:
            return None
        file = File(
            filename=filename,
            version=attachment.version,
            digests={"sha256": attachment.sha256},
            size=attachment.size,
            upload_time=attachment.added,
            history=attachment.history,
        )
        offers = await self._offers(index, project)
        return FoundFile(project=project, file=file, offers=offers, attachment=attachment, tested=tested)

    async def _find_asking(
        self, config: IndexConfig, filename: str, candidates: Sequence[ProjectName]
    ) -> tuple[ProjectName, File] | None:
        """Refresh the projects to which a filename may belong, the likeliest first, until one has the file."""
        source = self._sources.of(config)
        doubt = ""
        for project in candidates[:CANDIDATES]:
            (standing,) = await self._store.standings(project, [config.name])
            if source.is_current(config, project, standing):
                continue  # its page was read just now
            freshness = await source.refresh(config, project, standing)
            if freshness.state == "absent":
                continue
            file = await self._store.file(config.name, project, filename)
            if file is not None:
                return project, file
            if freshness.state == "stale":
                doubt = freshness.reason
        if doubt:
            raise Unavailable(f"it is not known now whether {config.name} has {filename}: {doubt}")
        return None

    async def _fetched(self, config: IndexConfig, project: ProjectName, file: File) -> File:
        """Fetch a file to learn its digest. A client may have the path from another server, or from this one before it was killed, so an
        unknown digest does not mean that the path is wrong.
        """
        opened = await self._sources.of(config).open(config, project, file, elsewhere=False)
        if isinstance(opened, Arriving):
            await opened.file.finished()
        return await self._store.file(config.name, project, file.filename) or file


def _may_pin(pinned: str, file: File) -> bool:
    """Whether a path's directory names a sha256, and the file has no sha256 to compare."""
    return file.sha256 is None and pinned.startswith("+f/") and not _pins(pinned, file)


def _pins(pinned: str, file: File) -> bool:
    """Whether a path's directory is, or was, that of a file.

    Lock files may have the directory from before its sha256 was known, or the one that devpi gave to a mirrored file.
    """
    if pinned == directory(file):
        return True
    return bool(file.url) and pinned in former_directories(file)
