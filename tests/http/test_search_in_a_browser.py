"""The page to search in Chromium: results while one types, the keys, and the same without script."""

from __future__ import annotations

import pytest

from pkgindex_core.changes import PutRelease
from pkgindex_core.formats.version_documents import encode_metadata
from pkgindex_core.models import Release
from pkgindex_core.names import ProjectName
from pkgindex_core.testing.wheels import build_wheel
from tests.chromium import Chromium
from tests.http.conftest import HOSTED, Serve, Served

pytestmark = pytest.mark.asyncio(loop_scope="session")

RESULTS = "#results a"


async def publish(served: Served, name: str, summary: str) -> None:
    await served.put(build_wheel(name, "1.0"))
    metadata = encode_metadata({"name": name, "version": "1.0", "summary": summary})
    await served.engine.store.apply(
        [PutRelease(HOSTED, ProjectName(name), Release(version="1.0", metadata=metadata))], who="[test]"
    )
    await served.engine.cataloguing.caught_up()


async def test_results_appear_while_one_types_and_keys_move_through_them(serve: Serve, chromium: Chromium) -> None:
    async with serve() as served, chromium.window() as window:
        for name in ("alpha", "alphabet", "beta"):
            await publish(served, name, "A tool")
        page = await window.new_page()
        await page.goto(f"{served.url}/root/dev/+search")
        await page.locator(RESULTS).nth(2).wait_for()
        await page.keyboard.type("alp", delay=5)
        await page.locator("#results", has_not_text="beta").wait_for()
        assert await page.locator(RESULTS).all_inner_texts() == ["alpha", "alphabet"]
        assert page.url.endswith("?q=alp")
        await page.keyboard.press("ArrowDown")
        await page.keyboard.press("ArrowDown")
        assert await page.evaluate("document.activeElement.textContent") == "alphabet"
        await page.keyboard.press("ArrowUp")
        await page.keyboard.press("ArrowUp")
        assert await page.evaluate("document.activeElement.id") == "q"
        await page.keyboard.press("ArrowDown")
        await page.keyboard.press("/")
        assert await page.evaluate("document.activeElement.id") == "q"
        await page.keyboard.type("a depends:")
        await page.locator("#problems").wait_for()
        await page.keyboard.press("ArrowDown")
        await page.locator("#q").fill("beta")
        await page.locator(RESULTS, has_text="beta").wait_for()
        await page.keyboard.press("ArrowDown")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/root/dev/beta")


async def test_keys_reach_the_search_and_the_content(serve: Serve, chromium: Chromium) -> None:
    """`/` leads to the field of the search. The first Tab shows a link past the head of the page, and what has the focus has an outline."""
    async with serve() as served, chromium.window() as window:
        page = await window.new_page()
        for path in ("/", "/root/dev"):
            await page.goto(f"{served.url}{path}")
            await page.keyboard.press("/")
            await page.keyboard.type("a/b")
            assert await page.locator("#q").input_value() == "a/b"
        for path in ("/root/dev", "/+login"):
            await page.goto(f"{served.url}{path}")
            await page.keyboard.press("Tab")
            skip = page.get_by_role("link", name="Skip to the content")
            place = await skip.bounding_box()
            assert place is not None
            assert place["y"] >= 0
            await page.keyboard.press("Enter")
            assert page.url.endswith("#main")
            await page.keyboard.press("Tab")
            assert await page.evaluate("document.activeElement.closest('main') !== null")
            assert await page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


async def test_the_page_works_without_script(serve: Serve, chromium: Chromium) -> None:
    async with serve() as served, chromium.window(script=False) as window:
        await publish(served, "alpha", "A tool")
        page = await window.new_page()
        await page.goto(served.url)
        await page.locator("#q").fill("tool")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/+search?q=tool")
        assert await page.locator(RESULTS).all_inner_texts() == ["alpha"]
