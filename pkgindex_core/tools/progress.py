"""The report of long work while it runs."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""The step, the amount that is done, and the total amount; 0: unknown."""
