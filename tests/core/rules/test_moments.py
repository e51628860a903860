"""Past moments as clients name them."""

from __future__ import annotations

import pytest

from pkgindex_core.clock import Timestamp, from_rfc3339
from pkgindex_core.errors import Refused
from pkgindex_core.models import Serial
from pkgindex_core.rules.moments import NamedMoment, named_moment


def time(text: str, *, before: int = 0) -> NamedMoment:
    moment = from_rfc3339(text)
    assert moment is not None
    return NamedMoment(time=Timestamp(moment - before))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("0", NamedMoment(serial=Serial(0))),
        ("20260220", NamedMoment(serial=Serial(20260220))),
        ("2026-02-20", time("2026-02-21T00:00:00Z", before=1)),
        ("2024-02-29", time("2024-03-01T00:00:00Z", before=1)),
        ("2026-02-20T10:11:12", time("2026-02-20T10:11:12Z")),
        ("2026-02-20T10:11Z", time("2026-02-20T10:11:00Z")),
        ("2026-02-20T10:11:12.5+02:00", time("2026-02-20T08:11:12.500Z")),
    ],
)
def test_a_serial_a_day_or_a_time(text: str, moment: NamedMoment):
    assert named_moment(text) == moment


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.0", "2026-2-2", "2026-W07", "2026-02-30", "٣", "2026-02-20 10:11", "now"])  # fmt: skip
def test_anything_else_is_refused(text: str):
    with pytest.raises(Refused):
        named_moment(text)
