"""The plugin that comes with the library: its own engines, renderers and policies, offered through the hooks.

Nothing here has a privilege that somebody else's plugin lacks. A provider names what it makes by module and
attribute, so that loading the plugins imports no engine: a driver is imported when a store of its kind is opened.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterable
from typing import Any

from pkgindex_core.hookspecs import Context, Provider, hookimpl
from pkgindex_core.protocols import (
    AdmissionPolicy,
    Authenticator,
    BlobStore,
    IndexOption,
    IndexStore,
    IndexType,
    PageFilter,
    Renderer,
)
from pkgindex_core.rules.index_options import BUILTIN_OPTIONS, BUILTIN_TYPES

OWN_USERS = "users"
"""The authenticator that is asked before every other."""
ANY_SCHEME = "fsspec"
"""The blob-store provider that takes the URLs whose scheme nobody else offers."""


@hookimpl
def pkgindex_index_stores() -> Iterable[Provider[IndexStore]]:
    engines = "pkgindex_core.engines"
    yield Provider(
        name="sqlite",
        summary="one SQLite file on a local disk",
        make=_lazy(f"{engines}.sqlite.index:open_sqlite"),
    )
    yield Provider(
        name="memory",
        summary="nothing outlives the process",
        make=_lazy(f"{engines}.memory.index:open_memory"),
    )


@hookimpl
def pkgindex_blob_stores() -> Iterable[Provider[BlobStore]]:
    engines = "pkgindex_core.engines"
    yield Provider(
        name="file",
        summary="a directory on a local disk, durable",
        make=_lazy(f"{engines}.local.blobs:open_local"),
    )
    yield Provider(
        name="memory",
        summary="nothing outlives the process",
        make=_lazy(f"{engines}.memory.blobs:open_memory"),
    )
    yield Provider(
        name=ANY_SCHEME,
        summary="whatever fsspec can reach: takes the schemes that nobody else offers",
        make=_lazy(f"{engines}.fsspec.blobs:open_fsspec"),
    )


@hookimpl
def pkgindex_authenticators() -> Iterable[Provider[Authenticator]]:
    yield Provider(
        name=OWN_USERS,
        summary="the index's own users and their passwords",
        make=_lazy("pkgindex_core.services.administering.user_passwords:UserPasswords"),
    )
    yield Provider(
        name="ldap",
        summary="users and groups of an LDAP directory, when [plugins.ldap] is configured",
        make=_lazy("pkgindex_core.engines.ldap:make_ldap"),
    )


@hookimpl
def pkgindex_admission_policies() -> Iterable[Provider[AdmissionPolicy]]:
    yield Provider(
        name="mirror_whitelist",
        summary="a name that a hosted index has is never taken from a mirror unless whitelisted (devpi's rule)",
        make=_without_context("pkgindex_core.rules.admission:MirrorWhitelist"),
    )
    yield Provider(
        name="first_mirror",
        summary="the same; of several mirrors only the first that has a project gives it",
        make=_without_context("pkgindex_core.rules.admission:FirstMirror"),
    )


@hookimpl
def pkgindex_page_filters() -> Iterable[Provider[PageFilter]]:
    yield Provider(
        name="constrained",
        summary="hides what the constraints of an index do not allow",
        make=_without_context("pkgindex_core.rules.constraining:ConstraintFilter"),
    )


@hookimpl
def pkgindex_renderers() -> Iterable[Provider[Renderer]]:
    formats = "pkgindex_core.formats"
    yield Provider(
        name="application/vnd.pypi.simple.v1+json",
        summary="simple API in JSON (PEP 691)",
        make=_without_context(f"{formats}.json_page:JsonRenderer"),
    )
    for media_type in ("application/vnd.pypi.simple.v1+html", "text/html"):
        yield Provider(
            name=media_type,
            summary="simple API in HTML (PEP 503)",
            make=_without_context(f"{formats}.html_page:HtmlRenderer", media_type),
        )


@hookimpl
def pkgindex_index_types() -> Iterable[Provider[IndexType]]:
    for name, (summary, _) in BUILTIN_TYPES.items():
        yield Provider(name=name, summary=summary, make=_declared("BUILTIN_TYPES", name))
    yield Provider(
        name="constrained",
        summary="lets through what its constraints allow of what its bases offer",
        make=_constant("pkgindex_core.rules.constraining:CONSTRAINED_TYPE"),
    )


@hookimpl
def pkgindex_index_options() -> Iterable[Provider[IndexOption]]:
    for name, (summary, _) in BUILTIN_OPTIONS.items():
        yield Provider(name=name, summary=summary, make=_declared("BUILTIN_OPTIONS", name))
    yield Provider(
        name="constraints",
        summary="requirement lines, one a project; * blocks all other projects",
        make=_constant("pkgindex_core.rules.constraining:CONSTRAINTS_OPTION"),
    )


def _declared(attribute: str, name: str) -> Callable[[Context], Any]:
    """Hand out what a table of `rules.index_options` declares under a name."""
    target = f"pkgindex_core.rules.index_options:{attribute}"

    def make(_context: Context) -> Any:
        return pkgutil.resolve_name(target)[name][1]

    make.__qualname__ = target
    return make


def _constant(target: str) -> Callable[[Context], Any]:
    """Hand out what `module:attribute` names."""

    def make(_context: Context) -> Any:
        return pkgutil.resolve_name(target)

    make.__qualname__ = target
    return make


def _lazy(target: str) -> Callable[..., Any]:
    """Call what `module:attribute` names, with the arguments the hook gives."""

    def make(*arguments: object) -> Any:
        return pkgutil.resolve_name(target)(*arguments)

    make.__qualname__ = target  # what a traceback and the test that resolves every target show
    return make


def _without_context(target: str, *arguments: object) -> Callable[[Context], Any]:
    """Call what `module:attribute` names with these arguments: a pure thing needs nothing of the context."""

    def make(_context: Context) -> Any:
        return pkgutil.resolve_name(target)(*arguments)

    make.__qualname__ = target
    return make
