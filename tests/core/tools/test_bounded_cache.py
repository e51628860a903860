"""Laws of the cache: it never holds more than its limit, and what goes is what was used least lately."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pkgindex_core.tools.bounded_cache import BoundedCache

STEPS = st.lists(
    st.tuples(st.sampled_from(["get", "put", "drop"]), st.sampled_from("abcd"), st.binary(max_size=6)), max_size=40
)


@given(limit=st.integers(0, 12), steps=STEPS)
def test_it_is_a_list_by_use_that_is_cut_at_its_limit(limit: int, steps: list[tuple[str, str, bytes]]) -> None:
    cache: BoundedCache[str, bytes] = BoundedCache(limit, size_of=len)
    used: list[tuple[str, bytes]] = []  # the least lately used first
    for what, key, value in steps:
        known = next((pair for pair in used if pair[0] == key), None)
        if what == "get":
            assert cache.get(key) == (known[1] if known else None)
            if known:
                used = [pair for pair in used if pair is not known] + [known]
            continue
        used = [pair for pair in used if pair is not known]
        if what == "drop":
            cache.drop(key)
        else:
            cache.put(key, value)
            if len(value) <= limit:
                used.append((key, value))
            while sum(len(value) for _, value in used) > limit:
                used.pop(0)
        assert cache.size == sum(len(value) for _, value in used) <= limit
        assert len(cache) == len(used)
        assert cache.items() == used


def test_values_count_one_each_unless_it_is_said_how_large_they_are() -> None:
    cache: BoundedCache[int, str] = BoundedCache(2)
    for number in range(3):
        cache.put(number, "x" * 100)
    assert [cache.get(number) is not None for number in range(3)] == [False, True, True]
