"""Log-ins of browsers: the cookie and where it counts, forms of other sites, and the end of a log-in."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urljoin

import pytest

from pkgindex_core.names import IndexName
from pkgindex_core.testing.wheels import BuiltFile
from pkgindex_core.tokens import parse_token
from pkgindex_http.routes import ROUTES
from pkgindex_http.routing import Route
from pkgindex_http.wire.cookies import form_token, read_cookie, written_cookie
from tests.http.browsing import ACCEPT, Browser
from tests.http.conftest import PASSWORD, Serve, Served, basic

LOGIN = "pkgindex-login"
POSTS = [route for route in ROUTES if route.method == "POST" and route.people]


async def logged_in(served: Served, name: str = "anna") -> Browser:
    await served.user(name)
    browser = Browser(served)
    await browser.log_in(name)
    assert LOGIN in browser.cookies
    return browser


def is_log_in_page(text: str) -> bool:
    return "<title>Log in" in text


@pytest.mark.parametrize(
    ("url", "start", "end"),
    [
        ("http://localhost:3141", "pkgindex-login=x; Path=/; HttpOnly; SameSite=Lax", ""),
        ("http://localhost/packages", "pkgindex-login=x; Path=/packages/; HttpOnly; SameSite=Lax", ""),
        ("https://example.com", "__Host-pkgindex-login=x; Path=/; HttpOnly; SameSite=Lax; Secure", ""),
        (
            "https://example.com/packages",
            "__Secure-pkgindex-login=x; Path=/packages/; HttpOnly; SameSite=Lax; Secure",
            "",
        ),
    ],
)
def test_the_cookie_has_all_flags_that_its_url_permits(url: str, start: str, end: str) -> None:
    """`__Host-` needs TLS and the path `/`; no script reads the cookie, and no other site sends it with a form."""
    assert written_cookie("login", "x", url, seconds=None) == start + end
    assert read_cookie({"Cookie": f"a=b; {start.partition(';')[0]}"}, "login", url) == "x"
    # Of two values one was set by somebody else, such as by another subdomain.
    assert read_cookie({"Cookie": f"{start.partition(';')[0]}; {start.partition('=')[0]}=y"}, "login", url) == ""
    assert read_cookie({"Cookie": "pkgindex-login=x"}, "login", "https://example.com") == ""


async def test_a_log_in_is_a_token_that_devpi_would_get(serve: Serve) -> None:
    """The cookie holds a log-in of ten hours. A page for a person is not kept by any cache."""
    async with serve() as served:
        browser = await logged_in(served)
        (token,) = await served.engine.store.tokens("anna")
        assert token.kind == "login"
        assert token.id in browser.cookies[LOGIN]
        line = next(each for each in browser.set_cookies if each.startswith(LOGIN))
        assert line.endswith("; Path=/; HttpOnly; SameSite=Lax; Max-Age=36000") or "Max-Age=36000" in line
        page = await browser.get("/anna/+account")
        assert page.headers["Cache-Control"] == "no-store"
        assert "Cookie" in page.headers["Vary"]
        assert browser.cookies[LOGIN] not in page.text


async def test_a_cookie_counts_on_pages_for_people_only(serve: Serve, wheel: BuiltFile) -> None:
    """An installer's page, a document, an upload of a tool: there the cookie is nobody. And an API token is no cookie."""
    async with serve() as served:
        browser = await logged_in(served)
        index = await served.index("anna/private", acl_read=("anna",), acl_upload=("anna",))
        await served.put(wheel, index=index)
        cookie = {"Cookie": f"{LOGIN}={browser.cookies[LOGIN]}"}
        file = f"/anna/private/+f/{wheel.sha256[:3]}/{wheel.sha256[3:16]}/{wheel.filename}"
        for method, path in (
            ("GET", "/anna/private/+simple/demo/"), ("GET", file), ("POST", "/anna/private/"),
            ("DELETE", file), ("PATCH", "/anna"), ("GET", "/anna/+tokens"), ("PUT", "/anna/new"),
        ):  # fmt: skip
            for _ in range(3):  # also when an answer could be repeated
                async with served.request(method, path, headers=cookie) as answer:
                    assert answer.status in {401, 403, 404}, (method, path)
        text, _ = await served.engine.tokens.make("anna", who="[test]")
        browser.cookies = {LOGIN: text}
        assert is_log_in_page((await browser.get("/anna/+account")).text)


async def test_nobody_gets_the_page_of_another(serve: Serve) -> None:
    """The same request with another cookie, or none, is another person's; it is asked often, so that an answer could be kept."""
    async with serve() as served:
        anna, ben = await logged_in(served), await logged_in(served, "ben")
        for _ in range(3):
            assert "Account of anna" in (await anna.get("/anna/+account")).text
            assert (await ben.get("/anna/+account")).status == 403
            assert is_log_in_page((await Browser(served).get("/anna/+account")).text)


async def test_a_log_in_ends_on_all_servers(serve: Serve, tmp_path: Path) -> None:
    """By logging out, by a new password, by its revocation: the second server over the store knows at its next request."""
    store = {"store": f"sqlite:///{tmp_path}/index.sqlite", "blobs": f"file://{tmp_path}/blobs"}
    async with serve(**store) as served, serve(**store, data=tmp_path / "other") as other:
        await served.user("anna")

        async def is_in(browser: Browser) -> bool:
            there = Browser(other)
            there.cookies = dict(browser.cookies)
            return "Account of anna" in (await there.get("/anna/+account")).text

        first, second, third = Browser(served), Browser(served), Browser(served)
        for browser in (first, second, third):
            await browser.log_in("anna")
            assert await is_in(browser)
        kept = dict(third.cookies)
        page = await third.get("/anna/+account")
        form = page.form("days")
        form.action = "/+logout"
        await third.submit(page, form)
        third.cookies = kept
        assert not await is_in(third)

        page = await first.get("/anna/+account")
        wrong = await first.submit(page, page.form("present"), present="guess", password="new one", again="new one")
        assert (wrong.status, "not your present password" in wrong.text) == (400, True)
        assert await is_in(second)
        await first.submit(page, page.form("present"), present=PASSWORD, password="new one", again="new one")
        assert await is_in(first)
        assert not await is_in(second)

        token = parse_token(first.cookies[LOGIN])
        assert token is not None
        await served.engine.tokens.revoke(token.id, who="[test]")
        assert not await is_in(first)


async def test_a_log_in_that_was_there_before_is_not_taken_over(serve: Serve) -> None:
    """Session fixation: a cookie that a stranger planted does not become anna's, and ends."""
    async with serve() as served:
        stranger = await logged_in(served, "eve")
        await served.user("anna")
        victim = Browser(served)
        victim.cookies = dict(stranger.cookies)
        await victim.log_in("anna")
        assert victim.cookies[LOGIN] != stranger.cookies[LOGIN]
        assert is_log_in_page((await stranger.get("/eve/+account")).text)
        victim.cookies[LOGIN] = "made up"
        assert is_log_in_page((await victim.get("/anna/+account")).text)


@pytest.mark.parametrize("route", POSTS, ids=lambda route: route.path)
async def test_a_form_of_another_site_is_refused(serve: Serve, route: Route, wheel: BuiltFile) -> None:
    """Every form: without a token, with that of another log-in, and as a browser sends it for a page of another site."""
    async with serve() as served:
        root, other = Browser(served), await logged_in(served)
        await root.log_in("root")
        await served.put(wheel)
        await served.index("root/volatile", volatile=True)
        path = route.path
        for name, value in (
            ("{index}", "volatile" if path.endswith("+delete") else "dev"),
            ("{project}", "demo"),
            ("{version}", "1.0"),
        ):
            path = path.replace(name, value)
        path = path.replace("{user}", "anna" if path == "/{user}/+delete" else "root")
        good, bad = form_token(root.cookies[LOGIN]), form_token(other.cookies[LOGIN])
        origin = {"Origin": served.url}
        before = await served.engine.store.head()
        for token, headers in (
            ("", origin), (bad, origin), (good, {"Origin": "https://evil.example"}), (good, {"Origin": "null"}),
            (good, {**origin, "Sec-Fetch-Site": "cross-site"}), (good, {"Sec-Fetch-Site": "same-site"}),
        ):  # fmt: skip
            data = {
                "form_token": token,
                "do": "status",
                "status": "archived",
                "step": "save",
                "name": "x",
                "to": "root/volatile",
            }
            kind = {}
            if path.endswith("+upload"):
                boundary = "b"
                kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
                body = f'--b\r\nContent-Disposition: form-data; name="form_token"\r\n\r\n{token}\r\n--b--\r\n'
                seen = await root.send(
                    "POST", urljoin(served.url, path), data=body.encode(), headers={**headers, **kind}
                )
            else:
                seen = await root.send("POST", urljoin(served.url, path), data=data, headers=headers)
            assert seen.status == 403, (token, headers, seen.text)
        assert await served.engine.store.head() == before


async def test_a_form_for_a_log_in_needs_its_token_too(serve: Serve) -> None:
    """Otherwise another site could log a person in as somebody else."""
    async with serve() as served:
        await served.user("anna")
        browser = Browser(served)
        page = await browser.get("/+login")
        data = {"name": "anna", "password": PASSWORD, "form_token": page.form("password").fields[0][1]}
        async with served.request("POST", "/+login", data=data, headers={"Accept": ACCEPT}) as answer:
            assert answer.status == 403
            assert "Set-Cookie" not in answer.headers


async def test_wrong_passwords_are_slowed_down(serve: Serve) -> None:
    async with serve(failed_logins=2) as served:
        await served.user("anna")
        browser = Browser(served)
        assert [(await browser.log_in("anna", f"guess {number}")).status for number in range(2)] == [403, 403]
        slowed = await browser.log_in("anna", "guess 0")
        assert (slowed.status, "Retry-After" in slowed.headers) == (429, True)
        assert (await browser.log_in("anna")).status == 200


@pytest.mark.parametrize(
    ("back", "goes"),
    [
        ("anna/+account", "./anna/+account"), ("//evil.example", "./"), ("https://evil.example/", "./"),
        ("/\\evil.example", "./"), ("..//evil.example", "./"), ("javascript:alert(1)", "./"),
    ],
)  # fmt: skip
async def test_a_log_in_leads_to_a_page_of_this_server(serve: Serve, back: str, goes: str) -> None:
    async with serve() as served:
        await served.user("anna")
        browser = Browser(served)
        page = await browser.get("/+login")
        data = {**dict(page.form("password").fields), "name": "anna", "password": PASSWORD, "back": back}
        cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in browser.cookies.items())}
        async with served.request("POST", "/+login", data=data, headers=cookie) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, goes)


async def test_a_person_without_a_log_in_is_sent_there_and_back(serve: Serve) -> None:
    """A program gets 401 instead."""
    async with serve() as served:
        await served.user("anna")
        browser = Browser(served)
        seen = await browser.log_in("anna", path="/anna/+account")
        assert "Account of anna" in seen.text
        async with served.get("/anna/+account") as answer:
            assert answer.status == 401
        async with served.get("/anna/+account", headers=basic("anna")) as answer:
            assert answer.status == 200


async def test_nothing_is_shown_of_what_one_may_not_read(serve: Serve, wheel: BuiltFile) -> None:
    """A private index is missing in the same words as one that is not there, for each page about an index."""
    async with serve() as served:
        await served.user("anna")
        await served.put(wheel, index=await served.index("anna/private", acl_read=("anna",), acl_upload=("anna",)))
        ben = await logged_in(served, "ben")
        for page in (
            "+edit",
            "+upload",
            "+manage/demo",
            "+promote/demo/1.0",
            "+plots",
            "+plots/demo",
            "+feed",
            "+feed/demo",
        ):
            hidden, absent = await ben.get(f"/anna/private/{page}"), await ben.get(f"/anna/nowhere/{page}")
            assert hidden.status == absent.status == 404, page
            absent_text = absent.text.replace("nowhere", "private")
            # Each answer has a reference of its own.
            assert hidden.text == absent_text.replace(absent.headers["X-Request-ID"], hidden.headers["X-Request-ID"])
        assert "private" not in (await ben.get("/+users")).text
        await served.index("ben/dev", acl_upload=("ben",))
        page = await ben.get("/ben/dev/+edit")
        shown = await ben.submit(page, page.form("seen"), **{"option.bases": "anna/private"})
        absent = await ben.submit(page, page.form("seen"), **{"option.bases": "anna/nowhere"})
        assert shown.status == 400
        assert shown.text.replace("private", "nowhere") == absent.text
        assert IndexName("anna/private") not in (await served.engine.store.tree()).indexes[IndexName("ben/dev")].bases
