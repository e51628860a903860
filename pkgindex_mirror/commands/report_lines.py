"""The report of a run in sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pkgindex_mirror.amounts import amount
from pkgindex_mirror.commands.live_view import duration
from pkgindex_mirror.syncing.reports import FailedProject, NameTally, PageRemarks, RunReport

_SHOWN: Final = 20
"""Names and failures that are shown of each kind."""


def report_lines(report: RunReport) -> Iterator[str]:
    """Tell a run, the loudest last."""
    if report.message:
        yield f"error: {report.message}"
    if report.list_unchanged:
        yield f"nothing new since the last run ({duration(report.seconds)})"
        yield from _resting(report)
        return
    if report.ending == "upstream-down":
        yield "hint: nothing was changed; run again when the upstream answers"
        return
    if report.command == "mirror":
        serials = "" if report.has_serials else ", without serials: each page is asked for"
        yield (
            f"the upstream lists {report.listed:,} projects{serials}; {report.chosen:,} are chosen: {report.new:,} new,"
            f" {report.changed:,} changed, {report.due_again:,} due again, {report.resting:,} left alone after failures"
        )
    yield (
        f"{report.published:,} projects published, {report.current:,} unchanged, {report.refused:,} refused by filters;"
        f" {report.files_fetched:,} files fetched ({amount(report.bytes_fetched)}) in {duration(report.seconds)}"
    )
    for note in report.notes[:_SHOWN]:
        yield f"note: {note}"
    yield from remark_lines(report.remarks)
    yield from _names(report.removed, "removed, since the upstream removed them")
    yield from _names(report.hidden, "hidden: quarantined or gone")
    yield from _names(report.absent, "listed by the upstream, but without a page")
    yield from _names(
        report.unchosen, "mirrored, and not chosen any more by the filters (`pkgindex-mirror prune` removes them)"
    )
    yield from _names(
        report.gone, "GONE from the upstream and still mirrored (removed = hide or delete in [mirror] follows)"
    )
    yield from _resting(report)
    for failure in report.failures[:_SHOWN]:
        yield f"failed: {_told(failure)}"
    if report.failed > _SHOWN:
        yield f"failed: and {report.failed - _SHOWN:,} more projects"
    if report.failed:
        yield f"error: {report.failed:,} projects failed; the others are mirrored"


def _resting(report: RunReport) -> Iterator[str]:
    for failure in report.resting_projects[:_SHOWN]:
        yield f"resting: {_told(failure)}"
    if report.resting:
        yield (
            f"error: {report.resting:,} projects failed before and are left alone for now;"
            " `pkgindex-mirror sync PROJECT` tries one at once"
        )


def _told(failure: FailedProject) -> str:
    again = f" ({failure.failures} times in a row, next try after {failure.next_try})" if failure.next_try else ""
    return f"{failure.project}: {failure.reason}{again}"


def remark_lines(remarks: PageRemarks) -> Iterator[str]:
    """Tell of entries that pages of the upstream have and that cannot be mirrored."""
    if remarks.projects:
        for sentence in remarks.sentences[:_SHOWN]:
            yield f"note: on the page of {sentence}"
        yield (
            f"note: the pages of {remarks.projects:,} projects have entries that cannot be mirrored;"
            " `pkgindex-mirror explain PROJECT` tells all of a project"
        )


def _names(tally: NameTally, what: str) -> Iterator[str]:
    if tally.count:
        shown = ", ".join(tally.names[:_SHOWN])
        more = f" and {tally.count - _SHOWN:,} more" if tally.count > _SHOWN else ""
        yield f"{tally.count:,} projects {what}: {shown}{more}"
