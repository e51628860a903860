"""Filters that judge a project by its name: `allowlist_project`, `project_requirements`, `blocklist_project`, `regex_project`."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from pkgindex_core.names import ProjectName
from pkgindex_mirror.filters.quiet_filter import QuietFilter
from pkgindex_mirror.syncing.values import Listed, Refusal


class AllowedNames(QuietFilter):
    """Leaves out projects that a list does not name. An empty list names all."""

    def __init__(self, word: str, names: Collection[ProjectName], place: str) -> None:
        super().__init__(word, sorted(names))
        self._names = frozenset(names)
        # One for all names: a list has a million of them.
        self._refusal = self.refusal(f"it is not in {place}")

    def refuses_name(self, listed: Listed) -> Refusal | None:
        return None if not self._names or listed.name in self._names else self._refusal


class BlockedNames(QuietFilter):
    """Leaves out the projects of a list."""

    def __init__(self, word: str, names: Collection[ProjectName], place: str) -> None:
        super().__init__(word, sorted(names))
        self._names = frozenset(names)
        self._place = place

    def refuses_name(self, listed: Listed) -> Refusal | None:
        return self.refusal(f"it is in {self._place}") if listed.name in self._names else None


class MatchedNames(QuietFilter):
    """Leaves out projects with a name that a pattern matches at its beginning."""

    def __init__(self, word: str, patterns: Sequence[re.Pattern[str]], *, only_raw: bool) -> None:
        """`only_raw`: the patterns are compared with the upstream's spelling alone, and not with the normalised name too."""
        super().__init__(word, [[each.pattern for each in patterns], only_raw])
        self._patterns = tuple(patterns)
        self._only_raw = only_raw

    def refuses_name(self, listed: Listed) -> Refusal | None:
        for pattern in self._patterns:
            if pattern.match(listed.raw) or (not self._only_raw and pattern.match(listed.name)):
                return self.refusal(f"its name matches {pattern.pattern!r}")
        return None
