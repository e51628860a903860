"""Rules about names, against dependency confusion: names that no upstream is asked for, and names that stay with their index. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from msgspec.structs import replace

from pkgindex_core.formats.columns import Columns
from pkgindex_core.models import File, IndexConfig, Tree
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.policies import Build, Ruling
from pkgindex_core.rules.policing.lines import OPTION, ServerPolicies, candidates, lines_of, parsed_lines
from pkgindex_core.rules.policing.policy_filter import Held, PolicyFilter

RESERVED = "reserved"
NAMES_STAY = "names-stay"


class PrivateFilter(PolicyFilter):
    """Names that no upstream is asked for. On a hosted index the rule has no effect."""

    rule = "private"
    by_version = True

    def decides_project(self, value: Any, origin: IndexName, project: ProjectName, tree: Tree) -> Held | None:
        config = tree.indexes.get(origin)
        return Held("the name is reserved for private projects") if config is not None and config.mirrored else None

    def decides(self, value: Any, origin: IndexName, file: File, build: Build) -> Held | None:
        return self.decides_project(value, origin, build.project, build.tree)


class ReservedFilter(PolicyFilter):
    """Names that belong to a hosted index. In pages of that index and of those that inherit it, no mirror gives them."""

    rule = RESERVED
    by_version = True

    def withheld(self, tree: Tree, start: IndexName, origin: IndexName, project: ProjectName) -> Ruling | None:
        config = tree.indexes.get(origin)
        if config is None or not config.mirrored:
            return None
        for owner in self._of(tree).reached(start):
            if tree.indexes[owner].mirrored:
                continue
            for _, found in self._of(tree).candidates(owner, project):
                line = found.decisive("")
                if line is not None and not line.off:
                    return Ruling(rule=self.rule, reason=f"the name belongs to {owner}", mode=line.mode)
        return None

    def suspects(self, origin: IndexName, columns: Columns, build: Build) -> Collection[str] | None:
        return () if self.withheld(build.tree, build.start, origin, build.project) is None else None

    def judge(self, origin: IndexName, file: File, build: Build) -> Ruling | None:
        return self.withheld(build.tree, build.start, origin, build.project)


class NamesStayRule(PolicyFilter):
    """Asked when a project is deleted."""

    rule = NAMES_STAY


def keeping_name(config: IndexConfig, project: ProjectName, server: ServerPolicies) -> IndexConfig | None:
    """The index after one of its projects was deleted, if the name stays with it (`names-stay`); None if nothing changes."""
    own = lines_of(config)
    for lines in (server.of(config), own):
        line = candidates(parsed_lines(lines), NAMES_STAY, project).decisive("")
        if line is not None and not line.off and line.mode == "block":
            said = f"{RESERVED} for {project}"
            return None if said in own else replace(config, options={**config.options, OPTION: [*own, said]})
    return None
