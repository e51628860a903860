"""A mirror in a bucket, with the section `[s3]` of a bandersnatch.conf."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.testing import ScriptedUpstream
from tests.object_stores import BUCKET, ObjectStore, seaweedfs

from .mirror_commands import MirrorDirectory


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[ObjectStore]:
    store = seaweedfs(tmp_path / "store")
    if store is None:
        pytest.skip("SeaweedFS is not installed")
    yield store
    store.kill()


async def test_a_bucket_is_mirrored_into(bucket: ObjectStore, tmp_path: Path, upstream: ScriptedUpstream):
    upstream.add("alpha", build_wheel("alpha", "1.0"))
    upstream.serials["alpha"] = 4
    known = bucket.environment
    mirror = MirrorDirectory(
        tmp_path / "mirror",
        upstream,
        more="storage-backend = s3",
        plugins=f"[s3]\naws_access_key_id = {known['AWS_ACCESS_KEY_ID']}\n"
        f"aws_secret_access_key = {known['AWS_SECRET_ACCESS_KEY']}\nendpoint_url = {known['AWS_ENDPOINT_URL']}\n",
    )
    text = mirror.configuration.read_text().replace(f"directory = {mirror.tree}", f"directory = /{BUCKET}/pypi")
    mirror.configuration.write_text(text)
    first = await mirror.run("mirror")
    assert first.status == 0, first.told
    assert "1 projects published" in first.told
    upstream.asked.clear()
    again = await mirror.run("mirror")
    assert again.status == 0, again.told
    assert [asked.path for asked in upstream.asked] == ["/simple/"]
    assert "mirrored  alpha-1.0-py3-none-any.whl" in (await mirror.run("explain", "alpha")).out
