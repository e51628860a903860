"""A place of backups, by the names of its files. `formats.backups` draws it.

Who writes holds the turn of the place. Reading needs none.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from pkgindex_core.changes import Commit
from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import sha256_of
from pkgindex_core.errors import Conflict, Missing
from pkgindex_core.formats.backup_segments import (
    Segment,
    contiguous,
    decode_segment,
    encode_segment,
    parse_segment,
)
from pkgindex_core.formats.backups import (
    Backup,
    BlobList,
    Heading,
    decode_backup,
    decode_blobs,
    decode_digests,
    decode_heading,
    encode_digests,
    name_of,
    parse_name,
    pretty,
)
from pkgindex_core.models import Serial
from pkgindex_core.protocols import BlobStore
from pkgindex_core.protocols.named_files import NamedFiles
from pkgindex_core.rules.moments import named_moment

BLOBS: Final = "blobs"
_HEADING: Final = "backup.json"
_COMMITS: Final = "commits"
_BACKUPS: Final = "backups"
_UNFINISHED: Final = "unfinished"
_AGAIN: Final = "again"
_SECOND: Final = 1_000_000


class BackupPlace:
    """The backups below a directory or URL.

    blobs    opens the store of the blobs, which is made if it is missing
    url      where the backups are, for messages
    workers  threads that hash
    """

    def __init__(
        self,
        files: NamedFiles,
        blobs: Callable[[], AbstractAsyncContextManager[BlobStore]],
        *,
        url: str,
        workers: Executor,
    ) -> None:
        self.blobs = blobs
        self.url = url
        self.workers = workers
        self._files = files

    async def identity(self) -> str:
        """The identity of the store whose backups are here. Raises `Missing` if there are none."""
        heading = await self._heading()
        if heading is None:
            raise Missing(
                "backup",
                self.url,
                message=f"{self.url} has no backups",
                hint="name the directory or URL that was given to `pkgindex-serve backup`;"
                " a dump of devpi is read by `pkgindex-serve import devpi`",
            )
        return heading.store

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Hold the place against other writers. Raises `Conflict`."""
        async with self._files.turn():
            yield

    @asynccontextmanager
    async def writing(self, identity: str) -> AsyncIterator[bool]:
        """Hold the place, and mark it until the end. Yields whether an earlier run did not get to its end."""
        async with self._files.turn():
            heading = await self._heading()
            if heading is not None and heading.store != identity:
                raise Conflict(f"{self.url} has backups of another store ({heading.store})", hint=_ELSEWHERE)
            if heading is None and await self._files.names():
                raise Conflict(f"{self.url} is not empty and has no backups", hint=_ELSEWHERE)
            if heading is None:
                await self._files.write(_HEADING, pretty(Heading(store=identity)))
            is_left = await self._files.read(_UNFINISHED) is not None
            if not is_left:
                await self._files.write(_UNFINISHED, b"a run has begun\n")
            yield is_left
            await self._files.remove(_UNFINISHED)

    async def names(self) -> list[str]:
        """The names of the complete backups, the newest last."""
        listed = (name.removesuffix(".json") for name in await self._files.names(_BACKUPS) if name.endswith(".json"))
        return sorted((name for name in listed if parse_name(name)), key=lambda name: parse_name(name) or ())

    async def chosen(self, wanted: str) -> Backup:
        """The backup of a name, or the newest that is not after a serial, day or time; empty: the newest of all.

        Raises `Missing` if there is none, and `Refused` for a text that means nothing.
        """
        names = await self.names()
        if wanted and wanted not in names:
            moment = named_moment(wanted)
            names = [
                name
                for name in names
                if (found := parse_name(name))
                and (found[0] <= moment.serial if moment.serial is not None else found[1] <= (moment.time or 0))
            ]
        if not names:
            raise Missing(
                "backup",
                wanted,
                message=f"{self.url} has no complete backup{f' at or before {wanted}' if wanted else ''}",
                hint="`pkgindex-serve backup list URL` lists the complete ones",
            )
        return await self.backup(wanted if wanted in names else names[-1])

    async def backup(self, name: str) -> Backup:
        """A backup. Raises `Corrupt` if its file is damaged."""
        data = await self._files.read(f"{_BACKUPS}/{name}.json")
        if data is None:
            raise Missing("backup", name, hint="it was removed just now: `pkgindex-serve backup list URL`")
        return decode_backup(name, data)

    async def blobs_of(self, backup: Backup) -> BlobList:
        """The blobs of a backup. Raises `Corrupt` if the list is missing or damaged."""
        return decode_blobs(backup, await self._files.read(f"{_BACKUPS}/{backup.name}.blobs") or b"")

    async def write_blobs(self, serial: Serial, at: Timestamp, blobs: BlobList, *, lost: list[str]) -> Backup:
        """Write the list of a new backup, and return the backup for `record`."""
        names, at = {*await self.names()}, Timestamp(at - at % _SECOND)
        while name_of(serial, at) in names:
            at = Timestamp(at + _SECOND)
        data = blobs.encode()
        await self._files.write(f"{_BACKUPS}/{name_of(serial, at)}.blobs", data)
        return Backup(
            serial=serial,
            at=at,
            blobs=len(blobs.needed),
            copies=len(blobs.copies - blobs.needed),
            sha256=sha256_of(data),
            lost=lost,
        )

    async def record(self, backup: Backup) -> None:
        """Make a backup complete. All that it needs must be durable."""
        await self._files.write(f"{_BACKUPS}/{backup.name}.json", pretty(backup))

    async def forget(self, name: str) -> None:
        """Remove a backup, so that it cannot be restored any more. Its list stays for now."""
        await self._files.remove(f"{_BACKUPS}/{name}.json")

    async def remove_lists(self) -> None:
        """Remove the lists of backups that are not here."""
        names = {*await self.names()}
        for filename in await self._files.names(_BACKUPS):
            if filename.endswith(".blobs") and filename.removesuffix(".blobs") not in names:
                await self._files.remove(f"{_BACKUPS}/{filename}")

    async def segments(self) -> Sequence[Segment]:
        """The segments of the log. Raises `Corrupt` when one is missing."""
        parsed = map(parse_segment, await self._files.names(_COMMITS))
        return contiguous(segment for segment in parsed if segment is not None)

    async def commits(self, segment: Segment) -> list[Commit]:
        """The commits of a segment, checked. Raises `Corrupt`."""
        return decode_segment(segment, await self._files.read(f"{_COMMITS}/{segment.filename}") or b"")

    async def write_segment(self, commits: Sequence[Commit]) -> None:
        segment = Segment(commits[0].serial, commits[-1].serial)
        await self._files.write(f"{_COMMITS}/{segment.filename}", encode_segment(commits))

    async def cut_log(self, serial: Serial) -> None:
        """Remove the segments after a serial, the last one first."""
        for segment in reversed(await self.segments()):
            if segment.first > serial:
                await self._files.remove(f"{_COMMITS}/{segment.filename}")

    async def last_commit(self) -> Commit | None:
        """The newest commit of the log; None if there is none."""
        segments = await self.segments()
        return (await self.commits(segments[-1]))[-1] if segments else None

    async def again(self) -> frozenset[bytes]:
        """The blobs that are not here, or damaged, although lists have them."""
        return frozenset(decode_digests(await self._files.read(_AGAIN) or b""))

    async def note_again(self, digests: Iterable[bytes]) -> None:
        """Replace `again`."""
        if data := encode_digests(digests):
            await self._files.write(_AGAIN, data)
        else:
            await self._files.remove(_AGAIN)

    async def _heading(self) -> Heading | None:
        data = await self._files.read(_HEADING)
        return None if data is None else decode_heading(data)


_ELSEWHERE: Final = "name a directory or URL of its own for the backups of this store"
