"""simpleindex's URLs, beside the native ones or in their place.

/{project}/  /{project}/{filename}      routes at the root; a path of two segments is one of ours only if a route matches it
/team/{project}/  …                     routes with a path
/simple/{project}/                      the standard URL of the default index, unless routes begin with simple/
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from msgspec.structs import replace

from pkgindex_core.hookspecs import Context
from pkgindex_http.requests import Ask
from pkgindex_http.routing import Glanced, Handler, Route, Variant
from pkgindex_http.simpleindex.answering import Answering
from pkgindex_http.simpleindex.settings import read_settings

_ROUTED: Final = Glanced("the route decides first; what has an index needs the right to read it")


def made(context: Context, native: Sequence[Route]) -> tuple[Route, ...]:
    """The routes for the settings in the context. `native` ones at the same path answer what the file does not."""
    settings = read_settings(context.settings)
    answering = Answering(settings)
    routes: dict[str, Route] = {}

    def put(path: str, when: Callable[[Ask], bool], handler: Handler) -> None:
        there = next((each for each in native if (each.method, each.path) == ("GET", path)), None)
        if there is None:
            routes[path] = Route("GET", path, _ROUTED, handler, "what a route of the file answers")
        else:
            routes[path] = replace(
                there,
                summary=f"what a route of the file answers; {there.summary}",
                variants=(Variant(when, handler, _ROUTED), *there.variants),
            )

    put("/{user}[/]", answering.is_for_installers, answering.answer)
    put("/{user}/{index}[/]", answering.routes_page, answering.answer)
    put("/simple/{project}", answering.routes_simple, answering.simple)
    put("/simple/{project}/", answering.routes_simple, answering.simple)
    for path in _paths(settings.prefixes):
        put(path, answering.routes_page, answering.answer)
    return tuple(routes.values())


def _paths(prefixes: tuple[str, ...]) -> Iterator[str]:
    for prefix in prefixes:
        if prefix and prefix != "simple":
            yield f"/{prefix}/{{project}}[/]"
        if prefix:
            yield f"/{prefix}/{{project}}/{{filename}}"
