"""The commands of a mirror on an index, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.testing import ScriptedUpstream

from .index_commands import MirrorIndex
from .places import INDEX


def serve(upstream: ScriptedUpstream) -> None:
    for number, name in enumerate(("alpha", "beta")):
        upstream.add(name, build_wheel(name, "1.0"), build_wheel(name, "2.0"))
        upstream.serials[name] = 10 + number


async def test_a_run_with_all_that_tells_of_it(tmp_path: Path, upstream: ScriptedUpstream):
    serve(upstream)
    mirror = MirrorIndex(tmp_path, upstream, more="file-policies =\n  bet* on-demand")
    for words in (("plan",), ("explain", "beta"), ("prune",)):
        refused = await mirror.run(*words)
        assert (refused.status, "there is no store" in refused.told) == (2, True)
        assert not mirror.data.directory.exists()
    ran = await mirror.run("mirror", "--json")
    assert ran.status == 0, ran.told
    assert json.loads(ran.out)["published"] == 2
    assert len(await mirror.files()) == 2
    plan = await mirror.run("plan", "--json")
    assert (plan.status, json.loads(plan.out)["fetch"]["files"]) == (0, 0)
    told = await mirror.run("explain", "beta")
    assert "on demand beta-1.0-py3-none-any.whl" in told.out
    assert "mirrored  alpha-1.0-py3-none-any.whl" in (await mirror.run("explain", "alpha")).out
    ended = await mirror.status()
    assert "mirror, " in ended.out


async def test_named_projects_and_pruning(tmp_path: Path, upstream: ScriptedUpstream):
    serve(upstream)
    mirror = MirrorIndex(tmp_path, upstream)
    assert (await mirror.run("sync", "alpha")).status == 0
    assert [*await mirror.data.shown()] == ["alpha"]
    assert (await mirror.run("mirror")).status == 0
    mirror.configuration.write_text(
        mirror.configuration.read_text()
        + "[plugins]\nenabled =\n  allowlist_project\n[allowlist]\npackages =\n  beta\n"
    )
    upstream.asked.clear()
    pruned = await mirror.run("prune", "--json")
    assert (pruned.status, json.loads(pruned.out)["files"]) == (0, 2)
    assert [*await mirror.data.shown()] == ["beta"]
    assert len(await mirror.files()) == 2
    assert upstream.asked == []


async def test_a_tree_needs_a_directory_and_has_its_files(tmp_path: Path, upstream: ScriptedUpstream):
    mirror = MirrorIndex(tmp_path, upstream)
    without = await mirror.plain("mirror")
    assert (without.status, "there is no directory" in without.told) == (2, True)
    mirror.configuration.write_text(
        mirror.configuration.read_text() + f"directory = {tmp_path}/tree\nfile-policies =\n  bet* on-demand\n"
    )
    refused = await mirror.plain("mirror")
    assert (refused.status, "file-policies" in refused.told) == (1, True)


async def test_a_wrong_policy_is_an_error_of_the_configuration(tmp_path: Path, upstream: ScriptedUpstream):
    mirror = MirrorIndex(tmp_path, upstream, more="file-policies =\n  bet* later")
    refused = await mirror.run("mirror")
    assert (refused.status, "no pattern with one of the policies" in refused.told) == (2, True)


async def test_another_index_is_refused(tmp_path: Path, upstream: ScriptedUpstream):
    serve(upstream)
    mirror = MirrorIndex(tmp_path, upstream)
    await mirror.run("mirror")
    other = ("mirror", "--index", "root/dev", "--data", str(mirror.data.directory))
    refused = await mirror.plain(*other)
    assert (refused.status, "of type stage" in refused.told) == (1, True)
    assert INDEX not in refused.told
