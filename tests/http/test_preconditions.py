"""Preconditions (RFC 9110, 13): the rule by its table, and over the socket nothing is changed where one does not hold."""

from __future__ import annotations

from email.utils import formatdate
from typing import Any

import pytest

from pkgindex_core.testing.wheels import BuiltFile
from pkgindex_http.wire.preconditions import Validators, failed_change, failed_read
from tests.http.conftest import Serve, basic

_TAG = '"abc"'
_KNOWN = Validators(_TAG, 1_000_000.5)
_NONE = Validators()
_BEFORE, _AT, _AFTER = (formatdate(seconds, usegmt=True) for seconds in (999_999, 1_000_000, 1_000_001))


@pytest.mark.parametrize(
    ("headers", "validators", "read", "change"),
    [
        ({}, _KNOWN, "", ""),
        ({"If-Match": _TAG}, _KNOWN, "", ""),
        ({"If-Match": f'"x", {_TAG} '}, _KNOWN, "", ""),
        ({"If-Match": "*"}, _KNOWN, "", ""),
        ({"If-Match": "*"}, _NONE, "", ""),
        ({"If-Match": '"x"'}, _KNOWN, "If-Match", "If-Match"),
        ({"If-Match": f"W/{_TAG}"}, _KNOWN, "If-Match", "If-Match"),  # 8.8.3.2: compared strongly
        ({"If-Match": "abc"}, _KNOWN, "If-Match", "If-Match"),
        ({"If-Match": ""}, _KNOWN, "If-Match", "If-Match"),
        ({"If-Match": '""'}, _NONE, "If-Match", "If-Match"),
        ({"If-Match": _TAG}, _NONE, "If-Match", "If-Match"),
        ({"If-Match": _TAG, "If-Unmodified-Since": _BEFORE}, _KNOWN, "", ""),  # 13.1.4: passed over
        ({"If-Unmodified-Since": _AT}, _KNOWN, "", ""),
        ({"If-Unmodified-Since": _AFTER}, _KNOWN, "", ""),
        ({"If-Unmodified-Since": _BEFORE}, _KNOWN, "If-Unmodified-Since", "If-Unmodified-Since"),
        ({"If-Unmodified-Since": _BEFORE}, _NONE, "", "If-Unmodified-Since"),
        ({"If-Unmodified-Since": "yesterday"}, _KNOWN, "", "If-Unmodified-Since"),
        ({"If-None-Match": _TAG}, _KNOWN, "", "If-None-Match"),
        ({"If-None-Match": f"W/{_TAG}"}, _KNOWN, "", "If-None-Match"),
        ({"If-None-Match": "*"}, _NONE, "", "If-None-Match"),
        ({"If-None-Match": '"x"'}, _KNOWN, "", ""),
    ],
)
def test_the_rule(headers: dict[str, str], validators: Validators, read: str, change: str) -> None:
    assert failed_read(headers, validators) == read
    assert failed_change(headers, validators, creates=False) == change


def test_what_is_made_is_not_there_before() -> None:
    """PUT never replaces: `If-None-Match: *` holds or the answer is a conflict, and `If-Match` never holds."""
    assert failed_change({"If-None-Match": "*"}, _NONE, creates=True) == ""
    assert failed_change({"If-Match": "*"}, _NONE, creates=True) == "If-Match"


_WRONG = ({"If-Match": '"other"'}, {"If-Unmodified-Since": _BEFORE})


@pytest.mark.parametrize("wrong", _WRONG, ids=str)
async def test_a_file(serve: Serve, wheel: BuiltFile, wrong: dict[str, str]) -> None:
    async with serve() as served:
        await served.index("root/dev", acl_upload=("root",), volatile=True)
        file = await served.put(wheel)
        assert file.sha256
        path = f"/root/dev/+f/{file.sha256[:3]}/{file.sha256[3:16]}/{file.filename}"
        right = {"If-Match": f'"{file.sha256}"'}
        head = await served.engine.store.head()
        for method, body in (
            ("GET", None),
            ("HEAD", None),
            ("PATCH", {"yanked": True}),
            ("DELETE", None),
            ("POST", {}),
        ):
            given: dict[str, Any] = {"json": body} if body is not None else {}
            async with served.request(method, path, headers={**basic("root"), **wrong}, **given) as answer:
                assert answer.status == 412, method
                assert method == "HEAD" or "precondition" in await answer.text()
        for extra in ({"Range": "bytes=0-9"}, {"If-None-Match": right["If-Match"]}):
            async with served.get(path, headers={**wrong, **extra}) as answer:
                assert answer.status == 412  # 13.2.2: before If-None-Match and Range
        if "If-Match" in wrong:
            assert await served.engine.store.head() - head <= 1  # the password's hash was renewed, at most
        for method, body in (("GET", None), ("PATCH", {"yanked": True}), ("DELETE", None)):
            given = {"json": body} if body is not None else {}
            async with served.request(method, path, headers={**basic("root"), **right}, **given) as answer:
                assert answer.status == 200, method
        async with served.get(path) as answer:
            assert answer.status == 410


@pytest.mark.parametrize("wrong", [*_WRONG, {"If-None-Match": "*"}], ids=str)
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "/root/dev", ["title=x"]),
        ("DELETE", "/root/dev/demo", None),
        ("PATCH", "/root", {"title": "x"}),
        ("PUT", "/root/new", {"bases": ""}),
        ("PUT", "/new", {"password": "a long word"}),
        ("PUSH", "/root/dev", {"name": "demo", "version": "1.0", "targetindex": "root/dev"}),
        ("POST", "/root/+token-create", {}),
        ("POST", "/legacy/", {}),
    ],
)
async def test_what_has_no_validators_is_not_changed_under_a_condition(
    serve: Serve, wheel: BuiltFile, method: str, path: str, body: Any, wrong: dict[str, str]
) -> None:
    async with serve() as served:
        await served.index("root/dev", acl_upload=("root",), volatile=True)
        await served.put(wheel)
        token, _ = await served.engine.tokens.make("root", who="[test]", kind="login", seconds=60)
        head = await served.engine.store.head()
        headers = {**basic("__token__", token), **wrong}
        async with served.request(method, path, headers=headers, json=body) as answer:
            if method == "PUT" and "If-None-Match" in wrong:
                assert answer.status in {200, 201}  # made, since there was none
                return
            assert answer.status == 412
        assert await served.engine.store.head() == head
        async with served.request(method, path, headers=wrong, json=body) as answer:
            assert answer.status in {401, 403}  # who may not is told that first


async def test_pages(serve: Serve, wheel: BuiltFile) -> None:
    async with serve() as served:
        await served.put(wheel)
        async with served.get("/simple/demo/") as answer:
            etag = answer.headers["ETag"]
        for headers, status in (
            ({"If-Match": etag}, 200),
            ({"If-Match": "*"}, 200),
            ({"If-Match": '"x"'}, 412),
            ({"If-Match": '"x"', "If-None-Match": etag}, 412),
            ({"If-Match": etag, "If-None-Match": etag}, 304),
            ({"If-Unmodified-Since": _BEFORE}, 200),  # a page has no date, and nothing is changed
        ):
            for method in ("GET", "HEAD"):
                async with served.request(method, "/simple/demo/", headers=headers) as answer:
                    assert answer.status == status, headers
        async with served.get("/simple/nothing/", headers={"If-Match": '"x"'}) as answer:
            assert answer.status == 404  # 13.2.1: what fails anyway has no preconditions
