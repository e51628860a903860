"""The legacy upload API over HTTP, by the numbers of the conformance table (UP), and the archive corpus sent through it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import logging
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from pkgindex_core.changes import PutProject
from pkgindex_core.models import PageHead, Serial
from pkgindex_core.names import ProjectName
from pkgindex_core.testing.wheels import BuiltFile, build_sdist, build_wheel
from tests.conftest import Tally
from tests.corpora.archive_corpus import Case, every_case
from tests.http.conftest import HOSTED, Serve, Served, basic
from tests.http.forms import CONTENT_TYPE, Part, digests, encode_form, upload_fields, upload_parts
from tests.http.wire import RawRequest, ask_raw, connected, read_answer

JSON = "application/vnd.pypi.simple.v1+json"
UV_ACCEPT = "application/json;q=0.9, text/plain;q=0.8, text/html;q=0.7"
ROOT = basic("root")


class Answer(Struct):
    status: int
    reason: str
    headers: Any
    text: str


async def _post(
    served: Served, body: bytes | AsyncIterator[bytes], *, path: str = "/legacy/", headers: dict[str, str] | None = None
) -> Answer:
    given = {"Content-Type": CONTENT_TYPE.decode(), **(ROOT if headers is None else headers)}
    data = io.BytesIO(body) if isinstance(body, bytes) else body
    async with served.request("POST", path, data=data, headers=given) as answer:
        return Answer(answer.status, answer.reason, answer.headers, await answer.text())


async def _upload(
    served: Served, built: BuiltFile, *, path: str = "/legacy/", headers: dict[str, str] | None = None
) -> Answer:
    return await _post(served, encode_form(upload_parts(built)), path=path, headers=headers)


async def _send(served: Served, parts: list[Part], **options: Any) -> Answer:
    return await _post(served, encode_form(parts), **options)


async def _shown(served: Served, project: str = "demo") -> list[str]:
    """The filenames on a project's page; the proof that something was published, or nothing was."""
    async with served.get(f"/simple/{project}/", headers={"Accept": JSON}) as answer:
        if answer.status == 404:
            return []
        return [file["filename"] for file in json.loads(await answer.read())["files"]]


async def _nothing_kept(served: Served) -> None:
    """Refused means: no row, no blob, no name taken."""
    assert [blob async for blob in served.engine.blobs.walk()] == []
    assert not await served.engine.store.projects(HOSTED)


@pytest.fixture
def wheel() -> BuiltFile:
    return build_wheel("demo", "1.0", requires_python=">=3.8", requires_dist=["other>=1"])


# UP-1 to UP-3: the form, the action, the path


async def test_up_01_fields_come_in_any_order_and_content_first_or_last(serve: Serve) -> None:
    """One file a place of `content`: before everything, between the digests, at the end; and with fields turned round."""
    built = build_wheel("demo", "1.0")
    fields = {**upload_fields(built), **digests(built.data)}
    texts: list[Part] = [(name, None, value.encode()) for name, value in fields.items()]
    async with serve() as served:
        await served.index("root/dev", volatile=True, acl_upload=("root",))
        for place in range(len(texts) + 1):
            for order in (texts, texts[::-1]):
                other = build_wheel("demo", "1.0", build=str(place + 1))
                content: Part = ("content", other.filename, other.data)
                given = {**digests(other.data), "name": "demo"}
                parts = [(name, None, given.get(name, value.decode()).encode()) for name, _, value in order]
                answer = await _send(served, [*parts[:place], content, *parts[place:]])
                assert (answer.status, answer.text) == (200, ""), place
        assert len(await _shown(served)) == len(texts) + 1


async def test_up_01_repeated_keys_are_lists(serve: Serve, wheel: BuiltFile) -> None:
    async with serve() as served:
        more: list[Part] = [("classifiers", None, f"Private :: {number}".encode()) for number in range(50)]
        more += [("requires_dist", None, b"other>=1"), ("platform", None, b"any"), ("platform", None, b"all")]
        answer = await _send(served, [*more, *upload_parts(wheel)])
        assert answer.status == 200
        assert await _shown(served) == [wheel.filename]


async def test_up_01_a_body_in_chunks_is_taken(serve: Serve, wheel: BuiltFile) -> None:
    body = encode_form(upload_parts(wheel))

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 7):
            yield body[start : start + 7]

    async with serve() as served:
        answer = await _post(served, pieces())
        assert answer.status == 200
        assert await _shown(served) == [wheel.filename]


async def test_up_01_fields_are_bounded_in_size_and_count(serve: Serve, wheel: BuiltFile) -> None:
    async with serve(max_upload_field_bytes=2048, max_upload_form_bytes=8192, max_upload_fields=40) as served:
        good = upload_parts(wheel)
        for more, status in (
            ([("description", None, b"x" * 2048)], 200),
            ([("description", None, b"x" * 2049)], 413),
            ([("description", None, b"x" * 2000)] * 5, 413),
            ([("classifiers", None, b"x")] * 40, 400),
        ):
            answer = await _send(served, [*more, *good])
            assert answer.status == status


async def test_up_02_action_and_protocol_may_stand_in_the_query(serve: Serve, wheel: BuiltFile) -> None:
    async with serve() as served:
        fields = upload_fields(wheel, **{":action": None, "protocol_version": None})
        answer = await _send(
            served, upload_parts(wheel, fields=fields), path="/legacy/?:action=file_upload&protocol_version=1"
        )
        assert answer.status == 200
        assert await _shown(served) == [wheel.filename]


async def test_up_02_a_missing_protocol_is_the_first_one(serve: Serve, wheel: BuiltFile) -> None:
    async with serve() as served:
        answer = await _send(served, upload_parts(wheel, fields=upload_fields(wheel, protocol_version=None)))
        assert answer.status == 200


@pytest.mark.parametrize(
    ("changed", "status", "text"),
    [
        ({"protocol_version": "2"}, 400, "Unknown protocol version."),
        ({":action": "submit"}, 400, "registers metadata and has a file"),
        ({":action": "submit_pkg_info"}, 410, "submit_pkg_info"),
        ({":action": "doc_upload"}, 400, "documentation is a zip"),
        ({":action": "explode"}, 400, "explode"),
        ({":action": None}, 400, ":action"),
    ],
)
async def test_up_02_other_actions_and_protocols_are_refused(
    serve: Serve, wheel: BuiltFile, changed: dict[str, str | None], status: int, text: str
) -> None:
    async with serve() as served:
        for first in (False, True):
            answer = await _send(served, upload_parts(wheel, fields=upload_fields(wheel, **changed), first=first))
            assert answer.status == status
            assert text in answer.reason
            assert text in answer.text
        await _nothing_kept(served)


@pytest.mark.parametrize("path", ["/legacy/", "/", "/root/dev", "/root/dev/"])
async def test_up_03_every_path_for_uploads(serve: Serve, wheel: BuiltFile, path: str) -> None:
    async with serve() as served:
        assert (await _upload(served, wheel, path=path)).status == 200
        assert await _shown(served) == [wheel.filename]


async def test_up_03_a_missing_slash_is_no_redirect(serve: Serve, wheel: BuiltFile) -> None:
    """uv follows no relative Location, and twine follows no redirect at all."""
    async with serve() as served:
        assert (await _upload(served, wheel, path="/legacy", headers={})).status == 401
        await _nothing_kept(served)
        answer = await _upload(served, wheel, path="/legacy")
        assert (answer.status, "Location" in answer.headers) == (200, False)
        assert await _shown(served) == [wheel.filename]


# UP-4 and UP-5: what must be there, and digests


@pytest.mark.parametrize("field", ["name", "version", "metadata_version", "filetype", "pyversion"])
async def test_up_04_required_fields(serve: Serve, wheel: BuiltFile, field: str) -> None:
    """`pypi` wants them; `lenient` reads them from the archive and says so."""
    async with serve() as served:
        await served.index("root/strict", upload_rules="pypi", acl_upload=("root",))
        text = f"the form has no field {field}"
        for value in (None, "", "UNKNOWN"):
            parts = upload_parts(wheel, fields=upload_fields(wheel, **{field: value}))
            answer = await _send(served, parts, path="/root/strict/")
            assert answer.status == 400
            assert text in answer.text
        await _nothing_kept(served)
        answer = await _send(served, parts)
        assert answer.status == 200
        assert text in answer.text
        assert await _shown(served) == [wheel.filename]


async def test_up_04_an_sdist_needs_no_pyversion(serve: Serve) -> None:
    built = build_sdist("demo", "1.0")
    async with serve() as served:
        answer = await _send(served, upload_parts(built, fields=upload_fields(built, pyversion=None)))
        assert answer.status == 200
        assert await _shown(served) == [built.filename]


async def test_up_04_a_form_without_a_file_is_refused(serve: Serve, wheel: BuiltFile) -> None:
    async with serve() as served:
        texts = [part for part in upload_parts(wheel) if part[1] is None]
        for parts in (texts, [*texts, ("content", None, wheel.data[:0])], [*texts, ("content", "", wheel.data)]):
            answer = await _send(served, parts)
            assert answer.status == 400
            assert "file" in answer.text
        answer = await _send(served, [*upload_parts(wheel), ("content", wheel.filename, wheel.data)])
        assert (answer.status, "more than one" in answer.text) == (400, True)
        await _nothing_kept(served)


_DIGESTS = ("md5_digest", "sha256_digest", "blake2_256_digest")


@pytest.mark.parametrize("before", [set(), {"md5_digest"}, {"sha256_digest"}, {"blake2_256_digest"}, set(_DIGESTS)])
async def test_up_05_every_digest_is_compared_wherever_it_stands(
    serve: Serve, wheel: BuiltFile, before: set[str]
) -> None:
    right = digests(wheel.data)
    plain = upload_fields(wheel, sha256_digest=None)
    async with serve() as served:
        content: Part = ("content", wheel.filename, wheel.data)

        async def send(values: dict[str, str]) -> Answer:
            texts: list[Part] = [(name, None, value.encode()) for name, value in plain.items()]
            early: list[Part] = [(name, None, values[name].encode()) for name in _DIGESTS if name in before]
            late: list[Part] = [(name, None, values[name].encode()) for name in _DIGESTS if name not in before]
            return await _send(served, [*texts, *early, content, *late])

        for name in _DIGESTS:
            wrong = right[name][:-1] + ("0" if right[name][-1] != "0" else "1")
            answer = await send({**right, name: wrong})
            assert answer.status == 400
            assert name.removesuffix("_digest").replace("blake2_256", "blake2b_256") in answer.text
            await _nothing_kept(served)
        answer = await send({name: value.upper() for name, value in right.items()})
        assert answer.status == 200


@pytest.mark.parametrize("algorithm", _DIGESTS)
async def test_up_05_one_digest_is_enough_and_a_malformed_one_is_refused(
    serve: Serve, wheel: BuiltFile, algorithm: str
) -> None:
    right = digests(wheel.data)[algorithm]
    async with serve() as served:
        for value in (right[:-1], right + "0", "x" * len(right), "0x" + right[2:], f"{right[:-1]}é"):
            fields = upload_fields(wheel, sha256_digest=None) | {algorithm: value}
            assert (await _send(served, upload_parts(wheel, fields=fields))).status == 400
        await _nothing_kept(served)
        fields = upload_fields(wheel, sha256_digest=None) | {algorithm: right}
        assert (await _send(served, upload_parts(wheel, fields=fields))).status == 200


async def test_up_05_md5_may_be_base64_as_pypis_page_says(serve: Serve, wheel: BuiltFile) -> None:
    async with serve() as served:
        raw = hashlib.md5(wheel.data, usedforsecurity=False).digest()
        fields = upload_fields(wheel) | {"md5_digest": base64.urlsafe_b64encode(raw).rstrip(b"=").decode()}
        assert (await _send(served, upload_parts(wheel, fields=fields))).status == 200


# UP-6 to UP-8, UP-19: fields


async def test_up_06_up_19_fields_of_every_client_are_taken_and_unknown_ones_ignored(
    serve: Serve, wheel: BuiltFile
) -> None:
    more: list[Part] = [
        ("classifiers", None, b"Programming Language :: Python"),
        ("project_urls", None, b"Home, https://example.com"),
        ("keywords", None, b"a,b"),
        ("provides_extra", None, b"x"),
        ("dynamic", None, b"version"),
        ("supported_platform", None, b"linux"),
        ("license_file", None, b"LICENSE"),
        ("import_names", None, b"demo"),
        ("comment", None, "Grüße".encode()),
        ("description", None, b"# long\n" * 200_000),
        ("something_new", None, b"?"),
        (":odd name;", None, b"?"),
    ]
    async with serve() as served:
        answer = await _send(served, [*more, *upload_parts(wheel)])
        assert answer.status == 200
        assert await _shown(served) == [wheel.filename]


async def test_up_07_unknown_and_empty_mean_absent(serve: Serve, wheel: BuiltFile) -> None:
    async with serve() as served:
        empty = dict.fromkeys(
            ("summary", "home_page", "license", "md5_digest", "blake2_256_digest", "requires_python"), ""
        )
        unknown = dict.fromkeys(("author", "author_email", "keywords"), "UNKNOWN")
        answer = await _send(served, upload_parts(wheel, fields={**upload_fields(wheel), **empty, **unknown}))
        assert answer.status == 200


async def test_up_08_a_text_field_as_a_file_is_refused(serve: Serve, wheel: BuiltFile) -> None:
    async with serve() as served:
        for name in ("name", "version", "description", "unknown"):
            answer = await _send(served, [(name, "x.txt", b"demo"), *upload_parts(wheel)])
            assert answer.status == 400
            assert f"{name}: Should not be a tuple" in answer.text
            assert "Should not be a tuple" in answer.reason
        await _nothing_kept(served)


async def test_up_08_a_signature_is_ignored_before_and_after_the_content(serve: Serve) -> None:
    signature: Part = ("gpg_signature", "demo.asc", b"-----BEGIN PGP SIGNATURE-----" * 1000)
    async with serve() as served:
        for number, place in enumerate((0, 99, None)):
            built = build_wheel("demo", f"{number}.0")
            parts = upload_parts(built)
            parts = [*parts[:place], signature, *parts[place:]] if place is not None else [signature, *parts, signature]
            assert (await _send(served, parts)).status == 200
        assert len(await _shown(served)) == 3


# UP-10 to UP-12, UP-17: what becomes of it


async def test_up_10_success_is_200_with_nothing_or_warnings(serve: Serve, wheel: BuiltFile) -> None:
    async with serve() as served:
        answer = await _upload(served, wheel)
        assert (answer.status, answer.reason, answer.text) == (200, "OK", "")
        other = build_wheel("demo", "2.0", requires_python=">=3.8")
        answer = await _send(served, upload_parts(other, fields=upload_fields(other, requires_python=">=3.9")))
        assert answer.status == 200
        assert answer.text.count("\n") == 1
        assert "requires-python" in answer.text


async def test_the_serial_of_an_upload_is_that_of_its_commit(serve: Serve, wheel: BuiltFile) -> None:
    """devpi's users wait until a replica has it."""
    async with serve() as served:
        before = await served.engine.store.head()
        headers = {"Content-Type": CONTENT_TYPE.decode(), **ROOT}
        async with served.request("POST", "/legacy/", data=encode_form(upload_parts(wheel)), headers=headers) as answer:
            assert answer.status == 200
        assert int(answer.headers["X-Devpi-Serial"]) == await served.engine.store.head() > before
        assert answer.headers["X-Devpi-Api-Version"] == "2"


async def test_up_11_up_17_the_same_bytes_again_change_nothing(serve: Serve, wheel: BuiltFile) -> None:
    async with serve() as served:
        for first in (False, True, False):
            answer = await _send(served, upload_parts(wheel, first=first))
            assert answer.status == 200
        assert await served.engine.store.head() == (await served.engine.store.commits(Serial(0)))[-1].serial
        uploads = [commit for commit in await served.engine.store.commits(Serial(0)) if commit.who == "root"]
        assert len(uploads) == 1


async def test_up_11_up_12_other_bytes_are_400_and_say_file_already_exists(serve: Serve, wheel: BuiltFile) -> None:
    async with serve() as served:
        await _upload(served, wheel)
        other = build_wheel("demo", "1.0", files={"demo.py": b"other"})
        blobs = [blob.sha256 async for blob in served.engine.blobs.walk()]
        for accept in ("*/*", UV_ACCEPT, "text/html"):
            answer = await _upload(served, other, headers={**ROOT, "Accept": accept})
            assert answer.status == 400
            assert answer.reason.startswith("File already exists")
            assert "File already exists" in answer.text
        answer = await _upload(served, other)
        assert answer.text.startswith("File already exists")
        # twine, poetry, pdm: lower-cased, in reason or body
        assert "already exist" in answer.reason.lower()
        assert "already exist" in answer.text.lower()
        assert sorted(blobs) == sorted([blob.sha256 async for blob in served.engine.blobs.walk()])
        async with served.get("/simple/demo/", headers={"Accept": JSON}) as page:
            (file,) = json.loads(await page.read())["files"]
        assert file["hashes"]["sha256"] == wheel.sha256


async def test_up_11_a_deleted_name_is_not_given_away(serve: Serve, wheel: BuiltFile) -> None:
    async with serve() as served:
        await _upload(served, wheel)
        path = f"/root/dev/+f/{wheel.sha256[:3]}/{wheel.sha256[3:16]}/{wheel.filename}?force"
        async with served.request("DELETE", path, headers=ROOT) as answer:
            assert answer.status == 200
        for built in (wheel, build_wheel("demo", "1.0", files={"demo.py": b"other"})):
            again = await _upload(served, built)
            assert again.status == 400
            assert again.text.startswith("This filename was previously used")
            assert again.reason.startswith("This filename was previously used")
        problem = await _upload(served, wheel, headers={**ROOT, "Accept": UV_ACCEPT})
        assert json.loads(problem.text)["title"] == "Bad request"
        assert json.loads(problem.text)["detail"].startswith("This filename was previously used")
        assert await _shown(served) == []


async def test_up_11_one_source_distribution_a_release(serve: Serve) -> None:
    async with serve() as served:
        await _upload(served, build_sdist("demo", "1.0"))
        answer = await _upload(served, build_sdist("demo", "1.0.0"))
        assert answer.status == 400
        assert answer.text.startswith("File already exists")


async def test_volatile_indexes_overwrite(serve: Serve, wheel: BuiltFile) -> None:
    async with serve() as served:
        await served.index("root/loose", volatile=True, acl_upload=("root",))
        other = build_wheel("demo", "1.0", files={"demo.py": b"other"})
        for built in (wheel, other, wheel):
            assert (await _upload(served, built, path="/root/loose/")).status == 200
            async with served.get("/root/loose/+simple/demo/", headers={"Accept": JSON}) as page:
                (file,) = json.loads(await page.read())["files"]
            assert file["hashes"]["sha256"] == built.sha256


async def test_up_11_many_at_once_one_wins(serve: Serve) -> None:
    """Same name, ten different files, all at the same time: one is published, nine are told that it exists."""
    async with serve() as served:
        files = [build_wheel("demo", "1.0", files={"demo.py": b"%d" % number}) for number in range(10)]
        answers = await asyncio.gather(*(_upload(served, built) for built in files))
        assert sorted(answer.status for answer in answers) == [200] + [400] * 9
        assert all(answer.text.startswith("File already exists") for answer in answers if answer.status == 400)
        same = await asyncio.gather(*(_upload(served, build_wheel("demo", "2.0")) for _ in range(10)))
        assert {answer.status for answer in same} == {200}


# UP-13, UP-14, UP-20: who may, and how errors travel


async def test_up_13_credentials_and_statuses(serve: Serve, wheel: BuiltFile) -> None:
    async with serve() as served:
        ben = await served.user("ben")
        await served.user("anna")
        await served.index("anna/private", acl_read=("anna",))
        await served.index("root/pypi", type="mirror", mirror_url="https://upstream.example.com/simple/")
        for path in ("/legacy/", "/", "/root/dev/"):
            for headers, status in (
                ({}, 401),
                (basic("root", "wrong"), 401),
                (basic("nobody"), 401),
                ({"Authorization": "Bearer nonsense"}, 401),
                (ben, 403),
            ):
                answer = await _upload(served, wheel, path=path, headers=headers)
                assert answer.status == status
                assert ("WWW-Authenticate" in answer.headers) is (status == 401)
        # Who may not read an index is told that there is none, as of one that there is not.
        for path in ("/anna/private/", "/anna/nowhere/", "/root/pypi/"):
            answer = await _upload(served, wheel, path=path, headers=ben)
            assert answer.status in {403, 404}, path
            assert path == "/root/pypi/" or answer.status == 404
        await _nothing_kept(served)


async def test_up_13_tokens_by_every_way_clients_send_them(serve: Serve) -> None:
    async with serve() as served:
        text, _ = await served.engine.tokens.make("root", who="[test]", actions=("upload", "read"))
        ways: list[dict[str, str]] = [
            basic("__token__", text),
            basic("root", text),
            basic("", text),
            basic(text, ""),
            {"Authorization": f"Bearer {text}"},
            {"Authorization": f"token {text}"},
            {"X-Devpi-Auth": basic("root", text)["Authorization"].partition(" ")[2]},
        ]
        for number, headers in enumerate(ways):
            answer = await _upload(served, build_wheel("demo", f"{number}.0"), headers=headers)
            assert answer.status == 200, number
        assert (await _upload(served, build_wheel("demo", "9.0"), headers=basic("ben", text))).status == 401


async def test_up_13_a_token_for_one_project_publishes_no_other(serve: Serve) -> None:
    async with serve() as served:
        text, _ = await served.engine.tokens.make("root", who="[test]", projects=("demo",))
        headers = basic("__token__", text)
        answer = await _upload(served, build_wheel("demo", "1.0"), headers=headers)
        other = await _upload(served, build_wheel("other", "1.0"), headers=headers)
        assert (answer.status, other.status) == (200, 403)
        assert await _shown(served, "other") == []


@pytest.mark.parametrize("accept", ["*/*", UV_ACCEPT, "text/html,*/*;q=0.8"])
async def test_up_14_the_message_is_in_the_reason_and_in_a_body_by_accept(
    serve: Serve, wheel: BuiltFile, accept: str
) -> None:
    async with serve() as served:
        fields = upload_fields(wheel, version="9.9")
        for headers in (ROOT, {}, basic("root", "wrong")):
            answer = await _post(
                served, encode_form(upload_parts(wheel, fields=fields)), headers={**headers, "Accept": accept}
            )
            assert answer.status in {400, 401}
            assert re.fullmatch(r"[ -~]{5,200}", answer.reason)
            assert answer.reason.startswith("Unauthorized: ") == (answer.status == 401)
            message = answer.reason.removeprefix("Unauthorized: ")[:50]
            kind = answer.headers["Content-Type"]
            if accept == UV_ACCEPT:
                assert kind == "application/problem+json"
                document = json.loads(answer.text)
                assert document["status"] == answer.status
                assert document["title"]
                assert document["detail"].startswith(message)
            elif "html" in accept:
                assert kind.startswith("text/html")
            else:
                assert kind.startswith("text/plain")
                assert answer.text.startswith(message)


async def test_up_14_no_text_of_a_form_leaves_its_line(serve: Serve, wheel: BuiltFile) -> None:
    async with serve() as served:
        for text in ("a\r\nX-Injected: yes", "a\nb", "é€\u2028", "<script>alert(1)</script>", "\x7f\x01", "x" * 5000):
            for field in ("name", "version", "filetype", ":action", "sha256_digest"):
                fields = upload_fields(wheel) | {field: text}
                body = encode_form(upload_parts(wheel, fields=fields))
                request = RawRequest(
                    "POST",
                    b"/legacy/",
                    (
                        f"Authorization: {ROOT['Authorization']}".encode(),
                        b"Content-Type: " + CONTENT_TYPE,
                        b"Accept: text/html",
                    ),
                    body,
                )
                answer = await ask_raw(served.address, request.encode())
                assert answer.status == 400
                assert "x-injected" not in answer.names
                assert re.fullmatch(r"[ -~]{1,200}", answer.reason)
                assert b"<script" not in answer.body
                assert len(answer.body) < 16_384
        await _nothing_kept(served)


async def test_up_18_hatch_finds_no_page_quickly(serve: Serve, wheel: BuiltFile) -> None:
    async with serve() as served:
        async with served.get("/legacy/+simple/demo/", headers=ROOT) as answer:
            assert answer.status == 404
        await _upload(served, wheel, path="/root/dev/")
        async with served.get("/root/dev/+simple/demo/", headers=ROOT) as answer:
            assert answer.status == 200


@pytest.mark.parametrize("status", ["archived", "quarantined"])
async def test_up_20_closed_projects_are_403_and_say_why(serve: Serve, wheel: BuiltFile, status: str) -> None:
    async with serve() as served:
        await served.engine.store.apply(
            [PutProject(HOSTED, ProjectName("demo"), PageHead(display_name="demo", status=status))], who="[test]"
        )
        answer = await _upload(served, wheel)
        assert answer.status == 403
        assert status in answer.reason
        assert status in answer.text
        assert [blob async for blob in served.engine.blobs.walk()] == []


async def test_up_20_too_large_is_413_with_or_without_a_length(serve: Serve) -> None:
    built = build_wheel("demo", "1.0", files={"demo.py": b"x" * 60_000}, stored=True)
    async with serve(max_upload_bytes=50_000) as served:
        for first in (False, True):
            body = encode_form(upload_parts(built, first=first))
            answer = await _post(served, body)
            assert answer.status == 413
            assert "50000 bytes" in answer.text
        await _nothing_kept(served)


async def test_va_31_form_file_and_archive_must_agree(serve: Serve) -> None:
    built = build_wheel("demo", "1.0")
    async with serve() as served:
        for changed in ({"name": "other"}, {"version": "2.0"}, {"filetype": "sdist"}, {"pyversion": "source"}):
            answer = await _send(served, upload_parts(built, fields=upload_fields(built, **changed)))
            assert answer.status == 400
        for filename in ("other-1.0-py3-none-any.whl", "demo-2.0-py3-none-any.whl", "demo-1.0.tar.gz", "demo.whl", "x"):
            answer = await _send(served, upload_parts(built, filename=filename))
            assert answer.status == 400
        await _nothing_kept(served)
        for spelling in ("Demo", "DEMO"):
            answer = await _send(served, upload_parts(built, fields=upload_fields(built, name=spelling)))
            assert answer.status == 200


# UP-16 and connections


async def test_up_16_a_refused_upload_is_read_to_its_end(serve: Serve) -> None:
    """The client is still sending when the refusal is clear; it gets the answer, and the connection lives on."""
    large = b"x" * 3_000_000
    async with serve() as served:
        for headers, status in ((ROOT, 400), ({}, 401), (basic("root", "wrong"), 401)):
            async with connected(served.address) as (reader, writer):
                body = encode_form([("content", "no wheel at all", large)])
                lines = [f"{name}: {value}".encode() for name, value in headers.items()]
                request = RawRequest("POST", b"/legacy/", (*lines, b"Content-Type: " + CONTENT_TYPE), body)
                writer.write(request.encode())
                writer.write(b"GET /+live HTTP/1.1\r\nHost: x\r\n\r\n")
                await writer.drain()
                answer = await read_answer(reader)
                assert answer.status == status
                assert (await read_answer(reader)).body == b"alive\n"


async def test_up_16_who_asks_before_sending_is_told_to_go_on_or_not_to(serve: Serve, wheel: BuiltFile) -> None:
    body = encode_form(upload_parts(wheel))

    def head(path: str, headers: dict[str, str]) -> bytes:
        lines = [f"POST {path} HTTP/1.1", "Host: x", "Expect: 100-continue", f"Content-Length: {len(body)}"]
        lines += [f"Content-Type: {CONTENT_TYPE.decode()}", *(f"{name}: {value}" for name, value in headers.items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    async with serve() as served:
        async with connected(served.address) as (reader, writer):
            writer.write(head("/legacy/", ROOT))
            assert (await read_answer(reader)).status == 100
            writer.write(body)
            assert (await read_answer(reader)).status == 200
        for path, headers, status in (("/legacy/", {}, 401), ("/+nowhere/", {}, 404), ("/simple/", ROOT, 405)):
            async with connected(served.address) as (reader, writer):
                writer.write(head(path, headers))
                answer = await read_answer(reader)
                assert answer.status == status
                assert answer.header("Connection") == "close"


async def test_a_client_that_hangs_up_leaves_nothing(
    serve: Serve, wheel: BuiltFile, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blobs = tmp_path / "blobs"
    async with serve(blobs=blobs.as_uri()) as served:
        body = encode_form(upload_parts(wheel))
        root = f"Authorization: {ROOT['Authorization']}".encode()
        whole = RawRequest("POST", b"/legacy/", (root, b"Content-Type: " + CONTENT_TYPE), body).encode()
        for size in range(len(whole) - len(body), len(whole) - 1, 150):
            async with connected(served.address) as (_, writer):
                writer.write(whole[:size])
                await writer.drain()
                writer.transport.abort()
        await served.server.stop()
        await _nothing_kept(served)
        assert not [path for path in blobs.rglob("*") if path.is_file() and wheel.data[:100] in path.read_bytes()]
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_body_that_is_compressed_is_refused(serve: Serve, wheel: BuiltFile) -> None:
    async with serve() as served:
        answer = await _upload(served, wheel, headers={**ROOT, "Content-Encoding": "x-odd"})
        assert answer.status == 415
        assert answer.headers["Accept-Encoding"] == "identity"  # RFC 9110 15.5.16
        assert "Content-Encoding" in answer.text
        await _nothing_kept(served)


async def test_stopping_waits_for_the_upload_under_way(serve: Serve, wheel: BuiltFile) -> None:
    async with serve() as served:
        body = encode_form(upload_parts(wheel))
        root = f"Authorization: {ROOT['Authorization']}".encode()
        whole = RawRequest("POST", b"/legacy/", (root, b"Content-Type: " + CONTENT_TYPE), body).encode()
        async with connected(served.address) as (reader, writer), connected(served.address) as (other, asking):
            writer.write(whole[:-100])
            await writer.drain()
            asking.write(b"GET /+live HTTP/1.1\r\nHost: x\r\n\r\n")
            await read_answer(other)  # the server has seen the first request begin
            stopping = asyncio.create_task(served.server.stop())
            while not served.server.stopping:
                await asyncio.sleep(0)
            writer.write(whole[-100:])
            answer = await read_answer(reader)
            assert answer.status == 200
            await stopping
        assert (await served.engine.store.taken(HOSTED, wheel.filename)) is not None


# The corpus of archives


@pytest.mark.parametrize("rules", ["lenient", "pypi"])
async def test_the_archive_corpus_meets_its_verdicts_over_http(
    serve: Serve, tally: Tally, caplog: pytest.LogCaptureFixture, rules: str
) -> None:
    cases = list(every_case())
    async with serve() as served:
        await served.index("root/loose", volatile=True, acl_upload=("root",), upload_rules=rules)
        for case in cases:
            answer = await _send_case(served, case)
            if case.expected_by(rules) == "accept":
                assert answer.status == 200, f"{case}: {answer.text}"
            else:
                assert answer.status in {400, 413}, f"{case}: {answer.status} {answer.text}"
            assert case.because in answer.text, f"{case}: {answer.text}"
        accepted = {case.filename for case in cases if case.expected == "accept"}
        kept = {file for project in ("demo",) for file in await _shown_in(served, "root/loose", project)}
        assert kept <= accepted
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    tally("archives over HTTP", len(cases))


async def _send_case(served: Served, case: Case) -> Answer:
    sdist = case.filename.endswith(".tar.gz")
    stem = case.filename.removesuffix(".tar.gz").split("-")
    fields = {
        ":action": "file_upload",
        "protocol_version": "1",
        "metadata_version": "2.1",
        "name": stem[0],
        "version": stem[1],
        "filetype": "sdist" if sdist else "bdist_wheel",
        "pyversion": "source" if sdist else "py3",
    }
    parts: list[Part] = [(name, None, value.encode()) for name, value in fields.items()]
    return await _send(served, [*parts, ("content", case.filename, case.data)], path="/root/loose/")


async def _shown_in(served: Served, index: str, project: str) -> list[str]:
    async with served.get(f"/{index}/+simple/{project}/", headers={"Accept": JSON}) as answer:
        return [file["filename"] for file in json.loads(await answer.read())["files"]] if answer.status == 200 else []


# devpi's older action: the metadata of a version without a file


async def test_metadata_is_registered_without_a_file(serve: Serve) -> None:
    fields: list[Part] = [(":action", None, b"submit"), ("name", None, b"demo"), ("version", None, b"1.0")]
    async with serve() as served:
        for path in ("/root/dev/", "/legacy/"):
            answer = await _send(served, [*fields, ("summary", None, path.encode())], path=path)
            assert (answer.status, answer.text) == (200, "")
            release = await served.engine.store.release(HOSTED, ProjectName("demo"), "1.0")
            assert release is not None
            assert json.loads(release.metadata)["summary"] == path
        async with served.get("/simple/demo/", headers={"Accept": JSON}) as page:
            document = json.loads(await page.read())
        assert (document["versions"], document["files"]) == (["1.0"], [])
        wrong = await _send(served, [fields[0], ("name", None, b"demo")])
        assert (wrong.status, wrong.reason) == (400, 'invalid metadata: Missing required field "version"')


async def test_metadata_is_registered_as_devpi_server_sends_it(serve: Serve) -> None:
    """A devpi-server that pushes with `register_project` says the metadata as a plain form."""
    plain = {"Content-Type": "application/x-www-form-urlencoded", **ROOT}
    said = b"%3Aaction=submit&name=demo&version=1.0&summary=f%C3%BCr+alle&classifiers=A&classifiers=B&license="
    async with serve() as served:
        assert (await _post(served, said, path="/root/dev/", headers=plain)).status == 200
        release = await served.engine.store.release(HOSTED, ProjectName("demo"), "1.0")
        assert release is not None
        metadata = json.loads(release.metadata)
        assert (metadata["summary"], metadata["classifiers"]) == ("für alle", ["A", "B"])
        for body, reason in (
            (b"%3Aaction=submit&name=%FF", "UTF-8"),
            (b"a=b&" * 5000, "more than 4096 fields"),
            (said.replace(b"submit", b"file_upload"), "content file field not found"),
            (b"", ":action field not found"),
        ):
            answer = await _post(served, body, path="/root/dev/", headers=plain)
            assert answer.status == 400
            assert reason in answer.reason
        # A page of another site can send such a form, as it can the other kind.
        forged = await _post(served, said, path="/root/dev/", headers={**plain, "Origin": "https://evil.example"})
        assert forged.status == 403


async def test_devpis_words_stand_in_the_reason_phrase(serve: Serve, wheel: BuiltFile) -> None:
    async with serve() as served:
        texts: list[Part] = [(name, None, value.encode()) for name, value in upload_fields(wheel).items()]
        for parts, reason in (
            (texts, "content file field not found"),
            (upload_parts(wheel, filename="demo-1.0.foo"), "'demo-1.0.foo' is not a valid archive name"),
            (
                upload_parts(wheel, fields=upload_fields(wheel, name="tw")),
                "filename 'demo-1.0-py3-none-any.whl' does not match project name 'tw'",
            ),
            (
                upload_parts(wheel, fields=upload_fields(wheel, version="2.0")),
                "filename 'demo-1.0-py3-none-any.whl' does not contain version '2.0'",
            ),
        ):
            answer = await _send(served, parts, path="/root/dev/")
            assert answer.status == 400
            assert reason in answer.reason
        await served.index("root/mirror", type="mirror", mirror_url="https://example.org/simple/")
        answer = await _upload(served, wheel, path="/root/mirror/")
        assert (answer.status, answer.reason) == (404, "cannot submit to mirror index root/mirror")
