"""The engine: everything composed, in this one place.

    async with Engine.open(settings) as engine:
        answer = await engine.pages.project(PageRequest(...))

An `Engine` owns what it opens (stores, worker threads, what plugins offer) and closes it in reverse order. Programs and embedding
code talk to its services; nothing else constructs them (`composition` has a factory for each kind).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from msgspec.structs import replace

from pkgindex_core.clock import Clock, SystemClock, Timestamp
from pkgindex_core.composition import first_start
from pkgindex_core.composition.administering import make_administering
from pkgindex_core.composition.moving import make_moving
from pkgindex_core.composition.offered import Offered, made_offers
from pkgindex_core.composition.reading import make_reading
from pkgindex_core.composition.shared import make_shared
from pkgindex_core.composition.stores import Stores, opened_stores
from pkgindex_core.composition.writing import make_writing
from pkgindex_core.config import Settings
from pkgindex_core.engines.argon2 import Argon2Hashing
from pkgindex_core.hookspecs import Context
from pkgindex_core.models import Serial
from pkgindex_core.plugins import Plugins, load_plugins
from pkgindex_core.protocols import BlobStore
from pkgindex_core.services.administering.ownership import identity_of
from pkgindex_core.tools.passwords import PasswordPool
from pkgindex_core.tools.workers import in_worker

T = TypeVar("T")


class Engine:
    """The services of one index, ready for use. Made by `Engine.open`."""

    def __init__(
        self,
        *,
        settings: Settings,
        plugins: Plugins,
        stores: Stores,
        offered: Offered,
        context: Context,
        workers: ThreadPoolExecutor,
        passwords: PasswordPool,
    ) -> None:
        self.settings = settings
        self.plugins = plugins
        self.clock = context.clock
        self.store = stores.index
        self.blobs = stores.blobs
        self.workers = workers
        self.passwords = passwords
        self.index_options = offered.options
        self._stores = stores
        self._context = context
        self._uuid = ""
        self._last_commit = (Serial(0), Timestamp(0))

        shared = make_shared(stores, offered)
        self.sources = shared.sources
        self.currency = shared.currency

        reading = make_reading(stores, offered, shared, context, page_cache_bytes=settings.page_cache_bytes)
        self.bodies = reading.bodies
        self.pages = reading.pages
        self.listings = reading.listings
        self.searching = reading.searching
        self.files = reading.files
        self.findlinks = reading.findlinks
        self.information = reading.information
        self.locating = reading.locating
        self.documentation = reading.documentation
        self.versions = reading.versions
        self.overview = reading.overview
        self.explaining = reading.explaining

        writing = make_writing(stores, shared, offered.checks, context, settings)
        self.uploads = writing.uploads
        self.registering = writing.registering
        self.releases = writing.releases
        self.results = writing.results

        administering = make_administering(
            stores, offered, shared, context, settings, passwords=passwords, explaining=reading.explaining
        )
        self.identity = administering.identity
        self.tokens = administering.tokens
        self.users = administering.users
        self.indexes = administering.indexes
        self.project_statuses = administering.project_statuses
        self.project_options = administering.project_options
        self.examining = administering.examining
        self.verifying = administering.verifying
        self.repairing = administering.repairing

        moving = make_moving(stores, offered, shared, context, passwords=passwords)
        self.promotion = moving.promotion
        self.forwarding = moving.forwarding
        self.exporting = moving.exporting
        self.restoring = moving.restoring
        self.devpi_import = moving.devpi_import

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        settings: Settings,
        *,
        plugins: Plugins | None = None,
        clock: Clock | None = None,
        mirrors: bool = True,
        followers: bool = False,
        create: bool = True,
        new_store: bool = False,
        restoring: str = "",
        renew_checksums: bool = False,
    ) -> AsyncIterator[Engine]:
        """Open the stores that the settings name and everything on top of them.

        Without `create` a store that is not there, or has no commit, is `Missing`, and nothing is made. A new store is not begun
        beside the blobs of another one (`services.administering.ownership`), unless `new_store` insists; `restoring` is the identity of a
        dump that is going to fill an empty store. `renew_checksums` has the index store write its checksums anew first.

        Without `mirrors` nothing is fetched from anywhere, and what mirrors have stored is served as it is.
        With `followers` everything that plugins do about commits is done, as a server does it.
        """
        plugins = plugins or load_plugins(disabled=settings.disabled_plugins, settings=settings.plugins)
        async with AsyncExitStack() as stack:
            workers = ThreadPoolExecutor(settings.workers, thread_name_prefix="pkgindex")
            stack.callback(workers.shutdown, wait=True, cancel_futures=True)
            passwords = PasswordPool(Argon2Hashing(), workers)
            context = Context(
                data=Path(settings.data),
                clock=clock or SystemClock(),
                workers=workers,
                passwords=passwords,
                public_url=_public_url(settings),
                renew_checksums=renew_checksums,
            )
            stores = await stack.enter_async_context(
                opened_stores(settings, plugins, context, create=create, new_store=new_store, restoring=restoring)
            )
            context = replace(context, index_store=stores.index, blob_store=stores.blobs)
            offered = await stack.enter_async_context(
                made_offers(settings, plugins, context, mirrors=mirrors, followers=followers)
            )
            yield cls(
                settings=settings,
                plugins=plugins,
                stores=stores,
                offered=offered,
                context=context,
                workers=workers,
                passwords=passwords,
            )

    async def prepare(self) -> Path | None:
        """Give an empty store its first user and indexes; return where the new root password lies, if one was generated."""
        return await first_start.begin(self._stores, self.settings, self._context, self.passwords)

    async def uuid(self) -> str:
        """The identity of the store: the same for every server over it, and for one that replayed its commits.

        All zeros while it has no commit.
        """
        self._uuid = self._uuid or await identity_of(self.store)
        return self._uuid or UUID(int=0).hex

    @asynccontextmanager
    async def other_blobs(self, url: str) -> AsyncIterator[BlobStore]:
        """A blob store besides the engine's own, such as that of a dump."""
        blobs: BlobStore = await self.plugins.blob_store(url).make(url, self._context)
        try:
            yield blobs
        finally:
            await blobs.close()

    async def settle(self) -> None:
        """Wait until everything that was learned from upstreams so far is stored. Closing does so too."""
        await self.blobs.settle()
        await self.store.settle()

    async def last_commit(self) -> tuple[Serial, Timestamp]:
        """The head and when it was committed. A commit is read once, however large it is and whoever asks."""
        head = await self.store.head()
        if self._last_commit[0] != head:
            commits = await self.store.commits(Serial(head - 1), limit=1) if head else []
            self._last_commit = (head, commits[0].at if commits else Timestamp(0))
        return self._last_commit

    async def in_worker(self, function: Callable[[], T]) -> T:
        """Run blocking work in the engine's bounded threads."""
        return await in_worker(self.workers, function)


def _public_url(settings: Settings) -> str:
    host = {"0.0.0.0": "localhost", "::": "localhost"}.get(settings.host, settings.host)  # noqa: S104  # what listens everywhere is also here
    netloc = f"[{host}]" if ":" in host else host
    return settings.outside_url.rstrip("/") or f"http://{netloc}:{settings.port}"
