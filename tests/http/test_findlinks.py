"""The flat page of every hosted file: what is on it, what is not, and that it is not written twice."""

from __future__ import annotations

import re

import pytest

from pkgindex_core.changes import PutProject, YankFile
from pkgindex_core.models import PageHead
from pkgindex_core.names import ProjectName
from pkgindex_core.testing.wheels import build_sdist, build_wheel
from tests.http.conftest import HOSTED, Serve, Served

PATH = "/root/dev/+findlinks"


async def links(served: Served, path: str = PATH, **options: object) -> list[tuple[str, str, str]]:
    """(index, href, text) of every line."""
    async with served.get(path, **options) as answer:
        assert answer.status == 200
        assert answer.content_type == "text/html"
        page = await answer.text()
    assert page.endswith("</html>\n")
    return re.findall(r'^(\S+) <a href="([^"]+)"[^>]*>([^<]+)</a><br>$', page, re.MULTILINE)


async def test_every_file_of_every_hosted_layer_once(serve: Serve) -> None:
    """Sorted by project and version; a file of several layers is the first one's. Links work from the page's own URL."""
    async with serve() as served:
        low = await served.index("root/low")
        top = await served.index("root/top", bases=(HOSTED, low))
        wheel, other, source = build_wheel("demo", "1.10"), build_wheel("aaa", "1.0"), build_sdist("demo", "1.9")
        await served.put(wheel)
        await served.put(wheel, index=low)
        await served.put(other, index=low)
        await served.put(source, index=top)
        for path in (f"/{top}/+findlinks", f"/{top}/+findlinks/"):
            found = await links(served, path)
            assert [(index, text) for index, _, text in found] == [
                (low, other.filename),
                (top, source.filename),
                (HOSTED, wheel.filename),
            ]
            for (_, href, _), built in zip(found, (other, source, wheel), strict=True):
                assert href.endswith(f"#sha256={built.sha256}")
                async with served.client.get(f"{served.url}{path.rpartition('/')[0]}/{href}") as answer:
                    assert (answer.status, await answer.read()) == (200, built.data)


async def test_mirrors_are_not_asked_and_not_listed(serve: Serve) -> None:
    async with serve() as served:
        mirror = await served.index("root/mirror", type="mirror", mirror_url="http://127.0.0.1:9/")
        await served.index("root/both", bases=(HOSTED, mirror))
        wheel = build_wheel("demo", "1.0")
        await served.put(wheel)
        assert [text for _, _, text in await links(served, "/root/both/+findlinks")] == [wheel.filename]


async def test_what_may_not_be_read_is_not_listed(serve: Serve) -> None:
    async with serve() as served:
        anna, ben = await served.user("anna"), await served.user("ben")
        secret = await served.index("anna/secret", acl_read=("anna",))
        top = await served.index("root/top", bases=(secret, HOSTED))
        await served.put(build_wheel("hidden", "1.0"), index=secret)
        await served.put(build_wheel("demo", "1.0"))
        path = f"/{top}/+findlinks"
        assert len(await links(served, path, headers=anna)) == 2
        assert [index for index, _, _ in await links(served, path, headers=ben)] == [HOSTED]
        assert [index for index, _, _ in await links(served, path)] == [HOSTED]
        async with served.get(path, headers=anna) as answer:
            assert answer.headers["Cache-Control"].startswith("private")
            tag = answer.headers["ETag"]
        async with served.get(path, headers={**ben, "If-None-Match": tag}) as answer:
            assert answer.status == 200, "another page has another tag"


async def test_the_tag_names_the_page(serve: Serve) -> None:
    """304 while nothing on it changes; any change of a file on it is a new page at once."""
    async with serve() as served:
        wheel = build_wheel("demo", "1.0")
        await served.put(wheel)
        elsewhere = await served.index("root/elsewhere")
        async with served.get(PATH) as answer:
            tag = answer.headers["ETag"]
            first = await answer.read()
        await served.put(build_wheel("other", "1.0"), index=elsewhere)
        async with served.get(PATH, headers={"If-None-Match": tag}) as answer:
            assert (answer.status, await answer.read()) == (304, b"")
        async with served.get(PATH) as answer:
            assert (answer.headers["ETag"], await answer.read()) == (tag, first)
        yank = YankFile(HOSTED, ProjectName("demo"), wheel.filename, "broken")
        await served.engine.store.apply([yank], who="[test]")
        async with served.get(PATH, headers={"If-None-Match": tag}) as answer:
            assert answer.status == 200
            assert 'data-yanked="broken"' in await answer.text()


async def test_while_nothing_is_committed_nothing_is_read(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve() as served:
        await served.put(build_wheel("demo", "1.0"))
        first = await links(served)

        async def fail(*_: object, **__: object) -> None:
            raise AssertionError("the store was read")

        with monkeypatch.context() as patched:
            for name in ("page", "projects", "standings", "head"):
                patched.setattr(served.engine.store, name, fail)
            assert await links(served) == first
        await served.put(build_wheel("demo", "2.0"))
        assert len(await links(served)) == 2


async def test_many_projects_come_in_pieces_and_whole(serve: Serve) -> None:
    async with serve() as served:
        await served.put(build_wheel("demo", "1.0"))
        heads = [PutProject(HOSTED, ProjectName(f"empty-{number}"), PageHead()) for number in range(4500)]
        await served.engine.store.apply(heads, who="[test]")
        await served.put(build_wheel("zzz", "1.0"))
        async with served.get(PATH) as answer:
            assert answer.headers.get("Transfer-Encoding") == "chunked"
            assert (await answer.text()).count("<a ") == 2
        async with served.get(PATH) as answer:
            assert "Content-Length" in answer.headers, "it was kept"


async def test_a_quarantined_project_is_left_out(serve: Serve) -> None:
    async with serve() as served:
        await served.put(build_wheel("demo", "1.0"))
        head = PageHead(status="quarantined")
        await served.engine.store.apply([PutProject(HOSTED, ProjectName("demo"), head)], who="[test]")
        assert await links(served) == []
