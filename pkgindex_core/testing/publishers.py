"""The contract suite of `Publisher`.

class TestMyPublisher(PublisherContract):
    url = "mine://there"
    async def begin(self): ...                     # the other index, with nothing in it
    async def open_publisher(self, context): return MyPublisher(context.blob_store)
    def received(self): ...                        # back doors: what arrived, without asking the publisher,
    async def answer(self, answer): ...            # and how the other index answers from now on
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Literal

import msgspec

from pkgindex_core.engines.memory.blobs import MemoryBlobs
from pkgindex_core.engines.memory.index import MemoryIndex
from pkgindex_core.errors import Refused
from pkgindex_core.hookspecs import Context
from pkgindex_core.models import File
from pkgindex_core.protocols import Publisher, PushAnswer, PushDestination, PushedRelease
from pkgindex_core.testing.index_cases.values import ManualClock
from pkgindex_core.testing.needed import pytest, pytest_asyncio
from pkgindex_core.testing.wheels import BuiltFile, build_sdist, build_wheel

WHEEL: Final = build_wheel("demo", "1.0")
SDIST: Final = build_sdist("demo", "1.0")
_PASSWORD: Final = "s3cret of ann"
_NO_URLS: Final = ("", "nonsense", "other-scheme://example.org/", "//", "\0", "日本", "x" * 100_000)

Answer = Literal["accept", "refuse", "unknown user", "silent"]


@pytest.mark.asyncio
class PublisherContract:
    """Subclass, name it `Test…`, and provide the other index."""

    url: str
    """The target of pushes. `begin` may set it."""
    context: Context
    publisher: Publisher

    async def begin(self) -> None:
        """Start the other index, empty. It accepts everything."""

    async def end(self) -> None:
        """Stop the other index. The publisher is closed by then."""

    async def open_publisher(self, context: Context) -> Publisher:
        raise NotImplementedError

    def received(self) -> Sequence[tuple[str, bytes]]:
        """The name and the bytes of every accepted file, in order of arrival, without asking the publisher."""
        raise NotImplementedError

    async def answer(self, answer: Answer) -> None:
        """Set how the other index answers from now on; `silent`: it cannot be reached."""
        raise NotImplementedError

    @pytest_asyncio.fixture(autouse=True)
    async def _opened(self, tmp_path: Path) -> AsyncIterator[None]:
        clock = ManualClock()
        blobs, store = MemoryBlobs(clock=clock, spools=tmp_path / "staging"), MemoryIndex(clock)
        with ThreadPoolExecutor(2) as workers:
            self.context = Context(data=tmp_path, clock=clock, workers=workers, index_store=store, blob_store=blobs)
            await self.begin()
            self.publisher = await self.open_publisher(self.context)
            yield
            await self.publisher.close()
            await self.end()
            await store.close()
            await blobs.close()

    async def published(
        self, *built: BuiltFile, register: bool = False, url: str | None = None
    ) -> tuple[PushAnswer, ...]:
        """Publish files, and check that no answer has a secret."""
        blobs = self.context.blob_store
        assert blobs is not None
        files = []
        for each in built:
            blob = await blobs.put(each.data)
            files.append(File(filename=each.filename, version="1.0", digests={"sha256": blob.sha256}, size=blob.size))
        destination = PushDestination(url=self.url if url is None else url, username="ann", password=_PASSWORD)
        release = PushedRelease(name="Demo", version="1.0", metadata={"summary": "äöü"}, files=tuple(files))
        answers = await self.publisher.push(destination, release, register=register)
        assert isinstance(answers, tuple)
        assert _PASSWORD not in msgspec.json.encode(answers).decode()
        return answers

    async def test_it_takes_its_own_urls_and_no_others(self) -> None:
        assert self.publisher.takes(self.url) is True
        assert [url for url in _NO_URLS if self.publisher.takes(url)] == []

    async def test_every_file_arrives_as_it_is(self) -> None:
        answers = await self.published(WHEEL, SDIST)
        assert [(each.kind, each.accepted) for each in answers] == [("file", True), ("file", True)]
        assert [each.file.filename for each in answers if each.file] == [WHEEL.filename, SDIST.filename]
        assert list(self.received()) == [(WHEEL.filename, WHEEL.data), (SDIST.filename, SDIST.data)]

    async def test_nothing_to_send_is_nothing_sent(self) -> None:
        assert await self.published() == ()
        assert list(self.received()) == []

    async def test_a_release_is_registered_first(self) -> None:
        answers = await self.published(WHEEL, register=True)
        assert [each.kind for each in answers] == ["register", "file"]
        assert list(self.received()) == [(WHEEL.filename, WHEEL.data)]

    async def test_what_is_not_accepted_is_told_and_the_next_is_sent(self) -> None:
        await self.answer("refuse")
        answers = await self.published(WHEEL, SDIST)
        assert [(each.accepted, each.status is None) for each in answers] == [(False, False), (False, False)]
        assert list(self.received()) == []
        await self.answer("accept")
        assert [each.accepted for each in await self.published(WHEEL)] == [True]

    @pytest.mark.parametrize("answer", ["unknown user", "silent"])
    async def test_it_stops_where_going_on_is_of_no_use(self, answer: Answer) -> None:
        """Without an answer of the other index the status is None, and the text says why."""
        await self.answer(answer)
        answers = await self.published(WHEEL, SDIST)
        assert [each.accepted for each in answers] == [False]
        assert (answers[0].status is None) is (answer == "silent")
        assert answers[0].text or answer != "silent"

    async def test_what_can_be_no_destination_is_refused(self) -> None:
        with pytest.raises(Refused):
            await self.published(WHEEL, url="other-scheme://example.org/")
        assert list(self.received()) == []

    async def test_no_secret_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.DEBUG):
            await self.published(WHEEL)
            await self.answer("silent")
            await self.published(WHEEL)
        assert _PASSWORD not in caplog.text

    async def test_releases_are_sent_at_once(self) -> None:
        names = [build_wheel("demo", f"1.{number}") for number in range(5)]
        await asyncio.gather(*(self.published(each) for each in names))
        assert sorted(self.received()) == sorted((each.filename, each.data) for each in names)

    async def test_closing_twice_is_closing(self) -> None:
        await self.published(WHEEL)
        await self.publisher.close()
        await self.publisher.close()
