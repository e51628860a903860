"""One reading of a path: decoded once, or no URL of ours."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkgindex_http.wire.paths import PATH_LIMIT, origin_form, split_path
from tests.corpora.path_tricks import PATH_TRICKS

_SEGMENT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(
    lambda text: text not in {".", ".."} and text.isprintable() and not set(text) & {"/", "\\"}
)


@pytest.mark.parametrize(
    ("raw", "segments"),
    [
        ("/", ("",)),
        ("/simple", ("simple",)),
        ("/simple/", ("simple", "")),
        ("/root/dev/+f/abc/0123456789abc/a-1.0+b.whl", ("root", "dev", "+f", "abc", "0123456789abc", "a-1.0+b.whl")),
        ("/simple/%64emo/", ("simple", "demo", "")),
        ("/root/dev/%2Bsimple/", ("root", "dev", "+simple", "")),
        ("/a%2Bb/1%212", ("a+b", "1!2")),
        ("//", ("",)),
        ("//simple/", ("simple", "")),
        ("///team/dev", ("team", "dev")),
        ("/%E2%82%AC", ("€",)),
        ("/a+b", ("a+b",)),
        ("/a%252e%252e", ("a%2e%2e",)),
        ("/...", ("...",)),
        ("/%", ("%",)),
        ("/%zz", ("%zz",)),
    ],
)
def test_paths_become_segments(raw: str, segments: tuple[str, ...]) -> None:
    assert split_path(raw) == segments


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "simple/",
        "*",
        "http://host/simple/",
        "/simple//demo/",
        "/simple/./",
        "/simple/../",
        "/simple/%2e%2e/",
        "/simple/.%2E/",
        "/simple/%2e/",
        "/simple/a%2fb/",
        "/simple/a%5Cb/",
        "/simple/a\\b/",
        "/simple/a%00/",
        "/simple/a%0d%0ab/",
        "/simple/a%7f/",
        "/simple/%ff/",
        "/simple/%c0%ae/",
        "/simple/%ed%a0%80/",
        "/simple/a\udcff/",
        "/simple/%41\udcff/",
        "/simple/a\u202eb/",
        "/simple/%e2%80%8b/",
        "/" + "a" * PATH_LIMIT,
    ],
)
def test_what_is_no_url_of_ours(raw: str) -> None:
    assert split_path(raw) is None


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/simple/?x", "/simple/?x"),
        ("/http://host/x", "/http://host/x"),
        ("HTTP://host/simple/", "/simple/"),
        ("https://user:password@host//simple/", "//simple/"),
        ("http://host", "/"),
        ("http://host?x=/simple/", "/?x=/simple/"),
        ("http://host#/simple/", "/#/simple/"),
        ("ftp://host/simple/", "ftp://host/simple/"),
    ],
)
def test_a_whole_url_is_read_behind_its_authority(target: str, expected: str) -> None:
    assert origin_form(target) == expected


@given(st.lists(_SEGMENT, min_size=1, max_size=6), st.booleans())
def test_quoted_segments_come_back_as_they_were(segments: list[str], slash: bool) -> None:
    """Decoding is the inverse of encoding, once: an encoded percent sign is a percent sign."""
    raw = "/" + "/".join(quote(segment, safe="") for segment in segments) + ("/" if slash else "")
    if len(raw) <= PATH_LIMIT:
        assert split_path(raw) == (*segments, *([""] if slash else []))


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: raw.decode("utf-8", "surrogateescape")))
def test_any_text_is_read_or_refused(text: str) -> None:
    segments = split_path(f"/{text}")
    for position, segment in enumerate(segments or ()):
        assert segment.isprintable()
        assert segment not in {".", ".."}
        assert not set(segment) & {"/", "\\", "\0", "\r", "\n"}
        assert segment or position == len(segments or ()) - 1
        segment.encode()


def test_no_trick_becomes_a_segment_that_a_file_system_would_follow() -> None:
    for trick in PATH_TRICKS:
        for segment in split_path("/" + trick.raw.decode("utf-8", "surrogateescape")) or ():
            assert segment not in {".", ".."}
            assert not set(segment) & {"/", "\\", "\0", "\r", "\n"}
