"""What has to be written so that one index has a release of another: the whole of it, or a reason why not.

Pure: takes what both indexes hold of the project, returns changes and what must still be true when they are applied. Rules that an
upload obeys are obeyed here as well: a name that is taken stays taken, and a release has one sdist.

    files       as they are, with their history behind them; the same bytes are no change where nothing may be overwritten
    metadata    of the release; where nothing may be overwritten what the target has stays
    results     go with the file that they are about; one that is there already is not added again
    docs        one archive a release, like a file

Histories as devpi keeps them: what the source knows, without its overwriting, then the push. What stood in the way at the target is
on record as `overwrite`, before that.
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
from pkgindex_core.formats.filenames import kind_of
from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.models import Attachment, Event, File, IndexConfig, PageHead, Release
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Taken


class Holding(Struct, frozen=True, kw_only=True):
    """What one index holds of one project, as far as a push is concerned."""

    index: IndexName
    holds: bool = False
    head: PageHead = PageHead()
    files: tuple[File, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    releases: tuple[Release, ...] = ()

    def of(self, version: str) -> Holding:
        """The part that is about one version."""
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
        """Whether the version is known here at all, with files or without."""
        part = self.of(version)
        wanted = canonical_version(version)
        return bool(part.files or part.attachments or part.releases) or any(
            _is(each, wanted) for each in self.head.versions
        )


class Moved(Struct, frozen=True, kw_only=True):
    """One thing that the target has after the push."""

    kind: Literal["file", "toxresult", "doczip"]
    filename: str
    file: File | None = None
    """For a test result: the file that it is about."""


class Plan(Struct, frozen=True, kw_only=True):
    """What a push comes to. No changes: the target has everything already."""

    changes: tuple[Change, ...]
    guards: tuple[Requirement, ...]
    moved: tuple[Moved, ...]
    """In devpi's order: each file with its results behind it, then the documentation."""


class Push(Struct, frozen=True, kw_only=True):
    """What is asked for: a release, from where to where, by whom and when."""

    project: ProjectName
    version: str
    source: IndexName
    target: IndexConfig
    who: str
    at: Timestamp


def plan_push(push: Push, source: Holding, target: Holding, taken: Mapping[str, Taken]) -> Plan:
    """Work out what is to be written; raise what forbids it, naming everything that stands in the way.

    `source` is the part that is pushed (see `Holding.of`), `target` all that is there. `taken` says who has the names of the files
    at the target. A file whose sha256 is not known yet is left out: whoever fetches it plans again.
    """
    draft = _Draft(push, source, target.of(push.version))
    _refuse_conflicts(push, source, target, taken)
    for file in source.files:
        if file.sha256 is not None:
            draft.move_file(file)
    docs = next((each for each in source.attachments if each.kind == "doczip"), None)
    if docs is not None:
        draft.move_docs(docs)
    return draft.plan(target)


class _Draft:
    """A plan in the making."""

    def __init__(self, push: Push, source: Holding, there: Holding) -> None:
        self._push = push
        self._source = source
        self._there = there
        self._index = push.target.name
        self._volatile = push.target.volatile
        self._files: list[Change] = []
        self._attachments: list[Change] = []
        self._guards: list[Requirement] = []
        self._moved: list[Moved] = []
        self._new_docs = False

    def move_file(self, file: File) -> None:
        push = self._push
        old = next((each for each in self._there.files if each.filename == file.filename), None)
        same = old is not None and old.sha256 == file.sha256
        moved = replace(file, url="", gpg_sig=None, metadata_offered=False)
        self._moved.append(Moved(kind="file", filename=file.filename, file=moved))
        if self._volatile or not same:
            moved = replace(
                moved,
                upload_time=file.upload_time if file.upload_time is not None else push.at,
                history=self._history(file.history, old.history if old is not None else None),
            )
            self._files.append(PutFile(self._index, push.project, moved, self._source.head.display_name))
            if not self._volatile:
                self._guards.append(FileAbsent(self._index, file.filename))
        here = [each for each in self._there.attachments if each.about == file.filename]
        there = here if same else []
        names = {each.filename for each in there}
        replaced = {each.filename for each in here} - names
        for result in self._source.attachments:
            if result.kind == "toxresult" and result.about == file.filename:
                self._move_result(result, moved, there, names)
        # A result that was added meanwhile is nobody's to replace; those of other bytes go with them.
        self._guards += [
            AttachmentAbsent(self._index, push.project, each.attachment.filename)
            for each in self._attachments
            if isinstance(each, PutAttachment)
            and each.attachment.about == file.filename
            and each.attachment.filename not in replaced
        ]

    def _move_result(self, result: Attachment, file: File, there: Sequence[Attachment], names: set[str]) -> None:
        known = next((each for each in there if each.sha256 == result.sha256), None)
        name = known.filename if known is not None else _free_name(result.filename, names)
        self._moved.append(Moved(kind="toxresult", filename=name, file=file))
        if known is not None:
            return
        names.add(name)
        history = self._history(result.history, None)
        self._attachments.append(
            PutAttachment(self._index, self._push.project, replace(result, filename=name, history=history))
        )

    def move_docs(self, docs: Attachment) -> None:
        project = self._push.project
        old = next((each for each in self._there.attachments if each.kind == "doczip"), None)
        self._moved.append(Moved(kind="doczip", filename=docs.filename))
        if old is not None and not self._volatile:
            return  # the same bytes: others were refused
        if old is None:
            self._guards.append(AttachmentAbsent(self._index, project, docs.filename))
            self._new_docs = True
        elif old.filename != docs.filename:
            self._attachments.append(DropAttachment(self._index, project, old.filename))
        history = self._history(docs.history, old.history if old is not None else None)
        self._attachments.append(PutAttachment(self._index, project, replace(docs, history=history)))

    def plan(self, target: Holding) -> Plan:
        """Everything, in an order in which each change finds what it needs."""
        push = self._push
        changes = list(self._files)
        writes = bool(self._files or self._attachments)
        known = target.knows(push.version)
        if writes and not self._files and (self._new_docs or not known):
            # Documentation alone: the version is known by it, as one that was registered. And where it is known already the project gets
            # a new stamp: who is about to drop the version looks again.
            head = target.head if target.holds else PageHead(display_name=self._source.head.display_name)
            versions = head.versions if known else (*head.versions, push.version)
            changes.append(PutProject(self._index, push.project, replace(head, versions=versions)))
        if writes:
            changes.extend(self._release())
        return Plan(changes=(*changes, *self._attachments), guards=tuple(self._guards), moved=tuple(self._moved))

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
    """Raise when a name that is needed belongs to something else."""
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
    # One sdist per release, as on PyPI: another spelling of the same version is the only way to a second.
    known = [each.filename for each in there.files if _is_sdist(each.filename)]
    new = [each.filename for each in source.files if _is_sdist(each.filename) and each.filename not in known]
    if known and new:
        raise Conflict(
            f"{target.index} has the source distribution {known[0]} of this release; {new[0]} would be another"
        )


def _free_name(name: str, names: set[str]) -> str:
    """The name, or the next one that nobody has: the number at its end grows."""
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
