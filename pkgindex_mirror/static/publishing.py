"""Publishes an index or a list of packages: opens store and target, keeps other publishers out, and writes the tree."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.clock import SystemClock
from pkgindex_core.config import Settings
from pkgindex_core.errors import Conflict, Missing, PkgIndexError, StorageFull, Unavailable
from pkgindex_core.formats.package_lists import PackageList
from pkgindex_core.hookspecs import Context
from pkgindex_core.models import Serial
from pkgindex_core.names import IndexName
from pkgindex_core.plugins import Plugins, load_plugins
from pkgindex_core.protocols import BlobStore, Notes, Principal
from pkgindex_core.tools import leases
from pkgindex_core.urls import masked
from pkgindex_mirror.static.reports import Progress, PublishReport
from pkgindex_mirror.static.shared_pages import SiteLook
from pkgindex_mirror.static.targets import Target
from pkgindex_mirror.static.templates import OWN, StaticTemplates
from pkgindex_mirror.static.tree_content import TreeContent
from pkgindex_mirror.static.writing import TreeWriter

if TYPE_CHECKING:
    from pkgindex_core.engine import Engine
    from pkgindex_core.services.moving.static_projects import StaticView

_LEASE_SECONDS: Final = 30.0
_PAUSE_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 60.0
"""Most seconds between two runs: a mirror stores files without a commit, which a run would wait for."""
_FAMILIES: Final = {"s3a": "s3", "gcs": "gs"}


class Order(Struct, frozen=True, kw_only=True):
    """One publication: the index, the target, and the look."""

    index: IndexName | str
    """Empty: a list."""
    target: str
    """A directory, or a URL of fsspec."""
    reader: str = ""
    mirrors: bool = False
    packages_url: str = ""
    site: SiteLook = SiteLook()
    per_release: bool = True
    full: bool = False
    dry_run: bool = False

    @property
    def directory(self) -> Path | None:
        """The target, if it is a local directory."""
        scheme, separator, _ = self.target.partition("://")
        if not separator:
            return Path(self.target)
        return Path(unquote(urlsplit(self.target).path)) if scheme in {"file", "local"} else None

    @property
    def lease(self) -> str:
        """The name under which publishers of one store take turns."""
        _, _, path = self.target.partition("://")
        place = str(self.directory.absolute()) if self.directory else f"{_family(self.target)}://{path.rstrip('/')}"
        return f"publish {hashlib.sha256(place.encode()).hexdigest()[:32]}"

    @property
    def shown(self) -> str:
        """The target without passwords."""
        return masked(self.target)


async def publish_index(order: Order, settings: Settings, *, progress: Progress) -> PublishReport:
    """Publish an index of a store."""
    async with _opened(order, settings) as engine:
        return await publish_from(engine, order, progress=progress)


async def follow_index(
    order: Order, settings: Settings, *, told: Callable[[PublishReport | PkgIndexError], None]
) -> None:
    """Publish an index of a store, and again after each commit, until cancelled. `told` gets the outcome of each run.

    A place or store that fails for a while, or another publisher, is told and tried again.
    """
    async with _opened(order, settings) as engine:
        while True:
            try:
                done = await publish_from(engine, order)
            except (Conflict, StorageFull, Unavailable) as error:
                told(error)
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                told(done)
                order = replace(order, full=False)
                await engine.store.wait(Serial(done.serial), timeout=_LOOK_SECONDS)


async def publish_from(engine: Engine, order: Order, *, progress: Progress = lambda *_: None) -> PublishReport:
    """Publish an index of a store that is open.

    `Missing` when there is no such index or reader, `Denied` when the reader may not read it, `Conflict` while another publisher writes the
    same tree.
    """
    from pkgindex_mirror.static.contents import IndexContent

    if order.reader and await engine.store.user(order.reader) is None:
        raise Missing("user", order.reader)
    view = _view(order)
    await engine.static_sources.refresh(await engine.static_projects.elsewhere(view))
    content = IndexContent(engine.static_projects, engine.static_sources, view, await engine.uuid())
    async with _target(order, engine.settings, workers=engine.workers, blobs=engine.blobs) as target:
        writer = _writer(order, content, target, engine.plugins, engine.context, progress)
        if order.dry_run:
            return await writer.run(afresh=order.full)
        if order.directory is not None:
            return await _in_turn(order, target, writer)
        return await _with_lease(engine.store, order, target, writer)


@asynccontextmanager
async def _opened(order: Order, settings: Settings) -> AsyncIterator[Engine]:
    """Open the store of an index. Sources take long to load, so they are only opened if an index has its files outside of the store."""
    from pkgindex_core.engine import Engine

    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(Engine.open(settings, mirrors=False, create=False))
        if await engine.static_projects.elsewhere(_view(order)):
            await stack.aclose()
            engine = await stack.enter_async_context(Engine.open(settings, create=False))
        yield engine


def _view(order: Order) -> StaticView:
    from pkgindex_core.services.moving.static_projects import StaticView

    return StaticView(
        start=IndexName(order.index),
        principal=Principal(name=order.reader) if order.reader else Principal(),
        mirrors=order.mirrors,
        packages_url=order.packages_url.rstrip("/") + "/" if order.packages_url else "",
    )


async def publish_list(order: Order, packages: PackageList, settings: Settings, *, progress: Progress) -> PublishReport:
    """Publish a list of packages. No store is opened."""
    from pkgindex_mirror.static.contents import ListContent

    plugins = load_plugins(disabled=settings.disabled_plugins, settings=settings.plugins)
    with ThreadPoolExecutor(settings.threads) as workers:
        context = Context(data=settings.data, clock=SystemClock(), workers=workers)
        async with _target(order, settings, workers=workers, blobs=None) as target:
            content = ListContent(packages, order.packages_url)
            writer = _writer(order, content, target, plugins, context, progress)
            if order.dry_run:
                return await writer.run(afresh=order.full)
            return await _in_turn(order, target, writer)


def _writer(
    order: Order, content: TreeContent, target: Target, plugins: Plugins, context: Context, progress: Progress
) -> TreeWriter:
    directories = [Path(provider.make(context)) for _, provider in plugins.templates()]
    return TreeWriter(
        content,
        target,
        workers=context.workers,
        site=order.site,
        templates=StaticTemplates([*directories, OWN]),
        per_release=order.per_release,
        dry_run=order.dry_run,
        progress=progress,
    )


async def _in_turn(order: Order, target: Target, writer: TreeWriter) -> PublishReport:
    async with target.turn():
        return await writer.run(afresh=order.full)


async def _with_lease(notes: Notes, order: Order, target: Target, writer: TreeWriter) -> PublishReport:
    """Write while no other publisher of this store writes the same tree: for places that cannot lock."""
    done: list[PublishReport] = []

    async def work(_: leases.HeldLease) -> None:
        done.append(await _in_turn(order, target, writer))

    async def pause() -> None:
        raise Conflict(
            f"another publisher writes {order.shown} now",
            hint=f"wait until it has ended; if it was killed, its turn ends by itself after {_LEASE_SECONDS:.0f} seconds",
        )

    await leases.while_held(notes, order.lease, f"process {os.getpid()}", work, seconds=_LEASE_SECONDS, pause=pause)
    if not done:
        raise Unavailable("the turn to write the tree was lost while it was written", hint="publish again")
    return done[0]


@asynccontextmanager
async def _target(
    order: Order, settings: Settings, *, workers: Executor, blobs: BlobStore | None
) -> AsyncIterator[Target]:
    async with AsyncExitStack() as stack:
        target: Target
        if order.directory is not None:
            from pkgindex_mirror.static.local_target import LocalTarget

            local = LocalTarget(order.directory, blobs=blobs, workers=workers)
            if not order.dry_run:
                await local.open()
            target = local
        else:
            from pkgindex_core.engines.fsspec.connecting import connect
            from pkgindex_mirror.static.object_target import ObjectTarget

            storage_options = settings.plugins.get("fsspec", {}).get("storage_options", {})
            medium, root = await connect(order.target, workers=workers, storage_options=storage_options)
            blobs_roots = [
                medium.root_of(url)
                for url in (settings.blobs, settings.mirrored_blobs)
                if _family(url) == _family(order.target) and medium.copies(url, order.target)
            ]
            target = ObjectTarget(
                medium,
                root,
                scheme=_family(order.target),
                clock=SystemClock(),
                blobs=blobs,
                workers=workers,
                blobs_roots=blobs_roots,
            )
        stack.push_async_callback(target.close)
        yield target


def _family(url: str) -> str:
    scheme = url.partition("://")[0]
    return _FAMILIES.get(scheme, scheme)
