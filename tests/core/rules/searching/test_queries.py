"""The language of searches: laws, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkgindex_core.errors import Refused
from pkgindex_core.protocols.catalogue import SearchQuery
from pkgindex_core.rules.searching.folding import folded, has_words
from pkgindex_core.rules.searching.queries import KEYS, LONGEST, plain_query, read_query

_VALUES = {
    "depends": st.sampled_from(["numpy", "Scikit_Learn", "a.b"]),
    "index": st.sampled_from(["root/dev", "ann/x-1"]),
    "python": st.sampled_from(["3", "3.12", "3.13rc1"]),
    "source": st.sampled_from(["hosted", "mirror"]),
}
_TEXTS = st.text(
    st.characters(blacklist_characters='"', blacklist_categories=("Cc", "Cs", "Cf", "Zl", "Zp", "Cn", "Co")),
    min_size=1,
    max_size=12,
)
_WORDS = _TEXTS.filter(folded)


@st.composite
def terms(draw: st.DrawFn) -> str:
    minus = draw(st.sampled_from(["", "-"]))
    key = draw(st.sampled_from(["", "", *KEYS]))
    text = draw(_VALUES.get(key, _WORDS))
    return f'{minus}{key + ":" if key else ""}"{text}"'


def write_query(query: SearchQuery) -> str:
    """The text of a query, with all words and values in quotes."""
    words = [f'{"-" * each.negated}"{each.text}"' for each in query.words]
    return " ".join([*words, *(f'{"-" * each.negated}{each.key}:"{each.value}"' for each in query.restrictions)])


@given(st.lists(terms(), max_size=8))
def test_what_is_written_is_read_again(written: list[str]) -> None:
    query = read_query(" ".join(written))
    assert read_query(write_query(query)) == query
    assert len(query.words) + len(query.restrictions) == len(written)


@given(st.text(max_size=60))
def test_every_text_is_a_query_or_is_refused_with_reasons(text: str) -> None:
    problems: tuple[str, ...] = ()
    try:
        query = read_query(text)
    except Refused as error:
        problems = error.problems
    else:
        assert isinstance(query, SearchQuery)
    assert all(problems)
    assert all(each.words for each in plain_query(text).words)


@given(_TEXTS)
def test_folding_twice_is_folding(text: str) -> None:
    once = folded(text)
    assert folded(" ".join(once)) == once


@given(st.lists(_WORDS, min_size=1, max_size=5), st.integers(0, 4), st.integers(1, 5))
def test_words_of_a_text_are_found_in_it(texts: list[str], start: int, count: int) -> None:
    words = folded(" ".join(texts))
    part = words[start : start + count]
    if part:
        assert has_words(words, part)
        assert has_words(words, (*part[:-1], part[-1][:1]))


def test_a_query_has_words_phrases_restrictions_and_negation() -> None:
    query = read_query('Fast "json parser" -torch depends:Foo.Bar license:"Apache 2" -python:3.12')
    assert [(each.words, each.name, each.negated) for each in query.words] == [
        (("fast",), "fast", False),
        (("json", "parser"), "", False),
        (("torch",), "torch", True),
    ]
    assert [(each.key, each.value, each.negated) for each in query.restrictions] == [
        ("depends", "foo-bar", False),
        ("licence", "Apache 2", False),
        ("python", "3.12", True),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("depnds:numpy", "depnds: is no restriction; did you mean 'depends'?"),
        ("x:y", "x: is no restriction"),
        ("depends:", "depends: needs a project"),
        ("depends:!", "depends:! is no name of a project"),
        ('"open', "a quotation mark is missing"),
        ('a"b"', "a quotation mark is in the wrong place"),
        ("index:pypi", "index:pypi is no index; write USER/INDEX"),
        ("python:x", "python:x is no version"),
        ("source:both", "source:both is neither hosted nor mirror"),
        ("-", "'-' has no letter or digit"),
        ("???", "'???' has no letter or digit"),
        ("a\x00b", "the search has the character U+0000"),
        ("a " * 21, "the search has 21 words; the limit is 20"),
        ("a" * (LONGEST + 1), "the limit is 400"),
    ],
)
def test_what_is_no_query_is_refused(text: str, says: str) -> None:
    with pytest.raises(Refused) as caught:
        read_query(text)
    assert says in "; ".join(caught.value.problems)
    assert caught.value.hint


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(Refused) as caught:
        read_query("depends: source:x y:z")
    assert len(caught.value.problems) == 3
