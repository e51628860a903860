"""Opening the two halves of a store, the index and the blobs, as one.

What is there is opened first. Only then is it known whether a new store may begin (`services.administering.ownership`). Around both
stand those that show at once what was learned from upstreams (`engines.behind`): nothing above knows the stores within.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.composition.data_directory import make_private, no_store, place_of
from pkgindex_core.config import Settings
from pkgindex_core.engines.behind import BlobsBehind, IndexBehind
from pkgindex_core.errors import Missing, Unavailable
from pkgindex_core.hookspecs import Context
from pkgindex_core.plugins import Plugins
from pkgindex_core.protocols import BlobStore, IndexStore
from pkgindex_core.protocols.learning import LearningBlobs, LearningIndex
from pkgindex_core.services.administering.ownership import Ownership

_ABANDONED_SECONDS: Final = 86_400.0
"""After so long without a write, what an upload has left is swept at a start: it outlived its process, whoever's that was."""


class Stores(Struct, frozen=True, kw_only=True):
    """Both halves of one store, open."""

    index: LearningIndex
    blobs: LearningBlobs
    ownership: Ownership


@asynccontextmanager
async def opened_stores(
    settings: Settings, plugins: Plugins, context: Context, *, create: bool, new_store: bool, restoring: str
) -> AsyncIterator[Stores]:
    """Open both, and close them in reverse. The arguments are those of `Engine.open`."""
    if create:
        make_private(context.data)
    async with AsyncExitStack() as stack:
        make_index = partial(plugins.index_store(settings.store).make, settings.store)
        only_existing = replace(context, may_create=False)
        index: IndexStore | None = None
        with suppress(Missing):
            index = await make_index(only_existing)
            stack.push_async_callback(index.close)
        if not create and (index is None or not await index.head()):
            raise no_store(settings)
        make_private(context.data)
        blobs: BlobStore = await plugins.blob_store(settings.blobs).make(settings.blobs, context)
        stack.push_async_callback(blobs.close)
        ownership = Ownership(blobs, place=place_of(settings), insist=new_store, restoring=restoring)
        if index is None:
            free = await ownership.is_free()
            try:
                # Another process may have begun the store meanwhile: then it is there, and so is its mark.
                index = await make_index(context if free else only_existing)
            except Missing as error:
                raise ownership.refusal() from error
            stack.push_async_callback(index.close)
        await ownership.settle(index)
        with suppress(Unavailable):  # a store that cannot be tidied now can perhaps be read
            await blobs.sweep(older_than=_ABANDONED_SECONDS)
        behind = BlobsBehind(blobs, clock=context.clock)
        stack.push_async_callback(behind.finish)
        learning = IndexBehind(index, blobs=behind)
        stack.push_async_callback(learning.finish)
        yield Stores(index=learning, blobs=behind, ownership=ownership)
