"""Documentation in a real browser: a manual works, and its scripts reach nothing that belongs to the reader."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from pkgindex_core.changes import PutAttachment, PutIndex, PutProject
from pkgindex_core.clock import Timestamp
from pkgindex_core.models import Attachment, IndexConfig, PageHead
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.testing.wheels import zip_of
from tests.chromium import Chromium
from tests.http.conftest import HOSTED, PASSWORD, Serve, Served, serve

__all__ = ["serve"]

pytestmark = [pytest.mark.clients, pytest.mark.asyncio(loop_scope="session")]

PAGE = "<!DOCTYPE html><html><head><link rel=stylesheet href=style.css></head><body><pre id=told></pre>{}</body></html>"
TELL = "const tell = value => document.getElementById('told').textContent = JSON.stringify(value);"

# What a hostile page would try: everything that could read another page, and what it would need to act as the reader.
SPY = (
    """
// Without the password that the page's own URL has, which no script may use.
const here = location.protocol + "//" + location.host;
const tried = {origin: String(window.origin)};
const attempt = async (name, act) => { try { tried[name] = String(await act()); } catch (error) { tried[name] = "refused"; } };
(async () => {
  for (const place of ["/+live", "/root/dev/+simple/", "/root/private/+simple/", "/root/dev/demo/1.0/+doc/"]) {
    const path = here + place;
    await attempt("fetch " + place, async () => (await fetch(path, {credentials: "include"})).text());
    await attempt("no-cors " + place, async () => (await fetch(path, {mode: "no-cors"})).type);
    await attempt("xhr " + place, () => { const asked = new XMLHttpRequest(); asked.open("GET", path, false); asked.send(); return asked.responseText; });
  }
  await attempt("cookie", () => { document.cookie = "a=b"; return document.cookie; });
  await attempt("frame", () => new Promise((done, fail) => {
    const frame = document.createElement("iframe");
    frame.src = here + "/root/dev/+simple/"; frame.onload = () => { try { done(frame.contentDocument.body.textContent); } catch (error) { fail(error); } };
    document.body.append(frame); setTimeout(fail, 2000); }));
  await attempt("worker", () => new Worker(here + "/root/dev/demo/latest/+doc/script.js"));
  await attempt("database", () => indexedDB.open("x"));
  tell(tried);
})();
"""
    + TELL
)

MANUAL = (
    TELL
    + """
localStorage.setItem("theme", "dark");
const loaded = document.createElement("script");
loaded.src = "script.js";
fetch("script.js").then(answer => answer.text()).then(text => document.title = text).then(() => document.head.append(loaded));
loaded.onload = () => tell({
  theme: localStorage.getItem("theme"), missing: localStorage.getItem("other"), length: localStorage.length,
  excerpt: document.title, script: window.answer, style: getComputedStyle(document.body).color, query: new URLSearchParams(location.search).get("q")});
"""
)

FORM = """
const form = document.createElement("form");
form.method = "POST"; form.action = location.protocol + "//" + location.host + "/root/dev/"; form.enctype = "multipart/form-data";
for (const [name, value] of Object.entries({":action": "doc_upload", name: "evil", version: "1.0"})) {
  const field = document.createElement("input"); field.name = name; field.value = value; form.append(field);
}
document.body.append(form);
form.submit();
"""


async def told(chromium: Chromium, url: str) -> Any:
    """What the scripts of a page tell."""
    async with chromium.window() as window:
        page = await window.new_page()
        await page.goto(url)
        await page.locator("#told:not(:empty)").wait_for()
        return json.loads(await page.locator("#told").inner_text())


async def put(served: Served, index: IndexName, script: str) -> str:
    """Documentation with a script in it; the path of its front page."""
    data = zip_of(
        {
            "index.html": PAGE.format(f"<script>{script}</script>").encode(),
            "script.js": b"window.answer = 42;",
            "style.css": b"body { color: rgb(1, 2, 3) }",
        }
    )
    project = ProjectName("demo")
    blob = await served.engine.blobs.put(data)
    attachment = Attachment(
        kind="doczip",
        filename="demo-1.0.doc.zip",
        version="1.0",
        sha256=blob.sha256,
        size=blob.size,
        added=Timestamp(1),
    )
    changes = [PutProject(index, project, PageHead()), PutAttachment(index, project, attachment)]
    await served.engine.store.apply(changes, who="[test]")
    return f"/{index}/demo/latest/+doc/"


def with_password(served: Served) -> str:
    """The server's URL as a browser remembers a password with."""
    return served.url.replace("://", f"://root:{quote(PASSWORD)}@")


async def test_a_manual_works(serve: Serve, chromium: Chromium) -> None:
    """Its scripts, styles and storage, and the query that its search field sends."""
    async with serve() as served:
        path = await put(served, HOSTED, MANUAL)
        assert await told(chromium, f"{served.url}{path}?q=needle") == {
            "theme": "dark",
            "missing": None,
            "length": 1,
            "excerpt": "window.answer = 42;",
            "script": 42,
            "style": "rgb(1, 2, 3)",
            "query": "needle",
        }


@pytest.mark.parametrize("private", [False, True])
async def test_a_script_reads_no_other_page(serve: Serve, chromium: Chromium, private: bool) -> None:
    """With a password in the browser, on a public index and on a private one: nothing of the server is read by any means."""
    async with serve() as served:
        config = IndexConfig(name=IndexName("root/private"), acl_read=("root",))
        await served.engine.store.apply([PutIndex(config)], who="[test]")
        await put(served, HOSTED, SPY)
        path = await put(served, config.name if private else HOSTED, SPY)
        tried = await told(chromium, with_password(served) + path)
        assert tried.pop("origin") == "null"
        assert len(tried) == 16
        assert set(tried.values()) == {"refused"}, tried


async def test_a_script_changes_nothing_with_the_readers_password(serve: Serve, chromium: Chromium) -> None:
    async with serve() as served, chromium.window() as window:
        path = await put(served, HOSTED, FORM)
        page = await window.new_page()
        await page.goto(with_password(served) + path)
        await page.get_by_text("page of another site").wait_for()
        assert [row.name for row in await served.engine.store.projects(HOSTED)] == ["demo"]
