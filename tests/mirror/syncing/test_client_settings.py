"""The settings of the client that asks the upstream of a whole mirror."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pkgindex_core.errors import Refused
from pkgindex_mirror.bandersnatch.values import MirrorConfiguration
from pkgindex_mirror.commands.opened_mirrors import client_settings

BASE = "https://pypi.example"


@pytest.mark.parametrize(
    ("addresses", "allowed"),
    [
        (["203.0.113.80"], {"203.0.113.80", "10.0.0.0/8"}),  # a proxy for several hosts, which answers for all of them
        (["192.168.3.4", "fd00::1"], {"192.168.3.4", "fd00::1", "10.0.0.0/8"}),
        (["93.184.215.14"], set()),
        (["192.168.3.4", "93.184.215.14"], set()),
    ],
)
async def test_a_private_upstream_may_lead_to_its_own_address(
    addresses: list[str], allowed: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
        return [(0, 0, 0, "", (each, 0)) for each in addresses]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    settings = await client_settings(MirrorConfiguration(directory="/srv/pypi"), BASE)
    assert allowed <= {*settings.allow_networks}
    assert bool(settings.allow_networks) is bool(allowed)


async def test_settings_of_the_mirror_plugin_count_too(monkeypatch: pytest.MonkeyPatch) -> None:
    configuration = MirrorConfiguration(directory="/srv/pypi", proxy="http://proxy.example", timeout=7.0)
    monkeypatch.setenv("PKGINDEX_PLUGINS__MIRROR__USER_AGENT", "ours")
    monkeypatch.setenv("PKGINDEX_PLUGINS__MIRROR__ALLOW_NETWORKS", '["100.64.0.0/10"]')
    settings = await client_settings(configuration, BASE)
    assert (settings.user_agent, settings.allow_networks, settings.read_timeout) == ("ours", ("100.64.0.0/10",), 7.0)
    monkeypatch.setenv("PKGINDEX_PLUGINS__MIRROR__ALLOW_NETWORKS", '["everything"]')
    with pytest.raises(Refused, match="everything"):
        await client_settings(configuration, BASE)
