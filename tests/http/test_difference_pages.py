"""The page with the difference between two releases."""

from __future__ import annotations

import re
from html import unescape

import pytest

from pkgindex_core.changes import PutRelease
from pkgindex_core.formats.core_metadata import read_metadata
from pkgindex_core.formats.release_differences import Change, changes, comparable, dependencies_of
from pkgindex_core.formats.version_documents import from_archive
from pkgindex_core.models import File, Release
from pkgindex_core.names import ProjectName
from pkgindex_core.testing.wheels import BuiltFile, build_sdist, build_wheel
from tests.http.conftest import HOSTED, MirroredStart, Serve, Served
from tests.http.test_welcome import page

OLD = build_wheel(
    "demo",
    "1.0",
    requires_dist=["kept>=1", "moved>=1", "dropped"],
    requires_python=">=3.8",
    files={
        "demo/same.py": b"same",
        "demo/other.py": b"aaaa",
        "demo/gone.py": b"",
        "demo-1.0.dist-info/entry_points.txt": b"[console_scripts]\ndemo = demo:main\nold = demo:old\n",
        "demo-1.0.data/scripts/tool": b"#!python\n1",
    },
)
NEW = build_wheel(
    "demo",
    "2.0",
    requires_dist=["kept>=1", "moved>=2", "added; extra == 'x'"],
    requires_python=">=3.10",
    files={
        "demo/same.py": b"same",
        "demo/other.py": b"bbbb",
        "demo/<b>new.py": b"x",
        "start.pth": b"import demo\n",
        "demo-2.0.dist-info/entry_points.txt": b"[console_scripts]\ndemo = demo:run\n",
        "demo-2.0.data/scripts/tool": b"#!python\n2",
    },
)
WANTED = {
    "Metadata": {("≠", "Requires Python", ">=3.8", ">=3.10")},
    "Dependencies": {
        ("≠", "moved", "moved>=1", "moved>=2"),
        ("−", "dropped", "dropped", ""),
        ("+", "added", "", "added; extra == 'x'"),
    },
    "Files, in bytes": {("+", ".tar.gz", "", "*"), ("≠", "py3-none-any.whl", "*", "*")},
    "Entry points": {
        ("≠", "console_scripts: demo", "demo:main", "demo:run"),
        ("−", "console_scripts: old", "demo:old", ""),
    },
    "Scripts": {("≠", "tool", "", "")},
    "Files that run at every start of Python": {("+", "start.pth", "", "")},
    "Contents, in bytes": {
        ("≠", "demo/other.py", "4", "4"),
        ("−", "demo/gone.py", "0", ""),
        ("+", "demo/<b>new.py", "", "1"),
        ("+", "start.pth", "", "12"),
        ("≠", "demo.dist-info/entry_points.txt", "*", "*"),
        ("≠", "demo.dist-info/METADATA", "*", "*"),
        ("≠", "demo.dist-info/RECORD", "*", "*"),
        ("≠", "demo.data/scripts/tool", "10", "10"),
    },
}


async def put(served: Served, built: BuiltFile, version: str) -> None:
    await served.put(built)
    release = Release(version=version, metadata=from_archive(read_metadata(built.metadata)))
    await served.engine.store.apply([PutRelease(HOSTED, ProjectName("demo"), release)], who="[test]")


def sections(text: str) -> dict[str, set[tuple[str, ...]]]:
    found = {}
    for part in text.split("<h2>")[1:]:
        rows = re.findall(r'<tr><td class="mark">(.)<.*?</td><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td></tr>', part)
        plain = [[unescape(re.sub("<[^>]*>", "", each)) for each in row] for row in rows]
        found[part.partition("</h2>")[0]] = {tuple(row) for row in plain}
    return found


def fits(found: set[tuple[str, ...]], wanted: set[tuple[str, ...]]) -> bool:
    """Whether the rows are the wanted ones; `*` stands for any value."""

    def bare(row: tuple[str, ...]) -> tuple[str, ...]:
        template = next((each for each in wanted if each[:2] == row[:2]), row)
        return tuple(value if want != "*" or not value else "*" for value, want in zip(row, template, strict=True))

    return {bare(each) for each in found} == wanted


@pytest.mark.parametrize("query", ["", "?from=1.0&to=2.0", "?to=2.0.0"])
async def test_every_kind_of_difference_is_shown(serve: Serve, query: str) -> None:
    async with serve() as served:
        await put(served, OLD, "1.0")
        await put(served, NEW, "2.0")
        await served.put(build_sdist("demo", "2.0"))
        answer, text = await page(served, f"/root/dev/demo/+diff{query}")
        assert answer.status == 200
        found = sections(text)
        assert found.keys() == WANTED.keys()
        for title, rows in WANTED.items():
            assert fits(found[title], rows), (title, found[title])
        (place,) = re.findall(r'href="([^"]*)">demo/gone.py', text)
        answer, _ = await page(served, f"/root/dev/demo/{place}")
        assert answer.status == 200
        _, project = await page(served, "/root/dev/demo")
        assert 'href="../../root/dev/demo/+diff?from=1.0&amp;to=2.0"' in project


async def test_what_cannot_be_compared_is_said(mirrored: MirroredStart, serve: Serve) -> None:
    """The files of a mirror are compared without their contents, until they are fetched."""
    async with mirrored() as world:
        world.upstream.add("demo", build_wheel("demo", "2.0", requires_dist=["other"]))
        path = "/root/pypi/demo/+diff?from=1.0&to=2.0"
        answer, text = await page(world.served, path)
        assert answer.status == 200
        assert ("+", "other", "", "other") in sections(text)["Dependencies"]
        assert "the contents of demo-2.0-py3-none-any.whl are not compared" in text
        assert "Contents, in bytes" not in sections(text)
        assert not [each for each in world.upstream.asked if each.path.endswith(".whl")]
        _, text = await page(world.served, f"{path}&fetch=1")
        assert sections(text)["Contents, in bytes"]


async def test_odd_questions_have_answers(serve: Serve) -> None:
    async with serve() as served:
        await put(served, OLD, "1.0")
        answer, text = await page(served, "/root/dev/demo/+diff")
        assert (answer.status, "There is no version before 1.0" in text) == (200, True)
        for query in ("from=9&to=1.0", "to=%00", "from=1.0&to=" + "9" * 3000):
            answer, _ = await page(served, f"/root/dev/demo/+diff?{query}")
            assert answer.status == 404
        answer, _ = await page(served, "/root/dev/absent/+diff")
        assert answer.status == 404


async def test_a_long_difference_is_cut(serve: Serve) -> None:
    async with serve() as served:
        await put(served, build_wheel("demo", "1.0", files={f"m{n}.py": b"" for n in range(5000)}), "1.0")
        await put(served, build_wheel("demo", "2.0", files={}), "2.0")
        _, text = await page(served, "/root/dev/demo/+diff")
        assert len(sections(text)["Contents, in bytes"]) == 200
        assert "more.</p>" in text
        assert len(text) < 100_000


def file(name: str, version: str) -> File:
    return File(filename=name, version=version)


def test_archives_are_compared_with_their_like() -> None:
    wheels = [file(f"d-1-{tag}.whl", "1") for tag in ("cp39-cp39-win32", "py3-none-any")]
    other = [file("d-2.tar.gz", "2"), file("d-2-cp39-cp39-win32.whl", "2")]
    pair = comparable([*wheels, file("d-1.tar.gz", "1")], other)
    assert pair is not None
    assert (pair.old.filename, pair.new.filename) == ("d-1-cp39-cp39-win32.whl", "d-2-cp39-cp39-win32.whl")
    pair = comparable([*wheels, file("d-1.tar.gz", "1")], other[:1])
    assert pair is not None
    assert pair.new.filename == "d-2.tar.gz"
    pair = comparable(wheels[:1], [file("d-2-cp310-cp310-win32.whl", "2")])
    assert pair is not None
    assert comparable(wheels, []) is None


def test_a_change_of_nothing_is_no_change() -> None:
    assert changes({"a": 1, "b": 2}, {"b": 2, "a": 1}) == ()
    assert changes({"a": 1}, {"b": 2}) == (Change("a", 1, None), Change("b", None, 2))
    assert dependencies_of(["A.b>1", "a_b<9; x", "c"]) == {"a-b": "A.b>1; a_b<9; x", "c": "c"}
