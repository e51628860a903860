"""The contract suite of `SearchCatalogue`.

    class TestMyCatalogue(SearchCatalogueContract):
        async def open_catalogue(self): return await MyCatalogue.open(self.directory)    # the same one each time

The reference is the rule: what a catalogue finds is compared with the ranks of all entries.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Collection, Sequence
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from pkgindex_core.models import Serial
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.catalogue import (
    FIRST,
    CatalogueProgress,
    CatalogueUpdate,
    NamesUpdate,
    RankedEntry,
    SearchCatalogue,
    SearchEntry,
    SearchQuery,
    listed,
)
from pkgindex_core.rules.searching.queries import plain_query, read_query
from pkgindex_core.rules.searching.ranking import rank
from pkgindex_core.testing.needed import pytest, pytest_asyncio

DEV: Final = IndexName("ann/dev")
TEST: Final = IndexName("ann/test")
MIRROR: Final = IndexName("root/pypi")
ALL: Final = frozenset({DEV, TEST, MIRROR})
_SYLLABLES: Final = ("num", "py", "sci", "kit", "a", "io", "data", "flow", "torch", "x")
_WORDS: Final = ("fast", "arrays", "Ärger", "HTTP-client", "machine", "learning", "py", "naïve", "data")
_CLASSIFIERS: Final = ("Topic :: Internet", "Framework :: Django", "License :: OSI Approved :: MIT License")
_QUERIES: Final = (
    "numpy", "py", "p", "a", "x io", "sci kit", "sci-kit", "kit-lea", "umpy", "nunpy", "numpyy", "flwo", "data flow", "Fast arrays",
    "arg", '"machine learning"', '"learning machine"', "http", "cv2", "google", "-py", "num -fast", "depends:numpy", "-depends:numpy",
    "fast depends:numpy", "num depends:sci-kit", "author:ann", "author:müller", "licence:mit", "license:apache", "python:3.8",
    "-python:3.12", "python:2.7 num", "source:hosted", "source:mirror py", "-source:mirror num", "index:ann/dev", "-index:ann/dev data",
    "import:google", "import:cv2 num", 'classifier:"framework django"', "django", "ann", "torch -data -fast", "zzz", "",
)  # fmt: skip


def sample_entry(project: str, index: IndexName = DEV, **fields: object) -> SearchEntry:
    """An entry with a version."""
    made = SearchEntry(
        index=index, project=ProjectName(project), mirrored=index == MIRROR, version="1.0", described=True
    )
    return replace(made, **fields) if fields else made


def sample_entries(chance: random.Random, count: int) -> list[SearchEntry]:
    """Different entries of names and texts that often agree."""
    found: dict[tuple[IndexName, ProjectName], SearchEntry] = {}
    while len(found) < count:
        name = chance.choice(("", "-")).join(chance.choices(_SYLLABLES, k=chance.randint(1, 3)))
        index = chance.choice(sorted(ALL))
        entry = SearchEntry(index=index, project=ProjectName(name), mirrored=index == MIRROR)
        if chance.random() < 0.7:
            entry = replace(
                entry,
                version="1.0",
                described=True,
                display_name=chance.choice(("", name.title())),
                summary=" ".join(chance.choices(_WORDS, k=3)),
                keywords=chance.choice(("", "django", "x, y")),
                classifiers=tuple(chance.sample(_CLASSIFIERS, k=chance.randint(0, 2))),
                authors=chance.choice(("", "Ann Müller <ann@example.org>", "Bob")),
                licence=chance.choice(("", "MIT", "Apache-2.0")),
                requires_python=chance.choice(("", ">=3.9", "<3", "not a specifier")),
                depends=tuple(map(ProjectName, chance.sample(("numpy", "sci-kit", "torch"), k=chance.randint(0, 2)))),
                imports=tuple(chance.sample(("cv2", "google.cloud", "PIL", "num"), k=chance.randint(0, 2))),
            )
        found[index, entry.project] = entry
    return [*found.values()]


def by_the_rule(
    entries: Collection[SearchEntry], query: SearchQuery, indexes: Collection[IndexName]
) -> list[RankedEntry]:
    """The result that the rule asks for."""
    ranked = ((rank(query, entry), entry) for entry in entries if entry.index in indexes)
    return sorted(
        (RankedEntry(place, entry) for place, entry in ranked if place is not None), key=lambda each: each.rank
    )


@pytest.mark.asyncio
class SearchCatalogueContract:
    """Subclass, name it `Test…`, and provide the catalogue."""

    directory: Path
    catalogue: SearchCatalogue
    survives_reopening = True
    """Whether a catalogue that is opened again has what it had."""

    async def open_catalogue(self) -> SearchCatalogue:
        """Open the catalogue of the test; it is empty at first."""
        raise NotImplementedError

    @pytest_asyncio.fixture(autouse=True)
    async def _a_catalogue(self, tmp_path: Path) -> AsyncIterator[None]:
        self.directory = tmp_path
        self.catalogue = await self.open_catalogue()
        yield
        await self.catalogue.close()

    async def write(
        self,
        *,
        put: Sequence[SearchEntry] = (),
        drop: Sequence[tuple[IndexName, ProjectName]] = (),
        names: Sequence[NamesUpdate] = (),
        drop_indexes: Collection[IndexName] = (),
        clear: bool = False,
    ) -> None:
        """Apply an update, as of the next serial."""
        before = await self.catalogue.progress()
        progress = replace(before, store="test", serial=Serial(before.serial + 1))
        update = CatalogueUpdate(
            put=put, drop=drop, names=names, drop_indexes=drop_indexes, clear=clear, progress=progress
        )
        assert await self.catalogue.apply(update, after=before)

    async def found(self, text: str, indexes: Collection[IndexName] = ALL) -> list[str]:
        """The names that a search finds, each with its index."""
        return [
            f"{each.entry.index} {each.entry.name}" for each in await self.catalogue.find(read_query(text), indexes)
        ]

    async def test_a_new_catalogue_is_empty(self) -> None:
        assert await self.catalogue.progress() == CatalogueProgress()
        assert await self.found("") == []

    @pytest.mark.parametrize("seed", range(4))
    async def test_it_finds_what_the_rule_says_in_its_order(self, seed: int) -> None:
        chance = random.Random(seed)
        entries = sample_entries(chance, 150)
        known = [each for each in entries if each.version or not each.mirrored]
        listing = [each for each in entries if each not in known]
        await self.write(
            put=known, names=[NamesUpdate(index=MIRROR, put=[(each.project, each.project) for each in listing])]
        )
        for text in _QUERIES:
            query = read_query(text)
            for indexes in (ALL, {DEV, MIRROR}, {TEST}, frozenset[IndexName]()):
                found = await self.catalogue.find(query, indexes, limit=1000)
                assert [*found] == by_the_rule(entries, query, indexes), text

    @pytest.mark.parametrize("text", ["py", "num", "numpy", "nunpy", "", "source:mirror", "fast"])
    async def test_parts_of_a_result_are_the_whole(self, text: str) -> None:
        entries = sample_entries(random.Random(7), 200)
        await self.write(put=entries)
        query = read_query(text)
        whole: list[RankedEntry] = []
        while part := await self.catalogue.find(query, ALL, after=whole[-1].rank if whole else FIRST, limit=7):
            assert len(part) >= 7 or not await self.catalogue.find(query, ALL, after=part[-1].rank, limit=1)
            whole += part[:7]
        assert whole == by_the_rule(entries, query, ALL)

    async def test_the_tiers_are_in_order(self) -> None:
        await self.write(
            put=[
                sample_entry("yaml"),
                sample_entry("pyyaml", imports=("yaml",)),
                sample_entry("yamllint"),
                sample_entry("ruamel-yaml"),
                sample_entry("oyamlx"),
                sample_entry("config", summary="Reads YAML"),
                sample_entry("written", authors="Yaml Smith"),
                sample_entry("yalm"),
            ]
        )
        assert [each.split()[1] for each in await self.found("yaml")] == [
            "yaml", "pyyaml", "yamllint", "ruamel-yaml", "oyamlx", "config", "written", "yalm",
        ]  # fmt: skip

    async def test_hosted_projects_come_before_mirrored_ones(self) -> None:
        await self.write(put=[sample_entry("tool-a", MIRROR), sample_entry("tool-longer")])
        assert await self.found("tool") == ["ann/dev tool-longer", "root/pypi tool-a"]

    async def test_an_entry_replaces_the_one_before(self) -> None:
        await self.write(put=[sample_entry("demo", summary="first words", depends=(ProjectName("old"),))])
        await self.write(put=[sample_entry("demo", summary="second words", display_name="Demo")])
        assert (await self.found("first"), await self.found("depends:old")) == ([], [])
        assert await self.found("second") == await self.found("demo") == ["ann/dev Demo"]
        (one,) = await self.catalogue.find(read_query("demo"), ALL)
        assert one.entry == sample_entry("demo", summary="second words", display_name="Demo")

    async def test_what_was_dropped_is_not_found(self) -> None:
        await self.write(put=[sample_entry("demo", summary="words"), sample_entry("demo", TEST), sample_entry("other")])
        await self.write(drop=[(DEV, ProjectName("demo")), (DEV, ProjectName("never"))])
        assert (await self.found("demo"), await self.found("words")) == (["ann/test demo"], [])
        await self.write(drop_indexes=[TEST, IndexName("no/index")])
        assert await self.found("") == ["ann/dev other"]
        await self.write(put=[sample_entry("demo")])
        assert await self.found("demo") == ["ann/dev demo"], "the name is free again"

    async def test_names_of_a_list_are_found_with_and_without_metadata(self) -> None:
        demo = ProjectName("demo")
        await self.write(names=[NamesUpdate(index=MIRROR, put=[(demo, "Demo"), (ProjectName("other"), "other")])])
        assert [each.entry for each in await self.catalogue.find(read_query("demo"), ALL)] == [
            listed(MIRROR, demo, "Demo")
        ]
        assert await self.found("dem") == ["root/pypi Demo"]
        await self.write(put=[sample_entry("demo", MIRROR, summary="words")])
        assert await self.found("words") == ["root/pypi demo"]
        assert await self.found("dem") == ["root/pypi demo"], "once"
        await self.write(drop=[(MIRROR, demo)])
        assert (await self.found("words"), await self.found("demo")) == ([], ["root/pypi Demo"])
        await self.write(names=[NamesUpdate(index=MIRROR, drop=[demo], put=[(ProjectName("newer"), "Newer")])])
        assert await self.found("") == ["root/pypi Newer", "root/pypi other"]

    async def test_a_known_project_that_leaves_the_list_stays(self) -> None:
        demo = ProjectName("demo")
        await self.write(put=[sample_entry("demo", MIRROR)])
        await self.write(names=[NamesUpdate(index=MIRROR, put=[(demo, "Demo")])])
        await self.write(names=[NamesUpdate(index=MIRROR, drop=[demo])])
        assert [each.entry for each in await self.catalogue.find(read_query("demo"), ALL)] == [
            sample_entry("demo", MIRROR)
        ]
        await self.write(drop=[(MIRROR, demo)])
        assert await self.found("") == []

    async def test_names_may_be_listed_again(self) -> None:
        names = [(ProjectName(f"name-{number}"), f"Name-{number}") for number in range(50)]
        await self.write(names=[NamesUpdate(index=MIRROR, put=names[:30])])
        await self.write(names=[NamesUpdate(index=MIRROR, put=names[20:])])
        assert len(await self.catalogue.find(read_query("name"), ALL, limit=1000)) == 50

    async def test_clearing_forgets_everything(self) -> None:
        await self.write(
            put=[sample_entry("demo", summary="words")],
            names=[NamesUpdate(index=MIRROR, put=[(ProjectName("x"), "x")])],
        )
        await self.write(clear=True, put=[sample_entry("next")])
        assert await self.found("") == ["ann/dev next"]

    async def test_an_update_that_comes_late_changes_nothing(self) -> None:
        start = await self.catalogue.progress()
        await self.write(put=[sample_entry("demo")])
        late = CatalogueUpdate(
            put=[sample_entry("late")], drop=[(DEV, ProjectName("demo"))], progress=CatalogueProgress(serial=Serial(9))
        )
        assert not await self.catalogue.apply(late, after=start)
        assert (await self.found(""), (await self.catalogue.progress()).serial) == (["ann/dev demo"], 1)

    async def test_a_catalogue_that_is_opened_again_has_all(self) -> None:
        await self.write(put=[sample_entry("demo")], names=[NamesUpdate(index=MIRROR, put=[(ProjectName("x"), "x")])])
        await self.catalogue.close()
        await self.catalogue.close()
        self.catalogue = await self.open_catalogue()
        expected = (["ann/dev demo", "root/pypi x"], 1) if self.survives_reopening else ([], 0)
        assert (await self.found(""), (await self.catalogue.progress()).serial) == expected

    async def test_odd_names_are_found(self) -> None:
        long = "a" * 300
        await self.write(put=[sample_entry(long), sample_entry("0"), sample_entry("a--b".replace("--", "-"))])
        for name in (long, "0", "a-b"):
            assert [each.entry.project for each in await self.catalogue.find(plain_query(name), ALL, limit=1)] == [name]
