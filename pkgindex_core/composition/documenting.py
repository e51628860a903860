"""The services that read members of archives: pages of documentation, and the contents and sizes of files."""

from __future__ import annotations

from pkgindex_core.composition.offered import Offered
from pkgindex_core.composition.shared import Shared
from pkgindex_core.composition.stores import Stores
from pkgindex_core.hookspecs import Context
from pkgindex_core.services.reading.documentation import Documentation
from pkgindex_core.services.reading.file_contents import FileContents
from pkgindex_core.services.reading.files import Files
from pkgindex_core.services.reading.locating import Locating
from pkgindex_core.services.reading.showing import Showing
from pkgindex_core.services.reading.sizing import Sizing


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


def make_file_contents(stores: Stores, context: Context, *, files: Files, locating: Locating) -> FileContents:
    """Make it over one store."""
    return FileContents(
        store=stores.index,
        blobs=stores.blobs,
        files=files,
        locating=locating,
        workers=context.workers,
        clock=context.clock,
    )


def make_sizing(context: Context, *, showing: Showing, contents: FileContents) -> Sizing:
    """Make it over two other services."""
    return Sizing(showing=showing, contents=contents, clock=context.clock)
