"""A page that is made of sections is the page that is written at once, whatever it was before, and what did not change is not read again."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from msgspec.structs import replace

from pkgindex_core.changes import Change, DropFile, PutFile, PutIndex, PutProject, PutUser, YankFile
from pkgindex_core.clock import Timestamp
from pkgindex_core.compression import compress, decompress
from pkgindex_core.digests import sha256_of
from pkgindex_core.engines.memory.index import MemoryIndex
from pkgindex_core.formats import page_sections
from pkgindex_core.formats.html_page import HtmlRenderer
from pkgindex_core.formats.json_page import JsonRenderer
from pkgindex_core.models import File, Page, PageHead, Serial, User
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import PageSince, Principal, Renderer, Verdict
from pkgindex_core.rules.merging import merge
from pkgindex_core.rules.negotiation import HTML_V1, JSON_V1
from pkgindex_core.rules.resolution import Chain, Resolution, resolve
from pkgindex_core.services.reading import long_pages
from pkgindex_core.services.reading.assembling import Assembling
from pkgindex_core.services.reading.long_pages import LongPages, PageForm
from pkgindex_core.services.reading.pages import PageAnswer, PageRequest, View
from pkgindex_core.testing.configs import index_config
from tests.core.services.conftest import DEV, MovedClock, Open

DEMO = ProjectName("demo")
_LIMIT = 10_000_000
_PREFIX = "../../../../root/dev/"
_RENDERERS = (JsonRenderer(), HtmlRenderer())
_each_renderer = pytest.mark.parametrize("renderer", _RENDERERS, ids=["JSON", "HTML"])


@pytest.fixture(scope="module")
def workers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture(autouse=True)
def _short_sections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_sections, "_MODULUS", 8)
    monkeypatch.setattr(long_pages, "LONG", 20)


def file(version: str, kind: str = "", bytes_: str = "") -> File:
    filename = f"demo-{version}{kind}.tar.gz"
    return File(
        filename=filename,
        version=version,
        digests={"sha256": sha256_of(f"{filename} {bytes_}".encode())},
        size=len(bytes_) + 10,
        requires_python=">=3.9,<4",
        provenance=f"+integrity/demo/{version}/{filename}/provenance" if kind == "d" else "",
    )


class Store(MemoryIndex):
    """A store that counts whole pages that are read of it."""

    whole = 0

    async def page(self, index: IndexName, project: ProjectName, *, at: Serial | None = None) -> Page | None:
        self.whole += at is None
        return await super().page(index, project, at=at)

    async def page_since(self, index: IndexName, project: ProjectName, since: Serial) -> PageSince | None:
        found = await super().page_since(index, project, since)
        self.whole -= 1
        return found

    async def commit(self, *changes: Change) -> None:
        assert await self.apply(changes, who="ann") is not None


async def opened() -> Store:
    store = Store(MovedClock())
    await store.commit(PutUser(User(name="root")), PutIndex(index_config(DEV)))
    return store


async def resolved(store: Store) -> Resolution:
    tree, standings = await store.tree(), await store.standings(DEMO, [DEV])
    seen = Chain(tree=tree, start=DEV, order=(DEV,), missing=(), readable=frozenset({DEV}), public=True)
    return resolve(seen, DEMO, standings, [Verdict(index=DEV, joins=True, reason="")], {})


class Made:
    """The pages of a store."""

    def __init__(self, store: Store, workers: ThreadPoolExecutor) -> None:
        self.store = store
        self.pages = LongPages(
            store=store,
            assembling=Assembling(store=store, filters={}),
            renderers={each.media_type: each for each in _RENDERERS},
            limit=_LIMIT,
            workers=workers,
        )

    async def body(self, renderer: Renderer, resolution: Resolution | None = None) -> tuple[bool, bytes | None]:
        resolution = resolution or await resolved(self.store)
        form = PageForm(
            tag=f"{resolution.serial}",
            media_type=renderer.media_type,
            root="../../../../",
            coding="gzip",
            moment=Timestamp(0),
        )
        return await self.pages.body(resolution, form)


async def at_once(store: Store, renderer: Renderer) -> bytes:
    page = await MemoryIndex.page(store, DEV, DEMO)
    assert page is not None
    return renderer.page(merge(DEMO, [(DEV, _PREFIX, page)]))


@_each_renderer
@pytest.mark.parametrize("seed", range(12))
async def test_sections_make_the_page_that_is_written_at_once(
    workers: ThreadPoolExecutor, renderer: Renderer, seed: int
) -> None:
    rng = random.Random(seed)
    store = await opened()
    usual = [f"{major}.{minor}" for major in range(8) for minor in range(1, 6)]
    odd = ["2004d", "1.0rc1", "3.1.dev2", "1!0.5", "4.0+local.7", "5.1.post1"]
    mixed = ["3.1.0", "3.1.0.0"] if seed % 3 == 0 else []
    versions = usual + odd + mixed
    pool = [file(version, kind) for version in versions for kind in ("", "a", "b", "c", "d")]
    await store.commit(*[PutFile(DEV, DEMO, each, "Demo") for each in rng.sample(pool, rng.choice([1, 20, 120]))])
    made, whole = Made(store, workers), 0
    for turn in range(25):
        page = await MemoryIndex.page(store, DEV, DEMO)
        assert page is not None
        there = {row.filename for row in page.rows}
        changes: dict[str, Change] = {}
        for each in rng.sample(pool, rng.randrange(4)):
            gone = each.filename in there and rng.random() < 0.6
            drop = DropFile(DEV, DEMO, each.filename)
            changes[each.filename] = drop if gone else PutFile(DEV, DEMO, replace(each, size=turn))
        if set(changes) >= there:
            changes = {}
        if rng.random() < 0.2:
            changes[""] = PutProject(DEV, DEMO, PageHead(display_name=f"Demo-{turn}"))
        if changes:
            await store.commit(*changes.values())
        is_current, body = await made.body(renderer)
        _, fresh = await Made(store, workers).body(renderer)
        assert is_current
        assert body == fresh, "servers of one store make the same bytes"
        if body is None:
            whole += 1
        else:
            assert decompress(body, "gzip") == await at_once(store, renderer)
    assert whole == 0 or mixed


@_each_renderer
async def test_an_upload_reads_and_writes_one_section(workers: ThreadPoolExecutor, renderer: Renderer) -> None:
    store = await opened()
    await store.commit(*[PutFile(DEV, DEMO, file(f"{at // 20}.{at % 20}")) for at in range(300)])
    made = Made(store, workers)
    await made.body(renderer)
    assert store.whole == 1
    for change in (
        PutFile(DEV, DEMO, file("7.7", "a")),
        PutFile(DEV, DEMO, file("7.7", "a", "others")),
        DropFile(DEV, DEMO, "demo-8.8.tar.gz"),
        YankFile(DEV, DEMO, "demo-3.3.tar.gz", "broken"),
    ):
        ((_, before),) = made.pages.kept.items()
        await store.commit(change)
        _, body = await made.body(renderer)
        ((_, after),) = made.pages.kept.items()
        others = {(each.listing, bytes(each.files.data)) for each in before.sections}
        assert len(after.sections) > 20
        assert sum((each.listing, bytes(each.files.data)) not in others for each in after.sections) <= 2
        assert body is not None
        assert decompress(body, "gzip") == await at_once(store, renderer)
    assert store.whole == 1


async def test_a_page_that_has_changed_since_it_was_resolved_is_not_given(workers: ThreadPoolExecutor) -> None:
    store = await opened()
    await store.commit(*[PutFile(DEV, DEMO, file(f"1.{at}")) for at in range(30)])
    made = Made(store, workers)
    for number in (1, 3):
        await store.commit(DropFile(DEV, DEMO, f"demo-1.{number}.tar.gz"))
        before = await resolved(store)
        await store.commit(DropFile(DEV, DEMO, f"demo-1.{number + 1}.tar.gz"))
        assert await made.body(_RENDERERS[0], before) == (False, None)
        assert (await made.body(_RENDERERS[0]))[1] is not None


async def test_a_page_with_a_signature_or_with_versions_without_files_is_written_whole(
    workers: ThreadPoolExecutor,
) -> None:
    store = await opened()
    made = Made(store, workers)

    async def are_in_sections() -> list[bool]:
        return [(await made.body(each))[1] is not None for each in _RENDERERS]

    await store.commit(*[PutFile(DEV, DEMO, file(f"1.{at}")) for at in range(30)])
    assert await are_in_sections() == [True, True]
    await store.commit(PutFile(DEV, DEMO, replace(file("1.5"), gpg_sig=False)))
    assert await are_in_sections() == [True, False]
    await store.commit(PutFile(DEV, DEMO, file("1.5")))
    assert await are_in_sections() == [True, True]
    await store.commit(PutProject(DEV, DEMO, PageHead(versions=("0.1",))))
    assert await are_in_sections() == [False, False]


async def test_pages_of_many_files_show_each_change_in_every_coding(open_world: Open) -> None:
    async with open_world() as world:
        numpy = ProjectName("numpy")

        async def page(media_type: str, **wanted: str) -> PageAnswer:
            request = PageRequest(
                view=View(start=DEV, root="../../../../"),
                project=numpy,
                principal=Principal(),
                media_type=media_type,
                **wanted,  # type: ignore[arg-type]  # all of them are texts
            )
            return await world.engine.pages.project(request)

        for count in range(60):
            await world.put(DEV, numpy, f"numpy-{count}.0-py3-none-any.whl")
            if count < 18 or count % 7:
                continue
            for media_type in (JSON_V1, HTML_V1):
                plain = (await page(media_type)).body
                assert plain is not None
                assert plain.count(b".whl#" if media_type == HTML_V1 else b'"filename":') == count + 1
                for coding in ("gzip", "zstd"):
                    answer = await page(media_type, coding=coding)
                    assert answer.body is not None
                    assert decompress(answer.body, answer.coding) == plain
                    if coding == "zstd":
                        assert answer.body == compress(plain, "zstd")
                long = await page(media_type, coding="zstd", long_coding="gzip")
                assert (long.coding, long.etag) == (
                    ("gzip", (await page(media_type, coding="gzip")).etag) if count > 19 else ("zstd", answer.etag)
                )
                again = await page(media_type, coding="zstd", long_coding="gzip", if_none_match=long.etag)
                assert again.body is None
        listed = json.loads((await page(JSON_V1)).body or b"")
        assert listed["versions"] == [f"{count}.0" for count in range(60)]
        assert len(world.engine.pages.building.long_pages.kept) == 2
