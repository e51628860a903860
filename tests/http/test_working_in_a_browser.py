"""A newcomer's hour in Chromium: log in, make an index, drop a wheel, promote it, make a token, upload with twine, log out.

`PKGINDEX_TEST_PICTURES=DIRECTORY` keeps a picture of each page.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import BrowserContext, Page, async_playwright

from pkgindex_core.changes import PutProject, YankFile
from pkgindex_core.models import PageHead
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.testing.wheels import BuiltFile, build_wheel
from tests.http.conftest import PASSWORD, Serve

CHROMIUM = shutil.which("chromium") or "chromium"
DEMO = ProjectName("demo")
EVIL = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>'\"&{{7*7}}"


@asynccontextmanager
async def chromium(*, script: bool = True) -> AsyncIterator[BrowserContext]:
    """A window of Debian's Chromium, with scripts or without."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield await browser.new_context(java_script_enabled=script)
        finally:
            await browser.close()


async def picture(page: Page, name: str) -> None:
    if directory := os.environ.get("PKGINDEX_TEST_PICTURES"):
        await page.screenshot(path=f"{directory}/{name}.png", full_page=True)


async def twine(url: str, token: str, file: Path) -> None:
    command = [
        sys.executable, "-m", "twine", "upload", "--repository-url", url, "-u", "__token__", "-p", token, str(file),
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()


async def test_the_hour_of_a_newcomer(serve: Serve, tmp_path: Path, wheel: BuiltFile) -> None:
    (tmp_path / wheel.filename).write_bytes(wheel.data)
    other = build_wheel("demo", "1.1")
    (tmp_path / other.filename).write_bytes(other.data)
    async with serve() as served, chromium() as window:
        await served.user("anna")
        await served.index("anna/live", acl_upload=("anna",), volatile=False)
        page = await window.new_page()
        await page.goto(f"{served.url}/anna/+account")
        await picture(page, "log-in")
        await page.get_by_label("User name").fill("anna")
        await page.get_by_label("Password").fill("wrong")
        await page.get_by_role("button", name="Log in").click()
        await picture(page, "log-in-refused")
        assert "password" in await page.get_by_role("alert").inner_text()
        await page.get_by_label("User name").fill("anna")
        await page.get_by_label("Password").fill(PASSWORD)
        await page.get_by_role("button", name="Log in").click()
        assert page.url.endswith("/anna/+account")

        await page.get_by_role("link", name="New index").click()
        await page.get_by_label("Name", exact=True).fill("next")
        await page.get_by_label("bases").fill("anna/live")
        await page.get_by_role("button", name="Show what it does").click()
        await picture(page, "new-index")
        await page.get_by_role("button", name="Make the index").click()
        assert page.url.partition("?")[0].endswith("/anna/next/+edit")

        await page.get_by_role("link", name="Upload", exact=True).click()
        await page.locator("#content").set_input_files(tmp_path / wheel.filename)
        await page.get_by_role("button", name="Upload").click()
        await picture(page, "upload")
        await page.get_by_role("link", name="demo 1.0").click()
        await picture(page, "manage")

        await page.get_by_role("link", name="Promote 1.0").click()
        await page.get_by_label("To the index").select_option("anna/live")
        await page.get_by_role("button", name="Show what will move").click()
        await picture(page, "promote")
        await page.get_by_role("button", name="Promote to anna/live").click()
        assert "is now in anna/live" in await page.get_by_role("status").inner_text()

        await page.goto(f"{served.url}/anna/+account")
        await page.get_by_label("Name", exact=True).fill("ci")
        await page.get_by_role("button", name="Make the token").click()
        await picture(page, "account")
        token = await page.locator("pre.secret").inner_text()
        await twine(f"{served.url}/anna/next/", token, tmp_path / other.filename)
        stored = await served.engine.store.page(IndexName("anna/next"), DEMO)
        assert stored is not None
        assert len(stored.rows) == 2

        cookie = {each["name"]: each for each in await window.cookies()}["pkgindex-login"]
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")
        await page.get_by_role("button", name="Log out").click()
        await page.goto(f"{served.url}/anna/+account")
        assert "Log in" in await page.title()
        assert not [each for each in await window.cookies() if each["name"] == "pkgindex-login"]


async def test_no_text_of_a_user_runs(serve: Serve, wheel: BuiltFile) -> None:
    """Every field that a user writes, on each page that shows it: the browser shows text, and makes no element of it."""
    async with serve() as served, chromium() as window:
        await served.user("anna")
        index = await served.index("anna/dev", acl_upload=("anna",), title=EVIL, description=EVIL, custom_data=EVIL)
        await served.put(wheel, index=index)
        head = PageHead(display_name="demo", status="archived", status_reason=EVIL)
        yank = YankFile(index, DEMO, wheel.filename, EVIL)
        await served.engine.store.apply([PutProject(index, DEMO, head), yank], who="anna")
        await served.engine.tokens.make("anna", who="anna", name=EVIL, indexes=(EVIL,), projects=(EVIL,))
        page = await window.new_page()
        ran: list[str] = []
        page.on("dialog", lambda dialog: ran.append(dialog.message))
        await page.goto(f"{served.url}/+login")
        await page.get_by_label("User name").fill("anna")
        await page.get_by_label("Password").fill(PASSWORD)
        await page.get_by_role("button", name="Log in").click()
        for path, shows in (
            ("/anna/+account", True), ("/anna/dev/+edit", True), ("/anna/dev/+manage/demo", True), ("/anna/dev/+plots", False),
            ("/anna/dev/+plots/demo", False), ("/+users", False), ("/anna/dev/+promote/demo/1.0?to=" + "%3Cscript%3E", False),
        ):  # fmt: skip
            await page.goto(f"{served.url}{path}")
            await picture(page, f"evil{path.partition('?')[0].replace('/', '-')}")
            assert await page.title() != "run", path
            assert await page.locator("img, script").count() == 0, path
            assert not shows or "onerror" in await page.content(), path
        for field in ("option.title", "option.bases", "more"):
            await page.goto(f"{served.url}/anna/dev/+edit")
            await page.locator(f'[name="{field}"]').fill(EVIL)
            await page.get_by_role("button", name="Show what it does").click()
            assert await page.locator("img, script").count() == 0, field
        assert not ran
