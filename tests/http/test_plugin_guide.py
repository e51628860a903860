"""The plugin of `pkgindex_http/PLUGINS.md`, as it stands there, serves, shows and runs; what the page lists is what there is."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib import util
from pathlib import Path

import pytest

from pkgindex_core.plugins import load_plugins
from pkgindex_http import plugin
from pkgindex_http.requests import Ask
from pkgindex_http.routing import Permission, Route
from tests.http.conftest import Serve, basic, make_store
from tests.http.test_welcome import page

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def guide() -> str:
    return (ROOT / "pkgindex_http/PLUGINS.md").read_text(encoding="utf-8")


def block(guide: str, language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.fixture
def site(guide: str, tmp_path: Path) -> Path:
    """A directory with the plugin installed in it, from what the page says."""
    site = tmp_path / "site"
    (site / "census_pages").mkdir(parents=True)
    (site / "census.py").write_text(block(guide, "python"))
    (site / "census_pages/census.html").write_text(block(guide, "html"))
    information = site / "census-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: census\nVersion: 1\n")
    entry = block(guide, "toml").partition("]\n")[2].replace('"', "")
    (information / "entry_points.txt").write_text(f"[pkgindex]\n{entry}")
    return site


async def test_the_plugin_answers_and_shows(serve: Serve, site: Path) -> None:
    specification = util.spec_from_file_location("census", site / "census.py")
    assert specification is not None
    assert specification.loader is not None
    module = util.module_from_spec(specification)
    specification.loader.exec_module(module)
    plugins = load_plugins(program=plugin, extra=[module], entry_points=False)
    async with serve(plugins=plugins) as served:
        await served.user("anna")
        await served.index("anna/private", acl_read=("anna",))
        async with served.get("/root/dev/+census") as answer:
            assert await answer.json() == {"index": "root/dev", "projects": 0}
        for headers, status in (({}, 401), (basic("anna"), 200)):
            async with served.get("/anna/private/+census/", headers=headers) as answer:
                assert answer.status == status
        _, text = await page(served, "/root/dev/+census")
        assert "<h1>Census of root/dev</h1>" in text
        assert "<p>0 projects.</p>" in text


def test_the_plugin_is_a_command(site: Path, tmp_path: Path) -> None:
    make_store(tmp_path / "data")
    environ = os.environ | {"PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}

    def said(*words: str) -> str:
        command = [sys.executable, "-m", "pkgindex_http.cli", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environ).stdout

    assert said("census", "--data", str(tmp_path / "data")) == "root/dev: 0\nroot/pypi: 0\n"
    assert "Counting:\n  census  Count the projects that each index holds itself." in said("--help")
    assert [each["hook"] for each in json.loads(said("plugins", "--json")) if each["distribution"] == "census"] == [
        "pkgindex_routes",
        "pkgindex_templates",
        "pkgindex_commands",
    ]


def test_the_page_names_what_a_route_says_and_each_kind_of_permission(guide: str) -> None:
    named = {name for row in re.findall(r"^\| (`.*?) \|", guide, re.MULTILINE) for name in re.findall(r"`(\w+)", row)}
    assert {*Route.__struct_fields__} - named == set()
    assert [kind.__name__ for kind in Permission.__args__ if f"`{kind.__name__}(" not in guide] == []


def test_what_the_page_says_of_an_ask_is_there(guide: str) -> None:
    table = guide.partition("| of an `Ask` |")[2].partition("\n\n")[0]
    names = {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)", row)}
    assert {name for name in names if not hasattr(Ask, name)} == set()
    assert len(names) > 10


def test_every_template_of_the_server_is_listed(guide: str) -> None:
    assert set(re.findall(r"^\| `([\w/-]+\.html)` \|", guide, re.MULTILINE)) == {
        path.relative_to(ROOT / "pkgindex_http/html").as_posix()
        for path in (ROOT / "pkgindex_http/html").rglob("*.html")
    }
