"""The headers under which an object of a tree is served, as a value and in the words of object stores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

CHECKED: Final = "max-age=0, must-revalidate"
"""For what may change: clients ask each time, and get a 304. Without a `Cache-Control` uv takes a page for fresh for a tenth of its age."""
FOREVER: Final = "public, max-age=31536000, immutable"


class ObjectHeaders(Struct, frozen=True):
    """The headers of an object."""

    content_type: str
    cache_control: str


def as_options(headers: ObjectHeaders, scheme: str, own: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The headers of an object, and values of our own that it keeps, in the words of a medium."""
    if scheme in {"s3", "s3a"}:
        said = {"ContentType": headers.content_type, "CacheControl": headers.cache_control}
        return {**said, "Metadata": dict(own)} if own else said
    if scheme in {"gs", "gcs"}:
        options: dict[str, Any] = {
            "content_type": headers.content_type,
            "fixed_key_metadata": {"cache_control": headers.cache_control},
        }
        return {**options, "metadata": dict(own)} if own else options
    return {}
