"""The lines that replicas read."""

from __future__ import annotations

import pytest

from pkgindex_core.changes import Commit, PutUser
from pkgindex_core.clock import Timestamp
from pkgindex_core.errors import Corrupt, Refused
from pkgindex_core.formats.feed import FeedHead, decode_commits, decode_head, encode_line
from pkgindex_core.models import Serial, User

HEAD = FeedHead(store="0" * 32, head=Serial(2), everything=True)
COMMITS = [
    Commit(serial=Serial(1), at=Timestamp(1), who="anna", changes=(PutUser(User(name="anna")),)),
    Commit(serial=Serial(2), at=Timestamp(2), who="[elsewhere]", changes=()),
]
LINES = [encode_line(commit) for commit in COMMITS]


def test_what_is_written_is_read() -> None:
    assert decode_head(encode_line(HEAD)) == HEAD
    assert decode_commits(LINES, Serial(0)) == COMMITS


@pytest.mark.parametrize(
    "line", [b"", b"<html>", b"{}", encode_line(HEAD).replace(b"pkgindex-feed", b"other"), encode_line(COMMITS[0])]
)
def test_something_else_is_no_feed(line: bytes) -> None:
    with pytest.raises(Refused, match="not the feed of a pkgindex server"):
        decode_head(line)


def test_a_later_version_is_refused() -> None:
    with pytest.raises(Refused, match="version 2"):
        decode_head(encode_line(HEAD).replace(b'"version":1', b'"version":2'))


@pytest.mark.parametrize("lines", [LINES[1:], LINES[::-1], [LINES[0], LINES[1][:-4]]], ids=["gap", "order", "cut"])
def test_a_log_with_a_gap_or_a_cut_line_is_not_replayed(lines: list[bytes]) -> None:
    with pytest.raises(Corrupt):
        decode_commits(lines, Serial(0))
