"""HTML lists of which plain links are read while they arrive: the same as when all is read at its end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkgindex_mirror.documents.markup import UnreadablePage
from pkgindex_mirror.documents.name_lists import read_names
from pkgindex_mirror.syncing import plain_anchors
from pkgindex_mirror.syncing.list_reading import ListReader, UpstreamList

HTML = "text/html"
HEADS = (
    "",
    "<!DOCTYPE html>\n<html><head><title>Simple index</title></head><body>\n",
    '<!doctype html><html lang="en"><head><meta name="pypi:repository-version" content="1.4"></head><body>',
    '<html><head><meta name="pypi:repository-version" content="9.0"></head><body>',
    "<html><body><!-- ",
    "<html><script>",
    "<html><title>",
    '<html><body class="',
    "<html><body><pre>",
    "caf\u00e9 ",
)
PARTS = (
    '<a href="/simple/demo/">demo</a>\n',
    '<a href="demo/">Demo</a><br/>\n',
    '<a href="b-b">b_.b</a> <br />',
    '<a href="https://example.org/simple/c/">c</a>\r\n',
    '<a href="/simple/other/">name</a>',
    '<a href="../">up</a>',
    '<a href="-/">-</a>',
    '<a href="/simple/d/" data-x="y">d</a>',
    '<a href="/simple/e/?q=1#x">e</a>',
    "<a href='f/'>f</a>",
    "<!-- ",
    " -->",
    "<script>",
    "</script>",
    "</title>",
    "text ",
    '">',
    "</body></html>",
    "\u00e9",
)
PLAIN = PARTS[:4]


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_anchors, "_PIECE", 150)


def read(body: bytes, step: int) -> UpstreamList | UnreadablePage:
    reader = ListReader(HTML, limit=1 << 20)
    for start in range(0, len(body), step):
        reader.feed(body[start : start + step])
    return reader.finish()


@given(
    st.sampled_from(HEADS),
    st.lists(st.sampled_from(PLAIN), max_size=30),
    st.lists(st.sampled_from(PARTS), max_size=12),
    st.integers(1, 400),
)
def test_a_list_is_read_as_one_that_is_read_at_its_end(head: str, plain: list[str], parts: list[str], step: int):
    body = "".join([head, *plain, *parts]).encode()
    found, whole = read(body, step), read_names(body, HTML)
    if isinstance(whole, UnreadablePage) or isinstance(found, UnreadablePage):
        assert found == whole
        return
    assert [(name, raw) for name, raw, _ in found.pile.entries()] == list(whole.names)
    assert found.notes == whole.notes


def test_plain_links_are_not_kept():
    reader = plain_anchors.PlainAnchors()
    names = []
    reader.feed(HEADS[1].encode())
    for number in range(100):
        found = reader.feed(f'<a href="/simple/p-{number}/">P.{number}</a>\n'.encode())
        names += [] if found is None else zip(*found, strict=True)
    assert len(names) > 90
    assert names[7] == ("p-7", "P.7")
    assert reader.size < 500
    assert bytes(reader.rest).startswith(HEADS[1].encode())
