"""What a power cut may leave of a directory, derived from the calls that were made (after ALICE, OSDI 2014).

    operations = RecordingFileOperations(root)
    … run the engine on `operations`, and `operations.mark("stored", key)` when it acknowledged …
    for state in crash_states(operations.journal):
        … `state.files` is the tree after a power cut there, `state.marks` what had been promised by then …

The model promises no more than POSIX and journalling file systems do, and less than ext4:
* bytes of a file are on disk once a sync of it succeeded. Before, each block of them may be, alone; what is missing
  reads as zeros, or the file is shorter;
* names of a directory are on disk once a sync of it succeeded. Before, each name may be old or new, apart from
  all others: the two halves of a move between directories too. One name is never torn: it goes through its values in turn;
* after a failed sync, what it was for may be on disk or not, and no later sync changes that: only a new write does.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from pkgindex_core.engines.local.file_operations import FileOperations
from pkgindex_core.testing.faults import UnsyncedFileOperations


class Event(Struct, frozen=True):
    """Something that was done. Paths are relative to the root, `""` is the root."""

    kind: str
    path: str = ""
    target: str = ""
    file: int = 0
    offset: int = 0
    data: bytes = b""
    failed: bool = False


class CrashState(Struct, frozen=True):
    step: int
    """How many events had happened."""
    files: dict[str, bytes]
    """Content by path; a directory is a path that ends in `/`."""
    marks: tuple[tuple[str, str], ...]
    """The marks set by then, in order."""


class RecordingFileOperations(FileOperations):
    """Does every call through `inner`, and keeps what matters for durability in `journal`.

    What is under `root` at the start counts as durable. Process death is `die`: from then on every call fails.
    """

    def __init__(self, root: Path, inner: FileOperations | None = None) -> None:
        self.journal: list[Event] = []
        self._root = root
        self._inner = inner or UnsyncedFileOperations()
        self._lock = threading.RLock()
        self._numbers = itertools.count(1)
        self._files: dict[str, int] = {}  # path -> number of the file that has it
        self._opened: dict[int, tuple[str, int]] = {}  # descriptor -> path, number of the file
        self._offsets: dict[int, int] = {}
        for path in sorted(root.rglob("*")) if root.exists() else ():
            name = str(path.relative_to(root))
            if path.is_dir():
                self.journal += [Event("mkdir", name), Event("syncdir", name.rpartition("/")[0])]
            else:
                number = self._files[name] = next(self._numbers)
                self.journal += [
                    Event("create", name, file=number),
                    Event("write", file=number, data=path.read_bytes()),
                ]
                self.journal += [Event("sync", file=number), Event("syncdir", name.rpartition("/")[0])]

    def mark(self, kind: str, what: str) -> None:
        """Note a promise of the program: `("stored", key)`."""
        with self._lock:
            self.journal.append(Event("mark", kind, what))

    def make_directory(self, path: Path) -> bool:
        with self._lock:
            made = self._inner.make_directory(path)
            if made and path.is_relative_to(self._root) and path != self._root:
                self.journal.append(Event("mkdir", self._name(path)))
            return made

    def remove_directory(self, path: Path) -> None:
        with self._lock:
            self._inner.remove_directory(path)
            self.journal.append(Event("unlink", self._name(path)))

    def open_directory(self, path: Path) -> int:
        with self._lock:
            return self._remember(self._inner.open_directory(path), path, 0)

    def create(self, path: Path) -> int:
        with self._lock:
            descriptor = self._inner.create(path)
            number = self._files[self._name(path)] = next(self._numbers)
            self.journal.append(Event("create", self._name(path), file=number))
            return self._remember(descriptor, path, number)

    def open(self, name: Path | str, directory: int | None = None) -> int:
        with self._lock:
            path = self._within(name, directory)
            return self._remember(self._inner.open(name, directory), path, self._files.get(self._name(path), 0))

    def write(self, descriptor: int, data: bytes | bytearray | memoryview) -> None:
        with self._lock:
            _, number = self._opened[descriptor]
            offset = self._offsets.get(descriptor, 0)
            self.journal.append(Event("write", file=number, offset=offset, data=bytes(data)))
            self._inner.write(descriptor, data)
            self._offsets[descriptor] = offset + len(data)

    def sync(self, descriptor: int) -> None:
        _, number = self._opened[descriptor]
        self._syncing(Event("sync", file=number), self._inner.sync, descriptor)

    def sync_directory(self, descriptor: int) -> None:
        path, _ = self._opened[descriptor]
        self._syncing(Event("syncdir", path), self._inner.sync_directory, descriptor)

    def rename(self, source: Path, name: str, directory: int) -> None:
        with self._lock:
            self._inner.rename(source, name, directory)
            target = self._name(self._within(name, directory))
            self.journal.append(Event("rename", self._name(source), target))
            self._files[target] = self._files.pop(self._name(source))

    def unlink(self, name: Path | str, directory: int | None = None) -> None:
        with self._lock:
            self._inner.unlink(name, directory)
            path = self._name(self._within(name, directory))
            self.journal.append(Event("unlink", path))
            self._files.pop(path, None)

    def close(self, descriptor: int) -> None:
        with self._lock:
            self._opened.pop(descriptor, None)
            self._offsets.pop(descriptor, None)
            self._inner.close(descriptor)

    # Calls that change nothing which a power cut could take.

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        return self._inner.read(descriptor, size, offset)

    def touch(self, descriptor: int, seconds: float) -> None:
        self._inner.touch(descriptor, seconds)

    def lock(self, descriptor: int, *, wait: bool = True) -> bool:
        return self._inner.lock(descriptor, wait=wait)

    def status(self, name: Path | str, directory: int | None = None) -> os.stat_result | None:
        return self._inner.status(name, directory)

    def opened_status(self, descriptor: int) -> os.stat_result:
        return self._inner.opened_status(descriptor)

    def list_directory(self, path: Path) -> list[tuple[str, os.stat_result]]:
        return self._inner.list_directory(path)

    def close_all(self) -> None:
        """What the kernel does for a process that died: its descriptors, and with them its locks, go."""
        with self._lock:
            for descriptor in list(self._opened):
                FileOperations.close(self, descriptor)
            self._opened.clear()
            self._offsets.clear()

    def _syncing(self, event: Event, sync: Any, descriptor: int) -> None:
        with self._lock:
            try:
                sync(descriptor)
            except OSError:
                self.journal.append(Event(event.kind, event.path, file=event.file, failed=True))
                raise
            self.journal.append(event)

    def _remember(self, descriptor: int, path: Path, number: int) -> int:
        self._opened[descriptor] = (self._name(path), number)
        return descriptor

    def _within(self, name: Path | str, directory: int | None) -> Path:
        return Path(name) if directory is None else self._root / self._opened[directory][0] / name

    def _name(self, path: Path) -> str:
        """The path relative to the root; what is outside it (the root's parent is synced as well) keeps its own."""
        if path == self._root:
            return ""
        return str(path.relative_to(self._root)) if path.is_relative_to(self._root) else str(path)


def crash_states(journal: Iterable[Event], *, blocks: int = 4) -> Iterator[CrashState]:
    """Every state that a power cut after any event may leave; unsynced bytes of a file are torn into `blocks`."""
    disk = _Disk(blocks)
    marks: list[tuple[str, str]] = []
    for step, event in enumerate(journal):
        if event.kind == "mark":
            marks.append((event.path, event.target))
        else:
            disk.apply(event)
        for files in disk.states():
            yield CrashState(step, files, tuple(marks))


class _File:
    def __init__(self, blocks: int) -> None:
        self.blocks = blocks
        self.durable = b""
        self.written = b""  # with everything that was written, synced or not
        self.stuck = False  # a sync failed: from now on `written` may be on disk or not, for good

    def write(self, offset: int, data: bytes) -> None:
        self.written = self.written[:offset].ljust(offset, b"\0") + data + self.written[offset + len(data) :]

    def sync(self, *, failed: bool) -> None:
        self.stuck = self.stuck or failed
        if not self.stuck:
            self.durable = self.written

    def contents(self) -> set[bytes]:
        if self.durable == self.written:
            return {self.durable}
        start, stop = len(self.durable), len(self.written)
        if start >= stop:
            return {self.durable, self.written}
        edges = sorted({start + (stop - start) * piece // self.blocks for piece in range(self.blocks + 1)})
        pieces = [self.written[a:b] for a, b in itertools.pairwise(edges)]
        found = {self.durable, self.written[: start + (stop - start) // 2]}
        for kept in itertools.product((False, True), repeat=len(pieces)):
            torn = [piece if keep else bytes(len(piece)) for piece, keep in zip(pieces, kept, strict=True)]
            found.add(self.durable + b"".join(torn))
        return found


class _Directory:
    def __init__(self) -> None:
        self.names: dict[str, _Name] = {}

    def set(self, name: str, node: _Node | None) -> None:
        self.names.setdefault(name, _Name()).values.append(node)

    def sync(self, *, failed: bool) -> None:
        for name in self.names.values():
            name.sync(failed=failed)

    def states(self) -> Iterator[dict[str, bytes]]:
        options = [list(name.states(text)) for text, name in self.names.items()]
        for chosen in itertools.product(*options):
            merged: dict[str, bytes] = {}
            for files in chosen:
                merged |= files
            yield merged


class _Name:
    """The values a name went through: the first is on disk, a later one may be."""

    def __init__(self) -> None:
        self.values: list[_Node | None] = [None]
        self.stuck = 0  # how many of the values a failed sync left in doubt

    def sync(self, *, failed: bool) -> None:
        if failed and len(self.values) > 1:
            self.stuck = len(self.values)
        elif len(self.values) > self.stuck:
            self.values = self.values[-1:]
            self.stuck = 0

    def states(self, text: str) -> Iterator[dict[str, bytes]]:
        for node in {id(node): node for node in self.values}.values():
            match node:
                case None:
                    yield {}
                case _File():
                    for content in node.contents():
                        yield {text: content}
                case _Directory():
                    for files in node.states():
                        yield {f"{text}/": b""} | {f"{text}/{inner}": content for inner, content in files.items()}


_Node = _File | _Directory


class _Disk:
    def __init__(self, blocks: int) -> None:
        self._blocks = blocks
        self._root = _Directory()
        self._directories: dict[str, _Directory] = {"": self._root}
        self._files: dict[int, _File] = {}
        self._live: dict[str, _Node] = {}  # what running programs see

    def apply(self, event: Event) -> None:
        match event.kind:
            case "mkdir":
                directory = self._directories[event.path] = _Directory()
                self._name(event.path, directory)
            case "create":
                file = self._files[event.file] = _File(self._blocks)
                self._name(event.path, file)
            case "write":
                self._files[event.file].write(event.offset, event.data)
            case "sync":
                self._files[event.file].sync(failed=event.failed)
            case "syncdir" if event.path in self._directories:
                self._directories[event.path].sync(failed=event.failed)
            case "rename":
                node = self._live[event.path]
                self._name(event.path, None)
                self._name(event.target, node)
            case "unlink":
                self._name(event.path, None)
            case _:
                return

    def states(self) -> Iterator[dict[str, bytes]]:
        return self._root.states()

    def _name(self, path: str, node: _Node | None) -> None:
        parent, _, name = path.rpartition("/")
        self._directories[parent].set(name, node)
        if node is None:
            self._live.pop(path, None)
        else:
            self._live[path] = node
