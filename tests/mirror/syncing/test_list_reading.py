"""Lists of projects: the same however they arrive, whole or not at all, and in little memory."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkgindex_core.names import ProjectName, normalized_or_none
from pkgindex_mirror.documents.markup import UnreadablePage
from pkgindex_mirror.syncing import list_reading
from pkgindex_mirror.syncing.list_reading import ListReader, UpstreamList
from pkgindex_mirror.syncing.listed_piles import ListedPile

JSON = "application/vnd.pypi.simple.v1+json"
NAMES = st.text("abcXY019._-", min_size=1, max_size=6).filter(lambda name: normalized_or_none(name) is not None)


def read(body: bytes, *, step: int = 1 << 16, content_type: str = JSON) -> UpstreamList | UnreadablePage:
    reader = ListReader(content_type, limit=1 << 20)
    for start in range(0, len(body), step):
        reader.feed(body[start : start + step])
    return reader.finish()


def listing(projects: list[dict[str, Any]], **more: Any) -> bytes:
    return json.dumps({"meta": {"api-version": "1.4"}, "projects": projects, **more}).encode()


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_reading, "_PIECE", 200)


@given(st.lists(st.tuples(NAMES, st.integers(0, 10**9))), st.integers(1, 300), st.booleans())
def test_a_list_is_read_the_same_however_it_arrives(projects: list[tuple[str, int]], step: int, meta_last: bool):
    entries = [{"name": name, "_last-serial": serial} for name, serial in projects]
    body = json.dumps({"projects": entries, "meta": {"api-version": "1.4"}}).encode() if meta_last else listing(entries)
    found = read(body, step=step)
    assert isinstance(found, UpstreamList)
    expected: dict[str, tuple[str, int]] = {}
    for name, serial in projects:
        normal = str(normalized_or_none(name))
        first = expected.get(normal, (name, serial))
        expected[normal] = (first[0], max(first[1], serial))
    assert {name: (raw, serial) for name, raw, serial in found.pile.entries()} == expected
    assert [name for name, _, _ in found.pile.entries()] == sorted(expected)


@given(st.integers(0, 400))
def test_a_part_of_a_list_is_no_list(cut: int):
    body = listing([{"name": f"p{number}", "_last-serial": number} for number in range(12)])
    found = read(body[:cut], step=7)
    assert isinstance(found, UnreadablePage) == (cut < len(body))


@pytest.mark.parametrize("step", [1, 50, 10_000])
def test_text_that_looks_like_the_end_of_an_item_is_no_trouble(step: int):
    entries = [{"name": f"p{number}", "odd": "},{ ] }] \\", "_last-serial": 1} for number in range(40)]
    found = read(listing(entries, more=[{"a": 1}, {"b": ["projects"]}]), step=step)
    assert isinstance(found, UpstreamList)
    assert found.pile.count == 40


def test_entries_that_are_no_projects_are_left_out_with_a_note():
    found = read(listing([{"name": "good", "_last-serial": 5}, {"name": "..", "_last-serial": 6}, {"name": 7}, {}]))
    assert isinstance(found, UpstreamList)
    assert [name for name, _, _ in found.pile.entries()] == ["good"]
    assert len(found.notes) == 3


@pytest.mark.parametrize(
    ("projects", "has_serials"),
    [
        ([{"name": "a", "_last-serial": 1}, {"name": "b", "_last-serial": "2"}], True),
        ([{"name": "a", "_last-serial": 1}, {"name": "b"}], False),
        ([{"name": "a", "_last-serial": -1}], False),
        ([], False),
    ],
)
def test_a_list_has_serials_if_each_project_has_one(projects: list[dict[str, Any]], *, has_serials: bool):
    found = read(listing(projects))
    assert isinstance(found, UpstreamList)
    assert found.has_serials == has_serials


def test_the_serial_of_the_list_is_its_own_or_the_highest():
    meta = {"meta": {"api-version": "1.4", "_last-serial": 99}}
    found = read(json.dumps({**meta, "projects": [{"name": "a", "_last-serial": 5}]}).encode())
    assert isinstance(found, UpstreamList)
    assert found.serial == 99


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"[]",
        b"{}",
        b'{"projects": {}}',
        b'{"projects": [}',
        b'{"projects": [{"name": "a"},]}',
        b'{"projects": [{"name": "a"}]} more',
        b'{"meta": {"projects": [{"name": "a"}]}}',
        b'{"meta": {"api-version": "2.0"}, "projects": []}',
        b"<html>a hotel's log-in page</html>",
    ],
)
def test_anything_else_is_refused(body: bytes):
    assert isinstance(read(body), UnreadablePage)


def test_html_is_read_at_its_end():
    found = read(b'<!DOCTYPE html><html><body><a href="/simple/a-b/">A_b</a></body></html>', content_type="text/html")
    assert isinstance(found, UpstreamList)
    assert [*found.pile.entries()] == [("a-b", "A_b", None)]
    assert not found.has_serials


def test_html_without_length_and_end_may_be_cut_off():
    reader = ListReader("text/html", limit=1 << 20, is_delimited=False)
    reader.feed(b'<!DOCTYPE html><html><body><a href="/simple/a/">a</a>' + b" " * 100)
    assert isinstance(reader.finish(), UnreadablePage)


def test_a_long_list_takes_little_memory(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.undo()
    count = 60_000
    reader = ListReader(JSON, limit=1 << 20)
    tracemalloc.start()
    try:
        reader.feed(b'{"meta":{"api-version":"1.4"},"projects":[')
        for start in range(0, count, 1000):
            entries = (b'{"_last-serial":%d,"name":"project-%07d"}' % (n, n) for n in range(start, start + 1000))
            reader.feed((b"," if start else b"") + b",".join(entries))
        reader.feed(b"]}")
        found = reader.finish()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(found, UpstreamList)
    assert found.pile.count == count
    assert peak < count * 40 + 8_000_000


def test_a_pile_keeps_the_highest_serial_of_a_name():
    pile = ListedPile()
    for raw, serial in (("A", 5), ("a", 9), ("B", None), ("a", 7)):
        pile.add(ProjectName(raw.lower()), raw, serial)
    assert [*pile.entries()] == [("a", "A", 9), ("b", "B", None)]
