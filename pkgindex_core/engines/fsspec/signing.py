"""Signs URLs from which clients fetch an object directly.

A URL names the host by which clients reach the store. For the services that are reached by one name from everywhere that is the host of
the store itself. Any other store may be in a private network, so its URLs are signed only if `public_endpoint` says how clients reach it.

A URL that cannot be signed is no failure: the bytes are streamed. The log says it once.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from pkgindex_core.engines.fsspec.connecting import OpenedFiles, open_files
from pkgindex_core.engines.fsspec.media import ANSWER_SECONDS, close_session

_PUBLIC: Final = (".amazonaws.com", ".amazonaws.com.cn", "storage.googleapis.com", ".blob.core.windows.net")
_TYPE: Final = "application/octet-stream"
_PLAIN_NAME: Final = re.compile(r"\A[A-Za-z0-9._+!-]{1,255}\Z")

_PAUSE_SECONDS: Final = 60.0
"""Seconds without an attempt after one that failed."""

_log = logging.getLogger(__name__)


class Signer:
    """Signs URLs of one store. Construct, then `sign`, then `close`."""

    def __init__(
        self,
        url: str,
        connection: OpenedFiles,
        *,
        workers: Executor,
        storage_options: Mapping[str, Any],
        public_endpoint: str,
    ) -> None:
        self._url = url
        self._connection = connection
        self._workers = workers
        self._options = storage_options
        self._public = public_endpoint.rstrip("/")
        self._own: OpenedFiles | None = None
        self._opening = asyncio.Lock()
        self._warned = False
        self._paused_until = 0.0

    async def sign(self, path: str, *, filename: str, expires: int) -> str | None:
        """A URL of an object, valid for `expires` seconds; None if there can be none. A client saves the object as `filename`."""
        scheme = self._connection.scheme
        if scheme not in _WAYS or asyncio.get_running_loop().time() < self._paused_until:
            return None
        # Names with other characters would need a coding that clients disagree about (RFC 6266, appendix D).
        disposition = f'attachment; filename="{filename}"' if _PLAIN_NAME.match(filename) else "attachment"
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                url = await self._signed(scheme, path, expires, disposition)
        except Exception as error:  # each client library has its own
            self._failed(type(error).__name__)
            return None
        if self._public:
            return _moved(url, self._public) if scheme in _AZURE else url
        if (urlsplit(url).hostname or "").endswith(_PUBLIC):
            return url
        self._failed("public_endpoint is not set")
        return None

    async def close(self) -> None:
        if self._own is not None:
            await close_session(self._own.session)
            self._own = None

    async def _signed(self, scheme: str, path: str, expires: int, disposition: str) -> str:
        sign = partial(_WAYS[scheme], (await self._connected()).files, path, expires, disposition)
        if scheme in _GOOGLE:  # one that has no key of its own asks for each signature
            return str(await asyncio.get_running_loop().run_in_executor(self._workers, sign))
        return str(await sign())

    async def _connected(self) -> OpenedFiles:
        """The connection with the host that clients use. S3 and Google Cloud Storage sign the name of the host too."""
        if not self._public or self._connection.scheme in _AZURE:
            return self._connection
        async with self._opening:
            if self._own is None:
                self._own = await open_files(self._url, {**self._options, "endpoint_url": self._public})
            return self._own

    def _failed(self, why: str) -> None:
        self._paused_until = asyncio.get_running_loop().time() + _PAUSE_SECONDS
        if not self._warned:
            self._warned = True
            _log.warning("no URLs can be signed for the blob store (%s), so files are streamed", why)


def _s3(files: Any, path: str, expires: int, disposition: str) -> Any:
    return files._url(path, expires=expires, ResponseContentType=_TYPE, ResponseContentDisposition=disposition)


def _google(files: Any, path: str, expires: int, disposition: str) -> Any:
    return files.sign(path, expiration=expires, version="v4", response_type=_TYPE, response_disposition=disposition)


def _azure(files: Any, path: str, expires: int, disposition: str) -> Any:
    return files._url(path, expires=expires, content_type=_TYPE, content_disposition=disposition)


_GOOGLE: Final = frozenset({"gs", "gcs"})
_AZURE: Final = frozenset({"az", "abfs", "abfss"})
_WAYS: Final[Mapping[str, Callable[..., Any]]] = {
    **dict.fromkeys(("s3", "s3a"), _s3),
    **dict.fromkeys(_GOOGLE, _google),
    **dict.fromkeys(_AZURE, _azure),
}


def _moved(url: str, endpoint: str) -> str:
    """The URL at another endpoint. Azure signs the account and the path, not the host."""
    signed, public = urlsplit(url), urlsplit(endpoint)
    return urlunsplit((public.scheme, public.netloc, public.path + signed.path, signed.query, ""))
