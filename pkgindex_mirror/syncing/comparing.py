"""Compares the list of an upstream with the rows of a mirror, both in the order of names, side by side.

The result is what a run has to do: projects to work on, and mirrored projects that the list does not have. Neither list nor rows are in
memory as Python objects; what is to be done is kept as bytes again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence

from msgspec import Struct

from pkgindex_core.clock import Timestamp
from pkgindex_mirror.syncing.listed_piles import Entry, ListedPile
from pkgindex_mirror.syncing.values import Listed, ProjectState


class Comparison(Struct, kw_only=True):
    """The work of a run."""

    work: ListedPile
    """Projects to ask the upstream for, or to choose files of again."""
    vanished: ListedPile
    """Rows that the list does not have, under their own spelling and serial."""
    newly_vanished: int = 0
    """Those of them that were there at the last run."""
    rows: int = 0
    """Rows of projects that are mirrored."""
    chosen: int = 0
    new: int = 0
    changed: int = 0
    due_again: int = 0
    resting: int = 0
    """Projects that failed and rest. Those that have no page rest too, and are not counted."""
    rests: list[ProjectState] = []
    """The first thousand of them."""
    next_due: Timestamp | None = None
    """The earliest time at which a project that rests is due."""
    least_serial: int | None = None
    """The lowest serial in the list of a project that rests."""
    unchosen: list[str] = []


class Comparing:
    """One comparison. `permits` judges a project by its name; `chosen_by` is the fingerprint of the filters."""

    def __init__(
        self,
        *,
        permits: Callable[[Listed], bool],
        chosen_by: str,
        now: Timestamp,
        everything: bool,
        names_limit: int = 1000,
    ) -> None:
        """`everything`: all projects are to be worked on, whatever their rows say."""
        self._permits = permits
        self._chosen_by = chosen_by
        self._now = now
        self._everything = everything
        self._names_limit = names_limit
        self.unchosen = 0
        self.result = Comparison(work=ListedPile(), vanished=ListedPile())

    async def run(self, listed: Iterator[Entry], states: AsyncIterator[Sequence[ProjectState]]) -> Comparison:
        entry = next(listed, None)
        async for batch in states:
            for state in batch:
                while entry is not None and entry[0] < state.name:
                    self._take_new(entry)
                    entry = next(listed, None)
                if entry is not None and entry[0] == state.name:
                    self._take_known(entry, state)
                    entry = next(listed, None)
                else:
                    self._take_vanished(state)
        while entry is not None:
            self._take_new(entry)
            entry = next(listed, None)
        return self.result

    def _take_new(self, entry: Entry) -> None:
        if not self._permits(Listed(*entry)):
            return
        self.result.chosen += 1
        self.result.new += 1
        self.result.work.add(*entry)

    # The files of a project that was taken over from another program are chosen when the project changes, as that program would have done.
    def _take_known(self, entry: Entry, state: ProjectState) -> None:
        result = self.result
        result.rows += state.is_mirrored
        if not self._permits(Listed(*entry)):
            if state.is_mirrored:
                self.unchosen += 1
                if len(result.unchosen) < self._names_limit:
                    result.unchosen.append(state.name)
            return
        result.chosen += 1
        serial = entry[2]
        is_behind = serial is None or state.serial is None or serial > state.serial
        if self._everything:
            result.changed += is_behind
            result.due_again += not is_behind
        elif state.next_try is not None and state.rests(self._now):
            result.resting += not state.absent
            if not state.absent and len(result.rests) < self._names_limit:
                result.rests.append(state)
            result.next_due = min(result.next_due or state.next_try, state.next_try)
            if serial is not None:
                result.least_serial = min(serial, serial if result.least_serial is None else result.least_serial)
            return
        elif (
            state.error or state.chosen_by not in {"", self._chosen_by} or state.gone_since is not None or state.hidden
        ):
            result.due_again += 1
        elif is_behind:
            result.changed += 1
        else:
            return
        result.work.add(*entry)

    def _take_vanished(self, state: ProjectState) -> None:
        self.result.rows += state.is_mirrored
        self.result.newly_vanished += state.gone_since is None and state.is_mirrored
        self.result.vanished.add(state.name, state.raw or state.name, state.serial)
