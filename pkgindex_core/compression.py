"""Content codings for pages: made once per page, never per request.

gzip is what pip takes, zstd what uv and poetry prefer. Files are never coded: wheels and sdists are compressed already, and a
range of a coded file is nobody's range (standards 1.5).
"""

from __future__ import annotations

import gzip
import sys
from typing import Final

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CODINGS: Final = ("zstd", "gzip")
"""The codings on offer, the better first."""

_GZIP_LEVEL = 6
_ZSTD_LEVEL = 5


def compress(body: bytes, coding: str) -> bytes:
    """Code a body; `identity` returns it as it is. The same input gives the same bytes."""
    if coding == "gzip":
        return gzip.compress(body, compresslevel=_GZIP_LEVEL, mtime=0)
    if coding == "zstd":
        return zstd.compress(body, _ZSTD_LEVEL)
    return body
