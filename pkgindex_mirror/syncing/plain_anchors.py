"""Reads the plain links of an HTML list while it arrives, so that only the rest has to be read as browsers read HTML.

    head │ <a href="/simple/demo/">demo</a> … │ rest        the head and the rest are one document again

Plain links follow one another right after a head in which nothing is open: no comment, no script, no attribute. Then each is a link for
every reader, and a document without it is read the same. At the first other thing after the head the rest begins. Pure.
"""

from __future__ import annotations

import re
from typing import Final

from pkgindex_core.names import ProjectName, normalized_or_none, normalized_or_unknown

_PIECE: Final = 256 * 1024
"""Bytes of links that are read together."""
_HEAD_LIMIT: Final = 64 * 1024
_START: Final = b'<a href="'
_LINK = re.compile(
    rb"(<a href=\"(?:[A-Za-z0-9._~:/-]*/)?([A-Za-z0-9._-]+)/?\">([A-Za-z0-9._-]+)</a>(?:[ \t]*<br ?/?>)?[ \t\r\n]*)"
)
_HEAD = re.compile(
    rb"\s*(?:<!doctype html>\s*)?"
    rb"(?:<title>[^<>&\x00\x1b]*+</title>|</?(?:html|head|body|h1)(?: lang=\"[a-z-]*+\")?+>"
    rb"|<meta(?: [a-z-]++=\"[^\"<>]*+\")*+ ?+/?+>|[^<>&\"'\x00\x1b]++)*+",
    re.IGNORECASE,
)

Names = tuple[list[ProjectName], list[str]]
"""Names and their spellings."""


class PlainAnchors:
    """Takes the chunks of one document. `feed` returns the names of links; `rest` has what is left at the end."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._has_head = False
        self._ended = False
        self._head = b""

    @property
    def rest(self) -> bytearray:
        """The document without the links that were taken."""
        return bytearray(self._head) + self._buffer

    @property
    def size(self) -> int:
        """The bytes of `rest`."""
        return len(self._head) + len(self._buffer)

    def feed(self, data: bytes | bytearray) -> Names | None:
        """Take the next bytes."""
        self._buffer += data
        if not self._has_head and not self._ended:
            self._find_head()
        if not self._has_head or self._ended or len(self._buffer) < _PIECE:
            return None
        return self._taken(self._buffer.rfind(_START))

    def _find_head(self) -> None:
        first = self._buffer.find(_START)
        if first < 0:
            self._ended = len(self._buffer) > _HEAD_LIMIT
        elif _HEAD.fullmatch(self._buffer, 0, first) is None:
            self._ended = True
        else:
            self._head, self._has_head = bytes(self._buffer[:first]), True
            del self._buffer[:first]

    def _taken(self, end: int) -> Names | None:
        """The links up to an offset, if there is nothing else before it."""
        links = _LINK.findall(self._buffer, 0, end)
        if not links or sum([len(link[0]) for link in links]) != end:
            self._ended = True
            return None
        del self._buffer[:end]
        return _names(links)


def _names(links: list[tuple[bytes, bytes, bytes]]) -> Names:
    """The names of those links that end with the name in their text (PEP 503)."""
    spelled = [link[2].decode("ascii") for link in links]
    segments = [link[1].decode("ascii") for link in links]
    names = normalized_or_unknown(spelled)
    if names is not None and names == normalized_or_unknown(segments):
        return names, spelled
    pairs = [
        (name, text)
        for text, segment in zip(spelled, segments, strict=True)
        if (name := normalized_or_none(text)) is not None and name == normalized_or_none(segment)
    ]
    return [name for name, _ in pairs], [text for _, text in pairs]
