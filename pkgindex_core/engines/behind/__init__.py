"""Stores around other stores. They show at once what was learned from an upstream, and store it a moment later."""

from pkgindex_core.engines.behind.blobs import BlobsBehind
from pkgindex_core.engines.behind.index import IndexBehind
from pkgindex_core.engines.behind.replica import ReplicaIndex

__all__ = ["BlobsBehind", "IndexBehind", "ReplicaIndex"]
