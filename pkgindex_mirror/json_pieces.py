"""JSON of strangers within bounds: an array of any length in pieces, so that its items are never all there at once. Pure.

What JSON becomes in memory may be thirty times as large (`[],` is three bytes), so nothing is decoded before its size was looked at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

ITEM_LIMIT: Final = 1024 * 1024
"""Bytes of JSON of one item of an array."""
FIELD_LIMIT: Final = 64 * 1024
"""Bytes of JSON of a field that holds no list."""
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
    """The value is no array, or not JSON throughout."""


class TooLargeError(NoArrayError):
    """Something in it is too large to be decoded; the message says what."""


def check(field: msgspec.Raw, name: str, limit: int) -> int:
    """The bytes of JSON that a field has, 0 when it is not there; `TooLargeError` beyond the limit."""
    size = memoryview(field).nbytes
    if size > limit:
        raise TooLargeError(f"{name!r} has {size} bytes of JSON, at most {limit} are read")
    return size


def value(field: msgspec.Raw, name: str) -> Any:
    """The value of a field other than a list; None when the field is not there."""
    return msgspec.json.decode(field) if check(field, name, FIELD_LIMIT) else None


def items(value: msgspec.Raw, decode: Callable[[bytes], list[Any]]) -> Iterator[list[Any]]:
    """The items of an array, some thousands at a time; `decode` reads the text of a shorter array.

    It is cut where a comma stands between what look like two objects, or at any comma. Where that is inside an item, what stands before
    it is no JSON, and the items are measured one by one.
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
    """Where the items of about one piece end, and where the next one begins."""
    text = str(array[position : position + ITEM_LIMIT], "latin-1")  # a byte is a character: what marks an item is ASCII
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
