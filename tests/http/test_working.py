"""People work on pages, by forms and without script. The browser of `browsing` sends what the pages have."""

from __future__ import annotations

import re
from typing import Any

import pytest
from msgspec.structs import replace

from pkgindex_core.models import IndexConfig
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.services.administering.indexes import Indexes
from pkgindex_core.testing.wheels import BuiltFile, build_wheel
from pkgindex_http.commands.common import ADMINISTRATOR
from tests.http.browsing import Browser
from tests.http.conftest import PASSWORD, Serve, Served, basic

DEMO = ProjectName("demo")


async def anna(served: Served) -> Browser:
    """Anna, logged in, with an index."""
    await served.user("anna")
    await served.index("anna/dev", acl_upload=("anna",), volatile=False)
    browser = Browser(served)
    assert (await browser.log_in("anna")).status in {200, 404}
    return browser


async def test_a_person_works_by_forms_alone(serve: Serve, wheel: BuiltFile) -> None:
    """Log in, make an index, upload, promote, make a token that uploads, and log out."""
    async with serve() as served:
        browser = await anna(served)
        store = served.engine.store

        page = await browser.get("/anna/+new-index")
        form = page.form("option.bases")
        shown = await browser.submit(page, form, name="next", step="show", **{"option.bases": "anna/dev"})
        assert "Nothing is saved yet" in shown.text
        assert IndexName("anna/next") not in (await store.tree()).indexes
        made = await browser.submit(shown, shown.form("option.bases"), step="save")
        assert made.status == 200, made.text
        assert (await store.tree()).indexes[IndexName("anna/next")].bases == ("anna/dev",)

        page = await browser.get("/anna/dev/+upload")
        other = build_wheel("demo", "1.1")
        files = [(wheel.filename, wheel.data), (other.filename, other.data), ("demo-1.2-py3-none-any.whl", b"no zip")]
        sent = await browser.submit(page, page.form("content"), files=files)
        assert sent.text.count("Published:") == 2
        assert sent.text.count("Refused.") == 1
        stored = await store.page(IndexName("anna/dev"), DEMO)
        assert stored is not None
        assert {row.filename for row in stored.rows} == {wheel.filename, other.filename}

        page = await browser.get("/anna/dev/+promote/demo/1.0")
        plan = await browser.submit(page, page.form("to"), to="anna/next")
        assert wheel.filename in plan.text
        assert other.filename not in plan.text
        moved = await browser.submit(plan, plan.form("form_token", to="anna/next"), to="anna/next")
        assert "is now in" in moved.text
        assert await store.file(IndexName("anna/next"), DEMO, wheel.filename) is not None

        page = await browser.get("/anna/+account")
        made = await browser.submit(page, page.form("days"), name="ci", indexes="anna/dev")
        (text,) = set(re.findall(r'<pre class="secret">(.*?)</pre>', made.text))
        (token,) = [each for each in await store.tokens("anna") if each.kind == "api"]
        assert (token.name, token.indexes, set(token.actions)) == (
            "ci",
            ("anna/dev",),
            {"read", "upload", "upload-docs"},
        )
        async with served.get("/anna/dev/+simple/demo/", headers=basic("__token__", text)) as answer:
            assert answer.status == 200

        page = await browser.get("/anna/+account")
        assert text not in page.text
        await browser.submit(page, page.form(id=token.id), id=token.id)
        assert await store.token(token.id) is None

        page = await browser.get("/anna/+account")
        form = page.form("present")
        form.action = "/+logout"
        await browser.submit(page, form)
        assert "pkgindex-login" not in browser.cookies
        assert 'name="password"' in (await browser.get("/anna/+account")).text
        assert await store.tokens("anna") == []


async def test_releases_are_yanked_deleted_and_marked(serve: Serve, wheel: BuiltFile) -> None:
    """What was typed wrong deletes nothing."""
    async with serve() as served:
        browser = await anna(served)
        index = IndexName("anna/dev")
        await served.put(wheel, index=index)
        await served.put(build_wheel("demo", "2.0"), index=index)

        async def does(do: str, **values: str) -> str:
            page = await browser.get("/anna/dev/+manage/demo")
            return (await browser.submit(page, page.form(do=do), **values)).text

        async def file() -> bool | str | None:
            found = await served.engine.store.file(index, DEMO, wheel.filename)
            return found.yanked if found is not None else None

        await does("yank", filename=wheel.filename, reason="it <b>breaks</b>")
        assert await file() == "it <b>breaks</b>"
        assert "it &lt;b&gt;breaks" in (await browser.get("/anna/dev/+manage/demo")).text
        await does("unyank", filename=wheel.filename)
        assert await file() is False
        assert "type demo-1.0" in await does("delete-file", filename=wheel.filename, confirm="demo")
        assert await file() is False
        await does("delete-file", filename=wheel.filename, confirm=wheel.filename)
        assert await file() is None
        await does("status", status="archived", reason="done")
        page = await served.engine.store.page(index, DEMO)
        assert page is not None
        assert (page.head.status, page.head.status_reason) == ("archived", "done")
        await does("delete-project", confirm="demo")
        assert await served.engine.store.page(index, DEMO) is None


async def test_the_effect_of_a_change_is_shown_before_it_is_saved(serve: Serve, wheel: BuiltFile) -> None:
    """It names the projects that gain and lose files, and nothing of an index that one may not read."""
    async with serve() as served:
        browser = await anna(served)
        await served.index("anna/base", acl_read=("anna",))
        await served.index("anna/heir", bases=(IndexName("anna/dev"),))
        await served.index("root/secret", acl_read=("root",), bases=(IndexName("anna/dev"),))
        await served.put(wheel, index=IndexName("anna/base"))
        page = await browser.get("/anna/dev/+edit")
        form = page.form("seen")
        shown = await browser.submit(page, form, step="show", **{"option.bases": "anna/base"})
        assert re.search(r"<td>demo</td>\s*<td>\+ anna/base</td>", shown.text)
        assert "anna/heir" in shown.text
        assert "secret" not in shown.text
        assert (await served.engine.store.tree()).indexes[IndexName("anna/dev")].bases == ()

        refused = await browser.submit(page, form, step="save", **{"option.bases": "root/secret"})
        assert refused.status == 400
        assert re.search(r'class="problem"[^>]*>base index \S*root/secret\S* does not exist', refused.text) or (
            "does not exist" in refused.text
        )
        await browser.submit(shown, shown.form("seen"), step="save")
        assert (await served.engine.store.tree()).indexes[IndexName("anna/dev")].bases == ("anna/base",)
        late = await browser.submit(page, form, step="save", **{"option.title": "late"})
        assert late.status == 409
        assert "somebody else has changed" in late.text


async def test_a_change_in_the_last_moment_is_not_overwritten(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else's change comes after the form was compared, and before the options are stored."""
    async with serve() as served:
        browser = await anna(served)
        page = await browser.get("/anna/dev/+edit")
        drafted = Indexes.drafted

        async def overtaken(indexes: Indexes, *args: Any, **options: Any) -> IndexConfig:
            await indexes.modify(IndexName("anna/dev"), {"title": "theirs"}, principal=ADMINISTRATOR)
            return await drafted(indexes, *args, **options)

        monkeypatch.setattr(Indexes, "drafted", overtaken)
        late = await browser.submit(page, page.form("seen"), step="save", **{"option.title": "ours"})
        assert late.status == 409
        assert "somebody else has changed" in late.text
        assert (await served.engine.indexes.config(IndexName("anna/dev"))).title == "theirs"


async def test_an_index_becomes_private(serve: Serve) -> None:
    """The form shows who may read it, and sends what was changed alone."""
    async with serve() as served:
        browser = await anna(served)
        before = await served.engine.indexes.config(IndexName("anna/dev"))
        page = await browser.get("/anna/dev/+edit")
        form = page.form("option.acl_read")
        assert dict(form.fields)["option.acl_read"] == ":ANONYMOUS:"
        shown = await browser.submit(page, form, step="show", **{"option.acl_read": "anna, :AUTHENTICATED:"})
        saved = await browser.submit(shown, shown.form("option.acl_read"), step="save")
        assert "The options are saved" in saved.text
        after = await served.engine.indexes.config(IndexName("anna/dev"))
        assert after == replace(before, acl_read=("anna", ":AUTHENTICATED:"))


async def test_an_index_and_a_user_are_deleted_when_their_name_is_typed(serve: Serve) -> None:
    async with serve() as served:
        await served.user("ben")
        await served.index("ben/dev", volatile=True)
        root = Browser(served)
        await root.log_in("root")
        page = await root.get("/ben/dev/+edit")
        refused = await root.submit(page, page.form("confirm"), confirm="dev")
        assert refused.status == 400
        await root.submit(page, page.form("confirm"), confirm="ben/dev")
        assert IndexName("ben/dev") not in (await served.engine.store.tree()).indexes
        page = await root.get("/+users")
        form = next(form for form in page.forms if "ben/+delete" in form.action)
        await root.submit(page, form, confirm="ben")
        assert await served.engine.store.user("ben") is None
        page = await root.get("/+users")
        wrong = await root.submit(page, page.form("email"), name="eve", password=PASSWORD, again="another")
        assert (wrong.status, 'id="again-problem"' in wrong.text) == (400, True)
        await root.submit(page, page.form("email"), name="eve", password=PASSWORD, again=PASSWORD)
        assert await served.engine.store.user("eve") is not None


async def test_a_long_number_of_days_is_refused(serve: Serve) -> None:
    async with serve() as served:
        browser = await anna(served)
        page = await browser.get("/anna/+account")
        for days in ("000000001" + "9" * 20, "000000001" + "9" * 5000):
            answer = await browser.submit(page, page.form("days"), name="ci", days=days)
            assert answer.status == 400
            assert "write a number from 1 to 3660" in answer.text
