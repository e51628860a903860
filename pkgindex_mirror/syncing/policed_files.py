"""Filters together with the policies of files: a change of either has projects looked at again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pkgindex_core.models import File
from pkgindex_mirror.file_policies import FilePolicies
from pkgindex_mirror.filters.filtering import Chosen
from pkgindex_mirror.syncing.values import Listed, Refusal, UpstreamProject


class PolicedFiles:
    """A `Chosen` that chooses as another one does."""

    def __init__(self, chosen: Chosen, policies: FilePolicies) -> None:
        self._chosen = chosen
        self._policies = policies
        self.needs_document = chosen.needs_document

    @property
    def fingerprint(self) -> str:
        return f"{self._chosen.fingerprint} {self._policies.fingerprint}"

    def name(self, listed: Listed) -> Refusal | None:
        return self._chosen.name(listed)

    def project(self, project: UpstreamProject) -> Refusal | None:
        return self._chosen.project(project)

    def files(self, project: UpstreamProject) -> tuple[Sequence[File], Mapping[str, Refusal]]:
        return self._chosen.files(project)


if TYPE_CHECKING:
    _: type[Chosen] = PolicedFiles
