"""Pages for a person at a browser: the front door with the lines to paste, and a list of projects that one can search.

    /             what this is, one's own indexes first, then the mirrors
    /simple/      one's own projects, and a search field in the place of the 900,000 names that a mirror may have

Every other client gets the whole list: it asks for JSON, or for HTML without naming XHTML as browsers do.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

from pkgindex_core.models import IndexConfig
from pkgindex_core.rules.permissions import Action, permits
from pkgindex_http.pasting import lines_to_paste
from pkgindex_http.replies import HTML, SECURITY_HEADERS, Reply
from pkgindex_http.requests import Ask

_SHOWN: Final = 500
"""Names of each kind on one page, and indexes on the front page."""
_TEXT_LIMIT: Final = 100
_POLICY: Final = SECURITY_HEADERS["Content-Security-Policy"].replace("; sandbox", "") + "; form-action 'self'"
"""Our own page has a form, which a sandbox would disable."""

_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title></head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def is_browser(ask: Ask) -> bool:
    """Whether a person looks: browsers name XHTML in `Accept`, and no installer does."""
    return "application/xhtml+xml" in ask.accept.lower()


async def welcome(ask: Ask) -> Reply:
    """Say what this is, with the lines to paste, and where the projects are."""
    tree = await ask.engine.store.tree()
    readable = [
        config
        for _, config in sorted(tree.indexes.items())
        if permits(ask.principal, Action.READ, index=config, some_project=True)
    ]
    readable.sort(key=lambda config: config.name != ask.default_index)
    lines = "\n".join(lines_to_paste(ask.url))
    body = (
        f"<p>This is a Python package index. Point your tools at it:</p>\n<pre>\n{html.escape(lines)}\n</pre>\n"
        + _section("Packages of our own", (_index(config) for config in readable if not config.mirrored))
        + _section("Mirrors", (_index(config) for config in readable if config.mirrored))
    )
    return _page("pkgindex", body)


async def search_page(ask: Ask) -> Reply | None:
    """The projects of an index for a person; None when no mirror is among its layers, and the plain list will do."""
    text = (ask.query("q") or "").strip()[:_TEXT_LIMIT]
    found = await ask.engine.searching.search(ask.index, text, principal=ask.principal, limit=_SHOWN)
    if not found.mirrors:
        return None
    field = (
        f'<form><input name="q" value="{html.escape(text)}" autofocus aria-label="Project">'
        "<button>Search</button></form>\n"
        f"<p>Searches our own projects, and those of {html.escape(', '.join(found.mirrors))} that begin with the text.</p>\n"
    )
    notes = "".join(
        f"<p>The list of {html.escape(name)} is not known here yet, so it may have more.</p>\n"
        for name in found.unknown
    )
    if found.more:
        notes += f"<p>Only the first {_SHOWN} are shown: write more of the name.</p>\n"
    if text and not found.own and not found.mirrored:
        notes += f"<p>No project is called like {html.escape(text)}.</p>\n"
    body = (
        field
        + notes
        + _section("Projects of our own", (_link(f"{quote(name)}/", name) for name in found.own))
        + _section("Mirrored projects", (_link(f"{quote(name)}/", name) for name in found.mirrored))
    )
    return _page(f"Projects of {ask.index}", body)


def _index(config: IndexConfig) -> str:
    title = f": {html.escape(config.title[:_TEXT_LIMIT])}" if config.title else ""
    return f"{_link(f'{quote(config.name)}/+simple/', config.name)}{title}"


def _link(url: str, text: str) -> str:
    return f'<a href="{html.escape(url)}">{html.escape(text)}</a>'


def _section(heading: str, items: Iterable[str]) -> str:
    lines = [f"<li>{item}</li>\n" for _, item in zip(range(_SHOWN), items, strict=False)]
    return f"<h2>{heading}</h2>\n<ul>\n{''.join(lines)}</ul>\n" if lines else ""


def _page(title: str, body: str) -> Reply:
    headers = {
        "Content-Type": HTML,
        "Cache-Control": "no-store",
        "Vary": "Accept, Authorization",
        **SECURITY_HEADERS,
        "Content-Security-Policy": _POLICY,
    }
    return Reply(headers=headers, body=_PAGE.format(title=html.escape(title), body=body).encode())
