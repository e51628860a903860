"""The mirror as a plugin of the library: offers the `Refresher` for indexes of type `mirror`.

Importing this is cheap: aiohttp comes in when the refresher is made.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pkgindex_core.hookspecs import Context, Provider, hookimpl

if TYPE_CHECKING:
    from pkgindex_core.protocols import Publisher, Refresher
    from pkgindex_mirror.publishing import HttpPublisher
    from pkgindex_mirror.readthrough import ReadThrough


async def make(context: Context) -> ReadThrough:
    """Make the refresher; `[plugins.mirror]` holds its settings (`MirrorSettings`)."""
    from pkgindex_mirror.readthrough import ReadThrough
    from pkgindex_mirror.settings import read_settings

    assert context.index_store is not None
    assert context.blob_store is not None
    return ReadThrough(
        store=context.index_store,
        blob_store=context.blob_store,
        clock=context.clock,
        workers=context.workers,
        settings=read_settings(context.settings),
    )


async def make_publisher(context: Context) -> HttpPublisher:
    """Make the publisher; its settings are the refresher's."""
    from pkgindex_mirror.publishing import HttpPublisher
    from pkgindex_mirror.settings import read_settings

    assert context.blob_store is not None
    return HttpPublisher(blob_store=context.blob_store, settings=read_settings(context.settings))


@hookimpl
def pkgindex_refreshers() -> Iterable[Provider[Refresher]]:
    return [Provider(name="mirror", summary="read-through cache of another index, over HTTP", make=make)]


@hookimpl
def pkgindex_publishers() -> Iterable[Provider[Publisher]]:
    return [Provider(name="mirror", summary="pushes releases to other indexes, over HTTP", make=make_publisher)]
