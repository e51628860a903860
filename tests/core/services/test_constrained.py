"""What constrained indexes do to pages, lists and version documents, their own and those of indexes above them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pkgindex_core.changes import PutAttachment, PutRelease
from pkgindex_core.errors import Missing, Refused
from pkgindex_core.models import Attachment, Release
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Principal
from pkgindex_core.rules.negotiation import JSON_V1
from pkgindex_core.services.reading.pages import PageAnswer, PageRequest, View
from tests.core.services.conftest import PYPI, Open, World, hosted_file

ROOT = Principal(name="root")
APPROVED = "root/approved"
TEAM = "root/team"


async def page(world: World, index: str, project: str, tag: str | None = None) -> PageAnswer:
    view = View(start=IndexName(index), root="../../../../")
    return await world.engine.pages.project(
        PageRequest(
            view=view, project=ProjectName(project), principal=Principal(), media_type=JSON_V1, if_none_match=tag
        )
    )


async def versions(world: World, index: str, project: str) -> list[str]:
    body = (await page(world, index, project)).body
    assert body is not None
    document = json.loads(body)
    assert sorted({file["filename"].split("-")[1] for file in document["files"]}) == sorted(document["versions"])
    return sorted(document["versions"])


async def names(world: World, index: str) -> list[str]:
    answer = await world.engine.listings.projects(
        IndexName(index), principal=Principal(), media_type=JSON_V1, coding="identity", if_none_match=None
    )
    assert answer.body is not None
    return [each["name"].lower() for each in json.loads(bytes(answer.body))["projects"]]


async def documents(world: World, index: str, project: str) -> dict[str, Any]:
    found = await world.engine.versions.project(
        IndexName(index), ProjectName(project), principal=Principal(), root="http://host"
    )
    document = json.loads(b"".join([piece async for piece in found.pieces]))
    assert isinstance(document, dict)
    return document


async def constrained(world: World, *lines: str, bases: tuple[str, ...] = ("root/pypi",)) -> None:
    """`root/approved` with these constraints over the mirror, and `root/team` above it with a package of its own."""
    for project in ("numpy", "flask", "evil"):
        world.mirror.pages[project] = [hosted_file(f"{project}-{n}.0-py3-none-any.whl") for n in (1, 2)]
    make = world.engine.indexes.create
    await make(APPROVED, {"type": "constrained", "bases": bases, "constraints": list(lines)}, principal=ROOT)
    await make(TEAM, {"bases": [APPROVED]}, principal=ROOT)
    await world.put(TEAM, "evil", "evil-9.0-py3-none-any.whl")


async def test_versions_are_constrained_here_and_above(open_world: Open) -> None:
    async with open_world() as world:
        await constrained(world, "numpy<2")
        for index in (APPROVED, TEAM):
            assert await versions(world, index, "numpy") == ["1.0"]
            assert await versions(world, index, "flask") == ["1.0", "2.0"]
            assert list(await documents(world, index, "numpy")) == ["1.0"]
        assert await versions(world, PYPI, "numpy") == ["1.0", "2.0"]


async def test_other_projects_are_blocked_everywhere_and_the_mirror_is_not_asked(open_world: Open) -> None:
    async with open_world() as world:
        await constrained(world, "numpy<2", "flask", "*")
        with pytest.raises(Missing):
            await page(world, APPROVED, "evil")
        with pytest.raises(Missing):
            await documents(world, APPROVED, "evil")
        assert world.mirror.asked == []
        # What the team itself has is no business of what it inherits.
        assert await versions(world, TEAM, "evil") == ["9.0"]
        assert list(await documents(world, TEAM, "evil")) == ["9.0"]
        assert await names(world, APPROVED) == ["flask", "numpy"]
        assert await names(world, TEAM) == ["evil", "flask", "numpy"]
        assert await names(world, PYPI) == ["evil", "flask", "numpy"]


async def test_hosted_bases_are_constrained_too(open_world: Open) -> None:
    async with open_world() as world:
        await world.index("root/hosted")
        for version in ("1.0", "2.0"):
            await world.put("root/hosted", "acme", f"acme-{version}-py3-none-any.whl")
            await world.put("root/hosted", "other", f"other-{version}-py3-none-any.whl")
        await constrained(world, "acme>1", "*", bases=("root/hosted",))
        for bare in ("0.5", "3.0"):  # registered, without files
            release = Release(version=bare, metadata=b'{"name":"acme"}')
            await world.engine.store.apply(
                [PutRelease(IndexName("root/hosted"), ProjectName("acme"), release)], who="[test]"
            )
        assert await versions(world, TEAM, "acme") == ["2.0"]
        assert list(await documents(world, TEAM, "acme")) == ["2.0", "3.0"]
        assert await names(world, TEAM) == ["acme", "evil"]


async def test_a_changed_constraint_is_a_changed_page_and_list(open_world: Open) -> None:
    async with open_world() as world:
        await constrained(world, "numpy<2", "*")
        first = await page(world, TEAM, "numpy")
        assert (await page(world, TEAM, "numpy", tag=first.etag)).body is None
        assert await names(world, TEAM) == ["evil", "numpy"]
        modify = world.engine.indexes.modify
        await modify(IndexName(APPROVED), ["constraints+=flask"], principal=ROOT)
        await modify(IndexName(APPROVED), ["constraints-=numpy<2"], principal=ROOT)
        await modify(IndexName(APPROVED), ["constraints+=numpy>=2"], principal=ROOT)
        assert (await page(world, TEAM, "numpy", tag=first.etag)).body is not None
        assert await versions(world, TEAM, "numpy") == ["2.0"]
        assert await names(world, TEAM) == ["evil", "flask", "numpy"]
        config = await world.engine.indexes.config(IndexName(APPROVED))
        assert world.engine.index_options.document(config)["constraints"] == ["*", "flask", "numpy>=2"]


async def test_explain_names_the_constrained_index(open_world: Open) -> None:
    async with open_world() as world:
        await constrained(world, "numpy<2", "*")
        told = await world.engine.explaining.explain(IndexName(TEAM), ProjectName("evil"), principal=ROOT)
        (mirror,) = [layer for layer in told.layers if layer.index == PYPI]
        assert not mirror.joins
        told = await world.engine.explaining.explain(IndexName(TEAM), ProjectName("numpy"), principal=ROOT)
        assert [(each.filename, each.reason) for each in told.hidden] == [
            ("numpy-2.0-py3-none-any.whl", f"constrained: the constraints of {APPROVED} do not allow version 2.0")
        ]


async def test_a_constrained_index_takes_no_files_and_bad_lines_change_nothing(open_world: Open) -> None:
    async with open_world() as world:
        await constrained(world, "numpy<2")
        config = await world.engine.indexes.config(IndexName(APPROVED))
        assert config.read_only
        with pytest.raises(Refused) as refused:
            await world.engine.indexes.modify(IndexName(APPROVED), {"constraints": "numpy<3\n??\n!!"}, principal=ROOT)
        assert len(refused.value.problems) == 2
        assert await world.engine.indexes.config(IndexName(APPROVED)) == config
        # Other types do not have the option.
        with pytest.raises(Refused):
            await world.engine.indexes.modify(IndexName(TEAM), {"constraints": "numpy"}, principal=ROOT)


async def test_flat_pages_json_and_documentation_are_constrained_too(open_world: Open) -> None:
    async with open_world() as world:
        await world.index("root/hosted")
        for project in ("acme", "other"):
            for version in ("1.0", "2.0"):
                await world.put("root/hosted", project, f"{project}-{version}-py3-none-any.whl")
                blob = await world.engine.blobs.put(b"no zip, and nobody looks")
                docs = Attachment(
                    kind="doczip",
                    filename=f"{project}-{version}.doc.zip",
                    version=version,
                    sha256=blob.sha256,
                    size=blob.size,
                    added=world.clock.now(),
                )
                await world.engine.store.apply(
                    [PutAttachment(IndexName("root/hosted"), ProjectName(project), docs)], who="[test]"
                )
        await constrained(world, "acme<2", "*", bases=("root/hosted",))
        engine, team, acme, other = world.engine, IndexName(TEAM), ProjectName("acme"), ProjectName("other")
        flat = await engine.findlinks.page(team, principal=Principal(), root="../", if_none_match=None)
        text = (
            flat.body if isinstance(flat.body, bytes) else b"".join([each async for each in flat.body or ()])  # type: ignore[union-attr]  # not None: nothing matched
        ).decode()
        assert ("acme-1.0" in text, "acme-2.0" in text, "other" in text) == (True, False, False)
        told = await engine.information.document(team, acme, None, principal=Principal(), root="../")
        assert list(json.loads(told.body)["releases"]) == ["1.0"]
        for version in ("latest", "1.0"):
            found = await engine.documentation.find(team, acme, version, principal=Principal())
            assert found.attachment.version == "1.0"
        for project, version in ((acme, "2.0"), (other, "1.0"), (other, "latest")):
            with pytest.raises(Missing):
                await engine.documentation.find(team, project, version, principal=Principal())
        with pytest.raises(Missing):
            await engine.information.document(team, other, None, principal=Principal(), root="../")
