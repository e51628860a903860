"""The outsider's URL is served to those who may, its command runs, its templates frame the server's pages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pkgindex_core.plugins import load_plugins
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_http import plugin
from tests.http.conftest import Serve, basic, make_store
from tests.http.test_welcome import BROWSER, page

CENSUS = "/anna/private/+census"


@pytest.mark.usefixtures("outsider")
async def test_its_url_is_for_those_who_may_read_the_index(serve: Serve) -> None:
    async with serve(plugins=load_plugins(program=plugin)) as served:
        anna = await served.user("anna")
        ben = await served.user("ben")
        index = await served.index("anna/private", acl_read=("anna",), acl_upload=("anna",))
        await served.put(build_wheel("demo", "1.0"), index=index)
        async with served.get(CENSUS, headers=anna) as answer:
            assert (answer.status, await answer.json()) == (
                200,
                {"index": "anna/private", "projects": 1, "asker": "anna"},
            )
        told = {}
        for headers in (basic("anna", "wrong"), {}, ben):
            async with served.get(CENSUS, headers=headers) as answer:
                told[answer.status] = await answer.text()
        assert sorted(told) == [401, 404]
        async with served.get("/anna/nothing/+census", headers=ben) as answer:
            assert (await answer.text()).replace("nothing", "private") == told[404]
        async with served.request("DELETE", CENSUS, headers=anna) as answer:
            assert answer.status == 405
        headers = {"X-Original-URI": CENSUS, **ben}
        async with served.get("/+authcheck", headers=headers) as answer:
            assert answer.status == 403


@pytest.mark.usefixtures("outsider")
async def test_its_templates_make_its_page_and_frame_those_of_the_server(serve: Serve) -> None:
    async with serve(plugins=load_plugins(program=plugin)) as served:
        _, text = await page(served, "/root/dev/+census/")
        assert "<h1>Census of root/dev</h1>" in text
        assert "<p>0 projects, counted for [anonymous].</p>" in text
        assert "<footer>Kept by the outsiders.</footer>" in text
        _, text = await page(served, "/")
        assert "<footer>Kept by the outsiders.</footer>" in text
        assert "pip install --index-url" in text
        async with served.get("/simple/", headers=BROWSER) as answer:
            assert "outsider" not in await answer.text()  # the simple pages are no templates


def run(site: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(site), str(Path(__file__).parents[2])])
    return subprocess.run(
        [sys.executable, "-m", "pkgindex_http.cli", *words],
        capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": path},
    )  # fmt: skip


def test_its_command_is_listed_explained_and_run(outsider_site: Path, tmp_path: Path) -> None:
    make_store(tmp_path / "data")
    helped = run(outsider_site, "--help")
    assert "Counting:\n  census  Count the projects that each index holds itself.\n" in helped.stdout
    assert helped.stderr == ""
    assert "Stores and configuration:" in run(outsider_site, "census", "-h").stdout
    counted = run(outsider_site, "census", "--data", tmp_path / "data")
    assert (counted.stdout, counted.stderr) == ("root/dev\t0\nroot/pypi\t0\n", "")
    missing = run(outsider_site, "census", "--data", tmp_path / "nowhere")
    assert (missing.returncode, missing.stderr.startswith("error: there is no store in")) == (1, True)


def test_the_list_of_plugins_has_all_three(outsider_site: Path) -> None:
    listed = run(outsider_site, "plugins").stdout
    ours = listed.partition("pkgindex_index_stores")[0]
    for hook in ("pkgindex_routes", "pkgindex_commands", "pkgindex_templates"):
        assert f"{hook}\n" in ours
    assert "  census\n      how many projects an index holds\n      from pkgindex-outsider 1.2.3, " in ours
