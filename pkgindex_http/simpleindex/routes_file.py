"""Reads the TOML file of simpleindex. Everything that is wrong is said at once, each with its line and what to write instead.

    [routes."corp-{name}"]            [server]
    source = "path"                   host = "127.0.0.1"
    to = "./corp-{name}"              port = 8000

`FILE::tool.simpleindex` reads the tables below a key, as of a `pyproject.toml`. Two keys of a route are ours: `mode = "cache"` and `whole_folder = true`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import Struct

from pkgindex_core.errors import Refused
from pkgindex_core.rules.route_patterns import (
    escaped,
    has_stray_brace,
    is_literal,
    last_segment,
    parse_pattern,
    parse_template,
)
from pkgindex_core.spelling import suggestion
from pkgindex_core.urls import without_credentials
from pkgindex_http.simpleindex.settings import Kind, RouteSettings, RoutesSettings
from pkgindex_http.simpleindex.tables import lines_of, tables_of, text_of

_TABLES: Final = frozenset({"routes", "server"})
_KEYS: Final = frozenset({"source", "to", "mode", "whole_folder"})
_MODES: Final = frozenset({"redirect", "cache"})
_BUILTIN: Final = frozenset({"path", "http"})
_KIND: Final = re.compile(r"\{(\w+):\w+\}")


class RoutesFile(Struct, frozen=True, kw_only=True):
    """The contents of a file."""

    settings: RoutesSettings
    server: Mapping[str, Any]
    """The table `[server]`, whose keys have `-` for `_`."""
    remarks: tuple[str, ...]
    """Lines for an administrator."""


def read_routes_file(argument: str, plugins: Collection[str]) -> RoutesFile:
    """Read `FILE` or `FILE::KEY`. `plugins` are the names of the plugins of simpleindex that are installed."""
    name, _, key = argument.partition("::")
    path = Path(name).expanduser().absolute()
    text = text_of(path)
    document = tables_of(path, text, key)
    reader = _RoutesReader(path, lines_of(text, key), frozenset(plugins) - _BUILTIN)
    routes = reader.routes(document.get("routes", {}))
    unknown = [each for each in document if each not in _TABLES]
    reader.problems += [f"{path.name}: {each!r} is no table of routes; {suggestion(each, _TABLES)}" for each in unknown]
    server = document.get("server", {})
    if not isinstance(server, dict):
        reader.problems.append(f"{path.name}: server is no table; write [server] with host and port below it")
        server = {}
    if reader.problems:
        raise Refused(reader.problems, hint=f"correct {path.name}; nothing was changed")
    return RoutesFile(
        settings=RoutesSettings(file=path.name, directory=str(path.parent), routes=tuple(routes)),
        server={each.replace("_", "-"): value for each, value in server.items()},
        remarks=tuple(reader.remarks),
    )


class _RoutesReader:
    """Reads the routes, and collects problems and remarks."""

    def __init__(self, path: Path, lines: Mapping[str, int], plugins: Collection[str]) -> None:
        self._path = path
        self._lines = lines
        self._plugins = plugins
        self.problems: list[str] = []
        self.remarks: list[str] = []

    def routes(self, tables: Any) -> list[RouteSettings]:
        if not isinstance(tables, dict):
            self.problems.append(f'{self._path.name}: routes is no table; write [routes."{{project}}"]')
            return []
        found: list[RouteSettings] = []
        catching = ""
        for pattern, table in tables.items():
            place = f"{self._path.name}, line {self._lines[pattern]}" if pattern in self._lines else self._path.name
            try:
                route = self._route(pattern, table, place)
            except Refused as error:
                hint = f"; {error.hint}" if error.hint else ""
                self.problems += [f"{place}: {problem}{hint}" for problem in error.problems]
                continue
            found.append(route)
            if catching and not route.prefix:
                self.remarks.append(
                    f"{place}: the route {pattern!r} is never reached: {catching} matches every project"
                )
            elif re.fullmatch(r"\{\w+(?::(?:str|path))?\}", pattern):
                catching = f"{pattern!r} ({place})"
        return found

    def _route(self, pattern: str, table: Any, place: str) -> RouteSettings:
        parameters = parse_pattern(pattern).parameters
        if has_stray_brace(pattern):
            # The names that it should claim would come from the next route.
            raise Refused(f"the pattern {pattern!r} has a brace that is no parameter", hint="write it as {project}")
        if not isinstance(table, dict):
            raise Refused(f"the route {pattern!r} is no table", hint="write source and to below its header")
        for key in table:
            if key not in _KEYS:
                raise Refused(f"the route {pattern!r} has the unknown key {key!r}", hint=suggestion(key, _KEYS))
        source, to = table.get("source"), table.get("to")
        for key, value in (("source", source), ("to", to)):
            if not isinstance(value, str) or not value:
                raise Refused(f"the route {pattern!r} has no {key}", hint=f'write {key} = "…" below its header')
        assert isinstance(source, str)
        assert isinstance(to, str)
        self._look_at_spelling(pattern, place)
        kind, written = self._target(pattern, parameters, table, source, to, place)
        route = RouteSettings(
            pattern=pattern, place=place, kind=kind, to=written, provider=source if kind == "custom" else ""
        )
        self._check_prefix(route)
        return route

    def _target(
        self, pattern: str, parameters: tuple[str, ...], table: Mapping[str, Any], source: str, to: str, place: str
    ) -> tuple[Kind, str]:
        for key, owner in (("mode", "http"), ("whole_folder", "path")):
            if key in table and source != owner:
                raise Refused(f"{key} is for routes with source = {owner!r}", hint=f"leave {key} out")
        if source == "path":
            return self._path_target(parameters, table.get("whole_folder", False), to, place)
        if source == "http":
            return self._http_target(pattern, parameters, table.get("mode", "redirect"), to, place)
        if source not in self._plugins:
            known = suggestion(source, [*_BUILTIN, *self._plugins])
            raise Refused(
                f"the source {source!r} is not installed",
                hint=f"{known}; install the plugin of simpleindex (entry point simpleindex.routes) together with simpleindex, or offer"
                " a source of your own with the hook pkgindex_sources",
            )
        return "custom", to

    def _path_target(self, parameters: tuple[str, ...], whole: Any, to: str, place: str) -> tuple[Kind, str]:
        if not isinstance(whole, bool):
            raise Refused("whole_folder is true or false", hint="write whole_folder = true, or leave it out")
        to = to if to.startswith("/") else f"{escaped(str(self._path.parent))}/{to}"
        to = _without_dots(to)
        if to.strip("/") == "":
            raise Refused("the whole file system is no folder of packages", hint="name the folder in to")
        template = parse_template(to, parameters)
        if to.endswith((".html", ".htm")) or (template.is_constant and Path(template.filled({})).is_file()):
            return "page", to
        if whole:
            self.remarks.append(f"{place}: whole_folder shows every file of the folder under every name that matches")
            return "whole_folder", to
        return "path", to

    def _http_target(
        self, pattern: str, parameters: tuple[str, ...], mode: Any, to: str, place: str
    ) -> tuple[Kind, str]:
        if mode not in _MODES:
            raise Refused(f"mode is {mode!r}", hint='write mode = "cache", or "redirect", which is the default')
        template = parse_template(to, parameters)
        parts = urlsplit(template.start)
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise Refused(f"{to!r} is no http or https URL", hint="write it as https://host/simple/{project}/")
        if mode == "redirect":
            if "@" in parts.netloc:
                self.remarks.append(
                    f'{place}: WARNING: the redirect shows the credentials of its URL to everybody; mode = "cache" keeps them'
                )
            return "redirect", to
        above, _, last = to.rstrip("/").rpartition("/")
        if not parse_template(above, parameters).is_constant or _spelled(last) != _spelled(last_segment(pattern)[1]):
            raise Refused(
                f'mode = "cache" asks the upstream for the project by its own name, and {to!r} does not end in it',
                hint=f"let it end in /{_spelled(last_segment(pattern)[1])}/, without parameters before, or leave mode out",
            )
        without_credentials(above)
        return "cache", f"{parse_template(above, ()).filled({})}/"

    def _check_prefix(self, route: RouteSettings) -> None:
        prefix = route.prefix
        if is_literal(prefix):
            if ":path}" in last_segment(route.pattern)[1] and route.kind in {"path", "whole_folder", "page"}:
                raise Refused("a parameter of the kind path can hold slashes", hint="leave out :path")
            if prefix.startswith("+") or "/+" in prefix:
                raise Refused("paths that begin with + are the server's own", hint="choose another path")
            return
        if route.kind not in {"redirect", "custom"} or "/" in prefix:
            raise Refused(
                f"the pattern {route.pattern!r} has a parameter before its last segment",
                hint="write a route for each value, such as team-a/{project} and team-b/{project}",
            )

    def _look_at_spelling(self, pattern: str, place: str) -> None:
        last = last_segment(pattern)[1]
        if _spelled(last) != _KIND.sub(r"{\1}", last):
            self.remarks.append(
                f"{place}: installers ask for normalised names, so {pattern!r} is read as {_spelled(last)!r}"
            )


def _spelled(segment: str) -> str:
    """A segment with normalised literal text and without the kinds of parameters."""
    parts = re.split(r"(\{[^{}]*\})", _KIND.sub(r"{\1}", segment))
    return "".join(part if part.startswith("{") else re.sub(r"[-_.]+", "-", part).lower() for part in parts)


def _without_dots(path: str) -> str:
    """An absolute path without `.` and `..`. A parameter is a segment or a part of one."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in {"", "."}:
            kept.append(segment)
    return f"/{'/'.join(kept)}"
