"""The page to search in Chromium: results while one types, the keys, the same without script, and no text of a stranger that runs."""

from __future__ import annotations

from pkgindex_core.changes import PutRelease
from pkgindex_core.formats.version_documents import encode_metadata
from pkgindex_core.models import Release
from pkgindex_core.names import ProjectName
from pkgindex_core.testing.wheels import build_wheel
from tests.http.conftest import HOSTED, Serve, Served
from tests.http.test_pages_in_a_browser import PAYLOADS
from tests.http.test_working_in_a_browser import chromium

RESULTS = "#results a"


async def publish(served: Served, name: str, summary: str) -> None:
    await served.put(build_wheel(name, "1.0"))
    metadata = encode_metadata({"name": name, "version": "1.0", "summary": summary})
    await served.engine.store.apply(
        [PutRelease(HOSTED, ProjectName(name), Release(version="1.0", metadata=metadata))], who="[test]"
    )
    await served.engine.cataloguing.caught_up()


async def test_results_appear_while_one_types_and_keys_move_through_them(serve: Serve) -> None:
    async with serve() as served, chromium() as window:
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


async def test_the_page_works_without_script(serve: Serve) -> None:
    async with serve() as served, chromium() as window:
        await publish(served, "alpha", "A tool")
        page = await window.new_page()
        await page.route("**/*.js", lambda route: route.abort())
        await page.goto(served.url)
        await page.locator("#q").fill("tool")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/+search?q=tool")
        assert await page.locator(RESULTS).all_inner_texts() == ["alpha"]


async def test_no_text_of_a_stranger_runs(serve: Serve) -> None:
    """Each payload as a summary and as a query, typed and in the URL."""
    async with serve() as served, chromium() as window:
        page = await window.new_page()
        ran: list[str] = []
        page.on("dialog", lambda dialog: ran.append(dialog.message))
        await publish(served, "alpha", " ".join(PAYLOADS)[:900])
        for payload in PAYLOADS[::4]:
            await publish(served, "beta", payload)
            await page.goto(f"{served.url}/+search?q=beta")
            await page.locator(RESULTS).first.wait_for()
            await page.locator("#q").fill(payload)
            await page.wait_for_url(lambda url: "q=beta" not in url)
            assert (
                await page.locator(
                    "#results script, #results img, #results svg, #results iframe, [onerror], [onload], [onfocus]"
                ).count()
                == 0
            )
            assert await page.title() != "run"
        assert not ran
