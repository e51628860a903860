"""The changes that can happen to an index, as values. A write is a list of changes, handed over once.

The same values are the audit log, the replication stream, the backup and the script of a test. The docstring of a change
says what must be true beforehand. A store checks that in the transaction that applies the change; if it is not true, the
store raises `Missing` or `Conflict` and applies nothing of the list.

To add a change: write a tagged Struct here, its keys and its meaning in `rules.planning`, and one rule in the contract suite.
Never change the meaning of a stored tag. `stored_configs` reads index configurations that earlier versions wrote.
"""

# Annotations are values here and no text (`from __future__ import annotations`), which msgspec would compile at every start.

from functools import cache
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
    """Revoke a token. An unknown token is `Missing`."""

    id: str


class PutIndex(Struct, frozen=True, tag=True):
    """Create or replace an index's configuration. Its owner must exist. Changing its type or `mirrored` is a `Conflict`."""

    config: IndexConfig


class DropIndex(Struct, frozen=True, tag=True):
    """Remove an index with its projects, everything in them, tombstones and mirrored pages. Past views of hosted projects keep what they
    showed. The past of mirrored pages goes with the index.
    """

    name: IndexName


class PutProject(Struct, frozen=True, tag=True):
    """Create a project in a hosted index, or replace the head of its page.

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

    Replaces a live file of the same name and project, and lifts a tombstone; a caller that forbids this says so with `require`.
    New bytes drop the test results of the old ones. A filename that belongs to another project of the index is a `Conflict`.
    """

    index: IndexName
    project: ProjectName
    file: File
    display_name: str = ""


class DropFile(Struct, frozen=True, tag=True):
    """Remove a file with its test results. The project stays, and the filename stays taken (tombstone). Unknown files are `Missing`."""

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
    """Store or replace the metadata of a version. The project must be held: `Missing`.

    Replaces the metadata under another spelling of the same version (1.0 is 1.0.0).

    A page does not show metadata, so the project keeps its stamp. The version does not appear on the page either
    (`PageHead.versions` lists a version without files).
    """

    index: IndexName
    project: ProjectName
    release: Release


class DropRelease(Struct, frozen=True, tag=True):
    """Remove the metadata of a version, under any spelling of it. Its files need changes of their own. An unknown version is `Missing`."""

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
    """The difference between a mirrored project's new page and the stored one (the whole page when none is stored).

    Carries the difference, so that the log does not grow with page sizes; a page of ordinary size is carried whole, in `kept`.
    `put` replaces files of the same name. `drop` is done before `put`; its names may be absent. The head replaces the stored one.
    A change of nothing but `head.validators` and `head.fetched` keeps the page's stamp: what is shown did not change.
    """

    index: IndexName
    project: ProjectName
    head: PageHead
    put: tuple[File, ...] = ()
    drop: tuple[str, ...] = ()
    part: Literal["whole", "first", "middle", "last"] = "whole"
    """A long difference comes in parts, one commit each. Until the last part, a new project is not held, so that readers never see a
    short page; a project that was held keeps its head, and readers may see any mixture of old and new files. A first part discards
    the parts of an earlier difference that was not completed."""
    kept: bytes = b""
    """All files of the page in one piece (`formats.kept_pages`), in place of the stored ones. It comes without `put` and `drop`, and not
    in parts. Empty: the change is a difference. A whole change leaves a page of ordinary size in one piece."""
    stamp: Serial = Serial(0)
    """The stamp under which the page was shown before its commit, perhaps above the serial of the commit; the page keeps it. 0: the page
    was not shown; a visible change then gets the serial of its commit, or the next stamp that the page never had (`rules.stamping`)."""
    content: str = ""
    """The name of the page's content (`Standing.content`) under which it was shown before this commit; the page keeps it. Empty: it was not
    shown. Two processes may show two pages under one stamp; only one of the pages is committed."""


class DropMirrorPage(Struct, frozen=True, tag=True):
    """Remove a mirrored project. An unknown one is `Missing`."""

    index: IndexName
    project: ProjectName


class MirrorNames(Struct, frozen=True, tag=True):
    """The difference between an upstream's project list and the one that is stored for a mirror.

    `put` holds (normalised name, display name). The list is kept beside the pages: a listed name has no page yet.
    `validators` replaces the stored ones (see `ListedNames.listing`). A change of validators alone keeps the list's stamp.
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
    """The project still has this stamp in this index (0: never held) and, if given, content of this name."""

    index: IndexName
    project: ProjectName
    stamp: Serial
    content: str | None = None
    """`Standing.content` as it was read with the stamp; None: any. Two processes may show two mirrored pages under one stamp before
    a commit; this name tells which page is stored."""


class UserAbsent(Struct, frozen=True, tag=True):
    name: str


class IndexAbsent(Struct, frozen=True, tag=True):
    name: IndexName


class IndexPresent(Struct, frozen=True, tag=True):
    """The index exists. Guards a write against an index that is dropped meanwhile."""

    name: IndexName


class UserIs(Struct, frozen=True, tag=True):
    """The stored user is still exactly this one: nothing changed it between a read and the write."""

    user: User


class IndexIs(Struct, frozen=True, tag=True):
    """The stored configuration is still exactly this; see `UserIs`."""

    config: IndexConfig


class NoteIs(Struct, frozen=True, tag=True):
    """A note (`protocols.notes`) still has this version; 0: there is no such note. Guards a write against work of another process that is
    announced by the note.
    """

    kind: str
    key: str
    version: int


class WithinQuotas(Struct, frozen=True, tag=True):
    """After the changes, no new file of the index, project of the changes, or the index as a whole is larger than its configuration says
    (`rules.quotas`), unless it has not grown. Otherwise the write raises `TooLarge` or `QuotaExceeded`, as trying again does not help.
    """

    index: IndexName


Requirement = (
    FileAbsent
    | AttachmentAbsent
    | ProjectAt
    | UserAbsent
    | IndexAbsent
    | IndexPresent
    | UserIs
    | IndexIs
    | NoteIs
    | WithinQuotas
)
"""A condition, checked in the transaction of the write. If it does not hold, the write raises `RequirementFailed`."""


class Commit(Struct, frozen=True, kw_only=True):
    """Changes that were committed together, with their time and author."""

    serial: Serial
    at: Timestamp
    who: str
    """A user's name, `user (token ID)`, or a part of the program in brackets, such as `[mirror]`."""
    changes: tuple[Change, ...]


def encode_changes(changes: tuple[Change, ...]) -> bytes:
    return _encoder.encode(changes)


def decode_changes(data: bytes) -> tuple[Change, ...]:
    """Read changes that this or an earlier version wrote."""
    changes = _decoder().decode(data)
    return _brought_up(changes, _former_decoder.decode(data)) if _PUT_INDEX in data else changes


@cache
def _decoder() -> msgspec.msgpack.Decoder[tuple[Change, ...]]:
    """Made at the first commit that is read: msgspec looks at all the kinds of change."""
    return msgspec.msgpack.Decoder(tuple[Change, ...])


def decode_commit(line: bytes) -> Commit:
    """Read a commit in JSON that this or an earlier version wrote."""
    commit = _commit_decoder.decode(line)
    if _PUT_INDEX not in line:
        return commit
    return replace(commit, changes=_brought_up(commit.changes, _former_commit_decoder.decode(line).changes))


class _FormerChange(Struct, frozen=True):
    """The part of a change that earlier versions wrote in another way."""

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
_former_decoder = msgspec.msgpack.Decoder(tuple[_FormerChange, ...])
_commit_decoder = msgspec.json.Decoder(Commit)
_former_commit_decoder = msgspec.json.Decoder(_FormerCommit)
