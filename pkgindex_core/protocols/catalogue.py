"""The role of a catalogue: it holds what searches look through, the names of projects and what their metadata says.

    the log of commits ─► follower ─► apply          find ◄─ a search

A catalogue is made of an index store and can be made again from it, so it need not be durable: it must only never have one half of an
update. The built-in ones are `engines.memory.catalogue`, `engines.sqlite.catalogue` and `engines.postgresql.catalogue`. All rank by
`rules.searching.ranking`, so each finds the same in the same order. Rights and admission are not its business: `services.reading.searching`
asks about each project that was found. The contract suite is `pkgindex_core.testing.catalogue`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple, Protocol

from msgspec import Struct

from pkgindex_core.models import Serial
from pkgindex_core.names import IndexName, ProjectName


class SearchEntry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A project in one index, as a search sees it."""

    index: IndexName
    project: ProjectName
    mirrored: bool = False
    display_name: str = ""
    """Empty if it is the normalised name."""
    stamp: Serial = Serial(0)
    """The stamp of the project when its metadata was read."""
    version: str = ""
    """The version that represents the project (`rules.searching.entries.representing`). Empty: no version is known."""
    described: bool = False
    """Whether the metadata of this version is known. If not, the following fields are empty."""
    summary: str = ""
    keywords: str = ""
    classifiers: tuple[str, ...] = ()
    authors: str = ""
    """Authors and maintainers, with their addresses."""
    licence: str = ""
    """The licence expression, or else the licence field."""
    requires_python: str = ""
    depends: tuple[ProjectName, ...] = ()
    """The projects that its metadata requires, those of extras too."""
    imports: tuple[str, ...] = ()
    """The names that its newest wheel gives to `import`."""

    @property
    def name(self) -> str:
        """The name for people."""
        return self.display_name or self.project


def listed(index: IndexName, project: ProjectName, display_name: str = "") -> SearchEntry:
    """The entry of a name of which nothing more is known, in the list of a mirror."""
    return SearchEntry(
        index=index, project=project, mirrored=True, display_name="" if display_name == project else display_name
    )


class Word(Struct, frozen=True, kw_only=True):
    """A word or a quoted phrase of a search."""

    text: str
    """As it was written."""
    words: tuple[str, ...]
    """Its words, folded (`rules.searching.folding`). At least one."""
    name: str
    """As a part of a normalised name; empty if no name can have it."""
    negated: bool = False


class Restriction(Struct, frozen=True, kw_only=True):
    """A restriction of a search, `key:value`."""

    key: str
    value: str
    words: tuple[str, ...] = ()
    """The folded words of the value, for keys that compare words."""
    negated: bool = False


class SearchQuery(Struct, frozen=True, kw_only=True):
    """A search. A project is found if it fits all words and all restrictions."""

    words: tuple[Word, ...] = ()
    restrictions: tuple[Restriction, ...] = ()


class Rank(NamedTuple):
    """The place of an entry among those that a search finds; smaller is better. Ranks of one search are unique."""

    tier: int
    mirrored: bool
    length: int
    """Characters of the normalised name."""
    project: str
    place: str
    """The index."""


FIRST: Final = Rank(-1, False, 0, "", "")
"""Before every entry."""


class RankedEntry(NamedTuple):
    rank: Rank
    entry: SearchEntry


class CatalogueProgress(Struct, frozen=True, kw_only=True):
    """How far a catalogue has followed its index store."""

    store: str = ""
    """The identity of the store; empty: the catalogue is new."""
    serial: Serial = Serial(0)
    """The entries say at least what was true as of this commit, except behind the place of a walk."""
    walking: tuple[IndexName, str, str] | None = None
    """The place of the first walk through the store: an index, `names` or `projects`, and the last project that was read. None: it is done."""


class NamesUpdate(Struct, frozen=True, kw_only=True):
    """Names of projects that a mirror lists, with or without a page here."""

    index: IndexName
    put: Sequence[tuple[ProjectName, str]] = ()
    """Normalised and display name."""
    drop: Sequence[ProjectName] = ()


class CatalogueUpdate(Struct, frozen=True, kw_only=True):
    """Changes of a catalogue that happen together, in the order of the fields."""

    clear: bool = False
    """Forget everything."""
    drop_indexes: Collection[IndexName] = ()
    drop: Sequence[tuple[IndexName, ProjectName]] = ()
    """Projects that an index does not have any more. One that a mirror lists stays, with its name alone."""
    put: Sequence[SearchEntry] = ()
    """New entries, which replace those of the same index and project."""
    names: Sequence[NamesUpdate] = ()
    progress: CatalogueProgress


class SearchCatalogue(Protocol):
    """Names and metadata of the projects of all indexes."""

    async def progress(self) -> CatalogueProgress:
        """How far the catalogue is."""
        ...

    async def lead(self) -> bool:
        """Whether this process is the one that may update the catalogue now. It stays so until `close`, or until the process ends."""
        ...

    async def apply(self, update: CatalogueUpdate, *, after: CatalogueProgress) -> bool:
        """Make all changes and the new progress, or none. False: the progress is not `after` any more, as another process has made an update.

        A process that is killed leaves the catalogue before the update or after it.
        """
        ...

    async def find(
        self, query: SearchQuery, indexes: Collection[IndexName], *, after: Rank = FIRST, limit: int = 100
    ) -> Sequence[RankedEntry]:
        """The best entries of these indexes behind a rank, best first. At least `limit`, or else all that there are.

        Ranks as `rules.searching.ranking.rank` does, whatever the engine. The cost does not grow with the number of entries that fit.
        """
        ...

    async def close(self) -> None:
        """Release everything. May be called again."""
        ...
