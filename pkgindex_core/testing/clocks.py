"""The contract suite of `Clock`.

class TestMyClock(ClockContract):
    def make(self): return MyClock()
"""

from __future__ import annotations

import time
from typing import ClassVar, Final

from pkgindex_core.clock import Clock, from_rfc3339, to_rfc3339

_OLDEST: Final = from_rfc3339("2000-01-01T00:00:00Z")
_NEWEST: Final = from_rfc3339("2200-01-01T00:00:00Z")


class ClockContract:
    """Subclass, name it `Test…`, and make the clock."""

    ticks: ClassVar[bool] = True
    """Whether time passes by itself."""

    def make(self) -> Clock:
        raise NotImplementedError

    def test_wall_time_is_in_microseconds_since_1970(self) -> None:
        now = self.make().now()
        assert isinstance(now, int)
        assert _OLDEST is not None
        assert _NEWEST is not None
        assert _OLDEST < now < _NEWEST
        assert from_rfc3339(to_rfc3339(now)) == now

    def test_monotonic_time_is_in_seconds_and_never_goes_back(self) -> None:
        clock = self.make()
        told = [clock.monotonic() for _ in range(1000)]
        assert told == sorted(told)
        before = clock.monotonic(), time.monotonic()
        while time.monotonic() - before[1] < 0.05:
            clock.now()
        passed = clock.monotonic() - before[0]
        assert 0.04 <= passed <= 30 if self.ticks else passed == 0
