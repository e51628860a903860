"""Limits of sizes in bytes: of a file, and of the files of a release or of a project that the other filters leave.

A size that the upstream does not give counts as 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pkgindex_core.models import File
from pkgindex_mirror.filters.quiet_filter import QuietFilter
from pkgindex_mirror.filters.releases import by_release
from pkgindex_mirror.syncing.values import Refusal, UpstreamProject


class LargeFiles(QuietFilter):
    """Leaves out files above a limit."""

    def __init__(self, limit: int) -> None:
        super().__init__("max_file_size", limit)
        self._limit = limit

    def refuses_files(self, project: UpstreamProject, files: Sequence[File]) -> Mapping[str, Refusal]:  # noqa: ARG002 - files alone decide
        return {
            file.filename: self.refusal(f"it has {file.size} bytes; the limit is {self._limit}")
            for file in files
            if file.size is not None and file.size > self._limit
        }


class LargeReleases(QuietFilter):
    """Leaves out releases with files that together are above a limit."""

    def __init__(self, limit: int) -> None:
        super().__init__("max_release_size", limit)
        self._limit = limit

    def refuses_files(self, project: UpstreamProject, files: Sequence[File]) -> Mapping[str, Refusal]:
        refused: dict[str, Refusal] = {}
        for group in by_release(project, files).values():
            if (total := _total(group)) > self._limit:
                refusal = self.refusal(f"its release has {total} bytes; the limit is {self._limit}")
                refused.update((file.filename, refusal) for file in group)
        return refused


class LargeProjects(QuietFilter):
    """Leaves out projects with files that together are above a limit."""

    def __init__(self, limit: int) -> None:
        super().__init__("max_project_size", limit)
        self._limit = limit

    def refuses_files(self, project: UpstreamProject, files: Sequence[File]) -> Mapping[str, Refusal]:  # noqa: ARG002 - files alone decide
        total = _total(files)
        if total <= self._limit:
            return {}
        refusal = self.refusal(f"the files of its project have {total} bytes; the limit is {self._limit}")
        return {file.filename: refusal for file in files}


def _total(files: Sequence[File]) -> int:
    return sum(file.size or 0 for file in files)
