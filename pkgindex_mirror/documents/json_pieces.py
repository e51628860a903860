"""Decoding JSON within bounds: an array of any length is decoded in pieces, so that only some items are in memory at once. Pure.

Decoded JSON may take thirty times the memory of its text (`[],` is three bytes), so the size of each field is checked first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

ITEM_LIMIT: Final = 1024 * 1024
"""Largest size of one item of an array, in bytes of JSON."""
FIELD_LIMIT: Final = 64 * 1024
"""Largest size of a field that holds no list, in bytes of JSON."""
_PIECE: Final = 256 * 1024
"""Bytes of JSON that are decoded together."""
_NEAR: Final = 64 * 1024
_OUTLINE = re.compile(rb"\s*\[\s*")
_BETWEEN_OBJECTS = re.compile(rb"(?<=})\s*,(?=\s*{)")
_COMMA = re.compile(rb",")
_BLANKS = re.compile(r"\s*", re.ASCII)
_AFTER_ITEM = re.compile(r"\s*([],])\s*", re.ASCII)
_reader = json.JSONDecoder()


class NoArrayError(Exception):
    """The value is no array, or contains something that is not JSON."""


class TooLargeError(NoArrayError):
    """A field or an item is too large to be decoded; the message says which."""


def check(field: msgspec.Raw, name: str, limit: int) -> int:
    """The size of a field in bytes of JSON, 0 when it is missing. Raises `TooLargeError` beyond the limit."""
    size = memoryview(field).nbytes
    if size > limit:
        raise TooLargeError(f"{name!r} has {size} bytes of JSON; the limit is {limit}")
    return size


def value(field: msgspec.Raw, name: str) -> Any:
    """The value of a field that holds no list; None when the field is missing."""
    return msgspec.json.decode(field) if check(field, name, FIELD_LIMIT) else None


def items(value: msgspec.Raw, decode: Callable[[bytes], list[Any]]) -> Iterator[list[Any]]:
    """The items of an array, some thousands at a time. `decode` reads the text of a part of it, as an array.

    The text is cut at a comma, if possible one between two objects. If the cut lies inside an item, the part is not valid JSON; then
    the items are measured one by one.
    """
    array = memoryview(value)
    outline = _OUTLINE.match(array)
    if outline is None:
        raise NoArrayError
    position = outline.end()
    while position < len(array):
        start = position + _PIECE
        cut = _BETWEEN_OBJECTS.search(array, start, start + _NEAR) or _COMMA.search(array, start, position + ITEM_LIMIT)
        stop = cut.start() if cut else len(array) - 1  # the last byte is the bracket
        after = cut.end() if cut else len(array)
        found = _decoded(array[position:stop], decode) if stop - position <= ITEM_LIMIT else None
        if found is None:
            stop, after = _measured(array, position)
            found = _decoded(array[position:stop], decode)
            if found is None:
                raise NoArrayError
        yield found
        position = after


def _decoded(piece: memoryview, decode: Callable[[bytes], list[Any]]) -> list[Any] | None:
    try:
        return decode(b"".join((b"[", piece, b"]")))
    except (msgspec.DecodeError, RecursionError):
        return None


def _measured(array: memoryview, position: int) -> tuple[int, int]:
    """Measure the items of one piece, one by one: where the last one ends, and where the next one starts."""
    text = str(array[position : position + ITEM_LIMIT], "latin-1")  # one character per byte, so offsets stay
    blanks = _BLANKS.match(text)
    stop, after = 0, blanks.end() if blanks else 0
    while stop < _PIECE:
        try:
            _, end = _reader.raw_decode(text, after)
        except (ValueError, RecursionError):
            break
        mark = _AFTER_ITEM.match(text, end)
        if mark is None:
            break
        stop, after = end, mark.end()
        if mark[1] == "]":
            break
    if stop:
        return position + stop, position + after
    if len(array) - position > ITEM_LIMIT:
        raise TooLargeError(f"an item has more than {ITEM_LIMIT} bytes of JSON")
    raise NoArrayError
