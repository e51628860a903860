"""Notes, and leases over them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from random import Random

import pytest

from pkgindex_core.changes import NoteIs, PutUser, UserAbsent
from pkgindex_core.clock import Timestamp
from pkgindex_core.errors import RequirementFailed, Unavailable
from pkgindex_core.models import Serial
from pkgindex_core.protocols.index_store import IndexStore, Touched
from pkgindex_core.protocols.notes import Note
from pkgindex_core.testing.index_cases.base import IndexStoreCases
from pkgindex_core.testing.index_cases.values import SECOND, START, user
from pkgindex_core.tools import leases

KIND = "test.kind"


class NotesCases(IndexStoreCases):
    async def peek_notes(self) -> Collection[tuple[str, str, bytes]]:
        """(kind, key, value) of every note on the medium, ended or not, not through the store."""
        raise NotImplementedError

    async def put(
        self, key: str, value: bytes = b"", *, seconds: float | None = None, expected: int | None = None
    ) -> int:
        """Write a note, check that it was written, and return its version."""
        version = await self.store.put_note(KIND, key, value, seconds=seconds, expected=expected)
        assert version is not None
        return version

    async def kept(self, kind: str = KIND, after: str = "", store: IndexStore | None = None) -> dict[str, bytes]:
        return {
            note.key: note.value async for batch in (store or self.store).notes(kind, after=after) for note in batch
        }

    async def test_a_note_is_read_as_it_was_written(self) -> None:
        assert await self.store.note(KIND, "a") is None
        version = await self.put("a", b"\0\xff")
        assert version > 0
        assert await self.store.note(KIND, "a") == Note(key="a", value=b"\0\xff", version=version)
        assert (KIND, "a", b"\0\xff") in await self.peek_notes()
        assert await self.store.note("other.kind", "a") is None
        assert await self.store.note(KIND, "A") is None

    async def test_a_note_that_is_written_again_has_a_larger_version(self) -> None:
        versions = [await self.put("a", b"same") for _ in range(3)]
        assert versions == sorted(set(versions))
        assert await self.store.note(KIND, "a") == Note(key="a", value=b"same", version=versions[-1])
        assert len(await self.peek_notes()) == 1

    async def test_no_version_is_given_twice(self) -> None:
        """Also not after the newest note was dropped or has ended, and not after reopening."""
        last = await self.put("a")
        assert await self.store.drop_note(KIND, "a")
        last, before = await self.put("a", seconds=1), last
        assert last > before
        self.clock.advance(2)
        last, before = await self.put("b"), last
        assert last > before
        assert await self.store.drop_note(KIND, "b")
        if self.survives_reopening:
            await self.store.close()
            self.store = await self.open_store(self.context)
            assert await self.put("a", expected=0) > last

    async def test_a_note_is_written_only_over_the_expected_version(self) -> None:
        first = await self.put("a", b"1", expected=0)
        assert await self.store.put_note(KIND, "a", b"2", expected=0) is None
        assert await self.store.put_note(KIND, "b", b"2", expected=first) is None
        second = await self.put("a", b"2", expected=first)
        assert await self.store.put_note(KIND, "a", b"3", expected=first) is None
        assert await self.kept() == {"a": b"2"}
        assert not await self.store.drop_note(KIND, "a", expected=first)
        assert not await self.store.drop_note(KIND, "b", expected=0)
        assert await self.store.drop_note(KIND, "a", expected=second)
        assert not await self.store.drop_note(KIND, "a")
        assert await self.kept() == {}
        assert list(await self.peek_notes()) == []

    async def test_a_note_that_has_ended_is_absent(self) -> None:
        version = await self.put("a", b"1", seconds=1.5)
        assert await self.store.note(KIND, "a") == Note(
            key="a", value=b"1", version=version, until=Timestamp(START + 3 * SECOND // 2)
        )
        self.clock.advance(1.4)
        assert await self.kept() == {"a": b"1"}
        self.clock.advance(0.1)
        assert await self.store.note(KIND, "a") is None
        assert await self.kept() == {}
        assert await self.store.put_note(KIND, "a", b"2", expected=version) is None
        assert not await self.store.drop_note(KIND, "a")
        assert await self.put("a", b"2", expected=0) > version
        self.clock.advance(1_000_000)
        assert await self.kept() == {"a": b"2"}

    async def test_what_has_ended_is_removed_by_later_writes(self) -> None:
        await self.store.put_notes(KIND, {f"{number:03}": b"x" for number in range(500)}, seconds=10)
        await self.put("stays", seconds=100)
        self.clock.advance(11)
        for _ in range(3):
            await self.put("other")
        assert {key for _, key, _ in await self.peek_notes()} == {"stays", "other"}

    async def test_many_are_written_at_once(self) -> None:
        before = await self.put("b", b"old", seconds=5)
        await self.store.put_notes(KIND, {"a": b"1", "b": b"2", "é": b"3"})
        await self.store.put_notes(KIND, {})
        assert await self.kept() == {"a": b"1", "b": b"2", "é": b"3"}
        again = await self.store.note(KIND, "b")
        assert again is not None
        assert (again.version > before, again.until) == (True, None)

    async def test_a_kind_is_read_in_order_from_a_key_on(self) -> None:
        keys = ["Z", "a", "a/b", "a0", "b", "é", "z", "\U0001f600", "\uffee"]
        await self.store.put_notes(KIND, {key: key.encode() for key in Random(1).sample(keys, len(keys))})
        await self.store.put_notes("other.kind", {"c": b""})
        assert [*await self.kept()] == sorted(keys)
        for key in ("", "Y", "a", "a.", "é", "\U0001f600"):
            assert [*await self.kept(after=key)] == [each for each in sorted(keys) if each > key]

    async def test_a_long_kind_comes_in_batches(self) -> None:
        expected = {f"{number:05}": str(number).encode() for number in range(2_500)}
        await self.store.put_notes(KIND, expected)
        batches = [batch async for batch in self.store.notes(KIND)]
        assert [(note.key, note.value) for batch in batches for note in batch] == [*expected.items()]
        assert 1 < len(batches) < 100
        assert all(batches)

    async def test_one_of_many_that_expect_the_same_succeeds(self) -> None:
        expected = 0
        for turn in range(5):
            values = [f"{turn}.{number}".encode() for number in range(20)]
            versions = await asyncio.gather(
                *(self.store.put_note(KIND, "a", value, expected=expected) for value in values)
            )
            ((value, expected),) = [
                (value, version) for value, version in zip(values, versions, strict=True) if version is not None
            ]
            assert await self.store.note(KIND, "a") == Note(key="a", value=value, version=expected)

    async def test_random_lives_are_those_of_a_dictionary(self) -> None:
        random, plain, last = Random(7), dict[str, tuple[bytes, int, int]](), 0
        for step in range(400):
            now = self.clock.now()
            plain = {key: found for key, found in plain.items() if found[2] > now}
            key, value = random.choice("abcd"), str(step).encode()
            version = plain[key][1] if key in plain else 0
            expected = random.choice([None, version, version, random.randrange(last + 1)])
            seconds = random.choice([None, 1.0, 3.0])
            if random.random() < 0.3:
                dropped = await self.store.drop_note(KIND, key, expected=expected)
                assert dropped == (key in plain and expected in {None, version})
                if dropped:
                    del plain[key]
            else:
                written = await self.store.put_note(KIND, key, value, seconds=seconds, expected=expected)
                assert (written is not None) == (expected in {None, version})
                if written is not None:
                    assert written > last
                    last = written
                    plain[key] = (value, written, now + int(seconds * SECOND) if seconds else 2**63)
            assert await self.kept() == {each: plain[each][0] for each in sorted(plain)}
            self.clock.advance(random.choice([0.0, 0.0, 0.7]))

    async def test_notes_are_no_commits(self) -> None:
        await self.seed()
        head = await self.store.head()
        await self.put("a", b"1")
        await self.store.put_notes(KIND, {"b": b"2"})
        await self.store.drop_note(KIND, "b")
        assert await self.store.head() == self.store.seen() == head
        assert await self.store.touched(head) == Touched(upto=head)
        assert await self.commit(PutUser(user("bob"))) == head + 1
        assert len(await self.store.commits(Serial(0))) == head + 1

    async def test_notes_and_commits_at_once(self) -> None:
        """They share the one writer, and none is lost."""
        await asyncio.gather(
            *(self.put(f"{number:02}") for number in range(30)),
            *(self.commit(PutUser(user(f"u{number}"))) for number in range(30)),
            *(self.store.put_notes(KIND, {f"m{number:02}": b""}) for number in range(30)),
        )
        assert len(await self.kept()) == 60
        assert await self.store.head() == 30

    async def test_notes_are_there_when_the_store_is_opened_again(self) -> None:
        version = await self.put("a", b"1", seconds=10)
        await self.store.put_notes(KIND, {"b": b"2"})
        await self.store.close()
        self.store = await self.open_store(self.context)
        assert await self.kept() == ({"a": b"1", "b": b"2"} if self.survives_reopening else {})
        if self.survives_reopening:
            await self.put("a", b"3", expected=version)

    async def test_a_closed_store_takes_no_notes(self) -> None:
        store = await self.open_store(self.context)
        await store.close()
        with pytest.raises(Unavailable):
            await store.put_note(KIND, "a", b"")
        with pytest.raises(Unavailable):
            await store.put_notes(KIND, {"a": b""})
        with pytest.raises(Unavailable):
            await store.drop_note(KIND, "a")

    async def test_two_stores_on_one_medium_share_notes(self) -> None:
        second = await self.open_store(self.context)
        try:
            version = await self.put("a", b"1")
            if not self.survives_reopening:
                assert await second.note(KIND, "a") is None
                return
            assert await second.note(KIND, "a") == Note(key="a", value=b"1", version=version)
            assert await second.put_note(KIND, "a", b"2", expected=0) is None
            newer = await second.put_note(KIND, "a", b"2", expected=version)
            assert newer is not None
            assert newer > version
            assert await self.store.put_note(KIND, "a", b"3", expected=version) is None
            assert await self.kept() == await self.kept(store=second) == {"a": b"2"}
            for turn in range(5):
                both = [self.store, second] * 5
                written = await asyncio.gather(
                    *(store.put_note(KIND, f"race{turn}", b"", expected=0) for store in both)
                )
                assert len([each for each in written if each is not None]) == 1
        finally:
            await second.close()

    # Leases, which are tools over notes.

    async def test_a_lease_has_one_holder(self) -> None:
        first = await leases.acquire(self.store, "work", "ann", seconds=10)
        assert first is not None
        assert await leases.acquire(self.store, "work", "bob", seconds=10) is None
        assert await leases.acquire(self.store, "other", "bob", seconds=10) is not None
        assert await leases.release(self.store, first)
        assert not await leases.release(self.store, first)
        second = await leases.acquire(self.store, "work", "bob", seconds=10)
        assert second is not None
        assert (second.holder, second.token > first.token) == ("bob", True)

    async def test_a_lease_that_is_not_renewed_ends(self) -> None:
        first = await leases.acquire(self.store, "work", "ann", seconds=10)
        assert first is not None
        self.clock.advance(6)
        renewed = await leases.renew(self.store, first, seconds=10)
        assert renewed is not None
        assert renewed.token == first.token
        self.clock.advance(6)
        assert await leases.acquire(self.store, "work", "bob", seconds=10) is None
        assert await leases.renew(self.store, first, seconds=10) is None, "a copy of this lease was renewed meanwhile"
        self.clock.advance(4)
        assert await leases.renew(self.store, renewed, seconds=10) is None
        second = await leases.acquire(self.store, "work", "bob", seconds=10)
        assert second is not None
        assert second.token > renewed.token
        assert not await leases.release(self.store, renewed)
        assert await leases.acquire(self.store, "work", "ann", seconds=10) is None

    async def test_tokens_only_grow(self) -> None:
        """However the lease before ended, and whatever else is written."""
        tokens: list[int] = []
        for turn in range(6):
            lease = await leases.acquire(self.store, "work", f"holder {turn}", seconds=10)
            assert lease is not None
            tokens.append(lease.token)
            if turn % 2:
                await leases.renew(self.store, lease, seconds=1)
                self.clock.advance(11)
            else:
                await leases.release(self.store, lease)
            await self.put("a")
            await self.store.drop_note(KIND, "a")
        assert tokens == sorted(set(tokens))

    async def test_one_of_many_gets_a_lease(self) -> None:
        found = await asyncio.gather(
            *(leases.acquire(self.store, "work", f"holder {number}", seconds=10) for number in range(20))
        )
        assert len([lease for lease in found if lease is not None]) == 1

    # Fencing: commits of a holder.

    async def holding(self, holder: str) -> leases.HeldLease:
        """The lease as a process that was stopped knows it: its own clock does not tell that the time is over."""
        lease = await leases.acquire(self.store, "work", holder, seconds=10)
        assert lease is not None
        return leases.HeldLease(self.store, lease, seconds=10, asked=asyncio.get_running_loop().time() + 3600)

    async def commit_held(self, holding: leases.HeldLease, name: str) -> Serial:
        return await holding.guarded(lambda held: self.commit(PutUser(user(name)), require=[UserAbsent(name), held]))

    async def test_a_holder_commits_and_renews_at_the_same_time(self) -> None:
        holding = await self.holding("ann")
        token = holding.token
        written = [self.commit_held(holding, f"user{number}") for number in range(8)]
        renewed = [holding.renew() for _ in range(8)]
        outcomes = await asyncio.gather(*(each for both in zip(written, renewed, strict=True) for each in both))
        assert sorted(outcomes[::2]) == [*range(1, 9)]
        assert all(outcomes[1::2])
        assert holding.token == token

    async def test_a_holder_that_was_overtaken_commits_nothing(self) -> None:
        first = await self.holding("ann")
        assert await self.commit_held(first, "before") == 1
        self.clock.advance(11)
        second = await self.holding("bob")
        assert second.token > first.token
        with pytest.raises(Unavailable, match="the lease of work has ended"):
            await self.commit_held(first, "after")
        assert first.is_over
        assert not await first.renew()
        await first.release()
        assert await self.commit_held(second, "other") == 2
        assert [row.name for row in await self.store.users()] == ["before", "other"]
        assert len(await self.peek_log()) == 2

    async def test_a_holder_whose_time_is_over_commits_nothing_although_nobody_else_works(self) -> None:
        first = await self.holding("ann")
        self.clock.advance(10)
        with pytest.raises(Unavailable, match="the lease of work has ended"):
            await self.commit_held(first, "after")
        with pytest.raises(Unavailable, match="the lease of work has ended"):
            first.check()
        assert not await self.store.users()

    async def test_another_requirement_of_a_holder_fails_as_usual(self) -> None:
        holding = await self.holding("ann")
        assert await self.commit_held(holding, "one") == 1
        with pytest.raises(RequirementFailed) as caught:
            await self.commit_held(holding, "one")
        assert not isinstance(caught.value.requirement, NoteIs)
        assert await self.commit_held(holding, "two") == 2
