"""Upstream project lists: what is read, what is no list, and that a million names stay bytes."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkgindex_core.names import ProjectName
from pkgindex_mirror.documents import json_pieces, sorted_piles
from pkgindex_mirror.documents.markup import UnreadablePage
from pkgindex_mirror.documents.name_lists import NameListing, NamePile, read_names

JSON = "application/vnd.pypi.simple.v1+json"
NAMES = st.lists(st.from_regex(r"[abAB]([._-]?[abAB])?", fullmatch=True), max_size=30)


def names(projects: list[Any]) -> NameListing:
    found = read_names(json.dumps({"meta": {"api-version": "1.4"}, "projects": projects}).encode(), JSON)
    assert isinstance(found, NameListing)
    return found


def test_json() -> None:
    found = names([{"name": "B_c"}, {"name": "a", "_last-serial": 3}, {"name": "-"}, 3, {}])
    assert list(found.names) == [("a", "a"), ("b-c", "B_c")]
    assert len(found.notes) == 2


def test_html() -> None:
    document = (
        "<html><body><h1>Simple index</h1><a href='../'>..</a><a href='b-c/'>B_c</a><a href='/simple/a/'>a</a>"
        "<a href='/about'>who we are</a><a href='d/'>d/</a></body></html>"
    )
    found = read_names(document.encode(), "text/html")
    assert isinstance(found, NameListing)
    assert list(found.names) == [("a", "a"), ("b-c", "B_c"), ("d", "d")]


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b'{"projects": 3}', b'{"projects": [{"name": "a"}', b"<html><h1>Sign in</h1></html>", b"<html>"],
)
def test_what_is_no_list(body: bytes) -> None:
    assert isinstance(read_names(body, JSON), UnreadablePage)


@given(st.binary(max_size=300), st.sampled_from([JSON, "text/html", "text/html; charset=utf-16", ""]))
def test_no_bytes_make_the_reader_fail(body: bytes, content_type: str) -> None:
    for start in (b"", b"{", b"<html>", b'{"projects":['):
        assert isinstance(read_names(start + body, content_type), NameListing | UnreadablePage)


@given(spelled=NAMES, buffer=st.integers(1, 5), block=st.integers(1, 5))
def test_a_pile_is_the_sorted_dictionary_of_first_spellings(spelled: list[str], buffer: int, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sorted_piles, "_BUFFER", buffer)
        patch.setattr(sorted_piles, "_BLOCK", block)
        pile = NamePile()
        expected: dict[str, str] = {}
        for name in spelled:
            normal = ProjectName(name.lower().replace(".", "-").replace("_", "-"))
            expected.setdefault(normal, name)
            pile.add(normal, name)
        assert list(pile) == sorted(expected.items())
        assert list(pile) == sorted(expected.items())
        assert bool(pile) is bool(spelled)


odd = st.recursive(
    st.none() | st.integers() | st.text('},{[]\\"', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('},{"', max_size=4), inner, max_size=3),
    max_leaves=5,
)


@given(
    projects=st.lists(NAMES.map(lambda some: {"name": "".join(some) or "x"}) | odd, max_size=12),
    size=st.integers(1, 40),
)
def test_json_in_pieces_is_the_whole_wherever_it_is_cut(projects: list[Any], size: int) -> None:
    """Law: commas and braces in strings and inner objects are not taken for the end of an item."""
    whole = names(projects)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_pieces, "_PIECE", size)
        patch.setattr(json_pieces, "_NEAR", size)
        pieces = names(projects)
    assert list(pieces.names) == list(whole.names)
    assert pieces.notes == whole.notes


@pytest.mark.parametrize("ordered", [True, False], ids=["sorted", "backwards"])
def test_a_long_list_is_read_in_the_memory_of_its_bytes(ordered: bool) -> None:
    count = 100_000
    numbers = range(count) if ordered else range(count, 0, -1)
    body = json.dumps(
        {"projects": [{"_last-serial": 1, "name": f"Project_{number:07}"} for number in numbers]}
    ).encode()
    tracemalloc.start()
    try:
        found = read_names(body, JSON)
        assert isinstance(found, NameListing)
        assert sum(1 for _ in found.names) == count
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12_000_000, f"{peak:,} bytes for {len(body):,}"  # as strings in a dictionary it was 42,000,000
