"""The format of backups of one store: all of them share commits and blobs.

    URL/
      backup.json                               what this is: format, version, the identity of the store
      commits/000000000001-000000000250.jsonl   the log, in segments (`backup_segments`); no commit is ever removed
      blobs/sha256/ab/abcd…                     the bytes, by sha256
      backups/000000000250-20261130T201530Z.json    a backup: serial, time, counts, lost files. It is written last
      backups/000000000250-20261130T201530Z.blobs   the blobs of it: sorted digests of 32 bytes, those of indexes and then copies of mirrors
      unfinished                                a run has begun and has not ended
      again                                     blobs that `verify` found missing or damaged, and that the next run copies again

A backup is the commits up to its serial with the blobs that its indexes list. One without its JSON file is not there. Version 1. Later
programs read every earlier version. Pure: opens no files.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

import msgspec
from msgspec import Struct

from pkgindex_core.clock import Timestamp, from_rfc3339
from pkgindex_core.errors import Corrupt, Refused
from pkgindex_core.models import Serial

FORMAT: Final = "pkgindex-backup"
VERSION: Final = 1
DIGEST_BYTES: Final = 32
_NAME: Final = re.compile(r"([0-9]{12,})-([0-9]{8})T([0-9]{6})Z", re.ASCII)


class Heading(Struct, frozen=True, kw_only=True):
    """The content of `backup.json`."""

    format: str = FORMAT
    version: int = VERSION
    store: str
    """The identity of the store (`Engine.uuid`). A place never has backups of two stores."""


class Backup(Struct, frozen=True, kw_only=True):
    """A complete backup."""

    serial: Serial
    at: Timestamp
    """When the serial was read, in whole seconds."""
    blobs: int
    """Blobs that rows of its indexes name."""
    copies: int
    """Files of mirrors, which can be fetched again."""
    sha256: str
    """The digest of the list of both."""
    lost: list[str]
    """Files that an index listed, and whose bytes were missing or damaged in the store."""

    @property
    def name(self) -> str:
        return name_of(self.serial, self.at)


class BlobList(Struct, frozen=True):
    """The blobs of a backup, each a digest of 32 bytes."""

    needed: frozenset[bytes]
    copies: frozenset[bytes]

    def encode(self) -> bytes:
        return b"".join(sorted(self.needed)) + b"".join(sorted(self.copies - self.needed))


NO_BLOBS: Final = BlobList(frozenset(), frozenset())


def name_of(serial: Serial, at: Timestamp) -> str:
    """The name of a backup. Names are ordered by serial, then by time."""
    return f"{serial:012}-{datetime.fromtimestamp(at // 1_000_000, UTC):%Y%m%dT%H%M%SZ}"


def parse_name(name: str) -> tuple[Serial, Timestamp] | None:
    """The serial and the time of a backup; None if it is no name of one."""
    match = _NAME.fullmatch(name)
    at = from_rfc3339(f"{match[2]}T{match[3]}Z") if match else None
    return (Serial(int(match[1])), at) if match and at is not None else None


def decode_heading(data: bytes) -> Heading:
    """Read `backup.json`. Raises `Refused` for another file or an unknown version."""
    try:
        heading = msgspec.json.decode(data, type=Heading)
    except msgspec.MsgspecError as error:
        raise Refused(f"backup.json is not that of a backup: {error}", hint=_HINT) from error
    if heading.format != FORMAT:
        raise Refused(f"backup.json says format {heading.format!r}, not {FORMAT!r}", hint=_HINT)
    if not 1 <= heading.version <= VERSION:
        raise Refused(
            f"the backup has version {heading.version}; this program reads up to {VERSION}", hint="use a newer pkgindex"
        )
    return heading


def decode_backup(name: str, data: bytes) -> Backup:
    """Read the file of a backup. Raises `Corrupt`."""
    try:
        backup = msgspec.json.decode(data, type=Backup)
    except msgspec.MsgspecError as error:
        raise Corrupt(f"the backup {name} cannot be read: {error}", hint=_DAMAGED) from error
    if backup.name != name:
        raise Corrupt(f"the backup {name} says that it is {backup.name}", hint=_DAMAGED)
    return backup


def decode_blobs(backup: Backup, data: bytes) -> BlobList:
    """Read the list of a backup's blobs. Raises `Corrupt`."""
    if hashlib.sha256(data).hexdigest() != backup.sha256 or len(data) != DIGEST_BYTES * (backup.blobs + backup.copies):
        raise Corrupt(f"the list of blobs of the backup {backup.name} is damaged", hint=_DAMAGED)
    digests = decode_digests(data)
    return BlobList(frozenset(digests[: backup.blobs]), frozenset(digests[backup.blobs :]))


def decode_digests(data: bytes) -> list[bytes]:
    return [data[start : start + DIGEST_BYTES] for start in range(0, len(data), DIGEST_BYTES)]


def encode_digests(digests: Iterable[bytes]) -> bytes:
    return b"".join(sorted(digests))


def pretty(value: Struct) -> bytes:
    """JSON for people too."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


_HINT: Final = (
    "name a directory or URL of `pkgindex-serve backup`; a dump of devpi is read by `pkgindex-serve import devpi`"
)
_DAMAGED: Final = "copy it again, or restore another one: `pkgindex-serve backup list URL`, then --at NAME"
