"""Pushing to somebody else's index: the form, what comes of its answers, and where it may go."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from pkgindex_core.engines.memory.blobs import MemoryBlobs
from pkgindex_core.errors import Refused
from pkgindex_core.models import Attachment, File
from pkgindex_core.protocols import PushAnswer, PushDestination, PushedRelease
from pkgindex_core.testing.index_cases.values import ManualClock
from pkgindex_core.testing.wheels import build_sdist, build_wheel
from pkgindex_mirror.sending.publishing import TEXT_LIMIT, HttpPublisher
from pkgindex_mirror.sending.upload_forms import form_of
from pkgindex_mirror.settings import MirrorSettings
from tests.mirror.receiver import Receiver, receiving

WHEEL = build_wheel("demo", "1.0", tag="py2.py3-none-any")
SDIST = build_sdist("demo", "1.0")
DOCS = b"PK docs"
LOOPBACK = ("127.0.0.0/8",)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as running:
        yield running


@pytest.fixture
async def blobs(tmp_path: Path) -> AsyncIterator[MemoryBlobs]:
    store = MemoryBlobs(clock=ManualClock(), spools=tmp_path)
    yield store
    await store.close()


async def release(blobs: MemoryBlobs, *, docs: bool = True) -> PushedRelease:
    files = []
    for built in (WHEEL, SDIST):
        blob = await blobs.put(built.data)
        files.append(File(filename=built.filename, version="1.0", digests={"sha256": blob.sha256}, size=blob.size))
    archive = await blobs.put(DOCS)
    documentation = Attachment(
        kind="doczip",
        filename="demo-1.0.doc.zip",
        version="1.0",
        sha256=archive.sha256,
        size=archive.size,
        added=0,  # type: ignore[arg-type]  # any time
    )
    return PushedRelease(
        name="Demo",
        version="1.0",
        metadata={
            "summary": "äöü",
            "classifiers": ["A :: B", "C :: D"],
            "provides_extras": ["x"],
            "keywords": "",
            "requires_dist": [],
        },
        files=tuple(files),
        documentation=documentation if docs else None,
    )


async def push(
    blobs: MemoryBlobs,
    url: str,
    *,
    allowed: Sequence[str] = LOOPBACK,
    register: bool = False,
    docs: bool = True,
    **settings: Any,
) -> tuple[PushAnswer, ...]:
    publisher = HttpPublisher(blob_store=blobs, settings=MirrorSettings(allow_networks=tuple(allowed), **settings))
    try:
        return await publisher.push(
            PushDestination(url=url, username="ann", password="s3cret"),
            await release(blobs, docs=docs),
            register=register,
        )
    finally:
        await publisher.close()


async def test_the_form_is_the_one_that_twine_sends(blobs: MemoryBlobs, receiver: Receiver) -> None:
    """Metadata, then each file with its kind and digest, then the documentation; nothing that is empty, a length in advance."""
    answers = await push(blobs, receiver.url, register=True)
    assert [(each.kind, each.status, each.accepted) for each in answers] == [
        ("register", 200, True),
        ("file", 200, True),
        ("file", 200, True),
        ("documentation", 200, True),
    ]
    assert [post.fields[":action"] for post in receiver.posts] == [
        ["submit"],
        ["file_upload"],
        ["file_upload"],
        ["doc_upload"],
    ]
    for post in receiver.posts:
        assert post.headers["Authorization"] == f"Basic {base64.b64encode(b'ann:s3cret').decode()}"
        assert post.headers["Content-Length"] == str(len(post.body))
        assert post.fields["name"] == ["Demo"]
        assert post.fields["version"] == ["1.0"]
        assert post.fields["summary"] == ["äöü"]
        assert post.fields["classifiers"] == ["A :: B", "C :: D"]
        assert post.fields["provides_extra"] == ["x"]
        assert not {"keywords", "requires_dist"} & post.fields.keys()
    _, wheel, sdist, docs = receiver.posts
    assert (wheel.fields["filetype"], wheel.fields["pyversion"]) == (["bdist_wheel"], ["py2.py3"])
    assert (sdist.fields["filetype"], sdist.fields["pyversion"]) == (["sdist"], ["source"])
    assert wheel.fields["sha256_digest"] == [WHEEL.sha256]
    assert wheel.files["content"] == (WHEEL.filename, WHEEL.data)
    assert sdist.files["content"] == (SDIST.filename, SDIST.data)
    assert docs.files["content"] == ("demo-1.0.doc.zip", DOCS)


async def test_nobody_is_talked_into_a_private_network(blobs: MemoryBlobs, receiver: Receiver) -> None:
    """By address or by name: nothing is sent, and the setting that would allow it is named."""
    port = receiver.url.rpartition(":")[2]
    for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]"):
        (answer,) = await push(blobs, f"http://{host}:{port}", allowed=())
        assert answer.status is None
        assert "allow_networks" in answer.text
    assert receiver.posts == []


async def test_a_redirect_is_told_and_not_followed(blobs: MemoryBlobs, receiver: Receiver) -> None:
    """The password stays with the URL that was given."""
    receiver.answer = lambda _post: web.Response(status=302, headers={"Location": "https://elsewhere.example/up?key=1"})
    answers = await push(blobs, receiver.url)
    assert {each.status for each in answers} == {302}
    assert "https://elsewhere.example/up," in answers[0].text
    assert {post.path for post in receiver.posts} == {"/"}


@pytest.mark.parametrize(("status", "sent"), [(400, 3), (409, 3), (500, 3), (401, 1), (403, 1)])
async def test_what_the_other_index_says_is_passed_on(
    blobs: MemoryBlobs, receiver: Receiver, status: int, sent: int
) -> None:
    """A file that is refused does not stop the others; a user that is refused does. Text is bounded and printable."""
    receiver.answer = lambda _post: web.Response(status=status, text="no\x1b[31m " + "x" * 100_000)
    answers = await push(blobs, receiver.url)
    assert [each.status for each in answers] == [status] * sent
    assert not any(each.accepted for each in answers)
    assert answers[0].text.startswith("no[31m xxx")
    assert len(answers[0].text) <= TEXT_LIMIT
    assert len(receiver.posts) == sent


@pytest.mark.parametrize(("status", "passes"), [(200, True), (410, True), (403, False)])
async def test_registering_that_was_given_up_is_no_obstacle(
    blobs: MemoryBlobs, receiver: Receiver, status: int, passes: bool
) -> None:
    receiver.answer = lambda post: web.Response(status=status if post.fields[":action"] == ["submit"] else 200)
    answers = await push(blobs, receiver.url, register=True, docs=False)
    assert [each.status for each in answers] == [status, *([200, 200] if passes else [])]


async def test_a_server_that_cannot_be_reached_is_said_and_not_asked_again(
    blobs: MemoryBlobs, receiver: Receiver
) -> None:
    dead = "http://127.0.0.1:1/"
    (answer,) = await push(blobs, dead)
    assert (answer.status, answer.accepted) == (None, False)
    assert "could not be connected to" in answer.text


async def test_a_server_that_never_answers_is_given_up(blobs: MemoryBlobs, receiver: Receiver) -> None:
    receiver.hold = asyncio.Event()
    (answer,) = await push(blobs, receiver.url, file_allowance=0.2, slowest_file=10**9)
    assert answer.status is None
    assert "in time" in answer.text


@pytest.mark.parametrize("url", ["http://", "https://host:0/", "http://[::1/"])
async def test_a_url_that_leads_nowhere_is_refused(blobs: MemoryBlobs, url: str) -> None:
    with pytest.raises(Refused, match="posturl"):
        await push(blobs, url)


async def test_the_password_is_in_no_log_and_no_repr(
    blobs: MemoryBlobs, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    receiver.answer = lambda _post: web.Response(status=500, text="broken")
    answers = await push(blobs, receiver.url.replace("http://", "http://eve:other@"))
    told = caplog.text + repr(answers) + repr(PushDestination(url="x", username="ann", password="s3cret"))
    for secret in ("s3cret", "other", base64.b64encode(b"ann:s3cret").decode()):
        assert secret not in told


def test_text_of_users_cannot_end_a_part() -> None:
    form = form_of({"a": "b"}, filename='x"\r\n\r\ny', size=3)
    assert b'filename="x%22%0D%0A%0D%0Ay"' in form.head
    assert form.length == len(form.head) + 3 + len(form.tail)
