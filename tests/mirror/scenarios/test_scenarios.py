"""Whatever happens to a registry, the tree of its mirror becomes what a mirror that began anew would have.

Each scenario runs with `pkgindex-mirror`, and with a mirror of a hundred lines that proves that the scenario itself is right.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import faults
from benchmarks.made_registry import MadeRegistry, Undo
from tests.mirror.scenarios.conftest import Upstream
from tests.mirror.scenarios.mirror_programs import CLEAN, PARTIAL, FakeMirror, MirrorProgram, OwnMirror
from tests.mirror.scenarios.mirrored_trees import content, differences, lacks, paths, problems

PROJECT, OTHER = "beta-00001", "tau-00009"


@pytest.fixture(params=[OwnMirror, FakeMirror], ids=["pkgindex", "fake"])
def mirror(request: pytest.FixtureRequest) -> MirrorProgram:
    made: MirrorProgram = request.param()
    return made


class Tried:
    """A mirror at work."""

    def __init__(self, mirror: MirrorProgram, upstream: Upstream, base: Path) -> None:
        self.program = mirror
        self._base = base
        self.registry = upstream.registry
        self.server = upstream.server
        self.tree = base / "tree"

    def run(self, status: int = CLEAN, *, force: bool = False) -> list[str]:
        """Bring the tree up to date, with that exit status; the requests that it took."""
        self.server.requests()
        outcome = self.program.run(self.tree, self.server.url, force=force)
        assert outcome.status == status, outcome.output
        return self.server.requests()

    def is_as_new(self) -> None:
        """Assert that the tree is that of a mirror that begins now, and all that the registry has."""
        assert lacks(self.tree, self.registry) == []
        fresh = self._base / "fresh"
        outcome = self.program.run(fresh, self.server.url)
        assert outcome.status == CLEAN, outcome.output
        assert differences(self.tree, fresh) == []


@pytest.fixture
def tried(mirror: MirrorProgram, upstream: Upstream, tmp_path: Path) -> Tried:
    return Tried(mirror, upstream, tmp_path)


def test_everything_is_mirrored(tried: Tried) -> None:
    requests = tried.run()
    assert lacks(tried.tree, tried.registry) == []
    assert len(requests) == len(set(requests)), "something was asked for twice"


def test_when_nothing_is_new_the_list_alone_is_asked_for(tried: Tried) -> None:
    tried.run()
    before = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in (tried.tree / "web").rglob("*")}
    before.pop(tried.tree / "web" / "last-modified", None)
    assert tried.run() == ["304 GET /simple/ -"]
    after = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in (tried.tree / "web").rglob("*")}
    after.pop(tried.tree / "web" / "last-modified", None)
    assert after.keys() == before.keys()
    written = [path for path, seen in after.items() if seen != before[path] and path.is_file()]
    assert written == []


def test_what_changed_is_all_that_is_asked_for(tried: Tried) -> None:
    tried.run()
    known = dict(tried.registry.projects)
    faults.release(tried.registry, share=0.1)
    changed = [name for name, project in tried.registry.projects.items() if project is not known[name]]
    new = {
        path
        for name in changed
        for file in set(tried.registry.projects[name].files) - set(known[name].files)
        for path in (file.path, f"{file.path}.metadata")
    }
    asked = {request.split()[2] for request in tried.run()}
    pages = {path for name in changed for path in (f"/simple/{name}/", f"/pypi/{name}/json")}
    assert asked <= {"/simple/", *pages, *new}
    assert {f"/simple/{name}/" for name in changed} <= asked
    tried.is_as_new()


def _first(registry: MadeRegistry) -> str:
    return registry.projects[PROJECT].files[0].filename


CHANGES: dict[str, Callable[[MadeRegistry], Undo]] = {
    "release": faults.release,
    "projects deleted": lambda registry: faults.delete(registry, [PROJECT, OTHER]),
    "file removed": lambda registry: faults.remove_file(registry, PROJECT, _first(registry)),
    "file yanked": lambda registry: faults.yank(registry, PROJECT, _first(registry), 'wrong, "really" & <always>'),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changes_are_followed(tried: Tried, change: str) -> None:
    tried.run()
    CHANGES[change](tried.registry)
    tried.run()
    tried.is_as_new()
    assert len(tried.run()) == 1


def test_a_project_in_quarantine_is_not_shown_until_it_comes_back(tried: Tried) -> None:
    """Its files may stay, since it often comes back."""
    tried.run()
    before = tried.registry.projects[PROJECT]
    faults.quarantine(tried.registry, PROJECT)
    tried.run()
    kept = {f"more: {path}" for file in before.files for path in (file.path[1:], f"{file.path[1:]}.metadata")}
    assert set(lacks(tried.tree, tried.registry)) <= kept
    assert len(tried.run()) == 1
    tried.registry.unlisted.discard(PROJECT)
    faults.show(tried.registry, before)
    tried.registry.write_list()
    tried.run()
    tried.is_as_new()


@pytest.mark.parametrize("fault", ["unavailable", "broken", "stale"])
def test_a_poisoned_project_holds_nothing_back(tried: Tried, fault: str) -> None:
    tried.run()
    before = content(tried.tree)
    faults.poison(tried.registry, PROJECT, fault)
    faults.delete(tried.registry, [OTHER])
    faults.release(tried.registry, share=0.2)
    tried.run(PARTIAL)
    page = f"simple/{PROJECT}/index.v1_json"
    after = content(tried.tree)
    assert after[page] == before[page]
    known = tried.registry.projects[PROJECT]
    assert lacks(tried.tree, tried.registry) == []
    assert known.files
    faults.recover(tried.registry, PROJECT)
    tried.run(force=True)
    tried.is_as_new()


@pytest.mark.parametrize("fault", ["unavailable", "broken", "stale"])
def test_a_project_that_is_poisoned_from_the_beginning_comes_later(tried: Tried, fault: str) -> None:
    faults.poison(tried.registry, PROJECT, fault)
    tried.run(PARTIAL)
    assert lacks(tried.tree, tried.registry, tried.registry.projects.keys() - {PROJECT}) == []
    faults.recover(tried.registry, PROJECT)
    faults.release(tried.registry)
    tried.run(force=True)
    tried.is_as_new()


@pytest.mark.parametrize("damage", [faults.shorten, faults.garble], ids=["shorter", "other bytes"])
def test_a_damaged_file_is_never_visible(tried: Tried, damage: Callable[[MadeRegistry, str], Undo]) -> None:
    undo = damage(tried.registry, _first(tried.registry))
    tried.run(PARTIAL)
    assert problems(tried.tree) == []
    assert [path for path in paths(tried.tree / "web") if path.endswith(_first(tried.registry))] == []
    # A mirror may show the project without the file, or not yet.
    others = tried.registry.projects.keys() - {PROJECT}
    shown = (tried.tree / "web" / "simple" / PROJECT).exists()
    lacking = lacks(tried.tree, tried.registry, tried.registry.projects.keys() if shown else others)
    assert [line for line in lacking if PROJECT.replace("-", "_") not in line] == []
    undo()
    tried.run(force=True)
    tried.is_as_new()


def test_a_file_whose_transfer_ends_early_comes_in_the_end(tried: Tried) -> None:
    faults.cut(tried.registry, _first(tried.registry))
    requests = tried.run()
    assert [request for request in requests if request.startswith("206 ")] != []
    tried.is_as_new()


def test_a_list_that_shrank_by_half_removes_nothing(tried: Tried) -> None:
    tried.run()
    before = content(tried.tree)
    undo = faults.halve_list(tried.registry)
    tried.run(PARTIAL)
    after = content(tried.tree)
    assert {path: found for path, found in before.items() if not path.startswith("simple/index.")} == {
        path: found for path, found in after.items() if not path.startswith("simple/index.")
    }
    assert lacks(tried.tree, tried.registry, tried.registry.projects.keys()) == []
    undo()
    tried.run(force=True)
    tried.is_as_new()
