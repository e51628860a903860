"""Checks whether a history of concurrent operations is linearizable: each operation has one effect at one moment between its call and its answer.

The search of Wing and Gong (1993): the first operation of an order is one that was called before any other that is left was answered. If
the model says that its answer fits, the search goes on with the rest. Pairs of done operations and state that have failed are remembered (Lowe,
2017), so the search is short if few operations overlap. Give it one history for each thing that is independent of the others, such as a project.

An operation without an answer (its connection was cut) may have happened at any moment after its call, or never.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

from msgspec import Struct

State = TypeVar("State", bound=Hashable)
Request = TypeVar("Request")
Request_contra = TypeVar("Request_contra", contravariant=True)


class Operation(Struct, Generic[Request], frozen=True, kw_only=True):
    """One request of a client, in seconds of one clock."""

    client: str
    called: float
    request: Request
    answer: Hashable = None
    """None: nothing is known of its outcome."""
    answered: float = math.inf


class Model(Protocol[State, Request_contra]):
    """The rules of the thing that clients use, one operation after the other."""

    @property
    def initial(self) -> State: ...

    def after(self, state: State, request: Request_contra, answer: Hashable) -> State | None:
        """The state after an operation; None if this answer is wrong in this state. If the answer is None, any answer is right."""
        ...


class Violation(Struct, Generic[State, Request], frozen=True, kw_only=True):
    """Where the longest order ends that fits the history."""

    done: int
    """Operations of that order."""
    state: State
    """The state after them."""
    stuck: tuple[Operation[Request], ...]
    """The operations of which one must be next. The answer of none fits."""
    beside: tuple[Operation[Request], ...]
    """The operations of the order that were under way when one of these was called."""

    def __str__(self) -> str:
        lines = [
            f"no order explains the history: after {self.done} operations the state is {self.state}, and then none fits of"
        ]
        lines += [*map(_told, self.stuck), "beside", *map(_told, self.beside)]
        return "\n  ".join(lines)


def violation(model: Model[State, Request], history: Sequence[Operation[Request]]) -> Violation[State, Request] | None:
    """None if the history is linearizable. Otherwise the place where every order ends."""
    operations = sorted(history, key=lambda operation: operation.called)
    answered = sum(1 << number for number, each in enumerate(operations) if each.answer is not None)
    seen = {(0, model.initial)}
    longest = (0, model.initial)
    stack = [_next(model, operations, *longest)]
    if not answered:
        return None
    while stack:
        found = next(stack[-1], None)
        if found is None:
            stack.pop()
        elif found not in seen:
            seen.add(found)
            if found[0] & answered == answered:
                return None
            if found[0].bit_count() > longest[0].bit_count():
                longest = found
            stack.append(_next(model, operations, *found))
    done, state = longest
    stuck = tuple(operations[each] for each in _first(operations, done))
    began = min(each.called for each in stuck)
    beside = tuple(each for number, each in enumerate(operations) if done >> number & 1 and each.answered > began)
    return Violation(done=done.bit_count(), state=state, stuck=stuck, beside=beside)


def _next(
    model: Model[State, Request], operations: Sequence[Operation[Request]], done: int, state: State
) -> Iterator[tuple[int, State]]:
    """The steps that may follow: the operations done with one more, and the state after it."""
    for number in _first(operations, done):
        operation = operations[number]
        after = model.after(state, operation.request, operation.answer)
        # Without an answer and without an effect it may as well have never happened.
        if after is not None and (operation.answer is not None or after != state):
            yield done | 1 << number, after


def _first(operations: Sequence[Operation[Request]], done: int) -> Sequence[int]:
    """The operations of which none was called after another one that is left was answered. Those with the earliest answer come first."""
    found: list[int] = []
    earliest = math.inf
    for number, operation in enumerate(operations):
        if done >> number & 1:
            continue
        if operation.called > earliest:
            break
        found.append(number)
        earliest = min(earliest, operation.answered)
    return sorted(found, key=lambda number: operations[number].answered)


def _told(operation: Operation[Request]) -> str:
    end = "never" if operation.answer is None else f"{operation.answered:.6f}"
    return f"{operation.client} {operation.called:.6f}..{end} {operation.request} -> {operation.answer}"
