"""Takes one file of a dump: copies it, compares it with the dump's hashes, inspects and keeps it.

A file with other hashes than in the dump is never kept. A file that would be refused as an upload (an egg, an installer, a name
from before PEP 625, a wheel with a broken RECORD) is kept, because people install it today. It gets a remark and no metadata
sidecar, since it cannot be inspected.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Final, TypeVar

from msgspec import Struct

from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Refused
from pkgindex_core.formats.archives.inspecting import inspect_archive
from pkgindex_core.formats.core_metadata import read_metadata
from pkgindex_core.formats.devpi.dump import DumpFile
from pkgindex_core.formats.filenames import parse_upload_filename
from pkgindex_core.formats.metadata_fields import is_specifier
from pkgindex_core.formats.upload_rules import LENIENT
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import BlobStore, Spool
from pkgindex_core.services.moving.importing.directory import DevpiDirectory
from pkgindex_core.tools.workers import in_worker

T = TypeVar("T")

_CHUNK: Final = 1 << 20


class ImportedFile(Struct, frozen=True, kw_only=True):
    """A file of the dump after its bytes were stored."""

    sha256: Sha256
    size: int
    sidecar: Sha256 | None = None
    requires_python: str | None = None
    """None: the file has none, or could not be inspected."""
    display_name: str = ""
    odd: str = ""
    """Why it would be refused as an upload."""


class _Seen(Struct, frozen=True, kw_only=True):
    metadata: bytes | None = None
    requires_python: str | None = None
    display_name: str = ""
    odd: str = ""


class Intake:
    """Takes files of a dump into a blob store."""

    def __init__(self, *, directory: DevpiDirectory, blobs: BlobStore, workers: Executor) -> None:
        self._directory = directory
        self._blobs = blobs
        self._workers = workers

    async def keep(self, file: DumpFile, *, project: ProjectName | None = None) -> ImportedFile | str:
        """Keep a file, and inspect it if it is a distribution of `project`. Returns the reason if it is not kept."""
        source = await self.in_worker(lambda: self._directory.open(file.relpath))
        if isinstance(source, str):
            return source
        algorithms = [name for name in file.digests if name != "sha256"]
        try:
            async with self._blobs.spool(*algorithms) as spool:
                while data := await self.in_worker(lambda: source.read(_CHUNK)):
                    await spool.write(data)
                wrong = _difference(file, spool)
                if wrong:
                    return wrong
                seen = _Seen()
                if project is not None:
                    await spool.flush()
                    path = spool.path
                    seen = await self.in_worker(lambda: _look(path, file.filename, project))
                sidecar = await self._blobs.put(seen.metadata) if seen.metadata is not None else None
                blob = await spool.keep()
        finally:
            await self.in_worker(source.close)
        return ImportedFile(
            sha256=blob.sha256,
            size=blob.size,
            sidecar=sidecar.sha256 if sidecar else None,
            requires_python=seen.requires_python,
            display_name=seen.display_name,
            odd=seen.odd,
        )

    async def in_worker(self, function: Callable[[], T]) -> T:
        return await in_worker(self._workers, function)


def _difference(file: DumpFile, spool: Spool) -> str:
    if file.size is not None and file.size != spool.size:
        return f"it has {spool.size} bytes, and the dump says {file.size}"
    for name, value in file.digests.items():
        if spool.hexdigest(name) != value:
            return f"its {name} is {spool.hexdigest(name)}, and the dump says {value}: it was damaged or changed"
    return ""


def _look(path: Path, filename: str, project: ProjectName) -> _Seen:
    """Inspect the archive. Blocks."""
    try:
        name = parse_upload_filename(filename, LENIENT, project=project)
        if name.project != project:
            return _Seen(odd=f"its name is that of a file of {name.project}")
        inspection = inspect_archive(path, name, rules=LENIENT)
    except Refused as error:
        return _Seen(odd="; ".join(error.problems))
    metadata = read_metadata(inspection.metadata or b"")
    return _Seen(
        metadata=inspection.metadata if name.kind == "wheel" else None,
        requires_python=metadata.requires_python if is_specifier(metadata.requires_python) else "",
        display_name=metadata.name or name.name_part,
    )
