"""Dumps of devpi: large ones are walked through once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pkgindex_core.formats.devpi import dump as dumps


def test_a_projects_versions_are_looked_for_once_for_all_its_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Walking through them for every file is quadratic: six minutes for 2000 versions of 12 kB."""
    versions = {f"1.{number}": {"name": "demo", "summary": str(number)} for number in range(30)}
    files = [
        {"projectname": "demo", "version": version, "type": "releasefile", "relpath": f"demo-{version}.zip"}
        for version in versions
    ]
    index = {"indexconfig": {}, "projects": {"demo": versions}, "files": files}
    document: dict[str, Any] = {"users": {}, "indexes": {"anna/dev": index}, "dumpversion": "2"}
    dump = dumps.DevpiDump(json.dumps(document).encode())
    walks: list[int] = []
    members = dumps.members

    def counted(buffer: Any, start: int) -> Any:
        walks.append(start)
        return members(buffer, start)

    monkeypatch.setattr(dumps, "members", counted)
    found = dump.indexes["anna/dev"]
    for number, file in enumerate(dump.files(found)):
        assert isinstance(file, dumps.DumpFile)
        assert dump.version(found, file)["summary"] == str(number)
    assert len(walks) == 2  # the projects, and the versions of the one
