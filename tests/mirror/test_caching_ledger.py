"""The account of mirrored files as a value: what is reserved, what leaves, and which file goes next."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import Sha256, sha256_of
from pkgindex_mirror.caching.ledger import (
    FileRecord,
    Ledger,
    Removal,
    Reservation,
    arrive,
    arrived,
    excess,
    judge,
    lack,
    leave,
    left,
    overdue,
    place_of,
)

KEY, OTHER = sha256_of(b"one"), sha256_of(b"other")
LATER = Timestamp(100)
EMPTY = Ledger(era="e")


def record(place: int = 10, *, era: str = "e", is_pinned: bool = False, size: int = 5) -> FileRecord:
    return FileRecord(size, Timestamp(place), "t", era, is_pinned)


def judged(
    found: FileRecord | None, *, place: int = 10, used: int = 0, pinned: bool = False, ledger: Ledger = EMPTY
) -> str:
    return judge(Timestamp(place), found, ledger, KEY, used=Timestamp(used), pinned=pinned, bound=100)


def test_a_file_is_counted_by_the_arrival_that_recorded_it_and_by_no_other():
    ledger = arrive(EMPTY, "a", Reservation(5, KEY, LATER))
    assert ledger is not None
    ledger = arrive(ledger, "b", Reservation(5, KEY, LATER))
    assert ledger is not None
    ledger = arrived(arrived(ledger, "a", counting=5), "b", counting=0)
    assert ledger == Ledger(era="e", kept=5)


def test_a_file_does_not_arrive_while_it_leaves():
    ledger = leave(EMPTY, {KEY: 5}, until=LATER)
    assert arrive(ledger, "a", Reservation(5, KEY, LATER)) is None
    assert arrive(ledger, "a", Reservation(5, OTHER, LATER)) is not None


def test_a_removal_is_subtracted_once():
    ledger = leave(Ledger(era="e", kept=12), {KEY: 5, OTHER: 7}, until=LATER)
    ledger = left(left(ledger, [KEY]), [KEY])
    assert (ledger.kept, list(ledger.leaving)) == (7, [OTHER])


@given(
    kept=st.lists(st.integers(0, 50)),
    coming=st.lists(st.integers(0, 200)),
    going=st.integers(0, 10),
    bound=st.integers(1, 100),
)
def test_removing_the_excess_makes_room_for_all_that_fits(
    kept: list[int], coming: list[int], going: int, bound: int
) -> None:
    ledger = Ledger(era="e", kept=sum(kept))
    for number, size in enumerate(coming):
        found = arrive(ledger, str(number), Reservation(size, "", LATER))
        assert found is not None
        ledger = found
    ledger = leave(ledger, {sha256_of(str(n).encode()): size for n, size in enumerate(kept[:going])}, until=LATER)
    need = excess(ledger, bound)
    after = left(ledger, list(ledger.leaving)).kept - max(need, 0)
    assert after + sum(size for size in coming if size <= bound) <= bound


@given(kept=st.integers(0, 500), coming=st.lists(st.integers(1, 200)), free=st.integers(0, 300))
def test_removing_the_lack_makes_room_on_the_disk(kept: int, coming: list[int], free: int) -> None:
    arrivals = {str(number): Reservation(size, "", LATER) for number, size in enumerate(coming)}
    ledger = Ledger(era="e", kept=kept, arriving=arrivals)
    need, fitting = lack(ledger, free=free, spare=20), [size for size in coming if size <= kept + free - 20]
    assert need == (sum(fitting) + 20 - free if fitting else 0)
    going = leave(ledger, {KEY: need}, until=LATER) if need > 0 else ledger
    assert lack(going, free=free, spare=20) <= 0  # nothing is chosen twice while it is being removed


def test_a_file_that_arrives_twice_needs_its_room_once():
    """As after a kill, when a client asks for the file again."""
    arrivals = {
        "dead": Reservation(5, KEY, LATER), "again": Reservation(5, KEY, LATER), "other": Reservation(7, OTHER, LATER),
        "unknown": Reservation(2, "", LATER), "another": Reservation(2, "", LATER),
    }  # fmt: skip
    assert excess(Ledger(era="e", kept=10, arriving=arrivals), 100) == 10 + 5 + 7 + 2 + 2 - 100


def test_steps_of_a_dead_process_are_overdue_at_their_end():
    ledger = Ledger(
        era="e",
        arriving={"a": Reservation(5, KEY, Timestamp(50)), "b": Reservation(5, KEY, LATER)},
        leaving={KEY: Removal(5, Timestamp(50)), OTHER: Removal(5, LATER)},
    )
    arrivals, leaving = overdue(ledger, Timestamp(50))
    assert (list(arrivals), leaving) == (["a"], [KEY])
    assert overdue(ledger, Timestamp(49)) == ({}, [])


def test_the_file_at_the_front_leaves_unless_it_was_used_since():
    assert judged(record()) == "leave"
    assert judged(record(), used=10) == "leave"
    assert judged(record(), used=11) == "move"
    assert judged(record(), pinned=True) == "move"


def test_an_entry_that_is_no_files_place_is_forgotten():
    assert judged(None) == "forget"
    assert judged(record(place=11)) == "forget"
    assert judged(record(era="earlier")) == "forget"
    assert judged(record(is_pinned=True)) == "forget"


def test_a_file_stays_while_it_arrives_again_or_leaves_already():
    assert judged(record(), ledger=Ledger(era="e", arriving={"a": Reservation(5, KEY, LATER)})) == "stay"
    assert judged(record(), ledger=Ledger(era="e", leaving={KEY: Removal(5, LATER)})) == "stay"


def test_a_file_larger_than_the_bound_comes_first_however_often_it_is_used():
    assert place_of(101, LATER, bound=100) == 0
    assert place_of(100, LATER, bound=100) == LATER
    assert judged(record(place=0, size=101), place=0, used=50) == "leave"


@given(
    uses=st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=60),
)
def test_the_order_gives_the_least_recently_used_file(uses: list[tuple[int, bool]]) -> None:
    """A lazy queue, against a plain list of last uses. `True` evicts one."""
    queue: list[tuple[int, Sha256]] = []
    records: dict[Sha256, FileRecord] = {}
    last: dict[Sha256, int] = {}
    for clock, (number, evicts) in enumerate(uses, start=1):
        key = sha256_of(str(number).encode())
        if key not in records:
            records[key] = record(place=clock)
            queue.append((clock, key))
        last[key] = clock
        while evicts and queue:
            queue.sort()
            place, front = queue.pop(0)
            verdict = judge(
                Timestamp(place),
                records.get(front),
                EMPTY,
                front,
                used=Timestamp(last.get(front, 0)),
                pinned=False,
                bound=100,
            )
            if verdict == "move":
                records[front] = record(place=last[front])
                queue.append((last[front], front))
            elif verdict == "leave":
                assert front == min(last, key=lambda each: last[each])
                del records[front], last[front]
                break
