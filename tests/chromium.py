"""Debian's Chromium: one browser for all tests of a process, and a window of its own for each test.

    pytestmark = pytest.mark.asyncio(loop_scope="session")    # the loop of the browser

    async def test_a_page(chromium: Chromium) -> None:
        async with chromium.window(script=False) as window:
            page = await window.new_page()

`PKGINDEX_TEST_PICTURES=DIRECTORY` keeps a picture of each page that a test calls `picture` for.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, Page

PHONE = 390
"""The width of a phone, in pixels."""


class Chromium:
    """The browser."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser

    @asynccontextmanager
    async def window(
        self, *, script: bool = True, dark: bool = False, width: int = 1280, policy: bool = True
    ) -> AsyncIterator[BrowserContext]:
        """A window without cookies. `policy`: whether the content security policies of pages count."""
        context = await self._browser.new_context(
            java_script_enabled=script,
            color_scheme="dark" if dark else "light",
            viewport={"width": width, "height": 800},
            bypass_csp=not policy,
        )
        try:
            yield context
        finally:
            await context.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Chromium]:
    """The browser, started once. Where it is missing tests are skipped; in CI they fail."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("Chromium is not installed")
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        # The browser's own sandbox needs rights that a container lacks. No test is about it.
        browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield Chromium(browser)
        finally:
            await browser.close()


async def log_in(page: Page, url: str, name: str, password: str) -> None:
    """Log in by the form of the server at this URL."""
    await page.goto(f"{url}/+login")
    await page.get_by_label("User name").fill(name)
    await page.get_by_label("Password").fill(password)
    await page.get_by_role("button", name="Log in").click()


async def picture(page: Page, name: str) -> None:
    """Keep a picture of a page, if somebody wants to look at it."""
    if directory := os.environ.get("PKGINDEX_TEST_PICTURES"):
        await page.screenshot(path=f"{directory}/{name}.png", full_page=True)
