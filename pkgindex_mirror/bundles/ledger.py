"""The bundles that were created of a mirror: the chain as its near side knows it.

ROOT/.pkgindex/bundles/sent.json
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.errors import Corrupt, Missing
from pkgindex_mirror.snapshots.places import SnapshotPlaces, make_directory, write_durably


class SentBundle(Struct, frozen=True, kw_only=True):
    """A bundle and what it was made of."""

    bundle: int
    after: int
    previous: str
    manifest: str
    """The sha256 of its manifest."""
    full: bool
    since: int
    """The snapshot from which it goes on; 0 of a full bundle."""
    snapshot: int
    part_size: int
    parts: int
    bytes: int
    complete: bool = False
    """Whether all its parts were written."""


class SentBundles(Struct, frozen=True, kw_only=True):
    """The bundles of one mirror, by number."""

    mirror: str = ""
    bundles: tuple[SentBundle, ...] = ()

    @property
    def last(self) -> SentBundle | None:
        return self.bundles[-1] if self.bundles else None

    def get(self, number: int) -> SentBundle:
        for each in self.bundles:
            if each.bundle == number:
                return each
        raise Missing("bundle", f"{number}", hint="`bundle list` lists those that were created here")

    def ending_at(self, snapshot: int) -> SentBundle | None:
        """The newest bundle that brought a far side to a snapshot."""
        return next((each for each in reversed(self.bundles) if each.snapshot == snapshot), None)

    def having(self, sent: SentBundle) -> SentBundles:
        others = [each for each in self.bundles if each.bundle != sent.bundle]
        return replace(self, bundles=tuple(sorted([*others, sent], key=lambda each: each.bundle)))

    def needed(self) -> set[int]:
        """The snapshots that the next bundle goes on from, and those that finish one that was begun."""
        last = self.last
        if last is None:
            return set()
        return {last.snapshot} if last.complete or not last.since else {last.snapshot, last.since}


class BundleLedger:
    """Reads and writes the list. Called with the lock of the snapshots held."""

    def __init__(self, places: SnapshotPlaces) -> None:
        self._places = places
        self._place: Path = places.private / "bundles" / "sent.json"

    def read(self) -> SentBundles:
        try:
            return msgspec.json.decode(self._place.read_bytes(), type=SentBundles)
        except FileNotFoundError:
            return SentBundles()
        except msgspec.DecodeError as error:
            raise Corrupt(
                f"{self._place} is damaged: {error}",
                hint="remove it, then create a full bundle with --number, one more than the last that was created",
            ) from error

    def write(self, sent: SentBundles) -> None:
        make_directory(self._place.parent)
        write_durably(self._place, msgspec.json.format(msgspec.json.encode(sent)) + b"\n", new=self._places.new)
