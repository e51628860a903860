"""Users over devpi's protocol: who sees whom, who changes whom, and in which words. The whole wire is in the transcripts."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from pkgindex_core.tokens import LOGIN_SECONDS
from tests.http.conftest import PASSWORD, Serve, Served, basic

JSON = {"Accept": "application/json"}
ROOT = basic("root")


async def ask(
    served: Served, method: str, path: str, body: Any = None, *, who: dict[str, str] | None = None, raw: bytes = b""
) -> tuple[int, Any]:
    """Send a command as devpi's client does; return the status and the document."""
    data = raw or (json.dumps(body).encode() if body is not None else None)
    async with served.request(method, path, data=data, headers={**JSON, **(who or {})}) as answer:
        assert answer.content_type == "application/json"
        assert answer.headers["X-Devpi-Api-Version"] == "2"
        return answer.status, await answer.json()


async def test_a_user_is_made_shown_changed_and_deleted(serve: Serve) -> None:
    async with serve() as served:
        given = {"password": "secret1", "email": "a@x.org", "title": "T", "custom_data": {"a": [1]}}
        status, made = await ask(served, "PUT", "/alice", given, who=ROOT)
        assert (status, made["type"]) == (201, "userconfig")
        assert set(made["result"]) == {"username", "email", "title", "custom_data", "created", "indexes"}
        alice = basic("alice", "secret1")
        whole = (await ask(served, "GET", "/alice", who=alice))[1]["result"]
        assert whole == made["result"]
        whole |= {"email": "b@x.org", "title": "", "colour": "blue"}
        assert await ask(served, "PATCH", "/alice/", whole, who=alice) == (200, {"message": "user updated"})
        after = (await ask(served, "GET", "/alice", who=alice))[1]["result"]
        assert (after["email"], after["custom_data"], "title" in after) == ("b@x.org", {"a": [1]}, False)
        assert await ask(served, "DELETE", "/alice", who=alice) == (200, {"message": "user 'alice' deleted"})
        assert (await ask(served, "GET", "/alice", who=ROOT)) == (404, {"message": "no user 'alice'"})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "password needs to be set"),
        ({"password": "x", "pwhash": "y", "b": 1}, "Unknown keys in user config: b, pwhash"),
        ({"password": 1}, "the password must be a string"),
        ({"password": "x", "email": ["a"]}, "email must be a string"),
        ({"password": ""}, "the password is empty"),
    ],
)
async def test_what_is_wrong_with_a_new_user_is_said_and_nobody_is_made(serve: Serve, body: Any, message: str) -> None:
    async with serve() as served:
        status, answer = await ask(served, "PUT", "/alice", body, who=ROOT)
        assert (status, answer["message"]) == (400, message)
        assert await served.engine.store.user("alice") is None


async def test_nobody_registers_unless_registration_is_open(serve: Serve) -> None:
    async with serve() as served:
        assert (await ask(served, "PUT", "/alice", {"password": "x"}))[0] == 403
        assert await served.engine.store.user("alice") is None
    async with serve(open_registration=True) as served:
        assert (await ask(served, "PUT", "/alice", {"password": "x"}))[0] == 201
        assert await ask(served, "PUT", "/alice", {"password": "y"}) == (409, {"message": "user already exists"})
        assert (await ask(served, "PUT", "/project", {"password": "x"}))[0] == 400
        assert (await ask(served, "PUT", "/a%20b", {"password": "x"}))[0] == 400


async def test_the_body_of_a_stranger_is_not_even_read(serve: Serve) -> None:
    async with serve() as served:
        assert (await ask(served, "PUT", "/alice", raw=b"no JSON"))[0] == 403
        assert (await ask(served, "PUT", "/root/new", raw=b"no JSON"))[0] == 403


async def test_a_new_password_answers_with_a_new_log_in_and_ends_the_others(serve: Serve) -> None:
    """devpi's client goes on with the log-in that it has, and takes no notice of the new one."""
    async with serve() as served:
        anna = await served.user("anna")
        logins = [await ask(served, "POST", "/+login", {"user": "anna", "password": PASSWORD}) for _ in range(2)]
        before, other = [basic("anna", login["result"]["password"]) for _, login in logins]
        status, answer = await ask(served, "PATCH", "/anna", {"password": "another"}, who=before)
        assert (status, answer["type"], answer["message"]) == (200, "userpassword", "user updated, new proxy auth")
        assert answer["result"]["expiration"] == LOGIN_SECONDS
        after = basic("anna", answer["result"]["password"])
        for current in (before, after):
            assert (await ask(served, "PATCH", "/anna", {"title": "x"}, who=current))[0] == 200
        for old in (other, anna):
            assert (await ask(served, "PATCH", "/anna", {"title": "y"}, who=old))[0] == 403


async def test_with_restrict_modify_everybody_changes_their_own_password_and_nothing_else(serve: Serve) -> None:
    """devpi's client sends the whole document back with a new password: what it does not change needs no right."""
    async with serve(restrict_modify=("boss",)) as served:
        anna, boss = await served.user("anna"), await served.user("boss")
        await ask(served, "PATCH", "/anna", {"email": "a@x.org"}, who=boss)
        whole = (await ask(served, "GET", "/anna", who=anna))[1]["result"]
        assert (await ask(served, "PATCH", "/anna", {**whole, "email": "x"}, who=anna))[0] == 403
        assert (await ask(served, "PATCH", "/anna", {**whole, "email": "x", "password": "n"}, who=anna))[0] == 403
        assert (await ask(served, "PUT", "/new", {"password": "x"}, who=ROOT))[0] == 403
        assert (await ask(served, "PUT", "/anna/dev", {}, who=anna))[0] == 403
        assert (await ask(served, "PUT", "/anna/dev", {}, who=boss))[0] == 200
        assert (await ask(served, "DELETE", "/boss", who=boss))[0] == 403
        assert (await ask(served, "PATCH", "/anna", {**whole, "password": "new"}, who=anna))[0] == 200
        assert (await ask(served, "GET", "/anna", who=basic("anna", "new")))[1]["result"]["email"] == "a@x.org"


async def test_who_sees_whom(serve: Serve) -> None:
    """Anonymous: those who show an index. With credentials: everybody's name. Details: oneself, and root of all."""
    async with serve() as served:
        shown, hidden = await served.user("shown"), await served.user("hidden")
        await served.index("shown/public", acl_upload=("hidden",))
        await served.index("shown/private", acl_read=("shown",), title="canary-title")
        await served.index("hidden/private", acl_read=("hidden",), title="canary-title")
        for name in ("shown", "hidden"):
            details = {"email": f"{name}-canary@x.org", "custom_data": "canary-data"}
            await ask(served, "PATCH", f"/{name}", details, who=ROOT)

        _, told = await ask(served, "GET", "/")
        assert (told["type"], set(told["result"])) == ("list:userconfig", {"root", "shown"})
        assert set(told["result"]["shown"]["indexes"]) == {"public"}
        assert "canary" not in str(told)
        assert (await ask(served, "GET", "/hidden")) == (404, {"message": "no user 'hidden'"})

        _, told = await ask(served, "GET", "/", who=hidden)
        assert set(told["result"]) == {"root", "shown", "hidden"}
        assert told["result"]["hidden"]["email"] == "hidden-canary@x.org"
        assert set(told["result"]["hidden"]["indexes"]) == {"private"}
        assert "shown-canary" not in str(told)
        assert "canary" not in str((await ask(served, "GET", "/hidden", who=shown))[1])

        _, told = await ask(served, "GET", "/", who=ROOT)
        assert str(told).count("canary@x.org") == 2
        assert "password" not in str(told)
        assert "argon2" not in str(told)


@pytest.mark.parametrize(("method", "body"), [("GET", None), ("PATCH", {"title": "x"}), ("DELETE", None), ("PUT", {})])
async def test_a_hidden_user_looks_like_none(serve: Serve, method: str, body: Any) -> None:
    async with serve() as served:
        await served.user("hidden")
        await served.index("hidden/private", acl_read=("hidden",))
        path = "/{}/new" if method == "PUT" else "/{}"
        hidden, none = [await ask(served, method, path.format(name), body) for name in ("hidden", "nobody")]
        assert hidden[0] == none[0] == 404
        assert str(hidden[1]).replace("hidden", "nobody") == str(none[1])


async def test_a_user_with_what_is_not_volatile_stays(serve: Serve) -> None:
    async with serve() as served:
        anna = await served.user("anna")
        await served.index("anna/prod", volatile=False)
        status, answer = await ask(served, "DELETE", "/anna", who=anna)
        assert (status, answer["message"]) == (403, "user 'anna' has non-volatile index: prod")
        assert (await ask(served, "DELETE", "/root", who=ROOT))[0] == 403


async def test_devpi_s_users_are_told_how_to_log_in(serve: Serve) -> None:
    """Their client shows no hint, only the message."""
    async with serve() as served:
        for agent, said in (
            ("devpi-client/7.3.0 (py3.11.7; linux)", "this needs credentials: devpi login USER"),
            ("curl/8", "this needs credentials"),
        ):
            async with served.request("PUT", "/ann", json={"password": "x"}, headers={"User-Agent": agent}) as answer:
                assert (answer.status, (await answer.json())["message"]) == (403, said)


async def test_the_front_door_is_a_page_for_people_and_a_document_for_programs(serve: Serve) -> None:
    async with serve() as served:
        async with served.get("/", headers={"Accept": "text/html"}) as answer:
            assert (answer.status, answer.content_type) == (200, "text/html")
            assert "Accept" in answer.headers["Vary"]
            page = await answer.text()
            for line in (
                "pip install --index-url",
                "uv pip install --default-index",
                "twine upload",
                f"devpi use {served.url}\n",
            ):
                assert line in page
        wrong = basic("root", "wrong")
        async with served.get("/", headers={"Accept": "text/html", **wrong}) as answer:
            assert answer.status == 200
        # A program that gives credentials wants what they show: to show less in silence would mislead it.
        assert (await ask(served, "GET", "/", who=wrong))[0] == 401


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"{", "Bad request: could not decode json"),
        (b'{"user": "root"}', "Bad request: no user/password specified"),
        (b'{"user": "root", "password": "wrong"}', "user 'root' could not be authenticated"),
    ],
)
async def test_log_ins_that_fail(serve: Serve, raw: bytes, message: str) -> None:
    async with serve() as served:
        status, answer = await ask(served, "POST", "/+login", raw=raw)
        assert (status, answer["message"]) == (401 if "authenticated" in message else 400, message)


async def test_an_empty_root_password_works_once_it_was_asked_for(serve: Serve) -> None:
    """devpi's users start like this; nobody else does by accident."""
    async with serve(mirrors=True, root_password="", open_registration=True) as served:
        header = {"X-Devpi-Auth": base64.b64encode(b"root:").decode()}
        assert (await ask(served, "PUT", "/root/new", {}, who=header))[0] == 200
        status, answer = await ask(served, "POST", "/+login", {"user": "root", "password": ""})
        assert (status, answer["message"]) == (200, "login successful")
        _, made = await ask(served, "GET", "/root/new?no_projects=", who=header)
        assert made["result"]["acl_toxresult_upload"] == [":ANONYMOUS:"]
        assert not (served.engine.settings.data / "root-password").exists()
        assert (await ask(served, "PUT", "/eve", {"password": ""}))[0] == 201
    async with serve() as served:
        assert (await ask(served, "POST", "/+login", {"user": "root", "password": ""}))[0] == 401


async def test_devpis_client_is_told_to_log_in_in_the_way_it_understands(serve: Serve) -> None:
    """To a 401 it says that the status cannot be, or nothing; to a 403 that one needs to log in. Installers need the challenge."""
    async with serve() as served:
        await served.user("anna")
        await served.index("anna/private", acl_read=("anna",))
        client = {"User-Agent": "devpi-client/7.3.0 (py3.11.7; linux)"}
        assert (await ask(served, "GET", "/anna/private?no_projects=", who=client))[0] == 403
        assert (await ask(served, "GET", "/", who={**client, **basic("anna", "wrong")}))[0] == 403
        assert (await ask(served, "GET", "/anna/private?no_projects="))[0] == 401


async def test_wrong_credentials_never_just_show_less(serve: Serve) -> None:
    async with serve() as served:
        for path in ("/", "/root", "/+status", "/root/dev"):
            assert (await ask(served, "GET", path, who=basic("root", "wrong")))[0] == 401


async def test_a_refusal_does_not_tell_whether_a_detail_was_guessed(serve: Serve) -> None:
    async with serve() as served:
        anna, ben = await served.user("anna"), await served.user("ben")
        assert (await ask(served, "PATCH", "/anna", {"email": "a@x.org"}, who=anna))[0] == 200
        right, wrong = [
            await ask(served, "PATCH", "/anna", {"email": email, "password": "p"}, who=ben)
            for email in ("a@x.org", "b@x.org")
        ]
        assert right[0] == 403
        assert right == wrong


async def test_a_media_type_has_no_case(serve: Serve) -> None:
    """RFC 9110 8.3.1: "The type and subtype tokens are case-insensitive"."""
    async with serve() as served, served.get("/", headers={"Accept": "Application/JSON"}) as answer:
        assert (await answer.json())["type"] == "list:userconfig"
