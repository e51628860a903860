"""The mirror of the usual guide: its bandersnatch.conf, `python -m http.server`, and pip and uv that install from what a run left."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pkgindex_core.testing.wheels import build_sdist, build_wheel
from pkgindex_mirror.testing import ScriptedUpstream
from tests.clients.conftest import Installers
from tests.clients.running import Ran, run, served_files

pytestmark = [pytest.mark.clients, pytest.mark.timeout(240)]


def guide(place: Path, master: str) -> Path:
    """The configuration that the guide prints, for another upstream."""
    place.mkdir(exist_ok=True)
    path = place / "bandersnatch.conf"
    path.write_text(
        f"[mirror]\ndirectory = {place / 'pypi'}\nmaster = {master}\nallow-non-https = true\nworkers = 3\n"
        "hash-index = false\nstop-on-error = false\n"
        "[plugins]\nenabled =\n    allowlist_project\n[allowlist]\npackages =\n    requests\n    numpy\n    pandas\n"
    )
    return path


async def mirrored(configuration: Path) -> Ran:
    return await run(sys.executable, "-m", "pkgindex_mirror", "mirror", "--config", configuration)


async def test_what_the_guide_leaves_installs(installers: Installers, tmp_path: Path) -> None:
    async with ScriptedUpstream() as upstream:
        upstream.add("requests", build_wheel("requests", "2.0", requires_dist=["numpy>=1"]))
        upstream.add("numpy", build_wheel("numpy", "1.5"), build_sdist("numpy", "1.5"))
        upstream.add("pandas", build_wheel("pandas", "3.0"))
        upstream.add("others", build_wheel("others", "1.0"))
        upstream.serials |= {"requests": 5, "numpy": 6, "pandas": 7, "others": 8}
        ran = await mirrored(guide(tmp_path / "one", upstream.root.rstrip("/")))
        assert ran.status == 0, ran.output
    web = tmp_path / "one" / "pypi" / "web"
    assert sorted(path.name for path in (web / "simple").iterdir() if path.is_dir()) == ["numpy", "pandas", "requests"]
    async with served_files(web) as url:
        for client in installers.names:
            installed, there = await installers.install(client, f"{url}/simple/", "requests", "pandas")
            assert installed.status == 0, installed.output
            assert there == ["numpy-1.5", "pandas-3.0", "requests-2.0"]
        # What a mirror left can be mirrored in its turn.
        ran = await mirrored(guide(tmp_path / "two", url))
        assert ran.status == 0, ran.output
    names = {path.name for path in (tmp_path / "two" / "pypi" / "web" / "packages").rglob("*.whl")}
    assert names == {path.name for path in (web / "packages").rglob("*.whl")}
