"""Reading HTML of strangers: the tags that an index's pages are made of, in time that no input can stretch. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html import unescape

from msgspec import Struct


class Unreadable(Struct, frozen=True):
    """What came is no page that we may take for the upstream's answer."""

    reason: str


# A tag's attributes are matched in a bounded window behind its name, and possessively, so that no
# input makes the reader slow: html.parser needs ten times as long for an honest page.
_OPENING = re.compile(r"<(?:!--|(a|base|meta)(?=[\s/>]))", re.IGNORECASE)
_REST = re.compile(r"""(?:[^"'>]++|"[^"]*+"|'[^']*+')*+>""")
_ATTRIBUTE = re.compile(r"""([a-z][a-z0-9:_-]*)(?:\s*+=\s*+(?:"([^"]*)"|'([^']*)'|([^\s"'>]+)))?""", re.IGNORECASE)
_TAG_LIMIT = 16_384
_BROKEN_TAGS_LIMIT = 100


class Tag(Struct):
    """An opening tag, and the text up to the next one."""

    name: str
    attributes: Mapping[str, str]
    text: str


def tags(document: str) -> Iterator[Tag | Unreadable]:
    """The anchors, bases and metas of a document; the last item is an `Unreadable` when it is beyond reading."""
    position = 0
    broken = 0
    while match := _OPENING.search(document, position):
        position = match.end()
        if match[1] is None:
            end = document.find("-->", position)
            position = len(document) if end < 0 else end + 3
            continue
        rest = _REST.match(document, position, position + _TAG_LIMIT)
        if rest is None:
            broken += 1
            if broken > _BROKEN_TAGS_LIMIT:
                yield Unreadable("the HTML page has too many broken tags")
                return
            continue
        position = rest.end()
        text = document[position : document.find("<", position, position + _TAG_LIMIT)]
        yield Tag(match[1].lower(), _attributes(rest[0]), unescape(text).strip())


def _attributes(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, double, single, bare in _ATTRIBUTE.findall(text):
        value = double or single or bare
        # HTML: the first of two attributes of one name counts.
        found.setdefault(name.lower(), unescape(value) if "&" in value else value)
    return found


LOOKS_LIKE_INDEX = re.compile(
    r"<(?:h1|title)[^>]{0,200}>\s*(?:links for|simple index|index of|directory listing)", re.IGNORECASE
)
_OPENS_DOCUMENT = re.compile(
    r"\s*(?:<!doctype[^>]{0,500}>\s*)?(?:<!--.{0,2000}?-->\s*)?<html", re.IGNORECASE | re.DOTALL
)


def html_problem(document: str) -> str:
    """Why a document cannot be whole; empty when it can."""
    if _OPENS_DOCUMENT.match(document) and "</html" not in document[-4096:].lower():
        return "the HTML page was cut off"
    return ""


def text_of(body: bytes, content_type: str) -> str:
    """UTF-8 if it is that, whatever the header says; otherwise the declared charset, otherwise Latin-1."""
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        match = re.search(r"charset=\"?([A-Za-z0-9_.:-]{1,40})", content_type)
        try:
            return body.decode(match[1] if match else "latin-1", "replace")
        except LookupError:
            return body.decode("latin-1")
