"""The engine: everything composed, in this one place.

    async with Engine.open(settings) as engine:
        answer = await engine.pages.project(PageRequest(...))

An `Engine` owns what it opens (stores, worker threads, refreshers) and closes it in reverse order. Programs and embedding
code talk to its services; nothing else constructs them.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from msgspec.structs import replace

from pkgindex_core.changes import IndexAbsent, PutIndex, PutUser, UserAbsent
from pkgindex_core.clock import Clock, SystemClock
from pkgindex_core.config import Settings
from pkgindex_core.errors import RequirementFailed
from pkgindex_core.hookspecs import Context
from pkgindex_core.models import ANONYMOUS, IndexConfig, User
from pkgindex_core.names import owner, parse_index_name
from pkgindex_core.plugins import Plugins, load_plugins
from pkgindex_core.protocols import BlobStore, IndexStore, Refresher
from pkgindex_core.services.administration import ROOT, Administration
from pkgindex_core.services.explaining import Explaining
from pkgindex_core.services.files import Files
from pkgindex_core.services.identity import Identity
from pkgindex_core.services.listing import Listings
from pkgindex_core.services.pages import Pages
from pkgindex_core.services.passwords import PasswordPool
from pkgindex_core.services.publishing import Publishing, UploadLimits
from pkgindex_core.urls import without_credentials

PASSWORD_FILE = "root-password"  # noqa: S105 - the name of a file
MIRROR_NAME = "root/pypi"
"""The mirror that a fresh store has."""


class Engine:
    """The services of one index, ready for use. Made by `Engine.open`."""

    def __init__(
        self,
        *,
        settings: Settings,
        plugins: Plugins,
        clock: Clock,
        store: IndexStore,
        blobs: BlobStore,
        workers: ThreadPoolExecutor,
        refreshers: dict[str, Refresher],
        context: Context,
    ) -> None:
        self.settings = settings
        self.plugins = plugins
        self.clock = clock
        self.store = store
        self.blobs = blobs
        self.workers = workers
        admission = plugins.admission(settings.admission, context)
        filters = plugins.page_filters(context)
        renderers = plugins.renderers(context)
        self.passwords = PasswordPool(workers)
        self.identity = Identity(store=store, authenticators=plugins.authenticators(context), clock=clock)
        self.pages = Pages(
            store=store,
            admission=admission,
            filters=filters,
            renderers=renderers,
            refreshers=refreshers,
            workers=workers,
            clock=clock,
            cache_bytes=settings.page_cache_bytes,
        )
        self.listings = Listings(
            store=store, pages=self.pages, renderers=renderers, refreshers=refreshers, workers=workers
        )
        self.files = Files(store=store, blobs=blobs, filters=filters, refreshers=refreshers, clock=clock)
        self.publishing = Publishing(
            store=store,
            blobs=blobs,
            checks=plugins.upload_checks(context),
            limits=UploadLimits(file_bytes=settings.max_upload_bytes),
            workers=workers,
            clock=clock,
        )
        self.administration = Administration(store=store, passwords=self.passwords, clock=clock)
        self.explaining = Explaining(
            store=store,
            pages=self.pages,
            admission=admission,
            filters=filters,
            refreshers=refreshers,
            clock=clock,
        )

    @classmethod
    @asynccontextmanager
    async def open(
        cls, settings: Settings, *, plugins: Plugins | None = None, clock: Clock | None = None
    ) -> AsyncIterator[Engine]:
        """Open the stores that the settings name and everything on top of them."""
        plugins = plugins or load_plugins()
        clock = clock or SystemClock()
        data = Path(settings.data)
        _make_private(data)
        async with AsyncExitStack() as stack:
            workers = ThreadPoolExecutor(settings.workers, thread_name_prefix="pkgindex")
            stack.callback(workers.shutdown, wait=True, cancel_futures=True)
            context = Context(data=data, clock=clock, workers=workers)
            store = await plugins.index_store(settings.store, context)
            stack.push_async_callback(store.close)
            blobs = await plugins.blob_store(settings.blobs, context)
            stack.push_async_callback(blobs.close)
            context = replace(context, index_store=store, blob_store=blobs)
            refreshers = await plugins.refreshers(context)
            for refresher in refreshers.values():
                stack.push_async_callback(refresher.close)
            yield cls(
                settings=settings,
                plugins=plugins,
                clock=clock,
                store=store,
                blobs=blobs,
                workers=workers,
                refreshers=refreshers,
                context=context,
            )

    async def prepare(self) -> Path | None:
        """Give an empty store its first user and indexes; return where the new root password lies, if one was made.

        The mirror and the default index can be read by everyone and written by nobody but their owner; the password is
        generated, written to a file that only this user can read, and never printed.
        """
        made = await self._make_root()
        for config in self._first_indexes():
            try:
                await self.store.apply([PutIndex(config)], who="[start]", require=[IndexAbsent(config.name)])
            except RequirementFailed:
                continue
        return made

    async def _make_root(self) -> Path | None:
        if await self.store.users():
            return None
        place = Path(self.settings.data) / PASSWORD_FILE
        password = secrets.token_urlsafe(24)
        _write_private(place, password)
        now = self.clock.now()
        user = User(name=ROOT, password_hash=await self.passwords.hash(password), created=now, modified=now)
        try:
            await self.store.apply([PutUser(user)], who="[start]", require=[UserAbsent(ROOT)])
        except RequirementFailed:
            return None
        return place

    def _first_indexes(self) -> list[IndexConfig]:
        url, credentials = without_credentials(self.settings.upstream)
        mirror = IndexConfig(
            name=parse_index_name(MIRROR_NAME),
            type="mirror",
            volatile=False,
            acl_read=(ANONYMOUS,),
            mirror_url=url,
            mirror_credentials=credentials,
            mirror_cache_expiry=self.settings.mirror.expiry,
            title="PyPI",
        )
        default = parse_index_name(self.settings.default_index)
        if owner(default) != ROOT:
            return [mirror]
        stage = IndexConfig(
            name=default,
            bases=(mirror.name,),
            volatile=False,
            acl_read=(ANONYMOUS,),
            acl_upload=(ROOT,),
        )
        return [mirror, stage]


def _make_private(directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)


def _write_private(place: Path, text: str) -> None:
    """Write a file that only this user can read, durably, replacing one that is there."""
    place.unlink(missing_ok=True)
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(f"{text}\n")
        stream.flush()
        os.fsync(stream.fileno())
