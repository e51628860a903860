"""The plan of a push within this server: the changes that give one index a release of another, or the reason why not.

Pure: takes what both indexes hold of the project, and returns changes with their requirements. The rules of uploads hold here
too: a taken filename stays taken, and a release has one sdist.

    files       with their history; in a non-volatile target the same bytes are no change
    metadata    of the release; a non-volatile target keeps its own
    results     of each pushed file, except those that the target has; with its provenance
    docs        one archive for each release, treated like a file

Histories are as in devpi: the events at the source except `overwrite`, then the push. If the push replaces something at the
target, an `overwrite` comes first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.changes import (
    AttachmentAbsent,
    Change,
    DropAttachment,
    FileAbsent,
    PutAttachment,
    PutFile,
    PutProject,
    PutRelease,
    Requirement,
)
from pkgindex_core.clock import Timestamp
from pkgindex_core.errors import Conflict
from pkgindex_core.formats.attestations import KIND as PROVENANCE
from pkgindex_core.formats.filenames import kind_of
from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.models import Attachment, Event, File, IndexConfig, PageHead, Release
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Taken


class Holding(Struct, frozen=True, kw_only=True):
    """The files, attachments and metadata of one project in one index."""

    index: IndexName
    holds: bool = False
    head: PageHead = PageHead()
    files: tuple[File, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    releases: tuple[Release, ...] = ()

    def of(self, version: str) -> Holding:
        """The part of one version."""
        wanted = canonical_version(version)
        return replace(
            self,
            files=tuple(
                sorted((each for each in self.files if _is(each.version, wanted)), key=lambda file: file.filename)
            ),
            attachments=tuple(each for each in self.attachments if _is(each.version, wanted)),
            releases=tuple(each for each in self.releases if _is(each.version, wanted)),
        )

    def knows(self, version: str) -> bool:
        """Whether the version is known here, with or without files."""
        part = self.of(version)
        wanted = canonical_version(version)
        return bool(part.files or part.attachments or part.releases) or any(
            _is(each, wanted) for each in self.head.versions
        )


class PushedItem(Struct, frozen=True, kw_only=True):
    """One file, test result or documentation archive that the target has after the push."""

    kind: Literal["file", "toxresult", "doczip"]
    filename: str
    file: File | None = None
    """For a test result: the tested file."""


class PushPlan(Struct, frozen=True, kw_only=True):
    """The changes of a push. No changes: the target has everything already."""

    changes: tuple[Change, ...]
    guards: tuple[Requirement, ...]
    items: tuple[PushedItem, ...]
    """In devpi's order: each file followed by its results, then the documentation."""


class Push(Struct, frozen=True, kw_only=True):
    """The request: a release, its source and target, the user and the time."""

    project: ProjectName
    version: str
    source: IndexName
    target: IndexConfig
    who: str
    at: Timestamp


def plan_push(push: Push, source: Holding, target: Holding, taken: Mapping[str, Taken]) -> PushPlan:
    """Plan the changes, or raise an error that names every conflict.

    `source` is the pushed part (see `Holding.of`), `target` everything at the target. `taken` has the files that hold the filenames
    at the target. A file of unknown sha256 is left out; plan again after it is fetched.
    """
    draft = _PushDraft(push, source, target.of(push.version))
    _refuse_conflicts(push, source, target, taken)
    for file in source.files:
        if file.sha256 is not None:
            draft.add_file(file)
    docs = next((each for each in source.attachments if each.kind == "doczip"), None)
    if docs is not None:
        draft.add_docs(docs)
    return draft.plan(target)


class _PushDraft:
    """Collects the changes of a plan."""

    def __init__(self, push: Push, source: Holding, there: Holding) -> None:
        self._push = push
        self._source = source
        self._there = there
        self._index = push.target.name
        self._volatile = push.target.volatile
        self._files: list[Change] = []
        self._attachments: list[Change] = []
        self._guards: list[Requirement] = []
        self._items: list[PushedItem] = []
        self._new_docs = False

    def add_file(self, file: File) -> None:
        push = self._push
        old = next((each for each in self._there.files if each.filename == file.filename), None)
        same = old is not None and old.sha256 == file.sha256
        pushed = replace(file, url="", gpg_sig=None, metadata_offered=False, metadata_from_ranges=False)
        self._items.append(PushedItem(kind="file", filename=file.filename, file=pushed))
        if self._volatile or not same:
            pushed = replace(
                pushed,
                upload_time=file.upload_time if file.upload_time is not None else push.at,
                history=self._history(file.history, old.history if old is not None else None),
            )
            self._files.append(PutFile(self._index, push.project, pushed, self._source.head.display_name))
            if not self._volatile:
                self._guards.append(FileAbsent(self._index, file.filename))
        here = [each for each in self._there.attachments if each.about == file.filename]
        there = here if same else []
        names = {each.filename for each in there}
        replaced = {each.filename for each in here} - names
        for result in self._source.attachments:
            if result.kind == "toxresult" and result.about == file.filename:
                self._add_result(result, pushed, there, names)
            elif result.kind == PROVENANCE and result.about == file.filename and not same:
                self._attachments.append(PutAttachment(self._index, push.project, result))
        # A result that is added meanwhile must not be replaced. Results of replaced bytes are dropped with them.
        self._guards += [
            AttachmentAbsent(self._index, push.project, each.attachment.filename)
            for each in self._attachments
            if isinstance(each, PutAttachment)
            and each.attachment.about == file.filename
            and each.attachment.filename not in replaced
        ]

    def _add_result(self, result: Attachment, file: File, there: Sequence[Attachment], names: set[str]) -> None:
        known = next((each for each in there if each.sha256 == result.sha256), None)
        name = known.filename if known is not None else _free_name(result.filename, names)
        self._items.append(PushedItem(kind="toxresult", filename=name, file=file))
        if known is not None:
            return
        names.add(name)
        history = self._history(result.history, None)
        self._attachments.append(
            PutAttachment(self._index, self._push.project, replace(result, filename=name, history=history))
        )

    def add_docs(self, docs: Attachment) -> None:
        project = self._push.project
        old = next((each for each in self._there.attachments if each.kind == "doczip"), None)
        self._items.append(PushedItem(kind="doczip", filename=docs.filename))
        if old is not None and not self._volatile:
            return  # the same bytes; other bytes were refused before
        if old is None:
            self._guards.append(AttachmentAbsent(self._index, project, docs.filename))
            self._new_docs = True
        elif old.filename != docs.filename:
            self._attachments.append(DropAttachment(self._index, project, old.filename))
        history = self._history(docs.history, old.history if old is not None else None)
        self._attachments.append(PutAttachment(self._index, project, replace(docs, history=history)))

    def plan(self, target: Holding) -> PushPlan:
        """All changes, each after those that it depends on."""
        push = self._push
        changes = list(self._files)
        writes = bool(self._files or self._attachments)
        known = target.knows(push.version)
        if writes and not self._files and (self._new_docs or not known):
            # Only documentation is pushed: list the version as if it was registered. A version that is listed already still gives
            # the project a new stamp, so that a concurrent drop of the version reads again.
            head = target.head if target.holds else PageHead(display_name=self._source.head.display_name)
            versions = head.versions if known else (*head.versions, push.version)
            changes.append(PutProject(self._index, push.project, replace(head, versions=versions)))
        if writes:
            changes.extend(self._release())
        return PushPlan(changes=(*changes, *self._attachments), guards=tuple(self._guards), items=tuple(self._items))

    def _release(self) -> Sequence[Change]:
        new = next(iter(self._source.releases), None)
        old = next(iter(self._there.releases), None)
        if new is None or (old is not None and (not self._volatile or old == new)):
            return ()
        return (PutRelease(self._index, self._push.project, new),)

    def _history(self, known: Sequence[Event], replaced: Sequence[Event] | None) -> tuple[Event, ...]:
        push = self._push
        before = []
        if replaced is not None:
            count = sum(event.count for event in replaced if event.what == "overwrite")
            before.append(Event(what="overwrite", at=push.at, who=push.who, count=count + 1))
        return (
            *before,
            *(event for event in known if event.what != "overwrite"),
            Event(what="push", at=push.at, who=push.who, source=push.source, target=self._index),
        )


def _refuse_conflicts(push: Push, source: Holding, target: Holding, taken: Mapping[str, Taken]) -> None:
    """Raise when a needed filename belongs to another file."""
    in_the_way: list[str] = []
    there = target.of(push.version)
    for file in source.files:
        holder = taken.get(file.filename)
        if holder is not None and holder.project != push.project:
            raise Conflict(f"{file.filename} belongs to the project {holder.project} in {target.index}")
        if file.sha256 is None or holder is None or push.target.volatile:
            continue
        if not holder.live:
            raise Conflict(
                f"This filename was previously used by a file that was deleted: {file.filename}",
                hint="publish under a new version; a name is never given to other bytes",
            )
        if holder.sha256 != file.sha256:
            in_the_way.append(file.filename)
    docs = {each.sha256 for each in source.attachments if each.kind == "doczip"}
    if docs and not push.target.volatile:
        in_the_way.extend(
            each.filename for each in there.attachments if each.kind == "doczip" and each.sha256 not in docs
        )
    if in_the_way:
        others = f"; the same holds for {', '.join(in_the_way[1:])}" if in_the_way[1:] else ""
        raise Conflict(
            f"{in_the_way[0]} already exists in non-volatile index",
            hint=f"{target.index} has it with other bytes: publish the changed files under a new version{others}",
        )
    # One sdist for each release, as on PyPI. A second one is possible only under another spelling of the version.
    known = [each.filename for each in there.files if _is_sdist(each.filename)]
    new = [each.filename for each in source.files if _is_sdist(each.filename) and each.filename not in known]
    if known and new:
        raise Conflict(
            f"{target.index} has the source distribution {known[0]} of this release; {new[0]} would be another"
        )


def _free_name(name: str, names: set[str]) -> str:
    """The name, with a higher number at its end if it is taken."""
    found = _NUMBERED.fullmatch(name)
    if found is None:
        return name
    number = int(found["number"])
    while f"{found['stem']}{number}" in names:
        number += 1
    return f"{found['stem']}{number}"


def _is_sdist(filename: str) -> bool:
    return filename.endswith(".tar.gz") and kind_of(filename) == "sdist"


def _is(version: str, wanted: str) -> bool:
    return bool(version) and canonical_version(version) == wanted


_NUMBERED = re.compile(r"(?P<stem>.+-)(?P<number>[0-9]{1,9})")
