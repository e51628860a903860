"""What an upstream's project list says: JSON 1.x and HTML, read without ever holding its names as Python strings. Pure.

PyPI lists 886,000 projects in 23 MB of JSON: 40 MB of names and spellings as bytes, more than 300 as strings in a dictionary. A `NamePile`
keeps them as bytes, in blocks that are sorted; an upstream that sorts its list (PyPI does) makes one run of blocks, any other one makes
several, which are merged when they are read.

JSON is first checked as a whole, without making anything of it, and then taken apart in pieces of a quarter of a megabyte.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from heapq import merge
from operator import itemgetter
from typing import Any, Final

import msgspec
from msgspec import Struct

from pkgindex_core.names import ProjectName, normalized_or_none
from pkgindex_mirror import urls
from pkgindex_mirror.markup import LOOKS_LIKE_INDEX, Unreadable, html_problem, tags, text_of
from pkgindex_mirror.pages import Notes, check_version, is_json

_BUFFER = 16_384
"""Names that are strings before they become blocks."""
_BLOCK = 512
"""Names that become strings together when a run is read."""
_PIECE: Final = 256 * 1024
"""Bytes of JSON that are decoded together."""


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


def read_names(body: bytes, content_type: str) -> NameListing | Unreadable:
    """Read a project list."""
    if not body.strip():
        return Unreadable("the project list is empty")
    if is_json(body, content_type):
        return _read_json(body)
    return _read_html(text_of(body, content_type))


class _JsonList(Struct):
    projects: msgspec.Raw
    meta: Any = None


class _Entry(Struct, gc=False):
    name: Any = None


_list_decoder = msgspec.json.Decoder(_JsonList)
_entries_decoder = msgspec.json.Decoder(list[_Entry])
_OUTLINE = re.compile(rb"\s*\[\s*")
_BETWEEN_OBJECTS = re.compile(rb"(?<=})\s*,")
_COMMA = re.compile(rb",")
_NEAR: Final = 64 * 1024


def _read_json(body: bytes) -> NameListing | Unreadable:
    try:
        listing = _list_decoder.decode(body.removeprefix(codecs.BOM_UTF8))
    except (msgspec.DecodeError, RecursionError):
        return Unreadable("the project list is not JSON with a list of projects, or was cut off")
    projects = memoryview(listing.projects)
    if not _OUTLINE.match(projects):
        return Unreadable("the project list is not JSON with a list of projects, or was cut off")
    notes = Notes()
    refused = check_version(listing.meta.get("api-version") if isinstance(listing.meta, dict) else None, notes)
    if refused:
        return refused
    pile = NamePile()
    for entries in _pieces(projects):
        for entry in entries:
            if isinstance(entry, _Entry):
                _take(entry.name, pile, notes)
    return NameListing(names=pile, notes=notes.lines())


def _pieces(projects: memoryview) -> Iterator[list[Any]]:
    """The items of a JSON array that was checked, some thousands at a time.

    It is cut where a comma follows what looks like the end of an object, or at any comma. Where that is inside an item, what stands
    before it is no JSON, and a longer piece is tried: twice as long each time, so that no input makes this slow.
    """
    outline = _OUTLINE.match(projects)
    assert outline is not None
    position, size = outline.end(), _PIECE
    while position < len(projects):
        start = position + size
        cut = _BETWEEN_OBJECTS.search(projects, start, start + _NEAR) or _COMMA.search(projects, start)
        piece = projects[position:] if cut is None else projects[position : cut.start()]
        text = b"".join((b"[", piece, b"" if cut is None else b"]"))
        try:
            items = _items(text)
        except (msgspec.DecodeError, RecursionError):
            if cut is None:
                return  # cannot be: the whole was checked
            size *= 2
            continue
        yield items
        if cut is None:
            return
        position, size = cut.end(), _PIECE


def _items(text: bytes) -> list[Any]:
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


def _read_html(document: str) -> NameListing | Unreadable:
    problem = html_problem(document)
    if problem:
        return Unreadable(problem)
    notes = Notes()
    pile = NamePile()
    version: str | None = None
    for tag in tags(document):
        if isinstance(tag, Unreadable):
            return tag
        if tag.name == "a":
            # HT-2: the text is the name and the link ends with it; any other link is somebody's decoration.
            spelled = tag.text.rstrip("/")
            name = normalized_or_none(spelled)
            segment = urls.last_segment(tag.attributes.get("href", "").partition("?")[0].rstrip("/"))
            if name is not None and name == normalized_or_none(segment):
                pile.add(name, spelled)
        elif tag.name == "meta" and tag.attributes.get("name", "").lower() == "pypi:repository-version":
            version = tag.attributes.get("content", "")
    if not pile and version is None and not LOOKS_LIKE_INDEX.search(document):
        return Unreadable("the upstream answered with an HTML page that is no project list")
    refused = check_version(version, notes)
    return refused or NameListing(names=pile, notes=notes.lines())
