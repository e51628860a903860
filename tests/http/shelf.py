"""A server over directories, set up as `pkgindex-serve run DIR…` sets it up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from passlib.hash import ldap_sha1

from pkgindex_core.plugins import load_plugins
from pkgindex_core.testing.wheels import BuiltFile
from pkgindex_http import plugin
from pkgindex_http.commands.directories import DirectoryOptions, server_settings
from pkgindex_http.opening import opened_engine
from pkgindex_http.pypiserver import indexes
from pkgindex_http.pypiserver.settings import read_settings
from pkgindex_http.server import Server
from tests.http.conftest import PASSWORD, Served, basic

ALICE = basic("alice", "secret")
ROOT = basic("root", PASSWORD)
WRONG = basic("alice", "wrong")


class Shelf(Served):
    """A running server and the directory that it serves."""

    directory: Path

    def drop(self, *built: BuiltFile, below: str = "") -> None:
        """Files appear, as `mv` lets them appear."""
        place = self.directory / below
        place.mkdir(parents=True, exist_ok=True)
        for each in built:
            draft = place / f".{each.filename}"
            draft.write_bytes(each.data)
            draft.replace(place / each.filename)

    @property
    def names(self) -> list[str]:
        return sorted(path.name for path in self.directory.rglob("*") if path.is_file())

    async def status(self, path: str, headers: dict[str, str] | None = None, method: str = "GET") -> int:
        async with self.request(method, path, headers=headers) as answer:
            return int(answer.status)

    async def post(self, fields: dict[str, Any], headers: dict[str, str] | None = None) -> tuple[int, str]:
        """POST `/` with a form, as curl and twine send it."""
        form = aiohttp.FormData(default_to_multipart=True)
        for name, value in fields.items():
            if isinstance(value, BuiltFile):
                form.add_field(name, value.data, filename=value.filename, content_type="application/octet-stream")
            else:
                form.add_field(name, value)
        async with self.request("POST", "/", data=form, headers=headers) as answer:
            return int(answer.status), await answer.text()

    async def upload(self, built: BuiltFile, headers: dict[str, str] | None = None) -> tuple[int, str]:
        return await self.post({":action": "file_upload", "protocol_version": "1", "content": built}, headers)


OpenShelf = Callable[..., AbstractAsyncContextManager[Shelf]]


@pytest.fixture
def open_shelf(tmp_path: Path) -> OpenShelf:
    """Serve `tmp_path / "packages"`; options are those of the command. With `users` there is a password file with alice's password."""

    @asynccontextmanager
    async def start(*, users: bool = True, **given: Any) -> AsyncIterator[Shelf]:
        directory = tmp_path / "packages"
        directory.mkdir(exist_ok=True)
        if users:
            file = tmp_path / ".htpasswd"
            file.write_text(f"alice:{ldap_sha1.hash('secret')}\n")
            given["passwords"] = str(file)
        flags = {name: given.pop(name) for name in ("mount", "upstream", "root_password") if name in given}
        settings = server_settings(
            None,
            (str(directory),),
            DirectoryOptions(**given),
            data=str(tmp_path / "data"),
            access_log=False,
            **{"root_password": PASSWORD, **flags},
        )
        plugins = load_plugins(program=plugin, entry_points="proxy_fallback" in given, settings=settings.plugins)
        async with opened_engine(settings, plugins=plugins) as engine:
            await indexes.prepare(engine, settings, read_settings(settings.plugins["pypiserver"]))
            server = Server(engine, settings)
            host, port = (await server.start("127.0.0.1", 0))[0]
            try:
                async with aiohttp.ClientSession(headers={"Accept-Encoding": "identity"}) as client:
                    shelf = Shelf(server, f"http://{host}:{port}", client)
                    shelf.directory = directory
                    yield shelf
            finally:
                await server.stop()

    return start
