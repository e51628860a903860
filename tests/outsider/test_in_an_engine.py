"""The outsider's parts at work inside an engine: its store keeps the bytes, its check refuses, its filter hides."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pkgindex_core.config import Settings
from pkgindex_core.digests import sha256_of
from pkgindex_core.engine import Engine
from pkgindex_core.errors import PkgIndexError, Refused
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Principal
from pkgindex_core.services.reading.pages import PageRequest, View
from pkgindex_core.services.writing.outcomes import Published
from pkgindex_core.testing.wheels import build_wheel

DEV = IndexName("root/dev")
ROOT = Principal(name="root")


@pytest.fixture
async def engine(outsider: Path, tmp_path: Path) -> AsyncIterator[Engine]:
    settings = Settings(
        data=tmp_path / "data",
        store="memory://",
        blobs=(tmp_path / "their blobs").as_uri().replace("file", "outsider", 1),
        plugins={"no-nightlies": {"word": "py2"}},
    )
    async with Engine.open(settings, mirrors=False) as engine:
        await engine.prepare()
        yield engine


async def publish(engine: Engine, version: str, tag: str = "py3-none-any") -> tuple[Published, bytes]:
    wheel = build_wheel("demo", version, tag=tag)
    async with engine.uploads.receive(DEV, ROOT) as upload:
        fields = {":action": "file_upload", "metadata_version": "2.1", "name": "demo", "version": version}
        for name, value in (fields | {"filetype": "bdist_wheel", "pyversion": tag.partition("-")[0]}).items():
            upload.field(name, value)
        await upload.begin_content(wheel.filename)
        await upload.write(wheel.data)
        return await upload.finish(), wheel.data


async def filenames(engine: Engine) -> list[str]:
    request = PageRequest(
        view=View(start=DEV, root="../../../../"),
        project=ProjectName("demo"),
        principal=ROOT,
        media_type="application/vnd.pypi.simple.v1+json",
    )
    answer = await engine.pages.project(request)
    return [file["filename"] for file in json.loads(answer.body or b"{}")["files"]]


async def test_its_store_keeps_what_is_uploaded(engine: Engine, tmp_path: Path):
    _, data = await publish(engine, "1.0")
    assert (tmp_path / "their blobs" / sha256_of(data)).read_bytes() == data
    assert await filenames(engine) == ["demo-1.0-py3-none-any.whl"]


async def test_its_check_refuses_an_upload_and_nothing_is_kept(engine: Engine, tmp_path: Path):
    with pytest.raises(Refused, match=r"version 1\.0\.dev1 is a development version"):
        await publish(engine, "1.0.dev1")
    assert sorted(path.name for path in (tmp_path / "their blobs").iterdir()) == ["owner", "staging"]
    assert [*(tmp_path / "their blobs/staging").iterdir()] == []


async def test_its_filter_hides_files_by_its_table_in_the_settings(engine: Engine):
    await publish(engine, "1.0")
    await publish(engine, "1.1", tag="py2-none-any")
    assert await filenames(engine) == ["demo-1.0-py3-none-any.whl"]
    explanation = await engine.explaining.explain(DEV, ProjectName("demo"), principal=ROOT)
    assert "its name contains 'py2'" in repr(explanation)


async def test_a_table_that_no_plugin_reads_ends_the_start(outsider: Path, tmp_path: Path):
    settings = Settings(data=tmp_path, store="memory://", blobs="memory://", plugins={"no-nightly": {}})
    with pytest.raises(PkgIndexError, match=r"\[plugins.no-nightly\]: no plugin offers .* did you mean 'no-nightlies'"):
        async with Engine.open(settings, mirrors=False):
            pass
