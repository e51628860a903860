"""The service that gives pages of documentation out of zips."""

from __future__ import annotations

from pkgindex_core.composition.offered import Offered
from pkgindex_core.composition.shared import Shared
from pkgindex_core.composition.stores import Stores
from pkgindex_core.hookspecs import Context
from pkgindex_core.services.reading.documentation import Documentation


def make_documentation(stores: Stores, offered: Offered, shared: Shared, context: Context) -> Documentation:
    """Make it over one store."""
    return Documentation(
        store=stores.index,
        blobs=stores.blobs,
        resolving=shared.resolving,
        currency=shared.currency,
        filters=offered.filters,
        release_files=shared.release_files,
        workers=context.workers,
        clock=context.clock,
    )
