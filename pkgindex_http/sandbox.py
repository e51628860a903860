"""Pages of somebody else's making, on our host: what their scripts may do, and what they are given in place of the rest.

Whoever may upload documentation may put scripts into it, and they must not act as the person who reads it. So its pages are
sandboxed into an origin of their own, which no cookie, password or page of this server belongs to. What they need of each other
works: scripts, styles and images load as ever. A script may fetch pages of the same documentation, as the search of Sphinx does
for its excerpts, and nothing else.

An origin of one's own has no `localStorage`, and merely to look for it is an exception there: the search of every manual made
by Sphinx, and the colours of its themes, would end with it. So an HTML page is given one that lasts as long as the page.
Workers, with which MkDocs searches, stay impossible.
"""

from __future__ import annotations

import re
from typing import Final

_POLICY: Final = (
    "sandbox allow-scripts allow-forms allow-popups allow-popups-to-escape-sandbox allow-downloads allow-modals; "
    "connect-src {}; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
"""`allow-same-origin` is not among them: it would undo all of it. Forms are for the search field of a manual; one that is sent to a
changing URL is refused (see `Origin.is_foreign`)."""

REVISION: Final = "1"
"""Of `_STORAGE`, for the ETag of a page that it stands in."""

_STORAGE: Final = (
    b'<script>try{localStorage}catch(e){for(const name of["localStorage","sessionStorage"]){const kept=new Map;'
    b"Object.defineProperty(window,name,{configurable:true,value:{"
    b"getItem:key=>kept.get(String(key))??null,setItem(key,value){kept.set(String(key),String(value))},"
    b"removeItem(key){kept.delete(String(key))},clear(){kept.clear()},key:place=>[...kept.keys()][place]??null,"
    b"get length(){return kept.size}}})}}</script>"
)
# A page without a head has no script before its body either; what stands in a comment is not looked through.
_HEAD = re.compile(rb"<head(?:\s[^<>]*)?>", re.IGNORECASE)
_LOOKED_THROUGH = 16 * 1024


def policy(documentation: str) -> str:
    """The content security policy of a page. `documentation` is the absolute URL that all of its pages begin with."""
    return _POLICY.format(documentation)


def with_storage(page: bytes) -> bytes:
    """An HTML page with a `localStorage` of its own, before any of its scripts; unchanged where that has no place."""
    head = _HEAD.search(page, 0, _LOOKED_THROUGH)
    return page if head is None else page[: head.end()] + _STORAGE + page[head.end() :]
