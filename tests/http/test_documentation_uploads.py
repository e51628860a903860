"""Documentation over the upload API: what devpi's client sends, in any order, and what becomes of it."""

from __future__ import annotations

import asyncio
import itertools
import json

import pytest

from pkgindex_core.changes import PutProject, PutRelease, PutToken
from pkgindex_core.models import Attachment, PageHead, Release, Token
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.testing.wheels import build_wheel, zip_of
from pkgindex_core.tokens import new_token
from tests.http.conftest import HOSTED, Serve, Served, basic
from tests.http.forms import CONTENT_TYPE, Part, encode_form

ROOT = basic("root")
DEMO = ProjectName("demo")
ZIP = zip_of({"index.html": b"<h1>demo</h1>"})
OTHER = zip_of({"index.html": b"<h1>other</h1>"})


def parts(data: bytes = ZIP, *, filename: str = "demo-1.0.doc.zip", **fields: str | None) -> list[Part]:
    """The parts that devpi's client sends, in its order."""
    given = {"name": "demo", "version": "1.0", ":action": "doc_upload", "protocol_version": "1", **fields}
    texts: list[Part] = [(name, None, value.encode()) for name, value in given.items() if value is not None]
    return [*texts, ("content", filename, data)]


async def send(
    served: Served, sent: list[Part], *, headers: dict[str, str] = ROOT, path: str = "/root/dev/"
) -> tuple[int, str]:
    given = {"Content-Type": CONTENT_TYPE.decode(), **headers}
    async with served.request("POST", path, data=encode_form(sent), headers=given) as answer:
        return answer.status, await answer.text()


async def kept(served: Served, index: IndexName = HOSTED) -> list[Attachment]:
    return list(await served.engine.store.attachments(index, DEMO))


@pytest.mark.parametrize("path", ["/root/dev/", "/root/dev", "/legacy/", "/"])
async def test_documentation_is_kept_beside_the_release(serve: Serve, path: str) -> None:
    async with serve() as served:
        await served.put(build_wheel("demo", "1.0"))
        assert await send(served, parts(), path=path) == (200, "")
        (attachment,) = await kept(served)
        assert (attachment.kind, attachment.filename, attachment.version) == ("doczip", "demo-1.0.doc.zip", "1.0")
        assert attachment.size == len(ZIP)
        assert [(event.what, event.who, event.target) for event in attachment.history] == [("upload", "root", HOSTED)]
        assert b"".join([data async for data in served.engine.blobs.read(attachment.sha256)]) == ZIP
        async with served.get("/root/dev/+simple/demo/") as page:
            assert "doc.zip" not in await page.text()


async def test_no_order_of_the_parts_decides_anything(serve: Serve) -> None:
    """All 120 orders of the form, each with a version of its own."""
    async with serve() as served:
        for number, order in enumerate(itertools.permutations(range(5))):
            sent = parts(version=f"1.{number}", filename="demo.zip")
            assert await send(served, [sent[place] for place in order]) == (200, ""), order
        assert len(await kept(served)) == 120


async def test_a_version_without_files_is_registered(serve: Serve) -> None:
    """As in devpi: the version is on the page and its metadata say name and version."""
    async with serve() as served:
        assert (await send(served, parts(name="Demo")))[0] == 200
        (release,) = await served.engine.store.releases(HOSTED, DEMO)
        said = {key: value for key, value in json.loads(release.metadata).items() if value}
        assert (release.version, said) == ("1.0", {"name": "Demo", "version": "1.0"})
        async with served.get(
            "/root/dev/+simple/demo/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}
        ) as page:
            document = json.loads(await page.read())
            assert (document["versions"], document["files"]) == (["1.0"], [])


async def test_what_is_known_of_a_version_stays(serve: Serve) -> None:
    """Spelled as the project spells it, its metadata untouched; another version is added to those on the page."""
    async with serve() as served:
        await served.put(build_wheel("demo", "1.0"))
        release = Release(version="1.0.0", metadata=b'{"summary":"kept"}')
        await served.engine.store.apply([PutRelease(HOSTED, DEMO, release)], who="[test]")
        assert (await send(served, parts(version="1"), path="/root/dev/"))[0] == 200
        assert (await send(served, parts(version="2.0")))[0] == 200
        assert [each.filename for each in await kept(served)] == ["demo-1.0.0.doc.zip", "demo-2.0.doc.zip"]
        releases = {each.version: each.metadata for each in await served.engine.store.releases(HOSTED, DEMO)}
        assert set(releases) == {"1.0.0", "2.0"}
        assert releases["1.0.0"] == release.metadata
        page = await served.engine.store.page(HOSTED, DEMO)
        assert page is not None
        assert (page.head.versions, len(page.rows)) == (("2.0",), 1)


@pytest.mark.parametrize("version", [None, "", "UNKNOWN"])
async def test_without_a_version_it_is_the_newest(serve: Serve, version: str | None) -> None:
    async with serve() as served:
        status, text = await send(served, parts(version=version, filename="demo.doc.zip"))
        assert status == 400
        assert "no version" in text
        for each in ("1.9", "1.10", "1.2"):
            await served.put(build_wheel("demo", each))
        assert (await send(served, parts(version=version, filename="demo.doc.zip")))[0] == 200
        assert [each.filename for each in await kept(served)] == ["demo-1.10.doc.zip"]


async def test_the_same_bytes_again_change_nothing(serve: Serve) -> None:
    async with serve() as served:
        await send(served, parts())
        head = await served.engine.store.head()
        assert (await send(served, parts()))[0] == 200
        assert await served.engine.store.head() == head
        (attachment,) = await kept(served)
        await served.engine.blobs.drop(attachment.sha256)
        assert (await send(served, parts()))[0] == 200
        assert await served.engine.blobs.stat(attachment.sha256) is not None, "sending again repairs"


async def test_other_bytes_are_refused_unless_the_index_is_volatile(serve: Serve) -> None:
    async with serve() as served:
        await send(served, parts())
        status, text = await send(served, parts(OTHER))
        assert status == 409
        assert "demo-1.0.doc.zip already exists in non-volatile index" in text
        (before,) = await kept(served)
        assert before.size == len(ZIP)
        index = await served.index("root/loose", volatile=True, acl_upload=("root",))
        for data in (ZIP, OTHER, ZIP):
            assert (await send(served, parts(data), path="/root/loose/"))[0] == 200
        (after,) = await kept(served, index)
        assert [(event.what, event.count) for event in after.history] == [("overwrite", 2), ("upload", 0)]


async def test_two_at_once_leave_one(serve: Serve) -> None:
    async with serve() as served:
        results = await asyncio.gather(*(send(served, parts(data)) for data in (ZIP, OTHER)))
        assert sorted(status for status, _ in results) == [200, 409]
        assert len(await kept(served)) == 1


@pytest.mark.parametrize(
    ("fields", "data", "said"),
    [
        ({"name": None}, ZIP, "no field name"),
        ({"name": "../x"}, ZIP, "invalid project name"),
        ({"version": "../x"}, ZIP, "invalid version"),
        ({"version": "1.0\r\nX: y"}, ZIP, "invalid version"),
        ({"sha256_digest": "0" * 64}, ZIP, "sha256 digest"),
        ({"md5_digest": "0" * 32}, ZIP, "md5 digest"),
        ({"protocol_version": "2"}, ZIP, "protocol version"),
        ({}, b"no zip", "not a zip"),
        ({}, zip_of({"../../etc/passwd": b""}), "leaves the archive"),
        ({"version": "!", "name": "demo"}, zip_of({"../x": b""}), "leaves the archive"),
    ],
)
async def test_what_is_wrong_is_refused_and_nothing_is_kept(
    serve: Serve, fields: dict[str, str | None], data: bytes, said: str
) -> None:
    async with serve() as served:
        for sent in (parts(data, **fields), parts(data, **fields)[::-1]):
            status, text = await send(served, sent)
            assert status == 400
            assert said in text
        assert [blob async for blob in served.engine.blobs.walk()] == []
        assert not await served.engine.store.projects(HOSTED)


async def test_contradictions_are_refused_wherever_they_stand(serve: Serve) -> None:
    async with serve() as served:
        for extra in (("name", None, b"other"), ("version", None, b"2.0"), (":action", None, b"file_upload")):
            for sent in ([extra, *parts()], [*parts(), extra]):
                status, text = await send(served, sent)
                assert status == 400
                assert "several values" in text


async def test_a_wheel_is_no_documentation_and_a_zip_no_release(serve: Serve) -> None:
    async with serve() as served:
        wheel = build_wheel("demo", "1.0")
        for turn in (1, -1):
            sent = parts(wheel.data, filename=wheel.filename)[::turn]
            assert (await send(served, sent))[0] == 400
            sent = parts(**{":action": "file_upload"})[::turn]
            assert (await send(served, sent))[0] == 400
        assert not await served.engine.store.projects(HOSTED)


async def test_who_may(serve: Serve) -> None:
    """Those who may upload; a token for `upload-docs` publishes documentation and nothing else."""
    async with serve() as served:
        stranger = await served.user("ben")
        assert (await send(served, parts(), headers={}))[0] == 401
        assert (await send(served, parts(), headers=stranger))[0] == 403
        assert not await kept(served)
        limited = await _token(served, actions=("upload-docs",))
        assert (await send(served, parts(), headers=limited))[0] == 200
        wheel = build_wheel("demo", "1.0")
        assert (
            await send(
                served, parts(wheel.data, filename=wheel.filename, **{":action": "file_upload"}), headers=limited
            )
        )[0] == 403
        files_only = await _token(served, actions=("upload",))
        assert (await send(served, parts(version="2.0"), headers=files_only))[0] == 403
        elsewhere = await _token(served, actions=("upload-docs",), projects=("other",))
        assert (await send(served, parts(version="2.0"), headers=elsewhere))[0] == 403
        assert len(await kept(served)) == 1


async def test_a_closed_project_takes_none(serve: Serve) -> None:
    async with serve() as served:
        await served.engine.store.apply([PutProject(HOSTED, DEMO, PageHead(status="archived"))], who="[test]")
        status, text = await send(served, parts())
        assert status == 403
        assert "archived" in text


async def _token(served: Served, **limits: tuple[str, ...]) -> dict[str, str]:
    text = new_token()
    token = Token(id=text.id, user="root", secret_sha256=text.secret_sha256, **limits)
    await served.engine.store.apply([PutToken(token)], who="[test]")
    return basic("__token__", str(text))
