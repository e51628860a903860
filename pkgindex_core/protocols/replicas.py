"""The state of a replica: its primary, how far the copy is, and what is wrong.

`ReplicaNote` is kept in the store (`tools.replica_notes`). `ReplicaState` is that of one running program: its follower writes it, the server shows it.
"""

from __future__ import annotations

from msgspec import Struct

from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.models import Serial
from pkgindex_core.names import IndexName


class ReplicaNote(Struct, frozen=True, kw_only=True):
    """The durable part."""

    primary: str
    """The URL of the primary, without credentials."""
    store: str
    """The identity of the primary's store."""
    everything: bool
    """Whether it is a copy of everything. Otherwise it is one of some indexes."""
    until: Serial
    """Below this serial the copy shows nothing: it lacks commits, or files that the primary does not have any more."""
    without: tuple[IndexName, ...] = ()
    """Indexes that the primary gives, and whose past the copy lacks, so that it goes on without them."""


class Lag(Struct, frozen=True, kw_only=True):
    """How far a replica is behind, as far as it knows."""

    serials: int
    seconds: float
    """Seconds since the replica last had all commits of the primary; 0 while it has them. Since the start, if it never had them."""


class ReplicaState:
    """The state of one program over a replica."""

    def __init__(self, *, primary: str, credentials: str, note: ReplicaNote | None, clock: Clock) -> None:
        """`primary`: its URL without credentials and without a slash at the end. `credentials`: `user:password` for it; empty if this
        program does not follow it.
        """
        self.primary = primary
        self.credentials = credentials
        self.note = note
        self.problem = "the primary was not asked yet" if credentials else "this program does not follow"
        """Why the replica does not follow now; empty while it does."""
        self.contacted: Timestamp | None = None
        """The time of the last answer of the primary."""
        self.head_there = Serial(0)
        """The newest commit of the primary that is known."""
        self.left_out: dict[IndexName, str] = {}
        """Indexes that the primary gives in part only, with the reason."""
        self._clock = clock
        self._level = clock.monotonic()

    def __repr__(self) -> str:
        return f"ReplicaState({self.primary})"

    @property
    def follows(self) -> bool:
        """Whether the primary answered last time."""
        return not self.problem and self.contacted is not None

    def answered(self, head: Serial, here: Serial) -> None:
        """Note an answer of the primary, whose newest commit is `head`, while this store has `here`."""
        self.problem = ""
        self.contacted = self._clock.now()
        self.head_there = head
        self.reached(here)

    def reached(self, here: Serial) -> None:
        """Note the newest commit of this store."""
        if here >= self.head_there:
            self._level = self._clock.monotonic()

    def is_whole(self, here: Serial) -> bool:
        """Whether a store with this newest commit may be shown."""
        return self.note is not None and here >= self.note.until

    def lag(self, here: Serial) -> Lag:
        """How far a store with this newest commit is behind."""
        serials = max(self.head_there - here, 0)
        level = self.follows and not serials
        return Lag(serials=serials, seconds=0.0 if level else self._clock.monotonic() - self._level)
