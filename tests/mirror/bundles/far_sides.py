"""A near side with its keys, a far side, and bundles with any content, signed as they should be."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pkgindex_mirror.bundles.apply_bundle import (
    PREFIX,
    SIGNED,
    Applier,
    ApplyReport,
    PartHeader,
    header_bytes,
    prefix_bytes,
    read_key,
)
from pkgindex_mirror.bundles.keys import load_signer, make_keys
from tests.mirror.snapshots.mirrors import FakeMirror, contents, ran, sample, told


class NearSide:
    """A mirror, its key, and the directory where its bundles are put."""

    def __init__(self, place: Path, *, seed: int = 1) -> None:
        self.place = place
        self.mirror: FakeMirror = sample(place / "pypi", seed=seed)
        self.out = place / "out"
        self.out.mkdir()
        self.key = place / "key"
        make_keys(self.key)
        self.states: dict[int, dict[str, bytes]] = {}

    @property
    def public(self) -> Path:
        return self.place / "key.pub"

    @property
    def root(self) -> Path:
        return self.mirror.root

    def snapshot(self) -> int:
        return int(ran("snapshot", "create", "--root", self.root))

    def create(self, *words: str | Path | int, snapshot: bool = True) -> list[Path]:
        """Create the next bundle of the mirror as it is now. Returns its parts."""
        if snapshot:
            self.snapshot()
        done = told("bundle", "create", "--root", self.root, "--out", self.out, "--key", self.key, *words)
        self.states[done["sent"]["bundle"]] = contents(self.root)
        return [Path(file) for file in done["files"]]

    def far(self, name: str = "far") -> FarSide:
        return FarSide(self.place / name, self.public)


class FarSide:
    """A tree behind the gap."""

    def __init__(self, root: Path, key: Path) -> None:
        self.root = root
        self.key = key

    def apply(self, *places: Path, adopt: bool = False) -> ApplyReport:
        return Applier(self.root, [read_key(self.key)], adopt=adopt).apply_all(places)

    @property
    def contents(self) -> dict[str, bytes]:
        return contents(self.root)

    @property
    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads((self.root / ".pkgindex/bundles/state.json").read_bytes())
        return state


def forged(key: Path, place: Path, lines: list[bytes], payload: bytes = b"", **changes: Any) -> Path:
    """Write a bundle of one part with these lines in its manifest, signed with the key. `changes` are fields of manifest and header."""
    puts = sum(line.startswith(b"put ") for line in lines)
    head = {
        "mirror": "pypi",
        "bundle": 1,
        "after": 0,
        "previous": "",
        "full": True,
        "snapshot": 1,
        "since": 0,
        "serial": None,
        "created": "2026-01-01T00:00:00Z",
        "puts": puts,
        "deletes": len(lines) - puts - lines.count(b"then\n"),
        "raw": len(payload),
        "packed": 0,
    }
    head |= {name: value for name, value in changes.items() if name in head}
    manifest = json.dumps(head).encode() + b"\n" + b"".join(lines)
    stream = manifest + payload
    header = PartHeader(
        mirror=head["mirror"],
        bundle=head["bundle"],
        after=head["after"],
        previous=head["previous"],
        full=head["full"],
        manifest_size=len(manifest),
        manifest_sha256=hashlib.sha256(manifest).hexdigest(),
        total=len(stream),
        parts=1,
        part=1,
        offset=0,
        size=len(stream),
        sha256=hashlib.sha256(stream).hexdigest(),
    )
    header = header._replace(**{name: value for name, value in changes.items() if name not in head})
    text = header_bytes(header)
    place.write_bytes(prefix_bytes(text, load_signer(key).sign(SIGNED + text)) + stream)
    assert len(stream) + PREFIX == place.stat().st_size
    return place


def put(path: str, data: bytes, *, offset: int = 0) -> bytes:
    """The line of a manifest for a file that is carried as it is."""
    return f"put {hashlib.sha256(data).hexdigest()} {len(data)} r {offset} {len(data)} {path}\n".encode()
