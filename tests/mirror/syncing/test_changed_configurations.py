"""Mirrors whose configuration has changed since their last run, while the list of the upstream has not."""

from __future__ import annotations

from pathlib import Path

import pytest

from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.testing import ScriptedUpstream

from .mirror_commands import MirrorDirectory

CHANGES = {
    "directories by first letter": ("", "hash-index = true"),
    "one directory": ("hash-index = true", ""),
    "documents": ("", "json = true"),
    "no documents": ("json = true", ""),
    "files": ("release-files = false", ""),
    "metadata files": ("core-metadata = false", ""),
    "all formats": ("simple-format = HTML", ""),
    "HTML": ("", "simple-format = HTML"),
    "JSON": ("", "simple-format = JSON"),
    "absolute links": ("", "root_uri = https://files.example"),
    "another digest": ("", "digest_name = md5"),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_the_next_run_makes_the_tree_of_the_new_configuration(
    change: str, tmp_path: Path, upstream: ScriptedUpstream
):
    before, after = CHANGES[change]
    upstream.algorithms = ("sha256", "md5")
    for number, (name, version) in enumerate((("alpha", "1.0"), ("alpha", "2.0"), ("b", "1.0"))):
        upstream.add(name, build_wheel(name, version))
        upstream.serials[name] = 10 + number
        upstream.documents[name] = {"info": {"name": name}, "last_serial": 10 + number, "releases": {}}
    assert (await MirrorDirectory(tmp_path / "one", upstream, more=before).run("mirror")).status == 0
    mirror = MirrorDirectory(tmp_path / "one", upstream, more=after)
    ended = await mirror.run("mirror")
    assert ended.status == 0, ended.told
    fresh = MirrorDirectory(tmp_path / "two", upstream, more=after)
    assert (await fresh.run("mirror")).status == 0
    assert mirror.content() == fresh.content()
