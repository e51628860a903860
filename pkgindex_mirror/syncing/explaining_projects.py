"""Why each file of a project is in the mirror or not, from what is stored."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from pkgindex_core.clock import to_rfc3339
from pkgindex_core.names import ProjectName
from pkgindex_mirror.filters.filtering import Chosen
from pkgindex_mirror.syncing.file_policies import FilePolicies
from pkgindex_mirror.syncing.judging import judge
from pkgindex_mirror.syncing.targets import SyncTarget
from pkgindex_mirror.syncing.values import Listed, ProjectState

Fate = Literal["mirrored", "missing", "on demand", "left out"]


class ExplainedFile(Struct, frozen=True, kw_only=True):
    """The fate of one file."""

    filename: str
    size: int | None
    fate: Fate
    """`missing`: it is chosen, and not there. `on demand`: it comes with the first request for it."""
    filter: str = ""
    reason: str = ""


class ProjectExplanation(Struct, frozen=True, kw_only=True):
    """The fate of a project and of its files."""

    project: str
    sentences: tuple[str, ...]
    files: tuple[ExplainedFile, ...] = ()
    remarks: tuple[str, ...] = ()
    """Sentences about entries of its page that cannot be mirrored, whatever the filters say."""


async def explain_project(
    target: SyncTarget,
    chosen: Chosen,
    name: ProjectName,
    *,
    policies: FilePolicies = FilePolicies(),  # noqa: B008 - a frozen value
) -> ProjectExplanation:
    """Explain a project by what the last runs stored, and by the filters as they are now."""
    state, project = await target.state(name), await target.held(name)
    refusal = chosen.name(Listed(name, state.raw if state else name))
    sentences = []
    if refusal is not None:
        sentences.append(f"its name is refused by {refusal.filter}: {refusal.reason}")
    if state is None:
        sentences.append("no run has met it: the upstream does not list it, or a filter refuses its name")
        return ProjectExplanation(project=name, sentences=tuple(sentences))
    sentences += _sentences(state)
    if project is None:
        sentences.append("its page is not stored")
        return ProjectExplanation(project=name, sentences=tuple(sentences))
    if chosen.needs_document and not project.document:
        sentences.append(
            "its JSON document is not stored, which filters read: what is said of its files may be incomplete"
        )
    judgement = judge(chosen, project)
    if judgement.refusal is not None and refusal is None:
        sentences.append(f"it is refused by {judgement.refusal.filter}: {judgement.refusal.reason}")
    kept = {file.filename for file in judgement.chosen}
    absent = {file.filename for file in await target.missing(project.files)}
    without: Fate = "missing" if policies.is_immediate(name) else "on demand"
    files = []
    for file in project.files:
        why = judgement.refusals.get(file.filename) or judgement.refusal
        fate: Fate = "left out" if file.filename not in kept else without if file.filename in absent else "mirrored"
        files.append(
            ExplainedFile(
                filename=file.filename,
                size=file.size,
                fate=fate,
                filter=why.filter if why is not None and fate == "left out" else "",
                reason=why.reason if why is not None and fate == "left out" else "",
            )
        )
    return ProjectExplanation(project=name, sentences=tuple(sentences), files=tuple(files), remarks=project.remarks)


def _sentences(state: ProjectState) -> list[str]:
    found = []
    if state.serial is not None:
        found.append(f"it is mirrored up to serial {state.serial}")
    if state.refused:
        found.append(f"the last run refused it: {state.refused}")
    if state.error:
        when = f", and it is left alone until {to_rfc3339(state.next_try)}" if state.next_try is not None else ""
        found.append(f"its last {state.failures} tries failed: {state.error}{when}")
    if state.gone_since is not None:
        found.append(f"the upstream does not have it since {to_rfc3339(state.gone_since)}")
    if state.hidden:
        found.append("its page is hidden")
    return found
