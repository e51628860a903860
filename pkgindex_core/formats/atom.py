"""Writes feeds in the Atom format (RFC 4287), for readers of news.

Pure. Texts may be any string: what XML 1.0 cannot have is left out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from msgspec import Struct

from pkgindex_core.clock import Timestamp, to_rfc3339

CONTENT_TYPE: Final = "application/atom+xml; charset=utf-8"

_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class FeedEntry(Struct, frozen=True, kw_only=True):
    """One piece of news."""

    id: str
    """A URI that no other entry has, and that does not change (RFC 4287 4.2.6)."""
    title: str
    at: Timestamp
    link: str
    """An absolute URL."""
    author: str = ""
    text: str = ""


def written(*, id: str, title: str, link: str, here: str, entries: Sequence[FeedEntry]) -> bytes:  # noqa: A002  # the element's name
    """A feed. `link`: the page that it is about. `here`: its own URL. Entries are the newest first, and give the time of the feed."""
    at = max((entry.at for entry in entries), default=Timestamp(0))
    parts = [
        '<?xml version="1.0" encoding="utf-8"?>',
        '<feed xmlns="http://www.w3.org/2005/Atom">',
        _element("id", id),
        _element("title", title),
        _element("updated", to_rfc3339(at)),
        f'<link rel="self" href={_quoted(here)}/>',
        f"<link href={_quoted(link)}/>",
        "<author><name>pkgindex</name></author>",
    ]
    for entry in entries:
        parts += [
            "<entry>",
            _element("id", entry.id),
            _element("title", entry.title),
            _element("updated", to_rfc3339(entry.at)),
            f"<link href={_quoted(entry.link)}/>",
        ]
        if entry.author:
            parts.append(f"<author>{_element('name', entry.author)}</author>")
        if entry.text:
            parts.append(_element("summary", entry.text))
        parts.append("</entry>")
    return "\n".join([*parts, "</feed>", ""]).encode()


def _element(name: str, text: str) -> str:
    return f"<{name}>{escape(_NOT_XML.sub('', text))}</{name}>"


def _quoted(text: str) -> str:
    return quoteattr(_NOT_XML.sub("", text))
