"""The commands that run a mirror, in processes of their own, with a bandersnatch.conf."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.testing import ScriptedUpstream, behaviours

from .mirror_commands import MirrorDirectory


@pytest.fixture
def mirror(tmp_path: Path, upstream: ScriptedUpstream) -> MirrorDirectory:
    for number, (name, version) in enumerate(
        (("alpha", "1.0"), ("alpha", "2.0rc1"), ("beta", "1.0"), ("gamma", "1.0"))
    ):
        upstream.add(name, build_wheel(name, version))
        upstream.serials[name] = 10 + number
    return MirrorDirectory(
        tmp_path,
        upstream,
        plugins="[plugins]\nenabled =\n    allowlist_project\n    prerelease_release\n"
        "[allowlist]\npackages =\n    alpha\n    beta\n",
    )


async def test_a_mirror_is_planned_made_explained_and_told(mirror: MirrorDirectory, upstream: ScriptedUpstream):
    mirror.tree.mkdir()
    planned = await mirror.run("plan", "--json", before=True)
    plan = json.loads(planned.out)
    assert planned.status == 0
    assert (plan["new"], plan["publish"], plan["fetch"]["files"]) == (2, 2, 2)
    assert plan["filters"]["prerelease_release"]["files"] == 1
    assert plan["filters"]["allowlist_project"]["projects"] == 1
    assert upstream.count("file") == 0
    assert not [*mirror.tree.iterdir()]

    made = await mirror.run("mirror", "--json", before=True)
    assert made.status == 0, made.told
    assert json.loads(made.out)["published"] == 2
    assert "2 projects published" in made.told

    explained = await mirror.run("explain", "alpha")
    assert "mirrored  alpha-1.0-py3-none-any.whl" in explained.out
    assert "left out  alpha-2.0rc1-py3-none-any.whl" in explained.out
    assert "prerelease_release" in explained.out
    assert "allowlist_project" in (await mirror.run("explain", "gamma")).out

    status = await mirror.run("status", "--json")
    told = json.loads(status.out)
    assert (told["is_running"], told["report"]["ending"]) == (False, "clean")
    assert "clean" in (await mirror.run("status", before=True)).out


@pytest.mark.parametrize(
    "words",
    [("plan",), ("explain", "alpha"), ("status",), ("prune",), ("verify",), ("delete", "alpha")],
    ids=lambda words: words[0],
)
async def test_a_directory_that_is_not_there_is_an_error_and_is_not_made(
    mirror: MirrorDirectory, upstream: ScriptedUpstream, words: tuple[str, ...]
):
    ended = await mirror.run(*words)
    assert (ended.status, ended.out) == (2, "")
    assert f"error: the directory {mirror.tree} of the mirror is not there\nhint: " in ended.told
    assert not mirror.tree.exists()
    assert upstream.asked == []


async def test_a_mirror_keeps_to_a_closure(tmp_path: Path, upstream: ScriptedUpstream):
    upstream.add("wanted", build_wheel("wanted", "1.0", requires_dist=["needed>=2"]))
    for name, version in (("needed", "1.0"), ("needed", "2.0"), ("stranger", "1.0")):
        upstream.add(name, build_wheel(name, version))
    mirror = MirrorDirectory(tmp_path, upstream, more="closure = wanted.json")
    missing = await mirror.run("mirror")
    assert (missing.status, "wanted.json cannot be read" in missing.told) == (1, True)
    target = ("--python", "3.12", "--platform", "linux", "--cache", str(tmp_path / "cache"))
    closed = await mirror.run(
        "close", "wanted", *target, "--upstream", upstream.root + "simple/", "-o", "wanted.json", configured=False
    )
    assert closed.status == 0, closed.told
    made = await mirror.run("mirror")
    assert made.status == 0, made.told
    assert sorted(Path(path).name for path in mirror.content() if path.endswith(".whl")) == [
        "needed-2.0-py3-none-any.whl",
        "wanted-1.0-py3-none-any.whl",
    ]
    assert (
        "left out  needed-1.0-py3-none-any.whl: it is not in the closure" in (await mirror.run("explain", "needed")).out
    )


async def test_a_mirror_is_pruned_without_the_network(mirror: MirrorDirectory, upstream: ScriptedUpstream):
    await mirror.run("mirror")
    text = mirror.configuration.read_text()
    mirror.configuration.write_text(text.replace("    beta\n", ""))
    upstream.asked.clear()
    tried = await mirror.run("prune", "--dry-run")
    assert "would be removed: beta" in tried.told
    assert [path for path in mirror.content() if "/beta/" in path]
    pruned = await mirror.run("prune", "--json")
    assert len(json.loads(pruned.out)["removed"]) == 1
    assert not [path for path in mirror.content() if "beta" in path]
    assert upstream.asked == []


async def test_files_are_verified_and_mended(mirror: MirrorDirectory):
    await mirror.run("mirror")
    before = mirror.content()
    wheel = next(path for path in before if path.endswith("alpha-1.0-py3-none-any.whl"))
    (mirror.tree / wheel).write_bytes(b"something else")
    (mirror.tree / "web/packages/stray.whl").write_bytes(b"of nobody")
    verified = await mirror.run("verify", "--dry-run", "--workers", "3")
    assert verified.status == 3
    assert "alpha-1.0-py3-none-any.whl" in verified.told
    assert (await mirror.run("verify", "--delete")).status == 0
    assert mirror.content() == before


async def test_a_project_is_deleted_and_comes_back_by_sync(mirror: MirrorDirectory):
    await mirror.run("mirror")
    before = mirror.content()
    assert (await mirror.run("delete", "--dry-run", "beta")).status == 0
    assert mirror.content() == before
    gone = await mirror.run("delete", "beta", "nonsense")
    assert gone.status == 1
    assert not [path for path in mirror.content() if "beta" in path]
    assert (await mirror.run("sync", "Beta")).status == 0
    assert mirror.content() == before


async def test_sync_does_not_mind_filters_of_names(mirror: MirrorDirectory):
    synced = await mirror.run("sync", "gamma", "--skip-simple-root")
    assert synced.status == 0, synced.told
    content = mirror.content()
    assert "web/simple/gamma/index.html" in content
    assert "web/simple/index.html" not in content
    assert not (mirror.tree / "status").exists()


async def test_entries_that_cannot_be_mirrored_are_told_and_are_no_failure(tmp_path: Path, upstream: ScriptedUpstream):
    wheel, stray = build_wheel("alpha", "1.0"), build_wheel("alpha", "2.0")
    upstream.add("alpha", wheel)
    upstream.add("alpha", stray, url="ftp://files.example/alpha-2.0-py3-none-any.whl")
    for number in range(30):
        upstream.add("alpha", stray, filename=f"../{number}")
    upstream.add("beta", build_wheel("beta", "1.0"))
    mirror = MirrorDirectory(tmp_path, upstream)
    mirror.tree.mkdir()
    said = "'alpha-2.0-py3-none-any.whl' was left out: its URL is no http(s) URL, but ftp:"
    summary = "the pages of 1 projects have entries that cannot be mirrored"

    planned = await mirror.run("plan")
    assert f"alpha: {said}" in planned.out
    assert summary in planned.out

    made = await mirror.run("mirror", "--json")
    assert made.status == 0, made.told
    report = json.loads(made.out)
    assert (report["published"], report["failed"], report["ending"]) == (2, 0, "clean")
    assert report["remarks"]["projects"] == 1
    assert report["remarks"]["sentences"][0] == f"alpha: {said}"
    assert report["remarks"]["sentences"][-1] == "alpha: and 11 more"
    assert len(report["remarks"]["sentences"]) == 21
    assert f"note: on the page of alpha: {said}" in made.told
    assert f"note: {summary}" in made.told

    assert summary in (await mirror.run("status")).out
    assert json.loads((await mirror.run("status", "--json")).out)["progress"]["projects_remarked"] == 1
    explained = await mirror.run("explain", "alpha")
    assert f"on its page: {said}" in explained.out
    assert "mirrored  alpha-1.0-py3-none-any.whl" in explained.out
    assert json.loads((await mirror.run("explain", "--json", "alpha")).out)["remarks"][0] == said
    assert "on its page" not in (await mirror.run("explain", "beta")).out


async def test_exit_statuses_tell_what_happened(mirror: MirrorDirectory, upstream: ScriptedUpstream):
    upstream.script("/simple/alpha/", behaviours.status(500))
    partial = await mirror.run("mirror", "--report", str(mirror.place / "report.json"))
    assert partial.status == 3
    assert "failed: alpha" in partial.told
    report = json.loads((mirror.place / "report.json").read_text())
    assert (report["failed"], report["published"]) == (1, 1)
    upstream.behave()
    upstream.script("names", behaviours.status(404))
    assert (await mirror.run("mirror", "--force-check")).status == 4
    upstream.behave()
    mirror.configuration.write_text(mirror.configuration.read_text().replace("workers", "compat = exit-codes\nworkers"))
    upstream.script("/simple/alpha/", behaviours.status(500))
    assert (await mirror.run("mirror", "--force-check")).status == 0


async def test_a_second_run_is_told_that_one_is_at_work(mirror: MirrorDirectory, upstream: ScriptedUpstream):
    upstream.script("names", behaviours.late(8.0), times=1)
    first = asyncio.create_task(mirror.run("mirror"))
    while not upstream.asked:
        await asyncio.sleep(0.05)
    second = await mirror.run("mirror")
    assert second.status == 1
    assert "another run" in second.told
    assert "running since" in (await mirror.run("status")).out
    assert (await first).status == 0


async def test_a_configuration_without_its_file_ends_as_bandersnatch_does(mirror: MirrorDirectory):
    mirror.configuration.unlink()
    assert (await mirror.run("mirror")).status == 1


async def test_the_files_that_were_written_are_listed(mirror: MirrorDirectory):
    listed = mirror.place / "written"
    text = mirror.configuration.read_text()
    mirror.configuration.write_text(text.replace("workers", f"diff-file = {listed}\nworkers"))
    await mirror.run("mirror")
    lines = listed.read_text().splitlines()
    assert all(Path(line).exists() for line in lines)
    assert [line for line in lines if line.endswith("beta-1.0-py3-none-any.whl")]


async def test_a_report_that_cannot_be_written_hides_nothing(mirror: MirrorDirectory):
    ended = await mirror.run("mirror", "--report", "nowhere/report.json")
    assert (ended.status, "Traceback" in ended.told) == (1, False)
    assert "2 projects published" in ended.told
    assert "error: the report cannot be written to nowhere/report.json: No such file or directory" in ended.told


async def test_a_list_of_files_that_cannot_be_written_hides_nothing(tmp_path: Path, upstream: ScriptedUpstream):
    upstream.add("alpha", build_wheel("alpha", "1.0"))
    mirror = MirrorDirectory(tmp_path, upstream, more="diff-file = bandersnatch.conf/changed")
    ended = await mirror.run("mirror")
    assert ended.status == 3
    assert "1 projects published" in ended.told
    assert "writing the diff file" in ended.told


async def test_verify_tells_that_the_upstream_could_not_be_asked(mirror: MirrorDirectory, upstream: ScriptedUpstream):
    assert (await mirror.run("mirror")).status == 0
    upstream.script("names", behaviours.status(404))
    ended = await mirror.run("verify", "--json-update")
    assert (ended.status, "404" in ended.told) == (4, True)
    assert "2 projects with 4 files" in ended.told


async def test_the_status_of_a_run_that_was_stopped_says_so(mirror: MirrorDirectory, upstream: ScriptedUpstream):
    upstream.script("/simple/alpha/", lambda _asked, _answer: behaviours.Raw(pieces=[behaviours.FOREVER]))
    stopped = await mirror.run("mirror", until=lambda: upstream.count("/simple/alpha/") > 0)
    assert (stopped.status, "the next run goes on" in stopped.told) == (130, True)
    assert json.loads((await mirror.run("status", "--json")).out)["report"]["ending"] == "stopped"


async def test_a_deleted_project_comes_back_although_the_list_is_the_same(mirror: MirrorDirectory):
    assert (await mirror.run("mirror")).status == 0
    before = mirror.content()
    assert (await mirror.run("delete", "alpha")).status == 0
    assert (await mirror.run("mirror")).status == 0
    assert mirror.content() == before


async def test_what_was_pruned_comes_back_with_the_filters_of_before(mirror: MirrorDirectory):
    assert (await mirror.run("mirror")).status == 0
    before, former = mirror.content(), mirror.configuration.read_text()
    mirror.configuration.write_text(former.replace("    beta\n", ""))
    assert (await mirror.run("prune")).status == 0
    assert len(mirror.content()) < len(before)
    mirror.configuration.write_text(former)
    assert (await mirror.run("mirror")).status == 0
    assert mirror.content() == before


async def test_a_file_that_verify_could_not_fetch_comes_with_the_next_run(
    mirror: MirrorDirectory, upstream: ScriptedUpstream
):
    assert (await mirror.run("mirror")).status == 0
    before = mirror.content()
    next(mirror.tree.rglob("alpha-1.0-py3-none-any.whl")).unlink()
    upstream.script("file", behaviours.status(404))
    assert (await mirror.run("verify")).status == 3
    upstream.behave()
    assert (await mirror.run("mirror")).status == 0
    assert mirror.content() == before


async def test_the_files_of_a_deleted_project_go_although_none_are_mirrored_now(
    tmp_path: Path, upstream: ScriptedUpstream
):
    upstream.add("alpha", build_wheel("alpha", "1.0"))
    assert (await MirrorDirectory(tmp_path, upstream).run("mirror")).status == 0
    mirror = MirrorDirectory(tmp_path, upstream, more="release-files = false")
    ended = await mirror.run("delete", "alpha")
    assert "1 projects with 2 files deleted" in ended.told
    assert not [path for path in mirror.content() if "alpha" in path]


async def test_a_document_that_a_filter_cannot_read_holds_no_other_project_back(
    tmp_path: Path, upstream: ScriptedUpstream
):
    for name in ("alpha", "beta"):
        upstream.add(name, build_wheel(name, "1.0"))
        upstream.documents[name] = {"info": {"name": name, "classifiers": ["other"]}, "releases": {}}
    upstream.documents["alpha"]["releases"] = None
    assert (await MirrorDirectory(tmp_path, upstream, more="json = true").run("mirror")).status == 0
    mirror = MirrorDirectory(
        tmp_path,
        upstream,
        more="json = true",
        plugins="[plugins]\nenabled =\n    regex_project_metadata\n"
        "[regex_project_metadata]\nany:info.classifiers =\n    .*wanted.*\n",
    )
    planned = await mirror.run("plan", "--json")
    assert json.loads(planned.out)["failures"] == ["alpha: the JSON document of alpha cannot be read"]
    pruned = await mirror.run("prune", "--json")
    assert pruned.status == 0, pruned.told
    assert json.loads(pruned.out)["unknown"] == ["alpha"]
    assert len(json.loads(pruned.out)["removed"]) == 1
