"""One file of a dump on its way in: copied, compared with the hashes the dump tells, looked at, kept.

A file whose bytes are not those that the dump tells is never kept. One that an upload would be refused for (an egg, an
installer, a name of before PEP 625, a wheel with a broken RECORD) is: people install it today. It gets no metadata sidecar, since
what cannot be inspected cannot be quoted, and a remark.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Final, TypeVar

from msgspec import Struct

from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Refused
from pkgindex_core.formats.archives import inspect_archive
from pkgindex_core.formats.core_metadata import read_metadata
from pkgindex_core.formats.devpi.dump import DumpFile
from pkgindex_core.formats.filenames import parse_upload_filename
from pkgindex_core.formats.metadata_fields import is_specifier
from pkgindex_core.formats.upload_rules import LENIENT
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import BlobStore, Stage
from pkgindex_core.services.moving.importing.directory import DevpiDirectory
from pkgindex_core.tools.workers import in_worker

T = TypeVar("T")

_CHUNK: Final = 1 << 20


class Kept(Struct, frozen=True, kw_only=True):
    """A file that is in the blob store now."""

    sha256: Sha256
    size: int
    sidecar: Sha256 | None = None
    requires_python: str | None = None
    """None: the file does not say, or could not be asked."""
    display_name: str = ""
    odd: str = ""
    """Why an upload of it would be refused."""


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

    async def keep(self, file: DumpFile, *, project: ProjectName | None = None) -> Kept | str:
        """Keep a file, looked at when it is a distribution of a `project`; or say why not."""
        source = await self.in_worker(lambda: self._directory.open(file.relpath))
        if isinstance(source, str):
            return source
        algorithms = [name for name in file.digests if name != "sha256"]
        try:
            async with self._blobs.stage(*algorithms) as stage:
                while data := await self.in_worker(lambda: source.read(_CHUNK)):
                    await stage.write(data)
                wrong = _difference(file, stage)
                if wrong:
                    return wrong
                seen = _Seen()
                if project is not None:
                    await stage.flush()
                    path = stage.path
                    seen = await self.in_worker(lambda: _look(path, file.filename, project))
                sidecar = await self._blobs.put(seen.metadata) if seen.metadata is not None else None
                blob = await stage.keep()
        finally:
            await self.in_worker(source.close)
        return Kept(
            sha256=blob.sha256,
            size=blob.size,
            sidecar=sidecar.sha256 if sidecar else None,
            requires_python=seen.requires_python,
            display_name=seen.display_name,
            odd=seen.odd,
        )

    async def in_worker(self, function: Callable[[], T]) -> T:
        return await in_worker(self._workers, function)


def _difference(file: DumpFile, stage: Stage) -> str:
    if file.size is not None and file.size != stage.size:
        return f"it has {stage.size} bytes, and the dump says {file.size}"
    for name, value in file.digests.items():
        if stage.hexdigest(name) != value:
            return f"its {name} is {stage.hexdigest(name)}, and the dump says {value}: it was damaged or changed"
    return ""


def _look(path: Path, filename: str, project: ProjectName) -> _Seen:
    """What the archive says, as far as it can be believed. Blocks."""
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
