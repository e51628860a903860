"""Rows that name blobs: files, their metadata, and attachments.

A blob that no live row names is unused. A blob that a row names must be stored, unless the source of the index can give it again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Literal, Protocol

from msgspec import Struct

from pkgindex_core.changes import Commit, PutAttachment, PutFile
from pkgindex_core.clock import to_rfc3339
from pkgindex_core.digests import Sha256
from pkgindex_core.models import Attachment, Event, File, IndexConfig, decode_file
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Projects, ReleaseRecords, Trees

Role = Literal["file", "metadata", "attachment"]


class Owner(Struct, frozen=True, kw_only=True):
    """A row that names a blob."""

    index: IndexName
    project: ProjectName
    file: File
    """For an attachment: its name, digest and size as those of a file."""
    role: Role
    elsewhere: bool
    """Whether the source of the index has the bytes too, and can give them again."""
    size: int | None
    """The size in the row; None for metadata, whose size is not in a row."""

    @property
    def key(self) -> Sha256:
        """The blob that the row names."""
        key = self.file.metadata_sha256 if self.role == "metadata" else self.file.sha256
        assert key is not None, "only rows that name a blob are owners"
        return key

    def told(self) -> str:
        """Describe the row, with the upload that made it."""
        name = f"{self.file.filename}.metadata" if self.role == "metadata" else self.file.filename
        words = f"{name} in {self.index}"
        made: Event | None = next((event for event in self.file.history if event.what == "upload"), None)
        if made is not None:
            return f"{words}, uploaded by {made.who or 'anonymous'} at {to_rfc3339(made.at)}"
        if not self.elsewhere and self.file.upload_time is not None:
            return f"{words}, uploaded at {to_rfc3339(self.file.upload_time)}"
        return words


class _Store(Trees, Projects, ReleaseRecords, Protocol): ...


async def owners_of(store: _Store, *, only_here: bool = False) -> AsyncIterator[list[Owner]]:
    """Every live row that names a blob, a project at a time. With `only_here`, no rows whose source has the bytes too."""
    for name, config in sorted((await store.tree()).indexes.items()):
        for row in [] if only_here and config.mirrored else await store.projects(name):
            project = ProjectName(row.name)
            page = None if only_here and not config.needs_blobs else await store.page(name, project)
            files = [decode_file(each.body) for each in page.rows] if page is not None else []
            attachments = [] if config.mirrored else await store.attachments(name, project)
            yield [*_named_by(name, project, files, attachments, elsewhere=not config.needs_blobs)]


def owners_in(commits: Iterable[Commit], indexes: Mapping[IndexName, IndexConfig]) -> Iterable[Owner]:
    """The rows that the uploads of commits have made. `is_named` tells which are still there."""
    for commit in commits:
        for change in commit.changes:
            match change:
                case PutFile(index, project, file):
                    elsewhere = index in indexes and not indexes[index].needs_blobs
                    yield from _named_by(index, project, [file], [], elsewhere=elsewhere)
                case PutAttachment(index, project, attachment):
                    yield from _named_by(index, project, [], [attachment], elsewhere=False)
                case _:
                    pass


async def is_named(store: _Store, owner: Owner) -> bool:
    """Whether the row is still there. It may have been deleted, with its blob, since it was read."""
    if owner.role == "attachment":
        found = await store.find_attachment(owner.index, owner.file.filename)
        return found is not None and found[1].sha256 == owner.file.sha256
    file = await store.file(owner.index, owner.project, owner.file.filename)
    return file is not None and owner.key in {file.sha256, file.metadata_sha256}


def _named_by(
    index: IndexName, project: ProjectName, files: Iterable[File], attachments: Iterable[Attachment], *, elsewhere: bool
) -> Iterable[Owner]:
    for file in files:
        for role, digest, size in (("file", file.sha256, file.size), ("metadata", file.metadata_sha256, None)):
            if digest is not None:
                yield Owner(index=index, project=project, file=file, role=role, elsewhere=elsewhere, size=size)  # type: ignore[arg-type]  # mypy widens the literals of a tuple
    for attachment in attachments:
        file = File(
            filename=attachment.filename,
            digests={"sha256": attachment.sha256},
            size=attachment.size,
            upload_time=attachment.added,
            history=attachment.history,
        )
        yield Owner(index=index, project=project, file=file, role="attachment", elsewhere=False, size=attachment.size)
