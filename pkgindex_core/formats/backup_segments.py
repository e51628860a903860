"""The commits of a backup: lines of JSON, in segments with a digest.

A line is a `Commit` as msgspec writes it: {"serial": 7, "at": 1764115200000000, "who": "anna", "changes": [{"type": "PutFile", …}]};
`at` is in microseconds since 1970, bytes are base64. A segment's last line is {"end": {"commits": 250, "sha256": "…"}}, the digest
of everything before it: a truncated or damaged segment is noticed before any of it is used. Pure: opens no files.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import Struct

from pkgindex_core.changes import Commit, decode_commit
from pkgindex_core.errors import Corrupt
from pkgindex_core.models import Serial

_DIGITS: Final = 12
_NAME = re.compile(r"\A([0-9]{12,})-([0-9]{12,})\.jsonl\Z")


class Segment(Struct, frozen=True, order=True):
    """The commits from one serial to another, in one file."""

    first: Serial
    last: Serial

    @property
    def filename(self) -> str:
        return f"{self.first:0{_DIGITS}}-{self.last:0{_DIGITS}}.jsonl"


class _End(Struct, frozen=True):
    commits: int
    sha256: str


class _LastLine(Struct, frozen=True):
    end: _End


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
                f"the commits of the backup do not follow each other: {segment.filename} comes where commit {expected} is due",
                hint=_HINT,
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


def decode_segment(segment: Segment, data: bytes) -> list[Commit]:
    """The commits of a segment. Raises `Corrupt` if it is damaged."""
    *lines, last = data.splitlines(keepends=True) or [b""]
    try:
        end = msgspec.json.decode(last, type=_LastLine).end
    except msgspec.MsgspecError as error:
        raise _damaged(segment, "it has no closing line") from error
    if len(lines) != end.commits or len(lines) != segment.last - segment.first + 1:
        raise _damaged(segment, f"it has {len(lines)} commits")
    if hashlib.sha256(b"".join(lines)).hexdigest() != end.sha256:
        raise _damaged(segment, "its digest is not the one in its last line")
    commits = []
    for expected, line in enumerate(lines, segment.first):
        try:
            commit = decode_commit(line)
        except msgspec.MsgspecError as error:
            raise _damaged(segment, f"commit {expected} cannot be read: {error}") from error
        if commit.serial != expected:
            raise _damaged(segment, f"commit {commit.serial} stands where {expected} is due")
        commits.append(commit)
    return commits


def _damaged(segment: Segment, what: str) -> Corrupt:
    return Corrupt(f"the segment {segment.filename} of the backup is damaged: {what}", hint=_HINT)


_HINT: Final = "copy the backup again, or restore one from before that serial (`pkgindex-serve backup list URL`)"
_encoder = msgspec.json.Encoder()
