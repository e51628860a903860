"""The space that a release takes, on the page of its project."""

from __future__ import annotations

import re

from pkgindex_core.testing.wheels import BuiltFile, build_sdist, build_wheel
from tests.http.conftest import MirroredStart, Serve, Served
from tests.http.test_welcome import page


async def said(served: Served, path: str, **headers: str) -> str:
    for _ in range(50):  # the first load may end before all is known
        answer, text = await page(served, path, **headers)
        assert answer.status == 200
        part = " ".join(
            re.sub(
                "<[^>]*>", " ", text.partition("<dt>Installed size</dt>")[2].partition("</dl>")[0].partition("<dt>")[0]
            ).split()
        )
        if "load the page again" not in part:
            return part
    raise AssertionError(part)


def wheel(name: str, version: str, size: int, *requires: str, tag: str = "py3-none-any") -> BuiltFile:
    return build_wheel(name, version, files={f"{name}.bin": bytes(size)}, requires_dist=requires, tag=tag, stored=True)


async def test_dependencies_are_counted_once_in_the_version_that_fits(serve: Serve) -> None:
    async with serve() as served:
        requires = ("low<2", "high>=1", "never; python_version < '3'", "extra-thing; extra == 'x'")
        await served.put(wheel("demo", "1.0", 1_000_000, *requires))
        await served.put(wheel("low", "1.0", 2_000_000, "high"))
        await served.put(wheel("low", "2.0", 90_000_000 // 10))
        await served.put(wheel("high", "1.0", 3_000_000, "demo", "low"))
        await served.put(wheel("high", "1.1a1", 8_000_000))
        await served.put(wheel("high", "1.2", 9_000_000), yanked="bad")
        text = await said(served, "/root/dev/demo")
        assert text.startswith("1.0 MB With dependencies 6.0 MB on CPython 3."), text


async def test_what_is_not_known_is_said(serve: Serve) -> None:
    async with serve() as served:
        await served.put(wheel("demo", "1.0", 1_000_000, "absent", "sourced", "foreign", "other[more]"))
        await served.put(build_sdist("sourced", "1.0"))
        await served.put(wheel("foreign", "1.0", 5, tag="cp27-cp27m-win32"))
        await served.put(wheel("other", "1.0", 1_000_000, "deep; extra == 'more'"))
        text = await said(served, "/root/dev/demo")
        assert "With dependencies at least 2.0 MB; unknown: absent, deep, foreign, sourced on" in text, text
        assert await said(served, "/root/dev/sourced") == "unknown: no wheel that fits is stored here"


async def test_nobody_is_asked_and_nothing_is_told(mirrored: MirroredStart) -> None:
    """The dependency of a public project is in an index that others may not read, and one is at an upstream."""
    async with mirrored() as world:
        served = world.served
        anna = await served.user("anna")
        secret = await served.index("anna/secret", acl_read=("anna",))
        top = await served.index("anna/top", bases=(secret, "root/pypi"))
        world.upstream.add("remote", build_wheel("remote", "1.0"))
        await served.put(wheel("own", "1.0", 1_000_000, "hidden", "remote"), index=top)
        await served.put(wheel("hidden", "1.0", 7_000_000), index=secret)
        text = await said(served, f"/{top}/own")
        assert "at least 1.0 MB; unknown: hidden, remote" in text
        assert not [each for each in world.upstream.asked if "remote" in each.path or "hidden" in each.path]
        text = await said(served, f"/{top}/own", **anna)
        assert "at least 8.0 MB; unknown: remote" in text


async def test_a_yanked_version_has_its_reason(serve: Serve) -> None:
    async with serve() as served:
        await served.put(build_wheel("demo", "1.0"), yanked="it <b>breaks</b>")
        await served.put(build_wheel("demo", "2.0"))
        _, text = await page(served, "/root/dev/demo/1.0")
        assert "Reason: it &lt;b&gt;breaks&lt;/b&gt;" in text
        _, text = await page(served, "/root/dev/demo")
        assert re.search(r'demo/1.0">1.0</a> <span class="note">yanked</span>', text)
        assert not re.search(r'demo/2.0">2.0</a> <span class="note">yanked</span>', text)
