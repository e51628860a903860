"""What happens to a registry, and what goes wrong with it: applied to the one that is made up, and undone by the function that each returns.

A change of a project gives it a new serial, and makes the list anew. What is undone has its old serial again, as if nothing had happened.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from msgspec.structs import replace

from benchmarks.made_pages import MadeFile, MadeProject
from benchmarks.made_registry import MadeRegistry, Undo


def release(registry: MadeRegistry, share: float = 0.01) -> Undo:
    """A new file in this share of the projects, in at least one."""
    undo = registry.remember()
    every = max(1, round(1 / share))
    for name in sorted(registry.projects)[::every]:
        project = registry.projects[name]
        added = registry.add_file(project, len(project.files))
        show(registry, project, files=(*project.files, added))
    registry.write_list()
    return undo


def delete(registry: MadeRegistry, names: Sequence[str]) -> Undo:
    """These projects are deleted: not listed, and without a page."""
    undo = registry.remember()
    for name in names:
        registry.withdraw(name)
    registry.next_serial()
    registry.write_list()
    return undo


def remove_file(registry: MadeRegistry, name: str, filename: str) -> Undo:
    """A file is removed from its project."""
    project = registry.projects[name]
    return _changed(registry, name, tuple(file for file in project.files if file.filename != filename))


def yank(registry: MadeRegistry, name: str, filename: str, reason: str) -> Undo:
    """A file is yanked."""
    project = registry.projects[name]
    files = tuple(replace(file, yanked=reason) if file.filename == filename else file for file in project.files)
    return _changed(registry, name, files)


def quarantine(registry: MadeRegistry, name: str) -> Undo:
    """A project is put into quarantine: not listed, without a document, and with a page that says so and has no files."""
    undo = registry.remember()
    registry.unlisted.add(name)
    show(registry, registry.projects[name], files=(), status="quarantined")
    (registry.root / "projects" / name / "document.json").unlink()
    registry.write_list()
    return undo


def poison(registry: MadeRegistry, name: str, fault: str) -> Undo:
    """A project that changed has a page that is `unavailable`, `broken`, or `stale`."""
    undo = registry.remember()
    show(registry, registry.projects[name], fault=fault)
    registry.write_list()
    return undo


def recover(registry: MadeRegistry, name: str) -> None:
    """The page of a poisoned project is shown rightly, with the serial that it has."""
    registry.put(registry.projects[name])


def cut(registry: MadeRegistry, filename: str) -> Undo:
    """The connection ends in the middle of a file, which was announced as a whole. A request for a range gets what it asks for."""
    data = registry.file_place(filename).read_bytes()
    directory = registry.root / "cuts" / f"{filename}@{len(data)}"
    directory.mkdir(exist_ok=True)
    (directory / "half").write_bytes(data[: len(data) // 2])
    link = registry.root / "cut" / filename
    link.symlink_to(directory)

    def undo() -> None:
        link.unlink()
        shutil.rmtree(directory)

    return undo


def shorten(registry: MadeRegistry, filename: str) -> Undo:
    """A file is shorter than its page says."""
    data = registry.file_place(filename).read_bytes()
    return registry.replace_bytes(filename, data[: len(data) // 2])


def garble(registry: MadeRegistry, filename: str) -> Undo:
    """A file has the size that its page says, and other bytes."""
    data = registry.file_place(filename).read_bytes()
    return registry.replace_bytes(filename, bytes(255 - byte for byte in data))


def halve_list(registry: MadeRegistry) -> Undo:
    """The list lacks the second half of the projects, whose pages are still there."""
    undo = registry.remember()
    names = sorted(registry.projects)
    registry.unlisted.update(names[len(names) // 2 :])
    registry.next_serial()
    registry.write_list()
    return undo


def _changed(registry: MadeRegistry, name: str, files: tuple[MadeFile, ...]) -> Undo:
    undo = registry.remember()
    show(registry, registry.projects[name], files=files)
    registry.write_list()
    return undo


def show(
    registry: MadeRegistry,
    project: MadeProject,
    *,
    files: tuple[MadeFile, ...] | None = None,
    status: str = "",
    fault: str = "",
) -> None:
    """Show a project with a new serial, otherwise as it is given. The list is not made anew."""
    shown = replace(
        project, serial=registry.next_serial(), files=project.files if files is None else files, status=status
    )
    registry.put(shown, fault=fault)
