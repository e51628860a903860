"""Tells whether a server can answer reads and take writes, by using both stores.

Of the index store the head is read and a note is written; of the blob store a small blob is read, and new bytes and the small blob are written.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from msgspec import Struct

from pkgindex_core.clock import Clock
from pkgindex_core.digests import Sha256
from pkgindex_core.engine import Engine
from pkgindex_core.errors import Missing, PkgIndexError, Unavailable
from pkgindex_core.tools.single_flight import Flight, SingleFlight
from pkgindex_http.replicas import ReplicaReport, report_of

_ANSWER_SECONDS: Final = 0.9
"""Seconds for each question. Load balancers commonly wait for two seconds."""
_BELIEVED_SECONDS: Final = 5.0
_PROBE_BYTES: Final = 256 * 1024
_BLOB: Final = b"pkgindex readiness probe\n"
_BLOB_KEY: Final = Sha256(hashlib.sha256(_BLOB).hexdigest())


class Works(Struct, frozen=True, kw_only=True):
    """Whether a store can be read and written."""

    read: bool
    write: bool


class Report(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The parts of a server."""

    stopping: bool
    index_store: Works
    blob_store: Works
    replica: ReplicaReport | None = None
    """None: the server is no replica."""

    @property
    def read(self) -> bool:
        """Whether the server should get requests that read."""
        whole = self.replica is None or self.replica.whole
        return self.index_store.read and self.blob_store.read and whole and not self.stopping

    @property
    def write(self) -> bool:
        """Whether the server should get requests that write. Each of them reads too."""
        return self.replica is None and self.read and self.index_store.write and self.blob_store.write

    @property
    def follows(self) -> bool:
        """Whether the server is a replica whose primary answers."""
        return self.replica is not None and self.replica.follows


class Readiness:
    """Tells which parts of one server work."""

    def __init__(self, engine: Engine) -> None:
        self.stopping = False
        self._engine = engine
        self._probes = {
            work: _Probe(engine.clock, work, believed=believed)
            for work, believed in (
                (self._read_index, 0.0),
                (self._write_index, _BELIEVED_SECONDS),
                (self._read_blob, _BELIEVED_SECONDS),
                (self._write_blob, _BELIEVED_SECONDS),
            )
        }

    async def report(self) -> Report:
        """The parts that work now. All are asked at once."""
        read_index, write_index, read_blob, write_blob = await asyncio.gather(
            *(probe.works() for probe in self._probes.values())
        )
        return Report(
            stopping=self.stopping,
            index_store=Works(read=read_index, write=write_index),
            blob_store=Works(read=read_blob, write=write_blob),
            replica=await report_of(self._engine) if read_index else None,
        )

    def forget(self) -> None:
        """Ask every part anew at the next report."""
        for probe in self._probes.values():
            probe.forget()

    async def _read_index(self) -> None:
        await self._engine.store.head()

    async def _write_index(self) -> None:
        await self._engine.store.put_note("readiness", "probe", b"", seconds=3600)

    async def _read_blob(self) -> None:
        with suppress(Missing):  # not written yet, or collected as garbage: the store has answered
            async for _ in self._engine.blobs.read(_BLOB_KEY):
                pass

    async def _write_blob(self) -> None:
        blobs = self._engine.blobs
        if self._engine.replica is not None and not await self._engine.store.head():
            return  # before the first commit of a replica, a blob beside an empty database looks as if the database were lost
        async with blobs.spool() as spool:  # new bytes need room; the small blob below is stored already
            await spool.write(bytes(_PROBE_BYTES))
            await spool.flush()
        probe = await blobs.put(_BLOB)
        if await blobs.stat(probe.sha256) is None:
            raise Unavailable("the blob store lost a blob that was just written")


class _Probe:
    """A question to a store. One is under way at a time, and its answer is believed for some seconds, since every client may call `/+ready`."""

    def __init__(self, clock: Clock, ask: Callable[[], Awaitable[None]], *, believed: float) -> None:
        self._clock = clock
        self._ask = ask
        self._believed = believed
        self._asked = float("-inf")
        self._flights: SingleFlight[bool] = SingleFlight()
        self._flight: Flight[bool] | None = None

    async def works(self) -> bool:
        """Whether the store answers in time, and without an error."""
        now = self._clock.monotonic()
        if self._flight is None or (self._flight.done and now - self._asked >= self._believed):
            self._asked = now
            self._flight = self._flights.join("", self._answer)
        try:
            return await self._flight.wait(_ANSWER_SECONDS) or False
        except Unavailable:  # the server is stopping
            return False

    def forget(self) -> None:
        self._asked = float("-inf")

    async def _answer(self) -> bool:
        try:
            await self._ask()
        except PkgIndexError:
            return False
        return True
