"""Pages and metadata from an upstream, and what a second run asks again."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path

import pytest

from pkgindex_core.errors import Refused, StorageFull, Unavailable
from pkgindex_core.names import ProjectName
from pkgindex_core.testing.wheels import build_sdist, build_wheel
from pkgindex_mirror.closing.closing import close_over
from pkgindex_mirror.closing.closure import Closure
from pkgindex_mirror.closing.inputs import read_name
from pkgindex_mirror.closing.metadata_cache import MetadataCache
from pkgindex_mirror.closing.upstream_metadata import UpstreamMetadata, opened_upstream
from pkgindex_mirror.closing.version_facts import VersionFacts
from pkgindex_mirror.settings import MirrorSettings
from pkgindex_mirror.testing import ScriptedUpstream, behaviours
from tests.mirror.closing.universes import LINUX, filenames, versions

DEMO = ProjectName("demo")
WHEEL = build_wheel("demo", "1.0", requires_dist=["base>=1", "more; extra == 'x'"])
SDIST = build_sdist("tool", "1.0", files={"pyproject.toml": b"[build-system]\nrequires = ['flit']\n"})
SETTINGS = MirrorSettings(connect_timeout=2.0, read_timeout=2.0, page_deadline=10.0, first_pause=0.001)


@asynccontextmanager
async def opened(upstream: ScriptedUpstream, cache: Path) -> AsyncIterator[UpstreamMetadata]:
    async with opened_upstream(upstream.url, SETTINGS, cache) as source:
        yield source


async def closed(upstream: ScriptedUpstream, cache: Path, *names: str) -> Closure:
    async with opened(upstream, cache) as source:
        return await close_over([read_name(name) for name in names], source, LINUX)


async def facts(upstream: ScriptedUpstream, cache: Path, project: str = "demo") -> VersionFacts:
    async with opened(upstream, cache) as source:
        (file,) = await source.page(ProjectName(project)) or ()
        return await source.facts(ProjectName(project), file)


def fill(upstream: ScriptedUpstream) -> None:
    upstream.add("demo", WHEEL)
    upstream.add("base", build_wheel("base", "1.0", requires_dist=["tool"]), build_wheel("base", "0.9"))
    upstream.add("tool", SDIST)
    upstream.add("flit", build_wheel("flit", "3.0"))


async def test_a_second_run_asks_only_whether_pages_changed(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    fill(upstream)
    first = await closed(upstream, tmp_path, "demo")
    assert versions(first) == {"base": ["1.0"], "demo": ["1.0"], "flit": ["3.0"], "tool": ["1.0"]}
    assert (upstream.count("page"), upstream.count("sidecar"), upstream.count("file")) == (4, 3, 1)
    upstream.asked.clear()
    assert await closed(upstream, tmp_path, "demo") == first
    assert [asked.place for asked in upstream.asked] == ["page"] * 4
    assert all("If-None-Match" in asked.headers for asked in upstream.asked)
    upstream.add("base", build_wheel("base", "2.0"))
    upstream.asked.clear()
    assert versions(await closed(upstream, tmp_path, "demo"))["base"] == ["1.0", "2.0"]
    assert (upstream.count("page"), upstream.count("sidecar"), upstream.count("file")) == (4, 1, 0)


@pytest.mark.parametrize(("ranges", "files"), [(True, 1), (False, 2)])
async def test_a_wheel_without_a_sidecar_is_read_itself(tmp_path: Path, ranges: bool, files: int) -> None:
    async with ScriptedUpstream(announces_sidecars=False, has_sidecars=False, takes_ranges=ranges) as upstream:
        upstream.add("demo", WHEEL)
        assert (await facts(upstream, tmp_path)).requires_dist == ("base>=1", "more; extra == 'x'")
        assert upstream.count("file") == files
        assert (await facts(upstream, tmp_path)).requires_dist[0] == "base>=1"
        assert upstream.count("file") == files


async def test_a_sidecar_with_another_digest_does_not_count(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    upstream.add("demo", WHEEL, core_metadata={"sha256": "0" * 64})
    assert (await facts(upstream, tmp_path)).requires_dist[0] == "base>=1"
    assert upstream.count("file") == 1


async def test_html_pages_do(tmp_path: Path) -> None:
    async with ScriptedUpstream(speaks="html", announces_sidecars=False) as upstream:
        fill(upstream)
        assert len(filenames(await closed(upstream, tmp_path, "demo"))) == 4


async def test_a_transfer_that_breaks_is_begun_again(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    upstream.add("tool", SDIST)
    upstream.script("file", behaviours.truncated(), times=2)
    assert (await facts(upstream, tmp_path, "tool")).build_requires == ("flit",)


async def test_files_that_cannot_be_read_for_good_are_told(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    upstream.add("demo", WHEEL, hashes={"sha256": "0" * 64})
    upstream.script("sidecar", behaviours.status(404))
    upstream.script("file", behaviours.status(404))
    assert (await facts(upstream, tmp_path)).unknown == "the upstream does not have its file"
    upstream.behave()
    upstream.add("tool", SDIST, hashes={"sha256": "1" * 64})
    assert "another sha256" in (await facts(upstream, tmp_path, "tool")).unknown
    broken = build_sdist("broken", "1.0")
    upstream.add("broken", type(broken)(filename=broken.filename, data=b"x", metadata=b"", sha256=broken.sha256))
    assert (await facts(upstream, tmp_path, "broken")).unknown == "its archive cannot be read"
    # None of it is kept: the next run may know more.
    assert not [*tmp_path.rglob("*.jsonl")]


@pytest.mark.parametrize("place", ["page", "sidecar"])
async def test_unknown_is_never_absent(upstream: ScriptedUpstream, tmp_path: Path, place: str) -> None:
    fill(upstream)
    upstream.script(place, behaviours.status(503))
    with pytest.raises(Unavailable):
        await closed(upstream, tmp_path, "demo")


async def test_an_absent_project_is_absent(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    upstream.add("demo", WHEEL)
    found = await closed(upstream, tmp_path, "demo")
    assert [(each.requirement, each.missing) for each in found.unmet] == [("base>=1", True)]


async def test_a_url_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no http or https URL"):
        async with opened_upstream("ftp://user:secret@example.invalid/", SETTINGS, tmp_path):
            raise AssertionError
    assert not [*tmp_path.iterdir()]


class TestCache:
    FACTS = VersionFacts(requires_dist=("base",), unknown="odd")

    def test_facts_come_back(self, tmp_path: Path) -> None:
        MetadataCache(tmp_path, "https://a.invalid/").keep_facts(DEMO, "1", self.FACTS)
        MetadataCache(tmp_path, "https://a.invalid/").keep_facts(DEMO, "2", VersionFacts())
        again = MetadataCache(tmp_path, "https://a.invalid/")
        assert (again.facts(DEMO, "1"), again.facts(DEMO, "2"), again.facts(DEMO, "3")) == (
            self.FACTS,
            VersionFacts(),
            None,
        )
        assert MetadataCache(tmp_path, "https://b.invalid/").facts(DEMO, "1") is None

    def test_a_torn_line_is_passed_over(self, tmp_path: Path) -> None:
        cache = MetadataCache(tmp_path, "x")
        cache.keep_facts(DEMO, "1", self.FACTS)
        (path,) = tmp_path.rglob("*.jsonl")
        path.write_bytes(path.read_bytes() + b'{"key": "2", "fac')
        MetadataCache(tmp_path, "x").keep_facts(DEMO, "3", self.FACTS)
        again = MetadataCache(tmp_path, "x")
        assert [again.facts(DEMO, key) for key in "123"] == [self.FACTS, None, self.FACTS]

    def test_a_page_that_cannot_be_read_is_none(self, tmp_path: Path) -> None:
        cache = MetadataCache(tmp_path, "x")
        assert cache.page(DEMO) is None
        cache.keep_page(DEMO, {"etag": "1"}, [])
        (path,) = tmp_path.rglob("*.msgpack")
        assert cache.page(DEMO) is not None
        path.write_bytes(b"x")
        assert cache.page(DEMO) is None

    def test_a_disk_that_cannot_be_written_is_no_error(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        cache = MetadataCache(tmp_path / "file", "x")
        cache.keep_page(DEMO, {}, [])
        cache.keep_facts(DEMO, "1", self.FACTS)
        assert cache.facts(DEMO, "1") == self.FACTS


class FullScratch(BytesIO):
    """A temporary file on a disk that is full."""

    def write(self, _data: object, /) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


async def test_a_full_disk_for_temporary_files_is_told_at_once(
    upstream: ScriptedUpstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(upstream)
    monkeypatch.setattr(UpstreamMetadata, "_scratch", lambda _self: FullScratch())
    with pytest.raises(StorageFull, match=r"no room for tool-1\.0\.tar\.gz"):
        await closed(upstream, tmp_path, "tool")
    assert upstream.count("file") == 1
