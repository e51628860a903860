from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from pkgindex_core.changes import MirrorNames
from pkgindex_core.errors import Denied, Unavailable
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Principal
from pkgindex_core.rules.negotiation import HTML_V1, JSON_V1
from pkgindex_core.services.reading.long_lists import LongLists
from pkgindex_core.services.reading.pages import PageAnswer
from tests.core.services.conftest import DEV, PYPI, Open, World, hosted_file

NUMPY = ProjectName("numpy")


async def listing(
    world: World,
    index: IndexName = DEV,
    principal: Principal | None = None,
    tag: str | None = None,
    media_type: str = JSON_V1,
) -> PageAnswer:
    return await world.engine.listings.projects(
        index, principal=principal or Principal(), media_type=media_type, coding="identity", if_none_match=tag
    )


def names(answer: PageAnswer) -> list[str]:
    assert answer.body is not None
    return [each["name"] for each in json.loads(bytes(answer.body))["projects"]]


def serials(answer: PageAnswer) -> dict[str, int]:
    assert answer.body is not None
    return {each["name"]: each["_last-serial"] for each in json.loads(bytes(answer.body))["projects"]}


async def test_a_list_holds_our_names_and_the_mirrors_once_each_and_sorted(open_world: Open) -> None:
    async with open_world() as world:
        world.mirror.pages.update({"flask": [], "numpy": [], "zope": []})
        await world.put(DEV, NUMPY, "numpy-1.0-py3-none-any.whl")
        await world.put(DEV, ProjectName("acme"), "acme-1.0-py3-none-any.whl")
        await world.put(DEV, ProjectName("zzz"), "zzz-1.0-py3-none-any.whl")
        assert [name.lower() for name in names(await listing(world))] == ["acme", "flask", "numpy", "zope", "zzz"]


async def test_an_html_list_keeps_its_tag_until_a_name_comes_or_goes(open_world: Open) -> None:
    async with open_world() as world:
        await world.put(DEV, NUMPY, "numpy-1.0-py3-none-any.whl")
        first = await listing(world, media_type=HTML_V1)
        await world.put(DEV, NUMPY, "numpy-2.0-py3-none-any.whl")
        assert (await listing(world, tag=first.etag, media_type=HTML_V1)).body is None
        await world.put(DEV, ProjectName("acme"), "acme-1.0-py3-none-any.whl")
        assert (await listing(world, tag=first.etag, media_type=HTML_V1)).body is not None


async def test_a_json_list_says_when_each_project_changed(open_world: Open) -> None:
    """Mirrors compare `_last-serial`, so an upload makes another list; names of an upstream's list have the list's serial."""
    async with open_world() as world:
        await world.put(DEV, NUMPY, "numpy-1.0-py3-none-any.whl")
        world.mirror.pages["flask"] = []
        first = await listing(world)
        before = serials(first)
        assert before["Flask"] > 0
        assert (await listing(world, tag=first.etag)).body is None
        await world.put(DEV, NUMPY, "numpy-2.0-py3-none-any.whl")
        second = await listing(world, tag=first.etag)
        after = serials(second)
        assert after["numpy"] == await world.engine.store.head() > before["numpy"] > 0
        assert {name: after[name] for name in after if name != "numpy"} == {
            name: before[name] for name in before if name != "numpy"
        }
        assert second.serial >= max(after.values())


async def test_a_list_of_which_nothing_is_known_is_unknown_and_otherwise_says_what_lacks(open_world: Open) -> None:
    async with open_world() as world:
        world.mirror.down = True
        with pytest.raises(Unavailable):
            await listing(world)
        await world.put(DEV, NUMPY, "numpy-1.0-py3-none-any.whl")
        answer = await listing(world)
        assert answer.body is not None
        assert [each["name"] for each in json.loads(bytes(answer.body))["projects"]] == ["numpy"]
        assert [index for index, _ in answer.unknown] == [PYPI]


async def test_a_list_leaves_out_what_may_not_be_read(open_world: Open) -> None:
    async with open_world() as world:
        secret = await world.index("root/secret", acl_read=("anna",))
        both = await world.index("root/both", bases=(secret,))
        await world.put(secret, ProjectName("hidden"), "hidden-1.0-py3-none-any.whl")
        await world.put(both, NUMPY, "numpy-1.0-py3-none-any.whl")
        assert names(await listing(world, both)) == ["numpy"]
        assert names(await listing(world, both, Principal(name="anna"))) == ["hidden", "numpy"]
        with pytest.raises(Denied):
            await listing(world, secret)


async def test_explain_tells_the_part_of_every_layer(open_world: Open) -> None:
    async with open_world() as world:
        world.mirror.pages["numpy"] = [hosted_file("numpy-9.0-py3-none-any.whl")]
        await world.put(DEV, NUMPY, "numpy-1.0-py3-none-any.whl")
        story = await world.engine.explaining.explain(DEV, NUMPY, principal=Principal())
        ours, theirs = story.layers
        assert (ours.index, ours.joins, ours.state, ours.files) == (DEV, True, "holds", 1)
        assert (theirs.index, theirs.joins, theirs.state) == (PYPI, False, "not asked")
        assert "numpy" in theirs.reason
        assert story.shown == {DEV: 1}
        assert world.mirror.asked == []


async def test_explain_tells_which_file_was_shadowed_and_which_base_is_missing(open_world: Open) -> None:
    async with open_world() as world:
        lower = await world.index("root/lower")
        upper = await world.index("root/upper", bases=(lower, IndexName("root/gone")))
        await world.put(lower, NUMPY, "numpy-1.0-py3-none-any.whl")
        await world.put(upper, NUMPY, "numpy-1.0-py3-none-any.whl")
        story = await world.engine.explaining.explain(upper, NUMPY, principal=Principal())
        assert [(each.filename, each.origin) for each in story.hidden] == [("numpy-1.0-py3-none-any.whl", lower)]
        assert story.missing_bases == ("root/gone (named by root/upper)",)


async def test_explain_tells_of_an_outage_and_hides_private_layers(open_world: Open) -> None:
    async with open_world() as world:
        secret = await world.index("root/secret", acl_read=("anna",))
        both = await world.index("root/both", bases=(secret, PYPI))
        world.mirror.down = True
        story = await world.engine.explaining.explain(both, NUMPY, principal=Principal())
        assert [layer.index for layer in story.layers] == [both, PYPI]
        assert story.layers[1].state == "unavailable"
        assert story.layers[1].detail


async def test_ht_13_the_serial_of_a_list_grows_with_every_commit(open_world: Open) -> None:
    """Mirrors that follow us look at the header of the list to see that anything happened."""
    async with open_world() as world:
        before = (await listing(world)).serial
        await world.put(DEV, NUMPY, "numpy-1.0-py3-none-any.whl")
        after = (await listing(world)).serial
        assert after == await world.engine.store.head()
        assert after > before


async def test_explain_says_nothing_of_what_a_private_index_has(open_world: Open) -> None:
    async with open_world() as world:
        await world.user("anna")
        secret = await world.index("anna/secret", acl_read=("anna",), bases=(IndexName("anna/gone"),))
        public = await world.index("anna/public", bases=(secret, PYPI))
        await world.put(secret, NUMPY, "numpy-1.0-py3-none-any.whl")
        story = repr(await world.engine.explaining.explain(public, NUMPY, principal=Principal()))
        assert "secret" not in story
        assert "gone" not in story
        assert "secret" in repr(await world.engine.explaining.explain(public, NUMPY, principal=Principal(name="anna")))


async def test_a_list_is_written_once_for_all_who_ask(open_world: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_world() as world:
        await world.put(DEV, NUMPY, "numpy-1.0-py3-none-any.whl")
        written = []
        make = LongLists._make

        async def counted(*arguments: object) -> bytes | memoryview:
            written.append(1)
            return await make(*arguments)  # type: ignore[arg-type]  # whatever it was called with

        monkeypatch.setattr(LongLists, "_make", counted)
        await asyncio.gather(*(listing(world) for _ in range(20)))
        assert len(written) == 1


async def own_names(world: World, index: IndexName, **about: Any) -> tuple[bytes, bool, str]:
    found = await world.engine.listings.names(index, principal=Principal(), **about)
    return b"".join([piece async for piece in found.pieces]), found.partial, found.stale


async def test_the_names_of_an_index_alone_come_in_pieces_of_json(open_world: Open) -> None:
    async with open_world() as world:
        assert await own_names(world, DEV) == (b"[]", False, "")
        world.mirror.pages.update({f"p{number:05}": [] for number in range(12_000)})
        await world.put(DEV, NUMPY, "numpy-1.0-py3-none-any.whl")
        assert await own_names(world, DEV) == (b'["numpy"]', False, "")
        mirrored, partial, _ = await own_names(world, PYPI)
        assert json.loads(mirrored) == sorted(world.mirror.pages)
        assert not partial
        empty = await world.index("root/few", type="mirror", mirror_url="https://x/", mirror_no_project_list=True)
        assert await own_names(world, empty) == (b"[]", True, "")
        world.mirror.down = True
        unknown = await world.engine.listings.names(PYPI, principal=Principal())
        assert [piece async for piece in unknown.pieces] == [b"[", b"]"]
        assert unknown.unknown


async def test_of_two_mirrors_and_our_own_every_name_is_listed_once_as_the_first_spells_it(open_world: Open) -> None:
    async with open_world() as world:
        second = await world.index("root/second", type="mirror", mirror_url="https://x/")
        both = await world.index("root/both", bases=(DEV, PYPI, second))
        store = world.engine.store
        everything = {f"p{number:05}" for number in range(15_000)}
        for index, step, spelled in ((PYPI, 2, str.upper), (second, 3, str.title)):
            put = tuple((ProjectName(name), spelled(name)) for name in sorted(everything)[::step])
            await store.apply([MirrorNames(index, put=put)], who="[test]")
        await world.put(DEV, ProjectName("p00006"), "p00006-1.0-py3-none-any.whl")
        await world.put(DEV, ProjectName("zzz"), "zzz-1.0-py3-none-any.whl")
        found = names(await listing(world, both))
        assert [name.lower() for name in found] == sorted({*sorted(everything)[::2], *sorted(everything)[::3], "zzz"})
        assert {"p00006", "P00002", "P00003", "P00012"} <= set(found)


async def test_a_long_list_is_kept_in_its_coded_form_only(open_world: Open) -> None:
    async with open_world() as world:
        world.mirror.pages.update({f"p{number:05}": [] for number in range(5_000)})
        body = (await listing(world)).body
        assert body is not None
        assert 0 < world.engine.listings.long_lists.kept.size < len(body) // 3
        assert not world.engine.bodies.size
        assert (await listing(world)).body == body
