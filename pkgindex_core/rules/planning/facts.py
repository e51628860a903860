"""The facts by which `plan` decides, and the keys of the rows from which an engine reads them.

    named_keys(changes, require) -> Keys ─► the engine reads the live rows with these keys, a table at a time ─► Facts

Only live rows are facts. A key without a row is left out. The cost does not grow with the store, except that of `Facts.owned`, which
is read when a user is dropped.
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
    NoteIs,
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
    WithinQuotas,
    YankFile,
)
from pkgindex_core.formats.kept_pages import KeptRows
from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.models import Attachment, File, IndexConfig, PageHead, Release, Serial, Token, User
from pkgindex_core.names import IndexName, ProjectName, owner
from pkgindex_core.protocols.index_store import WHOLE_INDEX, Taken

ProjectKey: TypeAlias = tuple[IndexName, ProjectName]
FileKey: TypeAlias = tuple[IndexName, str]
"""An index and a filename, which is unique in a hosted index."""
PartKey: TypeAlias = tuple[IndexName, ProjectName, str]
"""An index, a project, and the canonical version of a release or the filename of an attachment."""

NoteKey: TypeAlias = tuple[str, str]
"""The kind and the key of a note."""


class StandingRow(Struct, frozen=True, kw_only=True, gc=False):
    """A row of the table of standings: the state of one project in one index, which `Standing` and `Page` are read from."""

    since: Serial
    """The serial since which the project is known. Each change of a hosted project gives a new one. All rows of a mirrored project have the
    same one, until its index is dropped and made again as another type; reads as of an earlier commit find no project."""
    stamp: Serial
    """As `Standing.stamp`."""
    mirrored: bool
    """Whether the files are those of a mirrored page, and not `StoredFile`s."""
    holds: bool
    """Whether the index has the project. A project that was dropped keeps a row with False, and so has a page whose last part did not come."""
    file_count: int = 0
    """The number of stored files. In `Effects` without those of `PageEdit.put`."""
    head: PageHead = PageHead()
    content: str = ""
    """As `Standing.content`."""
    kept: bool = False
    """Whether the files of a mirrored page are stored in one piece."""
    has_past: bool = False
    """Whether a mirrored project has rows of its past. Set only in stored live rows."""


class StoredFile(Struct, frozen=True, gc=False):
    """A live file of a hosted index."""

    project: ProjectName
    file: File


class Keys(Struct):
    """The keys of the rows that a list of changes and its requirements name."""

    users: set[str] = field(default_factory=set)
    tokens: set[str] = field(default_factory=set)
    owners: set[str] = field(default_factory=set)
    """Users whose tokens and index names are all needed."""
    indexes: set[IndexName] = field(default_factory=set)
    """Indexes whose configuration is needed. They include the index of every other key."""
    projects: set[ProjectKey] = field(default_factory=set)
    files: set[FileKey] = field(default_factory=set)
    """Filenames whose live file and tombstone are needed."""
    releases: set[PartKey] = field(default_factory=set)
    attachments: set[PartKey] = field(default_factory=set)
    listings: set[IndexName] = field(default_factory=set)
    notes: set[NoteKey] = field(default_factory=set)
    sizes: set[ProjectKey] = field(default_factory=set)
    """Hosted projects whose files are counted, and, as the project `WHOLE_INDEX`, whole indexes."""


class Facts(Struct, frozen=True, kw_only=True):
    """The live rows of the keys. A key without a row is left out."""

    users: Mapping[str, User] = {}
    """Of `Keys.users`."""
    tokens: Mapping[str, Token] = {}
    """Of `Keys.tokens`, and all tokens of the users in `Keys.owners`: dropping a user drops those."""
    owned: Collection[IndexName] = ()
    """The existing indexes of the users in `Keys.owners`."""
    configs: Mapping[IndexName, IndexConfig] = {}
    """Of the existing indexes in `Keys.indexes`."""
    standings: Mapping[ProjectKey, StandingRow] = {}
    """Of `Keys.projects`, also rows that do not hold the project. With `StandingRow.has_past`."""
    files: Mapping[FileKey, StoredFile] = {}
    """Of `Keys.files`."""
    tombstones: Mapping[FileKey, Taken] = {}
    """Of `Keys.files`."""
    releases: Mapping[PartKey, Release] = {}
    """Of `Keys.releases`."""
    attachments: Mapping[PartKey, Attachment] = {}
    """Of `Keys.attachments`."""
    listings: Mapping[IndexName, Serial] = {}
    """The stamps of the lists of names in `Keys.listings`."""
    expired: Mapping[ProjectKey, Serial] = {}
    """Mirrored projects whose past is longer than their index keeps it, and the serial up to which it is over. For each mirrored index of
    `Keys.indexes`: the serial is the last one at or before `past.kept_since`; the projects are those of the first `past.SWEPT` rows that
    ended by then, ordered by end and project."""
    notes: Mapping[NoteKey, int] = {}
    """The versions of the notes in `Keys.notes` that have not ended."""
    sizes: Mapping[ProjectKey, int] = {}
    """The bytes of all live files of `Keys.sizes`."""
    kept_page: Callable[[ProjectKey], KeptRows]
    """Reads a mirrored page in one piece (`StandingRow.kept`). A function, because few pages need to be read."""


def named_keys(changes: Iterable[Change], require: Iterable[Requirement] = ()) -> Keys:
    """The keys of the rows that `plan` may look at."""
    keys = Keys()
    for requirement in require:
        _name_required(keys, requirement)
    for change in changes:
        _name_changed(keys, change)
    bounded = {index for index, project in keys.sizes}
    keys.sizes |= {key for key in keys.projects if key[0] in bounded}
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
        case NoteIs(kind, key):
            keys.notes.add((kind, key))
        case WithinQuotas(index):
            keys.indexes.add(index)
            keys.sizes.add((index, WHOLE_INDEX))
        case _:
            assert_never(requirement)


def _name_changed(keys: Keys, change: Change) -> None:
    match change:
        case PutFile(index, project, file):  # the most frequent first
            keys.indexes.add(index)
            keys.projects.add((index, project))
            keys.files.add((index, file.filename))
        case (
            PutRelease()
            | MirrorPage()
            | PutProject()
            | DropProject()
            | DropFile()
            | YankFile()
            | DropRelease()
            | PutAttachment()
            | DropAttachment()
            | DropMirrorPage()
        ):
            keys.indexes.add(change.index)
            keys.projects.add((change.index, change.project))
            _name_parts(keys, change)
        case MirrorNames(index):
            keys.indexes.add(index)
            keys.listings.add(index)
        case PutUser() | DropUser() | PutToken() | DropToken():
            _name_identities(keys, change)
        case PutIndex(config):
            keys.users.add(owner(config.name))
            keys.indexes.add(config.name)
        case DropIndex(index):
            keys.indexes.add(index)
        case _:
            assert_never(change)


def _name_identities(keys: Keys, change: PutUser | DropUser | PutToken | DropToken) -> None:
    match change:
        case PutUser():
            pass  # needs no row: it replaces the stored one
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
