"""What an index store in memory holds as of one commit, and how a change makes the next of it. Pure.

    State -> IndexState -> ProjectState -> {filename: PageRow}

Maps are plain dicts that are copied, never mutated; states share what did not change. A list of changes that fails half way leaves no
trace because nobody keeps the states in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar, assert_never

import msgspec
from msgspec import Struct

from pkgindex_core.changes import (
    AttachmentAbsent,
    Change,
    DropAttachment,
    DropFile,
    DropIndex,
    DropMirrorPage,
    DropProject,
    DropRelease,
    DropToken,
    DropUser,
    FileAbsent,
    IndexAbsent,
    IndexIs,
    IndexPresent,
    MirrorNames,
    MirrorPage,
    ProjectAt,
    PutAttachment,
    PutFile,
    PutIndex,
    PutProject,
    PutRelease,
    PutToken,
    PutUser,
    Requirement,
    UserAbsent,
    UserIs,
    YankFile,
)
from pkgindex_core.engines import change_rules
from pkgindex_core.errors import Missing
from pkgindex_core.formats.fragments import page_row
from pkgindex_core.formats.kept_pages import KeptRows
from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.models import (
    Attachment,
    IndexConfig,
    PageHead,
    PageRow,
    Release,
    Serial,
    Token,
    User,
    decode_file,
)
from pkgindex_core.names import IndexName, ProjectName, owner
from pkgindex_core.protocols.index_store import Listing, Taken
from pkgindex_core.rules.stamping import stamp_after

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class ProjectState(Struct, frozen=True, kw_only=True):
    """One project in one index, also after it was dropped (`holds` is then False)."""

    stamp: Serial
    since: Serial
    """The serial that first stored it as what it is, hosted or mirrored."""
    mirrored: bool
    holds: bool = True
    head: PageHead = PageHead()
    rows: Mapping[str, PageRow] = {}
    kept: KeptRows | None = None
    """The rows again, of a mirrored page that came in one piece."""
    content: str = ""
    """As `Standing.content`."""
    releases: Mapping[str, Release] = {}
    """By the one spelling of their version."""
    attachments: Mapping[str, Attachment] = {}


class IndexState(Struct, frozen=True, kw_only=True):
    """One index, also after it was dropped (`config` is then None)."""

    config: IndexConfig | None = None
    projects: Mapping[ProjectName, ProjectState] = {}
    holders: Mapping[str, ProjectName] = {}
    """Which project of a hosted index has a live file of that name."""
    tombstones: Mapping[str, Taken] = {}
    names: Mapping[ProjectName, str] = {}
    listing: Listing = Listing(stamp=Serial(0), count=0, validators={})


class State(Struct, frozen=True, kw_only=True):
    """Everything, as of the end of one commit."""

    serial: Serial = Serial(0)
    tree_serial: Serial = Serial(0)
    users: Mapping[str, User] = {}
    tokens: Mapping[str, Token] = {}
    indexes: Mapping[IndexName, IndexState] = {}

    def index(self, name: IndexName) -> IndexState:
        return self.indexes.get(name, _NO_INDEX)


_NO_INDEX = IndexState()


def holds(state: State, requirement: Requirement) -> bool:
    """Whether a requirement of a commit is met."""
    match requirement:
        case FileAbsent(index, filename):
            return filename not in state.index(index).holders and filename not in state.index(index).tombstones
        case AttachmentAbsent(index, project, filename):
            known = state.index(index).projects.get(project)
            return known is None or filename not in known.attachments
        case ProjectAt(index, project, stamp, content):
            found = state.index(index).projects.get(project)
            known_as = (found.stamp, found.content) if found is not None else (0, "")
            return known_as == (stamp, known_as[1] if content is None else content)
        case UserAbsent(name):
            return name not in state.users
        case IndexAbsent(index):
            return state.index(index).config is None
        case IndexPresent(index):
            return state.index(index).config is not None
        case UserIs(user):
            return state.users.get(user.name) == user
        case IndexIs(config):
            return state.index(config.name).config == config
        case _:
            assert_never(requirement)


def applied(state: State, change: Change, serial: Serial) -> State:
    """One change, or an error and no change."""
    match change:
        case PutUser() | DropUser() | PutToken() | DropToken():
            return _change_identity(state, change)
        case PutIndex() | DropIndex():
            return _change_tree(state, change, serial)
        case PutProject() | DropProject() | PutFile() | DropFile() | YankFile():
            index = state.index(change.index)
            change_rules.take_uploads(index.config, change.index)
            return _with_index(state, change.index, _change_hosted(index, change, serial))
        case PutRelease() | DropRelease() | PutAttachment() | DropAttachment():
            index = state.index(change.index)
            change_rules.take_uploads(index.config, change.index)
            return _with_index(state, change.index, _change_release(index, change))
        case MirrorPage() | DropMirrorPage() | MirrorNames():
            index = state.index(change.index)
            change_rules.take_mirrored(index.config, change.index)
            return _with_index(state, change.index, _change_mirrored(index, change, serial))
        case _:
            assert_never(change)


def _change_identity(state: State, change: PutUser | DropUser | PutToken | DropToken) -> State:
    match change:
        case PutUser(user):
            return msgspec.structs.replace(state, users={**state.users, user.name: user})
        case DropUser(name):
            if name not in state.users:
                raise Missing("user", name)
            indexes = [index for index, it in state.indexes.items() if it.config is not None and owner(index) == name]
            change_rules.user_is_free(name, indexes)
            tokens = {token_id: token for token_id, token in state.tokens.items() if token.user != name}
            return msgspec.structs.replace(state, users=_without(state.users, name), tokens=tokens)
        case PutToken(token):
            if token.user not in state.users:
                raise Missing("user", token.user)
            return msgspec.structs.replace(state, tokens={**state.tokens, token.id: token})
        case DropToken(token_id):
            if token_id not in state.tokens:
                raise Missing("token", token_id)
            return msgspec.structs.replace(state, tokens=_without(state.tokens, token_id))


def _change_tree(state: State, change: PutIndex | DropIndex, serial: Serial) -> State:
    state = msgspec.structs.replace(state, tree_serial=serial)
    match change:
        case PutIndex(config):
            if owner(config.name) not in state.users:
                raise Missing("user", owner(config.name))
            index = state.index(config.name)
            change_rules.keep_type(index.config, config)
            return _with_index(state, config.name, msgspec.structs.replace(index, config=config))
        case DropIndex(name):
            index = state.index(name)
            if index.config is None:
                raise Missing("index", name)
            projects = {
                project: dropped(found, serial) if found.holds or found.rows else found
                for project, found in index.projects.items()
            }
            return _with_index(state, name, IndexState(projects=projects))


def _change_hosted(
    index: IndexState, change: PutProject | DropProject | PutFile | DropFile | YankFile, serial: Serial
) -> IndexState:
    found = index.projects.get(change.project)
    held = found if found is not None and found.holds else None
    match change:
        case PutProject(head=head):
            return _with_hosted(index, change.project, held, head, held.rows if held else {}, serial)
        case DropProject():
            if held is None:
                raise Missing("project", change.project)
            return msgspec.structs.replace(
                index,
                projects={**index.projects, change.project: dropped(held, serial)},
                holders={name: holder for name, holder in index.holders.items() if holder != change.project},
                tombstones={**index.tombstones, **_buried(change.project, held.rows.values())},
            )
        case PutFile(file=file):
            change_rules.hosted_digest(file)
            name = file.filename
            grave = index.tombstones.get(name)
            holder = index.holders.get(name) or (grave.project if grave else change.project)
            change_rules.one_project(name, change.project, holder, change.index)
            head = held.head if held else PageHead(display_name=change.display_name)
            if held and name in held.rows and decode_file(held.rows[name].body).sha256 != file.sha256:
                held = _without_results(held, name)
            rows = {**(held.rows if held else {}), name: page_row(file)}
            index = msgspec.structs.replace(
                index,
                holders={**index.holders, name: change.project},
                tombstones=_without(index.tombstones, name),
            )
            return _with_hosted(index, change.project, held, head, rows, serial)
        case DropFile(filename=name):
            if held is None or name not in held.rows:
                raise Missing("file", name)
            index = msgspec.structs.replace(
                index,
                holders=_without(index.holders, name),
                tombstones={**index.tombstones, **_buried(change.project, [held.rows[name]])},
            )
            held = _without_results(held, name)
            return _with_hosted(index, change.project, held, held.head, _without(held.rows, name), serial)
        case YankFile(filename=name, yanked=yanked):
            if held is None or name not in held.rows:
                raise Missing("file", name)
            file = msgspec.structs.replace(decode_file(held.rows[name].body), yanked=yanked)
            return _with_hosted(index, change.project, held, held.head, {**held.rows, name: page_row(file)}, serial)


def _change_release(index: IndexState, change: PutRelease | DropRelease | PutAttachment | DropAttachment) -> IndexState:
    held = index.projects.get(change.project)
    if held is None or not held.holds:
        raise Missing("project", change.project)
    match change:
        case PutRelease(release=release):
            key = canonical_version(release.version)
            held = msgspec.structs.replace(held, releases={**held.releases, key: release})
        case DropRelease(version=version):
            key = canonical_version(version)
            if key not in held.releases:
                raise Missing("version", version)
            held = msgspec.structs.replace(held, releases=_without(held.releases, key))
        case PutAttachment(attachment=attachment):
            change_rules.attachment_digest(attachment)
            if attachment.about and attachment.about not in held.rows:
                raise Missing("file", attachment.about)
            attachments = {**held.attachments, attachment.filename: attachment}
            held = msgspec.structs.replace(held, attachments=attachments)
        case DropAttachment(filename=name):
            if name not in held.attachments:
                raise Missing("attachment", name)
            held = msgspec.structs.replace(held, attachments=_without(held.attachments, name))
    return msgspec.structs.replace(index, projects={**index.projects, change.project: held})


def _change_mirrored(
    index: IndexState, change: MirrorPage | DropMirrorPage | MirrorNames, serial: Serial
) -> IndexState:
    match change:
        case MirrorPage(project=project, head=head, put=put, drop=drop):
            old = index.projects.get(project)
            known = old if old is not None and old.mirrored else None
            gone = set(drop)
            held = known is not None and known.holds
            begun = known.rows if known is not None and (held or change.part in {"middle", "last"}) else {}
            rows = {name: row for name, row in begun.items() if name not in gone}
            rows |= {file.filename: page_row(file) for file in put}
            same_files = not put and not drop and not change.kept
            kept = change_rules.kept_rows(known.kept if known is not None else None, change)
            if kept is not None:
                rows = {row.filename: row for row in kept}
            unseen = known is not None and held and same_files and change_rules.looks_the_same(known.head, head)
            is_last = change.part in {"whole", "last"}
            shown = head if is_last else known.head if known is not None and held else PageHead()
            before = (known.stamp, known.content) if known is not None else (0, "")
            stamp, content = change_rules.page_name(change, serial, before, unseen=unseen, head=shown, rows=kept)
            page = ProjectState(
                stamp=stamp,
                since=known.since if known else serial,
                mirrored=True,
                holds=is_last or held,
                head=shown,
                rows=rows,
                kept=kept,
                content=content,
            )
            return msgspec.structs.replace(index, projects={**index.projects, project: page})
        case DropMirrorPage(project=project):
            old = index.projects.get(project)
            if old is None or not old.holds:
                raise Missing("project", project)
            return msgspec.structs.replace(index, projects={**index.projects, project: dropped(old, serial)})
        case MirrorNames(put=added, drop=removed, validators=validators):
            delisted = set(removed)
            names = {name: display for name, display in index.names.items() if name not in delisted} | dict(added)
            same_names = index.listing.stamp and not added and not removed
            stamp = index.listing.stamp if same_names else serial
            listing = Listing(stamp=stamp, count=len(names), validators=validators)
            return msgspec.structs.replace(index, names=names, listing=listing)


def _with_index(state: State, name: IndexName, index: IndexState) -> State:
    return msgspec.structs.replace(state, indexes={**state.indexes, name: index})


def _with_hosted(
    index: IndexState,
    project: ProjectName,
    held: ProjectState | None,
    head: PageHead,
    rows: Mapping[str, PageRow],
    serial: Serial,
) -> IndexState:
    found = ProjectState(
        stamp=serial,
        since=serial,
        mirrored=False,
        head=head,
        rows=rows,
        releases=held.releases if held else {},
        attachments=held.attachments if held else {},
    )
    return msgspec.structs.replace(index, projects={**index.projects, project: found})


def dropped(project: ProjectState, serial: Serial) -> ProjectState:
    """What is left of a project: that it was there, and until when."""
    stamp = stamp_after(serial, project.stamp) if project.mirrored else serial
    return ProjectState(stamp=stamp, since=project.since, mirrored=project.mirrored, holds=False)


def _without_results(project: ProjectState, filename: str) -> ProjectState:
    kept = {name: it for name, it in project.attachments.items() if it.about != filename}
    return msgspec.structs.replace(project, attachments=kept)


def _buried(project: ProjectName, rows: Iterable[PageRow]) -> dict[str, Taken]:
    return {
        row.filename: Taken(project=project, sha256=change_rules.hosted_digest(decode_file(row.body)), live=False)
        for row in rows
    }


def _without(mapping: Mapping[_Key, _Value], gone: _Key) -> dict[_Key, _Value]:
    return {key: value for key, value in mapping.items() if key != gone}
