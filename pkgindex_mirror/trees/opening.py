"""Opens the tree of a mirror by its directory or URL."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import Executor
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pkgindex_core.clock import Clock
from pkgindex_mirror.syncing.targets import Access
from pkgindex_mirror.trees.local_storage import LocalStorage
from pkgindex_mirror.trees.options import TreeOptions
from pkgindex_mirror.trees.storage import TreeStorage
from pkgindex_mirror.trees.tree_target import MirrorTree


@asynccontextmanager
async def opened_tree(
    place: str,
    options: TreeOptions,
    *,
    workers: Executor,
    clock: Clock,
    storage_options: Mapping[str, Any] | None = None,
    access: Access = "make",
) -> AsyncIterator[MirrorTree]:
    """Open the tree at a directory or at a URL of fsspec. Reading needs `open`, and writing the `turn`.

    Raises `Missing` for a directory that is not there, unless `access` is `make`.
    """
    async with AsyncExitStack() as stack:
        directory = local_directory(place)
        storage: TreeStorage
        if directory is not None:
            local = LocalStorage(directory, workers=workers, clock=clock, manage_permissions=options.manage_permissions)
            await local.open(access)
            storage = local
        else:
            from pkgindex_core.engines.fsspec.connecting import connect
            from pkgindex_mirror.trees.object_storage import ObjectStorage

            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="pkgindex-mirror-"))
            medium, root = await connect(place, workers=workers, storage_options=storage_options or {})
            scheme = place.partition("://")[0]
            storage = ObjectStorage(medium, root, scheme=scheme, scratch=Path(scratch), workers=workers, clock=clock)
        tree = MirrorTree(storage, options, workers=workers, clock=clock, reading=access == "read")
        stack.push_async_callback(tree.close)
        yield tree


def local_directory(place: str) -> Path | None:
    """The directory that a place names; None for a URL of something else."""
    scheme, separator, _ = place.partition("://")
    if not separator:
        return Path(place).absolute()
    return Path(unquote(urlsplit(place).path)) if scheme in {"file", "local"} else None
