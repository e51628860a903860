"""The caches of an engine, each with its name and the unit of its limit, for `/+metrics`.

A service that no request has needed yet is not made for this list, so its caches are not in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pkgindex_core.composition.offered import Offered
from pkgindex_core.composition.reading import Reading
from pkgindex_core.composition.shared import Shared
from pkgindex_core.composition.stores import Stores
from pkgindex_core.tools.bounded_cache import Caching, NamedCache

if TYPE_CHECKING:
    from pkgindex_core.composition.describing import Describing
    from pkgindex_core.services.reading.documentation import Documentation
    from pkgindex_core.services.reading.file_contents import FileContents
    from pkgindex_core.services.reading.sizing import Sizing


def caches_of(
    stores: Stores, offered: Offered, shared: Shared, reading: Reading, made: Mapping[str, Any]
) -> list[NamedCache]:
    """The caches now. `made`: the services that are made at their first use, as far as they were, by the names of `Services`."""
    pages, files = reading.pages, reading.files
    caches = [
        NamedCache("pages", shared.bodies, "bytes"),
        NamedCache("long_pages", pages.building.long_pages.kept, "bytes"),
        NamedCache("lists", reading.listings.long_lists.kept, "bytes"),
        NamedCache("tags", pages.tags),
        NamedCache("warnings", pages.building.kept_warnings),
        NamedCache("page_filters", pages.filters.kept),
        NamedCache("file_filters", files.offering.filters.kept),
        NamedCache("resolutions", shared.resolving.kept, "layers"),
        NamedCache("findings", files.finding.kept),
        NamedCache("places", files.placed),
        NamedCache("release_files", shared.release_files.kept, "files"),
        NamedCache("verdicts", shared.identity.kept),
        NamedCache("decisions", offered.decisions.kept),
    ]
    describing: Describing | None = made.get("_describing")
    if describing is not None:
        caches += [
            NamedCache("documents", describing.information.latest, "bytes"),
            NamedCache("shown_pages", describing.showing.kept, "files"),
            NamedCache("find_links", describing.findlinks.named),
        ]
    documentation: Documentation | None = made.get("documentation")
    if documentation is not None:
        caches += [
            NamedCache("documentation", documentation.found),
            NamedCache("documentation_members", documentation.zips.directories, "members"),
        ]
    contents: FileContents | None = made.get("file_contents")
    if contents is not None:
        caches += [
            NamedCache("listings", contents.listings, "members"),
            NamedCache("listing_members", contents.zips.directories, "members"),
        ]
    sizing: Sizing | None = made.get("sizing")
    if sizing is not None:
        caches += [NamedCache("wheel_sizes", sizing.wheels), NamedCache("installed_sizes", sizing.sums)]
    for provided in (stores.blobs, shared.sources.hosted, *offered.sources.values(), *offered.authenticators):
        if isinstance(provided, Caching):
            caches += provided.caches()
    return caches
