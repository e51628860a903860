"""This server does what the table beside pypiron says, for files that it had fetched before and for others. pypiron's cells are a record: see `compare_policies.py`."""

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.http.compare_policies import CASES, add_cases, given, locked_path, recorded, records
from tests.http.conftest import MirroredStart as Start
from tests.http.test_advisories import look, take_in


@pytest.mark.parametrize("kept", [False, True])
async def test_what_the_table_beside_pypiron_says(mirrored: Start, tmp_path: Path, kept: bool) -> None:
    async with mirrored() as world:
        add_cases(world.upstream)
        port = urlsplit(world.served.url).port or 0
        files = [(case, await asyncio.to_thread(locked_path, port, case)) for case in CASES]
        for case, path in files if kept else ():
            before = await asyncio.to_thread(given, port, case, path)
            assert (before["page"], before["file"], before["JSON"]) == ("shown", "served", "shown")
        await world.change(policies=("cooldown 7d", "malware"))
        take_in(tmp_path / "data", *records())
        look(world.served)
        found = {case.told: await asyncio.to_thread(given, port, case, path) for case, path in files}
    wanted = {}
    for told, *_, page, file, kept_file, metadata, kept_metadata, document in recorded():
        file, metadata = (kept_file, kept_metadata) if kept else (file, metadata)
        wanted[told] = {"page": page, "file": file, ".metadata": metadata, "JSON": document}
    assert found == wanted
