"""Filters that judge a project by its JSON document: `regex_project_metadata`, `size_project_metadata`, `versions_count_project_metadata`."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pkgindex_core.names import ProjectName
from pkgindex_mirror.filters.bandersnatch.paths import PathPatterns, plain_patterns
from pkgindex_mirror.filters.legacy_documents import legacy_document, needed_document
from pkgindex_mirror.filters.quiet_filter import QuietFilter
from pkgindex_mirror.syncing.values import Refusal, UpstreamProject


class ProjectMetadata(QuietFilter):
    """Leaves out projects of which some key does not have the wanted values."""

    def __init__(self, word: str, patterns: Sequence[PathPatterns]) -> None:
        super().__init__(word, plain_patterns(patterns), needs_document=bool(patterns))
        self._patterns = tuple(patterns)

    def refuses_project(self, project: UpstreamProject) -> Refusal | None:
        if not self._patterns:
            return None
        document = needed_document(project, self.word)
        root = {"info": document.info, "releases": document.releases}
        for each in self._patterns:
            if not each.permits(root):
                return self.refusal(f"its {'.'.join(each.path.steps)} does not pass {each.path.key}")
        return None


class ProjectSize(QuietFilter):
    """Leaves out projects with files that together are larger than a limit in bytes."""

    def __init__(self, word: str, limit: int, exempt: Collection[ProjectName], *, by_document: bool) -> None:
        super().__init__(word, [limit, sorted(exempt)], needs_document=by_document)
        self._limit = limit
        self._exempt = frozenset(exempt)

    def refuses_project(self, project: UpstreamProject) -> Refusal | None:
        if project.name in self._exempt:
            return None
        document = legacy_document(project)
        if document is None:
            total = sum(file.size or 0 for file in project.files)
        else:
            sizes = (entry.get("size") for entries in document.releases.values() for entry in entries)
            total = sum(size for size in sizes if isinstance(size, int))
        if total <= self._limit:
            return None
        return self.refusal(f"its files have {total} bytes together; the limit is {self._limit}")


class VersionsCount(QuietFilter):
    """Leaves out projects with few or with many releases. Releases without files count too. 0: no limit."""

    def __init__(self, word: str, least: int, most: int, exempt: Collection[ProjectName]) -> None:
        super().__init__(word, [least, most, sorted(exempt)], needs_document=True)
        self._least = least
        self._most = most
        self._exempt = frozenset(exempt)

    def refuses_project(self, project: UpstreamProject) -> Refusal | None:
        if project.name in self._exempt:
            return None
        count = len(needed_document(project, self.word).releases)
        if self._least and count < self._least:
            return self.refusal(f"it has {count} releases; the least is {self._least}")
        if self._most and count > self._most:
            return self.refusal(f"it has {count} releases; the most is {self._most}")
        return None
