"""A build farm: many installers start at once on an empty cache, and go on when the upstream is gone."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from pathlib import Path

import pytest

from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.testing.upstream import ScriptedUpstream
from tests.clients.conftest import Installers, ServerProcess
from tests.clients.running import executable, run

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]

CROWD = 10
NAMES = [f"part-{number}" for number in range(60)]
INSTALLED = sorted(f"{name.replace('-', '_')}-1.0" for name in NAMES)


@pytest.fixture
def parts(upstream: ScriptedUpstream) -> None:
    """Sixty projects in two versions, each of which requires some that come later."""
    for number, name in enumerate(NAMES):
        later = tuple(f"{each}<2" for each in NAMES[2 * number + 1 : 2 * number + 3])
        upstream.add(name, *(build_wheel(name, version, requires_dist=later) for version in ("1.0", "2.0")))


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("announces", [True, False], ids=["sidecars", "ranges"])
async def test_ten_installers_at_once_on_an_empty_cache(
    server: ServerProcess, upstream: ScriptedUpstream, installers: Installers, *, announces: bool
) -> None:
    """Sixty packages each: all succeed, and each page, sidecar and file is asked for once."""
    upstream.announces_sidecars = upstream.has_sidecars = announces
    simple = f"{server.url}/simple/"
    done = await asyncio.gather(*(installers.install("uv", simple, "part-0<2") for _ in range(CROWD)))
    for ran, found in done:
        assert ran.status == 0, ran.output
        assert found == INSTALLED
    # A range of the end of a wheel has its metadata; the wheel itself is another resource.
    asked = Counter((each.place, each.path, "Range" in each.headers) for each in upstream.asked)
    assert {resource: count for resource, count in asked.items() if count > 1 and resource[0] != "other"} == {}
    assert upstream.count("page") == len(NAMES)
    assert sum(place == "file" and not ranged for place, _, ranged in asked.elements()) == len(NAMES)


@pytest.mark.usefixtures("parts")
async def test_no_request_fails_while_the_upstream_is_gone(
    upstream: ScriptedUpstream, installers: Installers, tmp_path: Path
) -> None:
    """All pages are expired, and the upstream is gone: compiling and installing need one try each."""
    server = ServerProcess(tmp_path / "data", upstream.url)
    await server.start()
    try:
        simple = f"{server.url}/simple/"
        ran, found = await installers.install("uv", simple, "part-0<2")
        assert found == INSTALLED, ran.output
        changed = await run(
            executable("pkgindex-serve"), "index", "modify", "root/pypi", "mirror_cache_expiry=0",
            "--data", server.data,
        )  # fmt: skip
        assert changed.status == 0, changed.output
        await upstream.stop()
        asked = len(upstream.asked)
        for _ in range(2):
            wanted, lock = tmp_path / "wanted.in", tmp_path / "lock.txt"
            wanted.write_text("part-0<2\n")
            compiled = await run(
                executable("uv"), "pip", "compile", "--no-cache", "--generate-hashes", "--default-index", simple,
                wanted, "-o", lock, env={"UV_HTTP_RETRIES": "0"},
            )  # fmt: skip
            assert compiled.status == 0, compiled.output
            ran, found = await installers.install("uv", simple, "--require-hashes", "-r", lock)
            assert found == INSTALLED, ran.output
        assert len(upstream.asked) == asked
    finally:
        await server.kill()


@pytest.mark.parametrize("hashed", [True, False], ids=["sha256", "no digests"])
async def test_a_lock_of_urls_is_installed_from_an_empty_cache(
    server: ServerProcess, upstream: ScriptedUpstream, tmp_path: Path, *, hashed: bool
) -> None:
    """The URLs of a uv.lock are asked for on a new machine, which has never seen their pages."""
    if not hashed:
        upstream.algorithms = ()
    upstream.add("demo", build_wheel("demo", "1.0", requires_dist=("six", "idna")))
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "mine"\nversion = "0"\nrequires-python = ">=3.11"\ndependencies = ["demo"]\n'
    )
    simple = f"{server.url}/simple/"
    uv = (executable("uv"), "--no-cache", "--directory", tmp_path)
    locked = await run(*uv, "lock", "--default-index", simple)
    assert locked.status == 0, locked.output
    await server.kill()
    shutil.rmtree(server.data)
    await server.start()
    upstream.asked.clear()
    synced = await run(*uv, "sync", "--frozen", "--default-index", simple)
    assert synced.status == 0, synced.output
    assert upstream.count("file") == 3
    assert " + demo==1.0" in synced.output
