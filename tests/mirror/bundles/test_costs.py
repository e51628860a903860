"""A large tree: what a second bundle costs is in proportion to what changed."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

import pytest

from pkgindex_mirror.snapshots import hashing
from tests.mirror.bundles.far_sides import NearSide

PROJECTS = 1_000


@pytest.fixture
def near(tmp_path: Path) -> NearSide:
    """10,000 files: a thousand projects with five packages each, and their pages."""
    near = NearSide(tmp_path)
    chance = random.Random(5)
    for number in range(PROJECTS):
        name = f"project-{number:04}"
        links = []
        for version in range(5):
            filename = f"project_{number:04}-{version}.tar.gz"
            data = chance.randbytes(300)
            path = near.mirror.path_of(filename, data)
            near.mirror.write(path, data)
            links.append(
                {
                    "filename": filename,
                    "url": f"../../{path[4:]}",
                    "hashes": {"sha256": hashlib.sha256(data).hexdigest()},
                    "size": 300,
                }
            )
        near.mirror.write(f"web/json/{name}", json.dumps(links, indent=4).encode())
        near.mirror.write(f"web/pypi/{name}/json", json.dumps(links, indent=4).encode())
        near.mirror.write(f"web/simple/{name}/index.html", "".join(f'<a href="{x["url"]}">' for x in links).encode())
        near.mirror.write(f"web/simple/{name}/index.v1_html", "".join(f'<a href="{x["url"]}">' for x in links).encode())
        near.mirror.write(f"web/simple/{name}/index.v1_json", json.dumps({"files": links}).encode())
    near.mirror.settle()
    return near


def test_a_second_bundle_is_small(near: NearSide, monkeypatch: pytest.MonkeyPatch) -> None:
    first = near.create()
    assert len(near.states[1]) > 10 * PROJECTS
    read: list[str] = []
    original = hashing.digest_of
    monkeypatch.setattr(hashing, "digest_of", lambda root, file: (read.append(file.path), original(root, file))[1])
    near.mirror.put("demo", "demo-77.tar.gz", bytes(1_000))
    second = near.create()
    assert len(read) < 12, "only what changed is read"
    assert sum(part.stat().st_size for part in second) < 12_000
    assert sum(part.stat().st_size for part in first) < sum(map(len, near.states[1].values()))
    far = near.far()
    assert far.apply(near.out).refused == []
    assert far.contents == near.states[2]
