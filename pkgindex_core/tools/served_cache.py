"""The settings of the cache that `pkgindex-mirror proxy` serves from a store, in a note of the store.

They come from options of that command, so other commands over the store could not know them. A prefetch with others would choose other files, and
ask other upstreams, than the cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from pkgindex_core.protocols import Notes

_NOTE: Final = ("served.cache", "settings")


class ServedCache(Struct, frozen=True, kw_only=True):
    """The settings of the last start."""

    index: str
    """The index that is served."""
    admission: str
    """The policy that merges its upstreams."""
    mirror: Mapping[str, Any]
    """The table `[plugins.mirror]`."""


_decode = msgspec.msgpack.Decoder(ServedCache).decode


async def note_cache(notes: Notes, cache: ServedCache) -> None:
    """Note the settings, unless they are noted already."""
    if await noted_cache(notes) != cache:
        await notes.put_note(*_NOTE, msgspec.msgpack.encode(cache))


async def noted_cache(notes: Notes) -> ServedCache | None:
    """The settings of the cache; None if the store has never been one."""
    note = await notes.note(*_NOTE)
    return _decode(note.value) if note is not None else None
