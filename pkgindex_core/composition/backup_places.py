"""Opens a place of backups by its directory or URL. No store is needed for that, since it may be lost."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from pkgindex_core.clock import Clock, SystemClock
from pkgindex_core.config import Settings
from pkgindex_core.engines.local.blobs import open_local, path_of
from pkgindex_core.engines.local.named_files import LocalNamedFiles
from pkgindex_core.hookspecs import Context
from pkgindex_core.protocols import BlobStore
from pkgindex_core.protocols.named_files import NamedFiles
from pkgindex_core.services.moving.backups.place import BLOBS, BackupPlace
from pkgindex_core.urls import masked

_SUBJECT: Final = "this backup"


@asynccontextmanager
async def opened_backups(url: str, settings: Settings, *, clock: Clock | None = None) -> AsyncIterator[BackupPlace]:
    """Open the backups in a directory or at a URL of fsspec. Makes nothing.

    Not by the blob stores of plugins: the files and the blobs of a place are on one medium.
    """
    async with AsyncExitStack() as stack:
        workers = ThreadPoolExecutor(settings.threads, thread_name_prefix="pkgindex-backup")
        stack.callback(workers.shutdown, wait=True, cancel_futures=True)
        clock = clock or SystemClock()
        fsspec_settings = settings.plugins.get("fsspec", {})
        files: NamedFiles
        open_store: Callable[[str, Context], Awaitable[BlobStore]]
        if "://" not in url or url.startswith("file:"):
            root = path_of(url) if "://" in url else Path(url).absolute()
            files = LocalNamedFiles(root, subject=_SUBJECT, workers=workers)
            blobs_url, open_store = (root / BLOBS).as_uri(), open_local
        else:
            from pkgindex_core.engines.fsspec.connecting import connect
            from pkgindex_core.engines.fsspec.named_files import FsspecNamedFiles
            from pkgindex_core.engines.fsspec.opening import open_fsspec

            options = fsspec_settings.get("storage_options", {})
            medium, path = await connect(url, workers=workers, storage_options=options)
            files = FsspecNamedFiles(medium, path, subject=_SUBJECT, clock=clock)
            blobs_url, open_store = f"{url.rstrip('/')}/{BLOBS}", open_fsspec
        stack.push_async_callback(files.close)

        @asynccontextmanager
        async def opened_blobs() -> AsyncIterator[BlobStore]:
            with ExitStack() as scratch:
                data = Path(settings.data)
                if not data.is_dir():
                    data = Path(scratch.enter_context(tempfile.TemporaryDirectory(prefix="pkgindex-backup-")))
                blobs = await open_store(
                    blobs_url, Context(data=data, clock=clock, workers=workers, settings=fsspec_settings)
                )
                try:
                    yield blobs
                finally:
                    await blobs.close()

        yield BackupPlace(files, opened_blobs, url=masked(url), workers=workers)
