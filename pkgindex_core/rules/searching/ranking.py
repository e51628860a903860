"""Whether an entry fits a query, and its rank. Every catalogue ranks by this rule, so the same is found in the same order everywhere.

    tier          how an entry fits all words of a query
    EXACT         its name is the words
    IMPORT        it gives the word to `import`
    BEGINNING     its name begins with the words
    NAME_WORDS    words of its name begin with them
    WITHIN        its name contains them; a word of one or two characters must begin one of its words
    SAID          words of its name, summary and keywords begin with them; only if its metadata is known
    ELSEWHERE     the same with its authors, classifiers and imports
    MISSPELLED    its name is the word but for one typing error: a character more, less, another, or two swapped

Within a tier hosted projects come before mirrored ones, then short names before long ones. A restriction about metadata fits only entries
whose metadata is known, negated or not: what is not known is no answer. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from functools import lru_cache

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from pkgindex_core.protocols.catalogue import Rank, Restriction, SearchEntry, SearchQuery, Word
from pkgindex_core.rules.searching.folding import folded, has_words


class Tier(IntEnum):
    EXACT = 0
    IMPORT = 1
    BEGINNING = 2
    NAME_WORDS = 3
    WITHIN = 4
    SAID = 5
    ELSEWHERE = 6
    MISSPELLED = 7


SHORTEST_IN_NAMES = 2
"""Characters of the longest word by which words of a name are found. A single character finds only names that begin with it."""
SHORTEST_WITHIN = 3
"""Characters of a word that is also found within the words of a name."""
SHORTEST_MISSPELLED = 4
"""Characters of a word in which a typing error is forgiven."""


def rank(query: SearchQuery, entry: SearchEntry) -> Rank | None:
    """The rank of an entry; None if it does not fit."""
    return Ranking(query).rank(entry)


class Ranking:
    """Ranks entries for one query."""

    def __init__(self, query: SearchQuery) -> None:
        self._restrictions = query.restrictions
        self._unwanted = [each for each in query.words if each.negated]
        self._words = [each for each in query.words if not each.negated]
        self._name = whole_name(query.words)
        longest = max((len(each.name) for each in self._words), default=0)
        self._by_words = longest >= SHORTEST_IN_NAMES
        self._by_parts = longest >= SHORTEST_WITHIN

    def rank(self, entry: SearchEntry) -> Rank | None:
        """The rank of an entry; None if it does not fit."""
        for restriction in self._restrictions:
            if not _permits(restriction, entry):
                return None
        for word in self._unwanted:
            if _anywhere(word, entry):
                return None
        tier = self._tier(entry)
        return None if tier is None else Rank(tier, entry.mirrored, len(entry.project), entry.project, entry.index)

    def _tier(self, entry: SearchEntry) -> Tier | None:
        words, name, project = self._words, self._name, entry.project
        if not words:
            return Tier.SAID
        if name and project == name:
            return Tier.EXACT
        if len(words) == 1 and _imports(entry, words[0].text):
            return Tier.IMPORT
        if name:
            if project.startswith(name):
                return Tier.BEGINNING
            if self._by_words and all(_begins_word(project, each.name) for each in words):
                return Tier.NAME_WORDS
            if self._by_parts and all(_within(project, each.name) for each in words):
                return Tier.WITHIN
        if entry.described:
            texts = said(entry)
            if all(has_words(texts, each.words) for each in words):
                return Tier.SAID
            if all(has_words(texts, each.words) or _elsewhere(each, entry) for each in words):
                return Tier.ELSEWHERE
        if len(name) >= SHORTEST_MISSPELLED and misspells(name, project):
            return Tier.MISSPELLED
        return None


def whole_name(words: Iterable[Word]) -> str:
    """The positive words of a query as one normalised name; empty if they are none."""
    names = [each.name for each in words if not each.negated]
    return "-".join(names) if all(names) else ""


def misspells(word: str, name: str) -> bool:
    """Whether two texts differ by one typing error.

    >>> misspells("djanog", "django"), misspells("reqests", "requests"), misspells("nunpy", "numpy"), misspells("numpy", "scipy")
    (True, True, True, False)
    """
    short, long = (word, name) if len(word) <= len(name) else (name, word)
    if len(long) - len(short) > 1 or word == name:
        return False
    at = next((place for place, (one, other) in enumerate(zip(short, long, strict=False)) if one != other), len(short))
    if len(short) < len(long):
        return short[at:] == long[at + 1 :]
    return short[at + 1 :] == long[at + 1 :] or (
        short[at : at + 2] == long[at : at + 2][::-1] and short[at + 2 :] == long[at + 2 :]
    )


def said(entry: SearchEntry) -> tuple[str, ...]:
    """The words of an entry's name, summary and keywords."""
    return (*entry.project.split("-"), *folded(entry.summary), *folded(entry.keywords))


def _begins_word(project: str, name: str) -> bool:
    return project.startswith(name) or f"-{name}" in project


def _within(project: str, name: str) -> bool:
    return name in project if len(name) >= SHORTEST_WITHIN else _begins_word(project, name)


def _elsewhere(word: Word, entry: SearchEntry) -> bool:
    return (
        has_words(folded(entry.authors), word.words)
        or any(has_words(folded(each), word.words) for each in entry.classifiers)
        or any(has_words(folded(each), word.words) for each in entry.imports)
    )


def _anywhere(word: Word, entry: SearchEntry) -> bool:
    named = bool(word.name) and _within(entry.project, word.name)
    return named or has_words(said(entry), word.words) or _elsewhere(word, entry)


def _imports(entry: SearchEntry, text: str) -> bool:
    if not entry.imports:
        return False
    wanted = text.lower()
    return any(each.lower() == wanted for each in entry.imports)


def _permits(restriction: Restriction, entry: SearchEntry) -> bool:
    key = restriction.key
    if key == "index":
        return (entry.index == restriction.value) != restriction.negated
    if key == "source":
        return (entry.mirrored == (restriction.value == "mirror")) != restriction.negated
    return entry.described and _fits(restriction, entry) != restriction.negated


def _fits(restriction: Restriction, entry: SearchEntry) -> bool:
    value, words = restriction.value, restriction.words
    match restriction.key:
        case "depends":
            return value in entry.depends
        case "author":
            return has_words(folded(entry.authors), words)
        case "licence":
            return has_words(folded(entry.licence), words)
        case "classifier":
            return any(has_words(folded(each), words) for each in entry.classifiers)
        case "import":
            return any(
                each.lower() == value.lower() or each.lower().startswith(f"{value.lower()}.") for each in entry.imports
            )
        case "python":
            return not entry.requires_python or _contains(entry.requires_python, value)
    raise LookupError(f"{restriction.key} is no restriction")


@lru_cache(maxsize=4096)
def _contains(specifiers: str, version: str) -> bool:
    try:
        return SpecifierSet(specifiers).contains(version, prereleases=True)
    except InvalidSpecifier:
        return False
