"""The follower that makes this store a copy of that of another server.

    ask for the next commits ─► keep the files that they name, compared with their digests ─► replay the commits ─► ask again

A commit is never replayed before its files are here. A file that the primary does not list any more is not given: its commit is only shown
together with the later one that removed the file, in one transaction, or the whole copy is not shown until it has that commit
(`ReplicaNote.until`). The same holds for the first copy. A killed replica goes on from its head. Files that were kept before are not fetched
again.

While the primary does not answer, what is here is served, and the primary is asked again after a pause.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from msgspec.structs import replace

from pkgindex_core.changes import Commit, DropIndex
from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Conflict, Corrupt, Gone, Missing, PkgIndexError, Unavailable
from pkgindex_core.failpoints import failpoint
from pkgindex_core.formats.feed import FeedHead
from pkgindex_core.models import Serial
from pkgindex_core.names import IndexName
from pkgindex_core.protocols import ChangeLog, Follower, Notes, Replaying, Trees
from pkgindex_core.protocols.learning import LearningBlobs
from pkgindex_core.protocols.replicas import ReplicaNote, ReplicaState
from pkgindex_core.services.administering.blob_owners import Owner, owners_in
from pkgindex_core.services.administering.ownership import identity_of
from pkgindex_core.tools.clearing import Announcement, announced, is_under_way
from pkgindex_core.tools.replica_notes import keep_note
from pkgindex_core.tools.side_by_side import side_by_side
from pkgindex_mirror.replicas.primary import LogPlace, Primary

_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 15.0
_AT_ONCE: Final = 8
"""Files that are fetched at once."""
_REPLAYED: Final = 200
"""The number of commits of one transaction. Readers wait for none of it, but the writer of the database does."""
_CLEARING_SECONDS: Final = 0.1
_BEGIN_ANEW: Final = "begin anew in an empty data directory"

_log = logging.getLogger(__name__)


class _Store(Trees, ChangeLog, Replaying, Notes, Protocol): ...


class Replica:
    """Follows one primary. `state` tells the server how far it is."""

    def __init__(
        self,
        *,
        store: _Store,
        blobs: LearningBlobs,
        primary: Primary,
        state: ReplicaState,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._primary = primary
        self._state = state
        self._sleep = sleep
        self._told: str | None = ""
        """The trouble that was last told; None while there is none."""
        self._copied = ""

    async def follow(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                await self.copy_next()
            except (PkgIndexError, OSError) as error:
                self._trouble(error)
                await self._sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
            else:
                self._end_of_trouble()
                pause = _FIRST_PAUSE

    async def copy_next(self) -> None:
        """Copy the next commits. If there is none, waits for some seconds, unless the primary was not asked yet. Raises the errors of `Primary`, and of the stores."""
        here = await self._store.head()
        place = await self._place(here)
        # The first answer is not waited for, so that it is known soon whether the primary is there.
        head, commits = await self._primary.changes(place, wait=self._state.follows)
        failpoint("replica.commits_read")
        note, gone = await self._agreed(head, here)
        if note is None:
            return
        self._state.answered(head.head, here)
        self._copied = "everything" if head.everything else ", ".join(head.indexes)
        if here == 0:
            commits = commits[:1]  # a store without a commit has no identity, which its files are marked with
        if commits and gone:
            dropped = tuple(DropIndex(name) for name in gone)
            commits = [replace(commits[0], changes=(*dropped, *commits[0].changes)), *commits[1:]]
        before = await announced(self._store)
        at_once = _REPLAYED
        if await self._keep_files(commits):
            # Asked after the refusal: what is not listed any more is dropped by one of the commits up to this head.
            last = commits[-1]
            later, more = await self._primary.changes(replace(place, after=last.serial, at=last.at), wait=False)
            if later.head == last.serial + len(more) and not await self._keep_files(more):
                commits = [*commits, *more]
                at_once = len(commits)
            else:
                await self._keep(replace(note, until=later.head))
        failpoint("replica.files_kept")
        for some in (commits[start : start + at_once] for start in range(0, len(commits), at_once)):
            await self._store.replay(some)
            failpoint("replica.replayed")
            self._state.reached(some[-1].serial)
        if here == 0 and commits:
            await self._claim()
        await self._look_again(before, commits)

    async def close(self) -> None:
        await self._primary.close()

    async def _place(self, here: Serial) -> LogPlace:
        note = self._state.note
        (commit,) = await self._store.commits(Serial(here - 1), limit=1) if here else (None,)
        return LogPlace(
            after=here,
            at=commit.at if commit is not None else Timestamp(0),
            store=note.store if note is not None else await identity_of(self._store),
            without=note.without if note is not None else (),
        )

    async def _agreed(self, head: FeedHead, here: Serial) -> tuple[ReplicaNote | None, Sequence[IndexName]]:
        """The note of the copy, and the indexes that are not to be copied any more. No note: ask again, with the new note."""
        note = self._state.note
        if note is None:
            if here and not head.everything:
                raise Conflict(
                    "the store has commits of its own, and the token may not copy everything", hint=_BEGIN_ANEW
                )
            note = ReplicaNote(primary=self._primary.url, store=head.store, everything=head.everything, until=head.head)
            await self._keep(note)
        if note.store != head.store:
            raise Conflict("the primary has another index than the one that was copied", hint=_BEGIN_ANEW)
        if note.everything != head.everything:
            more, less = ("everything", "some indexes") if head.everything else ("some indexes", "everything")
            raise Conflict(f"the token may copy {more} now, and this is a copy of {less}", hint=_BEGIN_ANEW)
        if note.primary != self._primary.url:
            note = replace(note, primary=self._primary.url)
            await self._keep(note)
        self._tell_left_out(head)
        if head.everything:
            return note, ()
        mine = (await self._store.tree()).indexes
        unknown = sorted(set(head.existing).difference(mine))
        if unknown:
            _log.warning(
                "%s: the token may copy them now, but this copy lacks their past: %s", ", ".join(unknown), _BEGIN_ANEW
            )
            await self._keep(replace(note, without=(*note.without, *unknown)))
            return None, ()
        return note, sorted(set(mine).difference(head.indexes))

    async def _keep(self, note: ReplicaNote) -> None:
        await keep_note(self._store, note)
        self._state.note = note
        failpoint("replica.noted")

    async def _claim(self) -> None:
        """Mark the files as those of this store."""
        identity = await identity_of(self._store)
        if await self._blobs.claim(identity) != identity:
            raise Conflict("the blob store belongs to another index", hint=_BEGIN_ANEW)
        failpoint("replica.claimed")

    async def _keep_files(self, commits: Iterable[Commit]) -> bool:
        """Store the files that commits name. True if the primary does not list some of them any more."""
        named: dict[Sha256, list[Owner]] = {}
        for owner in owners_in(commits, {}):
            named.setdefault(owner.key, []).append(owner)
        lacking: list[Sha256] = []

        async def keep(key: Sha256) -> None:
            with suppress(Missing):
                await self._blobs.make_own(key)
                return
            for one in named[key]:
                with suppress(Gone):
                    await self._fetch(one)
                    return
            lacking.append(key)

        await side_by_side(named, keep, at_once=_AT_ONCE)
        return bool(lacking)

    async def _look_again(self, before: Announcement, commits: Sequence[Commit]) -> None:
        """Fetch files anew that a clearing (`pkgindex-serve gc`) has removed as unused, after they were found and before their commit was here."""
        while (found := await announced(self._store)) != before or found.keys:
            if not await is_under_way(self._store, found):
                await self._keep_files(commits)
                return
            await self._sleep(_CLEARING_SECONDS)

    async def _fetch(self, one: Owner) -> None:
        kind = "sidecar" if one.role == "metadata" else one.role
        async with self._blobs.spool() as spool:
            async for chunk in self._primary.file(one.index, one.project, one.key, one.file.filename, kind):
                await spool.write(chunk)
            if spool.hexdigest() != one.key:
                raise Corrupt(f"{self._primary.url} sent other bytes than those of {one.file.filename} of {one.index}")
            failpoint("replica.file_fetched")
            await spool.keep()

    def _tell_left_out(self, head: FeedHead) -> None:
        if self._state.left_out != head.left_out:
            self._state.left_out = dict(head.left_out)
            for name, reason in sorted(head.left_out.items()):
                _log.warning("%s is left out: %s", name, reason)

    def _trouble(self, error: PkgIndexError | OSError) -> None:
        """Tell what is wrong, once for the same trouble."""
        message = error.message if isinstance(error, PkgIndexError) else f"the system refused a call: {error.strerror}"
        self._state.problem = message
        if message == self._told:
            return
        self._told = message
        hint = f" ({error.hint})" if isinstance(error, PkgIndexError) and error.hint else ""
        lasting = isinstance(error, PkgIndexError) and not isinstance(error, Unavailable)
        _log.log(logging.ERROR if lasting else logging.WARNING, "the replica does not follow: %s%s", message, hint)

    def _end_of_trouble(self) -> None:
        if self._told is not None and self._copied:
            self._told = None
            _log.info("following %s: a copy of %s", self._primary.url, self._copied)


if TYPE_CHECKING:
    _: type[Follower] = Replica
