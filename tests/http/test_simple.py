"""The simple API over HTTP, by the numbers of the conformance table (SI, CN, and what of HT and JS only HTTP shows)."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from msgspec.structs import replace

from pkgindex_core.changes import DropFile, MirrorPage, PutProject
from pkgindex_core.errors import Unavailable
from pkgindex_core.models import File, IndexConfig, PageHead, Serial, Standing
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Freshness, Names
from pkgindex_core.testing.wheels import build_sdist, build_wheel
from pkgindex_core.tools.name_streams import held
from tests.http.conftest import HOSTED, Serve, Served, basic
from tests.http.wire import ask_raw

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "application/vnd.pypi.simple.v1+html"
# As the clients send them: pip 26.3, uv 0.13.9, poetry 2.5.1.
PIP = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01"
UV = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"
POETRY = "application/vnd.pypi.simple.v1+json, */*;q=0.1"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"

Start = Callable[..., AbstractAsyncContextManager[Served]]

PAGES = ("/simple/", "/simple/demo/", "/root/dev/+simple/", "/root/dev/+simple/demo/")


class _Links(HTMLParser):
    """What pip takes from a page: the base and the anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[tuple[str, str]] = []
        self.has_base = False
        self._href: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.has_base = self.has_base or tag == "base"
        self._href = dict(attrs).get("href") if tag == "a" else self._href

    def handle_data(self, data: str) -> None:
        if self._href is not None:
            self.links.append((self._href, data))
            self._href = None


@pytest.fixture
def demo(serve: Serve) -> Start:
    """A server with one project of two files."""

    @asynccontextmanager
    async def start(**options: Any) -> AsyncIterator[Served]:
        async with serve(**options) as served:
            await served.put(build_wheel("demo", "1.0"))
            await served.put(build_sdist("demo", "1.0"))
            yield served

    return start


async def _page(served: Served, path: str, **headers: str) -> tuple[Any, bytes]:
    async with served.get(path, headers=headers) as answer:
        return answer, await answer.read()


async def _links(served: Served, path: str, accept: str) -> list[tuple[str, str]]:
    """(URL as it stands there, filename) of every file of a page."""
    answer, body = await _page(served, path, Accept=accept)
    assert answer.status == 200
    if "json" in answer.headers["Content-Type"]:
        return [(file["url"], file["filename"]) for file in json.loads(body)["files"]]
    return _Links(body.decode()).links


# SI: names, versions, URLs, redirects


@pytest.mark.parametrize(
    "name", ["foo%0A", "-foo", "foo-", ".foo", "f%C3%B6%C3%B6", "foo%20", "%00", "a" * 215, "foo;x", "+foo"]
)
@pytest.mark.parametrize("base", ["/simple", "/root/dev/+simple"])
async def test_si_01_illegal_names_are_not_found(demo: Start, base: str, name: str) -> None:
    async with demo() as served:
        for path in (f"{base}/{name}/", f"{base}/{name}"):
            answer = await ask_raw(served.address, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert answer.status == 404


async def test_si_02_lists_and_pages_end_with_a_slash(demo: Start) -> None:
    async with demo() as served:
        for path in PAGES:
            answer, _ = await _page(served, path)
            assert answer.status == 200


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/simple", "simple/"),
        ("/simple/demo", "demo/"),
        ("/root/dev/+simple", "+simple/"),
        ("/root/dev/+simple/demo", "demo/"),
        ("/simple/demo?format=x%2By&z", "demo/?format=x%2By&z"),
        ("/simple?a=b", "simple/?a=b"),
    ],
)
async def test_si_03_a_missing_slash_is_added_and_the_query_kept(demo: Start, path: str, location: str) -> None:
    async with demo() as served:
        answer, _ = await _page(served, path)
        assert answer.status == 301
        assert answer.headers["Location"] == location


@pytest.mark.parametrize("spelling", ["Foo.Bar", "foo_bar", "FOO-BAR", "foo.-_bar", "Foo.Bar/", "foo__bar/"])
@pytest.mark.parametrize("base", ["/simple", "/root/dev/+simple", "/simple/v1+json", "/simple/v1+html"])
async def test_si_04_slash_and_spelling_are_put_right_in_one_hop(demo: Start, base: str, spelling: str) -> None:
    async with demo() as served:
        await served.put(build_wheel("foo_bar", "1.0"), project="Foo.Bar")
        path = f"{base}/{spelling}"
        if "v1+" in base and not spelling.endswith("/"):
            path += "/"
        answer, _ = await _page(served, f"{path}?q=1")
        assert answer.status == 301
        assert urljoin(path, answer.headers["Location"]) == f"{base}/foo-bar/?q=1"
        answer, _ = await _page(served, urljoin(path, answer.headers["Location"]))
        assert answer.status == 200


async def test_si_05_credentials_come_before_redirects_and_redirects_go_by_spelling(demo: Start) -> None:
    """No form of the URL tells a stranger whether a project exists, nor whether it is spelled right."""
    async with demo() as served:
        anna = await served.user("anna")
        await served.user("ben")
        await served.index("anna/private", acl_read=("anna",))
        await served.put(build_wheel("secret", "1.0"), index=IndexName("anna/private"))
        base = "/anna/private/+simple"
        seen = set()
        for name in ("secret", "unknown"):
            for spelling in (name, f"{name}/", name.title(), f"{name.title()}/"):
                async with served.get(f"{base}/{spelling}") as answer:
                    body = await answer.text()
                    seen.add((answer.status, body, answer.headers.get("Location")))
        assert {status for status, _, _ in seen} == {401}
        assert len(seen) == 1
        for name in ("secret", "unknown"):
            for spelling, location in (
                (name, f"{name}/"),
                (name.title(), f"{name}/"),
                (f"{name.title()}/", f"../{name}/"),
            ):
                answer, _ = await _page(served, f"{base}/{spelling}", **anna)
                assert (answer.status, answer.headers["Location"]) == (301, location)
                answer, _ = await _page(served, f"{base}/{spelling}", **basic("ben"))
                assert answer.status == 404


async def test_si_06_an_unknown_project_is_404_and_not_kept(demo: Start) -> None:
    async with demo() as served:
        for path in (
            "/simple/unknown/",
            "/root/dev/+simple/unknown/",
            "/root/none/+simple/demo/",
            "/none/dev/+simple/",
        ):
            for accept in ("*/*", JSON, BROWSER):
                answer, body = await _page(served, path, Accept=accept)
                assert answer.status == 404
                assert answer.headers["Cache-Control"] == "no-store"
                assert body
        await served.put(build_wheel("unknown", "1.0"))
        answer, _ = await _page(served, "/simple/unknown/")
        assert answer.status == 200


async def test_si_07_a_project_without_files_is_200_and_empty(demo: Start) -> None:
    async with demo() as served:
        head = PageHead(display_name="Empty", versions=("0.9",))
        await served.engine.store.apply([PutProject(HOSTED, ProjectName("empty"), head)], who="[test]")
        answer, body = await _page(served, "/simple/empty/", Accept=JSON)
        assert answer.status == 200
        assert json.loads(body)["files"] == []
        assert json.loads(body)["versions"] == ["0.9"]
        assert await _links(served, "/simple/empty/", HTML) == []


@pytest.mark.parametrize("accept", [JSON, HTML, "text/html"])
async def test_si_08_every_link_leads_to_its_file_wherever_the_page_stands(demo: Start, accept: str) -> None:
    async with demo() as served:
        for base in ("/simple", "/root/dev/+simple", "/simple/v1+json", "/simple/v1+html"):
            links = await _links(served, f"{base}/demo/", accept)
            assert len(links) == 2
            for href, filename in links:
                answer, body = await _page(served, urlsplit(urljoin(f"{base}/demo/", href)).path)
                assert answer.status == 200, (base, href)
                assert filename in {"demo-1.0-py3-none-any.whl", "demo-1.0.tar.gz"}
                assert f"+f/{hashlib.sha256(body).hexdigest()[:3]}/" in href


@pytest.mark.parametrize("accept", [JSON, HTML])
async def test_si_08_links_hold_under_a_prefix(demo: Start, accept: str) -> None:
    """A proxy that mounts the server below a path takes the path off: links that climb too high would miss it."""
    prefix = "/some/where"
    async with demo() as served:
        for page in ("/simple/demo/", "/root/dev/+simple/demo/", "/simple/v1+html/demo/"):
            for href, _ in await _links(served, page, accept):
                outside = urlsplit(urljoin(f"https://packages.example.com{prefix}{page}", href)).path
                assert outside.startswith(f"{prefix}/root/dev/+f/")
                answer, _ = await _page(served, outside.removeprefix(prefix))
                assert answer.status == 200
        for path in ("/simple", "/simple/demo", "/simple/Demo/", "/root/dev/+simple/DEMO"):
            answer, _ = await _page(served, path)
            outside = urlsplit(urljoin(f"https://packages.example.com{prefix}{path}", answer.headers["Location"])).path
            assert outside.startswith(f"{prefix}/")
            answer, _ = await _page(served, outside.removeprefix(prefix))
            assert answer.status == 200


async def test_si_08_list_links_lead_to_pages(demo: Start) -> None:
    async with demo() as served:
        for base in ("/simple/", "/root/dev/+simple/", "/simple/v1+html/"):
            _, body = await _page(served, base, Accept=HTML)
            ((href, text),) = _Links(body.decode()).links
            assert text == "demo"
            answer, _ = await _page(served, urljoin(base, href))
            assert answer.status == 200
            assert not _Links(body.decode()).has_base


@pytest.mark.parametrize("trusted", [(), ("127.0.0.0/8",)])
async def test_si_09_no_host_header_reaches_a_page(demo: Start, trusted: tuple[str, ...]) -> None:
    async with demo(trusted_proxies=trusted) as served:
        usual = [(await _page(served, path, Accept=JSON))[1] for path in PAGES]
        spoofed = {"X-Forwarded-Host": "evil.example.com", "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/evil"}
        for path, body in zip(PAGES, usual, strict=True):
            for host in ("evil.example.com", "evil.example.com:99"):
                answer, again = await _page(served, path, Accept=JSON, Host=host, **spoofed)
                assert again == body
                assert "evil" not in str(answer.headers)
        answer, _ = await _page(served, "/simple/Demo", Host="evil.example.com", **spoofed)
        assert answer.headers["Location"] == "demo/"


@pytest.mark.parametrize(
    ("name", "version", "encoded"),
    [("demo", "1.0+cu121", "demo-1.0%2Bcu121-py3-none-any.whl"), ("demo", "1!2.0", "demo-1%212.0-py3-none-any.whl")],
)
async def test_si_10_si_11_links_end_in_the_filename_and_both_spellings_are_taken(
    demo: Start, name: str, version: str, encoded: str
) -> None:
    async with demo() as served:
        built = build_wheel(name, version)
        await served.put(built)
        for accept in (JSON, HTML):
            (href,) = [
                href for href, filename in await _links(served, "/simple/demo/", accept) if filename == built.filename
            ]
            path = href.partition("#")[0]
            assert path.rpartition("/")[2] == built.filename
            target = urljoin("/simple/demo/", path)
            for last in (built.filename, encoded, encoded.lower()):
                spelling = target.replace(built.filename, last)
                for suffix, expected in (("", built.data), (".metadata", built.metadata)):
                    request = f"GET {spelling}{suffix} HTTP/1.1\r\nHost: x\r\n\r\n"
                    answer = await ask_raw(served.address, request.encode())
                    assert (answer.status, answer.body) == (200, expected), spelling


async def test_si_12_no_link_has_a_query(demo: Start) -> None:
    async with demo() as served:
        for accept in (JSON, HTML):
            for path in PAGES:
                _, body = await _page(served, f"{path}?format={accept.replace('+', '%2B')}")
                assert b"?" not in body.replace(b"<?", b"").replace(b"<!", b"")


async def test_si_13_head_has_the_headers_of_get_and_no_body(demo: Start) -> None:
    async with demo() as served:
        (href, _), *_ = await _links(served, "/simple/demo/", JSON)
        file = urljoin("/simple/demo/", href)
        paths = [*PAGES, "/simple", "/simple/Demo", file, "/simple/none/", "/none", "/", "/+live", "/+ready"]
        for path in paths:
            for accept in (JSON, "text/html", "application/xml"):
                for coding in ("identity", "gzip", "zstd"):
                    request = f"{path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\nAccept-Encoding: {coding}\r\n\r\n"
                    got = await ask_raw(served.address, f"GET {request}".encode())
                    head = await ask_raw(served.address, f"HEAD {request}".encode(), method="HEAD")
                    assert head.status == got.status
                    assert not head.body
                    assert [pair for pair in head.headers if pair[0] != "Date"] == [
                        pair for pair in got.headers if pair[0] != "Date"
                    ], path


async def test_si_14_odd_segments_are_not_found(demo: Start) -> None:
    async with demo() as served:
        for path in (
            "/simple/../demo/",
            "/simple/%2e%2e/demo/",
            "/simple/a%2Fdemo/",
            "/simple/demo%5C/",
            "/simple/demo%00/",
        ):
            answer = await ask_raw(served.address, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert answer.status == 404


async def test_si_15_equal_versions_are_listed_once(serve: Serve) -> None:
    async with serve() as served:
        await served.put(build_wheel("demo", "1.0"))
        await served.put(build_wheel("demo", "1.0.0", tag="py2-none-any"))
        _, body = await _page(served, "/simple/demo/", Accept=JSON)
        document = json.loads(body)
        assert len(document["versions"]) == 1
        assert len(document["files"]) == 2


async def test_si_16_legacy_versions_do_not_break_a_page(serve: Serve) -> None:
    async with serve() as served:
        for version in ("2004d", "1.0", "not-a-version", "2.0"):
            filename = f"demo-{version}.tar.gz"
            await served.put(replace(build_sdist("demo", "1.0"), filename=filename), version=version)
        for accept in (JSON, HTML):
            links = await _links(served, "/simple/demo/", accept)
            assert len(links) == 4
        _, body = await _page(served, "/simple/demo/", Accept=JSON)
        assert {"2004d", "1.0", "2.0"} <= set(json.loads(body)["versions"])


# CN: content negotiation


_VECTORS: Sequence[tuple[str, str | None, str]] = (
    ("cn-02 none", None, "text/html"),
    ("cn-03 anything", "*/*", "text/html"),
    ("cn-04 weights", f"{JSON};q=0.1, text/html", "text/html"),
    ("cn-04 malformed", f"{JSON};q=high, text/html;q=0.1", "text/html"),
    ("cn-05 richest", f"text/html, {JSON}", JSON),
    ("cn-05 html", f"text/html, {HTML}", HTML),
    ("cn-06 excluded", f"{JSON};q=0, */*", "text/html"),
    ("cn-07 latest json", "application/vnd.pypi.simple.latest+json", JSON),
    ("cn-07 latest html", "application/vnd.pypi.simple.latest+html", HTML),
    ("cn-14 case", "Application/Vnd.PyPI.Simple.v1+JSON;charset=utf-8", JSON),
    ("cn-15 browser", BROWSER, "text/html"),
    ("pip", PIP, JSON),
    ("uv", UV, JSON),
    ("poetry", POETRY, JSON),
)


@pytest.mark.parametrize(("accept", "expected"), [each[1:] for each in _VECTORS], ids=[each[0] for each in _VECTORS])
async def test_cn_01_cn_17_the_content_type_is_exact_on_pages_and_lists(
    demo: Start, accept: str | None, expected: str
) -> None:
    async with demo() as served:
        for path in PAGES:
            line = f"Accept: {accept}\r\n" if accept is not None else ""
            answer = await ask_raw(served.address, f"GET {path} HTTP/1.1\r\nHost: x\r\n{line}\r\n".encode())
            assert answer.status == 200
            assert answer.header("Content-Type") == expected
            assert answer.body.startswith(b"{" if expected == JSON else b"<!DOCTYPE html>")


async def test_cn_01_errors_and_redirects_have_a_content_type(demo: Start) -> None:
    async with demo() as served:
        for path in ("/simple", "/simple/Demo", "/simple/none/", "/none", "/simple/demo/?format=x"):
            answer, _ = await _page(served, path)
            assert answer.status >= 300
            assert answer.headers["Content-Type"]


@pytest.mark.parametrize("accept", ["application/xml", "text/plain", "image/*", f"{JSON};q=0"])
async def test_cn_08_cn_09_nothing_acceptable_is_406_and_says_what_would_be(demo: Start, accept: str) -> None:
    async with demo() as served:
        for path in PAGES:
            answer, body = await _page(served, path, Accept=accept)
            assert answer.status == 406
            assert all(each in body.decode() for each in (JSON, HTML, "text/html"))
            assert "Accept" in answer.headers["Vary"]
            assert "json" not in accept or answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (JSON.replace("+", "%2B"), JSON),
        (JSON, JSON),
        (HTML, HTML),
        ("text/html", "text/html"),
        ("application/vnd.pypi.simple.latest%2Bjson", JSON),
        ("application/xml", None),
        ("*/*", None),
        (f"{JSON},text/html", None),
        (f"{JSON};q=1", None),
        ("", None),
    ],
)
async def test_cn_10_the_query_outranks_accept(demo: Start, query: str, expected: str | None) -> None:
    async with demo() as served:
        for path in PAGES:
            for accept in ("text/html", JSON, "application/xml"):
                request = f"GET {path}?format={query} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n"
                answer = await ask_raw(served.address, request.encode())
                assert answer.status == (200 if expected else 406)
                assert expected is None or answer.header("Content-Type") == expected


async def test_cn_11_endpoints_ignore_accept(demo: Start) -> None:
    async with demo() as served:
        for endpoint, expected in (("v1+json", JSON), ("v1%2Bjson", JSON), ("v1+html", HTML)):
            for page in ("", "demo/"):
                for accept in ("text/html", JSON, "application/xml"):
                    request = f"GET /simple/{endpoint}/{page} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n"
                    answer = await ask_raw(served.address, request.encode())
                    assert (answer.status, answer.header("Content-Type")) == (200, expected)


async def test_cn_12_vary_names_what_the_answer_depends_on(demo: Start) -> None:
    async with demo() as served:
        for path in PAGES:
            answer, _ = await _page(served, path)
            assert answer.headers["Vary"] == "Accept, Accept-Encoding"
            again, _ = await _page(served, path, **{"If-None-Match": answer.headers["ETag"]})
            assert again.status == 304
            assert again.headers["Vary"] == answer.headers["Vary"]
        anna = await served.user("anna")
        await served.index("anna/private", acl_read=("anna",))
        await served.put(build_wheel("secret", "1.0"), index=IndexName("anna/private"))
        for path in ("/anna/private/+simple/", "/anna/private/+simple/secret/"):
            answer, _ = await _page(served, path, **anna)
            assert answer.headers["Vary"] == "Accept, Accept-Encoding, Authorization"
            assert answer.headers["Cache-Control"].startswith("private")


async def test_cn_12_a_public_page_with_a_private_layer_varies_by_who_asks(demo: Start) -> None:
    """The same URL shows more to those who may read more; a shared cache must not mix them up."""
    async with demo() as served:
        anna = await served.user("anna")
        await served.index("anna/private", acl_read=("anna",))
        await served.index("anna/public", bases=(IndexName("anna/private"),))
        await served.put(build_wheel("demo", "1.0"), index=IndexName("anna/public"))
        await served.put(build_wheel("demo", "2.0"), index=IndexName("anna/private"))
        path = "/anna/public/+simple/demo/"
        nobody, less = await _page(served, path, Accept=JSON)
        somebody, more = await _page(served, path, Accept=JSON, **anna)
        assert json.loads(less)["versions"] == ["1.0"]
        assert json.loads(more)["versions"] == ["1.0", "2.0"]
        assert nobody.headers["ETag"] != somebody.headers["ETag"]
        assert somebody.headers["Cache-Control"].startswith("private")
        assert "Authorization" in nobody.headers["Vary"]
        assert "Authorization" in somebody.headers["Vary"]


async def test_cn_13_every_type_and_coding_has_its_own_etag_and_the_same_page(demo: Start) -> None:
    decode: dict[str, Callable[[bytes], bytes]] = {"identity": bytes, "gzip": gzip.decompress, "zstd": zstd.decompress}
    async with demo() as served:
        for path in PAGES:
            tags = set()
            for accept in (JSON, HTML, "text/html"):
                bodies = set()
                for coding, decoded in decode.items():
                    answer, body = await _page(served, path, Accept=accept, **{"Accept-Encoding": coding})
                    assert answer.headers.get("Content-Encoding", "identity") == coding
                    assert int(answer.headers["Content-Length"]) == len(body)
                    assert re.fullmatch(r'"[!-~]+"', answer.headers["ETag"])
                    tags.add(answer.headers["ETag"])
                    bodies.add(decoded(body))
                assert len(bodies) == 1
            assert len(tags) == 9


async def test_cn_13_a_tag_is_known_again_for_its_own_coding_only(demo: Start) -> None:
    async with demo() as served:
        for path in PAGES:
            coded, _ = await _page(served, path, Accept=JSON, **{"Accept-Encoding": "gzip"})
            tag = coded.headers["ETag"]
            for value in (tag, f"W/{tag}", f'"other", {tag}', "*"):
                same, body = await _page(
                    served, path, Accept=JSON, **{"Accept-Encoding": "gzip", "If-None-Match": value}
                )
                assert (same.status, body) == (304, b"")
                assert "Content-Length" not in same.headers
                assert "Content-Encoding" not in same.headers
                assert same.headers["Cache-Control"] == coded.headers["Cache-Control"]
                assert same.headers["ETag"] == tag
            for others in ({"Accept-Encoding": "identity"}, {"Accept-Encoding": "gzip", "Accept": HTML}):
                other, _ = await _page(served, path, **{"Accept": JSON, "If-None-Match": tag, **others})
                assert other.status == 200


async def test_cn_13_a_long_page_goes_with_gzip_to_clients_that_take_it(
    demo: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only gzip is made of sections."""
    async with demo() as served:
        short, plain = await _page(served, PAGES[1], Accept=JSON, **{"Accept-Encoding": "gzip, zstd"})
        monkeypatch.setattr("pkgindex_core.services.reading.long_pages.LONG", 1)
        long, body = await _page(served, PAGES[1], Accept=JSON, **{"Accept-Encoding": "gzip, zstd"})
        assert (short.headers["Content-Encoding"], long.headers["Content-Encoding"]) == ("zstd", "gzip")
        assert gzip.decompress(body) == zstd.decompress(plain)
        assert long.headers["ETag"] != short.headers["ETag"]
        only, _ = await _page(served, PAGES[1], Accept=JSON, **{"Accept-Encoding": "zstd"})
        assert only.headers["ETag"] == short.headers["ETag"]


async def test_cn_13_a_new_file_gives_a_new_tag(demo: Start) -> None:
    async with demo() as served:
        before, _ = await _page(served, "/simple/demo/", Accept=JSON)
        await served.put(build_wheel("demo", "2.0"))
        after, body = await _page(served, "/simple/demo/", Accept=JSON, **{"If-None-Match": before.headers["ETag"]})
        assert after.status == 200
        assert json.loads(body)["versions"] == ["1.0", "2.0"]


async def test_cn_13_who_may_not_read_learns_nothing_from_a_tag(demo: Start) -> None:
    """uv offers the tag of a page that it got with credentials when it asks without."""
    async with demo() as served:
        anna = await served.user("anna")
        await served.index("anna/private", acl_read=("anna",))
        await served.put(build_wheel("secret", "1.0"), index=IndexName("anna/private"))
        for path in ("/anna/private/+simple/", "/anna/private/+simple/secret/"):
            answer, _ = await _page(served, path, **anna)
            for tag in (answer.headers["ETag"], "*"):
                refused, _ = await _page(served, path, **{"If-None-Match": tag})
                assert refused.status == 401


async def test_cn_16_a_huge_accept_is_bounded(demo: Start) -> None:
    async with demo() as served:
        answer, _ = await _page(
            served, "/simple/demo/", Accept=", ".join(f"a/b{number}" for number in range(900)) + f", {JSON}"
        )
        assert answer.status == 406


# HT and JS: what is visible over HTTP only


async def test_ht_04_ht_13_js_01_lists_and_pages_say_version_and_serial(demo: Start) -> None:
    async with demo() as served:
        for path in PAGES:
            answer, body = await _page(served, path, Accept=HTML)
            assert b'<meta name="pypi:repository-version" content="1.4">' in body
            html_serial = re.search(rb"<!--SERIAL ([0-9]+)-->\n\Z", body)
            assert html_serial is not None
            answer, body = await _page(served, path, Accept=JSON)
            meta = json.loads(body)["meta"]
            assert meta["api-version"] == "1.4"
            assert meta["_last-serial"] == int(html_serial[1]) > 0
            # A list's bytes name only what the list depends on; its header, like PyPI's, names the newest commit of all.
            newest = meta["_last-serial"] if "demo" in path else await served.engine.store.head()
            assert int(answer.headers["X-PyPI-Last-Serial"]) == newest
            assert "X-PyPI-Last-Serial" in answer.headers["Access-Control-Expose-Headers"]
            assert int(answer.headers["X-Devpi-Serial"]) == await served.engine.store.head()
            assert answer.headers["Access-Control-Allow-Origin"] == "*"


async def test_ht_13_the_serial_of_a_page_grows_with_the_page_alone(demo: Start) -> None:
    async with demo() as served:
        first, _ = await _page(served, "/simple/demo/")
        await served.put(build_wheel("other", "1.0"))
        second, _ = await _page(served, "/simple/demo/")
        assert second.headers["X-PyPI-Last-Serial"] == first.headers["X-PyPI-Last-Serial"]
        await served.put(build_wheel("demo", "2.0"))
        third, _ = await _page(served, "/simple/demo/")
        assert int(third.headers["X-PyPI-Last-Serial"]) > int(second.headers["X-PyPI-Last-Serial"])


async def test_ht_14_pages_cannot_run_anything(demo: Start) -> None:
    """Of these only home has a script, that of the search, by its URL."""
    ours = re.compile(rb'<script src="\./\+search\.js\?v=[0-9a-f]+" defer></script>')
    async with demo() as served:
        for path in (*PAGES, "/", "/simple/none/", "/<script>alert(1)</script>"):
            answer, body = await _page(served, path, Accept=BROWSER)
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            if answer.content_type != "application/json":
                assert b"<script" not in (ours.sub(b"", body) if path == "/" else body)


async def test_js_12_upload_times_and_sizes_are_there(demo: Start) -> None:
    async with demo() as served:
        _, body = await _page(served, "/simple/demo/", Accept=JSON)
        for file in json.loads(body)["files"]:
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", file["upload-time"])
            answer, data = await _page(served, urljoin("/simple/demo/", file["url"]))
            assert file["size"] == len(data) == int(answer.headers["Content-Length"])


# Caching, methods, and mirrors that do not answer


async def test_hosted_pages_are_asked_for_each_time(demo: Start) -> None:
    """Publish-then-install within one CI run: a page that may grow by an upload is never kept without asking."""
    async with demo() as served:
        for path in PAGES:
            answer, _ = await _page(served, path)
            assert answer.headers["Cache-Control"] == "public, max-age=0, must-revalidate"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
async def test_up_15_other_methods_on_simple_pages_are_405(demo: Start, method: str) -> None:
    async with demo() as served:
        for path in (*PAGES, "/simple", "/simple/demo"):
            async with served.request(method, path, data=b"x" * 100_000 if method == "POST" else None) as answer:
                body = await answer.text()
                assert answer.status == 405
                assert answer.headers["Allow"] == "HEAD, GET"
                assert answer.headers["Cache-Control"] == "no-store"
                assert "send uploads to /legacy/" in body


class _Mirror:
    """A refresher with a scripted mood."""

    def __init__(self) -> None:
        self.freshness = Freshness(state="fresh")
        self.fails = False

    def is_current(self, index: IndexConfig, project: ProjectName, standing: Standing) -> bool:
        return False

    async def refresh(
        self, index: IndexConfig, project: ProjectName, standing: Standing, *, again: bool = False
    ) -> Freshness:
        if self.fails and not standing.holds:
            raise Unavailable("the upstream does not answer\r\nX-Injected: yes", retry_after=17)
        return self.freshness

    async def names(self, index: IndexConfig, *, ask: bool = True) -> Names:
        return Names(read=lambda _: held([]), stamp=Serial(0), freshness=self.freshness)


@pytest.fixture
def mirrored(demo: Start) -> Callable[[], AbstractAsyncContextManager[tuple[Served, _Mirror]]]:
    """The same, and a mirror below with a project of its own."""

    @asynccontextmanager
    async def start() -> AsyncIterator[tuple[Served, _Mirror]]:
        async with demo() as served:
            mirror = _Mirror()
            served.engine.sources.by_type["mirror"] = mirror  # type: ignore[index, assignment]  # as much of one as is asked here
            await served.index("root/pypi", type="mirror", mirror_url="https://upstream.example.com/simple/")
            await served.index("root/both", bases=(IndexName("root/dev"), IndexName("root/pypi")))
            file = File(filename="public-1.0-py3-none-any.whl", version="1.0", digests={"sha256": "a" * 64}, size=5)
            page = MirrorPage(
                IndexName("root/pypi"), ProjectName("public"), PageHead(display_name="public"), put=(file,)
            )
            await served.engine.store.apply([page], who="[test]")
            yield served, mirror

    return start


async def test_mirrored_pages_are_asked_for_each_time(
    mirrored: Callable[[], AbstractAsyncContextManager[tuple[Served, _Mirror]]],
) -> None:
    """uv keeps a page for as long as it may, and does not see meanwhile what we know. A 304 costs next to nothing."""
    async with mirrored() as (served, _):
        for path in ("/root/both/+simple/public/", "/root/pypi/+simple/public/", "/root/both/+simple/demo/"):
            answer, _ = await _page(served, path)
            assert answer.headers["Cache-Control"] == "public, max-age=0, must-revalidate"
            again, body = await _page(served, path, **{"If-None-Match": answer.headers["ETag"]})
            assert (again.status, body) == (304, b"")


async def test_stale_pages_say_so_and_are_not_kept(
    mirrored: Callable[[], AbstractAsyncContextManager[tuple[Served, _Mirror]]],
) -> None:
    async with mirrored() as (served, mirror):
        fresh, body = await _page(served, "/root/both/+simple/public/", Accept=JSON)
        mirror.freshness = Freshness(state="stale", reason="answered 503\r\nX-Injected: yes")
        answer, same = await _page(served, "/root/both/+simple/public/", Accept=JSON)
        assert (answer.status, same) == (200, body)
        assert answer.headers["ETag"] == fresh.headers["ETag"]
        assert answer.headers["Cache-Control"] == "public, max-age=0, must-revalidate"
        assert answer.headers["Warning"].startswith("110 ")
        assert answer.headers["X-PkgIndex-Stale"].startswith("root/pypi: answered 503")
        assert "X-Injected" not in answer.headers
        again, _ = await _page(
            served, "/root/both/+simple/public/", Accept=JSON, **{"If-None-Match": fresh.headers["ETag"]}
        )
        assert again.status == 304
        assert "X-PkgIndex-Stale" in again.headers


async def test_unknown_is_503_and_never_404(
    mirrored: Callable[[], AbstractAsyncContextManager[tuple[Served, _Mirror]]],
) -> None:
    async with mirrored() as (served, mirror):
        answer, _ = await _page(served, "/root/both/+simple/other/")
        assert answer.status == 404
        mirror.fails = True
        for accept in ("*/*", JSON, BROWSER):
            answer, body = await _page(served, "/root/both/+simple/other/", Accept=accept)
            assert answer.status == 503
            assert answer.headers["Retry-After"] == "2"
            assert answer.headers["Cache-Control"] == "no-store"
            assert b"does not answer" in body
            assert "X-Injected" not in answer.headers
        answer, _ = await _page(served, "/root/dev/+simple/other/")
        assert answer.status == 404


async def test_a_deleted_file_leaves_its_page(demo: Start) -> None:
    async with demo() as served:
        await served.engine.store.apply([DropFile(HOSTED, ProjectName("demo"), "demo-1.0.tar.gz")], who="[test]")
        assert [name for _, name in await _links(served, "/simple/demo/", JSON)] == ["demo-1.0-py3-none-any.whl"]
