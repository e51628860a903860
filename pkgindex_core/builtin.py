"""The built-in plugin: offers the library's own engines, renderers and policies through the hooks.

It has no privileges over other plugins. Providers name their targets by module and attribute, so loading the plugin imports no
engine: a driver is imported when a store of its kind is opened.
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
    Follower,
    IndexOption,
    IndexStore,
    IndexType,
    PageFilter,
    Renderer,
    Source,
)
from pkgindex_core.protocols.catalogue import SearchCatalogue
from pkgindex_core.rules.policing.kinds import KINDS, Kind

OWN_USERS = "users"
"""The authenticator that is asked before every other."""
ANY_CATALOGUE = "sqlite"
"""The catalogue of index stores for whose scheme no plugin offers one."""
ANY_SCHEME = "fsspec"
"""The blob-store provider for URL schemes that no other provider offers."""


@hookimpl
def pkgindex_index_stores() -> Iterable[Provider[IndexStore]]:
    engines = "pkgindex_core.engines"
    yield Provider(
        name="sqlite",
        summary="one SQLite file on a local disk",
        make=_lazy(f"{engines}.sqlite.index:open_sqlite"),
    )
    for scheme in ("postgresql", "postgres"):
        yield Provider(
            name=scheme,
            summary="a PostgreSQL database, for any number of servers at once",
            make=_lazy(f"{engines}.postgresql.making:open_postgresql"),
        )
    yield Provider(
        name="memory",
        summary="in memory, lost when the process ends",
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
        summary="in memory, lost when the process ends",
        make=_lazy(f"{engines}.memory.blobs:open_memory"),
    )
    yield Provider(
        name=ANY_SCHEME,
        summary="all media of fsspec, for the schemes that no other plugin offers",
        make=_lazy(f"{engines}.fsspec.opening:open_fsspec"),
    )


@hookimpl
def pkgindex_catalogues() -> Iterable[Provider[SearchCatalogue]]:
    engines = "pkgindex_core.engines"
    yield Provider(
        name=ANY_CATALOGUE,
        summary="one SQLite file in the data directory, for all schemes that no other plugin offers",
        make=_lazy(f"{engines}.sqlite.catalogue:make_catalogue"),
    )
    yield Provider(
        name="memory",
        summary="in memory, made again by each process",
        make=_lazy(f"{engines}.memory.catalogue:make_catalogue"),
    )


@hookimpl
def pkgindex_sources() -> Iterable[Provider[Source]]:
    yield Provider(
        name="directory",
        summary="wheels and sdists in directories and buckets",
        make=_lazy("pkgindex_core.engines.directory.making:make_source"),
    )
    yield Provider(
        name="routes",
        summary="wheels and sdists in the folders that routes name",
        make=_lazy("pkgindex_core.engines.routes.making:make_source"),
    )


@hookimpl
def pkgindex_authenticators() -> Iterable[Provider[Authenticator]]:
    yield Provider(
        name=OWN_USERS,
        summary="users and passwords of the store",
        make=_lazy("pkgindex_core.services.administering.user_passwords:UserPasswords"),
    )
    yield Provider(
        name="ldap",
        summary="users and groups of an LDAP directory, when [plugins.ldap] is configured",
        make=_lazy("pkgindex_core.engines.ldap:make_ldap"),
    )
    yield Provider(
        name="htpasswd",
        summary="users of an htpasswd file, when [plugins.htpasswd] is configured",
        make=_lazy("pkgindex_core.engines.htpasswd:make_htpasswd"),
    )


@hookimpl
def pkgindex_admission_policies() -> Iterable[Provider[AdmissionPolicy]]:
    yield Provider(
        name="mirror_whitelist",
        summary="a project of a hosted index gets no files from mirrors, unless it is whitelisted (devpi's rule)",
        make=_without_context("pkgindex_core.rules.admission:MirrorWhitelist"),
    )
    yield Provider(
        name="first_mirror",
        summary="the same, and of several mirrors only the first that has a project gives files",
        make=_without_context("pkgindex_core.rules.admission:FirstMirror"),
    )
    yield Provider(
        name="available_mirrors",
        summary="as mirror_whitelist, but while a mirror cannot be asked, pages have the files of the others and say so",
        make=_without_context("pkgindex_core.rules.admission:AvailableMirrors"),
    )


@hookimpl
def pkgindex_page_filters() -> Iterable[Provider[PageFilter]]:
    yield Provider(
        name="constrained",
        summary="hides files that the constraints of an index do not allow",
        make=_without_context("pkgindex_core.rules.constraining:ConstraintFilter"),
    )
    for rule, kind in KINDS.items():
        if not kind.only_uploads:
            yield Provider(name=rule, summary=f"a policy: {kind.summary}", make=_policy(kind))


@hookimpl
def pkgindex_followers() -> Iterable[Provider[Follower]]:
    yield Provider(
        name="audit",
        summary="chains the log of changes by hashes",
        make=_lazy("pkgindex_core.services.administering.auditing:make_chain"),
    )


@hookimpl
def pkgindex_renderers() -> Iterable[Provider[Renderer]]:
    formats = "pkgindex_core.formats"
    yield Provider(
        name="application/vnd.pypi.simple.v1+json",
        summary="simple API in JSON (PEP 691)",
        make=_rendering(f"{formats}.json_page:JsonRenderer"),
    )
    for media_type in ("application/vnd.pypi.simple.v1+html", "text/html"):
        yield Provider(
            name=media_type,
            summary="simple API in HTML (PEP 503)",
            make=_rendering(f"{formats}.html_page:HtmlRenderer", media_type),
        )


@hookimpl
def pkgindex_index_types() -> Iterable[Provider[IndexType]]:
    from pkgindex_core.rules.index_options import BUILTIN_TYPES  # not for `--help`

    for name, (summary, _) in BUILTIN_TYPES.items():
        yield Provider(name=name, summary=summary, make=_declared("BUILTIN_TYPES", name))
    yield Provider(
        name="constrained",
        summary="shows the files of its bases that its constraints allow",
        make=_constant("pkgindex_core.rules.constraining:CONSTRAINED_TYPE"),
    )
    yield Provider(
        name="directory",
        summary="shows the wheels and sdists in directories or buckets",
        make=_constant("pkgindex_core.engines.directory.roots:DIRECTORY_TYPE"),
    )
    yield Provider(
        name="routes",
        summary="takes each project from the folder or the base that its route names",
        make=_constant("pkgindex_core.rules.routing:ROUTES_TYPE"),
    )


@hookimpl
def pkgindex_index_options() -> Iterable[Provider[IndexOption]]:
    from pkgindex_core.rules.index_options import BUILTIN_OPTIONS  # not for `--help`

    for name, (summary, _) in BUILTIN_OPTIONS.items():
        yield Provider(name=name, summary=summary, make=_declared("BUILTIN_OPTIONS", name))
    yield Provider(
        name="constraints",
        summary="requirement lines, one for each project; * blocks all other projects",
        make=_constant("pkgindex_core.rules.constraining:CONSTRAINTS_OPTION"),
    )
    yield Provider(
        name="policies",
        summary="lines of rules about what is let through, such as `cooldown 7d`",
        make=_constant("pkgindex_core.rules.policing.lines:POLICIES_OPTION"),
    )
    yield Provider(
        name="namespaces",
        summary="prefixes of names that this index has to itself, in indexes that inherit it too (PEP 752)",
        make=_constant("pkgindex_core.rules.namespaces:NAMESPACES_OPTION"),
    )
    yield Provider(
        name="trusted_publishers",
        summary="lines of PROJECT PUBLISHER: workflows that may upload without a stored secret",
        make=_constant("pkgindex_core.rules.trusted_publishers:TRUSTED_PUBLISHERS_OPTION"),
    )
    yield Provider(
        name="roots",
        summary="directories and fsspec URLs of a directory index, only for indexes of root; the first takes uploads",
        make=_constant("pkgindex_core.engines.directory.roots:ROOTS_OPTION"),
    )
    yield Provider(
        name="routes",
        summary="a JSON list of the routes of an index, only for indexes of root; see `pkgindex-serve run --routes`",
        make=_constant("pkgindex_core.rules.routing:ROUTES_OPTION"),
    )


def _declared(attribute: str, name: str) -> Callable[[Context], Any]:
    """Return an entry of a table of `rules.index_options`."""
    target = f"pkgindex_core.rules.index_options:{attribute}"

    def make(_context: Context) -> Any:
        return pkgutil.resolve_name(target)[name][1]

    make.__qualname__ = target
    return make


def _constant(target: str) -> Callable[[Context], Any]:
    """Return the object that `module:attribute` names."""

    def make(_context: Context) -> Any:
        return pkgutil.resolve_name(target)

    make.__qualname__ = target
    return make


def _lazy(target: str) -> Callable[..., Any]:
    """Call the function that `module:attribute` names with the arguments of the hook."""

    def make(*arguments: object) -> Any:
        return pkgutil.resolve_name(target)(*arguments)

    make.__qualname__ = target  # for tracebacks, and for the test that resolves every target
    return make


def _rendering(target: str, *arguments: str) -> Callable[[Context], Any]:
    """Make a renderer that knows the URL of the program."""

    def make(context: Context) -> Any:
        return pkgutil.resolve_name(target)(*arguments, context.public_url)

    make.__qualname__ = target
    return make


def _policy(kind: Kind) -> Callable[[Context], Any]:
    """Make the filter of a rule with the server's own policies, and with the book of advisories if it reads that."""

    def make(context: Context) -> Any:
        from pkgindex_core.rules.policing.policy_filter import made

        return made(kind, context.policies, context.advisories)

    make.__qualname__ = f"pkgindex_core.rules.policing.{kind.filter}"
    return make


def _without_context(target: str, *arguments: object) -> Callable[[Context], Any]:
    """Call the function that `module:attribute` names with these arguments, without the context."""

    def make(_context: Context) -> Any:
        return pkgutil.resolve_name(target)(*arguments)

    make.__qualname__ = target
    return make
