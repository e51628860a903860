"""A mirror that is killed at any named step goes on with the next run, and then has the tree of one that was never killed.

Each step is tried in a first run, and in a run in which projects are new, changed, yanked, quarantined and deleted. Between the two runs, pages
lead to whole files only.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import Struct

from benchmarks import faults
from benchmarks.peers.registry import NginxRegistry, serving
from pkgindex_core.failpoints import POINTS
from tests.mirror.scenarios.mirror_programs import CLEAN, OwnMirror
from tests.mirror.scenarios.mirrored_trees import differences, lacks, problems

LARGE = 5_000_000
"""Bytes of a file that arrives in pieces and is not kept in memory."""
STEPS = sorted(point for point in POINTS if point.startswith(("sync.", "tree.")))


class Changed(Struct, frozen=True):
    """A registry after changes."""

    url: str
    before: Path
    """The tree of a mirror before the changes."""
    followed: Path
    """The tree of a mirror that was never killed, and followed the changes."""
    anew: Path
    """The tree of a mirror that began after them."""


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Changed]:
    base = tmp_path_factory.mktemp("killed")
    if missing := NginxRegistry(base).missing():
        pytest.skip(f"nginx: {missing}")
    with serving(base / "upstream") as server:
        registry = server.registry()
        registry.fill(12, 40)
        beta = registry.projects["beta-00001"]
        faults.show(registry, beta, files=(*beta.files, registry.add_file(beta, 8, noise=LARGE)))
        registry.write_list()
        assert OwnMirror().run(base / "before", server.url).status == CLEAN
        faults.release(registry, share=0.2)
        faults.yank(registry, "beta-00001", registry.projects["beta-00001"].files[0].filename, "wrong")
        faults.remove_file(registry, "gamma-00002", registry.projects["gamma-00002"].files[0].filename)
        faults.quarantine(registry, "delta-00003")
        faults.delete(registry, ["tau-00009"])
        shutil.copytree(base / "before", base / "followed")
        for tree in ("followed", "anew"):
            assert OwnMirror().run(base / tree, server.url).status == CLEAN
        assert lacks(base / "anew", registry) == []
        # The files of a project in quarantine stay.
        assert [line for line in differences(base / "followed", base / "anew") if "delta_00003" not in line] == []
        yield Changed(url=server.url, before=base / "before", followed=base / "followed", anew=base / "anew")


@pytest.mark.timeout(300)  # up to six runs of a command
@pytest.mark.parametrize("step", STEPS)
def test_a_killed_run_is_completed_by_the_next(changed: Changed, tmp_path: Path, step: str) -> None:
    deaths = 0
    for has_tree, hits in ((False, (4, 1)), (True, (1,))):
        for hit in hits:
            tree = tmp_path / f"tree-{hit}-{has_tree}"
            if has_tree:
                shutil.copytree(changed.before, tree, symlinks=True)
            killed = OwnMirror().run(tree, changed.url, failpoints=f"{step}=kill@{hit}")
            if killed.status == -signal.SIGKILL:
                break
            assert killed.status == CLEAN, killed.output  # it does not come to this step as often
        else:
            continue
        deaths += 1
        assert problems(tree) == []
        ended = OwnMirror().run(tree, changed.url)
        assert ended.status == CLEAN, ended.output
        assert differences(tree, changed.followed if has_tree else changed.anew) == []
    assert deaths, "no run came to this step"
