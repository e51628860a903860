"""The state of a published tree, kept in the tree, so that the next run writes only what has changed.

    .pkgindex/state.json    of which store, serial and options the tree is, and whether it is finished

The state is written first, as unfinished, and last. What the tree has of each project is in the catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Final, Literal

import msgspec
from msgspec import Struct

from pkgindex_core.models import Serial

STATE: Final = ".pkgindex/state.json"
FORMAT: Final = 2
"""Raise it when another version would write other bytes of the same content, or other objects."""


class TreeState(Struct, frozen=True, kw_only=True):
    """The origin of a tree."""

    format: int
    identity: str
    """Of the store, or of the kind of list."""
    serial: Serial
    recipe: str
    look: str = ""
    """A name of everything that shapes the pages for people."""
    per_release: bool
    unfinished: Literal["", "some", "all"] = ""
    """Whether a run has begun and not ended, and whether it could change what was touched since `serial`, or everything."""
    shared: Mapping[str, str] = {}
    """The pages about all projects: by path, the digest of their bytes."""


def digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=16).digest()


def read_state(data: bytes | None) -> TreeState | None:
    """The state of a tree; None when it has none that this version can read."""
    try:
        return None if data is None else msgspec.json.decode(data, type=TreeState)
    except msgspec.DecodeError:
        return None


def write_state(state: TreeState) -> bytes:
    return msgspec.json.format(msgspec.json.encode(state)) + b"\n"
