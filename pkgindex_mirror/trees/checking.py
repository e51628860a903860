"""Compares the files of published projects with their pages.

By `stat` a file is right if it has the size and time of its record, and the record has the digest of the page. By `hash` it is read. A file
without such a record is always read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Literal

from msgspec import Struct, field

from pkgindex_core.models import File
from pkgindex_core.names import ProjectName
from pkgindex_core.tools.side_by_side import side_by_side
from pkgindex_mirror.trees.layout import is_sidecar
from pkgindex_mirror.trees.options import Compare
from pkgindex_mirror.trees.project_files import ProjectFiles, fits, named_files
from pkgindex_mirror.trees.records import PublishedPage, RecordedFile
from pkgindex_mirror.trees.rows import MirrorRows
from pkgindex_mirror.trees.storage import StoredObject, TreeStorage

Problem = Literal["missing", "wrong size", "wrong bytes"]

_AT_ONCE: Final = 8
"""Bundles of files that are read at the same time."""
_BUNDLE: Final = 512
_BUNDLE_BYTES: Final = 4 * 1024 * 1024
"""Most files of a bundle, which one worker reads, and bytes after which it takes no more."""


class CheckedFiles(Struct):
    """The files of one project, compared."""

    name: ProjectName
    right: dict[str, RecordedFile] = field(default_factory=dict)
    renewed: dict[str, RecordedFile] = field(default_factory=dict)
    """Those of the right ones of which there was no such record."""
    wrong: dict[str, tuple[File, Problem]] = field(default_factory=dict)


class _Question(Struct, frozen=True, kw_only=True):
    """A file that has to be read."""

    files: CheckedFiles
    path: str
    file: File
    record: RecordedFile | None
    there: StoredObject


class FileChecks:
    """Compares files, as `compare` says."""

    def __init__(self, storage: TreeStorage, rows: MirrorRows, files: ProjectFiles, compare: Compare) -> None:
        self._storage = storage
        self._rows = rows
        self._files = files
        self._compare = compare

    async def check(self, pages: Sequence[PublishedPage]) -> Sequence[CheckedFiles]:
        """Compare the files that these pages name, and the metadata files that they offer."""
        wanted = [(CheckedFiles(page.project.name), path, file) for page in pages for path, file in named_files(page)]
        checked = {files.name: files for files, _, _ in wanted}
        records = await self._rows.records([path for _, path, _ in wanted])
        # A page offers the metadata files that came. One that never came is no fault.
        wanted = [each for each in wanted if each[1] in records or not is_sidecar(each[2])]
        found = await self._storage.stat([path for _, path, _ in wanted])
        to_be_read = []
        for (files, path, file), there in zip(wanted, found, strict=True):
            one, record = checked[files.name], records.get(path)
            expected = file.size if file.size is not None else record.size if record is not None else None
            if there is None:
                one.wrong[path] = (file, "missing")
            elif expected is not None and there.size != expected:
                one.wrong[path] = (file, "wrong size")
            elif record is not None and self._is_as_recorded(file, record, there):
                one.right[path] = record
            else:
                to_be_read.append(_Question(files=one, path=path, file=file, record=record, there=there))
        await side_by_side(_bundles(to_be_read), self._read, at_once=_AT_ONCE)
        return [checked.get(page.project.name) or CheckedFiles(page.project.name) for page in pages]

    def _is_as_recorded(self, file: File, record: RecordedFile, there: StoredObject) -> bool:
        return self._compare == "stat" and fits(file, record) and there == StoredObject(record.size, record.modified)

    async def _read(self, questions: Sequence[_Question]) -> None:
        found = await self._files.same_by_digest([(each.file, each.path, each.record) for each in questions])
        for question, sha256 in zip(questions, found, strict=True):
            files, path = question.files, question.path
            if sha256 is None:
                files.wrong[path] = (question.file, "wrong bytes")
                continue
            now = RecordedFile(question.there.size, question.there.modified, sha256)
            files.right[path] = now
            if now != question.record:
                files.renewed[path] = now


def _bundles(questions: Sequence[_Question]) -> Iterator[Sequence[_Question]]:
    bundle: list[_Question] = []
    size = 0
    for question in questions:
        bundle.append(question)
        size += question.there.size
        if len(bundle) >= _BUNDLE or size >= _BUNDLE_BYTES:
            yield bundle
            bundle, size = [], 0
    if bundle:
        yield bundle
