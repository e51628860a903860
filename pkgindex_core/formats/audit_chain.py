"""The chain of hashes over the log of changes, and its lines for an auditor. Pure.

    digest of a commit = sha256 of its changes, as `changes.encode_changes` writes them
    hash of a commit   = sha256 of hash before, serial, time, author as JSON, digest: a line each

The first commit has 64 zeros before it; the time is in microseconds since 1970. The chain is made of the commits alone. So a backup that was
restored, a migrated store and a whole replica have the same hashes, and an auditor checks lines without the secrets that changes may have.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.changes import Change, Commit, MirrorNames, MirrorPage, PutIndex, PutToken, PutUser, encode_changes
from pkgindex_core.clock import Timestamp, to_rfc3339
from pkgindex_core.digests import Sha256, sha256_of
from pkgindex_core.errors import Refused
from pkgindex_core.formats.kept_pages import rows_of
from pkgindex_core.models import IndexConfig, Serial

BEGINNING: Final = Sha256("0" * 64)
"""The hash before the first commit."""
HIDDEN: Final = "***"
"""In the place of hashes of passwords and tokens."""


class Link(Struct, frozen=True, kw_only=True):
    """One commit in the chain."""

    serial: Serial
    at: Timestamp
    who: str
    digest: Sha256
    hash: Sha256


class Checkpoint(Struct, frozen=True, kw_only=True):
    """A hash to keep elsewhere. It tells later whether the log up to it was changed."""

    store: str
    """The identity of the store, the same for its copies."""
    serial: Serial
    hash: Sha256
    at: str
    """The time of the commit."""


class AuditLine(Struct, frozen=True, kw_only=True):
    """One commit for an auditor, as a line of JSON."""

    serial: Serial
    at: str
    microseconds: int
    who: str
    digest: Sha256
    previous: Sha256
    hash: Sha256
    changes: list[Any]


class BrokenChain(Struct, frozen=True):
    """Where a chain does not hold, and why."""

    serial: Serial
    reason: str


def linked(previous: Sha256, commit: Commit) -> Link:
    """The link of the commit behind the one whose hash is `previous`."""
    digest = sha256_of(encode_changes(commit.changes))
    return Link(
        serial=commit.serial,
        at=commit.at,
        who=commit.who,
        digest=digest,
        hash=hash_of(previous, commit.serial, commit.at, commit.who, digest),
    )


def links(previous: Sha256, commits: Iterable[Commit]) -> list[Link]:
    """The links of commits in a row."""
    found: list[Link] = []
    for commit in commits:
        found.append(linked(previous, commit))
        previous = found[-1].hash
    return found


def hash_of(previous: str, serial: int, at: int, who: str, digest: str) -> Sha256:
    """The hash of one commit."""
    author = msgspec.json.encode(who).decode()
    return Sha256(hashlib.sha256(f"{previous}\n{serial}\n{at}\n{author}\n{digest}".encode()).hexdigest())


def audit_line(previous: Sha256, commit: Commit, without_secrets: Callable[[IndexConfig], IndexConfig]) -> AuditLine:
    """The line of a commit, without secrets, and with the names of mirrored files instead of whole pages."""
    link = linked(previous, commit)
    return AuditLine(
        serial=link.serial,
        at=to_rfc3339(link.at),
        microseconds=link.at,
        who=link.who,
        digest=link.digest,
        previous=previous,
        hash=link.hash,
        changes=[_told(change, without_secrets) for change in commit.changes],
    )


def check_lines(lines: Iterable[bytes], checkpoint: Checkpoint | None = None) -> BrokenChain | AuditLine | None:
    """Check exported lines: the first that does not hold, or the last one; None without lines. `checkpoint`: one of the lines must have its hash."""
    last: AuditLine | None = None
    seen = checkpoint is None
    for line in _decoded(lines):
        if last is not None and (line.serial, line.previous) != (last.serial + 1, last.hash):
            return BrokenChain(
                line.serial, f"it does not follow commit {last.serial}: expected {last.hash}, found {line.previous}"
            )
        expected = hash_of(line.previous, line.serial, line.microseconds, line.who, line.digest)
        if line.hash != expected:
            return BrokenChain(line.serial, f"expected the hash {expected}, found {line.hash}")
        if line.serial == 1 and line.previous != BEGINNING:
            return BrokenChain(line.serial, f"expected {BEGINNING} before it, found {line.previous}")
        if checkpoint is not None and line.serial == checkpoint.serial:
            seen = True
            if line.hash != checkpoint.hash:
                return BrokenChain(
                    line.serial, f"expected the hash of the checkpoint, {checkpoint.hash}, found {line.hash}"
                )
        last = line
    if not seen and checkpoint is not None:
        return BrokenChain(checkpoint.serial, "the commit of the checkpoint is not among the lines")
    return last


def read_checkpoint(data: bytes) -> Checkpoint:
    """Read a checkpoint. Raises `Refused`."""
    try:
        return msgspec.json.decode(data, type=Checkpoint)
    except msgspec.DecodeError as error:
        raise Refused(f"it is no checkpoint: {error}", hint="make one: pkgindex-serve audit checkpoint") from error


def _decoded(lines: Iterable[bytes]) -> Iterator[AuditLine]:
    decoder = msgspec.json.Decoder(AuditLine)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield decoder.decode(line)
        except msgspec.DecodeError as error:
            raise Refused(f"line {number} is no line of an audit: {error}") from error


def _told(change: Change, without_secrets: Callable[[IndexConfig], IndexConfig]) -> Any:
    match change:
        case PutUser(user=user) if user.password_hash:
            change = PutUser(replace(user, password_hash=HIDDEN))
        case PutToken(token=token):
            change = PutToken(replace(token, secret_sha256=Sha256(HIDDEN)))
        case PutIndex(config=config):
            change = PutIndex(without_secrets(config))
        case MirrorPage():
            files = [file.filename for _, file in rows_of(change.kept).files()] if change.kept else []
            files += [file.filename for file in change.put]
            return {
                "type": "MirrorPage",
                "index": change.index,
                "project": change.project,
                "put": files,
                "drop": change.drop,
            }
        case MirrorNames():
            return {"type": "MirrorNames", "index": change.index, "put": len(change.put), "drop": len(change.drop)}
        case _:
            pass
    return msgspec.to_builtins(change)
