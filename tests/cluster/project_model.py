"""The rules of a project as clients see it, one request after the other: the files of two indexes, between which releases are pushed.

Releases are made in a volatile index, where uploads replace files, and are pushed to one that is not volatile, where a filename is given to
bytes once.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, assert_never

from msgspec import Struct

from tests.cluster.linearizability import Model, Operation

Index: TypeAlias = Literal["made", "kept"]
"""`made` is volatile, `kept` is not."""


class Held(Struct, frozen=True, order=True):
    """A file in an index."""

    index: Index
    filename: str
    content: int
    """Which of the contents that the filename has."""
    yanked: bool = False


class Project(Struct, frozen=True):
    """The state: the files, and the filenames that deleted files of the index `kept` have had."""

    files: frozenset[Held] = frozenset()
    used: frozenset[str] = frozenset()

    def file(self, index: Index, filename: str) -> Held | None:
        return next((each for each in self.files if (each.index, each.filename) == (index, filename)), None)

    def put(self, new: Held) -> Project:
        old = self.file(new.index, new.filename)
        return Project(self.files - {old} | {new} if old else self.files | {new}, self.used)

    def without(self, old: Held) -> Project:
        return Project(self.files - {old}, self.used | {old.filename} if old.index == "kept" else self.used)


class Upload(Struct, frozen=True):
    """Answers: "stored", or "taken" in the index that is not volatile."""

    index: Index
    filename: str
    content: int


class Delete(Struct, frozen=True):
    """By the URL of the file, which names its bytes. Answers: "deleted" or "absent"."""

    index: Index
    filename: str
    content: int


class Yank(Struct, frozen=True):
    """By the URL of the file. Answers: "marked" or "absent"."""

    index: Index
    filename: str
    content: int
    yanked: bool


class Push(Struct, frozen=True):
    """All files of a version, from `made` to `kept`. Answers: "pushed", "same" (nothing is missing), "taken" or "absent"."""

    version: str


class Download(Struct, frozen=True):
    """Answers: "present" or "absent"."""

    index: Index
    filename: str
    content: int


class Look(Struct, frozen=True):
    """The page of the project in an index. The answer is the set of its files."""

    index: Index


Request: TypeAlias = Upload | Delete | Yank | Push | Download | Look
Recorded: TypeAlias = Operation[Request]


class ProjectModel:
    """A project that is empty at first."""

    initial: Final = Project()

    def after(self, state: Project, request: Request, answer: Hashable) -> Project | None:
        said, after = _outcome(state, request)
        return after if answer is None or answer == said else None


def _outcome(state: Project, request: Request) -> tuple[Hashable, Project]:
    """The right answer, and the state after it."""
    match request:
        case Upload(index, filename, content):
            return _uploaded(state, Held(index, filename, content))
        case Push(version):
            return _pushed(state, version)
        case Look(index):
            return frozenset(each for each in state.files if each.index == index), state
    found = state.file(request.index, request.filename)
    if found is None or found.content != request.content:
        return "absent", state
    match request:
        case Delete():
            return "deleted", state.without(found)
        case Yank():
            return "marked", state.put(Held(found.index, found.filename, found.content, request.yanked))
        case Download():
            return "present", state
    assert_never(request)


def _uploaded(state: Project, new: Held) -> tuple[Hashable, Project]:
    old = state.file(new.index, new.filename)
    if old is not None and old.content == new.content:
        return "stored", state
    if new.index == "kept" and (old is not None or new.filename in state.used):
        return "taken", state
    return "stored", state.put(new)


def _pushed(state: Project, version: str) -> tuple[Hashable, Project]:
    files = [each for each in state.files if each.index == "made" and each.filename.split("-")[1] == version]
    if not files:
        return "absent", state
    after = state
    for file in files:
        there = state.file("kept", file.filename)
        if file.filename in state.used if there is None else there.content != file.content:
            return "taken", state
        if there is None:
            after = after.put(Held("kept", file.filename, file.content, file.yanked))
    return ("same" if after == state else "pushed"), after


if TYPE_CHECKING:
    _: type[Model[Project, Request]] = ProjectModel
