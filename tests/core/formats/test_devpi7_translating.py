"""Indexes of devpi 7's dumps: its rules of inheritance are our whitelist, by what they let in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pkgindex_core.formats.devpi.dump import DumpIndex
from pkgindex_core.formats.devpi.translating import translated_index
from pkgindex_core.models import IndexConfig, Serial, Standing, Tree
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.rules.admission import MirrorWhitelist
from pkgindex_core.rules.devpi7_options import ALLOW_ALL, BLOCK_REMOTE, TRUST_NOT_REMOTE
from pkgindex_core.rules.index_options import BUILTIN_OPTIONS, BUILTIN_TYPES, IndexOptions
from pkgindex_core.rules.kept_options import mirror_options, unites_whitelists, whitelist
from pkgindex_core.rules.lineage import lineage

OPTIONS = IndexOptions(
    {name: declared for name, (_, declared) in BUILTIN_TYPES.items()},
    {name: declared for name, (_, declared) in BUILTIN_OPTIONS.items()},
)
NAME, DEMO = IndexName("alice/dev"), ProjectName("demo")
URL = "https://host/simple/"
LOCALS = [IndexName(f"l/{number}") for number in range(5)]
REMOTES = [IndexName(f"r/{number}") for number in range(2)]


@st.composite
def devpi7_indexes(draw: st.DrawFn) -> Mapping[IndexName, DumpIndex]:
    """What a dump of devpi 7 may say of indexes, with every rule that there is."""
    bases = st.lists(st.sampled_from([*LOCALS, *REMOTES, IndexName("gone/0")]), max_size=4, unique=True)
    found = {
        name: DumpIndex(name=name, of_devpi_7=True, config={"type": "remote", "remote_url": URL}) for name in REMOTES
    }
    for name in LOCALS:
        config = {
            "type": "local",
            "bases": draw(bases),
            "project_inheritance_rules": draw(st.sampled_from([[ALLOW_ALL], [BLOCK_REMOTE]])),
            "trust_inheritance_rules_from": draw(st.sampled_from([None, "none", TRUST_NOT_REMOTE])),
        }
        config = {key: value for key, value in config.items() if value is not None}
        rules = {"name": "Demo", "inheritance_rules": [ALLOW_ALL]}
        projects = draw(st.sampled_from([{}, {"demo": rules}, {"other": rules}]))
        found[name] = DumpIndex(name=name, of_devpi_7=True, config=config, projects=projects)
    return found


def devpi7_policy(
    found: Mapping[IndexName, DumpIndex], order: Sequence[IndexName], holding: set[IndexName]
) -> dict[IndexName, bool]:
    """`InheritancePolicy.update` of devpi-server 7.0.0b4, step by step: whether an index is let in rather than blocked."""

    def rules_of(name: IndexName) -> Sequence[str]:
        own = found[name].projects.get("demo", {}).get("inheritance_rules")
        rules: Sequence[str] = own if own is not None else found[name].config.get("project_inheritance_rules", ())
        return rules

    trust = found[order[0]].config.get("trust_inheritance_rules_from", "none")
    rules = rules_of(order[0])
    allowed_by = local_exists_at = None
    let_in = {}
    for name in order:
        untrusted = found[name].config["type"] == "remote"
        if untrusted and local_exists_at is not None and allowed_by is None:
            let_in[name] = False
            continue
        let_in[name] = True
        if untrusted:
            continue
        if trust == TRUST_NOT_REMOTE:
            rules = rules_of(name)
        if ALLOW_ALL in rules:
            allowed_by = name
        elif name in holding:
            local_exists_at = name
    return let_in


@settings(max_examples=400)
@given(found=devpi7_indexes(), start=st.sampled_from(LOCALS + REMOTES), holding=st.sets(st.sampled_from(LOCALS)))
def test_what_is_let_in_is_what_devpi_7_lets_in(
    found: Mapping[IndexName, DumpIndex], start: IndexName, holding: set[IndexName]
) -> None:
    configs = [translated_index(one, OPTIONS) for one in found.values()]
    assert [remarks for _, remarks in configs] == [[]] * len(found)
    tree = Tree(serial=Serial(1), indexes={config.name: config for config, _ in configs})
    order = lineage(tree, start).order
    standings = [Standing(index=name, stamp=Serial(1), holds=name in holding) for name in order]
    verdicts = MirrorWhitelist().admit(tree, order, standings, DEMO)
    assert {verdict.index: verdict.joins for verdict in verdicts} == devpi7_policy(found, order, holding)


class TestDumps:
    """What no devpi writes, or not yet."""

    def told(self, **fields: Any) -> tuple[IndexConfig, list[str]]:
        return translated_index(DumpIndex(name=NAME, of_devpi_7=True, **fields), OPTIONS)

    def test_whose_rules_count_is_not_said_and_then_they_are_its_own(self) -> None:
        """In a dump of devpi 6 the missing key is the wider one."""
        assert not unites_whitelists(self.told(config={"type": "local"})[0])
        before = DumpIndex(name=NAME, config={"type": "stage"})
        assert unites_whitelists(translated_index(before, OPTIONS)[0])

    def test_of_a_rule_that_is_not_known_the_stricter_reading_counts(self) -> None:
        config = {"type": "local", "project_inheritance_rules": [ALLOW_ALL]}
        projects = {"six": {"inheritance_rules": ["block all"]}, "demo": {"inheritance_rules": [ALLOW_ALL], "tag": 1}}
        found, remarks = self.told(config=config, projects=projects)
        assert whitelist(found) == ["demo"]
        assert [remark.partition(":")[0] for remark in remarks] == [
            "the rules of the project six were left out",
            "project_inheritance_rules=allow all was left out",
            "options of the project demo that are not known here were left out",
        ]
        config = {"type": "local", "project_inheritance_rules": ["allow some"], "trust_inheritance_rules_from": "all"}
        found, remarks = self.told(config=config)
        assert (list(whitelist(found)), unites_whitelists(found)) == ([], False)
        assert [remark.partition(" ")[0] for remark in remarks] == [
            "project_inheritance_rules",
            "trust_inheritance_rules_from",
        ]

    def test_a_remote_without_an_upstream_is_kept_and_told(self) -> None:
        """devpi 7 makes them."""
        found, remarks = self.told(config={"type": "remote", "volatile": True})
        assert (found.mirrored, mirror_options(found).url) == (True, "")
        assert remarks == ["it names no upstream: only imported files are served until mirror_url is set"]
