"""devpi's users move in: everything comes along or is told, once, however often it is stopped."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import zipfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import argon2
import pytest
from msgspec.structs import replace

from pkgindex_core import failpoints
from pkgindex_core.changes import DropFile, DropProject, PutAttachment, PutFile, PutIndex, PutRelease, PutUser
from pkgindex_core.clock import Timestamp
from pkgindex_core.config import Settings
from pkgindex_core.digests import Sha256
from pkgindex_core.engine import Engine
from pkgindex_core.errors import Conflict, Refused
from pkgindex_core.failpoints import POINTS
from pkgindex_core.formats.devpi.translating import IMPORTER
from pkgindex_core.models import Event, File, IndexConfig, Serial, User, decode_file
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.plugins import load_plugins
from pkgindex_core.protocols import Credentials, Principal, UploadForm
from pkgindex_core.rules.kept_options import mirror_options, unites_whitelists, whitelist
from pkgindex_core.services.moving.importing.report import ImportReport
from pkgindex_core.testing.wheels import build_sdist, build_wheel
from tests.core.services.devpi_dumps import MOMENT, DevpiDumpBuilder

PLUGINS = load_plugins(disabled=["pkgindex"])
BASE, DEV, MIRROR = IndexName("alice/base"), IndexName("alice/dev"), IndexName("root/pypi")
DEMO = ProjectName("demo")
WHEEL = build_wheel("demo", "1.0", requires_python=">=3.8", requires_dist=("six",))
SDIST = build_sdist("demo", "1.0")
SECRET = "secret of alice"
RESULT = b'{"testenvs": {}}'

Store = Callable[..., AbstractAsyncContextManager[Engine]]


def hash_of(password: str) -> str:
    return argon2.PasswordHasher(time_cost=1, memory_cost=512, parallelism=2).hash(password)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    @asynccontextmanager
    async def opened(name: str = "data") -> AsyncIterator[Engine]:
        settings = Settings(data=tmp_path / name, store="memory://", blobs="memory://")
        async with Engine.open(settings, plugins=PLUGINS) as engine:
            await engine.prepare()
            yield engine

    return opened


@pytest.fixture(autouse=True)
def _disarmed() -> Any:
    yield
    failpoints.disarm()


@pytest.fixture
def dump(tmp_path: Path) -> DevpiDumpBuilder:
    """Two users, a base and what inherits from it, a mirror; a release with everything that a release can have."""
    dump = DevpiDumpBuilder(tmp_path / "dump")
    dump.user("alice", pwhash=hash_of(SECRET), email="alice@example.com", title="Alice", custom_data={"team": 1})
    dump.user("root", pwhash=hash_of("secret of root"))
    dump.index("alice/dev", bases=["alice/base", "root/pypi"], acl_upload=["alice", ":developers", ":AUTHENTICATED:"])
    dump.index("alice/base", volatile=False, mirror_whitelist=["six"], title="Base", acl_toxresult_upload=["alice"])
    dump.index(
        "root/pypi", type="mirror", volatile=False, mirror_url="https://user:pass@up.example/simple", title="PyPI"
    )
    dump.version("alice/base", "demo", "1.0", summary="für alle", classifiers=["A :: B"], requires_python=">=3.8")
    dump.version("alice/base", "demo", "2.0", summary="registered")
    dump.file("alice/base", "demo", "1.0", WHEEL.filename, WHEEL.data)
    sdist = dump.file("alice/base", "demo", "1.0", SDIST.filename, SDIST.data)
    sdist["log"].append(
        {"what": "push", "who": "bob", "when": [2024, 5, 7, 0, 0, 0], "src": "alice/dev", "dst": "alice/base"}
    )
    docs = io.BytesIO()
    with zipfile.ZipFile(docs, "w") as archive:
        archive.writestr("index.html", "<h1>demo</h1>")
    dump.file(
        "alice/base",
        "demo",
        "1.0",
        "demo-1.0.doc.zip",
        docs.getvalue(),
        kind="doczip",
        relpath="alice/base/demo-1.0.doc.zip",
    )
    result = f"{WHEEL.filename}.toxresult-20240506070809-0"
    dump.file(
        "alice/base",
        "demo",
        "1.0",
        result,
        RESULT,
        kind="toxresult",
        relpath=f"alice/base/demo/sha256={WHEEL.sha256}/{result}",
        for_entrypath=f"alice/base/+f/{WHEEL.sha256[:3]}/{WHEEL.sha256[3:16]}/{WHEEL.filename}",
    )
    return dump


async def bring(engine: Engine, dump: DevpiDumpBuilder) -> ImportReport:
    return await engine.devpi_import.run(dump.write(), progress=lambda _what, _done, _total: None)


def told(report: ImportReport, *, left_out: bool = True) -> dict[str, str]:
    return {f"{one.kind} {one.name}": one.reason for one in report.remarks if one.left_out is left_out}


async def files(engine: Engine, index: IndexName = BASE, project: ProjectName = DEMO) -> dict[str, File]:
    page = await engine.store.page(index, project)
    return {row.filename: decode_file(row.body) for row in page.rows} if page else {}


async def written(engine: Engine) -> list[str]:
    """What importers have put, in words: nothing stands twice in it."""
    commits = await engine.store.commits(Serial(0), limit=1000)
    words = []
    for change in (change for commit in commits if commit.who == IMPORTER for change in commit.changes):
        match change:
            case PutUser(user):
                words.append(f"user {user.name}")
            case PutIndex(config):
                words.append(f"index {config.name}")
            case PutFile(index, _, file):
                words.append(f"file {index} {file.filename}")
            case PutRelease(index, project, release):
                words.append(f"release {index} {project} {release.version}")
            case PutAttachment(index, _, attachment):
                words.append(f"attachment {index} {attachment.filename}")
            case _:
                pass
    return sorted(words)


async def contents(engine: Engine, key: str | None) -> bytes:
    assert key is not None
    return b"".join([chunk async for chunk in engine.blobs.read(Sha256(key))])


async def test_everything_comes_along(store: Store, dump: DevpiDumpBuilder) -> None:
    async with store() as engine:
        report = await bring(engine, dump)
        assert report.remarks == []
        counts = (report.users, report.indexes, report.versions, report.files, report.documentation)
        assert (*counts, report.test_results, report.present) == (1, 2, 2, 2, 1, 1, 0)

        # Users, and their passwords.
        alice = await engine.store.user("alice")
        assert alice is not None
        assert (alice.email, alice.title, alice.custom_data) == ("alice@example.com", "Alice", {"team": 1})
        for name, secret in (("alice", SECRET), ("root", "secret of root")):
            principal = await engine.identity.identify(Credentials(username=name, secret=secret))
            assert principal.name == name

        # Indexes, over what the first start had made as well.
        tree = (await engine.store.tree()).indexes
        assert tree[DEV].bases == (BASE, MIRROR)
        assert tree[DEV].acl_upload == ("alice", ":developers", ":AUTHENTICATED:")
        assert (tree[DEV].volatile, tree[BASE].volatile) == (True, False)
        assert (whitelist(tree[BASE]), tree[BASE].title) == (["six"], "Base")
        assert (tree[BASE].acl_toxresult_upload, tree[DEV].acl_toxresult_upload) == (("alice",), (":ANONYMOUS:",))
        assert unites_whitelists(tree[BASE])
        upstream = mirror_options(tree[MIRROR])
        assert (upstream.url, upstream.credentials) == ("https://up.example/simple", "user:pass")

        # Files with sidecars and histories.
        wheel, sdist = (await files(engine))[WHEEL.filename], (await files(engine))[SDIST.filename]
        assert (wheel.sha256, wheel.size, wheel.requires_python) == (WHEEL.sha256, WHEEL.size, ">=3.8")
        assert wheel.upload_time == MOMENT
        assert await contents(engine, wheel.sha256) == WHEEL.data
        assert await contents(engine, wheel.metadata_sha256) == WHEEL.metadata
        assert wheel.history == (Event(what="upload", at=MOMENT, who="alice", target="alice/base"),)
        assert sdist.metadata_sha256 is None
        assert sdist.history[1] == Event(
            what="push", at=Timestamp(1_715_040_000_000_000), who="bob", source="alice/dev", target="alice/base"
        )

        # Releases, one of them without files.
        page = await engine.store.page(BASE, DEMO)
        assert page is not None
        assert page.head.versions == ("2.0",)
        release = await engine.store.release(BASE, DEMO, "1.0.0")
        assert release is not None
        metadata = json.loads(release.metadata)
        assert (metadata["summary"], metadata["classifiers"], metadata["author"]) == ("für alle", ["A :: B"], "")

        # Documentation and results.
        result, docs = await engine.store.attachments(BASE, DEMO)
        assert (docs.kind, docs.filename, docs.version, docs.added) == ("doczip", "demo-1.0.doc.zip", "1.0", MOMENT)
        assert (result.kind, result.about) == ("toxresult", WHEEL.filename)
        assert await contents(engine, result.sha256) == RESULT


async def test_a_second_run_changes_nothing(store: Store, dump: DevpiDumpBuilder) -> None:
    async with store() as engine:
        await bring(engine, dump)
        head = await engine.store.head()
        report = await bring(engine, dump)
        assert await engine.store.head() == head
        assert (report.present, report.files, report.complete) == (4, 0, True)
        # Not even after a log-in, which renews the password hash.
        await engine.identity.identify(Credentials(username="alice", secret=SECRET))
        renewed = await engine.store.user("alice")
        await bring(engine, dump)
        assert await engine.store.user("alice") == renewed


@pytest.mark.parametrize("point", sorted(point for point in POINTS if point.startswith("import.")))
@pytest.mark.parametrize("turn", [1, 2])
async def test_an_import_that_stops_anywhere_goes_on_and_tells_nothing_twice(
    store: Store, dump: DevpiDumpBuilder, point: str, turn: int
) -> None:
    dump.version("alice/dev", "other", "1")
    async with store("a") as engine, store("b") as other:
        await bring(other, dump)
        failpoints.arm(f"{point}=raise:ENOSPC@{turn}")
        try:
            await bring(engine, dump)
        except OSError:
            pass
        else:
            assert turn == 2
        failpoints.disarm()
        await bring(engine, dump)
        assert await written(engine) == await written(other)
        assert len(set(await written(engine))) == len(await written(engine)) == 12
        assert await files(engine) == await files(other)


async def test_two_at_once_do_the_work_once(store: Store, dump: DevpiDumpBuilder) -> None:
    async with store("a") as engine, store("b") as other:
        await bring(other, dump)
        path = dump.write()
        await asyncio.gather(
            *(engine.devpi_import.run(path, progress=lambda _what, _done, _total: None) for _ in range(2))
        )
        mine = [word for word in await written(engine) if not word.startswith("release")]
        assert mine == [word for word in await written(other) if not word.startswith("release")]
        assert await files(engine) == await files(other)


async def test_what_is_not_what_the_dump_says_is_left_out(store: Store, dump: DevpiDumpBuilder) -> None:
    def named(version: str) -> tuple[str, bytes]:
        built = build_wheel("demo", version)
        return built.filename, built.data

    changed = dump.file("alice/base", "demo", "3", *named("3"))
    changed["entrymapping"]["hashes"] = {"sha256": "0" * 64}
    changed["entrymapping"]["hash_spec"] = "sha256=" + "0" * 64
    by_md5 = dump.file("alice/base", "demo", "4", *named("4"))
    by_md5["entrymapping"] = {"md5": "0" * 32, "last_modified": ""}
    longer = dump.file("alice/base", "demo", "5", *named("5"))
    longer["entrymapping"]["size"] = 7
    dump.file("alice/base", "demo", "6", *named("6"))
    (dump.path / "alice/base/demo/6" / named("6")[0]).unlink()
    dump.file("alice/base", "demo", "7", "passwd", b"", relpath="../passwd")
    dump.file("alice/base", "demo", "8", "shadow", b"", relpath="/etc/shadow")
    secret = dump.path.parent / "secret"
    secret.write_bytes(b"not yours")
    dump.file("alice/base", "demo", "9", *named("9"))
    link = dump.path / "alice/base/demo/9" / named("9")[0]
    link.unlink()
    link.symlink_to(secret)
    dump.file("alice/base", "demo", "10", "x.metadata", b"x")
    dump.file("alice/base", "!!!", "1", *named("11"))
    dump.file("alice/base", "demo", "12", "demo.sig", b"x", kind="signature")
    dump.document["indexes"]["alice/base"]["files"].append("no object")
    async with store() as engine:
        report = await bring(engine, dump)
        assert set(await files(engine)) == {WHEEL.filename, SDIST.filename}
        reasons = told(report)
        assert not report.complete
        assert len(reasons) == len([one for one in report.remarks if one.left_out]) == 11
        assert "its sha256 is" in reasons[f"file alice/base {named('3')[0]}"]
        assert "its md5 is" in reasons[f"file alice/base {named('4')[0]}"]
        assert "the dump says 7" in reasons[f"file alice/base {named('5')[0]}"]
        assert reasons[f"file alice/base {named('6')[0]}"] == "the dump does not have it"
        assert reasons[f"file alice/base {named('9')[0]}"] == "its path leads out of the dump"
        assert b"not yours" not in [await contents(engine, blob.sha256) async for blob in engine.blobs.walk()]


@pytest.mark.parametrize(
    "filename",
    ["demo-1.0-py2.7.egg", "demo-1.0.win32.exe", "Demo-1.0.0.zip", "demo-1.0+local_x.tar.bz2", "demo-1.0-1.noarch.rpm"],
)
async def test_files_that_nobody_may_upload_today_are_brought_and_remarked_on(
    store: Store, dump: DevpiDumpBuilder, filename: str
) -> None:
    dump.file("alice/base", "demo", "1.0", filename, filename.encode())
    async with store() as engine:
        report = await bring(engine, dump)
        assert report.complete
        assert "an upload of it would be refused" in told(report, left_out=False)[f"file alice/base {filename}"]
        file = (await files(engine))[filename]
        assert (file.metadata_sha256, file.requires_python) == (None, ">=3.8")
        assert file.version.startswith("1.0")
        assert await contents(engine, file.sha256) == filename.encode()


async def test_names_that_are_refused_here_are_told_with_what_was_done(store: Store, dump: DevpiDumpBuilder) -> None:
    dump.user("Ünal", pwhash=hash_of("x"))
    dump.index("Ünal/dev")
    dump.file("Ünal/dev", "demo", "1.0", WHEEL.filename, WHEEL.data)
    dump.index("alice/größe")
    dump.index("nobody/dev")
    dump.version("alice/base", "foo+bar", "1")
    dump.version("alice/base", "---", "1")
    async with store() as engine:
        reasons = told(await bring(engine, dump))
        assert set(reasons) == {
            "user Ünal",
            "index Ünal/dev",
            "index alice/größe",
            "index nobody/dev",
            "project alice/base ---",
        }
        assert [row.name for row in await engine.store.projects(BASE)] == ["demo", "foo-bar"]


async def test_types_and_options_that_nobody_knows_are_kept_and_told(store: Store, dump: DevpiDumpBuilder) -> None:
    dump.index("alice/special", type="special", depth=3, bases=["alice/base", "gone/gone"], custom_data=[1])
    dump.index("alice/a", bases=["alice/b", "not a base"], uploadtrigger_jenkins=None, acl_upload="alice, b/d")
    dump.index("alice/b", bases=["alice/a"], mirror_whitelist_inheritance="neither", pypi_whitelist=["Foo_Bar"])
    dump.file("alice/special", "demo", "1.0", WHEEL.filename, WHEEL.data)
    dump.index("alice/far", type="remote", mirror_url="https://far.example/")
    dump.user("bob", pwhash="$6$rounds=1$x$y", shoe_size=44)
    async with store() as engine:
        report = await bring(engine, dump)
        tree = (await engine.store.tree()).indexes
        special = tree[IndexName("alice/special")]
        assert (special.type, special.read_only) == ("special", True)
        assert special.options == {"mirror_whitelist_inheritance": "union", "depth": 3}
        assert special.bases == (BASE, "gone/gone")
        assert set(await files(engine, special.name)) == {WHEEL.filename}
        one, two = tree[IndexName("alice/a")], tree[IndexName("alice/b")]
        assert (one.bases, one.acl_upload) == (("alice/b",), ("alice",))
        assert one.options == {"mirror_whitelist_inheritance": "union"}
        assert (two.bases, whitelist(two), unites_whitelists(two)) == (("alice/a",), ["foo-bar"], True)
        assert tree[IndexName("alice/far")].mirrored
        assert report.complete
        remarks = [f"{one.kind} {one.name}: {one.reason}" for one in report.remarks]
        for word in (
            "'special' is not known",
            "depth is an unknown option",
            "bases that the dump does not have: gone/gone",
            "'not a base' was left out of bases",
            "'b/d' was left out of acl_upload",
            "mirror_whitelist_inheritance was left out",
            "user bob: the password hash",
            "user bob: unknown fields were left out: shoe_size",
        ):
            assert any(word in remark for remark in remarks), (word, remarks)
        bob = await engine.store.user("bob")
        assert bob is not None
        assert bob.password_hash == ""


async def test_constraints_are_taken_whole_or_their_index_is_not(store: Store, dump: DevpiDumpBuilder) -> None:
    dump.index("alice/gate", type="constrained", bases=["alice/base"], constraints=["six<2", "*"])
    dump.index("alice/text", type="constrained", bases=["alice/base"], constraints="six<2,>1\n*")
    dump.index("alice/wide", type="constrained", bases=["alice/base"], constraints=["six<2", "???"])
    async with store() as engine:
        report = await bring(engine, dump)
        tree = (await engine.store.tree()).indexes
        assert tree[IndexName("alice/gate")].options["constraints"] == ["six<2", "*"]
        assert tree[IndexName("alice/text")].options["constraints"] == ["six<2,>1", "*"]
        assert IndexName("alice/wide") not in tree
        assert "its constraints cannot be read" in told(report)["index alice/wide"]


async def test_names_that_collide_end_it_before_anything_is_changed(store: Store, dump: DevpiDumpBuilder) -> None:
    async with store() as engine:
        await engine.store.apply([PutUser(User(name="alice")), PutIndex(IndexConfig(name=DEV))], who="alice")
        head = await engine.store.head()
        with pytest.raises(Conflict) as refused:
            await bring(engine, dump)
        assert "user alice; index alice/dev" in refused.value.message
        assert refused.value.hint
        assert await engine.store.head() == head
        assert [blob async for blob in engine.blobs.walk()] == []


async def test_files_that_collide_in_an_index_that_is_the_same_end_it_too(store: Store, dump: DevpiDumpBuilder) -> None:
    async with store("a") as engine, store("b") as other:
        await bring(other, dump)
        same = [await other.store.user("alice"), *(await other.store.tree()).indexes.values()]
        changes = [PutUser(one) if isinstance(one, User) else PutIndex(one) for one in same if one is not None]
        await engine.store.apply(changes, who="[another way]")
        file = replace((await files(other))[WHEEL.filename], digests={"sha256": "1" * 64})
        await engine.store.apply([PutFile(BASE, DEMO, file)], who="alice")
        head = await engine.store.head()
        with pytest.raises(Conflict, match=f"alice/base {WHEEL.filename}"):
            await bring(engine, dump)
        assert await engine.store.head() == head
        await engine.store.apply(
            [DropFile(BASE, DEMO, file.filename), PutFile(BASE, DEMO, replace(file, digests={"sha256": WHEEL.sha256}))],
            who="alice",
        )
        assert (await bring(engine, dump)).complete


async def test_what_was_deleted_or_replaced_here_since_stays_so(store: Store, dump: DevpiDumpBuilder) -> None:
    async with store() as engine:
        await bring(engine, dump)
        await engine.store.apply([DropFile(BASE, DEMO, SDIST.filename)], who="alice")
        mine = replace((await files(engine))[WHEEL.filename], digests={"sha256": "1" * 64})
        await engine.store.apply([PutFile(BASE, DEMO, mine)], who="alice")
        dump.index("alice/new")
        dump.document["users"]["alice"]["email"] = "new@example.com"
        report = await bring(engine, dump)
        assert await files(engine) == {WHEEL.filename: mine}
        assert IndexName("alice/new") in (await engine.store.tree()).indexes
        alice = await engine.store.user("alice")
        assert alice is not None
        assert alice.email == "new@example.com"
        remarks = told(report, left_out=False)
        assert "deleted" in remarks[f"file alice/base {SDIST.filename}"]
        assert "replaced" in remarks[f"file alice/base {WHEEL.filename}"]


@pytest.mark.parametrize("whole", [False, True])
async def test_versions_and_documentation_deleted_here_do_not_come_again(
    store: Store, dump: DevpiDumpBuilder, whole: bool
) -> None:
    """Nor do test results of bytes that were replaced; what is published here again is as it was published."""
    alice = Principal(name="alice")
    async with store() as engine:
        await bring(engine, dump)
        if whole:
            await engine.store.apply([DropProject(BASE, DEMO)], who="alice")
            await engine.registering.register(
                BASE, UploadForm(fields={"name": ("demo",), "version": ("3.0",)}), Principal(name="alice")
            )
        else:
            for version in ("1.0", "2.0"):
                await engine.releases.delete_release(BASE, DEMO, version, principal=alice, force=True)
        before = await engine.store.head()
        for _ in range(2):
            report = await bring(engine, dump)
            assert await engine.store.attachments(BASE, DEMO) == []
            assert [one.version for one in await engine.store.releases(BASE, DEMO)] == (["3.0"] if whole else [])
        assert await engine.store.head() == before
        remarks = told(report, left_out=False)
        assert all("stays so" in remarks[f"version alice/base demo {version}"] for version in ("1.0", "2.0"))
        assert "stays so" in remarks["documentation alice/base demo-1.0.doc.zip"]


async def test_results_of_bytes_that_were_replaced_here_do_not_come_again(store: Store, dump: DevpiDumpBuilder) -> None:
    async with store() as engine:
        await bring(engine, dump)
        mine = replace((await files(engine))[WHEEL.filename], digests={"sha256": "1" * 64})
        await engine.store.apply([PutFile(BASE, DEMO, mine)], who="alice")
        await bring(engine, dump)
        assert [one.kind for one in await engine.store.attachments(BASE, DEMO)] == ["doczip"]


async def test_roots_password_is_the_dumps_unless_that_is_empty_or_somebody_chose_another(
    store: Store, dump: DevpiDumpBuilder
) -> None:
    dump.user("root", pwhash=hash_of(""))
    async with store("a") as engine:
        generated = (await engine.store.user("root") or User(name="")).password_hash
        report = await bring(engine, dump)
        assert "empty" in told(report, left_out=False)["user root"]
        root = await engine.store.user("root")
        assert root is not None
        assert root.password_hash == generated
    dump.user("root", pwhash=hash_of("of the dump"))
    async with store("b") as engine:
        chosen = User(name="root", password_hash=hash_of("chosen"))
        await engine.store.apply([PutUser(chosen)], who="root")
        report = await bring(engine, dump)
        assert await engine.store.user("root") == chosen
        assert "stays as it is" in told(report, left_out=False)["user root"]


async def test_files_that_a_mirror_had_fetched_are_served_without_the_upstream(
    store: Store, dump: DevpiDumpBuilder
) -> None:
    six = build_wheel("six", "1.16", requires_python=">=2.7")
    old = build_wheel("six", "1.0")
    dump.version("root/pypi", "six", "1.16", requires_python=">=2.7")
    dump.version("root/pypi", "six", "1.0", yanked="broken")
    for version, built in (("1.16", six), ("1.0", old)):
        entry = dump.file("root/pypi", "six", version, built.filename, built.data)
        entry["entrymapping"]["url"] = f"https://u:p@files.example/{built.filename}#sha256={built.sha256}"
    nowhere = build_wheel("six", "2")
    dump.file("root/pypi", "six", "2", nowhere.filename, nowhere.data)
    async with store() as engine:
        report = await bring(engine, dump)
        assert report.files == 4
        assert set(told(report)) == {f"file root/pypi {nowhere.filename}"}
        found = await files(engine, MIRROR, ProjectName("six"))
        assert {name: (one.requires_python, one.yanked) for name, one in found.items()} == {
            six.filename: (">=2.7", False),
            old.filename: ("", "broken"),
        }
        assert found[six.filename].url == f"https://files.example/{six.filename}"
        assert await contents(engine, found[six.filename].sha256) == six.data
        head = await engine.store.head()
        assert (await bring(engine, dump)).present == 6
        assert await engine.store.head() == head


async def test_hashes_of_test_results_that_devpi_wrote_wrong_are_not_held_against_them(
    store: Store, dump: DevpiDumpBuilder
) -> None:
    result = dump.document["indexes"]["alice/base"]["files"][-1]
    result["entrymapping"]["hashes"] = {"sha256": WHEEL.sha256}
    result["entrymapping"]["hash_spec"] = f"sha256={WHEEL.sha256}"
    async with store() as engine:
        report = await bring(engine, dump)
        assert (report.test_results, report.remarks) == (1, [])


async def test_a_result_without_its_file_is_left_out(store: Store, dump: DevpiDumpBuilder) -> None:
    del dump.document["indexes"]["alice/base"]["files"][0]
    async with store() as engine:
        (name,) = told(await bring(engine, dump))
        assert name == f"test result alice/base {WHEEL.filename}.toxresult-20240506070809-0"


async def test_the_first_version_of_the_format_is_read_too(store: Store, dump: DevpiDumpBuilder) -> None:
    dump.document["dumpversion"] = "1"
    for entry in dump.document["indexes"]["alice/base"]["files"]:
        if entry["type"] == "releasefile":
            del entry["version"], entry["log"]
            data = WHEEL.data if entry["relpath"].endswith(".whl") else SDIST.data
            entry["entrymapping"] = {
                "md5": hashlib.md5(data).hexdigest(),
                "last_modified": "Mon, 06 May 2024 07:08:09 GMT",
            }
        elif entry["type"] == "doczip":
            del entry["entrymapping"]
    async with store() as engine:
        assert (await bring(engine, dump)).remarks == []
        found = await files(engine)
        assert {name: (one.version, one.upload_time) for name, one in found.items()} == {
            WHEEL.filename: ("1.0", MOMENT),
            SDIST.filename: ("1.0", MOMENT),
        }
        assert found[WHEEL.filename].history == (Event(what="upload", at=MOMENT, who=IMPORTER, target="alice/base"),)
        assert (await bring(engine, dump)).present == 4


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"users": {}, "indexes": {}, "dumpversion": "4"}'])
async def test_what_is_no_dump_is_refused(store: Store, dump: DevpiDumpBuilder, text: str) -> None:
    path = dump.write()
    (path / "dataindex.json").write_text(text)
    async with store() as engine:
        head = await engine.store.head()
        for directory in (path, path / "alice"):
            with pytest.raises(Refused) as refused:
                await engine.devpi_import.run(directory, progress=lambda _what, _done, _total: None)
            assert refused.value.hint
        assert await engine.store.head() == head
