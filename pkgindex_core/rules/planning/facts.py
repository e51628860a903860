"""The facts of a store that `plan` decides by, and the keys of the rows that they are read from.

    named_keys(changes, require) -> Keys ─► the engine reads the live rows with these keys, a table at a time ─► Facts

Only live rows are facts. A key without a row is left out. Nothing here depends on how many rows a store has, except `Facts.owned`,
which is read when a user is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TypeAlias, assert_never

from msgspec import Struct, field

from pkgindex_core.changes import (
    AttachmentAbsent,
    Change,
    DropAttachment,
    DropFile,
    DropIndex,
    DropMirrorPage,
    DropProject,
    DropRelease,
    DropToken,
    DropUser,
    FileAbsent,
    IndexAbsent,
    IndexIs,
    IndexPresent,
    MirrorNames,
    MirrorPage,
    ProjectAt,
    PutAttachment,
    PutFile,
    PutIndex,
    PutProject,
    PutRelease,
    PutToken,
    PutUser,
    Requirement,
    UserAbsent,
    UserIs,
    YankFile,
)
from pkgindex_core.formats.kept_pages import KeptRows
from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.models import Attachment, File, IndexConfig, PageHead, Release, Serial, Token, User
from pkgindex_core.names import IndexName, ProjectName, owner
from pkgindex_core.protocols.index_store import Taken

ProjectKey: TypeAlias = tuple[IndexName, ProjectName]
FileKey: TypeAlias = tuple[IndexName, str]
"""An index and a filename: a hosted index has a filename once."""
PartKey: TypeAlias = tuple[IndexName, ProjectName, str]
"""The third is the one spelling of a release's version, or the filename of an attachment."""


class StandingRow(Struct, frozen=True, kw_only=True, gc=False):
    """How an index stands to a project."""

    since: Serial
    """When the row was born. Each change of a hosted project makes a row. A mirrored project has no past: its row keeps its birth."""
    stamp: Serial
    mirrored: bool
    holds: bool
    file_count: int = 0
    head: PageHead = PageHead()
    content: str = ""
    """As `Standing.content`."""
    kept: bool = False
    """Whether the files of a mirrored page are stored in one piece."""


class StoredFile(Struct, frozen=True, gc=False):
    """A live file of a hosted index."""

    project: ProjectName
    file: File


class Keys(Struct):
    """The rows that a list of changes and its preconditions name."""

    users: set[str] = field(default_factory=set)
    tokens: set[str] = field(default_factory=set)
    owners: set[str] = field(default_factory=set)
    """Users of whom every token and the name of every index is wanted."""
    indexes: set[IndexName] = field(default_factory=set)
    """Indexes of which the configuration is wanted. They include the index of every other key."""
    projects: set[ProjectKey] = field(default_factory=set)
    files: set[FileKey] = field(default_factory=set)
    """Filenames of which the live file and the tombstone are wanted."""
    releases: set[PartKey] = field(default_factory=set)
    attachments: set[PartKey] = field(default_factory=set)
    listings: set[IndexName] = field(default_factory=set)


class Facts(Struct, frozen=True, kw_only=True):
    """The live rows that the keys name."""

    users: Mapping[str, User] = {}
    tokens: Mapping[str, Token] = {}
    owned: Collection[IndexName] = ()
    """The indexes of `Keys.owners`."""
    configs: Mapping[IndexName, IndexConfig] = {}
    standings: Mapping[ProjectKey, StandingRow] = {}
    files: Mapping[FileKey, StoredFile] = {}
    tombstones: Mapping[FileKey, Taken] = {}
    releases: Mapping[PartKey, Release] = {}
    attachments: Mapping[PartKey, Attachment] = {}
    listings: Mapping[IndexName, Serial] = {}
    """The stamps of lists of names."""
    kept_page: Callable[[ProjectKey], KeptRows]
    """Reads a mirrored page that is stored in one piece (`StandingRow.kept`). It is called for few of them, so it reads when it is called."""


def named_keys(changes: Iterable[Change], require: Iterable[Requirement] = ()) -> Keys:
    """Say which rows `plan` may look at."""
    keys = Keys()
    for requirement in require:
        _name_required(keys, requirement)
    for change in changes:
        _name_changed(keys, change)
    return keys


def _name_required(keys: Keys, requirement: Requirement) -> None:
    match requirement:
        case FileAbsent(index, filename):
            keys.indexes.add(index)
            keys.files.add((index, filename))
        case AttachmentAbsent(index, project, filename):
            keys.indexes.add(index)
            keys.attachments.add((index, project, filename))
        case ProjectAt(index, project):
            keys.indexes.add(index)
            keys.projects.add((index, project))
        case UserAbsent(name):
            keys.users.add(name)
        case UserIs(user):
            keys.users.add(user.name)
        case IndexAbsent(index) | IndexPresent(index):
            keys.indexes.add(index)
        case IndexIs(config):
            keys.indexes.add(config.name)
        case _:
            assert_never(requirement)


def _name_changed(keys: Keys, change: Change) -> None:
    match change:
        case PutUser() | DropUser() | PutToken() | DropToken():
            _name_identities(keys, change)
        case PutIndex(config):
            keys.users.add(owner(config.name))
            keys.indexes.add(config.name)
        case DropIndex(index):
            keys.indexes.add(index)
        case MirrorNames(index):
            keys.indexes.add(index)
            keys.listings.add(index)
        case _:
            keys.indexes.add(change.index)
            keys.projects.add((change.index, change.project))
            _name_parts(keys, change)


def _name_identities(keys: Keys, change: PutUser | DropUser | PutToken | DropToken) -> None:
    match change:
        case PutUser():
            pass  # replaces whatever there is
        case DropUser(name):
            keys.users.add(name)
            keys.owners.add(name)
        case PutToken(token):
            keys.users.add(token.user)
        case DropToken(token_id):
            keys.tokens.add(token_id)


def _name_parts(
    keys: Keys,
    change: PutProject
    | DropProject
    | PutFile
    | DropFile
    | YankFile
    | PutRelease
    | DropRelease
    | PutAttachment
    | DropAttachment
    | MirrorPage
    | DropMirrorPage,
) -> None:
    match change:
        case PutFile(index, _, file):
            keys.files.add((index, file.filename))
        case DropFile(index, _, filename) | YankFile(index, _, filename):
            keys.files.add((index, filename))
        case DropRelease(index, project, version):
            keys.releases.add((index, project, canonical_version(version)))
        case PutAttachment(index, _, attachment):
            if attachment.about:
                keys.files.add((index, attachment.about))
        case DropAttachment(index, project, filename):
            keys.attachments.add((index, project, filename))
        case PutProject() | DropProject() | PutRelease() | MirrorPage() | DropMirrorPage():
            pass
        case _:
            assert_never(change)
