"""A published tree behind plain nginx or Caddy, with the configuration that comes with it: pip and uv install from it, and see what is new."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from pkgindex_core.config import Settings
from pkgindex_core.engine import Engine
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.static.publishing import Order, publish_from
from tests.clients.conftest import Installers
from tests.clients.running import executable, run
from tests.mirror.trees import DEV, opened, put
from tests.object_stores import ObjectStore, fake_gcs_server, free_ports, seaweedfs

pytestmark = [pytest.mark.clients, pytest.mark.timeout(240)]
needs_nginx = pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
needs_caddy = pytest.mark.skipif(shutil.which("caddy") is None, reason="Caddy is not installed")

JSON = "application/vnd.pypi.simple.v1+json"
MAIN = """\
daemon off;
user root;
worker_processes 1;
pid {place}/nginx.pid;
error_log {place}/error.log;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {place}/temporary;
    proxy_temp_path {place}/temporary;
    fastcgi_temp_path {place}/temporary;
    uwsgi_temp_path {place}/temporary;
    scgi_temp_path {place}/temporary;
    include {place}/site.conf;
}}
"""


@asynccontextmanager
async def nginx(place: Path, example: bytes, **changes: str) -> AsyncIterator[str]:
    """nginx with an example of ours, in which the marked lines were changed."""
    (port,) = free_ports(1)
    text = example.decode().replace("listen 80;", f"listen 127.0.0.1:{port};")
    for before, after in changes.items():
        assert before in text
        text = text.replace(before, after)
    place.mkdir()
    (place / "site.conf").write_text(text)
    (place / "nginx.conf").write_text(MAIN.format(place=place))
    async with started(port, "nginx", "-p", place, "-c", place / "nginx.conf") as url:
        yield url


@asynccontextmanager
async def caddy(place: Path, example: bytes, tree: Path) -> AsyncIterator[str]:
    """Caddy with our example, without the interface that changes a running configuration."""
    (port,) = free_ports(1)
    text = example.decode().replace(":80 {", f"http://127.0.0.1:{port} {{").replace("/srv/packages", str(tree))
    place.mkdir()
    (place / "Caddyfile").write_text(f"{{\n\tadmin off\n\tpersist_config off\n}}\n{text}")
    arguments = ("caddy", "run", "--adapter", "caddyfile", "--config", place / "Caddyfile")
    environment = {**os.environ, "XDG_DATA_HOME": str(place), "XDG_CONFIG_HOME": str(place)}
    async with started(port, *arguments, env=environment) as url:
        yield url


@asynccontextmanager
async def started(port: int, *arguments: str | Path, env: Mapping[str, str] | None = None) -> AsyncIterator[str]:
    """A process that listens on a port of this machine."""
    process = await asyncio.create_subprocess_exec(*arguments, env=env)
    try:
        for _ in range(500):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            except OSError:
                await asyncio.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


def headers(url: str, accept: str = "") -> dict[str, str]:
    request = urllib.request.Request(url, headers={"Accept": accept} if accept else {})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return {name.lower(): value for name, value in answer.headers.items()}


def examine(url: str) -> None:
    """What the documentation promises of a web server."""
    page = f"{url}/simple/demo/"
    assert headers(page)["content-type"].startswith("text/html")
    assert headers(page, JSON)["content-type"] == JSON
    assert headers(f"{url}/simple/", JSON)["content-type"] == JSON
    assert headers(f"{page}index.json")["content-type"] == JSON
    assert headers(page, JSON)["vary"].lower().count("accept") >= 1
    assert headers(f"{url}/pypi/demo/json")["content-type"] == "application/json"
    assert headers(f"{url}/")["content-type"].startswith("text/html")
    for place in (page, f"{url}/simple/", f"{url}/pypi/demo/json", f"{url}/"):
        assert headers(place)["cache-control"] == "max-age=0, must-revalidate"
    with pytest.raises(urllib.error.HTTPError, match="404"):
        headers(f"{url}/.pkgindex/state.json")


def examine_files(url: str, tree: Path) -> None:
    found = list(tree.glob("files/*/*/*"))
    assert found
    for path in found:
        file = headers(f"{url}/{quote(str(path.relative_to(tree)))}")
        assert file["cache-control"] == "public, max-age=31536000, immutable"
        assert file["content-type"] == "application/octet-stream"
        assert file["accept-ranges"] == "bytes"


async def fill(engine: Engine, *versions: str) -> None:
    for version in versions:
        await put(engine, build_wheel("demo", version, requires_dist=["helper"]), "demo", version)
    await put(engine, build_wheel("helper", "1.0+local"), "helper", "1.0+local")


async def uv_sees(url: str, cache: Path, expected: str) -> None:
    target = cache.parent / f"target-{expected}"
    ran = await run(
        executable("uv"), "pip", "install", "--cache-dir", cache, "--python", sys.executable, "--target", target,
        "--default-index", f"{url}/simple/", "--upgrade", "demo",
    )  # fmt: skip
    assert ran.status == 0, ran.output
    assert [path.name for path in target.glob("demo-*")] == [f"demo-{expected}.dist-info"], ran.output


@needs_caddy
async def test_caddy_says_what_installers_need(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    async with opened(tmp_path / "data") as engine:
        await fill(engine, "1.0")
        await publish_from(engine, Order(index=DEV, target=str(tree)))
    async with caddy(tmp_path / "caddy", (tree / ".pkgindex/Caddyfile").read_bytes(), tree) as url:
        await asyncio.to_thread(examine, url)
        await asyncio.to_thread(examine_files, url, tree)
        await uv_sees(url, tmp_path / "cache", "1.0")


@needs_nginx
async def test_pip_and_uv_install_from_files(installers: Installers, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    async with opened(tmp_path / "data") as engine:
        await fill(engine, "1.0")
        await publish_from(engine, Order(index=DEV, target=str(tree)))
        for path in tree.rglob("*.*"):  # uv takes old pages for fresh where nothing forbids it
            os.utime(path, (time.time() - 30 * 86_400,) * 2)
        example = (tree / ".pkgindex/nginx.conf").read_bytes()
        async with nginx(tmp_path / "nginx", example, **{"/srv/packages;": f"{tree};"}) as url:
            await asyncio.to_thread(examine, url)
            for client in installers.names:
                ran, found = await installers.install(client, f"{url}/simple/", "demo")
                assert ran.status == 0, ran.output
                assert found == ["demo-1.0", "helper-1.0+local"]
            await uv_sees(url, tmp_path / "cache", "1.0")
            await fill(engine, "1.1")
            await publish_from(engine, Order(index=DEV, target=str(tree)))
            await uv_sees(url, tmp_path / "cache", "1.1")
            await asyncio.to_thread(examine_files, url, tree)


@needs_nginx
@pytest.mark.parametrize("blobs_there", [True, False], ids=["copied-by-the-store", "sent"])
async def test_pip_and_uv_install_from_a_bucket(
    installers: Installers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blobs_there: bool
) -> None:
    store = await asyncio.to_thread(lambda: seaweedfs(tmp_path / "store", public=True))
    if store is None:
        pytest.skip("the server is not installed")
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    try:
        settings = Settings(data=tmp_path / "data", blobs=f"{store.url}/files" if blobs_there else "")
        async with Engine.open(settings, mirrors=False) as engine:
            await engine.prepare()
            await fill(engine, "1.0")
            order = Order(index=DEV, target=f"{store.url}/tree")
            await publish_from(engine, order)
            example = (
                Path(sys.modules[Order.__module__].__file__ or "").parent / "web_servers/nginx-bucket.conf"
            ).read_bytes()
            changes = {
                "/bucket/prefix;": "/blobs/tree;",
                "https://s3.eu-central-1.amazonaws.com;": f"{store.environment['AWS_ENDPOINT_URL']};",
            }
            async with nginx(tmp_path / "nginx", example, **changes) as url:
                await asyncio.to_thread(examine, url)
                for client in installers.names:
                    ran, found = await installers.install(client, f"{url}/simple/", "demo")
                    assert ran.status == 0, ran.output
                    assert found == ["demo-1.0", "helper-1.0+local"]
                await uv_sees(url, tmp_path / "cache", "1.0")
                await fill(engine, "1.1")
                done = await publish_from(engine, order)
                assert (done.looked_at, done.whole) == (2, False)
                await uv_sees(url, tmp_path / "cache", "1.1")
    finally:
        store.kill()


@pytest.mark.parametrize("start", [fake_gcs_server])
async def test_objects_of_google_cloud_storage_say_what_they_are(
    start: Callable[[Path], ObjectStore | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gcsfs

    store = await asyncio.to_thread(start, tmp_path / "store")
    if store is None:
        pytest.skip("the server is not installed")
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    try:
        options = {"token": "anon", "project": "test"}
        settings = Settings(
            data=tmp_path / "data", blobs=f"{store.url}/files", plugins={"fsspec": {"storage_options": options}}
        )
        async with Engine.open(settings, mirrors=False) as engine:
            await engine.prepare()
            await fill(engine, "1.0")
            await publish_from(engine, Order(index=DEV, target=f"{store.url}/tree"))

        def info() -> dict[str, str]:
            found: dict[str, str] = gcsfs.GCSFileSystem(**options, skip_instance_cache=True).info(
                "blobs/tree/simple/demo/index.json"
            )
            return found

        said = await asyncio.to_thread(info)
        assert said["contentType"] == JSON
        assert said["cacheControl"] == "max-age=0, must-revalidate"
    finally:
        store.kill()
