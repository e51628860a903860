"""Projects as a sync has them, made from JSON documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pkgindex_core.clock import Timestamp, from_rfc3339
from pkgindex_core.errors import Refused
from pkgindex_core.formats.filenames import version_in
from pkgindex_core.models import File, PageHead
from pkgindex_core.names import parse_project_name
from pkgindex_mirror.filters.bandersnatch.plugin_filters import filters_of
from pkgindex_mirror.filters.filtering import Chosen
from pkgindex_mirror.syncing.values import Listed, UpstreamProject
from tests.mirror.filters.plugin_cases import Case


def from_document(document: Mapping[str, Any], *, with_document: bool = True) -> UpstreamProject:
    """A project with the page that an index would have for its document."""
    raw = document["info"]["name"]
    name = parse_project_name(raw)
    entries = [entry for entries in document["releases"].values() for entry in entries]
    files = tuple(
        File(
            filename=entry["filename"],
            version=version_in(entry["filename"], name),
            size=entry["size"],
            upload_time=from_rfc3339(entry["upload_time_iso_8601"]),
            requires_python=entry["requires_python"] or "",
            yanked=entry["yanked"],
        )
        for entry in entries
    )
    versions = tuple(version for version, entries in document["releases"].items() if entries)
    return UpstreamProject(
        name=name,
        raw=raw,
        head=PageHead(display_name=raw, versions=versions),
        files=files,
        document=msgspec.json.encode(document) if with_document else b"",
    )


def of_files(*files: File | str, name: str = "demo", document: bytes = b"", **head: Any) -> UpstreamProject:
    """A project with these files. A file may be its name."""
    made = [File(filename=each, size=1) if isinstance(each, str) else each for each in files]
    project = parse_project_name(name)
    versioned = tuple(
        each if each.version else msgspec.structs.replace(each, version=version_in(each.filename, project))
        for each in made
    )
    return UpstreamProject(
        name=project, raw=name, head=PageHead(display_name=name, **head), files=versioned, document=document
    )


def kept(chosen: Chosen, project: UpstreamProject) -> list[str]:
    """The names of the files that are chosen, through all stages."""
    if chosen.name(Listed(project.name, project.raw)) or chosen.project(project):
        return []
    return [file.filename for file in chosen.files(project)[0]]


def verdict_of(case: Case, directory: Path, *, strict: bool) -> Sequence[str] | str:
    """What our filters say: the files that are kept, or `refused` if settings are refused, or `fails` if the project does."""
    for name, data in case.files.items():
        (directory / name).write_bytes(data)
    try:
        filters = filters_of(case.enabled.split(), case.sections, strict=strict, base=directory)
    except Refused as error:
        return "refused" if error.hint else "refused without a hint"
    project = from_document(case.document, with_document=filters.needs_document)
    try:
        return kept(filters, project)
    except Refused as error:
        return "fails" if error.hint else "fails without a hint"


@pytest.fixture
def moment() -> Timestamp:
    found = from_rfc3339("2026-06-15T12:34:56Z")
    assert found is not None
    return found
