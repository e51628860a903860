"""`pkgindex-mirror mirror --index`: what a run brought is installed from a server while the upstream is down."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urljoin

import aiohttp
import pytest

from pkgindex_core.testing.wheels import build_sdist, build_wheel
from pkgindex_mirror.testing import behaviours
from pkgindex_mirror.testing.upstream import ScriptedUpstream
from tests.clients.conftest import Installers, ServerProcess
from tests.clients.running import Ran, executable, run

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]

INDEX = "root/mirrored"
JSON = "application/vnd.pypi.simple.v1+json"


class Mirror:
    """A configuration, and the data directory of the server."""

    def __init__(self, place: Path, upstream: ScriptedUpstream) -> None:
        self.data = place / "data"
        self._configuration = place / "mirror.conf"
        self._master = upstream.root.rstrip("/")

    async def run(self, more: str, *words: str) -> Ran:
        self._configuration.write_text(f"[mirror]\nmaster = {self._master}\nallow-non-https = true\n{more}\n")
        return await run(
            executable("pkgindex-mirror"), "mirror", "--index", INDEX, "--data", self.data, "-c", self._configuration,
            *words,
        )  # fmt: skip

    async def snapshot(self, *words: str) -> None:
        ran = await run(executable("pkgindex-mirror"), "snapshot", *words, "--index", INDEX, "--data", self.data)
        assert ran.status == 0, ran.output


CHOSEN = """\
[plugins]
enabled =
    allowlist_project
    prerelease_release
[allowlist]
packages =
    demo
    six
    idna
"""


async def test_installed_from_a_server_without_its_upstream(
    upstream: ScriptedUpstream, installers: Installers, tmp_path: Path
) -> None:
    mirror = Mirror(tmp_path, upstream)
    wheel = build_wheel("demo", "1.0", requires_dist=("six", "idna"))
    upstream.add("demo", wheel, build_sdist("demo", "1.0"), build_wheel("demo", "2.0rc1"))
    server = ServerProcess(mirror.data, upstream.url)
    await server.start()
    try:
        done = await mirror.run(CHOSEN)
        assert done.status == 0, done.output
        await upstream.stop()
        simple = f"{server.url}/{INDEX}/+simple/"
        for client in installers.names:
            ran, found = await installers.install(client, simple, "--pre", "demo")
            assert found == ["demo-1.0", "idna-3.10", "six-1.17.0"], ran.output
            ran, found = await installers.install(client, simple, "packaging")
            assert found == [], ran.output
    finally:
        await server.stop()


async def test_a_running_server_has_the_next_run_at_once(
    upstream: ScriptedUpstream, installers: Installers, tmp_path: Path
) -> None:
    mirror = Mirror(tmp_path, upstream)
    upstream.add("demo", build_wheel("demo", "1.0"))
    assert (await mirror.run(CHOSEN)).status == 0
    server = ServerProcess(mirror.data, upstream.url)
    await server.start()
    try:
        simple = f"{server.url}/{INDEX}/+simple/"
        ran, found = await installers.install("uv", simple, "demo")
        assert found == ["demo-1.0"], ran.output
        upstream.add("demo", build_wheel("demo", "1.1"))
        ran, found = await installers.install("uv", simple, "demo")
        assert found == ["demo-1.0"], ran.output
        assert (await mirror.run(CHOSEN)).status == 0
        ran, found = await installers.install("uv", simple, "demo")
        assert found == ["demo-1.1"], ran.output
    finally:
        await server.stop()


async def test_production_has_the_snapshot_that_was_promoted(
    upstream: ScriptedUpstream, installers: Installers, tmp_path: Path
) -> None:
    mirror = Mirror(tmp_path, upstream)
    upstream.add("demo", build_wheel("demo", "1.0"))
    server = ServerProcess(mirror.data, upstream.url)
    await server.start()
    try:
        assert (await mirror.run(CHOSEN)).status == 0
        await mirror.snapshot("create")
        await mirror.snapshot("promote", "1", "prod")
        upstream.projects["demo"].clear()
        upstream.add("demo", build_wheel("demo", "2.0"))
        assert (await mirror.run(CHOSEN)).status == 0
        await mirror.snapshot("create")
        await upstream.stop()
        simple = f"{server.url}/root/prod/+simple/"
        for number, version in (("1", "1.0"), ("2", "2.0"), ("1", "1.0")):
            await mirror.snapshot("promote", number, "prod")
            for client in installers.names:
                ran, found = await installers.install(client, simple, "demo")
                assert found == [f"demo-{version}"], ran.output
    finally:
        await server.stop()


async def test_a_streamed_file_is_fetched_by_each_installation(
    upstream: ScriptedUpstream, installers: Installers, tmp_path: Path
) -> None:
    mirror = Mirror(tmp_path, upstream)
    wheel = build_wheel("demo", "1.0", description="word " * 400_000, stored=True)
    upstream.add("demo", wheel)
    done = await mirror.run(f"file-policies =\n    dem* streamed\n{CHOSEN}")
    assert done.status == 0, done.output
    server = ServerProcess(mirror.data, upstream.url)
    await server.start()
    try:
        simple = f"{server.url}/{INDEX}/+simple/"
        for client in installers.names:
            ran, found = await installers.install(client, simple, "demo")
            assert found == ["demo-1.0"], ran.output
        assert upstream.count(f"/files/{wheel.filename}") == len(installers.names)
        async with aiohttp.ClientSession() as session:
            async with session.get(simple + "demo/", headers={"Accept": JSON}) as answer:
                (url,) = [file["url"] for file in (await answer.json(content_type=None))["files"]]
            place = urljoin(f"{simple}demo/", url)
            async with session.head(place) as answer:
                assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(wheel.data)))
            async with session.get(place, headers={"Range": "bytes=1500000-1500009"}) as answer:
                assert (answer.status, await answer.read()) == (206, wheel.data[1_500_000:1_500_010])
            async with session.get(f"{place}.metadata") as answer:
                assert (answer.status, await answer.read()) == (200, wheel.metadata)
            upstream.script("file", behaviours.with_body(lambda body: body[:-1] + bytes([body[-1] ^ 1])))
            with pytest.raises(aiohttp.ClientError):
                async with session.get(place) as answer:
                    await answer.read()
        assert not [
            path for path in mirror.data.rglob("*") if path.is_file() and path.stat().st_size == len(wheel.data)
        ]
    finally:
        await server.stop()


async def test_a_file_on_demand_is_fetched_by_its_first_installation(
    upstream: ScriptedUpstream, installers: Installers, tmp_path: Path
) -> None:
    mirror = Mirror(tmp_path, upstream)
    upstream.add("demo", build_wheel("demo", "1.0"), build_wheel("demo", "0.9"))
    done = await mirror.run(f"file-policies =\n    dem* on-demand\n{CHOSEN}")
    assert done.status == 0, done.output
    wheels = [asked.path for asked in upstream.asked if "/demo-" in asked.path]
    assert wheels == []
    server = ServerProcess(mirror.data, upstream.url)
    await server.start()
    try:
        simple = f"{server.url}/{INDEX}/+simple/"
        for _ in range(2):
            ran, found = await installers.install("uv", simple, "demo")
            assert found == ["demo-1.0"], ran.output
        assert upstream.count("/files/demo-1.0-py3-none-any.whl") == 1
        assert upstream.count("/files/demo-0.9-py3-none-any.whl") == 0
    finally:
        await server.stop()
