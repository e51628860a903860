"""What can happen to an index, as values. A write is a list of these, handed over once.

The same values are the audit log, the replication stream, the backup and the script of a test. Each says what
it needs to be true beforehand; a store checks that in the transaction that applies it and raises `Missing` or
`Conflict`, and then nothing of the list has happened.

Adding a change: a tagged Struct here, what it names and what it means in `rules.planning`, one rule in the contract suite.
Never change the meaning of a stored tag. What earlier programs wrote of an index in another way is read by `stored_configs`.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.clock import Timestamp
from pkgindex_core.models import Attachment, File, IndexConfig, PageHead, Release, Serial, Token, User
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.stored_configs import FormerConfig


class PutUser(Struct, frozen=True, tag=True):
    """Create or replace a user."""

    user: User


class DropUser(Struct, frozen=True, tag=True):
    """Remove a user with its tokens. Its indexes must be dropped in the same list or before: `Conflict`."""

    name: str


class PutToken(Struct, frozen=True, tag=True):
    """Create or replace a token. Its user must exist."""

    token: Token


class DropToken(Struct, frozen=True, tag=True):
    """Revoke a token. One that is not there is `Missing`."""

    id: str


class PutIndex(Struct, frozen=True, tag=True):
    """Create or replace an index's configuration. Its owner must exist; its type, and whether it is mirrored, can never change: `Conflict`."""

    config: IndexConfig


class DropIndex(Struct, frozen=True, tag=True):
    """Remove an index with its projects, everything in them, tombstones and mirrored pages. Past views keep what they showed."""

    name: IndexName


class PutProject(Struct, frozen=True, tag=True):
    """Create a project in a hosted index, or replace what its page says besides files.

    `head.validators` and `head.fetched` belong to mirrors and are empty here.
    """

    index: IndexName
    project: ProjectName
    head: PageHead


class DropProject(Struct, frozen=True, tag=True):
    """Remove a project with its files, releases and attachments. Filenames of files stay taken (tombstones)."""

    index: IndexName
    project: ProjectName


class PutFile(Struct, frozen=True, tag=True):
    """Add a file to a hosted index, creating the project (display name = `display_name`) if need be.

    Replaces a live file of the same name and project (other bytes lose the test results of those before), and lifts a tombstone: whether that is allowed is for the
    caller to say with `require`. A filename belongs to one project per index: another project's is a `Conflict`.
    """

    index: IndexName
    project: ProjectName
    file: File
    display_name: str = ""


class DropFile(Struct, frozen=True, tag=True):
    """Remove a file with its test results; the project stays, its name stays taken (tombstone). Unknown files are `Missing`."""

    index: IndexName
    project: ProjectName
    filename: str


class YankFile(Struct, frozen=True, tag=True):
    """Set or lift (False) a file's yank mark (PEP 592). Unknown files are `Missing`."""

    index: IndexName
    project: ProjectName
    filename: str
    yanked: bool | str


class PutRelease(Struct, frozen=True, tag=True):
    """Say what a version's metadata is, anew or for the first time. The project must be held: `Missing`.

    Replaces what was said of the same version in another spelling (1.0 is 1.0.0), since two would be two of one.

    A page does not show it, so the project keeps its stamp; nor does it make the version appear on the page
    (`PageHead.versions` does that for a version without files).
    """

    index: IndexName
    project: ProjectName
    release: Release


class DropRelease(Struct, frozen=True, tag=True):
    """Forget what a version's metadata is, in any spelling of the version. Its files are dropped one by one. An unknown version is `Missing`."""

    index: IndexName
    project: ProjectName
    version: str


class PutAttachment(Struct, frozen=True, tag=True):
    """Add documentation or a test result, or replace the one of that name. The project must be held: `Missing`.

    A test result is about a live file of the project: `Missing` when there is none. The project keeps its stamp.
    """

    index: IndexName
    project: ProjectName
    attachment: Attachment


class DropAttachment(Struct, frozen=True, tag=True):
    """Remove documentation or a test result. Unknown ones are `Missing`."""

    index: IndexName
    project: ProjectName
    filename: str


class MirrorPage(Struct, frozen=True, tag=True):
    """How a mirrored project's page differs from the one that is stored (all of it, when none is).

    Carries the difference, so that the log grows with what changed and not with page sizes; or, of a page of ordinary size, `kept`.
    `put` replaces files of the same name; `drop` names may be absent and go before `put`. The head replaces the stored one.
    A change of nothing but `head.validators` and `head.fetched` keeps the page's stamp: what is shown did not change.
    """

    index: IndexName
    project: ProjectName
    head: PageHead
    put: tuple[File, ...] = ()
    drop: tuple[str, ...] = ()
    part: Literal["whole", "first", "middle", "last"] = "whole"
    """A long difference comes in parts, of a commit each. Until the last one a project that was not held is not held, so that no
    short page is seen, and one that was held keeps its head: any mixture of old and new files may be seen. A first part begins
    anew: what is left of one whose last part never came goes."""
    kept: bytes = b""
    """All files of the page in one piece (`formats.kept_pages`); it replaces what is stored of them. It comes alone: nothing in `put`
    and `drop`, and not in parts. Empty: the change is a difference. One that is whole leaves a page of ordinary size in one piece."""
    stamp: Serial = Serial(0)
    """The stamp under which the page was shown before it was committed, perhaps above the serial of its commit; 0: it was not shown. The page
    keeps it. Without one a change that shows gets the serial of its commit, or the next stamp that the page never had (`rules.stamping`)."""
    content: str = ""
    """The name of the page's content (`Standing.content`) under which it was shown before this commit; the page keeps it. Empty: it was not
    shown. Two processes may show two pages under one stamp, and only one of them is committed."""


class DropMirrorPage(Struct, frozen=True, tag=True):
    """Forget a mirrored project. One that is not there is `Missing`."""

    index: IndexName
    project: ProjectName


class MirrorNames(Struct, frozen=True, tag=True):
    """How an upstream's project list differs from the one that is stored for a mirror.

    `put` holds (normalised name, display name). The list is kept beside the pages: a listed name has no page yet.
    `validators` replaces what was stored (see `ListedNames.listing`); alone it keeps the list's stamp.
    """

    index: IndexName
    put: tuple[tuple[ProjectName, str], ...] = ()
    drop: tuple[ProjectName, ...] = ()
    validators: dict[str, str] = {}


Change = (
    PutUser
    | DropUser
    | PutToken
    | DropToken
    | PutIndex
    | DropIndex
    | PutProject
    | DropProject
    | PutFile
    | DropFile
    | YankFile
    | PutRelease
    | DropRelease
    | PutAttachment
    | DropAttachment
    | MirrorPage
    | DropMirrorPage
    | MirrorNames
)


class FileAbsent(Struct, frozen=True, tag=True):
    """The index has no live file of this name and no tombstone for it."""

    index: IndexName
    filename: str


class AttachmentAbsent(Struct, frozen=True, tag=True):
    """The project has no attachment of this name."""

    index: IndexName
    project: ProjectName
    filename: str


class ProjectAt(Struct, frozen=True, tag=True):
    """The project's stamp in this index is still this serial (0: never held), and its content, if given, has still this name."""

    index: IndexName
    project: ProjectName
    stamp: Serial
    content: str | None = None
    """`Standing.content` as it was read with the stamp; None: any. Two processes may show two mirrored pages under one stamp before they
    are committed, and only this name tells which of them is stored."""


class UserAbsent(Struct, frozen=True, tag=True):
    name: str


class IndexAbsent(Struct, frozen=True, tag=True):
    name: IndexName


class IndexPresent(Struct, frozen=True, tag=True):
    """The index exists. Guards a write against an index that is dropped meanwhile."""

    name: IndexName


class UserIs(Struct, frozen=True, tag=True):
    """The stored user is still exactly this: what was read, changed and written back was not changed by others meanwhile."""

    user: User


class IndexIs(Struct, frozen=True, tag=True):
    """The stored configuration is still exactly this; see `UserIs`."""

    config: IndexConfig


Requirement = FileAbsent | AttachmentAbsent | ProjectAt | UserAbsent | IndexAbsent | IndexPresent | UserIs | IndexIs
"""A precondition, checked in the transaction of the write it guards. One that fails raises `RequirementFailed`."""


class Commit(Struct, frozen=True, kw_only=True):
    """One committed change-set: what happened, when, and who asked for it."""

    serial: Serial
    at: Timestamp
    who: str
    """A user's name, `user (token ID)`, or a part of the program in brackets, such as `[mirror]`."""
    changes: tuple[Change, ...]


def encode_changes(changes: tuple[Change, ...]) -> bytes:
    return _encoder.encode(changes)


def decode_changes(data: bytes) -> tuple[Change, ...]:
    """Read what `encode_changes` wrote, or an earlier program's."""
    changes = _decoder.decode(data)
    return _brought_up(changes, _former_decoder.decode(data)) if _PUT_INDEX in data else changes


def decode_commit(line: bytes) -> Commit:
    """Read a commit that was written as JSON, perhaps by an earlier program."""
    commit = _commit_decoder.decode(line)
    if _PUT_INDEX not in line:
        return commit
    return replace(commit, changes=_brought_up(commit.changes, _former_commit_decoder.decode(line).changes))


class _FormerChange(Struct, frozen=True):
    """A change, as far as earlier programs wrote it in another way."""

    config: FormerConfig = FormerConfig()


class _FormerCommit(Struct, frozen=True):
    changes: tuple[_FormerChange, ...]


def _brought_up(changes: tuple[Change, ...], former: tuple[_FormerChange, ...]) -> tuple[Change, ...]:
    return tuple(
        PutIndex(before.config.brought_up(change.config)) if isinstance(change, PutIndex) else change
        for change, before in zip(changes, former, strict=True)
    )


_PUT_INDEX = PutIndex.__name__.encode()
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[Change, ...])
_former_decoder = msgspec.msgpack.Decoder(tuple[_FormerChange, ...])
_commit_decoder = msgspec.json.Decoder(Commit)
_former_commit_decoder = msgspec.json.Decoder(_FormerCommit)
