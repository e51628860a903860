"""Who is believed about where this server is reached and who asks."""

from __future__ import annotations

import unittest.mock
from collections.abc import Sequence
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from pkgindex_core.errors import Refused
from pkgindex_http.wire.origin import OriginReader
from tests.http.conftest import PASSWORD, Serve, basic

_LINES = Sequence[tuple[str, str]]


def _request(lines: _LINES, peer: str = "10.0.0.1", local: str = "10.0.0.9") -> Any:
    """A request from one address to another; without the latter over a socket that has none."""
    transport = unittest.mock.Mock(get_extra_info=lambda _: (local, 3141) if local else local)
    request = make_mocked_request("GET", "/", headers=CIMultiDict(lines), transport=transport)
    return request.clone(remote=peer)


def _url(lines: _LINES, *, peer: str = "10.0.0.1", trusted: tuple[str, ...] = (), outside: str = "") -> str:
    return OriginReader(outside_url=outside, trusted_proxies=trusted).url(_request(lines, peer))


def _client(lines: _LINES, *, peer: str = "10.0.0.1", trusted: tuple[str, ...] = ()) -> str:
    return OriginReader(outside_url="", trusted_proxies=trusted).client(_request(lines, peer))


_HOST = ("Host", "inner:3141")
_FORWARDED = (
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "packages.example.com"),
    ("X-Forwarded-Prefix", "/pypi"),
)


def test_without_a_proxy_the_host_header_counts() -> None:
    assert _url([_HOST]) == "http://inner:3141"


def test_strangers_are_not_believed() -> None:
    assert _url([_HOST, *_FORWARDED]) == "http://inner:3141"
    assert _url([_HOST, *_FORWARDED], trusted=("192.168.0.0/16",)) == "http://inner:3141"


def test_trusted_proxies_are_believed() -> None:
    assert _url([_HOST, *_FORWARDED], trusted=("10.0.0.0/8",)) == "https://packages.example.com/pypi"
    assert _url([_HOST, *_FORWARDED], trusted=("10.0.0.1",)) == "https://packages.example.com/pypi"
    assert _url([_HOST, *_FORWARDED], peer="::1", trusted=("::1",)) == "https://packages.example.com/pypi"


def test_what_is_configured_beats_everything() -> None:
    url = "https://index.example.com/team"
    assert _url([_HOST, *_FORWARDED], outside=f"{url}/", trusted=("10.0.0.0/8",)) == url


@pytest.mark.parametrize(
    "lines",
    [
        [("X-Forwarded-Host", "evil.example.com, good.example.com")],
        [("X-Forwarded-Host", "evil.example.com"), ("X-Forwarded-Host", "good.example.com")],
        [("X-Forwarded-Host", "evil.example.com,evil.example.net"), ("X-Forwarded-Host", "good.example.com")],
    ],
)
def test_the_nearest_proxy_has_the_last_word(lines: _LINES) -> None:
    """What a client sent itself stands before what the proxy added, in the same line or in one above."""
    assert _url([_HOST, *lines], trusted=("10.0.0.1",)) == "http://good.example.com"


@pytest.mark.parametrize(
    "lines",
    [
        [("Host", "")],
        [("Host", "a b")],
        [("Host", "a/b")],
        [("Host", "<script>")],
        [("Host", "user@host")],
        [("Host", "host:port")],
        [("Host", "host:1234567")],
        [("Host", "h" * 300)],
        [("Host", '"')],
        [_HOST, ("X-Forwarded-Host", "evil.example.com/path")],
        [_HOST, ("X-Forwarded-Host", "<script>")],
        [_HOST, ("X-Forwarded-Proto", "javascript")],
    ],
)
def test_what_is_no_host_is_not_repeated(lines: _LINES) -> None:
    assert _url(lines, trusted=("10.0.0.1",)) == "http://localhost"


@pytest.mark.parametrize("prefix", ["no-slash", "//evil.example.com", "/a b", "/<x>", "/a?b", "/a#b", "/\\a", "/a//b"])
def test_what_is_no_prefix_is_left_out(prefix: str) -> None:
    lines = [_HOST, ("X-Forwarded-Prefix", prefix)]
    assert _url(lines, trusted=("10.0.0.1",)) == "http://inner:3141"


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        ([], "10.0.0.1"),
        ([("X-Forwarded-For", "203.0.113.7")], "203.0.113.7"),
        ([("X-Forwarded-For", "198.51.100.1, 203.0.113.7")], "203.0.113.7"),
        ([("X-Forwarded-For", "198.51.100.1, 203.0.113.7, 10.0.0.2")], "203.0.113.7"),
        ([("X-Forwarded-For", "198.51.100.1"), ("X-Forwarded-For", "203.0.113.7")], "203.0.113.7"),
        ([("X-Forwarded-For", "203.0.113.7, unknown")], "10.0.0.1"),
        ([("X-Forwarded-For", "203.0.113.7, ")], "10.0.0.1"),
        ([("X-Forwarded-For", "2001:db8::7")], "2001:db8::7"),
        ([("X-Forwarded-For", "10.0.0.3, 10.0.0.2")], "10.0.0.3"),
        ([("X-Forwarded-For", '203.0.113.7"\r\nX: y')], "10.0.0.1"),
    ],
)
def test_the_client_is_the_last_hop_that_nobody_vouches_for(lines: _LINES, client: str) -> None:
    assert _client(lines, trusted=("10.0.0.0/8",)) == client


@pytest.mark.parametrize("trusted", ["10.0.0.0/8", "10.0.0.1", "::ffff:10.0.0.1", "::ffff:10.0.0.0/104"])
def test_a_proxy_is_trusted_on_a_socket_for_both_families(trusted: str) -> None:
    line = [("X-Forwarded-For", "203.0.113.7, ::ffff:10.0.0.2" if "/" in trusted else "203.0.113.7")]
    assert _client(line, peer="::ffff:10.0.0.1", trusted=(trusted,)) == "203.0.113.7"
    assert _client(line, peer="::ffff:192.0.2.1", trusted=(trusted,)) == "::ffff:192.0.2.1"
    assert _client(line, peer="10.0.0.1", trusted=(trusted,)) == "203.0.113.7"


def test_a_stranger_cannot_choose_its_address() -> None:
    assert _client([("X-Forwarded-For", "203.0.113.7")], peer="192.0.2.1", trusted=("10.0.0.0/8",)) == "192.0.2.1"


def test_a_network_that_is_none_is_refused() -> None:
    with pytest.raises(Refused, match="trusted_proxies"):
        OriginReader(outside_url="", trusted_proxies=["10.0.0.0/99"])


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40), st.booleans())
def test_an_url_is_always_clean(host: str, forwarded: str, prefix: str, believed: bool) -> None:
    """No text of a header can leave the URL it stands in."""
    lines = [("Host", host), ("X-Forwarded-Host", forwarded), ("X-Forwarded-Prefix", prefix)]
    url = _url(lines, trusted=("10.0.0.1",) if believed else ())
    assert url.isascii()
    assert url.isprintable()
    assert not set(url) & set(" <>\"'`\\?#")
    assert url.startswith("http://")
    assert not url.endswith("/")


@given(st.text(max_size=60))
def test_a_client_is_always_an_address(value: str) -> None:
    assert set(_client([("X-Forwarded-For", value)], trusted=("10.0.0.1",))) <= set("0123456789abcdef.:%")


@pytest.mark.parametrize(
    ("lines", "foreign"),
    [
        ([_HOST], False),
        ([_HOST, ("Origin", "http://inner:3141")], False),
        ([_HOST, ("Origin", "https://INNER:3141")], False),
        ([_HOST, ("Origin", "https://packages.example.com")], False),
        ([_HOST, ("Origin", "null")], True),
        ([_HOST, ("Origin", "")], True),
        ([_HOST, ("Origin", "http://")], True),
        ([_HOST, ("Origin", "http://inner")], True),
        ([_HOST, ("Origin", "http://inner:31410")], True),
        ([_HOST, ("Origin", "https://evil.example"), ("X-Forwarded-Host", "evil.example")], True),
    ],
)
def test_what_a_browser_sends_for_another_site_is_told_apart(lines: _LINES, foreign: bool) -> None:
    """A sandboxed page, such as one of documentation, has the origin `null`."""
    origin = OriginReader(outside_url="https://packages.example.com/pypi", trusted_proxies=())
    assert origin.is_foreign(_request(lines)) is foreign


def test_a_trusted_proxy_tells_which_host_is_ours() -> None:
    origin = OriginReader(outside_url="", trusted_proxies=("10.0.0.1",))
    lines = [_HOST, *_FORWARDED, ("Origin", "https://packages.example.com")]
    assert not origin.is_foreign(_request(lines))


@pytest.mark.parametrize(
    ("host", "local", "foreign"),
    [
        ("evil.example:3141", "127.0.0.1", True),
        ("evil.example", "::1", True),
        ("evil.example", "::ffff:127.0.0.1", True),
        ("127.0.0.1.evil.example", "127.0.0.1", True),
        ("localhost.evil.example", "127.0.0.1", True),
        ("[::::]", "127.0.0.1", True),
        ("[evil", "127.0.0.1", True),
        ("", "127.0.0.1", True),
        ("localhost:3141", "127.0.0.1", False),
        ("LOCALHOST:3141", "127.0.0.1", False),
        ("index.localhost", "127.0.0.1", False),
        ("127.0.0.1:3141", "127.0.0.1", False),
        ("[::1]:3141", "::1", False),
        ("packages.example.com", "127.0.0.1", False),
        ("pypi.lan:3141", "192.168.0.2", False),
        ("evil.example", "", False),
    ],
)
def test_a_name_that_was_pointed_at_this_machine_is_not_ours(host: str, local: str, foreign: bool) -> None:
    """The page and the request have the same name then. Other listeners are reached by names of any kind."""
    origin = OriginReader(outside_url="https://packages.example.com/pypi", trusted_proxies=())
    lines = [("Host", host), ("Origin", f"http://{host}")]
    assert origin.is_foreign(_request(lines, "127.0.0.1", local)) is foreign


async def test_a_rebound_name_uploads_nothing(serve: Serve) -> None:
    async with serve() as served:
        document = {"user": "root", "password": PASSWORD}
        for headers, status in (
            ({"Host": "evil.example", "Origin": "http://evil.example"}, 403),
            ({"Host": "evil.example"}, 200),
            ({"Host": "localhost", "Origin": "http://localhost"}, 200),
        ):
            async with served.request("POST", "/+login", json=document, headers=headers) as answer:
                assert answer.status == status


async def test_changes_are_refused_to_pages_of_other_sites(serve: Serve) -> None:
    """Whatever credentials the browser adds; reading is another matter, and so is a client."""
    async with serve() as served:
        for value, status in (("null", 403), ("https://evil.example", 403), (served.url, 200)):
            headers = {**basic("root"), "Origin": value}
            document = {"user": "root", "password": PASSWORD}
            async with served.request("POST", "/+login", json=document, headers=headers) as answer:
                assert answer.status == status
            async with served.request("DELETE", "/root/dev/demo?force", headers=headers) as answer:
                assert answer.status == (404 if status == 200 else 403)
            async with served.get("/simple/", headers=headers) as answer:
                assert answer.status == 200
