"""Chains the log of changes by hashes, checks the chain, and exports it (`formats.audit_chain`).

    commits -> hashes -> notes, 128 hashes each

A server chains commits a moment after they were made, so a commit costs nothing more. The notes are compared with the log when it is checked:
the first commit that was changed, removed or added is named. Someone who can write the database can also write the notes, and is found out by
a checkpoint that is kept elsewhere. After a restore there are no notes; they are made anew, with the same hashes.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
from msgspec import Struct

from pkgindex_core.clock import to_rfc3339
from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Missing, PkgIndexError, Refused
from pkgindex_core.formats.audit_chain import BEGINNING, AuditLine, BrokenChain, Checkpoint, Link, audit_line, links
from pkgindex_core.hookspecs import Context
from pkgindex_core.models import IndexConfig, Serial
from pkgindex_core.protocols import ChangeLog, Follower, Notes
from pkgindex_core.services.administering.ownership import identity_of
from pkgindex_core.tools import leases
from pkgindex_core.tools.workers import in_worker

KIND: Final = "audit-chain"
PLACE: Final = "place"
"""The key of the note with the serial and the hash of the last chained commit. The other keys are serials."""
CHUNK: Final = 128
"""Hashes in a note."""
_BYTES: Final = 32
_LEASE_SECONDS: Final = 30.0
_WAIT_SECONDS: Final = 60.0
_IDLE_SECONDS: Final = 5.0
_COLLECT_SECONDS: Final = 1.0
_TURN_SECONDS: Final = 5.0
_PAUSE_SECONDS: Final = 5.0
_log = logging.getLogger(__name__)


class ChainPlace(Struct, frozen=True, array_like=True):
    """How far the log is chained."""

    serial: Serial = Serial(0)
    hash: Sha256 = BEGINNING


_BEGINNING: Final = ChainPlace()


class CheckedChain(Struct, frozen=True, kw_only=True):
    """A chain that holds."""

    serial: Serial
    hash: Sha256
    compared: int
    """The number of commits whose kept hashes were compared. Later ones are not chained yet."""


class _Store(ChangeLog, Notes, Protocol): ...


class Auditing:
    """Chains, checks and exports the log."""

    def __init__(
        self, *, store: _Store, workers: Executor, without_secrets: Callable[[IndexConfig], IndexConfig] | None = None
    ) -> None:
        self._store = store
        self._workers = workers
        self._without_secrets = without_secrets or (lambda config: config)

    async def chain(self) -> ChainPlace:
        """Chain all commits that are not chained yet. Only one process does so at a time (`AuditChain`)."""
        place = await self.place()
        while commits := await self._store.commits(place.serial, limit=CHUNK):
            made = await in_worker(self._workers, partial(links, place.hash, commits))
            values = await self._appended(made)
            place = ChainPlace(made[-1].serial, made[-1].hash)
            await self._store.put_notes(KIND, {**values, PLACE: msgspec.json.encode(place)})
        return place

    async def check(self, checkpoint: Checkpoint | None = None) -> CheckedChain | BrokenChain:
        """Compare the log with the kept hashes, and with a checkpoint. Reads all commits."""
        if checkpoint is not None and checkpoint.store != await identity_of(self._store):
            raise Refused("the checkpoint is of another store")
        kept = await self.place()
        head = await self._store.head()
        if kept.serial > head:
            return BrokenChain(Serial(head + 1), f"{kept.serial} commits were chained, and the log ends with {head}")
        if checkpoint is not None and checkpoint.serial > head:
            return BrokenChain(
                Serial(head + 1), f"the checkpoint is of {checkpoint.serial}, and the log ends with {head}"
            )
        last = ChainPlace()
        async for chunk in self._links():
            stored = await self._chunk(chunk[0].serial)
            for link in chunk:
                if link.serial != last.serial + 1:
                    return BrokenChain(Serial(last.serial + 1), "the commit is missing")
                position = (link.serial - 1) % CHUNK
                expected = stored[position * _BYTES : (position + 1) * _BYTES].hex()
                if link.serial <= kept.serial and link.hash != expected:
                    return BrokenChain(link.serial, f"expected the hash {expected or 'of a note'}, found {link.hash}")
                if checkpoint is not None and link.serial == checkpoint.serial and link.hash != checkpoint.hash:
                    return BrokenChain(
                        link.serial, f"expected the hash of the checkpoint, {checkpoint.hash}, found {link.hash}"
                    )
                last = ChainPlace(link.serial, link.hash)
        return CheckedChain(serial=last.serial, hash=last.hash, compared=kept.serial)

    async def checkpoint(self) -> Checkpoint:
        """The checkpoint of the newest commit. Reads the commits that are not chained yet."""
        place = await self.place()
        async for chunk in self._links(place):
            place = ChainPlace(chunk[-1].serial, chunk[-1].hash)
        if not place.serial:
            raise Missing("commit", "in the log", hint="there is nothing to check yet")
        (commit,) = await self._store.commits(Serial(place.serial - 1), limit=1)
        return Checkpoint(
            store=await identity_of(self._store), serial=place.serial, hash=place.hash, at=to_rfc3339(commit.at)
        )

    async def lines(self, after: Serial) -> AsyncIterator[AuditLine]:
        """The commits after a serial, for an auditor."""
        previous = ChainPlace()
        async for chunk in self._links(until=after):
            previous = ChainPlace(chunk[-1].serial, chunk[-1].hash)
        if previous.serial < after:
            return
        hash_before = previous.hash
        while commits := await self._store.commits(previous.serial, limit=CHUNK):
            for commit in commits:
                line = audit_line(hash_before, commit, self._without_secrets)
                hash_before = line.hash
                yield line
            previous = ChainPlace(commits[-1].serial, hash_before)

    async def _links(self, place: ChainPlace = _BEGINNING, *, until: Serial | None = None) -> AsyncIterator[list[Link]]:
        """The links after a place, a note's worth at a time; fewer if the commits are long."""
        while True:
            most = CHUNK - place.serial % CHUNK
            if until is not None:
                most = min(most, until - place.serial)
            commits = await self._store.commits(place.serial, limit=most) if most > 0 else ()
            if not commits:
                return
            made = await in_worker(self._workers, partial(links, place.hash, commits))
            yield made
            place = ChainPlace(made[-1].serial, made[-1].hash)

    async def place(self) -> ChainPlace:
        """How far the log is chained."""
        note = await self._store.note(KIND, PLACE)
        return msgspec.json.decode(note.value, type=ChainPlace) if note is not None else ChainPlace()

    async def _chunk(self, serial: Serial) -> bytes:
        """The kept hashes of the note with a commit."""
        note = await self._store.note(KIND, _key(serial))
        return note.value if note is not None else b""

    async def _appended(self, made: list[Link]) -> dict[str, bytes]:
        """The notes with new links, by key."""
        values: dict[str, bytes] = {}
        for link in made:
            key = _key(link.serial)
            if key not in values:
                before = await self._chunk(link.serial) if (link.serial - 1) % CHUNK else b""
                values[key] = before[: (link.serial - 1) % CHUNK * _BYTES]
            values[key] += bytes.fromhex(link.hash)
        return values


class AuditChain:
    """The follower that chains commits while a server runs. Of several servers over a store one does."""

    def __init__(self, auditing: Auditing, store: _Store) -> None:
        self._auditing = auditing
        self._store = store

    async def follow(self) -> None:
        """Chain what is committed. Without commits for a while no lease is held, so an idle server writes nothing."""
        while True:
            try:
                place = await self._auditing.place()
                if await self._store.wait(place.serial, timeout=_WAIT_SECONDS) <= place.serial:
                    continue
                await asyncio.sleep(_COLLECT_SECONDS)  # what else follows a commit comes first
                await leases.while_held(
                    self._store,
                    KIND,
                    f"{socket.gethostname()} {os.getpid()}",
                    self._chain,
                    seconds=_LEASE_SECONDS,
                    pause=lambda: asyncio.sleep(_TURN_SECONDS),
                )
            except PkgIndexError as error:
                _log.warning("the log of changes cannot be chained now: %s", error)
                await asyncio.sleep(_PAUSE_SECONDS)

    async def close(self) -> None:
        pass

    async def _chain(self, _: leases.HeldLease) -> None:
        """Chain commits as they come, until none has come for a while."""
        while True:
            place = await self._auditing.chain()
            if await self._store.wait(place.serial, timeout=_IDLE_SECONDS) <= place.serial:
                return
            await asyncio.sleep(_COLLECT_SECONDS)  # many commits in one write


async def make_chain(context: Context) -> Follower:
    """Make the follower."""
    assert context.index_store is not None
    return AuditChain(Auditing(store=context.index_store, workers=context.workers), context.index_store)


def _key(serial: int) -> str:
    return f"{(serial - 1) // CHUNK * CHUNK + 1:020d}"


if TYPE_CHECKING:
    _: type[Follower] = AuditChain
