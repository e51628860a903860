"""Collects what plugins offer, once, at start-up.

The library's own plugin (`builtin`), objects that a program hands in and the entry points of the group
`pkgindex` all pass through one pluggy manager that lives inside `load_plugins`. What comes out is plain:
typed providers by name. Nothing is made here, and nothing here is used while a request is answered.

Everything that is wrong with the plugins is told at once, with the distribution that causes it. A plugin that cannot be
loaded ends the start: an upload check that is silently absent is worse than a server that does not run.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Awaitable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from inspect import isawaitable
from types import ModuleType
from typing import Any, Final, TypeVar

import pluggy
from msgspec import Struct
from msgspec.structs import asdict, replace
from packaging.utils import canonicalize_name

from pkgindex_core import builtin, hookspecs
from pkgindex_core.errors import PkgIndexError, Refused
from pkgindex_core.hookspecs import NAMESPACE, Provider
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
from pkgindex_core.spelling import suggestion

DISTRIBUTION: Final = "pkgindex"
HOOKS: Final = tuple(name for name, value in vars(hookspecs).items() if hasattr(value, f"{NAMESPACE}_spec"))
"""The names of all hooks, in the order of `hookspecs`."""

Role = TypeVar("Role")

_SCHEME = re.compile(r"\A[a-z][a-z0-9+.-]*\Z")
_BY_SCHEME = frozenset({"pkgindex_index_stores", "pkgindex_blob_stores"})


class Origin(Struct, frozen=True, kw_only=True):
    """Where a plugin comes from."""

    plugin: str
    """The name of the entry point; a dotted name for what a program handed in."""
    distribution: str
    """Empty for what a program handed in."""
    version: str
    path: str
    """The file that the plugin's code was read from."""

    @property
    def source(self) -> str:
        """How messages name the plugin."""
        distribution = f"{self.distribution} {self.version}".strip() or "handed in by the program"
        return f"plugin {self.plugin!r} ({distribution}; {self.path or 'no file'})"


class LoadedProvider(Origin, frozen=True, kw_only=True):
    """One provider and where it comes from, as `pkgindex-serve plugins` lists it."""

    hook: str
    name: str
    summary: str


class Plugins:
    """What is on offer, by hook and name. Built-in providers come first, then the others by name."""

    def __init__(self, found: Iterable[tuple[LoadedProvider, Provider[Any]]]) -> None:
        self._found = tuple(found)

    def index_store(self, url: str) -> Provider[IndexStore]:
        """Who opens this index store: chosen by the URL's scheme. `await make(url, context)`."""
        offered = self._offered("pkgindex_index_stores")
        return _choose(offered, _scheme(url, "index store", "sqlite:///srv/index.sqlite"), "index store for the scheme")

    def blob_store(self, url: str) -> Provider[BlobStore]:
        """Who opens this blob store: chosen by the URL's scheme; what nobody offers goes to fsspec."""
        offered = self._offered("pkgindex_blob_stores")
        scheme = _scheme(url, "blob store", "file:///srv/blobs")
        return offered.get(scheme) or offered[builtin.ANY_SCHEME]

    def sources(self) -> Mapping[str, Provider[Source]]:
        """By index type."""
        return self._offered("pkgindex_sources")

    def publishers(self) -> tuple[Provider[Publisher], ...]:
        return tuple(self._offered("pkgindex_publishers").values())

    def followers(self) -> tuple[Provider[Follower], ...]:
        return tuple(self._offered("pkgindex_followers").values())

    def authenticators(self) -> tuple[Provider[Authenticator], ...]:
        """In the order in which they are asked: the index's own users first."""
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
        """By what `type=` says."""
        return self._offered("pkgindex_index_types")

    def index_options(self) -> Mapping[str, Provider[IndexOption]]:
        """By key."""
        return self._offered("pkgindex_index_options")

    def describe(self) -> tuple[LoadedProvider, ...]:
        """Everything that is loaded, and from where."""
        return tuple(loaded for loaded, _ in self._found)

    def _offered(self, hook: str) -> dict[str, Provider[Any]]:
        return {loaded.name: provider for loaded, provider in self._found if loaded.hook == hook}


def load_plugins(
    *,
    extra: Iterable[object] = (),
    entry_points: bool = True,
    disabled: Collection[str] = (),
    settings: Mapping[str, Mapping[str, Any]] | None = None,
) -> Plugins:
    """Load the built-in plugin, `extra` objects and, unless told not to, every installed plugin.

    `disabled` names distributions whose entry points are left alone; `settings` are tables by the name of the provider
    they are for, which finds its own in the context it is made with. Whatever is wrong is one `Refused`.
    """
    loader = _Loader()
    loader.register(builtin, _origin(builtin, "builtin", DISTRIBUTION, _own_version()))
    for plugin in extra:
        loader.register(plugin, _origin(plugin, _dotted_name(plugin)))
    for entry in _installed(disabled) if entry_points else ():
        loader.load(entry)
    found = [*loader.collect()]
    problems = [*loader.problems, *_taken_twice(found)]
    if problems:
        raise Refused(
            problems,
            hint="uninstall or upgrade the distribution that is named, or list it in the option disabled_plugins",
        )
    tables = settings or {}
    names = {loaded.name for loaded, _ in found}
    strays = [name for name in tables if name not in names]
    if strays:
        raise Refused(
            [f"[plugins.{name}]: no plugin offers {name!r}; {suggestion(name, names)}" for name in strays],
            hint="`pkgindex-serve plugins` lists what is loaded",
        )
    return Plugins((loaded, _guarded(loaded, provider, tables.get(loaded.name, {}))) for loaded, provider in found)


def _guarded(loaded: LoadedProvider, provider: Provider[Any], settings: Mapping[str, Any]) -> Provider[Any]:
    """The provider with its own settings in the context, and with its plugin's name on whatever goes wrong."""

    def make(*arguments: Any) -> Any:
        *url, context = arguments
        with _blaming(loaded):
            made = provider.make(*url, replace(context, settings=settings))
        return later(made) if isawaitable(made) else made

    async def later(made: Awaitable[Any]) -> Any:
        with _blaming(loaded):
            return await made

    return replace(provider, make=make)


@contextmanager
def _blaming(loaded: LoadedProvider) -> Iterator[None]:
    try:
        yield
    except PkgIndexError:
        raise
    except Exception as error:  # the border: whatever a plugin raises while it makes its object
        raise Refused(f"{loaded.source} cannot make {loaded.name!r}: {type(error).__name__}: {error}") from error


class _Loader:
    """One pluggy manager, what went into it from where, and everything that went wrong."""

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
        key = f"{len(self._origins)}:{origin.plugin}"  # pluggy wants unique names, entry points need not have any
        self._origins[key] = origin
        try:
            self._manager.register(plugin, key)
        except pluggy.PluginValidationError as error:
            self.problems.append(f"{origin.source} does not fit its hook: {' '.join(str(error).split())}")

    def load(self, entry: metadata.EntryPoint) -> None:
        """Import what an entry point names."""
        distribution, release = (entry.dist.name, entry.dist.version) if entry.dist else ("", "")
        try:
            plugin = entry.load()
        except Exception as error:  # the border: whatever a plugin raises while it is imported
            source = f"plugin {entry.name!r} ({distribution} {release}; {entry.value})"
            self.problems.append(f"{source} cannot be imported: {type(error).__name__}: {error}")
        else:
            self.register(plugin, _origin(plugin, entry.name, distribution, release))

    def collect(self) -> Iterator[tuple[LoadedProvider, Provider[Any]]]:
        """Ask every plugin for what it offers."""
        self._look_for_misspelled_hooks()
        for hook in HOOKS:
            rows = [row for origin, offer in self._offers(hook) for row in self._rows(hook, origin, offer)]
            rows.sort(key=lambda row: (row[0].distribution != DISTRIBUTION, row[0].name))
            yield from rows

    def _offers(self, hook: str) -> Iterator[tuple[Origin, list[object]]]:
        # One plugin after the other, not through pluggy's caller: an answer has to be traced to who gave it.
        for implementation in getattr(self._manager.hook, hook).get_hookimpls():
            origin = self._origins[implementation.plugin_name]
            if implementation.wrapper or implementation.hookwrapper:
                self.problems.append(f"{origin.source} wraps {hook}; a hook only collects, so there is nothing to wrap")
                continue
            try:
                yield origin, list(implementation.function())
            except Exception as error:  # the border: whatever a plugin raises while it is asked
                self.problems.append(f"{origin.source} failed in {hook}: {type(error).__name__}: {error}")

    def _rows(
        self, hook: str, origin: Origin, offer: Iterable[object]
    ) -> Iterator[tuple[LoadedProvider, Provider[Any]]]:
        for provider in offer:
            if not isinstance(provider, Provider):
                self.problems.append(f"{origin.source} offers {provider!r} in {hook}, which is not a Provider")
            elif not provider.name or (hook in _BY_SCHEME and not _SCHEME.match(provider.name)):
                wanted = "a URL scheme in lower case" if hook in _BY_SCHEME else "a name"
                self.problems.append(
                    f"{origin.source} offers a provider called {provider.name!r} in {hook}; it needs {wanted}"
                )
            else:
                loaded = LoadedProvider(hook=hook, name=provider.name, summary=provider.summary, **asdict(origin))
                yield loaded, provider

    def _look_for_misspelled_hooks(self) -> None:
        """Find functions that are marked as hooks under a name that no hook has: pluggy would never call them."""
        for name in sorted(set(vars(self._manager.hook)) - set(HOOKS)):
            caller = getattr(self._manager.hook, name)
            for implementation in caller.get_hookimpls() if isinstance(caller, pluggy.HookCaller) else ():
                origin = self._origins[implementation.plugin_name]
                self.problems.append(f"{origin.source} implements {name}, which is no hook; {suggestion(name, HOOKS)}")


def _taken_twice(found: Iterable[tuple[LoadedProvider, Provider[Any]]]) -> Iterator[str]:
    first: dict[tuple[str, str], LoadedProvider] = {}
    for loaded, _ in found:
        other = first.setdefault((loaded.hook, loaded.name), loaded)
        if other is not loaded:
            yield f"{loaded.hook}: {loaded.name!r} is offered by {other.source} and by {loaded.source}"


def _installed(disabled: Collection[str]) -> list[metadata.EntryPoint]:
    """Entry points in an order that the search path does not change. A shadowed distribution does not count."""
    off = {canonicalize_name(name) for name in disabled}
    named = [(_distribution(entry), entry) for entry in metadata.entry_points(group=NAMESPACE)]
    named.sort(key=lambda pair: (pair[0], pair[1].name))
    return [entry for distribution, entry in named if distribution not in off]


def _distribution(entry: metadata.EntryPoint) -> str:
    return canonicalize_name(entry.dist.name) if entry.dist else ""


def _choose(offered: Mapping[str, Provider[Role]], name: str, what: str) -> Provider[Role]:
    if name not in offered:
        raise Refused(f"no {what} {name!r}", hint=suggestion(name, offered))
    return offered[name]


def _scheme(url: str, what: str, example: str) -> str:
    """The scheme of a store's URL. The rest is not quoted back: it may hold a password."""
    scheme, separator, _ = url.partition("://")
    if not separator or not scheme:
        raise Refused(f"the {what} is not given as a URL", hint=f"write it like {example}")
    return scheme.lower()


def _own_version() -> str:
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:  # run from a source tree that is not installed
        return ""


def _dotted_name(plugin: object) -> str:
    if isinstance(plugin, ModuleType):
        return plugin.__name__
    kind = plugin if isinstance(plugin, type) else type(plugin)
    return f"{kind.__module__}.{kind.__qualname__}"


def _origin(plugin: object, name: str, distribution: str = "", release: str = "") -> Origin:
    module = plugin if isinstance(plugin, ModuleType) else sys.modules.get(getattr(plugin, "__module__", ""))
    path = getattr(module, "__file__", None) or ""
    return Origin(plugin=name, distribution=distribution, version=release, path=path)
