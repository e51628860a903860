"""Lets nginx send local files (`X-Accel-Redirect`), when the request came through a trusted proxy.

    GET file ─► rights, 304, counts: here ─► X-Accel-Redirect: /prefix/sha256/ab/abcd… ─► nginx reads the file
                                                                    └ it cannot ─► the same request, with `X-Accel-Failed`

Only uploaded files are handed over. Those that mirrors fetched may be evicted before nginx opens them, those of other stores have no path, and
those of directories may change while they are sent.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from pkgindex_core.errors import Refused
from pkgindex_core.protocols import Span
from pkgindex_http.settings import ServerSettings
from pkgindex_http.wire.replies import Reply

if TYPE_CHECKING:
    from pkgindex_http.wire import web
    from pkgindex_http.wire.origin import OriginReader

logger = logging.getLogger("pkgindex.http")

FAILED: Final = "X-Accel-Failed"
"""The header of a request that nginx repeats because it could not read the file."""
_JUDGED_HERE: Final = ("If-Match", "If-Unmodified-Since")
"""nginx would compare these with validators of its own. It would also answer ranges that are ignored here."""


class HandedOver(Reply, frozen=True, kw_only=True):
    """An answer whose body the proxy sends. `length`: bytes of the body, as far as the request wants them."""

    length: int


class Handover:
    """Decides which files a proxy sends: none without `accel_redirect`, or if the blobs are in no local directory."""

    def __init__(self, settings: ServerSettings, origin: OriginReader) -> None:
        self._prefix = settings.accel_redirect
        self._origin = origin
        self._root: Path | None = None
        self._warned = False
        if not self._prefix:
            return
        if not settings.trusted_proxies:
            raise Refused(
                "accel_redirect needs trusted_proxies: add the address of the nginx that has this location",
                hint='trusted_proxies = ["127.0.0.1"]',
            )
        from pkgindex_core.engines.local.blobs import path_of

        if urlsplit(settings.blobs).scheme == "file":
            self._root = path_of(settings.blobs).resolve() / "sha256"

    def url(self, request: web.BaseRequest, path: Path, span: Span | str | None) -> str:
        """The URL of the file in nginx; empty if the file is sent from here. `span`: the range that the server understood."""
        if self._root is None or request.method != "GET" or not self._origin.is_trusted(request):
            return ""
        if FAILED in request.headers:
            self._warn(path)
            return ""
        headers = request.headers
        if any(name in headers for name in _JUDGED_HERE) or ("Range" in headers and not isinstance(span, Span)):
            return ""
        if not path.is_relative_to(self._root):
            return ""
        return f"{self._prefix}{path.relative_to(self._root).as_posix()}"

    def _warn(self, path: Path) -> None:
        if not self._warned and path.exists():
            self._warned = True
            logger.warning(
                "the proxy cannot read %s, so files are sent from here: see pkgindex_http/DEPLOYING.md", path
            )
