"""The mirror as a plugin of the library: offers the `Source` for indexes of type `mirror`.

Importing this is cheap: aiohttp comes in when the source is made.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from pkgindex_core.hookspecs import Context, Provider, hookimpl

if TYPE_CHECKING:
    from pkgindex_core.protocols import Follower, Publisher, Source
    from pkgindex_core.protocols.index_types import IndexOption
    from pkgindex_mirror.publishing import HttpPublisher
    from pkgindex_mirror.readthrough import ReadThrough
    from pkgindex_mirror.webhooks import Webhooks


async def make(context: Context) -> ReadThrough:
    """Make the source; `[plugins.mirror]` holds its settings (`MirrorSettings`)."""
    from pkgindex_core.protocols.learning import LearningBlobs, LearningIndex
    from pkgindex_mirror.readthrough import ReadThrough
    from pkgindex_mirror.settings import read_settings

    assert isinstance(context.index_store, LearningIndex)
    assert isinstance(context.blob_store, LearningBlobs)
    return ReadThrough(
        store=context.index_store,
        blob_store=context.blob_store,
        clock=context.clock,
        workers=context.workers,
        settings=read_settings(context.settings),
    )


async def make_publisher(context: Context) -> HttpPublisher:
    """Make the publisher; its settings are the source's."""
    from pkgindex_mirror.publishing import HttpPublisher
    from pkgindex_mirror.settings import read_settings

    assert context.blob_store is not None
    return HttpPublisher(blob_store=context.blob_store, settings=read_settings(context.settings))


async def make_webhooks(context: Context) -> Webhooks:
    """Make the follower that tells of uploads; its settings are the source's."""
    from pkgindex_mirror.settings import read_settings
    from pkgindex_mirror.webhooks import Webhooks

    assert context.index_store is not None
    return Webhooks(
        store=context.index_store,
        data=context.data,
        clock=context.clock,
        workers=context.workers,
        settings=read_settings(context.settings),
        public_url=context.public_url,
    )


@hookimpl
def pkgindex_sources() -> Iterable[Provider[Source]]:
    return [Provider(name="mirror", summary="read-through cache of another index, over HTTP", make=make)]


@hookimpl
def pkgindex_publishers() -> Iterable[Provider[Publisher]]:
    return [Provider(name="mirror", summary="pushes releases to other indexes, over HTTP", make=make_publisher)]


@hookimpl
def pkgindex_followers() -> Iterable[Provider[Follower]]:
    return [Provider(name="mirror", summary="tells Jenkins, Slack and others of uploads", make=make_webhooks)]


@hookimpl
def pkgindex_index_options() -> Iterable[Provider[IndexOption]]:
    from pkgindex_mirror.notices import index_options

    for name, (summary, option) in index_options().items():
        yield Provider(name=name, summary=summary, make=partial(_given, option))


def _given(option: IndexOption, _context: Context) -> IndexOption:
    return option
