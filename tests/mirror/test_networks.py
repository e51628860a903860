"""Where links may lead, whom we believe to be whom, and what a certificate must say."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver
from hypothesis import given
from hypothesis import strategies as st

from pkgindex_core.errors import BadUpstream, Refused, Unavailable
from pkgindex_core.names import IndexName
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.settings import parse_networks
from pkgindex_mirror.testing import ScriptedUpstream, behaviours
from pkgindex_mirror.upstreams.addresses import AddressGuard, AddressRefusedError, PinningResolver, is_public

from .conftest import MakeMirror

WHEEL = build_wheel("demo", "1.0")

PRIVATE = [
    "127.0.0.1",
    "127.1.2.3",
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd00::1",
    "fd12:3456::1",
    "ff02::1",
    "2001:db8::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:7f00:1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "2002:a00:1::",
    "2002:a9fe:a9fe::1",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",
]
PUBLIC = ["1.1.1.1", "8.8.8.8", "151.101.0.223", "2606:4700:4700::1111", "2a04:4e42::223", "64:ff9b::808:808", "2002:808:808::1"]  # fmt: skip
NO_ADDRESSES = ("", "localhost", "0x7f.1", "2130706433", "127.1", "017700000001", "1.2.3.4.5", "[::1]")


class FakeResolver(AbstractResolver):
    """Names to lists of addresses, one list per answer; the last one stays."""

    def __init__(self, **names: list[list[str]]) -> None:
        self.names = {name.replace("_", "."): answers for name, answers in names.items()}
        self.asked: list[str] = []

    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[Any]:
        self.asked.append(host)
        answers = self.names.get(host)
        if answers is None:
            raise OSError(None, "no such name")
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            {"hostname": host, "host": address, "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing is held."""


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_refused(address: str, tally) -> None:
    guard = AddressGuard()
    assert not guard.permits(address)
    with pytest.raises(AddressRefusedError):
        guard.open_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, 80)))
    tally("refused addresses", 1)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_permitted(address: str) -> None:
    assert AddressGuard().permits(address)


@pytest.mark.parametrize("text", NO_ADDRESSES)
def test_what_is_no_address_is_refused(text: str) -> None:
    assert not AddressGuard(parse_networks(["0.0.0.0/0", "::/0"])).permits(text)


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3"])
def test_a_network_that_is_allowed_is_allowed_in_every_spelling(address: str) -> None:
    assert AddressGuard(parse_networks(["10.0.0.0/8"])).permits(address)


@given(st.ip_addresses(v=4))
def test_wrapping_an_address_changes_nothing(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    mapped = ipaddress.IPv6Address(0xFFFF_0000_0000 | number)
    translated = ipaddress.IPv6Address((0x64FF9B << 96) | number)
    tunnelled = ipaddress.IPv6Address((0x2002 << 112) | (number << 80))
    assert {is_public(mapped), is_public(translated), is_public(tunnelled)} == {is_public(address)}


def test_networks_are_checked_and_all_problems_told() -> None:
    with pytest.raises(Refused) as caught:
        parse_networks(["10.0.0.0/8", "here", "1.2.3.4/99"])
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    "target",
    [
        "127.0.0.1",
        "localhost",
        "0x7f000001",
        "2130706433",
        "127.1",
        "0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "private.example.org",
    ],
)
@pytest.mark.parametrize("way", ["link", "redirect"])
async def test_a_public_upstream_does_not_lead_us_inside(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, target: str, way: str, tally
) -> None:
    """The upstream is called by a name; whatever else is at its address must be allowed."""
    port = upstream.root.rstrip("/").rpartition(":")[2]
    resolver = FakeResolver(
        upstream_example_org=[["127.0.0.1"]], private_example_org=[["127.0.0.1"]], localhost=[["127.0.0.1"]]
    )
    upstream.add("demo", WHEEL)
    inside = f"http://{target}:{port}/files/"
    if way == "link":
        upstream.files_at = inside
    mirror = await make_mirror(f"http://upstream.example.org:{port}/simple/", resolver=resolver, attempts=1)
    assert (await mirror.refresh()).state == "fresh"
    if way == "redirect":
        upstream.script("file", behaviours.redirect(f"{inside}inside-{WHEEL.filename}"))
    with pytest.raises(Unavailable):
        await mirror.download(WHEEL.filename)
    asked = [asked for asked in upstream.asked if asked.place == "file"]
    assert len(asked) == (0 if way == "link" else 1)
    assert not any("inside" in request.path for request in asked)
    tally("ways inside that are closed", 1)


async def test_an_allowed_network_is_reached(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    async with ScriptedUpstream(host="localhost") as files:
        files.add("demo", WHEEL)
        upstream.add("demo", WHEEL)
        upstream.files_at = f"{files.root}files/"
        mirror = await make_mirror(upstream.url, attempts=1)
        await mirror.refresh()
        with pytest.raises(
            BadUpstream, match="setting allow_networks of the mirror plugin, --allow-network of a cache"
        ):
            await mirror.download(WHEEL.filename)
        assert not files.asked
        mirror = await make_mirror(upstream.url, allow_networks=("127.0.0.0/8", "::1/128"))
        await mirror.refresh()
        assert await mirror.download(WHEEL.filename) == WHEEL.data


@pytest.mark.parametrize("of", ["a project", "the list"])
async def test_whoever_may_make_an_index_does_not_read_through_it_what_is_inside(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, of: str
) -> None:
    """A mirror below root is the operator's; anybody else's leads where strangers' links may lead, and no further."""
    upstream.add("demo", WHEEL)
    theirs = {"name": IndexName("bob/mirror")}
    mirror = await make_mirror(upstream.url, config=theirs, attempts=1)
    with pytest.raises(BadUpstream, match="allow_networks"):
        await (mirror.refresh() if of == "a project" else mirror.readthrough.names(mirror.index))
    assert not upstream.asked
    mirror = await make_mirror(upstream.url, config=theirs, allow_networks=("127.0.0.0/8",))
    assert (await mirror.refresh()).state == "fresh"
    assert await mirror.download(WHEEL.filename) == WHEEL.data


async def test_files_on_the_upstreams_own_host_need_no_entry(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    async with ScriptedUpstream() as files:  # another port
        files.add("demo", WHEEL)
        upstream.add("demo", WHEEL)
        upstream.files_at = f"{files.root}files/"
        mirror = await make_mirror(upstream.url)
        await mirror.refresh()
        assert await mirror.download(WHEEL.filename) == WHEEL.data


async def test_a_second_answer_of_the_name_service_does_not_help(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    """DNS rebinding: first public, then inside. What counts is the address that is connected to."""
    port = upstream.root.rstrip("/").rpartition(":")[2]
    resolver = FakeResolver(up_example_org=[["127.0.0.1"]], files_example_org=[["127.0.0.1", "10.0.0.1"]])
    upstream.add("demo", WHEEL)
    upstream.files_at = f"http://files.example.org:{port}/files/"
    mirror = await make_mirror(f"http://up.example.org:{port}/simple/", resolver=resolver, attempts=1)
    await mirror.refresh()
    for _ in range(3):
        with pytest.raises(Unavailable):
            await mirror.download(WHEEL.filename)
    assert upstream.count("file") == 0


async def test_the_upstreams_own_name_may_not_move_inside() -> None:
    resolver = PinningResolver(
        FakeResolver(
            moving_example_org=[["8.8.8.8"], ["8.8.4.4", "10.0.0.1"], ["10.0.0.1"]],
            inside_example_org=[["10.0.0.1"], ["10.0.0.2"]],
            gone_example_org=[[]],
        ),
        AddressGuard(),
    )

    async def hosts(name: str) -> list[str]:
        return [found["host"] for found in await resolver.resolve(name, 443)]

    assert await hosts("moving.example.org") == ["8.8.8.8"]
    assert await hosts("moving.example.org") == ["8.8.4.4"]
    with pytest.raises(AddressRefusedError, match="moved from a public"):
        await hosts("moving.example.org")
    # An operator who names a host inside means it.
    assert await hosts("inside.example.org") == ["10.0.0.1"]
    assert await hosts("inside.example.org") == ["10.0.0.2"]
    assert await hosts("gone.example.org") == []
    await resolver.close()


async def test_an_unknown_host_is_unknown_not_absent(make_mirror: MakeMirror) -> None:
    mirror = await make_mirror("http://nowhere.example.org/simple/", resolver=FakeResolver(), attempts=1)
    with pytest.raises(Unavailable, match="could not be resolved"):
        await mirror.refresh()


async def test_a_closed_port_is_unknown_not_absent(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    await upstream.stop()
    mirror = await make_mirror(upstream.url, attempts=2)
    with pytest.raises(Unavailable, match="could not be connected to"):
        await mirror.refresh()


class TestCertificates:
    async def test_a_valid_one_is_taken(self, make_mirror: MakeMirror, tls) -> None:
        async with ScriptedUpstream(tls=tls.server("localhost"), host="localhost") as upstream:
            upstream.add("demo", WHEEL)
            mirror = await make_mirror(upstream.url, ca_file=tls.ca_file)
            assert (await mirror.refresh()).state == "fresh"
            assert await mirror.download(WHEEL.filename) == WHEEL.data

    @pytest.mark.parametrize("wrong", ["expired", "other host", "unknown authority"])
    async def test_any_other_is_unknown_not_absent(self, make_mirror: MakeMirror, tls, wrong: str, tally) -> None:
        context = {
            "expired": lambda: tls.expired("localhost"),
            "other host": lambda: tls.server("example.org"),
            "unknown authority": lambda: tls.server("localhost"),
        }[wrong]()
        async with ScriptedUpstream(tls=context, host="localhost") as upstream:
            upstream.add("demo", WHEEL)
            trusted = {} if wrong == "unknown authority" else {"ca_file": tls.ca_file}
            mirror = await make_mirror(upstream.url, attempts=1, **trusted)
            with pytest.raises(BadUpstream, match="certificate is not valid"):
                await mirror.refresh()
            assert not upstream.asked
        tally("upstream behaviours", 1)

    @pytest.mark.parametrize("wrong", ["expired", "unknown authority"])
    async def test_none_is_checked_if_the_operator_says_so(self, make_mirror: MakeMirror, tls, wrong: str) -> None:
        context = tls.expired("localhost") if wrong == "expired" else tls.server("localhost")
        async with ScriptedUpstream(tls=context, host="localhost") as upstream:
            upstream.add("demo", WHEEL)
            mirror = await make_mirror(upstream.url, verify_tls=False)
            assert (await mirror.refresh()).state == "fresh"
            assert await mirror.download(WHEEL.filename) == WHEEL.data

    async def test_plain_http_on_a_tls_port_and_the_reverse(
        self, upstream: ScriptedUpstream, make_mirror: MakeMirror, tls
    ) -> None:
        async with ScriptedUpstream(tls=tls.server("localhost"), host="localhost") as secure:
            for url in (secure.url.replace("https", "http"), upstream.url.replace("http", "https")):
                mirror = await make_mirror(url, ca_file=tls.ca_file, attempts=1)
                with pytest.raises(Unavailable):
                    await mirror.refresh()
