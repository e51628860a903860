"""Takes, finds, compares and drops the snapshots of a tree.

    walk, digests ─► N.linking ─► objects ─► N                 a snapshot exists from the last rename on
    N ─► N.dropping ─► objects that no other snapshot has ─► gone

A command that died between these steps is finished, or undone, by the next one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Corrupt, Missing, Refused
from pkgindex_core.failpoints import failpoint
from pkgindex_mirror.snapshots.hashing import certain, read_stamped, stamped_files, stamped_line
from pkgindex_mirror.snapshots.listings import (
    FILES,
    HEAD,
    FileChange,
    SnapshotFile,
    SnapshotHead,
    changes_between,
    file_line,
    lines_to,
    read_files,
    read_head,
    write_head,
)
from pkgindex_mirror.snapshots.objects import Objects
from pkgindex_mirror.snapshots.places import SnapshotPlaces, make_directory, remove_tree, synchronise
from pkgindex_mirror.snapshots.words import parse_word

_LINKING: Final = "linking"
_DROPPING: Final = "dropping"
_SERIAL_LIMIT: Final = 18
"""Digits of the longest serial."""


class Snapshots:
    """The snapshots of one tree. Methods that change something are called inside `places.locked()`, after `recover`."""

    def __init__(self, root: Path, clock: Clock) -> None:
        self.places = SnapshotPlaces(root)
        self.objects = Objects(self.places)
        self._clock = clock

    def recover(self) -> None:
        """Finish or undo what a command began that died. Called with the lock held."""
        for number in self.places.numbers(_LINKING):
            self.places.snapshot(number, _LINKING).rename(self.places.snapshot(number, _DROPPING))
        for number in self.places.numbers(_DROPPING):
            self._finish_dropping(number)

    def take(self, name: str = "", *, serial: int | None = None) -> SnapshotHead:
        """Take a snapshot of the tree as it is. Called with the locks of the tree held too.

        `serial`: by default the one in the file `status` of the tree. Raises `Refused`, `Conflict` when the tree changes meanwhile, and `OSError`.
        """
        parse_word(name, "name of a snapshot", empty=True)
        walked = self._clock.now()
        number = self._next_number()
        files = size = 0
        making = self.places.new / f"{number}"
        make_directory(making)
        digested = self.places.new / "digested.gz"
        found = stamped_files(self.places.root, self.places.stamps, scratch=self.places.new)
        with lines_to(making / FILES) as listing, lines_to(digested) as digests:
            for stamped in found:
                listing.write(file_line(SnapshotFile(stamped.file.path, stamped.sha256, stamped.file.size)))
                digests.write(stamped_line(stamped))
                files, size = files + 1, size + stamped.file.size
        if not files:
            raise Refused(f"{self.places.root} has no files", hint="name the directory of a mirror")
        head = SnapshotHead(
            number=number,
            name=name,
            created=walked,
            serial=serial if serial is not None else self._serial(),
            files=files,
            bytes=size,
        )
        with (making / HEAD).open("xb") as file:
            write_head(file, head)
        synchronise([making / HEAD, making])
        linking = self.places.snapshot(number, _LINKING)
        making.rename(linking)
        synchronise([self.places.snapshots])
        failpoint("snapshot.listed")
        self._keep_objects(digested, walked)
        linking.rename(self.places.snapshot(number))
        synchronise([self.places.snapshots])
        failpoint("snapshot.kept")
        return head

    def heads(self) -> list[SnapshotHead]:
        """All snapshots by number."""
        return [self.head(number) for number in self.places.numbers()]

    def head(self, number: int) -> SnapshotHead:
        return read_head(self._existing(number))

    def find(self, word: str, names: Mapping[str, int]) -> SnapshotHead:
        """The snapshot of a number, of a published name (`names`), `latest`, or the newest that was taken under a name."""
        return self.head(self.number_of(word, names))

    def number_of(self, word: str, names: Mapping[str, int]) -> int:
        """The number of such a snapshot, which may be damaged unless it is found by the name under which it was taken."""
        numbers = self.places.numbers()
        if word in names:
            return names[word]
        if word == "latest" and numbers:
            return numbers[-1]
        if word.isascii() and word.isdigit():
            found = [number for number in numbers if f"{number}" == word.lstrip("0")]
        else:
            found = [number for number in numbers if self.head(number).name == word]
        if not found:
            raise self._missing(word)
        return found[-1]

    def files(self, number: int) -> Iterator[SnapshotFile]:
        """The files of a snapshot, sorted; none for the number 0."""
        return read_files(self.places.snapshot(number)) if number else iter(())

    def changes(self, old: int, new: int) -> Iterator[FileChange]:
        return changes_between(self.files(old), self.files(new))

    def drop(self, number: int) -> None:
        """Remove a snapshot, which may be damaged, and the bytes that no other one has."""
        self._existing(number).rename(self.places.snapshot(number, _DROPPING))
        synchronise([self.places.snapshots])
        failpoint("snapshot.dropping")
        self._finish_dropping(number)

    def _keep_objects(self, digested: Path, walked: Timestamp) -> None:
        """Keep the bytes of all files as they were walked, and note how the files look."""
        stamps = self.places.new / "stamps.gz"
        with lines_to(stamps) as lines:
            for stamped in read_stamped(digested):
                self.objects.keep(stamped)
                lines.write(stamped_line(certain(stamped, walked)))
        self.objects.settle()
        stamps.replace(self.places.stamps)
        failpoint("snapshot.linked")

    def _next_number(self) -> int:
        """A number that no snapshot ever had, since bundles and names refer to numbers."""
        place = self.places.snapshots / "last-number"
        try:
            last = int(place.read_text())
        except (FileNotFoundError, ValueError):
            last = 0
        number = 1 + max([last, *self.places.numbers(), *self.places.numbers(among=self.places.trees)])
        written = self.places.new / place.name
        written.write_text(f"{number}\n")
        synchronise([written])
        written.replace(place)
        return number

    def _existing(self, number: int) -> Path:
        place = self.places.snapshot(number)
        if not place.is_dir():
            raise self._missing(f"{number}")
        return place

    def _missing(self, word: str) -> Missing:
        hint = (
            "`snapshot list` lists them" if self.places.numbers() else "there is none yet: `snapshot create` takes one"
        )
        return Missing("snapshot", word[:80], hint=hint)

    def _serial(self) -> int | None:
        try:
            text = (self.places.root / "status").read_text().strip()
        except (FileNotFoundError, UnicodeDecodeError):
            return None
        return int(text) if text.isascii() and text.isdigit() and len(text) <= _SERIAL_LIMIT else None

    def _finish_dropping(self, number: int) -> None:
        place = self.places.snapshot(number, _DROPPING)
        others = self.places.numbers()
        if (place / FILES).is_file():
            if others:
                try:
                    alone = self._only_in(place, number, others)
                except Corrupt:
                    alone = set()  # A listing is damaged: bytes that may be needed stay, and go with the last snapshot.
                for sha256 in alone:
                    self.objects.remove(sha256)
            elif self.places.objects.is_dir():
                remove_tree(self.places.objects)
        remove_tree(place)
        synchronise([self.places.snapshots])

    def _only_in(self, place: Path, number: int, others: list[int]) -> set[Sha256]:
        """The digests that no other snapshot has. Only the difference to the nearest one is held in memory."""
        nearest = min(others, key=lambda other: abs(other - number))
        found = {
            change.old.sha256
            for change in changes_between(read_files(place), self.files(nearest))
            if change.old is not None
        }
        for other in others:
            if found:
                found.difference_update(file.sha256 for file in self.files(other))
        return found
