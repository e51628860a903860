"""Opens the two halves of a store, the index and the blobs, as one.

Existing halves are opened first, because they decide whether a new store may be made (`services.administering.ownership`). Both are
then wrapped by `engines.behind`, which shows at once what was learned from upstreams. Services only see the wrappers.
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
from pkgindex_core.engines.behind import BlobsBehind, IndexBehind, ReplicaIndex
from pkgindex_core.errors import Missing, Unavailable
from pkgindex_core.hookspecs import Context
from pkgindex_core.plugins import Plugins
from pkgindex_core.protocols import BlobStore, IndexStore
from pkgindex_core.protocols.learning import LearningBlobs, LearningIndex
from pkgindex_core.protocols.replicas import ReplicaState
from pkgindex_core.services.administering.ownership import Ownership, require_ended
from pkgindex_core.tools.replica_notes import primary_of, read_note

_ABANDONED_SECONDS: Final = 86_400.0
"""Seconds without a write after which a start removes the leftovers of an upload. No upload that is under way pauses so long."""


class Stores(Struct, frozen=True, kw_only=True):
    """Both halves of one open store."""

    index: LearningIndex
    blobs: LearningBlobs
    ownership: Ownership
    replica: ReplicaState | None = None
    """None: the store takes writes."""


@asynccontextmanager
async def opened_stores(
    settings: Settings, plugins: Plugins, context: Context, *, create: bool, new_store: bool, restoring: str
) -> AsyncIterator[Stores]:
    """Open both halves, and close them in reverse order. The arguments are those of `Engine.open`."""
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
            if index is not None:
                await require_ended(index, place_of(settings))
            raise no_store(settings)
        make_private(context.data)
        blobs: BlobStore = await plugins.blob_store(settings.blobs).make(settings.blobs, context)
        stack.push_async_callback(blobs.close)
        ownership = Ownership(blobs, place=place_of(settings), insist=new_store, restoring=restoring)
        if index is None:
            free = await ownership.is_free()
            try:
                # Another process may have made the store and its mark meanwhile.
                index = await make_index(context if free else only_existing)
            except Missing as error:
                raise ownership.refusal() from error
            stack.push_async_callback(index.close)
        await ownership.settle(index)
        with suppress(Unavailable):  # a store that cannot be swept now may still be readable
            await blobs.sweep(older_than=_ABANDONED_SECONDS)

        async def open_copies() -> BlobStore:
            copies: BlobStore = await plugins.blob_store(settings.mirrored_blobs).make(settings.mirrored_blobs, context)
            with suppress(Unavailable):
                await copies.sweep(older_than=_ABANDONED_SECONDS)
            return copies

        behind = BlobsBehind(blobs, clock=context.clock, open_copies=open_copies)
        stack.push_async_callback(behind.close_copies)
        stack.push_async_callback(behind.finish)
        replica = await _replica_of(index, settings, context)
        learning = IndexBehind(ReplicaIndex(index, replica.primary) if replica else index, blobs=behind)
        stack.push_async_callback(learning.finish)
        yield Stores(index=learning, blobs=behind, ownership=ownership, replica=replica)


async def _replica_of(index: IndexStore, settings: Settings, context: Context) -> ReplicaState | None:
    """The state of a replica, if the store is one, or if the settings make it one."""
    note = await read_note(index)
    if settings.follow:
        primary, credentials = primary_of(settings.follow, settings.follow_token)
        return ReplicaState(primary=primary, credentials=credentials, note=note, clock=context.clock)
    return ReplicaState(primary=note.primary, credentials="", note=note, clock=context.clock) if note else None
