"""The contract suite of `PageFilter`.

class TestMyFilter(PageFilterContract):
    hides = sample_file("demo-1.0rc1.zip", "1.0rc1")   # a file that it hides, and one that it shows,
    shows = sample_file("demo-1.0.zip", "1.0")         # on a page of `start` in `tree`
    def make(self): return MyFilter("rc")
    def others(self): return [MyFilter("dev")]         # the same filter with other settings
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

import msgspec
from msgspec.structs import replace

from pkgindex_core.clock import Timestamp
from pkgindex_core.models import File, Tree
from pkgindex_core.names import IndexName
from pkgindex_core.protocols import Build, PageFilter, Ruling
from pkgindex_core.protocols.policies import MODES
from pkgindex_core.rules.filtering import Foretells
from pkgindex_core.testing.index_cases.values import DEMO, DEV, NOWHERE, OTHER, START
from pkgindex_core.testing.samples import ODD_FILES, TREE, is_a_sentence, tree_of

_DAY: Final = 86_400_000_000
_MOMENTS: Final = (START, Timestamp(START + 1), Timestamp(START + 400 * _DAY))

Decisions = Mapping[object, Ruling | None]


class PageFilterContract:
    """Subclass, name it `Test…`, and set `hides` and `shows`."""

    tree: ClassVar[Tree] = TREE
    start: ClassVar[IndexName] = DEV
    """An index to whose pages the filter applies."""
    origin: ClassVar[IndexName] = DEV
    """The layer that `hides` and `shows` come from."""
    hides: ClassVar[File]
    """A file of `demo` that is hidden."""
    shows: ClassVar[File]
    """A file of `demo` that is shown."""

    def make(self) -> PageFilter:
        """The filter, with one set of settings."""
        raise NotImplementedError

    def others(self) -> Sequence[PageFilter]:
        """The filter with other settings, if it has any."""
        return ()

    def build(self, page_filter: PageFilter) -> Build:
        """The argument that the library gives to the filter for a page."""
        return Build(
            tree=self.tree, start=self.start, project=DEMO, moment=page_filter.cut_off(self.tree, self.start, START)
        )

    def decisions(self, page_filter: PageFilter, *, moment: Timestamp | None = None) -> Decisions:
        """The decisions of the filter about many files, each a ruling or None. `moment` is given to it without rounding."""
        found: dict[object, Ruling | None] = {}
        if not page_filter.applies(self.tree, self.start):
            return found
        for project in (DEMO, OTHER):
            build = replace(self.build(page_filter), project=project)
            if moment is not None:
                build = replace(build, moment=moment)
            for origin in self.tree.indexes:
                found[project, origin] = page_filter.withheld(self.tree, self.start, origin, project)
                for file in (*ODD_FILES, self.hides, self.shows):
                    found[project, origin, file.filename, file.version] = page_filter.judge(origin, file, build)
        for ruling in found.values():
            if ruling is not None:
                assert is_a_sentence(ruling.reason)
                assert ruling.rule == "" or is_a_sentence(ruling.rule)
                assert ruling.mode in MODES
        return found

    def test_a_file_is_hidden_with_a_reason_and_another_is_shown(self) -> None:
        page_filter = self.make()
        assert page_filter.applies(self.tree, self.start) is True
        ruling = page_filter.judge(self.origin, self.hides, self.build(page_filter))
        assert ruling is not None
        assert ruling.hides
        assert is_a_sentence(ruling.reason)
        assert page_filter.judge(self.origin, self.shows, self.build(page_filter)) is None
        assert page_filter.withheld(self.tree, self.start, self.origin, DEMO) is None, (
            "a project with a shown file is not withheld"
        )

    def test_the_same_question_has_the_same_answer(self) -> None:
        """Also from another filter with the same settings, as in another process. Odd files raise nothing."""
        page_filter, tree = self.make(), msgspec.json.encode(self.tree)
        first = self.decisions(page_filter)
        assert self.decisions(page_filter) == first
        assert self.decisions(self.make()) == first
        assert msgspec.json.encode(self.tree) == tree, "a filter must not change the tree"

    def test_it_says_of_every_index_whether_it_applies(self) -> None:
        """Also for an index that is not in the tree. A filter that does not apply is not asked further."""
        for page_filter in (self.make(), *self.others()):
            for tree in (self.tree, TREE, tree_of()):
                for start in (self.start, *TREE.indexes, NOWHERE):
                    assert isinstance(page_filter.applies(tree, start), bool)

    def test_filters_that_decide_differently_have_different_fingerprints(self) -> None:
        """A fingerprint is a part of ETags: equal fingerprints mean equal pages."""
        every = [self.make(), self.make(), *self.others()]
        for page_filter in every:
            assert is_a_sentence(page_filter.fingerprint)
            for other in every:
                if self.decisions(page_filter) != self.decisions(other):
                    assert page_filter.fingerprint != other.fingerprint
        assert every[0].fingerprint == every[1].fingerprint, "same settings, same fingerprint, in every process"

    def test_deciding_does_not_change_the_fingerprint(self) -> None:
        page_filter = self.make()
        before = page_filter.fingerprint, page_filter.by_release
        self.decisions(page_filter)
        assert (page_filter.fingerprint, page_filter.by_release) == before

    def test_time_counts_only_as_far_as_the_cut_off_says(self) -> None:
        """A cached page is served as long as the cut-off is the same. It is never later than the time, and is its own cut-off."""
        page_filter = self.make()
        cut_offs = [page_filter.cut_off(self.tree, self.start, moment) for moment in _MOMENTS]
        assert cut_offs == sorted(cut_offs)
        for moment, cut_off in zip(_MOMENTS, cut_offs, strict=True):
            assert 0 <= cut_off <= moment
            assert page_filter.cut_off(self.tree, self.start, cut_off) == cut_off
        if not any(cut_offs):
            told = [self.decisions(page_filter, moment=moment) for moment in _MOMENTS]
            assert told[0] == told[1] == told[2]

    def test_what_it_foretells_holds(self) -> None:
        """A filter may say for how long its cut-off holds (`rules.filtering.Foretells`)."""
        page_filter = self.make()
        if not isinstance(page_filter, Foretells):
            return
        for moment in _MOMENTS:
            until = page_filter.until(self.tree, self.start, moment)
            assert until > moment
            before = page_filter.cut_off(self.tree, self.start, Timestamp(until - 1))
            assert before == page_filter.cut_off(self.tree, self.start, moment)
