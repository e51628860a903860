"""Makes the target of a sync, and its snapshots, over an open engine."""

from __future__ import annotations

from pkgindex_core.engine import Engine
from pkgindex_core.errors import Refused
from pkgindex_core.names import IndexName
from pkgindex_mirror.engine_target.index_snapshots import IndexSnapshots
from pkgindex_mirror.engine_target.index_target import IndexTarget
from pkgindex_mirror.engine_target.synced_files import SyncedFiles
from pkgindex_mirror.file_policies import FilePolicies
from pkgindex_mirror.readthrough.source import ReadThrough


def index_target(
    engine: Engine,
    name: IndexName,
    *,
    upstream: str,
    policies: FilePolicies = FilePolicies(),  # noqa: B008 - a frozen value
) -> IndexTarget:
    """The target that writes this index. The engine must have been opened with `mirrors`.

    `upstream`: the URL of the simple index that is mirrored, perhaps with `user:password@`.
    """
    return IndexTarget(engine, _read_through(engine), name, upstream=upstream, policies=policies)


def index_snapshots(engine: Engine, name: IndexName) -> IndexSnapshots:
    """The snapshots of an index. The engine must have been opened with `mirrors`."""
    return IndexSnapshots(engine, SyncedFiles(engine.store, engine.blobs, _read_through(engine).cache, name), name)


def _read_through(engine: Engine) -> ReadThrough:
    """The source of mirrors, whose files are bounded with those of runs."""
    for source in engine.sources.by_type.values():
        if isinstance(source, ReadThrough):
            return source
    raise Refused("the plugin of mirrors is disabled", hint="take `mirror` out of disabled_plugins")
