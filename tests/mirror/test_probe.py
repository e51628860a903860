"""`pkgindex-mirror probe`, and the plugin that the server loads."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pkgindex_core.engines.behind import BlobsBehind, IndexBehind
from pkgindex_core.engines.memory.blobs import MemoryBlobs
from pkgindex_core.engines.memory.index import MemoryIndex
from pkgindex_core.errors import Refused
from pkgindex_core.hookspecs import Context
from pkgindex_core.names import ProjectName
from pkgindex_core.testing.index_cases.values import ManualClock
from pkgindex_core.testing.wheels import build_sdist, build_wheel
from pkgindex_mirror.cli import main
from pkgindex_mirror.plugin import make, pkgindex_sources
from pkgindex_mirror.probe import ProbeReport, lines, probe
from pkgindex_mirror.settings import MirrorSettings
from pkgindex_mirror.testing import ScriptedUpstream, behaviours

DEMO = ProjectName("demo")
WHEEL = build_wheel("demo", "1.0")
SETTINGS = MirrorSettings(attempts=1, page_deadline=2.0)


async def ask(upstream: ScriptedUpstream) -> ProbeReport:
    return await probe(upstream.url, DEMO, settings=SETTINGS)


async def test_an_upstream_with_everything(upstream: ScriptedUpstream) -> None:
    upstream.add("demo", WHEEL, build_sdist("demo", "1.0"))
    report = await ask(upstream)
    assert (report.problem, report.advice) == ("", ())
    assert (report.formats, report.preferred, report.api_version) == (("json", "html"), "json", "1.1")
    assert (report.validators, report.answers_unchanged) == (("etag",), True)
    assert (report.files, report.versions, report.hashes) == (2, 1, ("sha256",))
    assert (report.with_size, report.with_upload_time, report.sidecars_announced) == (2, 2, 1)
    assert (report.sidecar_served, report.ranges) == (True, True)
    assert report.latency_ms is not None
    text = "\n".join(lines(report))
    assert "json, html" in text
    assert "cannot be mirrored" not in text


async def test_an_upstream_with_nothing() -> None:
    async with ScriptedUpstream(
        speaks="html",
        has_sidecars=False,
        announces_sidecars=False,
        takes_ranges=False,
        gives_validators=False,
        algorithms=(),
    ) as upstream:
        upstream.add("demo", WHEEL)
        report = await ask(upstream)
    assert (report.formats, report.validators, report.hashes) == (("html",), (), ())
    assert (report.sidecar_served, report.ranges) == (False, False)
    advice = " ".join(report.advice)
    for words in ("HTML only", "no validators", "no sha256", "neither metadata files nor range requests"):
        assert words in advice


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (behaviours.status(404), "no project demo"),
        (behaviours.status(403), "answered 403"),
        (behaviours.says("text/html", b"<html>hello</html>"), "is no listing"),
    ],
)
async def test_what_is_no_index(upstream: ScriptedUpstream, behaviour, words: str) -> None:
    upstream.script("page", behaviour)
    report = await ask(upstream)
    assert words in report.problem
    assert report.advice


async def test_an_empty_project_and_odd_entries(upstream: ScriptedUpstream) -> None:
    upstream.add("demo", WHEEL, url="file:///x")
    upstream.page_says["demo"] = {"project-status": {"status": "archived"}}
    report = await ask(upstream)
    assert report.files == 0
    assert len(report.notes) == 1
    assert "archived" in " ".join(report.advice)


class TestCommand:
    @pytest.fixture
    def running(self) -> Iterator[ScriptedUpstream]:
        """An upstream in a loop of its own: the command brings one too."""
        loop = asyncio.new_event_loop()
        upstream = ScriptedUpstream()
        upstream.add("demo", WHEEL)
        with ThreadPoolExecutor(1) as thread:
            loop.run_until_complete(upstream.start())
            serving = thread.submit(loop.run_forever)
            yield upstream
            loop.call_soon_threadsafe(loop.stop)
            serving.result()
            loop.run_until_complete(upstream.stop())
        loop.close()

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(main, ["probe", *words])

    def test_for_a_person_and_for_a_program(self, running: ScriptedUpstream) -> None:
        told = self.run(running.url, "demo")
        assert told.exit_code == 0, told.output
        assert "answers unchanged    yes" in told.output
        printed = self.run(running.url, "Demo", "--json")
        assert json.loads(printed.output)["formats"] == ["json", "html"]

    def test_a_password_is_sent_and_not_shown(self, running: ScriptedUpstream) -> None:
        for extra in ([], ["--json"]):
            told = self.run(running.url.replace("//", "//robot:s3cret@"), "demo", *extra)
            assert told.exit_code == 0
            assert "s3cret" not in told.output
        assert all("Authorization" in asked.headers for asked in running.asked)

    def test_failure_is_status_one_and_misuse_two(self, running: ScriptedUpstream) -> None:
        assert self.run(running.url, "other").exit_code == 1
        assert self.run("ftp://example.org/").exit_code == 1
        assert self.run("nonsense").exit_code == 2
        assert self.run(running.url, "-bad-").exit_code == 2
        assert self.run(running.url, "demo", "--allow-network", "here").exit_code == 2

    def test_help_needs_no_http_client(self) -> None:
        program = (
            "import sys; from pkgindex_mirror.cli import main\n"
            "try: main(['probe', '--help'])\n"
            "except SystemExit: pass\n"
            "print(sorted({'aiohttp', 'asyncio', 'ssl'} & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "[]"


async def test_the_plugin_makes_a_refresher(tmp_path: Path) -> None:
    clock = ManualClock()
    with ThreadPoolExecutor(1) as workers:
        context = Context(
            data=tmp_path,
            clock=clock,
            workers=workers,
            settings={"wait": 1},
            index_store=IndexBehind(MemoryIndex(clock)),
            blob_store=BlobsBehind(MemoryBlobs(clock=clock, spools=tmp_path), clock=clock),
        )
        (provider,) = pkgindex_sources()
        assert provider.name == "mirror"
        refresher = await provider.make(context)
        await refresher.close()
        with pytest.raises(Refused, match="weight"):
            await make(
                Context(
                    **{name: getattr(context, name) for name in context.__struct_fields__} | {"settings": {"weight": 1}}
                )
            )
