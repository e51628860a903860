"""Makes the parts of a replica, with the settings `[plugins.mirror]` for timeouts, certificates and the user agent."""

from __future__ import annotations

from pkgindex_core.hookspecs import Context
from pkgindex_core.protocols.learning import LearningBlobs, LearningIndex
from pkgindex_mirror.replicas.followed_source import FollowedSource
from pkgindex_mirror.replicas.primary import Primary
from pkgindex_mirror.replicas.replica import Replica
from pkgindex_mirror.settings import MirrorSettings, read_settings


def make_source(context: Context) -> FollowedSource:
    """The source of all types of index. Its settings are those of the provider `mirror`."""
    assert context.replica is not None
    assert isinstance(context.index_store, LearningIndex)
    assert isinstance(context.blob_store, LearningBlobs)
    settings = read_settings(context.settings)
    return FollowedSource(
        store=context.index_store,
        blobs=context.blob_store,
        primary=_primary(context, settings),
        state=context.replica,
        clock=context.clock,
        settings=settings,
    )


def make_follower(context: Context) -> Replica:
    """The follower that copies commits and files."""
    assert context.replica is not None
    assert isinstance(context.index_store, LearningIndex)
    assert isinstance(context.blob_store, LearningBlobs)
    return Replica(
        store=context.index_store,
        blobs=context.blob_store,
        primary=_primary(context, read_settings(context.settings)),
        state=context.replica,
    )


def _primary(context: Context, settings: MirrorSettings) -> Primary:
    assert context.replica is not None
    return Primary(context.replica.primary, context.replica.credentials, settings)
