"""What is said of an upstream's URL before anybody asks for a project."""

from __future__ import annotations

import pytest

from pkgindex_core.protocols.sources import Examiner
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.testing import Behaviour, ScriptedUpstream, behaviours

from .conftest import MakeMirror

WHEEL = build_wheel("demo", "1.0")
HOME = b"<!DOCTYPE html><html><head><title>Welcome</title></head><body><p>An <a href='/about/'>index</a>.</p></body></html>"
LISTING = b"<!DOCTYPE html><html><body><a href='demo/'>demo/</a></body></html>"
SPACE = LISTING + b"\n" * 100_000


async def examined(make_mirror: MakeMirror, url: str, **options: object) -> str:
    mirror = await make_mirror(url, config=options, page_deadline=20.0)
    assert isinstance(mirror.readthrough, Examiner)
    return await mirror.readthrough.examine(mirror.index)


async def test_a_simple_index_is_fine_and_is_asked_once(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    upstream.add("demo", WHEEL)
    assert await examined(make_mirror, upstream.url) == ""
    assert len(upstream.asked) == 1


@pytest.mark.parametrize(
    "home", [behaviours.status(404), behaviours.says("text/html", HOME), behaviours.says("application/json", b"{}")]
)
async def test_the_likely_url_is_named(upstream: ScriptedUpstream, make_mirror: MakeMirror, home: Behaviour) -> None:
    """The `/simple/` was forgotten."""
    upstream.add("demo", WHEEL)
    upstream.script("/", home)
    base = upstream.url.removesuffix("simple/")
    said = await examined(make_mirror, base)
    assert said == f"its upstream {base} is no simple index, {base}simple/ is one: set mirror_url={base}simple/"


@pytest.mark.parametrize("page", [LISTING, SPACE], ids=["short", "long"])
async def test_a_hand_written_list_is_fine(upstream: ScriptedUpstream, make_mirror: MakeMirror, page: bytes) -> None:
    upstream.script("names", behaviours.says("text/html", page))
    assert await examined(make_mirror, upstream.url) == ""


@pytest.mark.parametrize("size", [1, 2000], ids=["short", "long"])
async def test_a_list_that_comes_compressed_unasked_is_read(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, size: int
) -> None:
    for number in range(size):
        upstream.add(f"demo-{number}", WHEEL)
    upstream.script("names", behaviours.gzipped())
    assert await examined(make_mirror, upstream.url) == ""
    assert len(upstream.asked) == 1


async def test_a_list_in_an_unknown_encoding_is_said(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    upstream.script("names", behaviours.with_headers(Content_Encoding="br"))
    said = await examined(make_mirror, upstream.url)
    assert "could not be asked: content encoding 'br' was not asked for" in said


@pytest.mark.parametrize("place", ["simple/", "+simple/"])
async def test_an_unclear_base_is_given_up_only_for_a_certain_place(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, place: str
) -> None:
    upstream.script("/", behaviours.says("text/html", LISTING))
    upstream.script("/simple/", behaviours.status(404))
    upstream.script(f"/{place}", behaviours.says("text/html", LISTING))
    assert await examined(make_mirror, upstream.root) == ""
    declared = LISTING.replace(b"<body>", b"<meta name='pypi:repository-version' content='1.0'>")
    upstream.script(f"/{place}", behaviours.says("text/html", declared))
    assert f"{upstream.root}{place} is one" in await examined(make_mirror, upstream.root)


async def test_a_base_without_a_list_is_doubted_unless_that_is_known(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    upstream.script("names", behaviours.status(404))
    said = await examined(make_mirror, upstream.url)
    assert "does not look like a simple index: it answered 404" in said
    assert "mirror_no_project_list=True" in said
    assert await examined(make_mirror, upstream.url, mirror_no_project_list=True) == ""


async def test_an_upstream_that_is_away_or_refuses_is_said(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    upstream.script("names", behaviours.status(401))
    assert "could not be asked: it answered 401" in await examined(make_mirror, upstream.url)
    said = await examined(make_mirror, "http://user:geheim@127.0.0.1:9/simple/")
    assert said == "its upstream http://127.0.0.1:9/simple/ could not be asked: it could not be connected to"
    assert "no usable mirror_url" in await examined(make_mirror, "ftp://host/")
