"""Opens the file system of a URL, with what a server needs: one of its own, without a cache of listings, and with few attempts."""

from __future__ import annotations

import importlib
import weakref
from collections.abc import Mapping
from concurrent.futures import Executor
from typing import Any, Final, NamedTuple

import fsspec

from pkgindex_core.engines.fsspec.failures import failure
from pkgindex_core.engines.fsspec.media import Medium
from pkgindex_core.errors import Refused

_S3: Final = {"s3", "s3a"}
_S3_CONFIGURATION: Final[Mapping[str, Any]] = {
    # URLs would be signed in the older way, which newer regions and other servers refuse.
    "signature_version": "s3v4",
    # `Medium` sends requests again, and knows when to stop.
    "retries": {"total_max_attempts": 1},
    # The default of 10 would let ten slow downloads hold up every other request.
    "max_pool_connections": 50,
}
_EXTRAS: Final = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure", "abfss": "azure"}


class OpenedFiles(NamedTuple):
    """A file system of fsspec, with what must be closed after it."""

    scheme: str
    files: Any
    session: Any
    root: str
    """The path of the URL on the file system, without a slash at its end."""


async def connect(url: str, *, workers: Executor, storage_options: Mapping[str, Any]) -> tuple[Medium, str]:
    """Open the medium of a URL; return it with the path of the URL on it."""
    opened = await open_files(url, storage_options)
    return Medium(opened.files, workers, opened.session), opened.root


async def open_files(url: str, storage_options: Mapping[str, Any]) -> OpenedFiles:
    scheme = url.partition("://")[0]
    if "::" in url or scheme in {url, "file", "local"}:
        raise Refused(
            f"files cannot be kept durably behind {scheme if scheme != url else 'this URL'!r}",
            hint="name one medium, such as s3://bucket/prefix; a local directory is file:///path",
        )
    try:
        kind = fsspec.get_filesystem_class(scheme)
        if scheme in {"gs", "gcs"}:
            # Not the class that gcsfs registers: it asks for the type of each bucket over gRPC, which takes a minute each time if the
            # port is closed (seen with 2026.10.1).
            kind = importlib.import_module("gcsfs.core").GCSFileSystem
    except (ValueError, ImportError) as error:
        extra = _EXTRAS.get(scheme)
        hint = (
            f"pip install 'pkgindex[{extra}]'" if extra else "install the distribution that adds this scheme to fsspec"
        )
        raise Refused(f"no installed package can open {scheme}:// URLs", hint=hint) from error
    options: dict[str, Any] = {**kind._get_kwargs_from_urls(url), **storage_options}
    # A new instance: fsspec shares instances between loops and threads, and caches listings although they change.
    options |= {"skip_instance_cache": True, "use_listings_cache": False}
    if kind.async_impl:
        options["asynchronous"] = True
    if scheme in _S3:
        options["config_kwargs"] = _S3_CONFIGURATION | options.get("config_kwargs", {})
    try:
        files = kind(**options)
        if scheme in _S3:
            files.retries = 1  # around those of the configuration: five times five attempts otherwise
        session = await _session(files) if kind.async_impl else None
    except Exception as error:
        raise failure(error) from error
    return OpenedFiles(scheme, files, session, str(kind._strip_protocol(url)).rstrip("/"))


async def _session(files: Any) -> Any:
    """Open the connection pool of a file system, if it has one that must be opened inside the running loop."""
    for name in ("set_session", "_set_session"):  # s3fs, gcsfs
        opening = getattr(files, name, None)
        if opening is not None:
            return await opening()
    _forget_finalizers(files)
    return getattr(files, "service_client", None)  # adlfs


def _forget_finalizers(files: Any) -> None:
    """Leave the closing to `Medium.close`. adlfs registers finalizers that keep each file system until the program ends, and that then fail
    in a loop that has ended, with a traceback each (seen with 2026.8.0).
    """
    for finalizer in list(getattr(weakref.finalize, "_registry", ())):
        there = finalizer.peek()
        if there is not None and there[0] is files:
            finalizer.detach()
