"""Pages for errors: near names, the reference that the log has too, and `robots.txt`."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest

from pkgindex_core.errors import Unavailable
from pkgindex_core.names import IndexName
from pkgindex_core.testing.wheels import build_wheel
from tests.http.conftest import HOSTED, Serve, Served, basic
from tests.http.test_welcome import page


async def projects(served: Served, *names: str, index: IndexName = HOSTED) -> None:
    for name in names:
        await served.put(build_wheel(name, "1.0"), index=index)
    await served.engine.cataloguing.caught_up()


@pytest.mark.parametrize("path", ["/root/dev/djnago-tool", "/root/dev/+simple/djnago-tool/", "/simple/djnago-tool/"])
async def test_a_missing_project_leads_to_near_names(serve: Serve, path: str) -> None:
    async with serve() as served:
        await projects(served, "django-tool", "other")
        answer, text = await page(served, path)
        assert answer.status == 404
        up = "../" * (path.count("/") - 1)
        assert f'<a href="{up}root/dev/django-tool">root/dev/django-tool</a>' in text
        assert "other" not in text
        async with served.get(path) as answer:
            assert answer.status == 404
            assert "Did you mean" not in await answer.text()


async def test_a_missing_index_leads_to_the_nearest_that_one_may_read(serve: Serve) -> None:
    async with serve() as served:
        anna = await served.user("anna")
        await served.index("anna/secret", acl_read=("anna",))
        answer, text = await page(served, "/root/dve")
        assert answer.status == 404
        assert '<a href="../root/dev">root/dev</a>' in text
        assert "anna" not in (await page(served, "/anna/secert"))[1].replace("anna/secert", "")
        assert '<a href="../anna/secret">anna/secret</a>' in (await page(served, "/anna/secert", **anna))[1]


async def test_nothing_that_one_may_not_read_is_suggested(serve: Serve) -> None:
    async with serve() as served:
        anna = await served.user("anna")
        secret = await served.index("anna/secret", acl_read=("anna",))
        await served.index("anna/dev", bases=(secret, HOSTED))
        await projects(served, "hidden-thing", index=secret)
        _, text = await page(served, "/anna/dev/hiden-thing")
        assert "Did you mean" not in text
        _, text = await page(served, "/anna/dev/hiden-thing", **anna)
        assert "hidden-thing" in text


async def test_a_name_is_text(serve: Serve) -> None:
    async with serve() as served:
        for path in ("/%3Cscript%3Ealert(1)%3C/script%3E/a/b/c/d", "/root/dev/+nothing%22%3E%3Cb%3E"):
            answer, text = await page(served, path)
            assert answer.status == 404
            assert "<script" not in text
            assert "<b>" not in text
            assert f'href="{served.url}/+working.css?v=' in text


async def test_a_failure_has_a_reference_that_the_log_has_too(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    caplog.set_level(logging.INFO, logger="pkgindex.access")
    async with serve(access_log=True) as served:
        monkeypatch.setattr(served.engine.overview, "index", fails)
        answer, text = await page(served, "/root/dev")
        reference = answer.headers["X-Request-ID"]
        assert re.fullmatch("[0-9a-f]{8}", reference)
        assert answer.status == 500
        assert f"<code>{reference}</code>" in text
        assert "ZeroDivisionError" not in text
        assert f"request {reference} failed" in caplog.text
    # The line of the access log is written when the answer has left.
    assert f'"reference":"{reference}"' in caplog.text


async def test_a_program_learns_the_reference_of_failures_only(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: Any, **__: Any) -> Any:
        raise Unavailable("a test says so")

    async with serve() as served:
        async with served.get("/root/dev/+simple/none/") as answer:
            assert (answer.status, "X-Request-ID" in answer.headers) == (404, False)
        monkeypatch.setattr(served.engine.pages, "holding_project", fails)
        async with served.get("/root/dev/+simple/none/") as answer:
            assert (answer.status, "X-Request-ID" in answer.headers) == (503, True)


@pytest.mark.parametrize(
    ("trusted", "sent", "taken"),
    [
        (("127.0.0.1",), "proxy-7.2:a_B", True),
        (("127.0.0.1",), "x" * 65, False),
        (("127.0.0.1",), 'a"b', False),
        ((), "proxy-7.2:a_B", False),
    ],
)
async def test_a_trusted_proxy_may_choose_the_reference(
    serve: Serve, trusted: tuple[str, ...], sent: str, taken: bool
) -> None:
    async with serve(trusted_proxies=trusted) as served:
        answer, _ = await page(served, "/root/dev/none", **{"X-Request-ID": sent})
        assert (answer.headers["X-Request-ID"] == sent) is taken


async def test_a_reader_without_a_log_in_is_still_sent_to_it(serve: Serve) -> None:
    async with serve() as served:
        await served.user("anna")
        await served.index("anna/secret", acl_read=("anna",))
        answer, _ = await page(served, "/anna/secret")
        assert answer.status == 303
        answer, text = await page(served, "/anna/secret", **basic("anna", "wrong"))
        assert answer.status == 401
        assert "WWW-Authenticate" in answer.headers
        assert "Authentication required" in text


async def test_crawlers_are_asked_to_stay_away_unless_a_file_says_otherwise(serve: Serve, tmp_path: Path) -> None:
    async with serve() as served, served.get("/robots.txt") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert await answer.text() == "User-agent: *\nDisallow: /\n"
    file = tmp_path / "robots.txt"
    async with serve(robots_txt=str(file)) as served:
        async with served.get("/robots.txt") as answer:
            assert answer.status == 503
        file.write_text("User-agent: *\nAllow: /\n")
        async with served.get("/robots.txt") as answer:
            assert await answer.text() == file.read_text()
