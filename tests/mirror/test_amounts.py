"""Amounts as people read them, the same in every command."""

from __future__ import annotations

import pytest

from pkgindex_core.testing.index_cases.values import ManualClock
from pkgindex_mirror.amounts import amount
from pkgindex_mirror.commands.live_view import line
from pkgindex_mirror.commands.report_lines import report_lines
from pkgindex_mirror.syncing.progress import Progress
from pkgindex_mirror.syncing.reports import RunReport


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1_536.7, "1.5 kB"),
        (12_000_000, "12.0 MB"),
        (7.25e9, "7.2 GB"),
        (3e15, "3000.0 TB"),
    ],
    ids=str,
)
def test_bytes_are_told_in_units_of_a_thousand(count: float, told: str):
    assert amount(count) == told


def test_a_run_and_its_report_tell_the_same_units():
    progress = Progress(ManualClock())
    progress.files_wanted(1, 2_000_000)
    progress.file_fetched(2_000_000)
    assert "2.0 MB at" in line(progress.view())
    report = RunReport(command="sync", files_fetched=1, bytes_fetched=2_000_000)
    assert "1 files fetched (2.0 MB)" in "\n".join(report_lines(report))
