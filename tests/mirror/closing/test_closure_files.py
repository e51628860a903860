"""A closure in a file, as the filter of a mirror, and explained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from pkgindex_core.errors import Missing, Refused
from pkgindex_core.models import PageHead
from pkgindex_core.names import ProjectName
from pkgindex_mirror.closing.closure import Closure, decode_closure, encode_closure, read_closure, write_closure
from pkgindex_mirror.closing.closure_tables import table
from pkgindex_mirror.closing.explaining import chain, explained
from pkgindex_mirror.closing.filtering import ClosureFilter
from pkgindex_mirror.filters.chosen_files import Filters
from pkgindex_mirror.syncing.values import Listed, UpstreamProject
from tests.mirror.closing.universes import FakeIndex, closed


@pytest.fixture
def index() -> FakeIndex:
    index = FakeIndex()
    index.add("app", "1", "middle[more]<2")
    index.add("app", "2", "middle", "other")
    index.add("middle", "1", "deep==1 ; extra == 'more'")
    index.add("middle", "2", "deep==2", "tool")
    index.add("deep", "1")
    index.add("deep", "2")
    index.add("tool", "1", sdist=True, builds=["setuptools>=40"])
    index.add("setuptools", "50")
    index.add("other", "1", yanked="broken")
    return index


def test_a_closure_comes_back_from_a_file(index: FakeIndex, tmp_path: Path) -> None:
    closure = closed(index, "app")
    path = tmp_path / "closure.json"
    path.write_bytes(b"former")
    write_closure(path, closure)
    assert read_closure(path) == closure
    assert [*tmp_path.iterdir()] == [path]
    assert path.read_bytes().startswith(b'{\n "format": "pkgindex-closure",\n "format-version": 1,\n')
    with pytest.raises(Refused, match="cannot be written"):
        write_closure(tmp_path / "missing" / "closure.json", closure)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"format": "pkgindex-closure", "format-version": 2}',
        b'{"format": "pkgindex-closure", "format-version": 1}',
        b'{"format": "pkgindex-closure", "format-version": 1, "mode": "odd", "targets": [], "projects": {}}',
        b'{"format": "pkgindex-closure", "format-version": 1, "mode": "all", "targets": [], "projects": {"../x": {"demands": [], "versions": []}}}',
        b"[" * 100_000,
    ],
)
def test_other_files_are_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(Refused):
        read_closure(tmp_path / "x")
    with pytest.raises(Refused, match="cannot be read"):
        read_closure(tmp_path / "missing")


class TestFilter:
    def project(self, index: FakeIndex, name: str) -> UpstreamProject:
        files = tuple(entry.file for entry in index.projects[name])
        return UpstreamProject(name=ProjectName(name), raw=name, head=PageHead(), files=files)

    def test_it_leaves_in_what_the_closure_has(self, index: FakeIndex) -> None:
        index.add("app", "3")
        chosen = ClosureFilter(closed(index, "app<3"))
        assert chosen.refuses_name(Listed(name=ProjectName("app"), raw="App")) is None
        refusal = chosen.refuses_name(Listed(name=ProjectName("other"), raw="other"))
        assert refusal is not None
        assert (refusal.filter, refusal.reason) == ("closure", "nothing in the closure asks for it")
        project = self.project(index, "app")
        assert chosen.names == ("app", "deep", "middle", "setuptools", "tool")
        assert chosen.refuses_project(project) is None
        assert chosen.refuses_project(self.project(index, "other")) is not None
        assert {name: each.reason for name, each in chosen.refuses_files(project, project.files).items()} == {
            "app-3-py3-none-any.whl": "it is not in the closure"
        }

    def test_it_stands_among_other_filters(self, index: FakeIndex) -> None:
        chosen = Filters((ClosureFilter(closed(index, "deep<2")),))
        files, refused = chosen.files(self.project(index, "deep"))
        assert [file.filename for file in files] == ["deep-1-py3-none-any.whl"]
        assert {name: each.filter for name, each in refused.items()} == {"deep-2-py3-none-any.whl": "closure"}
        assert chosen.name(Listed(name=ProjectName("app"), raw="app")) is not None

    def test_another_digest_is_another_file(self, index: FakeIndex) -> None:
        chosen = ClosureFilter(closed(index, "deep"))
        project = self.project(index, "deep")
        changed = [msgspec.structs.replace(file, digests={"sha256": "0" * 64}) for file in project.files[:1]]
        unsaid = [msgspec.structs.replace(file, digests={}) for file in project.files[1:]]
        refused = chosen.refuses_files(project, [*changed, *unsaid])
        assert {name: each.reason for name, each in refused.items()} == {
            "deep-1-py3-none-any.whl": "its sha256 is another than in the closure"
        }

    def test_the_fingerprint_is_that_of_the_choices(self, index: FakeIndex) -> None:
        first = ClosureFilter(closed(index, "deep"))
        again = ClosureFilter(decode_closure(encode_closure(closed(index, "deep", "deep>=1"))))
        other = ClosureFilter(closed(index, "deep<2"))
        assert first.fingerprint == again.fingerprint != other.fingerprint


class TestExplaining:
    def test_the_chain_of_what_asked(self, index: FakeIndex) -> None:
        steps = chain(closed(index, "app"), ProjectName("setuptools"))
        assert [(each.project, each.requirement, each.asker.shown) for each in steps] == [
            ("setuptools", "setuptools>=40", "building tool 1"),
            ("tool", "tool", "middle 2"),
            ("middle", "middle", "app 2"),
            ("app", "app", "command line"),
        ]

    def test_each_step_admits_the_version_that_asks(self, index: FakeIndex) -> None:
        closure = closed(index, "app", "middle<2")
        assert [each.asker.shown for each in chain(closure, ProjectName("tool"))] == [
            "middle 2",
            "app 2",
            "command line",
        ]

    def test_as_lines(self, index: FakeIndex) -> None:
        assert [*explained(closed(index, "app"), ProjectName("deep"))] == [
            "deep: 2 versions: 1, 2",
            "  deep==2: asked for by middle 2",
            "    middle: asked for by app 2",
            "      app: asked for by command line",
            "All requirements for deep:",
            "  deep==1 (1 of these versions): middle[more] 1",
            "  deep==2 (1 of these versions): middle 2",
        ]

    def test_a_project_that_is_not_in_it(self, index: FakeIndex) -> None:
        with pytest.raises(Missing, match="other is not in the closure"):
            chain(closed(index, "app"), ProjectName("other"))
        with pytest.raises(Missing) as caught:
            chain(closed(index, "app"), ProjectName("midle"))
        assert "middle" in caught.value.hint


def test_the_table(index: FakeIndex) -> None:
    lines = [*table(closed(index, "app"))]
    assert lines[1].split() == ["app", "2", "2", "200", "B"]
    assert lines[-1].split() == ["5", "projects", "8", "8", "800", "B"]


def test_the_table_of_nothing() -> None:
    assert [*table(Closure(mode="all", targets=(), projects={}))][-1].split() == ["0", "projects", "0", "0", "0", "B"]


@pytest.mark.parametrize(
    "change",
    [
        lambda closure: replace(closure, targets=()),
        lambda closure: replace(closure, targets=(), projects={}),
        lambda closure: replace(
            closure,
            projects={"app": replace(closure.projects["app"], demands=())},  # type: ignore[dict-item]  # a name
        ),
    ],
)
def test_a_file_with_positions_that_lead_nowhere_is_refused(
    index: FakeIndex, change: Callable[[Closure], Closure]
) -> None:
    closure = closed(index, "app", "nowhere")
    assert closure.unmet
    with pytest.raises(Refused, match="leads nowhere"):
        decode_closure(encode_closure(change(closure)))


def test_a_requirement_that_somebody_spoilt_is_explained(index: FakeIndex) -> None:
    spoilt = encode_closure(closed(index, "app")).replace(b'"requirement": "middle[more]<2"', b'"requirement": "@@"')
    assert b"@@" in spoilt
    assert any("deep" in line for line in explained(decode_closure(spoilt), ProjectName("deep")))


class OnlyIterated(tuple[int, ...]):
    """Positions that may not be searched: with a thousand requirements and versions that takes minutes."""

    __slots__ = ()

    def __contains__(self, _number: object) -> bool:
        raise AssertionError


def test_an_explanation_reads_the_versions_of_a_project_once(index: FakeIndex) -> None:
    closure = closed(index, "app")
    projects = {
        name: replace(
            project, versions=tuple(replace(each, demands=OnlyIterated(each.demands)) for each in project.versions)
        )
        for name, project in closure.projects.items()
    }
    assert [*explained(replace(closure, projects=projects), ProjectName("deep"))] == [
        *explained(closure, ProjectName("deep"))
    ]
