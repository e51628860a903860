"""Projects over HTTP as the routes of a file say: folders, redirects, caches, pages as they are, plugins, and what none of them gives away."""

from __future__ import annotations

import asyncio
import importlib.metadata
import sys
import types
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from msgspec import Struct

from pkgindex_core.errors import Refused
from pkgindex_core.names import IndexName
from pkgindex_core.plugins import load_plugins
from pkgindex_core.protocols import Principal
from pkgindex_core.rules.negotiation import JSON_V1
from pkgindex_core.testing.wheels import BuiltFile, build_sdist, build_wheel
from pkgindex_http import plugin
from pkgindex_http.commands.directories import DirectoryOptions, server_settings
from pkgindex_http.commands.routing import routed
from pkgindex_http.opening import opened_engine
from pkgindex_http.server import Server
from pkgindex_http.simpleindex import indexes
from pkgindex_http.simpleindex.settings import read_settings
from pkgindex_mirror.testing import ScriptedUpstream
from tests.http.conftest import PASSWORD, Served, basic

ROOT = Principal(name="root")
CORE = build_wheel("corp-core", "1.0")
NEWER = build_sdist("corp-core", "2.0")
WEB = build_wheel("corp-web", "1.0")
STRANGER = build_wheel("stranger", "1.0")
DEMO = build_wheel("demo", "1.0")
FILE = """\
[routes."corp-{name}"]
source = "path"
to = "./corp-{name}"

[routes."{project}"]
source = "http"
to = "UPSTREAM{project}/"
"""
CACHED = f'{FILE}mode = "cache"\n'


class Routed(Served):
    """A running server and the directory of its file."""

    directory: Path

    def drop(self, folder: str, *built: BuiltFile) -> None:
        place = self.directory / folder
        place.mkdir(parents=True, exist_ok=True)
        for each in built:
            (place / f".{each.filename}").write_bytes(each.data)
            (place / f".{each.filename}").replace(place / each.filename)

    async def answer(self, path: str, **headers: str) -> tuple[int, str]:
        """The status, and where a redirect leads."""
        async with self.get(path, headers=headers) as answer:
            return answer.status, answer.headers.get("Location", "")

    async def names(self, path: str) -> list[str]:
        """The files of a page."""
        async with self.get(path, headers={"Accept": JSON_V1}) as answer:
            assert answer.status == 200, await answer.text()
            return [file["filename"] for file in (await answer.json(content_type=None))["files"]]


Open = Callable[..., AbstractAsyncContextManager[Routed]]


@pytest.fixture
def route(tmp_path: Path) -> Open:
    """Serve the routes of a text, in which UPSTREAM stands for the URL of an upstream."""

    @asynccontextmanager
    async def start(
        text: str = FILE, upstream: str = "https://pypi.example/simple/", **flags: Any
    ) -> AsyncIterator[Routed]:
        (tmp_path / "index.toml").write_text(text.replace("UPSTREAM", upstream))
        found = routed(str(tmp_path / "index.toml"), ())
        settings = server_settings(
            None, (), DirectoryOptions(), defaults=found.defaults,
            **{"data": str(tmp_path / "data"), "root_password": PASSWORD, "access_log": False, **flags},
        )  # fmt: skip
        settings = found.added_to(settings)
        plugins = load_plugins(program=plugin, settings=settings.plugins)
        async with opened_engine(settings, plugins=plugins) as engine:
            server = Server(engine, settings)
            await indexes.prepare(engine, settings, read_settings(settings.plugins["routes"]))
            host, port = (await server.start("127.0.0.1", 0))[0]
            try:
                async with aiohttp.ClientSession(headers={"Accept-Encoding": "identity"}) as client:
                    served = Routed(server, f"http://{host}:{port}", client)
                    served.directory = tmp_path
                    yield served
            finally:
                await server.stop()

    return start


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as running:
        running.add("demo", DEMO)
        running.add("corp-core", build_wheel("corp-core", "99.0"))
        running.add("corp-new", build_wheel("corp-new", "99.0"))
        yield running


class TestFolders:
    @pytest.mark.parametrize("path", ["/corp-core/", "/simple/corp-core/", "/root/routes/+simple/corp-core/"])
    async def test_a_project_has_the_files_of_its_folder_that_are_its_own(self, route: Open, path: str) -> None:
        async with route() as served:
            served.drop("corp-core", CORE, NEWER, STRANGER, WEB)
            assert await served.names(path) == [CORE.filename, NEWER.filename]

    async def test_a_page_has_what_a_page_of_an_index_has(self, route: Open) -> None:
        async with route() as served:
            served.drop("corp-core", CORE)
            async with served.get("/corp-core/", headers={"Accept": JSON_V1}) as answer:
                (file,) = (await answer.json(content_type=None))["files"]
                tag = answer.headers["ETag"]
            assert file["hashes"] == {"sha256": CORE.sha256}
            assert file["core-metadata"]
            assert file["size"] == CORE.size
            url = f"{served.url}/corp-core/{file['url']}"
            for end, data in (("", CORE.data), (".metadata", CORE.metadata)):
                async with served.client.get(url + end) as answer:
                    assert await answer.read() == data
            assert await served.answer("/corp-core/", **{"Accept": JSON_V1, "If-None-Match": tag}) == (304, "")

    async def test_files_appear_and_disappear_while_the_server_runs(self, route: Open) -> None:
        async with route() as served:
            page = "/root/routes/+simple/corp-new/"
            assert (await served.answer("/corp-new/"))[0] == 404
            served.drop("corp-new", build_wheel("corp-new", "1.0"))
            refresh = {"headers": basic("root"), "allow_redirects": False}
            async with served.client.post(f"{served.url}{page}refresh", **refresh) as answer:
                assert answer.status == 302
            assert len(await served.names("/corp-new/")) == 1
            (served.directory / "corp-new" / build_wheel("corp-new", "1.0").filename).unlink()
            async with served.client.post(f"{served.url}{page}refresh", **refresh) as answer:
                assert answer.status in {302, 404}
            assert (await served.answer("/corp-new/"))[0] == 404

    async def test_a_file_is_below_its_page_too(self, route: Open) -> None:
        async with route() as served:
            served.drop("corp-core", CORE, WEB)
            await served.names("/corp-core/")
            async with served.get(f"/corp-core/{CORE.filename}", headers={"Range": "bytes=0-3"}) as answer:
                assert (answer.status, await answer.read()) == (206, CORE.data[:4])
            for filename in (WEB.filename, "corp_core-9.0.tar.gz", "index.toml"):
                assert (await served.answer(f"/corp-core/{filename}"))[0] == 404

    async def test_a_folder_below_a_path_is_another_index(self, route: Open) -> None:
        text = '[routes."team/{project}"]\nsource = "path"\nto = "./{project}"\n[routes.pool]\nsource = "path"\nto = "pool"\n'
        async with route(text) as served:
            served.drop("pool", build_wheel("pool", "1.0"))
            served.drop("corp-core", CORE)
            assert await served.names("/team/corp-core/") == [CORE.filename]
            assert (await served.answer(f"/team/corp-core/{CORE.filename}"))[0] == 200
            assert await served.answer("/team/corp-core") == (301, "corp-core/")
            assert (await served.answer("/corp-core/"))[0] == 404
            assert len(await served.names("/pool/")) == 1
            assert (await served.answer("/team/stray/"))[0] == 404

    async def test_lists_have_what_folders_have(self, route: Open) -> None:
        async with route() as served:
            served.drop("corp-core", CORE)
            served.drop("corp-web", WEB)
            served.drop("other", STRANGER)
            async with served.get("/simple/", headers={"Accept": JSON_V1}) as answer:
                names = [each["name"] for each in (await answer.json(content_type=None))["projects"]]
            assert names == ["corp-core", "corp-web"]

    async def test_a_folder_that_cannot_be_asked_is_unknown_and_not_absent(self, route: Open) -> None:
        text = '[routes."corp-{name}"]\nsource = "path"\nto = "mounted/corp-{name}"\n'
        async with route(text) as served:
            async with served.get("/corp-core/") as answer:
                assert answer.status == 503
                assert answer.headers["Retry-After"]
            served.drop("mounted/corp-core", CORE)
            assert await served.names("/corp-core/") == [CORE.filename]

    async def test_nothing_is_written(self, route: Open) -> None:
        async with route() as served:
            served.drop("corp-core", CORE)
            for path in ("/", "/legacy/", "/root/routes/"):
                form = aiohttp.FormData(default_to_multipart=True)
                form.add_field(":action", "file_upload")
                form.add_field("content", WEB.data, filename=WEB.filename)
                async with served.client.post(f"{served.url}{path}", data=form, headers=basic("root")) as answer:
                    assert answer.status in {400, 403, 405}, path
            assert not (served.directory / "corp-web").exists()


class TestRedirects:
    async def test_the_client_is_sent_on_and_nobody_is_asked(self, route: Open, upstream: ScriptedUpstream) -> None:
        async with route(upstream=upstream.url) as served:
            for path in ("/demo/", "/simple/demo/", "/nothing/"):
                name = path.split("/")[-2]
                assert await served.answer(path) == (302, f"{upstream.url}{name}/")
            assert (await served.answer("/demo/demo-1.0.tar.gz"))[0] == 404
            await upstream.stop()
            assert (await served.answer("/demo/"))[0] == 302
        assert not upstream.asked

    async def test_another_spelling_of_a_claimed_name_does_not_reach_the_next_route(self, route: Open) -> None:
        async with route() as served:
            for name in ("Corp_Core", "corp.core", "CORP--core"):
                assert await served.answer(f"/{name}/") == (301, "../corp-core/")
                assert await served.answer(f"/{name}") == (301, "corp-core/")
                assert (await served.answer(f"/simple/{name}/"))[0] == 301

    async def test_an_index_has_nothing_of_what_is_redirected(self, route: Open) -> None:
        async with route() as served:
            assert (await served.answer("/root/routes/+simple/demo/"))[0] == 404

    async def test_parameters_before_the_project_are_filled_in(self, route: Open) -> None:
        text = '[routes."{channel}/{project}"]\nsource = "http"\nto = "https://far.example/{channel}/{project}/"\n'
        async with route(text) as served:
            assert await served.answer("/main/demo/") == (302, "https://far.example/main/demo/")
            assert (await served.answer("/root/routes", Accept="application/json"))[0] in {200, 301, 302}

    async def test_routes_may_begin_with_simple(self, route: Open) -> None:
        text = '[routes."simple/{project}"]\nsource = "http"\nto = "https://far.example/{project}/"\n'
        async with route(text) as served:
            assert await served.answer("/simple/demo/") == (302, "https://far.example/demo/")
            assert (await served.answer("/demo/"))[0] == 404


class TestCaches:
    async def test_a_page_and_its_files_come_through_the_cache(self, route: Open, upstream: ScriptedUpstream) -> None:
        async with route(CACHED, upstream.url) as served:
            assert await served.names("/demo/") == [DEMO.filename]
            async with served.get("/demo/", headers={"Accept": JSON_V1}) as answer:
                (file,) = (await answer.json(content_type=None))["files"]
            for _ in range(2):
                async with served.client.get(f"{served.url}/demo/{file['url']}") as answer:
                    assert await answer.read() == DEMO.data
                await upstream.stop()

    async def test_an_upstream_that_cannot_be_asked_is_503(self, route: Open, upstream: ScriptedUpstream) -> None:
        await upstream.stop()
        async with route(CACHED, upstream.url) as served, served.get("/demo/") as answer:
            assert answer.status == 503
            assert answer.headers["Retry-After"]

    async def test_a_page_that_is_kept_is_served_as_stale(self, route: Open, upstream: ScriptedUpstream) -> None:
        async with route(CACHED, upstream.url) as served:
            assert await served.names("/demo/") == [DEMO.filename]
            await upstream.stop()
            headers = basic("root")
            async with served.client.post(f"{served.url}/root/routes/+simple/demo/refresh", headers=headers):
                pass
            async with served.get("/demo/", headers={"Accept": JSON_V1}) as answer:
                assert answer.status == 200
                assert "X-PkgIndex-Stale" in answer.headers
                assert [file["filename"] for file in (await answer.json(content_type=None))["files"]] == [DEMO.filename]

    async def test_an_absent_project_is_404(self, route: Open, upstream: ScriptedUpstream) -> None:
        async with route(CACHED, upstream.url) as served:
            assert (await served.answer("/nothing/"))[0] == 404

    async def test_a_name_that_a_folder_claims_is_never_asked_of_the_upstream(
        self, route: Open, upstream: ScriptedUpstream
    ) -> None:
        """Whether the folder has files, is missing, or had some yesterday."""
        async with route(CACHED, upstream.url) as served:
            served.drop("corp-core", CORE)
            assert await served.names("/corp-core/") == [CORE.filename]
            for name in ("corp-new", "Corp_New", "corp.core"):
                await served.answer(f"/{name}/")
                await served.answer(f"/simple/{name}/")
                await served.answer(f"/root/routes/+simple/{name}/")
            assert (await served.answer("/corp-new/"))[0] == 404
            (served.directory / "corp-core" / CORE.filename).unlink()
            headers = basic("root")
            async with served.client.post(f"{served.url}/root/routes/+simple/corp-core/refresh", headers=headers):
                pass
            assert (await served.answer("/corp-core/"))[0] == 404
            assert (await served.answer("/pypi/corp-core/json"))[0] == 404
            assert (await served.answer("/simple/"))[0] == 200
        assert [each.path for each in upstream.asked if "corp" in each.path] == []

    async def test_two_upstreams_with_a_route_each(self, route: Open, upstream: ScriptedUpstream) -> None:
        async with ScriptedUpstream() as torch:
            torch.add("torch", build_wheel("torch", "2.0"))
            first = f'[routes.torch]\nsource = "http"\nto = "{torch.url}torch/"\nmode = "cache"\n'
            async with route(first + CACHED, upstream.url) as served:
                assert await served.names("/torch/") == ["torch-2.0-py3-none-any.whl"]
                assert await served.names("/demo/") == [DEMO.filename]
                assert (await served.answer("/torch-x/"))[0] == 404
            assert {each.path.split("/")[-2] for each in torch.asked if each.place == "page"} == {"torch"}
        assert not [each for each in upstream.asked if each.path.endswith("/torch/")]

    async def test_another_file_counts_after_a_restart(self, route: Open, upstream: ScriptedUpstream) -> None:
        async with route(CACHED, upstream.url) as served:
            assert await served.names("/demo/") == [DEMO.filename]
        other = '[routes."{project}"]\nsource = "path"\nto = "pool"\n'
        async with route(other) as served:
            served.drop("pool", CORE)
            assert await served.names("/corp-core/") == [CORE.filename]
            assert (await served.answer("/demo/"))[0] == 404
        asked = len(upstream.asked)
        async with route(CACHED, upstream.url) as served:
            assert await served.names("/demo/") == [DEMO.filename]
            assert (await served.answer("/corp-core/"))[0] == 404
        assert not [each for each in upstream.asked[asked:] if "corp" in each.path]

    async def test_explain_names_the_route_that_decides(self, route: Open, upstream: ScriptedUpstream) -> None:
        async with route(CACHED, upstream.url) as served:
            for name, said in (
                ("corp-core", "the route 'corp-{name}' (index.toml, line 1)"),
                ("demo", "the route '{project}' (index.toml, line 5)"),
            ):
                async with served.get(f"/+explain?project={name}", headers=basic("root")) as answer:
                    assert answer.status == 200
                    text = await answer.text()
                    assert said in text
                    assert str(served.directory) not in text, "a path of the server"


class TestWrittenPagesAndWholeFolders:
    async def test_a_page_in_a_file_is_sent_as_it_is(self, route: Open) -> None:
        text = '[routes."{project}"]\nsource = "path"\nto = "pages/{project}.html"\n'
        async with route(text) as served:
            served.drop("pages")
            (served.directory / "pages/hand.html").write_text("<a href='https://x.example/'>x</a>")
            async with served.get("/hand/") as answer:
                assert (answer.status, await answer.text()) == (200, "<a href='https://x.example/'>x</a>")
                assert answer.headers["Content-Type"].startswith("text/html")
            assert (await served.answer("/none/"))[0] == 404

    async def test_a_whole_folder_shows_under_every_name(self, route: Open) -> None:
        text = '[routes."all-{x}"]\nsource = "path"\nto = "pool"\nwhole_folder = true\n'
        async with route(text) as served:
            served.drop("pool", CORE, WEB)
            (served.directory / "pool/notes.txt").touch()
            (served.directory / "pool/link-1.0.tar.gz").symlink_to("/etc/hostname")
            async with served.get("/all-x/") as answer:
                page = await answer.text()
            assert page.count("<a ") == 2
            async with served.get(f"/all-y/{WEB.filename}", headers={"Range": "bytes=-4"}) as answer:
                assert (answer.status, await answer.read()) == (206, WEB.data[-4:])
            for name in ("notes.txt", "link-1.0.tar.gz", ".hidden-1.0.tar.gz", "none-1.0.tar.gz"):
                assert (await served.answer(f"/all-y/{name}"))[0] == 404
            assert (await served.answer("/other/"))[0] == 404


class TestReaders:
    """Indexes of routes have readers, as others have."""

    async def test_a_path_has_readers_of_its_own(self, route: Open) -> None:
        text = (
            '[routes."team/{project}"]\nsource = "path"\nto = "pool"\nwhole_folder = true\n'
            '[routes."all-{x}"]\nsource = "path"\nto = "pool"\nwhole_folder = true\n'
        )
        async with route(text) as served:
            served.drop("pool", WEB)
            assert (await served.answer("/team/corp-web/"))[0] == 200
            await served.engine.indexes.modify(IndexName("root/routes-team"), {"acl_read": ["root"]}, principal=ROOT)
            for path in ("/team/corp-web/", f"/team/corp-web/{WEB.filename}"):
                assert (await served.answer(path))[0] == 401
                assert (await served.answer(path, **basic("root")))[0] == 200
            assert (await served.answer("/all-x/"))[0] == 200

    async def test_files_of_a_whole_folder_may_have_other_readers_than_its_page(self, route: Open) -> None:
        text = '[routes."all-{x}"]\nsource = "path"\nto = "pool"\nwhole_folder = true\n'
        async with route(text) as served:
            served.drop("pool", WEB)
            await served.engine.indexes.modify(IndexName("root/routes"), {"acl_download": ["root"]}, principal=ROOT)
            assert (await served.answer("/all-x/"))[0] == 200
            assert (await served.answer(f"/all-x/{WEB.filename}"))[0] == 401
            assert (await served.answer(f"/all-x/{WEB.filename}", **basic("root")))[0] == 200

    async def test_a_cache_has_the_readers_of_its_routes(self, route: Open, upstream: ScriptedUpstream) -> None:
        upstream.add("demo", DEMO)
        changes: dict[str, Any] = {"acl_read": ["root", ":AUTHENTICATED:"], "acl_download": ["root"]}
        async with route(CACHED, upstream.url) as served:
            (cache,) = [name for name in (await served.engine.store.tree()).indexes if name.startswith("root/cache-")]
            assert (await served.answer(f"/{cache}/+simple/demo/"))[0] == 200
            await served.engine.indexes.modify(IndexName("root/routes"), changes, principal=ROOT)
        async with route(CACHED, upstream.url) as served:
            for path in ("/demo/", f"/{cache}/+simple/demo/"):
                assert (await served.answer(path))[0] == 401
                assert (await served.answer(path, **basic("root")))[0] == 200
            config = await served.engine.indexes.config(cache)
            assert list(config.acl_read) == changes["acl_read"]
            assert list(config.options["acl_download"]) == ["root"]
            await served.engine.indexes.modify(
                IndexName("root/routes"), {"acl_read": [":ANONYMOUS:"], "acl_download": None}, principal=ROOT
            )
        async with route(CACHED, upstream.url) as served:
            assert (await served.answer(f"/{cache}/+simple/demo/"))[0] == 200
            assert "acl_download" not in (await served.engine.indexes.config(cache)).options


TRICKS = (
    "/%2e%2e/", "/../", "/..%2f/", "/corp-%2e%2e/", "/corp-..%2f..%2fsecret/", "/corp-/", "/corp-core/%2e%2e/",
    "/corp-core/..%2f..%2fsecret/secret-1.0.tar.gz", "/corp-core/%2e%2e%2fsecret-1.0.tar.gz", "/corp-core%2f..%2fsecret/",
    "/corp-core%00/", "/corp-core/.corp_core-1.0.tar.gz", "/corp-%5c..%5csecret/", "//etc/passwd", "/corp-core/sub/corp_core-9.0.tar.gz",
    "/team/%2e%2e/", "/team/../secret/", "/team/..%2fsecret/", "/team/.ssh/", "/all-%2e%2e/secret-1.0.tar.gz", "/all-x/..%2fsecret-1.0.tar.gz",
    "/%7Bproject%7D/", "/%7Bproject.__class__%7D/", "/a%0d%0aX-Evil:%201/", "/caf%C3%A9/", f"/{'x' * 300}/",
)  # fmt: skip


@pytest.mark.parametrize("path", TRICKS)
async def test_no_name_leads_out_of_a_folder(route: Open, path: str) -> None:
    text = """\
[routes."corp-{name}"]
source = "path"
to = "inner/corp-{name}"
[routes."team/{project}"]
source = "path"
to = "inner/{project}"
[routes."all-{x}"]
source = "path"
to = "inner/{x}"
whole_folder = true
[routes."{project}"]
source = "path"
to = "inner/{project}"
"""
    async with route(text) as served:
        served.drop("inner/corp-core", CORE)
        served.drop("", build_sdist("secret", "1.0"))
        served.drop("secret", build_sdist("secret", "1.0"))
        host, port = served.address
        status, head, body = await _raw(host, port, path)
        assert status in {400, 404}, body
        assert b"secret_1" not in body
        assert b"X-Evil" not in head


async def _raw(host: str, port: int, path: str) -> tuple[int, bytes, bytes]:
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    await writer.drain()
    data = await reader.read()
    writer.close()
    head, _, body = data.partition(b"\r\n\r\n")
    return int(head.split()[1]), head, body


async def test_a_link_in_a_folder_is_not_followed(route: Open) -> None:
    async with route() as served:
        served.drop("corp-core", CORE)
        (served.directory / "corp-core/corp_core-9.0.tar.gz").symlink_to("/etc/hostname")
        assert await served.names("/corp-core/") == [CORE.filename]
        assert (await served.answer("/corp-core/corp_core-9.0.tar.gz"))[0] == 404


class Said(Struct):
    """An answer as simpleindex's `Response` is."""

    content: Any = b""
    status_code: int = 200
    media_type: str = "text/plain"
    headers: Any = None


class Shelf:
    """A plugin as simpleindex's users write one."""

    def __init__(self, root: Path, to: str) -> None:
        self.root = root
        self.to = to

    async def get_page(self, params: dict[str, str]) -> Said:
        if params["name"] == "broken":
            raise RuntimeError("out of order")
        return Said(f"{self.to.format(**params)} at {self.root.name}", 200, "text/html", {"X-Shelf": "yes"})

    async def get_file(self, params: dict[str, str], filename: str) -> Said:
        if filename == "none":
            return Said("not found", 404)
        return Said(iter([b"bytes of ", f"{params['name']} {filename}"]), 200, "application/zip")


class TestPlugins:
    TEXT = '[routes."s3-{name}"]\nsource = "s3"\nto = "bucket-{name}"\n'

    @pytest.fixture(autouse=True)
    def _installed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A distribution with the entry point."""
        place = tmp_path / "installed" / "shelf-1.0.dist-info"
        place.mkdir(parents=True)
        (place / "METADATA").write_text("Metadata-Version: 2.1\nName: shelf\nVersion: 1.0\n")
        (place / "entry_points.txt").write_text(
            "[simpleindex.routes]\ns3 = shelf_of_tests:Shelf\nold = shelf_of_tests:Old\n"
        )
        module = types.ModuleType("shelf_of_tests")
        vars(module).update(Shelf=Shelf, Old=object)
        monkeypatch.setitem(sys.modules, "shelf_of_tests", module)
        monkeypatch.syspath_prepend(str(place.parent))
        assert importlib.metadata.entry_points(group="simpleindex.routes", name="s3")

    async def test_its_answers_are_passed_on(self, route: Open, tmp_path: Path) -> None:
        async with route(self.TEXT) as served:
            async with served.get("/s3-demo/") as answer:
                assert (answer.status, await answer.text()) == (200, f"bucket-demo at {tmp_path.name}")
                assert answer.headers["X-Shelf"] == "yes"
                assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
            async with served.get("/s3-demo/demo-1.0.tar.gz") as answer:
                assert (answer.status, await answer.read()) == (200, b"bytes of demo demo-1.0.tar.gz")
            assert (await served.answer("/s3-demo/none"))[0] == 404
            assert (await served.answer("/S3_demo/")) == (301, "../s3-demo/")

    async def test_its_failure_is_503_and_not_404(self, route: Open) -> None:
        async with route(self.TEXT) as served, served.get("/s3-broken/") as answer:
            assert answer.status == 503
            assert answer.headers["Retry-After"]
            assert "out of order" not in await answer.text()

    async def test_a_class_of_another_shape_is_refused_at_the_start(self, route: Open) -> None:
        with pytest.raises(Refused, match=r"index\.toml, line 1: the source 'old' cannot be made"):
            async with route(self.TEXT.replace('"s3"', '"old"')):
                raise AssertionError("it started")
