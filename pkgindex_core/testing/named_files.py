"""The contract suite of `NamedFiles`.

    class TestMyFiles(NamedFilesContract):
        async def open_files(self): return MyFiles(…)       # the same place for each call in a test

Every test closes what it opens.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pkgindex_core.errors import Conflict
from pkgindex_core.protocols.named_files import NamedFiles
from pkgindex_core.testing.needed import pytest

_LARGE = bytes(range(256)) * 40_000


class NamedFilesContract:
    """Subclass, name it `Test…`, and open the files."""

    async def open_files(self) -> NamedFiles:
        raise NotImplementedError

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[NamedFiles]:
        files = await self.open_files()
        try:
            yield files
        finally:
            await files.close()

    @pytest.mark.parametrize("data", [b"", b"{}", _LARGE], ids=["empty", "small", "large"])
    async def test_what_was_written_is_read_by_another(self, data: bytes) -> None:
        async with self.opened() as files, self.opened() as others:
            await files.write("a/b.json", b"before")
            await files.write("a/b.json", data)
            assert await others.read("a/b.json") == data

    async def test_what_is_not_there_is_none(self) -> None:
        async with self.opened() as files:
            assert await files.read("none") is None
            assert await files.read("a/none") is None
            assert list(await files.names()) == list(await files.names("a")) == []
            await files.remove("none")
            await files.remove("a/none")
            await files.write("a/b", b"b")
            assert await files.read("a/none") is None

    async def test_names_are_sorted_and_of_one_directory(self) -> None:
        async with self.opened() as files:
            for path in ("top", "a/2", "a/1", "a/10", "b/c/3"):
                await files.write(path, path.encode())
            async with files.turn():
                assert list(await files.names()) == ["a", "b", "top"]
                assert list(await files.names("a")) == ["1", "10", "2"]
                assert list(await files.names("b")) == ["c"]
            assert list(await files.names()) == ["a", "b", "top"]

    async def test_what_was_removed_is_gone(self) -> None:
        async with self.opened() as files:
            await files.write("a/b", b"b")
            await files.write("a/c", b"c")
            await files.remove("a/b")
            assert await files.read("a/b") is None
            assert list(await files.names("a")) == ["c"]

    async def test_one_has_the_turn(self) -> None:
        async with self.opened() as files, self.opened() as others:
            async with files.turn():
                with pytest.raises(Conflict):
                    async with others.turn():
                        pytest.fail("two have the turn")
            async with others.turn():
                pass

    async def test_of_many_one_has_the_turn(self) -> None:
        async with self.opened() as files:
            having = 0
            had = 0

            async def take() -> None:
                nonlocal having, had
                async with files.turn():
                    having += 1
                    had += 1
                    assert having == 1
                    await asyncio.sleep(0.05)
                    having -= 1

            told = await asyncio.gather(*(take() for _ in range(6)), return_exceptions=True)
            assert had >= 1
            assert all(each is None or isinstance(each, Conflict) for each in told), told

    async def test_a_failure_ends_the_turn(self) -> None:
        async with self.opened() as files:
            with pytest.raises(ZeroDivisionError):
                async with files.turn():
                    raise ZeroDivisionError
            async with files.turn():
                pass
