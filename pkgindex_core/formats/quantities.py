"""Numbers with a unit, of bytes or seconds, as people write them in options."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

QUANTITY: Final = re.compile(r"\A\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*\Z")
"""A number with a unit."""
_NUMBER = re.compile(r"\A\s*\d+(?:\.\d+)?\s*\Z")
_MULTIPLES: Final[Mapping[str, Mapping[str, float]]] = {
    "bytes": {"b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12}
    | {f"{letter}ib": 1024.0**power for power, letter in enumerate("kmgt", 1)},
    "seconds": {"s": 1, "min": 60, "h": 3600, "d": 86400},
}


def quantity(text: str, unit: str) -> int | float | None:
    """Read a number with a unit, such as `20GiB` or `30d`; without one it counts bytes or seconds. None if it is neither."""
    found = QUANTITY.match(text if not _NUMBER.match(text) else f"{text.strip()}{'b' if unit == 'bytes' else 's'}")
    multiple = _MULTIPLES[unit].get(found[2].lower()) if found else None
    if found is None or multiple is None:
        return None
    amount = float(found[1]) * multiple
    return int(amount) if amount.is_integer() else amount
