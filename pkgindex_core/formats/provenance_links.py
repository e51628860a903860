"""The links of pages to provenance (PEP 740). Pure.

Files are stored with the path of their provenance below their index, mirrored ones with the URL at their upstream. PEP 740 wants an absolute
URL of a secure origin. A renderer that knows such a URL of this server writes it, for mirrored files too. Without one, JSON pages have a
relative link to the provenance of hosted files, HTML pages have none, and mirrored files keep the URL at their upstream.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import repeat
from operator import contains
from typing import Final

from pkgindex_core.names import IndexName

_KEY: Final = b'"provenance":"'
_OWN: Final = b"+integrity/"
_ELSEWHERE: Final = re.compile(rb'"provenance":"https://[^"]{1,500}?/\+?integrity/')
"""The URL of PyPI, and of servers that follow it, up to the project."""


def any_links(texts: Sequence[bytes]) -> bool:
    """Whether `linked` has anything to do with some texts."""
    return any(map(contains, texts, repeat(_KEY)))  # no code of Python for each text


def linked(text: bytes, prefix: str, origin: IndexName, public_url: str) -> bytes:
    """JSON objects of files with links that clients can follow. A search never matches inside a text, because quotes are escaped there."""
    if _KEY not in text:
        return text
    base = _base(origin, public_url)
    ours = _KEY + (base or prefix).encode() + _OWN
    text = text.replace(_KEY + _OWN, ours)
    return _ELSEWHERE.sub(lambda _: ours, text) if base else text


def absolute(provenance: str, origin: IndexName, public_url: str) -> str:
    """The absolute https URL of a file's provenance; empty if there is none."""
    if not provenance:
        return ""
    text = linked(_KEY + provenance.encode() + b'"', "", origin, public_url)[len(_KEY) : -1].decode()
    return text if text.startswith("https://") else ""


def _base(origin: IndexName, public_url: str) -> str:
    return f"{public_url}/{origin}/" if public_url.startswith("https://") else ""
