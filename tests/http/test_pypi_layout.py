"""The default index at PyPI's own URLs: project JSON, files by their PyPI path, provenance, XML-RPC."""

from __future__ import annotations

import json
import xmlrpc.client
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin

import pytest

from pkgindex_core.testing.wheels import build_sdist, build_wheel
from tests.http.conftest import MIRRORED_WHEEL, PASSWORD, Mirrored, MirroredStart, Serve, Served, basic

WHEEL, SDIST = build_wheel("demo", "1.0"), build_sdist("demo", "1.0")


async def document(served: Served, path: str, **headers: str) -> Any:
    async with served.get(path, headers=headers) as answer:
        assert answer.status == 200
        return json.loads(await answer.read())


async def location(served: Served, path: str) -> str:
    """Where a path of the server redirects to, absolute."""
    async with served.get(path) as answer:
        assert (answer.status, answer.headers["Cache-Control"]) == (302, "no-store")
        return urljoin(f"{served.url}{path}", answer.headers["Location"])


async def status(served: Served, path: str, **headers: str) -> int:
    async with served.get(path, headers=headers) as answer:
        return int(answer.status)


def urls(value: Any) -> Iterator[str]:
    """Every value under the key `url`, however deep."""
    if isinstance(value, dict):
        yield from (each for key, each in value.items() if key == "url")
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from urls(each)


async def test_py_1_a_project_of_the_default_index(serve: Serve) -> None:
    """The same document as the index's own, with files below /packages/ by their digest."""
    async with serve() as served:
        await served.put(WHEEL)
        await served.put(SDIST)
        theirs, ours = await document(served, "/pypi/demo/json"), await document(served, "/root/dev/demo/json")
        digits = WHEEL.sha256
        assert theirs["urls"][0]["url"] == (
            f"{served.url}/packages/{digits[:2]}/{digits[2:4]}/{digits[4:]}/{WHEEL.filename}"
        )
        for file in theirs["urls"]:
            async with served.client.get(file["url"]) as answer:
                assert await answer.read() == {WHEEL.filename: WHEEL, SDIST.filename: SDIST}[file["filename"]].data
        assert theirs["urls"] == theirs["releases"]["1.0"]
        assert theirs["urls"][0]["core-metadata"]["sha256"]
        assert theirs["urls"][1]["core-metadata"] is False
        assert list(urls(ours)) != list(urls(theirs))
        assert {**theirs, "urls": 0, "releases": 0} == {**ours, "urls": 0, "releases": 0}


async def test_py_2_a_version_in_any_spelling_and_a_redirect_for_other_names(serve: Serve) -> None:
    async with serve() as served:
        await served.put(WHEEL)
        one = await document(served, "/pypi/demo/1.0.0/json")
        assert "releases" not in one
        assert one["info"]["version"] == "1.0"
        for path in ("/pypi/Demo/json", "/pypi/Demo/1.0/json", "/pypi/Demo/json/"):
            async with served.get(path) as answer:
                assert answer.status == 301
                target = urljoin(f"{served.url}{path}", answer.headers["Location"])
            assert target == f"{served.url}{path.replace('Demo', 'demo')}"
            async with served.client.get(target) as answer:
                assert answer.status == 200
        for path in ("/pypi/other/json", "/pypi/demo/2.0/json"):
            assert await status(served, path) == 404


async def test_py_6_what_mirrors_compare_is_never_older_than_what_the_list_said(serve: Serve) -> None:
    """`X-PyPI-Last-Serial` is at least the project's `_last-serial` in a list read before; bandersnatch takes no less."""
    async with serve() as served:
        await served.put(WHEEL)
        await served.put(build_wheel("other", "1.0"))
        listed = await document(served, "/simple/", Accept="application/vnd.pypi.simple.v1+json")
        for project in listed["projects"]:
            async with served.get(f"/pypi/{project['name']}/json") as answer:
                assert int(answer.headers["X-PyPI-Last-Serial"]) >= project["_last-serial"] > 0
                assert json.loads(await answer.read())["last_serial"] == project["_last-serial"]
                assert answer.headers["Access-Control-Allow-Origin"] == "*"


async def test_a_file_by_its_digest_and_by_its_name(serve: Serve) -> None:
    async with serve() as served:
        await served.put(WHEEL)
        digits = WHEEL.sha256
        pinned = f"/packages/{digits[:2]}/{digits[2:4]}/{digits[4:]}/{WHEEL.filename}"
        own = f"{served.url}/root/dev/+f/{digits[:3]}/{digits[3:16]}/{WHEEL.filename}"
        assert await location(served, pinned) == own
        assert await location(served, f"{pinned}.metadata") == f"{own}.metadata"
        assert await location(served, f"/packages/py3/d/demo/{WHEEL.filename}") == own
        assert await location(served, f"/packages/py3/D/Demo/{WHEEL.filename}") == own
        for wrong in (
            pinned.replace(digits[4:], "0" * 60),  # other bytes
            pinned.replace("1.0", "2.0"),
            f"/packages/py3/o/other/{WHEEL.filename}",
            f"/packages/py3/d/-/{WHEEL.filename}",
            "/packages/source/d/demo/demo-1.0.tar.gz",
        ):
            assert await status(served, wrong) == 404, wrong


async def test_a_private_file_hides_the_public_one_of_its_name(mirrored: MirroredStart) -> None:
    """What the page does not list has no URL here either, and the mirror is not asked."""
    async with mirrored() as world:
        ours = build_wheel("demo", "1.0", files={"demo/secret.py": b""})
        assert ours.filename == MIRRORED_WHEEL.filename
        await world.served.put(ours)
        public = MIRRORED_WHEEL.sha256
        path = f"/packages/{public[:2]}/{public[2:4]}/{public[4:]}/{ours.filename}"
        assert await status(world.served, path) == 404
        assert "/root/dev/" in await location(world.served, f"/packages/py3/d/demo/{ours.filename}")
        assert world.upstream.count("page") == 0


async def test_a_mirrored_file_keeps_its_upstream_path(mirrored: MirroredStart) -> None:
    async with mirrored() as world:
        directory = f"packages/12/34/{'5' * 60}"
        world.upstream.files_at = f"{world.upstream.root}{directory}/"
        (file,) = (await document(world.served, "/pypi/demo/json"))["urls"]
        assert file["url"] == f"{world.served.url}/{directory}/{MIRRORED_WHEEL.filename}"
        assert "/root/pypi/+f/" in await location(world.served, f"/{directory}/{MIRRORED_WHEEL.filename}")


async def test_a_lock_file_names_a_file_of_a_project_that_was_never_asked_for(mirrored: MirroredStart) -> None:
    async with mirrored() as world:
        digits = MIRRORED_WHEEL.sha256
        path = f"/packages/{digits[:2]}/{digits[2:4]}/{digits[4:]}/{MIRRORED_WHEEL.filename}"
        async with world.served.client.get(await location(world.served, path)) as answer:
            assert await answer.read() == MIRRORED_WHEEL.data


async def test_an_upstream_that_is_down_is_not_an_absent_file(mirrored: MirroredStart) -> None:
    async with mirrored() as world:
        await world.upstream.stop()
        assert await status(world.served, f"/packages/source/d/demo/{MIRRORED_WHEEL.filename}") == 503
        assert await status(world.served, f"/packages/ab/cd/{'0' * 60}/{MIRRORED_WHEEL.filename}") == 503
        await world.upstream.start()


async def test_at_5_provenance_where_the_upstream_has_it(mirrored: MirroredStart) -> None:
    async with mirrored() as world:
        there = "https://provenance.example.test/integrity/signed/1.0/x/provenance"
        signed = build_wheel("signed", "1.0")
        world.upstream.add("signed", signed, provenance=there)
        path = f"/integrity/signed/1.0/{signed.filename}/provenance"
        for spelled in (path, f"{path}/"):  # the upstream does not answer: unknown is not absent
            async with world.served.get(spelled) as answer:
                assert answer.status == 503
        for wrong in (
            f"/integrity/demo/1.0/{MIRRORED_WHEEL.filename}/provenance",  # there is none
            f"/integrity/signed/2.0/{signed.filename}/provenance",
            f"/integrity/demo/1.0/{signed.filename}/provenance",
        ):
            async with world.served.get(wrong, headers={"Accept": "application/vnd.pypi.integrity.v1+json"}) as answer:
                assert answer.status == 404, wrong
                assert answer.headers["Content-Type"] == "application/problem+json"


async def test_a_private_default_index_has_no_public_urls(mirrored: MirroredStart) -> None:
    async with mirrored() as world:
        await _make_private(world)
        for path in ("/pypi/demo/json", f"/packages/py3/d/demo/{MIRRORED_WHEEL.filename}"):
            assert await status(world.served, path) == 401
            assert await status(world.served, path, **basic("root", PASSWORD)) in {200, 302}


async def _make_private(world: Mirrored) -> None:
    await world.served.user("root")
    await world.served.index("root/dev", bases=("root/pypi",), acl_read=("root",))


@pytest.mark.parametrize("path", ["/pypi", "/pypi/", "/RPC2"])
async def test_py_8_xml_rpc_is_a_fault_that_says_what_to_use(serve: Serve, path: str) -> None:
    """For all methods but `search` (test_search.py)."""
    async with serve() as served:
        body = xmlrpc.client.dumps(("demo",), "package_releases")
        async with served.request("POST", path, data=body, headers={"Content-Type": "text/xml"}) as answer:
            assert answer.status == 200
            with pytest.raises(xmlrpc.client.Fault, match="/simple/"):
                xmlrpc.client.loads(await answer.read())
