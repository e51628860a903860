"""The format of a dump: the commits of a store as lines of JSON, in segments with a digest.

    DIR/
      dump.json                                    what this is: format, version, the store's identity
      commits/000000000001-000000000250.jsonl      one commit a line, in order, and a last line that closes the segment
      blobs/                                       the bytes, by sha256
      gone.jsonl                                   blobs that commits name and that were missing

A line is a `Commit` as msgspec writes it: {"serial": 7, "at": 1764115200000000, "who": "anna", "changes": [{"type": "PutFile", …}]};
`at` is in microseconds since 1970, bytes are base64. A segment's last line is {"end": {"commits": 250, "sha256": "…"}}, the digest
of everything before it: a truncated or damaged segment is noticed before any of it is used.

Version 1. Later programs read every earlier version. A change of meaning needs a new number. Pure: opens no files.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import Final, Literal

import msgspec
from msgspec import Struct

from pkgindex_core.changes import Commit, PutAttachment, PutFile, decode_commit
from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Corrupt, Refused
from pkgindex_core.models import Serial
from pkgindex_core.names import IndexName, ProjectName

FORMAT: Final = "pkgindex-dump"
VERSION: Final = 1
_DIGITS: Final = 12
_NAME = re.compile(r"\A([0-9]{12,})-([0-9]{12,})\.jsonl\Z")


class Manifest(Struct, frozen=True, kw_only=True):
    """The content of `dump.json`."""

    format: str = FORMAT
    version: int = VERSION
    store: str
    """The identity of the store (`Engine.uuid`). A dump never has commits of two stores."""


class Segment(Struct, frozen=True, order=True):
    """The commits from one serial to another, in one file."""

    first: Serial
    last: Serial

    @property
    def filename(self) -> str:
        return f"{self.first:0{_DIGITS}}-{self.last:0{_DIGITS}}.jsonl"


class NamedBlob(Struct, frozen=True, kw_only=True):
    """A blob that a commit of a hosted index names, with its use. Mirrors name files that were never fetched."""

    sha256: Sha256
    kind: Literal["file", "sidecar", "attachment"]
    index: IndexName
    project: ProjectName
    filename: str


class MissingBlob(Struct, frozen=True, kw_only=True):
    """A blob that a commit names and that the store does not have."""

    sha256: Sha256
    filename: str
    index: str
    lost: bool
    """True: the index still lists its file. False: the file was deleted, and its bytes were cleared away."""


class _End(Struct, frozen=True):
    commits: int
    sha256: str


class _LastLine(Struct, frozen=True):
    end: _End


def read_manifest(data: bytes) -> Manifest:
    """Read `dump.json`. Raises `Refused` for another file or an unknown version."""
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.MsgspecError as error:
        raise Refused(f"dump.json is not that of a dump: {error}", hint=_HINT) from error
    if manifest.format != FORMAT:
        raise Refused(f"dump.json says format {manifest.format!r}, not {FORMAT!r}", hint=_HINT)
    if not 1 <= manifest.version <= VERSION:
        raise Refused(
            f"the dump has version {manifest.version}; this program reads up to {VERSION}", hint="use a newer pkgindex"
        )
    return manifest


def parse_segment(filename: str) -> Segment | None:
    """The serials in a segment's name; None for another file."""
    match = _NAME.match(filename)
    if match is None:
        return None
    return Segment(Serial(int(match[1])), Serial(int(match[2])))


def contiguous(segments: Iterable[Segment]) -> tuple[Segment, ...]:
    """The segments in order; `Corrupt` when one is missing or two overlap."""
    ordered = tuple(sorted(segments))
    expected = 1
    for segment in ordered:
        if segment.first != expected or segment.last < segment.first:
            raise Corrupt(
                f"the dump's commits do not follow each other: {segment.filename} comes where commit {expected} is due",
                hint="copy the whole dump again; no file of its commits directory may be missing",
            )
        expected = segment.last + 1
    return ordered


def encode_segment(commits: Iterable[Commit]) -> bytes:
    """A segment's bytes, with the closing line."""
    lines = []
    for commit in commits:
        line = _encoder.encode(commit)
        if decode_commit(line) != commit:  # a commit that does not survive the format must not look like a backup
            raise Corrupt(f"commit {commit.serial} cannot be written as JSON without loss")
        lines.append(line + b"\n")
    body = b"".join(lines)
    end = _LastLine(_End(len(lines), hashlib.sha256(body).hexdigest()))
    return body + msgspec.json.encode(end) + b"\n"


class SegmentReader:
    """Reads a segment line by line: `check` all of them first, then `commits` of all but the last."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment

    def check(self, lines: Iterable[bytes]) -> None:
        """Read everything once and compare it with the last line. Raises `Corrupt` for a damaged segment."""
        digest = hashlib.sha256()
        count = 0
        held: bytes | None = None
        for line in lines:
            if held is not None:
                digest.update(held)
                count += 1
            held = line
        try:
            end = msgspec.json.decode(held or b"", type=_LastLine).end
        except msgspec.MsgspecError as error:
            raise self._damaged("it has no closing line") from error
        if count != end.commits or count != self._segment.last - self._segment.first + 1:
            raise self._damaged(f"it has {count} commits")
        if digest.hexdigest() != end.sha256:
            raise self._damaged("its digest is not the one in its last line")

    def commits(self, lines: Iterable[bytes]) -> Iterator[Commit]:
        """The commits of checked lines."""
        expected = self._segment.first
        for line in lines:
            if expected > self._segment.last:
                return
            try:
                commit = decode_commit(line)
            except msgspec.MsgspecError as error:
                raise self._damaged(f"commit {expected} cannot be read: {error}") from error
            if commit.serial != expected:
                raise self._damaged(f"commit {commit.serial} stands where {expected} is due")
            yield commit
            expected = Serial(expected + 1)

    def _damaged(self, what: str) -> Corrupt:
        return Corrupt(
            f"the segment {self._segment.filename} is damaged: {what}",
            hint="copy the dump again, or remove this segment and those behind it from the dump and export into it once more",
        )


def encode_gone(gone: Iterable[MissingBlob]) -> bytes:
    return b"".join(msgspec.json.encode(one) + b"\n" for one in gone)


def decode_gone(data: bytes) -> tuple[MissingBlob, ...]:
    try:
        return tuple(msgspec.json.decode(line, type=MissingBlob) for line in data.splitlines())
    except msgspec.MsgspecError as error:
        raise Corrupt(f"gone.jsonl of the dump is damaged: {error}", hint="copy the dump again") from error


def blobs_named(commit: Commit) -> Iterator[NamedBlob]:
    """Every blob of hosted indexes that a commit's changes name."""
    for change in commit.changes:
        match change:
            case PutFile(index, project, file):
                if file.sha256:
                    yield NamedBlob(
                        sha256=file.sha256, kind="file", index=index, project=project, filename=file.filename
                    )
                if file.metadata_sha256:
                    yield NamedBlob(
                        sha256=file.metadata_sha256,
                        kind="sidecar",
                        index=index,
                        project=project,
                        filename=file.filename,
                    )
            case PutAttachment(index, project, attachment):
                yield NamedBlob(
                    sha256=attachment.sha256,
                    kind="attachment",
                    index=index,
                    project=project,
                    filename=attachment.filename,
                )
            case _:
                pass


_HINT = (
    "name the directory that `pkgindex-serve export` wrote; a dump of devpi is read by `pkgindex-serve import devpi`"
)
_encoder = msgspec.json.Encoder()
