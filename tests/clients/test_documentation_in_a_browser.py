"""Documentation in a real browser: a manual works, and its scripts reach nothing that belongs to the reader."""

from __future__ import annotations

import asyncio
import html
import json
import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from pkgindex_core.changes import PutAttachment, PutIndex, PutProject
from pkgindex_core.clock import Timestamp
from pkgindex_core.models import Attachment, IndexConfig, PageHead
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.testing.wheels import zip_of
from tests.http.conftest import HOSTED, PASSWORD, Serve, Served, serve

__all__ = ["serve"]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.clients,
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: nothing shows how a browser treats documentation"),
]

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


async def browse(url: str, profile: Path) -> str:
    """The document that a browser has made of a page, once its scripts have run."""
    assert CHROMIUM is not None
    process = await asyncio.create_subprocess_exec(
        CHROMIUM,
        "--headless=new",
        "--no-sandbox",  # the browser's own, which needs rights that a container lacks; not the one that is tested
        "--disable-gpu",
        "--disable-background-networking",
        "--no-first-run",
        f"--user-data-dir={profile}",
        "--virtual-time-budget=10000",
        "--dump-dom",
        url,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), 60)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    return out.decode()


def told(document: str) -> Any:
    found = re.search(r"<pre id=\"told\">(.*?)</pre>", document, re.DOTALL)
    assert found is not None, document
    assert found[1], document
    return json.loads(html.unescape(found[1]))


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


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    return tmp_path / "profile"


async def test_a_manual_works(serve: Serve, profile: Path) -> None:
    """Its scripts, styles and storage, and the query that its search field sends."""
    async with serve() as served:
        path = await put(served, HOSTED, MANUAL)
        assert told(await browse(f"{served.url}{path}?q=needle", profile)) == {
            "theme": "dark",
            "missing": None,
            "length": 1,
            "excerpt": "window.answer = 42;",
            "script": 42,
            "style": "rgb(1, 2, 3)",
            "query": "needle",
        }


@pytest.mark.parametrize("private", [False, True])
async def test_a_script_reads_no_other_page(serve: Serve, profile: Path, private: bool) -> None:
    """With a password in the browser, on a public index and on a private one: nothing of the server is read by any means."""
    async with serve() as served:
        config = IndexConfig(name=IndexName("root/private"), acl_read=("root",))
        await served.engine.store.apply([PutIndex(config)], who="[test]")
        await put(served, HOSTED, SPY)
        path = await put(served, config.name if private else HOSTED, SPY)
        tried = told(await browse(with_password(served) + path, profile))
        assert tried.pop("origin") == "null"
        assert len(tried) == 16
        assert set(tried.values()) == {"refused"}, tried


async def test_a_script_changes_nothing_with_the_readers_password(serve: Serve, profile: Path) -> None:
    async with serve() as served:
        path = await put(served, HOSTED, FORM)
        document = await browse(with_password(served) + path, profile)
        assert "page of another site" in document
        assert [row.name for row in await served.engine.store.projects(HOSTED)] == ["demo"]
