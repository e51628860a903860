"""Which requests for a file may be answered with a signed URL of the object store.

Only those that the store is sure to answer as this server would: a whole file, by GET. A URL that is signed for GET does not work for HEAD,
and stores read ranges and conditions in ways of their own: SeaweedFS, moto and azurite ignore an `If-Range` that does not match, and then
send a part of other bytes than the client has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

ObjectDownloads = Literal["auto", "redirect", "stream"]

_BY_FILENAME: Final = ("uv/",)
"""Beginnings of the `User-Agent` of clients that keep files by filename or digest. Others, such as pip, keep them by URL, and each signed
URL is new: their caches would fill up and never be hit."""
_JUDGED_HERE: Final = ("Range", "If-Range", "If-Match", "If-Unmodified-Since")


def may_redirect(downloads: ObjectDownloads, method: str, headers: Mapping[str, str]) -> bool:
    """Whether the client may be sent to the store."""
    if downloads == "stream" or method != "GET" or any(name in headers for name in _JUDGED_HERE):
        return False
    return downloads == "redirect" or headers.get("User-Agent", "").startswith(_BY_FILENAME)
