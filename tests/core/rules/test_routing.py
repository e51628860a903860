"""Routes: patterns as simpleindex reads them, templates, the first match, and the one layer that a route admits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkgindex_core.errors import BadUpstream, Refused
from pkgindex_core.models import IndexConfig, Serial, Standing, Tree
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.rules.admission import MirrorWhitelist
from pkgindex_core.rules.index_options import IndexOptions
from pkgindex_core.rules.lineage import lineage
from pkgindex_core.rules.route_patterns import Pattern, escaped, parse_pattern, parse_template
from pkgindex_core.rules.routing import (
    ROUTES_OPTION,
    ROUTES_TYPE,
    FirstMatch,
    IndexRoutes,
    RoutedAdmission,
    RouteRule,
    RoutesOf,
    parsed_routes,
)
from pkgindex_core.testing.configs import mirror_config

ROUTED, PYPI, TORCH, TEAM = (IndexName(name) for name in ("root/routes", "root/pypi", "root/torch", "team/dev"))
RULES = [
    {"pattern": "corp-{name}", "place": "index.toml, line 1", "folder": "/srv/{name}"},
    {"pattern": "torch", "place": "index.toml, line 5", "base": "root/torch"},
    {"pattern": "far-{name}", "place": "index.toml, line 9", "elsewhere": "redirects to https://far.example/{name}/"},
    {"pattern": "{project}", "place": "index.toml, line 12", "base": "root/pypi"},
]


@pytest.mark.parametrize(
    ("pattern", "path", "values"),
    [
        ("{project}", "demo", {"project": "demo"}),
        ("{project}", "a/demo", None),
        ("corp-{name}", "corp-demo", {"name": "demo"}),
        ("corp-{name}", "corp-", None),
        ("corp-{name}", "xcorp-demo", None),
        ("{first}-{second}", "a-b-c", {"first": "a-b", "second": "c"}),
        ("torch", "torch", {}),
        ("torch", "torchvision", None),
        ("simple/{project}", "simple/demo", {"project": "demo"}),
        ("v{number:int}", "v007", {"number": "7"}),
        ("v{number:int}", "vx", None),
        ("{rest:path}", "a/b/c", {"rest": "a/b/c"}),
        ("a.b", "a-b", {}),
        ("Corp_{Name}", "corp-demo", {"Name": "demo"}),
        ("Team_A/{project}", "Team_A/demo", {"project": "demo"}),
        ("Team_A/{project}", "team-a/demo", None),
        ("{not a parameter}", "{not a parameter}", {}),
    ],
)
def test_a_pattern_matches_a_whole_path(pattern: str, path: str, values: Mapping[str, str] | None) -> None:
    assert parse_pattern(pattern).match(path) == values


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("", "write"),
        ("/{project}", "write '{project}'"),
        ("{project}/", "write '{project}'"),
        ("{a}{a}", "rename"),
        ("{a:ints}", "did you mean 'int'?"),
        ("{a:uuid}", "known are int, path, str"),
    ],
)
def test_a_pattern_that_can_match_nothing_is_refused_with_what_to_write(pattern: str, hint: str) -> None:
    with pytest.raises(Refused) as refused:
        parse_pattern(pattern)
    assert hint in refused.value.hint


def test_a_template_is_filled_in() -> None:
    template = parse_template("/srv/{a}/x-{b}", ("a", "b"))
    assert template.filled({"a": "1", "b": "2"}) == "/srv/1/x-2"
    assert template.start == "/srv/"
    assert not template.is_constant
    assert parse_template(escaped("/srv/{odd}"), ()).filled({}) == "/srv/{odd}"


@pytest.mark.parametrize("text", ["{other}", "{a.real}", "{a[0]}", "{a!r}", "{a:>9}", "{}", "{0}", "{a", "a}"])
def test_a_template_does_nothing_but_fill_in(text: str) -> None:
    with pytest.raises(Refused) as refused:
        parse_template(text, ("a",))
    assert refused.value.hint


_SEGMENTS = st.lists(st.sampled_from(["a", "b", "ab", "{x}", "-"]), min_size=1, max_size=3).map("".join)


@given(st.lists(_SEGMENTS, max_size=8), st.text("ab-", min_size=1, max_size=6))
def test_the_first_match_is_that_of_a_plain_loop(patterns: Sequence[str], path: str) -> None:
    parsed = [parse_pattern(text) for text in dict.fromkeys(patterns) if text.count("{x}") < 2]
    loop = next(((each.text, found) for each in parsed if (found := each.match(path)) is not None), None)
    assert FirstMatch((each, each.text) for each in parsed).find(path) == loop


def tree(**options: Any) -> Tree:
    indexes = [
        IndexConfig(name=ROUTED, type="routes", bases=(PYPI, TORCH), options={"routes": RULES, **options}),
        IndexConfig(name=TEAM, bases=(ROUTED,)),
        mirror_config(PYPI),
        mirror_config(TORCH),
    ]
    return Tree(serial=Serial(1), indexes={each.name: each for each in indexes})


def joining(
    start: IndexName, project: str, *, holding: Sequence[IndexName] = (), within: Tree | None = None
) -> set[str]:
    within = within or tree()
    order = lineage(within, start).order
    standings = [Standing(index=name, stamp=Serial(1), holds=name in holding) for name in order]
    policy = RoutedAdmission(MirrorWhitelist())
    name = ProjectName(project)
    verdicts = policy.admit(within, order, standings, name)
    assert policy.settle(within, order, standings, verdicts, name, frozenset()) == verdicts
    assert all(verdict.reason for verdict in verdicts)
    return {verdict.index for verdict in verdicts if verdict.joins}


@pytest.mark.parametrize(
    ("project", "layers"),
    [("corp-demo", {ROUTED}), ("torch", {TORCH}), ("far-demo", set()), ("requests", {PYPI}), ("corp", {PYPI})],
)
@pytest.mark.parametrize("holding", [(), (ROUTED, PYPI, TORCH)])
def test_one_layer_alone_gives_a_project_whatever_the_others_hold(
    project: str, layers: set[IndexName], holding: Sequence[IndexName]
) -> None:
    assert joining(ROUTED, project, holding=holding) == layers


def test_a_project_without_a_route_has_no_layer() -> None:
    assert joining(ROUTED, "requests", within=tree(routes=RULES[:2])) == set()
    assert joining(ROUTED, "requests", within=tree(routes=[])) == set()


def test_routes_that_cannot_be_read_admit_nothing() -> None:
    assert joining(ROUTED, "requests", within=tree(routes=[{"patern": "x"}])) == set()


def test_the_routes_of_a_base_keep_out_what_they_would_keep_out_alone() -> None:
    """An index that inherits from a routed one must not get a claimed name from the upstream after all."""
    assert joining(TEAM, "corp-demo") == {TEAM, ROUTED}
    assert joining(TEAM, "torch") == {TEAM, TORCH}
    assert joining(TEAM, "torch", holding=[TEAM]) == {TEAM}, "the policy of the server holds too"


def test_other_indexes_have_the_policy_of_the_server() -> None:
    indexes = {TEAM: IndexConfig(name=TEAM, bases=(PYPI,)), PYPI: mirror_config(PYPI)}
    within = Tree(serial=Serial(1), indexes=indexes)
    assert joining(TEAM, "corp-demo", within=within) == {TEAM, PYPI}
    assert joining(TEAM, "corp-demo", holding=[TEAM], within=within) == {TEAM}


def test_the_reason_names_the_route_and_its_line() -> None:
    within = tree()
    order = lineage(within, ROUTED).order
    standings = [Standing(index=name, stamp=Serial(1), holds=False) for name in order]
    reasons = {
        project: [each.reason for each in RoutedAdmission(MirrorWhitelist()).admit(within, order, standings, project)]
        for project in map(ProjectName, ("corp-demo", "far-demo"))
    }
    assert (
        reasons["corp-demo"][0]
        == "joins: the route 'corp-{name}' (index.toml, line 1) takes the project from its folder"
    )
    assert reasons["corp-demo"][1].startswith("left out: the route 'corp-{name}' (index.toml, line 1)")
    assert "redirects to https://far.example/{name}/" in reasons["far-demo"][1]


def test_a_folder_is_that_of_the_name() -> None:
    routes = IndexRoutes([RouteRule(**each) for each in RULES])
    folder = routes.folder(ProjectName("corp-demo"))
    assert folder is not None
    assert (folder.path, folder.base) == ("/srv/demo", "/srv")
    assert routes.folder(ProjectName("torch")) is None


@pytest.mark.parametrize(
    "routes",
    [
        [{"pattern": "{a}", "place": "x"}],
        [{"pattern": "{a}", "place": "x", "folder": "/x", "base": "root/pypi"}],
        [{"pattern": "{a}", "place": "x", "folder": "relative"}],
        [{"pattern": "{a}", "place": "x", "folder": "/{b}"}],
        [{"pattern": "{a", "place": "x", "folder": "/{a}"}],
        "no JSON",
    ],
)
def test_wrong_routes_are_refused(routes: Any) -> None:
    with pytest.raises(Refused):
        parsed_routes(routes)


def test_only_root_has_routes() -> None:
    options = IndexOptions({"routes": ROUTES_TYPE}, {"routes": ROUTES_OPTION})
    assert options
    assert ROUTES_OPTION.write is not None
    with pytest.raises(Refused, match="user root"):
        ROUTES_OPTION.write(IndexConfig(name=TEAM, type="routes"), parsed_routes(RULES))
    with pytest.raises(BadUpstream):
        RoutesOf()(IndexConfig(name=TEAM, type="routes", options={"routes": RULES}))


def test_of_a_thousand_patterns_only_those_whose_beginning_fits_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    match = Pattern.match

    def noted(pattern: Pattern, path: str) -> Mapping[str, str] | None:
        tried.append(pattern.text)
        return match(pattern, path)

    monkeypatch.setattr(Pattern, "match", noted)
    texts = [f"team{number:03}-{{name}}" for number in range(1000)] + ["{project}"]
    first = FirstMatch((parse_pattern(text), text) for text in texts)
    assert first.find("team999-x") == ("team999-{name}", {"name": "x"})
    assert first.find("requests") == ("{project}", {"project": "requests"})
    assert tried == ["team999-{name}", "{project}"]


def test_routes_are_compiled_once_for_each_configuration() -> None:
    routes_of = RoutesOf()
    config = tree().indexes[ROUTED]
    assert routes_of(config) is routes_of(config)
    other = tree(routes=RULES[1:]).indexes[ROUTED]
    assert routes_of(other) is not routes_of(config)
