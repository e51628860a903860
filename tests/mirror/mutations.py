"""Random damage to the answers of an upstream: bodies, lengths, ranges, encodings, headers, statuses."""

from __future__ import annotations

import gzip
import random
import zlib
from collections.abc import Callable, Sequence

from pkgindex_mirror.testing.upstream import Answer, Asked, Raw

Damage = Callable[[random.Random, Answer, Sequence[bytes]], Answer | Raw]


class Mutated:
    """A `Behaviour` that damages most answers, each in another way. `others`: bodies that may be swapped in."""

    def __init__(self, dice: random.Random, others: Sequence[bytes]) -> None:
        self._dice = dice
        self._others = others
        self.done: list[str] = []
        """The names of the damages, one for each request."""
        self.sent: list[bytes] = []
        """The bodies, before they were compressed, and before they were cut off."""

    def __call__(self, asked: Asked, answer: Answer) -> Answer | Raw:
        damage = self._dice.choice(DAMAGES) if self._dice.random() < 0.8 else unharmed
        self.done.append(damage.__name__)
        changed = damage(self._dice, answer, self._others)
        self.sent += [answer.body] if isinstance(changed, Raw) or damage is is_compressed else [changed.body]
        return changed


def unharmed(_dice: random.Random, answer: Answer, _others: Sequence[bytes]) -> Answer:
    return answer


def flips_bits(dice: random.Random, answer: Answer, _others: Sequence[bytes]) -> Answer:
    body = bytearray(answer.body)
    for _ in range(dice.choice([1, 1, 1, 3, 20]) if body else 0):
        body[dice.randrange(len(body))] ^= 1 << dice.randrange(8)
    return _with(answer, bytes(body))


def is_cut_off(dice: random.Random, answer: Answer, _others: Sequence[bytes]) -> Raw:
    return _raw(answer, answer.body[: _place(dice, answer.body)], length=len(answer.body))


def is_cut_off_without_length(dice: random.Random, answer: Answer, _others: Sequence[bytes]) -> Raw:
    return _raw(answer, answer.body[: _place(dice, answer.body)])


def is_reset(dice: random.Random, answer: Answer, _others: Sequence[bytes]) -> Raw:
    cut = _raw(answer, answer.body[: _place(dice, answer.body)], length=len(answer.body))
    return Raw(pieces=[*cut.pieces, 0.005], end="reset")


def is_shorter(dice: random.Random, answer: Answer, _others: Sequence[bytes]) -> Answer:
    return _with(answer, answer.body[: _place(dice, answer.body)])


def has_a_part_twice(dice: random.Random, answer: Answer, _others: Sequence[bytes]) -> Answer:
    start, stop = sorted((_place(dice, answer.body), _place(dice, answer.body)))
    return _with(answer, answer.body[:stop] + answer.body[start:])


def lacks_a_part(dice: random.Random, answer: Answer, _others: Sequence[bytes]) -> Answer:
    start, stop = sorted((_place(dice, answer.body), _place(dice, answer.body)))
    return _with(answer, answer.body[:start] + answer.body[stop:])


def has_parts_in_another_order(dice: random.Random, answer: Answer, _others: Sequence[bytes]) -> Answer:
    at = _place(dice, answer.body)
    return _with(answer, answer.body[at:] + answer.body[:at])


def is_padded(dice: random.Random, answer: Answer, _others: Sequence[bytes]) -> Answer:
    return _with(answer, answer.body + dice.randbytes(dice.choice([1, 10, 5000])))


def has_zeros(dice: random.Random, answer: Answer, _others: Sequence[bytes]) -> Answer:
    start, stop = sorted((_place(dice, answer.body), _place(dice, answer.body)))
    return _with(answer, answer.body[:start] + bytes(stop - start) + answer.body[stop:])


def states_a_wrong_length(dice: random.Random, answer: Answer, _others: Sequence[bytes]) -> Raw:
    return _raw(answer, answer.body, length=max(len(answer.body) + dice.choice([-500, -10, -1, 1, 10, 500]), 0))


def is_another_body(dice: random.Random, answer: Answer, others: Sequence[bytes]) -> Answer:
    return _with(answer, dice.choice(others))


def is_another_body_of_its_length(dice: random.Random, answer: Answer, others: Sequence[bytes]) -> Answer:
    other = dice.choice(others)
    return _with(answer, (other * (len(answer.body) // len(other) + 1))[: len(answer.body)])


def is_called_compressed(dice: random.Random, answer: Answer, _others: Sequence[bytes]) -> Answer:
    return _with(answer, answer.body, **{"Content-Encoding": dice.choice(["gzip", "br", "deflate", "zstd", "x"])})


def is_compressed(dice: random.Random, answer: Answer, _others: Sequence[bytes]) -> Answer:
    body, coding = dice.choice([(gzip.compress(answer.body), "gzip"), (zlib.compress(answer.body), "deflate")])
    return _with(answer, body, **({"Content-Encoding": coding} if dice.random() < 0.7 else {}))


def is_compressed_and_damaged(dice: random.Random, answer: Answer, others: Sequence[bytes]) -> Answer:
    damaged = flips_bits(dice, _with(answer, gzip.compress(answer.body)), others)
    return _with(damaged, damaged.body, **{"Content-Encoding": "gzip"})


def has_another_status(dice: random.Random, answer: Answer, _others: Sequence[bytes]) -> Answer:
    status = dice.choice([200, 203, 204, 206, 304, 400, 401, 403, 416, 429, 500, 503])
    return Answer(status=status, headers=answer.headers, body=answer.body)


def has_another_range(dice: random.Random, answer: Answer, _others: Sequence[bytes]) -> Answer:
    size = len(answer.body)
    start = dice.choice([0, 1, _place(dice, answer.body)])
    total = dice.choice([str(size), str(size + start), str(size + 1), "*", "0", "-1", "x"])
    changed = _with(answer, answer.body, **{"Content-Range": f"bytes {start}-{start + size - 1}/{total}"})
    changed.status = dice.choice([206, answer.status])
    return changed


def has_other_headers(dice: random.Random, answer: Answer, _others: Sequence[bytes]) -> Answer:
    kinds = ["text/html", "application/json", "application/vnd.pypi.simple.v1+json", "text/plain; charset=utf-16", "x"]
    changed = _with(answer, answer.body, **{"Content-Type": dice.choice(kinds), "ETag": f'"{dice.randrange(3)}"'})
    for name in list(changed.headers):
        if dice.random() < 0.2:
            del changed.headers[name]
    return changed


DAMAGES: Sequence[Damage] = (
    flips_bits,
    flips_bits,
    is_cut_off,
    is_cut_off,
    is_cut_off_without_length,
    is_reset,
    is_shorter,
    has_a_part_twice,
    lacks_a_part,
    has_parts_in_another_order,
    is_padded,
    has_zeros,
    states_a_wrong_length,
    is_another_body,
    is_another_body_of_its_length,
    is_called_compressed,
    is_compressed,
    is_compressed_and_damaged,
    has_another_status,
    has_another_range,
    has_other_headers,
)


def _place(dice: random.Random, body: bytes) -> int:
    return dice.randrange(len(body) + 1)


def _with(answer: Answer, body: bytes, **headers: str) -> Answer:
    return Answer(status=answer.status, headers={**answer.headers, **headers}, body=body)


def _raw(answer: Answer, body: bytes, *, length: int | None = None, **headers: str) -> Raw:
    shown = {**answer.headers, **headers, **({} if length is None else {"Content-Length": str(length)})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in shown.items())
    return Raw(pieces=[f"HTTP/1.1 {answer.status} Scripted\r\n{lines}Connection: close\r\n\r\n".encode(), body])
