"""What becomes of projects that leave the list of the upstream."""

from __future__ import annotations

import pytest

from pkgindex_mirror.testing import ScriptedUpstream

from .conftest import Mirroring

DAY = 86_400.0


@pytest.fixture(autouse=True)
async def _mirrored(mirroring: Mirroring) -> None:
    for number, name in enumerate(("alpha", "beta", "gamma")):
        mirroring.serve(name, "1.0", serial=10 + number)
    await mirroring.run()


async def test_a_removed_project_is_removed(mirroring: Mirroring, upstream: ScriptedUpstream):
    del upstream.projects["beta"]
    report = await mirroring.run()
    assert report.removed.names == ["beta"]
    assert sorted(mirroring.target.rows) == ["alpha", "gamma"]
    assert not [
        name for name in mirroring.target.files if name.startswith("beta-1.0-py3-none-any.whl") and "meta" not in name
    ]
    assert mirroring.target.listed == ["alpha", "gamma"]


async def test_grace_is_given(mirroring: Mirroring, upstream: ScriptedUpstream):
    del upstream.projects["beta"]
    report = await mirroring.run(grace=DAY)
    assert (report.gone.names, report.removed.count) == (["beta"], 0)
    assert "beta" in mirroring.target.pages
    assert (await mirroring.run(grace=DAY)).list_unchanged
    mirroring.clock.advance(DAY)
    assert (await mirroring.run(grace=DAY)).removed.names == ["beta"]


async def test_keep_keeps_and_tells(mirroring: Mirroring, upstream: ScriptedUpstream):
    del upstream.projects["beta"]
    report = await mirroring.run(removed="keep")
    assert report.gone.names == ["beta"]
    assert "beta" in mirroring.target.pages


async def test_another_policy_counts_although_the_list_is_the_same(mirroring: Mirroring, upstream: ScriptedUpstream):
    del upstream.projects["beta"]
    assert (await mirroring.run(removed="keep")).gone.names == ["beta"]
    assert (await mirroring.run(removed="keep")).list_unchanged
    assert (await mirroring.run(removed="delete")).removed.names == ["beta"]


async def test_hide_takes_the_page_and_leaves_the_files(mirroring: Mirroring, upstream: ScriptedUpstream):
    hosted = upstream.projects.pop("beta")
    report = await mirroring.run(removed="hide")
    assert report.hidden.names == ["beta"]
    assert "beta" not in mirroring.target.pages
    assert "beta-1.0-py3-none-any.whl" in mirroring.target.files
    # It comes back without a file being fetched.
    upstream.projects["beta"] = hosted
    upstream.asked.clear()
    assert (await mirroring.run(removed="hide")).published == 1
    assert mirroring.target.pages["beta"] == ["beta-1.0-py3-none-any.whl"]
    assert upstream.count("file") == 0


async def test_a_quarantined_project_is_hidden_at_once(mirroring: Mirroring, upstream: ScriptedUpstream):
    upstream.listed = lambda: ["alpha", "gamma"]
    upstream.page_says["beta"] = {"project-status": {"status": "quarantined"}, "files": []}
    report = await mirroring.run(removed="keep")
    assert report.hidden.names == ["beta"]
    assert "beta-1.0-py3-none-any.whl" in mirroring.target.files
    # The quarantine is lifted.
    del upstream.page_says["beta"]
    upstream.listed = lambda: [*upstream.projects]
    await mirroring.run(removed="keep")
    assert "beta" in mirroring.target.pages


async def test_a_quarantined_project_that_is_listed_is_hidden_too(mirroring: Mirroring, upstream: ScriptedUpstream):
    upstream.page_says["beta"] = {"project-status": {"status": "quarantined"}, "files": []}
    upstream.serials["beta"] = 30
    report = await mirroring.run()
    assert report.hidden.names == ["beta"]
    assert "beta-1.0-py3-none-any.whl" in mirroring.target.files


async def test_a_project_whose_page_is_still_there_stays(mirroring: Mirroring, upstream: ScriptedUpstream):
    upstream.listed = lambda: ["alpha", "gamma"]
    report = await mirroring.run()
    assert report.removed.count == 0
    assert "beta" in mirroring.target.pages


async def test_a_list_that_shrank_removes_nothing(mirroring: Mirroring, upstream: ScriptedUpstream):
    upstream.projects.pop("beta")
    upstream.projects.pop("gamma")
    report = await mirroring.run(shrink_count=1)
    assert "lacks 2 of 3" in report.message
    assert (report.ending, report.removed.count) == ("partial", 0)
    # It is looked at again, and an operator may permit it.
    assert (await mirroring.run(shrink_percent=100.0)).removed.count == 2


async def test_an_empty_list_is_no_list(mirroring: Mirroring, upstream: ScriptedUpstream):
    upstream.projects.clear()
    report = await mirroring.run()
    assert (report.exit_status, len(mirroring.target.pages)) == (4, 3)


async def test_a_yank_is_followed(mirroring: Mirroring, upstream: ScriptedUpstream):
    upstream.projects["beta"][0].says["yanked"] = "it is broken"
    upstream.serials["beta"] = 40
    await mirroring.run()
    (file,) = mirroring.target.projects["beta"].files  # type: ignore[index]  # it is normal
    assert file.yanked == "it is broken"


async def test_a_removed_file_leaves(mirroring: Mirroring, upstream: ScriptedUpstream):
    upstream.projects["beta"].clear()
    upstream.serials["beta"] = 41
    await mirroring.run()
    assert mirroring.target.pages["beta"] == []
    assert "beta-1.0-py3-none-any.whl" not in mirroring.target.files
