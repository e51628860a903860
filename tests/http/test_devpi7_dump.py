"""A dump that devpi-export of devpi-server 7.0.0b4 wrote, imported: the pages and documents that the server gave before.

`tests/golden/devpi7` was recorded by `tests/clients/devpi7.py`, which says what is in it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pkgindex_core.engine import Engine
from pkgindex_core.models import IndexConfig
from pkgindex_core.names import IndexName
from pkgindex_core.plugins import load_plugins
from pkgindex_core.rules.kept_options import mirror_options, unites_whitelists, whitelist
from pkgindex_core.services.moving.importing.report import ImportReport
from pkgindex_http import plugin
from pkgindex_mirror.testing.upstream import ScriptedUpstream
from tests.clients.devpi7 import GOLDEN, HOSTED, OTHER_ORDER, REMOTES, UPSTREAMS, options, recorded, seen, supply
from tests.http.conftest import Serve

PLUGINS = load_plugins(program=plugin, settings={"mirror": {"allow_networks": ["127.0.0.0/8"]}})
"""The upstreams are on this machine, and mirrors that root did not make reach public addresses only."""


@pytest.fixture
async def upstreams() -> AsyncIterator[dict[str, ScriptedUpstream]]:
    async with ScriptedUpstream() as first, ScriptedUpstream() as second:
        supply(first, second)
        yield {"first": first, "second": second}


@pytest.fixture
def dump(tmp_path: Path, upstreams: dict[str, ScriptedUpstream]) -> Path:
    """The recorded dump, its remotes where the upstreams of this test are."""
    place = tmp_path / "dump"
    shutil.copytree(GOLDEN / "dump", place)
    index = (place / "dataindex.json").read_text()
    for name, upstream in upstreams.items():
        index = index.replace(_host(UPSTREAMS[name]), _host(upstream.url))
    (place / "dataindex.json").write_text(index)
    return place


async def bring(engine: Engine, dump: Path) -> ImportReport:
    return await engine.devpi_import.run(dump, progress=lambda _what, _done, _total: None)


async def test_pages_documents_bytes_and_options_are_those_of_devpi_7(
    serve: Serve, dump: Path, upstreams: dict[str, ScriptedUpstream]
) -> None:
    before = json.loads((GOLDEN / "moved.json").read_text())
    async with serve(mirrors=True, plugins=PLUGINS) as served:
        report = await bring(served.engine, dump)
        assert report.complete
        assert (report.devpi, report.users, report.indexes, report.versions) == ("7.0.0b4", 2, 10, 8)
        assert (report.files, report.documentation, report.test_results) == (14, 2, 1)
        after = recorded(await seen(served.url))
        assert {name: after["pages"][name] for name in before["pages"] if name not in OTHER_ORDER} == {
            name: page for name, page in before["pages"].items() if name not in OTHER_ORDER
        }
        assert after["documents"] == before["documents"]
        told = {one.name: one.reason for one in report.remarks if "order" in one.reason or "first" in one.reason}
        for name in OTHER_ORDER:
            assert after["pages"][name] != before["pages"][name]
            assert set(after["pages"][name]) == set(before["pages"][name])
        assert told == {
            "bob/both": "of files of one name devpi 7.0 took that of the first of alice/second, alice/pypi;"
            " here the first is that of alice/pypi, as its bases name them",
            **{
                f"bob/{name} clash": "devpi 7.0 merges bases in another order, so clash-1.0-py3-none-any.whl is that of"
                " bob/right, and was that of alice/base"
                for name in ("top", "open")
            },
        }
        same = {name: sha256 for name, sha256 in before["files"].items() if not _in_another_order(name)}
        assert {name: after["files"][name] for name in same} == same
        text = json.dumps(await options(served.url))
        for name, upstream in upstreams.items():
            text = text.replace(_host(upstream.url), _host(UPSTREAMS[name]))
        shown = json.loads(text)
        for index in (*HOSTED, *REMOTES):
            wanted = before["options"][index]
            if index == "alice/second":  # devpi shows the password
                wanted = {**wanted, "remote_url": wanted["remote_url"].replace("reader:secret@", "")}
            assert shown[index] == wanted, index


async def test_what_remotes_had_fetched_is_served_without_them(
    serve: Serve, dump: Path, upstreams: dict[str, ScriptedUpstream]
) -> None:
    for upstream in upstreams.values():
        await upstream.stop()
    async with serve(mirrors=True, plugins=PLUGINS) as served:
        await bring(served.engine, dump)
        for path, count in (
            ("alice/pypi/+simple/six/", 2),
            ("bob/trusting/+simple/six/", 3),
            ("bob/top/+simple/six/", 1),
        ):
            async with served.get(f"/{path}", headers={"Accept": "application/vnd.pypi.simple.v1+json"}) as answer:
                assert answer.status == 200, path
                assert len(json.loads(await answer.read())["files"]) == count, path


async def test_what_was_set_for_remotes_and_rules_is_set_here(serve: Serve, dump: Path) -> None:
    async with serve(mirrors=True, plugins=PLUGINS) as served:
        await bring(served.engine, dump)
        tree = (await served.engine.store.tree()).indexes

        def index(name: str) -> IndexConfig:
            return tree[IndexName(name)]

        assert index("alice/pypi").type == "mirror"
        assert (mirror_options(index("alice/pypi")).cache_expiry, index("alice/pypi").volatile) == (60, False)
        assert mirror_options(index("alice/second")).credentials == "reader:secret"
        assert mirror_options(index("alice/second")).no_project_list
        assert (list(whitelist(index("bob/top"))), unites_whitelists(index("bob/top"))) == ([], False)
        assert whitelist(index("bob/open")) == ["*"]
        assert whitelist(index("bob/named")) == ["demo"]
        assert unites_whitelists(index("bob/trusting"))
        assert whitelist(index("alice/base")) == ["six"]
        head = await served.engine.store.head()
        report = await bring(served.engine, dump)
        assert (report.complete, report.files, report.present) == (True, 0, 17)
        assert await served.engine.store.head() == head


def _host(url: str) -> str:
    return url.split("/")[2]


def _in_another_order(name: str) -> bool:
    index, _, filename = name.partition(" ")
    return any(page.startswith(f"{index} ") and filename.startswith(page.split()[1]) for page in OTHER_ORDER)
