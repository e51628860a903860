"""The engine: opens the stores, and has all services over them.

    async with Engine.open(settings) as engine:
        answer = await engine.pages.project(PageRequest(...))

An `Engine` owns its stores, worker threads and the objects of plugins, and closes them in reverse order. Programs use its services.
Services are constructed nowhere else (`composition.services`, with a factory for each kind).
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
from pkgindex_core.composition.attesting import attestation_verifier
from pkgindex_core.composition.offered import Offered, made_offers
from pkgindex_core.composition.services import Services
from pkgindex_core.composition.stores import Stores, opened_stores
from pkgindex_core.config import Settings
from pkgindex_core.engines.advisories.book import FiledBook
from pkgindex_core.engines.argon2 import Argon2Hashing
from pkgindex_core.hookspecs import Context
from pkgindex_core.models import Serial
from pkgindex_core.plugins import Plugins, load_plugins
from pkgindex_core.protocols import BlobStore
from pkgindex_core.rules.policing.lines import read_server_policies
from pkgindex_core.services.administering.ownership import identity_of
from pkgindex_core.tools.passwords import PasswordPool
from pkgindex_core.tools.workers import in_worker

T = TypeVar("T")


class Engine(Services):
    """The services over one store, and the store. `Engine.open` makes it."""

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
        super().__init__(stores, offered, context, settings, passwords)
        self.plugins = plugins
        self.clock = context.clock
        self.store = stores.index
        self.blobs = stores.blobs
        self.replica = stores.replica
        self.workers = workers
        self.index_options = offered.options
        self._uuid = ""
        self._last_commit = (Serial(0), Timestamp(0))

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
        public_url: str = "",
        names_from_elsewhere: bool = False,
    ) -> AsyncIterator[Engine]:
        """Open the stores of the settings, and make the services.

        create           whether to make a missing store. If False, a store that is missing or has no commit raises `Missing`
        new_store        whether a new store may use the blobs of another one (`services.administering.ownership`)
        restoring        the identity of a backup that will fill an empty store
        renew_checksums  whether the index store first writes new checksums
        mirrors          whether upstreams are asked. If False, mirrors show their stored content
        followers        whether plugins follow the commits, as in a server
        public_url       the URL of the program for people
        names_from_elsewhere  whether user names also come from outside the store, such as from a proxy (`HouseRules`)
        """
        plugins = plugins or load_plugins(disabled=settings.disabled_plugins, settings=settings.plugins)
        async with AsyncExitStack() as stack:
            workers = ThreadPoolExecutor(settings.threads, thread_name_prefix="pkgindex")
            stack.callback(workers.shutdown, wait=True, cancel_futures=True)
            passwords = PasswordPool(Argon2Hashing(), workers)
            context = Context(
                data=Path(settings.data),
                clock=clock or SystemClock(),
                workers=workers,
                passwords=passwords,
                public_url=public_url,
                verifier=attestation_verifier(settings.trusted_root),
                policies=read_server_policies(settings.policies),
                advisories=FiledBook(Path(settings.data)),
                renew_checksums=renew_checksums,
            )
            stores = await stack.enter_async_context(
                opened_stores(settings, plugins, context, create=create, new_store=new_store, restoring=restoring)
            )
            context = replace(context, index_store=stores.index, blob_store=stores.blobs, replica=stores.replica)
            offered = await stack.enter_async_context(
                made_offers(
                    settings,
                    plugins,
                    context,
                    mirrors=mirrors,
                    followers=followers,
                    names_from_elsewhere=names_from_elsewhere,
                )
            )
            engine = cls(
                settings=settings,
                plugins=plugins,
                stores=stores,
                offered=offered,
                context=context,
                workers=workers,
                passwords=passwords,
            )
            stack.push_async_callback(engine.close_catalogue)
            yield engine

    async def prepare(self, *, indexes: bool = True, log_in: bool = True) -> Path | None:
        """Give an empty store its first user and indexes. Returns the file with root's password, if one was generated.

        Without `indexes` the store gets the user alone. Without `log_in` the user has no password, so no log-in is possible.
        """
        return await first_start.begin(
            self._stores, self.settings, self.context, self.passwords, indexes=indexes, log_in=log_in
        )

    async def uuid(self) -> str:
        """The identity of the store: the same for all servers over it, and for copies of its commits. All zeros without a commit."""
        self._uuid = self._uuid or await identity_of(self.store)
        return self._uuid or UUID(int=0).hex

    @asynccontextmanager
    async def other_blobs(self, url: str) -> AsyncIterator[BlobStore]:
        """Open a blob store besides the engine's own, such as one with intact copies."""
        blobs: BlobStore = await self.plugins.blob_store(url).make(url, self.context)
        try:
            yield blobs
        finally:
            await blobs.close()

    async def settle(self) -> None:
        """Wait until all that was learned from upstreams so far is stored. Closing the engine does so too."""
        await self.blobs.settle()
        await self.store.settle()

    async def last_commit(self) -> tuple[Serial, Timestamp]:
        """The newest serial and its time. Each commit is read at most once, since it may be large."""
        head = await self.store.head()
        if self._last_commit[0] != head:
            commits = await self.store.commits(Serial(head - 1), limit=1) if head else []
            self._last_commit = (head, commits[0].at if commits else Timestamp(0))
        return self._last_commit

    async def in_worker(self, function: Callable[[], T]) -> T:
        """Run a blocking function in the engine's worker threads."""
        return await in_worker(self.workers, function)
