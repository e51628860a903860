"""The page to search: `/+search` and `/{user}/{index}/+search` in a browser. With its script, results appear while one types."""

from __future__ import annotations

from msgspec.structs import replace

from pkgindex_core.errors import Refused
from pkgindex_core.rules.searching.queries import KEYS
from pkgindex_http.errors import status_of
from pkgindex_http.handlers.searching import SearchAnswer, answered, searched_text
from pkgindex_http.pages.layout import reading_page, with_search_script
from pkgindex_http.requests import Ask
from pkgindex_http.wire.replies import Reply


async def search(ask: Ask) -> Reply:
    """The page. For what is no query it says what is wrong, beside the field."""
    answer: SearchAnswer | None = None
    problem: Refused | None = None
    try:
        answer = await answered(ask)
    except Refused as error:
        problem = error
    page = await reading_page(
        ask,
        "pages/search.html",
        index=ask.index if "index" in ask.values else None,
        text=searched_text(ask),
        found=answer.found if answer is not None else None,
        rows=[(answer.path_of(each), each) for each in answer.found.projects] if answer is not None else [],
        following=answer.next_query() if answer is not None else "",
        problems=problem.problems if problem is not None else (),
        hint=problem.hint if problem is not None else "",
        keys=KEYS,
    )
    return replace(with_search_script(page), status=status_of(problem) if problem is not None else page.status)
