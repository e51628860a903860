"""Makes one table of the routes that plugins offer, the server's own among them, once at the start.

The routes of a plugin called NAME are below `/+NAME` and `/{user}/{index}/+NAME`. No name of a user, index, project or version
begins with `+`, and no placeholder matches such a segment. So names that users choose never collide with a plugin's routes.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from typing import Final

from pkgindex_core.errors import Refused
from pkgindex_core.hookspecs import Context
from pkgindex_core.plugins import DISTRIBUTION, LoadedProvider, Plugins
from pkgindex_http.routing import OnIndex, Permission, Route, RouteTable

_NAME: Final = re.compile(r"\A[a-z][a-z0-9-]*\Z")
_NEEDED: Final = {"project": {"{project}"}, "file": {"{a}", "{filename}"}}
"""The placeholders that a path must have, by what its permission is about."""


def assembled(plugins: Plugins, context: Context) -> RouteTable:
    """The table of all routes. All problems of plugins' routes are one `Refused` that names their distributions."""
    routes: list[Route] = []
    reserved: dict[str, LoadedProvider] = {}
    problems: list[str] = []
    for loaded, provider in plugins.routes():  # the server's own are first
        made = provider.make(context)
        if not isinstance(made, Sequence):
            problems.append(f"{loaded.source}: make returned a {type(made).__name__}; it must return a list of Routes")
        elif loaded.distribution == DISTRIBUTION:
            # The routes of pypiserver come after the native ones and replace some of them.
            replaced = {(route.method, route.path) for route in made}
            routes = [each for each in routes if (each.method, each.path) not in replaced]
            routes += made
            reserved |= {segment: loaded for route in made for segment in route.segments if segment.startswith("+")}
        elif (taken := reserved.get(f"+{loaded.name}")) is not None:
            problems.append(f"{loaded.source} has routes below +{loaded.name}, which is taken by {taken.source}")
        else:
            routes += made
            problems += [f"{loaded.source}: {problem}" for route in made for problem in _problems(loaded.name, route)]
    if problems:
        raise Refused(
            problems, hint="correct the plugin, or list the distribution that is named in the option disabled_plugins"
        )
    if not reserved:
        raise Refused(
            "the engine was opened without the routes of the server",
            hint="open it with pkgindex_http.opening.opened_engine",
        )
    try:
        return RouteTable(tuple(routes))
    except LookupError as error:  # two routes of one plugin, since names of plugins are unique
        raise Refused(f"routes collide: {error.args[0]}") from error


def _problems(name: str, route: object) -> Iterator[str]:
    """The problems of a route that is not the server's own."""
    if not isinstance(route, Route):
        yield f"{route!r} is not a Route"
        return
    what = f"{route.method} {route.path}"
    if not _NAME.match(name):
        yield f"{what}: the provider's name {name!r} cannot be part of a URL; use lower-case letters, digits and -"
    segments = route.segments
    if (segments[2:3] if segments[:2] == ("{user}", "{index}") else segments[:1]) != (f"+{name}",):
        yield f"{what}: the path must begin with /+{name} or /{{user}}/{{index}}/+{name}"
    if not route.method.isupper():
        yield f"{what}: the method must be written in capitals"
    handlers = (route.handler, *(each.handler for each in route.variants))
    if not all(_is_coroutine_function(handler) for handler in handlers):
        yield f"{what}: the handler must be a coroutine function; write it with async def"
    permissions: list[object] = [
        route.permission,
        *(each.permission for each in route.variants if each.permission is not None),
    ]
    for permission in permissions:
        if not isinstance(permission, Permission):
            yield f"{what}: it has no permission; use Public, OnIndex, Checked or Glanced"
        elif isinstance(permission, OnIndex) and isinstance(permission.about, str):
            missing = _NEEDED.get(permission.about, set()) - {*segments}
            if missing:
                yield f"{what}: a permission about a {permission.about} needs {' and '.join(sorted(missing))} in the path"


def _is_coroutine_function(handler: object) -> bool:
    return callable(handler) and any(map(inspect.iscoroutinefunction, (handler, handler.__call__)))
