"""The words that people give: names of snapshots, of published trees and of mirrors. They become parts of paths."""

from __future__ import annotations

import re
from typing import Final

from pkgindex_core.errors import Refused

_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def parse_word(raw: str, what: str, *, empty: bool = False) -> str:
    """Check a word. Digits alone, and `latest`, name snapshots by themselves."""
    if raw == "" and empty:
        return raw
    if not _WORD.fullmatch(raw) or raw.isdigit() or raw == "latest":
        raise Refused(
            f"{raw[:80]!r} is no {what}",
            hint="use ASCII letters, digits, - and _, at most 64, with a letter; `latest` is the newest snapshot",
        )
    return raw
