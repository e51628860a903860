"""The services that bring releases and whole stores from one place to another."""

from __future__ import annotations

from msgspec import Struct

from pkgindex_core.composition.offered import Offered
from pkgindex_core.composition.shared import Shared
from pkgindex_core.composition.stores import Stores
from pkgindex_core.hookspecs import Context
from pkgindex_core.protocols import Passwords
from pkgindex_core.services.moving.dumps.exporting import Exporting
from pkgindex_core.services.moving.dumps.restoring import Restoring
from pkgindex_core.services.moving.forwarding import Forwarding
from pkgindex_core.services.moving.importing.devpi import DevpiImport
from pkgindex_core.services.moving.parcels import Parcels
from pkgindex_core.services.moving.promotion import Promotion


class Moving(Struct, frozen=True, kw_only=True):
    """All that pushes, exports and imports."""

    promotion: Promotion
    forwarding: Forwarding
    exporting: Exporting
    restoring: Restoring
    devpi_import: DevpiImport


def make_moving(stores: Stores, offered: Offered, shared: Shared, context: Context, *, passwords: Passwords) -> Moving:
    """Make them over one store."""
    store, blobs, clock, workers = stores.index, stores.blobs, context.clock, context.workers
    parcels = Parcels(
        store=store,
        blobs=blobs,
        resolving=shared.resolving,
        sources=shared.sources,
        filters=offered.filters,
        clock=clock,
    )
    return Moving(
        promotion=Promotion(
            store=store,
            blobs=blobs,
            sources=shared.sources,
            parcels=parcels,
            checks=offered.checks,
            workers=workers,
            clock=clock,
        ),
        forwarding=Forwarding(parcels=parcels, publishers=offered.publishers),
        exporting=Exporting(store=store, blobs=blobs, workers=workers),
        restoring=Restoring(store=store, blobs=blobs, workers=workers),
        devpi_import=DevpiImport(
            store=store, blobs=blobs, options=offered.options, passwords=passwords, workers=workers, clock=clock
        ),
    )
