"""A newcomer's hour in Chromium, without script: find a package, read about it, install it by the line of its page; then log in, make an index, drop a
wheel, promote it, make a token, upload with twine by it, yank, and log out.

`PKGINDEX_TEST_PICTURES=DIRECTORY` keeps a picture of each page.
"""

from __future__ import annotations

import asyncio
import shlex
import sys
from pathlib import Path

import pytest
from playwright.async_api import Page

from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.testing.wheels import build_wheel
from tests.chromium import Chromium, log_in, picture
from tests.http.conftest import PASSWORD, Serve
from tests.http.pages import OrdinaryTexts, release

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

NEXT = IndexName("anna/next")


async def run(*words: str) -> None:
    """Run a program of this environment."""
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name(words[0])),
        *words[1:],
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()


async def test_a_newcomers_hour(serve: Serve, chromium: Chromium, tmp_path: Path) -> None:
    new = [build_wheel("demo", version) for version in ("1.0", "1.1")]
    for built in new:
        (tmp_path / built.filename).write_bytes(built.data)
    async with serve() as served, chromium.window(script=False) as window:
        await served.user("anna")
        live = await served.index("anna/live", acl_upload=("anna",), volatile=False)
        await release(served, live, "1.0", OrdinaryTexts())
        await served.engine.cataloguing.caught_up()
        page = await window.new_page()

        await page.goto(served.url)
        await picture(page, "home")
        await page.get_by_label("Find a project").fill("table")
        await page.get_by_role("button", name="Search").click()
        await picture(page, "search")
        await page.get_by_role("link", name="tables", exact=True).click()
        await picture(page, "project")
        assert "reads and writes tables" in await page.locator(".description").inner_text()
        lines = (await page.locator("pre").first.inner_text()).splitlines()
        line = next(each for each in lines if each.startswith("uv pip"))
        target = tmp_path / "target"
        await run(
            *shlex.split(line), "--no-deps", "--target", str(target), "--no-cache", "--python", sys.executable
        )  # fmt: skip
        assert list(target.glob("tables*"))
        await page.get_by_role("link", name="Why these files?").click()
        await picture(page, "why")
        assert "joins" in await page.locator(".layers").inner_text()

        await log_in(page, served.url, "anna", "wrong")
        await picture(page, "log-in-refused")
        assert "password" in await page.get_by_role("alert").inner_text()
        await page.get_by_label("Password").fill(PASSWORD)
        await page.get_by_role("button", name="Log in").click()
        await page.get_by_role("link", name="anna", exact=True).click()

        await page.get_by_role("link", name="New index").click()
        await page.get_by_label("Name", exact=True).fill("next")
        await page.get_by_label("bases").fill("anna/live")
        await page.get_by_role("button", name="Show what it does").click()
        await picture(page, "new-index")
        assert "anna/next → anna/live" in await page.locator(".effect").inner_text()
        await page.get_by_role("button", name="Make the index").click()
        assert page.url.partition("?")[0].endswith("/anna/next/+edit")

        await page.get_by_role("link", name="Upload", exact=True).click()
        await page.locator("#content").set_input_files(tmp_path / new[0].filename)
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

        await page.get_by_role("link", name="anna", exact=True).click()
        await page.get_by_label("Name", exact=True).fill("ci")
        await page.get_by_role("button", name="Make the token").click()
        await picture(page, "token")
        token = await page.locator("pre.secret").inner_text()
        await run(
            "twine", "upload", "--repository-url", f"{served.url}/{NEXT}/", "-u", "__token__", "-p", token,
            str(tmp_path / new[1].filename),
        )  # fmt: skip
        await page.goto(f"{served.url}/{NEXT}/+manage/demo")
        await yank(page, new[1].filename, "writes empty files")
        await picture(page, "yanked")
        stored = await served.engine.store.page(NEXT, ProjectName("demo"))
        assert stored is not None
        assert len(stored.rows) == 2

        cookie = {each["name"]: each for each in await window.cookies()}["pkgindex-login"]
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")
        await page.get_by_role("button", name="Log out").click()
        await page.goto(f"{served.url}/anna/+account")
        assert "Log in" in await page.title()
        assert not [each for each in await window.cookies() if each["name"] == "pkgindex-login"]


async def yank(page: Page, filename: str, reason: str) -> None:
    row = page.get_by_role("row").filter(has_text=filename)
    await row.get_by_text("Yank", exact=True).click()
    await row.get_by_label("Reason").fill(reason)
    await row.get_by_role("button", name=f"Yank {filename}").click()
    assert reason in await row.inner_text()
