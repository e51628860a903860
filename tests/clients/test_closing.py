"""`pkgindex-mirror close`: installers find in a closure what they find in the whole index."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pkgindex_core.testing.wheels import build_sdist, build_wheel
from pkgindex_mirror.closing.closure import read_closure
from pkgindex_mirror.testing.upstream import ScriptedUpstream
from tests.clients.conftest import Installers
from tests.clients.running import executable, run

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


@pytest.fixture
async def whole() -> AsyncIterator[ScriptedUpstream]:
    """An index in which each of the resolutions below needs other versions."""
    async with ScriptedUpstream() as upstream:
        for number in range(1, 7):
            upstream.add("base", build_wheel("base", f"{number}.0"), build_sdist("base", f"{number}.0"))
        upstream.add("base", build_wheel("base", "7.0rc1"), build_wheel("base", "6.5", tag="cp27-none-win32"))
        upstream.add("middle", build_wheel("middle", "1.0", requires_dist=["base<3"]))
        upstream.add(
            "middle",
            build_wheel("middle", "2.0", requires_dist=["base>=2,!=4", "more; extra == 'x'"], provides_extra=["x"]),
        )
        upstream.add("more", build_wheel("more", "1.0", requires_dist=["early>=2"]), build_wheel("more", "0.5"))
        upstream.add("early", build_wheel("early", "1.0"), build_wheel("early", "2.0"), build_wheel("early", "3.0"))
        upstream.add("app", build_wheel("app", "1.0", requires_dist=["middle", "win; sys_platform == 'win32'"]))
        upstream.add("app", build_wheel("app", "2.0", requires_dist=["middle[x]", "base<5"]))
        upstream.add("win", build_wheel("win", "1.0"))
        upstream.add("stranger", build_wheel("stranger", "1.0"))
        yield upstream


@pytest.fixture
async def part(whole: ScriptedUpstream, tmp_path: Path) -> AsyncIterator[ScriptedUpstream]:
    """An index with the closure only."""
    path = tmp_path / "closure.json"
    words = ["--upstream", whole.url, "--data", tmp_path / "data", "-o", path]
    closed = await run(executable("pkgindex-mirror"), "close", "app", *words)
    assert closed.status == 0, closed.output
    closure = read_closure(path)
    async with ScriptedUpstream() as upstream:
        for name, project in closure.projects.items():
            kept = {file.filename for file in project.files}
            upstream.add(name, *(each.built for each in whole.projects[name] if each.built.filename in kept))
        yield upstream


async def resolved(upstream: ScriptedUpstream, folder: Path, constraints: str, *words: str) -> str:
    (folder / "wish.in").write_text("app")
    (folder / "constraints.txt").write_text(constraints)
    where = ["--default-index", upstream.url, "--no-cache", "--no-header", "--no-annotate", "--no-build"]
    files = [folder / "wish.in", "-c", folder / "constraints.txt"]
    ran = await run(executable("uv"), "pip", "compile", "-q", *files, *where, *words)
    return ran.output.replace(upstream.url, "") if ran.status else f"resolved:\n{ran.output}"


async def test_every_way_to_resolve(whole: ScriptedUpstream, part: ScriptedUpstream, tmp_path: Path) -> None:
    assert part.projects.keys() == {"app", "base", "early", "middle", "more"}
    found = set()
    for constraints in ("", "app<2", "base<2", "app<2\nbase==5", "app==2\nearly<3", "app<2\nmiddle>=2\nbase!=6"):
        for resolution in ("highest", "lowest", "lowest-direct"):
            expected = await resolved(whole, tmp_path, constraints, "--resolution", resolution)
            assert expected.startswith("resolved:"), expected
            assert await resolved(part, tmp_path, constraints, "--resolution", resolution) == expected
            found.add(expected)
    assert len(found) >= 6


async def test_installers(part: ScriptedUpstream, installers: Installers) -> None:
    for client in installers.names:
        ran, found = await installers.install(client, part.url, "app")
        assert found == ["app-2.0", "base-3.0", "early-3.0", "middle-2.0", "more-1.0"], ran.output
