"""A published tree is what the server shows, whether it was written at once or bit by bit."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from html import unescape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from pkgindex_core import failpoints
from pkgindex_core.changes import (
    DropFile,
    DropProject,
    MirrorPage,
    PutFile,
    PutIndex,
    PutProject,
    PutUser,
    YankFile,
)
from pkgindex_core.config import Settings
from pkgindex_core.engine import Engine
from pkgindex_core.engines.memory.blobs import MemoryBlobs
from pkgindex_core.errors import Conflict, Corrupt, Denied, Missing, Refused, StorageFull, Unavailable
from pkgindex_core.models import File, PageHead, User
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Principal
from pkgindex_core.rules.negotiation import JSON_V1
from pkgindex_core.services.reading.pages import PageRequest, View
from pkgindex_core.testing.configs import index_config
from pkgindex_core.testing.index_cases.values import ManualClock
from pkgindex_core.tools import leases
from pkgindex_mirror.static.entries import shard_of
from pkgindex_mirror.static.local_target import LocalTarget
from pkgindex_mirror.static.publishing import Order, publish_from
from pkgindex_mirror.static.shared_pages import SiteLook
from pkgindex_mirror.static.state import STATE
from pkgindex_mirror.static.templates import StaticTemplates
from tests.mirror.trees import DEV, apply, contents, opened, publish, put, wheel

PYPI = IndexName("root/pypi")
GOLDEN = Path(__file__).parents[1] / "golden" / "static-tree"


async def page(engine: Engine, project: str) -> Any:
    """What the server says to somebody without credentials."""
    view = View(start=DEV, root="../../")
    request = PageRequest(view=view, project=ProjectName(project), principal=Principal(), media_type=JSON_V1)
    answer = await engine.pages.project(request)
    assert answer.body is not None
    return json.loads(answer.body)


def without_urls(document: Any) -> Any:
    return {**document, "files": [{**file, "url": ""} for file in document["files"]]}


async def test_the_tree_is_the_one_that_a_person_has_reviewed(tmp_path: Path) -> None:
    async with opened(tmp_path / "data") as engine:
        await put(engine, wheel("demo", "1.0"), "demo", "1.0", summary="A <b>demo</b> & more")
        await put(engine, wheel("demo", "1.1"), "demo", "1.1", summary="A demo", minute=1)
        await put(engine, wheel("other", "2.0+local"), "other", "2.0+local", minute=2)
        await apply(engine, YankFile(DEV, ProjectName("demo"), "demo-1.0-py3-none-any.whl", "broken"))
        await publish(engine, tmp_path / "tree")
    found = contents(tmp_path / "tree")
    texts = {path: data for path, data in found.items() if not path.startswith(("files/", ".pkgindex/"))}
    if os.environ.get("PKGINDEX_WRITE_GOLDEN"):
        for path, data in texts.items():
            (GOLDEN / path).parent.mkdir(parents=True, exist_ok=True)
            (GOLDEN / path).write_bytes(data)
    assert texts == contents(GOLDEN)


async def test_pages_say_what_the_server_says(tmp_path: Path) -> None:
    """Bases included; links lead to the bytes."""
    async with opened(tmp_path / "data") as engine:
        base = IndexName("root/base")
        config = (await engine.store.tree()).indexes[DEV]
        await apply(engine, PutIndex(index_config(base)), PutIndex(replace(config, bases=(base,))))
        built = wheel("demo", "1.0")
        await put(engine, built, "demo", "1.0", index=base)
        await put(engine, wheel("demo", "2.0"), "demo", "2.0")
        await apply(engine, PutProject(DEV, ProjectName("demo"), PageHead(status="deprecated", status_reason="old")))
        await publish(engine, tmp_path / "tree")
        expected = await page(engine, "demo")
    found = json.loads((tmp_path / "tree/simple/demo/index.json").read_bytes())
    assert without_urls(found) == without_urls(expected)
    for file in found["files"]:
        place = tmp_path / "tree/simple/demo" / file["url"]
        assert place.stat().st_size == file["size"]
        assert place.with_name(f"{place.name}.metadata").is_file()
    assert (tmp_path / "tree/simple/demo" / found["files"][0]["url"]).read_bytes() == built.data


PROJECTS, VERSIONS = ("alpha", "beta", "gamma"), ("1.0", "1.1", "2.0rc1")
steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(PROJECTS), st.sampled_from(VERSIONS)),
        st.tuples(st.just("again"), st.sampled_from(PROJECTS), st.sampled_from(VERSIONS)),
        st.tuples(st.just("drop"), st.sampled_from(PROJECTS), st.sampled_from(VERSIONS)),
        st.tuples(st.just("yank"), st.sampled_from(PROJECTS), st.sampled_from(VERSIONS)),
        st.tuples(st.just("forget"), st.sampled_from(PROJECTS), st.just("")),
        st.tuples(st.just("mark"), st.sampled_from(PROJECTS), st.sampled_from(["quarantined", "archived", ""])),
        st.tuples(st.just("index"), st.just(""), st.sampled_from(["one", "two"])),
        st.tuples(st.just("publish"), st.just(""), st.just("")),
        st.tuples(st.just("killed"), st.just(""), st.integers(1, 12).map(str)),
    ),
    max_size=14,
)


async def do(engine: Engine, tree: Path, step: tuple[str, str, str]) -> None:
    what, project, detail = step
    name = ProjectName(project)
    filename = f"{project}-{detail}-py3-none-any.whl"
    try:
        match what:
            case "put" | "again":
                await put(engine, wheel(project, detail, text=what), project, detail, summary=what)
            case "drop":
                await apply(engine, DropFile(DEV, name, filename))
            case "yank":
                await apply(engine, YankFile(DEV, name, filename, "bad"))
            case "forget":
                await apply(engine, DropProject(DEV, name))
            case "mark":
                await apply(engine, PutProject(DEV, name, PageHead(status=detail)))
            case "index":
                config = (await engine.store.tree()).indexes[DEV]
                await apply(engine, PutIndex(replace(config, title=detail)))
            case "publish":
                await publish(engine, tree)
            case "killed":
                # Dies at the n-th object: what is there then stays as it is.
                failpoints.arm(f"publish.moved=raise:EIO@{detail}")
                with suppress(Unavailable):  # nothing is left to be written when it would die
                    await publish(engine, tree)
    except Missing:
        pass  # what is dropped or yanked may not be there
    finally:
        failpoints.disarm()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
@example(
    [
        ("put", "alpha", "1.0"),
        ("publish", "", ""),
        ("put", "alpha", "1.1"),
        ("killed", "", "9"),
        ("drop", "alpha", "1.1"),
        ("publish", "", ""),
    ]
)
@example(
    [("put", "alpha", "1.0"), ("publish", "", ""), ("put", "beta", "1.0"), ("killed", "", "9"), ("forget", "beta", "")]
)
@example([("put", "alpha", "1.0"), ("killed", "", "3"), ("forget", "alpha", ""), ("put", "beta", "1.0")])
async def test_bit_by_bit_is_the_same_as_at_once(history: list[tuple[str, str, str]]) -> None:
    """The law: after any history of changes, runs and deaths, the next run leaves what a first run elsewhere writes."""
    with TemporaryDirectory() as directory, patch("pkgindex_mirror.static.changelog.CHANGES_A_PAGE", 2):
        place = Path(directory)
        async with opened(place / "data") as engine:
            for step in history:
                await do(engine, place / "tree", step)
            await publish(engine, place / "tree")
            await publish(engine, place / "fresh")
        assert contents(place / "tree") == contents(place / "fresh")


async def test_one_upload_writes_a_handful(tmp_path: Path) -> None:
    async with opened(tmp_path / "data") as engine:
        for number in range(30):
            await put(engine, wheel(f"p{number}", "1.0"), f"p{number}", "1.0")
        first = await publish(engine, tmp_path / "tree")
        assert (first.projects, first.files, first.whole) == (30, 60, True)
        await put(engine, wheel("p7", "1.1"), "p7", "1.1")
        before = {path: (tmp_path / "tree" / path).stat().st_mtime_ns for path in contents(tmp_path / "tree")}
        done = await publish(engine, tmp_path / "tree")
        after = {path: (tmp_path / "tree" / path).stat().st_mtime_ns for path in contents(tmp_path / "tree")}
        assert (done.looked_at, done.files, done.removed, done.whole) == (1, 2, 0, False)
        changed = {path for path in after if after[path] != before.get(path)}
        assert {path for path in changed if not path.startswith("files/")} == {
            "simple/p7/index.html", "simple/p7/index.json", "pypi/p7/json", "pypi/p7/1.1/json",
            "simple/index.html", "simple/index.json", "packages.json", "index.html", "changelog/page1.html",
            STATE, ".pkgindex/overview", shard_of(ProjectName("p7")), ".pkgindex/changes/1",
        }  # fmt: skip
        again = await publish(engine, tmp_path / "tree")
        assert (again.objects, again.looked_at) == (0, 0)


async def test_what_is_deleted_leaves_the_tree(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    async with opened(tmp_path / "data") as engine:
        await put(engine, wheel("demo", "1.0"), "demo", "1.0")
        await put(engine, wheel("demo", "1.1"), "demo", "1.1")
        await put(engine, wheel("other", "1.0"), "other", "1.0")
        await publish(engine, tree)
        await apply(engine, DropFile(DEV, ProjectName("demo"), "demo-1.0-py3-none-any.whl"))
        await publish(engine, tree)
        assert {path.name for path in (tree / "files/demo").rglob("*.whl")} == {"demo-1.1-py3-none-any.whl"}
        await apply(engine, DropProject(DEV, ProjectName("demo")))
        done = await publish(engine, tree)
    assert done.removed > 0
    assert not [path for path in contents(tree) if "/demo/" in path]
    assert not [path for path in tree.rglob("*") if path.is_dir() and not any(path.iterdir()) and path.name != "new"]
    assert b"demo" not in (tree / "index.html").read_bytes() + (tree / "packages.json").read_bytes()


async def test_files_are_links_that_a_web_server_may_read(tmp_path: Path) -> None:
    async with opened(tmp_path / "data") as engine:
        built = wheel("demo", "1.0")
        await put(engine, built, "demo", "1.0")
        await publish(engine, tmp_path / "tree")
        (file,) = (tmp_path / "tree/files").rglob("*.whl")
        blob = await engine.blobs.locate(built.sha256, filename="x")
    assert isinstance(blob, Path)
    assert file.samefile(blob)
    assert file.stat().st_mode & 0o777 == 0o644


async def test_strangers_texts_are_escaped(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>\"'&"
    async with opened(tmp_path / "data") as engine:
        file = await put(engine, wheel("demo", "1.0"), "demo", "1.0", summary=hostile)
        odd = replace(file, filename="demo-1.0<img src=x>.zip", metadata_sha256=None)
        above = replace(file, filename="../../../demo.zip", metadata_sha256=None)
        await apply(engine, *(PutFile(DEV, ProjectName("demo"), each) for each in (odd, above)))
        await publish(engine, tmp_path / "tree")
    assert not (tmp_path / "demo.zip").exists()
    assert not list(tmp_path.rglob("demo.zip"))
    for path, data in contents(tmp_path / "tree").items():
        if path.endswith(".html"):
            text = data.decode()
            assert "<script>alert" not in text
            assert "<img" not in text
    home = (tmp_path / "tree/index.html").read_text()
    assert hostile in unescape(home)


async def test_a_project_that_nobody_may_read_is_not_published(tmp_path: Path) -> None:
    async with opened(tmp_path / "data") as engine:
        config = (await engine.store.tree()).indexes[DEV]
        await apply(engine, PutUser(User(name="anna")), PutIndex(replace(config, acl_read=("anna",))))
        await put(engine, wheel("demo", "1.0"), "demo", "1.0")
        with pytest.raises(Denied):
            await publish(engine, tmp_path / "tree")
        assert (await publish(engine, tmp_path / "tree", reader="anna")).projects == 1
        with pytest.raises(Missing, match="user"):
            await publish(engine, tmp_path / "tree", reader="ben")


async def test_files_that_the_reader_may_not_fetch_are_not_published(tmp_path: Path) -> None:
    """`acl_download`: others than the readers of the pages. What was published before leaves the tree, and nothing below takes its place."""
    base, below = IndexName("root/base"), IndexName("root/below")
    built = wheel("demo", "1.0")
    async with opened(tmp_path / "data") as engine:
        config = (await engine.store.tree()).indexes[DEV]
        await apply(
            engine,
            PutUser(User(name="anna")),
            PutIndex(index_config(below)),
            PutIndex(index_config(base, bases=(below,))),
            PutIndex(replace(config, bases=(base,))),
        )
        await put(engine, built, "demo", "1.0", index=base)
        await put(engine, wheel("demo", "1.0", text="below"), "demo", "1.0", index=below)
        await put(engine, wheel("demo", "2.0"), "demo", "2.0")
        await publish(engine, tmp_path / "tree")
        assert len(list((tmp_path / "tree/files").rglob("*.whl"))) == 2
        await apply(engine, PutIndex(index_config(base, bases=(below,), options={"acl_download": ["anna"]})))
        await publish(engine, tmp_path / "tree")
        await publish(engine, tmp_path / "anna", reader="anna")
        await publish(engine, tmp_path / "links", packages_url="https://x.example.org/")
    found = [path.name for path in (tmp_path / "tree/files").rglob("demo-*")]
    assert sorted(found) == ["demo-2.0-py3-none-any.whl", "demo-2.0-py3-none-any.whl.metadata"]
    page = json.loads((tmp_path / "tree/simple/demo/index.json").read_bytes())
    assert [file["filename"] for file in page["files"]] == ["demo-2.0-py3-none-any.whl"]
    assert (tmp_path / f"anna/files/demo/{built.sha256[:16]}/{built.filename}").read_bytes() == built.data
    # The server itself guards the files to which these pages link.
    assert built.filename in (tmp_path / "links/simple/demo/index.html").read_text()


class TestMirrors:
    async def filled(self, engine: Engine) -> None:
        here, elsewhere = wheel("six", "1.0"), wheel("six", "2.0")
        await engine.blobs.put(here.data)
        files = [
            File(
                filename=each.filename,
                version=version,
                digests={"sha256": each.sha256},
                size=each.size,
                metadata_offered=True,
                url=f"https://files.example.org/{each.filename}",
            )
            for each, version in ((here, "1.0"), (elsewhere, "2.0"))
        ]
        await apply(engine, MirrorPage(PYPI, ProjectName("six"), PageHead(), put=tuple(files)))

    async def test_by_default_nothing_of_a_mirror_is_published(self, tmp_path: Path) -> None:
        async with opened(tmp_path / "data") as engine:
            await self.filled(engine)
            assert (await publish(engine, tmp_path / "tree")).projects == 0

    async def test_of_a_mirror_what_is_stored(self, tmp_path: Path) -> None:
        """A page does not name what cannot be downloaded, nor a sidecar that is not there."""
        async with opened(tmp_path / "data") as engine:
            await self.filled(engine)
            await publish(engine, tmp_path / "tree", mirrors=True)
            found = json.loads((tmp_path / "tree/simple/six/index.json").read_bytes())
            assert [file["filename"] for file in found["files"]] == ["six-1.0-py3-none-any.whl"]
            assert found["versions"] == ["1.0"]
            assert "core-metadata" not in found["files"][0]
            await engine.blobs.put(wheel("six", "2.0").data)  # somebody fetches it: no commit tells of that
            await publish(engine, tmp_path / "tree", mirrors=True)
            found = json.loads((tmp_path / "tree/simple/six/index.json").read_bytes())
            assert found["versions"] == ["1.0", "2.0"]


async def test_files_may_stay_with_the_server(tmp_path: Path) -> None:
    async with opened(tmp_path / "data") as engine:
        file = await put(engine, wheel("demo", "1.0"), "demo", "1.0")
        await publish(engine, tmp_path / "tree", packages_url="https://packages.example.org")
    found = json.loads((tmp_path / "tree/simple/demo/index.json").read_bytes())
    sha256 = file.digests["sha256"]
    expected = f"https://packages.example.org/root/dev/+f/{sha256[:3]}/{sha256[3:16]}/{file.filename}"
    assert found["files"][0]["url"] == expected
    assert not (tmp_path / "tree/files").exists()
    for path in ("json", "1.0/json"):
        assert json.loads((tmp_path / "tree/pypi/demo" / path).read_bytes())["urls"][0]["url"] == expected


async def test_documents_of_versions_lead_to_the_files(tmp_path: Path) -> None:
    async with opened(tmp_path / "data") as engine:
        await put(engine, wheel("demo", "1.0"), "demo", "1.0", summary="says so")
        await publish(engine, tmp_path / "tree")
    for place in ("pypi/demo/json", "pypi/demo/1.0/json"):
        document = json.loads((tmp_path / "tree" / place).read_bytes())
        assert document["info"]["summary"] == "says so"
        assert ((tmp_path / "tree" / place).parent / document["urls"][0]["url"]).resolve().is_file()


async def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path / "data") as engine:
        await put(engine, wheel("demo", "1.0"), "demo", "1.0")
        planned = await publish(engine, tmp_path / "tree", dry_run=True)
        assert not (tmp_path / "tree").exists()
        done = await publish(engine, tmp_path / "tree")
    assert (planned.objects, planned.files, planned.dry_run) == (done.objects, done.files, True)


async def test_a_directory_of_something_else_keeps_what_is_in_it(tmp_path: Path) -> None:
    theirs = (
        "files/a.txt",
        "files/2024/report.pdf",
        "simple/style.css",
        "simple/demo/notes.txt",
        "pypi/demo/a.json",
        "changelog/1.0.html",
    )
    for path in theirs:
        (tmp_path / "tree" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / path).write_text("theirs")
    async with opened(tmp_path / "data") as engine:
        await put(engine, wheel("demo", "1.0"), "demo", "1.0")
        await publish(engine, tmp_path / "tree")
        await publish(engine, tmp_path / "tree")
        await publish(engine, tmp_path / "tree", full=True)
    for path in theirs:
        assert (tmp_path / "tree" / path).read_text() == "theirs"


async def test_a_full_run_repairs_whatever_is_damaged(tmp_path: Path) -> None:
    async with opened(tmp_path / "data") as engine:
        await put(engine, wheel("demo", "1.0"), "demo", "1.0")
        await publish(engine, tmp_path / "tree")
        before = contents(tmp_path / "tree")
        for path in before.keys() - {STATE}:
            (tmp_path / "tree" / path).unlink()
            (tmp_path / "tree" / path).write_bytes(b"damaged")
        await publish(engine, tmp_path / "tree", full=True)
        assert contents(tmp_path / "tree") == before
        assert not (await publish(engine, tmp_path / "tree", full=True)).removed
        assert not (await publish(engine, tmp_path / "tree")).looked_at


async def test_a_sidecar_that_is_another_one_after_a_kill(tmp_path: Path) -> None:
    """The path of a sidecar has the digest of its file, not its own."""
    async with opened(tmp_path / "data") as engine:
        file = await put(engine, wheel("demo", "1.0"), "demo", "1.0")
        await publish(engine, tmp_path / "tree")
        other = await engine.blobs.put(b"Metadata-Version: 2.1\n")
        await apply(engine, PutFile(DEV, ProjectName("demo"), replace(file, metadata_sha256=other.sha256)))
        failpoints.arm("publish.begun=raise:EIO")
        try:
            with suppress(OSError, Unavailable):
                await publish(engine, tmp_path / "tree")
        finally:
            failpoints.disarm()
        await publish(engine, tmp_path / "tree")
        await publish(engine, tmp_path / "fresh")
    assert contents(tmp_path / "tree") == contents(tmp_path / "fresh")


@pytest.mark.parametrize(
    "damaged", ["packages.json", ".pkgindex/overview", ".pkgindex/projects/*", ".pkgindex/changes/1"]
)
@pytest.mark.parametrize("damage", [b"", b"damaged"])
async def test_what_a_tree_says_of_itself_is_checked(tmp_path: Path, damaged: str, damage: bytes) -> None:
    """A run reads parts of the tree. One that somebody else has changed is made again, and with it what it stood for."""
    async with opened(tmp_path / "data") as engine:
        await put(engine, wheel("demo", "1.0"), "demo", "1.0")
        await put(engine, wheel("other", "1.0"), "other", "1.0")
        await publish(engine, tmp_path / "tree")
        for path in (tmp_path / "tree").glob(damaged):
            path.write_bytes(damage)
        await put(engine, wheel("demo", "1.1"), "demo", "1.1")
        await publish(engine, tmp_path / "tree")
        await publish(engine, tmp_path / "fresh")
    assert contents(tmp_path / "tree") == contents(tmp_path / "fresh")


async def test_a_commit_elsewhere_writes_nothing_but_its_serial(tmp_path: Path) -> None:
    async with opened(tmp_path / "data") as engine:
        await put(engine, wheel("demo", "1.0"), "demo", "1.0")
        await publish(engine, tmp_path / "tree")
        before = contents(tmp_path / "tree")
        await apply(engine, PutIndex(index_config(IndexName("root/other"))))
        done = await publish(engine, tmp_path / "tree")
    after = contents(tmp_path / "tree")
    assert {path for path in after if after[path] != before[path]} == {STATE}
    assert (done.objects, done.removed, json.loads(after[STATE])["serial"]) == (0, 0, done.serial)


async def test_another_title_is_on_all_pages_for_people(tmp_path: Path) -> None:
    async with opened(tmp_path / "data") as engine:
        await put(engine, wheel("demo", "1.0"), "demo", "1.0")
        await publish(engine, tmp_path / "tree")
        done = await publish(engine, tmp_path / "tree", site=SiteLook(title="Ours"))
        await publish(engine, tmp_path / "fresh", site=SiteLook(title="Ours"))
    assert done.objects == 2
    assert contents(tmp_path / "tree") == contents(tmp_path / "fresh")


def test_a_template_without_a_place_for_rows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "static_home.html").write_text("<h1>Ours</h1>")
    with pytest.raises(Refused, match="static_home"):
        StaticTemplates([tmp_path]).frame("static_home.html")


async def test_another_store_takes_the_tree_over_whole(tmp_path: Path) -> None:
    async with opened(tmp_path / "one") as engine:
        await put(engine, wheel("demo", "1.0"), "demo", "1.0")
        await publish(engine, tmp_path / "tree")
    async with opened(tmp_path / "two") as engine:
        await put(engine, wheel("other", "1.0"), "other", "1.0")
        assert (await publish(engine, tmp_path / "tree")).whole
        await publish(engine, tmp_path / "fresh")
    assert contents(tmp_path / "tree") == contents(tmp_path / "fresh")


@pytest.mark.parametrize("option", [{"per_release": False}, {"packages_url": "https://x.example.org/"}])
async def test_other_options_write_what_they_touch(tmp_path: Path, option: dict[str, Any]) -> None:
    async with opened(tmp_path / "data") as engine:
        await put(engine, wheel("demo", "1.0"), "demo", "1.0")
        await publish(engine, tmp_path / "tree")
        await publish(engine, tmp_path / "tree", **option)
        await publish(engine, tmp_path / "fresh", **option)
    assert contents(tmp_path / "tree") == contents(tmp_path / "fresh")


async def test_a_full_disk_is_told_and_the_next_run_repairs(tmp_path: Path) -> None:
    async with opened(tmp_path / "data") as engine:
        await put(engine, wheel("demo", "1.0"), "demo", "1.0")
        for point in ("publish.placed=raise:ENOSPC", "publish.written=raise:ENOSPC@4"):
            failpoints.arm(point)
            try:
                with pytest.raises(StorageFull):
                    await publish(engine, tmp_path / "tree")
            finally:
                failpoints.disarm()
        await publish(engine, tmp_path / "tree")
        await publish(engine, tmp_path / "fresh")
    assert contents(tmp_path / "tree") == contents(tmp_path / "fresh")
    assert not list((tmp_path / "tree/.pkgindex/new").iterdir())


async def test_bytes_that_are_lost_are_told_by_name(tmp_path: Path) -> None:
    async with opened(tmp_path / "data") as engine:
        built = wheel("demo", "1.0")
        await put(engine, built, "demo", "1.0")
        await engine.blobs.drop(built.sha256)
        with pytest.raises(Corrupt, match=re.escape(built.filename)):
            await publish(engine, tmp_path / "tree")


class TestTurns:
    async def test_two_publishers_of_a_store_take_turns(self, tmp_path: Path) -> None:
        """Where the place cannot lock, the store does."""
        async with opened(tmp_path / "data") as engine:
            order = Order(index=DEV, target="memory://turns")
            taken = await leases.acquire(engine.store, order.lease, "somebody", seconds=60)
            assert taken is not None
            with pytest.raises(Conflict, match="another publisher"):
                await publish_from(engine, order)
            assert not fsspec.filesystem("memory").exists("/turns")
            await leases.release(engine.store, taken)
            await publish_from(engine, order)

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("s3://bucket/tree", "s3://bucket/tree/"),
            ("s3://bucket/tree", "s3a://bucket/tree"),
            ("gs://bucket/tree", "gcs://bucket/tree/"),
        ],
    )
    def test_two_spellings_of_a_place_are_one_turn(self, one: str, other: str) -> None:
        assert Order(index=DEV, target=one).lease == Order(index=DEV, target=other).lease
        assert Order(index=DEV, target=one).lease != Order(index=DEV, target=f"{one}s").lease

    async def test_publishers_of_two_stores_do_not_write_one_directory_at_once(self, tmp_path: Path) -> None:
        async with opened(tmp_path / "data") as engine:
            holder = LocalTarget(tmp_path / "tree", blobs=None, workers=engine.workers)
            await holder.open()
            async with holder.turn():
                with pytest.raises(Conflict, match="another publisher"):
                    await publish(engine, tmp_path / "tree")
            await publish(engine, tmp_path / "tree")


async def test_files_that_cannot_be_linked_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, "another file system")

    async with opened(tmp_path / "data") as engine:
        built = wheel("demo", "1.0")
        await put(engine, built, "demo", "1.0")
        monkeypatch.setattr("pkgindex_mirror.static.local_target.os.link", refuses)
        await publish(engine, tmp_path / "tree")
    (file,) = (tmp_path / "tree/files").rglob("*.whl")
    assert file.read_bytes() == built.data
    assert file.stat().st_nlink == 1


class TestBlobsElsewhere:
    """Blobs that are no local files are copied through this process."""

    @pytest.fixture
    def umask(self) -> Iterator[None]:
        before = os.umask(0o077)
        yield
        os.umask(before)

    @pytest.mark.usefixtures("umask")
    async def test_a_web_server_may_read_what_was_copied(self, tmp_path: Path) -> None:
        blobs = MemoryBlobs(clock=ManualClock(), spools=tmp_path)
        built = wheel("demo", "1.0")
        await blobs.put(built.data)
        with ThreadPoolExecutor(1) as workers:
            target = LocalTarget(tmp_path / "tree", blobs=blobs, workers=workers)
            await target.open()
            async with target.turn():
                await target.place("files/demo/x/demo.whl", built.sha256)
                await target.write({"simple/index.html": b""})
        assert (tmp_path / "tree/files/demo/x/demo.whl").read_bytes() == built.data
        for path in (tmp_path / "tree").rglob("*"):
            if path.relative_to(tmp_path / "tree").parts[0] != ".pkgindex":
                assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644), path

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is full")
    async def test_a_full_disk_is_told_when_a_short_file_is_closed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        blobs = MemoryBlobs(clock=ManualClock(), spools=tmp_path)
        stored = await blobs.put(b"short")
        with ThreadPoolExecutor(1) as workers:
            target = LocalTarget(tmp_path / "tree", blobs=blobs, workers=workers)
            await target.open()
            (tmp_path / "tree/.pkgindex/new/full").symlink_to("/dev/full")
            monkeypatch.setattr("pkgindex_mirror.static.local_target.secrets.token_hex", lambda _: "full")
            opened_file = Path.open
            monkeypatch.setattr(Path, "open", lambda path, mode="r": opened_file(path, mode.replace("x", "w")))
            with pytest.raises(StorageFull) as full:
                await target.place("files/demo/x/demo.whl", stored.sha256)
            assert "of the tree;" in full.value.hint


async def test_the_same_tree_on_another_medium(tmp_path: Path) -> None:
    """`memory://` stands for media whose writes can be seen half done."""
    async with opened(tmp_path / "data") as engine:
        await put(engine, wheel("demo", "1.0"), "demo", "1.0")
        await put(engine, wheel("other", "1.0"), "other", "1.0")
        await publish(engine, "memory://tree")
        await apply(engine, DropProject(DEV, ProjectName("other")))
        fsspec.filesystem("memory").pipe_file("/tree/.pkgindex/new/0123", b"what a killed run was writing")
        await publish(engine, "memory://tree")
        await publish(engine, tmp_path / "tree")
    files = fsspec.filesystem("memory")
    found = {path.removeprefix("/tree/"): files.cat_file(path) for path in files.find("/tree")}
    assert found == contents(tmp_path / "tree")


async def test_files_are_not_copied_in_place_where_that_can_be_seen_half_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only object stores copy by themselves. Other media have hosts as well, and the two URLs may name different ones."""
    copied: list[tuple[str, str]] = []
    copy = MemoryFileSystem.cp_file

    def noted(files: MemoryFileSystem, one: str, other: str, **options: Any) -> None:
        copied.append((one, other))
        copy(files, one, other, **options)

    monkeypatch.setattr(MemoryFileSystem, "cp_file", noted)
    async with Engine.open(Settings(data=tmp_path / "data", blobs="memory://blobs"), mirrors=False) as engine:
        await engine.prepare()
        built = wheel("demo", "1.0")
        await put(engine, built, "demo", "1.0")
        await publish(engine, "memory://beside")
    assert not [each for each in copied if "/files/" in each[1] and "/new/" not in each[0]]
    (path,) = (path for path in fsspec.filesystem("memory").find("/beside/files") if path.endswith(".whl"))
    assert fsspec.filesystem("memory").cat_file(path) == built.data


async def test_a_full_disk_is_told_while_a_file_is_copied_through_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with Engine.open(Settings(data=tmp_path / "data", blobs="memory://elsewhere"), mirrors=False) as engine:
        await engine.prepare()
        await put(engine, wheel("demo", "1.0"), "demo", "1.0")
        monkeypatch.setattr("pkgindex_mirror.static.object_target.FileOperations.write", full)
        with pytest.raises(StorageFull):
            await publish(engine, "memory://copied")


@pytest.mark.parametrize("target", ["s3://bucket::memory://x", "http://127.0.0.1:9/tree"])
async def test_errors_about_a_target_do_not_speak_of_the_blobs(tmp_path: Path, target: str) -> None:
    async with opened(tmp_path / "data") as engine:
        with pytest.raises((Refused, Unavailable)) as caught:
            await publish(engine, target)
    assert "blob" not in str(caught.value)


async def test_a_medium_that_fails_is_repaired_by_the_next_run(tmp_path: Path) -> None:
    async with opened(tmp_path / "data") as engine:
        await put(engine, wheel("demo", "1.0"), "demo", "1.0")
        failpoints.arm("publish.put=raise:EIO@5")
        try:
            with pytest.raises(OSError, match="Input/output"):
                await publish(engine, "memory://fails")
        finally:
            failpoints.disarm()
        await apply(engine, DropProject(DEV, ProjectName("demo")))
        await publish(engine, "memory://fails")
        await publish(engine, tmp_path / "fresh")
    files = fsspec.filesystem("memory")
    assert {path.removeprefix("/fails/"): files.cat_file(path) for path in files.find("/fails")} == contents(
        tmp_path / "fresh"
    )
