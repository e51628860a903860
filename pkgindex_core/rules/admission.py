"""Admission: which layers may give files to a project's page, and why. This is devpi's mirror_whitelist rule.

It protects from dependency confusion. A name that any hosted index of the order has is never taken from a mirror, unless
the whitelists open it. Hosted indexes never block each other, and neither do mirrors. devpi's rule is a loop that carries
three variables along the order (restated in the tests). Mirrors stand last and the loop never takes a permission back, so
the rule has a closed form:

    mirrors join  =  no hosted index of the order has the name,  or the whitelists open it
    open          =  union:         any hosted index's list names the project or `*`
                     intersection:  the first hosted index's list does

`union` only grows, so one list is enough. `intersection` only shrinks, so it never has a name that the first list lacks.
A name that the first list opened stays open whatever the deeper lists say (devpi's loop never resets it).
Only the queried index's `mirror_whitelist_inheritance` counts, and `*` is a name like any other: `{*} & {foo}` is empty.

The verdicts do not depend on what a mirror has. They are made before any mirror is asked, and an upstream never learns a
name that does not join. Pass the *whole* order: a hosted index that the principal may not read still guards its names.
Unreadable layers are left out of the page afterwards.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pkgindex_core.models import IndexConfig, Standing, Tree
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.policies import AdmissionPolicy, Verdict
from pkgindex_core.rules.kept_options import unites_whitelists, whitelist

EVERY_NAME = "*"


class MirrorWhitelist:
    """devpi's rule, which is the default."""

    @property
    def fingerprint(self) -> str:
        return "mirror-whitelist-1"

    def admit(
        self, tree: Tree, order: Sequence[IndexName], standings: Sequence[Standing], project: ProjectName
    ) -> tuple[Verdict, ...]:
        configs = [tree.indexes[name] for name in order]
        hosted = [config for config in configs if not config.mirrored]
        holding = {standing.index for standing in standings if standing.holds}
        claimed_by = next((config.name for config in hosted if config.name in holding), None)
        deciding = _deciding(configs, hosted)
        opened_by = next((config for config in deciding if _names(config, project)), None)

        mirrors_join = opened_by is not None or claimed_by is None
        mirror_reason = _mirror_reason(project, claimed_by, opened_by, deciding)
        return tuple(
            Verdict(index=config.name, joins=mirrors_join, reason=mirror_reason)
            if config.mirrored
            else Verdict(index=config.name, joins=True, reason=_hosted_reason(config.name, project, holding))
            for config in configs
        )

    def settle(
        self,
        tree: Tree,  # noqa: ARG002  # the role's signature
        order: Sequence[IndexName],  # noqa: ARG002  # the role's signature
        standings: Sequence[Standing],  # noqa: ARG002  # the role's signature
        verdicts: Sequence[Verdict],
        project: ProjectName,  # noqa: ARG002  # the role's signature
        unknown: Collection[IndexName],  # noqa: ARG002  # the role's signature
    ) -> tuple[Verdict, ...]:
        """Return the first verdicts: the contents of a mirror make no difference."""
        return tuple(verdicts)


class FirstMirror(MirrorWhitelist):
    """The same rule, but only the first mirror that has a project gives it. uv's `first-index` does this on the client's side.

    Mirrors are asked in turn, so the names of projects of the first are not told to the others.
    """

    @property
    def fingerprint(self) -> str:
        return "first-mirror-1"

    def admit(
        self, tree: Tree, order: Sequence[IndexName], standings: Sequence[Standing], project: ProjectName
    ) -> tuple[Verdict, ...]:
        """The verdicts of the whitelist, and a turn for each mirror that joins."""
        return tuple(
            replace(verdict, in_turn=verdict.joins and tree.indexes[verdict.index].mirrored)
            for verdict in super().admit(tree, order, standings, project)
        )

    def settle(
        self,
        tree: Tree,
        order: Sequence[IndexName],  # noqa: ARG002  # the role's signature
        standings: Sequence[Standing],
        verdicts: Sequence[Verdict],
        project: ProjectName,
        unknown: Collection[IndexName],
    ) -> tuple[Verdict, ...]:
        """Leave out the mirrors behind the first that has the project. A mirror that may have it (`unknown`) counts as having it."""
        settled: list[Verdict] = []
        first: IndexName | None = None
        for standing, verdict in zip(standings, verdicts, strict=True):
            if not verdict.joins or not tree.indexes[verdict.index].mirrored:
                settled.append(verdict)
            elif first is not None:
                reason = f"left out: {first} is the first mirror that has {project}"
                if first in unknown:
                    reason = f"left out: {first} comes first, and whether it has {project} is not known now"
                settled.append(Verdict(index=verdict.index, joins=False, reason=reason))
            else:
                settled.append(verdict)
                if standing.holds or verdict.index in unknown:
                    first = verdict.index
        return tuple(settled)


class AvailableMirrors(MirrorWhitelist):
    """The same rule, but a mirror that cannot be asked leaves a page without its files, if others have the project."""

    @property
    def fingerprint(self) -> str:
        return "available-mirrors-1"

    def settle(
        self,
        tree: Tree,
        order: Sequence[IndexName],  # noqa: ARG002  # the role's signature
        standings: Sequence[Standing],  # noqa: ARG002  # the role's signature
        verdicts: Sequence[Verdict],
        project: ProjectName,  # noqa: ARG002  # the role's signature
        unknown: Collection[IndexName],
    ) -> tuple[Verdict, ...]:
        """Mark the mirrors that cannot be asked as not needed."""
        return tuple(
            replace(verdict, needed=False)
            if verdict.joins and verdict.index in unknown and tree.indexes[verdict.index].mirrored
            else verdict
            for verdict in verdicts
        )


def _deciding(configs: Sequence[IndexConfig], hosted: Sequence[IndexConfig]) -> Sequence[IndexConfig]:
    """The indexes whose whitelists can open a name. An unknown mode counts as `intersection`, the stricter one."""
    return hosted if configs and unites_whitelists(configs[0]) else hosted[:1]


def _names(config: IndexConfig, project: ProjectName) -> bool:
    names = whitelist(config)
    return project in names or EVERY_NAME in names


def _hosted_reason(index: IndexName, project: ProjectName, holding: set[IndexName]) -> str:
    if index in holding:
        return f"joins: {index} is hosted here and has {project}"
    return f"joins: {index} is hosted here, though it does not have {project}"


def _mirror_reason(
    project: ProjectName,
    claimed_by: IndexName | None,
    opened_by: IndexConfig | None,
    deciding: Sequence[IndexConfig],
) -> str:
    if claimed_by is None:
        return f"joins: no hosted index in the order has {project}"
    if opened_by is not None:
        entry = project if project in whitelist(opened_by) else EVERY_NAME
        return f"joins: the mirror_whitelist of {opened_by.name} has {entry}, although {claimed_by} has {project}"
    names = [config.name for config in deciding]
    if len(names) == 1:
        return f"left out: {claimed_by} has {project}, and the mirror_whitelist of {names[0]} does not name it"
    return f"left out: {claimed_by} has {project}, and neither {' nor '.join(names)} whitelists it"


if TYPE_CHECKING:
    _: type[AdmissionPolicy] = MirrorWhitelist
    _also: type[AdmissionPolicy] = FirstMirror
    _third: type[AdmissionPolicy] = AvailableMirrors
