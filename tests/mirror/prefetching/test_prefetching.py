"""The command over a scripted upstream: what an installer will ask for is stored, and what is told is true."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pkgindex_core.testing.wheels import build_sdist, build_wheel
from pkgindex_mirror.cli import main
from pkgindex_mirror.testing import ScriptedUpstream, behaviours

Prefetch = Callable[..., Awaitable[Result]]


@pytest.fixture
def prefetch(upstream: ScriptedUpstream, tmp_path: Path) -> Prefetch:
    environ = {
        **dict.fromkeys(each for each in os.environ if each.startswith("PKGINDEX_")),
        "PKGINDEX_UPSTREAM": upstream.url,
    }

    async def run(*words: str | Path) -> Result:
        command = ["prefetch", "--data", str(tmp_path / "data"), *map(str, words)]
        return await asyncio.to_thread(CliRunner().invoke, main, command, env=environ)

    return run


async def test_constraints_hold_for_dependencies(
    upstream: ScriptedUpstream, prefetch: Prefetch, tmp_path: Path
) -> None:
    upstream.add("demo", build_wheel("demo", "1.0", requires_dist=("six", "idna")))
    upstream.add("six", build_wheel("six", "1.0"), build_wheel("six", "2.0"))
    upstream.add("idna", build_wheel("idna", "1.0"), build_wheel("idna", "2.0"))
    wanted = tmp_path / "requirements.txt"
    wanted.write_text("-c limits.txt\ndemo\n")
    (tmp_path / "limits.txt").write_text(
        "six<2\nidna<2; python_version > '3'\nidna>=2; python_version < '3'\nunused==1\n"
    )
    done = await prefetch(wanted)
    assert done.exit_code == 0, done.output
    assert upstream.count("/files/six-1.0-py3-none-any.whl") == 1
    assert upstream.count("/files/idna-1.0-py3-none-any.whl") == 1
    assert "3 projects, 3 files" in done.output


async def test_files_that_failed_are_not_counted_as_stored(
    upstream: ScriptedUpstream, prefetch: Prefetch, tmp_path: Path
) -> None:
    upstream.add("demo", build_wheel("demo", "1.0"))
    upstream.add("six", build_wheel("six", "1.0"))
    upstream.script("/files/demo-1.0-py3-none-any.whl", behaviours.status(404))
    wanted = tmp_path / "requirements.txt"
    wanted.write_text("demo\nsix\n")
    done = await prefetch(wanted)
    assert done.exit_code == 1
    assert "1 projects, 1 files" in done.output
    assert "1 fetched, 0 stored before" in done.output


async def test_a_source_distribution_may_need_more_than_what_is_fetched(
    upstream: ScriptedUpstream, prefetch: Prefetch, tmp_path: Path
) -> None:
    source = build_sdist("demo", "1.0")
    upstream.add("demo", source)
    upstream.add("six", build_wheel("six", "1.0"), build_sdist("six", "1.0"))
    wanted, hashed = tmp_path / "requirements.txt", tmp_path / "hashed.txt"
    wanted.write_text("demo\nsix\n")
    hashed.write_text(f"demo==1.0 --hash=sha256:{source.sha256}\n")
    for words, what in (
        ((wanted,), "its dependencies and what builds it are not fetched"),
        ((wanted, "--all-files"), "its dependencies and what builds it are not fetched"),
        ((hashed,), "what builds it is not fetched"),
    ):
        done = await prefetch(*words)
        assert done.exit_code == 0, done.output
        assert done.output.count("is a source distribution") == 1
        assert f"demo-1.0.tar.gz is a source distribution: {what}" in done.output


async def test_the_directory_of_a_cache_does_not_become_that_of_a_server(
    upstream: ScriptedUpstream, prefetch: Prefetch, tmp_path: Path
) -> None:
    """`prefetch` before the first start of `proxy`, which refuses a directory with other indexes."""
    upstream.add("demo", build_wheel("demo", "1.0"))
    wanted = tmp_path / "requirements.txt"
    wanted.write_text("demo\n")
    home = tmp_path / "pkgindex" / "proxy"
    for _ in range(2):
        done = await prefetch(wanted, "--data", home)
        assert done.exit_code == 1, done.output
        assert f"error: {home} is no cache yet" in done.output
        assert "hint: start `pkgindex-mirror proxy` once before" in done.output
    assert upstream.asked == []
    server = await prefetch(wanted, "--data", tmp_path / "server")
    assert server.exit_code == 0, server.output
