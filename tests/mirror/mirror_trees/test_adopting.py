"""A tree that bandersnatch made, or whose rows were lost, is taken over without fetching anything again."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from msgspec.structs import replace

from pkgindex_core.errors import Refused
from pkgindex_core.names import ProjectName
from pkgindex_mirror.trees.layout import file_path
from pkgindex_mirror.trees.options import TreeOptions
from pkgindex_mirror.trees.verifying import TreeVerifying, VerifyOrder
from tests.mirror.mirror_trees.mirrors import Imagined, contents, document_of, examine, imagined, opened, sync

ALPHA = ProjectName("alpha-one")


def bandersnatch_tree(root: Path, *projects: Imagined, documents: bool = True, serial: int = 9) -> None:
    """What bandersnatch leaves of these projects, sdists only, as if a filter had left the wheels out."""
    for one in projects:
        project = one.project
        page = root / "web/simple" / project.name
        page.mkdir(parents=True)
        files = []
        for file in project.files:
            if file.filename.endswith(".whl"):
                continue
            place = root / file_path(file)
            place.parent.mkdir(parents=True)
            place.write_bytes(one.bytes[file.filename].data)
            assert file.upload_time is not None
            os.utime(place, (file.upload_time / 1e6, file.upload_time / 1e6))
            files.append(
                {
                    "filename": file.filename,
                    "hashes": {"sha256": file.sha256},
                    "requires-python": "",
                    "size": file.size,
                    "upload-time": "2023-11-14T22:13:20.250000Z",
                    "url": f"../..{file_path(file).removeprefix('web')}",
                    "yanked": bool(file.yanked),
                }
            )
        meta = {"api-version": "1.1", "_last-serial": str(project.serial)}
        shown = {"files": files, "meta": meta, "name": project.name, "versions": list(project.head.versions)}
        (page / "index.v1_json").write_text(json.dumps(shown))
        links = "\n".join(
            f'<a href="{each["url"]}#sha256={each["hashes"]["sha256"]}">{each["filename"]}</a><br/>' for each in files
        )
        html = (
            '<!DOCTYPE html>\n<html>\n<head>\n<meta name="pypi:repository-version" content="1.0">\n'
            f"<title>Links for {project.raw}</title>\n</head>\n<body>\n<h1>Links for {project.raw}</h1>\n{links}\n"
            f"</body>\n</html>\n<!--SERIAL {project.serial}-->"
        )
        (page / "index.html").write_text(html)
        (page / "index.v1_html").write_text(html)
        if documents:
            (root / "web/json").mkdir(exist_ok=True)
            (root / "web/json" / project.name).write_bytes(document_of(project))
            (root / "web/pypi" / project.name).mkdir(parents=True)
            (root / "web/pypi" / project.name / "json").write_bytes(document_of(project))
    (root / "status").write_text(str(serial))
    (root / "generation").write_text("5")


async def test_projects_have_rows_with_what_bandersnatch_knew(tmp_path: Path) -> None:
    alpha = imagined("Alpha.One", "1.0", serial=5, has_sidecars=False)
    bandersnatch_tree(tmp_path, alpha)
    async with opened(tmp_path) as tree, tree.turn():
        state = await tree.state(ALPHA)
        assert state is not None
        assert (state.raw, state.serial, state.published, state.files, state.bytes) == ("Alpha.One", 5, True, 1, 40)
        assert (await tree.facts())["serial"] == "9"
        held = await tree.held(ALPHA)
        assert held is not None
        assert [file.filename for file in held.files] == sorted(file.filename for file in alpha.project.files)
        assert {file.url for file in held.files} == {file.url for file in alpha.project.files}


async def test_files_that_are_there_are_not_fetched_again(tmp_path: Path) -> None:
    alpha = imagined("Alpha.One", "1.0", serial=5, has_sidecars=False)
    bandersnatch_tree(tmp_path, alpha)
    assert await sync(tmp_path, [alpha]) == ["alpha_one-1.0-py3-none-any.whl"]
    assert examine(tmp_path) == 2


@pytest.mark.parametrize(("method", "fetched"), [("hash", 1), ("stat", 0)])
async def test_bytes_are_compared_as_the_options_say(tmp_path: Path, method: str, fetched: int) -> None:
    alpha = imagined("Alpha.One", "1.0", serial=5, has_sidecars=False)
    bandersnatch_tree(tmp_path, alpha)
    sdist = alpha.project.files[1]
    place = tmp_path / file_path(sdist)
    before = place.stat()
    place.write_bytes(b"x" * before.st_size)
    os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))
    options = TreeOptions(compare_method="hash" if method == "hash" else "stat")
    assert (await sync(tmp_path, [alpha], options)).count(sdist.filename) == fetched


async def test_without_documents_only_the_upstream_knows_what_was_left_out(tmp_path: Path) -> None:
    alpha = imagined("Alpha.One", "1.0", serial=5, has_sidecars=False)
    bandersnatch_tree(tmp_path, alpha, documents=False)
    async with opened(tmp_path) as tree, tree.turn():
        assert await tree.held(ALPHA) is None
        state = await tree.state(ALPHA)
        assert state is not None
        assert state.serial == 5
        page = await tree.page(ALPHA)
        assert page is not None
        assert [file.filename for file in page.project.files] == ["alpha_one-1.0.tar.gz"]


@pytest.mark.parametrize("damage", [None, b'{"files": ['])
async def test_a_page_of_html_is_enough(tmp_path: Path, damage: bytes | None) -> None:
    alpha = imagined("Alpha.One", "1.0", serial=5, has_sidecars=False)
    bandersnatch_tree(tmp_path, alpha, documents=False)
    (tmp_path / "web/simple/alpha-one/index.v1_json").unlink()
    if damage is not None:
        (tmp_path / "web/simple/alpha-one/index.v1_json").write_bytes(damage)
    async with opened(tmp_path) as tree, tree.turn():
        state = await tree.state(ALPHA)
        assert state is not None
        assert (state.serial, state.files) == (5, 1)


async def test_what_cannot_be_read_removes_nothing(tmp_path: Path) -> None:
    alpha = imagined("Alpha.One", "1.0", serial=5, has_sidecars=False)
    bandersnatch_tree(tmp_path, alpha, imagined("beta", "1.0", serial=6, has_sidecars=False))
    for broken in ("web/json/alpha-one", "web/simple/alpha-one/index.v1_json", "web/simple/alpha-one/index.html"):
        (tmp_path / broken).write_bytes((tmp_path / broken).read_bytes()[:30])
    before = contents(tmp_path)
    async with opened(tmp_path) as tree, tree.turn():
        state = await tree.state(ALPHA)
        assert state is not None
        assert state.serial is None
        assert await tree.held(ALPHA) is None
    assert contents(tmp_path) == before


async def test_unfinished_projects_of_bandersnatch_are_asked_for(tmp_path: Path) -> None:
    bandersnatch_tree(tmp_path, imagined("Alpha.One", "1.0", serial=5), imagined("beta", "1.0", serial=6))
    (tmp_path / "todo").write_text("9\nAlpha.One 9")
    async with opened(tmp_path) as tree, tree.turn():
        rows = {state.name: state.serial async for batch in tree.states() for state in batch}
    assert rows == {"alpha-one": None, "beta": 6}


async def test_a_tree_whose_rows_were_lost_is_taken_over(tmp_path: Path) -> None:
    options = TreeOptions(json=True, hash_index=True)
    alpha = imagined("Alpha.One", "1.0", serial=5, document=True, yanked="why")
    await sync(tmp_path, [alpha], options)
    before = contents(tmp_path)
    shutil.rmtree(tmp_path / ".pkgindex")
    assert await sync(tmp_path, [alpha], options) == []
    assert contents(tmp_path) == before


async def test_options_that_change_pages_write_them_again(tmp_path: Path) -> None:
    alpha = imagined("Alpha.One", "1.0", serial=5)
    await sync(tmp_path / "one", [alpha])
    await sync(tmp_path / "one", [], TreeOptions(hash_index=True, simple_format="JSON", core_metadata=False))
    await sync(tmp_path / "other", [alpha], TreeOptions(hash_index=True, simple_format="JSON", core_metadata=False))
    now, fresh = contents(tmp_path / "one"), contents(tmp_path / "other")
    assert [path for path in now if path.startswith("web/simple")] == [
        "web/simple/a/alpha-one/index.v1_json",
        "web/simple/index.v1_json",
    ]
    assert {path: now[path] for path in fresh} == fresh


async def test_a_project_that_is_not_mirrored_any_more_is_not_taken_over_twice(tmp_path: Path) -> None:
    bandersnatch_tree(tmp_path, imagined("Alpha.One", "1.0", serial=5))
    await sync(tmp_path, [], gone=["alpha-one"])
    (tmp_path / "web/simple/alpha-one").mkdir()
    async with opened(tmp_path) as tree, tree.turn():
        assert await tree.state(ALPHA) is None


async def test_wrong_fields_of_documents_spoil_only_themselves(tmp_path: Path) -> None:
    alpha = imagined("Alpha.One", "1.0", serial=5)
    bandersnatch_tree(tmp_path, alpha)
    document = json.loads(document_of(alpha.project))
    files = document["releases"]["1.0"]
    files[0] |= {"filename": "../evil.whl"}
    files[1] |= {"size": "many", "upload_time_iso_8601": 7, "digests": None, "yanked": "yes"}
    (tmp_path / "web/json/alpha-one").write_text(json.dumps(document))
    async with opened(tmp_path) as tree, tree.turn():
        held = await tree.held(ALPHA)
    assert held is not None
    (file,) = held.files
    assert file == replace(alpha.project.files[1], size=None, upload_time=None, digests={}, provenance="", yanked=False)


async def test_a_page_that_cannot_be_read_beside_a_good_document(tmp_path: Path) -> None:
    alpha = imagined("Alpha.One", "1.0", serial=5, has_sidecars=False)
    bandersnatch_tree(tmp_path, alpha)
    for page in ("index.v1_json", "index.html"):
        (tmp_path / "web/simple/alpha-one" / page).write_bytes(b"?")
    async with opened(tmp_path) as tree, tree.turn():
        state = await tree.state(ALPHA)
        assert state is not None
        assert (state.serial, state.published) == (None, False)
        report = await TreeVerifying(tree, VerifyOrder(delete=True, most_removed=1.0)).run()
        assert (report.projects, report.removed) == (0, 0)
    assert (tmp_path / file_path(alpha.project.files[1])).exists()
    assert await sync(tmp_path, [alpha]) == ["alpha_one-1.0-py3-none-any.whl"]


async def test_a_document_without_a_page_is_no_damage(tmp_path: Path) -> None:
    alpha = imagined("Alpha.One", "1.0", serial=5, has_sidecars=False)
    bandersnatch_tree(tmp_path, alpha)
    shutil.rmtree(tmp_path / "web/simple/alpha-one")
    async with opened(tmp_path) as tree, tree.turn():
        assert await tree.rows.pages.unreadable() == []
        state = await tree.state(ALPHA)
        assert state is not None
        assert (state.serial, state.published) == (None, False)


@pytest.mark.parametrize(("generation", "serial"), [("5", 5), ("4", None), ("nonsense", 5)])
async def test_a_tree_of_an_older_form_is_asked_for_again(tmp_path: Path, generation: str, serial: int | None) -> None:
    bandersnatch_tree(tmp_path, imagined("Alpha.One", "1.0", serial=5))
    (tmp_path / "generation").write_text(generation)
    async with opened(tmp_path) as tree, tree.turn():
        state = await tree.state(ALPHA)
        assert state is not None
        assert state.serial == serial


async def test_a_tree_of_a_later_form_is_refused(tmp_path: Path) -> None:
    bandersnatch_tree(tmp_path, imagined("Alpha.One", "1.0", serial=5))
    (tmp_path / "generation").write_text("6")
    async with opened(tmp_path) as tree:
        with pytest.raises(Refused, match="generation 6"):
            async with tree.turn():
                pass


async def test_many_projects_are_taken_over(tmp_path: Path) -> None:
    bandersnatch_tree(tmp_path, *(imagined(f"p{number}", "1.0", serial=number + 1) for number in range(120)))
    async with opened(tmp_path) as tree, tree.turn():
        rows = {state.name: state.serial async for batch in tree.states() for state in batch}
    assert rows == {f"p{number}": number + 1 for number in range(120)}


async def test_directories_of_old_spellings_are_cleaned_up(tmp_path: Path) -> None:
    for old in ("Alpha.One", "alpha.one", "Alpha-One", "beta"):
        (tmp_path / "web/simple" / old).mkdir(parents=True)
        (tmp_path / "web/simple" / old / "index.html").write_bytes(b"?")
    await sync(tmp_path, [imagined("Alpha.One", "1.0")], TreeOptions(cleanup=True))
    assert sorted(path.name for path in (tmp_path / "web/simple").iterdir() if path.is_dir()) == [
        "Alpha-One",  # may be the same directory
        "alpha-one",
        "beta",
    ]
