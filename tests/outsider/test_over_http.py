"""The whole way with an outsider's plugin: its store keeps what twine uploads, its check refuses, its filter hides."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from pkgindex_core.testing.wheels import BuiltFile, build_wheel

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def url(outsider_site: Path, tmp_path: Path) -> AsyncIterator[str]:
    """A server process that was installed beside the plugin and keeps its blobs in the plugin's store."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pkgindex_http.cli", "run", "--data", tmp_path / "data", "--port", "0",
        "--upstream", "http://127.0.0.1:1/simple/", "--blobs", f"outsider://{tmp_path / 'theirs'}",
        env={"PYTHONPATH": str(outsider_site), "PATH": "/usr/bin:/bin"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 60)
        assert line.startswith(b"http://")
        yield line.decode().strip().rstrip("/")
    finally:
        process.kill()
        await process.wait()


async def upload(url: str, password: str, built: BuiltFile) -> tuple[int, str]:
    from pkgindex_core.testing.uploads import upload_form

    content_type, body = upload_form(built)
    headers = {"Content-Type": content_type, "Authorization": aiohttp.encode_basic_auth("root", password)}
    async with aiohttp.ClientSession() as client, client.post(f"{url}/legacy/", data=body, headers=headers) as answer:
        return answer.status, await answer.text()


async def test_store_check_and_filter_of_an_outsider_serve_a_user(url: str, tmp_path: Path) -> None:
    password = (tmp_path / "data" / "root-password").read_text().strip()
    stable = build_wheel("demo", "1.0")
    nightly = build_wheel("demo-nightly", "1.0")
    assert (await upload(url, password, stable))[0] == 200
    assert (await upload(url, password, nightly))[0] == 200
    status, said = await upload(url, password, build_wheel("demo", "2.0.dev1"))
    assert status == 400
    assert "dev" in said
    async with aiohttp.ClientSession() as client:
        async with client.get(f"{url}/simple/demo/") as answer:
            page = await answer.text()
        assert stable.filename in page
        link = re.search(r'href="([^"#]+)', page)
        assert link is not None
        async with client.get(f"{url}/simple/demo/{link[1]}") as answer:
            assert await answer.read() == stable.data
        async with client.get(f"{url}/simple/demo-nightly/") as answer:
            assert answer.status == 200
            assert nightly.filename not in await answer.text()
        hidden = f"{url}/root/dev/+f/{nightly.sha256[:3]}/{nightly.sha256[3:16]}/{nightly.filename}"
        async with client.get(hidden) as answer:
            assert answer.status == 404
    assert any((tmp_path / "theirs").rglob("*"))
