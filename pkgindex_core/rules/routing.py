"""Routes: which source a project may come from. The first route whose pattern matches decides, in the order of the file.

    path of a request ─► first route that matches ─► a folder │ a base (an index) │ an answer from elsewhere

An index with the option `routes` has a rule for each route. The rule names the only layer that may give the project: the index itself, whose
folder it then is, or one base. A project without a rule has no layer, and neither has one that is answered elsewhere (by a redirect, or by a
plugin of simpleindex). So a name that a folder claims is never asked of an upstream, whether or not the folder has it.

Pure, and compiled once for each configuration. The rules are in the tree, whose serial is part of every ETag.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.errors import BadUpstream, Refused
from pkgindex_core.models import IndexConfig, Standing, Tree
from pkgindex_core.names import IndexName, ProjectName, owner
from pkgindex_core.protocols import IndexOption, IndexType
from pkgindex_core.protocols.policies import AdmissionPolicy, Verdict
from pkgindex_core.rules.lineage import lineage
from pkgindex_core.rules.permissions import ROOT
from pkgindex_core.rules.route_patterns import Pattern, Template, parse_pattern, parse_template

OPTION: Final = "routes"
KIND: Final = "routes"
_Target = TypeVar("_Target")


class FirstMatch(Generic[_Target]):
    """Finds the first of many patterns that matches a path. Only patterns whose head begins the path are tried."""

    def __init__(self, patterns: Iterable[tuple[Pattern, _Target]]) -> None:
        self._by_head: dict[str, list[tuple[int, Pattern, _Target]]] = {}
        for position, (pattern, target) in enumerate(patterns):
            self._by_head.setdefault(pattern.head, []).append((position, pattern, target))
        self._lengths = sorted({len(head) for head in self._by_head})

    def find(self, path: str) -> tuple[_Target, Mapping[str, str]] | None:
        """The target of the first pattern that matches, with the values of its parameters."""
        candidates = [
            each for length in self._lengths if length <= len(path) for each in self._by_head.get(path[:length], ())
        ]
        for _, pattern, target in sorted(candidates, key=lambda each: each[0]):
            values = pattern.match(path)
            if values is not None:
                return target, values
        return None


class RouteRule(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One route as an index has it. Exactly one of `folder`, `base` and `elsewhere` is set."""

    pattern: str
    """Of a project's normalised name."""
    place: str
    """Where it is written, for `explain`: `index.toml, line 12`."""
    folder: str = ""
    """A template of an absolute path."""
    base: str = ""
    """The index that may give the project."""
    elsewhere: str = ""
    """Another answer, in words: `redirects to https://…`."""

    @property
    def said(self) -> str:
        return f"the route {self.pattern!r} ({self.place})"


class _Compiled(Struct, frozen=True):
    rule: RouteRule
    folder: Template | None


class ProjectFolder(Struct, frozen=True):
    """Where the files of a project are."""

    path: str
    base: str
    """The part of the path before the segment with the first parameter: a folder that is there for every project."""


def base_of(template: Template) -> str:
    """The folder above all folders that a template of a path names; the folder itself if it names one alone."""
    return template.start if template.is_constant else template.start.rpartition("/")[0] or "/"


class IndexRoutes:
    """The routes of one index."""

    def __init__(self, rules: Sequence[RouteRule]) -> None:
        self.rules = rules
        compiled = []
        for rule in rules:
            pattern = parse_pattern(rule.pattern)
            folder = parse_template(rule.folder, pattern.parameters) if rule.folder else None
            compiled.append((pattern, _Compiled(rule, folder)))
        self.folders: Sequence[Template] = [each.folder for _, each in compiled if each.folder is not None]
        self._first = FirstMatch(compiled)

    def rule(self, project: ProjectName) -> RouteRule | None:
        found = self._first.find(project)
        return found[0].rule if found is not None else None

    def folder(self, project: ProjectName) -> ProjectFolder | None:
        """The folder with a project's files. None if no route matches, or if the route names no folder."""
        found = self._first.find(project)
        if found is None or found[0].folder is None:
            return None
        template, values = found[0].folder, found[1]
        return ProjectFolder(template.filled(values), base_of(template))


class RoutesOf:
    """Compiles the routes of configurations, each once."""

    def __init__(self) -> None:
        self._known: dict[IndexName, tuple[Any, IndexRoutes]] = {}

    def __call__(self, config: IndexConfig) -> IndexRoutes | None:
        """None for an index without the option. `BadUpstream` if it may not have it, or the option cannot be read."""
        written = config.options.get(OPTION)
        if written is None:
            return None
        known = self._known.get(config.name)
        if known is None or known[0] is not written:
            if owner(config.name) != ROOT:
                raise BadUpstream(f"{config.name} may not have routes", hint="make the index below the user root")
            try:
                known = (written, IndexRoutes(_rules(written)))
            except Refused as error:
                raise BadUpstream(f"the routes of {config.name} cannot be read: {error.message}") from error
            self._known[config.name] = known
        return known[1]


class RoutedAdmission:
    """Admits the one layer that the route of a project names, in an index with routes. Other indexes have the policy that it wraps."""

    def __init__(self, policy: AdmissionPolicy) -> None:
        self._policy = policy
        self._routes_of = RoutesOf()

    @property
    def fingerprint(self) -> str:
        """Routes are part of the tree, which is part of every ETag."""
        return self._policy.fingerprint

    def admit(
        self, tree: Tree, order: Sequence[IndexName], standings: Sequence[Standing], project: ProjectName
    ) -> tuple[Verdict, ...]:
        routed = [name for name in order if OPTION in tree.indexes[name].options]
        if routed[:1] == [*order[:1]]:
            return tuple(self._said(tree, order[0], name, project) for name in order)
        verdicts = self._policy.admit(tree, order, standings, project)
        for start in routed:  # bases: their routes still keep out what they would keep out alone
            within = frozenset(lineage(tree, start).order)
            verdicts = tuple(
                each if not each.joins or each.index not in within else self._kept_out(tree, start, each, project)
                for each in verdicts
            )
        return verdicts

    def _kept_out(self, tree: Tree, start: IndexName, verdict: Verdict, project: ProjectName) -> Verdict:
        said = self._said(tree, start, verdict.index, project)
        return verdict if said.joins else said

    def _said(self, tree: Tree, start: IndexName, index: IndexName, project: ProjectName) -> Verdict:
        """The verdict of the routes of `start` on one layer."""
        try:
            routes = self._routes_of(tree.indexes[start])
        except BadUpstream as error:  # as if there were no route: nothing is asked
            return Verdict(index=index, joins=False, reason=f"left out: {error.message}")
        rule = routes.rule(project) if routes is not None else None
        if rule is None:
            return Verdict(index=index, joins=False, reason=f"left out: no route of {start} matches {project}")
        return _verdict(rule, index, start)

    def settle(
        self,
        tree: Tree,
        order: Sequence[IndexName],
        standings: Sequence[Standing],
        verdicts: Sequence[Verdict],
        project: ProjectName,
        unknown: Collection[IndexName],
    ) -> tuple[Verdict, ...]:
        if order and OPTION in tree.indexes[order[0]].options:
            return tuple(verdicts)
        return self._policy.settle(tree, order, standings, verdicts, project, unknown)


def _verdict(rule: RouteRule, index: IndexName, start: IndexName) -> Verdict:
    """A reason names no folder: all readers of an index may have it explained."""
    if rule.elsewhere:
        return Verdict(index=index, joins=False, reason=f"left out: {rule.said} {rule.elsewhere}")
    if index == (rule.base or start):
        from_where = "its folder" if rule.folder else "here"
        return Verdict(index=index, joins=True, reason=f"joins: {rule.said} takes the project from {from_where}")
    from_where = "its folder" if rule.folder else rule.base
    return Verdict(index=index, joins=False, reason=f"left out: {rule.said} takes the project from {from_where} alone")


def _rules(value: Any) -> tuple[RouteRule, ...]:
    try:
        if isinstance(value, str):
            return msgspec.json.decode(value, type=tuple[RouteRule, ...])
        return msgspec.convert(value, tuple[RouteRule, ...])
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise Refused(
            f"routes cannot be read: {error}",
            hint="routes is a JSON list of objects; `pkgindex-serve run --routes FILE` writes it",
        ) from error


def parsed_routes(value: Any) -> tuple[dict[str, str], ...]:
    """The value of the option: a list of objects, or the JSON of one."""
    rules = _rules(value)
    for rule in rules:
        if [bool(rule.folder), bool(rule.base), bool(rule.elsewhere)].count(True) != 1:
            raise Refused(
                f"{rule.said} has to have one of folder, base and elsewhere", hint="set one of them, and no other"
            )
        if rule.folder and not rule.folder.startswith("/"):
            raise Refused(f"the folder of {rule.said} is not absolute", hint="write it from /, such as /srv/packages")
    IndexRoutes(rules)
    return tuple(msgspec.to_builtins(rule) for rule in rules)


def _with_routes(config: IndexConfig, routes: tuple[dict[str, str], ...]) -> IndexConfig:
    if owner(config.name) != ROOT:
        raise Refused(
            "only indexes of the user root can have routes: their folders are read with the rights of the server",
            hint=f"make the index below {ROOT}/, and give others rights to it with acl_read",
        )
    return replace(config, options={**config.options, OPTION: list(routes)})


ROUTES_TYPE: Final = IndexType(takes_uploads=False, files_elsewhere=True)
ROUTES_OPTION: Final = IndexOption(parse=parsed_routes, types=(KIND,), required=True, private=True, write=_with_routes)


if TYPE_CHECKING:
    _: type[AdmissionPolicy] = RoutedAdmission
