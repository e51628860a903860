"""An upload check and a page filter. Both are pure: they look at values and say why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pkgindex_core.clock import Timestamp
from pkgindex_core.models import File, Tree
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Build, InspectedUpload, PageFilter, Ruling, UploadCheck


class NoDevelopmentVersions:
    """Refuses versions such as `1.0.dev3`."""

    def problems(self, upload: InspectedUpload) -> Sequence[str]:
        if "dev" not in upload.file.version:
            return ()
        return (f"version {upload.file.version} is a development version; release one without .dev",)


class NoNightlies:
    """Hides files that have a word in their name, from every index."""

    by_release = False

    def __init__(self, *, word: str) -> None:
        self._word = word.lower()

    @property
    def fingerprint(self) -> str:
        return f"no-nightlies:{self._word}"

    def cut_off(self, tree: Tree, start: IndexName, moment: Timestamp) -> Timestamp:
        return Timestamp(0)

    def applies(self, tree: Tree, start: IndexName) -> bool:
        return True

    def withheld(self, tree: Tree, start: IndexName, origin: IndexName, project: ProjectName) -> Ruling | None:
        return None

    def judge(self, origin: IndexName, file: File, build: Build) -> Ruling | None:
        return Ruling(reason=f"its name contains {self._word!r}") if self._word in file.filename.lower() else None


if TYPE_CHECKING:
    _check: type[UploadCheck] = NoDevelopmentVersions
    _filter: type[PageFilter] = NoNightlies
