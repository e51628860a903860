"""The frame of the pages to read: its values, and the headers that permit the style sheet."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from pkgindex_http.requests import Ask
from pkgindex_http.wire.cookies import form_token
from pkgindex_http.wire.replies import Reply


async def reading_page(ask: Ask, template: str, /, **values: Any) -> Reply:
    """A page in the frame that the pages to work on have too. Only the log-out in its head is a form."""
    page = await ask.templates.page(
        template,
        root=ask.root or "./",
        user=ask.principal.name,
        has_session=bool(ask.session),
        form_token=form_token(ask.session) if ask.session else "",
        **values,
    )
    policy = page.headers["Content-Security-Policy"] + "; style-src 'self'; base-uri 'none'"
    # The log-out needs an Origin, which a browser does not send from a page whose policy is no-referrer.
    headers = {**page.headers, "Content-Security-Policy": policy, "Referrer-Policy": "same-origin"}
    return replace(page, headers=headers)


def with_search_script(page: Reply) -> Reply:
    """A page whose policy permits the script of its search. No page with a description has a script, since documentation has some at this origin."""
    policy = f"{page.headers['Content-Security-Policy']}; script-src 'self'; connect-src 'self'"
    return replace(page, headers={**page.headers, "Content-Security-Policy": policy})
