"""Collects the providers of all plugins, once, at start-up.

The library's own plugin (`builtin`), objects that a program hands in and the entry points of the group `pkgindex` all pass through
one pluggy manager inside `load_plugins`. The result is typed providers by name. Nothing is made here, and no request uses this
module.

One error names all problems, each with its distribution. A plugin that cannot be loaded stops the start, because a server without
an expected upload check would be worse than none.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Awaitable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from inspect import isawaitable
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeVar

import pluggy
from msgspec import Struct
from msgspec.structs import asdict, replace

from pkgindex_core import builtin, hookspecs, installed
from pkgindex_core.errors import PkgIndexError, Refused
from pkgindex_core.hookspecs import NAMESPACE, NO_TABLE, CommandProvider, Provider
from pkgindex_core.installed import EntryPoint, installed_version
from pkgindex_core.names import normalized_or_none
from pkgindex_core.protocols import (
    AdmissionPolicy,
    Authenticator,
    BlobStore,
    Follower,
    IndexOption,
    IndexStore,
    IndexType,
    PageFilter,
    Publisher,
    Renderer,
    Source,
    UploadCheck,
)
from pkgindex_core.protocols.catalogue import SearchCatalogue
from pkgindex_core.roles import AWAITED, MAY_BE_AWAITED, misfit
from pkgindex_core.spelling import suggestion

DISTRIBUTION: Final = "pkgindex"
HOOKS: Final = tuple(name for name, value in vars(hookspecs).items() if hasattr(value, f"{NAMESPACE}_spec"))
"""The names of all hooks, in the order of `hookspecs`."""

Role = TypeVar("Role")

_ANY_NAME = (re.compile(r"(?s).+"), "a name")
_SCHEME = (re.compile(r"\A[a-z][a-z0-9+.-]*\Z"), "a URL scheme in lower case")
_NAMES: Final = {
    "pkgindex_index_stores": _SCHEME,
    "pkgindex_blob_stores": _SCHEME,
    "pkgindex_catalogues": _SCHEME,
    "pkgindex_commands": (re.compile(r"\A[a-z-]+ [a-z][a-z0-9-]*\Z"), "a program and a word, `pkgindex-serve hello`"),
}
"""The form of providers' names, for the hooks that restrict it."""


class Origin(Struct, frozen=True, kw_only=True):
    """The origin of a plugin."""

    plugin: str
    """The name of the entry point; a dotted name for an object that a program handed in."""
    distribution: str
    """Empty for an object that a program handed in."""
    version: str
    path: str
    """The file of the plugin's code."""

    @property
    def source(self) -> str:
        """The name of the plugin in messages."""
        distribution = f"{self.distribution} {self.version}".strip() or "handed in by the program"
        return f"plugin {self.plugin!r} ({distribution}; {self.path or 'no file'})"


class LoadedProvider(Origin, frozen=True, kw_only=True):
    """A provider with its origin, as `pkgindex-serve plugins` lists it."""

    hook: str
    name: str
    summary: str


class Plugins:
    """The providers of all plugins, by hook and name. Built-in providers come first, then the others by name."""

    def __init__(self, found: Iterable[tuple[LoadedProvider, Provider[Any]]]) -> None:
        self._found = tuple(found)

    def index_store(self, url: str) -> Provider[IndexStore]:
        """The provider of this index store, by the scheme of its URL. `await make(url, context)`."""
        offered = self._offered("pkgindex_index_stores")
        return _choose(offered, _scheme(url, "index store", "sqlite:///srv/index.sqlite"), "index store for the scheme")

    def blob_store(self, url: str) -> Provider[BlobStore]:
        """The provider of this blob store, by the scheme of its URL; fsspec if no plugin offers the scheme. `await make(url, context)`."""
        offered = self._offered("pkgindex_blob_stores")
        scheme = _scheme(url, "blob store", "file:///srv/blobs")
        return offered.get(scheme) or offered[builtin.ANY_SCHEME]

    def catalogue(self, store: str) -> Provider[SearchCatalogue]:
        """The provider of the catalogue of an index store, by the scheme of its URL. `make(url, context)`."""
        offered = self._offered("pkgindex_catalogues")
        scheme = _scheme(store, "index store", "sqlite:///srv/index.sqlite")
        return offered.get(scheme) or offered[builtin.ANY_CATALOGUE]

    def sources(self) -> Mapping[str, Provider[Source]]:
        """By index type."""
        return self._offered("pkgindex_sources")

    def publishers(self) -> tuple[Provider[Publisher], ...]:
        return tuple(self._offered("pkgindex_publishers").values())

    def followers(self) -> tuple[Provider[Follower], ...]:
        return tuple(self._offered("pkgindex_followers").values())

    def authenticators(self) -> tuple[Provider[Authenticator], ...]:
        """In the order in which they are asked: the users of the store first."""
        offered = self._offered("pkgindex_authenticators")
        return tuple(offered[name] for name in sorted(offered, key=lambda name: name != builtin.OWN_USERS))

    def admission(self, name: str) -> Provider[AdmissionPolicy]:
        """The admission policy of this name."""
        return _choose(self._offered("pkgindex_admission_policies"), name, "admission policy")

    def page_filters(self) -> tuple[Provider[PageFilter], ...]:
        return tuple(self._offered("pkgindex_page_filters").values())

    def renderers(self) -> Mapping[str, Provider[Renderer]]:
        """By media type."""
        return self._offered("pkgindex_renderers")

    def upload_checks(self) -> tuple[Provider[UploadCheck], ...]:
        return tuple(self._offered("pkgindex_upload_checks").values())

    def index_types(self) -> Mapping[str, Provider[IndexType]]:
        """By the value of `type=`."""
        return self._offered("pkgindex_index_types")

    def index_options(self) -> Mapping[str, Provider[IndexOption]]:
        """By key."""
        return self._offered("pkgindex_index_options")

    def routes(self) -> tuple[tuple[LoadedProvider, Provider[Any]], ...]:
        """Providers of routes with their origins, which the server names when it refuses a route."""
        return tuple(row for row in self._found if row[0].hook == "pkgindex_routes")

    def templates(self) -> tuple[tuple[LoadedProvider, Provider[Path]], ...]:
        """Providers of templates with their origins; the built-in ones last."""
        rows = [row for row in self._found if row[0].hook == "pkgindex_templates"]
        return tuple(sorted(rows, key=lambda row: row[0].distribution == DISTRIBUTION))

    def commands(self) -> tuple[CommandProvider, ...]:
        """The commands of all programs."""
        offered: Mapping[str, Any] = self._offered("pkgindex_commands")
        return tuple(offered.values())

    def describe(self) -> tuple[LoadedProvider, ...]:
        """All loaded providers with their origins."""
        return tuple(loaded for loaded, _ in self._found)

    def _offered(self, hook: str) -> dict[str, Provider[Any]]:
        return {loaded.name: provider for loaded, provider in self._found if loaded.hook == hook}


def load_plugins(
    *,
    program: ModuleType | None = None,
    extra: Iterable[object] = (),
    entry_points: bool = True,
    disabled: Collection[str] = (),
    settings: Mapping[str, Mapping[str, Any]] | None = None,
) -> Plugins:
    """Load the built-in plugin, that of the `program`, `extra` objects and, with `entry_points`, all installed plugins.

    `disabled` names distributions whose entry points are not loaded. `settings` has a table for each provider by its name; the
    provider gets it in its context. Raises one `Refused` with all problems.
    """
    plugins, problems = survey_plugins(
        program=program, extra=extra, entry_points=entry_points, disabled=disabled, settings=settings
    )
    if problems:
        raise broken(problems)
    return plugins


def broken(problems: Sequence[str]) -> Refused:
    """The error for plugins that cannot be loaded."""
    return Refused(
        problems,
        hint="uninstall or upgrade a distribution that is named, or list it in the option disabled_plugins; `pkgindex-serve plugins` lists"
        " the plugins that are loaded",
    )


def survey_plugins(
    *,
    program: ModuleType | None = None,
    extra: Iterable[object] = (),
    entry_points: bool = True,
    disabled: Collection[str] = (),
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    hooks: Collection[str] = HOOKS,
) -> tuple[Plugins, list[str]]:
    """The plugins that can be loaded, and the problems of the others. The arguments are those of `load_plugins`."""
    loader = _Loader()
    loader.register(builtin, _origin(builtin, "builtin", DISTRIBUTION, installed_version(DISTRIBUTION)))
    if program is not None:
        loader.register(program, _origin(program, program.__name__, DISTRIBUTION, installed_version(DISTRIBUTION)))
    for plugin in extra:
        loader.register(plugin, _origin(plugin, _dotted_name(plugin)))
    for entry in _installed(disabled) if entry_points else ():
        if program is None or entry.value != program.__name__:  # the mirror's plugin is both
            loader.load(entry)
    tables = settings or {}
    found = [*loader.collect(hooks)]
    names = {loaded.name for loaded, _ in found}
    strays = [
        f"[plugins.{name}]: no plugin offers {name!r}; {suggestion(name, names)}"
        for name in tables
        if name not in names
    ]
    plugins = Plugins(
        (loaded, _guarded(loaded, provider, tables.get(loaded.name, NO_TABLE))) for loaded, provider in found
    )
    return plugins, [*loader.problems, *_taken_twice(found), *_without_type(found), *strays]


def _guarded(loaded: LoadedProvider, provider: Provider[Any], settings: Mapping[str, Any]) -> Provider[Any]:
    """The provider with its own settings in the context. Its exceptions become `Refused` with the plugin's name."""

    def make(*arguments: Any) -> Any:
        if arguments:
            *url, context = arguments
            arguments = (*url, replace(context, settings=settings))
        with _blaming(loaded):
            made = provider.make(*arguments)
            if loaded.hook not in AWAITED and not (loaded.hook in MAY_BE_AWAITED and isawaitable(made)):
                return _fitting(loaded, made)
            if not isawaitable(made):
                raise TypeError("make must be a coroutine function for this hook; write it with async def")
        return later(made)

    async def later(made: Awaitable[Any]) -> Any:
        with _blaming(loaded):
            return _fitting(loaded, await made)

    return replace(provider, make=make)


def _fitting(loaded: LoadedProvider, made: Any) -> Any:
    """The made object. Raises if it cannot play its role."""
    problem = misfit(loaded.hook, made)
    if problem:
        raise TypeError(problem)
    return made


@contextmanager
def _blaming(loaded: LoadedProvider) -> Iterator[None]:
    try:
        yield
    except PkgIndexError:
        raise
    except Exception as error:  # a plugin may raise anything while it makes its object
        raise Refused(
            f"{loaded.source} cannot make {loaded.name!r}: {type(error).__name__}: {error}",
            hint=f"check its settings in [plugins.{loaded.name}]; if they are right the plugin has a defect: correct it, or list its"
            " distribution in the option disabled_plugins",
        ) from error


class _Loader:
    """One pluggy manager with the origins of its plugins, and the problems of all plugins."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(NAMESPACE)
        self._manager.add_hookspecs(hookspecs)
        self._origins: dict[str, Origin] = {}
        self.problems: list[str] = []

    def register(self, plugin: object, origin: Origin) -> None:
        twin = self._manager.get_name(plugin)
        if twin is not None:
            self.problems.append(f"{origin.source} is the same object as {self._origins[twin].source}")
            return
        key = f"{len(self._origins)}:{origin.plugin}"  # pluggy needs unique names; entry points may share one
        self._origins[key] = origin
        try:
            self._manager.register(plugin, key)
        except pluggy.PluginValidationError as error:
            self.problems.append(f"{origin.source} does not fit its hook: {' '.join(str(error).split())}")

    def load(self, entry: EntryPoint) -> None:
        """Import and register the plugin of an entry point."""
        distribution, release = entry.distribution, entry.version
        try:
            plugin = entry.load()
        except Exception as error:  # a plugin may raise anything while it is imported
            source = f"plugin {entry.name!r} ({distribution} {release}; {entry.value})"
            self.problems.append(f"{source} cannot be imported: {type(error).__name__}: {error}")
        else:
            self.register(plugin, _origin(plugin, entry.name, distribution, release))

    def collect(self, hooks: Collection[str]) -> Iterator[tuple[LoadedProvider, Provider[Any]]]:
        """Call the hooks of all plugins, and yield their providers."""
        self._look_for_misspelled_hooks()
        for hook in hooks:
            rows = [row for origin, offer in self._offers(hook) for row in self._rows(hook, origin, offer)]
            rows.sort(key=lambda row: (row[0].distribution != DISTRIBUTION, row[0].name))
            yield from rows

    def _offers(self, hook: str) -> Iterator[tuple[Origin, list[object]]]:
        # Implementations are called one by one, not through pluggy's caller, so that each offer has a known origin.
        for implementation in getattr(self._manager.hook, hook).get_hookimpls():
            origin = self._origins[implementation.plugin_name]
            if implementation.wrapper or implementation.hookwrapper:
                self.problems.append(f"{origin.source} has a wrapper of {hook}; wrappers are not supported")
                continue
            try:
                yield origin, list(implementation.function())
            except Exception as error:  # a plugin may raise anything in its hook
                self.problems.append(f"{origin.source} failed in {hook}: {type(error).__name__}: {error}")

    def _rows(
        self, hook: str, origin: Origin, offer: Iterable[object]
    ) -> Iterator[tuple[LoadedProvider, Provider[Any]]]:
        pattern, wanted = _NAMES.get(hook, _ANY_NAME)
        kind = CommandProvider if hook == "pkgindex_commands" else Provider
        for provider in offer:
            if not isinstance(provider, kind):
                self.problems.append(f"{origin.source} offers {provider!r} in {hook}, which is not a {kind.__name__}")
            elif not pattern.match(provider.name or ""):
                self.problems.append(
                    f"{origin.source} offers a provider called {provider.name!r} in {hook}; it needs {wanted}"
                )
            else:
                loaded = LoadedProvider(hook=hook, name=provider.name, summary=provider.summary, **asdict(origin))
                yield loaded, provider

    def _look_for_misspelled_hooks(self) -> None:
        """Report functions that are marked as hooks but have the name of no hook, since pluggy would never call them."""
        for name in sorted(set(vars(self._manager.hook)) - set(HOOKS)):
            caller = getattr(self._manager.hook, name)
            for implementation in caller.get_hookimpls() if isinstance(caller, pluggy.HookCaller) else ():
                origin = self._origins[implementation.plugin_name]
                self.problems.append(
                    f"{origin.source} implements {name}, which is not a hook; {suggestion(name, HOOKS)}"
                )


def _taken_twice(found: Iterable[tuple[LoadedProvider, Provider[Any]]]) -> Iterator[str]:
    first: dict[tuple[str, str], LoadedProvider] = {}
    for loaded, _ in found:
        other = first.setdefault((loaded.hook, loaded.name), loaded)
        if other is not loaded:
            yield f"{loaded.hook}: {loaded.name!r} is offered by {other.source} and by {loaded.source}"


def _without_type(found: Sequence[tuple[LoadedProvider, Provider[Any]]]) -> Iterator[str]:
    """Sources that no index could have. Nothing is known of them if the types were not collected."""
    types = {loaded.name for loaded, _ in found if loaded.hook == "pkgindex_index_types"}
    for loaded, _ in found if types else ():
        if loaded.hook == "pkgindex_sources" and loaded.name not in types:
            yield f"{loaded.source} has a source for the index type {loaded.name!r}, which no plugin offers; {suggestion(loaded.name, types)}"


def _installed(disabled: Collection[str]) -> list[EntryPoint]:
    """Entry points in an order that does not depend on the search path, without those of disabled distributions."""
    off = {_normalized(name) for name in disabled}
    found = sorted(installed.entry_points(NAMESPACE), key=lambda each: (_normalized(each.distribution), each.name))
    return [each for each in found if _normalized(each.distribution) not in off]


def _normalized(distribution: str) -> str:
    return normalized_or_none(distribution) or distribution


def _choose(offered: Mapping[str, Provider[Role]], name: str, what: str) -> Provider[Role]:
    if name not in offered:
        raise Refused(f"no {what} {name!r}", hint=suggestion(name, offered))
    return offered[name]


def _scheme(url: str, what: str, example: str) -> str:
    """The scheme of a store's URL. The error does not quote the URL, which may have a password."""
    scheme, separator, _ = url.partition("://")
    if not separator or not scheme:
        raise Refused(f"the value for the {what} is not a URL", hint=f"write it like {example}")
    return scheme.lower()


def _dotted_name(plugin: object) -> str:
    if isinstance(plugin, ModuleType):
        return plugin.__name__
    kind = plugin if isinstance(plugin, type) else type(plugin)
    return f"{kind.__module__}.{kind.__qualname__}"


def _origin(plugin: object, name: str, distribution: str = "", release: str = "") -> Origin:
    module = plugin if isinstance(plugin, ModuleType) else sys.modules.get(getattr(plugin, "__module__", ""))
    path = getattr(module, "__file__", None) or ""
    return Origin(plugin=name, distribution=distribution, version=release, path=path)
