"""Every page in Chromium: no accessibility fault, no wider than a phone, and no text of a stranger that runs.

`pages` lists the pages, and the first test holds its list against the table of routes.
`PKGINDEX_TEST_PAGES=1` looks at each page in all its states, and tries each payload alone in each field and each kind of a description.
`PKGINDEX_TEST_PICTURES=DIRECTORY` keeps a picture of each page: light, dark and on a phone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from importlib.resources import files
from itertools import count, cycle
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
from tests.http.payloads import PAYLOADS

IS_LONG: Final = bool(os.environ.get("PKGINDEX_TEST_PAGES"))
pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(7200 if IS_LONG else 600)]

LISTED: Final = [path for paths in PAGES.values() for path in paths]
SHOWN: Final = [*LISTED, *ERRORS, *(path for paths in INSTALLERS.values() for path in paths)]
FIRST: Final = [paths[0] for paths in (*PAGES.values(), *INSTALLERS.values())]
REFUSED: Final = "depends:"
"""The end of a search that is no query."""


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
            is_redirect = seen.url != f"{served.url}{path}"
            is_page = seen.headers["Content-Type"].startswith("text/html")
            if not is_redirect and is_page and (seen.status == 200 or _is_for_people(route)):
                found.add(route.path)
        assert found == {*PAGES, *INSTALLERS, *OF_STRANGERS}
        for path in SHOWN:
            seen = await browser.get(path)
            assert seen.headers["Content-Type"].startswith("text/html"), path
            assert (seen.status >= 400) == (path in ERRORS or path.endswith(REFUSED)), (path, seen.status)


def _is_for_people(route: Any) -> bool:
    return any(each.people for each in (route, *route.variants))


SERIOUS: Final = """async options => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"], ...options });
  return violations.filter(each => ["serious", "critical"].includes(each.impact))
    .map(each => `${each.impact} ${each.id}: ${each.nodes.slice(0, 3).map(node => node.html.slice(0, 150)).join("; ")}`);
}"""
"""The serious faults of a page."""


async def test_no_page_has_an_accessibility_fault(chromium: Chromium, mirrored: MirroredStart, tally: Tally) -> None:
    """axe-core finds nothing serious, light and dark, and no page is wider than a phone.

    A policy with `sandbox`, as pages for installers have it, would stop axe-core, so this window goes on without policies.
    """
    axe = files("axe_playwright_python").joinpath("axe.min.js").read_text()
    faults: list[str] = []
    async with full_server(mirrored, OrdinaryTexts()) as served, chromium.window(policy=False) as window:
        page = await window.new_page()

        async def look(name: str) -> None:
            await page.evaluate(axe)
            faults.extend(f"{name}: {each}" for each in await page.evaluate(SERIOUS, {}))
            await picture(page, f"{name}-light")
            await page.emulate_media(color_scheme="dark")
            colours = {"runOnly": ["color-contrast"]}
            faults.extend(f"{name} in the dark: {each}" for each in await page.evaluate(SERIOUS, colours))
            await picture(page, f"{name}-dark")
            await page.emulate_media(color_scheme="light")
            await page.set_viewport_size({"width": PHONE, "height": 800})
            width = await page.evaluate("document.documentElement.scrollWidth")
            faults.extend([f"{name}: {width} pixels wide on a phone"] if width > PHONE else [])
            await picture(page, f"{name}-phone")
            await page.set_viewport_size({"width": 1280, "height": 800})
            tally("pages that axe-core has looked at", 1)

        await log_in(page, served.url, "root", "wrong")
        await look("log-in-refused")
        await log_in(page, served.url, "root", PASSWORD)
        for path in SHOWN if IS_LONG else [*FIRST, ERRORS[0]]:
            await page.goto(f"{served.url}{path}")
            await look(path.replace("/", "_"))
        await page.goto(f"{served.url}/anna/dev/+edit")
        await page.get_by_label("bases").fill("anna/live")
        await page.get_by_role("button", name="Show what it does").click()
        await look("effect")
        await page.goto(f"{served.url}/anna/dev/+upload")
        await page.locator("#content").set_input_files({"name": "no-wheel.whl", "mimeType": "x/x", "buffer": b"x"})
        await page.get_by_role("button", name="Upload").click()
        await look("upload-refused")
        await page.goto(f"{served.url}/anna/+account")
        await page.get_by_role("button", name="Make the token").click()
        await look("token")
    assert not faults, "\n".join(faults)


KINDS: Final = ("text/markdown", "text/x-rst", "text/plain", "text/html")
"""The kinds of descriptions. The last is none that is rendered."""
AT_ONCE: Final = 1 if IS_LONG else 25
"""How many payloads a field has that can have several texts."""
CLOSED: Final = "\n\n</script></style></textarea></title></select></noscript>-->]]>?>\n\n"
"""Between two payloads of a description: it ends what the first has left open, which would swallow the second."""


class HostileTexts:
    """Payloads in every field. Each field begins with another one, so that it gets others of them than its neighbour."""

    def __init__(self, start: int, *, kind: str = "") -> None:
        """`AT_ONCE` payloads from `start` on in fields with several texts, and as many of them as 250 characters have room for in others.

        `kind`: of the description. It has all payloads, and none without a kind.
        """
        self._start = start
        self._kind = kind
        self._fields: Iterator[int] = count()

    def one(self, field: str) -> str:
        chosen = self._chosen()
        if field == "description_content_type":
            return self._kind
        if field == "description":
            return CLOSED.join(chosen if IS_LONG else PAYLOADS) if self._kind else ""
        text = chosen[0]
        for each in chosen[1:]:
            text = f"{text} {each}" if len(text) + len(each) < 250 else text
        return text

    def several(self, field: str) -> Sequence[str]:
        chosen = self._chosen()
        if field == "project_urls":
            return [url for each in chosen for url in (f"{each}, {each}", f"x, {each}")]
        if field == "member":  # what a path in a wheel may be
            return [each for each in chosen if each.isprintable() and "\\" not in each and "//" not in each]
        return chosen

    def _chosen(self) -> list[str]:
        start = self._start + 7 * next(self._fields)
        return [PAYLOADS[(start + each) % len(PAYLOADS)] for each in range(AT_ONCE)]


ATTACKED: Final = """() => {
  const found = window.ran === undefined ? [] : [`ran ${window.ran}`];
  for (const each of document.querySelectorAll("script, iframe, object, embed, base, style, img, image, video, audio, meta[http-equiv]"))
    if (each.localName !== "script" || new URL(each.src || "x:").pathname !== "/+search.js") found.push(each.outerHTML);
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
"""What has run, and what a page has that could run or be loaded and is not its own."""


class Watched:
    """A page of which nothing foreign may run or be loaded."""

    def __init__(self, page: Page, served: Served) -> None:
        self.page = page
        self.url = served.url
        self.happened: list[str] = []

    @classmethod
    async def opened(cls, window: BrowserContext, served: Served) -> Watched:
        """A new page of a window, in which `root` has logged in."""
        watched = cls(await window.new_page(), served)
        watched.page.on("dialog", watched._dialog)
        watched.page.on("request", watched._request)
        watched.page.on("console", watched._said)
        await log_in(watched.page, served.url, "root", PASSWORD)
        return watched

    async def show(self, path: str) -> None:
        """Go to a page, and check it."""
        await self.page.goto(f"{self.url}{path}")
        await self.check(path)

    async def check(self, where: str) -> None:
        """Raise if something ran, was loaded or refused by a policy, or is there to be clicked."""
        found = [*self.happened, *await self.page.evaluate(ATTACKED)]
        assert not found, (where, found)

    async def _dialog(self, dialog: Any) -> None:
        self.happened.append(f"dialog {dialog.message}")
        await dialog.dismiss()

    def _request(self, request: Any) -> None:
        if not request.url.startswith(f"{self.url}/"):
            self.happened.append(f"request {request.url}")

    def _said(self, message: Any) -> None:
        if "Content Security Policy" in message.text:
            self.happened.append(message.text)


async def test_no_text_of_a_stranger_runs(chromium: Chromium, mirrored: MirroredStart, tally: Tally) -> None:
    """Payloads in every field, on every page: nothing is an element, runs or is loaded, although no policy of a page counts."""
    async with full_server(mirrored, HostileTexts(0)) as served:
        paths = list(SHOWN)
        for number, start in enumerate(range(0, len(PAYLOADS), AT_ONCE)):
            for kind in KINDS if IS_LONG else [*KINDS, *[""] * len(PAYLOADS)][number : number + 1]:
                version = f"4.{len(paths)}"
                await release(served, DEV, version, HostileTexts(start, kind=kind))
                paths += [
                    f"/anna/dev/tables/{version}",
                    f"/anna/dev/tables/{version}/tables-{version}-py3-none-any.whl",
                ]
        async with chromium.window(policy=False) as window:
            watched = await Watched.opened(window, served)
            for path in paths:
                await watched.show(path)
                tally("pages with payloads", 1)
                if path.startswith("/anna/dev/tables/4") and path.endswith(".whl"):
                    await watched.page.locator('a[href^="?member="]').first.click()
                    await watched.check(f"the first member of {path}")
        tally("payloads", len(PAYLOADS))


FORMS: Final = "form:has(input:not([type=hidden]):not([type=file]))"
SEND: Final = """(form, text) => {
  for (const field of form.querySelectorAll("input:not([type=hidden]):not([type=file]):not([type=checkbox]), textarea")) {
    field.type = "text";
    field.value = text;
  }
  form.noValidate = true;
  form.requestSubmit(form.querySelector("button"));
}"""


async def test_no_text_of_a_form_or_a_url_runs(chromium: Chromium, mirrored: MirroredStart, tally: Tally) -> None:
    """Each text field of each form, the parts and the query of URLs send a payload to the page that answers, whose policy has nothing to refuse."""
    payloads = cycle(PAYLOADS)
    queries = ("q", "after", "to", "from", "said", "back", "page", "project", "index", "member")
    async with full_server(mirrored, OrdinaryTexts()) as served, chromium.window() as window:
        watched = await Watched.opened(window, served)
        for path in ("/{}", "/anna/{}", "/anna/dev/{}", "/anna/dev/tables/{}", "/+at/{}/anna/dev/+simple/"):
            await watched.show(path.format(quote(next(payloads), safe="")))
        for path, *_ in PAGES.values():
            await watched.show(f"{path.partition('?')[0]}?{urlencode({name: next(payloads) for name in queries})}")
            for number in reversed(range(await watched.page.locator(FORMS).count())):  # a form may end itself
                await watched.page.goto(f"{served.url}{path}")
                form = watched.page.locator(FORMS).nth(number)
                if not await form.count():  # only the page of an error has it
                    continue
                async with watched.page.expect_navigation():
                    await form.evaluate(SEND, next(payloads))
                await watched.check(f"{path}, form {number}")
                tally("forms with payloads", 1)
