"""A server over a real S3 and a real GCS server: upload, install, ranges, deletion, and the store killed at its worst moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.testing.upstream import ScriptedUpstream
from tests.clients.conftest import Installers, ServerProcess
from tests.clients.running import executable, run
from tests.object_stores import ObjectStore, fake_gcs_server, seaweedfs

pytestmark = [pytest.mark.clients, pytest.mark.timeout(240)]


@pytest.mark.parametrize("start", [seaweedfs, fake_gcs_server])
async def test_a_package_goes_in_and_out_of_an_object_store(
    start: Callable[[Path], ObjectStore | None],
    upstream: ScriptedUpstream,
    installers: Installers,
    tmp_path: Path,
) -> None:
    store = await asyncio.to_thread(start, tmp_path / "store")
    if store is None:
        pytest.skip("the server is not installed")
    server = ServerProcess(
        tmp_path / "data", upstream.url, "--blobs", f"{store.url}/here",
        **store.environment, PKGINDEX_PLUGINS__FSSPEC__STORAGE_OPTIONS=store.options,
    )  # fmt: skip
    try:
        await server.start()
        large = build_wheel("large", "1.0", files={"large/data.bin": bytes(9_000_000)})
        for built in (build_wheel("demo", "1.0"), large):
            (tmp_path / built.filename).write_bytes(built.data)
            ran = await run(
                executable("twine"), "upload", "--non-interactive", "--disable-progress-bar", "--repository-url",
                f"{server.url}/legacy/", "-u", "root", "-p", server.password, tmp_path / built.filename,
            )  # fmt: skip
            assert ran.status == 0, ran.output
        for client in ("pip", "uv"):
            ran, found = await installers.install(client, f"{server.url}/simple/", "demo", "large", "six")
            assert found == ["demo-1.0", "large-1.0", "six-1.17.0"], ran.output + server.log
        path = f"/root/dev/+f/{large.sha256[:3]}/{large.sha256[3:16]}/{large.filename}"
        async with aiohttp.ClientSession(server.url) as client:
            async with client.get(path, headers={"Range": "bytes=5-14"}) as answer:
                assert (answer.status, await answer.read()) == (206, large.data[5:15])
            async with client.get(path, headers={"Range": "bytes=-7"}) as answer:
                assert (answer.status, await answer.read()) == (206, large.data[-7:])
            async with client.get(f"{path}.metadata") as answer:
                assert await answer.read() == large.metadata
            store.kill()
            async with client.get("/+ready", timeout=aiohttp.ClientTimeout(5)) as answer:
                assert answer.status == 503
            async with client.get(path, timeout=aiohttp.ClientTimeout(15)) as answer:
                assert answer.status == 503
                assert int(answer.headers["Retry-After"]) <= 2
            async with client.get("/simple/demo/") as answer:
                assert answer.status == 200
    finally:
        await server.kill()
        store.kill()
