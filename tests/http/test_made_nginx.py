"""The file of `gen-config nginx` as it is written, in a real nginx before a real server, with real clients; and the files that nginx sends."""

from __future__ import annotations

import asyncio
import random
import ssl
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from click.testing import CliRunner

from pkgindex_core.errors import Refused
from pkgindex_core.testing.wheels import BuiltFile, build_wheel
from pkgindex_http.cli import main
from pkgindex_http.settings import load_settings
from pkgindex_http.wire.handing_over import FAILED
from pkgindex_mirror.testing import ScriptedUpstream
from tests.clients.running import executable, run
from tests.directory import free_port
from tests.http.conftest import HOSTED, MIRROR, PASSWORD, Serve, Served
from tests.proxy import nginx

ACCEL = {"accel_redirect": "/+blobs/", "trusted_proxies": ("127.0.0.1",)}
ON_DISK = {"store": "", "blobs": ""}
LARGE = build_wheel("large", "1.0", files={"large.bin": random.Random(1).randbytes(300_000)})


class Front:
    """nginx with the file, and the authority of its certificate."""

    def __init__(self, url: str, authority: Path) -> None:
        self.url = url
        self.authority = authority
        self.tls = ssl.create_default_context(cafile=str(authority))

    @property
    def environment(self) -> dict[str, str]:
        """Makes pip, uv, twine and curl trust the certificate."""
        names = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
        return {name: str(self.authority) for name in names}


@asynccontextmanager
async def fronted(
    serve: Serve, place: Path, *, blobs: Path | None = None, scheme: str = "https", **options: Any
) -> AsyncIterator[tuple[Served, Front]]:
    """A server, and nginx with the file that its settings make. `blobs`: the directory that the file is told."""
    port, other = free_port(), free_port()
    outside = f"{scheme}://localhost:{port}{options.get('mount', '')}"
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(str(place / "authority.pem"))
    issued.cert_chain_pems[0].write_to_path(str(place / "certificate.pem"))
    issued.private_key_pem.write_to_path(str(place / "key.pem"))
    async with serve(outside_url=outside, **ON_DISK, **options) as served:
        variables = {
            f"PKGINDEX_{name.upper()}": str(options[name]) for name in ("accel_redirect", "mount") if name in options
        }
        words = ["gen-config", "nginx", "--port", str(served.address[1]), "--outside-url", outside, "--data", str(place / "data"),
                 "--certificate", str(place / "certificate.pem"), "--key", str(place / "key.pem")]  # fmt: skip
        words += [word for network in options.get("trusted_proxies", ()) for word in ("--trusted-proxies", network)]
        words += ["--blobs", blobs.as_uri()] if blobs else []
        made = CliRunner().invoke(main, words, env=variables)
        assert made.exit_code == 0, made.output
        # Only one thing is changed: the port of plain HTTP, which is not free on every machine.
        file = made.stdout.replace("listen 80;", f"listen {other};").replace("listen [::]:80;", f"listen [::]:{other};")
        (place / "front").mkdir()
        async with nginx(place / "front", file, port):
            yield served, Front(outside, place / "authority.pem")


def url_of(built: BuiltFile, index: str = HOSTED) -> str:
    return f"/{index}/+f/{built.sha256[:3]}/{built.sha256[3:16]}/{built.filename}"


async def works(*words: str | Path, front: Front, **env: str) -> str:
    ran = await run(*words, env={**front.environment, **env})
    assert ran.status == 0, ran.output
    return ran.output


@pytest.mark.parametrize("options", [{}, ACCEL, {"mount": "/pypi"}], ids=["plain", "accelerated", "below a path"])
async def test_real_clients_publish_and_install_through_it(
    serve: Serve, tmp_path: Path, options: dict[str, Any]
) -> None:
    one, other = build_wheel("demo", "1.0"), LARGE
    for built in (one, other):
        (tmp_path / built.filename).write_bytes(built.data)
    async with fronted(serve, tmp_path, **options) as (served, front):
        root = {"UV_PUBLISH_USERNAME": "root", "UV_PUBLISH_PASSWORD": PASSWORD}
        await works(
            executable("twine"), "upload", "--non-interactive", "--disable-progress-bar", "--repository-url", f"{front.url}/legacy/",
            "-u", "root", "-p", PASSWORD, tmp_path / one.filename, front=front,
        )  # fmt: skip
        await works(
            executable("uv"),
            "publish",
            "--publish-url",
            f"{front.url}/legacy/",
            tmp_path / other.filename,
            front=front,
            **root,
        )
        installing = {
            "pip": (sys.executable, "-m", "pip", "install", "--no-cache-dir", "--disable-pip-version-check"),
            "uv": (executable("uv"), "pip", "install", "--no-cache", "--python", sys.executable),
        }
        for name, words in installing.items():
            target = tmp_path / name
            await works(*words, "--index-url", f"{front.url}/simple/", "--target", target, "demo", "large", front=front)
            assert (target / "large.bin").read_bytes() == random.Random(1).randbytes(300_000)
        counted = served.server.served_files.of(HOSTED, sidecar=False)
        assert counted.store.answers == 4
        assert counted.store.size == 2 * (len(one.data) + len(other.data))


async def test_it_speaks_http2_and_plain_http_leads_to_it(serve: Serve, tmp_path: Path) -> None:
    async with fronted(serve, tmp_path) as (_served, front):
        shown = await works("curl", "-sS", "--http2", "-o", tmp_path / "page", "-w", "%{http_version} %{http_code}", f"{front.url}/simple/", front=front)  # fmt: skip
        assert shown == "2 200"
        configuration = (tmp_path / "front/nginx.conf").read_text()
        assert f"return 301 {front.url}/;" in configuration


@asynccontextmanager
async def asking(front: Front) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(ssl=front.tls)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as client:
        yield client


COMPARED = (
    "Content-Type", "Content-Length", "Content-Range", "ETag", "Last-Modified", "Cache-Control", "Accept-Ranges",
    "Access-Control-Allow-Origin", "X-Content-Type-Options", "Content-Security-Policy", "Referrer-Policy",
)  # fmt: skip

ETAG = f'"{LARGE.sha256}"'
REQUESTS: Mapping[str, tuple[str, dict[str, str], int, bool]] = {
    "whole": ("GET", {}, 200, True),
    "a head": ("HEAD", {}, 200, False),
    "a range": ("GET", {"Range": "bytes=1000-200000"}, 206, True),
    "the end": ("GET", {"Range": "bytes=-1000"}, 206, True),
    "from the middle": ("GET", {"Range": "bytes=250000-"}, 206, True),
    "the range of a known file": ("GET", {"Range": "bytes=5-9", "If-Range": ETAG}, 206, True),
    "the range of another file": ("GET", {"Range": "bytes=5-9", "If-Range": '"other"'}, 200, False),
    "beyond the end": ("GET", {"Range": "bytes=99999999-"}, 416, False),
    "no range": ("GET", {"Range": "bytes=9-5"}, 200, False),
    "two ranges": ("GET", {"Range": "bytes=0-1,5-6"}, 200, False),
    "a known file": ("GET", {"If-None-Match": ETAG}, 304, False),
    "another file": ("GET", {"If-None-Match": '"other"'}, 200, True),
    "only this file": ("GET", {"If-Match": ETAG}, 200, False),
    "only another file": ("GET", {"If-Match": '"other"'}, 412, False),
    "an old copy": ("GET", {"If-Modified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"}, 200, True),
}
"""Method and headers; the status; whether nginx sends the body."""


@pytest.fixture
def handed_over(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The URLs with which the server handed files over."""
    from pkgindex_http.wire.handing_over import Handover

    urls: list[str] = []
    original = Handover.url

    def watched(self: Handover, *arguments: Any) -> str:
        urls.append(original(self, *arguments))
        return urls[-1]

    monkeypatch.setattr(Handover, "url", watched)
    return urls


async def test_an_answer_of_nginx_is_that_of_the_server(serve: Serve, tmp_path: Path, handed_over: list[str]) -> None:
    async with fronted(serve, tmp_path, **ACCEL) as (served, front), asking(front) as client:
        await served.put(LARGE)
        for name, (method, headers, status, by_nginx) in REQUESTS.items():
            answers = []
            for base, extra in ((front.url, {}), (served.url, {FAILED: "1"})):
                handed_over.clear()
                async with client.request(
                    method, base + url_of(LARGE), headers={**headers, **extra, "Accept-Encoding": "identity"}
                ) as answer:
                    body = await answer.read()
                    answers.append((answer.status, {key: answer.headers.get(key) for key in COMPARED}, body))
                    assert "X-Accel-Redirect" not in answer.headers
                assert any(handed_over) == (by_nginx and not extra), name
            through, direct = answers
            if status in {412, 416}:  # errors are texts
                assert through[0] == direct[0] == status, name
            else:
                assert (name, *through) == (name, *direct)
                assert through[0] == status, name


async def test_sidecars_and_empty_parts_of_the_path_are_sent_too(
    serve: Serve, tmp_path: Path, handed_over: list[str]
) -> None:
    async with fronted(serve, tmp_path, **ACCEL) as (served, front), asking(front) as client:
        await served.put(LARGE)
        async with client.get(f"{front.url}{url_of(LARGE)}.metadata") as answer:
            assert (answer.status, await answer.read()) == (200, LARGE.metadata)
            assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert all(handed_over)
        async with client.get(f"{front.url}{handed_over[0]}") as answer:
            assert answer.status == 404, "the location is internal"


async def test_files_that_nginx_cannot_read_come_from_the_server(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "elsewhere").mkdir()
    async with (
        fronted(serve, tmp_path, blobs=tmp_path / "elsewhere", **ACCEL) as (served, front),
        asking(front) as client,
    ):
        await served.put(LARGE)
        for headers, expected in (({}, LARGE.data), ({"Range": "bytes=5-9"}, LARGE.data[5:10])):
            async with client.get(front.url + url_of(LARGE), headers=headers) as answer:
                assert (answer.status, await answer.read()) == (206 if headers else 200, expected)
                assert answer.headers["ETag"] == ETAG
        assert caplog.text.count("the proxy cannot read") == 1


async def test_a_mirrored_file_is_sent_by_the_server_when_it_arrives_when_it_is_there_and_after_it_was_evicted(
    serve: Serve, tmp_path: Path, handed_over: list[str]
) -> None:
    async with ScriptedUpstream() as upstream:
        upstream.add("large", LARGE)
        async with (
            fronted(serve, tmp_path, mirrors=True, upstream=upstream.url, **ACCEL) as (_served, front),
            asking(front) as client,
        ):

            async def downloads() -> None:
                async with client.get(front.url + url_of(LARGE, MIRROR)) as answer:
                    assert (answer.status, await answer.read()) == (200, LARGE.data)

            await downloads()
            mirrored = tmp_path / "data/blobs/mirrored/sha256" / LARGE.sha256[:2] / LARGE.sha256
            while not mirrored.exists():  # it is stored after the answer
                await asyncio.sleep(0.01)
            while not handed_over:  # until it is sent from the disk
                await downloads()
            assert upstream.count("file") == 1
            assert handed_over == [""], "the server sends the stored file itself"
            while upstream.count("file") == 1:  # until nothing of it is in memory
                mirrored.unlink(missing_ok=True)
                await downloads()
            assert not any(handed_over)


async def test_only_what_comes_through_a_trusted_proxy_is_handed_over(serve: Serve) -> None:
    async with serve(accel_redirect="/+blobs/", trusted_proxies=("192.0.2.1",), **ON_DISK) as served:
        await served.put(LARGE)
        async with served.get(url_of(LARGE)) as answer:
            assert "X-Accel-Redirect" not in answer.headers
            assert await answer.read() == LARGE.data


async def test_a_server_that_trusts_no_proxy_does_not_start(serve: Serve) -> None:
    with pytest.raises(Refused, match="accel_redirect needs trusted_proxies"):
        async with serve(accel_redirect="/+blobs/"):
            pass


@pytest.mark.parametrize("value", ["/", "/a b/", "/a;b/", "/$x/", "/../", "/a\n/"])
def test_a_location_that_nginx_would_misread_is_refused(value: str) -> None:
    with pytest.raises(Refused, match="accel-redirect: write a path"):
        load_settings(environ={}, flags={"accel_redirect": value})


def test_a_location_has_a_slash_at_both_ends() -> None:
    assert load_settings(environ={}, flags={"accel_redirect": "+blobs"}).accel_redirect == "/+blobs/"
