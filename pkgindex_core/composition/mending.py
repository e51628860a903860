"""The services that verify, repair and clear the store."""

from __future__ import annotations

from msgspec import Struct

from pkgindex_core.composition.shared import Shared
from pkgindex_core.composition.stores import Stores
from pkgindex_core.hookspecs import Context
from pkgindex_core.services.administering.clearing import Clearing
from pkgindex_core.services.administering.repairing import Repairing
from pkgindex_core.services.administering.verifying import Verifying
from pkgindex_core.services.administering.wheel_metadata import WheelMetadata


class Mending(Struct, frozen=True, kw_only=True):
    """The services that verify files, repair damaged ones, and remove unused ones."""

    verifying: Verifying
    wheels: WheelMetadata
    repairing: Repairing
    clearing: Clearing


def make_mending(stores: Stores, shared: Shared, context: Context) -> Mending:
    """Make the services over one store."""
    store, blobs, clock, workers = stores.index, stores.blobs, context.clock, context.workers
    verifying = Verifying(store=store, blobs=blobs, clock=clock)
    wheels = WheelMetadata(store=store, blobs=blobs, workers=workers)
    return Mending(
        verifying=verifying,
        wheels=wheels,
        repairing=Repairing(store=store, blobs=blobs, sources=shared.sources, verifying=verifying, wheels=wheels),
        clearing=Clearing(store=store, blobs=blobs, clock=clock),
    )
