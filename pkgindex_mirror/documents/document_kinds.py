"""Kinds of answers of an upstream: JSON or HTML, empty, or cut off. Pure.

The client asks this of every answer, before a reader (`pages`, `name_lists`) is loaded.
"""

from __future__ import annotations

import codecs
import re


def is_json(body: bytes | bytearray, content_type: str) -> bool:
    """Whether a body is JSON, by its first character if that is `{` or `<`, otherwise by the Content-Type."""
    first = bytes(body[:64]).removeprefix(codecs.BOM_UTF8).lstrip()[:1]
    if first == b"{":
        return True
    if first == b"<":
        return False
    return "json" in content_type.lower()


def is_empty(document: bytes | bytearray) -> bool:
    """Whether the document has nothing but white space."""
    return re.search(rb"\S", document) is None


def says_its_end(document: bytes | bytearray) -> bool:
    """Whether a document closes its `html` or `body`. Most pages do, though they need not."""
    end = document[-4096:].lower()
    return b"</html" in end or b"</body" in end
