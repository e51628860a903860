"""kill -9 while a store is verified and repaired: nothing is deleted, and the same command goes on to the same end."""

from __future__ import annotations

from pathlib import Path

import pytest

from pkgindex_core.changes import PutFile
from pkgindex_core.config import Settings
from pkgindex_core.digests import sha256_of
from pkgindex_core.engine import Engine
from pkgindex_core.failpoints import POINTS
from pkgindex_core.models import File
from pkgindex_core.names import parse_project_name
from pkgindex_core.services.administering.verified_record import RECORD
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_http.commands.moving import NOT_ALL
from tests.crash.conftest import Command
from tests.crash.oracle import BEFORE, HOSTED, prepare_data

STEPS = sorted(point for point in POINTS if point.startswith(("verify.", "aside.", "repair.", "correct.")))
BROKEN = build_wheel("broken", "1.0")
DIFFERENT = build_wheel("different", "1.0")
"""Its row has the metadata of another version."""


def blob_at(data: Path, content: bytes) -> Path:
    key = sha256_of(content)
    return data / "blobs" / "sha256" / key[:2] / key


def flipped(content: bytes) -> bytes:
    return content[:40] + bytes([content[40] ^ 4]) + content[41:]


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    """A store in which a bit of a wheel, and one of another wheel's metadata, has changed, and a third one has other metadata."""
    data = tmp_path / "data"
    await prepare_data(data)
    async with Engine.open(Settings(data=data), mirrors=False) as engine:
        blob = await engine.blobs.put(BROKEN.data)
        file = File(filename=BROKEN.filename, version="1.0", digests={"sha256": blob.sha256}, size=blob.size)
        await engine.store.apply([PutFile(HOSTED, parse_project_name("broken"), file, "broken")], who="[test]")
        blob, other = await engine.blobs.put(DIFFERENT.data), await engine.blobs.put(b"Name: different\nVersion: 9\n")
        file = File(
            filename=DIFFERENT.filename,
            version="1.0",
            digests={"sha256": blob.sha256},
            size=blob.size,
            metadata_sha256=other.sha256,
        )
        await engine.store.apply([PutFile(HOSTED, parse_project_name("different"), file, "different")], who="[test]")
    for content in (BROKEN.data, BEFORE.metadata):
        blob_at(data, content).write_bytes(flipped(content))
    return data


@pytest.mark.parametrize("point", STEPS)
async def test_a_killed_repair_goes_on(point: str, command: Command, data: Path) -> None:
    assert await command("verify", "--repair", "--metadata", "--data", data, failpoints=f"{point}=kill") == -9
    assert await command("verify", "--repair", "--metadata", "--data", data) == NOT_ALL
    assert blob_at(data, BEFORE.metadata).read_bytes() == BEFORE.metadata
    assert blob_at(data, BEFORE.data).read_bytes() == BEFORE.data
    assert not blob_at(data, BROKEN.data).exists()
    aside = {path.name.partition(".")[0]: path.read_bytes() for path in (data / "blobs" / "damaged").iterdir()}
    assert aside == {sha256_of(content): flipped(content) for content in (BROKEN.data, BEFORE.metadata)}
    assert not (data / RECORD).exists()
    async with Engine.open(Settings(data=data), mirrors=False) as engine:
        await engine.blobs.put(BROKEN.data)
        different = await engine.store.file(HOSTED, parse_project_name("different"), DIFFERENT.filename)
        assert different is not None
        assert different.metadata_sha256 == sha256_of(DIFFERENT.metadata)
    assert await command("verify", "--metadata", "--data", data) == 0


async def test_a_killed_verification_reads_only_the_rest(command: Command, data: Path, tmp_path: Path) -> None:
    assert await command("verify", "--data", data, failpoints="verify.noted=kill") == -9
    assert (data / RECORD).stat().st_size == 32
    with (data / RECORD).open("ab") as record:
        record.write(b"half a digest")
    assert await command("verify", "--data", data) == NOT_ALL
    assert "continuing: an earlier verification found 1 files whole" in (tmp_path / "output").read_text()
