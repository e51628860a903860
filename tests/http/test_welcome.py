"""Pages for a person at a browser: the front door, and the list of projects with a search field."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from pkgindex_core.changes import MirrorNames
from pkgindex_core.models import ProjectRow
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.testing.wheels import build_wheel
from tests.http.conftest import MIRROR, PASSWORD, MirroredStart, Serve, Served, basic

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


async def page(served: Served, path: str, **headers: str) -> tuple[Any, str]:
    async with served.get(path, headers={**BROWSER, **headers}) as answer:
        return answer, (await answer.read()).decode()


async def fill(served: Served, *names: str) -> None:
    await served.engine.store.apply(
        [MirrorNames(MIRROR, put=tuple((ProjectName(name), name) for name in names))], who="[test]"
    )


async def test_the_front_door_leads_to_our_own_packages_first(mirrored: MirroredStart) -> None:
    async with mirrored() as world:
        anna = await world.served.user("anna")
        await world.served.index("anna/secret", acl_read=("anna",))
        answer, text = await page(world.served, "/")
        assert answer.headers["Cache-Control"] == "no-store"
        assert text.index('href="./root/dev"') < text.index("<h2>Mirrors</h2>") < text.index('href="./root/pypi"')
        assert "secret" not in text
        assert f"pip install --index-url {world.served.url}/simple/" in text
        _, hers = await page(world.served, "/", **anna)
        assert "anna/secret" in hers


async def test_a_browser_searches_the_list_and_every_other_client_gets_it(mirrored: MirroredStart) -> None:
    async with mirrored() as world:
        await world.served.put(build_wheel("own", "1.0"))
        await fill(world.served, "numpy", "numpy-stl", "numpyro", "nump", "pandas")
        _, text = await page(world.served, "/simple/")
        assert '<input name="q"' in text
        assert 'href="own/"' in text
        assert "numpy" not in text
        _, text = await page(world.served, "/simple/?q=NumPy")
        assert [name for name in ("numpy", "numpy-stl", "numpyro", "nump", "pandas", "own") if f'href="{name}/"' in text] == [
            "numpy", "numpy-stl", "numpyro",
        ]  # fmt: skip
        for accept in ("text/html", "application/vnd.pypi.simple.v1+html", "*/*"):
            _, text = await page(world.served, "/simple/", Accept=accept)
            assert 'name="q"' not in text
        _, text = await page(world.served, "/simple/?format=application/vnd.pypi.simple.v1%2Bhtml")
        assert 'name="q"' not in text


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a", ["a", "a-z", "azz"]),
        ("az", ["azz"]),
        ("z", ["z", "z-0", "z0", "zz"]),
        ("Z", ["z", "z-0", "z0", "zz"]),
        ("z0", ["z0"]),
        ("0", ["0", "0z"]),
        ("q", []),
    ],
)
async def test_a_search_reads_no_name_before_those_that_it_finds(
    mirrored: MirroredStart, monkeypatch: pytest.MonkeyPatch, text: str, found: list[str]
) -> None:
    """One letter is enough, and the last one costs no more than the first: a mirror has 900,000 names."""
    async with mirrored() as world:
        await fill(world.served, "0", "0z", "a", "a-z", "azz", "y", "yzzz", "z", "z-0", "z0", "zz")
        store, read = world.served.engine.store, list[str]()
        listed_names = store.listed_names

        async def watched(index: IndexName, *, after: str = "") -> AsyncIterator[Sequence[ProjectRow]]:
            async for rows in listed_names(index, after=after):
                read.extend(row.name for row in rows)
                yield rows

        monkeypatch.setattr(store, "listed_names", watched)
        _, body = await page(world.served, f"/simple/?q={text}")
        assert re.findall('<li><a href="(.*)/">', body) == found
        assert read[: len(found)] == found


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", '"><b>', "%00", "a" * 500, ""])
async def test_what_is_searched_is_text(mirrored: MirroredStart, text: str) -> None:
    async with mirrored() as world:
        async with world.served.get("/simple/", params={"q": text}, headers=BROWSER) as answer:
            body = (await answer.read()).decode()
            assert answer.status == 200
        assert "<script>" not in body
        assert "<b>" not in body
        assert "is not loaded yet" in body


async def test_a_list_without_a_mirror_is_the_plain_one(serve: Serve) -> None:
    async with serve() as served:
        await served.put(build_wheel("own", "1.0"))
        _, text = await page(served, "/simple/")
        assert 'name="q"' not in text
        assert '<a href="own/">' in text


async def test_a_private_list_is_for_those_who_may_read_it(mirrored: MirroredStart) -> None:
    async with mirrored() as world:
        await world.served.index("root/dev", bases=("root/pypi",), acl_read=("root",))
        await world.served.put(build_wheel("hidden", "1.0"))
        assert (await page(world.served, "/simple/?q=hidden"))[0].status == 401
        await world.served.user("root")
        answer, text = await page(world.served, "/simple/?q=hidden", **basic("root", PASSWORD))
        assert (answer.status, 'href="hidden/"' in text) == (200, True)
