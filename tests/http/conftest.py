"""A server on loopback for tests: the real one, over memory or disk, with a fake upstream behind `root/pypi` when asked for."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import argon2
import pytest
from msgspec.structs import replace

from pkgindex_core.changes import PutFile, PutIndex, PutUser
from pkgindex_core.config import Settings
from pkgindex_core.engine import Engine
from pkgindex_core.models import File, IndexConfig, User
from pkgindex_core.names import IndexName, parse_project_name
from pkgindex_core.plugins import Plugins, load_plugins
from pkgindex_core.rules.negotiation import JSON_V1
from pkgindex_core.testing.configs import changed_config, index_config
from pkgindex_core.testing.wheels import BuiltFile, build_wheel
from pkgindex_http import plugin
from pkgindex_http.opening import opened_engine
from pkgindex_http.server import Server
from pkgindex_http.settings import ServerSettings
from pkgindex_mirror.testing import ScriptedUpstream

PASSWORD = "correct horse"
HOSTED = IndexName("root/dev")
MIRROR = IndexName("root/pypi")
MIRRORED_WHEEL = build_wheel("demo", "1.0")


@cache
def hash_of(password: str) -> str:
    """A hash of a password. Real in form, cheap to make and to verify: hashing is no subject of these tests."""
    return argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(password)


@cache
def loaded_plugins() -> Plugins:
    """Built-in and installed plugins, looked for once: a test that wants others hands them in."""
    return load_plugins(program=plugin)


def basic(name: str, password: str = PASSWORD) -> dict[str, str]:
    """HTTP Basic credentials, as a header."""
    return {"Authorization": f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"}


def make_store(data: Path) -> None:
    """Make a store there, as `run` does."""

    async def prepare() -> None:
        async with Engine.open(Settings(data=data), mirrors=False) as engine:
            await engine.prepare()

    asyncio.run(prepare())


class Served:
    """A running server and what a test wants of it."""

    def __init__(self, server: Server, url: str, client: aiohttp.ClientSession) -> None:
        self.server = server
        self.engine: Engine = server.engine
        self.url = url
        self.client = client

    @property
    def address(self) -> tuple[str, int]:
        """Where the server listens, for tests that write to the socket themselves."""
        parts = urlsplit(self.url)
        return str(parts.hostname), int(parts.port or 0)

    def get(self, path: str, **kwargs: Any) -> Any:
        return self.client.get(f"{self.url}{path}", allow_redirects=False, **kwargs)

    def request(self, method: str, path: str, **kwargs: Any) -> Any:
        return self.client.request(method, f"{self.url}{path}", allow_redirects=False, **kwargs)

    async def put(self, built: BuiltFile, *, index: IndexName = HOSTED, project: str = "", **fields: Any) -> File:
        """Put a file in by the back door, without the upload API."""
        blob = await self.engine.blobs.put(built.data)
        metadata = await self.engine.blobs.put(built.metadata) if built.filename.endswith(".whl") else None
        name = parse_project_name(project or built.filename.split("-")[0])
        file = File(
            filename=built.filename,
            version=built.filename.split("-")[1].removesuffix(".tar.gz"),
            digests={"sha256": blob.sha256},
            size=blob.size,
            metadata_sha256=metadata.sha256 if metadata else None,
            upload_time=self.engine.clock.now(),
        )
        file = replace(file, **fields)
        await self.engine.store.apply([PutFile(index, name, file, project)], who="[test]")
        return file

    async def user(self, name: str, password: str = PASSWORD) -> dict[str, str]:
        """Make a user; return the header by which it is known."""
        await self.engine.store.apply([PutUser(User(name=name, password_hash=hash_of(password)))], who="[test]")
        return basic(name, password)

    async def index(self, name: str, **options: Any) -> IndexName:
        config = index_config(name, **options)
        await self.engine.store.apply([PutIndex(config)], who="[test]")
        return config.name


Serve = Callable[..., AbstractAsyncContextManager[Served]]


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Start a server: `async with serve() as served`. Options are settings."""

    @asynccontextmanager
    async def start(*, plugins: Plugins | None = None, mirrors: bool = False, **options: Any) -> AsyncIterator[Served]:
        given: dict[str, Any] = {
            "data": tmp_path / "data",
            "store": "memory://",
            "blobs": "memory://",
            "access_log": False,
            "shutdown_timeout": 5.0,
            **options,
        }
        chosen = plugins or loaded_plugins()
        settings = ServerSettings(**given)
        async with opened_engine(settings, plugins=chosen, mirrors=mirrors) as engine:
            if not mirrors:
                # Nothing to ask: a hosted index alone.
                root = User(name="root", password_hash=hash_of(PASSWORD))
                hosted = IndexConfig(name=HOSTED, volatile=False, acl_upload=("root",))
                await engine.store.apply([PutUser(root), PutIndex(hosted)], who="[test]")
            else:
                await engine.prepare()
            server = Server(engine, settings)
            host, port = (await server.start("127.0.0.1", 0))[0]
            try:
                async with aiohttp.ClientSession(
                    auto_decompress=False, headers={"Accept-Encoding": "identity"}
                ) as client:
                    yield Served(server, f"http://{host}:{port}", client)
            finally:
                await server.stop()

    return start


@pytest.fixture
def wheel() -> BuiltFile:
    return build_wheel("demo", "1.0")


class Mirrored:
    """`root/dev` over `root/pypi` over an upstream."""

    def __init__(self, served: Served, upstream: ScriptedUpstream) -> None:
        self.served = served
        self.upstream = upstream

    async def change(self, **options: Any) -> IndexConfig:
        config = changed_config((await self.served.engine.store.tree()).indexes[MIRROR], **options)
        await self.served.engine.store.apply([PutIndex(config)], who="[test]")
        return config

    async def get(self, path: str, **headers: str) -> tuple[aiohttp.ClientResponse, bytes]:
        async with self.served.get(path, headers={"Accept": JSON_V1, **headers}) as answer:
            return answer, await answer.read()

    async def page(self, path: str = "/root/pypi/+simple/demo/") -> tuple[aiohttp.ClientResponse, list[str]]:
        answer, body = await self.get(path)
        assert answer.status == 200
        return answer, [file["filename"] for file in json.loads(body)["files"]]

    async def names(self, path: str = "/root/pypi/+simple/") -> tuple[aiohttp.ClientResponse, list[str]]:
        answer, body = await self.get(path)
        assert answer.status == 200
        return answer, [project["name"] for project in json.loads(body)["projects"]]

    async def post(self, path: str, **headers: str) -> aiohttp.ClientResponse:
        async with self.served.request("POST", path, headers=headers) as answer:
            await answer.read()
            return answer  # type: ignore[no-any-return]  # Served.request is Any


MirroredStart = Callable[..., AbstractAsyncContextManager[Mirrored]]


@pytest.fixture
def mirrored(serve: Serve) -> MirroredStart:
    """`async with mirrored(credentials="u:p", default_index="root/dev", **settings of the mirror plugin) as world`."""
    quick = {"wait": 10.0, "connect_timeout": 5.0, "read_timeout": 2.0, "page_deadline": 5.0, "first_pause": 0.001}

    @asynccontextmanager
    async def start(*, credentials: str = "", default_index: str = HOSTED, **settings: Any) -> AsyncIterator[Mirrored]:
        async with ScriptedUpstream() as upstream:
            upstream.add("demo", MIRRORED_WHEEL)
            url = upstream.url.replace("http://", f"http://{credentials}@") if credentials else upstream.url
            plugins = load_plugins(program=plugin, settings={"mirror": {**quick, **settings}})
            async with serve(mirrors=True, upstream=url, plugins=plugins, default_index=default_index) as served:
                yield Mirrored(served, upstream)

    return start
