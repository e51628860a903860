"""The pages for errors: what is wrong, what to do, names that are spelled like the one that is not there, and the reference for the log.

A reader gets only names that they may read. A page for an error needs no store: without one it has no suggestions.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from msgspec.structs import replace

from pkgindex_core.errors import Missing, PkgIndexError, Refused
from pkgindex_core.rules.access import readable_tree
from pkgindex_core.spelling import nearest
from pkgindex_http.errors import error_reply, title_of
from pkgindex_http.pages.layout import frame_of, styled
from pkgindex_http.requests import Ask
from pkgindex_http.templates import Templates
from pkgindex_http.wire.replies import Reply

_NEAR_SECONDS: Final = 1.0
"""How long a reader waits for near names. The first search of a process loads the catalogue."""
_MOST_INDEXES: Final = 1_000
"""Indexes whose names are compared."""


async def problem_page(
    error: PkgIndexError, ask: Ask | None, templates: Templates, *, url: str, realm: str, reference: str
) -> Reply:
    """The page, with the status and the headers of the error. `ask`: None if the URL has no route; `url` is that of the server."""
    bare = error_reply(error, "text/html", realm=realm)
    title = title_of(error, bare.status)
    frame: dict[str, Any] = {"root": f"{url}/", "user": None, "has_session": False, "form_token": ""}
    near: tuple[str, ...] = ()
    if ask is not None:
        frame = frame_of(ask)
        if isinstance(error, Missing):
            near = await _near(ask, error)
    problems = error.problems if isinstance(error, Refused) else (error.message,)
    page = styled(
        await templates.page(
            "pages/problem.html",
            **frame,
            title=title,
            problems=[problem.removeprefix(f"{title}: ") for problem in problems],
            hint=error.hint,
            near=near,
            wanted=error.name if isinstance(error, Missing) and error.what == "project" else "",
            is_missing=isinstance(error, Missing),
            reference=reference,
        )
    )
    headers = {**bare.headers, **page.headers}
    return replace(page, status=bare.status, headers=headers)


async def _near(ask: Ask, error: Missing) -> tuple[str, ...]:
    """Paths below the root that lead to what was perhaps meant."""
    with suppress(PkgIndexError):
        if error.what == "project":
            index = ask.index
            names = await ask.engine.searching.near(index, error.name, principal=ask.principal, seconds=_NEAR_SECONDS)
            return tuple(f"{index}/{name}" for name in names if name != error.name)
        if error.what == "index":
            tree = readable_tree(await ask.engine.store.tree(), ask.principal)
            close = nearest(error.name, sorted(tree.indexes)[:_MOST_INDEXES])
            return (close,) if close is not None else ()
    return ()
