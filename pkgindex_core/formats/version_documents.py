"""The stored metadata of a version: one JSON object under the field names of the upload API.

    archive ── from_archive ──┐
    form    ── from_form ─────┼── encode_metadata ── Release.metadata ── spliced into documents as it is
    import  ──────────────────┘

The keys are devpi's `versiondata`, since its client and its plugins read them. All keys are present: a list for fields that may
stand several times, otherwise text. `UNKNOWN`, which old build tools wrote for an empty field, is empty.

The metadata of archives replaces that of forms. Of several archives the newest counts, except for fields that a source
distribution leaves to the build (PEP 643): these keep the known values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from pkgindex_core.formats.metadata_values import CoreMetadata
from pkgindex_core.formats.upload_rules import Findings, Unusual
from pkgindex_core.formats.versions import LEGACY_MARKS, is_pep440
from pkgindex_core.names import normalized_or_none
from pkgindex_core.protocols.policies import UploadForm

KEYS: Final = (
    "name",
    "version",
    "metadata_version",
    "summary",
    "home_page",
    "author",
    "author_email",
    "maintainer",
    "maintainer_email",
    "license",
    "description",
    "keywords",
    "platform",
    "classifiers",
    "download_url",
    "supported_platform",
    "comment",
    "provides",
    "requires",
    "obsoletes",
    "project_urls",
    "provides_dist",
    "obsoletes_dist",
    "requires_dist",
    "requires_external",
    "requires_python",
    "description_content_type",
    "provides_extras",
    "dynamic",
    "license_expression",
    "license_file",
)
"""Every key of the object, in this order."""
LISTS: Final = frozenset(
    {
        "platform",
        "classifiers",
        "supported_platform",
        "provides",
        "requires",
        "obsoletes",
        "project_urls",
        "provides_dist",
        "obsoletes_dist",
        "requires_dist",
        "requires_external",
        "provides_extras",
        "dynamic",
        "license_file",
    }
)
"""The keys whose value is a list of texts."""

ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "classifiers": ("classifiers", "classifier"),
    "platform": ("platform", "platforms"),
    "supported_platform": ("supported_platform", "supported_platforms"),
    "project_urls": ("project_urls", "project_url"),
    "provides_extras": ("provides_extras", "provides_extra"),
    "license_file": ("license_file", "license_files"),
}
"""Further names of form fields that clients send."""
_HEADERS: Final[Mapping[str, str]] = {
    "classifiers": "classifier",
    "project_urls": "project-url",
    "provides_extras": "provides-extra",
}
"""The metadata header of a key, if it is not the key with dashes."""
_SINCE_2_2: Final = ("2.2", "2.3", "2.4", "2.5", "2.6")


def encode_metadata(values: Mapping[str, object]) -> bytes:
    """Write the object with every key. Keys that `values` lacks are empty; unknown keys are left out."""
    return msgspec.json.encode(
        {key: _list(values.get(key)) if key in LISTS else _text(values.get(key)) for key in KEYS}
    )


def from_archive(metadata: CoreMetadata) -> bytes:
    """Encode the metadata of an archive."""
    return encode_metadata(_of_archive(metadata))


def from_sdist(metadata: CoreMetadata, known: bytes) -> bytes:
    """Encode the metadata of a source distribution, beside the `known` metadata of its version.

    A field that the sdist lacks and that a build may fill in keeps its known value: the fields that `Dynamic` names, and before
    metadata 2.2, which has no `Dynamic`, all fields.
    """
    values = _of_archive(metadata)
    before: dict[str, Any] = msgspec.json.decode(known)
    open_to_builds = {name.lower() for name in metadata.dynamic}
    for key in KEYS:
        header = _HEADERS.get(key, key.replace("_", "-"))
        may_follow = metadata.metadata_version not in _SINCE_2_2 or header in open_to_builds
        if not values.get(key) and may_follow:
            values[key] = before.get(key)
    return encode_metadata(values)


def from_form(form: UploadForm) -> bytes:
    """Encode the metadata of a form that registers a version. `form_identity` has checked its name and version."""
    return encode_metadata(
        {
            key: [value for alias in ALIASES.get(key, (key,)) for value in form.fields.get(alias, ())]
            if key in LISTS
            else form.first(key)
            for key in KEYS
        }
    )


def bare(name: str, version: str, requires_python: str = "") -> bytes:
    """Encode the metadata of a version of which only files are known."""
    return encode_metadata({"name": name, "version": version, "requires_python": requires_python})


def check_registration(form: UploadForm, findings: Findings) -> None:
    """Refuse a form that cannot register a version, with devpi's messages."""
    for field in ("name", "version"):
        if not form.first(field):
            findings.refuse(f'invalid metadata: Missing required field "{field}"')
    if form.first("protocol_version") not in {"", "1"}:
        findings.refuse("Unknown protocol version.")
    name, version = form.first("name"), form.first("version")
    if name and normalized_or_none(name) is None:
        findings.refuse(f"invalid metadata: {name[:80]!a} is not a project name")
    if version and not is_pep440(version):
        text = f"invalid metadata: {version[:80]!a} is not a version (PEP 440)"
        if LEGACY_MARKS.fullmatch(version):
            findings.unusual(Unusual.VERSION, text)
        else:
            findings.refuse(text)


def _of_archive(metadata: CoreMetadata) -> dict[str, Any]:
    values: dict[str, Any] = {key: getattr(metadata, key, None) for key in KEYS}
    values |= {
        "keywords": ",".join(metadata.keywords),
        "platform": metadata.platforms,
        "supported_platform": metadata.supported_platforms,
        "project_urls": [f"{label}, {url}" if url else label for label, url in metadata.project_urls],
        "provides_extras": metadata.provides_extra,
        "license_file": metadata.license_files,
    }
    return values


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        value = ",".join(str(each) for each in value)
    text = "" if value is None else str(value)
    return "" if text == "UNKNOWN" else text


def _list(value: object) -> list[str]:
    values = value if isinstance(value, list | tuple) else [] if value is None else [value]
    return [text for text in map(_text, values) if text]
