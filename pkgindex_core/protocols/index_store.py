"""The roles of an index store: reads of what was committed, and what commits.

A role is a noun's reads, or one kind of writing. A service names the roles that it uses; `IndexStore` is their sum.

A read answers what was committed. `at=` answers as of the end of that commit; None is now. A read that starts after a
commit was acknowledged sees it, in this process and in every other one. Mirrored pages and project lists keep only
their current state: `at=` before a mirrored page was first stored answers that it is not there; later, the current
one (the caller cuts it by upload time).

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

PARTIAL = "partial"
"""A key of a listing's validators: parts of a first list have been committed, more are to come."""


class Taken(Struct, frozen=True, kw_only=True):
    """Who has a filename in an index."""

    project: ProjectName
    sha256: Sha256
    live: bool
    """False: a tombstone; the file was deleted and its name stays taken."""


class Listing(Struct, frozen=True, kw_only=True):
    """What is known of a mirror's project list."""

    stamp: Serial
    """The serial that last changed the list; 0 when it was never fetched."""
    count: int
    validators: Mapping[str, str]

    @property
    def is_whole(self) -> bool:
        """Whether the list was ever stored to its end: a long one comes in several commits (`PARTIAL`)."""
        return self.stamp > 0 and PARTIAL not in self.validators


Everything = Literal["everything"]
EVERYTHING: Final = "everything"
"""What was touched by more, or larger, commits than the store can look through cheaply."""


class Touched(Struct, frozen=True, kw_only=True):
    """What commits may have changed for readers. What is not named here is as it was (`rules.touching` is the rule)."""

    upto: Serial
    """The last of these commits. Reads that begin now see it."""
    tree: bool = False
    """An index was made, configured or dropped."""
    identities: bool = False
    """A user or a token."""
    projects: frozenset[tuple[IndexName, ProjectName]] = frozenset()
    """Anything of a project in an index: its page, standing, files, releases, attachments."""
    indexes: frozenset[IndexName] = frozenset()
    """All of an index at once: every project, and its list of names."""
    names: frozenset[IndexName] = frozenset()
    """A mirror's list of names."""


class Trees(Protocol):
    """The indexes and what each is configured to be."""

    async def tree(self, *, at: Serial | None = None) -> Tree: ...


class Projects(Protocol):
    """Projects and their files, hosted or mirrored."""

    async def standings(
        self, project: ProjectName, order: Sequence[IndexName], *, at: Serial | None = None
    ) -> tuple[Standing, ...]:
        """How each index of an order stands to a project; same length and order as `order`.

        A mirror holds what it has a page of. One indexed row per index, one round trip in all.
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

        `candidates` are the projects the filename could belong to, going by its spelling; an engine may use them to
        look only there, but finds a file whose name does not begin with its project's too.
        """
        ...

    async def projects(self, index: IndexName, *, at: Serial | None = None) -> Sequence[ProjectRow]:
        """The projects of a hosted index, or those a mirror has a page of, by name."""
        ...

    async def project_count(self, index: IndexName) -> int: ...


class ListedNames(Protocol):
    """The project lists of mirrors: names that the upstream has, whether or not a page was fetched."""

    async def listing(self, index: IndexName) -> Listing:
        """What is known of a mirror's upstream project list (`MirrorNames`)."""
        ...

    def listed_names(self, index: IndexName, *, after: str = "") -> AsyncIterator[Sequence[ProjectRow]]:
        """A mirror's upstream project list by name, in batches; its stamps are the list's. Empty when never fetched.

        Begins with the first name that sorts behind `after`, without reading those before it. 886,000 names pass through here: an engine holds one batch at a time.
        """
        ...


class ReleaseRecords(Protocol):
    """What only a hosted index has: metadata of versions, attachments, and what its filenames were."""

    async def releases(self, index: IndexName, project: ProjectName, *, at: Serial | None = None) -> Sequence[Release]:
        """What is known of the metadata of each version of a hosted project, in no particular order."""
        ...

    async def released(self, index: IndexName, project: ProjectName, *, at: Serial | None = None) -> Sequence[str]:
        """The versions of a hosted project of which metadata is kept, each in any of its spellings, in no particular order.

        Costs nothing of the metadata, of which there may be hundreds of megabytes.
        """
        ...

    async def release(
        self, index: IndexName, project: ProjectName, version: str, *, at: Serial | None = None
    ) -> Release | None:
        """The same of one version, whichever way it is spelled. Costs what that version costs, not what the project does."""
        ...

    async def attachments(
        self, index: IndexName, project: ProjectName, *, at: Serial | None = None
    ) -> Sequence[Attachment]:
        """Documentation and test results of a hosted project, in the order of their names."""
        ...

    async def find_attachment(
        self, index: IndexName, filename: str, *, at: Serial | None = None
    ) -> tuple[ProjectName, Attachment] | None:
        """An attachment by its name alone; of several projects' the first by project name."""
        ...

    async def taken(self, index: IndexName, filename: str) -> Taken | None:
        """Who has a filename in a hosted index, tombstones included. For a mirror: always None."""
        ...

    async def former(self, index: IndexName, filename: str) -> Sequence[Taken]:
        """What a filename was in a hosted index and is no longer, in no particular order, none of them live: files that were
        deleted, and those whose bytes were replaced. An index that one commit dropped and a later one made again begins anew.
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
        """A token that was not revoked; it may have expired."""
        ...

    async def tokens(self, user: str) -> Sequence[Token]:
        """All of a user's tokens, by creation and then id."""
        ...


class ChangeLog(Protocol):
    """What was committed, in order, and how to notice it.

    An answer that was reached from reads holds until `touched` names one of the things that it was reached from.
    """

    async def head(self) -> Serial:
        """The serial of the last commit."""
        ...

    async def serial_at(self, moment: Timestamp) -> Serial:
        """The last serial committed at or before a moment; 0 when there is none."""
        ...

    @property
    def lag(self) -> float:
        """Seconds by which `seen` may be behind the commits of other processes; 0: never behind."""
        ...

    def seen(self) -> Serial:
        """The newest commit that every read that begins now sees. Synchronous, microseconds.

        At least what `apply` and `replay` of this store have acknowledged, and what others have committed longer ago than `lag`.
        """
        ...

    async def touched(self, after: Serial) -> Touched | Everything:
        """What the commits after a serial have touched, at least as far as `seen` tells when this is called.

        Costs what those commits changed, up to a bound; beyond it the answer is `EVERYTHING`.
        """
        ...

    async def commits(self, after: Serial, *, limit: int = 1000) -> Sequence[Commit]:
        """The commits after a serial, in order, at most `limit`."""
        ...

    async def wait(self, after: Serial, *, timeout: float) -> Serial:
        """Wait until the head is beyond a serial or `timeout` seconds have passed; return the head."""
        ...


class IndexWriter(Protocol):
    """Commits changes."""

    async def apply(self, changes: Sequence[Change], *, who: str, require: Iterable[Requirement] = ()) -> Commit | None:
        """Commit a list of changes as one, or none of it.

        Returns when the commit is durable (a power cut after that loses nothing). Raises `RequirementFailed` when a
        precondition does not hold, `Missing` or `Conflict` when a change does not fit (see each `Change`),
        `StorageFull` or `Unavailable` when the medium fails; in all these cases nothing was changed.
        Changes apply in order, each seeing those before it. An empty list commits nothing and returns None.
        """
        ...


class Replaying(Protocol):
    """Makes the commits of another store again."""

    async def replay(self, commits: Sequence[Commit]) -> None:
        """Make commits again that another store has made: same serials, same times, same people, in one transaction.

        The first one's serial must be the head's successor, and each the next one's predecessor: `Conflict` otherwise, and
        nothing was changed. Durable when it returns. What `apply` raises for a change that does not fit is raised here too.
        """
        ...


class Keeping(Protocol):
    """What the operator of a store needs: which blobs it names, whether its medium is whole, and its end."""

    def blobs_in_use(self) -> AsyncIterator[Sequence[Sha256]]:
        """Every sha256 that any live row names (files, sidecars, attachments), in batches, repeats allowed."""
        ...

    async def check(self) -> Sequence[str]:
        """Ask the medium whether it is whole; one sentence a problem, empty when it is."""
        ...

    async def close(self) -> None:
        """Give back everything that the store holds."""
        ...


class IndexStore(
    Trees, Projects, ListedNames, ReleaseRecords, Accounts, ChangeLog, IndexWriter, Replaying, Keeping, Protocol
):
    """A whole index store, for the code that opens it. Opened by its provider's factory."""
