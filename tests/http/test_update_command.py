"""`pkgindex-serve update`: which newer versions are found, what is printed, and that what is unknown is told apart from what is old."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec import Struct

from pkgindex_core.testing.wheels import build_sdist, build_wheel
from pkgindex_http.pypiserver.updates import newest_kept, newest_version
from pkgindex_mirror.testing import behaviours
from pkgindex_mirror.testing.upstream import ScriptedUpstream


class Ran(Struct):
    status: int
    lines: list[str]
    talk: str


async def update(*words: str | Path, path: str = "") -> Ran:
    """Run the command; `path` is looked through for pip first."""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "pkgindex_http.cli", "update", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": f"{path}:{os.environ['PATH']}", "NO_PROXY": "*"},
    )
    return Ran(done.returncode, [line for line in done.stdout.splitlines() if line], done.stderr)


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    directory = tmp_path / "my packages"
    (directory / "sub").mkdir(parents=True)
    (directory / ".hidden").mkdir()
    for built, place in (
        (build_wheel("demo", "1.0"), "."),
        (build_wheel("demo", "1.9"), "sub"),
        (build_wheel("demo", "7.0"), ".hidden"),
        (build_sdist("Steady", "2.0"), "."),
        (build_wheel("private", "0.1"), "."),
        (build_wheel("early", "1.0"), "."),
    ):
        (directory / place / built.filename).write_bytes(built.data)
    (directory / "notes.txt").write_text("no package")
    return directory


@pytest.fixture
async def upstream() -> ScriptedUpstream:
    fake = ScriptedUpstream()
    fake.add("demo", *(build_wheel("demo", version) for version in ("1.10", "1.9", "1.0", "2.0rc1")))
    fake.add("demo", build_wheel("demo", "1.11"), yanked="broken")
    fake.add("steady", build_sdist("steady", "2.0.0"))
    fake.add("early", build_wheel("early", "2.0.dev1"))
    return fake


@pytest.mark.parametrize("url", ["pypi.org/simple", "file:///srv/simple", "http://[", "http:///simple"])
async def test_an_index_that_is_no_url_is_refused_before_anything_is_asked(shelf: Path, url: str) -> None:
    ran = await update("--index-url", url, shelf)
    assert ran.status == 2
    assert "https://pypi.org/simple" in ran.talk
    assert "Traceback" not in ran.talk
    assert "checking" not in ran.talk


async def test_the_password_of_an_index_is_not_told(shelf: Path, upstream: ScriptedUpstream) -> None:
    async with upstream:
        ran = await update("--index-url", upstream.url.replace("://", "://me:secret@"), shelf)
    assert "no releases found" in ran.talk
    assert "secret" not in ran.talk


async def test_the_lines_of_pip_are_printed(shelf: Path, upstream: ScriptedUpstream) -> None:
    async with upstream:
        ran = await update("--index-url", upstream.url, shelf)
    assert ran.lines == [
        "# update demo from 1.9 to 1.10",
        f"pip -q download --no-deps -i {upstream.url} -d '{shelf}/sub' demo==1.10",
    ]
    assert "checking 4 packages for newer version" in ran.talk
    assert f"no releases found at {upstream.url} for private" in ran.talk
    assert sorted(ran.talk.split("version\n")[1].split("\n")[0]) == sorted("u.e.")
    assert ran.status == 0


async def test_unstable_versions_are_looked_at_when_that_is_asked_for(shelf: Path, upstream: ScriptedUpstream) -> None:
    async with upstream:
        ran = await update("-u", "-d", "new", "--index-url", upstream.url, shelf)
    assert [line for line in ran.lines if line.startswith("#")] == [
        "# update demo from 1.9 to 2.0rc1",
        "# update early from 1.0 to 2.0.dev1",
    ]
    assert all("-d new " in line for line in ran.lines if line.startswith("pip"))


async def test_private_projects_are_asked_for_nowhere(shelf: Path, upstream: ScriptedUpstream, tmp_path: Path) -> None:
    ignored = tmp_path / "ignored"
    ignored.write_text("# ours\nPrivate  # and this\n\ndemo\n")
    async with upstream:
        ran = await update("--blacklist-file", ignored, "--index-url", upstream.url, shelf)
        assert {asked.path for asked in upstream.asked} == {"/simple/steady/", "/simple/early/"}
        assert ran.lines == []
        ignored.write_text("private==1.0\n")
        upstream.asked.clear()
        ran = await update("--ignorelist-file", ignored, "--index-url", upstream.url, shelf)
        assert ran.status == 1
        assert "'private==1.0' is no name of a project" in ran.talk
        assert not upstream.asked


async def test_an_upstream_that_fails_is_not_one_without_news(shelf: Path, upstream: ScriptedUpstream) -> None:
    async with upstream:
        upstream.script("page", behaviours.status(503))
        ran = await update("--index-url", upstream.url, shelf)
        assert ran.status == 1
        assert ran.lines == []
        assert "error: demo could not be asked for: 503" in ran.talk
        assert "no releases found" not in ran.talk
        upstream.behave()
        upstream.speaks = "html"
        ran = await update("--index-url", upstream.url, shelf)
        assert ran.status == 1
        assert "has no page in JSON" in ran.talk


async def test_the_commands_are_run(shelf: Path, upstream: ScriptedUpstream, tmp_path: Path) -> None:
    """By the pip of the search path. Here one that takes notes."""
    pip = tmp_path / "bin" / "pip"
    pip.parent.mkdir()
    pip.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > "{tmp_path}/told"\nexit 3\n')
    pip.chmod(0o755)
    async with upstream:
        ran = await update("-x", "--index-url", upstream.url, shelf, path=str(pip.parent))
    told = (tmp_path / "told").read_text().splitlines()
    assert told == ["-q", "download", "--no-deps", "-i", upstream.url, "-d", f"{shelf}/sub", "demo==1.10"]
    assert ran.status == 1, "pip failed"


async def test_pypiservers_old_flag_means_update(shelf: Path, upstream: ScriptedUpstream) -> None:
    async with upstream:
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "pkgindex_http.cli", "-U", "--index-url", upstream.url, str(shelf)],
            capture_output=True,
            text=True,
            check=False,
        )
    assert "demo==1.10" in done.stdout


def test_the_newest_file_of_each_project_is_found(shelf: Path) -> None:
    found = [(kept.project, kept.version, kept.path.parent.name) for kept in newest_kept([shelf])]
    assert found == [
        ("demo", "1.9", "sub"),
        ("early", "1.0", "my packages"),
        ("private", "0.1", "my packages"),
        ("steady", "2.0", "my packages"),
    ]


@pytest.mark.parametrize(
    ("versions", "unstable", "expected"),
    [
        ({"1.9": True, "1.10": True}, False, "1.10"),
        ({"1.9": True, "1.10": False}, False, "1.9"),
        ({"1.9": True, "2.0a1": True}, False, "1.9"),
        ({"1.9": True, "2.0a1": True}, True, "2.0a1"),
        ({"2.0a1": True}, False, None),
        ({}, True, None),
    ],
)
def test_the_newest_version_that_may_be_taken(versions: dict[str, bool], unstable: bool, expected: str | None) -> None:
    assert newest_version(versions, unstable=unstable) == expected
