"""A copy that is taken while clients upload and unused files are removed is whole: every upload that was acknowledged before is in it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pkgindex_core.config import Settings
from pkgindex_core.engine import Engine
from pkgindex_core.names import ProjectName
from pkgindex_core.testing.wheels import build_wheel
from tests.crash.conftest import Command
from tests.crash.oracle import HOSTED, prepare_data, upload
from tests.crash.processes import ServerProcess, Starter, running

BEFORE_THE_COPY, UNTIL_THE_END = 10, 40


@pytest.mark.parametrize("how", ["backup", "migrate"])
async def test_a_copy_has_what_was_acknowledged(how: str, starter: Starter, command: Command, tmp_path: Path) -> None:
    data, again, backup = tmp_path / "data", tmp_path / "again", tmp_path / "backup"
    await prepare_data(data)
    server = ServerProcess(starter, data)
    acknowledged: list[str] = []
    enough = asyncio.Event()
    copied = asyncio.Event()

    async def uploads() -> None:
        number = 0
        while number < UNTIL_THE_END or not copied.is_set():
            built = build_wheel("demo", f"{number}.0")
            answer = await upload(server.address, built)
            assert answer is not None
            assert answer.status == 200
            acknowledged.append(built.filename)
            number += 1
            if number == BEFORE_THE_COPY:
                enough.set()

    async with running(server):
        uploading = asyncio.create_task(uploads())
        await enough.wait()
        before = list(acknowledged)
        if how == "backup":
            done = await command("backup", backup, "--data", data)
        else:
            again.mkdir()
            to = ("--to-store", f"sqlite://{again}/index.sqlite", "--to-blobs", f"file://{again}/blobs")
            done = await command("migrate", "--data", data, *to)
        assert done == 0
        assert await command("gc", "--grace", "0", "--data", data) == 0
        copied.set()
        await uploading
    if how == "backup":
        assert await command("backup", "verify", backup) == 0
        assert await command("restore", backup, "--data", again) == 0
    assert await command("verify", "--data", again) == 0
    async with Engine.open(Settings(data=again), mirrors=False) as engine:
        page = await engine.store.page(HOSTED, ProjectName("demo"))
    assert page is not None
    assert {*before} <= {row.filename for row in page.rows} <= {*acknowledged}
