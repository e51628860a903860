"""The mark beside the blobs: a small file or object that names the index which they belong to."""

from __future__ import annotations

import re
from typing import Final

from pkgindex_core.errors import Corrupt

OWNER: Final = "owner"
"""Its name below the root of a blob store, outside of the names that digests make."""

_IDENTITY: Final = re.compile(rb"\A[0-9a-f]{32}\n?\Z")


def owner_of(mark: bytes) -> str:
    """The identity that a mark says."""
    if _IDENTITY.match(mark) is None:
        raise Corrupt(
            "the mark that says which index the blobs belong to is damaged",
            hint=f"look at {OWNER!r} in the root of the blob store; when it is removed, the next start writes it anew",
        )
    return mark.decode().strip()
