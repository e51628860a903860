"""Which files of projects are in a tree.

A record says what a file was when it was kept. A file is there if it has a record with the digest that the page gives, and still has the
size and time of the record. A file without such a record, as after adopting a tree or losing the rows, is compared once with the page
(`compare_method`) and then has one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pkgindex_core.models import File
from pkgindex_core.names import ProjectName
from pkgindex_mirror.trees.committing import GroupCommitter
from pkgindex_mirror.trees.layout import file_path, has_place, sidecar_of, sidecar_path
from pkgindex_mirror.trees.options import TreeOptions
from pkgindex_mirror.trees.records import PublishedPage, RecordedFile
from pkgindex_mirror.trees.rows import MirrorRows
from pkgindex_mirror.trees.storage import StoredObject, TreeStorage

_ALGORITHMS: Final = ("sha256", "blake2b_256", "sha512", "md5")
"""The digests by which files are compared, the first one that the page has."""

Compared = tuple[File, str, RecordedFile | None]
"""A file as the page has it, its path, and its record."""


class ProjectFiles:
    """Compares the files that pages list with those that are there."""

    def __init__(self, storage: TreeStorage, rows: MirrorRows, committer: GroupCommitter, options: TreeOptions) -> None:
        self._storage = storage
        self._rows = rows
        self._committer = committer
        self._options = options

    async def records(self, files: Sequence[File]) -> Mapping[str, RecordedFile]:
        """The records, by path, of those of these files and of their metadata files that have been kept with the digests of the page."""
        if not self._options.release_files:
            return {}
        wanted = {file_path(file): file for file in files}
        if self._options.core_metadata:
            wanted |= {sidecar_path(file): sidecar for file in files if (sidecar := sidecar_of(file)) is not None}
        return {
            path: record for path, record in (await self._known(list(wanted))).items() if fits(wanted[path], record)
        }

    async def missing(self, files: Sequence[File]) -> Sequence[File]:
        """Those of these files that are not there, and their metadata files that are not there.

        A file that cannot have a place is missing for ever.
        """
        if not self._options.release_files:
            return []
        missing = [file for file in files if not has_place(file)]
        files = [file for file in files if has_place(file)]
        if self._options.core_metadata:
            files = [*files, *(sidecar for file in files if (sidecar := sidecar_of(file)) is not None)]
        paths = [file_path(file) for file in files]
        known = await self._known(paths)
        found = await self._storage.stat(paths)
        for file, path, there in zip(files, paths, found, strict=True):
            record = known.get(path)
            if there is None or (file.size is not None and there.size != file.size):
                missing.append(file)
            elif record is not None and fits(file, record) and there == StoredObject(record.size, record.modified):
                continue
            elif not await self._compare(file, path, there, record):
                missing.append(file)
        return missing

    async def _compare(self, file: File, path: str, there: StoredObject, known: RecordedFile | None) -> bool:
        """Whether a file without a record is the one of the page. Then it gets a record, and the time of its upload."""
        uploaded = file.upload_time if file.upload_time is not None else there.modified
        sha256: str | None = file.sha256
        is_same = (
            self._options.compare_method == "stat"
            and file.size is not None
            and sha256 is not None
            and there == StoredObject(file.size, uploaded)
        )
        if not is_same:
            (sha256,) = await self.same_by_digest([(file, path, known)])
        if sha256 is None:
            return False
        if there.modified != uploaded:
            there = await self._storage.adopt(path, uploaded) or there
        self._committer.kept(path, RecordedFile(there.size, there.modified, sha256))
        return True

    def is_kept(self, path: str) -> bool:
        """Whether a file was kept in this run, and is of no published project yet."""
        return self._committer.kept_record(path) is not None

    async def put_kept(self, name: ProjectName, paths: Sequence[str]) -> None:
        """Have records of files that were kept for a project that is published already."""
        await self._storage.settle()
        kept = {path: record for path in paths if (record := self._committer.kept_record(path)) is not None}
        await self._rows.put_files({name: kept})
        self._committer.forget_kept(kept)

    async def same_by_digest(self, compared: Sequence[Compared]) -> Sequence[str | None]:
        """Read files: the sha256 of each that has the bytes of the page's; None for one that has not, or is gone.

        Without a digest in the page, the bytes are those of the record, if there is one.
        """
        expected = [_expected(file, record) for file, _, record in compared]
        paths = [path for _, path, _ in compared]
        asked = list(zip(paths, [algorithm for algorithm, _ in expected], strict=True))
        found = [
            digest if wanted in {"", digest} else None
            for digest, (_, wanted) in zip(await self._storage.digests(asked), expected, strict=True)
        ]
        others = [at for at, digest in enumerate(found) if digest is not None and expected[at][0] != "sha256"]
        if others:
            again = await self._storage.digests([(paths[at], "sha256") for at in others])
            for at, digest in zip(others, again, strict=True):
                found[at] = digest
        return found

    async def _known(self, paths: Sequence[str]) -> Mapping[str, RecordedFile]:
        kept = {path: record for path in paths if (record := self._committer.kept_record(path)) is not None}
        return {**await self._rows.records([path for path in paths if path not in kept]), **kept}


def _expected(file: File, record: RecordedFile | None) -> tuple[str, str]:
    """The algorithm by which a file is compared, and the digest that it should have; an empty one if nothing tells it."""
    for name in _ALGORITHMS:
        if name in file.digests:
            return name, file.digests[name]
    return "sha256", record.sha256 if record is not None else ""


def named_files(page: PublishedPage) -> Iterator[tuple[str, File]]:
    """The files of a published project, and the metadata files of its wheels, by path."""
    for file in page.project.files:
        if file.filename not in page.left_out and has_place(file):
            yield file_path(file), file
            sidecar = sidecar_of(file)
            if sidecar is not None:
                yield sidecar_path(file), sidecar


def paths_of(page: PublishedPage, options: TreeOptions) -> Iterator[str]:
    """The paths that a published project may have beside its pages: its files, and their metadata files."""
    return (path for path, _ in named_files(page)) if options.release_files else iter(())


def fits(file: File, record: RecordedFile) -> bool:
    """Whether a record is one of this file, by its size and digest."""
    sha256 = file.sha256
    return (sha256 is None or record.sha256 == sha256) and (file.size is None or record.size == file.size)
