"""Reads what a search may know of a project: its newest version, the metadata of that, and the names that its wheel gives to `import`."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from msgspec.structs import replace

from pkgindex_core.digests import Sha256
from pkgindex_core.errors import PkgIndexError
from pkgindex_core.formats.core_metadata import read_metadata
from pkgindex_core.formats.kept_pages import KeptRows
from pkgindex_core.formats.versions import canonical_version, version_key
from pkgindex_core.models import File, IndexConfig, Page, decode_file
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import BlobStore, Projects, ReleaseRecords
from pkgindex_core.protocols.catalogue import SearchEntry
from pkgindex_core.rules.searching.entries import imported, of_metadata, of_release, representing
from pkgindex_core.tools.workers import in_worker

_QUICK: Final = 100
"""The most files of a page that is looked through in the event loop's thread."""
_FETCHED_BYTES: Final = 1 << 20
"""The most bytes of a wheel or a sidecar that is read for its entry, and does not lie on a disk here."""
_WHEELS: Final = 20
"""The most wheels of a version whose sidecars are looked for."""


class _Store(Projects, ReleaseRecords, Protocol): ...


class CatalogueEntries:
    """Reads entries. No upstream is asked."""

    def __init__(self, *, store: _Store, blobs: BlobStore, workers: Executor) -> None:
        self._store = store
        self._blobs = blobs
        self._workers = workers

    async def read(self, config: IndexConfig, project: ProjectName) -> SearchEntry | None:
        """The entry of a project in one index; None if the index does not have it.

        A directory may have a name only by files that cannot be used. Such a name is taken, and not shown.
        """
        page = await self._store.page(config.name, project)
        if page is None or (config.files_elsewhere and not (page.rows or config.mirrored)):
            return None
        if len(page.rows) <= _QUICK:
            version, files = newest_of(page)
        else:
            version, files = await in_worker(self._workers, newest_of, page)
        named = page.head.display_name
        entry = SearchEntry(
            index=config.name,
            project=project,
            mirrored=config.mirrored,
            display_name="" if named == project else named,
            stamp=page.stamp,
            version=version,
        )
        wheels = [file for file in files if file.filename.endswith(".whl")]
        if config.mirrored:
            return await self._of_sidecars(entry, wheels)
        release = await self._store.release(config.name, project, version) if version else None
        if release is not None:
            entry = of_release(entry, release.metadata)
        return replace(entry, imports=await self._imports(wheels)) if entry.described else entry

    async def _of_sidecars(self, entry: SearchEntry, wheels: Sequence[File]) -> SearchEntry:
        """The entry with the first sidecar that is stored."""
        for wheel in wheels[:_WHEELS]:
            try:
                blob = await self._blobs.stat(wheel.metadata_sha256) if wheel.metadata_sha256 is not None else None
                if blob is not None and blob.size <= _FETCHED_BYTES:
                    return of_metadata(entry, read_metadata(await self._blob(blob.sha256)))
            except PkgIndexError:  # it was removed meanwhile, or cannot be read now: it is not known
                continue
        return entry

    async def _imports(self, wheels: Sequence[File]) -> tuple[str, ...]:
        """The names in the first wheel. A large one is only looked into if it lies on a disk here."""
        for wheel in wheels[:1]:
            if wheel.sha256 is None:
                continue
            try:
                place = await self._blobs.locate(wheel.sha256, filename=wheel.filename)
                if isinstance(place, Path):
                    return imported(await in_worker(self._workers, partial(members_of, place)))
                if wheel.size is not None and wheel.size <= _FETCHED_BYTES:
                    return imported(members_of(io.BytesIO(await self._blob(wheel.sha256))))
            except PkgIndexError:
                continue
        return ()

    async def _blob(self, key: Sha256) -> bytes:
        return b"".join([piece async for piece in self._blobs.read(key)])


def newest_of(page: Page) -> tuple[str, list[File]]:
    """The version that represents a page, and its files; pure. Only the files of few versions are decoded."""
    rows = page.rows
    spelled = rows.columns().versions if isinstance(rows, KeptRows) else [row.version for row in rows]
    bodies = () if isinstance(rows, KeptRows) else [row.body for row in rows]

    def files(version: str) -> list[File]:
        # Keys are compared first: a page may have thousands of versions, and their keys were made to find the newest.
        key, canonical = version_key(version), canonical_version(version)
        wanted = [
            place
            for place, each in enumerate(spelled)
            if each == version or (version_key(each) == key and canonical_version(each) == canonical)
        ]
        found: Mapping[int, File] = (
            rows.at(wanted) if isinstance(rows, KeptRows) else {place: decode_file(bodies[place]) for place in wanted}
        )
        return [*found.values()]

    def is_yanked(version: str) -> bool:
        found = files(version)
        return bool(found) and all(file.yanked for file in found)

    version = representing(dict.fromkeys(filter(None, (*spelled, *page.head.versions))), is_yanked)
    return version, files(version)


def members_of(wheel: Path | BinaryIO) -> Sequence[str]:
    """The names in a wheel; none if it cannot be read: those of a directory were never inspected."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            return archive.namelist()
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return ()
