"""All hooks.

A plugin is a module or object with functions of these names, marked with `hookimpl`. An entry point of the group `pkgindex` in its
distribution names it. Built-in engines, renderers, filters and checks use the same hooks (`pkgindex_core.plugins`).

A hook is called once, at start-up, and returns `Provider`s. No request calls a hook. A provider's name is unique within its hook:
two plugins that offer the same name are an error at start-up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar

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
from pkgindex_core.protocols.advisories import NO_ADVISORIES, AdvisoryBook
from pkgindex_core.protocols.attestations import AttestationVerifier
from pkgindex_core.protocols.catalogue import SearchCatalogue
from pkgindex_core.protocols.replicas import ReplicaState
from pkgindex_core.rules.policing.lines import ServerPolicies

NAMESPACE = "pkgindex"
hookspec = pluggy.HookspecMarker(NAMESPACE)
hookimpl = pluggy.HookimplMarker(NAMESPACE)

Role = TypeVar("Role")


NO_TABLE: Final[Mapping[str, Any]] = MappingProxyType({})


class Context(Struct, frozen=True, kw_only=True):
    """The values that a provider may use to make its object."""

    data: Path
    """The data directory of the server. It exists and is private (0700)."""
    clock: Clock
    workers: Executor
    """The engine's bounded threads for disk, hashing and compression."""
    passwords: Passwords | None = None
    """The engine's password hashing, which runs at most two hashes at once."""
    may_create: bool = True
    """If False and the index store does not exist, `make` raises `Missing` and changes nothing."""
    renew_checksums: bool = False
    """If True, an index store with checksums writes new ones before it is opened."""
    settings: Mapping[str, Any] = NO_TABLE
    """The table `[plugins.NAME]` of the configuration file, for the provider's name. Without the table it is empty (see `is_configured`)."""
    public_url: str = ""
    """The URL of the running program for people, as far as it is known; no slash at the end. Empty if the program does not listen."""
    verifier: Callable[[], AttestationVerifier | None] = lambda: None
    """Returns the verifier of attestations; None if its packages are not installed."""
    policies: ServerPolicies = ServerPolicies()
    """The table `[policies]` of the configuration."""
    advisories: AdvisoryBook = NO_ADVISORIES
    """The book of advisories in the data directory."""
    index_store: IndexStore | None = None
    """None only for providers of stores, as is `blob_store`."""
    blob_store: BlobStore | None = None
    replica: ReplicaState | None = None
    """The state of a replica (`pkgindex-mirror follow`); None in all other programs, and for providers of stores."""

    @property
    def is_configured(self) -> bool:
        """Whether the configuration has the table, perhaps an empty one."""
        return self.settings is not NO_TABLE


class Provider(Struct, Generic[Role], frozen=True, kw_only=True):
    """One offer of a plugin: a name, a summary, and a function that makes the object."""

    name: str
    """The name in the configuration; for stores, the scheme of their URLs."""
    summary: str
    """One line for `pkgindex-serve plugins` and for the help of a program."""
    make: Callable[..., Any]
    """Makes the object. Each hook tells the arguments, and whether it may be a coroutine function."""


class CommandProvider(Provider[Any], frozen=True, kw_only=True):
    """One command of a program. Its name is the program and the word: `pkgindex-serve hello`."""

    section: str = "Of plugins"
    """The heading of the command in the help of the program."""


@hookspec
def pkgindex_index_stores() -> Iterable[Provider[IndexStore]]:
    """Index stores, by URL scheme. `await make(url, context)` opens one, and makes (`Context.may_create`) or migrates it if needed."""
    raise NotImplementedError


@hookspec
def pkgindex_blob_stores() -> Iterable[Provider[BlobStore]]:
    """Blob stores, by URL scheme. `await make(url, context)` opens one. fsspec opens the schemes that no plugin offers."""
    raise NotImplementedError


@hookspec
def pkgindex_catalogues() -> Iterable[Provider[SearchCatalogue]]:
    """Catalogues of searches, by the scheme of the URL of the index store. `make(url, context)` opens nothing yet. A store of a scheme that no
    plugin offers has its catalogue in a SQLite file in the data directory.
    """
    raise NotImplementedError


@hookspec
def pkgindex_sources() -> Iterable[Provider[Source]]:
    """Sources of the content of indexes, by index type (`mirror`). `await make(context)`; both stores are set. An index of a type
    without a source has its uploads, or, if the type is `mirrored`, its stored content.
    """
    raise NotImplementedError


@hookspec
def pkgindex_publishers() -> Iterable[Provider[Publisher]]:
    """Publishers, which send releases to other servers. `await make(context)`; both stores are set. The first that takes the URL is used."""
    raise NotImplementedError


@hookspec
def pkgindex_followers() -> Iterable[Provider[Follower]]:
    """Followers, which read the commits of the store while a server runs. `await make(context)`; both stores are set. All are used, except
    those that are None because they have nothing to do in this program.
    """
    raise NotImplementedError


@hookspec
def pkgindex_authenticators() -> Iterable[Provider[Authenticator]]:
    """Authenticators, which turn credentials into a principal. `make(context)`; None if the settings turn it off. The users of the
    store are asked first, then the others in order of name.
    """
    raise NotImplementedError


@hookspec
def pkgindex_admission_policies() -> Iterable[Provider[AdmissionPolicy]]:
    """Policies that decide which layers give files to a page. `make(context)`. The option `admission` names the one that is used."""
    raise NotImplementedError


@hookspec
def pkgindex_page_filters() -> Iterable[Provider[PageFilter]]:
    """Filters that hide files from pages and downloads. `make(context)`, or `await make(context)`; both stores are set. All are used, except
    those that are None because the settings turn them off.
    """
    raise NotImplementedError


@hookspec
def pkgindex_renderers() -> Iterable[Provider[Renderer]]:
    """Page formats, by media type. `make(context)`."""
    raise NotImplementedError


@hookspec
def pkgindex_upload_checks() -> Iterable[Provider[UploadCheck]]:
    """Checks of uploads, beyond the standards. `make(context)`. All are used."""
    raise NotImplementedError


@hookspec
def pkgindex_index_types() -> Iterable[Provider[IndexType]]:
    """Types of indexes, by the value of `type=`. `make(context)`. An index of a type that no plugin offers is read-only."""
    raise NotImplementedError


@hookspec
def pkgindex_index_options() -> Iterable[Provider[IndexOption]]:
    """Options of indexes, by key. `make(context)`. Keys that no plugin offers are refused."""
    raise NotImplementedError


@hookspec
def pkgindex_routes() -> Iterable[Provider[Any]]:
    """URLs of the server below `/+NAME` and `/{user}/{index}/+NAME`, where NAME is the provider's. `make(context)` returns
    a list of `pkgindex_http.routing.Route`s; both stores are set.
    """
    raise NotImplementedError


@hookspec
def pkgindex_templates() -> Iterable[Provider[Path]]:
    """Directories with templates of the server's pages for people. `make(context)` returns one. A plugin's template replaces the
    server's of the same name; of two plugins the first by name wins.
    """
    raise NotImplementedError


@hookspec
def pkgindex_commands() -> Iterable[CommandProvider]:
    """Commands of `pkgindex-serve` and `pkgindex-mirror`. `make()` returns a command of click. It is called when the command is used."""
    raise NotImplementedError
