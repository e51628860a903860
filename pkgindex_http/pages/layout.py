"""The frame of the pages to read: its values, and the headers that permit the style sheet."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from msgspec.structs import replace

from pkgindex_core.compression import compress
from pkgindex_core.rules.negotiation import choose_coding
from pkgindex_http.requests import Ask
from pkgindex_http.wire.cookies import form_token
from pkgindex_http.wire.replies import Reply

_SHORT: Final = 1024
"""Bytes of a page that is not worth compressing."""


def frame_of(ask: Ask) -> dict[str, Any]:
    """The values of the frame."""
    return {
        "root": ask.root or "./",
        "user": ask.principal.name,
        "has_session": bool(ask.session),
        "form_token": form_token(ask.session) if ask.session else "",
    }


def styled(page: Reply) -> Reply:
    """The page with headers that permit its style sheet and the log-out."""
    policy = page.headers["Content-Security-Policy"] + "; style-src 'self'; base-uri 'none'"
    # The log-out needs an Origin, which a browser does not send from a page whose policy is no-referrer.
    headers = {**page.headers, "Content-Security-Policy": policy, "Referrer-Policy": "same-origin"}
    return replace(page, headers=headers)


async def reading_page(ask: Ask, template: str, /, **values: Any) -> Reply:
    """A page in the frame that the pages to work on have too. Only the log-out in its head is a form.

    It is compressed for a reader without a session. A page with a session has the token of its forms, and the length of a compressed page
    tells whether a text in its URL is a part of that token (BREACH).
    """
    page = styled(await ask.templates.page(template, **frame_of(ask), **values))
    coding = "identity" if ask.session else choose_coding(ask.request.headers.get("Accept-Encoding"))
    headers = {**page.headers, "Vary": f"{page.headers['Vary']}, Accept-Encoding"}
    if coding == "identity" or len(page.body) < _SHORT:
        return replace(page, headers=headers)
    body = await ask.engine.in_worker(partial(compress, page.body, coding))
    return replace(page, headers={**headers, "Content-Encoding": coding}, body=body)


def with_search_script(page: Reply) -> Reply:
    """A page whose policy permits the script of its search. No page with a description has a script, since documentation has some at this origin."""
    policy = f"{page.headers['Content-Security-Policy']}; script-src 'self'; connect-src 'self'"
    return replace(page, headers={**page.headers, "Content-Security-Policy": policy})
