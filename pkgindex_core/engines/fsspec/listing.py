"""Reads the facts about an object, which each file system of fsspec tells under names of its own, and makes the paths of blobs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from pkgindex_core.clock import from_rfc3339
from pkgindex_core.digests import Sha256
from pkgindex_core.protocols import Blob

_MODIFIED_NAMES: Final = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")


def blob_path(root: str, key: Sha256) -> str:
    """The path of a blob on its medium."""
    return f"{root}/sha256/{key[:2]}/{key}"


def name_of(info: Mapping[str, Any]) -> str:
    return str(info["name"]).rstrip("/").rpartition("/")[2]


def blob_of(key: Sha256, info: Mapping[str, Any]) -> Blob | None:
    if info.get("type", "file") != "file":
        return None
    return Blob(key, int(info["size"]), _modified(info))


def _modified(info: Mapping[str, Any]) -> float:
    for name in _MODIFIED_NAMES:
        match info.get(name):
            case datetime() as moment:
                return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
            case int() | float() as seconds:
                return float(seconds)
            case str() as text if (parsed := from_rfc3339(text)) is not None:
                return parsed / 1_000_000
    return 0.0
