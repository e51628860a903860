"""Names under which snapshots are served: dev, test, prod. A name is a relative symlink to a tree of hard links, switched in one step.

    ROOT/.pkgindex/published/prod -> ../trees/12

Each name remembers the snapshots that it had, so that it can go back. The note of that is written before the switch, and a command that died between
both is finished by the next one.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from pkgindex_core.errors import Corrupt, Missing, Refused
from pkgindex_core.failpoints import failpoint
from pkgindex_mirror.snapshots.listings import SnapshotFile
from pkgindex_mirror.snapshots.places import make_directory, remove_tree, synchronise, write_durably
from pkgindex_mirror.snapshots.taking import Snapshots
from pkgindex_mirror.snapshots.words import parse_word

_REMEMBERED: Final = 10
"""The most snapshots that a name remembers."""
_MAKING: Final = "making"
_REMOVING: Final = "removing"


class PublishedNames:
    """The names of one tree. Methods that change something are called with the lock of the snapshots held."""

    def __init__(self, snapshots: Snapshots) -> None:
        self._snapshots = snapshots
        self._places = snapshots.places

    def current(self) -> dict[str, int]:
        """The snapshot of each name."""
        return {name: numbers[-1] for name, numbers in sorted(self._read().items())}

    def needed(self) -> set[int]:
        """The snapshots that names have, and those to which they would go back."""
        return {number for numbers in self._read().values() for number in numbers[-2:]}

    def recover(self) -> None:
        """Finish what a command began that died."""
        self._settle(self._read())

    def promote(self, number: int, name: str) -> Path:
        """Let a name point at a snapshot. Returns the directory that a web server serves."""
        parse_word(name, "name to publish under")
        self._snapshots.head(number)
        self._make_tree(number)
        names = self._read()
        numbers = names.get(name, [])
        if numbers[-1:] != [number]:
            self._write(names | {name: [*numbers, number][-_REMEMBERED:]})
        return self._places.published / name

    def roll_back(self, name: str) -> int:
        """Let a name point at the snapshot that it had before. Returns its number."""
        names = self._read()
        if name not in names:
            raise Missing("published name", name, hint=f"the names are: {', '.join(sorted(names)) or 'none'}")
        numbers = [number for number in names[name][:-1] if self._places.snapshot(number).is_dir()]
        if not numbers:
            raise Refused(f"{name} has no snapshot to go back to", hint="promote one of `snapshot list`")
        self._make_tree(numbers[-1])
        self._write(names | {name: numbers})
        return numbers[-1]

    def withdraw(self, name: str) -> None:
        """Remove a name. Its snapshots stay."""
        names = self._read()
        if names.pop(name, None) is None:
            raise Missing("published name", name)
        self._write(names)

    def _make_tree(self, number: int) -> None:
        target = self._places.tree(number)
        if target.is_dir():
            return
        make_directory(self._places.trees)
        making = self._places.trees / f"{number}.{_MAKING}"
        if making.exists():
            remove_tree(making)
        make_directory(making)
        directories = {making}
        for file in self._snapshots.files(number):
            self._link(file, making / file.path, directories)
        synchronise(directories)
        making.rename(target)
        synchronise([self._places.trees])
        failpoint("snapshot.tree_made")

    def _link(self, file: SnapshotFile, place: Path, directories: set[Path]) -> None:
        if place.parent not in directories:
            for directory in reversed(place.relative_to(self._places.trees).parents[:-2]):
                make_directory(self._places.trees / directory)
                directories.add(self._places.trees / directory)
        source = self._snapshots.objects.place(file)
        try:
            os.link(source, place)
        except OSError as error:
            if error.errno != errno.EMLINK:  # a file may have 65,000 names on some file systems
                raise
            shutil.copyfile(source, place)
            synchronise([place])

    def _write(self, names: Mapping[str, list[int]]) -> None:
        write_durably(self._places.names, msgspec.json.encode(names), new=self._places.new)
        failpoint("snapshot.name_noted")
        self._settle(names)

    def _settle(self, names: Mapping[str, list[int]]) -> None:
        """Make the symlinks those of the notes, and remove trees that no name has."""
        make_directory(self._places.published)
        for name, numbers in names.items():
            self._switch(name, numbers[-1])
        for link in self._places.published.iterdir():
            if link.name not in names:
                link.unlink()
        synchronise([self._places.published])
        used = {numbers[-1] for numbers in names.values()}
        for number in self._places.numbers(among=self._places.trees):
            if number not in used:
                self._places.tree(number).rename(self._places.trees / f"{number}.{_REMOVING}")
        for state in (_MAKING, _REMOVING):
            for number in self._places.numbers(state, among=self._places.trees):
                remove_tree(self._places.trees / f"{number}.{state}")

    def _switch(self, name: str, number: int) -> None:
        link = self._places.published / name
        told = f"../trees/{number}"
        self._make_tree(number)
        if link.is_symlink() and link.readlink() == Path(told):
            return
        new = self._places.new / name
        new.symlink_to(told)
        new.replace(link)
        failpoint("snapshot.name_switched")

    def _read(self) -> dict[str, list[int]]:
        try:
            return msgspec.json.decode(self._places.names.read_bytes(), type=dict[str, list[int]])
        except FileNotFoundError:
            return {}
        except msgspec.DecodeError as error:
            raise Corrupt(
                f"{self._places.names} is damaged: {error}", hint="remove it, then promote the snapshots again"
            ) from error
