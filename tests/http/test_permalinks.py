"""Links of PyPI with the host of this server: they lead to the page in the index that one would expect."""

from __future__ import annotations

import pytest

from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.testing.upstream import Answer
from tests.http.conftest import MirroredStart, Serve, Served
from tests.http.test_welcome import page


async def target(served: Served, path: str, **headers: str) -> str:
    """Where a link leads; the status if it leads nowhere."""
    answer, _ = await page(served, path, **headers)
    if answer.status != 302:
        return str(answer.status)
    assert answer.headers["Cache-Control"] == "no-store"
    async with served.client.get(
        f"{served.url}{path}", headers={"Accept": "text/html,application/xhtml+xml", **headers}
    ) as end:
        assert end.status == 200
        return end.url.path


async def test_a_link_of_pypi_leads_to_the_default_index(mirrored: MirroredStart) -> None:
    async with mirrored() as world:
        for path, expected in (
            ("/project/demo/", "/root/dev/demo"),
            ("/project/demo", "/root/dev/demo"),
            ("/project/Demo/1.0/", "/root/dev/demo/1.0"),
            ("/project/demo/1.0.0", "/root/dev/demo/1.0.0"),
            ("/project/demo/7/", "404"),
            ("/project/absent/", "404"),
            ("/project/%00/", "404"),
        ):
            assert await target(world.served, path) == expected, path
        world.upstream.script("page", lambda _asked, _answer: Answer(status=500))
        assert await target(world.served, "/project/unknown/") == "503"


async def test_another_index_that_has_it_is_found_for_its_readers_only(serve: Serve) -> None:
    async with serve() as served:
        anna, ben = await served.user("anna"), await served.user("ben")
        secret = await served.index("anna/secret", acl_read=("anna",))
        later = await served.index("root/later")
        await served.put(build_wheel("demo", "1.0"), index=secret)
        await served.put(build_wheel("demo", "2.0"), index=later)
        assert await target(served, "/project/demo/", **anna) == "/anna/secret/demo"
        assert await target(served, "/project/demo/2.0/", **anna) == "/root/later/demo/2.0"
        assert await target(served, "/project/demo/", **ben) == "/root/later/demo"
        assert await target(served, "/project/demo/1.0/", **ben) == "404"
        assert await target(served, "/project/demo/1.0/") == "404"


@pytest.mark.parametrize("rule", ["quarantine a theft for demo==1.0", "file-types tar.gz"])
async def test_a_version_that_a_policy_hides_has_no_link(serve: Serve, rule: str) -> None:
    async with serve() as served:
        index = await served.index("root/strict", policies=[rule])
        await served.put(build_wheel("demo", "1.0"), index=index)
        assert await target(served, "/project/demo/1.0/") == "404"
