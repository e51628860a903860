"""The provenance of mirrored files: fetched once, verified against a real signature, recorded, and never passed on when it does not hold."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from msgspec.structs import replace

from pkgindex_core.changes import MirrorPage, PutIndex, PutUser
from pkgindex_core.clock import SystemClock, Timestamp
from pkgindex_core.composition.attesting import attestation_verifier
from pkgindex_core.engines.memory.index import MemoryIndex
from pkgindex_core.errors import BadUpstream, Missing
from pkgindex_core.models import File, PageHead, User
from pkgindex_core.names import ProjectName
from pkgindex_core.rules.policing.lines import ServerPolicies
from pkgindex_core.testing.configs import changed_config, index_config
from pkgindex_core.tools.tasks import Tasks
from pkgindex_mirror.readthrough.files.mirrored_provenance import MirroredProvenance
from pkgindex_mirror.upstreams.upstream_answers import AbsentAnswer, Document
from tests.attested import FILENAME, PROVENANCE, PUBLISHER, SHA256

PROJECT = ProjectName("pypi-attestations")
INDEX = index_config("root/pypi", type="mirror", mirrored=True, options={"mirror_url": "https://index.example/simple/"})
FILE = File(
    filename=FILENAME,
    version="0.0.19",
    digests={"sha256": SHA256},
    url="https://files.example/a",
    provenance="https://index.example/integrity/x",
    upload_time=Timestamp(2_000_000),
)


class FakeClient:
    """A fake of the client of upstreams: pages name https URLs only, which the scripted upstream does not have."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[str] = []

    async def document(self, site: object, url: str, **options: object) -> Any:
        self.asked.append(url)
        if not isinstance(self.answer, bytes):
            return self.answer
        return Document(body=self.answer, content_type="", url=url, validators={}, received=len(self.answer))


class World:
    """A mirror in memory with some files."""

    def __init__(self, answer: Any) -> None:
        self.store = MemoryIndex(SystemClock())
        self.client = FakeClient(answer)
        self.tasks = Tasks(10)

    async def begin(self, *files: File, verifier: Any = None) -> None:
        await self.store.apply([PutUser(User(name="root")), PutIndex(INDEX)], who="[test]")
        await self.store.apply([MirrorPage(INDEX.name, PROJECT, PageHead(), files)], who="[test]")
        client: Any = self.client
        self.provenance = MirroredProvenance(
            client=client,
            store=self.store,
            workers=ThreadPoolExecutor(1),
            tasks=self.tasks,
            amend=self.amend,
            verifier=verifier or attestation_verifier(""),
        )

    async def amend(self, index: Any, project: ProjectName, changes: dict[str, Callable[[File], File]]) -> None:
        files = [change(await self.file(name)) for name, change in changes.items()]
        await self.store.apply([MirrorPage(index.name, project, PageHead(), tuple(files))], who="[test]")

    async def file(self, name: str = FILENAME) -> File:
        file = await self.store.file(INDEX.name, PROJECT, name)
        assert file is not None
        return file


async def test_it_is_fetched_once_verified_and_recorded() -> None:
    world = World(PROVENANCE)
    await world.begin(FILE)
    assert await world.provenance.read(INDEX, PROJECT, FILE) == (PROVENANCE, PUBLISHER)
    file = await world.file()
    assert (file.publisher, file.former_publisher) == (PUBLISHER, "")
    assert await world.provenance.read(INDEX, PROJECT, file) == (PROVENANCE, PUBLISHER)
    assert len(world.client.asked) == 1


@pytest.mark.parametrize(
    ("document", "file", "said"),
    [
        (PROVENANCE.replace(b"MEYCIQC+Yjc", b"MEYCIQC+Yjd", 1), FILE, "does not hold"),
        (PROVENANCE, replace(FILE, digests={"sha256": "0" * 64}), f"expected the sha256 {'0' * 64}, found {SHA256}"),
        (
            PROVENANCE.replace(b'"repository":"trailofbits/', b'"repository":"octo/'),
            FILE,
            "expected the repository octo/pypi-attestations, found trailofbits/pypi-attestations",
        ),
        (b"<html>", FILE, "no provenance"),
    ],
    ids=["signature", "changed file", "another repository", "html"],
)
async def test_what_does_not_hold_is_neither_given_nor_kept(document: bytes, file: File, said: str) -> None:
    world = World(document)
    await world.begin(file)
    with pytest.raises(BadUpstream, match=said):
        await world.provenance.read(INDEX, PROJECT, file)
    assert (await world.file()).publisher == ""
    assert [note async for batch in world.store.notes("provenance") for note in batch] == []


async def test_without_a_verifier_it_is_the_word_of_the_upstream() -> None:
    world = World(PROVENANCE)
    await world.begin(FILE, verifier=lambda: None)
    assert await world.provenance.read(INDEX, PROJECT, FILE) == (PROVENANCE, "")
    assert (await world.file()).publisher == ""


async def test_a_policy_of_the_mirror_asks_by_itself() -> None:
    world = World(PROVENANCE)
    await world.begin(FILE)
    for lines, asked in (((), 0), (("published-by github:octo/x for other",), 0), (("published-by github:octo/x",), 1)):
        world.provenance.watch(changed_config(INDEX, policies=list(lines)), PROJECT, ServerPolicies())
        async with asyncio.timeout(5):
            while len(world.tasks):
                await asyncio.sleep(0.01)
        assert len(world.client.asked) == asked
    assert (await world.file()).publisher == PUBLISHER


async def test_an_absent_one_is_missing() -> None:
    world = World(AbsentAnswer(404))
    await world.begin(FILE)
    with pytest.raises(Missing):
        await world.provenance.read(INDEX, PROJECT, FILE)


async def test_a_changed_publisher_raises_the_alarm(caplog: pytest.LogCaptureFixture) -> None:
    older = File(
        filename="pypi_attestations-0.0.18.tar.gz",
        version="0.0.18",
        digests={"sha256": "1" * 64},
        url="https://files.example/b",
        publisher="github:octo/demo//x.yml#pypi",
        upload_time=Timestamp(1_000_000),
    )
    world = World(PROVENANCE)
    await world.begin(older, FILE)
    with caplog.at_level(logging.WARNING):
        await world.provenance.read(INDEX, PROJECT, FILE)
    assert (await world.file()).former_publisher == "github:octo/demo//x.yml"
    assert f"expected github:octo/demo//x.yml, found {PUBLISHER}" in caplog.text
