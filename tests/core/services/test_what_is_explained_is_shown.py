"""The law: what `explain` tells and what the page shows are the same, over random trees, contents, moods of upstreams and principals."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pkgindex_core.changes import Change, MirrorPage, PutFile, PutIndex, PutProject, PutUser
from pkgindex_core.clock import Timestamp
from pkgindex_core.config import Settings
from pkgindex_core.engine import Engine
from pkgindex_core.errors import Denied, Missing, Unavailable
from pkgindex_core.hookspecs import Context, Provider, hookimpl
from pkgindex_core.models import File, IndexConfig, PageHead, Standing, User
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.plugins import load_plugins
from pkgindex_core.protocols import Build, Freshness, PageFilter, Principal, Ruling, Source
from pkgindex_core.rules.explanation import Explanation
from pkgindex_core.rules.negotiation import JSON_V1
from pkgindex_core.services.reading.pages import PageRequest, View
from pkgindex_core.testing.configs import mirror_config
from tests.core.services.conftest import FakeSource

DEMO = ProjectName("demo")
HOSTED = [IndexName(f"anna/h{number}") for number in range(4)]
MIRRORS = [IndexName(f"anna/m{number}") for number in range(3)]
START = HOSTED[0]
FILES = [f"demo-{number}.0-py3-none-any.whl" for number in range(4)]


class Moody(FakeSource):
    """A source whose indexes are each in a mood of their own."""

    moods: dict[IndexName, str]

    async def refresh(
        self, index: IndexConfig, project: ProjectName, standing: Standing, *, again: bool = False
    ) -> Freshness:
        if self.moods[index.name] == "up":
            return Freshness(state="fresh" if standing.holds else "absent")
        if not standing.holds:
            raise Unavailable("the fake is down")
        return Freshness(state="stale", reason="the fake is down")


class HidesOne:
    """A page filter that hides one version."""

    fingerprint = "hides-one"
    by_release = False

    def cut_off(self, tree: Any, start: IndexName, moment: Timestamp) -> Timestamp:
        return Timestamp(0)

    def applies(self, tree: Any, start: IndexName) -> bool:
        return True

    def withheld(self, tree: Any, start: IndexName, origin: IndexName, project: ProjectName) -> Ruling | None:
        return Ruling(reason="the last mirror is withheld") if origin == MIRRORS[-1] else None

    def judge(self, origin: IndexName, file: File, build: Build) -> Ruling | None:
        return Ruling(reason="it is the first") if file.version == "0.0" else None


class Plugin:
    def __init__(self, moods: dict[IndexName, str], *, filters: bool) -> None:
        self._moods = moods
        self._filters = filters

    @hookimpl
    def pkgindex_sources(self) -> list[Provider[Source]]:
        async def make(context: Context) -> Moody:
            source = Moody(context)
            source.moods = self._moods
            return source

        return [Provider(name="mirror", summary="a fake", make=make)]

    @hookimpl
    def pkgindex_page_filters(self) -> list[Provider[PageFilter]]:
        return [Provider(name="hides", summary="a fake", make=lambda _: HidesOne())] if self._filters else []


@st.composite
def worlds(draw: st.DrawFn) -> dict[str, Any]:
    acl = st.sampled_from([(":ANONYMOUS:",), ("anna",)])
    configs = [
        IndexConfig(
            name=name,
            bases=tuple(draw(st.lists(st.sampled_from([*HOSTED, *MIRRORS, IndexName("anna/gone")]), max_size=4))),
            acl_read=(":ANONYMOUS:",) if name == START else draw(acl),
            options={"mirror_whitelist": draw(st.sampled_from([["demo"], []]))},
        )
        for name in HOSTED
    ]
    configs += [mirror_config(name, "https://x/", acl_read=draw(acl)) for name in MIRRORS]
    statuses = st.sampled_from(["", "", "active", "quarantined", "archived"])
    contents: list[Change] = []
    for name in draw(st.sets(st.sampled_from(HOSTED))):
        contents.append(PutProject(name, DEMO, PageHead(status=draw(statuses))))
        contents += [PutFile(name, DEMO, _file(each)) for each in draw(st.sets(st.sampled_from(FILES)))]
    for name in draw(st.sets(st.sampled_from(MIRRORS))):
        files = tuple(_file(each) for each in draw(st.sets(st.sampled_from(FILES))))
        contents.append(MirrorPage(name, DEMO, PageHead(status=draw(statuses)), files))
    return {
        "changes": [PutUser(User(name="anna")), *(PutIndex(each) for each in configs), *sorted(contents, key=_place)],
        "moods": {name: draw(st.sampled_from(["up", "up", "down"])) for name in MIRRORS},
        "filters": draw(st.booleans()),
        "admission": draw(st.sampled_from(["mirror_whitelist", "first_mirror"])),
        "principal": draw(st.sampled_from([Principal(), Principal(name="anna")])),
    }


@settings(max_examples=150, deadline=None)
@given(world=worlds())
def test_what_explain_tells_is_what_the_page_shows(world: dict[str, Any], tmp_path_factory: Any) -> None:
    asyncio.run(_compare(world, tmp_path_factory.mktemp("law")))


async def _compare(world: dict[str, Any], directory: Any) -> None:
    plugins = load_plugins(extra=[Plugin(world["moods"], filters=world["filters"])], disabled=["pkgindex"])
    given = Settings(data=directory, store="memory://", blobs="memory://", admission=world["admission"], threads=1)
    async with Engine.open(given, plugins=plugins) as engine:
        await engine.store.apply(world["changes"], who="[test]")
        story = await engine.explaining.explain(START, DEMO, principal=world["principal"])
        request = PageRequest(
            view=View(start=START, root="/"), project=DEMO, principal=world["principal"], media_type=JSON_V1
        )
        try:
            answer = await engine.pages.project(request)
        except Unavailable:
            assert any(layer.joins and layer.state == "unavailable" for layer in story.layers)
            return
        except Missing:
            assert not any(layer.joins and layer.state in {"holds", "stale"} for layer in story.layers)
            assert not story.shown
            return
        except Denied:
            raise AssertionError("the start is open to everybody") from None
        assert answer.body is not None
        files = json.loads(answer.body)["files"]
        origins = {each["filename"]: "/".join(each["url"].split("/")[1:3]) for each in files}
        _agrees(story, origins, {each.index: each for each in _contents(world)})


def _agrees(story: Explanation, origins: dict[str, str], contents: dict[IndexName, Any]) -> None:
    assert dict(story.shown) == dict(Counter(origins.values()))
    hidden = {(each.origin, each.filename) for each in story.hidden}
    for layer in story.layers:
        has = contents[layer.index].files if layer.index in contents else set()
        on_the_page = {name for name, origin in origins.items() if origin == layer.index}
        told_hidden = {name for origin, name in hidden if origin == layer.index}
        if layer.joins:
            assert on_the_page | told_hidden == has
            assert not on_the_page & told_hidden
        else:
            assert not on_the_page
            assert not told_hidden
        assert layer.files == len(has)
    assert set(origins.values()) <= {layer.index for layer in story.layers}


class _Contents:
    def __init__(self, index: IndexName) -> None:
        self.index = index
        self.files: set[str] = set()


def _contents(world: dict[str, Any]) -> list[_Contents]:
    found: dict[IndexName, _Contents] = {}
    for change in world["changes"]:
        if isinstance(change, PutFile):
            found.setdefault(change.index, _Contents(change.index)).files.add(change.file.filename)
        elif isinstance(change, MirrorPage):
            found.setdefault(change.index, _Contents(change.index)).files.update(each.filename for each in change.put)
    return list(found.values())


def _file(filename: str) -> File:
    return File(filename=filename, version=filename.split("-")[1], digests={"sha256": "a" * 64}, size=1)


def _place(change: Any) -> tuple[str, bool]:
    return change.index, isinstance(change, PutFile)
