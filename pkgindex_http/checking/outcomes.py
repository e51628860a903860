"""The outcomes of a check, one for each row, and the report of all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal
from xml.sax.saxutils import escape, quoteattr

from msgspec import Struct

from pkgindex_core.errors import PkgIndexError
from pkgindex_http.checking.subjects import CheckedSubject

Verdict = Literal["passes", "fails", "advised", "skipped"]


class Skipped(Exception):
    """A row that the index gives no occasion to check."""


class Advised(Exception):
    """Something that an index lacks, and that the standards recommend or permit, not demand."""


class CheckedRow(Struct, frozen=True):
    """One requirement."""

    number: str
    """As in the standards' table of the tests."""
    title: str
    means: str
    """The consequence of a failure, for the clients that it names."""
    check: Callable[[CheckedSubject], Awaitable[str]]
    """Returns the problem; empty: there is none. Raises `Skipped` and `Advised`."""


class Outcome(Struct, frozen=True):
    """The result of one row."""

    number: str
    title: str
    verdict: Verdict
    problem: str
    """The fault or the lack, or why the row is skipped."""
    means: str


class CheckReport(Struct, frozen=True):
    """The results of all rows."""

    url: str
    project: str
    outcomes: tuple[Outcome, ...]

    @property
    def failed(self) -> Sequence[Outcome]:
        return [each for each in self.outcomes if each.verdict == "fails"]

    @property
    def advised(self) -> Sequence[Outcome]:
        return [each for each in self.outcomes if each.verdict == "advised"]

    def document(self) -> dict[str, Any]:
        """For programs."""
        rows = [
            {
                "row": each.number,
                "title": each.title,
                "verdict": each.verdict,
                "problem": each.problem,
                "means": each.means,
            }
            for each in self.outcomes
        ]
        counts = {"failed": len(self.failed), "advised": len(self.advised)}
        return {"url": self.url, "project": self.project, **counts, "rows": rows}

    def junit(self) -> str:
        """As CI systems read it."""
        cases = []
        for each in self.outcomes:
            inner = ""
            if each.verdict == "fails":
                inner = f"<failure message={quoteattr(each.problem)}/>"
            elif each.verdict == "advised":
                inner = f"<system-out>{escape(each.problem)}</system-out>"
            elif each.verdict == "skipped":
                inner = f"<skipped message={quoteattr(each.problem)}/>"
            cases.append(
                f"<testcase classname={quoteattr(self.url)} name={quoteattr(f'{each.number} {each.title}')}>{inner}</testcase>"
            )
        counts = f'tests="{len(cases)}" failures="{len(self.failed)}"'
        return (
            f'<?xml version="1.0" encoding="utf-8"?>\n<testsuite name="index" {counts}>'
            + "".join(cases)
            + "</testsuite>\n"
        )


async def run_rows(rows: Sequence[CheckedRow], subject: CheckedSubject) -> CheckReport:
    """Check all rows, one after the other."""
    outcomes: list[Outcome] = []
    for row in rows:
        verdict: Verdict = "passes"
        try:
            problem = await row.check(subject)
            verdict = "fails" if problem else "passes"
        except Skipped as skipped:
            problem, verdict = str(skipped), "skipped"
        except Advised as advised:
            problem, verdict = str(advised), "advised"
        except PkgIndexError as error:
            problem, verdict = error.message, "fails"
        except Exception as error:  # the index that is checked may answer anything
            problem, verdict = f"the answer cannot be judged: {type(error).__name__}: {error}", "fails"
        shown = "".join(each if each.isprintable() else "?" for each in problem)[:300]
        outcomes.append(
            Outcome(row.number, row.title, verdict, shown, row.means if verdict in {"fails", "advised"} else "")
        )
    return CheckReport(subject.root, subject.project, tuple(outcomes))
