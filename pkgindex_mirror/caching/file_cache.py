"""`FileCache` bounds the files that mirrors fetched, by size and by age. The files that were used least recently are removed first.

Other files are removed (`evicting`) while a file arrives, before it is stored (`ArrivingCopy`). The account is durable (`account`), and
`tend` finishes the steps of processes that died. So every stored file is in the account, which never has fewer bytes than the disk.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Iterable, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from typing import Final

from msgspec.structs import replace

from pkgindex_core.clock import Clock
from pkgindex_core.digests import Sha256
from pkgindex_core.errors import PkgIndexError
from pkgindex_core.failpoints import failpoint
from pkgindex_core.protocols import Blob, BlobStore, Notes, Spool
from pkgindex_core.protocols.learning import LearningBlobs
from pkgindex_core.tools.side_by_side import side_by_side
from pkgindex_core.tools.tasks import Tasks
from pkgindex_mirror.caching import ledger as ledgers
from pkgindex_mirror.caching.account import Account
from pkgindex_mirror.caching.evicting import Evicting
from pkgindex_mirror.caching.uses import Uses

TEND_SECONDS: Final = 15.0
_CROWDED_PAUSE: Final = 1.0
"""Seconds between two attempts to remove files while the bound is exceeded, as when all candidates are being read."""
_NO_BOUND: Final = 1 << 62

_log = logging.getLogger(__name__)


class FileCache:
    """The fetched files of all mirrors. If `size` and `age` are 0, all are kept and none is counted."""

    def __init__(
        self, *, notes: Notes, blobs: LearningBlobs, clock: Clock, workers: Executor, size: int = 0, age: float = 0.0
    ) -> None:
        """`size`: bytes that are kept at most. `age`: seconds for which an unused file is kept. 0: no bound."""
        self.is_bounded = bool(size or age)
        self.size = size
        self._blobs = blobs
        self._clock = clock
        self._account = Account(notes, copies=self.copies, clock=clock, bound=size or _NO_BOUND)
        self._uses = Uses(self._account.notes, clock)
        self._evicting = Evicting(self._account, blobs=blobs, uses=self._uses, clock=clock, workers=workers, age=age)
        self._tasks = Tasks()
        self._storing = asyncio.Lock()
        self._tending: asyncio.Task[None] | None = None
        self._crowded = asyncio.Event()
        if self.is_bounded:
            blobs.watch(self.used)

    @asynccontextmanager
    async def arriving(self) -> AsyncIterator[ArrivingCopy]:
        """Begin the arrival of a file that is about to be fetched. The end of the context gives up what was reserved and not kept."""
        copy = ArrivingCopy(self, await self.copies())
        try:
            yield copy
        finally:
            await copy.end()

    async def copies(self) -> BlobStore:
        """The store of the files."""
        return await self._blobs.copies() or self._blobs

    async def reserve(self, token: str, size: int, sha256: str) -> None:
        """Reserve room for a file of `size` bytes, and remove other files until there is room."""
        self.start()
        await self._account.reserve(token, size, sha256)
        # In a task of its own: a fetch that is cancelled does not stop a removal that has begun.
        await asyncio.shield(self._tasks.start(self.make_room, name="remove mirrored files"))

    @asynccontextmanager
    async def storing(self) -> AsyncIterator[None]:
        """Hold this while a file is stored and counted. While the bound is exceeded, files are stored one after the other, and each waits until
        other files were removed as far as they can be.
        """
        if not await self._is_crowded():
            yield
            return
        async with self._storing:
            await self.make_room()
            yield

    async def _is_crowded(self) -> bool:
        return ledgers.excess((await self._account.ledger())[0], self._account.bound) > 0

    async def count(self, token: str, blob: Blob) -> None:
        """Count a file that was stored after `reserve`."""
        if await self._account.count(token, blob):  # the file is larger than the bound, or others could not be removed
            self._crowded.set()
            self._tasks.start(self.make_room, name="remove mirrored files")

    def hold(self, key: Sha256) -> None:
        """Do not remove a file that was stored just now, until `let_be_removed`. Only the removals of this process are held up."""
        self._evicting.arrived.add(key)

    def let_be_removed(self, key: Sha256) -> None:
        """End `hold`."""
        self._evicting.arrived.discard(key)

    async def give_up(self, token: str, *, stored: bool) -> None:
        """End an arrival whose file was not counted. `stored`: the file may be stored."""
        await self._account.give_up(token, stored=stored)

    async def keep_uncounted(self, spool: Spool) -> Blob:
        """Keep a file while there is no bound."""
        await self._account.forget()
        return await spool.keep()

    async def stat(self, key: Sha256) -> Blob | None:
        """Look up a stored file, which counts as a use. None also for a file that is being removed: it has to be fetched again."""
        blob = await self._blobs.stat(key)
        return blob if blob is not None and self.used(key) else None

    def used(self, key: Sha256) -> bool:
        """Note that a client is given a file. False if this process is removing it just now: then it has to be fetched again."""
        if key in self._evicting.leaving:
            return False
        if self.is_bounded:
            self._uses.note(key)
        return True

    async def pin(self, keys: Iterable[Sha256]) -> None:
        """Never remove these files, kept ones and later ones, until they are unpinned. Pins outlive restarts."""
        await self._account.notes.put_pins(keys)

    async def pin_new(self, keys: Iterable[Sha256]) -> None:
        """As `pin`, without writing anything about files that are pinned already."""
        notes = self._account.notes
        await notes.put_pins([key for key in keys if not await notes.is_pinned(key)])

    async def let_go(self, keys: Sequence[Sha256]) -> None:
        """Let go of files that no page lists any more. While there is no bound they are removed now, otherwise when room is needed."""
        copies = None if self.is_bounded else await self._blobs.copies()

        async def one(key: Sha256) -> None:
            await self.unpin(key)
            if copies is not None:
                await copies.drop(key)

        await side_by_side(keys, one)

    async def unpin(self, key: Sha256) -> None:
        """End a pin. The file counts as used now, and may be removed later."""
        notes = self._account.notes
        await notes.drop_pin(key)
        found = await notes.record(key)
        if found is not None and found[0].is_pinned:
            place = self._clock.now()
            await notes.put_entry((place, key))
            await notes.put_record(key, replace(found[0], place=place, is_pinned=False), found[1])

    async def kept_bytes(self) -> int:
        """The bytes of all files that are counted."""
        return (await self._account.ledger())[0].kept

    @property
    def removed(self) -> tuple[int, int]:
        """The files that this process removed to make room, and their bytes."""
        return self._evicting.removed, self._evicting.removed_bytes

    async def make_room(self) -> None:
        """Remove files until there is room, and all files that are too old."""
        await self._evicting.make_room()

    async def tend(self) -> None:
        """Renew the arrivals of this process, finish the steps of processes that died, and make room."""
        self._account.front.clear()
        await self._account.renew()
        leaving = await self._account.finish_arrivals()
        if leaving:
            await self._evicting.remove(leaving)
        await self.make_room()

    def start(self) -> None:
        """Tend the account from now on, in the background, if there is a bound."""
        if self.is_bounded and self._tending is None:
            self._tending = asyncio.get_running_loop().create_task(self._tend_always(), name="tend mirrored files")

    async def _tend_always(self) -> None:
        while True:
            try:
                async with asyncio.timeout(TEND_SECONDS):
                    await self._crowded.wait()
                    await asyncio.sleep(_CROWDED_PAUSE)
            except TimeoutError:
                pass
            self._crowded.clear()
            try:
                await self.tend()
                if await self._is_crowded():
                    self._crowded.set()
            except PkgIndexError as error:
                _log.warning("mirrored files cannot be counted or removed now: %s", error)
            except Exception:
                _log.exception("tending the mirrored files failed unexpectedly")

    async def close(self) -> None:
        if self._tending is not None:
            self._tending.cancel()
            await asyncio.wait({self._tending})
        await self._tasks.close(grace=1.0)
        await self._uses.close()


class ArrivingCopy:
    """One file on its way into the cache."""

    def __init__(self, cache: FileCache, copies: BlobStore) -> None:
        self.copies = copies
        """The store in which the spool of the file is opened."""
        self._cache = cache
        self._token = secrets.token_hex(8)
        self._expected: tuple[int, str] | None = None
        self._reserving: asyncio.Task[None] | None = None
        self._keeping = False
        self._stored: Sha256 | None = None

    def expect(self, size: int, sha256: str) -> None:
        """Tell the size of the file in bytes and its sha256, or an empty text if that is unknown. Begins to make room for it."""
        if self._cache.is_bounded and self._reserving is None:
            self._expected = (size, sha256)
            self._reserving = asyncio.get_running_loop().create_task(
                self._cache.reserve(self._token, size, sha256), name="make room for a file"
            )

    async def keep(self, spool: Spool) -> Blob:
        """Store the file as `Spool.keep` does, after making room for it."""
        if not self._cache.is_bounded:
            return await self._cache.keep_uncounted(spool)
        arrived = (spool.size, spool.hexdigest())
        if self._reserving is not None:
            await self._reserving
        if self._expected != arrived:
            await self._cache.reserve(self._token, *arrived)
        async with self._cache.storing():
            self._keeping = True
            blob = await spool.keep()
            self._stored = blob.sha256
            self._cache.hold(blob.sha256)
            failpoint("cache.stored")
            await self._cache.count(self._token, blob)
        return blob

    async def end(self) -> None:
        """Give up what was reserved and not kept. A kept file may be removed from now on."""
        if self._stored is not None:
            self._cache.let_be_removed(self._stored)
        if self._reserving is not None:
            self._reserving.cancel()
            await asyncio.gather(self._reserving, return_exceptions=True)
        await self._cache.give_up(self._token, stored=self._keeping)
