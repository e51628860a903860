"""Every hook there is, on one page.

A plugin is a module or object with functions of these names, marked with `hookimpl`, and named in its
distribution's entry-point group `pkgindex`. Built-in engines, renderers, filters and checks register through the same
hooks (`pkgindex_core.plugins`). Hooks assemble at start-up, protocols run: a hook returns `Provider`s, and
nothing calls a hook while a request is answered.

Within one hook a provider's name is unique; two plugins that offer one name are an error at start-up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, Generic, TypeVar

import pluggy
from msgspec import Struct

from pkgindex_core.clock import Clock
from pkgindex_core.protocols import (
    AdmissionPolicy,
    Authenticator,
    BlobStore,
    Follower,
    IndexOption,
    IndexStore,
    IndexType,
    PageFilter,
    Passwords,
    Publisher,
    Renderer,
    Source,
    UploadCheck,
)

NAMESPACE = "pkgindex"
hookspec = pluggy.HookspecMarker(NAMESPACE)
hookimpl = pluggy.HookimplMarker(NAMESPACE)

Role = TypeVar("Role")


class Context(Struct, frozen=True, kw_only=True):
    """What a provider may use while it makes its object."""

    data: Path
    """A directory that belongs to this server; created, private (0700)."""
    clock: Clock
    workers: Executor
    """The engine's bounded threads for disk, hashing and compression."""
    passwords: Passwords | None = None
    """What hashes passwords in the engine, at most two at once, whoever asks."""
    may_create: bool = True
    """False: an index store that is not there is not made; `make` raises `Missing` and changes nothing."""
    renew_checksums: bool = False
    """True: an index store that compares checksums of what it keeps writes them anew before it is opened."""
    settings: Mapping[str, Any] = {}
    """The table `[plugins.NAME]` of the configuration file, for the provider's name."""
    public_url: str = ""
    """Where people reach this server, as far as is known: the setting `outside_url`, otherwise the address it listens on."""
    index_store: IndexStore | None = None
    """Set for everything that is made after the stores."""
    blob_store: BlobStore | None = None


class Provider(Struct, Generic[Role], frozen=True, kw_only=True):
    """One thing a plugin offers."""

    name: str
    """What configuration calls it; for stores, the scheme of the URLs it takes."""
    summary: str
    """One line for `pkgindex-serve plugins`."""
    make: Callable[..., Any]
    """Makes the object; the arguments are said by each hook. May be a coroutine function where the hook says so."""


@hookspec
def pkgindex_index_stores() -> Iterable[Provider[IndexStore]]:
    """Index stores by URL scheme. `await make(url, context)` opens one, creating (`Context.may_create`) or migrating it if need be."""
    raise NotImplementedError


@hookspec
def pkgindex_blob_stores() -> Iterable[Provider[BlobStore]]:
    """Blob stores by URL scheme. `await make(url, context)` opens one. Schemes nobody offers go to fsspec."""
    raise NotImplementedError


@hookspec
def pkgindex_sources() -> Iterable[Provider[Source]]:
    """Where the content of indexes comes from, by index type (`mirror`). `await make(context)`; both stores are set. A type without one has
    what is uploaded, or, when its type says `mirrored`, what is stored already.
    """
    raise NotImplementedError


@hookspec
def pkgindex_publishers() -> Iterable[Provider[Publisher]]:
    """What sends releases to other indexes. `await make(context)`; both stores are set. The first that takes the URL is used."""
    raise NotImplementedError


@hookspec
def pkgindex_followers() -> Iterable[Provider[Follower]]:
    """What follows the commits of the store while a server runs. `await make(context)`; both stores are set. All that are loaded follow."""
    raise NotImplementedError


@hookspec
def pkgindex_authenticators() -> Iterable[Provider[Authenticator]]:
    """Who can tell a principal from credentials, asked in order of name; the index's own users come first. `make(context)`;
    None when its settings leave it off.
    """
    raise NotImplementedError


@hookspec
def pkgindex_admission_policies() -> Iterable[Provider[AdmissionPolicy]]:
    """Which layers may contribute to a page. `make(context)`. The configuration names the one that is used."""
    raise NotImplementedError


@hookspec
def pkgindex_page_filters() -> Iterable[Provider[PageFilter]]:
    """What hides files from pages and from download. `make(context)`. All that are loaded apply."""
    raise NotImplementedError


@hookspec
def pkgindex_renderers() -> Iterable[Provider[Renderer]]:
    """Page formats, by media type. `make(context)`."""
    raise NotImplementedError


@hookspec
def pkgindex_upload_checks() -> Iterable[Provider[UploadCheck]]:
    """What an upload must satisfy beyond the standards. `make(context)`. All that are loaded apply."""
    raise NotImplementedError


@hookspec
def pkgindex_index_types() -> Iterable[Provider[IndexType]]:
    """Kinds of index, by what `type=` says. `make(context)`. An index whose type nobody offers is read-only."""
    raise NotImplementedError


@hookspec
def pkgindex_index_options() -> Iterable[Provider[IndexOption]]:
    """Options of indexes, by key. `make(context)`. Keys that nobody offers are refused."""
    raise NotImplementedError
