"""A server over a real S3 and a real GCS server: upload, install, ranges, deletion, and the store killed at its worst moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from pkgindex_core.testing.blob_store import MIB, some_bytes
from pkgindex_core.testing.wheels import BuiltFile, build_wheel
from pkgindex_mirror.testing.upstream import ScriptedUpstream
from tests.clients.conftest import Installers, ServerProcess
from tests.clients.running import executable, run
from tests.http.conftest import basic
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
            await _upload(built, server, tmp_path)
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
            huge = build_wheel("huge", "1.0", files={"huge/data.bin": some_bytes(130 * MIB)})
            await _upload(huge, server, tmp_path)
            store.kill()
            async with client.get("/+ready", timeout=aiohttp.ClientTimeout(5)) as answer:
                assert answer.status == 503
            async with client.get(path, timeout=aiohttp.ClientTimeout(15)) as answer:
                assert answer.status == 503
                assert int(answer.headers["Retry-After"]) <= 2
            async with client.get("/simple/demo/") as answer:
                assert answer.status == 200
            store.start()
            async with asyncio.timeout(90):
                while not await _is_ready(client):
                    await asyncio.sleep(0.2)
            async with client.get(f"/root/dev/+f/{huge.sha256[:3]}/{huge.sha256[3:16]}/{huge.filename}") as answer:
                assert await answer.read() == huge.data, "what was acknowledged is there after the store was killed"
    finally:
        await server.kill()
        store.kill()


async def test_installers_of_a_private_index_follow_signed_urls(
    upstream: ScriptedUpstream, installers: Installers, tmp_path: Path
) -> None:
    """Their credentials are for this server: S3 refuses a request that has two kinds of them."""
    store = await asyncio.to_thread(seaweedfs, tmp_path / "store")
    if store is None:
        pytest.skip("the server is not installed")
    try:
        await _installed_by_signed_urls(store, upstream, installers, tmp_path)
    finally:
        store.kill()


async def _installed_by_signed_urls(
    store: ObjectStore, upstream: ScriptedUpstream, installers: Installers, tmp_path: Path
) -> None:
    built = build_wheel("demo", "1.0", files={"demo/data.bin": bytes(3_000_000)})
    for downloads, sent_elsewhere in (("auto", ["uv"]), ("redirect", ["pip", "uv"])):
        server = ServerProcess(
            tmp_path / downloads / "data", upstream.url, "--blobs", f"{store.url}/{downloads}",
            **store.environment, PKGINDEX_OBJECT_DOWNLOADS=downloads,
            PKGINDEX_PLUGINS__FSSPEC__PUBLIC_ENDPOINT=f'"{store.endpoint}"',
        )  # fmt: skip
        (tmp_path / downloads).mkdir()
        try:
            await server.start()
            await _upload(built, server, tmp_path)
            async with aiohttp.ClientSession(server.url, headers=basic("root", server.password)) as client:
                async with client.patch("/root/dev", json=["acl_read=root"]) as answer:
                    assert answer.status == 200, await answer.text()
                index = server.url.replace("://", f"://root:{server.password}@") + "/simple/"
                for installer in ("pip", "uv"):
                    before = await _redirected(client)
                    ran, found = await installers.install(installer, index, "demo")
                    assert found == ["demo-1.0"], ran.output + server.log
                    assert await _redirected(client) - before == (installer in sent_elsewhere), installer
        finally:
            await server.kill()


async def _redirected(client: aiohttp.ClientSession) -> int:
    """Downloads that were answered with another URL."""
    async with client.get("/+metrics") as answer:
        assert answer.status == 200
        lines = (await answer.text()).splitlines()
    counts = [line for line in lines if line.startswith("pkgindex_files_total") and 'origin="elsewhere"' in line]
    return sum(int(float(line.rpartition(" ")[2])) for line in counts)


async def _upload(built: BuiltFile, server: ServerProcess, directory: Path) -> None:
    (directory / built.filename).write_bytes(built.data)
    ran = await run(
        executable("twine"), "upload", "--non-interactive", "--disable-progress-bar", "--repository-url",
        f"{server.url}/legacy/", "-u", "root", "-p", server.password, directory / built.filename,
    )  # fmt: skip
    assert ran.status == 0, ran.output


async def _is_ready(client: aiohttp.ClientSession) -> bool:
    async with client.get("/+ready") as answer:
        return answer.status == 200
