"""Runs of a mirror: what they fetch, what they leave, and what they say."""

from __future__ import annotations

import pytest
from msgspec import structs

from pkgindex_core.errors import Conflict
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.commands.report_lines import report_lines
from pkgindex_mirror.syncing.progress import Progress
from pkgindex_mirror.syncing.pruning import Pruning
from pkgindex_mirror.syncing.values import Refusal, UpstreamProject
from pkgindex_mirror.testing import ScriptedUpstream, behaviours

from .conftest import Mirroring, NamedChosen

DAY = 86_400.0


def served(mirroring: Mirroring) -> None:
    mirroring.serve("alpha", "1.0", "1.1", serial=10)
    mirroring.serve("beta", "2.0", serial=12)
    mirroring.serve("gamma", "3.0", serial=11)


async def test_a_first_run_brings_everything(mirroring: Mirroring):
    served(mirroring)
    report = await mirroring.run()
    assert (report.ending, report.exit_status, report.new, report.published) == ("clean", 0, 3, 3)
    assert mirroring.target.pages["alpha"] == ["alpha-1.0-py3-none-any.whl", "alpha-1.1-py3-none-any.whl"]
    assert len(mirroring.target.files) == 8  # each wheel with its metadata
    assert mirroring.target.known["serial"] == "12"
    assert mirroring.target.listed == ["alpha", "beta", "gamma"]


async def test_nothing_new_is_one_request(mirroring: Mirroring, upstream: ScriptedUpstream):
    served(mirroring)
    await mirroring.run()
    upstream.asked.clear()
    report = await mirroring.run()
    assert [asked.path for asked in upstream.asked] == ["/simple/"]
    assert report.list_unchanged
    assert report.ending == "clean"


async def test_a_change_is_asked_for_alone(mirroring: Mirroring, upstream: ScriptedUpstream):
    served(mirroring)
    await mirroring.run()
    upstream.asked.clear()
    mirroring.serve("beta", "2.1", serial=13)
    report = await mirroring.run()
    paths = sorted(asked.path for asked in upstream.asked)
    wheel = "/files/beta-2.1-py3-none-any.whl"
    assert paths == [wheel, f"{wheel}.metadata", "/simple/", "/simple/beta/"]
    assert (report.changed, report.published) == (1, 1)
    assert mirroring.target.known["serial"] == "13"


async def test_an_upstream_without_serials_is_asked_for_each_page_by_its_validator(
    mirroring: Mirroring, upstream: ScriptedUpstream
):
    mirroring.serve("alpha", "1.0")
    mirroring.serve("beta", "1.0")
    assert (await mirroring.run()).published == 2
    upstream.asked.clear()
    mirroring.serve("beta", "1.1")
    report = await mirroring.run()
    assert (report.current, report.published) == (1, 1)
    assert all("If-None-Match" in asked.headers for asked in upstream.asked if asked.place == "page")


async def test_an_html_upstream_is_mirrored(mirroring: Mirroring, upstream: ScriptedUpstream):
    upstream.speaks = "html"
    mirroring.serve("alpha", "1.0")
    assert (await mirroring.run()).published == 1
    assert mirroring.target.pages == {"alpha": ["alpha-1.0-py3-none-any.whl"]}


async def test_a_poison_project_holds_nobody_back(mirroring: Mirroring, upstream: ScriptedUpstream):
    served(mirroring)
    upstream.script("/simple/alpha/", behaviours.status(500))
    report = await mirroring.run()
    assert (report.ending, report.exit_status, report.published) == ("partial", 3, 2)
    assert [failure.project for failure in report.failures] == ["alpha"]
    # bandersnatch, going on from here, would ask for it again.
    assert mirroring.target.known["serial"] == "9"
    # It rests, and news of others come all the same.
    upstream.asked.clear()
    mirroring.serve("delta", "1.0", serial=20)
    report = await mirroring.run()
    assert upstream.count("/simple/alpha/") == 0
    assert (report.resting, report.published, report.exit_status) == (1, 1, 3)
    # A run without news tells of it too: the mirror is not complete.
    report = await mirroring.run()
    assert (report.list_unchanged, report.resting, report.exit_status) == (True, 1, 3)
    told = [*report_lines(report)]
    assert [line for line in told if line.startswith("resting: alpha: ") and "500" in line]
    assert [line for line in told if line.startswith("error: 1 projects failed before")]
    # Its time comes although the list is the same.
    upstream.behave()
    mirroring.clock.advance(DAY)
    report = await mirroring.run()
    assert (report.due_again, report.published, mirroring.target.known["serial"]) == (1, 1, "20")
    assert ((await mirroring.run()).list_unchanged, report.exit_status) == (True, 0)


async def test_a_project_that_sync_mended_is_not_incomplete_any_more(mirroring: Mirroring, upstream: ScriptedUpstream):
    served(mirroring)
    upstream.script("/simple/alpha/", behaviours.status(500))
    await mirroring.run()
    assert (await mirroring.run()).exit_status == 3
    upstream.behave()
    assert (await mirroring.sync("alpha")).exit_status == 0
    report = await mirroring.run()
    assert (report.list_unchanged, report.resting, report.exit_status) == (True, 0, 0)


async def test_a_project_that_sync_could_not_bring_leaves_the_mirror_incomplete(
    mirroring: Mirroring, upstream: ScriptedUpstream
):
    served(mirroring)
    assert (await mirroring.run()).exit_status == 0
    upstream.script("/simple/alpha/", behaviours.status(500))
    assert (await mirroring.sync("alpha")).exit_status == 3
    upstream.behave()
    report = await mirroring.run()
    assert (report.list_unchanged, report.resting, report.exit_status) == (True, 1, 3)


async def test_a_project_without_a_page_is_no_failure_in_any_run(mirroring: Mirroring, upstream: ScriptedUpstream):
    served(mirroring)
    upstream.script("/simple/alpha/", behaviours.status(404))
    report = await mirroring.run()
    assert (report.absent.names, report.exit_status) == (["alpha"], 0)
    mirroring.serve("delta", "1.0", serial=20)
    for is_unchanged in (False, True):
        report = await mirroring.run()
        assert (report.list_unchanged, report.resting, report.exit_status) == (is_unchanged, 0, 0)


async def test_a_project_that_is_not_wanted_any_more_is_not_missed(mirroring: Mirroring, upstream: ScriptedUpstream):
    served(mirroring)
    upstream.script("/simple/alpha/", behaviours.status(500))
    assert (await mirroring.run()).exit_status == 3
    others = NamedChosen(only=("beta", "gamma"))
    for is_unchanged in (False, True):
        report = await mirroring.run(others)
        assert (report.list_unchanged, report.exit_status) == (is_unchanged, 0)


async def test_a_file_with_wrong_bytes_is_left_out_and_told(mirroring: Mirroring, upstream: ScriptedUpstream):
    served(mirroring)
    wheel = "alpha-1.1-py3-none-any.whl"
    upstream.script(f"/files/{wheel}", behaviours.with_body(lambda body: body[::-1]))
    report = await mirroring.run()
    assert report.exit_status == 3
    assert wheel in report.failures[0].reason
    assert mirroring.target.pages["alpha"] == ["alpha-1.0-py3-none-any.whl"]
    assert wheel not in mirroring.target.files
    upstream.behave()
    mirroring.clock.advance(DAY)
    await mirroring.run()
    assert mirroring.target.pages["alpha"] == ["alpha-1.0-py3-none-any.whl", wheel]


async def test_a_transfer_that_breaks_off_is_resumed(mirroring: Mirroring, upstream: ScriptedUpstream):
    wheel = build_wheel("big", "1.0", description="word " * 300_000, stored=True)
    upstream.add("big", wheel)
    upstream.script(f"/files/{wheel.filename}", behaviours.truncated(0.6), times=1)
    assert (await mirroring.run()).ending == "clean"
    ranges = [asked.headers.get("Range") for asked in upstream.asked if asked.path.endswith(".whl")]
    assert ranges[0] is None
    assert str(ranges[-1]).startswith("bytes=")
    assert mirroring.target.files[wheel.filename] == wheel.data


async def test_a_stale_page_is_asked_for_again_past_caches(mirroring: Mirroring, upstream: ScriptedUpstream):
    served(mirroring)
    upstream.script("/simple/alpha/", behaviours.with_headers(X_PyPI_Last_Serial="3"), times=2)
    report = await mirroring.run()
    assert (report.ending, report.published) == ("clean", 3)
    asked = [each.headers.get("Cache-Control") for each in upstream.asked if each.path == "/simple/alpha/"]
    assert asked == [None, "no-cache", "no-cache"]


async def test_a_page_that_stays_stale_is_told(mirroring: Mirroring, upstream: ScriptedUpstream):
    served(mirroring)
    upstream.script("/simple/alpha/", behaviours.with_headers(X_PyPI_Last_Serial="3"))
    report = await mirroring.run()
    assert (report.ending, report.published) == ("partial", 2)
    assert "serial 3" in report.failures[0].reason


async def test_an_upstream_that_is_down_changes_nothing(mirroring: Mirroring, upstream: ScriptedUpstream):
    served(mirroring)
    await mirroring.run()
    before = dict(mirroring.target.pages)
    upstream.script("names", behaviours.status(503))
    mirroring.clock.advance(DAY)
    report = await mirroring.run(force=True)
    assert (report.ending, report.exit_status) == ("upstream-down", 4)
    assert mirroring.target.pages == before


async def test_a_list_that_was_cut_off_changes_nothing(mirroring: Mirroring, upstream: ScriptedUpstream):
    served(mirroring)
    await mirroring.run()
    del upstream.projects["beta"]
    upstream.script("names", behaviours.with_body(lambda body: body[:-20]))
    report = await mirroring.run()
    assert report.exit_status == 4
    assert "beta" in mirroring.target.pages


async def test_other_filters_choose_again_without_the_network(mirroring: Mirroring, upstream: ScriptedUpstream):
    served(mirroring)
    await mirroring.run()
    upstream.asked.clear()
    report = await mirroring.run(NamedChosen(without="1.1-py3-none-any.whl"))
    assert [asked.path for asked in upstream.asked] == ["/simple/"]
    assert report.due_again == 3
    assert mirroring.target.pages["alpha"] == ["alpha-1.0-py3-none-any.whl"]


async def test_a_grown_allowlist_brings_older_projects(mirroring: Mirroring):
    served(mirroring)
    await mirroring.run(NamedChosen(only=("beta",)))
    assert [*mirroring.target.pages] == ["beta"]
    report = await mirroring.run(NamedChosen(only=("alpha", "beta")))
    assert (report.new, [*mirroring.target.pages]) == (1, ["beta", "alpha"])


async def test_a_project_that_is_no_longer_chosen_stays_and_is_told(mirroring: Mirroring):
    served(mirroring)
    await mirroring.run()
    report = await mirroring.run(NamedChosen(only=("beta",)))
    assert report.unchosen.names == ["alpha", "gamma"]
    assert len(mirroring.target.pages) == 3


async def test_a_refused_project_is_not_asked_for_again(mirroring: Mirroring, upstream: ScriptedUpstream):
    mirroring.serve("large-one", "1.0", serial=5)
    mirroring.serve("other", "1.0", serial=6)
    report = await mirroring.run()
    assert (report.refused, [*mirroring.target.pages]) == (1, ["other"])
    upstream.asked.clear()
    mirroring.serve("other", "1.1", serial=7)
    await mirroring.run()
    assert upstream.count("/simple/large-one/") == 0


async def test_an_empty_page_of_another_project_removes_no_files(mirroring: Mirroring, upstream: ScriptedUpstream):
    served(mirroring)
    await mirroring.run()
    upstream.serials["alpha"] = 20
    upstream.page_says["alpha"] = {"name": "other", "files": []}
    report = await mirroring.run()
    assert report.failures[0].reason == "the page calls itself 'other', and has no files"
    assert len(mirroring.target.pages["alpha"]) == 2


class StrictChosen(NamedChosen):
    """Refuses every project."""

    @property
    def fingerprint(self) -> str:
        return "strict"

    def project(self, project: UpstreamProject) -> Refusal | None:
        return Refusal("strict", "nothing is good enough")


@pytest.mark.parametrize("is_pruned", [False, True])
async def test_a_change_that_was_refused_is_fetched_when_the_filters_let_it_in(
    mirroring: Mirroring, *, is_pruned: bool
):
    mirroring.serve("alpha", "1.0", serial=5)
    await mirroring.run()
    mirroring.serve("alpha", "1.1", serial=6)
    assert (await mirroring.run(StrictChosen())).refused == 1
    if is_pruned:
        async with mirroring.target.turn():
            await Pruning(mirroring.target, NamedChosen(), Progress(mirroring.clock), dry_run=False).run()
    await mirroring.run()
    assert mirroring.target.pages["alpha"] == ["alpha-1.0-py3-none-any.whl", "alpha-1.1-py3-none-any.whl"]


async def test_a_file_with_the_name_of_metadata_is_left_out_and_told(mirroring: Mirroring, upstream: ScriptedUpstream):
    mirroring.serve("alpha", "1.0", serial=5)
    other = structs.replace(build_wheel("alpha", "1.1"), filename="alpha-1.1.tar.gz.metadata")
    upstream.add("alpha", other)
    upstream.script("/files/alpha-1.1.tar.gz.metadata", behaviours.status(404))
    report = await mirroring.run()
    assert report.failures[0].reason == "1 of its files: alpha-1.1.tar.gz.metadata: the upstream answered 404"
    assert mirroring.target.pages["alpha"] == ["alpha-1.0-py3-none-any.whl"]


async def test_documents_are_fetched_if_a_filter_reads_them(mirroring: Mirroring, upstream: ScriptedUpstream):
    mirroring.serve("alpha", "1.0", serial=5)
    upstream.documents["alpha"] = {"info": {"name": "alpha"}}
    await mirroring.run()
    assert upstream.count("document") == 0
    chosen = NamedChosen(needs_document=True)
    await mirroring.run(chosen, force=True)
    assert chosen.seen == [b'{"info": {"name": "alpha"}}']


async def test_a_filter_without_its_document_fails_its_project(mirroring: Mirroring):
    mirroring.serve("alpha", "1.0", serial=5)
    report = await mirroring.run(NamedChosen(needs_document=True))
    assert "JSON document" in report.failures[0].reason


@pytest.mark.parametrize("body", [b"<html>log in</html>", b"[]", b'{"info": null}', b'{"info": ' + b"[" * 100_000])
async def test_what_is_no_document_is_not_stored(mirroring: Mirroring, upstream: ScriptedUpstream, body: bytes):
    mirroring.serve("alpha", "1.0", serial=5)
    upstream.script("document", behaviours.says("application/json", body))
    report = await mirroring.run(with_documents=True)
    assert report.failures[0].reason == "its JSON document cannot be read"
    assert not mirroring.target.pages


class FaultyChosen(NamedChosen):
    """Fails at one project in a way that nobody foresaw."""

    def project(self, project: UpstreamProject) -> Refusal | None:
        return None if project.name != "alpha" else {}["fault"]


async def test_a_fault_of_a_filter_holds_no_other_project_back(mirroring: Mirroring):
    served(mirroring)
    report = await mirroring.run(FaultyChosen())
    assert (report.published, report.failures[0].reason) == (2, "KeyError: see the log")


async def test_stop_on_error_ends_the_run(mirroring: Mirroring, upstream: ScriptedUpstream):
    served(mirroring)
    upstream.script("page", behaviours.status(500))
    report = await mirroring.run(stop_on_error=True, projects_at_once=1)
    assert (report.ending, report.failed) == ("stopped", 1)
    assert "list-etag" not in mirroring.target.known or not mirroring.target.known["list-etag"]


async def test_sync_brings_named_projects(mirroring: Mirroring):
    served(mirroring)
    report = await mirroring.sync("beta", "nonsense")
    assert [*mirroring.target.pages] == ["beta"]
    assert report.absent.names == ["nonsense"]
    assert "serial" not in mirroring.target.known


async def test_sync_tells_of_a_project_that_is_nowhere(mirroring: Mirroring):
    served(mirroring)
    report = await mirroring.sync("alpha", "gone")
    assert (report.exit_status, report.absent.names) == (3, ["gone"])
    assert (report.published, report.message) == (1, "the upstream has no page of gone")


async def test_a_project_that_failed_in_a_sync_is_tried_again_although_the_list_is_the_same(
    mirroring: Mirroring, upstream: ScriptedUpstream
):
    served(mirroring)
    await mirroring.run()
    upstream.script("/simple/alpha/", behaviours.status(500))
    assert (await mirroring.sync("alpha")).failed == 1
    upstream.behave()
    mirroring.clock.advance(2 * DAY)
    report = await mirroring.run()
    assert (report.list_unchanged, report.published) == (False, 1)
    assert not mirroring.target.rows["alpha"].error


async def test_two_runs_do_not_meet(mirroring: Mirroring):
    async with mirroring.target.turn():
        with pytest.raises(Conflict, match="another run"):
            await mirroring.run()
