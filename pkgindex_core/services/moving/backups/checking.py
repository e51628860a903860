"""Verifies the backups of a place: reads the whole log and every blob, and compares them with their digests.

Damaged blobs are noted with the missing ones, so that the next backup copies them again as far as the store has them. Only then are they set
aside: a run that is killed between the two leaves no blob that is missing without a note.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from concurrent.futures import Executor

from msgspec import Struct

from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Corrupt, Missing
from pkgindex_core.models import Serial
from pkgindex_core.protocols import BlobStore
from pkgindex_core.services.moving.backups.place import BackupPlace
from pkgindex_core.tools.progress import Progress
from pkgindex_core.tools.side_by_side import side_by_side
from pkgindex_core.tools.workers import in_worker


class CheckedBackups(Struct, kw_only=True):
    """The result of a verification."""

    backups: int = 0
    commits: int = 0
    blobs: int = 0
    bytes: int = 0
    problems: list[str] = []
    """Missing and damaged things, each with the backups that need it."""


async def check(place: BackupPlace, *, progress: Progress) -> CheckedBackups:
    """Verify all complete backups of a place. Raises `Missing` if there are none, and `Conflict` while one is taken there."""
    await place.identity()
    done = CheckedBackups()
    needed: dict[bytes, list[str]] = defaultdict(list)
    again: set[bytes] = set()
    damaged: list[Sha256] = []
    async with place.turn(), place.blobs() as target:
        newest = Serial(0)
        for name in await place.names():
            done.backups += 1
            try:
                backup = await place.backup(name)
                newest = max(newest, backup.serial)
                blobs = await place.blobs_of(backup)
            except Corrupt as error:
                done.problems.append(error.message)
                continue
            for key in blobs.needed | blobs.copies:
                needed[key].append(name)
        await _check_commits(place, newest, done, progress)

        async def read(key: bytes) -> None:
            digest = Sha256(key.hex())
            state = await _state(target, digest, place.workers, done)
            done.blobs += 1
            progress("files", done.blobs, len(needed))
            if state:
                again.add(key)
                if state == "damaged":
                    damaged.append(digest)
                done.problems.append(f"the bytes of sha256 {digest} are {state}; they are in {', '.join(needed[key])}")

        await side_by_side(needed, read)
        await place.note_again(again)
        for digest in damaged:
            await target.set_aside(digest)
    return done


async def _check_commits(place: BackupPlace, newest: Serial, done: CheckedBackups, progress: Progress) -> None:
    try:
        segments = await place.segments()
    except Corrupt as error:
        done.problems.append(error.message)
        return
    last = Serial(0)
    for segment in segments:
        try:
            done.commits += len(await place.commits(segment))
        except Corrupt as error:
            done.problems.append(error.message)
        last = segment.last
        progress("commits", last, newest)
    if last < newest:
        done.problems.append(f"the commits {last + 1} to {newest} are missing")


async def _state(target: BlobStore, digest: Sha256, workers: Executor, done: CheckedBackups) -> str:
    """The state of a blob that is not whole; empty for a whole one."""
    computed = hashlib.sha256()
    try:
        async for chunk in target.read(digest):
            await in_worker(workers, lambda chunk=chunk: computed.update(chunk))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
            done.bytes += len(chunk)
    except Missing:
        return "missing"
    except Corrupt:
        pass
    else:
        if computed.hexdigest() == digest:
            return ""
    return "damaged"
