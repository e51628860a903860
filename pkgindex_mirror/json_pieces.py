"""A JSON array of any length, taken apart in pieces, so that its items are never all there at once. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

_PIECE: Final = 256 * 1024
"""Bytes of JSON that are decoded together."""
_NEAR: Final = 64 * 1024
_OUTLINE = re.compile(rb"\s*\[\s*")
_BETWEEN_OBJECTS = re.compile(rb"(?<=})\s*,")
_COMMA = re.compile(rb",")


class NoArrayError(Exception):
    """The value is no array, or not JSON throughout."""


def items(value: msgspec.Raw, decode: Callable[[bytes], list[Any]]) -> Iterator[list[Any]]:
    """The items of an array, some thousands at a time; `decode` reads the text of a shorter array.

    It is cut where a comma follows what looks like the end of an object, or at any comma. Where that is inside an item, what stands
    before it is no JSON, and a longer piece is tried: twice as long each time, so that no input makes this slow.
    """
    array = memoryview(value)
    outline = _OUTLINE.match(array)
    if outline is None:
        raise NoArrayError
    position, size = outline.end(), _PIECE
    while position < len(array):
        start = position + size
        cut = _BETWEEN_OBJECTS.search(array, start, start + _NEAR) or _COMMA.search(array, start)
        piece = array[position:] if cut is None else array[position : cut.start()]
        text = b"".join((b"[", piece, b"" if cut is None else b"]"))
        try:
            found = decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            if cut is None:
                raise NoArrayError from error
            size *= 2
            continue
        yield found
        if cut is None:
            return
        position, size = cut.end(), _PIECE
