"""All filters of a mirror, in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pkgindex_core.models import File
from pkgindex_mirror.filters.filtering import Chosen, MirrorFilter
from pkgindex_mirror.filters.fingerprints import joined_fingerprint
from pkgindex_mirror.syncing.values import Listed, Refusal, UpstreamProject


class Filters:
    """Filters in the order in which they were given, and after them those that count what the others leave (`counting`).

    The first refusal counts. Methods raise `PkgIndexError` for a project that cannot be judged, as when its JSON document is needed
    and broken. Such a project has failed: it is neither chosen nor refused.
    """

    def __init__(
        self,
        filters: Sequence[MirrorFilter] = (),
        counting: Sequence[MirrorFilter] = (),
        *,
        cautions: Sequence[str] = (),
    ) -> None:
        self.filters = tuple(filters)
        self.counting = tuple(counting)
        self.cautions = tuple(cautions)
        """Sentences about filters that are enabled and do nothing."""
        self._all = self.filters + self.counting
        self.needs_document = any(each.needs_document for each in self._all)

    @property
    def words(self) -> tuple[str, ...]:
        """The names of the filters, in order."""
        return tuple(each.word for each in self._all)

    @property
    def fingerprint(self) -> str:
        return joined_fingerprint(each.fingerprint for each in self._all)

    def joined(self, other: Filters) -> Filters:
        """These filters and then the others. Those that count come last again."""
        return Filters(
            self.filters + other.filters, self.counting + other.counting, cautions=self.cautions + other.cautions
        )

    def name(self, listed: Listed) -> Refusal | None:
        for each in self._all:
            if refusal := each.refuses_name(listed):
                return refusal
        return None

    def project(self, project: UpstreamProject) -> Refusal | None:
        for each in self._all:
            if refusal := each.refuses_project(project):
                return refusal
        return None

    def files(self, project: UpstreamProject) -> tuple[Sequence[File], Mapping[str, Refusal]]:
        left: Sequence[File] = project.files
        refused: dict[str, Refusal] = {}
        for each in self._all:
            if not left:
                break
            if found := each.refuses_files(project, left):
                refused.update(found)
                left = [file for file in left if file.filename not in found]
        return left, refused


if TYPE_CHECKING:
    _: type[Chosen] = Filters
