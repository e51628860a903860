"""An outsider's type of index with a source of its own: it keeps the promises of sources, and a server treats it as one of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from pkgindex_core.engine import Engine
from pkgindex_core.hookspecs import Context
from pkgindex_core.models import IndexConfig
from pkgindex_core.names import ProjectName, parse_index_name
from pkgindex_core.plugins import load_plugins
from pkgindex_core.protocols import Source
from pkgindex_core.testing.source_cases.base import INDEX
from pkgindex_core.testing.sources import SourceContract
from pkgindex_core.testing.uploads import upload_form
from pkgindex_core.testing.wheels import BuiltFile, build_sdist, build_wheel
from pkgindex_http.opening import opened_engine
from pkgindex_http.server import Server
from pkgindex_http.settings import ServerSettings

JSON = "application/vnd.pypi.simple.v1+json"
WHEEL, SDIST = build_wheel("demo", "1.0"), build_sdist("demo", "1.0")


class Share:
    """A directory with a catalogue and the files that it lists."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "files").mkdir(parents=True)
        self.projects: dict[str, list[dict[str, Any]]] = {}
        self.write()

    def write(self) -> None:
        (self.directory / "tools.json").write_text(json.dumps(self.projects))

    def add(self, project: str, *built: BuiltFile) -> None:
        entries = self.projects.setdefault(project, [])
        for each in built:
            (self.directory / "files" / each.filename).write_bytes(each.data)
            version = each.filename.removesuffix(".tar.gz").split("-")[1]
            sha256 = hashlib.sha256(each.data).hexdigest()
            entries.append(
                {"path": f"files/{each.filename}", "version": version, "sha256": sha256, "size": len(each.data)}
            )
        self.write()

    def move_away(self) -> None:
        self.directory.rename(self.directory.with_name("elsewhere"))

    def move_back(self) -> None:
        self.directory.with_name("elsewhere").rename(self.directory)


class TestCatalogue(SourceContract):
    """Its source, made through the hooks, keeps every promise of the role."""

    upstream = "there"
    fetches = True

    @pytest.fixture(autouse=True)
    def _installed(self, outsider: Path, tmp_path: Path) -> None:
        self.share = Share(tmp_path / "share")

    async def begin(self) -> IndexConfig:
        return IndexConfig(name=INDEX, type="catalogue", mirrored=True, options={"catalogue_file": "tools.json"})

    async def open_source(self, context: Context) -> Source:
        plugins = load_plugins(settings={"catalogue": {"directory": str(self.share.directory)}})
        source: Source = await plugins.sources()["catalogue"].make(context)
        return source

    async def publish(self, project: ProjectName, *built: BuiltFile) -> None:
        self.share.add(project, *built)

    async def withdraw(self, project: ProjectName) -> None:
        del self.share.projects[project]
        self.share.write()

    async def go_away(self) -> None:
        self.share.move_away()

    async def come_back(self) -> None:
        self.share.move_back()

    def damage(self, built: BuiltFile, data: bytes | None) -> None:
        path = self.share.directory / "files" / built.filename
        if data is None:
            path.unlink()
        else:
            path.write_bytes(data)


class World:
    """A server with an index `root/tools` of the outsider's type, below `root/dev`."""

    def __init__(self, url: str, engine: Engine, client: aiohttp.ClientSession) -> None:
        self.url = url
        self.engine = engine
        self.client = client

    async def get(self, path: str, accept: str = JSON) -> tuple[int, str, bytes]:
        async with self.client.get(f"{self.url}{path}", headers={"Accept": accept}) as answer:
            return answer.status, answer.headers.get("X-PkgIndex-Stale", ""), await answer.read()

    async def document(self, path: str) -> Any:
        status, _, body = await self.get(path)
        assert status == 200, body
        return json.loads(body)

    async def page(self, index: str, project: str = "demo") -> dict[str, str]:
        """The URLs of a page's files, by name."""
        files = (await self.document(f"/{index}/+simple/{project}/"))["files"]
        return {file["filename"]: file["url"] for file in files}

    async def follow(self, index: str, url: str) -> bytes:
        async with self.client.get(f"{self.url}/{index}/+simple/demo/{url}") as answer:
            assert answer.status == 200, await answer.text()
            return await answer.read()

    async def send(self, method: str, path: str, **content: Any) -> tuple[int, str]:
        credentials = aiohttp.encode_basic_auth("root", "correct horse")
        headers = {"Accept": "application/json", "Authorization": credentials, **content.pop("headers", {})}
        async with self.client.request(method, f"{self.url}{path}", headers=headers, **content) as answer:
            return answer.status, await answer.text()

    async def upload(self, built: BuiltFile) -> None:
        content_type, body = upload_form(built)
        status, said = await self.send("POST", "/root/dev/", data=body, headers={"Content-Type": content_type})
        assert status == 200, said


@asynccontextmanager
async def serving(data: Path, share: Path, **settings: Any) -> AsyncIterator[World]:
    plugins = {"catalogue": {"directory": str(share)}}
    told: dict[str, Any] = {"blobs": "memory://", "upstream": "http://127.0.0.1:1/simple/", "plugins": plugins}
    made = ServerSettings(data=data, root_password="correct horse", access_log=False, **told | settings)
    async with opened_engine(made) as engine, aiohttp.ClientSession() as client:
        await engine.prepare()
        server = Server(engine, made)
        host, port = (await server.start("127.0.0.1", 0))[0]
        try:
            yield World(f"http://{host}:{port}", engine, client)
        finally:
            await server.stop()


@pytest.fixture
def share(outsider: Path, tmp_path: Path) -> Share:
    share = Share(tmp_path / "share")
    share.add("demo", WHEEL, SDIST)
    return share


@pytest.fixture
async def world(share: Share, tmp_path: Path) -> AsyncIterator[World]:
    async with serving(tmp_path / "data", share.directory) as world:
        made = {"type": "catalogue", "catalogue_file": "tools.json"}
        status, said = await world.send("PUT", "/root/tools", json=made)
        assert status == 200, said
        assert (await world.send("PATCH", "/root/dev", json=["bases=root/tools"]))[0] == 200
        yield world


async def test_its_type_stands_with_the_index(world: World) -> None:
    tree = await world.engine.store.tree()
    config = tree.indexes[parse_index_name("root/tools")]
    assert (config.type, config.mirrored, config.read_only) == ("catalogue", True, True)
    shown = json.loads((await world.send("GET", "/root/tools"))[1])["result"]
    assert (shown["type"], shown["catalogue_file"]) == ("catalogue", "tools.json")
    assert "bases" not in shown
    status, said = await world.send("PUT", "/root/wrong", json={"type": "catalogue", "catalogue_file": "../secret"})
    assert (status, "catalogue_file is the name of a file" in said) == (400, True)


@pytest.mark.parametrize("index", ["root/tools", "root/dev"])
async def test_its_pages_and_files_are_served_also_by_those_that_inherit(world: World, index: str) -> None:
    urls = await world.page(index)
    assert sorted(urls) == sorted([WHEEL.filename, SDIST.filename])
    assert await world.follow(index, urls[WHEEL.filename]) == WHEEL.data
    assert await world.follow(index, f"{urls[WHEEL.filename]}.metadata") == WHEEL.metadata
    assert await world.follow(index, urls[SDIST.filename]) == SDIST.data
    status, _, html = await world.get(f"/{index}/+simple/demo/", accept="text/html")
    assert (status, WHEEL.filename in html.decode()) == (200, True)
    assert (await world.get(f"/{index}/+simple/nothing/"))[0] == 404


@pytest.mark.parametrize("index", ["root/tools", "root/dev"])
async def test_its_projects_are_listed(world: World, share: Share, index: str) -> None:
    share.add("other", build_wheel("other", "1.0"))
    listed = (await world.document(f"/{index}/+simple/"))["projects"]
    assert [project["name"] for project in listed] == ["demo", "other"]


async def test_it_takes_no_uploads_and_no_bases(world: World) -> None:
    content_type, body = upload_form(WHEEL)
    status, said = await world.send("POST", "/root/tools/", data=body, headers={"Content-Type": content_type})
    assert (status, "cannot submit to catalogue index root/tools" in said) == (404, True)
    assert (await world.send("PATCH", "/root/tools", json=["bases=root/pypi"]))[
        0
    ] == 200  # passed over, as for any mirror
    config = (await world.engine.store.tree()).indexes[parse_index_name("root/tools")]
    assert config.bases == ()


async def test_a_name_of_our_own_is_never_taken_from_it(world: World, share: Share) -> None:
    newer = build_wheel("demo", "2.0")
    assert len(await world.page("root/dev")) == 2
    await world.upload(newer)
    assert [*await world.page("root/dev")] == [newer.filename]
    assert sorted(await world.page("root/tools")) == sorted([WHEEL.filename, SDIST.filename])
    explained = (await world.send("GET", "/+explain?project=demo&index=root/dev"))[1]
    assert "left out: root/dev has demo" in explained
    assert (await world.send("PATCH", "/root/dev", json=["mirror_whitelist+=demo"]))[0] == 200
    assert len(await world.page("root/dev")) == 3


async def test_it_is_explained(world: World) -> None:
    explained = json.loads((await world.send("GET", "/+explain?project=demo&index=root/dev"))[1])
    layers = {layer["index"]: layer for layer in explained["layers"]}
    assert layers["root/tools"]["joins"]
    assert layers["root/tools"]["reason"] == "joins: no hosted index in the order has demo"


async def test_while_the_share_is_away_unknown_is_not_absent(world: World, share: Share) -> None:
    share.move_away()
    for path in ("/root/tools/+simple/demo/", "/root/dev/+simple/demo/", "/root/tools/+simple/"):
        assert (await world.get(path))[0] == 503
    share.move_back()
    await world.page("root/dev")
    share.move_away()
    assert (await world.send("POST", "/root/tools/+simple/demo/refresh", allow_redirects=False))[0] == 302
    status, stale, _ = await world.get("/root/dev/+simple/demo/")
    assert (status, "root/tools" in stale) == (200, True)


async def test_without_its_plugin_what_is_stored_is_served_and_called_stale(share: Share, tmp_path: Path) -> None:
    async with serving(tmp_path / "data", share.directory) as world:
        made = {"type": "catalogue", "catalogue_file": "tools.json"}
        assert (await world.send("PUT", "/root/tools", json=made))[0] == 200
        assert (await world.send("PATCH", "/root/dev", json=["bases=root/tools"]))[0] == 200
        await world.page("root/dev")
    bare = {"plugins": {}, "disabled_plugins": ("pkgindex-outsider",)}
    async with serving(tmp_path / "data", share.directory, **bare) as world:
        for index in ("root/tools", "root/dev"):
            status, stale, body = await world.get(f"/{index}/+simple/demo/")
            assert (status, "root/tools" in stale) == (200, True)
            assert len(json.loads(body)["files"]) == 2
            assert (await world.get(f"/{index}/+simple/other/"))[0] == 503
        await world.upload(build_wheel("demo", "2.0"))
        assert [*await world.page("root/dev")] == ["demo-2.0-py3-none-any.whl"]
