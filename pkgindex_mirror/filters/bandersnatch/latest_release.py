"""`latest_release`: the newest releases of a project, and the one that its upstream calls the version of the project.

bandersnatch counts all releases, pre-releases and yanked ones too, but not those that other filters have already removed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pkgindex_core.formats.versions import version_key
from pkgindex_core.models import File
from pkgindex_mirror.filters.bandersnatch.release_judges import Releases, Verdicts
from pkgindex_mirror.filters.fingerprints import fingerprint_of
from pkgindex_mirror.filters.legacy_documents import LegacyDocument, legacy_document
from pkgindex_mirror.filters.releases import parsed_version
from pkgindex_mirror.syncing.values import UpstreamProject

SortBy = Literal["version", "time"]


class LatestReleases:
    """Leaves out all but the newest releases."""

    def __init__(self, word: str, keep: int, sort_by: SortBy, *, strict: bool, by_document: bool) -> None:
        """`keep`: at least 1. `strict`: leaves out versions that are not of PEP 440, instead of taking them for the oldest."""
        self.word = word
        self.needs_document = by_document
        self._keep = keep
        self._sort_by = sort_by
        self._strict = strict
        self.fingerprint = fingerprint_of(word, [keep, sort_by, strict])

    def decides_alone(self, _project: UpstreamProject) -> bool:
        return False

    def opened(self, project: UpstreamProject, releases: Releases) -> Verdicts:
        document = legacy_document(project)
        order = self._order(releases, document)
        present = str(document.info.get("version")) if document else newest_version(releases)
        compares = self._sort_by == "version" and self._strict

        def verdict(version: str) -> str:
            if compares and parsed_version(version) is None and version != present:
                return "its version cannot be compared"
            if self._keep > len(releases):
                return ""
            kept = self._first(order, releases)
            if present not in kept:
                kept[self._keep - 1 :] = [present]
            return "" if version in kept else f"it is not among the {self._keep} newest releases"

        return verdict

    def _first(self, order: list[str], releases: Releases) -> list[str]:
        """The newest of the releases that are left."""
        if len(order) > 2 * len(releases):
            order[:] = [version for version in order if version in releases]
        kept: list[str] = []
        for version in order:
            if version in releases:
                kept.append(version)
                if len(kept) == self._keep:
                    break
        return kept

    def _order(self, releases: Releases, document: LegacyDocument | None) -> list[str]:
        if self._sort_by == "time":
            # Equal times stay in the order of the releases, as `sorted` with `reverse` leaves them.
            return sorted(releases, key=lambda version: _time(version, releases, document), reverse=True)
        versions = [each for each in releases if not self._strict or parsed_version(each) is not None]
        return sorted(versions, key=lambda version: (version_key(version), version), reverse=True)


def newest_version(releases: Mapping[str, Sequence[File]]) -> str:
    """The release that an index calls the version of the project: the newest, rather not yanked, and rather no pre-release."""

    def rank(version: str) -> tuple[object, ...]:
        parsed = parsed_version(version)
        yanked = all(file.yanked is not False for file in releases[version])
        return (not yanked, parsed is not None and not parsed.is_prerelease, version_key(version))

    return max(releases, key=rank, default="")


def _time(version: str, releases: Releases, document: LegacyDocument | None) -> tuple[int, str]:
    """The upload time of the first file that is left: a text of the document, or a number of the page."""
    first = releases[version][0]
    entry = document.file(first.filename) if document else None
    return (0, str(entry[1].get("upload_time_iso_8601") or "")) if entry else (first.upload_time or 0, "")
