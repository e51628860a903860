"""The role `Notes`: values that are durable and have no history, shared by the processes over one store.

A note is a value under a kind and a key, with a version and perhaps an end. Notes are in no commit: they are neither replicated nor
backed up, cannot be read with `at=`, and `touched` does not name them. A note is for what a process has to know after a restart, or share
with other processes: how far a log was followed, when an upstream was asked, which process has a lease. Changes describe indexes; notes
do not.

`tools.leases` makes leases of notes. An engine needs one table, and one statement for each method.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from pkgindex_core.clock import Timestamp


class Note(Struct, frozen=True, kw_only=True):
    """A stored value with its version."""

    key: str
    value: bytes
    version: int
    """Above 0. Each write of any note of the store has a larger one. No version is used twice, even after a note ended or was dropped."""
    until: Timestamp | None = None
    """When the note ends, by the clock of the store; None: never."""


class Notes(Protocol):
    """Notes by kind and key: texts without NUL. Keys are not empty, and are ordered by code points.

    A note that has ended is absent for every method, and a later write frees its space.
    Every process over the store sees a write as soon as the writing call has returned. A write happens whole or not at all.
    If the medium fails, `StorageFull` or `Unavailable` is raised, and nothing was changed.
    """

    async def note(self, kind: str, key: str) -> Note | None:
        """One note; None if there is none. Cost: one row by its index."""
        ...

    def notes(self, kind: str, *, after: str = "") -> AsyncIterator[Sequence[Note]]:
        """The notes of a kind whose keys are after `after`, by key, in batches. An engine has one batch in memory at a time.

        A note that is written during the iteration may or may not be among them.
        """
        ...

    async def put_note(
        self, kind: str, key: str, value: bytes, *, seconds: float | None = None, expected: int | None = None
    ) -> int | None:
        """Write a note that ends after `seconds` (None: never), and return its version. Durable when it returns.

        With `expected`, the note is written only if it has this version now (0: if there is no such note); otherwise the result is None, and
        nothing was changed. Of several calls with the same `expected`, in any processes, one succeeds.
        """
        ...

    async def put_notes(self, kind: str, values: Mapping[str, bytes], *, seconds: float | None = None) -> None:
        """Write many notes of a kind, by key, in one transaction.

        For notes that are written often and may be lost. They may become durable only with the next durable write: they survive a kill of
        the process, but a power cut may lose all of them.
        """
        ...

    async def drop_note(self, kind: str, key: str, *, expected: int | None = None) -> bool:
        """Remove a note; with `expected`, only if it has this version now. True if it was removed. Durable when it returns."""
        ...
