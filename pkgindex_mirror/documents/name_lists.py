"""Reading an upstream's project list, JSON 1.x and HTML, without holding all its names as Python strings. Pure.

PyPI lists 886,000 projects in 23 MB of JSON: its names take 40 MB as bytes, and more than 300 MB as strings in a dictionary. A `NamePile`
keeps them as bytes, in sorted blocks (`sorted_piles`).

JSON is first checked as a whole, without decoding its values, and then decoded in pieces of a quarter of a megabyte.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from pkgindex_core.names import ProjectName, normalized_or_none
from pkgindex_mirror import urls
from pkgindex_mirror.documents import json_pieces
from pkgindex_mirror.documents.document_kinds import is_empty, is_json
from pkgindex_mirror.documents.html_pages import REPOSITORY_VERSION, no_listing
from pkgindex_mirror.documents.markup import Broken, UnreadablePage, as_text, outline, tags
from pkgindex_mirror.documents.page_fields import ReadingRemarks
from pkgindex_mirror.documents.pages import check_version
from pkgindex_mirror.documents.sorted_piles import SortedPile

_Pair = tuple[ProjectName, str]
"""A name, and its spelling if that differs."""


class NamePile:
    """Project names with their spellings, ordered by name. Filled with `add`, then read any number of times."""

    def __init__(self) -> None:
        self._names: SortedPile[_Pair] = SortedPile(_Pair)

    def __bool__(self) -> bool:
        return bool(self._names)

    def add(self, name: ProjectName, display: str) -> None:
        """Add a name and its spelling."""
        self._names.add((name, "" if display == name else display))

    def __iter__(self) -> Iterator[tuple[ProjectName, str]]:
        """All names in order, each once, with its first spelling."""
        last = ""
        for name, display in self._names:
            if name != last:
                last = name
                yield name, display or name


class NameListing(Struct, frozen=True, kw_only=True):
    """An upstream's project list."""

    names: NamePile
    notes: tuple[str, ...]


def read_names(body: bytes | bytearray, content_type: str, *, is_listing: bool = False) -> NameListing | UnreadablePage:
    """Read a project list. `is_listing`: HTML without names is one too, since names of it were read before."""
    if is_empty(body):
        return UnreadablePage("the project list is empty")
    if is_json(body, content_type):
        return _read_json(body)
    return _read_html(*as_text(body, content_type), is_listing=is_listing)


class _JsonList(Struct):
    projects: msgspec.Raw
    meta: msgspec.Raw = msgspec.Raw()


class _NameEntry(Struct, gc=False):
    name: Any = None


_list_decoder = msgspec.json.Decoder(_JsonList)
_entries_decoder = msgspec.json.Decoder(list[_NameEntry])


def _read_json(body: bytes | bytearray) -> NameListing | UnreadablePage:
    notes = ReadingRemarks()
    pile = NamePile()
    try:
        listing = _list_decoder.decode(body.removeprefix(codecs.BOM_UTF8))
        meta = json_pieces.value(listing.meta, "meta")
        refused = check_version(meta.get("api-version") if isinstance(meta, dict) else None, notes)
        if refused:
            return refused
        for entries in json_pieces.items(listing.projects, _entries_of):
            for entry in entries:
                if isinstance(entry, _NameEntry):
                    _take(entry.name, pile, notes)
    except json_pieces.TooLargeError as error:
        return UnreadablePage(f"the project list cannot be read: {error}")
    except (msgspec.DecodeError, RecursionError, json_pieces.NoArrayError):
        return UnreadablePage("the project list is not JSON with a list of projects, or was cut off")
    return NameListing(names=pile, notes=notes.lines())


def _entries_of(text: bytes) -> list[Any]:
    try:
        return _entries_decoder.decode(text)
    except msgspec.ValidationError:  # something in it is no object
        items: list[Any] = msgspec.json.decode(text)
        return [_NameEntry(item.get("name")) if isinstance(item, dict) else item for item in items]


def _take(spelled: Any, pile: NamePile, notes: ReadingRemarks) -> None:
    normal = normalized_or_none(spelled) if isinstance(spelled, str) else None
    if normal is None:
        notes.add(f"the project name {str(spelled)[:80]!r} was left out")
    else:
        pile.add(normal, spelled)


def _read_html(document: bytes | bytearray, charset: str, *, is_listing: bool) -> NameListing | UnreadablePage:
    notes = ReadingRemarks()
    pile = NamePile()
    version: str | None = None
    for tag in tags(document, charset, {"a", "meta"}):
        if isinstance(tag, UnreadablePage):
            return tag
        if isinstance(tag, Broken):
            notes.add(f"{tag.what} never ends: its content was left out")
        elif tag.name == "a":
            # PEP 503: the text is the name, and the link ends with the normalized name. Other links are not projects.
            spelled = tag.text.rstrip("/")
            name = normalized_or_none(spelled)
            link = urls.as_browsers_read(tag.attributes.get("href", "")).partition("#")[0]
            segment = urls.last_segment(link.partition("?")[0].rstrip("/"))
            if name is not None and name == normalized_or_none(segment):
                pile.add(name, spelled)
        elif tag.attributes.get("name", "").lower() == REPOSITORY_VERSION:
            version = tag.attributes.get("content", "")
    if not pile and not is_listing and version is None:
        problem = no_listing(outline(document, charset), "")
        if problem:
            return problem
    refused = check_version(version, notes)
    return refused or NameListing(names=pile, notes=notes.lines())
