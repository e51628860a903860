"""The table `[plugins.directory]` of the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from pkgindex_core.errors import Refused


class DirectorySettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of indexes of the type `directory`."""

    poll_seconds: float = 2.0
    """Seconds between two checks of a directory without events of inotify (NFS, SMB, FUSE, other systems than Linux), and of whether a root is
    still the same directory."""
    list_seconds: float = 60.0
    """Seconds between two listings of a URL, such as a bucket."""
    wait: float = 10.0
    """Seconds that a page waits until the directory answers and new files of its project are read. After that it is 503."""
    stale_wait: float = 3.0
    """The same if an older page is stored, which is then served."""
    storage_options: dict[str, dict[str, Any]] = {}
    """Options of fsspec, credentials included, by the scheme of the URL, such as `s3`."""


def read_settings(table: Mapping[str, Any]) -> DirectorySettings:
    """Decode the table; a wrong type or an unknown key is refused with its name."""
    try:
        return msgspec.convert(table, DirectorySettings)
    except msgspec.ValidationError as error:
        known = ", ".join(DirectorySettings.__struct_fields__)
        raise Refused(f"[plugins.directory]: {error}", hint=f"known settings: {known}") from error
