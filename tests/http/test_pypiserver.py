"""pypiserver's URLs, actions and rights over a directory."""

from __future__ import annotations

import asyncio
import json
import xmlrpc.client
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from pkgindex_core.digests import sha256_of
from pkgindex_core.errors import Refused
from pkgindex_core.names import IndexName
from pkgindex_core.protocols import Principal
from pkgindex_core.rules.kept_options import mirror_options
from pkgindex_core.testing import wheels
from pkgindex_core.testing.wheels import BuiltFile, build_sdist, build_wheel, core_metadata
from pkgindex_http.handlers.xmlrpc import read_call
from pkgindex_mirror.testing.upstream import ScriptedUpstream
from tests.http.shelf import ALICE, ROOT, WRONG, OpenShelf, Shelf, open_shelf

__all__ = ["open_shelf"]

DEMO = build_wheel("demo", "1.0")
NEWER = build_wheel("demo", "2.0")
ANOTHER = build_wheel("demo", "1.0", description="another")
"""With the name of `DEMO`, and other bytes."""
FILE = f"/packages/{DEMO.filename}"
LIST, PAGE = "/simple/", "/simple/demo/"
LISTS = (LIST, PAGE, "/packages/", "/demo/json")


def _file(name: str, data: bytes) -> BuiltFile:
    return BuiltFile(filename=name, data=data, metadata=b"", sha256=sha256_of(data))


OPEN = {"authenticate": ".", "passwords": ".", "users": False}


class TestRights:
    """`-a` and `-P`: 401 and a challenge without credentials and with wrong ones."""

    @pytest.mark.parametrize("authenticate", ["update", "update,download", "Update, LIST", "update,download,list"])
    async def test_what_is_named_needs_a_log_in_and_nothing_else_does(
        self, open_shelf: OpenShelf, authenticate: str
    ) -> None:
        async with open_shelf(authenticate=authenticate) as shelf:
            shelf.drop(DEMO)
            closed = authenticate.lower()
            pinned = await _link(shelf)
            for paths, deed in ((LISTS, "list"), ((FILE, f"{FILE}.metadata", pinned), "download")):
                for path in paths:
                    expected = 401 if deed in closed else 200
                    assert await shelf.status(path) == expected, path
                    assert await shelf.status(path, ALICE) == 200, path
                    assert await shelf.status(path, WRONG) == 401, path
            assert (await shelf.upload(NEWER))[0] == 401
            assert (await shelf.upload(NEWER, WRONG))[0] == 401
            assert (await shelf.upload(NEWER, ALICE))[0] == 200
            for path in ("/", "/health"):
                assert await shelf.status(path) == 200

    async def test_who_is_asked_for_credentials_is_challenged(self, open_shelf: OpenShelf) -> None:
        async with open_shelf(authenticate="list") as shelf, shelf.get(LIST) as answer:
            assert answer.headers["WWW-Authenticate"].startswith("Basic ")

    async def test_without_a_password_file_root_alone_uploads(self, open_shelf: OpenShelf) -> None:
        async with open_shelf(users=False) as shelf:
            assert (await shelf.upload(DEMO))[0] == 401
            assert (await shelf.upload(DEMO, ALICE))[0] == 401
            assert (await shelf.upload(DEMO, ROOT))[0] == 200
            assert await shelf.status(PAGE) == 200

    async def test_open_to_everybody_is_open_for_uploads_and_deletions(self, open_shelf: OpenShelf) -> None:
        async with open_shelf(**OPEN) as shelf:
            assert (await shelf.upload(DEMO))[0] == 200
            assert await shelf.status(FILE) == 200
            removal = {":action": "remove_pkg", "name": "demo", "version": "1.0"}
            assert (await shelf.post(removal))[0] == 200
            assert shelf.names == []

    async def test_an_open_index_is_open_to_those_who_log_in_too(self, open_shelf: OpenShelf) -> None:
        async with open_shelf(**OPEN) as shelf:
            bob = await shelf.user("bob")
            assert (await shelf.upload(DEMO, bob))[0] == 200
            assert await shelf.post({":action": "remove_pkg", "name": "demo", "version": "1.0"}, bob) == (200, "")
            assert shelf.names == []

    async def test_an_open_index_takes_uploads_with_credentials_of_no_user(self, open_shelf: OpenShelf) -> None:
        """twine always sends some, and pypiserver looks at none."""
        async with open_shelf(**OPEN) as shelf:
            assert (await shelf.upload(DEMO, WRONG))[0] == 200
            removal = {":action": "remove_pkg", "name": "demo", "version": "1.0"}
            assert await shelf.post(removal, WRONG) == (200, "")
            assert await shelf.status(LIST, WRONG) == 401, "reading is as it is everywhere"

    async def test_a_page_of_another_site_uploads_nothing(self, open_shelf: OpenShelf) -> None:
        """An open index is reached by the browsers of the people around it."""
        async with open_shelf(**OPEN) as shelf:
            assert (await shelf.upload(DEMO, {"Origin": "https://example.net"}))[0] == 403

    async def test_a_password_file_that_is_edited_counts_without_a_restart(
        self, open_shelf: OpenShelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("pkgindex_core.engines.htpasswd.password_file.LOOK_SECONDS", 0.0)
        async with open_shelf(authenticate="list") as shelf:
            assert await shelf.status(LIST, ALICE) == 200
            (tmp_path / ".htpasswd").write_text("")
            assert await shelf.status(LIST, ALICE) == 401


class TestUrls:
    async def test_redirects(self, open_shelf: OpenShelf) -> None:
        async with open_shelf() as shelf:
            shelf.drop(DEMO)
            for path, status, location in (
                ("/simple", 301, "simple/"),
                ("/packages", 301, "packages/"),
                ("/simple/demo", 301, "demo/"),
                ("/simple/De.Mo/", 301, "../de-mo/"),
                ("/demo", 303, "simple/demo/"),
                ("/De.Mo/", 303, "../simple/de-mo/"),
                ("/De.Mo/json", 301, "../de-mo/json"),
            ):
                async with shelf.get(path) as answer:
                    assert (answer.status, answer.headers["Location"]) == (status, location), path

    async def test_absent_things_are_404(self, open_shelf: OpenShelf) -> None:
        async with open_shelf() as shelf:
            for path in (
                "/simple/nothing/",
                "/nothing/json",
                "/favicon.ico",
                "/packages/nothing-1.0-py3-none-any.whl",
                "/packages/../.htpasswd",
                "/packages/%2e%2e/.htpasswd",
                "/packages/.htpasswd",
                "/packages/a/b/c/d/e",
                "/-/",
            ):
                assert await shelf.status(path) == 404, path

    async def test_a_file_is_sent_under_its_name_in_directories_or_not(self, open_shelf: OpenShelf) -> None:
        async with open_shelf() as shelf:
            shelf.drop(DEMO)
            shelf.drop(NEWER, below="a/b/c")
            for path, built in (
                (FILE, DEMO),
                (f"/packages/a/b/c/{NEWER.filename}", NEWER),
                (f"/packages/a/{NEWER.filename}", NEWER),
            ):
                async with shelf.get(path) as answer:
                    assert answer.status == 200, path
                    assert await answer.read() == built.data
                    assert answer.headers["Cache-Control"] == "public, max-age=0, must-revalidate"
                    etag = answer.headers["ETag"]
                assert await shelf.status(path, {"If-None-Match": etag}) == 304
                async with shelf.get(path, headers={"Range": "bytes=2-5"}) as answer:
                    assert (answer.status, await answer.read()) == (206, built.data[2:6])
                assert await shelf.status(path, method="HEAD") == 200

    async def test_a_file_that_is_replaced_is_another_under_its_name(self, open_shelf: OpenShelf) -> None:
        async with open_shelf() as shelf:
            shelf.drop(DEMO)
            assert await shelf.status(FILE) == 200
            assert ANOTHER.filename == DEMO.filename
            shelf.drop(ANOTHER)
            assert await shelf.status(PAGE) == 200
            async with shelf.get(FILE) as answer:
                assert await answer.read() == ANOTHER.data

    async def test_every_file_is_listed_at_the_first_question(self, open_shelf: OpenShelf) -> None:
        async with open_shelf() as shelf:
            shelf.drop(DEMO, NEWER, build_sdist("other", "1.0"))
            async with shelf.get("/packages/") as answer:
                text = await answer.text()
            assert [name for name in shelf.names if f">{name}</a>" not in text] == []

    async def test_the_document_of_a_project(self, open_shelf: OpenShelf) -> None:
        """micropython's upip reads these entries."""
        async with open_shelf() as shelf:
            shelf.drop(DEMO, NEWER)
            async with shelf.get("/demo/json") as answer:
                document = json.loads(await answer.read())
            assert document["info"]["version"] == "2.0"
            async with shelf.client.get(document["releases"]["1.0"][0]["url"]) as answer:
                assert await answer.read() == DEMO.data

    async def test_documents_for_devpi_stay_where_they_are(self, open_shelf: OpenShelf) -> None:
        async with open_shelf() as shelf:
            async with shelf.get("/root", headers={"Accept": "application/json"}) as answer:
                assert "packages" in (await answer.json())["result"]["indexes"]
            assert await shelf.status("/root/packages/+simple/") == 200

    async def test_caches_are_told_what_the_option_says(self, open_shelf: OpenShelf) -> None:
        async with open_shelf(cache_control=600) as shelf:
            shelf.drop(DEMO)
            async with shelf.get(FILE) as answer:
                assert answer.headers["Cache-Control"] == "public, max-age=600"

    async def test_health(self, open_shelf: OpenShelf) -> None:
        async with open_shelf(health_endpoint="/ops/alive", authenticate="list,download,update") as shelf:
            async with shelf.get("/ops/alive") as answer:
                assert (answer.status, (await answer.text()).strip()) == (200, "Ok")
            assert await shelf.status("/health") == 303

    async def test_a_front_page_of_ones_own(self, open_shelf: OpenShelf, tmp_path: Path) -> None:
        page = tmp_path / "welcome.html"
        page.write_text("<a href='{{SIMPLE}}'>{{URL}}</a> {{ NUMPKGS }} {{!PACKAGES}} {{other}}")
        async with open_shelf(welcome=str(page), mount="/pypi") as shelf:
            shelf.drop(DEMO, NEWER)
            assert await shelf.status(LIST) == 200
            async with shelf.get("/") as answer:
                base = f"{shelf.url}/pypi"
                assert await answer.text() == f"<a href='{base}/simple/'>{base}/</a> 1 {base}/packages/ {{{{other}}}}"

    async def test_below_a_path(self, open_shelf: OpenShelf) -> None:
        async with open_shelf(mount="/pypi/") as shelf:
            shelf.drop(DEMO)
            assert await shelf.status(f"/pypi{PAGE}") == 200
            assert await shelf.status(f"/pypi{FILE}") == 200
            async with shelf.client.get(f"{shelf.url}/pypi/demo/") as answer:
                assert answer.url.path == "/pypi/simple/demo/"


class TestForms:
    async def test_a_name_that_is_taken_is_409_and_400_for_twine(self, open_shelf: OpenShelf) -> None:
        async with open_shelf() as shelf:
            assert (await shelf.upload(DEMO, ALICE))[0] == 200
            assert (await shelf.upload(DEMO, ALICE))[0] == 200, "the same bytes"
            for agent, status in (("curl/8", 409), ("twine/7.0.0 CPython/3.13", 400)):
                answered, text = await shelf.upload(ANOTHER, {**ALICE, "User-Agent": agent})
                assert answered == status
                assert "already exists" in text
            assert (shelf.directory / DEMO.filename).read_bytes() == DEMO.data

    async def test_overwriting(self, open_shelf: OpenShelf) -> None:
        async with open_shelf(overwrite=True) as shelf:
            shelf.drop(DEMO, below="sub")
            assert (await shelf.upload(ANOTHER, ALICE))[0] == 200
            assert (shelf.directory / "sub" / DEMO.filename).read_bytes() == ANOTHER.data
            assert shelf.names == [DEMO.filename]

    @pytest.mark.parametrize(("name", "version"), [("demo", "1.0"), ("Demo", "1.0.0"), ("DE-MO", "1.0")])
    async def test_a_version_is_removed(self, open_shelf: OpenShelf, name: str, version: str) -> None:
        """With the first question that the server gets, in the form of curl and in that of urllib."""
        async with open_shelf() as shelf:
            shelf.drop(DEMO, NEWER, build_sdist("demo", "1.0"), build_wheel("de_mo", "1.0"))
            fields = {":action": "remove_pkg", "name": name, "version": version}
            async with shelf.request("POST", "/", data=fields) as answer:
                assert answer.status == 401
            assert await shelf.post(fields, ALICE) == (200, "")
            left = {"demo": [build_wheel("de_mo", "1.0").filename, NEWER.filename]}
            left["de-mo"] = sorted([DEMO.filename, build_sdist("demo", "1.0").filename, NEWER.filename])
            assert shelf.names == left[name.lower()]
            async with shelf.request("POST", "/", data=fields, headers=ALICE) as answer:
                assert answer.status == 404
                assert "not found" in await answer.text()

    @pytest.mark.parametrize(
        ("fields", "text"),
        [
            ({"name": "demo"}, "Missing ':action' field!"),
            ({":action": "explode"}, "Unsupported ':action' field: explode"),
            ({":action": "remove_pkg", "name": "demo"}, "Missing 'name'/'version' fields"),
            ({":action": "file_upload"}, "content"),
            (
                {":action": "file_upload", "content": _file("bad.whl", b"x")},
                "bad.whl",
            ),
            (
                {
                    ":action": "doc_upload",
                    "name": "demo",
                    "content": _file("docs.zip", b"x"),
                },
                "",
            ),
        ],
    )
    async def test_forms_that_cannot_be_understood(
        self, open_shelf: OpenShelf, fields: dict[str, Any], text: str
    ) -> None:
        async with open_shelf() as shelf:
            status, said = await shelf.post(fields, ALICE)
            assert status == 400
            assert text in said
            assert shelf.names == []

    @pytest.mark.parametrize("action", ["submit", "verify"])
    async def test_registering_is_needless_and_no_error(self, open_shelf: OpenShelf, action: str) -> None:
        async with open_shelf() as shelf:
            fields = {":action": action, "name": "demo", "version": "1.0"}
            assert await shelf.post(fields, ALICE) == (200, "")
            assert (await shelf.post(fields))[0] == 401
            assert await shelf.status(PAGE) == 404

    async def test_documentation_is_kept(self, open_shelf: OpenShelf) -> None:
        data = BytesIO()
        with zipfile.ZipFile(data, "w") as archive:
            archive.writestr("index.html", "<p>read me</p>")
        documentation = _file("demo-1.0.doc.zip", data.getvalue())
        async with open_shelf() as shelf:
            assert (await shelf.upload(DEMO, ALICE))[0] == 200
            fields = {":action": "doc_upload", "name": "demo", "version": "1.0", "content": documentation}
            assert (await shelf.post(fields, ALICE))[0] == 200
            async with shelf.get("/root/packages/demo/1.0/+doc/index.html") as answer:
                assert "read me" in await answer.text()


class TestSearch:
    async def test_projects_are_found_by_a_part_of_their_names(self, open_shelf: OpenShelf) -> None:
        async with open_shelf() as shelf:
            shelf.drop(DEMO, NEWER, build_wheel("Demolition", "0.1"), build_wheel("other", "1.0"))
            assert await shelf.status(LIST) == 200
            with xmlrpc.client.ServerProxy(f"{shelf.url}/RPC2") as proxy:
                found: Any = await asyncio.to_thread(proxy.search, {"name": "demo", "summary": "demo"}, "or")
                assert [(row["name"], row["version"]) for row in found] == [("demo", "2.0"), ("Demolition", "0.1")]
                assert await asyncio.to_thread(proxy.search, {"name": "nothing"}) == []
                with pytest.raises(xmlrpc.client.Fault, match="package_releases"):
                    await asyncio.to_thread(proxy.package_releases, "demo")

    async def test_the_first_question_finds_what_lies_there(self, open_shelf: OpenShelf) -> None:
        async with open_shelf() as shelf:
            shelf.drop(DEMO)
            assert [row["version"] for row in await _found(shelf, "demo")] == ["1.0"]

    @pytest.mark.parametrize("character", ["\x01", "\x0b", "\x1b", "\ufffe"])
    async def test_a_summary_with_characters_that_xml_has_not_spoils_no_answer(
        self, open_shelf: OpenShelf, character: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def odd(*given: Any, **options: Any) -> bytes:
            return core_metadata(*given, **options).replace(b"for tests", f"for{character}tests".encode())

        monkeypatch.setattr(wheels, "core_metadata", odd)
        async with open_shelf() as shelf:
            shelf.drop(build_wheel("demo", "1.0"))
            assert await shelf.status(LIST) == 200
            assert [row["summary"] for row in await _found(shelf, "demo")] == ["demo for\ufffdtests"]

    async def test_it_needs_the_right_to_see_lists(self, open_shelf: OpenShelf) -> None:
        body = xmlrpc.client.dumps(({"name": "demo"},), "search")
        async with open_shelf(authenticate="list") as shelf:
            for headers, status in ((None, 401), (ALICE, 200)):
                async with shelf.request("POST", "/RPC2", data=body, headers=headers) as answer:
                    assert answer.status == status

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"<methodCall>",
            b"<methodCall><params/></methodCall>",
            b"not xml",
            b'<?xml version="1.0" encoding="nothing"?><a/>',
            b'<!DOCTYPE a [<!ENTITY b "c">]><methodCall><methodName>&b;</methodName></methodCall>',
            b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><methodCall><methodName>search</methodName></methodCall>',
            '<!DOCTYPE a [<!ENTITY b "c">]><methodCall><methodName>&b;</methodName></methodCall>'.encode("utf-16"),
            b"<methodCall><methodName>&b;</methodName></methodCall>",
            b"\xff\xfe\x00",
        ],
    )
    def test_what_is_unsafe_or_no_call_is_refused(self, body: bytes) -> None:
        with pytest.raises(Refused, match="Invalid or unsafe XML payload"):
            read_call(body)

    def test_a_call_is_read_whatever_stands_around_it(self) -> None:
        assert read_call(b"<?xml version='1.0'?>\n<methodCall>\n<methodName> search </methodName></methodCall>") == (
            "search",
            (),
        )
        words = ["a & b", "c"]
        written = xmlrpc.client.dumps(({"name": words, "summary": words}, "or"), "search").encode()
        assert read_call(written) == ("search", ("a & b", "c"))


class TestFallback:
    async def test_nobody_is_sent_anywhere_by_default(self, open_shelf: OpenShelf) -> None:
        for options in ({}, {"disable_fallback": True, "fallback_url": "https://example.org/simple/"}):
            async with open_shelf(**options) as shelf:
                assert await shelf.status("/simple/requests/") == 404

    @pytest.mark.parametrize("url", ["https://example.org/simple", "https://example.org/simple/"])
    async def test_a_url_that_is_given_gets_what_is_not_here(self, open_shelf: OpenShelf, url: str) -> None:
        async with open_shelf(fallback_url=url) as shelf:
            shelf.drop(DEMO)
            assert await shelf.status(PAGE) == 200
            async with shelf.get("/simple/requests/") as answer:
                assert answer.status == 302
                assert answer.headers["Location"] == "https://example.org/simple/requests/"
                assert answer.headers["Cache-Control"] == "no-store"
            for path in ("/simple/Re.Quests/", "/simple/requests"):
                async with shelf.get(path) as answer:
                    assert answer.status == 301
            for path in ("/simple/-evil-/", "/simple/a%0d%0ab/", "/favicon.ico", "/requests/json"):
                assert await shelf.status(path) == 404, path

    async def test_it_tells_strangers_nothing(self, open_shelf: OpenShelf) -> None:
        async with open_shelf(fallback_url="https://example.org/simple", authenticate="list") as shelf:
            assert await shelf.status("/simple/requests/") == 401
            assert await shelf.status("/simple/requests/", ALICE) == 302

    async def test_a_directory_that_cannot_be_looked_at_sends_nobody_away(self, open_shelf: OpenShelf) -> None:
        """A private name would go to the other index."""
        async with open_shelf(fallback_url="https://example.org/simple") as shelf:
            shelf.directory.rename(shelf.directory.with_name("away"))
            assert await shelf.status("/simple/private/") == 503

    async def test_reading_through_keeps_our_names_ours(self, open_shelf: OpenShelf) -> None:
        async with ScriptedUpstream() as upstream:
            upstream.add("demo", build_wheel("demo", "9.0"))
            upstream.add("public", build_wheel("public", "1.0"))
            async with open_shelf(fallback_url=upstream.url, proxy_fallback=True, authenticate="list") as shelf:
                shelf.drop(DEMO)
                async with shelf.get(PAGE, headers=ALICE) as answer:
                    text = await answer.text()
                assert DEMO.filename in text
                assert "9.0" not in text
                async with shelf.get("/simple/public/", headers=ALICE) as answer:
                    assert "public-1.0" in await answer.text()
                assert await shelf.status("/simple/nothing/", ALICE) == 404
                assert await shelf.status("/root/fallback/+simple/public/") == 401, "the cache is not open beside it"

    async def test_another_url_begins_another_cache(self, open_shelf: OpenShelf) -> None:
        async with ScriptedUpstream() as one, ScriptedUpstream() as other:
            one.add("public", build_wheel("public", "1.0"))
            one.add("theirs", build_wheel("theirs", "1.0"))
            other.add("public", build_wheel("public", "2.0"))
            async with open_shelf(fallback_url=one.url, proxy_fallback=True) as shelf:
                for path in ("/simple/public/", "/simple/theirs/"):
                    assert await shelf.status(path) == 200
            async with open_shelf(fallback_url=other.url, proxy_fallback=True) as shelf:
                async with shelf.get("/simple/public/") as answer:
                    text = await answer.text()
                assert "public-2.0" in text
                assert "public-1.0" not in text
                assert await shelf.status("/simple/theirs/") == 404
            heads = []
            for _ in range(2):
                async with open_shelf(fallback_url=other.url, proxy_fallback=True) as shelf:
                    heads.append(await shelf.engine.store.head())
            assert heads[0] == heads[1], "the same URL changes nothing"

    async def test_the_url_says_which_credentials_the_other_index_gets(self, open_shelf: OpenShelf) -> None:
        async with ScriptedUpstream() as upstream:
            secret = upstream.url.replace("://", "://me:secret@")
            for url, credentials in ((secret, "me:secret"), (upstream.url, ""), (secret, "me:secret")):
                async with open_shelf(fallback_url=url, proxy_fallback=True) as shelf:
                    config = await shelf.engine.indexes.config(IndexName("root/fallback"))
                    assert mirror_options(config).credentials == credentials

    async def test_without_the_flag_what_was_cached_is_for_root_alone(self, open_shelf: OpenShelf) -> None:
        cached = "/root/fallback/+simple/public/"
        async with ScriptedUpstream() as upstream:
            upstream.add("public", build_wheel("public", "1.0"))
            async with open_shelf(fallback_url=upstream.url, proxy_fallback=True) as shelf:
                assert await shelf.status("/simple/public/") == await shelf.status(cached) == 200
                asked = upstream.count("/simple/public/")
            for options in ({}, {"fallback_url": upstream.url}, {"proxy_fallback": True, "disable_fallback": True}):
                async with open_shelf(**options) as shelf:
                    assert await shelf.status("/simple/public/") in {302, 404}
                    assert await shelf.status(cached) == 401
                    assert await shelf.status(cached, ALICE) == 404
                    assert await shelf.status("/root/fallback/+simple/") == 401
            async with open_shelf(fallback_url=upstream.url, proxy_fallback=True) as shelf:
                assert await shelf.status("/simple/public/") == 200
            assert upstream.count("/simple/public/") == asked, "the cache was kept"


class TestStart:
    async def test_test_results_are_updates(self, open_shelf: OpenShelf, monkeypatch: pytest.MonkeyPatch) -> None:
        """A server that is as open as devpi would let everybody add them."""
        monkeypatch.setenv("PKGINDEX_OPEN_REGISTRATION", "true")
        results = f"/root/packages/+f/{DEMO.sha256[:3]}/{DEMO.sha256[3:16]}/{DEMO.filename}"
        said = b'{"testenvs": {}}'
        async with open_shelf(users=False, root_password="") as shelf:
            shelf.drop(DEMO)
            assert await shelf.status(PAGE) == 200
            async with shelf.request("POST", results, data=said) as answer:
                assert answer.status == 403
        async with open_shelf(**OPEN, root_password="") as shelf, shelf.request("POST", results, data=said) as answer:
            assert answer.status == 200

    async def test_a_start_with_other_options_changes_the_index(self, open_shelf: OpenShelf) -> None:
        async with open_shelf(authenticate="list") as shelf:
            shelf.drop(DEMO)
            assert await shelf.status(PAGE) == 401
        async with open_shelf(authenticate="download", overwrite=True) as shelf:
            assert await shelf.status(PAGE) == 200
            assert await shelf.status(FILE) == 401
            head = await shelf.engine.store.head()
        async with open_shelf(authenticate="download", overwrite=True) as shelf:
            assert await shelf.engine.store.head() == head, "nothing is written where nothing differs"

    async def test_nothing_is_written_into_the_directory(self, open_shelf: OpenShelf) -> None:
        async with open_shelf() as shelf:
            shelf.drop(DEMO)
            for path in (LIST, PAGE, FILE, "/packages/"):
                assert await shelf.status(path) == 200
            assert [path.name for path in shelf.directory.iterdir()] == [DEMO.filename]

    async def test_an_index_of_another_type_is_not_taken_over(
        self, open_shelf: OpenShelf, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with open_shelf(**OPEN) as shelf:
            await shelf.engine.indexes.create("root/other", {"type": "stage"}, principal=Principal(name="root"))
        monkeypatch.setenv("PKGINDEX_DEFAULT_INDEX", "root/other")
        with pytest.raises(Refused, match="with the type stage"):
            async with open_shelf(**OPEN):
                pass


async def _found(shelf: Shelf, text: str) -> list[dict[str, Any]]:
    """The rows of a search."""
    body = xmlrpc.client.dumps(({"name": text},), "search")
    async with shelf.request("POST", "/RPC2", data=body) as answer:
        ((rows,), _) = xmlrpc.client.loads(await answer.text())
    found: Any = rows
    return list(found)


async def _link(shelf: Shelf) -> str:
    """The URL of a file that the page names."""
    async with shelf.get("/root/packages/+simple/demo/", headers=ALICE) as answer:
        link = (await answer.text()).partition('href="')[2].partition("#")[0]
    return f"/root/packages/{link.partition('+f')[1]}{link.partition('+f')[2]}"
