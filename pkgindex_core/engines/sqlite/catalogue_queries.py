"""How the catalogue in SQLite looks for candidates. The rule ranks them (`rules.searching.ranking`), so candidates may be too many, never too few.

parts   trigrams of `^-scikit--learn-`: the sign marks the beginning of a name, and two dashes that of a word
texts   words of summary, keywords, authors … as columns
ids     mirrored, length, number: in the order of ranks within a tier, so that reading stops as soon as there is enough
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from itertools import islice
from operator import attrgetter
from typing import Final

import apsw
import msgspec
from msgspec import Struct

from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.catalogue import Rank, RankedEntry, Restriction, SearchEntry, SearchQuery, Word, listed
from pkgindex_core.rules.searching.ranking import (
    SHORTEST_IN_NAMES,
    SHORTEST_MISSPELLED,
    SHORTEST_WITHIN,
    Ranking,
    Tier,
    misspells,
    whole_name,
)

MIRRORED: Final = 1 << 40
"""Ids of mirrored projects begin here."""
LENGTH: Final = 1 << 32
_ENDS: Final = 2 * MIRRORED
_FEW: Final = 200
"""Candidates by a part of the name that are ranked for all tiers of names at once."""
_OF_METADATA: Final = frozenset({"author", "classifier", "depends", "import", "licence", "python"})
_BLOCKS: Final = 4
"""Blocks of a word, in one of which a typing error must be."""

_OF_NAMES: Final = (Tier.BEGINNING, Tier.NAME_WORDS, Tier.WITHIN)
_rank_of: Final = attrgetter("rank")
_Row = tuple[int, str, int, str, bytes | None]
"""Id, normalised name, index, display name if it is listed and another, entry if more than the name is known."""

_decode_entry: Final = msgspec.msgpack.Decoder(SearchEntry).decode


class _SearchParts(Struct, frozen=True):
    """The parts of one search that all tiers use."""

    connection: apsw.Connection
    query: SearchQuery
    ranking: Ranking
    layers: dict[int, IndexName]
    words: tuple[Word, ...]
    name: str
    restricting: tuple[str, ...]
    """The restrictions that `texts` can look for."""


class _Looking(Struct, frozen=True):
    """Where the candidates of a tier are looked for: as one statement over `entries e`."""

    condition: str
    bindings: tuple[str, ...] = ()
    spans: tuple[tuple[int, int], ...] = ((0, _ENDS),)
    """Ids that may be candidates."""

    fits: Callable[[str], bool] | None = None
    """Whether a name can be a candidate, where that takes less time than ranking it."""

    @property
    def number(self) -> str:
        """The column with the ids."""
        return "e.id" if self.condition.startswith("entries") else f"{self.condition.split()[0]}.rowid"


def find(
    connection: apsw.Connection, query: SearchQuery, indexes: Collection[IndexName], after: Rank, limit: int
) -> list[RankedEntry]:
    """The best entries behind a rank."""
    only = {each.value for each in query.restrictions if each.key == "index" and not each.negated}
    wanted = {name for name in indexes if not only or only == {name}}
    layers = {
        number: IndexName(name) for number, name in connection.execute("SELECT id, name FROM layers") if name in wanted
    }
    words = tuple(each for each in query.words if not each.negated)
    search = _SearchParts(
        connection, query, Ranking(query), layers, words, whole_name(words), tuple(_restricting(query.restrictions))
    )
    found: list[RankedEntry] = []
    at_once = _by_parts_of_name(search, after)
    for tier in Tier if words else (Tier.SAID,):
        if len(found) >= limit:
            break
        if tier < after.tier:
            continue
        if at_once is not None and tier in _OF_NAMES:
            found += (each for each in at_once if each.rank.tier == tier)
        else:
            found += _of_tier(search, tier, after, limit - len(found))
    return found


def indexed_name(project: str) -> str:
    """The text by whose trigrams a name is found."""
    return f"^-{project.replace('-', '--')}-"


def _by_parts_of_name(search: _SearchParts, after: Rank) -> list[RankedEntry] | None:
    """All names with the words in them, if they are few: one look then serves three tiers. None: they are many."""
    if not search.name or after.tier > Tier.WITHIN or min(len(each.name) for each in search.words) < SHORTEST_WITHIN:
        return None
    looking = _within(search)
    assert looking is not None
    rows = [*islice(_rows(search, looking, 0), _FEW + 1)]
    if len(rows) > _FEW:
        return None
    found = (_ranked(search, row) for row in rows)
    return sorted((each for each in found if each is not None and each.rank > after), key=_rank_of)


def _of_tier(search: _SearchParts, tier: Tier, after: Rank, limit: int) -> list[RankedEntry]:
    looking = _LOOKING[tier](search)
    if looking is None:
        return []
    found: list[RankedEntry] = []
    bucket: list[RankedEntry] = []
    at = -1
    start = (after.mirrored * MIRRORED + min(after.length, 255) * LENGTH) if after.tier == tier else 0
    for row in _rows(search, looking, start):
        if row[0] // LENGTH != at:
            found += sorted(bucket, key=_rank_of)
            if len(found) >= limit:
                return found
            bucket, at = [], row[0] // LENGTH
        if looking.fits is not None and not looking.fits(row[1]):
            continue
        each = _ranked(search, row)
        if each is not None and each.rank.tier == tier and each.rank > after:
            bucket.append(each)
    return found + sorted(bucket, key=_rank_of)


def _ranked(search: _SearchParts, row: _Row) -> RankedEntry | None:
    _, name, layer, display_name, known = row
    entry = _decode_entry(known) if known is not None else listed(search.layers[layer], ProjectName(name), display_name)
    place = search.ranking.rank(entry)
    return None if place is None else RankedEntry(place, entry)


def _rows(search: _SearchParts, looking: _Looking, start: int) -> Iterator[_Row]:
    first, end = _sources(search.query)
    condition = looking.condition
    bindings = looking.bindings
    if search.restricting and "texts MATCH" not in condition:
        condition += " AND e.id IN (SELECT rowid FROM texts WHERE texts MATCH ?)"
        bindings += (" AND ".join(search.restricting),)
    layers = msgspec.json.encode([*search.layers]).decode()
    # The ids of the full-text table: only these come in order by themselves, and only these begin at a place.
    number = looking.number
    for low, high in looking.spans:
        yield from search.connection.execute(
            f"SELECT e.id, e.name, e.layer, e.listed, e.known FROM {condition}"  # noqa: S608  # texts of this module
            f" AND {number} >= ? AND {number} < ? AND e.layer IN (SELECT value FROM json_each(?)) ORDER BY {number}",
            (*bindings, max(low, first, start), min(high, end), layers),
        )


def _sources(query: SearchQuery) -> tuple[int, int]:
    """The ids that the restrictions to a source permit."""
    first, end = 0, _ENDS
    for each in query.restrictions:
        if each.key == "source":
            if (each.value == "mirror") != each.negated:
                first = MIRRORED
            else:
                end = MIRRORED
    return first, end


def _restricting(restrictions: Sequence[Restriction]) -> Iterator[str]:
    for each in restrictions:
        if each.negated:
            continue
        match each.key:
            case "depends":
                yield f"depends : {_phrase(each.value)}"
            case "import":
                yield f"imports : {_phrase(each.value.lower())} *"
            case "author" | "classifier" | "licence":
                column = {"author": "authors", "classifier": "classifiers", "licence": "licence"}[each.key]
                yield f"{column} : {_phrase(' '.join(each.words))} *"


def _exact(search: _SearchParts) -> _Looking | None:
    return _Looking("entries e WHERE e.name = ?", (search.name,)) if search.name else None


def _imports(search: _SearchParts) -> _Looking | None:
    if len(search.words) != 1:
        return None
    return _saying(search, [f"imports : {_phrase(search.words[0].text.lower())}"])


def _beginning(search: _SearchParts) -> _Looking | None:
    return _parts(_trigrams(indexed_name(search.name)[:-1])) if search.name else None


def _name_words(search: _SearchParts) -> _Looking | None:
    if not search.name or max(len(each.name) for each in search.words) < SHORTEST_IN_NAMES:
        return None
    return _parts(_of_words(search, whole=False))


def _within(search: _SearchParts) -> _Looking | None:
    if not search.name or max(len(each.name) for each in search.words) < SHORTEST_WITHIN:
        return None
    return _parts(_of_words(search, whole=True))


def _said(search: _SearchParts) -> _Looking | None:
    if not search.words:
        if search.restricting:
            return _saying(search, [])
        known = any(each.key in _OF_METADATA for each in search.query.restrictions)
        return _Looking("entries e WHERE e.known IS NOT NULL" if known else "entries e WHERE true")
    return _saying(search, [f"said : {_phrase(' '.join(each.words))} *" for each in search.words])


def _elsewhere(search: _SearchParts) -> _Looking | None:
    return _saying(search, [f"{{said elsewhere}} : {_phrase(' '.join(each.words))} *" for each in search.words])


def _misspelled(search: _SearchParts) -> _Looking | None:
    """Names of which all is right before some block and behind it. An error touches at most two characters, which lie in one block or
    at its end.
    """
    name = search.name
    length = len(name)
    if length < SHORTEST_MISSPELLED:
        return None
    size = -(-length // _BLOCKS)
    matches = []
    for start in range(0, length, size):
        trigrams = _trigrams(indexed_name(name[:start])[:-1] if start else "^-")
        trigrams += _trigrams(indexed_name(name[start + size + 1 :])[2:])
        matches.append(" AND ".join(trigrams))
    spans = tuple((source + (length - 1) * LENGTH, source + (length + 2) * LENGTH) for source in (0, MIRRORED))
    match = " OR ".join(f"({each})" for each in dict.fromkeys(matches))
    return _Looking(_BY_PARTS, (match,), spans, partial(misspells, name))


_LOOKING: Final[dict[Tier, Callable[[_SearchParts], _Looking | None]]] = {
    Tier.EXACT: _exact,
    Tier.IMPORT: _imports,
    Tier.BEGINNING: _beginning,
    Tier.NAME_WORDS: _name_words,
    Tier.WITHIN: _within,
    Tier.SAID: _said,
    Tier.ELSEWHERE: _elsewhere,
    Tier.MISSPELLED: _misspelled,
}
# CROSS JOIN: the planner knows nothing of full-text tables, and must begin with them.
_BY_PARTS: Final = "parts CROSS JOIN entries e ON e.id = parts.rowid WHERE parts MATCH ?"
_BY_WORDS: Final = "texts CROSS JOIN entries e ON e.id = texts.rowid WHERE texts MATCH ?"


def _parts(trigrams: list[str]) -> _Looking | None:
    return _Looking(_BY_PARTS, (" AND ".join(dict.fromkeys(trigrams)),)) if trigrams else None


def _saying(search: _SearchParts, terms: list[str]) -> _Looking:
    return _Looking(_BY_WORDS, (" AND ".join([*terms, *search.restricting]),))


def _of_words(search: _SearchParts, *, whole: bool) -> list[str]:
    """The trigrams of all words of a search. `whole`: a word may stand within another one."""
    found: list[str] = []
    for each in search.words:
        inner = each.name.replace("-", "--")
        found += _trigrams(inner if whole and len(each.name) >= SHORTEST_WITHIN else f"-{inner}")
    return found


def _trigrams(text: str) -> list[str]:
    """Trigrams that cover a text. All of them would leave fewer candidates, and more lists to go through, which takes longer."""
    last = len(text) - 3
    return [_phrase(text[at : at + 3]) for at in (*range(0, last, 3), last)] if last >= 0 else []


def _phrase(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
