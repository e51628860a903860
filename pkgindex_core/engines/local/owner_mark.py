"""The mark beside the blobs: a small file or object with the identity of the store that owns them."""

from __future__ import annotations

import re
from typing import Final

from pkgindex_core.errors import Corrupt

OWNER: Final = "owner"
"""Its name below the root of a blob store. No digest makes this name."""

_IDENTITY: Final = re.compile(rb"\A[0-9a-f]{32}\n?\Z")


def owner_of(mark: bytes) -> str:
    """The identity in a mark."""
    if _IDENTITY.match(mark) is None:
        raise Corrupt(
            "the mark that says which index the blobs belong to is damaged",
            hint=f"look at {OWNER!r} in the root of the blob store; if you remove it, the next start writes it again",
        )
    return mark.decode().strip()
