"""The state that the parts of one import share: the dump, the store and the report."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final, Protocol, TypeVar

import msgspec
from msgspec import Struct

from pkgindex_core.clock import Clock
from pkgindex_core.formats.devpi.dump import DevpiDump
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import BlobStore, IndexWriter, Projects, ReleaseRecords
from pkgindex_core.services.moving.importing.intake import Intake
from pkgindex_core.services.moving.importing.report import ImportReport
from pkgindex_core.services.moving.importing.settlement import Deleted

T = TypeVar("T")

BATCH: Final = 50
"""The most files, or versions, in a commit."""
DELETED: Final = "was deleted here since the last import, and stays so"
WORDS: Final = {"doczip": "documentation", "toxresult": "test result"}
"""The kinds of attachments in messages."""


class _Store(Projects, ReleaseRecords, IndexWriter, Protocol): ...


class Run(Struct, kw_only=True):
    """One import of one dump."""

    store: _Store
    blobs: BlobStore
    clock: Clock
    dump: DevpiDump
    intake: Intake
    report: ImportReport
    deleted: Deleted
    replaced: set[tuple[IndexName, str]] = msgspec.field(default_factory=set)
    """Files with other bytes than in the dump, so that test results of the dump do not belong to them."""

    async def next(self, iterator: Iterator[T]) -> list[T]:
        """The next batch of an iterator over the dump, in a worker because it blocks; empty at its end."""
        return await self.intake.in_worker(lambda: list(islice(iterator, BATCH)))

    def was_deleted(self, index: IndexName, project: ProjectName, name: str) -> bool:
        """Whether a version or an attachment was deleted here since the last import."""
        return (project, name) in self.deleted.get(index, ())
