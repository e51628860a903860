"""Pages for a person at a browser: the front door, and the list of projects with a search field."""

from __future__ import annotations

import re
from typing import Any

import pytest

from pkgindex_core.changes import MirrorNames
from pkgindex_core.names import ProjectName
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


async def test_a_browser_is_sent_to_the_search_and_every_other_client_gets_the_list(mirrored: MirroredStart) -> None:
    async with mirrored() as world:
        await world.served.put(build_wheel("own", "1.0"))
        await fill(world.served, "numpy", "numpy-stl", "numpyro", "nump", "pandas")
        await world.served.engine.cataloguing.caught_up()
        answer, _ = await page(world.served, "/simple/?q=NumPy")
        assert (answer.status, answer.headers["Location"]) == (302, "../root/dev/+search?q=NumPy")
        _, text = await page(world.served, "/root/dev/+search?q=NumPy")
        assert re.findall(r'<li><a href="../../root/dev/(.*?)">', text) == ["numpy", "numpyro", "numpy-stl", "nump"]
        for accept in ("text/html", "application/vnd.pypi.simple.v1+html", "*/*"):
            answer, text = await page(world.served, "/simple/", Accept=accept)
            assert (answer.status, 'name="q"' in text) == (200, False)
        answer, text = await page(world.served, "/simple/?format=application/vnd.pypi.simple.v1%2Bhtml")
        assert (answer.status, 'name="q"' in text) == (200, False)


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", '"><b>', "%00", "a" * 500, ""])
async def test_what_is_searched_is_text(mirrored: MirroredStart, text: str) -> None:
    async with mirrored() as world:
        for path in ("/+search", "/root/dev/+search"):
            async with world.served.get(path, params={"q": text}, headers=BROWSER) as answer:
                body = (await answer.read()).decode()
                assert answer.status in {200, 400}
            assert "<script>" not in body
            assert "<b>" not in body


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
        await world.served.engine.cataloguing.caught_up()
        assert (await page(world.served, "/simple/?q=hidden"))[0].status == 401
        answer, text = await page(world.served, "/root/dev/+search?q=hidden")
        assert "root/dev/hidden" not in text
        await world.served.user("root")
        answer, text = await page(world.served, "/root/dev/+search?q=hidden", **basic("root", PASSWORD))
        assert (answer.status, 'root/dev/hidden">hidden</a>' in text) == (200, True)
