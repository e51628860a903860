"""The roles of an index store: reads of committed data, and writes.

A role is the reads of one noun, or one kind of write. A service names the roles that it uses; `IndexStore` is their sum.

Reads see committed data only. `at=` reads as of the end of that commit; None is now. A read that starts after a
commit was acknowledged sees it, in every process.

Hosted projects keep their whole past. A mirrored project keeps as much of it as its index says (options `mirror_history` and `mirror_snapshots`, by
default none): with `at=` before a page was first stored it is absent; later it is what it was then, if that is kept, and otherwise the oldest
state that is kept, which is the current page where none is. The caller cuts such a page by upload time. A past ends with a later commit in the
same index (`rules.planning.past`), and with the index. Changes that are not shown (`changes.MirrorPage`) are no states of their own.
Lists of names keep only their current state.

A snapshot of a mirror is therefore a serial: `projects`, `standings`, `page`, `file` and `find_file` as of it give what it had, and name
stored pages without copying one.

No transaction object escapes: a write is a list of `Change` values handed over once (see `changes`).
The contract suite is `pkgindex_core.testing.index_store`; the readable reference is `engines.memory.index`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Final, Literal, Protocol

from msgspec import Struct

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
from pkgindex_core.protocols.notes import Notes

PARTIAL = "partial"
"""A key in a listing's validators: a first list is committed in parts, and parts are missing."""


WHOLE_INDEX: Final = ProjectName("")
"""In the place of a project: all projects of the index together."""


class Taken(Struct, frozen=True, kw_only=True):
    """The project that has a filename in an index."""

    project: ProjectName
    sha256: Sha256
    live: bool
    """False: a tombstone. The file was deleted, and its name stays taken."""


class Listing(Struct, frozen=True, kw_only=True):
    """The state of a mirror's project list."""

    stamp: Serial
    """The serial that last changed the list; 0 when it was never fetched."""
    count: int
    validators: Mapping[str, str]

    @property
    def is_whole(self) -> bool:
        """Whether a complete list was ever stored: a long list comes in several commits (`PARTIAL`)."""
        return self.stamp > 0 and PARTIAL not in self.validators


Everything = Literal["everything"]
EVERYTHING: Final = "everything"
"""The answer when there are too many commits, or too large ones, to look through cheaply."""


class Touched(Struct, frozen=True, kw_only=True):
    """The things that commits may have changed for readers (`rules.touching` is the rule). Other things are unchanged."""

    upto: Serial
    """The last of these commits. Reads that begin now see it."""
    tree: bool = False
    """An index was made, configured or dropped."""
    identities: bool = False
    """A user or a token was made, changed or dropped."""
    projects: frozenset[tuple[IndexName, ProjectName]] = frozenset()
    """Projects of which anything changed: page, standing, files, releases or attachments."""
    indexes: frozenset[IndexName] = frozenset()
    """Indexes of which everything may have changed: every project, and the list of names."""
    names: frozenset[IndexName] = frozenset()
    """Mirrors whose list of names changed."""


class PageSince(Struct, frozen=True, kw_only=True):
    """The changes of a hosted project's page since a commit."""

    page: Page
    """The page as it is now, without the files that it had then."""
    gone: Sequence[tuple[str, str]]
    """The version and the filename of each file that it had then and has no longer, or has in another form, which is in `page`."""


class Trees(Protocol):
    """The indexes and their configurations."""

    async def tree(self, *, at: Serial | None = None) -> Tree: ...


class Projects(Protocol):
    """Projects and their files, hosted or mirrored."""

    async def standings(
        self, project: ProjectName, order: Sequence[IndexName], *, at: Serial | None = None
    ) -> tuple[Standing, ...]:
        """The standing of a project in each index of `order`, in that order.

        A mirror holds a project when a page of it is stored. Reads one indexed row per index, in one round trip.
        """
        ...

    async def page(self, index: IndexName, project: ProjectName, *, at: Serial | None = None) -> Page | None:
        """All of one project's files in one index; None when the index does not hold the project."""
        ...

    async def file(
        self, index: IndexName, project: ProjectName, filename: str, *, at: Serial | None = None
    ) -> File | None:
        """One live file, by exact filename."""
        ...

    async def find_file(
        self, index: IndexName, filename: str, candidates: Sequence[ProjectName], *, at: Serial | None = None
    ) -> tuple[ProjectName, File] | None:
        """A live file by its filename alone.

        `candidates` are the projects that the filename could belong to by its spelling. An engine may look there first, but
        also finds a file whose name does not begin with the name of its project.
        """
        ...

    async def projects(
        self, index: IndexName, *, at: Serial | None = None, after: str = "", limit: int | None = None
    ) -> Sequence[ProjectRow]:
        """The projects of a hosted index, or the projects of which a mirror has a page, by name.

        With `after`, those that sort behind that name; with `limit`, at most so many. An engine reads no projects before and behind those.
        """
        ...

    async def project_count(self, index: IndexName) -> int:
        """The number of rows that `projects` has now. The cost does not depend on it."""
        ...

    async def stored_bytes(self, index: IndexName, project: ProjectName = WHOLE_INDEX) -> int:
        """The bytes of all live files of a hosted project, or of the whole index. For a mirror: 0. The cost does not depend on the number of files."""
        ...


class PageChanges(Protocol):
    """Changes of the pages of hosted projects."""

    async def page_since(self, index: IndexName, project: ProjectName, since: Serial) -> PageSince | None:
        """The files that came to a hosted project and went from it after a commit, in one state of the store.

        None: the index does not hold the project now, or is a mirror. The cost does not depend on the files that stay.
        """
        ...


class ListedNames(Protocol):
    """The project lists of mirrors: all names that the upstream has, with or without a stored page."""

    async def listing(self, index: IndexName) -> Listing:
        """The state of a mirror's project list (`MirrorNames`)."""
        ...

    def listed_names(self, index: IndexName, *, after: str = "") -> AsyncIterator[Sequence[ProjectRow]]:
        """Yield a mirror's project list by name, in batches. Each row has the list's stamp. Empty when the list was never fetched.

        Begins with the first name that sorts behind `after`, without reading the names before it. A list may have 886,000
        names: an engine holds one batch at a time.
        """
        ...


class ReleaseRecords(Protocol):
    """Data that only hosted indexes have: metadata of versions, attachments, and the history of filenames."""

    async def releases(self, index: IndexName, project: ProjectName, *, at: Serial | None = None) -> Sequence[Release]:
        """The stored metadata of each version of a hosted project, in no particular order."""
        ...

    async def released(self, index: IndexName, project: ProjectName, *, at: Serial | None = None) -> Sequence[str]:
        """The versions of a hosted project that have stored metadata, in any spelling and in no particular order.

        Does not read the metadata, which may have hundreds of megabytes.
        """
        ...

    async def release(
        self, index: IndexName, project: ProjectName, version: str, *, at: Serial | None = None
    ) -> Release | None:
        """The stored metadata of one version, in any spelling. The cost does not depend on the number of versions."""
        ...

    async def attachments(
        self, index: IndexName, project: ProjectName, *, at: Serial | None = None
    ) -> Sequence[Attachment]:
        """Documentation and test results of a hosted project, in the order of their names."""
        ...

    async def find_attachment(
        self, index: IndexName, filename: str, *, at: Serial | None = None
    ) -> tuple[ProjectName, Attachment] | None:
        """An attachment by its name alone. When several projects have one, the first by project name."""
        ...

    async def taken(self, index: IndexName, filename: str) -> Taken | None:
        """The project that has a filename in a hosted index, tombstones included. For a mirror: always None."""
        ...

    async def former(self, index: IndexName, filename: str) -> Sequence[Taken]:
        """The former files of a filename in a hosted index, in no particular order and none of them live: deleted files, and
        files whose bytes were replaced. None has the bytes of the live file. An index that was dropped and made again in a later commit has none from before.
        For a mirror: empty.
        """
        ...


class Accounts(Protocol):
    """Users and their tokens."""

    async def user(self, name: str, *, at: Serial | None = None) -> User | None: ...

    async def users(self, *, at: Serial | None = None) -> Sequence[User]:
        """All users by name."""
        ...

    async def token(self, token_id: str) -> Token | None:
        """A token that is not revoked. It may have expired."""
        ...

    async def tokens(self, user: str) -> Sequence[Token]:
        """All of a user's tokens, by creation and then id."""
        ...


class ChangeLog(Protocol):
    """The commits in order, and how to notice new ones.

    A result made of reads is current until `touched` names one of the things that were read.
    """

    async def head(self) -> Serial:
        """The serial of the last commit of any process. Afterwards `seen` is at least this."""
        ...

    async def serial_at(self, moment: Timestamp) -> Serial:
        """The last serial committed at or before a moment; 0 when there is none."""
        ...

    @property
    def lag(self) -> float:
        """Seconds by which `seen` may be behind the commits of other processes; 0: never behind."""
        ...

    def seen(self) -> Serial:
        """The newest commit that every read that begins now sees. Synchronous; takes microseconds.

        At least every commit that `apply` and `replay` of this store acknowledged, and those of other processes older than `lag`.
        """
        ...

    async def touched(self, after: Serial) -> Touched | Everything:
        """The things that the commits after a serial touched, up to the present `seen` or later.

        A serial below 0 is 0. The cost grows with the size of those commits up to a bound; beyond it the answer is `EVERYTHING`.
        """
        ...

    async def commits(self, after: Serial, *, limit: int = 1000) -> Sequence[Commit]:
        """The commits after a serial, in order, at most `limit`. A serial below 0 is 0. Long ones come a few at a time: only an empty answer is the end."""
        ...

    async def wait(self, after: Serial, *, timeout: float) -> Serial:
        """Wait until the head is beyond a serial, `timeout` seconds have passed or the store is closed; return the head."""
        ...


class IndexWriter(Protocol):
    """Commits changes."""

    async def apply(self, changes: Sequence[Change], *, who: str, require: Iterable[Requirement] = ()) -> Commit | None:
        """Commit all changes of a list, or none.

        Returns when the commit is durable: a power cut after that loses nothing. Raises `RequirementFailed` when a
        precondition does not hold, `Missing` or `Conflict` when a change does not fit (see each `Change`), and
        `StorageFull` or `Unavailable` when the medium fails. In all these cases nothing is changed.
        Changes apply in order, and each sees those before it. An empty list commits nothing and returns None.
        """
        ...


class Replaying(Protocol):
    """Copies the commits of another store."""

    async def replay(self, commits: Sequence[Commit]) -> None:
        """Apply commits of another store with the same serials, times and authors, in one transaction.

        The serials must follow the head without gaps, and no time may be before that of the commit before: otherwise `Conflict`, and
        nothing is changed. Durable when it returns. Changes that do not fit raise the same errors as in `apply`.
        """
        ...


class Keeping(Protocol):
    """Maintenance of a store: the blobs that it names, the check of its medium, and closing it."""

    def blobs_in_use(self) -> AsyncIterator[Sequence[Sha256]]:
        """Yield every sha256 that a live row names (files, sidecars, attachments), in batches. Repeats are allowed."""
        ...

    async def check(self) -> Sequence[str]:
        """Check the medium for damage. Returns one sentence for each problem."""
        ...

    async def close(self) -> None:
        """Release all connections, threads and files of the store."""
        ...


class IndexStore(
    Trees,
    Projects,
    PageChanges,
    ListedNames,
    ReleaseRecords,
    Accounts,
    ChangeLog,
    IndexWriter,
    Replaying,
    Notes,
    Keeping,
    Protocol,
):
    """A whole index store, for the code that opens it. Opened by its provider's factory."""
