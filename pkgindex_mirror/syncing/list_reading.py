"""Reads an upstream's project list while it arrives, so that neither its 40 MB nor its names are in memory as a whole.

    chunks ─► text before the projects │ entries, decoded in pieces ─► pile │ text behind them

The texts around the array are joined at the end, with an empty array between them. Only if that is a JSON document with an empty
list of projects was the list whole, and the array the right one. Of an HTML list, links in plain form are read while they arrive
(`plain_anchors`), and all else at its end (`name_lists`). Pure.
"""

from __future__ import annotations

import codecs
import json
import re
from typing import Any, Final

import msgspec
from msgspec import Struct

from pkgindex_mirror.documents.document_kinds import is_empty, is_json, says_its_end
from pkgindex_mirror.documents.json_pieces import ITEM_LIMIT
from pkgindex_mirror.documents.markup import UnreadablePage
from pkgindex_mirror.documents.name_lists import read_names
from pkgindex_mirror.documents.page_fields import ReadingRemarks
from pkgindex_mirror.documents.pages import check_version
from pkgindex_mirror.syncing.list_entries import EntryTaking, decode_entries, parse_serial
from pkgindex_mirror.syncing.listed_piles import ListedPile
from pkgindex_mirror.syncing.plain_anchors import PlainAnchors

_PIECE: Final = 256 * 1024
"""Bytes of entries that are decoded together."""
_AROUND_LIMIT: Final = 1024 * 1024
"""Most bytes of the document before and behind its projects."""
_BEGIN: Final = 64
_PROJECTS = re.compile(rb'(?<!\\)"projects"\s*:\s*\[\s*')
_BETWEEN_OBJECTS = re.compile(rb"}\s*,\s*(?={)")
_AFTER_ITEM = re.compile(r"\s*([],])\s*", re.ASCII)
_NO_LIST: Final = "the project list is not JSON with a list of projects, or was cut off"


class UpstreamList(Struct, frozen=True, kw_only=True):
    """The projects that an upstream lists."""

    pile: ListedPile
    serial: int | None
    """The serial of the list as a whole, if it has one; otherwise the highest one of its projects."""
    has_serials: bool
    """Whether each project has a serial, so that a project that did not change is known without asking."""
    notes: tuple[str, ...]


class _ListAround(Struct):
    projects: list[Any]
    meta: Any = None


_around_decoder = msgspec.json.Decoder(_ListAround)
_items = json.JSONDecoder()


class ListReader:
    """Takes the chunks of one list. `limit`: bytes of an HTML list that are not links in plain form.

    `is_delimited`: whether the transport notices that it was cut off. JSON shows that itself.
    """

    def __init__(self, content_type: str, *, limit: int, is_delimited: bool = True) -> None:
        self._content_type = content_type
        self._is_delimited = is_delimited
        self._limit = limit
        self._pile = ListedPile()
        self._notes = ReadingRemarks()
        self._taking = EntryTaking(self._pile, self._notes)
        self._is_json: bool | None = None
        self._buffer = bytearray()
        self._anchors = PlainAnchors()
        self._before: bytes | None = None
        self._behind: bytearray | None = None
        self._problem = ""

    def feed(self, data: bytes) -> None:
        """Take the next bytes, decompressed. Trouble is told by `finish`."""
        if self._problem:
            return
        if self._behind is not None:
            self._behind += data
            self._check_size(self._behind, _AROUND_LIMIT)
            return
        if self._is_json is False:
            self._feed_html(data)
            return
        self._buffer += data
        if self._is_json is None and len(self._buffer) >= _BEGIN:
            self._is_json = is_json(self._buffer, self._content_type)
            if not self._is_json:
                beginning, self._buffer = self._buffer, bytearray()
                self._feed_html(beginning)
        if not self._is_json:
            return
        if self._before is None:
            self._find_projects()
        if self._before is not None and len(self._buffer) >= _PIECE:
            self._take_pieces()

    def finish(self) -> UpstreamList | UnreadablePage:
        """The list, if it was whole."""
        if self._problem:
            return UnreadablePage(self._problem)
        if self._is_json is False:
            return self._html_list(self._anchors.rest)
        if self._before is None and is_empty(self._buffer):
            return UnreadablePage("the project list is empty")
        if self._is_json is None and not is_json(self._buffer, self._content_type):
            return self._html_list(self._buffer)
        problem = self._end_json()
        return UnreadablePage(problem) if problem else self._json_list()

    def _feed_html(self, data: bytes | bytearray) -> None:
        found = self._anchors.feed(data)
        if found is not None:
            self._pile.extend(*found, [None] * len(found[0]))
        if self._anchors.size > self._limit:
            self._problem = f"the project list cannot be read: a part of it has more than {self._limit} bytes"

    def _end_json(self) -> str:
        """Take what has arrived as all there is, and return what is wrong with it."""
        if self._before is None:
            self._find_projects()
        if self._behind is None:
            self._take_one_by_one(until_end=True)
        return self._problem

    def _find_projects(self) -> None:
        match = _PROJECTS.search(self._buffer)
        if match is None:
            self._check_size(self._buffer, _AROUND_LIMIT)
            return
        self._before = bytes(self._buffer[: match.end()])
        del self._buffer[: match.end()]

    def _take_pieces(self) -> None:
        """Decode whole pieces, each cut between two objects."""
        view = bytes(self._buffer)
        position = 0
        while len(view) - position >= _PIECE:
            cut = _BETWEEN_OBJECTS.search(view, position + _PIECE // 2)
            if cut is None:
                break
            entries = decode_entries(view[position : cut.start() + 1])
            if entries is None:  # the array ends before the cut, or the cut is inside an item
                del self._buffer[:position]
                self._take_one_by_one(until_end=False)
                return
            self._taking.add(entries)
            position = cut.end()
        del self._buffer[:position]
        self._check_size(self._buffer, _PIECE + ITEM_LIMIT)

    def _take_one_by_one(self, *, until_end: bool) -> None:
        """Decode single items, up to the end of the array or of what has arrived."""
        text = str(self._buffer, "latin-1")  # one character per byte, so offsets stay
        position = len(text) - len(text.lstrip(" \t\r\n"))
        if text[position : position + 1] == "]" and not self._pile.count:
            self._end_array(position + 1)
            return
        done = 0
        while True:
            try:
                _, end = _items.raw_decode(text, position)
            except (ValueError, RecursionError):
                break
            mark = _AFTER_ITEM.match(text, end)
            if mark is None:
                break
            entries = decode_entries(bytes(self._buffer[position:end]))
            if entries is None:
                self._problem = _NO_LIST
                return
            self._taking.add(entries)
            done = position = mark.end()
            if mark[1] == "]":
                self._end_array(mark.start(1) + 1)
                return
        if until_end:
            self._problem = _NO_LIST
            return
        del self._buffer[:done]
        self._check_size(self._buffer, _PIECE + ITEM_LIMIT)

    def _end_array(self, end: int) -> None:
        self._behind = self._buffer[end:]
        self._buffer = bytearray()

    def _check_size(self, text: bytearray, limit: int) -> None:
        if len(text) > limit:
            self._problem = f"the project list cannot be read: a part of it has more than {limit} bytes"

    def _json_list(self) -> UpstreamList | UnreadablePage:
        document = (self._before or b"") + b"]" + (self._behind or b"")
        try:
            around = _around_decoder.decode(document.removeprefix(codecs.BOM_UTF8))
        except (msgspec.DecodeError, RecursionError):
            return UnreadablePage(_NO_LIST)
        if around.projects:
            return UnreadablePage(_NO_LIST)
        meta = around.meta if isinstance(around.meta, dict) else {}
        refused = check_version(meta.get("api-version"), self._notes)
        if refused:
            return refused
        highest = self._taking.highest
        return UpstreamList(
            pile=self._pile,
            serial=max(parse_serial(meta.get("_last-serial")) or -1, highest) if highest >= 0 else None,
            has_serials=self._taking.without_serial == 0 and self._pile.count > 0,
            notes=self._notes.lines(),
        )

    def _html_list(self, document: bytearray) -> UpstreamList | UnreadablePage:
        if not self._is_delimited and not says_its_end(document):
            return UnreadablePage("the project list may be cut off: it has no length, and its HTML does not end")
        listing = read_names(document, self._content_type, is_listing=self._pile.count > 0)
        if isinstance(listing, UnreadablePage):
            return listing
        for name, display in listing.names:
            self._pile.add(name, display, None)
        return UpstreamList(pile=self._pile, serial=None, has_serials=False, notes=listing.notes)
