"""An index store in memory: the reference implementation, with which other engines are compared.

Each commit has an immutable `StoreState` (`state`), and history is their list: `states[serial]`.

The past of a mirrored project is in its last state (see `protocols.index_store`): a read as of a serial looks up in the state of then
whether the page was known, and takes the page from the last state. Nothing here survives the process.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pkgindex_core.changes import Change, Commit, DropIndex, Requirement
from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.digests import Sha256
from pkgindex_core.engines.memory.notes import MemoryNotes
from pkgindex_core.engines.memory.state import StoredProject, StoreState, dropped, facts, stored_bytes, written
from pkgindex_core.errors import Refused, RequirementFailed, Unavailable
from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.hookspecs import Context
from pkgindex_core.models import (
    Attachment,
    File,
    Page,
    ProjectRow,
    Release,
    Serial,
    Standing,
    Token,
    Tree,
    User,
    decode_file,
)
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.index_store import (
    EVERYTHING,
    WHOLE_INDEX,
    Everything,
    IndexStore,
    Listing,
    PageSince,
    Taken,
    Touched,
)
from pkgindex_core.rules import change_rules
from pkgindex_core.rules.planning import named_keys, plan
from pkgindex_core.rules.planning.facts import NoteKey
from pkgindex_core.rules.planning.past import kept_since
from pkgindex_core.rules.touching import MOST_COMMITS, together, touched_by

BATCH = 5_000


class MemoryIndex(MemoryNotes):
    """An `IndexStore` that forgets everything when it is closed."""

    lag = 0.0

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._states = [StoreState()]
        self._commits: list[Commit] = []
        self._moved = asyncio.Event()

    # Reading: `states[serial]` is the store as of a serial.

    async def head(self) -> Serial:
        return self.now.serial

    async def serial_at(self, moment: Timestamp) -> Serial:
        return _serial_at(self._commits, moment)

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
        rows = tuple(found.rows.values()) if found.kept is None else found.kept
        it = found.standing
        return Page(index=index, project=project, stamp=it.stamp, head=it.head, rows=rows, content=it.content)

    async def page_since(self, index: IndexName, project: ProjectName, since: Serial) -> PageSince | None:
        now = await self.page(index, project)
        if now is None or self.now.project((index, project)).mirrored:
            return None
        was_mirrored = self._state(since).project((index, project)).mirrored
        then = None if was_mirrored else await self.page(index, project, at=since)
        before, after = ({row.filename: row for row in each.rows} if each else {} for each in (then, now))
        gone = [(row.version, name) for name, row in before.items() if after.get(name) is not row]
        came = tuple(row for name, row in after.items() if before.get(name) is not row)
        return PageSince(page=replace(now, rows=came), gone=gone)

    async def file(
        self, index: IndexName, project: ProjectName, filename: str, *, at: Serial | None = None
    ) -> File | None:
        found = self._project(index, project, at)
        row = found.rows.get(filename) if found is not None and found.holds else None
        return decode_file(row.body) if row is not None else None

    async def taken(self, index: IndexName, filename: str) -> Taken | None:
        state = self.now.index(index)
        holder = state.holders.get(filename)
        if holder is None:
            return state.tombstones.get(filename)
        file = decode_file(state.projects[holder].rows[filename].body)
        return Taken(project=holder, sha256=change_rules.hosted_digest(file), live=True)

    async def former(self, index: IndexName, filename: str) -> Sequence[Taken]:
        now = await self.taken(index, filename)
        found: set[Taken] = {now} if now is not None and not now.live else set()
        for state in reversed(self._states):
            known = state.index(index)
            if known.config is None:
                break
            holder = known.holders.get(filename)
            if holder is not None:
                file = decode_file(known.projects[holder].rows[filename].body)
                found.add(Taken(project=holder, sha256=change_rules.hosted_digest(file), live=False))
        return [each for each in found if now is None or not now.live or each.sha256 != now.sha256]

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

    async def projects(
        self, index: IndexName, *, at: Serial | None = None, after: str = "", limit: int | None = None
    ) -> Sequence[ProjectRow]:
        rows: list[ProjectRow] = []
        for name in sorted(name for name in self._state(at).index(index).projects if name > after):
            if limit is not None and len(rows) >= limit:
                break
            found = self._project(index, name, at)
            if found is not None and found.holds:
                rows.append(ProjectRow(name, found.standing.head.display_name or name, found.standing.stamp))
        return rows

    async def project_count(self, index: IndexName) -> int:
        return sum(project.holds for project in self.now.index(index).projects.values())

    async def stored_bytes(self, index: IndexName, project: ProjectName = WHOLE_INDEX) -> int:
        return stored_bytes(self.now, (index, project))

    async def listing(self, index: IndexName) -> Listing:
        return self.now.index(index).listing

    async def listed_names(self, index: IndexName, *, after: str = "") -> AsyncIterator[Sequence[ProjectRow]]:
        state = self.now.index(index)
        names = sorted(name for name in state.names if name > after)
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

    def seen(self) -> Serial:
        return self.now.serial

    async def touched(self, after: Serial) -> Touched | Everything:
        news = self._commits[max(after, 0) :]
        if len(news) > MOST_COMMITS:
            return EVERYTHING
        return together((touched_by(commit.changes, commit.serial) for commit in news), self.seen())

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
        serial = Serial(self.now.serial + 1)
        at = change_rules.commit_time(self._clock.now(), self._last_moment)
        commit = Commit(serial=serial, at=at, who=who, changes=tuple(changes))
        require = tuple(require)
        keys = named_keys((), require).notes
        notes = {key: note.version for key in keys if (note := self._notes.get(key)) is not None and self._lasts(note)}
        state = _next(self.now, commit, require, self._commits, notes)
        self._states.append(state)
        self._commits.append(commit)
        self._wake()
        return commit

    async def replay(self, commits: Sequence[Commit]) -> None:
        if self._closed:
            raise Unavailable("the index store is closed")
        states: list[StoreState] = []
        last, moment = self.now, self._last_moment
        for done, commit in enumerate(commits):
            change_rules.successor(last.serial, moment, commit)
            change_rules.encoded_changes(commit.changes)
            last, moment = _next(last, commit, (), [*self._commits, *commits[:done]], {}), commit.at
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
    def now(self) -> StoreState:
        """The state of the last commit."""
        return self._states[-1]

    def _state(self, at: Serial | None) -> StoreState:
        return self.now if at is None or at >= len(self._states) else self._states[max(at, 0)]

    def _project(self, index: IndexName, project: ProjectName, at: Serial | None) -> StoredProject | None:
        then = self._state(at).index(index).projects.get(project)
        if then is None or not then.mirrored:
            return then
        for state in reversed(self._states):
            last = state.index(index).projects.get(project)
            if last is not None and last.mirrored and last.standing.since == then.standing.since:
                if state is self.now:
                    return last if at is None else last.as_of(at)
                # If the next commit dropped its index and made it again, no state has the project as dropped.
                ended = self._commits[state.serial]
                return dropped(last, ended.serial) if DropIndex(index) in ended.changes else last
        return then

    def _standing(self, index: IndexName, project: ProjectName, at: Serial | None) -> Standing:
        found = self._project(index, project, at)
        if found is None:
            return Standing(index=index, stamp=Serial(0), holds=False)
        it = found.standing
        return Standing(
            index=index,
            stamp=it.stamp,
            holds=it.holds,
            file_count=it.file_count,
            status=it.head.status,
            content=it.content,
        )


def _serial_at(commits: Sequence[Commit], moment: Timestamp) -> Serial:
    return Serial(bisect_right(commits, moment, key=lambda commit: commit.at))


def _next(
    state: StoreState,
    commit: Commit,
    require: Sequence[Requirement],
    before: Sequence[Commit],
    notes: Mapping[NoteKey, int],
) -> StoreState:
    """The state after a commit; `before` are all commits before it, and `notes` the versions of those that `require` names."""
    known = facts(
        state,
        named_keys(commit.changes, require),
        lambda config: _serial_at(before, kept_since(config, commit.at)),
        notes,
    )
    effects = plan(commit.changes, require, known, commit.serial)
    if isinstance(effects, RequirementFailed):
        raise effects
    return written(state, effects, commit.serial)


async def open_memory(url: str, context: Context) -> MemoryIndex:
    """Make an empty store for `memory://`; two of them share nothing."""
    if url != "memory://":
        raise Refused(f"{url!r} is not the URL of an index store in memory", hint="write memory://")
    return MemoryIndex(context.clock)


if TYPE_CHECKING:
    _: type[IndexStore] = MemoryIndex
