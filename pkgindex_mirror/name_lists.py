"""What an upstream's project list says: JSON 1.x and HTML, read without ever holding its names as Python strings. Pure.

PyPI lists 886,000 projects in 23 MB of JSON: 40 MB of names and spellings as bytes, more than 300 as strings in a dictionary. A `NamePile`
keeps them as bytes, in blocks that are sorted; an upstream that sorts its list (PyPI does) makes one run of blocks, any other one makes
several, which are merged when they are read.

JSON is first checked as a whole, without making anything of it, and then taken apart in pieces of a quarter of a megabyte.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from heapq import merge
from operator import itemgetter
from typing import Any

import msgspec
from msgspec import Struct

from pkgindex_core.names import ProjectName, normalized_or_none
from pkgindex_mirror import json_pieces, urls
from pkgindex_mirror.html_pages import REPOSITORY_VERSION, no_listing
from pkgindex_mirror.markup import Broken, Unreadable, as_text, is_empty, outline, tags
from pkgindex_mirror.page_fields import Notes
from pkgindex_mirror.pages import check_version, is_json

_BUFFER = 16_384
"""Names that are strings before they become blocks."""
_BLOCK = 512
"""Names that become strings together when a run is read."""


class NamePile:
    """Project names and how they are spelled. Filled once with `add`, then read, any number of times."""

    def __init__(self) -> None:
        self._runs: list[list[bytes]] = []
        self._last = ""
        self._buffer: list[tuple[ProjectName, str]] = []

    def __bool__(self) -> bool:
        return bool(self._buffer or self._runs)

    def add(self, name: ProjectName, display: str) -> None:
        """Take a name. Its normalised form and its spelling are checked names: neither has a blank in it."""
        self._buffer.append((name, display))
        if len(self._buffer) >= _BUFFER:
            self._flush()

    def __iter__(self) -> Iterator[tuple[ProjectName, str]]:
        """All names in order, each once and as it was spelled first."""
        self._flush()
        last = ""
        # Of equal names the earlier run's comes first.
        for pair in merge(*(_read(run) for run in self._runs), key=_name_of):
            if pair[0] != last:
                last = pair[0]
                yield pair

    def _flush(self) -> None:
        if not self._buffer:
            return
        self._buffer.sort(key=_name_of)  # stable: the first spelling stays the first
        if not self._runs or self._buffer[0][0] < self._last:
            self._runs.append([])
        self._last = self._buffer[-1][0]
        for start in range(0, len(self._buffer), _BLOCK):
            lines = [
                name if display == name else f"{name} {display}"
                for name, display in self._buffer[start : start + _BLOCK]
            ]
            self._runs[-1].append("\n".join(lines).encode())
        self._buffer.clear()


_name_of = itemgetter(0)


def _read(run: list[bytes]) -> Iterator[tuple[ProjectName, str]]:
    for block in run:
        for line in block.decode().split("\n"):
            name, _, display = line.partition(" ")
            yield ProjectName(name), display or name


class NameListing(Struct, frozen=True, kw_only=True):
    """An upstream's project list."""

    names: NamePile
    notes: tuple[str, ...]


def read_names(body: bytes | bytearray, content_type: str) -> NameListing | Unreadable:
    """Read a project list."""
    if is_empty(body):
        return Unreadable("the project list is empty")
    if is_json(body, content_type):
        return _read_json(body)
    return _read_html(*as_text(body, content_type))


class _JsonList(Struct):
    projects: msgspec.Raw
    meta: msgspec.Raw = msgspec.Raw()


class _Entry(Struct, gc=False):
    name: Any = None


_list_decoder = msgspec.json.Decoder(_JsonList)
_entries_decoder = msgspec.json.Decoder(list[_Entry])


def _read_json(body: bytes | bytearray) -> NameListing | Unreadable:
    notes = Notes()
    pile = NamePile()
    try:
        listing = _list_decoder.decode(body.removeprefix(codecs.BOM_UTF8))
        meta = json_pieces.value(listing.meta, "meta")
        refused = check_version(meta.get("api-version") if isinstance(meta, dict) else None, notes)
        if refused:
            return refused
        for entries in json_pieces.items(listing.projects, _entries_of):
            for entry in entries:
                if isinstance(entry, _Entry):
                    _take(entry.name, pile, notes)
    except json_pieces.TooLargeError as error:
        return Unreadable(f"the project list is beyond reading: {error}")
    except (msgspec.DecodeError, RecursionError, json_pieces.NoArrayError):
        return Unreadable("the project list is not JSON with a list of projects, or was cut off")
    return NameListing(names=pile, notes=notes.lines())


def _entries_of(text: bytes) -> list[Any]:
    try:
        return _entries_decoder.decode(text)
    except msgspec.ValidationError:  # something in it is no object
        items: list[Any] = msgspec.json.decode(text)
        return [_Entry(item.get("name")) if isinstance(item, dict) else item for item in items]


def _take(spelled: Any, pile: NamePile, notes: Notes) -> None:
    normal = normalized_or_none(spelled) if isinstance(spelled, str) else None
    if normal is None:
        notes.add(f"the project name {str(spelled)[:80]!r} was left out")
    else:
        pile.add(normal, spelled)


def _read_html(document: bytes | bytearray, charset: str) -> NameListing | Unreadable:
    notes = Notes()
    pile = NamePile()
    version: str | None = None
    for tag in tags(document, charset, {"a", "meta"}):
        if isinstance(tag, Unreadable):
            return tag
        if isinstance(tag, Broken):
            notes.add(f"{tag.what} never ends: what it holds was left out")
        elif tag.name == "a":
            # PEP 503: the text is the name and the link ends with it; any other link is somebody's decoration.
            spelled = tag.text.rstrip("/")
            name = normalized_or_none(spelled)
            link = urls.as_browsers_read(tag.attributes.get("href", "")).partition("#")[0]
            segment = urls.last_segment(link.partition("?")[0].rstrip("/"))
            if name is not None and name == normalized_or_none(segment):
                pile.add(name, spelled)
        elif tag.attributes.get("name", "").lower() == REPOSITORY_VERSION:
            version = tag.attributes.get("content", "")
    if not pile and version is None:
        problem = no_listing(outline(document, charset), "")
        if problem:
            return problem
    refused = check_version(version, notes)
    return refused or NameListing(names=pile, notes=notes.lines())
