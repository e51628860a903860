"""The report of a run: what it did, what failed, what left, and the exit status that says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from msgspec import Struct, field

CLEAN: Final = 0
PARTIAL: Final = 3
UPSTREAM_DOWN: Final = 4
STORAGE_FULL: Final = 5

_NAMES_LIMIT: Final = 1000
"""Names that a report lists of each kind; the numbers count all."""

Ending = Literal["clean", "partial", "upstream-down", "storage-full", "stopped"]


class FailedProject(Struct, frozen=True, kw_only=True):
    """A project that is not mirrored up to its last change."""

    project: str
    reason: str
    failures: int = 1
    """Failed runs in a row."""
    next_try: str = ""
    """The time before which it is left alone, in UTC."""


class NameTally(Struct):
    """Names of one kind: all are counted, some are listed."""

    count: int = 0
    names: list[str] = []

    def add(self, name: str) -> None:
        self.count += 1
        if len(self.names) < _NAMES_LIMIT:
            self.names.append(name)


class PageRemarks(Struct):
    """Entries of the upstream's pages that cannot be mirrored, as those with a bad filename or URL."""

    projects: int = 0
    """Projects with such entries. All are counted, some are told of."""
    sentences: list[str] = []

    def add(self, project: str, remarks: Sequence[str]) -> None:
        self.projects += bool(remarks)
        room = _NAMES_LIMIT - len(self.sentences)
        self.sentences.extend(f"{project}: {remark}" for remark in remarks[:room])


class RunReport(Struct, kw_only=True):
    """One run. Written as JSON for programs, and told in sentences."""

    command: str
    began: str = ""
    ended: str = ""
    seconds: float = 0.0
    ending: Ending = "clean"
    message: str = ""
    """Why the run ended early, or did less than it was asked for."""
    list_unchanged: bool = False
    """The upstream said that its list is the one of the last run, and nothing else was due."""
    listed: int = 0
    """Projects in the list of the upstream."""
    serial: int | None = None
    """The serial up to which all is mirrored."""
    has_serials: bool = False
    chosen: int = 0
    """Listed projects that the filters let in by their names."""
    new: int = 0
    changed: int = 0
    due_again: int = 0
    """Projects that failed before, or that other filters chose."""
    resting: int = 0
    """Projects that failed before and are left alone for now: the mirror is not complete."""
    published: int = 0
    """Projects whose pages were written."""
    current: int = 0
    """Projects that turned out to be unchanged."""
    refused: int = 0
    """Projects that filters refused after their page was read."""
    absent: NameTally = field(default_factory=NameTally)
    """Projects that are listed and have no page."""
    gone: NameTally = field(default_factory=NameTally)
    """Mirrored projects that the upstream does not have any more, and that are kept."""
    hidden: NameTally = field(default_factory=NameTally)
    """Projects whose pages were taken away: quarantined ones, and gone ones by policy."""
    removed: NameTally = field(default_factory=NameTally)
    """Gone projects that were removed."""
    unchosen: NameTally = field(default_factory=NameTally)
    """Mirrored projects that the filters refuse now; `prune` removes them."""
    files_fetched: int = 0
    files_failed: int = 0
    bytes_fetched: int = 0
    failed: int = 0
    failures: list[FailedProject] = field(default_factory=list)
    resting_projects: list[FailedProject] = field(default_factory=list)
    """The first of those that are left alone."""
    remarks: PageRemarks = field(default_factory=PageRemarks)
    """Entries that were left out of the pages that this run read. They are no failure: no other run would mirror them."""
    notes: list[str] = field(default_factory=list)

    def rest(self, failure: FailedProject) -> None:
        """Count a project that is left alone, and list it while there are few."""
        self.resting += 1
        if len(self.resting_projects) < _NAMES_LIMIT:
            self.resting_projects.append(failure)

    def fail(self, failure: FailedProject) -> None:
        """Count a failed project, and list it while there are few."""
        self.failed += 1
        if len(self.failures) < _NAMES_LIMIT:
            self.failures.append(failure)

    @property
    def exit_status(self) -> int:
        match self.ending:
            case "clean":
                return CLEAN
            case "upstream-down":
                return UPSTREAM_DOWN
            case "storage-full":
                return STORAGE_FULL
            case _:
                return PARTIAL
