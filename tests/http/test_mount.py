"""A server that answers below a path too, for proxies that do not take it off."""

from __future__ import annotations

import pytest

from pkgindex_core.testing.wheels import build_wheel
from pkgindex_http.settings import ServerSettings, load_settings
from tests.http.conftest import Serve


@pytest.mark.parametrize("prefix", ["", "/team/pypi"])
async def test_pages_and_their_links_lead_on_below_the_mount_and_without_it(serve: Serve, prefix: str) -> None:
    async with serve(mount="/team/pypi") as served:
        await served.put(build_wheel("demo", "1.0"))
        async with served.client.get(f"{served.url}{prefix}/simple/Demo") as answer:
            assert answer.url.path == f"{prefix}/simple/demo/"
            link = (await answer.text()).partition('href="')[2].partition('"')[0]
            target = answer.url.join(type(answer.url)(link))
        assert target.path.startswith(f"{prefix}/root/")
        async with served.client.get(target) as answer:
            assert answer.status == 200
        async with served.get(f"{prefix}/demo/nothing/here/") as answer:
            assert answer.status == 404


async def test_the_mount_itself_is_the_front_page(serve: Serve) -> None:
    async with serve(mount="/pypi") as served:
        for path in ("/pypi", "/pypi/"):
            async with served.get(path, headers={"Accept": "text/html"}) as answer:
                assert answer.status == 200
                assert f"{served.url}/pypi/simple/" in await answer.text()


async def test_rights_do_not_depend_on_the_mount(serve: Serve) -> None:
    async with serve(mount="/pypi") as served:
        await served.index("root/private", acl_read=("root",))
        for path in ("/root/private/+simple/", "/pypi/root/private/+simple/", "/pypi/%72oot/private/+simple/"):
            async with served.get(path) as answer:
                assert answer.status == 401
        for path in ("/pypi/pypi/root/private/+simple/", "/pypi/../root/private/+simple/"):
            async with served.get(path) as answer:
                assert answer.status in {401, 404}


@pytest.mark.parametrize(("written", "read"), [("", ""), ("/", ""), ("pypi", "/pypi"), ("/a/b/", "/a/b")])
def test_it_is_written_in_several_ways(written: str, read: str, tmp_path: object) -> None:
    settings: ServerSettings = load_settings(environ={}, flags={"mount": written, "data": str(tmp_path)})
    assert settings.mount == read
    assert settings.public_url.endswith(f":3141{read}")
