"""The meaning of changes of hosted projects: files, tombstones, releases, attachments."""

from __future__ import annotations

from msgspec.structs import replace

from pkgindex_core.changes import (
    DropAttachment,
    DropFile,
    DropProject,
    DropRelease,
    PutAttachment,
    PutFile,
    PutProject,
    PutRelease,
    YankFile,
)
from pkgindex_core.errors import Missing
from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.models import PageHead
from pkgindex_core.rules import change_rules
from pkgindex_core.rules.planning.draft import Draft
from pkgindex_core.rules.planning.facts import ProjectKey, StandingRow, StoredFile


def change_hosted(draft: Draft, change: PutProject | DropProject | PutFile | DropFile | YankFile) -> None:
    key = (change.index, change.project)
    held = _held(draft, key)
    match change:
        case PutFile():
            _put_file(draft, change, held)
        case PutProject(head=head):
            draft.stand(key, head, held.file_count if held is not None else 0)
        case DropProject():
            if held is None:
                raise Missing("project", change.project)
            draft.empty_project(key)
            draft.stand(key, None, 0)
        case DropFile(filename=name):
            held, stored = _file(draft, key, name)
            draft.bury((change.index, name), stored)
            draft.empty_results(key, name)
            draft.stand(key, held.head, held.file_count - 1)
        case YankFile(filename=name, yanked=yanked):
            held, stored = _file(draft, key, name)
            file = replace(stored.file, yanked=yanked)
            draft.files.put((change.index, name), StoredFile(change.project, file))
            draft.stand(key, held.head, held.file_count)


def change_parts(draft: Draft, change: PutRelease | DropRelease | PutAttachment | DropAttachment) -> None:
    """Change releases and attachments. Pages do not show them, so the standing of the project stays as it is."""
    key = (change.index, change.project)
    if _held(draft, key) is None:
        raise Missing("project", change.project)
    match change:
        case PutRelease(release=release):
            draft.releases.put((*key, canonical_version(release.version)), release)
        case DropRelease(version=version):
            part = (*key, canonical_version(version))
            if draft.releases.get(part) is None:
                raise Missing("version", version)
            draft.releases.end(part)
        case PutAttachment(attachment=attachment):
            change_rules.attachment_digest(attachment)
            if attachment.about:
                _file(draft, key, attachment.about)
            draft.attachments.put((*key, attachment.filename), attachment)
        case DropAttachment(filename=name):
            if draft.attachments.get((*key, name)) is None:
                raise Missing("attachment", name)
            draft.attachments.end((*key, name))


def _put_file(draft: Draft, change: PutFile, held: StandingRow | None) -> None:
    change_rules.hosted_digest(change.file)
    name = change.file.filename
    key, file_key = (change.index, change.project), (change.index, name)
    live = draft.files.get(file_key)
    holder = live or draft.tombstones.get(file_key)
    change_rules.one_project(name, change.project, holder.project if holder else change.project, change.index)
    if live is None and holder is not None:
        draft.tombstones.end(file_key)
    if live is not None and live.file.sha256 != change.file.sha256:
        draft.empty_results(key, name)
    draft.files.put(file_key, StoredFile(change.project, change.file))
    head = held.head if held is not None else PageHead(display_name=change.display_name)
    draft.stand(key, head, (held.file_count if held is not None else 0) + (live is None))


def _held(draft: Draft, key: ProjectKey) -> StandingRow | None:
    standing = draft.standings.get(key)
    return standing if standing is not None and standing.holds else None


def _file(draft: Draft, key: ProjectKey, filename: str) -> tuple[StandingRow, StoredFile]:
    """A live file of a held project, with the standing of the project. Raises `Missing`."""
    held, stored = _held(draft, key), draft.files.get((key[0], filename))
    if held is None or stored is None or stored.project != key[1]:
        raise Missing("file", filename)
    return held, stored
