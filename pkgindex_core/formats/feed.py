"""The format of the feed that replicas read: lines of JSON, the first one about the feed, then one commit a line in the order of serials.

A commit is written as in a backup (`formats.backup_segments`). Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
from msgspec import Struct

from pkgindex_core.changes import Commit, decode_commit
from pkgindex_core.errors import Corrupt, Refused
from pkgindex_core.models import Serial
from pkgindex_core.names import IndexName

FORMAT: Final = "pkgindex-feed"
VERSION: Final = 1
MEDIA_TYPE: Final = "application/x-ndjson"


class FeedHead(Struct, frozen=True, kw_only=True):
    """The first line."""

    format: str = FORMAT
    version: int = VERSION
    store: str
    """The identity of the primary's store (`Engine.uuid`)."""
    head: Serial
    """The newest commit of the primary."""
    everything: bool
    """Whether the commits are whole. Otherwise they are those of `indexes` (`rules.followed`)."""
    indexes: tuple[IndexName, ...] = ()
    existing: tuple[IndexName, ...] = ()
    """Those of `indexes` that existed at the serial after which the feed begins. The replica has them already, or lacks their past."""
    left_out: Mapping[IndexName, str] = {}
    """Indexes that are not among them for a reason, which is a sentence."""


class Refreshed(Struct, frozen=True, kw_only=True):
    """The state of a mirrored project after the primary has asked its upstream (`protocols.sources.Freshness`)."""

    state: str
    reason: str = ""
    head: Serial
    """A replica that has this commit has the page."""


def encode_line(value: FeedHead | Commit) -> bytes:
    """A line with its end."""
    return _encoder.encode(value) + b"\n"


def decode_head(line: bytes) -> FeedHead:
    """Read the first line. Raises `Refused` if it is not that of a feed, or of a later version."""
    try:
        head = msgspec.json.decode(line, type=FeedHead)
    except msgspec.MsgspecError as error:
        raise Refused("the answer is not the feed of a pkgindex server", hint=_HINT) from error
    if head.format != FORMAT:
        raise Refused("the answer is not the feed of a pkgindex server", hint=_HINT)
    if not 1 <= head.version <= VERSION:
        raise Refused(
            f"the feed has version {head.version}; this program reads up to {VERSION}", hint="update this replica first"
        )
    return head


def decode_commits(lines: Iterable[bytes], after: Serial) -> list[Commit]:
    """Read the commits after a serial. Raises `Corrupt` if a line is damaged or a serial is missing."""
    commits: list[Commit] = []
    for line in lines:
        try:
            commit = decode_commit(line)
        except msgspec.MsgspecError as error:
            raise Corrupt(f"commit {after + 1} of the feed cannot be read: {error}") from error
        if commit.serial != after + 1:
            raise Corrupt(f"the feed has commit {commit.serial} where {after + 1} is due")
        after = commit.serial
        commits.append(commit)
    return commits


_HINT: Final = "name the URL of a server with its path prefix, as its users have it, without an index"
_encoder = msgspec.json.Encoder()
