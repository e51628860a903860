"""The sentences about runs: how much they tell at most."""

from __future__ import annotations

from pkgindex_core.testing.index_cases.values import ManualClock
from pkgindex_mirror.commands.live_view import line
from pkgindex_mirror.commands.report_lines import report_lines
from pkgindex_mirror.syncing.progress import Progress
from pkgindex_mirror.syncing.reports import RunReport


def test_a_running_run_tells_of_entries_that_were_left_out():
    progress = Progress(ManualClock())
    progress.project_ended(failed=False)
    assert "left out" not in line(progress.view())
    progress.project_ended(failed=False, remarked=True)
    assert "entries left out of 1 pages" in line(progress.view())


def test_remarks_of_any_number_of_projects_are_few_sentences():
    report = RunReport(command="mirror")
    for number in range(3000):
        report.remarks.add(f"project{number}", ("one is bad", "another is bad"))
    report.remarks.add("other", ())
    assert (report.remarks.projects, len(report.remarks.sentences)) == (3000, 1000)
    told = [sentence for sentence in report_lines(report) if sentence.startswith("note: ")]
    assert len(told) == 21
    assert "the pages of 3,000 projects" in told[-1]
