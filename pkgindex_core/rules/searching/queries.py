"""The language of searches: words, "phrases", `key:value`, and `-` before what must not fit.

    numpy array                    both words, in the name or in what the project says of itself
    "machine learning" -torch      a phrase, without a word
    depends:numpy python:3.12      projects that require numpy, for Python 3.12
    classifier:"Topic :: Internet" source:hosted -licence:gpl

Pure. A text that is no query is refused with everything that is wrong with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from pkgindex_core.errors import Refused
from pkgindex_core.formats.versions import is_pep440
from pkgindex_core.names import index_name_or_none, normalized_or_none
from pkgindex_core.protocols.catalogue import Restriction, SearchQuery, Word
from pkgindex_core.rules.searching.folding import folded
from pkgindex_core.spelling import suggestion

LONGEST: Final = 400
"""Characters of a query."""
MOST_TERMS: Final = 20
KEYS: Final = {
    "author": "a word of an author's or maintainer's name or address",
    "classifier": "words of a classifier, such as classifier:django",
    "depends": "a project that it requires",
    "import": "a name that it gives to `import`",
    "index": "an index, such as index:root/dev",
    "licence": "words of its licence",
    "python": "a version of Python that it permits, such as python:3.12",
    "source": "hosted or mirror",
}
"""The words before the colon of a restriction, each with the meaning of the text behind it."""
_OTHER_SPELLINGS: Final = {"license": "licence", "depend": "depends", "requires": "depends", "imports": "import"}
_OF_WORDS: Final = frozenset({"author", "classifier", "licence"})
SOURCES: Final = ("hosted", "mirror")

_TERM: Final = re.compile(r'(?P<minus>-?)(?:(?P<key>[A-Za-z]+):)?(?:"(?P<phrase>[^"]*)"|(?P<plain>[^\s"]*))(?=\s|\Z)')
_IN_NAMES: Final = re.compile(r"[-_.]+")
_NAME: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


def read_query(text: str) -> SearchQuery:
    """Read a query. An empty text is an empty query, which finds everything. Raises `Refused` with all problems."""
    if len(text) > LONGEST:
        raise Refused(f"the search has {len(text)} characters; the limit is {LONGEST}", hint="search for fewer words")
    problems = [f"the search has the character U+{ord(each):04X}" for each in text if _is_unseen(each)][:1]
    words: list[Word] = []
    restrictions: list[Restriction] = []
    for term in _terms(text, problems):
        value = term["plain"] if term["phrase"] is None else term["phrase"]
        negated = bool(term["minus"])
        if term["key"] is None:
            read = _word(value, negated, problems)
            words += [read] if read is not None else []
        else:
            restricting = _restriction(term["key"], value, negated, problems)
            restrictions += [restricting] if restricting is not None else []
    if len(words) + len(restrictions) > MOST_TERMS:
        problems.append(f"the search has {len(words) + len(restrictions)} words; the limit is {MOST_TERMS}")
    if problems:
        raise Refused(problems, hint='put a text with a colon, a dash or blanks in quotes: "a: b"')
    return SearchQuery(words=tuple(words), restrictions=tuple(restrictions))


def plain_query(text: str) -> SearchQuery:
    """A query for words alone, for clients that do not know the language. What is no word is left out."""
    words = (_word(each, False, []) for each in text[:LONGEST].split()[:MOST_TERMS])
    return SearchQuery(words=tuple(each for each in words if each is not None))


def _is_unseen(character: str) -> bool:
    """Whether a character is a control character, or half of one."""
    return not character.isprintable() and not character.isspace()


def _terms(text: str, problems: list[str]) -> Iterator[re.Match[str]]:
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        found = _TERM.match(text, at)
        if found is None:
            rest = text[at : at + 40]
            problems.append(
                f"a quotation mark is missing behind {rest!r}"
                if text.count('"', at) % 2
                else f"a quotation mark is in the wrong place: {rest!r}"
            )
            return
        at = found.end()
        yield found


def _word(text: str, negated: bool, problems: list[str]) -> Word | None:
    words = folded(text)
    if not words:
        problems.append(f"{'-' * negated + text!r} has no letter or digit")
        return None
    name = _IN_NAMES.sub("-", text.strip().lower()).strip("-")
    return Word(text=text, words=words, name=name if _NAME.fullmatch(name) else "", negated=negated)


def _restriction(written: str, value: str, negated: bool, problems: list[str]) -> Restriction | None:
    key = _OTHER_SPELLINGS.get(written.lower(), written.lower())
    if key not in KEYS:
        problems.append(f"{written}: is no restriction; {suggestion(written, KEYS)}")
        return None
    value = value.strip()
    words = folded(value) if key in _OF_WORDS else ()
    problem = ""
    if not value:
        problem = f"{key}: needs {KEYS[key]}"
    elif key in _OF_WORDS and not words:
        problem = f"{key}:{value} has no letter or digit"
    elif key == "depends":
        name = normalized_or_none(value)
        value, problem = (name, "") if name is not None else (value, f"depends:{value} is no name of a project")
    elif key == "index" and ("/" not in value or index_name_or_none(*value.split("/", 1)) is None):
        problem = f"index:{value} is no index; write USER/INDEX"
    elif key == "python" and not is_pep440(value):
        problem = f"python:{value} is no version; write one such as 3.12"
    elif key == "source" and value not in SOURCES:
        problem = f"source:{value} is neither hosted nor mirror"
    if problem:
        problems.append(problem)
        return None
    return Restriction(key=key, value=value, words=words, negated=negated)
