"""The effects of a list of changes, which an engine writes.

Seven kinds, to be written in this order:

    emptied     everything in a place ends; the engine finds the rows (`Emptied`)
    forgotten   rows of the past of mirrored projects are dropped
    rows        by table and key: the engine ends the stored live row, and writes the new one unless the value is None
    pages       edits of the files of mirrored pages
    names       edits of lists of names
    counts      differences of the number of projects, by index
    tree        whether the commit changed the tree

They are the sum of the list: of several values of one row only the last is in them. `pkgindex_core/STORES.md` explains each field.
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
    """A whole index, a project or the results of a file, whose stored rows the engine ends before it writes the other effects."""

    index: IndexName
    """If `project` is None: the files, releases and attachments of the index end. Its tombstones, its mirrored pages with their past, and its
    list of names with its state are dropped. Its project count becomes 0. Each hosted project that it holds and each mirrored project with
    a standing get a standing that does not hold them, stamped with the serial of the commit; of a mirrored one with `stamp_after`."""
    project: ProjectName | None = None
    """A project of a hosted index. If `about` is empty: its files end, and each leaves a tombstone; its releases and attachments end. Its new
    standing is in `Effects.standings`."""
    about: str = ""
    """A filename. Only the attachments of the project about that file end."""


class PageEdit(Struct, frozen=True, kw_only=True):
    """An edit of the stored files of a mirrored page. The standing and the head of the page are in `Effects.standings`."""

    fresh: bool = False
    """Whether the engine drops all stored files first."""
    kept: KeptRows | None = None
    """The whole new page in one piece, which replaces the stored files. `put` and `drop` are then empty."""
    put: Mapping[str, File] = {}
    """New files by filename; each replaces a stored file of its name. `StandingRow.file_count` does not count `put` and `drop`: the engine
    adds the names that are new and subtracts the names that are gone."""
    drop: Collection[str] = ()
    """Filenames of files that the engine drops. Some may not be stored. None of them is in `put`."""


class NamesEdit(Struct, frozen=True, kw_only=True):
    """An edit of a mirror's list of names, from which the engine also makes its new `Listing`."""

    stamp: Serial
    """The new stamp of the list."""
    put: Mapping[ProjectName, str] = {}
    """The display names by normalised name, written after `drop`. Empty text: the display name is the normalised one."""
    drop: Collection[ProjectName] = ()
    """Names that the engine drops. Some may not be stored."""
    validators: Mapping[str, str] = {}
    """Replace those of the list."""


class Effects(Struct, frozen=True, kw_only=True):
    """The effects of a list of changes. The mappings have the new rows, None for rows that end."""

    emptied: Sequence[Emptied] = ()
    """Written in this order."""
    forgotten: Mapping[ProjectKey, Serial] = {}
    """Mirrored projects, and the serial up to which their past is dropped. The oldest remaining row then begins where the dropped ones did."""
    users: Mapping[str, User | None] = {}
    """By name. The tokens of a dropped user are in `tokens`."""
    tokens: Mapping[str, Token | None] = {}
    """By id. No read has `at=` for them, so their past need not be stored."""
    configs: Mapping[IndexName, IndexConfig | None] = {}
    """None: the index was dropped."""
    standings: Mapping[ProjectKey, StandingRow] = {}
    """A mirrored row replaces the live row in place if both have the same `since` and the project is not in `superseded`. Any other row ends
    the live one and begins with this commit."""
    superseded: Collection[ProjectKey] = ()
    """Mirrored projects whose live row ends; the engine keeps it, with its files, as the past of the new row."""
    files: Mapping[FileKey, StoredFile | None] = {}
    """Files of hosted indexes. Ended rows are kept: `former` and reads with `at=` need them."""
    tombstones: Mapping[FileKey, Taken | None] = {}
    """None: the filename is no longer that of a deleted file."""
    releases: Mapping[PartKey, Release | None] = {}
    """By canonical version."""
    attachments: Mapping[PartKey, Attachment | None] = {}
    """By filename."""
    pages: Mapping[ProjectKey, PageEdit] = {}
    names: Mapping[IndexName, NamesEdit] = {}
    counts: Mapping[IndexName, int] = {}
    """Differences, which the engine adds to `project_count`. That of an emptied index is 0 before."""
    tree_changed: bool = False
    """Whether this commit is the serial of the tree from now on."""
