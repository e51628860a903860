"""An index store that passes every call on to another one: the base class of a store around a store.

Methods return the coroutines of the inner store and are none themselves, which is faster.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from pkgindex_core.changes import Change, Commit, Requirement
from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import Sha256
from pkgindex_core.models import (
    Attachment,
    File,
    Page,
    ProjectRow,
    Release,
    Serial,
    Standing,
    Token,
    Tree,
    User,
)
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.index_store import WHOLE_INDEX, Everything, IndexStore, Listing, PageSince, Taken, Touched
from pkgindex_core.protocols.notes import Note

_Value = TypeVar("_Value")
Coming = Coroutine[Any, Any, _Value]


class PassingIndex:
    """Answers as the inner store does."""

    def __init__(self, inner: IndexStore) -> None:
        self.inner = inner

    @property
    def lag(self) -> float:
        return self.inner.lag

    def seen(self) -> Serial:
        return self.inner.seen()

    def touched(self, after: Serial) -> Coming[Touched | Everything]:
        return self.inner.touched(after)

    def head(self) -> Coming[Serial]:
        return self.inner.head()

    def serial_at(self, moment: Timestamp) -> Coming[Serial]:
        return self.inner.serial_at(moment)

    def tree(self, *, at: Serial | None = None) -> Coming[Tree]:
        return self.inner.tree(at=at)

    def standings(
        self, project: ProjectName, order: Sequence[IndexName], *, at: Serial | None = None
    ) -> Coming[tuple[Standing, ...]]:
        return self.inner.standings(project, order, at=at)

    def page(self, index: IndexName, project: ProjectName, *, at: Serial | None = None) -> Coming[Page | None]:
        return self.inner.page(index, project, at=at)

    def page_since(self, index: IndexName, project: ProjectName, since: Serial) -> Coming[PageSince | None]:
        return self.inner.page_since(index, project, since)

    def file(
        self, index: IndexName, project: ProjectName, filename: str, *, at: Serial | None = None
    ) -> Coming[File | None]:
        return self.inner.file(index, project, filename, at=at)

    def taken(self, index: IndexName, filename: str) -> Coming[Taken | None]:
        return self.inner.taken(index, filename)

    def former(self, index: IndexName, filename: str) -> Coming[Sequence[Taken]]:
        return self.inner.former(index, filename)

    def find_file(
        self, index: IndexName, filename: str, candidates: Sequence[ProjectName], *, at: Serial | None = None
    ) -> Coming[tuple[ProjectName, File] | None]:
        return self.inner.find_file(index, filename, candidates, at=at)

    def releases(
        self, index: IndexName, project: ProjectName, *, at: Serial | None = None
    ) -> Coming[Sequence[Release]]:
        return self.inner.releases(index, project, at=at)

    def released(self, index: IndexName, project: ProjectName, *, at: Serial | None = None) -> Coming[Sequence[str]]:
        return self.inner.released(index, project, at=at)

    def release(
        self, index: IndexName, project: ProjectName, version: str, *, at: Serial | None = None
    ) -> Coming[Release | None]:
        return self.inner.release(index, project, version, at=at)

    def attachments(
        self, index: IndexName, project: ProjectName, *, at: Serial | None = None
    ) -> Coming[Sequence[Attachment]]:
        return self.inner.attachments(index, project, at=at)

    def find_attachment(
        self, index: IndexName, filename: str, *, at: Serial | None = None
    ) -> Coming[tuple[ProjectName, Attachment] | None]:
        return self.inner.find_attachment(index, filename, at=at)

    def projects(
        self, index: IndexName, *, at: Serial | None = None, after: str = "", limit: int | None = None
    ) -> Coming[Sequence[ProjectRow]]:
        return self.inner.projects(index, at=at, after=after, limit=limit)

    def project_count(self, index: IndexName) -> Coming[int]:
        return self.inner.project_count(index)

    def stored_bytes(self, index: IndexName, project: ProjectName = WHOLE_INDEX) -> Coming[int]:
        return self.inner.stored_bytes(index, project)

    def listing(self, index: IndexName) -> Coming[Listing]:
        return self.inner.listing(index)

    def listed_names(self, index: IndexName, *, after: str = "") -> AsyncIterator[Sequence[ProjectRow]]:
        return self.inner.listed_names(index, after=after)

    def user(self, name: str, *, at: Serial | None = None) -> Coming[User | None]:
        return self.inner.user(name, at=at)

    def users(self, *, at: Serial | None = None) -> Coming[Sequence[User]]:
        return self.inner.users(at=at)

    def token(self, token_id: str) -> Coming[Token | None]:
        return self.inner.token(token_id)

    def tokens(self, user: str) -> Coming[Sequence[Token]]:
        return self.inner.tokens(user)

    def blobs_in_use(self) -> AsyncIterator[Sequence[Sha256]]:
        return self.inner.blobs_in_use()

    def apply(
        self, changes: Sequence[Change], *, who: str, require: Iterable[Requirement] = ()
    ) -> Coming[Commit | None]:
        return self.inner.apply(changes, who=who, require=require)

    def replay(self, commits: Sequence[Commit]) -> Coming[None]:
        return self.inner.replay(commits)

    def commits(self, after: Serial, *, limit: int = 1000) -> Coming[Sequence[Commit]]:
        return self.inner.commits(after, limit=limit)

    def wait(self, after: Serial, *, timeout: float) -> Coming[Serial]:
        return self.inner.wait(after, timeout=timeout)

    def note(self, kind: str, key: str) -> Coming[Note | None]:
        return self.inner.note(kind, key)

    def notes(self, kind: str, *, after: str = "") -> AsyncIterator[Sequence[Note]]:
        return self.inner.notes(kind, after=after)

    def put_note(
        self, kind: str, key: str, value: bytes, *, seconds: float | None = None, expected: int | None = None
    ) -> Coming[int | None]:
        return self.inner.put_note(kind, key, value, seconds=seconds, expected=expected)

    def put_notes(self, kind: str, values: Mapping[str, bytes], *, seconds: float | None = None) -> Coming[None]:
        return self.inner.put_notes(kind, values, seconds=seconds)

    def drop_note(self, kind: str, key: str, *, expected: int | None = None) -> Coming[bool]:
        return self.inner.drop_note(kind, key, expected=expected)

    def check(self) -> Coming[Sequence[str]]:
        return self.inner.check()

    def close(self) -> Coming[None]:
        return self.inner.close()


if TYPE_CHECKING:
    _: type[IndexStore] = PassingIndex
