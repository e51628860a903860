"""The indexes behind the routes: made at the first start, and changed when a later file says something else.

    root/routes              the routes at the root of the server, and the default index
    root/routes-team         the routes below /team/
    root/cache-pypi.org-…    one for each upstream of `mode = "cache"`, with the readers of the routes that lead there

What the file says is in the store after the start, so other commands and servers over the store see the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pkgindex_core.engine import Engine
from pkgindex_core.names import IndexName
from pkgindex_core.rules.permissions import as_for_files
from pkgindex_core.rules.route_patterns import last_segment, parse_pattern
from pkgindex_core.urls import masked, without_credentials
from pkgindex_http.ensuring import ensure_index
from pkgindex_http.settings import ServerSettings
from pkgindex_http.simpleindex.settings import RouteSettings, RoutesSettings, index_of, mirror_of


async def prepare(engine: Engine, settings: ServerSettings, table: RoutesSettings) -> Path | None:
    """Make or change the indexes as the file says. Returns the file with root's password, if one was generated."""
    password_file = await engine.prepare(indexes=False)
    for route in table.routes:
        if route.kind == "cache":
            # No list: PyPI's would be fetched for names of which few are ever routed there.
            options = {"mirror_url": route.to, "mirror_no_project_list": True}
            await ensure_index(engine, _mirror(route), "mirror", options)
    for prefix in table.prefixes:
        rules = list(_rules(table, prefix))
        bases = list(dict.fromkeys(rule["base"] for rule in rules if "base" in rule))
        await ensure_index(
            engine, index_of(prefix, settings.default_index), "routes", {"routes": rules, "bases": bases}
        )
    await _close_caches(engine, [index_of(prefix, settings.default_index) for prefix in table.prefixes])
    return password_file


async def _close_caches(engine: Engine, routed: Sequence[IndexName]) -> None:
    """Give each cache the readers of the indexes that inherit from it: a cache has URLs of its own, and its upstream may be private."""
    indexes = (await engine.store.tree()).indexes
    for cache in dict.fromkeys(base for name in routed for base in indexes[name].bases):
        heirs = [indexes[name] for name in routed if cache in indexes[name].bases]
        read = _joined(heir.acl_read for heir in heirs)
        fetched = _joined(as_for_files(heir).acl_read for heir in heirs)
        options = {"acl_read": read, "acl_download": None if fetched == read else fetched}
        await ensure_index(engine, cache, "mirror", options)


def _joined(lists: Iterable[Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(name for each in lists for name in each))


def _rules(table: RoutesSettings, prefix: str) -> Iterator[dict[str, str]]:
    """The routes of one path, as its index keeps them."""
    for route in table.routes:
        above, last = last_segment(route.pattern)
        if above != prefix and (not above or not prefix or parse_pattern(f"{above}/x").match(f"{prefix}/x") is None):
            continue
        yield {"pattern": last, "place": route.place, **_target(route)}


def _target(route: RouteSettings) -> dict[str, str]:
    if route.kind == "path":
        return {"folder": route.to}
    if route.kind == "cache":
        return {"base": _mirror(route)}
    if route.kind == "redirect":
        return {"elsewhere": f"redirects to {masked(route.to)}"}
    words = {"page": "answers with a page that lies in a file", "whole_folder": "answers with all files of its folder"}
    return {"elsewhere": words.get(route.kind, f"asks the source {route.provider}")}


def _mirror(route: RouteSettings) -> IndexName:
    return mirror_of(without_credentials(route.to)[0])
