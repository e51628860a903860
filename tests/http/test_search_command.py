"""`pkgindex-serve search`, over a store that no server serves."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from click.testing import CliRunner, Result

from pkgindex_core.changes import PutFile, PutRelease
from pkgindex_core.config import Settings
from pkgindex_core.engine import Engine
from pkgindex_core.models import File, Release
from pkgindex_core.names import ProjectName
from pkgindex_http.cli import main
from tests.http.conftest import HOSTED, make_store


def fill(data: Path) -> None:
    make_store(data)

    async def publish() -> None:
        async with Engine.open(Settings(data=data), mirrors=False) as engine:
            for name, summary in (("fast-json", b"Parses JSON"), ("slow-json", b"Parses JSON")):
                file = File(filename=f"{name}-1.0.zip", version="1.0", digests={"sha256": "0" * 64}, size=1)
                release = Release(version="1.0", metadata=b'{"summary": "%s"}' % summary)
                project = ProjectName(name)
                await engine.store.apply(
                    [PutFile(HOSTED, project, file), PutRelease(HOSTED, project, release)], who="[test]"
                )

    asyncio.run(publish())


def run(data: Path, *words: str) -> Result:
    # Not `search` by itself: click keeps the help option that a command had first, and that of the program has another name.
    return CliRunner().invoke(main, ["search", "--data", str(data), *words])


def test_it_finds_prints_and_tells_what_is_wrong(tmp_path: Path) -> None:
    fill(tmp_path / "data")
    found = run(tmp_path / "data", "json", "--", "-slow")
    assert (found.exit_code, found.stdout.split()) == (0, ["fast-json", "1.0", "root/dev", "Parses", "JSON"])
    found = run(tmp_path / "data", "parses", "--json", "--index", "root/dev")
    assert [each["name"] for each in json.loads(found.stdout)] == ["fast-json", "slow-json"]
    found = run(tmp_path / "data", "json", "--limit", "1")
    assert (found.stdout.count("\n"), "only the first 1 are shown" in found.stderr) == (1, True)
    found = run(tmp_path / "data", "nothing")
    assert (found.exit_code, found.stdout, found.stderr) == (0, "", "nothing fits\n")
    found = run(tmp_path / "data", "depends:")
    assert (found.exit_code, "error: depends: needs a project" in found.stderr) == (1, True)
    found = run(tmp_path / "data", "json", "--index", "root/none")
    assert (found.exit_code, "no index 'root/none'" in found.stderr) == (1, True)
