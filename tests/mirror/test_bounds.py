"""Asking again, leaving alone, and how much a stranger's body may cost: the pure parts."""

from __future__ import annotations

import gzip
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkgindex_core.clock import Timestamp
from pkgindex_core.errors import Refused
from pkgindex_core.testing.configs import mirror_config
from pkgindex_core.testing.index_cases.values import ManualClock
from pkgindex_mirror.readthrough.checks import Check, Checks
from pkgindex_mirror.retry import RetryPolicy
from pkgindex_mirror.settings import MirrorSettings, read_settings
from pkgindex_mirror.upstreams.bodies import EXPANSION_FLOOR, BodyDecoder, BodyRefusedError
from pkgindex_mirror.upstreams.breaker import CircuitBreaker


class TestRetry:
    @given(st.integers(1, 20), st.floats(0, 100), st.floats(0, 0.999), st.none() | st.floats(0, 1000))
    def test_it_ends_in_number_and_in_time(
        self, attempt: int, elapsed: float, dice: float, retry_after: float | None
    ) -> None:
        policy = RetryPolicy(attempts=5, first=0.25, longest=8, deadline=60)
        pause = policy.wait(attempt, elapsed=elapsed, dice=dice, retry_after=retry_after)
        if pause is None:
            return
        assert attempt < 5
        assert elapsed + pause < 60
        assert pause >= (retry_after or 0.125)

    def test_pauses_double(self) -> None:
        policy = RetryPolicy(attempts=9, first=1, longest=5, deadline=1000)
        assert [policy.wait(n, elapsed=0, dice=0) for n in range(1, 6)] == [0.5, 1, 2, 2.5, 2.5]

    def test_what_the_upstream_asks_for_is_waited_in_full_or_not_at_all(self) -> None:
        policy = RetryPolicy(attempts=3, deadline=10)
        assert policy.wait(1, elapsed=0, dice=0, retry_after=9) == 9
        assert policy.wait(1, elapsed=2, dice=0, retry_after=9) is None

    def test_what_is_too_long_is_left_to_the_client(self) -> None:
        policy = RetryPolicy(attempts=3, deadline=60, patience=2)
        assert policy.wait(1, elapsed=0, dice=0, retry_after=2) == 2
        assert policy.wait(1, elapsed=0, dice=0, retry_after=3) is None


class TestBreaker:
    def test_it_opens_probes_and_closes(self) -> None:
        breaker = CircuitBreaker(failures=2, interval=10)
        breaker.failed(0)
        assert breaker.permits(0)
        breaker.failed(0)
        assert breaker.is_open
        assert (breaker.permits(9), breaker.remaining(9)) == (False, 1)
        assert breaker.permits(10)
        assert not breaker.permits(10.1)  # one probe
        breaker.failed(11)
        assert not breaker.permits(20.9)
        assert breaker.permits(21)
        breaker.succeeded()
        assert breaker.permits(21)
        assert breaker.permits(21)

    def test_a_success_between_failures_keeps_it_closed(self) -> None:
        breaker = CircuitBreaker(failures=2, interval=10)
        for now in range(20):
            breaker.failed(now)
            breaker.succeeded()
        assert not breaker.is_open

    def test_a_longer_rest_is_respected(self) -> None:
        breaker = CircuitBreaker(failures=1, interval=10)
        breaker.failed(0, rest=100)
        assert not breaker.permits(99)
        assert breaker.permits(100)

    def test_one_failure_of_the_whole_host_opens_it(self) -> None:
        breaker = CircuitBreaker(failures=5, interval=10)
        breaker.failed(0, down=True)
        assert breaker.is_open

    def test_probes_are_soon_at_first_and_rarer_later(self) -> None:
        breaker = CircuitBreaker(failures=1, interval=5, first=1)
        now, gaps = 0.0, []
        for _ in range(5):
            breaker.failed(now)
            gaps.append(breaker.remaining(now))
            now += gaps[-1]
            assert breaker.permits(now)
        assert gaps == [1, 2, 4, 5, 5]
        breaker.succeeded()
        breaker.failed(now)
        assert breaker.remaining(now) == 1

    def test_requests_that_were_under_way_when_it_opened_do_not_delay_the_probe(self) -> None:
        breaker = CircuitBreaker(failures=1, interval=60, first=1)
        for _ in range(10):
            breaker.failed(0.5)
        assert breaker.remaining(0.5) == 1
        assert breaker.permits(1.5)
        breaker.failed(1.5)
        breaker.failed(1.6)
        assert breaker.remaining(1.5) == 2
        breaker.failed(1.7, rest=30)
        assert breaker.remaining(1.7) == 30

    def test_one_wish_to_be_left_alone_opens_it_for_that_time(self) -> None:
        breaker = CircuitBreaker(failures=5, interval=5, first=1)
        breaker.failed(0, rest=60)
        assert breaker.is_open
        assert breaker.remaining(0) == 60
        assert not breaker.permits(59)
        assert breaker.permits(60)


def decoded(encoding: str, *pieces: bytes, limit: int = 1 << 20) -> bytes:
    decoder = BodyDecoder(encoding, limit)
    for piece in pieces:
        decoder.feed(piece)
    return decoder.finish()


class TestBodies:
    @given(
        st.binary(max_size=5000), st.sampled_from(["", "identity", "gzip", "X-GZIP ", "deflate"]), st.integers(1, 100)
    )
    def test_what_was_encoded_is_decoded_in_any_pieces(self, body: bytes, encoding: str, size: int) -> None:
        encode = {"gzip": gzip.compress, "x-gzip": gzip.compress, "deflate": zlib.compress}
        wire = encode.get(encoding.strip().lower(), bytes)(body)
        assert decoded(encoding, *(wire[at : at + size] for at in range(0, len(wire), size))) == body

    def test_several_members(self) -> None:
        assert decoded("gzip", gzip.compress(b"a") + gzip.compress(b"b")) == b"ab"

    @pytest.mark.parametrize(
        ("encoding", "wire"),
        [
            ("gzip", b"plain"),
            ("gzip", gzip.compress(b"x" * 1000)[:-9]),
            ("gzip", gzip.compress(b"x") + b"rest"),
            ("deflate", b"\x00"),
            ("br", b"x"),
            ("gzip, gzip", b"x"),
        ],
        ids=["not gzip", "cut off", "rest behind it", "no deflate", "another coding", "two codings"],
    )
    def test_what_is_broken_is_refused(self, encoding: str, wire: bytes) -> None:
        with pytest.raises(BodyRefusedError):
            decoded(encoding, wire)

    @given(st.data(), st.sampled_from(["gzip", "deflate"]), st.binary(min_size=1, max_size=500), st.integers(1, 100))
    def test_a_changed_bit_never_changes_a_body(
        self, data: st.DataObject, encoding: str, body: bytes, size: int
    ) -> None:
        wire = bytearray(gzip.compress(body) if encoding == "gzip" else zlib.compress(body))
        wire[data.draw(st.integers(0, len(wire) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        with suppress(BodyRefusedError):
            assert decoded(encoding, *(bytes(wire[at : at + size]) for at in range(0, len(wire), size))) == body

    @pytest.mark.parametrize("place", range(-8, 0))
    def test_the_checksum_and_the_size_at_the_end_of_gzip_are_verified(self, place: int) -> None:
        wire = bytearray(gzip.compress(b"x" * 1000))
        wire[place] ^= 1
        with pytest.raises(BodyRefusedError, match="broken"):
            decoded("gzip", bytes(wire))

    def test_the_limit_counts_decompressed_bytes(self) -> None:
        assert len(decoded("gzip", gzip.compress(bytes(1000)), limit=1000)) == 1000
        with pytest.raises(BodyRefusedError, match="larger than 999"):
            decoded("gzip", gzip.compress(bytes(1000)), limit=999)

    def test_a_bomb_is_refused_long_before_the_limit(self) -> None:
        bomb = gzip.compress(bytes(4 * EXPANSION_FLOOR), 9)
        decoder = BodyDecoder("gzip", 100 * EXPANSION_FLOOR)
        with pytest.raises(BodyRefusedError, match="suspiciously"):
            decoder.feed(bomb)
        assert decoder._body.tell() <= EXPANSION_FLOOR + (1 << 20)


def test_what_is_known_is_bounded_and_belongs_to_one_upstream(clock: ManualClock) -> None:
    checks = Checks(MirrorSettings(remembered=3), clock)
    index = mirror_config("root/mirror", "u")
    for name in "abcd":
        checks.put(index.name, name, Check(url="u", outcome="current", since=1.0, checked=Timestamp(1)))
    assert len(checks) == 3
    assert checks.get(index, "a") is None
    assert checks.get(index, "d") is not None
    assert checks.get(mirror_config("root/mirror", "elsewhere"), "d") is None


def test_settings_are_checked() -> None:
    assert read_settings({"wait": 3, "allow_networks": ["10.0.0.0/8"]}) == MirrorSettings(
        wait=3, allow_networks=("10.0.0.0/8",)
    )
    for table in ({"weight": 3}, {"wait": "soon"}):
        with pytest.raises(Refused, match=r"plugins\.mirror"):
            read_settings(table)
    with pytest.raises(Refused, match="allow_networks"):
        read_settings({"allow_networks": ["here"]})
