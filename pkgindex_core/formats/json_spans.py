"""Scans large JSON for the positions of members and elements, so that each can be decoded by itself.

A mapped document of gigabytes takes address space, and memory for the part that is decoded. The scan reads brackets,
commas and strings only. Other errors are found when a part is decoded.

>>> text = b'{"a": [1, {"b": 2}], "c": "d"}'
>>> [(key, text[start:stop]) for key, start, stop in members(text, 0)]
[('a', b'[1, {"b": 2}]'), ('c', b'"d"')]
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator

import msgspec

from pkgindex_core.errors import Refused

Buffer = bytes | mmap.mmap
"""The types that regular expressions and slices accept."""

# Possessive, so that a string of megabytes needs no stack for backtracking (Python 3.11).
_SPACE = re.compile(rb"[ \t\r\n]*+")
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_NESTING = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{}]', re.DOTALL)
_SCALAR = re.compile(rb"[^\s,\[\]{}:\"]++")


def members(buffer: Buffer, start: int) -> Iterator[tuple[str, int, int]]:
    """The members of the object that begins at `start`: key, and start and end of the value."""
    place = _expect(buffer, start, b"{")
    if buffer[place : place + 1] == b"}":
        return
    while True:
        match = _STRING.match(buffer, place)
        if match is None:
            raise _broken(place, "a key")
        key = msgspec.json.decode(match[0], type=str)
        place = _expect(buffer, match.end(), b":")
        stop = _value_end(buffer, place)
        yield key, place, stop
        place = _after(buffer, stop, b"}")
        if place < 0:
            return


def elements(buffer: Buffer, start: int) -> Iterator[tuple[int, int]]:
    """The elements of the array that begins at `start`: start and end of each."""
    place = _expect(buffer, start, b"[")
    if buffer[place : place + 1] == b"]":
        return
    while place >= 0:
        stop = _value_end(buffer, place)
        yield place, stop
        place = _after(buffer, stop, b"]")


def _expect(buffer: Buffer, place: int, mark: bytes) -> int:
    """Skip a mark and the white space around it."""
    place = _past_space(buffer, place)
    if buffer[place : place + 1] != mark:
        raise _broken(place, repr(mark.decode()))
    return _past_space(buffer, place + 1)


def _after(buffer: Buffer, place: int, close: bytes) -> int:
    """The start of the next member or element; -1 at the closing bracket."""
    place = _past_space(buffer, place)
    mark = buffer[place : place + 1]
    if mark == close:
        return -1
    if mark != b",":
        raise _broken(place, f"a comma or {close.decode()!r}")
    return _past_space(buffer, place + 1)


def _value_end(buffer: Buffer, place: int) -> int:
    mark = buffer[place : place + 1]
    if mark not in {b"{", b"["}:
        match = (_STRING if mark == b'"' else _SCALAR).match(buffer, place)
        if match is None:
            raise _broken(place, "a value")
        return match.end()
    depth = 0
    for match in _NESTING.finditer(buffer, place):
        mark = buffer[match.start() : match.start() + 1]  # not the whole match, since strings may be long
        if mark in {b"{", b"["}:
            depth += 1
        elif mark in {b"}", b"]"}:
            depth -= 1
            if depth == 0:
                return match.end()
    raise _broken(len(buffer), "a closing bracket")


def _past_space(buffer: Buffer, place: int) -> int:
    match = _SPACE.match(buffer, place)
    return match.end() if match else place


def _broken(place: int, expected: str) -> Refused:
    return Refused(
        f"the file is not whole JSON: {expected} is missing at byte {place}",
        hint="copy the file again; it may have been cut off",
    )
