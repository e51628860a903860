"""An index store in memory: the readable reference that every other engine is compared with.

The whole store is one immutable `State` per commit, and history is the list of them: `states[serial]`. A change is a
function from a state to the next one; a list of changes that fails half way leaves no trace because nobody keeps
the states in between. Maps are plain dicts that are copied, never mutated; states share what did not change.

    State -> IndexState -> ProjectState -> {filename: PageRow}

Mirrored projects have no history (see `IndexReader`): a read of the past finds there only whether the page was known
yet, and then answers with its last state. Nothing here survives the process.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar, assert_never

import msgspec
from msgspec import Struct

from pkgindex_core.changes import (
    AttachmentAbsent,
    Change,
    Commit,
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
from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.digests import Sha256
from pkgindex_core.engines import change_rules
from pkgindex_core.errors import Missing, Refused, Unavailable
from pkgindex_core.formats.fragments import page_row
from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.hookspecs import Context
from pkgindex_core.models import (
    Attachment,
    File,
    IndexConfig,
    Page,
    PageHead,
    PageRow,
    ProjectRow,
    Release,
    Serial,
    Standing,
    Token,
    Tree,
    User,
    decode_file,
)
from pkgindex_core.names import IndexName, ProjectName, owner
from pkgindex_core.protocols.index_store import IndexStore, Listing, Taken

BATCH = 5_000

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


class MemoryIndex:
    """An `IndexStore` that forgets everything when it is closed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._states = [State()]
        self._commits: list[Commit] = []
        self._moved = asyncio.Event()
        self._closed = False

    # Reading: what is true as of a serial is in `states[serial]`.

    def generation(self) -> int:
        return len(self._states)

    async def head(self) -> Serial:
        return self.now.serial

    async def serial_at(self, moment: Timestamp) -> Serial:
        return max((commit.serial for commit in self._commits if commit.at <= moment), default=Serial(0))

    async def tree(self, *, at: Serial | None = None) -> Tree:
        state = self._state(at)
        configs = {name: index.config for name, index in state.indexes.items() if index.config is not None}
        return Tree(serial=state.tree_serial, indexes=configs)

    async def standings(
        self, project: ProjectName, order: Sequence[IndexName], *, at: Serial | None = None
    ) -> tuple[Standing, ...]:
        return tuple(self._standing(index, project, at) for index in order)

    async def page(self, index: IndexName, project: ProjectName, *, at: Serial | None = None) -> Page | None:
        found = self._project(index, project, at)
        if found is None or not found.holds:
            return None
        return Page(index=index, project=project, stamp=found.stamp, head=found.head, rows=tuple(found.rows.values()))

    async def file(
        self, index: IndexName, project: ProjectName, filename: str, *, at: Serial | None = None
    ) -> File | None:
        found = self._project(index, project, at)
        row = found.rows.get(filename) if found is not None else None
        return decode_file(row.body) if row is not None else None

    async def taken(self, index: IndexName, filename: str) -> Taken | None:
        state = self.now.index(index)
        holder = state.holders.get(filename)
        if holder is None:
            return state.tombstones.get(filename)
        file = decode_file(state.projects[holder].rows[filename].body)
        return Taken(project=holder, sha256=change_rules.hosted_digest(file), live=True)

    async def find_file(
        self, index: IndexName, filename: str, candidates: Sequence[ProjectName], *, at: Serial | None = None
    ) -> tuple[ProjectName, File] | None:
        known = self._state(at).index(index).projects
        for project in (*candidates, *sorted(known)):
            file = await self.file(index, project, filename, at=at)
            if file is not None:
                return project, file
        return None

    async def releases(self, index: IndexName, project: ProjectName, *, at: Serial | None = None) -> Sequence[Release]:
        found = self._project(index, project, at)
        return list(found.releases.values()) if found is not None else []

    async def released(self, index: IndexName, project: ProjectName, *, at: Serial | None = None) -> Sequence[str]:
        found = self._project(index, project, at)
        return list(found.releases) if found is not None else []

    async def release(
        self, index: IndexName, project: ProjectName, version: str, *, at: Serial | None = None
    ) -> Release | None:
        found = self._project(index, project, at)
        return found.releases.get(canonical_version(version)) if found is not None else None

    async def attachments(
        self, index: IndexName, project: ProjectName, *, at: Serial | None = None
    ) -> Sequence[Attachment]:
        found = self._project(index, project, at)
        return [found.attachments[name] for name in sorted(found.attachments)] if found is not None else []

    async def find_attachment(
        self, index: IndexName, filename: str, *, at: Serial | None = None
    ) -> tuple[ProjectName, Attachment] | None:
        known = self._state(at).index(index).projects
        for project in sorted(known):
            if filename in known[project].attachments:
                return project, known[project].attachments[filename]
        return None

    async def projects(self, index: IndexName, *, at: Serial | None = None) -> Sequence[ProjectRow]:
        rows = []
        for name in sorted(self._state(at).index(index).projects):
            found = self._project(index, name, at)
            if found is not None and found.holds:
                rows.append(ProjectRow(name, found.head.display_name or name, found.stamp))
        return rows

    async def project_count(self, index: IndexName) -> int:
        return sum(project.holds for project in self.now.index(index).projects.values())

    async def listing(self, index: IndexName) -> Listing:
        return self.now.index(index).listing

    async def listed_names(self, index: IndexName) -> AsyncIterator[Sequence[ProjectRow]]:
        state = self.now.index(index)
        names = sorted(state.names)
        for start in range(0, len(names), BATCH):
            yield [
                ProjectRow(name, state.names[name] or name, state.listing.stamp)
                for name in names[start : start + BATCH]
            ]

    async def user(self, name: str, *, at: Serial | None = None) -> User | None:
        return self._state(at).users.get(name)

    async def users(self, *, at: Serial | None = None) -> Sequence[User]:
        users = self._state(at).users
        return [users[name] for name in sorted(users)]

    async def token(self, token_id: str) -> Token | None:
        return self.now.tokens.get(token_id)

    async def tokens(self, user: str) -> Sequence[Token]:
        mine = (token for token in self.now.tokens.values() if token.user == user)
        return sorted(mine, key=lambda token: (token.created, token.id))

    async def blobs_in_use(self) -> AsyncIterator[Sequence[Sha256]]:
        for index in self.now.indexes.values():
            for project in index.projects.values():
                files = [decode_file(row.body) for row in project.rows.values()]
                yield [digest for file in files for digest in (file.sha256, file.metadata_sha256) if digest]
                yield [attachment.sha256 for attachment in project.attachments.values()]

    # The log.

    async def commits(self, after: Serial, *, limit: int = 1000) -> Sequence[Commit]:
        return self._commits[max(after, 0) :][: max(limit, 0)]

    async def wait(self, after: Serial, *, timeout: float) -> Serial:
        try:
            async with asyncio.timeout(timeout):
                while self.now.serial <= after and not self._closed:
                    await self._moved.wait()
        except TimeoutError:
            return self.now.serial
        return self.now.serial

    # Writing: nothing is awaited in here, so no two calls overlap.

    async def apply(self, changes: Sequence[Change], *, who: str, require: Iterable[Requirement] = ()) -> Commit | None:
        if self._closed:
            raise Unavailable("the index store is closed")
        if not changes:
            return None
        change_rules.encoded_changes(changes)
        for requirement in require:
            if not _holds(self.now, requirement):
                raise change_rules.failed(requirement)
        serial = Serial(self.now.serial + 1)
        state = self.now
        for change in changes:
            state = _apply(state, change, serial)
        at = change_rules.commit_time(self._clock.now(), self._last_moment)
        commit = Commit(serial=serial, at=at, who=who, changes=tuple(changes))
        self._states.append(msgspec.structs.replace(state, serial=serial))
        self._commits.append(commit)
        self._wake()
        return commit

    async def replay(self, commits: Sequence[Commit]) -> None:
        if self._closed:
            raise Unavailable("the index store is closed")
        states: list[State] = []
        last, moment = self.now, self._last_moment
        for commit in commits:
            change_rules.successor(last.serial, moment, commit)
            change_rules.encoded_changes(commit.changes)
            for change in commit.changes:
                last = _apply(last, change, commit.serial)
            last, moment = msgspec.structs.replace(last, serial=commit.serial), commit.at
            states.append(last)
        self._states += states
        self._commits += commits
        self._wake()

    async def check(self) -> Sequence[str]:
        return []

    async def close(self) -> None:
        self._closed = True
        self._wake()

    @property
    def _last_moment(self) -> Timestamp:
        return self._commits[-1].at if self._commits else Timestamp(0)

    def _wake(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    @property
    def now(self) -> State:
        """Everything, as of the last commit."""
        return self._states[-1]

    def _state(self, at: Serial | None) -> State:
        return self.now if at is None or at >= len(self._states) else self._states[max(at, 0)]

    def _project(self, index: IndexName, project: ProjectName, at: Serial | None) -> ProjectState | None:
        then = self._state(at).index(index).projects.get(project)
        if then is None or not then.mirrored:
            return then
        for state in reversed(self._states):
            last = state.index(index).projects.get(project)
            if last is not None and last.mirrored and last.since == then.since:
                # Dropped and replaced by a hosted project in one commit: no state has it as dropped.
                gone = last.holds and state is not self.now
                return _dropped(last, Serial(state.serial + 1)) if gone else last
        return then

    def _standing(self, index: IndexName, project: ProjectName, at: Serial | None) -> Standing:
        found = self._project(index, project, at)
        if found is None:
            return Standing(index=index, stamp=Serial(0), holds=False)
        return Standing(
            index=index,
            stamp=found.stamp,
            holds=found.holds,
            file_count=len(found.rows),
            status=found.head.status,
        )


async def open_memory(url: str, context: Context) -> MemoryIndex:
    """Make an empty store for `memory://`; two of them share nothing."""
    if url != "memory://":
        raise Refused(f"{url!r} is not the URL of an index store in memory", hint="write memory://")
    return MemoryIndex(context.clock)


def _holds(state: State, requirement: Requirement) -> bool:
    match requirement:
        case FileAbsent(index, filename):
            return filename not in state.index(index).holders and filename not in state.index(index).tombstones
        case AttachmentAbsent(index, project, filename):
            known = state.index(index).projects.get(project)
            return known is None or filename not in known.attachments
        case ProjectAt(index, project, stamp):
            found = state.index(index).projects.get(project)
            return (found.stamp if found else 0) == stamp
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


def _apply(state: State, change: Change, serial: Serial) -> State:
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
                project: _dropped(found, serial) if found.holds else found for project, found in index.projects.items()
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
                projects={**index.projects, change.project: _dropped(held, serial)},
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
            rows = {name: row for name, row in (known.rows if known else {}).items() if name not in gone}
            rows |= {file.filename: page_row(file) for file in put}
            unseen = known and known.holds and not put and not drop and change_rules.looks_the_same(known.head, head)
            page = ProjectState(
                stamp=known.stamp if known and unseen else serial,
                since=known.since if known else serial,
                mirrored=True,
                head=head,
                rows=rows,
            )
            return msgspec.structs.replace(index, projects={**index.projects, project: page})
        case DropMirrorPage(project=project):
            old = index.projects.get(project)
            if old is None or not old.holds:
                raise Missing("project", project)
            return msgspec.structs.replace(index, projects={**index.projects, project: _dropped(old, serial)})
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


def _dropped(project: ProjectState, serial: Serial) -> ProjectState:
    return ProjectState(stamp=serial, since=project.since, mirrored=project.mirrored, holds=False)


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


if TYPE_CHECKING:
    _: type[IndexStore] = MemoryIndex
