"""Laws of closures over random indexes, against a resolver that tries everything.

whatever a resolver can choose from the index, for any target and any of the wanted projects, is in the closure
the closure of a closure is the closure
everything in it has a chain of requirements to what is wanted
where requirements cannot contradict each other, without any of its versions a possible choice is lost
the order of the answers does not matter
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain as joined
from itertools import combinations, pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from pkgindex_mirror.closing.closing import close_over
from pkgindex_mirror.closing.closure import Closure, decode_closure, encode_closure
from pkgindex_mirror.closing.explaining import chain
from pkgindex_mirror.closing.inputs import read_name
from pkgindex_mirror.closing.install_targets import TargetSet, read_targets
from tests.mirror.closing.universes import Entry, FakeIndex, closed

TARGETS = read_targets(["3.11.4", "3.12.1"], ["linux"])
NAMES = ("a", "b", "c", "d")
VERSIONS = ("1", "2", "3rc1", "4")
SPECIFIERS = ("", ">=2", "<2", "==2", "!=2", ">2", "<4", ">=2,<4", ">=3rc1", "==1", "~=2.0", "==9")
MARKERS = (
    "",
    " ; python_version < '3.12'",
    " ; extra == 'x'",
    " ; extra == 'x' and python_version >= '3.12'",
    " ; os_name == 'nt'",
)
TAGS = ("py3-none-any", "py3-none-any", "cp311-cp311-manylinux_2_17_x86_64", "cp312-cp312-win_amd64")
Choice = Mapping[str, Entry | None]
"""For each project the file that is installed; None: none is."""


@st.composite
def requirements(draw) -> str:
    extras = draw(st.sampled_from(["", "", "", "[x]", "[y]"]))
    return f"{draw(st.sampled_from(NAMES))}{extras}{draw(st.sampled_from(SPECIFIERS))}{draw(st.sampled_from(MARKERS))}"


@st.composite
def indexes(draw) -> FakeIndex:
    index = FakeIndex(yields=draw(st.lists(st.integers(0, 3), min_size=1, max_size=5)))
    for name in NAMES[: draw(st.integers(2, 4))]:
        for version in draw(st.sets(st.sampled_from(VERSIONS), min_size=1, max_size=3)):
            yanked = draw(st.sampled_from([False, False, False, "broken"]))
            for tag in draw(st.sets(st.sampled_from([*TAGS, "sdist"]), min_size=1, max_size=2)):
                is_sdist = tag == "sdist"
                index.add(
                    name,
                    version,
                    *draw(st.lists(requirements(), max_size=2)),
                    tag=tag,
                    sdist=is_sdist,
                    builds=draw(st.lists(requirements(), max_size=1)) if is_sdist else (),
                    requires_python=draw(st.sampled_from(["", "", "", ">=3.12"])),
                    says_python=draw(st.sampled_from([None, None, None, "<3.12"])),
                    yanked=yanked,
                )
    return index


roots = st.lists(requirements(), min_size=1, max_size=2)


class Resolver:
    """Finds every choice of versions that an installer may make on one target, by trying all."""

    def __init__(self, index: FakeIndex, targets: TargetSet, target: int) -> None:
        self.index = index
        self.targets = targets
        self.target = target

    def chosen(self, wanted: Sequence[str]) -> set[tuple[str, str]]:
        """All files, by project, of all possible choices for requirements, with those of all builds that they need."""
        found: set[tuple[str, str]] = set()
        waiting = [tuple(wanted)]
        begun = set(waiting)
        while waiting:
            for choice in self.choices(waiting.pop()):
                for name, entry in choice.items():
                    if entry is not None:
                        found.add((name, entry.file.filename))
                        builds = entry.facts.build_requires
                        if builds and builds not in begun:
                            begun.add(builds)
                            waiting.append(builds)
        return found

    def choices(self, wanted: Sequence[str]) -> Iterator[Choice]:
        options = [[None, *self.files(name)] for name in self.index.projects]
        for entries in product(*options):
            choice = dict(zip(self.index.projects, entries, strict=True))
            if self.is_valid(wanted, choice):
                yield choice

    def is_valid(self, wanted: Sequence[str], choice: Choice) -> bool:
        """Whether an installer can get there: it chooses a file because of requirements of files that it has chosen before."""
        picked: set[str] = set()
        while True:
            asked = self.asked(wanted, choice, picked)
            ready = {
                name
                for name in asked.keys() - picked
                if choice.get(name) and self.may_choose(name, choice[name], asked[name])
            }
            if not ready:
                break
            picked |= ready
        needed = {name for name, entry in choice.items() if entry is not None}
        return picked == needed == set(asked) and all(
            specifier.contains(choice[name].file.version, prereleases=True)
            for name, specifiers in asked.items()
            for specifier in specifiers
        )

    def asked(self, wanted: Sequence[str], choice: Choice, picked: set[str]) -> dict[str, list[SpecifierSet]]:
        """The specifiers for each project that the user and the picked projects ask for."""
        asked: dict[str, list[SpecifierSet]] = {}
        waiting = [(Requirement(text), "") for text in wanted]
        begun: set[tuple[str, str]] = set()
        while waiting:
            requirement, extra = waiting.pop()
            if not self.holds(requirement.marker, extra):
                continue
            name = requirement.name
            asked.setdefault(name, []).append(requirement.specifier)
            for more in ["", *requirement.extras] if name in picked else []:
                if (name, more) not in begun:
                    begun.add((name, more))
                    waiting += [(Requirement(text), more) for text in choice[name].facts.requires_dist]
        return asked

    def may_choose(self, name: str, entry: Entry | None, specifiers: Sequence[SpecifierSet]) -> bool:
        assert entry is not None
        whole = SpecifierSet(",".join(filter(None, map(str, specifiers))))
        pinned = any(each.operator == "==" for each in whole)
        usable = {Version(each.file.version) for each in self.files(name) if each.file.yanked is False or pinned}
        version = Version(entry.file.version)
        return version in usable and version in set(whole.filter(sorted(usable)))

    def files(self, name: str) -> list[Entry]:
        """The files that an installer may take: of each version its wheels, or else its source distribution."""
        fitting = [
            entry
            for entry in self.index.projects[name]
            if self.fits(entry) and self.permits(entry.facts.requires_python)
        ]
        with_wheels = {entry.file.version for entry in fitting if entry.file.filename.endswith(".whl")}
        return [
            entry for entry in fitting if entry.file.filename.endswith(".whl") or entry.file.version not in with_wheels
        ]

    def fits(self, entry: Entry) -> bool:
        filename = entry.file.filename
        is_wheel = filename.endswith(".whl")
        tagged = self.targets.fitting("-".join(filename[:-4].split("-")[-3:])) if is_wheel else -1
        return self.permits(entry.file.requires_python) and bool(tagged >> self.target & 1)

    def permits(self, requires_python: str) -> bool:
        return bool(self.targets.permitting(requires_python) >> self.target & 1)

    def holds(self, marker: Marker | None, extra: str) -> bool:
        return bool(self.targets.holding(marker, extra) >> self.target & 1)


def subsets(wanted: Sequence[str]) -> Iterator[tuple[str, ...]]:
    return joined.from_iterable(combinations(wanted, size) for size in range(1, len(wanted) + 1))


def has(closure: Closure, target: int) -> set[tuple[str, str]]:
    return {
        (name, file.filename)
        for name, project in closure.projects.items()
        for file in project.files
        if target in file.targets
    }


@pytest.mark.parametrize("target", range(len(TARGETS.targets)))
@given(index=indexes(), wanted=roots)
@settings(max_examples=100, deadline=None)
def test_whatever_a_resolver_can_choose_is_in_the_closure(target: int, index: FakeIndex, wanted: list[str]) -> None:
    closure = closed(index, *wanted, targets=TARGETS)
    resolver = Resolver(index, TARGETS, target)
    for some in subsets(wanted):
        assert resolver.chosen(some) <= has(closure, target), some


@given(index=indexes(), wanted=roots, mode=st.sampled_from(["all", "newest"]))
@settings(max_examples=100, deadline=None)
def test_the_closure_of_a_closure_is_itself(index: FakeIndex, wanted: list[str], mode: str) -> None:
    closure = closed(index, *wanted, targets=TARGETS, mode=mode)
    again = closed(index.only(closure), *wanted, targets=TARGETS, mode=mode)
    assert again.projects == closure.projects


@given(index=indexes(), wanted=roots, mode=st.sampled_from(["all", "newest"]))
@settings(max_examples=100, deadline=None)
def test_everything_has_a_chain_of_requirements(index: FakeIndex, wanted: list[str], mode: str) -> None:
    closure = closed(index, *wanted, targets=TARGETS, mode=mode)
    for name, project in closure.projects.items():
        steps = chain(closure, name)
        assert steps[0].project == name
        assert steps[-1].asker.where == "command line"
        for step, cause in pairwise(steps):
            assert step.asker.project == cause.project
            assert set(step.asker.versions) <= {each.version for each in closure.projects[cause.project].versions}
        for version in project.versions:
            assert version.files
            assert version.demands
    assert decode_closure(encode_closure(closure)) == closure


@given(index=indexes(), wanted=roots)
@settings(max_examples=100, deadline=None)
def test_the_newest_are_among_all(index: FakeIndex, wanted: list[str]) -> None:
    everything = closed(index, *wanted, targets=TARGETS)
    newest = closed(index, *wanted, targets=TARGETS, mode="newest")
    assert all(has(newest, target) <= has(everything, target) for target in range(len(TARGETS.targets)))


@given(index=indexes(), wanted=roots, others=st.lists(st.integers(0, 5), min_size=1, max_size=4), data=st.data())
@settings(max_examples=100, deadline=None)
def test_the_order_of_answers_does_not_matter(index: FakeIndex, wanted: list[str], others: list[int], data) -> None:
    other = FakeIndex(yields=others)
    other.projects = {name: data.draw(st.permutations(entries)) for name, entries in index.projects.items()}
    asked = [read_name(each) for each in wanted]
    first = asyncio.run(close_over(asked, index, TARGETS))
    assert asyncio.run(close_over([*reversed(asked)], other, TARGETS)) == first


@st.composite
def trees(draw) -> FakeIndex:
    """Each project is required by one other project at most, by requirements that something satisfies. No pre-releases."""
    index = FakeIndex()
    for place, name in enumerate(NAMES):
        children = [child for at, child in enumerate(NAMES) if at > 0 and (at - 1) // 2 == place]
        for version in ("1", "2", "3"):
            requires = [f"{child}{draw(st.sampled_from(['', '>=2', '<2', '==2', '!=2', '==3']))}" for child in children]
            index.add(name, version, *(each for each in requires if draw(st.booleans())))
    return index


@given(index=trees(), wanted=st.sampled_from(["a", "a>=2", "a==1"]))
@settings(max_examples=100, deadline=None)
def test_nothing_is_in_that_cannot_be_chosen(index: FakeIndex, wanted: str) -> None:
    closure = closed(index, wanted, targets=TARGETS)
    assert has(closure, 0) == Resolver(index, TARGETS, 0).chosen([wanted])
