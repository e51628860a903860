"""Notices of uploads: who is told what, at least once, and never at the cost of who uploads."""

from __future__ import annotations

import asyncio
import json
import logging
import urllib.parse
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from pkgindex_core import failpoints
from pkgindex_core.changes import Commit, PutFile, PutIndex, PutUser
from pkgindex_core.digests import sha256_of
from pkgindex_core.engines.memory.index import MemoryIndex
from pkgindex_core.errors import Refused, StorageFull
from pkgindex_core.hookspecs import Context
from pkgindex_core.models import Event, File, IndexConfig, Serial, Tree, User
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.plugins import load_plugins
from pkgindex_core.testing.index_cases.values import START, ManualClock
from pkgindex_core.tools import leases
from pkgindex_mirror.sending import webhooks
from pkgindex_mirror.sending.notices import receiver
from pkgindex_mirror.sending.webhooks import KIND, PLACE, Webhooks
from pkgindex_mirror.settings import MirrorSettings
from tests.mirror.receiver import Receiver, receiving

DEV = IndexName("ann/dev")
QUIET = IndexName("ann/quiet")
DEMO = ProjectName("demo")
LOOPBACK = ("127.0.0.0/8",)


class World:
    """A store with one index that tells, and who tells."""

    def __init__(self, receiver: Receiver) -> None:
        self.clock = ManualClock()
        self.store = MemoryIndex(self.clock)
        self.receiver = receiver
        self.slept: list[float] = []
        self.time_passes = True
        """Whether a pause moves the clock. Leases are renewed by the time of the event loop, which does not move with it."""
        self.awake = asyncio.Event()
        """Pauses end while it is set."""
        self.awake.set()

    async def configure(self, **options: Any) -> None:
        await self.store.apply(
            [
                PutUser(User(name="ann")),
                PutIndex(IndexConfig(name=DEV, options=options)),
                PutIndex(IndexConfig(name=QUIET)),
            ],
            who="ann",
        )

    async def upload(
        self, filename: str, *, index: IndexName = DEV, event: str = "upload", who: str = "ann"
    ) -> Commit | None:
        source = str(QUIET) if event == "push" else ""
        history = (Event(what=event, at=START, who="ann", source=source, target=index),)
        file = File(
            filename=filename,
            version=filename.split("-")[1],
            digests={"sha256": sha256_of(filename.encode())},
            size=5,
            history=history,
        )
        return await self.store.apply([PutFile(index, DEMO, file)], who=who)

    def webhooks(self, *, allowed: tuple[str, ...] = LOOPBACK, **settings: Any) -> Webhooks:
        async def sleep(seconds: float) -> None:
            self.slept.append(seconds)
            if self.time_passes:
                self.clock.advance(seconds)
            await asyncio.sleep(0)
            await self.awake.wait()

        return Webhooks(
            store=self.store,
            clock=self.clock,
            settings=MirrorSettings(allow_networks=allowed, **settings),
            public_url="https://packages.example.org",
            sleep=sleep,
        )

    @asynccontextmanager
    async def telling(self, **settings: Any) -> AsyncIterator[Webhooks]:
        """Somebody who tells, from the place that was kept or from now on."""
        webhooks = self.webhooks(**settings)
        task = asyncio.create_task(webhooks.follow())
        try:
            async with asyncio.timeout(30):
                while await self.place() is None:
                    await asyncio.sleep(0.001)
            yield webhooks
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await webhooks.close()

    async def told(self, count: int) -> None:
        """Wait until the place behind so many posts is kept."""
        await self.receiver.wait_for(count)
        async with asyncio.timeout(30):
            head = await self.store.head()
            while (await self.place() or 0) < head:
                await asyncio.sleep(0.001)

    async def until_leased(self) -> None:
        """Wait until somebody has the lease."""
        async with asyncio.timeout(30):
            while await self.store.note(leases.KIND, KIND) is None:
                await asyncio.sleep(0.001)

    async def place(self) -> int | None:
        """The place that is kept."""
        note = await self.store.note(KIND, PLACE)
        return None if note is None or not note.value.isdigit() else int(note.value)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with receiving() as receiver:
        yield World(receiver)


async def test_the_document_says_what_was_uploaded_and_pushed(world: World) -> None:
    """Where, by whom, with which digest and at which URL; (serial, filename) tells one notice from another."""
    await world.configure(upload_webhook=world.receiver.url)
    async with world.telling():
        await world.upload("demo-1.0-py3-none-any.whl")
        await world.upload("demo-2.0-py3-none-any.whl", event="push")
        await world.told(2)
    first, second = (json.loads(post.body) for post in world.receiver.posts)
    sha256 = sha256_of(b"demo-1.0-py3-none-any.whl")
    assert first == {
        "event": "upload",
        "serial": 2,
        "at": "2023-11-14T22:13:20Z",
        "who": "ann",
        "index": "ann/dev",
        "source": "",
        "project": "demo",
        "version": "1.0",
        "filename": "demo-1.0-py3-none-any.whl",
        "size": 5,
        "sha256": sha256,
        "url": f"https://packages.example.org/ann/dev/+f/{sha256[:3]}/{sha256[3:16]}/demo-1.0-py3-none-any.whl",
    }
    assert (second["event"], second["source"], second["serial"]) == ("push", "ann/quiet", 3)
    assert {post.headers["Content-Type"] for post in world.receiver.posts} == {"application/json"}


async def test_slack_is_told_as_devpi_slack_tells(world: World) -> None:
    """A form with one field that holds JSON; its own picture and name when the index has none."""
    await world.configure(slack_hook=world.receiver.url)
    async with world.telling():
        await world.upload("demo-1.0-py3-none-any.whl")
        await world.told(1)
        await world.configure(slack_hook=world.receiver.url, slack_icon="https://x/y.png", slack_user="bot")
        await world.upload("demo-1.1-py3-none-any.whl")
        await world.told(2)
        await world.upload("demo-1.2-py3-none-any.whl", event="push")  # devpi's plugin knows uploads only
        await world.upload("demo-1.3-py3-none-any.whl")
        await world.told(3)
    payloads = [json.loads(urllib.parse.parse_qs(post.body.decode())["payload"][0]) for post in world.receiver.posts]
    assert payloads[0] == {
        "text": "Uploaded demo==1.0 to https://packages.example.org/ann/dev",
        "icon_url": "http://doc.devpi.net/latest/_static/devpicat.jpg",
        "username": "devpi",
    }
    assert (payloads[1]["icon_url"], payloads[1]["username"]) == ("https://x/y.png", "bot")
    assert [each["text"].split()[1] for each in payloads] == ["demo==1.0", "demo==1.1", "demo==1.3"]


async def test_jenkins_is_given_a_job_as_devpi_jenkins_gives_it(world: World) -> None:
    """Name and version in the URL, escaped; a script that can be compiled; the redirect to the job's page is a success."""
    world.receiver.answer = lambda _post: web.Response(status=303, headers={"Location": "/job"})
    url = world.receiver.url.replace("http://", "http://ci:t0ken@") + "job/{pkgname}/{pkgversion}/{}{0}/build"
    await world.configure(uploadtrigger_jenkins=url)
    async with world.telling():
        await world.upload("demo-1!1.0+x/y-py3-none-any.whl")
        await world.told(1)
    (post,) = world.receiver.posts
    assert post.path == "/job/demo/1!1.0+x/y/{}{0}/build"
    assert post.headers["Authorization"] == "Basic Y2k6dDBrZW4="
    assert post.fields["Submit"] == ["Build"]
    assert json.loads(post.fields["json"][0]) == {"parameter": {"name": "jobscript.py", "file": "file0"}}
    name, script = post.files["file0"]
    assert name == "file0"
    names: dict[str, Any] = {}
    head = script.decode().partition("with tempfile")[0]
    compile(script, "jobscript.py", "exec")
    exec(head, names)  # the part that only names things
    assert names["INDEX"] == "https://packages.example.org/ann/dev"
    assert names["WHAT"] == "demo==1!1.0+x/y"


async def test_what_the_program_does_itself_is_not_told(world: World) -> None:
    """Imports and the like are in brackets in the log; anonymous uploads are too, and are told."""
    await world.configure(upload_webhook=world.receiver.url)
    async with world.telling():
        await world.upload("demo-1.0-py3-none-any.whl", who="[import]")
        await world.upload("demo-1.1-py3-none-any.whl", index=QUIET)
        await world.upload("demo-1.2-py3-none-any.whl", who="[anonymous]")
        await world.told(1)
    assert [json.loads(post.body)["version"] for post in world.receiver.posts] == ["1.2"]


async def test_what_was_uploaded_while_nobody_told_is_told_later(world: World) -> None:
    """By any process: the log is followed, not the requests. What was before the first time is not told."""
    await world.configure(upload_webhook=world.receiver.url)
    await world.upload("demo-1.0-py3-none-any.whl")
    async with world.telling():
        await world.upload("demo-2.0-py3-none-any.whl")
        await world.told(1)
    await world.upload("demo-3.0-py3-none-any.whl")
    async with world.telling():
        await world.told(2)
    assert [json.loads(post.body)["version"] for post in world.receiver.posts] == ["2.0", "3.0"]


async def test_killed_between_telling_and_keeping_tells_again(world: World) -> None:
    """At least once, and never not at all."""
    await world.configure(upload_webhook=world.receiver.url)
    async with world.telling():
        pass
    await world.upload("demo-1.0-py3-none-any.whl")
    point = "webhook.delivered"
    failpoints.arm(f"{point}=raise:EIO")
    try:
        webhooks = world.webhooks()
        with pytest.raises(OSError, match="Input/output"):
            await webhooks.follow()
        await webhooks.close()
    finally:
        failpoints.disarm()
    assert len(world.receiver.posts) == 1
    async with world.telling():
        await world.told(2)
    assert world.receiver.posts[0].body == world.receiver.posts[1].body


async def test_a_place_that_cannot_be_kept_tells_nothing_twice(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk the same builds would begin every half minute; there the lease ends as well, and is taken again."""
    await world.configure(upload_webhook=world.receiver.url)
    writes = world.store.put_note
    monkeypatch.setattr(webhooks, "_LEASE_SECONDS", 0.03)

    async def full(*_: Any, **__: Any) -> int | None:
        raise StorageFull("no room")

    async with world.telling():
        await world.until_leased()
        world.store.put_note = full  # type: ignore[method-assign]  # a disk that is full
        await world.upload("demo-1.0-py3-none-any.whl")
        await world.receiver.wait_for(1)
        async with asyncio.timeout(30):
            while "notices of uploads are delayed" not in caplog.text:
                await asyncio.sleep(0.001)
        world.store.put_note = writes  # type: ignore[method-assign]  # and is not any more
        await world.upload("demo-2.0-py3-none-any.whl")
        await world.told(2)
    assert "the place in the log cannot be kept: no room" in caplog.text
    assert "cannot be renewed now: no room" in caplog.text
    assert [json.loads(post.body)["version"] for post in world.receiver.posts] == ["1.0", "2.0"]


async def test_a_receiver_in_trouble_is_asked_again_for_a_while(world: World) -> None:
    """Then the notice is given up, and for a minute the next ones are too; a refusal is final at once."""
    await world.configure(upload_webhook=world.receiver.url)
    answers = [503, 429, 200]
    world.receiver.answer = lambda _post: web.Response(status=answers.pop(0) if answers else 500)
    async with world.telling(hook_attempts=4):
        await world.upload("demo-1.0-py3-none-any.whl")
        await world.told(3)
        await world.upload("demo-2.0-py3-none-any.whl")
        await world.told(3 + 4)
        await world.upload("demo-3.0-py3-none-any.whl")
        await world.told(3 + 4)
        world.clock.advance(61)
        answers[:] = [400, 200]
        await world.upload("demo-4.0-py3-none-any.whl")
        await world.upload("demo-5.0-py3-none-any.whl")
        await world.told(3 + 4 + 2)
    versions = [json.loads(post.body)["version"] for post in world.receiver.posts]
    assert versions == ["1.0"] * 3 + ["2.0"] * 4 + ["4.0", "5.0"]
    assert len(world.slept) == 2 + 3


async def test_a_receiver_that_hangs_holds_up_no_upload(world: World) -> None:
    """It holds up later notices, until it is given up; those of the same moment go to others meanwhile."""
    world.receiver.hold = asyncio.Event()
    async with receiving() as other:
        await world.configure(upload_webhook=world.receiver.url, slack_hook=other.url)
        async with world.telling(hook_timeout=30.0):
            await world.upload("demo-1.0-py3-none-any.whl")
            await world.receiver.wait_for(1)
            await other.wait_for(1)
            assert await world.upload("demo-2.0-py3-none-any.whl") is not None
            world.receiver.hold.set()
            await world.told(2)
            await other.wait_for(2)


async def test_nobody_is_talked_into_a_private_network(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Who may configure an index says where to: nothing is sent, and the log names the setting, not the URL."""
    await world.configure(upload_webhook=f"{world.receiver.url}s3cret")
    caplog.set_level(logging.DEBUG)
    async with world.telling(allowed=()):
        await world.upload("demo-1.0-py3-none-any.whl")
        await world.told(0)
    assert world.receiver.posts == []
    assert "allow_networks" in caplog.text
    assert "s3cret" not in caplog.text


async def test_many_uploads_cost_one_look_for_a_receiver(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new receiver hears of all uploads since the last look, some of which may be older than itself."""
    await world.configure()
    looks = 0
    real = world.store.tree

    async def tree(*, at: Serial | None = None) -> Tree:
        nonlocal looks
        looks += 1
        return await real(at=at)

    monkeypatch.setattr(world.store, "tree", tree)
    async with world.telling():
        world.awake.clear()
        await world.upload("demo-1.0-py3-none-any.whl")
        async with asyncio.timeout(30):
            while not world.slept:
                await asyncio.sleep(0.001)
        before = looks
        for number in range(2, 10):
            await world.upload(f"demo-{number}.0-py3-none-any.whl")
            await asyncio.sleep(0.001)
        assert looks == before
        await world.configure(upload_webhook=world.receiver.url)
        await world.upload("demo-10.0-py3-none-any.whl")
        world.awake.set()
        await world.told(9)
    assert "10.0" in [json.loads(post.body)["version"] for post in world.receiver.posts]


async def test_one_of_two_tells(world: World) -> None:
    """Two servers over one store: the second waits for its turn, and takes it when the first is gone."""
    world.time_passes = False
    await world.configure(upload_webhook=world.receiver.url)
    async with world.telling():
        await world.until_leased()
        waiting = world.webhooks()
        second = asyncio.create_task(waiting.follow())
        await world.upload("demo-1.0-py3-none-any.whl")
        await world.told(1)
        assert world.slept
    await world.upload("demo-2.0-py3-none-any.whl")
    await world.told(2)
    second.cancel()
    with suppress(asyncio.CancelledError):
        await second
    await waiting.close()
    assert [json.loads(post.body)["version"] for post in world.receiver.posts] == ["1.0", "2.0"]


async def test_a_server_that_slept_does_not_move_the_place_back(world: World) -> None:
    """Its lease has ended meanwhile, and another server has told: it goes on behind that."""
    await world.configure(upload_webhook=world.receiver.url)
    async with world.telling():
        await world.until_leased()
        world.receiver.hold = asyncio.Event()  # the server sleeps in the middle of telling
        await world.upload("demo-1.0-py3-none-any.whl")
        await world.receiver.wait_for(1)
        await world.upload("demo-2.0-py3-none-any.whl")
        head = await world.store.head()
        note = await world.store.note(KIND, PLACE)
        assert note is not None
        assert await world.store.put_note(KIND, PLACE, str(head).encode(), expected=note.version) is not None
        world.receiver.hold.set()
        await world.upload("demo-3.0-py3-none-any.whl")
        await world.told(2)
    assert [json.loads(post.body)["version"] for post in world.receiver.posts] == ["1.0", "3.0"]


async def test_without_receivers_the_place_follows_the_log_and_no_lease_is_held(world: World) -> None:
    """What was uploaded before an index had a receiver is not told, and is not told after a restart either."""
    await world.configure()
    async with world.telling():
        await world.upload("demo-1.0-py3-none-any.whl")
        world.clock.advance(11)
        await world.upload("demo-2.0-py3-none-any.whl")
        await world.told(0)
        assert await world.store.note(leases.KIND, KIND) is None
        await world.upload("demo-3.0-py3-none-any.whl")  # the place may wait for this one
        await asyncio.sleep(0.01)
        await world.configure(upload_webhook=world.receiver.url)
        await world.until_leased()
    async with world.telling():
        await world.upload("demo-4.0-py3-none-any.whl")
        await world.told(1)
    assert [json.loads(post.body)["version"] for post in world.receiver.posts] == ["4.0"]


async def test_a_place_that_cannot_be_read_is_here_and_now(world: World, caplog: pytest.LogCaptureFixture) -> None:
    await world.configure(upload_webhook=world.receiver.url)
    await world.store.put_note(KIND, PLACE, b"{")
    await world.upload("demo-1.0-py3-none-any.whl")
    async with world.telling():
        await world.upload("demo-2.0-py3-none-any.whl")
        await world.told(1)
    assert "cannot be read" in caplog.text
    assert [json.loads(post.body)["version"] for post in world.receiver.posts] == ["2.0"]


@pytest.mark.parametrize("url", ["ftp://host/", "https://", "host/path", "https://ho\nst/", "javascript:1"])
def test_a_receiver_must_be_a_url_and_is_not_repeated(url: str) -> None:
    with pytest.raises(Refused) as refused:
        receiver("slack_hook", url)
    assert "'slack_hook' option must be a URL." in str(refused.value)
    assert url not in str(refused.value)


def test_receivers_are_secrets_of_the_index(tmp_path: Path) -> None:
    """Who reads an index's configuration is not shown where its notices go: such a URL is a key."""
    with ThreadPoolExecutor(1) as workers:
        context = Context(data=tmp_path, clock=ManualClock(), workers=workers)
        options = {name: provider.make(context) for name, provider in load_plugins().index_options().items()}
    assert {name for name, option in options.items() if option.secret} >= {
        "uploadtrigger_jenkins",
        "slack_hook",
        "upload_webhook",
    }
    assert not options["slack_user"].secret
