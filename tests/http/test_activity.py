"""Counts of downloads and uploads: no write for a request, and the sum of all processes."""

from __future__ import annotations

import json
from pathlib import Path

from pkgindex_core.names import ProjectName
from pkgindex_core.services.administering import activity
from pkgindex_core.services.administering.activity import DayCounts
from pkgindex_core.testing.wheels import BuiltFile, build_wheel
from pkgindex_http.working.drawing import Series, drawn
from tests.http.browsing import Browser
from tests.http.conftest import HOSTED, MIRROR, MirroredStart, Serve, Served, basic
from tests.http.forms import CONTENT_TYPE, encode_form, upload_parts

DEMO = ProjectName("demo")


def url_of(built: BuiltFile, index: str = "root/dev") -> str:
    return f"/{index}/+f/{built.sha256[:3]}/{built.sha256[3:16]}/{built.filename}"


async def fetch(served: Served, path: str, **headers: str) -> int:
    async with served.get(path, headers=headers) as answer:
        await answer.read()
        return int(answer.status)


async def counts(served: Served, project: str = "") -> DayCounts:
    days = await served.engine.activity.days(HOSTED, project)
    return next(iter(days.values()), DayCounts())


async def test_a_download_is_counted_in_memory(serve: Serve, wheel: BuiltFile) -> None:
    """One download is one count, whatever an installer asks besides; and it writes nothing."""
    async with serve() as served:
        await served.put(wheel)
        path = url_of(wheel)
        assert await fetch(served, path) == 200
        assert await fetch(served, f"{path}.metadata") == 200
        assert await fetch(served, path, Range="bytes=-20") == 206
        assert await fetch(served, path, Range="bytes=20-30") == 206
        assert await fetch(served, path, **{"If-None-Match": f'"{wheel.sha256}"'}) == 304
        assert await fetch(served, path, Range="bytes=0-10") == 206
        async with served.request("HEAD", path) as answer:
            assert answer.status == 200
        assert (await counts(served, "demo")).downloads == 2
        assert (await counts(served)).downloads == 2
        assert [batch async for batch in served.engine.store.notes(activity.KIND)] == []


async def test_processes_add_up_and_nothing_is_counted_twice(serve: Serve, tmp_path: Path, wheel: BuiltFile) -> None:
    """Two servers over a store, each writing more than once, and a third that only reads."""
    store = {"store": f"sqlite:///{tmp_path}/index.sqlite", "blobs": f"file://{tmp_path}/blobs"}
    async with serve(**store) as one, serve(**store, data=tmp_path / "other") as two:
        await one.put(wheel)
        for served, times in ((one, 3), (two, 2), (one, 1)):
            for _ in range(times):
                await fetch(served, url_of(wheel))
            await served.engine.activity.write()
            await served.engine.activity.write()
        data = encode_form(upload_parts(build_wheel("demo", "1.1")))
        headers = {"Content-Type": CONTENT_TYPE.decode(), **basic("root")}
        async with two.request("POST", "/root/dev/", data=data, headers=headers) as answer:
            assert answer.status == 200
        await two.engine.activity.write()
        seen = await counts(one, "demo")
        assert (seen.downloads, seen.uploads) == (6, 1)
        stored = await one.engine.store.stored_bytes(HOSTED)
        assert (await counts(one)).stored_bytes == stored > 0
    async with serve(**store) as later:
        assert (await counts(later)).downloads == 6
        await fetch(later, url_of(wheel))
        await later.engine.activity.write()
        assert (await counts(later)).downloads == 7


async def test_memory_is_bounded(serve: Serve) -> None:
    """A process that counted too many projects begins anew, and loses nothing."""
    async with serve() as served:
        counting = served.engine.activity
        for turn in range(3):
            for number in range(8_000):
                counting.downloaded(HOSTED, ProjectName(f"project-{turn}-{number}"))
            counting.downloaded(HOSTED, DEMO)
            await counting.write()
        assert len(counting._written) <= activity._NOTES
        assert (await counts(served, "demo")).downloads == 3
        assert (await counts(served)).downloads == 3 * 8_001


async def test_a_mirror_counts_what_was_here_already(mirrored: MirroredStart) -> None:
    async with mirrored() as world:
        _, _ = await world.page()
        answer, body = await world.get("/root/pypi/+simple/demo/")
        assert answer.status == 200
        url = json.loads(body)["files"][0]["url"]
        path = url[url.index("/+f/") :].partition("#")[0]
        for _ in range(3):
            assert await fetch(world.served, f"/root/pypi{path}") == 200
            await world.served.engine.settle()
        days = await world.served.engine.activity.days(MIRROR)
        (day,) = days.values()
        assert (day.downloads, day.fetched) == (3, 1)
        page = await Browser(world.served).get("/root/pypi/+plots")
        assert "67% of the files were here already" in page.text
        assert "The upstream last answered: 2" in page.text


async def test_a_name_that_a_policy_hides_has_no_plots(mirrored: MirroredStart) -> None:
    async with mirrored() as world:
        assert (await world.page())[0].status == 200
        assert await fetch(world.served, "/root/pypi/+plots/demo") == 200
        await world.change(policies=["private for demo"])
        assert await fetch(world.served, "/root/pypi/+plots/demo") == 404


async def test_a_plot_has_its_numbers_as_text(serve: Serve, wheel: BuiltFile) -> None:
    """The drawing has a name, and a table beside it has the numbers; without colour the series differ in shape."""
    async with serve() as served:
        await served.put(wheel)
        for _ in range(3):
            await fetch(served, url_of(wheel))
        for path in ("/root/dev/+plots", "/root/dev/+plots/demo"):
            page = await Browser(served).get(path)
            assert 'role="img" aria-label="Downloads, ' in page.text
            assert '<td class="number">3</td>' in page.text
            assert "style=" not in page.text
    svg = drawn('<a & "b">', ["one", "two"], [Series(name="<x>", values=(1, 5)), Series(name="y", values=(0, 2))])
    assert "<a" not in svg
    assert "<x>" not in svg
    assert svg.count('class="bar-1"') == 2
    assert svg.count('class="bar-2"') == 1
