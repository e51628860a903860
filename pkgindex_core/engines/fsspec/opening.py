"""Opens the blob store of a URL of fsspec, with the settings of its provider."""

from __future__ import annotations

from urllib.parse import urlsplit

from pkgindex_core.engines.fsspec.blobs import FsspecBlobs
from pkgindex_core.engines.fsspec.connecting import open_files
from pkgindex_core.engines.fsspec.media import Medium
from pkgindex_core.engines.fsspec.signing import Signer
from pkgindex_core.errors import Refused
from pkgindex_core.hookspecs import Context


async def open_fsspec(url: str, context: Context) -> FsspecBlobs:
    """Open the store of a URL of any protocol that fsspec knows.

    Settings: `storage_options` go to its file system, and `public_endpoint` is the URL by which clients reach the store (`signing`).
    Raises at once when the medium cannot be asked.
    """
    options = context.settings.get("storage_options", {})
    connection = await open_files(url, options)
    signer = Signer(
        url,
        connection,
        workers=context.workers,
        storage_options=options,
        public_endpoint=_endpoint(context.settings.get("public_endpoint", "")),
    )
    medium = Medium(connection.files, context.workers, connection.session)
    store = FsspecBlobs(
        medium,
        connection.root,
        signer=signer,
        clock=context.clock,
        workers=context.workers,
        spool=context.data / "spool",
    )
    try:
        await store.open()
    except BaseException:
        await store.close()
        raise
    return store


def _endpoint(value: object) -> str:
    if value == "" or (
        isinstance(value, str) and urlsplit(value).scheme in {"http", "https"} and urlsplit(value).netloc
    ):
        return str(value)
    raise Refused(
        "[plugins.fsspec]: public_endpoint is no URL of a server", hint="write one such as https://s3.example.com"
    )
