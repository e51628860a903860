"""Who read which private file is recorded, answers do not wait for it, and a full disk is told, not hidden."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from pkgindex_core.models import File
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_http.wire import read_log
from tests.http.conftest import HOSTED, Serve, Served, basic

PUBLIC, PRIVATE = build_wheel("demo", "1.0"), build_wheel("secret", "1.0")
ROOT = basic("root")


def path_of(file: File, index: str) -> str:
    return f"/{index}/+f/{file.sha256[:3]}/{file.sha256[3:16]}/{file.filename}"  # type: ignore[index]  # a stored file


async def filled(served: Served) -> tuple[str, str]:
    private = await served.index("root/private", acl_read=("root",))
    return (
        path_of(await served.put(PUBLIC), HOSTED),
        path_of(await served.put(PRIVATE, index=private), private),
    )


def lines(tmp_path: Path) -> list[dict[str, Any]]:
    files = sorted((tmp_path / "data/audit").glob("reads-*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


async def test_private_files_are_recorded_with_reader_and_address(serve: Serve, tmp_path: Path) -> None:
    async with serve(audit_reads=True) as served:
        public, private = await filled(served)
        for path, headers, status in ((public, ROOT, 200), (private, ROOT, 200), (private, {}, 401)):
            async with served.get(path, headers=headers) as answer:
                assert answer.status == status
        assert lines(tmp_path) == []  # no answer has waited
    (line,) = lines(tmp_path)  # written at the stop at the latest
    assert line.pop("at").endswith("Z")
    assert line == {
        "who": "root", "client": "127.0.0.1", "index": "root/private", "file": PRIVATE.filename, "sha256": PRIVATE.sha256,
    }  # fmt: skip
    assert next((tmp_path / "data/audit").iterdir()).stat().st_mode & 0o777 == 0o600


async def test_nothing_is_recorded_unless_it_is_wanted(serve: Serve, tmp_path: Path) -> None:
    async with serve() as served:
        _, private = await filled(served)
        async with served.get(private, headers=ROOT) as answer:
            assert answer.status == 200
    assert not (tmp_path / "data/audit").exists()


def full(*_: object) -> int:
    raise OSError(28, "No space left on device")


async def test_on_a_full_disk_answers_go_on_and_lost_records_are_told(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(read_log, "MOST_LINES", 2)
    monkeypatch.setattr(read_log, "_COLLECT_SECONDS", 0.01)
    monkeypatch.setattr(read_log, "_PAUSE_SECONDS", 0.01)
    async with serve(audit_reads=True) as served:
        _, private = await filled(served)
        with monkeypatch.context() as broken, caplog.at_level(logging.ERROR):
            broken.setattr(read_log.ReadLog, "_append", full)
            for _ in range(5):
                async with served.get(private, headers=ROOT) as answer:
                    assert answer.status == 200
            await asyncio.sleep(0.05)
        assert "No space left" in caplog.text
        async with served.get("/+metrics", headers=ROOT) as answer:
            counted = await answer.text()
    found = lines(tmp_path)
    (lost,) = [each["lost"] for each in found if "lost" in each]
    assert lost + len([each for each in found if "who" in each]) == 5
    assert f"pkgindex_unrecorded_reads_total {lost}" in counted


async def test_where_records_are_required_an_unrecorded_read_is_503(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_log, "_LONGEST_WAIT", 0.05)
    async with serve(audit_reads_required=True) as served:
        public, private = await filled(served)
        async with served.get(private, headers=ROOT) as answer:
            assert answer.status == 200
        assert len(lines(tmp_path)) == 1  # durable before the answer
        with monkeypatch.context() as broken:
            broken.setattr(read_log.ReadLog, "_append", full)
            async with served.get(private, headers=ROOT) as answer:
                assert (answer.status, "cannot be recorded" in await answer.text()) == (503, True)
            async with served.get(public) as answer:
                assert answer.status == 200
