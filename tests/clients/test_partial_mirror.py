"""A partial mirror from beginning to end: closed under dependencies for two Pythons, mirrored, installed from, and carried over an air gap.

The upstream is a fake with wheels of the test. Everything else is real: uv, pip, `http.server`, and the applier in one file.
"""

from __future__ import annotations

import random
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.testing.upstream import ScriptedUpstream
from tests.clients.conftest import Installers
from tests.clients.running import run, served_files
from tests.mirror.snapshots.mirrors import contents

pytestmark = [pytest.mark.clients, pytest.mark.timeout(420)]

HERE = (sys.version_info.major, sys.version_info.minor)
NEXT = (HERE[0], HERE[1] + 1)
"""The two Pythons of the mirror: the one that runs the tests, and the one after it."""


def dotted(python: tuple[int, int]) -> str:
    return f"{python[0]}.{python[1]}"


def tag(python: tuple[int, int]) -> str:
    digits = f"cp{python[0]}{python[1]}"
    return f"{digits}-{digits}-manylinux_2_17_x86_64.manylinux2014_x86_64"


@pytest.fixture
async def whole() -> AsyncIterator[ScriptedUpstream]:
    """An index of which the mirror is to have a part: five projects that need each other, and two that nobody wants."""
    heavy = random.Random(7).randbytes(200_000)
    async with ScriptedUpstream() as upstream:
        upstream.add(
            "app",
            build_wheel("app", "1.0", requires_dist=["base<2", f"backport; python_version < '{dotted(NEXT)}'"]),
            build_wheel(
                "app", "2.0", requires_dist=["base>=1.1,<2", "fast", f"backport; python_version < '{dotted(NEXT)}'"]
            ),
        )
        upstream.add(
            "base", *(build_wheel("base", version, requires_dist=["leaf"]) for version in ("1.0", "1.1", "2.0"))
        )
        upstream.add("leaf", build_wheel("leaf", "0.5"))
        upstream.add("backport", build_wheel("backport", "3.0"))
        for python in (HERE, NEXT, (HERE[0], HERE[1] + 2)):
            upstream.add("fast", build_wheel("fast", "1.0", tag=tag(python), files={"fast.bin": heavy}, stored=True))
        upstream.add("fast", build_wheel("fast", "1.0", tag="cp312-cp312-win_amd64"))
        upstream.add("stranger", build_wheel("stranger", "1.0"))
        upstream.add("other", build_wheel("other", "1.0", requires_dist=["app"]))
        yield upstream


async def pkgindex_mirror(*words: str | Path) -> str:
    ran = await run(sys.executable, "-m", "pkgindex_mirror", *words)
    assert ran.status == 0, ran.output
    return ran.output


class Partial:
    """The mirror on the near side, and the tree on the far side of the gap."""

    def __init__(self, place: Path, upstream: ScriptedUpstream) -> None:
        self.near, self.far, self._place, self._upstream = place / "near", place / "far", place, upstream
        self._configuration = place / "mirror.conf"
        self._configuration.write_text(
            f"[mirror]\ndirectory = {self.near}\nmaster = {upstream.root.rstrip('/')}\nallow-non-https = true\n"
            f"removed = delete\nclosure = {place / 'closure.json'}\n"
        )

    async def close_and_mirror(self) -> None:
        pythons = ("--python", dotted(HERE), "--python", dotted(NEXT), "--platform", "linux")
        await pkgindex_mirror(
            "close", "app", *pythons, "--upstream", self._upstream.url, "--data", self._place / "data",
            "-o", self._place / "closure.json",
        )  # fmt: skip
        await pkgindex_mirror("mirror", "-c", self._configuration)

    def wheels(self) -> set[str]:
        return {path.name for path in self.near.rglob("*.whl")}

    async def prepare(self) -> None:
        await pkgindex_mirror("bundle", "keygen", self._place / "key")
        await pkgindex_mirror("bundle", "applier", "-o", self._place / "apply.py")

    async def carry(self) -> int:
        """Bring the far side up to date by one bundle; return its bytes."""
        gap = self._place / "gap"
        gap.mkdir()
        await pkgindex_mirror("snapshot", "create", "--root", self.near)
        await pkgindex_mirror("bundle", "create", "--root", self.near, "--out", gap, "--key", self._place / "key")
        size = sum(part.stat().st_size for part in gap.iterdir())
        applied = await run(
            sys.executable, "-I", "-S", self._place / "apply.py", "apply", "--root", self.far,
            "--key", self._place / "key.pub", gap,
        )  # fmt: skip
        assert applied.status == 0, applied.output
        for part in gap.iterdir():
            part.unlink()
        gap.rmdir()
        assert contents(self.far / "web") == contents(self.near / "web")
        return size


async def installs(installers: Installers, tree: Path, app: str, base: str) -> None:
    """Install with a tree as the only index, for both Pythons."""
    async with served_files(tree / "web") as url:
        simple = f"{url}/simple/"
        for client in installers.names:
            ran, found = await installers.install(client, simple, "app")
            assert found == [f"app-{app}", "backport-3.0", f"base-{base}", "fast-1.0", "leaf-0.5"], ran.output
        # pip evaluates markers for the Python that runs it; uv does for the one that is asked for.
        words = (
            "--python-version",
            dotted(NEXT),
            "--python-platform",
            "x86_64-manylinux_2_28",
            "--only-binary",
            ":all:",
        )
        ran, found = await installers.install("uv", simple, *words, "app")
        assert found == [f"app-{app}", f"base-{base}", "fast-1.0", "leaf-0.5"], ran.output
        ran, found = await installers.install("uv", simple, "stranger")
        assert (ran.status != 0, found) == (True, [])


async def test_closed_mirrored_installed_and_carried_over(
    whole: ScriptedUpstream, installers: Installers, tmp_path: Path
) -> None:
    mirror = Partial(tmp_path, whole)
    await mirror.close_and_mirror()
    fast = {f"fast-1.0-{tag(python)}.whl" for python in (HERE, NEXT)}
    plain = {"app-1.0", "app-2.0", "base-1.0", "base-1.1", "leaf-0.5", "backport-3.0"}
    assert mirror.wheels() == fast | {f"{each}-py3-none-any.whl" for each in plain}
    await installs(installers, mirror.near, "2.0", "1.1")

    await mirror.prepare()
    first = await mirror.carry()
    await installs(installers, mirror.far, "2.0", "1.1")

    requires = ["base>=1.2,<2", "fast", f"backport; python_version < '{dotted(NEXT)}'"]
    whole.add("app", build_wheel("app", "2.1", requires_dist=requires))
    whole.add("base", build_wheel("base", "1.2", requires_dist=["leaf"]))
    await mirror.close_and_mirror()
    assert await mirror.carry() < first / 10
    await installs(installers, mirror.far, "2.1", "1.2")
