"""The services that verify, audit, scrub, repair and clear the store."""

from __future__ import annotations

from msgspec import Struct

from pkgindex_core.composition.offered import Offered
from pkgindex_core.composition.shared import Shared
from pkgindex_core.composition.stores import Stores
from pkgindex_core.hookspecs import Context
from pkgindex_core.services.administering.auditing import Auditing
from pkgindex_core.services.administering.clearing import Clearing
from pkgindex_core.services.administering.repairing import Repairing
from pkgindex_core.services.administering.scrub_round import ScrubParts
from pkgindex_core.services.administering.scrubbing import Scrubbing
from pkgindex_core.services.administering.verifying import Verifying
from pkgindex_core.services.administering.wheel_metadata import WheelMetadata


class Mending(Struct, frozen=True, kw_only=True):
    """The services that verify and scrub files, repair damaged ones, and remove unused ones."""

    verifying: Verifying
    wheels: WheelMetadata
    repairing: Repairing
    clearing: Clearing
    scrubbing: Scrubbing
    auditing: Auditing


def make_mending(stores: Stores, offered: Offered, shared: Shared, context: Context) -> Mending:
    """Make the services over one store."""
    store, blobs, clock, workers = stores.index, stores.blobs, context.clock, context.workers
    verifying = Verifying(store=store, blobs=blobs, clock=clock)
    wheels = WheelMetadata(store=store, blobs=blobs, workers=workers)
    repairing = Repairing(store=store, blobs=blobs, sources=shared.sources, verifying=verifying, wheels=wheels)
    return Mending(
        auditing=Auditing(store=store, workers=workers, without_secrets=offered.options.without_secrets),
        verifying=verifying,
        wheels=wheels,
        repairing=repairing,
        clearing=Clearing(store=store, blobs=blobs, clock=clock),
        scrubbing=Scrubbing(
            ScrubParts(notes=store, blobs=blobs, clock=clock, workers=workers, verifying=verifying, repairing=repairing)
        ),
    )
