"""The reference that `diff-file` may have: `{{section_key}}` stands for the value of a key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_SHORTEST_SECTION: Final = 2


def has_reference(text: str) -> bool:
    """Whether there is anything of the form `{{…_…}}` in a text."""
    _, begun, rest = text.partition("{{")
    inner, ended, _ = rest.rpartition("}}")
    return bool(begun and ended) and "_" in inner[1:-1]


def fill_reference(text: str, find: Callable[[str, str], str | None]) -> str | None:
    """Put the value of the key in the place of the last reference. None if it names none.

    The name of a section ends at the first `_`, so that sections with one in their name cannot be meant. Nor can those of one letter.
    """
    before, _, rest = text.rpartition("{{")
    inner, ended, after = rest.rpartition("}}")
    section, separator, key = inner.partition("_")
    if not ended or not separator or len(section.strip()) < _SHORTEST_SECTION:
        return None
    value = find(section.strip(), key.strip())
    return None if value is None else f"{before}{value}{after}"
