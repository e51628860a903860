"""The note that makes a store a replica.

As long as it is there the store takes no writes of its own. Notes are copied by nothing, so a dump of a replica is an ordinary store.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pkgindex_core.protocols.notes import Notes
from pkgindex_core.protocols.replicas import ReplicaNote
from pkgindex_core.urls import without_credentials

_KIND: Final = "replica"
_KEY: Final = "primary"


async def read_note(notes: Notes) -> ReplicaNote | None:
    """The note of a store; None if it is no replica."""
    note = await notes.note(_KIND, _KEY)
    return msgspec.json.decode(note.value, type=ReplicaNote) if note is not None else None


async def keep_note(notes: Notes, note: ReplicaNote) -> None:
    """Write the note, durably."""
    await notes.put_note(_KIND, _KEY, msgspec.json.encode(note))


async def drop_note(notes: Notes) -> None:
    """Make a replica an ordinary store, which takes writes."""
    await notes.drop_note(_KIND, _KEY)


def primary_of(follow: str, token: str | None) -> tuple[str, str]:
    """The URL of the primary and the credentials for it, from the settings `follow` and `follow_token`."""
    url, credentials = without_credentials(follow)
    return url.rstrip("/"), f"__token__:{token}" if token else credentials
