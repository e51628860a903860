"""Simple filters: statuses of projects, kinds of files, yanked files, pre-releases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pkgindex_core.errors import Refused
from pkgindex_core.formats.filenames import kind_of
from pkgindex_core.formats.versions import version_key
from pkgindex_core.models import PROJECT_STATUSES, File
from pkgindex_core.spelling import suggestion
from pkgindex_mirror.filters.quiet_filter import QuietFilter
from pkgindex_mirror.filters.releases import parsed_version
from pkgindex_mirror.syncing.values import Refusal, UpstreamProject


class ExcludedStatuses(QuietFilter):
    """Leaves out projects with one of these statuses (PEP 792). A project without a status is active."""

    def __init__(self, statuses: Sequence[str]) -> None:
        super().__init__("except_statuses", sorted(statuses))
        for status in statuses:
            if status not in PROJECT_STATUSES:
                raise Refused(f"there is no project status {status!r}", hint=suggestion(status, PROJECT_STATUSES))
        self._statuses = frozenset(statuses)

    def refuses_project(self, project: UpstreamProject) -> Refusal | None:
        status = project.head.status or "active"
        if status not in self._statuses:
            return None
        reason = f": {project.head.status_reason}" if project.head.status_reason else ""
        return self.refusal(f"its status is {status}{reason}")


class FileKinds(QuietFilter):
    """Keeps files of these kinds."""

    def __init__(self, kinds: Sequence[str]) -> None:
        super().__init__("kinds", sorted(kinds))
        self._kinds = frozenset(kinds)

    def refuses_files(self, project: UpstreamProject, files: Sequence[File]) -> Mapping[str, Refusal]:  # noqa: ARG002 - files alone decide
        return {
            file.filename: self.refusal(f"it is of the kind {kind}")
            for file in files
            if (kind := kind_of(file.filename)) not in self._kinds
        }


class YankedFiles(QuietFilter):
    """Leaves out yanked files (PEP 592)."""

    def __init__(self) -> None:
        super().__init__("yanked", True)

    def refuses_files(self, project: UpstreamProject, files: Sequence[File]) -> Mapping[str, Refusal]:  # noqa: ARG002 - files alone decide
        return {
            file.filename: self.refusal(f"it is yanked: {file.yanked}" if file.yanked is not True else "it is yanked")
            for file in files
            if file.yanked is not False
        }


class PreReleaseVersions(QuietFilter):
    """Leaves out pre-releases and development releases (PEP 440): all, or with `newer` those that no final release has overtaken stay."""

    def __init__(self, which: Literal["newer", "drop"]) -> None:
        super().__init__("prereleases", which)
        self._newer = which == "newer"

    def refuses_files(self, project: UpstreamProject, files: Sequence[File]) -> Mapping[str, Refusal]:  # noqa: ARG002 - files alone decide
        previews = {version for version in {file.version for file in files} if _is_preview(version)}
        if not previews:
            return {}
        if self._newer:
            finals = [version_key(file.version) for file in files if file.version not in previews]
            newest = max(finals, default=None)
            previews = {each for each in previews if newest is not None and version_key(each) < newest}
        refusal = self.refusal("its version is a pre-release" + (" before the newest release" if self._newer else ""))
        return {file.filename: refusal for file in files if file.version in previews}


def _is_preview(version: str) -> bool:
    parsed = parsed_version(version)
    return parsed is not None and parsed.is_prerelease
