"""What a route is, which permission it asks for, and how a path finds its route.

Matching goes by segments, literal before placeholder, in the order of the path. The table itself is in `routes`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from pkgindex_core.rules.permissions import Action
from pkgindex_http.requests import Ask

if TYPE_CHECKING:
    from aiohttp import web

    from pkgindex_http.preconditions import Validators
    from pkgindex_http.replies import Reply

    Answer = Reply | web.StreamResponse
    Handler = Callable[[Ask], Awaitable[Answer]]
    Check = Callable[[Ask], Awaitable[None]]


About = Literal["index", "project", "file", "anything"]
"""What a right on an index is asked for: the index as a whole, the project or the file that the path names, or something in it that the URL
does not say. A token that is limited to projects makes the difference."""


class Public(Struct, frozen=True):
    """Anybody, without a look at credentials. `why` says what makes that right."""

    why: str


class OnIndex(Struct, frozen=True):
    """The right to do something to the index of the URL (`{user}/{index}`, or the default one)."""

    action: Action
    about: About | Callable[[Ask], About]
    also: tuple[Action, ...] = ()
    """Rights of which one will do instead, because the body says what is wanted: the service asks for the very one."""


class Checked(Struct, frozen=True):
    """`check` raises what the service would raise that does the thing, as far as the URL says what it is."""

    action: Action
    check: Check
    unread: bool = False
    """Whether somebody who may not read the index of the URL can be meant."""


class Glanced(Struct, frozen=True):
    """Anybody. Credentials are read, and the handler says what follows from them; wrong ones are not the end, unless `check` insists."""

    why: str
    check: Check | None = None


Permission = Public | OnIndex | Checked | Glanced


class Variant(Struct, frozen=True):
    """What answers in the place of a route's handler when the request is of another form, such as that of another protocol."""

    when: Callable[[Ask], bool]
    handler: Handler
    permission: Permission | None = None
    """The route's without one of its own; what that refuses is told as the route tells it."""
    envelope: bool = False


class Route(Struct, frozen=True):
    """One method on one path."""

    method: str
    path: str
    """With `[/]` at its end: with a slash there and without one, alike. `{name...}` at its end takes all the segments that are
    left, at least one, and that one may be empty."""
    permission: Permission
    handler: Handler
    summary: str
    validators: Callable[[Ask], Awaitable[Validators]] | None = None
    """What preconditions of a change are compared with; without it there is nothing to compare them with."""
    conditional: bool = True
    """Whether the preconditions of a request are about this answer, and not about what a proxy has been asked for."""
    envelope: bool = False
    """Whether answers and errors are in devpi's envelope (see `devpi.envelope`)."""
    variants: tuple[Variant, ...] = ()
    """The first one that fits answers; the route itself does when none fits."""

    @property
    def segments(self) -> tuple[str, ...]:
        return tuple(self.path.removesuffix("[/]")[1:].split("/"))


class RoutedAsk(Ask, kw_only=True):
    """One request with the route that its path and method have. Handlers see the `Ask` alone."""

    route: Route
    handler: Handler
    envelope: bool
    """These two are the route's until a variant takes over."""


class Match(Struct, frozen=True):
    """A path that is a URL of ours: what its methods are, and what stands for its placeholders."""

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
    """Finds the route of a path. Built once."""

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
        node.methods[route.method] = (route, tuple(names))

    def match(self, segments: tuple[str, ...]) -> Match | None:
        """The route of a path; None when no URL of ours is spelled so.

        A literal segment wins over a placeholder, and that over the rest of a path; a placeholder takes no empty segment and
        none that begins with `+` (those are the server's own). The rest of a path takes whatever `paths` lets through.
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
