"""`pkgindex-serve check`: this server passes every row, and an index that does everything wrong fails every row that it can, and
one that does what is demanded and nothing more gets advice."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from xml.etree import ElementTree as ET

from aiohttp import ClientSession, web
from click.testing import CliRunner

from pkgindex_core.names import IndexName
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_http.checking.asking import CheckClient
from pkgindex_http.checking.outcomes import CheckedRow, CheckReport, run_rows
from pkgindex_http.checking.subjects import find_subject
from pkgindex_http.commands.check import _checked, check
from tests.http.conftest import PASSWORD, Serve
from tests.http.conftest import MirroredStart as Start

WHEEL = build_wheel("demo-thing", "1.0", files={"demo_thing/__init__.py": bytes(range(256))})


def verdicts(report: CheckReport) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {"passes": [], "fails": [], "advised": [], "skipped": []}
    for each in report.outcomes:
        found[each.verdict].append(f"{each.number}: {each.problem}" if each.problem else each.number)
    return found


async def test_this_server_passes_every_row(serve: Serve) -> None:
    async with serve() as served:
        await served.index("root/team", acl_upload=("root",), volatile=False)
        await served.put(WHEEL, index=IndexName("root/team"))
        url = f"{served.url}/root/team/"
        report = await _checked(f"{url}+simple/", "", url, "root", PASSWORD, 30, 500)
        assert verdicts(report) | {"passes": []} == {"passes": [], "fails": [], "advised": [], "skipped": []}
        assert len(report.outcomes) == 42


async def test_a_mirrored_project_passes_too(mirrored: Start) -> None:
    async with mirrored() as world:
        world.upstream.add("demo-thing", WHEEL, upload_time="2026-01-01T00:00:00Z")
        report = await _checked(f"{world.served.url}/root/pypi/+simple/", "demo-thing", "", "", "", 30, 500)
        assert verdicts(report)["fails"] == []


async def test_an_answer_that_stops_a_row_fails_it(serve: Serve) -> None:
    async def check(_: object) -> str:
        return [*None]  # type: ignore[misc, return-value]  # as a row does that takes null for a list

    async with serve() as served:
        await served.put(WHEEL)
        async with ClientSession() as session:
            root = f"{served.url}/root/dev/+simple/"
            subject = await find_subject(CheckClient(session, root, credentials="", most=10), root)
            report = await run_rows([CheckedRow("X-1", "a row", "nothing works", check)], subject)
    (outcome,) = report.failed
    assert "cannot be judged: TypeError" in outcome.problem


class WrongIndex:
    """A server that answers every row wrongly, as far as one can."""

    async def answer(self, request: web.Request) -> web.Response:
        path = request.path
        if request.method == "POST":
            await request.read()
            return web.Response(status=200)
        if path == "/simple/":
            return self._said(request, '<a href="elsewhere/demo_thing">demo-thing</a>')
        if path.startswith("/files/"):
            if path.endswith(".metadata"):
                return web.Response(status=404)
            return web.Response(
                body=WHEEL.data + b"x", headers={"Content-Encoding": "gzip", "Cache-Control": "no-store"}
            )
        if "demo" in path.lower() and path == path.lower():
            digest = "0" * 64
            return self._said(
                request,
                f'<a href="/files/x/{WHEEL.filename}#sha256={digest}" data-core-metadata="true">wheel</a>'
                f'<a href="/files/1?name=demo-thing-1.0.tar.gz#md5=0"></a>',
            )
        return self._said(request, "")

    def _said(self, request: web.Request, body: str) -> web.Response:
        if request.method == "HEAD":
            return web.Response(status=404)
        if "json" in request.headers.get("Accept", ""):
            file: dict[str, object] = {
                "filename": WHEEL.filename,
                "url": f"/files/x/{WHEEL.filename}",
                "hashes": {},
                "size": "1",
                "yanked": "",
                "gpg-sig": None,
                "dist-info-metadata": False,
            }
            document = {"meta": {"api-version": 1}, "files": [file, {"filename": "x"}]}
            return web.Response(text=json.dumps(document), content_type="application/vnd.pypi.simple.v1+json")
        if "html" not in request.headers.get("Accept", ""):
            return web.Response(status=500, text="no")
        return web.Response(text=f"<html>{body}</html>", content_type="text/html")


class PlainIndex:
    """A directory of pages and files that does what PEP 503 and version 1.0 of the JSON pages demand, and nothing else."""

    async def answer(self, request: web.Request) -> web.Response:
        path = request.path
        if path == "/simple/":
            return web.Response(text='<a href="demo-thing/">demo-thing</a>', content_type="text/html")
        if path == f"/files/{WHEEL.filename}":
            return web.Response(body=WHEEL.data)
        if path != "/simple/demo-thing/":
            return web.Response(status=404)
        if request.headers.get("Accept", "").startswith("application/vnd.pypi.simple.v1+json,"):
            files: object = [{"filename": WHEEL.filename, "url": f"/files/{WHEEL.filename}", "hashes": {}}]
            document = {"meta": {"api-version": "1.0"}, "name": "demo-thing", "files": files}
            return web.Response(text=json.dumps(document), content_type="application/vnd.pypi.simple.v1+json")
        return web.Response(text=f'<a href="/files/{WHEEL.filename}">{WHEEL.filename}</a>', content_type="text/html")


@asynccontextmanager
async def serving(answer: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_what_is_only_recommended_is_advice() -> None:
    async with serving(PlainIndex().answer) as url:
        report = await _checked(f"{url}/simple/", "", "", "", "", 30, 500)
    assert verdicts(report)["fails"] == []
    advised = "SI-3 SI-4 CN-12 CN-13 HT-4 HT-5 HT-8 JS-3 JS-5 JS-6 JS-8 JS-12 FI-5 FI-6"
    assert " ".join(each.number for each in report.advised) == advised
    assert all(each.means for each in report.advised)
    assert report.junit().count("<system-out>") == report.document()["advised"] == len(report.advised)


async def test_a_wrong_index_fails_at_every_row() -> None:
    async with serving(WrongIndex().answer) as url:
        report = await _checked(f"{url}/simple/", "demo-thing", f"{url}/legacy/", "root", "x", 30, 500)
    found = verdicts(report)
    # It has types and JSON, so that the rows about JSON are reached, and an upload that is always taken repeats well.
    assert found["passes"] == ["CN-1", "CN-5", "UP-17"]
    assert [each.partition(":")[0] for each in found["skipped"]] == ["UP-12"]
    advised = "SI-3 SI-14 CN-12 CN-13 HT-4 HT-8 JS-6 JS-8 JS-12 FI-5 FI-6"
    assert " ".join(each.number for each in report.advised) == advised
    assert all(each.means for each in report.failed)


def test_wrong_arguments_and_a_server_that_is_gone() -> None:
    run = CliRunner().invoke
    assert run(check, ["ftp://x/"]).exit_code == 2
    assert run(check, ["http://127.0.0.1:9/simple/", "--upload"]).exit_code == 2
    gone = run(check, ["http://127.0.0.1:9/simple/"])
    assert gone.exit_code == 4
    assert "cannot be asked" in gone.output


async def test_the_reports(serve: Serve) -> None:
    async with serve() as served:
        await served.put(WHEEL)
        report = await _checked(f"{served.url}/simple/", "demo-thing", "", "", "", 30, 500)
        assert report.document()["failed"] == 0
        cases = ET.fromstring(report.junit()).findall("testcase")
        assert len(cases) == len(report.outcomes) == len(report.document()["rows"])


async def test_a_check_is_bounded(serve: Serve) -> None:
    async with serve() as served:
        await served.put(WHEEL)
        report = await _checked(f"{served.url}/simple/", "demo-thing", "", "", "", 30, 6)
        assert any("as many requests as it may" in each.problem for each in report.outcomes)
