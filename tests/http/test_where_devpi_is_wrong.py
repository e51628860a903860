"""Where devpi gives a wrong answer, each seen on its wire: the right one is kept here.

What it comes to is in pkgindex_http/DEVPI.md, "Where this differs from devpi, and why".
"""

from __future__ import annotations

import json

import pytest

from pkgindex_core.names import IndexName
from pkgindex_core.testing.wheels import BuiltFile, build_sdist, build_wheel
from pkgindex_mirror.readthrough.pages import refreshing
from pkgindex_mirror.testing import ScriptedUpstream, behaviours
from pkgindex_mirror.testing.upstream import Behaviour
from tests.http.conftest import HOSTED, MIRRORED_WHEEL, Mirrored, MirroredStart, Serve, basic
from tests.http.forms import CONTENT_TYPE, digests, encode_form, upload_fields, upload_parts

OTHER = build_wheel("other", "1.0")
INDEXES = ("root/pypi", "root/dev")
INSTALLERS = ("application/vnd.pypi.simple.v1+json", "text/html")


# A project list that has not changed


@pytest.mark.parametrize("index", INDEXES)
async def test_a_list_that_is_answered_304_stays_whole_and_hides_nothing(mirrored: MirroredStart, index: str) -> None:
    """devpi: an upstream's 304 for its list leaves only cached names, and an empty page (200) for everything else."""
    async with mirrored() as world:
        world.upstream.add("other", OTHER)
        await world.change(mirror_cache_expiry=0)
        await world.page()
        assert (await world.names(f"/{index}/+simple/"))[1] == ["demo", "other"]
        for _ in range(2):
            assert (await world.names(f"/{index}/+simple/"))[1] == ["demo", "other"]
            assert "If-None-Match" in world.upstream.asked[-1].headers
        assert (await world.page(f"/{index}/+simple/other/"))[1] == [OTHER.filename]
        assert (await world.names(f"/{index}/+simple/"))[1] == ["demo", "other"]


@pytest.mark.parametrize("index", INDEXES)
async def test_a_project_that_is_newer_than_the_list_is_found(mirrored: MirroredStart, index: str) -> None:
    """devpi: a project that is not in the stored list does not exist, until the list is fetched again (its issue 1048)."""
    async with mirrored() as world:
        assert (await world.names())[1] == ["demo"]
        world.upstream.add("other", OTHER)
        assert (await world.page(f"/{index}/+simple/other/"))[1] == [OTHER.filename]
        assert world.upstream.count("names") == 1


async def test_a_project_that_was_deleted_upstream_is_still_there_and_stale(mirrored: MirroredStart) -> None:
    """As in devpi, in the page; and in the list too, so that both say the same."""
    async with mirrored() as world:
        world.upstream.add("other", OTHER)
        await world.page()
        assert (await world.names())[1] == ["demo", "other"]
        world.upstream.projects.clear()
        world.upstream.add("third")
        await world.change(mirror_cache_expiry=0)
        for _ in range(2):
            assert (await world.names())[1] == ["demo", "third"]
        answer, files = await world.page()
        assert files == [MIRRORED_WHEEL.filename]
        assert answer.headers["X-PkgIndex-Stale"] == "root/pypi: gone upstream"
        assert (await world.get("/root/pypi/+simple/other/"))[0].status == 404


# An upstream in trouble

TROUBLE = {
    "500": (503, behaviours.status(500)),
    "403": (502, behaviours.status(403)),
    "no answer": (503, behaviours.silent()),
    "half an answer": (503, behaviours.truncated()),
    "an error page": (502, behaviours.says("text/html", b"<html><body><h1>Maintenance</h1></body></html>")),
}
"""What may pass is 503, and 502 is what somebody has to mend."""


@pytest.mark.parametrize("index", INDEXES)
@pytest.mark.parametrize("accept", INSTALLERS)
@pytest.mark.parametrize("trouble", TROUBLE.values(), ids=TROUBLE)
async def test_an_outage_is_no_missing_project(
    mirrored: MirroredStart, index: str, accept: str, trouble: tuple[int, Behaviour]
) -> None:
    """devpi: 404 for a project that was not cached, so that installers take it from elsewhere, or conclude that there is none."""
    async with mirrored(attempts=1) as world:
        status, behaviour = trouble
        world.upstream.script("page", behaviour)
        world.upstream.script("names", behaviour)
        for path in (f"/{index}/+simple/demo/", f"/{index}/+simple/"):
            answer, _ = await world.get(path, Accept=accept)
            assert answer.status == status
            assert answer.headers.get("Retry-After") == ("2" if status == 503 else None)


@pytest.mark.parametrize("index", INDEXES)
async def test_an_upstream_that_takes_no_connections_is_no_missing_project(mirrored: MirroredStart, index: str) -> None:
    async with mirrored(attempts=1) as world:
        await world.upstream.stop()
        answer, _ = await world.get(f"/{index}/+simple/demo/")
        assert answer.status == 503
        assert answer.headers["Retry-After"] == "2"
        await world.upstream.start()


async def diamond(world: Mirrored, second: ScriptedUpstream) -> IndexName:
    """An index over `root/dev`, its mirror, and a second mirror, with everything whitelisted."""
    await world.served.index("root/second", type="mirror", mirror_url=second.url)
    bases = (HOSTED, IndexName("root/pypi"), IndexName("root/second"))
    return await world.served.index("root/both", bases=bases, mirror_whitelist=("*",))


async def test_a_base_that_cannot_be_asked_is_not_left_out(mirrored: MirroredStart) -> None:
    """devpi: errors of inherited mirrors are logged, and the page is shorter, with status 200."""
    async with mirrored(attempts=1) as world, ScriptedUpstream() as second:
        both = await diamond(world, second)
        second.add("demo", build_wheel("demo", "9.0"))
        await world.served.put(build_wheel("demo", "0.1"))
        second.script("page", behaviours.status(500))
        second.script("names", behaviours.status(500))
        answer, body = await world.get(f"/{both}/+simple/demo/")
        assert answer.status == 503
        assert b"root/second" in body
        # A list holds what is known, and says what it lacks.
        answer, body = await world.get(f"/{both}/+simple/")
        assert (answer.status, b"demo" in body) == (200, True)
        assert answer.headers["X-PkgIndex-Unknown"].startswith("root/second: ")
        # Once it was asked, what it said is shown, and that it is old.
        second.behave()
        await world.post(f"/{both}/+simple/demo/refresh")
        assert len((await world.page(f"/{both}/+simple/demo/"))[1]) == 3
        second.script("page", behaviours.status(500))
        await world.post(f"/{both}/+simple/demo/refresh")
        answer, files = await world.page(f"/{both}/+simple/demo/")
        assert len(files) == 3
        assert answer.headers["X-PkgIndex-Stale"].startswith("root/second: ")


async def test_a_serial_that_goes_back_does_not_freeze_a_page_for_ever(
    mirrored: MirroredStart, monkeypatch: pytest.MonkeyPatch
) -> None:
    """devpi: an error, and then stale until somebody sets mirror_ignore_serial_header (its issue 972). Here for an hour."""
    monkeypatch.setattr(refreshing, "_REBUILT", 0.0)
    async with mirrored() as world:
        await world.change(mirror_cache_expiry=0)
        world.upstream.page_headers["X-PyPI-Last-Serial"] = "10"
        await world.page()
        world.upstream.page_headers["X-PyPI-Last-Serial"] = "9"
        world.upstream.add("demo", build_wheel("demo", "2.0"))
        for _ in range(2):
            assert (await world.post("/root/pypi/+simple/demo/refresh")).status == 302
            answer, files = await world.page()
            assert (len(files), "X-PkgIndex-Stale" in answer.headers) == (1, True)
        await world.post("/root/pypi/+simple/demo/refresh")
        assert len((await world.page())[1]) == 2


# Uploads


@pytest.mark.parametrize("field", ["sha256_digest", "md5_digest", "blake2_256_digest"])
async def test_an_upload_with_a_false_digest_is_refused(serve: Serve, wheel: BuiltFile, field: str) -> None:
    """devpi: digests that the client declares are not looked at; an upload that was damaged on its way is kept."""
    true = digests(wheel.data)
    async with serve() as served:

        async def send(**changed: str) -> int:
            form = encode_form(upload_parts(wheel, fields=upload_fields(wheel, **true | changed)))
            headers = {"Content-Type": CONTENT_TYPE.decode(), **basic("root")}
            async with served.request("POST", "/root/dev/", data=form, headers=headers) as answer:
                return int(answer.status)

        assert await send(**{field: true[field].translate(str.maketrans("0123456789", "1234567890"))}) == 400
        assert not await served.engine.store.projects(HOSTED)
        assert await send() == 200


# Metadata and names of releases


async def test_each_file_of_a_version_shows_its_own_requires_python(serve: Serve) -> None:
    """devpi: the last form's `requires_python` stands at every file of the version."""
    wheel = build_wheel("demo", "1.0", requires_python=">=3.9")
    sdist = build_sdist("demo", "1.0", requires_python=">=3.8")
    async with serve() as served:
        for built in (wheel, sdist):
            fields = {**upload_fields(built), "requires_python": ">=2.7"}
            body = encode_form(upload_parts(built, fields=fields))
            headers = {"Content-Type": CONTENT_TYPE.decode(), **basic("root")}
            async with served.request("POST", "/root/dev/", data=body, headers=headers) as answer:
                assert answer.status == 200
        async with served.get("/root/dev/+simple/demo/", headers={"Accept": INSTALLERS[0]}) as answer:
            files = json.loads(await answer.read())["files"]
        said = {file["filename"]: file["requires-python"] for file in files}
        assert said == {wheel.filename: ">=3.9", sdist.filename: ">=3.8"}


@pytest.mark.parametrize("what", ["version", "file"])
async def test_a_name_is_not_given_up_with_its_last_version(mirrored: MirroredStart, what: str) -> None:
    """devpi: the project is forgotten, and installers are given the public package of that name."""
    private = build_wheel("demo", "0.1")
    async with mirrored() as world:
        root = await world.served.user("root")
        file = await world.served.put(private)
        path = f"+f/{private.sha256[:3]}/{private.sha256[3:16]}/{file.filename}" if what == "file" else "demo/0.1"
        async with world.served.request("DELETE", f"/root/dev/{path}?force=", headers=root) as answer:
            assert answer.status == 200
        assert (await world.page("/root/dev/+simple/demo/"))[1] == []
        async with world.served.request("DELETE", "/root/dev/demo?force=", headers=root) as answer:
            assert answer.status == 200
        assert (await world.page("/root/dev/+simple/demo/"))[1] == [MIRRORED_WHEEL.filename]


# devpi's documents over a mirror


async def test_versions_of_a_mirror_that_cannot_be_asked_are_unknown_and_stored_ones_are_told(
    mirrored: MirroredStart,
) -> None:
    """devpi: 404 for a project that is not cached, as if the upstream had said so."""
    async with mirrored() as world:
        for path in ("/root/dev/demo", "/root/pypi/demo", "/root/dev/demo/1.0"):
            answer, body = await world.get(path, Accept="application/json")
            assert answer.status == 200, path
            assert MIRRORED_WHEEL.filename in body.decode()
        world.upstream.script("page", behaviours.status(500))
        await world.change(mirror_cache_expiry=0)
        for path, status in (("/root/dev/demo", 200), ("/root/dev/other", 503), ("/root/dev/other/1.0", 503)):
            answer, _ = await world.get(path, Accept="application/json")
            assert answer.status == status, path


async def test_what_is_deleted_from_a_mirror_is_asked_for_again(mirrored: MirroredStart) -> None:
    async with mirrored() as world:
        root = await world.served.user("root")
        for path in ("/root/pypi/demo", "/root/pypi/demo/1.0"):
            await world.page()
            asked = world.upstream.count("page")
            async with world.served.request("DELETE", path, headers=root) as answer:
                assert answer.status == 403  # `root/pypi` is not volatile
            async with world.served.request("DELETE", f"{path}?force=", headers=root) as answer:
                assert answer.status == 200
            assert (await world.page())[1] == [MIRRORED_WHEEL.filename]
            assert world.upstream.count("page") == asked + 1
            assert "If-None-Match" not in world.upstream.asked[-1].headers
