"""Files as devpi's client sees them: facts about one, test results, deletions; and the paths that stay valid."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pkgindex_core.changes import MirrorPage, PutAttachment
from pkgindex_core.digests import sha256_of
from pkgindex_core.models import Attachment, File, PageHead
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Principal
from pkgindex_core.rules.kept_options import mirror_options
from pkgindex_core.testing.configs import mirror_config
from pkgindex_core.testing.wheels import BuiltFile
from tests.http.conftest import HOSTED, Serve, Served, basic

JSON = {"Accept": "application/json"}
ROOT = basic("root")
DEMO = ProjectName("demo")
FORBIDDEN = "No permission to upload tox results"


def path_of(built: BuiltFile, index: str = "root/dev") -> str:
    return f"/{index}/+f/{built.sha256[:3]}/{built.sha256[3:16]}/{built.filename}"


async def ask(
    served: Served, method: str, path: str, headers: dict[str, str] | None = None, data: bytes | None = None
) -> tuple[int, Any]:
    async with served.request(method, path, headers={**JSON, **(headers or {})}, data=data) as answer:
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["X-Devpi-Api-Version"] == "2"
        return answer.status, json.loads(await answer.read())


async def fetched(served: Served, path: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    async with served.get(path, headers=headers or {}) as answer:
        return answer.status, await answer.read()


@pytest.fixture
def tested() -> bytes:
    return json.dumps({"testenvs": {"py": {"test": []}}, "host": "h"}).encode()


async def test_facts_about_a_file(serve: Serve, wheel: BuiltFile) -> None:
    async with serve() as served:
        await served.put(wheel, upload_time=1_700_000_000_000_000)
        status, document = await ask(served, "GET", path_of(wheel))
        assert (status, document["type"]) == (200, "releasefilemeta")
        assert document["result"] == {
            "hash_spec": f"sha256={wheel.sha256}",
            "hashes": {"sha256": wheel.sha256},
            "project": "demo",
            "version": "1.0",
            "last_modified": "Tue, 14 Nov 2023 22:13:20 GMT",
        }
        assert (await ask(served, "GET", path_of(wheel).replace("/+f/", "/+f/0")))[0] == 404
        assert await fetched(served, path_of(wheel)) == (200, wheel.data)


async def test_a_result_is_kept_as_it_came_and_found_beside_its_file(
    serve: Serve, wheel: BuiltFile, tested: bytes
) -> None:
    async with serve() as served:
        await served.put(wheel)
        ben = await served.user("ben")
        paths = []
        for number in range(3):
            status, document = await ask(served, "POST", path_of(wheel), ben, tested)
            assert (status, document["type"]) == (200, "toxresultpath")
            path, _, digest = document["result"].partition("#")
            assert digest == f"sha256={sha256_of(tested)}"
            assert path.startswith(f"{path_of(wheel)[1:]}.toxresult-20")
            assert path.endswith(f"-{number}")
            paths.append(path)
        assert await fetched(served, f"/{paths[0]}") == (200, tested)
        _, document = await ask(served, "GET", "/root/dev/demo/1.0")
        links = [link for link in document["result"]["+links"] if link["rel"] == "toxresult"]
        assert [link["href"] for link in links] == [f"{served.url}/{path}" for path in paths]
        assert {link["for_href"] for link in links} == {f"{served.url}{path_of(wheel)}"}
        assert links[0]["log"][0]["who"] == "ben"
        # No path leads to it but its own.
        assert (await fetched(served, f"/{paths[0]}".replace(wheel.sha256[3:16], "0" * 13)))[0] == 404


async def test_who_may_add_results(serve: Serve, wheel: BuiltFile, tested: bytes) -> None:
    async with serve() as served:
        ann, ben = await served.user("ann"), await served.user("ben")
        await served.put(wheel)
        status, document = await ask(served, "POST", path_of(wheel), data=tested)
        assert (status, FORBIDDEN in document["message"]) == (403, True)
        await served.index("ann/open", acl_toxresult_upload=(":ANONYMOUS:",))
        await served.index("ann/shut", acl_toxresult_upload=("ann",))
        for index, headers, expected in (
            ("ann/open", {}, 200),
            ("ann/shut", ann, 200),
            ("ann/shut", ben, 403),
            ("ann/shut", {}, 403),
        ):
            await served.put(wheel, index=IndexName(index))
            status, document = await ask(served, "POST", path_of(wheel, index), headers, tested)
            assert status == expected, index
            assert expected == 200 or FORBIDDEN in document["message"]
        await served.index("root/pypi", type="mirror", mirror_url="https://example.org/simple/")
        status, document = await ask(served, "POST", path_of(wheel, "root/pypi"), ROOT, tested)
        assert (status, FORBIDDEN in document["message"]) == (403, True)
        await served.index("ann/private", acl_read=("ann",), acl_toxresult_upload=(":AUTHENTICATED:",))
        await served.put(wheel, index=IndexName("ann/private"))
        assert (await ask(served, "POST", path_of(wheel, "ann/private"), ben, tested))[0] == 404


async def test_what_is_no_result(serve: Serve, wheel: BuiltFile, tested: bytes) -> None:
    async with serve() as served:
        await served.put(wheel)
        await ask(served, "GET", path_of(wheel), ROOT)  # whoever logs in has their password stored anew
        head = await served.engine.store.head()
        for body in (b"", b"{", b'"\xff"', b"[" * 100_000, b"{} x"):
            status, document = await ask(served, "POST", path_of(wheel), ROOT, body)
            assert (status, "could not decode json" in document["message"]) == (400, True), body[:10]
        status, document = await ask(served, "POST", f"{path_of(wheel)}.whl", ROOT, tested)
        assert status == 404
        assert await served.engine.store.head() == head
        status, document = await ask(served, "POST", path_of(wheel), ROOT, tested)
        status, document = await ask(served, "POST", f"/{document['result'].partition('#')[0]}", ROOT, tested)
        assert (status, document["message"].startswith("no release file found at root/dev/+f/")) == (404, True)


async def test_documentation_is_a_file_too(serve: Serve, wheel: BuiltFile) -> None:
    async with serve() as served:
        await served.put(wheel)
        blob = await served.engine.blobs.put(b"a zip")
        docs = Attachment(
            kind="doczip",
            filename="demo-1.0.doc.zip",
            version="1.0",
            sha256=blob.sha256,
            size=blob.size,
            added=served.engine.clock.now(),
        )
        await served.engine.store.apply([PutAttachment(HOSTED, DEMO, docs)], who="[test]")
        path = f"/root/dev/+f/{blob.sha256[:3]}/{blob.sha256[3:16]}/demo-1.0.doc.zip"
        assert await fetched(served, path) == (200, b"a zip")
        _, document = await ask(served, "GET", "/root/dev/demo/1.0")
        assert [link["href"] for link in document["result"]["+links"]][1] == f"{served.url}{path}"
        assert (await ask(served, "GET", path))[1]["result"]["hash_spec"] == f"sha256={blob.sha256}"
        assert (await fetched(served, f"{path}.metadata"))[0] == 404
        await served.engine.project_statuses.mark(HOSTED, DEMO, "quarantined", "", principal=Principal(name="root"))
        assert (await fetched(served, path))[0] == 404
        # Who looks after the index can still take it away.
        assert (await ask(served, "DELETE", f"{path}?force", ROOT))[0] == 200
        assert not await served.engine.store.attachments(HOSTED, DEMO)


async def test_what_may_not_be_read_is_not_attached_either(serve: Serve, wheel: BuiltFile, tested: bytes) -> None:
    async with serve() as served:
        ann = await served.user("ann")
        private = await served.index("ann/private", acl_read=("ann",), acl_toxresult_upload=("ann",))
        await served.put(wheel, index=private)
        _, document = await ask(served, "POST", path_of(wheel, "ann/private"), ann, tested)
        path = f"/{document['result'].partition('#')[0]}"
        assert (await fetched(served, path))[0] == 401
        assert (await fetched(served, path, await served.user("ben")))[0] == 404
        assert (await fetched(served, path, ann))[0] == 200


async def test_deletions_in_devpis_words(serve: Serve, wheel: BuiltFile) -> None:
    async with serve() as served:
        await served.put(wheel)
        ben = await served.user("ben")
        path = path_of(wheel)
        name = path[1:]
        for where, words in (
            (path, "cannot delete version on non-volatile index"),
            ("/root/dev/demo/1.0", "cannot delete version on non-volatile index"),
            ("/root/dev/demo", "project 'demo' is on non-volatile index root/dev"),
        ):
            for headers in ({}, ben):
                assert (await ask(served, "DELETE", f"{where}?force=", headers))[0] == 403
            status, document = await ask(served, "DELETE", where, ROOT)
            assert (status, document["message"]) == (403, words)
        status, document = await ask(served, "DELETE", f"{path[:-4]}.tar.gz?force=", ROOT)
        assert (status, document["message"]) == (404, f"package '{name[:-4]}.tar.gz' doesn't exist")
        assert await ask(served, "DELETE", f"{path}?force=", ROOT) == (200, {"message": f"package '{name}' deleted"})
        assert (await fetched(served, path))[0] == 410
        status, document = await ask(served, "DELETE", f"{path}?force=", ROOT)
        assert (status, document["message"]) == (410, f"file '{name}' existed, deleted in later serial")


async def test_versions_and_projects_are_deleted_in_devpis_words(serve: Serve, wheel: BuiltFile) -> None:
    async with serve() as served:
        await served.index("root/loose", acl_upload=("root",))
        await served.put(wheel, index=IndexName("root/loose"))
        for path, status, words in (
            ("/root/loose/demo/9", 404, "version '9' of project 'demo' not found on stage 'root/loose'"),
            ("/root/loose/other/9", 404, "project 'other' not found on stage 'root/loose'"),
            ("/root/loose/Demo/1.0", 200, "project 'demo' version '1.0' deleted"),
            ("/root/loose/DEMO/", 200, "project demo deleted from stage root/loose"),
            ("/root/loose/demo", 404, "project not found"),
        ):
            answered, document = await ask(served, "DELETE", path, ROOT)
            assert (answered, document["message"]) == (status, words)


async def test_a_private_deletion_is_told_to_nobody_else(serve: Serve, wheel: BuiltFile) -> None:
    async with serve() as served:
        ann = await served.user("ann")
        private = await served.index("ann/private", acl_read=("ann",))
        await served.put(wheel, index=private)
        path = path_of(wheel, "ann/private")
        assert (await ask(served, "DELETE", f"{path}?force=", ann))[0] == 200
        assert (await ask(served, "GET", path, ann))[0] == 410
        assert (await fetched(served, path, await served.user("ben")))[0] == 404
        assert (await fetched(served, path))[0] == 401


async def test_paths_from_lock_files_that_devpi_has_written_stay_valid(serve: Serve, wheel: BuiltFile) -> None:
    """devpi names a mirrored file without a digest by its place upstream, one with an MD5 by that."""
    async with serve() as served:
        config = mirror_config("root/pypi", "https://example.org/simple/")
        await served.index("root/pypi", type="mirror", mirror_url=mirror_options(config).url)
        blob = await served.engine.blobs.put(wheel.data)
        file = File(
            filename=wheel.filename,
            version="1.0",
            digests={"md5": "e" * 32, "sha256": blob.sha256},
            size=blob.size,
            url="http://localhost:3141/pkg/a%20b/x.whl",
        )
        await served.engine.store.apply([MirrorPage(config.name, DEMO, PageHead(), (file,))], who="[mirror]")
        for place in (
            f"+f/{blob.sha256[:3]}/{blob.sha256[3:16]}",
            f"+f/eee/{'e' * 13}",
            "+e/http_localhost_3141_pkg_a_20b",
            f"+e/{sha256_of(file.url.encode())[:16]}",
        ):
            assert await fetched(served, f"/root/pypi/{place}/{wheel.filename}") == (200, wheel.data), place
        for place in (f"+f/eee/{'f' * 13}", "+e/http_localhost_3141_pkg"):
            assert (await fetched(served, f"/root/pypi/{place}/{wheel.filename}"))[0] in {404, 503}


async def test_results_are_bounded_and_never_held(serve: Serve, wheel: BuiltFile, tmp_path: Path) -> None:
    """Six of 12 MiB at once cost a few MiB; what is too large is refused, and nothing of it stays."""
    async with serve(blobs=f"file://{tmp_path}/blobs") as served:
        await served.put(wheel)
        largest = b'{"output":"' + b"x" * (12 << 20) + b'"}'

        async def body(document: bytes) -> AsyncIterator[bytes]:
            for start in range(0, len(document), 65536):
                yield document[start : start + 65536]

        async def add(document: bytes) -> int:
            async with served.request("POST", path_of(wheel), headers={**JSON, **ROOT}, data=body(document)) as answer:
                await answer.read()
                return int(answer.status)

        assert await add(b"{}") == 200
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            assert await asyncio.gather(*(add(largest) for _ in range(6))) == [200] * 6
            peak = tracemalloc.get_traced_memory()[1] - before
        finally:
            tracemalloc.stop()
        assert peak < 2 * len(largest), f"{peak:,} bytes"
        head = await served.engine.store.head()
        assert await add(b'"' + b"x" * (16 << 20) + b'"') == 413
        assert await add(largest[:-1]) == 400
        assert await add(largest[:-2] + b'\xff"}') == 400
        assert await served.engine.store.head() == head
        assert not list(tmp_path.rglob("*.part"))
