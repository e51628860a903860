"""Two servers over one store whose books of advisories differ for a while."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pkgindex_core.digests import sha256_of
from tests.database_server import DatabaseServer
from tests.http.conftest import Serve, Served, basic
from tests.http.test_advisories import NEW, OLD, look, record, take_in

PAGE = "/root/dev/+simple/demo/"
JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}
PLACES = ("sqlite", "postgresql", "one directory")


@pytest.fixture
def database(database_server: DatabaseServer) -> Iterator[str]:
    database_server.sql("CREATE DATABASE books")
    yield database_server.url("books")
    database_server.sql("DROP DATABASE books WITH (FORCE)")


@pytest.fixture(params=PLACES)
def options(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of both servers. Over one directory they have one book, and the second has not looked at it yet."""
    store = f"sqlite:///{tmp_path}/index.sqlite"
    if request.param == "postgresql":
        store = request.getfixturevalue("database")
    shared = {"store": store, "blobs": f"file://{tmp_path}/blobs"}
    one = {**shared, "data": tmp_path / "one"}
    return one, one if request.param == "one directory" else {**shared, "data": tmp_path / "two"}


@asynccontextmanager
async def two_servers(
    serve: Serve, options: tuple[dict[str, Any], dict[str, Any]]
) -> AsyncIterator[tuple[Served, Served]]:
    """Neither looks for a new book by itself."""
    async with serve(**options[0]) as one, serve(**options[1]) as two:
        for served in (one, two):
            look(served)
            served.engine.context.advisories._elapsed = lambda: 0.0  # type: ignore[attr-defined]  # of the book in a file
            served.engine.context.advisories._looked = 0.0  # type: ignore[attr-defined]  # the same
        yield one, two


async def names(served: Served, **headers: str) -> tuple[str, int, list[str]]:
    """The ETag, the status and the filenames of the page. It is asked for three times, so that the answer is also one that is repeated."""
    for _ in range(3):
        async with served.get(PAGE, headers={**JSON, **headers}) as answer:
            body = await answer.read()
            found = [each["filename"] for each in json.loads(body)["files"]] if body else []
            told = answer.headers["ETag"], answer.status, found
    return told


async def statuses(served: Served) -> list[int]:
    """Of the file that malware rules may hide, by its URLs."""
    digest = sha256_of(OLD.data)
    file = f"/root/dev/+f/{digest[:3]}/{digest[3:16]}/{OLD.filename}"
    found = []
    for url in (file, f"{file}.metadata", file, f"{file}.metadata"):
        async with served.get(url) as answer:
            await answer.read()
            found.append(answer.status)
    return found


async def decisions(served: Served) -> list[Mapping[str, Any]]:
    await served.engine.decisions.flush()
    async with served.get("/+decisions?rule=malware", headers=basic("root")) as answer:
        return list((await answer.json())["decisions"])


async def test_a_server_blocks_what_its_book_names_though_another_does_not_know_it_yet(
    serve: Serve, options: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    async with two_servers(serve, options) as (one, two):
        async with one.request("PATCH", "/root/dev", json=["policies=malware"], headers=basic("root")) as answer:
            assert answer.status == 200
        for file in (OLD, NEW):
            await one.put(file)
        both = [OLD.filename, NEW.filename]
        before = await names(one)
        assert before == await names(two) == (before[0], 200, both)
        assert await statuses(one) == await statuses(two) == [200] * 4

        take_in(options[0]["data"], record("MAL-2026-1"))
        look(one)
        blocked = await names(one)
        assert blocked == (blocked[0], 200, [NEW.filename])
        assert blocked[0] != before[0]
        assert await names(two) == before
        assert (await statuses(one), await statuses(two)) == ([404] * 4, [200] * 4)
        # A client that goes to one after the other is never told that the other's page is the one that it has.
        assert await names(one, **{"If-None-Match": before[0]}) == blocked
        assert await names(two, **{"If-None-Match": blocked[0]}) == before
        (made,) = await decisions(one)
        assert (made["filename"], made["verdict"], made["index"]) == (OLD.filename, "hide", "root/dev")
        assert await decisions(two) == [made]

        take_in(options[1]["data"], record("MAL-2026-1"))
        look(two)
        assert await names(two) == await names(one) == blocked
        assert await names(two, **{"If-None-Match": blocked[0]}) == (blocked[0], 304, [])
        assert await statuses(two) == await statuses(one) == [404] * 4
        assert await decisions(two) == await decisions(one) == [made]
