"""A name of which a file lies in the directory is never somebody else's, even if none of its files can be read."""

from __future__ import annotations

import json
import xmlrpc.client
from typing import Any

from pkgindex_core.protocols import Principal
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.testing import ScriptedUpstream
from tests.http.shelf import ALICE, OpenShelf, Shelf, open_shelf

__all__ = ["open_shelf"]

ELSEWHERE = "https://example.org/simple/"
JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}
DEMO = build_wheel("Acme.Demo", "1.0")
OTHER = build_wheel("other", "1.0")
PAGE = "/simple/acme-demo/"


async def files(shelf: Shelf, path: str = PAGE) -> list[str]:
    async with shelf.get(path, headers=JSON) as answer:
        assert answer.status == 200, await answer.text()
        return [each["filename"] for each in json.loads(await answer.read())["files"]]


async def listed(shelf: Shelf) -> dict[str, str]:
    async with shelf.get("/simple/", headers={"Accept": "text/html"}) as answer:
        parts = (await answer.text()).split('<a href="')[1:]
        return dict(part.partition("</a>")[0].split('/">') for part in parts)


def half(shelf: Shelf) -> None:
    (shelf.directory / DEMO.filename).write_bytes(DEMO.data[: len(DEMO.data) // 2])


async def test_a_file_that_is_being_copied_claims_its_name_until_it_is_whole(open_shelf: OpenShelf) -> None:
    async with open_shelf(fallback_url=ELSEWHERE) as shelf:
        assert await shelf.status(PAGE) == 302
        half(shelf)
        assert await files(shelf) == []
        assert await listed(shelf) == {"acme-demo": "acme-demo"}
        (shelf.directory / DEMO.filename).write_bytes(DEMO.data)
        assert await files(shelf) == [DEMO.filename]
        assert await listed(shelf) == {"acme-demo": "Acme.Demo"}, "the file spells the name"


async def test_a_claim_ends_with_the_file(open_shelf: OpenShelf) -> None:
    async with open_shelf(fallback_url=ELSEWHERE) as shelf:
        half(shelf)
        assert await files(shelf) == []
        (shelf.directory / DEMO.filename).unlink()
        assert await shelf.status(PAGE) == 302
        assert await listed(shelf) == {}
        half(shelf)
        assert await files(shelf) == []
    async with open_shelf(fallback_url=ELSEWHERE) as shelf:
        assert await files(shelf) == [], "a restart changes nothing"
    (shelf.directory / DEMO.filename).unlink()
    async with open_shelf(fallback_url=ELSEWHERE) as shelf:
        assert await shelf.status(PAGE) == 302
        assert await listed(shelf) == {}


async def test_a_damaged_file_claims_its_name_when_the_good_ones_go(open_shelf: OpenShelf) -> None:
    newer = build_wheel("Acme.Demo", "2.0")
    async with open_shelf(fallback_url=ELSEWHERE) as shelf:
        shelf.drop(DEMO, newer)
        assert len(await files(shelf)) == 2
        (shelf.directory / newer.filename).unlink()
        half(shelf)
        assert await files(shelf) == []
        (shelf.directory / DEMO.filename).unlink()
        assert await shelf.status(PAGE) == 302


async def test_what_a_client_registered_stays_when_a_damaged_file_goes(open_shelf: OpenShelf) -> None:
    async with open_shelf(fallback_url=ELSEWHERE) as shelf:
        half(shelf)
        assert await files(shelf) == []
        fields = {":action": "submit", "name": "Acme.Demo", "version": "1.0", "metadata_version": "2.1"}
        async with shelf.request("POST", "/root/packages/", data=fields, headers=ALICE) as answer:
            assert answer.status == 200, await answer.text()
        (shelf.directory / DEMO.filename).unlink()
        assert await files(shelf) == []


async def test_nothing_is_read_through_under_a_claimed_name(open_shelf: OpenShelf) -> None:
    async with ScriptedUpstream() as upstream:
        upstream.add("acme-demo", build_wheel("Acme.Demo", "99.0"))
        upstream.add("other", OTHER)
        async with open_shelf(fallback_url=upstream.url, proxy_fallback=True) as shelf:
            half(shelf)
            team = {"type": "stage", "bases": ["root/packages", "root/fallback"]}
            await shelf.engine.indexes.create("root/team", team, principal=Principal(name="root"))
            for path in (PAGE, "/root/packages/+simple/acme-demo/", "/root/team/+simple/acme-demo/"):
                assert await files(shelf, path) == []
            for path in ("/packages/Acme.Demo-99.0-py3-none-any.whl", "/acme-demo/json", "/pypi/acme-demo/json"):
                assert await shelf.status(path) == 404, path
            assert upstream.count("/simple/acme-demo/") == 0, "it is not even told the name"
            assert await files(shelf, "/simple/other/") == [OTHER.filename]


async def test_other_answers_have_nothing_of_it(open_shelf: OpenShelf) -> None:
    async with open_shelf() as shelf:
        half(shelf)
        shelf.drop(OTHER)
        async with shelf.get("/packages/") as answer:
            text = await answer.text()
        assert OTHER.filename in text
        assert DEMO.filename not in text
        assert await shelf.status("/acme-demo/json") == 404
        assert await shelf.status(f"/packages/{DEMO.filename}") == 404
        assert [row["name"] for row in await found(shelf)] == ["other"]


async def found(shelf: Shelf) -> list[dict[str, Any]]:
    async with shelf.request("POST", "/RPC2", data=xmlrpc.client.dumps(({"name": ""},), "search")) as answer:
        rows: Any = xmlrpc.client.loads(await answer.text())[0][0]
    return list(rows)


async def test_an_upload_over_a_damaged_file_is_refused_or_takes_its_place(open_shelf: OpenShelf) -> None:
    async with open_shelf() as shelf:
        half(shelf)
        status, text = await shelf.upload(DEMO, ALICE)
        assert status == 409
        assert "already exists" in text
        assert "remove it from the directory" in text
        assert (shelf.directory / DEMO.filename).read_bytes() != DEMO.data
    async with open_shelf(overwrite=True) as shelf:
        assert (await shelf.upload(DEMO, ALICE))[0] == 200
        assert await files(shelf) == [DEMO.filename]


async def test_the_deletion_of_a_claimed_project_takes_its_files_away(open_shelf: OpenShelf) -> None:
    async with open_shelf(fallback_url=ELSEWHERE, overwrite=True) as shelf:
        half(shelf)
        assert await files(shelf) == []
        assert await shelf.status("/root/packages/acme-demo", ALICE, "DELETE") in {200, 204}
        assert shelf.names == []
        assert await shelf.status(PAGE) == 302
