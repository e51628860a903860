"""The answers of a directory about a password."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class Accepted(Struct, frozen=True):
    """The password is right; these are the user's groups, sorted."""

    groups: tuple[str, ...]


Answer = Accepted | Literal["rejected", "unknown"]


class Silent(Exception):
    """The directory gave no answer. The text is for the log."""
