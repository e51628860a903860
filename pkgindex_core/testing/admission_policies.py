"""The contract suite of `AdmissionPolicy`.

    class TestMyPolicy(AdmissionPolicyContract):
        def make(self): return MyPolicy()

The policy decides about every combination of what two hosted indexes and two mirrors hold, each with several whitelists.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain, combinations, product
from typing import ClassVar, Final

from msgspec.structs import replace

from pkgindex_core.models import IndexConfig, Serial, Standing, Tree
from pkgindex_core.names import IndexName
from pkgindex_core.protocols import AdmissionPolicy, Verdict
from pkgindex_core.testing.configs import changed_config, mirror_config
from pkgindex_core.testing.index_cases.values import DEMO, DEV, MIRROR, PROD
from pkgindex_core.testing.samples import is_a_sentence, tree_of

SECOND_MIRROR: Final = IndexName("root/second")
_ORDER: Final = (DEV, PROD, MIRROR, SECOND_MIRROR)

Answers = Mapping[object, tuple[Verdict, ...]]


class AdmissionPolicyContract:
    """Subclass, name it `Test…`, and make the policy."""

    order: ClassVar[tuple[IndexName, ...]] = _ORDER

    def make(self) -> AdmissionPolicy:
        """The policy, with one set of settings."""
        raise NotImplementedError

    def others(self) -> Sequence[AdmissionPolicy]:
        """The policy with other settings, if it has any."""
        return ()

    def trees(self) -> Sequence[Tree]:
        """Trees with the indexes of `order`, with configurations that the policy treats differently."""
        indexes = (
            IndexConfig(name=DEV, bases=(PROD, MIRROR, SECOND_MIRROR)),
            IndexConfig(name=PROD),
            mirror_config(MIRROR, "https://example.org/simple/"),
            mirror_config(SECOND_MIRROR, "https://example.com/simple/"),
        )
        opened = changed_config(indexes[0], mirror_whitelist=[DEMO])
        return tree_of(*indexes), tree_of(opened, *indexes[1:])

    def standings(self) -> Iterator[tuple[Standing, ...]]:
        """Every combination of what the indexes of the order may hold."""
        for held in product((False, True), repeat=len(self.order)):
            yield tuple(
                Standing(index=name, stamp=Serial(holds), holds=holds, file_count=int(holds))
                for name, holds in zip(self.order, held, strict=True)
            )

    def answers(self, policy: AdmissionPolicy) -> Answers:
        """All decisions of the policy, in both of its phases. Checks the form of each answer."""
        found: dict[object, tuple[Verdict, ...]] = {}
        for number, tree in enumerate(self.trees()):
            for standings in self.standings():
                admitted = policy.admit(tree, self.order, standings, DEMO)
                found["admit", number, standings] = self._of_the_order(admitted)
                for unknown in self._unknown(tree, standings, admitted):
                    settled = policy.settle(tree, self.order, standings, admitted, DEMO, unknown)
                    found["settle", number, standings, frozenset(unknown)] = self._of_the_order(settled)
        return found

    def _of_the_order(self, verdicts: tuple[Verdict, ...]) -> tuple[Verdict, ...]:
        assert isinstance(verdicts, tuple)
        assert tuple(verdict.index for verdict in verdicts) == self.order, "one verdict a layer, in the order of layers"
        assert all(is_a_sentence(verdict.reason) for verdict in verdicts)
        return verdicts

    def _unknown(
        self, tree: Tree, standings: Sequence[Standing], admitted: Sequence[Verdict]
    ) -> Iterator[Collection[IndexName]]:
        """The sets of layers that may be unknown: mirrors of which nothing is stored, and which the policy lets be asked."""
        names = [
            verdict.index
            for standing, verdict in zip(standings, admitted, strict=True)
            if verdict.joins and not standing.holds and tree.indexes[verdict.index].mirrored
        ]
        return chain.from_iterable(combinations(names, count) for count in range(len(names) + 1))

    def test_the_same_question_has_the_same_answer(self) -> None:
        policy = self.make()
        first = self.answers(policy)
        assert self.answers(policy) == first
        assert self.answers(self.make()) == first

    def test_what_a_mirror_is_known_to_hold_does_not_decide_whether_it_is_asked(self) -> None:
        """The stored page may be old, and the decision could change after the mirror is asked."""
        policy = self.make()
        for tree in self.trees():
            for standings in self.standings():
                old = tuple(
                    replace(each, holds=not each.holds) if tree.indexes[each.index].mirrored else each
                    for each in standings
                )
                now, before = (policy.admit(tree, self.order, each, DEMO) for each in (standings, old))
                assert [(each.joins, each.in_turn) for each in now] == [(each.joins, each.in_turn) for each in before]

    def test_no_layer_is_let_in_that_was_not_asked(self) -> None:
        policy = self.make()
        for tree in self.trees():
            for standings in self.standings():
                admitted = policy.admit(tree, self.order, standings, DEMO)
                for unknown in self._unknown(tree, standings, admitted):
                    settled = policy.settle(tree, self.order, standings, admitted, DEMO, unknown)
                    assert all(was.joins or not is_now.joins for was, is_now in zip(admitted, settled, strict=True))

    def test_no_layer_is_let_in_whose_turn_did_not_come(self) -> None:
        """It is not asked behind a mirror that has the project or may have it, though an old page of it may be stored."""
        policy = self.make()
        for tree in self.trees():
            for standings in self.standings():
                admitted = policy.admit(tree, self.order, standings, DEMO)
                for unknown in self._unknown(tree, standings, admitted):
                    settled = policy.settle(tree, self.order, standings, admitted, DEMO, unknown)
                    has_come = True
                    for was, standing, is_now in zip(admitted, standings, settled, strict=True):
                        assert has_come or not was.in_turn or not is_now.joins
                        if was.joins and tree.indexes[was.index].mirrored:
                            has_come &= not standing.holds and was.index not in unknown

    def test_only_mirrors_are_asked_in_turn(self) -> None:
        policy = self.make()
        for tree in self.trees():
            for standings in self.standings():
                admitted = policy.admit(tree, self.order, standings, DEMO)
                assert all(tree.indexes[each.index].mirrored for each in admitted if each.in_turn)

    def test_an_empty_order_has_no_verdicts(self) -> None:
        policy, tree = self.make(), self.trees()[0]
        assert policy.admit(tree, (), (), DEMO) == ()
        assert policy.settle(tree, (), (), (), DEMO, ()) == ()

    def test_policies_that_decide_differently_have_different_fingerprints(self) -> None:
        """A fingerprint is a part of ETags: equal fingerprints mean equal pages."""
        every = [self.make(), self.make(), *self.others()]
        for policy in every:
            assert is_a_sentence(policy.fingerprint)
            for other in every:
                if self.answers(policy) != self.answers(other):
                    assert policy.fingerprint != other.fingerprint
        assert every[0].fingerprint == every[1].fingerprint, "same settings, same fingerprint, in every process"
