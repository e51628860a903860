"""What a store has to write for a list of changes. An engine decides nothing about it.

Six kinds, to be written in this order:

    emptied     what stands in a place ends, all of it
    rows        by table and key: the live row ends, and a new one begins unless the value is None
    pages       how the files of mirrored pages are edited
    names       how lists of names are edited
    counts      by how much the number of projects of an index moves
    tree        whether the commit counts as one that changed the tree

All of it is the sum of the list: a row that is born and dies in one list is in none of these.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct

from pkgindex_core.formats.kept_pages import KeptRows
from pkgindex_core.models import Attachment, File, IndexConfig, Release, Serial, Token, User
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.index_store import Taken
from pkgindex_core.rules.planning.facts import FileKey, PartKey, ProjectKey, StandingRow, StoredFile


class Emptied(Struct, frozen=True):
    """Everything that was stored in a place before the list ends."""

    index: IndexName
    """Alone: everything in the index. Its tombstones, mirrored pages and list of names go, and its project count is 0. Each project that it holds,
    or has mirrored files of, becomes one that it does not hold: with the serial of the commit as its stamp, or with that of `stamp_after`
    if it is mirrored."""
    project: ProjectName | None = None
    """Of a hosted index. Alone: its files end and leave tombstones. Its releases and attachments end."""
    about: str = ""
    """A filename of the project: the attachments about that file end."""


class PageEdit(Struct, frozen=True, kw_only=True):
    """How the files of a mirrored page are edited. Neither its standing nor its head is in here."""

    fresh: bool = False
    """The files that are stored go first."""
    kept: KeptRows | None = None
    """All files in one piece. They replace what is stored; nothing else is edited then."""
    put: Mapping[str, File] = {}
    """By filename. The standing's `file_count` is that of before this: it grows by as many as become more."""
    drop: Collection[str] = ()
    """Filenames, which may be absent. None of them is in `put`."""


class NamesEdit(Struct, frozen=True, kw_only=True):
    """How a mirror's list of names is edited."""

    stamp: Serial
    put: Mapping[ProjectName, str] = {}
    drop: Collection[ProjectName] = ()
    """Names, which may be absent. They go before `put`."""
    validators: Mapping[str, str] = {}


class Effects(Struct, frozen=True, kw_only=True):
    """What a list of changes does. The mappings hold the rows that it touches, None for those that are no more."""

    emptied: Sequence[Emptied] = ()
    """In this order."""
    users: Mapping[str, User | None] = {}
    tokens: Mapping[str, Token | None] = {}
    configs: Mapping[IndexName, IndexConfig | None] = {}
    standings: Mapping[ProjectKey, StandingRow] = {}
    """A row with the birth of the live one changes it in place."""
    files: Mapping[FileKey, StoredFile | None] = {}
    tombstones: Mapping[FileKey, Taken | None] = {}
    releases: Mapping[PartKey, Release | None] = {}
    attachments: Mapping[PartKey, Attachment | None] = {}
    pages: Mapping[ProjectKey, PageEdit] = {}
    names: Mapping[IndexName, NamesEdit] = {}
    counts: Mapping[IndexName, int] = {}
    tree_changed: bool = False
