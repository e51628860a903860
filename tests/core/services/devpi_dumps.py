"""Dumps as devpi-export writes them, made from values."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pkgindex_core.clock import Timestamp

WHEN = [2024, 5, 6, 7, 8, 9]
MODIFIED = "Mon, 06 May 2024 07:08:09 GMT"
MOMENT = Timestamp(1_714_979_289_000_000)


class DevpiDumpBuilder:
    """Collects users, indexes and files; `write` makes the directory what devpi-export leaves."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.document: dict[str, Any] = {"users": {}, "indexes": {}, "dumpversion": "2", "devpi_server": "6.20.3"}

    def user(self, name: str, **fields: Any) -> None:
        self.document["users"][name] = {"username": name, "created": "2024-01-02T03:04:05Z", **fields}

    def index(self, name: str, **config: Any) -> None:
        self.document["indexes"][name] = {
            "indexconfig": {"type": "stage", "volatile": True, "bases": [], **config},
            "projects": {},
            "files": [],
        }

    def version(self, index: str, project: str, version: str, **metadata: Any) -> None:
        versions = self.document["indexes"][index]["projects"].setdefault(project, {})
        versions[version] = {"name": project, "version": version, **metadata}

    def file(
        self,
        index: str,
        project: str,
        version: str,
        filename: str,
        data: bytes,
        *,
        kind: str = "releasefile",
        **raw: Any,
    ) -> dict[str, Any]:
        """A file; `raw` overrides what the dump says of it."""
        relpath = raw.pop("relpath", f"{index}/{project}/{version}/{filename}")
        if not relpath.startswith((".", "/")) and "/../" not in relpath:
            place = self.path / relpath
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        sha256 = hashlib.sha256(data).hexdigest()
        entry = {
            "type": kind,
            "projectname": project,
            "version": version,
            "relpath": relpath,
            "entrymapping": {
                "hash_spec": f"sha256={sha256}",
                "hashes": {"sha256": sha256},
                "last_modified": MODIFIED,
                "project": project,
                "version": version,
            },
            "log": [{"what": "upload", "who": "alice", "when": WHEN, "dst": index}],
            **raw,
        }
        self.document["indexes"][index]["files"].append(entry)
        return entry

    def write(self) -> Path:
        (self.path / "dataindex.json").write_text(json.dumps(self.document, indent=2))
        return self.path
