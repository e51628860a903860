"""Routes, their permissions, and the search for the route of a path.

Paths are matched segment by segment, and a literal segment wins over a placeholder. The table is in `routes`.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from pkgindex_core.rules.permissions import Action
from pkgindex_core.tools.currency import Holding
from pkgindex_http.requests import Ask
from pkgindex_http.wire import web
from pkgindex_http.wire.preconditions import Validators
from pkgindex_http.wire.replies import Reply

Answer: TypeAlias = Reply | web.StreamResponse
Handler: TypeAlias = Callable[[Ask], Awaitable[Answer]]
Check: TypeAlias = Callable[[Ask], Awaitable[None]]

About = Literal["index", "project", "file", "anything"]
"""The subject of a permission on an index: the whole index, the project or the file of the path, or anything in the index that
the URL does not name. The difference matters for tokens that are limited to projects."""


def late(place: str) -> Callable[..., Awaitable[Any]]:
    """A handler or check that is loaded at its first use: `package.module:name`. A server starts without what it may never answer with."""

    async def called(*given: Any) -> Any:
        return await pkgutil.resolve_name(place)(*given)

    return called


class Public(Struct, frozen=True):
    """Permitted to everybody; credentials are not read. `why` gives the reason."""

    why: str


class OnIndex(Struct, frozen=True):
    """Needs the right to `action` on the index of the URL (`{user}/{index}`, or the default index)."""

    action: Action
    about: About | Callable[[Ask], About]
    also: tuple[Action, ...] = ()
    """Rights that suffice instead, where the body decides which right is needed. The service checks that one."""


class Checked(Struct, frozen=True):
    """`check` decides: it raises the errors that the service will raise, as far as the URL tells."""

    action: Action
    check: Check
    unread: bool = False
    """Whether the request may be permitted to a caller that may not read the index of the URL."""


class Glanced(Struct, frozen=True):
    """Permitted to everybody. Credentials are read for the handler. Wrong ones are no error, unless `check` raises it."""

    why: str
    check: Check | None = None


Permission = Public | OnIndex | Checked | Glanced


class Variant(Struct, frozen=True):
    """Another handler of a route, for requests of another form, such as another protocol."""

    when: Callable[[Ask], bool]
    handler: Handler
    permission: Permission | None = None
    """None: the permission of the route, whose refusals have the form of the route."""
    envelope: bool = False
    people: bool = False
    """As that of the route."""


class Route(Struct, frozen=True):
    """A URL of the server: the handler that answers requests of one method on one path, and the permission that it needs."""

    method: str
    """In capitals. `GET` answers HEAD too."""
    path: str
    """`{name}` matches one segment, which is `Ask.values["name"]`. `[/]` at its end matches with and without a slash. `{name...}` at its end matches all segments that are left: at least one,
    which may be empty."""
    permission: Permission
    """Checked before the handler is called."""
    handler: Handler
    """A coroutine function that takes the `Ask` and returns the answer. Its `PkgIndexError`s become answers with their status."""
    summary: str
    """One line about the purpose of the route."""
    validators: Callable[[Ask], Awaitable[Validators]] | None = None
    """A coroutine function that returns the present validators of what a change would change. Preconditions of the request, such as
    `If-Match`, are compared with them.
    None: a change with `If-Match` or `If-Unmodified-Since` is refused with 412, except for `If-Match: *`."""
    conditional: bool = True
    """Whether preconditions of the request are checked. False if they are about another URL, as those of `/+authcheck` are."""
    envelope: bool = False
    """Whether answers and errors are in devpi's envelope (see `devpi.envelope`)."""
    repeats: bool = False
    """Whether answers with a `Reply.holding` may be given again to equal requests, without the handler. They depend on nothing else than the request, the
    principal, the indexes and what `holding` checks."""
    people: bool = False
    """Whether the answer is a page for people. Only then the cookie of a log-in counts, and a browser without a log-in is sent to the form for it."""
    variants: tuple[Variant, ...] = ()
    """The first variant whose `when` is true answers the request; if there is none, `handler` does."""

    @property
    def segments(self) -> tuple[str, ...]:
        return tuple(self.path.removesuffix("[/]")[1:].split("/"))


class RoutedAsk(Ask, kw_only=True):
    """A request with its route, for the dispatcher. Handlers see it as an `Ask`."""

    route: Route
    identified: Holding | None = None
    """Makes a check whether an equal request would have the same principal. None: that is not known."""
    handler: Handler
    envelope: bool
    people: bool
    """`handler`, `envelope` and `people` are the route's, or those of the variant that was chosen."""


class Match(Struct, frozen=True):
    """The routes of a path by method, and the values of its placeholders."""

    methods: Mapping[str, Route]
    values: Mapping[str, str]


class _Node:
    __slots__ = ("literals", "methods", "placeholder", "rest")

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.placeholder: _Node | None = None
        self.rest: _Node | None = None
        self.methods: dict[str, tuple[Route, tuple[str, ...]]] = {}


class RouteTable:
    """Finds the routes of a path."""

    def __init__(self, routes: tuple[Route, ...]) -> None:
        self._root = _Node()
        for route in routes:
            self._add(route)

    def _add(self, route: Route) -> None:
        self._add_at(route, route.segments)
        if route.path.endswith("[/]"):
            self._add_at(route, (*route.segments, ""))

    def _add_at(self, route: Route, segments: tuple[str, ...]) -> None:
        node = self._root
        names: list[str] = []
        for position, segment in enumerate(segments):
            if segment.endswith("...}"):
                if position != len(segments) - 1:
                    raise LookupError(f"{segment} is not the end of {route.path}")
                names.append(segment[1:-4])
                node.rest = node.rest or _Node()
                node = node.rest
            elif segment.startswith("{"):
                names.append(segment[1:-1])
                node.placeholder = node.placeholder or _Node()
                node = node.placeholder
            else:
                node = node.literals.setdefault(segment, _Node())
        if route.method in node.methods:
            raise LookupError(f"two routes for {route.method} {route.path}")
        for other, others_names in node.methods.values():
            if others_names != tuple(names):  # `match` answers for all methods of a path
                both = f"{other.method} {other.path} and {route.method} {route.path}"
                raise LookupError(f"{both} name their placeholders differently")
        node.methods[route.method] = (route, tuple(names))

    def match(self, segments: tuple[str, ...]) -> Match | None:
        """The routes of a path, or None.

        A literal segment wins over a placeholder, and a placeholder over the rest of a path. A placeholder matches no empty
        segment and none that begins with `+`. The rest of a path matches all segments that `paths` accepts.
        """
        found = self._walk(self._root, segments, 0, ())
        if found is None:
            return None
        node, values = found
        names = next(iter(node.methods.values()))[1]
        return Match(
            {method: route for method, (route, _) in node.methods.items()}, dict(zip(names, values, strict=True))
        )

    def _walk(
        self, node: _Node, segments: tuple[str, ...], position: int, values: tuple[str, ...]
    ) -> tuple[_Node, tuple[str, ...]] | None:
        if position == len(segments):
            return (node, values) if node.methods else None
        segment = segments[position]
        literal = node.literals.get(segment)
        if literal is not None:
            found = self._walk(literal, segments, position + 1, values)
            if found is not None:
                return found
        if node.placeholder is not None and segment and not segment.startswith("+"):
            found = self._walk(node.placeholder, segments, position + 1, (*values, segment))
            if found is not None:
                return found
        if node.rest is not None:
            return node.rest, (*values, "/".join(segments[position:]))
        return None
