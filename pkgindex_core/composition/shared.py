"""The parts that services of several kinds share, one of each in an engine."""

from __future__ import annotations

from msgspec import Struct

from pkgindex_core.composition.offered import Offered
from pkgindex_core.composition.stores import Stores
from pkgindex_core.engines.hosted_source import HostedSource
from pkgindex_core.engines.unreachable_source import UnreachableSource
from pkgindex_core.services.reading.assembling import Assembling
from pkgindex_core.services.reading.resolving import Resolving
from pkgindex_core.tools.currency import Currency
from pkgindex_core.tools.sources import Sources


class Shared(Struct, frozen=True, kw_only=True):
    """How indexes are seen, and where their content comes from."""

    currency: Currency
    sources: Sources
    resolving: Resolving
    assembling: Assembling


def make_shared(stores: Stores, offered: Offered) -> Shared:
    """Make it over one store."""
    store, blobs = stores.index, stores.blobs
    sources = Sources(
        offered.sources,
        hosted=HostedSource(store=store, blobs=blobs),
        absent=UnreachableSource(store=store, blobs=blobs),
    )
    currency = Currency(store)
    store.listen(currency.touch)
    return Shared(
        currency=currency,
        sources=sources,
        resolving=Resolving(store=store, sources=sources, admission=offered.admission, currency=currency),
        assembling=Assembling(store=store, filters=offered.filters),
    )
