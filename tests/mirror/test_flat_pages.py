"""A flat page (`--find-links`) is fetched once, and each project is its own part of it."""

from __future__ import annotations

import asyncio
import html
from collections.abc import Mapping
from urllib.parse import quote

import pytest

from pkgindex_core.errors import BadUpstream, Unavailable
from pkgindex_core.names import ProjectName
from pkgindex_core.testing.wheels import BuiltFile, build_sdist, build_wheel
from pkgindex_mirror.readthrough.pages.flat_pages import REUSED, split
from pkgindex_mirror.testing import ScriptedUpstream
from pkgindex_mirror.testing.upstream import Answer, Asked
from pkgindex_mirror.upstreams.sites import FLAT, usable_site

from .conftest import DEMO, MakeMirror, Mirror

OTHER = ProjectName("other-one")
WHEEL, NEWER, SDIST = build_wheel("demo", "1.0"), build_wheel("demo", "2.0"), build_sdist("demo", "1.0")
STRANGER = build_sdist("other_one", "3.0")
PLACE = "/releases.html"


class Shelf:
    """The flat page of an upstream, with an ETag."""

    def __init__(self, upstream: ScriptedUpstream) -> None:
        self.upstream = upstream
        self.files: list[BuiltFile] = []
        self.says: dict[str, str] = {}
        self.head = "<h1>Our wheels</h1>"
        upstream.script(PLACE, self._answer)

    @property
    def url(self) -> str:
        return f"{self.upstream.root}{PLACE[1:]}"

    def add(self, *files: BuiltFile, **attributes: str) -> None:
        for each in files:
            self.upstream.add(each.filename.split("-")[0], each)
            self.files.append(each)
            self.says[each.filename] = "".join(
                f' {name.replace("_", "-")}="{html.escape(value)}"' for name, value in attributes.items()
            )

    @property
    def body(self) -> bytes:
        links = [
            f'<a href="files/{quote(each.filename)}#sha256={each.sha256}"{self.says[each.filename]}>'
            f"{each.filename}</a><br>\n"
            for each in self.files
        ]
        return f"<html><body>{self.head}{''.join(links)}<a href='about.html'>about</a></body></html>".encode()

    def _answer(self, asked: Asked, _: Answer) -> Answer:
        tag = f'"{len(self.body)}"'
        if asked.headers.get("If-None-Match") == tag:
            return Answer(status=304, headers={"ETag": tag})
        return Answer(headers={"Content-Type": "text/html", "ETag": tag}, body=self.body)


@pytest.fixture
def shelf(upstream: ScriptedUpstream) -> Shelf:
    return Shelf(upstream)


async def _flat(make_mirror: MakeMirror, url: str, **settings: object) -> Mirror:
    mirror = await make_mirror(url, **settings)
    return await mirror.changed(**{FLAT: True})


async def _names(mirror: Mirror) -> list[str]:
    names = await mirror.readthrough.names(mirror.index)
    return [row.name async for rows in names.read("") for row in rows]


async def test_each_project_has_its_files_after_one_request(shelf: Shelf, make_mirror: MakeMirror) -> None:
    shelf.add(WHEEL, data_requires_python=">=3.9", data_yanked='it <is> "broken"')
    shelf.add(STRANGER, SDIST)
    mirror = await _flat(make_mirror, shelf.url)
    for _ in range(2):
        assert (await mirror.refresh()).state == "fresh"
        assert (await mirror.refresh(project=OTHER)).state == "fresh"
        assert (await mirror.refresh(project=ProjectName("about"))).state == "absent"
    files = await mirror.files()
    assert set(files) == {WHEEL.filename, SDIST.filename}
    wheel = files[WHEEL.filename]
    assert (wheel.digests, wheel.requires_python) == ({"sha256": WHEEL.sha256}, ">=3.9")
    assert wheel.yanked == 'it <is> "broken"'
    assert await mirror.download(WHEEL.filename) == WHEEL.data
    assert await _names(mirror) == ["demo", "other-one"]
    assert shelf.upstream.count(PLACE) == 1


async def test_many_projects_at_once_share_the_request(shelf: Shelf, make_mirror: MakeMirror) -> None:
    projects = [f"project-{number}" for number in range(30)]
    shelf.add(*(build_wheel(name.replace("-", "_"), "1.0") for name in projects))
    mirror = await _flat(make_mirror, shelf.url)
    told = await asyncio.gather(*(mirror.refresh(project=ProjectName(name)) for name in projects))
    assert {each.state for each in told} == {"fresh"}
    assert shelf.upstream.count(PLACE) == 1


async def test_a_page_is_asked_for_again_with_its_validators(shelf: Shelf, make_mirror: MakeMirror) -> None:
    shelf.add(WHEEL, STRANGER)
    mirror = await _flat(make_mirror, shelf.url)
    mirror = await mirror.changed(mirror_cache_expiry=0)
    await mirror.refresh()
    before = await mirror.store.head()
    mirror.clock.advance(REUSED)
    await mirror.refresh()
    assert await mirror.store.head() == before
    assert "If-None-Match" in shelf.upstream.asked[-1].headers
    # A file of another project: this one is unchanged.
    shelf.add(build_sdist("other_one", "4.0"))
    mirror.clock.advance(REUSED)
    await mirror.refresh()
    assert await mirror.store.head() == before
    shelf.add(NEWER)
    await mirror.refresh()
    assert set(await mirror.files()) == {WHEEL.filename}
    mirror.clock.advance(REUSED)
    await mirror.refresh()
    assert set(await mirror.files()) == {WHEEL.filename, NEWER.filename}


async def test_a_doubted_project_is_asked_for_at_once(shelf: Shelf, make_mirror: MakeMirror) -> None:
    shelf.add(WHEEL)
    mirror = await _flat(make_mirror, shelf.url)
    await mirror.refresh()
    shelf.add(NEWER)
    mirror.readthrough.doubt(mirror.index, DEMO)
    await mirror.refresh()
    assert set(await mirror.files()) == {WHEEL.filename, NEWER.filename}


@pytest.mark.parametrize("head", ["<h1>Welcome</h1><p>Please log in</p>", ""])
async def test_a_page_without_files_makes_no_project_absent(shelf: Shelf, make_mirror: MakeMirror, head: str) -> None:
    shelf.head = head
    mirror = await _flat(make_mirror, shelf.url)
    with pytest.raises(BadUpstream, match="a page without links to files"):
        await mirror.refresh()


async def test_an_upstream_that_is_down_makes_projects_unknown_and_stored_ones_stale(
    shelf: Shelf, make_mirror: MakeMirror
) -> None:
    shelf.add(WHEEL)
    mirror = await _flat(make_mirror, shelf.url)
    mirror = await mirror.changed(mirror_cache_expiry=0)
    await mirror.refresh()
    await shelf.upstream.stop()
    mirror.clock.advance(REUSED)
    assert (await mirror.refresh()).state == "stale"
    with pytest.raises(Unavailable):
        await mirror.refresh(project=OTHER)


async def test_a_page_that_was_read_with_a_password_is_not_shown_without(shelf: Shelf, make_mirror: MakeMirror) -> None:
    shelf.add(WHEEL)
    mirror = await _flat(make_mirror, shelf.url)
    await (await mirror.changed(mirror_credentials="ann:s3cret")).refresh()
    shelf.upstream.script(PLACE, lambda asked, answer: Answer(status=401))
    open_to_all = await mirror.changed(mirror_credentials="")
    with pytest.raises(BadUpstream, match="401"):
        await open_to_all.refresh(project=OTHER)


async def test_a_gone_page_has_no_project(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    mirror = await _flat(make_mirror, f"{upstream.root}nowhere.html")
    assert (await mirror.refresh()).state == "absent"
    assert "answered 404" in await mirror.readthrough.examine(mirror.index)


async def test_examination_takes_it_for_what_it_is(shelf: Shelf, make_mirror: MakeMirror) -> None:
    shelf.add(WHEEL)
    mirror = await _flat(make_mirror, shelf.url)
    assert await mirror.readthrough.examine(mirror.index) == ""
    assert usable_site(mirror.index).base == shelf.url, "no slash is added"


@pytest.mark.parametrize(
    ("page", "found"),
    [
        (b'<a href="a-b-1.0.tar.gz">x</a>', {"a-b"}),
        (b'<a href="x?f=1">A.B-1.0-py3-none-any.whl</a>', {"a-b"}),
        (b'<a href="https://h/A_B-1.0.zip#sha256=0">x</a><a href="../">up</a>', {"a-b"}),
        (b'<base href="https://h/x/"><a href="a-1.0.zip">x</a>', {"a"}),
        (b"<a href='a-1.0.zip'>x</a><!-- never ends <a href='b-1.0.zip'>", "never ends"),
        (b"<p>no links</p>", "without links"),
        (b"<a href='-.whl'>x</a>", "without links"),
        ("<a href='a-1.0.zip' data-yanked='ü'>ü</a>".encode("latin-1"), {"a"}),
    ],
)
def test_links_are_found_as_pip_finds_them(page: bytes, found: set[str] | str) -> None:
    parts = split(page, "text/html")
    if isinstance(found, str):
        assert isinstance(parts, str)
        assert found in parts
        return
    assert isinstance(parts, Mapping)
    assert set(parts) == found
    if b"<base" in page:
        assert b'<base href="https://h/x/">' in next(iter(parts.values()))
