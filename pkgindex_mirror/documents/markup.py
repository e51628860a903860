"""Reading the tags of an upstream's HTML, in time linear in its size, whatever the input is. Pure.

Follows the tokenizer of the HTML standard (WHATWG HTML 13.2.5) as far as links need it: quotes count only after `=`, comments end where
browsers end them, and a script, a style or a title contains no tags. The document stays bytes: only the requested attributes and
texts become strings, which saves memory.

Unlike a browser, this reads tags in `noscript` and `template`, since installers do, and tags after a script or title without an end.
(`html.parser` takes ten times as long for a usual page.)
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection, Iterator, Mapping
from html import unescape
from typing import Final

from msgspec import Struct


class UnreadablePage(Struct, frozen=True):
    """The document is not a page that can be read; `reason` is a clause for the log."""

    reason: str


class Tag(Struct):
    """An opening tag and its text."""

    name: str
    attributes: Mapping[str, str]
    text: str
    """Of `a` and `title`, the text up to the end of the element; of others, the text up to the next tag."""


class Broken(Struct, frozen=True):
    """A comment or tag without an end. Reading stops at such a comment, and goes on after such a tag."""

    what: str


TAG_LIMIT: Final = 64 * 1024
"""Largest size of one tag, in bytes. Some pages have images in an attribute."""
_TEXT_LIMIT: Final = 2048
_BROKEN_LIMIT: Final = 100
_RAW: Final = frozenset({b"script", b"style", b"title", b"textarea", b"xmp", b"iframe", b"noembed", b"noframes"})
"""Elements whose content has no tags."""

# All quantifiers are possessive, and each tag is matched within a window, so no input makes this slow.
_MARK = re.compile(rb"<(?:(!--)|([!?/])|([a-zA-Z][^\s/>]*+))")
_COMMENT_END = re.compile(rb"--!?>")
_REST = re.compile(
    rb"""(?:[\s/]*+[^\s/>][^\s/>=]*+(?:\s*+=\s*+(?:"[^"]*+"|'[^']*+'|(?!["'])[^\s>]*+)|(?!\s*+=)))*+[\s/]*+>"""
)
_ATTRIBUTE = re.compile(rb"""[\s/]*+([^\s/>][^\s/>=]*+)(?:\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|((?!["'])[^\s>]*+)))?+""")
_LINK_END = re.compile(rb"</?a(?=[\s/>])", re.IGNORECASE)
_ANY_TAG = re.compile(r"<[^>]*+>?")
# 13.2.5.73: in an attribute, a name without `;` before a letter, digit or `=` is text: `?a=1&copy=2`.
_REFERENCE = re.compile(r"&(?:#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[a-zA-Z][a-zA-Z0-9]*(?:;|(?![a-zA-Z0-9=])))")


def tags(document: bytes | bytearray, charset: str, wanted: Collection[str]) -> Iterator[Tag | Broken | UnreadablePage]:
    """The opening tags of these names; the last item is an `UnreadablePage` when the document cannot be read."""
    names = {name.encode() for name in wanted}
    never_end: set[bytes] = set()
    position = broken = 0
    while mark := _MARK.search(document, position):
        position = mark.end()
        if mark[1]:
            end = _end_of_comment(document, position)
            if end < 0:
                yield Broken("a comment")
                return
            position = end
            continue
        if mark[2]:
            position = document.find(b">", position) + 1 or len(document)
            continue
        rest = _REST.match(document, position, position + TAG_LIMIT)
        if rest is None:
            broken += 1
            if broken > _BROKEN_LIMIT:
                yield UnreadablePage("the HTML page has too many broken tags")
                return
            if mark[3].lower() in names:
                yield Broken(f"the tag <{mark[3][:20].decode('ascii', 'replace')}>")
            if document.find(b">", position) < 0:
                return
            continue
        position = rest.end()
        name = mark[3].lower()
        stop = -1
        if name in _RAW and name not in never_end:
            closing = re.compile(rb"</" + name + rb"(?=[\s/>])", re.IGNORECASE).search(document, position)
            if closing is None:
                never_end.add(name)
            else:
                stop = closing.start()
        if name in names:
            text = _text(document, position, stop, charset, is_link=name == b"a")
            yield Tag(name.decode(), _attributes(rest[0], charset), text)
        if stop >= 0:
            position = stop


def _end_of_comment(document: bytes | bytearray, position: int) -> int:
    """WHATWG HTML 13.2.5.43: `<!-->` and `<!--->` are complete comments, and `--!>` ends a comment too."""
    for whole in (b">", b"->"):
        if document.startswith(whole, position):
            return position + len(whole)
    end = _COMMENT_END.search(document, position)
    return end.end() if end else -1


def _text(document: bytes | bytearray, start: int, stop: int, charset: str, *, is_link: bool) -> str:
    most = start + _TEXT_LIMIT
    if stop < 0:
        end = _LINK_END.search(document, start, most) if is_link else None
        stop = end.start() if end else document.find(b"<", start, most)
    raw = bytes(document[start : most if stop < 0 else min(stop, most)]).decode(charset, "replace")
    return " ".join(unescape(_ANY_TAG.sub(" ", raw) if "<" in raw else raw).split())


def _attributes(text: bytes, charset: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, double, single, bare in _ATTRIBUTE.findall(text[:-1]):
        value = (double or single or bare).decode(charset, "replace")
        # 13.2.5.33: the first of two attributes of one name counts.
        found.setdefault(name.decode(charset, "replace").lower(), _unescaped(value) if "&" in value else value)
    return found


def _unescaped(value: str) -> str:
    return _REFERENCE.sub(lambda reference: unescape(reference[0]), value)


class DocumentSummary(Struct, frozen=True, kw_only=True):
    """The first part of a document without its links."""

    headings: tuple[str, ...]
    """The title and the headings, with single blanks between words."""
    text: str
    """The text outside of links. Contains the headings, but not the title."""
    is_active: bool
    """Whether it has form fields, scripts or frames."""
    is_markup: bool
    """Whether it has any tag."""


_OUTLINED: Final = 64 * 1024
_HIDDEN = re.compile(
    r"<!--.*?(?:-->|\Z)|<(script|style|title|textarea|a)(?=[\s/>]).*?(?:</\1(?=[\s/>])[^>]*>?|\Z)",
    re.DOTALL | re.IGNORECASE,
)
_HEADINGS: Final = ("title", "h1", "h2", "h3")
_ACTIVE: Final = ("form", "input", "script", "iframe", "frame", "frameset")


def outline(document: bytes | bytearray, charset: str) -> DocumentSummary:
    """Summarise the first 64 KiB of a document."""
    first = bytes(document[:_OUTLINED])
    headings: list[str] = []
    is_active = is_markup = False
    for tag in tags(first, charset, {*_HEADINGS, *_ACTIVE, "meta", "html", "head", "body", "a", "pre", "ul", "table"}):
        if isinstance(tag, Tag):
            is_markup = True
            is_active = is_active or tag.name in _ACTIVE or tag.attributes.get("http-equiv", "").lower() == "refresh"
            if tag.name in _HEADINGS:
                headings.append(tag.text)
    shown = _ANY_TAG.sub(" ", _HIDDEN.sub(" ", first.decode(charset, "replace")))
    return DocumentSummary(
        headings=tuple(headings),
        text=" ".join(unescape(shown).split()),
        is_active=is_active,
        is_markup=is_markup or first.lstrip()[:9].lower() == b"<!doctype",
    )


_META_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?([A-Za-z0-9_.:-]{1,40})""", re.IGNORECASE)
# Some codecs of Python are no charsets: `hex`, `idna`, `unicode_escape`.
_CHARSETS = re.compile(
    r"(?:ascii|utf-?(?:8|16|32)|iso8859|iso2022|cp|koi8|gb|hz|big5|euc|shift|johab|mac|tis|ptcp|kz)[\w-]*"
)
_PIECE: Final = 1024 * 1024


def as_text(body: bytes | bytearray, content_type: str) -> tuple[bytes | bytearray, str]:
    """A document in which the syntax of HTML is ASCII bytes, and the charset of its texts.

    UTF-8 if all of it is valid UTF-8; otherwise the charset of the header or of the page; otherwise Latin-1.
    """
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return body.decode("utf-16", "replace").encode(), "utf-8"
    if _is_utf8(body):
        return body, "utf-8"
    said = re.search(r"charset=\"?([A-Za-z0-9_.:-]{1,40})", content_type)
    declared = _META_CHARSET.search(body, 0, 4096)
    charset = _codec(said[1] if said else declared[1].decode("ascii") if declared else "")
    if _MARKS.encode(charset, "replace") == _MARKS.encode():
        return body, charset
    return body.decode(charset, "replace").encode("utf-8", "replace"), "utf-8"


_MARKS: Final = "<a href='/"


def _codec(charset: str) -> str:
    try:
        name = codecs.lookup(charset).name
    except (LookupError, ValueError):
        return "latin-1"
    return name if _CHARSETS.fullmatch(name) else "latin-1"


def _is_utf8(body: bytes | bytearray) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(body), _PIECE):
            decoder.decode(body[start : start + _PIECE], start + _PIECE >= len(body))
    except UnicodeDecodeError:
        return False
    return True
