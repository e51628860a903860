"""A database that an earlier program wrote opens with this one, and everything in it is there."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest
from msgspec.structs import replace

from pkgindex_core.changes import (
    AttachmentAbsent,
    Commit,
    FileAbsent,
    IndexIs,
    MirrorPage,
    PutAttachment,
    PutFile,
    PutIndex,
    PutRelease,
)
from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import sha256_of
from pkgindex_core.engines.memory.index import MemoryIndex
from pkgindex_core.engines.migrations import migrations
from pkgindex_core.engines.sqlite.index import SqliteIndex
from pkgindex_core.errors import RequirementFailed
from pkgindex_core.formats.backup_segments import Segment, decode_segment
from pkgindex_core.formats.kept_pages import KeptRows, keep
from pkgindex_core.models import Attachment, File, Page, Release, Serial, decode_file
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.rules.kept_options import MirrorOptions, mirror_options, whitelist
from pkgindex_core.testing.index_cases.values import ManualClock, hosted, mirrored

GOLDEN = Path(__file__).parents[2] / "golden"
DEV, MIRROR, SECOND = IndexName("ann/dev"), IndexName("root/mirror"), IndexName("root/second")
URL = "https://example.org/simple/"
THIRD = IndexName("root/third")
DEMO, OTHER, SIX, LONG = ProjectName("demo"), ProjectName("other"), ProjectName("six"), ProjectName("long")


def database(path: Path, schema: int) -> Path:
    """A database as the program of that time wrote it."""
    connection = apsw.Connection(str(path))
    for _ in connection.execute((GOLDEN / f"index-schema-{schema}.sql").read_text()):
        pass
    assert connection.execute("SELECT max(number) FROM migrations").get == schema
    connection.close()
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return database(tmp_path / "index.db", 1)


async def test_everything_of_schema_1_is_there(path: Path) -> None:
    store = await SqliteIndex.open(path, ManualClock())
    try:
        assert await store.check() == []
        assert await store.head() == 11
        assert [user.name for user in await store.users()] == ["ann", "root"]
        ann = await store.user("ann")
        assert ann is not None
        assert (ann.email, ann.custom_data) == ("ann@example.org", {"ü": 1})
        assert [token.name for token in await store.tokens("ann")] == ["ci"]
        tree = await store.tree()
        assert tree.indexes[DEV].bases == (MIRROR,)
        assert mirror_options(tree.indexes[MIRROR]).credentials == "a:b"
        assert (whitelist(tree.indexes[DEV]), mirror_options(tree.indexes[MIRROR]).url) == (["six"], URL)
        assert (tree.indexes[DEV].mirrored, tree.indexes[MIRROR].mirrored) == (False, True)
        page = await store.page(DEV, DEMO)
        assert page is not None
        files = {row.filename: decode_file(row.body) for row in page.rows}
        assert {name: (file.requires_python, file.yanked, file.history) for name, file in files.items()} == {
            "demo-1.0-py3-none-any.whl": (">=3.8", False, ()),
            "demo-1.0.tar.gz": ("", "broken", ()),
        }
        assert await store.stored_bytes(DEV, DEMO) == sum(file.size or 0 for file in files.values()) > 0
        past = await store.page(DEV, DEMO, at=Serial(7))
        assert past is not None
        assert {row.filename for row in past.rows} == {*files, "demo-2.0.tar.gz"}
        other = await store.page(DEV, OTHER)
        assert other is not None
        assert other.head.status == "archived"
        mirrored = await store.page(MIRROR, SIX)
        assert mirrored is not None
        assert len(mirrored.rows) == 3
        assert (await store.listing(MIRROR)).count == 2
        assert await store.releases(DEV, DEMO) == []
        assert await store.attachments(DEV, DEMO) == []
        with pytest.raises(RequirementFailed):
            await store.apply(
                [PutFile(DEV, DEMO, hosted("demo-2.0.tar.gz"))], who="ann", require=[FileAbsent(DEV, "demo-2.0.tar.gz")]
            )
    finally:
        await store.close()


async def test_what_came_after_schema_1_works_in_it_and_it_opens_again(path: Path) -> None:
    docs = Attachment(
        kind="doczip", filename="demo-1.0.doc.zip", version="1.0", sha256=sha256_of(b"d"), size=1, added=Timestamp(1)
    )
    release = Release(version="1.0", metadata=b'{"summary": "one"}')
    store = await SqliteIndex.open(path, ManualClock(Timestamp(1_800_000_000_000_000)))
    await store.apply(
        [PutRelease(DEV, DEMO, release), PutAttachment(DEV, DEMO, docs)],
        who="ann",
        require=[AttachmentAbsent(DEV, DEMO, docs.filename)],
    )
    await store.close()
    connection = apsw.Connection(str(path))
    assert connection.execute("SELECT max(number) FROM migrations").get == len(migrations("sqlite"))
    connection.close()
    store = await SqliteIndex.open(path, ManualClock())
    try:
        assert await store.releases(DEV, DEMO) == [release]
        assert await store.attachments(DEV, DEMO) == [docs]
    finally:
        await store.close()


def meaning(page: Page) -> dict[str, tuple[str, bytes, File]]:
    """The rows of a page. A newer program may spell a file in other bytes."""
    return {row.filename: (row.version, row.fragment, decode_file(row.body)) for row in page.rows}


async def test_its_log_can_be_replayed(path: Path) -> None:
    """Every change that an earlier program logged still means the same."""
    store, fresh = await SqliteIndex.open(path, ManualClock()), MemoryIndex(ManualClock())
    try:
        commits = await store.commits(Serial(0))
        await fresh.replay(commits)
        assert await fresh.users() == await store.users()
        assert (await fresh.tree()).indexes == (await store.tree()).indexes
        for index, project in ((DEV, DEMO), (DEV, OTHER), (MIRROR, SIX)):
            ours, theirs = await fresh.page(index, project), await store.page(index, project)
            assert ours is not None
            assert theirs is not None
            assert (ours.head, meaning(ours)) == (theirs.head, meaning(theirs))
    finally:
        await store.close()
        await fresh.close()


async def test_everything_of_schema_2_is_there(tmp_path: Path) -> None:
    store = await SqliteIndex.open(database(tmp_path / "index.db", 2), ManualClock())
    try:
        assert await store.check() == []
        assert await store.head() == 8
        tree = await store.tree()
        assert {name for name, config in tree.indexes.items() if config.mirrored} == {MIRROR, SECOND}
        assert mirror_options(tree.indexes[MIRROR]) == MirrorOptions(
            url=URL,
            credentials="a:b",
            cache_expiry=60,
            use_external_urls=True,
            no_project_list=True,
            ignore_serial_header=True,
            absent_statuses=(404, 410, 403),
            web_url_fmt="https://example.org/project/{name}/",
        )
        assert mirror_options(tree.indexes[SECOND]) == MirrorOptions()
        assert tree.indexes[DEV].options == {
            "mirror_whitelist": ["six", "*"],
            "mirror_whitelist_inheritance": "union",
            "plugin": {"x": [1, "two"]},
        }
        assert tree.indexes[IndexName("ann/gate")].options == {"constraints": ["six<2", "*"]}
        before = (await store.tree(at=Serial(5))).indexes[MIRROR]
        assert (before.mirrored, mirror_options(before).url) == (True, "https://first.example.org/simple/")
        (release,) = await store.releases(DEV, DEMO)
        assert (release.version, release.metadata) == ("1.0", b'{"summary": "one"}')
        assert [each.filename for each in await store.attachments(DEV, DEMO)] == ["demo-1.0.doc.zip"]
        mirrored = await store.page(MIRROR, SIX)
        assert mirrored is not None
        assert len(mirrored.rows) == 2
        learned = MirrorPage(MIRROR, SIX, mirrored.head, put=(hosted("six-1.2.tar.gz"),))
        assert await store.apply([learned], who="[mirror]", require=[IndexIs(tree.indexes[MIRROR])]) is not None
    finally:
        await store.close()


def golden_dump() -> list[Commit]:
    """The commits of a backup, as the program of that time wrote them."""
    return decode_segment(Segment(Serial(1), Serial(8)), (GOLDEN / "store-dump-1.jsonl").read_bytes())


async def test_a_dump_and_a_log_of_that_time_are_one_history(tmp_path: Path) -> None:
    """Every change that an earlier program logged or dumped still means the same."""
    store = await SqliteIndex.open(database(tmp_path / "index.db", 2), ManualClock())
    others = [
        MemoryIndex(ManualClock()),
        await SqliteIndex.open(tmp_path / "other.db", ManualClock()),
    ]
    try:
        commits = golden_dump()
        assert commits == await store.commits(Serial(0))
        for other in others:
            await other.replay(commits)
            for at in (None, Serial(2), Serial(5)):
                assert await other.tree(at=at) == await store.tree(at=at)
    finally:
        for each in (store, *others):
            await each.close()


async def test_a_page_in_one_piece_of_schema_3_is_one(tmp_path: Path) -> None:
    """Until then its content name said what it is."""
    connection = apsw.Connection(str(database(tmp_path / "index.db", 2)))
    kept = keep(SIX, [hosted("six-1.0.tar.gz")]).kept
    for _ in connection.execute(migrations("sqlite")[2].text):
        pass
    connection.execute(
        "INSERT INTO kept_pages (index_id, project, kept)"
        " SELECT index_id, project, ? FROM standings WHERE project = ? AND mirrored",
        (kept, SIX),
    )
    connection.execute("UPDATE standings SET content = 'x', file_count = 1 WHERE project = ? AND mirrored", (SIX,))
    connection.pragma("user_version", 3)
    connection.close()
    store = await SqliteIndex.open(tmp_path / "index.db", ManualClock())
    try:
        page = await store.page(MIRROR, SIX)
        assert page is not None
        assert isinstance(page.rows, KeptRows)
        assert (page.rows.kept, page.content) == (kept, "x")
        assert await store.check() == []
    finally:
        await store.close()


async def test_everything_of_schema_4_is_there(tmp_path: Path) -> None:
    path = database(tmp_path / "index.db", 4)
    store = await SqliteIndex.open(path, ManualClock())
    try:
        assert await store.check() == []
        assert await store.head() == 12
        files = {
            (index, project): {row.filename for row in page.rows}
            for index in (DEV, MIRROR, SECOND, THIRD)
            for project in (DEMO, OTHER, SIX, LONG)
            if (page := await store.page(index, project)) is not None
        }
        assert files == {
            (DEV, DEMO): {"demo-2.0.tar.gz"},
            (MIRROR, OTHER): set(),
            (MIRROR, SIX): {"six-1.0.tar.gz", "six-1.1.tar.gz", "odd.exe"},
            (MIRROR, LONG): {"long-1.zip", "long-2.zip", "stray.exe"},
            (SECOND, OTHER): set(),
            (SECOND, SIX): {"six-1.0.tar.gz", "odd.exe"},
            (THIRD, SIX): {"six-9.zip"},
        }
        for name, project in (("odd.exe", SIX), ("stray.exe", LONG)):
            assert await store.find_file(MIRROR, name, []) == (project, mirrored(name))
        (six,) = await store.standings(SIX, [MIRROR])
        assert (six.stamp, six.content, six.file_count) == (7, "shown", 3)
        assert [row.name for row in await store.projects(SECOND)] == [OTHER, SIX]
        assert {digest async for batch in store.blobs_in_use() for digest in batch} == {
            *(hosted(name).sha256 for name in ("demo-2.0.tar.gz", "six-9.zip")),
            *(mirrored(name).sha256 for name in files[MIRROR, SIX] | files[MIRROR, LONG]),
        }
        # Mirrored pages had no past.
        for at in (Serial(4), Serial(5)):
            assert await store.standings(SIX, [MIRROR], at=at) == (six,)
        assert (await store.standings(SIX, [THIRD], at=Serial(7)))[0].holds is False
        connection = apsw.Connection(str(path))
        assert connection.execute("SELECT count(*), sum(uses) FROM pages").fetchall() == [(3, 4)]
        connection.close()
    finally:
        await store.close()


async def test_a_log_of_schema_4_is_replayed_and_what_came_after_works_in_it(tmp_path: Path) -> None:
    store = await SqliteIndex.open(database(tmp_path / "index.db", 4), ManualClock(Timestamp(1_800_000_000_000_000)))
    others = [MemoryIndex(ManualClock()), await SqliteIndex.open(tmp_path / "other.db", ManualClock())]
    try:
        mirror = (await store.tree()).indexes[MIRROR]
        before = await store.page(MIRROR, SIX)
        assert before is not None
        keeping = replace(mirror, options={**mirror.options, "mirror_history": 60})
        kept = keep(SIX, [mirrored("six-2.0.tar.gz")]).kept
        for changes in ([PutIndex(keeping)], [MirrorPage(MIRROR, SIX, before.head, kept=kept)]):
            assert await store.apply(changes, who="ann") is not None
        commits = await store.commits(Serial(0))
        for each in (store, *others):
            if each is not store:
                await each.replay(commits)
            assert await each.check() == []
            assert await each.commits(Serial(0)) == commits
            past, now = await each.page(MIRROR, SIX, at=Serial(13)), await each.page(MIRROR, SIX)
            assert past is not None
            assert now is not None
            assert (past.stamp, past.content, set(past.rows)) == (before.stamp, before.content, set(before.rows))
            assert [row.filename for row in now.rows] == ["six-2.0.tar.gz"]
            for index, project in ((MIRROR, LONG), (MIRROR, OTHER), (SECOND, SIX), (THIRD, SIX)):
                (theirs,), (ours,) = await each.standings(project, [index]), await store.standings(project, [index])
                # The names of contents in that file are of an older rule, and its log has none. A replay gives those of today.
                assert replace(theirs, content=ours.content) == ours
                assert (theirs.content == "") == (ours.content == "")
    finally:
        for each in (store, *others):
            await each.close()
