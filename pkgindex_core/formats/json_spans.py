"""Large JSON read in place: where its members and elements lie, so that each can be decoded by itself.

A document of gigabytes that is mapped into memory costs the address space and what is decoded at a time. The scan looks at
brackets, commas and strings only; whether what lies between is JSON is told when a part is decoded.

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
"""What regular expressions and slices take."""

# Possessive, so that a string of megabytes costs no stack to come back to (Python 3.11).
_SPACE = re.compile(rb"[ \t\r\n]*+")
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_NESTING = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{}]', re.DOTALL)
_SCALAR = re.compile(rb"[^\s,\[\]{}:\"]++")


def members(buffer: Buffer, start: int) -> Iterator[tuple[str, int, int]]:
    """The members of the object that begins here: key, and where its value begins and ends."""
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
    """The elements of the array that begins here: where each begins and ends."""
    place = _expect(buffer, start, b"[")
    if buffer[place : place + 1] == b"]":
        return
    while place >= 0:
        stop = _value_end(buffer, place)
        yield place, stop
        place = _after(buffer, stop, b"]")


def _expect(buffer: Buffer, place: int, mark: bytes) -> int:
    """Step over a mark and the white space around it."""
    place = _past_space(buffer, place)
    if buffer[place : place + 1] != mark:
        raise _broken(place, repr(mark.decode()))
    return _past_space(buffer, place + 1)


def _after(buffer: Buffer, place: int, close: bytes) -> int:
    """Where the next member or element begins; -1 at the closing bracket."""
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
        mark = buffer[match.start() : match.start() + 1]  # not the whole match: strings are long
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
        f"the file is not whole JSON: {expected} is missing at byte {place}", hint="was it copied or written whole?"
    )
