"""`pkgindex-mirror prefetch`: what files want is there when the upstream is not."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from pkgindex_core.testing.wheels import build_sdist, build_wheel
from pkgindex_mirror.testing import behaviours
from pkgindex_mirror.testing.upstream import ScriptedUpstream
from tests.clients.conftest import Installers, ServerProcess
from tests.clients.running import Ran, clean_environment, executable, run

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]

OFFLINE = {"PKGINDEX_PLUGINS__MIRROR__OFFLINE": "true"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


async def prefetch(data: Path, upstream: ScriptedUpstream, *words: str | Path) -> Ran:
    return await run(
        executable("pkgindex-mirror"), "prefetch", "--data", data, *words, env={"PKGINDEX_UPSTREAM": upstream.url}
    )


async def offline_install(data: Path, upstream: ScriptedUpstream, installers: Installers, *words: str | Path) -> None:
    await upstream.stop()
    server = ServerProcess(data, upstream.url, **OFFLINE)
    await server.start()
    try:
        for client in installers.names:
            ran, found = await installers.install(client, f"{server.url}/simple/", *words)
            assert found == ["demo-1.0", "idna-3.10", "six-1.17.0"], ran.output
    finally:
        await server.stop()


async def test_requirements_with_what_they_need(
    data: Path, upstream: ScriptedUpstream, installers: Installers, tmp_path: Path
) -> None:
    wheel = build_wheel("demo", "1.0", requires_dist=("six", "idna; extra == 'more'", "nothing; extra == 'less'"))
    upstream.add("demo", wheel, build_sdist("demo", "1.0"), build_wheel("demo", "0.9"))
    wanted = tmp_path / "requirements.txt"
    wanted.write_text("demo[more]\n-e .\n")
    done = await prefetch(data, upstream, wanted)
    assert done.status == 0, done.output
    assert f"{wanted}, line 2: . is no project of an index (left out)" in done.output
    assert "3 projects, 3 files" in done.output
    assert "3 fetched, 0 stored before" in done.output
    asked = upstream.count("file")
    assert asked == 3
    again = await prefetch(data, upstream, wanted)
    assert "0 fetched, 3 stored before" in again.output
    assert upstream.count("file") == asked
    await offline_install(data, upstream, installers, "demo", "idna")


async def test_a_lock_of_uv(data: Path, upstream: ScriptedUpstream, installers: Installers, tmp_path: Path) -> None:
    upstream.add("demo", build_wheel("demo", "1.0", requires_dist=("six", "idna")))
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "mine"\nversion = "0"\nrequires-python = ">=3.11"\ndependencies = ["demo"]\n'
    )
    locked = await run(executable("uv"), "lock", "--no-cache", "--default-index", upstream.url, "--directory", tmp_path)
    assert locked.status == 0, locked.output
    exported = await run(
        executable("uv"), "export", "--directory", tmp_path, "--format", "pylock.toml", "-o", tmp_path / "pylock.toml"
    )
    assert exported.status == 0, exported.output
    for name in ("uv.lock", "pylock.toml"):
        done = await prefetch(data, upstream, tmp_path / name, "--json")
        assert done.status == 0, done.output
        assert '"files": 3' in done.output
    await offline_install(data, upstream, installers, "demo")


async def test_what_cannot_be_had_is_named_and_the_rest_is_fetched(
    data: Path, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    upstream.add("demo", build_wheel("demo", "1.0"))
    upstream.script("/simple/broken/", behaviours.status(500))
    wanted = tmp_path / "requirements.txt"
    wanted.write_text(f"demo>=2\nunheard\nbroken\nsix\nidna==3.10 --hash=sha256:{'0' * 64}\n")
    done = await prefetch(data, upstream, wanted)
    assert done.status == 1
    assert f"error: demo>=2 ({wanted}, line 1): root/dev has no file of it that fits" in done.output
    assert f"error: unheard ({wanted}, line 2): " in done.output
    assert f"error: broken ({wanted}, line 3): broken in root/pypi is not known: it answered 500" in done.output
    assert f"error: idna==3.10 ({wanted}, line 5): root/dev has no file of it that fits" in done.output
    assert "1 projects, 1 files" in done.output


async def test_killed_in_the_middle_it_goes_on(data: Path, upstream: ScriptedUpstream, tmp_path: Path) -> None:
    large = build_wheel("large", "1.0", files={"large.bin": os.urandom(3_000_000)})
    upstream.add("large", large)
    wanted = tmp_path / "requirements.txt"
    wanted.write_text("six\nlarge\n")
    upstream.script(f"/files/{large.filename}", behaviours.silent_after(0.5), times=1)
    environment = {**clean_environment(), "PKGINDEX_UPSTREAM": upstream.url}
    begun = await asyncio.create_subprocess_exec(
        executable("pkgindex-mirror"), "prefetch", "--data", data, wanted, env=environment
    )
    while upstream.count("file") < 2:
        await asyncio.sleep(0.02)
    begun.kill()
    await begun.wait()
    done = await prefetch(data, upstream, wanted)
    assert done.status == 0, done.output
    assert "2 projects, 2 files" in done.output
    assert upstream.count(f"/files/{large.filename}") == 2


async def test_pinned_files_stay_in_a_small_cache(data: Path, upstream: ScriptedUpstream, tmp_path: Path) -> None:
    bound = {"PKGINDEX_PLUGINS__MIRROR__CACHE_SIZE": "1500kB", "PKGINDEX_UPSTREAM": upstream.url}
    built = {
        name: build_wheel(name, "1.0", files={f"{name}.bin": os.urandom(700_000)}) for name in ("one", "two", "three")
    }
    for name, wheel in built.items():
        upstream.add(name, wheel)
        (tmp_path / f"{name}.txt").write_text(f"{name}\n")

    async def wanted(name: str, *words: str) -> str:
        command = ("prefetch", "--data", data, tmp_path / f"{name}.txt", *words)
        done = await run(executable("pkgindex-mirror"), *command, env=bound)
        assert done.status == 0, done.output
        return done.output

    await wanted("one", "--pin")
    for name in ("two", "three"):
        await wanted(name)
    assert "1 stored before" in await wanted("one", "--unpin")
    assert "1 fetched" in await wanted("two")
    for name in ("three", "two"):
        await wanted(name)
    assert "1 fetched" in await wanted("one")


async def test_a_bound_that_is_too_small_is_no_success_unless_the_files_are_pinned(
    data: Path, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    bound = {"PKGINDEX_PLUGINS__MIRROR__CACHE_SIZE": "1500kB", "PKGINDEX_UPSTREAM": upstream.url}
    for name in ("one", "two", "three"):
        upstream.add(name, build_wheel(name, "1.0", files={f"{name}.bin": os.urandom(700_000)}))
    wanted = tmp_path / "requirements.txt"
    wanted.write_text("one\ntwo\nthree\n")
    command = (executable("pkgindex-mirror"), "prefetch", "--data", data, wanted)
    done = await run(*command, env=bound)
    assert done.status == 1, done.output
    assert "was fetched and removed again, to make room: cache_size is too small" in done.output
    pinned = await run(*command, "--pin", env=bound)
    assert pinned.status == 0, pinned.output
    again = await run(*command, env=bound)
    assert "0 fetched, 3 stored before" in again.output


async def test_a_project_that_two_files_want_is_fetched_as_both_want_it(
    data: Path, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    """A lock names its dependencies itself; requirements do not. Hashes of each count."""
    demo, source = build_wheel("demo", "1.0", requires_dist=("six",)), build_sdist("demo", "1.0")
    upstream.add("demo", demo, source)
    lock, wanted, hashed = tmp_path / "Pipfile.lock", tmp_path / "requirements.txt", tmp_path / "hashed.txt"
    lock.write_text('{"default": {"demo": {"version": "==1.0"}}}')
    wanted.write_text("demo==1.0\n")
    hashed.write_text(f"demo==1.0 --hash=sha256:{source.sha256}\n")
    done = await prefetch(data, upstream, lock, wanted, hashed)
    assert done.status == 0, done.output
    assert "2 projects, 3 files" in done.output


async def test_into_a_cache_files_come_as_the_cache_gives_them(
    data: Path, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    """From the first upstream that has a project, and the others do not even get its name."""
    upstream.add("billing", build_wheel("billing", "99.0"))
    wanted = tmp_path / "requirements.txt"
    wanted.write_text("billing\nsix\n")
    async with ScriptedUpstream() as own:
        own.add("billing", build_wheel("billing", "1.4"))
        words = ("--cache", data, "--port", "0", "--upstream", own.url, "--upstream", upstream.url)
        server = await asyncio.create_subprocess_exec(
            executable("pkgindex-mirror"), "proxy", *words,
            env=clean_environment(), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        assert server.stdout is not None
        while b" at http://" not in (line := await server.stdout.readline()):
            assert line, "it did not start"
        server.terminate()
        await server.communicate()
        done = await prefetch(data, upstream, wanted)
        assert done.status == 0, done.output
        assert own.count("/files/billing-1.4-py3-none-any.whl") == 1
    assert upstream.count("/simple/billing/") == 0
    assert upstream.count("/files/billing-99.0-py3-none-any.whl") == 0
