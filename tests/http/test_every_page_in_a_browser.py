"""Every page in Chromium: no accessibility fault, no text of a stranger that runs, the same without script, and as wide as a phone.

`pages` lists the pages, and the first test holds its list against the table of routes.
`PKGINDEX_TEST_PICTURES=DIRECTORY` keeps a picture of each page: light, dark and on a phone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import count, cycle
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import pytest
from playwright.async_api import BrowserContext, Page

from pkgindex_http.routes import ROUTES
from tests.chromium import PHONE, Chromium, log_in, picture
from tests.conftest import Tally
from tests.http.browsing import Browser
from tests.http.conftest import PASSWORD, MirroredStart, Served
from tests.http.pages import (
    DEV,
    ERRORS,
    INSTALLERS,
    OF_STRANGERS,
    PAGES,
    PLACES,
    OrdinaryTexts,
    full_server,
    release,
)
from tests.http.payloads import CANARY, PAYLOADS

pytestmark = pytest.mark.asyncio(loop_scope="session")

LISTED: Final = [path for paths in PAGES.values() for path in paths]
SHOWN: Final = [*LISTED, *ERRORS, *(path for paths in INSTALLERS.values() for path in paths)]
KINDS: Final = ("text/markdown", "text/x-rst", "text/plain", "text/html")
"""The kinds of descriptions. The last is none that is rendered."""
CLOSED: Final = "\n\n</script></style></textarea></title></select></noscript>-->]]>?>\n\n"
"""Between two payloads of a description: it ends what the first has left open, which would swallow the second."""
LONG: Final = bool(os.environ.get("PKGINDEX_TEST_PAYLOADS"))
ATTACKED: Final = """() => {
  const found = window.ran === undefined ? [] : [`ran ${window.ran}`];
  const ours = new Set(["/+search.js"]);
  for (const each of document.querySelectorAll("script, iframe, object, embed, base, style, img, image, video, audio, meta[http-equiv]"))
    if (each.localName !== "script" || !ours.has(new URL(each.src || "x:").pathname)) found.push(each.outerHTML);
  for (const each of document.querySelectorAll("*"))
    for (const { name, value } of each.attributes) {
      if (name.startsWith("on") || name === "style" || name === "srcdoc") found.push(each.outerHTML);
      if (["href", "src", "action", "formaction", "xlink:href", "data", "srcset"].includes(name)) {
        const url = URL.parse(value, document.baseURI);
        if (!url || !["http:", "https:", "mailto:"].includes(url.protocol)) found.push(each.outerHTML);
      }
    }
  return found.map(each => each.slice(0, 300));
}"""
"""What a page has that could run or be loaded, and that is not its own."""


class HostileTexts:
    """Payloads in every field. Each field begins with another one, so that each gets all of them in turn."""

    def __init__(self, start: int, *, kind: str = "") -> None:
        """25 payloads from `start` on: all of them in the fields that have several texts, and what fits into 250 characters elsewhere.

        `kind`: of the description, which then has all payloads.
        """
        self._start = start
        self._kind = kind
        self._fields: Iterator[int] = count()

    def one(self, field: str) -> str:
        if field == "description":
            return CLOSED.join(PAYLOADS) if self._kind else ""
        if field == "description_content_type":
            return self._kind
        chosen = self._chosen()
        text = chosen[0]
        for each in chosen[1:]:
            text = f"{text} {each}" if len(text) + len(each) < 250 else text
        return text

    def several(self, field: str) -> Sequence[str]:
        chosen = self._chosen()
        if field == "project_urls":
            return [f"{each}, {each}" for each in chosen] + [f"x, {each}" for each in chosen]
        if field == "member":
            return [each for each in chosen if each.isprintable() and "\\" not in each and "//" not in each]
        return chosen

    def _chosen(self) -> list[str]:
        start = self._start + 7 * next(self._fields)
        return [PAYLOADS[(start + each) % len(PAYLOADS)] for each in range(25)]


class Watched:
    """A page of which nothing foreign may run or be loaded."""

    def __init__(self, page: Page, served: Served) -> None:
        self.page = page
        self.url = served.url
        self.happened: list[str] = []

    @classmethod
    async def opened(cls, window: BrowserContext, served: Served) -> Watched:
        """A new page of a window."""
        watched = cls(await window.new_page(), served)
        watched.page.on("dialog", watched._dialog)
        watched.page.on("request", watched._request)
        watched.page.on("console", watched._said)
        return watched

    async def check(self, where: str) -> None:
        """Raise if something ran, was loaded, or is there to be clicked."""
        found = await self.page.evaluate(ATTACKED)
        assert not found, (where, found)
        assert not self.happened, (where, self.happened)

    async def show(self, path: str) -> None:
        """Go to a page, and check it."""
        await self.page.goto(f"{self.url}{path}", wait_until="load")
        await self.check(path)

    async def _dialog(self, dialog: Any) -> None:
        self.happened.append(f"dialog {dialog.message}")
        await dialog.dismiss()

    def _request(self, request: Any) -> None:
        if not request.url.startswith(f"{self.url}/"):
            self.happened.append(f"request {request.url}")

    def _said(self, message: Any) -> None:
        if "Content Security Policy" in message.text:
            self.happened.append(message.text)


async def test_the_list_has_every_page(mirrored: MirroredStart) -> None:
    """Each URL that gives a browser a page is in one of the lists, and each listed path gives one."""
    async with full_server(mirrored, OrdinaryTexts()) as served:
        browser = Browser(served)
        await browser.log_in("root")
        found = set()
        for route in ROUTES:
            if route.method != "GET":
                continue
            path = route.path.removesuffix("[/]")
            for name, value in PLACES.items():
                path = path.replace(f"{{{name}}}", value)
            path = path.replace("{", "").replace("}", "")
            seen = await browser.get(path)
            if seen.url != f"{served.url}{path}":  # a redirect
                continue
            is_page = any(each.people for each in (route, *route.variants)) and "+feed" not in path
            if is_page or (seen.status == 200 and seen.headers["Content-Type"].startswith("text/html")):
                found.add(route.path)
        assert found == {*PAGES, *INSTALLERS, *OF_STRANGERS}
        for path in SHOWN:
            seen = await browser.get(path)
            assert seen.headers["Content-Type"].startswith("text/html"), path
            assert (seen.status >= 400) == (path in ERRORS or path.endswith("depends:")), (path, seen.status)


async def test_no_page_has_an_accessibility_fault(chromium: Chromium, mirrored: MirroredStart, tally: Tally) -> None:
    """axe-core finds nothing serious, light and dark, and no page is wider than a phone.

    A policy with `sandbox`, as pages for installers have it, would stop axe-core. No other test goes on without the policies of pages.
    """
    from axe_playwright_python import base

    axe = Path(base.__file__).with_name("axe.min.js").read_text()
    async with full_server(mirrored, OrdinaryTexts()) as served, chromium.window(policy=False) as window:
        page = await window.new_page()
        await log_in(page, served.url, "root", PASSWORD)
        faults: list[str] = []
        for path in SHOWN:
            await page.goto(f"{served.url}{path}")
            await page.evaluate(axe)
            for scheme in ("light", "dark"):
                await page.emulate_media(color_scheme=scheme)
                faults += [f"{path}, {scheme}: {each}" for each in await page.evaluate(SERIOUS, scheme)]
            await page.set_viewport_size({"width": PHONE, "height": 800})
            width = await page.evaluate("document.documentElement.scrollWidth")
            if width > PHONE:
                faults.append(f"{path}: {width} pixels wide on a phone")
            await page.set_viewport_size({"width": 1280, "height": 800})
            tally("pages that axe-core has looked at", 1)
        assert not faults, "\n".join(faults)


SERIOUS: Final = """async scheme => {
  const options = { resultTypes: ["violations"], ...(scheme === "dark" ? { runOnly: ["color-contrast"] } : {}) };
  const { violations } = await axe.run(document, options);
  return violations.filter(each => ["serious", "critical"].includes(each.impact))
    .map(each => `${each.impact} ${each.id}: ${each.nodes.slice(0, 3).map(node => node.html.slice(0, 150)).join("; ")}`);
}"""
"""The serious faults of a page. In the dark only the colours are others."""


async def test_no_text_of_a_stranger_runs(chromium: Chromium, mirrored: MirroredStart, tally: Tally) -> None:
    """Payloads in every field, on every page, with the policies of pages and without: nothing is an element, runs or is loaded."""
    batches = range(0, len(PAYLOADS), 25)
    async with full_server(mirrored, HostileTexts(0)) as served:
        versions = []
        for number, start in enumerate(batches):
            versions.append(f"2.{number}")
            kind = KINDS[number] if number < len(KINDS) else ""
            await release(served, DEV, versions[-1], HostileTexts(start, kind=kind))
        for policy in (True, False):
            async with chromium.window(policy=policy) as window:
                watched = await Watched.opened(window, served)
                await log_in(watched.page, served.url, "root", PASSWORD)
                for path in [*SHOWN, *(f"/anna/dev/tables/{version}" for version in versions)]:
                    await watched.show(path)
                    tally("pages with payloads", 1)
        tally("payloads", len(PAYLOADS))


async def test_no_text_of_a_form_or_a_url_runs(chromium: Chromium, mirrored: MirroredStart, tally: Tally) -> None:
    """Each text field of each form, and the parts and the query of URLs, send a payload back to the page that answers."""
    payloads = cycle(PAYLOADS)
    async with full_server(mirrored, OrdinaryTexts()) as served, chromium.window(policy=False) as window:
        watched = await Watched.opened(window, served)
        await log_in(watched.page, served.url, "root", PASSWORD)
        for path in LISTED:
            values = {name: next(payloads) for name in ("q", "after", "to", "said", "back", "page", "project", "index", "no")}
            await watched.show(f"{path.partition('?')[0]}?{urlencode(values)}")
            await watched.show(f"{path.partition('?')[0]}/{quote(next(payloads), safe='')}")
            await watched.page.goto(f"{served.url}{path}")
            for number in reversed(range(await watched.page.locator(FORMS).count())):  # a form may end itself
                await watched.page.goto(f"{served.url}{path}")
                async with watched.page.expect_navigation():
                    await watched.page.locator(FORMS).nth(number).evaluate(SEND, next(payloads))
                await watched.check(f"{path}, form {number}")
                tally("forms with payloads", 1)


FORMS: Final = "form:has(input:not([type=hidden]):not([type=file]))"
SEND: Final = """(form, text) => {
  for (const field of form.querySelectorAll("input:not([type=hidden]):not([type=file]):not([type=checkbox]), textarea")) {
    field.type = "text";
    field.value = text;
  }
  form.noValidate = true;
  form.requestSubmit(form.querySelector("button"));
}"""
