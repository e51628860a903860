"""The checker of histories: it takes every history that one thing could have had, and refuses the others."""

from __future__ import annotations

import itertools
import random
from collections.abc import Hashable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cluster.linearizability import Operation, violation
from tests.cluster.project_model import (
    Delete,
    Download,
    Held,
    Look,
    Project,
    ProjectModel,
    Push,
    Recorded,
    Request,
    Upload,
    Yank,
)

MODEL = ProjectModel()
ONE, OTHER = "demo-1-py3-none-any.whl", "demo-1-py2-none-any.whl"
NOTHING = frozenset[Held]()


def did(called: float, answered: float, request: Request, answer: Hashable) -> Recorded:
    return Operation(client=f"c{called}", called=called, answered=answered, request=request, answer=answer)


def cut(called: float, request: Request) -> Recorded:
    """A request of which no answer came."""
    return Operation(client=f"c{called}", called=called, request=request)


def page(*contents: int, name: str = ONE) -> frozenset[Held]:
    return frozenset(Held("kept", name, content) for content in contents)


PUT_1, PUT_2, LOOK = Upload("kept", ONE, 1), Upload("kept", ONE, 2), Look("kept")
MADE, MADE_OTHER = Upload("made", ONE, 1), Upload("made", OTHER, 1)

GOOD: dict[str, list[Recorded]] = {
    "nothing": [],
    "one after the other": [did(0, 1, PUT_1, "stored"), did(2, 3, LOOK, page(1)), did(4, 5, PUT_2, "taken")],
    "a read during the upload sees it": [did(0, 9, PUT_1, "stored"), did(1, 2, LOOK, page(1))],
    "a read during the upload does not see it": [did(0, 9, PUT_1, "stored"), did(1, 2, LOOK, NOTHING)],
    "of two at once one wins": [did(0, 9, PUT_1, "taken"), did(1, 8, PUT_2, "stored"), did(10, 11, LOOK, page(2))],
    "the same bytes from both": [did(0, 9, PUT_1, "stored"), did(1, 8, PUT_1, "stored")],
    "a cut upload that happened": [cut(0, PUT_1), did(1, 2, LOOK, NOTHING), did(3, 4, LOOK, page(1))],
    "a cut upload that did not": [cut(0, PUT_1), did(1, 2, LOOK, NOTHING), did(3, 4, PUT_2, "stored"), did(5, 6, LOOK, page(2))],
    "only cut requests": [cut(0, PUT_1), cut(1, PUT_2)],
    "the same bytes after a deletion, in a volatile index": [
        did(0, 1, MADE, "stored"), did(2, 3, Delete("made", ONE, 1), "deleted"), did(4, 5, MADE, "stored"),
        did(6, 7, Download("made", ONE, 1), "present"),
    ],
    "a push of two files": [
        did(0, 1, MADE, "stored"), did(2, 3, MADE_OTHER, "stored"), did(4, 9, Push("1"), "pushed"),
        did(5, 6, LOOK, NOTHING), did(7, 8, LOOK, page(1) | page(1, name=OTHER)), did(10, 11, Push("1"), "same"),
    ],
}  # fmt: skip
BAD: dict[str, list[Recorded]] = {
    "a stale read": [did(0, 1, PUT_1, "stored"), did(2, 3, LOOK, NOTHING)],
    "a stale read of a yank": [
        did(0, 1, PUT_1, "stored"), did(2, 3, Yank("kept", ONE, 1, True), "marked"), did(4, 5, LOOK, page(1)),
    ],
    "a stale read after a fresh one": [
        did(0, 9, PUT_1, "stored"), did(1, 2, LOOK, page(1)), did(3, 4, LOOK, NOTHING),
    ],
    "a lost upload": [did(0, 1, PUT_1, "stored"), did(2, 3, Download("kept", ONE, 1), "absent")],
    "an upload lost later": [
        did(0, 1, PUT_1, "stored"), did(2, 3, LOOK, page(1)), did(4, 5, Upload("kept", OTHER, 1), "stored"),
        did(6, 7, LOOK, page(1, name=OTHER)),
    ],
    "two winners": [did(0, 9, PUT_1, "stored"), did(1, 8, PUT_2, "stored")],
    "no winner": [did(0, 9, PUT_1, "taken"), did(1, 8, PUT_2, "taken")],
    "the loser's bytes": [did(0, 9, PUT_1, "stored"), did(1, 8, PUT_2, "taken"), did(10, 11, LOOK, page(2))],
    "a file from nowhere": [did(0, 1, LOOK, page(1)), did(2, 3, PUT_1, "stored")],
    "a cut upload that came before it was called": [did(0, 1, LOOK, page(1)), cut(2, PUT_1)],
    "a cut upload that is undone": [cut(0, PUT_1), did(1, 2, LOOK, page(1)), did(3, 4, LOOK, NOTHING)],
    "a deletion that is undone": [
        did(0, 1, PUT_1, "stored"), did(2, 3, Delete("kept", ONE, 1), "deleted"), did(4, 5, LOOK, page(1)),
    ],
    "a file deleted twice": [
        did(0, 1, PUT_1, "stored"), did(2, 9, Delete("kept", ONE, 1), "deleted"), did(3, 8, Delete("kept", ONE, 1), "deleted"),
    ],
    "a deleted name that is given to other bytes": [
        did(0, 1, PUT_1, "stored"), did(2, 3, Delete("kept", ONE, 1), "deleted"), did(4, 5, PUT_2, "stored"),
    ],
    "a deletion that hits other bytes": [
        did(0, 1, MADE, "stored"), did(2, 9, Delete("made", ONE, 1), "deleted"), did(3, 8, Upload("made", ONE, 2), "stored"),
        did(10, 11, Look("made"), NOTHING),
    ],
    "half a push": [
        did(0, 1, MADE, "stored"), did(2, 3, MADE_OTHER, "stored"), did(4, 9, Push("1"), "pushed"), did(5, 6, LOOK, page(1)),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_a_history_that_can_have_been_is_taken(name: str) -> None:
    assert violation(MODEL, GOOD[name]) is None


@pytest.mark.parametrize("name", BAD)
def test_a_history_that_cannot_have_been_is_refused(name: str) -> None:
    found = violation(MODEL, BAD[name])
    assert found is not None
    assert found.stuck
    assert all(repr(each.request) in str(found) for each in found.stuck)


REQUESTS: Sequence[Request] = (
    PUT_1, PUT_2, MADE, MADE_OTHER, Upload("made", ONE, 2), Delete("kept", ONE, 1), Delete("made", ONE, 1),
    Yank("kept", ONE, 1, True), Yank("made", ONE, 1, True), Push("1"), LOOK, Look("made"), Download("kept", ONE, 1),
)  # fmt: skip


def _history(dice: random.Random, length: int) -> list[Recorded]:
    """Requests that overlap, each with its effect at a moment between its call and its answer. Some are cut off, with or without effect."""
    state, history = Project(), list[Recorded]()
    for moment in range(length):
        request = dice.choice(REQUESTS)
        called, answered = moment - dice.uniform(0, 3), moment + dice.uniform(0, 3)
        chance = dice.random()
        if chance < 0.1:
            history.append(cut(called, request))
            continue
        (answer,) = [each for each in _answers(state) if MODEL.after(state, request, each) is not None]
        after = MODEL.after(state, request, answer)
        assert after is not None
        state = after
        history.append(cut(called, request) if chance < 0.2 else did(called, answered, request, answer))
    return history


def _answers(state: Project) -> list[Hashable]:
    pages = [frozenset(each for each in state.files if each.index == index) for index in ("made", "kept")]
    return [*{*pages}, "stored", "taken", "deleted", "absent", "marked", "pushed", "same", "present"]


@given(st.randoms(use_true_random=False), st.integers(min_value=0, max_value=60))
def test_what_has_happened_is_taken(dice: random.Random, length: int) -> None:
    assert violation(MODEL, _history(dice, length)) is None


@given(st.randoms(use_true_random=False), st.integers(min_value=1, max_value=5))
def test_the_search_agrees_with_trying_every_order(dice: random.Random, length: int) -> None:
    """Answers that are drawn by chance, mostly wrong ones."""
    history = [
        did(each.called, each.answered, each.request, dice.choice(_answers(Project(frozenset({Held("kept", ONE, 1)})))))
        if each.answer is not None and dice.random() < 0.5
        else each
        for each in _history(dice, length)
    ]
    assert (violation(MODEL, history) is None) == _explained(history)


def _explained(history: Sequence[Recorded]) -> bool:
    known = [each for each in history if each.answer is not None]
    unknown = [each for each in history if each.answer is None]
    return any(
        _fits(order)
        for count in range(len(unknown) + 1)
        for some in itertools.combinations(unknown, count)
        for order in itertools.permutations([*known, *some])
    )


def _fits(order: Sequence[Recorded]) -> bool:
    if any(later.answered < earlier.called for earlier, later in itertools.combinations(order, 2)):
        return False
    state = Project()
    for each in order:
        after = MODEL.after(state, each.request, each.answer)
        if after is None:
            return False
        state = after
    return True
