"""The walks of `pkgindex_core/ARCHITECTURE.md` are what happens: each is done once, and the modules that it names are passed.

Opening, publishing, refreshing and answering are done in one process, whose calls are noted by module. A fake upstream stands behind the mirror.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import aiohttp
import pytest

from pkgindex_core.testing.wheels import build_wheel
from pkgindex_http.opening import opened_engine
from pkgindex_http.server import Server
from pkgindex_http.settings import load_settings
from pkgindex_mirror.testing import ScriptedUpstream
from tests.house.conftest import Module
from tests.http.conftest import PASSWORD, basic
from tests.http.forms import CONTENT_TYPE, encode_form, upload_parts

PAGE = Path(__file__).parents[2] / "pkgindex_core/ARCHITECTURE.md"
WALKS = ("Publishing a file", "Answering a page", "Refreshing a mirror", "Opening a store")
JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}


def section(title: str) -> str:
    (text,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return str(text)


def named(walk: str) -> list[str]:
    """The modules that the rows of a walk name."""
    rows = "\n".join(re.findall(r"^\| `.*$", section(walk), re.MULTILINE))
    return re.findall(r"`(pkgindex_[\w.]+)`", rows)


class Passing:
    """Notes which modules have a function called, in any thread that was started since."""

    def __init__(self) -> None:
        self.passed: dict[str, set[str]] = defaultdict(set)
        self._walk = ""

    def note(self, frame: FrameType, event: str, _: object) -> None:
        # The bodies of modules and classes have no locals of their own: to be imported is not to be passed.
        if event == "call" and frame.f_code.co_flags & inspect.CO_NEWLOCALS:
            self.passed[self._walk].add(frame.f_globals.get("__name__", ""))

    @contextmanager
    def watching(self) -> Iterator[None]:
        before = sys.getprofile()
        threading.setprofile(self.note)
        sys.setprofile(self.note)
        try:
            yield
        finally:
            sys.setprofile(before)
            threading.setprofile(None)  # type: ignore[arg-type]  # the stub does not know that None ends it

    def begin(self, walk: str) -> None:
        self._walk = walk


async def walk_all(passing: Passing, data: Path) -> None:
    wheel = build_wheel("demo", "1.0")
    async with ScriptedUpstream() as upstream:
        upstream.add("other", build_wheel("other", "1.0"))
        passing.begin("Opening a store")
        settings = load_settings(
            environ={}, flags={"data": str(data), "upstream": upstream.url, "root_password": PASSWORD}
        )
        async with opened_engine(settings) as engine:
            await engine.prepare()
            server = Server(engine, settings)
            ((host, port),) = await server.start("127.0.0.1", 0)
            try:
                async with aiohttp.ClientSession(f"http://{host}:{port}") as client:
                    passing.begin("Publishing a file")
                    headers = basic("root") | {"Content-Type": CONTENT_TYPE.decode()}
                    async with client.post(
                        "/legacy/", data=encode_form(upload_parts(wheel)), headers=headers
                    ) as answer:
                        assert answer.status == 200, await answer.text()

                    passing.begin("Answering a page")
                    async with client.get("/simple/demo/", headers=JSON) as answer:
                        assert wheel.filename in await answer.text()

                    passing.begin("Refreshing a mirror")
                    async with client.get("/simple/other/", headers=JSON) as answer:
                        assert "other-1.0" in await answer.text()
                    await engine.settle()
            finally:
                passing.begin("closing")
                await server.stop()


@pytest.fixture(scope="module")
def passed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The modules that each walk passes."""
    passing = Passing()
    with passing.watching():
        asyncio.run(walk_all(passing, tmp_path_factory.mktemp("data")))
    return passing.passed


@pytest.mark.parametrize("walk", WALKS)
def test_what_a_walk_names_is_passed(walk: str, passed: dict[str, set[str]]) -> None:
    modules = named(walk)
    assert len(modules) > 8
    assert [module for module in modules if module not in passed[walk]] == []


def test_a_module_that_is_not_passed_is_noticed(passed: dict[str, set[str]]) -> None:
    assert "pkgindex_mirror.readthrough.pages.refreshing" not in passed["Answering a page"]
    assert "pkgindex_core.rules.merging" not in passed["Opening a store"]


def test_every_module_that_is_named_exists(modules: list[Module]) -> None:
    known = {module.name for module in modules}
    text = "\n".join(map(section, WALKS))
    assert [name for name in re.findall(r"`(pkgindex_[\w.]+)`", text) if name not in known] == []


def test_the_glossary_has_twenty_words_in_order_and_the_code_uses_each(modules: list[Module]) -> None:
    words = re.findall(r"^\| (\w+) \| \w", section("Twenty words"), re.MULTILINE)[1:]
    assert len(words) == 20
    assert words == sorted(words)
    code = "\n".join(module.text.lower() for module in modules)
    assert [word for word in words if not re.search(rf"\b{word}s?\b", code)] == []
