"""The sandbox of documentation pages, whose scripts come from uploads.

A script in uploaded documentation must not act as its reader. So the pages are sandboxed into an opaque origin, to which no
cookie, password or page of this server belongs. Scripts, styles and images load as usual. A script may fetch pages of the
same documentation, as the search of Sphinx does for its excerpts, and nothing else.

In an opaque origin an access to `localStorage` raises an exception, which stops the search and the themes of Sphinx. So an
HTML page gets a `localStorage` that lasts as long as the page. Workers, which the search of MkDocs needs, do not work.
"""

from __future__ import annotations

import re
from typing import Final

_POLICY: Final = (
    "sandbox allow-scripts allow-forms allow-popups allow-popups-to-escape-sandbox allow-downloads allow-modals; "
    "connect-src {}; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
"""Without `allow-same-origin`, which would undo the sandbox. Forms are allowed for search fields; a form that is sent to a URL that
changes something is refused (see `OriginReader.is_foreign`)."""

REVISION: Final = "1"
"""The revision of `_STORAGE`, for the ETag of pages that contain it."""

_STORAGE: Final = (
    b'<script>try{localStorage}catch(e){for(const name of["localStorage","sessionStorage"]){const kept=new Map;'
    b"Object.defineProperty(window,name,{configurable:true,value:{"
    b"getItem:key=>kept.get(String(key))??null,setItem(key,value){kept.set(String(key),String(value))},"
    b"removeItem(key){kept.delete(String(key))},clear(){kept.clear()},key:place=>[...kept.keys()][place]??null,"
    b"get length(){return kept.size}}})}}</script>"
)
# A page without a head has no script before its body. Comments are not parsed, so a `<head>` in one counts.
_HEAD = re.compile(rb"<head(?:\s[^<>]*)?>", re.IGNORECASE)
_LOOKED_THROUGH = 16 * 1024


def policy(documentation: str) -> str:
    """The content security policy of a page. `documentation` is the absolute URL that all pages of the documentation begin with."""
    return _POLICY.format(documentation)


def with_storage(page: bytes) -> bytes:
    """An HTML page with a `localStorage` before its first script; unchanged if it has no head."""
    head = _HEAD.search(page, 0, _LOOKED_THROUGH)
    return page if head is None else page[: head.end()] + _STORAGE + page[head.end() :]
