"""An http proxy in front of an upstream."""

from __future__ import annotations

from pathlib import Path

import pytest

from pkgindex_core.errors import Refused
from pkgindex_core.testing.index_cases.values import ManualClock
from pkgindex_mirror.bandersnatch.values import MirrorConfiguration
from pkgindex_mirror.commands.mirror_orders import MirrorOrder
from pkgindex_mirror.commands.opened_mirrors import opened_mirror, opened_upstream
from pkgindex_mirror.settings import MirrorSettings
from pkgindex_mirror.sites import Site
from pkgindex_mirror.testing import ScriptedUpstream, behaviours
from pkgindex_mirror.upstream import UpstreamClient
from pkgindex_mirror.upstream_answers import Document

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


async def test_a_socks_proxy_is_refused(tmp_path: Path):
    configuration = MirrorConfiguration(
        directory=str(tmp_path / "tree"), master="http://index.example", proxy="socks5://127.0.0.1:1080"
    )
    async with opened_mirror(MirrorOrder(configuration=configuration), tmp_path, "make") as mirror:
        with pytest.raises(Refused, match="socks5"):
            async with opened_upstream(mirror):
                pass
