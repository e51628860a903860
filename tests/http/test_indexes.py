"""Indexes over devpi's protocol: documents, changes, and what never leaves the server."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from pkgindex_core.changes import MirrorNames
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.rules.kept_options import mirror_options
from pkgindex_core.testing.wheels import BuiltFile
from tests.http.conftest import HOSTED, Serve, basic
from tests.http.test_accounts import JSON, ROOT, ask

SECRET = "s3cret-canary"
URL = f"https://robot:{SECRET}@pkgs.example.test/simple"
FRESH = {
    "type": "stage",
    "volatile": True,
    "bases": [],
    "acl_upload": ["anna"],
    "acl_toxresult_upload": [":AUTHENTICATED:"],
    "mirror_whitelist": [],
    "mirror_whitelist_inheritance": "intersection",
}


async def test_an_index_is_made_shown_changed_and_deleted(serve: Serve) -> None:
    async with serve() as served:
        anna = await served.user("anna")
        made = await ask(served, "PUT", "/anna/dev", {"bases": "root/dev", "volatile": "True"}, who=anna)
        assert made == (200, {"result": {**FRESH, "bases": ["root/dev"]}, "type": "indexconfig"})
        assert (await ask(served, "PUT", "/anna/dev/", {}, who=anna)) == (409, {"message": "index 'anna/dev' exists"})
        shown = (await ask(served, "GET", "/anna/dev"))[1]["result"]
        assert shown == {**made[1]["result"], "projects": []}
        wrapped = {"type": "indexconfig", "result": {**shown, "title": "T"}}
        assert (await ask(served, "PATCH", "/anna/dev", wrapped, who=anna))[1]["result"]["title"] == "T"
        patched = await ask(served, "PATCH", "/anna/dev", ["mirror_whitelist=foo,Bar_baz", "title-="], who=anna)
        assert patched[1]["result"] == {**FRESH, "bases": ["root/dev"], "mirror_whitelist": ["foo", "bar-baz"]}
        gone = await ask(served, "DELETE", "/anna/dev", who=anna)
        assert gone == (201, {"message": "index anna/dev deleted"})
        missing = await ask(served, "GET", "/anna/dev")
        assert missing == (404, {"message": "The stage anna/dev could not be found."})


async def test_a_change_that_changes_nothing_is_an_error_only_when_asked(serve: Serve) -> None:
    async with serve() as served:
        anna = await served.user("anna")
        await ask(served, "PUT", "/anna/dev", {}, who=anna)
        head = await served.engine.store.head()
        assert (await ask(served, "PATCH", "/anna/dev", ["volatile=yes"], who=anna))[0] == 200
        status, answer = await ask(served, "PATCH", "/anna/dev?error_on_noop=", ["volatile=yes"], who=anna)
        assert (status, answer["message"]) == (400, "The requested modifications resulted in no changes")
        assert await served.engine.store.head() == head


async def test_what_is_not_volatile_stays(serve: Serve) -> None:
    async with serve() as served:
        status, answer = await ask(served, "DELETE", "/root/dev", who=ROOT)
        assert (status, answer["message"]) == (403, "index root/dev non-volatile, cannot delete")


@pytest.mark.parametrize(
    ("method", "body", "status"),
    [
        ("PUT", [], 400),
        ("PUT", "text", 400),
        ("PATCH", 1, 400),
        ("PATCH", [1], 400),
        ("PATCH", ["foo=bar"], 400),
        ("PATCH", {"type": "mirror"}, 400),
    ],
)
async def test_documents_that_do_not_fit_are_refused(serve: Serve, method: str, body: Any, status: int) -> None:
    async with serve() as served:
        await ask(served, "GET", "/root", who=ROOT)  # the first log-in renews a hash
        head = await served.engine.store.head()
        path = "/root/new" if method == "PUT" else "/root/dev"
        assert (await ask(served, method, path, body, who=ROOT))[0] == status
        assert await served.engine.store.head() == head


async def test_credentials_of_an_upstream_are_nowhere_and_are_not_lost(serve: Serve) -> None:
    """devpi shows them to everybody. Here a document that was read and written back still has them, unseen."""
    async with serve() as served:
        anna = await served.user("anna")
        told = [await ask(served, "PUT", "/anna/up", {"type": "mirror", "mirror_url": URL}, who=anna)]
        whole = (await ask(served, "GET", "/anna/up?no_projects=", who=anna))[1]["result"]
        told.append(await ask(served, "PATCH", "/anna/up", {**whole, "title": "T"}, who=anna))
        told.append(await ask(served, "PATCH", "/anna/up", {"mirror_url": f"{URL}?x"}, who=anna))
        told.append(await ask(served, "PATCH", "/anna/up", [f"mirror_uri={URL}"], who=anna))
        told += [
            await ask(served, "GET", path, who=ROOT) for path in ("/", "/anna", "/anna/up?no_projects=", "/+status")
        ]
        told.append(await ask(served, "GET", "/anna/up/+api"))
        assert SECRET not in str(told)
        config = (await served.engine.store.tree()).indexes[IndexName("anna/up")]
        assert (config.title, mirror_options(config).credentials) == ("T", f"robot:{SECRET}")
        moved = {"mirror_url": "https://elsewhere.example.test/simple/"}
        assert (await ask(served, "PATCH", "/anna/up", moved, who=anna))[0] == 200
        config = (await served.engine.store.tree()).indexes[IndexName("anna/up")]
        assert mirror_options(config).credentials == ""


async def test_root_pypi_shows_exactly_what_devpi_shows(serve: Serve) -> None:
    async with serve(mirrors=True) as served:
        _, answer = await ask(served, "GET", "/root/pypi?no_projects=")
        assert answer["result"] == {
            "type": "mirror",
            "volatile": False,
            "title": "PyPI",
            "mirror_url": "https://pypi.org/simple/",
            "mirror_web_url_fmt": "https://pypi.org/project/{name}/",
        }
    async with serve(mirrors=True, upstream="https://pkgs.example.test/simple/", default_index="a/b") as served:
        _, answer = await ask(served, "GET", "/root/pypi?no_projects=")
        assert set(answer["result"]) == {"type", "volatile", "mirror_url"}


async def test_projects_are_ones_own_and_sorted(serve: Serve, wheel: BuiltFile) -> None:
    async with serve() as served:
        await served.put(wheel)
        await served.index("root/derived", bases=(HOSTED,))
        assert (await ask(served, "GET", "/root/dev"))[1]["result"]["projects"] == ["demo"]
        assert (await ask(served, "GET", "/root/derived"))[1]["result"]["projects"] == []


@pytest.mark.parametrize("count", [3, 50_000])
async def test_a_mirrors_projects_are_all_that_its_upstream_has(serve: Serve, count: int) -> None:
    """Few are answered whole, many as they come out of the store; the document is the same."""
    async with serve() as served:
        up = await served.index("root/up", type="mirror", mirror_url="https://pkgs.example.test/")
        names = [ProjectName(f"project-{number:06}") for number in range(count)]
        await served.engine.store.apply([MirrorNames(up, put=tuple((name, name) for name in names))], who="[test]")
        async with served.get("/root/up", headers={"Accept": "application/json"}) as answer:
            told = await answer.json()
            assert answer.headers["X-Devpi-Api-Version"] == "2"
            assert answer.headers["X-PkgIndex-Stale"]
            assert ("Content-Length" in answer.headers) is (count == 3)
        assert told["type"] == "indexconfig"
        assert told["result"]["projects"] == names
        assert told["result"]["mirror_url"] == "https://pkgs.example.test/"


async def test_a_mirrors_projects_that_are_not_known_are_not_none(serve: Serve) -> None:
    async with serve() as served:
        await served.index("root/up", type="mirror", mirror_url="https://pkgs.example.test/")
        status, document = await ask(served, "GET", "/root/up")
        assert (status, document["result"]["type"], "projects" in document["result"]) == (200, "mirror", False)
        assert document["message"].startswith("not known: root/up: the project list of root/up")
        async with served.get("/root/up", headers={"User-Agent": "devpi-client/7.3.0"}) as answer:
            assert answer.status == 503
        assert (await ask(served, "GET", "/root/up?no_projects="))[0] == 200


async def test_an_installer_finds_the_simple_api_at_the_index(serve: Serve, wheel: BuiltFile) -> None:
    async with serve() as served:
        await served.put(wheel)
        for headers in ({"User-Agent": "pip/24.0 {}"}, {"Accept": "application/vnd.pypi.simple.v1+json"}):
            async with served.get("/root/dev/", headers=headers) as answer:
                assert answer.status == 200
                assert b"demo" in await answer.read()
            async with served.get("/root/dev", headers=headers) as answer:
                assert (answer.status, answer.headers["Location"]) == (301, "dev/")
                assert answer.headers["Cache-Control"] == "no-store"


async def test_what_installers_get_where_others_get_documents_is_for_them_alone(serve: Serve, wheel: BuiltFile) -> None:
    """A shared cache that takes no notice of `Vary: User-Agent` would give an installer's page to devpi's client."""
    pip = {"User-Agent": "pip/24.0 {}"}
    async with serve() as served:
        await served.put(wheel)
        for path in ("/root/dev/", "/root/dev/demo/"):
            async with served.get(path, headers=pip) as answer:
                tag = answer.headers["ETag"]
                page = answer
            async with served.get(path, headers={**pip, "If-None-Match": tag}) as unchanged:
                assert unchanged.status == 304
            for given in (page, unchanged):
                assert given.headers["Cache-Control"] == "private, max-age=0, must-revalidate"
                assert given.headers["Vary"] == "Accept, Accept-Encoding, User-Agent"
            async with served.get(path, headers={**pip, "Accept": "image/png"}) as refused:
                assert refused.headers["Vary"] == "Accept, User-Agent"
            async with served.get("/root/dev/+simple/", headers=pip) as everywhere:
                assert everywhere.headers["Cache-Control"].startswith("public")


async def test_who_logs_in_elsewhere_gets_a_user_with_the_first_index_where_registration_is_open(serve: Serve) -> None:
    async with serve(open_registration=True) as served:
        engine = served.engine
        nobody = await served.engine.identity.identify(None)
        stranger = replace(nobody, name="lara")
        made = await engine.indexes.create("lara/dev", {}, principal=stranger)
        assert made.acl_upload == ("lara",)
        user = await served.engine.store.user("lara")
        assert user is not None
        assert user.password_hash == ""
        async with served.get("/simple/", headers=basic("lara", "")) as answer:
            assert answer.status == 401


async def test_a_name_that_is_taken_out_of_sight_is_refused_like_one_that_is_free(serve: Serve) -> None:
    async with serve() as served:
        await served.user("anna")
        ben = await served.user("ben")
        await served.index("anna/private", acl_read=("anna",))
        taken = await ask(served, "PUT", "/anna/private", {}, who=ben)
        free = await ask(served, "PUT", "/anna/free", {}, who=ben)
        assert taken[0] == free[0] == 403
        assert str(taken[1]).replace("private", "free") == str(free[1])


async def test_a_base_that_one_may_not_read_is_one_that_does_not_exist(serve: Serve) -> None:
    async with serve() as served:
        await served.user("anna")
        ben = await served.user("ben")
        await served.index("anna/private", acl_read=("anna",))
        await served.index("ben/there")
        for base in ("anna/private", "anna/nosuch"):
            refused = (400, {"message": f"base index '{base}' does not exist"})
            assert await ask(served, "PUT", "/ben/dev", {"bases": base}, who=ben) == refused
            for change in ({"bases": [base]}, [f"bases+={base}"]):
                assert await ask(served, "PATCH", "/ben/there", change, who=ben) == refused


async def test_bases_out_of_sight_are_shown_to_those_who_may_change_them(serve: Serve) -> None:
    async with serve() as served:
        anna, ben = await served.user("anna"), await served.user("ben")
        await served.index("anna/private", acl_read=("anna",))
        await served.index("anna/open", bases=(IndexName("anna/private"), HOSTED))
        for who, bases in ((None, [HOSTED]), (ben, [HOSTED]), (anna, ["anna/private", HOSTED])):
            assert (await ask(served, "GET", "/anna/open", who=who))[1]["result"]["bases"] == bases
            assert (await ask(served, "GET", "/anna", who=who))[1]["result"]["indexes"]["open"]["bases"] == bases
            everybody = (await ask(served, "GET", "/", who=who))[1]["result"]
            assert everybody["anna"]["indexes"]["open"]["bases"] == bases


async def test_an_index_of_an_unknown_type_can_be_read_and_deleted_only(serve: Serve) -> None:
    async with serve() as served:
        anna = await served.user("anna")
        await served.index("anna/odd", type="timemachine", acl_upload=("anna",), options={"hook": SECRET})
        status, answer = await ask(served, "GET", "/anna/odd", who=anna)
        assert (status, answer["result"]["type"]) == (200, "timemachine")
        assert SECRET not in str(answer)
        assert (await ask(served, "PATCH", "/anna/odd", {"title": "x"}, who=anna))[0] == 403
        async with served.request("POST", "/anna/odd/", headers=anna, data=b"") as refused:
            assert refused.status == 403
        assert (await ask(served, "DELETE", "/anna/odd", who=anna))[0] == 201


async def test_what_is_nested_deeply_is_refused_and_nothing_is_told_at_many_times_its_length(serve: Serve) -> None:
    """Indentation is paid by everybody who reads: two characters a line and level."""
    async with serve() as served:
        anna = await served.user("anna")
        await served.index("anna/dev")
        long = ",".join("1" for _ in range(32_000))
        for path in ("/anna/dev", "/anna"):
            for deep in (63, 64, 100, 900, 975, 100_000):
                body = f'{{"custom_data": {"[" * deep}{long}{"]" * deep}}}'.encode()
                status, answer = await ask(served, "PATCH", path, raw=body, who=anna)
                assert status == (200 if deep < 64 else 400), deep
                assert status == 200 or answer["message"] == "the document is nested too deeply"
            async with served.get(path, headers={**JSON, **anna}) as answer:
                assert answer.status == 200
                assert len(await answer.read()) < 3 * len(long)
