"""An http or SOCKS proxy in front of an upstream."""

from __future__ import annotations

import asyncio
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Self

import pytest

from pkgindex_core.errors import Refused
from pkgindex_core.testing.index_cases.values import ManualClock
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.bandersnatch.values import MirrorConfiguration
from pkgindex_mirror.commands.mirror_orders import MirrorOrder
from pkgindex_mirror.commands.opened_mirrors import opened_mirror, opened_upstream
from pkgindex_mirror.settings import MirrorSettings, read_settings
from pkgindex_mirror.testing import ScriptedUpstream, behaviours
from pkgindex_mirror.upstreams.sites import Site
from pkgindex_mirror.upstreams.upstream import UpstreamClient
from pkgindex_mirror.upstreams.upstream_answers import Document, Failed
from tests.mirror.syncing.mirror_commands import MirrorDirectory
from tests.object_stores import free_ports

FAR = "http://index.example/simple/"


async def test_all_requests_go_to_the_proxy():
    async with ScriptedUpstream() as proxy:
        proxy.script(FAR, behaviours.says("application/vnd.pypi.simple.v1+json", b'{"projects": []}'))
        client = UpstreamClient(MirrorSettings(), ManualClock(), proxy=proxy.root)
        try:
            answer = await client.document(Site(base=FAR), FAR)
        finally:
            await client.close()
    assert isinstance(answer, Document)
    assert [asked.path for asked in proxy.asked] == [FAR]


async def test_a_run_asks_by_the_proxy_of_its_configuration(tmp_path: Path):
    async with ScriptedUpstream() as proxy:
        proxy.script(FAR, behaviours.says("application/vnd.pypi.simple.v1+json", b'{"projects": []}'))
        configuration = MirrorConfiguration(
            directory=str(tmp_path / "tree"), master="http://index.example", proxy=proxy.root
        )
        async with (
            opened_mirror(MirrorOrder(configuration=configuration), tmp_path, "make") as mirror,
            opened_upstream(mirror) as upstream,
        ):
            answer = await upstream.transport.page(upstream.places.list_url)
    assert isinstance(answer, Document)


class SocksProxy:
    """pproxy, a SOCKS proxy of somebody else, within this process. It resolves names, and knows where it was asked to go."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        pproxy = pytest.importorskip("pproxy")
        server = pproxy.Server("socks4+socks5://127.0.0.1:0")
        self._server = await server.start_server({"rserver": [pproxy.DIRECT], "verbose": self.told.append})
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    def url(self, scheme: str) -> str:
        assert self._server is not None
        return f"{scheme}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"


needs_socks = pytest.mark.skipif(not find_spec("aiohttp_socks"), reason="aiohttp-socks is not installed")


@needs_socks
@pytest.mark.parametrize(
    ("scheme", "host"), [("socks5", "localhost"), ("socks5", "127.0.0.1"), ("socks4", "127.0.0.1")]
)
async def test_a_run_asks_by_a_socks_proxy(tmp_path: Path, scheme: str, host: str):
    """pproxy takes no names by SOCKS4a."""
    async with SocksProxy() as proxy, ScriptedUpstream() as upstream:
        upstream.add("demo", build_wheel("demo", "1.0"))
        master = upstream.root.rstrip("/").replace("127.0.0.1", host)
        mirror = MirrorDirectory(tmp_path, upstream, more=f"proxy = {proxy.url(scheme)}")
        mirror.configuration.write_text(mirror.configuration.read_text().replace(upstream.root.rstrip("/"), master))
        ended = await mirror.run("mirror")
        assert ended.status == 0, ended.told
        assert [path for path in mirror.content() if path.endswith("demo-1.0-py3-none-any.whl")]
        assert any(f"{host}:" in line for line in proxy.told), proxy.told


@needs_socks
async def test_a_mirror_index_reads_through_a_socks_proxy():
    async with SocksProxy() as proxy, ScriptedUpstream() as upstream:
        upstream.add("demo", build_wheel("demo", "1.0"))
        client = UpstreamClient(MirrorSettings(proxy=proxy.url("socks5")), ManualClock())
        try:
            answer = await client.document(Site(base=upstream.url), f"{upstream.url}demo/")
        finally:
            await client.close()
    assert isinstance(answer, Document)
    assert proxy.told


@needs_socks
async def test_a_socks_proxy_that_is_down_is_the_fault_of_no_project():
    (port,) = free_ports(1)
    client = UpstreamClient(MirrorSettings(proxy=f"socks5://127.0.0.1:{port}", attempts=1), ManualClock())
    try:
        answer = await client.document(Site(base=FAR), FAR)
    finally:
        await client.close()
    assert isinstance(answer, Failed)
    assert (answer.reason, answer.down) == ("it could not be connected to by the SOCKS proxy", True)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "10.1.2.3", "[::1]", "169.254.169.254", "2130706433", "0x7f.1", "localhost", "a.localhost."]
)
@pytest.mark.parametrize("scheme", ["http", pytest.param("socks5", marks=needs_socks)])
async def test_links_to_private_addresses_are_refused_before_the_proxy_is_asked(host: str, scheme: str):
    async with ScriptedUpstream() as proxy:
        url = proxy.root.rstrip("/").replace("http", scheme)
        client = UpstreamClient(MirrorSettings(attempts=1), ManualClock(), proxy=url)
        try:
            async with client.file(Site(base=FAR), f"http://{host}/demo-1.0.tar.gz") as answer:
                assert isinstance(answer, Failed)
                assert "not public" in answer.reason
        finally:
            await client.close()
        assert proxy.asked == []


async def test_a_socks_proxy_without_its_package_is_an_error_that_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "aiohttp_socks", None)
    configuration = MirrorConfiguration(
        directory=str(tmp_path / "tree"), master="http://index.example", proxy="socks5://127.0.0.1:1080"
    )
    async with opened_mirror(MirrorOrder(configuration=configuration), tmp_path, "make") as mirror:
        with pytest.raises(Refused, match="SOCKS") as refused:
            async with opened_upstream(mirror):
                pass
    assert "pkgindex[socks]" in refused.value.hint


@pytest.mark.parametrize("url", ["ftp://proxy.example", "proxy.example:1080"])
def test_a_setting_that_is_no_proxy_is_refused(url: str):
    with pytest.raises(Refused, match="no URL of a proxy"):
        read_settings({"proxy": url})
