"""The pages to read in Chromium: a newcomer finds a package and installs it, and no text of a stranger runs.

`PKGINDEX_TEST_PICTURES=DIRECTORY` keeps a picture of each page.
"""

from __future__ import annotations

import asyncio
import shlex
import shutil
import sys
from pathlib import Path

from pkgindex_core.changes import PutProject, PutRelease, YankFile
from pkgindex_core.formats.version_documents import KEYS, LISTS, encode_metadata
from pkgindex_core.models import PageHead, Release
from pkgindex_core.testing.wheels import BuiltFile
from tests.http.conftest import HOSTED, Serve
from tests.http.test_working_in_a_browser import DEMO, chromium, picture

CALLS = ("alert(1)", "document.title='run'")
SHAPES = (
    "<script>{}</script>", "<img src=x onerror={}>", "<svg onload={}>", "<svg><script>{}</script></svg>", "<iframe srcdoc='<script>{}</script>'></iframe>",
    '"><script>{}</script>', "'><img src=x onerror={}>", '" autofocus onfocus="{}', "' autofocus onfocus='{}", "</title><script>{}</script>",
    "</textarea><script>{}</script>", "<details open ontoggle={}>", "<a href=javascript:{}>x</a>", "[x](javascript:{})", "[x](data:text/html,<script>{}</script>)",
    "![x](x){{onerror={}}}", "`x <javascript:{}>`_", ".. raw:: html\n\n   <script>{}</script>\n", "<math><mtext><style><img src=x onerror={}></style>", "<body onload={}>",
)  # fmt: skip
PAYLOADS = [shape.format(call) for shape in SHAPES for call in CALLS]
KINDS = ("text/markdown", "text/x-rst", "text/plain", "", "text/html")
"""All payloads in five kinds of a description are 200 descriptions."""


async def test_no_text_of_a_stranger_runs(serve: Serve, wheel: BuiltFile) -> None:
    """Each payload in every field of the metadata and in each kind of description: no dialog, no element, no title of its own."""
    async with serve() as served, chromium() as window:
        everything = "\n\n".join(PAYLOADS)
        index = await served.index("root/odd", title=everything, description=everything, custom_data=everything)
        await served.put(wheel, index=index, provenance="javascript:alert(1)", requires_python=PAYLOADS[0])
        head = PageHead(display_name="demo", status="archived", status_reason=everything)
        page = await window.new_page()
        ran: list[str] = []
        page.on("dialog", lambda dialog: ran.append(dialog.message))
        yank = YankFile(index, DEMO, wheel.filename, everything)
        await served.engine.store.apply([PutProject(index, DEMO, head), yank], who="[test]")
        for kind in KINDS:
            values: dict[str, object] = {key: PAYLOADS if key in LISTS else everything for key in KEYS}
            values |= {
                "version": "1.0",
                "description_content_type": kind,
                "project_urls": [f"{each}, javascript:{each}" for each in PAYLOADS],
            }
            release = Release(version="1.0", metadata=encode_metadata(values))
            await served.engine.store.apply([PutRelease(index, DEMO, release)], who="[test]")
            for path in ("/root/odd/demo", "/root/odd/demo/1.0"):
                await page.goto(f"{served.url}{path}")
                assert await page.title() not in {"run", ""}, (kind, path)
                assert (
                    await page.locator("script, img, svg, iframe, math, [onerror], [onload], [onfocus]").count() == 0
                ), kind
                assert await page.locator('a[href^="javascript:"], a[href^="data:"]').count() == 0, kind
                assert "alert(1)" in await page.locator("body").inner_text()
        for path in (
            "/",
            "/root/odd",
            "/root/odd?q=%3Cscript%3Ealert(1)%3C/script%3E",
            "/+explain?project=demo&index=root/odd",
        ):
            await page.goto(f"{served.url}{path}")
            assert await page.locator("script, img, svg, iframe").count() == 0, path
        assert not ran


async def test_a_newcomer_finds_reads_and_installs_a_package(serve: Serve, tmp_path: Path, wheel: BuiltFile) -> None:
    """Without script, by links alone; the line of the page installs the package with uv."""
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    async with serve() as served, chromium(script=False) as window:
        await served.put(wheel)
        metadata = encode_metadata(
            {
                "name": "demo",
                "version": "1.0",
                "summary": "A demonstration",
                "description": "# Demo\n\nUse it.\n\n```python\nimport demo\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n",
                "description_content_type": "text/markdown",
                "requires_python": ">=3.9",
                "license_expression": "MIT",
                "author": "Anna",
                "requires_dist": ["packaging>=20"],
                "project_urls": ["Source, https://example.com/"],
                "classifiers": ["Programming Language :: Python :: 3"],
            }
        )
        await served.engine.store.apply(
            [PutRelease(HOSTED, DEMO, Release(version="1.0", metadata=metadata))], who="[test]"
        )
        await served.engine.cataloguing.caught_up()
        page = await window.new_page()
        await page.goto(served.url)
        await picture(page, "home")
        await page.get_by_role("link", name="root/dev").click()
        await picture(page, "index")
        await page.get_by_label("Find a project", exact=True).fill("dem")
        await page.get_by_role("button", name="Search").click()
        await page.get_by_role("link", name="demo", exact=True).click()
        await picture(page, "project")
        assert "Use it." in await page.locator(".description").inner_text()
        lines = (await page.locator("pre").first.inner_text()).splitlines()
        line = next(each for each in lines if each.startswith("uv pip"))
        target = tmp_path / "target"
        words = [uv, *shlex.split(line)[1:], "--target", str(target), "--no-cache", "--python", sys.executable]
        process = await asyncio.create_subprocess_exec(
            *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said, _ = await process.communicate()
        assert process.returncode == 0, said.decode()
        assert list(target.glob("demo*"))
        await page.get_by_role("link", name="Why these files?").click()
        await picture(page, "why")
        assert "joins" in await page.locator(".layers").inner_text()
        await page.set_viewport_size({"width": 390, "height": 800})
        await page.goto(f"{served.url}/root/dev/demo")
        await picture(page, "project-phone")
        assert await page.evaluate("document.documentElement.scrollWidth") <= 390
