"""Judges one project by all filters, file by file: which files are chosen, and why the others are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from pkgindex_core.models import File
from pkgindex_mirror.filters.filtering import Chosen
from pkgindex_mirror.syncing.values import Listed, Refusal, UpstreamProject


class ProjectJudgement(Struct, frozen=True, kw_only=True):
    """The judgement of all filters about a project."""

    refusal: Refusal | None
    """Why the project as a whole is left out; then it has no chosen files."""
    chosen: Sequence[File] = ()
    refusals: Mapping[str, Refusal] = {}
    """By filename."""


def judge(chosen: Chosen, project: UpstreamProject) -> ProjectJudgement:
    """Judge a project by its name, its page, and its files."""
    refusal = chosen.name(Listed(project.name, project.raw, project.serial)) or chosen.project(project)
    if refusal is not None:
        return ProjectJudgement(refusal=refusal)
    files, refusals = chosen.files(project)
    return ProjectJudgement(refusal=None, chosen=files, refusals=refusals)
