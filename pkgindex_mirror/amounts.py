"""Amounts for people. Pure."""

from __future__ import annotations

from typing import Final

_UNITS: Final = ("kB", "MB", "GB", "TB")


def amount(count: float) -> str:
    """Bytes in units of 1000, as the progress bars of `rich` show them: `999 B`, `1.5 kB`, `12.0 GB`."""
    if count < 1000:
        return f"{count:.0f} B"
    power = 1
    while count >= 1000 ** (power + 1) and power < len(_UNITS):
        power += 1
    return f"{count / 1000**power:.1f} {_UNITS[power - 1]}"
