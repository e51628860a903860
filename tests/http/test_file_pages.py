"""The page of a file: what it is, who vouches for it, what is in it; and one member as text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from msgspec.structs import replace

from pkgindex_core.digests import Sha256
from pkgindex_core.names import IndexName
from pkgindex_core.protocols import Span
from pkgindex_core.testing.wheels import BuiltFile, build_sdist, build_wheel
from tests.http.conftest import MirroredStart, Serve
from tests.http.test_directories import directory
from tests.http.test_welcome import page

ODD = '<script>alert(1)</script>"&\n\u202eb\n'
FILES = {
    "demo/__init__.py": b"VALUE = 1\n",
    "demo/odd.txt": ODD.encode(),
    "demo/data.bin": b"\0\1\2",
    "demo/long.txt": b"0123456789abcdef" * 20_000,
    "demo_start.pth": b"import demo\n",
    "demo-1.0.data/scripts/demo-tool": b"#!python\n",
    "demo-1.0.dist-info/entry_points.txt": b"[console_scripts]\ndemo = demo:main\n[demo.plugins]\nx = demo:X\n",
}
WHEEL = build_wheel("demo", "1.0", files=FILES, requires_dist=["other>=2"], tag="cp313-abi3-manylinux_2_28_x86_64")
HERE = f"/root/dev/demo/1.0/{WHEEL.filename}"


def members(text: str) -> list[str]:
    return re.findall(r'href="\?member=([^"]*)"', text.partition('id="contents"')[2])


async def test_a_wheel_is_shown_with_all_that_is_in_it(serve: Serve) -> None:
    async with serve() as served:
        file = await served.put(WHEEL, publisher="github:octo/demo//release.yml", provenance="+integrity/x")
        answer, text = await page(served, HERE)
        assert answer.status == 200
        assert members(text) == sorted(
            [*FILES, *(f"demo-1.0.dist-info/{name}" for name in ("METADATA", "WHEEL", "RECORD"))]
        )
        assert file.sha256 is not None
        for said in (
            file.sha256,
            "this index, which computed them",
            "CPython 3.13 and newer",
            "Linux with glibc 2.28 or newer on x86_64",
            "published by <code>github:octo/demo//release.yml</code>",
            "demo-1.0.dist-info/METADATA in the file",
            'href="../../../../../root/dev/other"',
            "<td>console_scripts</td><td>demo</td><td><code>demo:main</code></td>",
            "<td>demo.plugins</td><td>x</td>",
            "<td>script</td><td>demo-tool</td>",
        ):
            assert said in text.replace("../../../../root", "../../../../../root"), said
        assert "run whenever Python starts" in text
        assert '<a href="?member=demo_start.pth">' in text
        _, project = await page(served, "/root/dev/demo")
        assert f'href="../../root/dev/demo/1.0/{WHEEL.filename}"' in project


async def test_a_member_is_text_and_nothing_else(serve: Serve) -> None:
    """Escaped, cut, with its invisible characters named; binary members are not shown."""
    async with serve() as served:
        await served.put(WHEEL)
        answer, text = await page(served, f"{HERE}?member=demo/odd.txt")
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "&lt;script&gt;alert(1)&lt;/script&gt;&#34;&amp;\n\u27e6U+202E\u27e7b\n" in text
        assert "<script" not in text
        assert "\u202e" not in text
        _, text = await page(served, f"{HERE}?member=demo/data.bin")
        assert "no text in UTF-8" in text
        _, text = await page(served, f"{HERE}?member=demo/long.txt")
        assert "first 262144 of 320000 bytes" in text
        for name in ("demo/absent", "../../etc/passwd", "demo", "", "a" * 6000, "\0"):
            answer, _ = await page(served, f"{HERE}?member={quote(name)}")
            assert answer.status == 404, name


async def test_a_source_distribution_is_shown_too(serve: Serve) -> None:
    built = build_sdist("demo", "1.0", requires_dist=["other"], files={"demo.py": b"X = 1\n"})
    async with serve() as served:
        await served.put(built)
        answer, text = await page(served, f"/root/dev/demo/1.0/{built.filename}")
        assert answer.status == 200
        assert set(members(text)) >= {"demo-1.0/demo.py", "demo-1.0/PKG-INFO"}
        assert "demo-1.0/PKG-INFO in the file" in text
        _, text = await page(served, f"/root/dev/demo/1.0/{built.filename}?member=demo-1.0/demo.py")
        assert "X = 1\n" in text


@pytest.mark.parametrize(
    "data", [b"no archive", b"", WHEEL.data[:-40], b"\x1f\x8b\x08junk"], ids=["text", "empty", "cut", "gzip"]
)
async def test_a_damaged_file_has_a_page_that_says_so(serve: Serve, data: bytes) -> None:
    for name in ("demo-1.0-py3-none-any.whl", "demo-1.0.tar.gz", "demo-1.0.zip"):
        built = BuiltFile(filename=name, data=data, metadata=b"", sha256=Sha256("0" * 64))
        async with serve() as served:
            await served.put(built, version="1.0")
            answer, text = await page(served, f"/root/dev/demo/1.0/{name}")
            assert answer.status == 200
            assert "The list ends early" in text
            answer, _ = await page(served, f"/root/dev/demo/1.0/{name}?member=x")
            assert answer.status in {400, 404}


async def test_the_bytes_of_a_wheel_under_another_name_are_no_wheel(serve: Serve) -> None:
    """A listing is kept by the bytes and by the way in which they were read."""
    async with serve() as served:
        for name, lists in ((WHEEL.filename, True), ("demo-1.0.tar.gz", False)):
            await served.put(replace(WHEEL, filename=name))
            _, text = await page(served, f"/root/dev/demo/1.0/{name}")
            assert bool(members(text)) is lists


async def test_nobody_waits_long_for_tars_of_others(serve: Serve) -> None:
    sdist = build_sdist("demo", "1.0")
    async with serve() as served:
        await served.put(sdist)
        served.engine.file_contents._patience = 0
        path = f"/root/dev/demo/1.0/{sdist.filename}"
        answer, text = await page(served, path)
        assert (answer.status, "load the page again" in text) == (200, True)
        answer, _ = await page(served, f"{path}?member=demo-1.0/PKG-INFO")
        assert answer.status == 503
        served.engine.file_contents._patience = 15
        _, text = await page(served, path)
        assert members(text)


async def test_only_what_is_looked_at_is_read(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listing and a member of a large wheel are two spans of a blob store, once."""
    big = build_wheel("demo", "1.0", files={f"demo/{n}.bin": bytes([n]) * 400_000 for n in range(8)}, stored=True)
    async with serve() as served:
        await served.put(big)
        store: Any = served.engine.blobs
        read, spans = store.read, []

        def counting(key: Sha256, span: Span | None = None) -> Any:
            spans.append(span.stop - span.start if span else big.size)
            return read(key, span)

        monkeypatch.setattr(store, "read", counting)
        for _ in range(2):
            answer, _ = await page(served, f"/root/dev/demo/1.0/{big.filename}")
            assert answer.status == 200
        assert max(spans) <= 256 * 1024
        assert spans.count(256 * 1024) == 1
        del spans[:]
        await page(served, f"/root/dev/demo/1.0/{big.filename}?member=demo/3.bin")
        assert len(spans) == 1
        assert spans[0] < 401_000


async def test_a_long_listing_has_parts(serve: Serve) -> None:
    built = build_wheel("demo", "1.0", files={f"demo/m{number:04}.py": b"" for number in range(1200)})
    async with serve() as served:
        await served.put(built)
        found = []
        for number in (1, 2, 3):
            _, text = await page(served, f"/root/dev/demo/1.0/{built.filename}?page={number}")
            assert f"Part {number} of 3" in text
            found += members(text)
        assert len(found) == len(set(found)) == 1203


async def test_a_mirrored_file_is_fetched_only_when_that_is_asked_for(mirrored: MirroredStart) -> None:
    async with mirrored() as world:
        path = "/root/pypi/demo/1.0/demo-1.0-py3-none-any.whl"
        answer, text = await page(world.served, path)
        assert answer.status == 200
        assert "says 127.0.0.1" in text
        assert not [each for each in world.upstream.asked if each.path.endswith(".whl")]
        assert 'href="?fetch=1#contents"' in text
        _, text = await page(world.served, f"{path}?fetch=1")
        assert "demo/__init__.py" in members(text) or "demo.py" in members(text)
        assert "and this index when it fetched the file" in text
        _, text = await page(world.served, path)
        assert members(text)


async def test_a_file_in_a_directory_is_read_where_it_lies(serve: Serve, tmp_path: Path) -> None:
    root, sdist = tmp_path / "wheels", build_sdist("demo", "1.0")
    root.mkdir()
    for built in (WHEEL, sdist):
        (root / built.filename).write_bytes(built.data)
    async with directory(serve, root) as there:
        for built in (WHEEL, sdist):
            here = f"/root/wheels/demo/1.0/{built.filename}"
            answer, text = await page(there.served, here)
            assert answer.status == 200
            assert len(members(text)) > 3, text
            answer, _ = await page(there.served, f"{here}?member={members(text)[0]}")
            assert answer.status == 200


async def test_who_may_not_read_learns_nothing(serve: Serve) -> None:
    """An index, a file and the bytes of a file each have readers of their own."""
    async with serve() as served:
        anna, ben = await served.user("anna"), await served.user("ben")
        secret = await served.index("anna/secret", acl_read=("anna",))
        top = await served.index("anna/top", bases=(secret,))
        await served.put(WHEEL, index=secret)
        for index in (secret, top):
            for query in ("", "?member=demo/odd.txt"):
                url = f"/{index}/demo/1.0/{WHEEL.filename}{query}"
                answer, text = await page(served, url, **ben)
                assert (answer.status, "odd.txt" in text.replace("member=demo/odd.txt", "")) == (404, False)
                answer, _ = await page(served, url, **anna)
                assert answer.status == 200
        for wrong in ("/root/dev/demo/2.0/", "/root/dev/other/1.0/"):
            answer, _ = await page(served, f"{wrong}{WHEEL.filename}")
            assert answer.status == 404
        closed = await served.index("anna/closed", acl_download=["anna"])
        await served.put(WHEEL, index=closed)
        answer, text = await page(served, f"/{closed}/demo/1.0/{WHEEL.filename}", **ben)
        assert (answer.status, members(text)) == (200, [])
        assert "and not download it" in text
        answer, _ = await page(served, f"/{closed}/demo/1.0/{WHEEL.filename}?member=demo/odd.txt", **ben)
        assert answer.status == 404
        await served.put(WHEEL, index=IndexName("root/dev"))
        answer, _ = await page(served, f"/root/dev/demo/1.1/{WHEEL.filename}")
        assert answer.status == 404
