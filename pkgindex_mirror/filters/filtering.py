"""The role of a filter.

    list ─► names ─► page (and document) ─► projects ─► files ─► releases ─► chosen files

Each stage says why something is left out, or None. A stage at which a filter has no opinion leaves everything in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from pkgindex_core.models import File
from pkgindex_mirror.syncing.values import Listed, Refusal, UpstreamProject


class MirrorFilter(Protocol):
    """One filter. Does not read or write anything; the same question has the same answer while `fingerprint` is the same."""

    word: str
    """Its name in configurations and refusals."""
    needs_document: bool
    """Whether it reads `UpstreamProject.document`."""

    @property
    def fingerprint(self) -> str:
        """A text that differs when other choices are made."""
        ...

    def refuses_name(self, listed: Listed) -> Refusal | None:
        """Judge a project by its name, before anything of it is fetched."""
        ...

    def refuses_project(self, project: UpstreamProject) -> Refusal | None:
        """Judge a project by its page and document."""
        ...

    def refuses_files(self, project: UpstreamProject, files: Sequence[File]) -> Mapping[str, Refusal]:
        """Judge the files that the filters before have left. Refusals by filename; of a release, for each of its files."""
        ...


class Chosen(Protocol):
    """All filters of a mirror, in order: what `syncing` uses."""

    needs_document: bool

    @property
    def fingerprint(self) -> str: ...

    def name(self, listed: Listed) -> Refusal | None: ...

    def project(self, project: UpstreamProject) -> Refusal | None: ...

    def files(self, project: UpstreamProject) -> tuple[Sequence[File], Mapping[str, Refusal]]:
        """The chosen files, and why each of the others is left out."""
        ...
