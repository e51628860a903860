"""What one user may keep is bounded: lists, indexes, options and tokens. The refusal names the bound, and what is over it may shrink."""

from __future__ import annotations

from typing import Any

import pytest

from tests.http.conftest import Serve, Served, basic

_BOUNDS: dict[str, Any] = {"max_list_entries": 5, "max_user_indexes": 3, "max_user_tokens": 3}


async def ask(served: Served, method: str, path: str, body: Any, headers: dict[str, str]) -> tuple[int, str]:
    async with served.request(method, path, json=body, headers=headers) as answer:
        return answer.status, await answer.text()


@pytest.mark.parametrize("index_type", ["stage", "constrained"])
@pytest.mark.parametrize("written", ["list", "text", "patches", "lines"])
@pytest.mark.parametrize(
    "key", ["acl_read", "acl_upload", "acl_toxresult_upload", "bases", "mirror_whitelist", "constraints"]
)
async def test_a_list_is_bounded(serve: Serve, key: str, written: str, index_type: str) -> None:
    if (key == "constraints") != (index_type == "constrained") or (written == "lines" and key != "constraints"):
        return
    async with serve(**_BOUNDS) as served:
        anna = await served.user("anna")
        for number in range(6):
            await served.index(f"root/b{number}")
        entries = [f"root/b{number}" if key == "bases" else f"name{number}" for number in range(6)]
        assert (await ask(served, "PUT", "/anna/dev", {"type": index_type, "bases": ""}, anna))[0] == 200

        def body(words: list[str]) -> Any:
            separator = "\n" if written == "lines" or key == "constraints" else ","
            texts = {"list": words, "text": separator.join(words), "lines": separator.join(words)}
            return [f"{key}={separator.join(words)}"] if written == "patches" else {key: texts[written]}

        head = await served.engine.store.head()
        status, text = await ask(served, "PATCH", "/anna/dev", body(entries), anna)
        assert status == 400
        assert f"the list '{key}' has 6 entries; 5 are possible" in text
        assert await served.engine.store.head() == head
        assert (await ask(served, "PATCH", "/anna/dev", body(entries[:5]), anna))[0] == 200
        assert (await ask(served, "PATCH", "/anna/dev", [f"{key}+={entries[5]}"], anna))[0] == 400
        assert (await ask(served, "PUT", "/anna/new", {"type": index_type, "bases": "", key: entries}, anna))[0] == 400


async def test_a_list_that_is_too_long_already_may_shrink(serve: Serve) -> None:
    async with serve(**_BOUNDS) as served:
        anna = await served.user("anna")
        await served.index("anna/old", acl_read=("anna", *(f"u{number}" for number in range(9))))
        assert (await ask(served, "PATCH", "/anna/old", ["acl_read+=more"], anna))[0] == 400
        assert (await ask(served, "PATCH", "/anna/old", ["acl_read-=u8"], anna))[0] == 200
        assert (await ask(served, "PATCH", "/anna/old", {"title": "still there"}, anna))[0] == 200
        async with served.get("/anna/old?no_projects", headers=anna) as answer:
            whole = (await answer.json())["result"]
        assert len(whole["acl_read"]) == 9
        whole["acl_read"] = whole["acl_read"][:7]
        assert (await ask(served, "PATCH", "/anna/old", whole, anna))[0] == 200


async def test_indexes_are_bounded(serve: Serve) -> None:
    async with serve(**_BOUNDS) as served:
        anna = await served.user("anna")
        for number in range(3):
            assert (await ask(served, "PUT", f"/anna/i{number}", {"bases": ""}, anna))[0] == 200
        status, text = await ask(served, "PUT", "/anna/one-more", {"bases": ""}, anna)
        assert status == 400
        assert "the user anna has 3 indexes; 3 are possible" in text
        assert (await ask(served, "DELETE", "/anna/i0", None, anna))[0] == 201
        assert (await ask(served, "PUT", "/anna/one-more", {"bases": ""}, anna))[0] == 200


async def test_the_options_of_all_indexes_together_are_bounded(serve: Serve) -> None:
    async with serve(max_user_option_bytes=100_000) as served:
        anna = await served.user("anna")
        large, small = "x" * 60_000, "x" * 30_000
        assert (await ask(served, "PUT", "/anna/a", {"bases": "", "description": large}, anna))[0] == 200
        status, text = await ask(served, "PUT", "/anna/b", {"bases": "", "description": large}, anna)
        assert status == 400
        assert "100000 are possible" in text
        assert (await ask(served, "PUT", "/anna/b", {"bases": "", "title": small}, anna))[0] == 200
        assert (await ask(served, "PATCH", "/anna/b", {"description": small}, anna))[0] == 400
        assert (await ask(served, "PATCH", "/anna/a", {"description": small}, anna))[0] == 200
        assert (await ask(served, "PATCH", "/anna/b", {"description": small}, anna))[0] == 200


async def test_what_is_over_the_bound_already_may_shrink(serve: Serve) -> None:
    async with serve(max_user_option_bytes=70_000) as served:
        anna = await served.user("anna")
        for name in ("anna/a", "anna/b"):
            await served.index(name, description="x" * 60_000)
        assert (await ask(served, "PATCH", "/anna/a", {"title": "longer"}, anna))[0] == 400
        assert (await ask(served, "PATCH", "/anna/a", {"description": "x" * 50_000}, anna))[0] == 200
        assert (await ask(served, "DELETE", "/anna/b", None, anna))[0] == 201
        assert (await ask(served, "PATCH", "/anna/a", {"title": "longer"}, anna))[0] == 200


async def test_api_tokens_are_bounded(serve: Serve) -> None:
    async with serve(**_BOUNDS) as served:
        anna = await served.user("anna")
        await served.engine.tokens.make("anna", who="[test]", seconds=-1)
        for _ in range(3):  # the expired one makes room for the last
            assert (await ask(served, "POST", "/anna/+token-create", {}, anna))[0] == 200
        status, text = await ask(served, "POST", "/anna/+token-create", {}, anna)
        assert status == 400
        assert "the user anna has 3 API tokens; 3 are possible" in text
        assert len(await served.engine.store.tokens("anna")) == 3


@pytest.mark.parametrize("key", ["indexes", "projects", "allowed"])
async def test_what_a_token_is_limited_to_is_bounded(serve: Serve, key: str) -> None:
    async with serve() as served:
        anna = await served.user("anna")
        for words in ([f"anna/x{number}" for number in range(1001)], ["anna/" + "x" * 256]):
            status, text = await ask(served, "POST", "/anna/+token-create", {key: words}, anna)
            assert status == 400
            assert "1000 of 256 characters are possible" in text


async def test_the_oldest_log_ins_end(serve: Serve) -> None:
    async with serve(**_BOUNDS) as served:
        await served.user("anna", "a long word")
        tokens = []
        for _ in range(5):
            text, _ = await served.engine.tokens.login("anna", "a long word")
            tokens.append(text)
        opened = []
        for text in tokens:
            async with served.get("/+status", headers=basic("__token__", text)) as answer:
                opened.append(answer.status == 200)
        assert opened == [False, False, True, True, True]
