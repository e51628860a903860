"""Files over HTTP, by the numbers of the conformance table (FI): from memory (streamed), and from disk, small and large."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import json
import random
import socket
import zipfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from msgspec import Struct

from pkgindex_core.changes import DropFile, PutFile, PutProject, YankFile
from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Unavailable
from pkgindex_core.models import File, PageHead
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import SignedUrl
from pkgindex_core.testing.wheels import BuiltFile, build_sdist, build_wheel
from pkgindex_http.wire.replies import Reply
from pkgindex_http.wire.sending import ONE_WRITE, StreamedResponse
from tests.http.conftest import HOSTED, Serve, Served
from tests.http.wire import ask_raw, connected, read_answer

JSON = "application/vnd.pypi.simple.v1+json"
DEMO = ProjectName("demo")
_LARGE = random.Random(0).randbytes(5 * 1024 * 1024)


class Shelf(Struct):
    """A server with a wheel, and how to ask for it."""

    served: Served
    built: BuiltFile
    path: str

    async def get(self, path: str = "", **headers: str) -> tuple[Any, bytes]:
        async with self.served.get(path or self.path, headers=headers) as answer:
            return answer, await answer.read()


Open = Callable[..., AbstractAsyncContextManager[Shelf]]


@pytest.fixture(params=["memory", "disk small", "disk large"])
def shelf(request: pytest.FixtureRequest, serve: Serve, tmp_path: Path) -> Open:
    """The three ways that bytes leave: streamed, in one write, by sendfile."""
    large = request.param == "disk large"
    blobs = "memory://" if request.param == "memory" else (tmp_path / "blobs").as_uri()

    @asynccontextmanager
    async def start(**options: Any) -> AsyncIterator[Shelf]:
        async with serve(blobs=blobs, **options) as served:
            built = build_wheel("demo", "1.0", files={"demo.py": _LARGE if large else b"small"}, stored=True)
            assert (built.size > ONE_WRITE) is large
            file = await served.put(built)
            assert file.sha256
            yield Shelf(served, built, f"/root/dev/+f/{file.sha256[:3]}/{file.sha256[3:16]}/{file.filename}")

    return start


async def test_fi_01_metadata_are_the_exact_bytes_of_the_wheel(shelf: Open) -> None:
    async with shelf() as here:
        answer, body = await here.get(f"{here.path}.metadata")
        assert answer.status == 200
        inner = zipfile.ZipFile(io.BytesIO(here.built.data)).read("demo-1.0.dist-info/METADATA")
        assert body == inner == here.built.metadata
        _, page = await here.get("/simple/demo/", Accept=JSON)
        (entry,) = json.loads(page)["files"]
        assert entry["core-metadata"] == {"sha256": hashlib.sha256(body).hexdigest()}
        answer, part = await here.get(f"{here.path}.metadata", Range="bytes=3-8")
        assert (answer.status, part) == (206, inner[3:9])


async def test_fi_02_what_is_not_there_is_not_advertised_and_404(shelf: Open) -> None:
    async with shelf() as here:
        await here.served.put(build_wheel("demo", "2.0"), metadata_sha256=None)
        await here.served.put(build_sdist("demo", "1.0"))
        _, page = await here.get("/simple/demo/", Accept=JSON)
        for entry in json.loads(page)["files"]:
            answer, _ = await here.get(f"{urljoin('/simple/demo/', entry['url'])}.metadata")
            assert answer.status == (200 if entry.get("core-metadata") else 404), entry["filename"]


async def test_fi_03_sdists_have_no_sidecar(shelf: Open) -> None:
    async with shelf() as here:
        file = await here.served.put(build_sdist("demo", "1.0"))
        sha256 = file.digests["sha256"]
        answer, _ = await here.get(f"/root/dev/+f/{sha256[:3]}/{sha256[3:16]}/demo-1.0.tar.gz.metadata")
        assert answer.status == 404


async def test_fi_04_bytes_leave_untouched_under_a_type_nobody_runs(shelf: Open) -> None:
    async with shelf() as here:
        sdist = build_sdist("demo", "1.0")
        file = await here.served.put(sdist)
        sha256 = file.digests["sha256"]
        for path, data, kind in (
            (here.path, here.built.data, "application/octet-stream"),
            (f"/root/dev/+f/{sha256[:3]}/{sha256[3:16]}/demo-1.0.tar.gz", sdist.data, "application/octet-stream"),
            (f"{here.path}.metadata", here.built.metadata, "text/plain; charset=utf-8"),
        ):
            for coding in ("identity", "gzip, deflate, zstd", "*"):
                answer, body = await here.get(path, **{"Accept-Encoding": coding, "Accept": "text/html"})
                assert answer.status == 200
                assert body == data
                assert answer.headers["Content-Type"] == kind
                assert "Content-Encoding" not in answer.headers
                assert "Vary" not in answer.headers
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert "sandbox" in answer.headers["Content-Security-Policy"]
                assert int(answer.headers["Content-Length"]) == len(data)
                assert answer.headers["Server"] == "pkgindex"
        assert gzip.decompress(sdist.data)


async def test_fi_05_one_range_is_honoured(shelf: Open) -> None:
    async with shelf() as here:
        for span in ("0-0", "0-", "5-20", "100-", "-1", "-10000", "-999999999", "0-999999999", "70-70"):
            await _assert_part(here, span)


async def _assert_part(here: Shelf, span: str) -> None:
    data = here.built.data
    first, last = span.split("-")
    wanted = data[-int(last) :] if not first else data[int(first) : int(last) + 1 if last else None]
    start = len(data) - len(wanted) if not first else int(first)
    answer, body = await here.get(Range=f"bytes={span}")
    assert answer.status == 206
    assert body == wanted
    assert answer.headers["Content-Range"] == f"bytes {start}-{start + len(wanted) - 1}/{len(data)}"
    assert int(answer.headers["Content-Length"]) == len(wanted)
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["ETag"] == f'"{here.built.sha256}"'
    assert "Content-Encoding" not in answer.headers


async def test_fi_05_what_lies_beyond_is_416_and_what_is_no_range_is_the_whole(shelf: Open) -> None:
    async with shelf() as here:
        size = here.built.size
        for beyond in (f"bytes={size}-", f"bytes={size + 5}-{size + 9}", "bytes=-0"):
            answer, body = await here.get(Range=beyond)
            assert answer.status == 416
            assert answer.headers["Content-Range"] == f"bytes */{size}"
            assert answer.headers["Content-Type"].startswith("text/plain")
            assert "immutable" not in answer.headers["Cache-Control"]
            assert len(body) < 200
        for whole in ("bytes=0-1,5-6", "bytes=5-2", "bytes=x-y", "items=0-5", "bytes=", "bytes=-"):
            answer, body = await here.get(Range=whole)
            assert answer.status == 200
            assert body == here.built.data
            assert "Content-Range" not in answer.headers


async def test_fi_05_if_range_continues_only_the_same_bytes(shelf: Open) -> None:
    async with shelf() as here:
        whole, data = await here.get()
        modified = whole.headers.get("Last-Modified")
        known = [whole.headers["ETag"], *([modified] if modified else [])]
        for validator in known:
            answer, body = await here.get(Range="bytes=10-", **{"If-Range": validator})
            assert (answer.status, body) == (206, data[10:])
        later = formatdate(parsedate_to_datetime(modified).timestamp() + 60, usegmt=True) if modified else "x"
        for other in ('"other"', f"W/{whole.headers['ETag']}", formatdate(0, usegmt=True), later, "nonsense"):
            answer, body = await here.get(Range="bytes=10-", **{"If-Range": other})
            assert (answer.status, body) == (200, data)


async def test_fi_05_head_says_what_get_would_and_ignores_ranges(shelf: Open) -> None:
    async with shelf() as here:
        for path in (here.path, f"{here.path}.metadata"):
            got = await ask_raw(here.served.address, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            for extra in ("", "Range: bytes=0-5\r\n", "Range: bytes=999999999-\r\n"):
                request = f"HEAD {path} HTTP/1.1\r\nHost: x\r\n{extra}\r\n"
                head = await ask_raw(here.served.address, request.encode(), method="HEAD")
                assert head.status == 200
                assert {pair for pair in head.headers if pair[0] != "Date"} == {
                    pair for pair in got.headers if pair[0] != "Date"
                }
                assert head.header("Accept-Ranges") == "bytes"


async def test_fi_06_files_may_be_kept_for_ever_and_are_known_again(shelf: Open) -> None:
    async with shelf() as here:
        for path in (here.path, f"{here.path}.metadata"):
            answer, body = await here.get(path)
            tag = answer.headers["ETag"]
            assert tag == f'"{hashlib.sha256(body).hexdigest()}"'
            assert answer.headers["Cache-Control"] == "public, max-age=365000000, immutable"
            for value in (tag, f"W/{tag}", f'"x", {tag}', "*"):
                same, nothing = await here.get(path, **{"If-None-Match": value, "Range": "bytes=0-3"})
                assert (same.status, nothing) == (304, b"")
                assert same.headers["ETag"] == tag
                assert same.headers["Cache-Control"] == answer.headers["Cache-Control"]
                assert "Content-Length" not in same.headers
                assert "Content-Range" not in same.headers
            other, _ = await here.get(path, **{"If-None-Match": '"x"'})
            assert other.status == 200


async def test_fi_06_a_date_is_known_again_too(shelf: Open) -> None:
    async with shelf() as here:
        whole, _ = await here.get()
        modified = whole.headers.get("Last-Modified")
        same, _ = await here.get(**{"If-Modified-Since": modified or formatdate(usegmt=True)})
        assert same.status == (304 if modified else 200)
        for headers in (
            {"If-Modified-Since": formatdate(1_000_000, usegmt=True)},
            {"If-Modified-Since": "never"},
            # A tag decides alone where there is one (RFC 9110 13.1.3).
            {"If-Modified-Since": formatdate(usegmt=True), "If-None-Match": '"x"'},
        ):
            answer, _ = await here.get(**headers)
            assert answer.status == 200


async def test_fi_06_behind_credentials_only_the_client_itself_may_keep_it(shelf: Open) -> None:
    async with shelf() as here:
        anna = await here.served.user("anna")
        index = await here.served.index("anna/private", acl_read=("anna",))
        await here.served.put(here.built, index=index)
        path = here.path.replace("root/dev", "anna/private")
        for each in (path, f"{path}.metadata"):
            answer, _ = await here.get(each, **anna)
            assert answer.headers["Cache-Control"] == "private, max-age=365000000, immutable"
            for condition in ({}, {"If-None-Match": answer.headers["ETag"]}, {"Range": "bytes=0-1"}):
                refused, _ = await here.get(each, **condition)
                assert refused.status == 401
                assert refused.headers["Cache-Control"] == "no-store"


async def test_fi_07_a_path_pins_its_bytes(shelf: Open) -> None:
    async with shelf() as here:
        answer, body = await here.get()
        assert hashlib.sha256(body).hexdigest().startswith("".join(here.path.split("/")[4:6]))
        first, second = here.path.split("/")[4:6]
        for wrong in (
            here.path.replace(f"/{first}/", "/000/"),
            here.path.replace(f"/{second}/", "/0000000000000/"),
            here.path.replace("demo-1.0", "demo-2.0"),
            here.path.replace("demo-1.0-", "Demo-1.0-"),
            here.path.replace("root/dev", "root/none"),
            here.path.replace("+f", "+e"),
            f"{here.path}/",
            f"{here.path}.metadata.metadata",
            f"{here.path}.asc",
            here.path.replace(f"{first}/{second}", f"{second}/{first}"),
        ):
            answer, _ = await here.get(wrong)
            assert answer.status == 404, wrong
            assert answer.headers["Cache-Control"] == "no-store"


async def test_fi_08_no_signature_is_promised_and_none_served(shelf: Open) -> None:
    async with shelf() as here:
        _, page = await here.get("/simple/demo/", Accept=JSON)
        assert "gpg-sig" not in json.loads(page)["files"][0]
        answer, _ = await here.get(f"{here.path}.asc")
        assert answer.status == 404


async def test_fi_09_yanking_changes_pages_and_nothing_else(shelf: Open) -> None:
    async with shelf() as here:
        tags = []
        for yanked, expected in ((True, True), ('<b>"bad"</b>\nfile', '<b>"bad"</b>\nfile'), (False, None)):
            await here.served.engine.store.apply([YankFile(HOSTED, DEMO, here.built.filename, yanked)], who="[test]")
            answer, page = await here.get("/simple/demo/", Accept=JSON)
            assert json.loads(page)["files"][0].get("yanked") == expected
            tags.append(answer.headers["ETag"])
            answer, body = await here.get()
            assert (answer.status, body) == (200, here.built.data)
        assert len(set(tags)) == 3


async def test_fi_09_yanking_over_http(shelf: Open) -> None:
    async with shelf() as here:
        anna, ben = await here.served.user("anna"), await here.served.user("ben")
        await here.served.index("root/dev", volatile=False, acl_upload=("root", "anna"))

        async def patch(body: str, headers: dict[str, str]) -> int:
            async with here.served.request(
                "PATCH", here.path, data=io.BytesIO(body.encode()), headers=headers
            ) as answer:
                await answer.read()
                return int(answer.status)

        async def yanked() -> object:
            _, page = await here.get("/simple/demo/", Accept=JSON)
            return json.loads(page)["files"][0].get("yanked")

        assert await patch('{"yanked": "broken"}', anna) == 200
        assert await yanked() == "broken"
        assert await patch('{"yanked": true}', anna) == 200
        assert await yanked() is True
        for body, headers, status in (
            ('{"yanked": false}', {}, 401),
            ('{"yanked": false}', ben, 403),
            ("", anna, 400),
            ("{", anna, 400),
            ("[]", anna, 400),
            ("{}", anna, 400),
            ('{"yanked": 1}', anna, 400),
            ('{"yanked": null}', anna, 400),
            ('{"yanked": "\\ud800"}', anna, 400),
            ('{"yanked": false, "other": 1}', anna, 400),
            (f'{{"yanked": "{"x" * 2_000_000}"}}', anna, 413),
        ):
            assert await patch(body, headers) == status, body[:80]
            assert await yanked() is True
        assert await patch('{"yanked": false}', anna) == 200
        assert await yanked() is None


async def test_fi_11_a_quarantined_project_offers_nothing(shelf: Open) -> None:
    async with shelf() as here:
        for status, visible in (("quarantined", False), ("archived", True), ("deprecated", True), ("active", True)):
            head = PageHead(display_name="demo", status=status, status_reason="under <investigation>")
            await here.served.engine.store.apply([PutProject(HOSTED, DEMO, head)], who="[test]")
            answer, page = await here.get("/simple/demo/", Accept=JSON)
            assert answer.status == 200
            document = json.loads(page)
            assert document["project-status"] == {"status": status, "reason": "under <investigation>"}
            assert len(document["files"]) == visible
            for path in (here.path, f"{here.path}.metadata"):
                answer, body = await here.get(path)
                assert answer.status == (200 if visible else 404)
                assert visible or (b"quarantined" in body and here.built.data not in body)


async def test_fi_14_a_deleted_file_is_gone_and_its_name_stays_taken(shelf: Open) -> None:
    async with shelf() as here:
        await here.get()
        await here.served.engine.store.apply([DropFile(HOSTED, DEMO, here.built.filename)], who="[test]")
        for path in (here.path, f"{here.path}.metadata"):
            for headers in ({}, {"If-None-Match": "*"}, {"Range": "bytes=0-1"}):
                answer, _ = await here.get(path, **headers)
                assert answer.status == 410
                assert answer.headers["Cache-Control"] == "no-store"
            elsewhere, _ = await here.get(path.replace("/+f/", "/+f/0"))
            assert elsewhere.status == 404
        taken = await here.served.engine.store.taken(HOSTED, here.built.filename)
        assert taken is not None
        assert not taken.live


async def test_a_replaced_file_is_gone_and_so_are_its_metadata(serve: Serve) -> None:
    """A lock file that pins the bytes of before learns that they were here: 410, as for a deleted file."""
    async with serve() as served:
        old, new = (build_wheel("demo", "1.0", description=text) for text in ("old", "new"))
        first = await served.put(old)
        second = await served.put(new)
        statuses = {}
        for name, sha256 in (("old", first.sha256), ("new", second.sha256)):
            for suffix in ("", ".metadata"):
                path = f"/root/dev/+f/{sha256[:3]}/{sha256[3:16]}/{old.filename}{suffix}"
                async with served.get(path) as answer:
                    statuses[name + suffix] = answer.status
        assert statuses == {"old": 410, "old.metadata": 410, "new": 200, "new.metadata": 200}


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "application/json"),
        ("", "application/json"),
        ("application/octet-stream", "application/json"),
        ("text/html,*/*;q=0.8", "text/html"),
        ("application/problem+json", "application/problem+json"),
    ],
)
async def test_what_is_said_of_a_file_that_is_not_there(serve: Serve, accept: str, kind: str) -> None:
    """devpi's clients ask for a file with `*/*` and look for a `message`; browsers and uv get what they can show."""
    async with serve() as served:
        path = "/root/dev/+f/000/1111111111111/demo-1.0.tar.gz"
        async with served.get(path, headers={"Accept": accept}) as answer:
            assert (answer.status, answer.content_type) == (404, kind)
            body = await answer.read()
        said = json.loads(body)["message"] if kind == "application/json" else body.decode()
        assert "root/dev/+f/000/1111111111111/demo-1.0.tar.gz" in said


async def test_fi_14_deleting_over_http_needs_the_right_and_a_word(shelf: Open) -> None:
    async with shelf() as here:
        ben = await here.served.user("ben")
        root = {"Authorization": "Basic cm9vdDpjb3JyZWN0IGhvcnNl"}

        async def delete(path: str, headers: dict[str, str]) -> int:
            async with here.served.request("DELETE", path, headers=headers) as answer:
                await answer.read()
                return int(answer.status)

        assert await delete(here.path, {}) == 403
        assert await delete(f"{here.path}?force", ben) == 403
        assert await delete(here.path, root) == 403
        assert (await here.get())[0].status == 200
        assert await delete(f"{here.path}?force", root) == 200
        assert (await here.get())[0].status == 410
        assert await delete(f"{here.path}?force", root) == 410


async def test_py_14_browsers_may_read_files_from_other_pages(shelf: Open) -> None:
    async with shelf() as here:
        for path in (here.path, f"{here.path}.metadata"):
            answer, _ = await here.get(path)
            assert answer.headers["Access-Control-Allow-Origin"] == "*"


# Connections


async def test_several_answers_on_one_connection(shelf: Open) -> None:
    """Whatever way the bytes leave, the next answer begins where they end."""
    async with shelf() as here, connected(here.served.address) as (reader, writer):
        plain = f"GET {here.path} HTTP/1.1\r\nHost: x\r\n\r\n"
        part = f"GET {here.path} HTTP/1.1\r\nHost: x\r\nRange: bytes=-5\r\n\r\n"
        page = "GET /simple/demo/ HTTP/1.1\r\nHost: x\r\n\r\n"
        head = f"HEAD {here.path} HTTP/1.1\r\nHost: x\r\n\r\n"
        writer.write((plain + page + head + part + plain + page).encode())
        for method, status, body in (
            ("GET", 200, here.built.data),
            ("GET", 200, None),
            ("HEAD", 200, b""),
            ("GET", 206, here.built.data[-5:]),
            ("GET", 200, here.built.data),
            ("GET", 200, None),
        ):
            answer = await read_answer(reader, method)
            assert answer.status == status
            assert body is None or answer.body == body


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_body_that_was_not_asked_for_ends_the_connection(shelf: Open, method: str) -> None:
    """RFC 9110 10.1.1: the client may send the body that it announced, or its next request. No answer tells which."""
    async with shelf() as here:
        head = f"{method} {here.path} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 40\r\n\r\n"
        answer = await ask_raw(here.served.address, head.encode(), method=method)
        assert (answer.status, answer.header("Connection")) == (200, "close")
        assert answer.body == (here.built.data if method == "GET" else b"")


async def test_http_10_gets_the_file_and_the_end(shelf: Open) -> None:
    async with shelf() as here, connected(here.served.address) as (reader, writer):
        writer.write(f"GET {here.path} HTTP/1.0\r\n\r\n".encode())
        answer = await read_answer(reader)
        assert (answer.status, answer.body) == (200, here.built.data)
        assert answer.header("Connection") in {None, "close"}
        assert not await reader.read()


async def test_clients_that_hang_up_do_not_hurt_the_others(shelf: Open, caplog: pytest.LogCaptureFixture) -> None:
    async with shelf() as here:

        async def break_off(number: int) -> None:
            async with connected(here.served.address) as (reader, writer):
                writer.write(f"GET {here.path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                await reader.read(1 + number * 100)
                if number % 2:  # a reset rather than an end
                    linger = (1).to_bytes(4, "little") + bytes(4)
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()

        async def whole() -> None:
            answer, body = await here.get()
            assert (answer.status, body) == (200, here.built.data)

        await asyncio.gather(*(break_off(number) for number in range(12)), *(whole() for _ in range(6)))
        await whole()
    assert not [record for record in caplog.records if record.levelname in {"ERROR", "CRITICAL"}]


async def test_slow_readers_keep_nobody_waiting(shelf: Open) -> None:
    """Twenty clients that read nothing hold twenty descriptors and nothing else."""
    async with shelf() as here, _stalled(here, 20) as readers:
        for _ in range(3):
            answer, body = await here.get()
            assert body == here.built.data
        answer, _ = await here.get("/simple/demo/")
        assert answer.status == 200
        for reader in readers[:4]:
            assert (await read_answer(reader)).body == here.built.data


@asynccontextmanager
async def _stalled(here: Shelf, count: int) -> AsyncIterator[list[asyncio.StreamReader]]:
    readers = []
    async with asyncio.TaskGroup() as group:
        closing = asyncio.Event()

        async def hold() -> None:
            async with connected(here.served.address) as (reader, writer):
                writer.transport.pause_reading()  # type: ignore[attr-defined]  # of a socket's transport
                writer.write(f"GET {here.path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                writer.transport.resume_reading()  # type: ignore[attr-defined]  # of a socket's transport
                readers.append(reader)
                await closing.wait()

        for _ in range(count):
            group.create_task(hold())
        while len(readers) < count:
            await asyncio.sleep(0)
        yield readers
        closing.set()


# What can go wrong between a file's record and its bytes


async def test_a_blob_that_vanished_is_no_success(serve: Serve, tmp_path: Path) -> None:
    """Listed, and its bytes are gone: an error that says so, never an empty 200, never a 404 that a client would believe."""
    for blobs in ("memory://", (tmp_path / "blobs").as_uri()):
        async with serve(blobs=blobs, data=tmp_path / blobs[:3]) as served:
            file = await served.put(build_wheel("demo", "1.0"))
            sha256 = file.digests["sha256"]
            path = f"/root/dev/+f/{sha256[:3]}/{sha256[3:16]}/{file.filename}"
            await served.engine.blobs.drop(_key_of(file))
            async with served.get(path) as answer:
                body = await answer.text()
            assert answer.status == 500
            assert "not in the blob store" in body
            assert str(tmp_path) not in body


async def test_a_file_that_cannot_be_opened_is_503_and_not_a_cut_connection(serve: Serve, tmp_path: Path) -> None:
    """It was there when it was looked for, and is not when it is opened."""
    for size in (10, ONE_WRITE + 10):
        async with serve(blobs=(tmp_path / f"blobs{size}").as_uri(), data=tmp_path / str(size)) as served:
            file = await served.put(build_wheel("demo", f"{size}.0", files={"a": b"x" * size}, stored=True))
            sha256 = file.digests["sha256"]
            path = f"/root/dev/+f/{sha256[:3]}/{sha256[3:16]}/{file.filename}"
            blobs = served.engine.blobs
            found = await blobs.stat(_key_of(file))
            place = await blobs.locate(_key_of(file), filename=file.filename)
            await blobs.drop(_key_of(file))
            _pretend(served, found, place)
            async with served.get(path) as answer:
                assert answer.status == 503
                assert str(tmp_path) not in await answer.text()
            async with served.get("/+live") as answer:
                assert answer.status == 200


UV = {"User-Agent": "uv/0.13.9"}
PIP = {"User-Agent": "pip/26.3"}


async def test_a_store_that_signs_urls_is_redirected_to(serve: Serve) -> None:
    async with serve() as served:
        file = await served.put(build_wheel("demo", "1.0"))
        sha256 = file.digests["sha256"]
        path = f"/root/dev/+f/{sha256[:3]}/{sha256[3:16]}/{file.filename}"
        _pretend(served, await served.engine.blobs.stat(_key_of(file)), SignedUrl("https://bucket.example.com/x?sig=1"))
        async with served.get(path, headers=UV) as answer:
            assert answer.status == 302
            assert answer.headers["Location"] == "https://bucket.example.com/x?sig=1"
            assert answer.headers["Cache-Control"] == "no-store"
        async with served.request("HEAD", path, headers=UV) as answer:
            assert (answer.status, answer.headers["ETag"]) == (200, f'"{sha256}"'), (
                "a URL for GET does not work for HEAD"
            )
        async with served.get(path, headers={"If-None-Match": f'"{sha256}"'}) as answer:
            assert answer.status == 304


@pytest.mark.parametrize(
    ("downloads", "headers", "status"),
    [
        ("auto", UV, 302),
        ("auto", PIP, 200),
        ("auto", {}, 200),
        ("redirect", PIP, 302),
        ("stream", UV, 200),
        ("redirect", {"Range": "bytes=0-4"}, 206),
        ("redirect", {"Range": "bytes=-5"}, 206),
        ("redirect", {"Range": "bytes=5-2"}, 200),
        ("redirect", {"Range": "bytes=0-1,3-4"}, 200),
        ("redirect", {"Range": "bytes=99999999-"}, 416),
        ("redirect", {"Range": "bytes=0-4", "If-Range": '"of other bytes"'}, 200),
        ("redirect", {"If-Match": "*"}, 200),
        ("redirect", {"If-Match": '"of other bytes"'}, 412),
    ],
    ids=str,
)
async def test_only_what_the_store_answers_alike_is_redirected(
    serve: Serve, downloads: str, headers: dict[str, str], status: int
) -> None:
    """Stores ignore an `If-Range` that does not match, and judge other ranges and conditions in ways of their own."""
    async with serve(object_downloads=downloads) as served:
        built = build_wheel("demo", "1.0")
        file = await served.put(built)
        sha256 = file.digests["sha256"]
        path = f"/root/dev/+f/{sha256[:3]}/{sha256[3:16]}/{file.filename}"
        _pretend(served, await served.engine.blobs.stat(_key_of(file)), SignedUrl("https://bucket.example.com/x?sig=1"))
        async with served.get(path, headers=headers) as answer:
            assert answer.status == status
            if status == 200:
                assert await answer.read() == built.data
        async with served.get(f"{path}.metadata", headers=UV) as answer:
            assert answer.status == 200, "a second request for a small file costs more than it saves"


def _key_of(file: File) -> Sha256:
    assert file.sha256
    return file.sha256


def _pretend(served: Served, found: object, place: object) -> None:
    """Make the blob store answer what a moment before was true, or what another kind of store would."""

    async def stat(key: str, *, promised: int | None = None) -> object:
        return found

    async def locate(key: str, *, filename: str, expires: int = 300, may_redirect: bool = False) -> object:
        return place if may_redirect or not isinstance(place, SignedUrl) else None

    served.engine.blobs.stat = stat  # type: ignore[method-assign, assignment]  # another store
    served.engine.blobs.locate = locate  # type: ignore[method-assign, assignment]  # another store


async def _three(fails_after: int, error: Exception) -> AsyncIterator[bytes]:
    for number in range(3):
        if number == fails_after:
            raise error
        yield b"%d" % number * 1000


@pytest.mark.parametrize("length", [3000, None])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_a_source_that_fails_is_an_error_or_a_cut_and_never_a_short_file(
    serve: Serve, length: int | None, version: str
) -> None:
    async with serve() as served:
        failing = -1
        error = Unavailable("the upstream broke off", retry_after=3)

        async def answer(request: Any) -> Any:
            reply = Reply(headers={"Content-Type": "application/octet-stream"})
            return StreamedResponse(reply, _three(failing, error), length=length)

        served.server.handle = answer  # type: ignore[method-assign]  # another handler
        await served.server.stop()
        address = (await served.server.start("127.0.0.1", 0))[0]
        request = f"GET / HTTP/{version}\r\nHost: x\r\n\r\n".encode()
        whole = await ask_raw(address, request)
        assert whole.body == b"0" * 1000 + b"1" * 1000 + b"2" * 1000
        assert (whole.header("Transfer-Encoding") == "chunked") is (length is None and version == "1.1")
        failing = 0
        refused = await ask_raw(address, request)
        assert refused.status == 503
        assert refused.header("Retry-After") == "2"
        failing = 2
        async with connected(address) as (reader, writer):
            writer.write(request)
            # HTTP/1.0 without a length: nothing but the violence of the end tells that it is none.
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await read_answer(reader)


@pytest.mark.parametrize("losses", [1, 2, 3])
async def test_a_file_that_another_server_removes_while_it_is_asked_for_is_opened_again(
    shelf: Open, losses: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shelf() as here:
        blobs, files = here.served.engine.blobs, here.served.engine.files
        key = Sha256(here.built.sha256)
        opened = 0
        original = files.holding_open

        async def found_and_removed(*arguments: Any, **named: Any) -> Any:
            nonlocal opened
            opened += 1
            await blobs.put(here.built.data)  # as a fetch does
            found = await original(*arguments, **named)
            if opened <= losses:
                await blobs.drop(key)
            return found

        monkeypatch.setattr(files, "holding_open", found_and_removed)
        for headers, expected in ({}, here.built.data), ({"Range": "bytes=3-9"}, here.built.data[3:10]):
            opened = 0
            answer, body = await here.get(**headers)
            assert opened == min(losses + 1, 3)
            if losses < 3:
                assert (answer.status, body) == (206 if headers else 200, expected)
            else:
                assert (answer.status, answer.headers["Retry-After"], b"removed just now" in body) == (503, "2", True)
            opened = 10
            answer, body = await here.get()  # over the same connection
            assert (answer.status, body) == (200, here.built.data)
        # An answer counts once, however often the file was opened for it, and a refusal does not count.
        answers, sent = here.served.server.served_files.figures([HOSTED])
        whole = len(here.built.data)
        assert answers.values[HOSTED, "file", "store"] == (4 if losses < 3 else 2)
        assert sent.values[HOSTED, "file", "store"] == 2 * whole + (whole + 7 if losses < 3 else 0)


async def test_a_file_of_no_bytes(serve: Serve, tmp_path: Path) -> None:
    for blobs in ("memory://", (tmp_path / "blobs").as_uri()):
        async with serve(blobs=blobs, data=tmp_path / blobs[:3]) as served:
            blob = await served.engine.blobs.put(b"")
            file = File(filename="demo-1.0-py3-none-any.whl", version="1.0", digests={"sha256": blob.sha256}, size=0)
            await served.engine.store.apply([PutFile(HOSTED, DEMO, file)], who="[test]")
            path = f"/root/dev/+f/{blob.sha256[:3]}/{blob.sha256[3:16]}/{file.filename}"
            async with served.get(path) as answer:
                assert (answer.status, await answer.read(), answer.headers["Content-Length"]) == (200, b"", "0")
            async with served.get(path, headers={"Range": "bytes=0-"}) as answer:
                assert answer.status == 416


async def test_one_blob_under_two_names_keeps_each_index_its_own(serve: Serve) -> None:
    """The bytes are shared, the right to read them is not."""
    async with serve() as served:
        built = build_wheel("demo", "1.0")
        await served.user("anna")
        await served.put(built, index=await served.index("anna/private", acl_read=("anna",)))
        path = f"+f/{built.sha256[:3]}/{built.sha256[3:16]}/{built.filename}"
        async with served.get(f"/anna/private/{path}") as answer:
            assert answer.status == 401
        async with served.get(f"/root/dev/{path}") as answer:
            assert answer.status == 404
        await served.put(built, index=IndexName("root/dev"))
        async with served.get(f"/root/dev/{path}") as answer:
            assert answer.status == 200
        async with served.get(f"/anna/private/{path}") as answer:
            assert answer.status == 401
