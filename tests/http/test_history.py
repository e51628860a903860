"""The push log, as an administrator reads it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from click.testing import CliRunner

from pkgindex_core.changes import PutAttachment, PutFile, PutIndex
from pkgindex_core.config import Settings
from pkgindex_core.engine import Engine
from pkgindex_core.models import Attachment, Event, File, IndexConfig
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Principal
from pkgindex_http.cli import main

DEV = IndexName("root/one")
PROD = IndexName("root/two")
DEMO = ProjectName("demo")
WHEEL = "demo-1.0-py3-none-any.whl"
DOCS = "demo-1.0.doc.zip"


async def prepare(data: Path) -> None:
    """A wheel and documentation, uploaded to one index and pushed to another."""
    async with Engine.open(Settings(data=data), mirrors=False) as engine:
        await engine.prepare()
        blob = await engine.blobs.put(b"bytes")
        now = engine.clock.now()
        history = (Event(what="upload", at=now, who="ann", target=DEV),)
        file = File(filename=WHEEL, version="1.0", digests={"sha256": blob.sha256}, size=blob.size, history=history)
        docs = Attachment(
            kind="doczip", filename=DOCS, version="1.0", sha256=blob.sha256, size=blob.size, added=now, history=history
        )
        await engine.store.apply(
            [
                *(PutIndex(IndexConfig(name=name, acl_upload=("root",))) for name in (DEV, PROD)),
                PutFile(DEV, DEMO, file),
                PutAttachment(DEV, DEMO, docs),
            ],
            who="[test]",
        )
        await engine.pushing.push(DEV, PROD, DEMO, "1.0", principal=Principal(name="root"))


def test_who_pushed_what_from_where_to_where_and_when(tmp_path: Path) -> None:
    """Every index that has the file tells its story, for people and for programs."""
    asyncio.run(prepare(tmp_path))
    for filename in (WHEEL, DOCS):
        told = CliRunner().invoke(main, ["history", filename, "--data", str(tmp_path)])
        assert told.exit_code == 0, told.output
        lines = told.stdout.splitlines()
        assert [line.partition("Z  ")[2] or line for line in lines] == [
            f"{filename} in root/one",
            "upload by ann to root/one",
            f"{filename} in root/two",
            "upload by ann to root/one",
            "push by root from root/one to root/two",
        ]
    one = CliRunner().invoke(main, ["history", WHEEL, "--index", PROD, "--json", "--data", str(tmp_path)])
    (story,) = json.loads(one.stdout)
    assert story["index"] == PROD
    assert [(each["what"], each.get("source")) for each in story["history"]] == [("upload", None), ("push", DEV)]
    assert story["history"][0]["at"].endswith("Z")


def test_an_overwriting_is_nobodys(tmp_path: Path) -> None:
    """It names nobody, as in devpi; the upload that did it stands beside it, and was not anonymous."""

    async def overwrite(data: Path) -> None:
        async with Engine.open(Settings(data=data), mirrors=False) as engine:
            await engine.prepare()
            blob = await engine.blobs.put(b"bytes")
            now = engine.clock.now()
            history = (Event(what="overwrite", at=now, count=1), Event(what="upload", at=now, who="ann", target=DEV))
            file = File(filename=WHEEL, version="1.0", digests={"sha256": blob.sha256}, size=blob.size, history=history)
            await engine.store.apply([PutIndex(IndexConfig(name=DEV)), PutFile(DEV, DEMO, file)], who="[test]")

    asyncio.run(overwrite(tmp_path))
    told = CliRunner().invoke(main, ["history", WHEEL, "--data", str(tmp_path)])
    assert [line.partition("Z  ")[2] for line in told.stdout.splitlines()[1:]] == [
        "overwrite (1 so far)",
        "upload by ann to root/one",
    ]


def test_a_file_that_is_nowhere_is_said_to_be(tmp_path: Path) -> None:
    asyncio.run(prepare(tmp_path))
    for words in ([WHEEL.replace("1.0", "2.0")], [WHEEL, "--index", "root/nowhere"]):
        told = CliRunner().invoke(main, ["history", *words, "--data", str(tmp_path)])
        assert told.exit_code == 1
        assert "error: no " in told.stderr
