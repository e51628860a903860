"""Makes sure that a database and the blobs belong together.

An empty database beside blobs is not a new store: it would ask an upstream for the private names of the lost index. So the
blob store has a mark with the identity of the index. The identity is derived from the first commit, so the mark is written
after that and before any blob:

    database       mark           what it is
    has commits    the same       the store
    has commits    none           the store of an earlier version, or one that was killed before the mark: the mark is written
    has commits    another        the database of another index: refused
    empty          none           a new store, if there are no blobs; refused if there are
    empty          any            the database is lost: refused, except while a backup of that index is restored

`insist` (`pkgindex-serve run --new-store`) overrules every refusal but one: a store with a note of an unfinished restore or migration is opened
by that only, since it lists less than its origin: its server would ask upstreams for private names.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any, Final, Protocol
from uuid import UUID

import msgspec

from pkgindex_core.changes import Commit, PutIndex
from pkgindex_core.digests import Sha256, sha256_of
from pkgindex_core.errors import Refused, Unavailable
from pkgindex_core.models import Serial, decode_file
from pkgindex_core.protocols import BlobStore, ChangeLog, Notes, Projects, Trees
from pkgindex_core.stored_configs import as_at_first
from pkgindex_core.tools.unfinished import MIGRATING, RESTORING

_log = logging.getLogger(__name__)

_SAMPLE: Final = 50
"""The number of uploaded files to look for in a blob store without a mark."""


async def identity_of(store: ChangeLog) -> str:
    """The identity of an index, 32 hexadecimal digits; empty while it has no commit.

    Derived from the first commit, which is unique by the salt of its password hash. The identity reveals nothing of it.
    """
    first = await store.commits(Serial(0), limit=1)
    return UUID(sha256_of(msgspec.msgpack.encode(_as_at_first(first[0])))[:32]).hex if first else ""


def _as_at_first(commit: Commit) -> dict[str, Any]:
    """A commit as the first version wrote it, so that the identity does not change with the form of configurations."""
    changes = [
        {"type": "PutIndex", "config": as_at_first(change.config)} if isinstance(change, PutIndex) else change
        for change in commit.changes
    ]
    return {"serial": commit.serial, "at": commit.at, "who": commit.who, "changes": changes}


class _Store(Trees, Projects, ChangeLog, Notes, Protocol): ...


async def require_ended(store: Notes, place: str) -> None:
    """Raise `Refused` for a store into which a restore or a migration has not ended."""
    if (note := await store.note(*RESTORING)) is not None:
        raise Refused(
            f"a restore into this store has not ended ({place})",
            hint=f"finish it: pkgindex-serve restore URL --at {note.value.decode()}",
        )
    if await store.note(*MIGRATING) is not None:
        raise Refused(
            f"a migration into this store has not ended ({place})",
            hint="give the same `pkgindex-serve migrate` again: it goes on where it was",
        )


class Ownership:
    """Compares a blob store with an index store, and marks it. `place` names both in messages."""

    def __init__(self, blobs: BlobStore, *, place: str, insist: bool = False, restoring: str = "") -> None:
        """`restoring` is the identity of a backup that is being restored, or of a store that is copied here."""
        self._blobs = blobs
        self._place = place
        self._insist = insist
        self._restoring = restoring

    async def is_free(self) -> bool:
        """Whether a new store may begin: there are no blobs, or they may be taken over."""
        if self._insist:
            return True
        owner = await self._blobs.owner()
        if self._restoring and owner in {"", self._restoring}:
            return True
        return not owner and not await self._any_blob()

    def refusal(self) -> Refused:
        """The error when a new store may not begin."""
        return Refused(
            f"the index database is empty or missing, but files of an index are there ({self._place})",
            hint="put the database back (from a backup, or mount its disk), or restore a backup: pkgindex-serve restore URL;"
            " to lose that index and begin a new one over its files: pkgindex-serve run --new-store",
        )

    async def settle(self, store: _Store) -> None:
        """Compare both stores, and mark blobs that have no mark."""
        if not self._restoring:
            await require_ended(store, self._place)
        mine = await identity_of(store)
        if not mine:
            if await self.is_free():
                return
            # Another process may have begun the store meanwhile. It writes its mark after the commit.
            mine = await identity_of(store)
            if not mine:
                raise self.refusal()
        owner = await self._blobs.owner()
        if not owner:
            await self._require_files(store)
            owner = await self._claim(mine)
        elif owner != mine and self._insist:
            owner = await self._claim(mine)
        if owner != mine:
            raise Refused(
                f"the index database and the files belong to different indexes ({self._place})",
                hint="choose --data, --store and --blobs of one index;"
                " to take these files for this index all the same: pkgindex-serve run --new-store",
            )

    async def _claim(self, identity: str) -> str:
        try:
            return await self._blobs.claim(identity, instead=self._insist)
        except Unavailable as error:  # the store may be readable although it cannot be written now
            _log.warning("the blob store cannot be marked as this index's: %s", error.message)
            return identity

    async def _any_blob(self) -> bool:
        async for _ in self._blobs.walk():
            return True
        return False

    async def _require_files(self, store: _Store) -> None:
        """Refuse a blob store without a mark and without any of the index's files: probably the wrong disk is mounted."""
        if self._insist or self._restoring:
            return
        looked_for = 0
        async for digest in _uploaded(store):
            if await self._blobs.stat(digest) is not None:
                return
            looked_for += 1
            if looked_for == _SAMPLE:
                break
        if looked_for:
            raise Refused(
                f"the index lists files, but the blob store has none of them ({self._place})",
                hint="mount or restore the blob store, or name it with --blobs;"
                " to go on without the files: pkgindex-serve run --new-store",
            )


async def _uploaded(store: _Store) -> AsyncIterator[Sha256]:
    """Digests of uploaded files. Blobs of mirrored files need not be stored."""
    for name, config in sorted((await store.tree()).indexes.items()):
        for row in () if config.read_only else await store.projects(name):
            page = await store.page(name, row.name)
            for each in page.rows if page is not None else ():
                digest = decode_file(each.body).sha256
                if digest is not None:
                    yield digest
