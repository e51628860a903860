"""devpi-tokens' routes: tokens with restrictions, made, used, listed and revoked."""

from __future__ import annotations

from typing import Any

import pytest

from pkgindex_core.testing.wheels import BuiltFile
from pkgindex_core.tokens import parse_token
from tests.http.conftest import PASSWORD, Serve, Served, basic
from tests.http.forms import CONTENT_TYPE, encode_form, upload_parts


async def call(served: Served, method: str, path: str, headers: dict[str, str], body: Any = None) -> tuple[int, Any]:
    extra: dict[str, Any] = {} if body is None else {"json": body}
    async with served.request(method, path, headers=headers, **extra) as answer:
        return answer.status, await answer.json()


async def made(served: Served, headers: dict[str, str], **restrictions: Any) -> str:
    status, answer = await call(served, "POST", "/anna/+token-create", headers, restrictions)
    assert (status, answer["type"]) == (200, "token-info")
    return str(answer["result"]["token"])


async def upload(served: Served, built: BuiltFile, headers: dict[str, str]) -> int:
    body = encode_form(upload_parts(built))
    async with served.request(
        "POST", "/anna/dev/", headers={**headers, "Content-Type": CONTENT_TYPE.decode()}, data=body
    ) as answer:
        return int(answer.status)


async def test_a_token_is_made_used_listed_and_revoked(serve: Serve) -> None:
    async with serve() as served:
        anna = await served.user("anna")
        await served.index("anna/dev", acl_read=("anna",))
        text = await made(served, anna)
        assert text.startswith("devpi-")
        for headers in (
            basic("anna", text),
            basic("", text),
            basic("__token__", text),
            {"Authorization": f"Bearer {text}"},
        ):
            async with served.get("/anna/dev/+simple/", headers=headers) as answer:
                assert answer.status == 200
        async with served.get("/anna/dev/+simple/", headers=basic("root", text)) as answer:
            assert answer.status == 401
        status, answer = await call(served, "GET", "/anna/+tokens", anna)
        assert (status, answer["type"]) == (200, "tokens-info")
        ((token_id, token),) = answer["result"]["tokens"].items()
        assert token["restrictions"][0].startswith("expires=")
        status, answer = await call(served, "DELETE", f"/anna/+tokens/{token_id}", anna)
        assert (status, answer) == (200, {"message": f"token {token_id} deleted"})
        async with served.get("/anna/dev/+simple/", headers=basic("anna", text)) as answer:
            assert answer.status == 401
        assert (await call(served, "DELETE", f"/anna/+tokens/{token_id}", anna))[0] == 404


async def test_without_a_body_there_are_no_restrictions(serve: Serve) -> None:
    async with serve() as served:
        anna = await served.user("anna")
        async with served.request("POST", "/anna/+token-create", headers=anna) as answer:
            assert answer.status == 200


async def test_restrictions_restrict(serve: Serve, wheel: BuiltFile) -> None:
    async with serve() as served:
        anna = await served.user("anna")
        for name in ("anna/dev", "anna/other"):
            await served.index(name, acl_read=("anna",), acl_upload=("anna",))
        reading = basic("anna", await made(served, anna, allowed=["pkg_read"], indexes=["anna/dev"]))
        async with served.get("/anna/dev/+simple/", headers=reading) as answer:
            assert answer.status == 200
        async with served.get("/anna/other/+simple/", headers=reading) as answer:
            assert answer.status == 404
        assert await upload(served, wheel, reading) == 403
        elsewhere = basic("anna", await made(served, anna, allowed=["upload"], projects=["other"]))
        assert await upload(served, wheel, elsewhere) in {403, 404}
        right = basic("anna", await made(served, anna, allowed=["upload"], projects=["Demo"]))
        assert await upload(served, wheel, right) == 200


async def test_a_token_manages_no_tokens_and_a_login_does(serve: Serve) -> None:
    async with serve() as served:
        anna = await served.user("anna")
        token = basic("anna", await made(served, anna))
        for method, path in (("POST", "/anna/+token-create"), ("GET", "/anna/+tokens"), ("DELETE", "/anna/+tokens/x")):
            assert (await call(served, method, path, token))[0] == 403
        async with served.request("POST", "/+login", json={"user": "anna", "password": PASSWORD}) as answer:
            login = basic("anna", (await answer.json())["result"]["password"])
        await made(served, login)
        _, answer = await call(served, "GET", "/anna/+tokens", login)
        assert len(answer["result"]["tokens"]) == 2  # log-ins are not listed


async def test_only_the_user_and_root_see_or_touch_tokens(serve: Serve) -> None:
    async with serve() as served:
        anna, ben, root = await served.user("anna"), await served.user("ben"), basic("root")
        text = await made(served, anna)
        (token_id,) = (await call(served, "GET", "/anna/+tokens", root))[1]["result"]["tokens"]
        for method, path in (
            ("POST", "/anna/+token-create"),
            ("GET", "/anna/+tokens"),
            ("DELETE", f"/anna/+tokens/{token_id}"),
        ):
            assert (await call(served, method, path, ben))[0] == 403
            assert (await call(served, method, path, {}))[0] == (401 if method == "GET" else 403)
        # Not under the wrong name either.
        assert (await call(served, "DELETE", f"/ben/+tokens/{token_id}", ben))[0] == 404
        assert (await call(served, "GET", "/nobody/+tokens", root)) == (404, {"message": "no user 'nobody'"})
        assert (await call(served, "POST", "/nobody/+token-create", root))[0] == 404
        assert (await call(served, "DELETE", f"/anna/+tokens/{token_id}", root))[0] == 200
        async with served.get("/root/dev/+simple/", headers=basic("anna", text)) as answer:
            assert answer.status == 401


@pytest.mark.parametrize("body", [{"expires": "never"}, {"expires": 2_500_000_000}])
async def test_who_may_have_tokens_for_longer(serve: Serve, body: dict[str, Any]) -> None:
    async with serve() as served:
        anna = await served.user("anna")
        assert (await call(served, "POST", "/anna/+token-create", anna, body))[0] == 403
        status, _ = await call(served, "POST", "/anna/+token-create", basic("root"), {"expires": "never"})
        assert status == 200


async def test_a_refusal_names_everything_and_makes_nothing(serve: Serve) -> None:
    async with serve() as served:
        anna = await served.user("anna")
        status, answer = await call(
            served, "POST", "/anna/+token-create", anna, {"allowed": ["fly"], "indexes": "x", "hush": 1}
        )
        assert status == 400
        for expected in ("fly", "indexes", "hush"):
            assert expected in answer["message"]
        assert (await call(served, "GET", "/anna/+tokens", anna))[1]["result"]["tokens"] == {}


async def test_a_token_does_not_log_in(serve: Serve) -> None:
    """It would outlive itself."""
    async with serve() as served:
        text = await made(served, await served.user("anna"))
        assert parse_token(text) is None
        async with served.request("POST", "/+login", json={"user": "anna", "password": text}) as answer:
            assert answer.status == 401
