"""Pages for people come out of templates, a plugin's before the server's; the template engine is loaded when one is first wanted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pkgindex_core.changes import PutIndex
from pkgindex_core.errors import Refused
from pkgindex_core.hookspecs import Provider, hookimpl
from pkgindex_core.models import IndexConfig
from pkgindex_core.names import IndexName
from pkgindex_core.plugins import Plugins, load_plugins
from pkgindex_http import plugin
from tests.http.conftest import Serve
from tests.http.test_welcome import BROWSER, page


class Offering:
    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.directory = directory

    @hookimpl
    def pkgindex_templates(self) -> list[Provider[Path]]:
        return [Provider(name=self.name, summary="a fake", make=lambda _context: self.directory)]


def offered(*directories: Path) -> Plugins:
    extra = [Offering(directory.name, directory) for directory in directories]
    return load_plugins(program=plugin, extra=extra, entry_points=False)


def write(directory: Path, **templates: str) -> Path:
    directory.mkdir()
    for name, text in templates.items():
        (directory / f"{name}.html").write_text(text)
    return directory


async def test_a_plugins_template_takes_the_place_of_the_servers_and_may_extend_it(
    serve: Serve, tmp_path: Path
) -> None:
    frame = '{% extends "native/page.html" %}{% block title %}Ours: {{ super() }}{% endblock %}'
    first = write(tmp_path / "a", page=frame)
    second = write(tmp_path / "b", page="never seen", welcome="{% extends 'native/welcome.html' %}")
    async with serve(plugins=offered(second, first)) as served:
        answer, text = await page(served, "/")
        assert "<title>Ours: pkgindex</title>" in text
        assert "pip install --index-url" in text
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")


async def test_what_a_template_is_given_is_escaped(serve: Serve) -> None:
    async with serve() as served:
        config = IndexConfig(name=IndexName("root/odd"), title="<script>'\"&", acl_read=(":ANONYMOUS:",))
        await served.engine.store.apply([PutIndex(config)], who="[test]")
        _, text = await page(served, "/")
        assert "&lt;script&gt;&#39;&#34;&amp;" in text
        assert "<script>" not in text


async def test_a_template_is_compiled_once(serve: Serve, tmp_path: Path) -> None:
    directory = write(tmp_path / "mine", welcome="first {{ lines | length }}")
    async with serve(plugins=offered(directory)) as served:
        _, text = await page(served, "/")
        (directory / "welcome.html").write_text("second")
        assert (await page(served, "/"))[1] == text


@pytest.mark.parametrize("wrong", ["{{ no_such_value }}", "{% if %}"])
async def test_a_broken_template_fails_its_page_and_no_other(serve: Serve, tmp_path: Path, wrong: str) -> None:
    async with serve(plugins=offered(write(tmp_path / "mine", welcome=wrong))) as served:
        async with served.get("/", headers=BROWSER) as answer:
            assert answer.status == 500
        async with served.get("/simple/", headers=BROWSER) as answer:
            assert answer.status == 200


async def test_a_directory_that_is_not_there_ends_the_start(serve: Serve, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"test_templates\.Offering.*nowhere is not a directory"):
        async with serve(plugins=offered(tmp_path / "nowhere")):
            pass


PROGRAM = """
import asyncio, sys
from pathlib import Path
from pkgindex_http.opening import opened_engine
from pkgindex_http.server import Server
from pkgindex_http.settings import ServerSettings

async def main():
    settings = ServerSettings(data=Path(sys.argv[1]), store="memory://", blobs="memory://")
    async with opened_engine(settings, mirrors=False) as engine:
        server = Server(engine, settings)
        print("jinja2" in sys.modules)
        await server.templates.page("page.html")
        print("jinja2" in sys.modules)

asyncio.run(main())
"""


def test_the_engine_is_loaded_with_the_first_page(tmp_path: Path) -> None:
    command: list[Any] = [sys.executable, "-c", PROGRAM, tmp_path]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ["False", "True"]
