"""Writing the form of the legacy upload API: bytes before the file, bytes behind it, and the length of the whole. Pure.

Field names are those of warehouse and twine, which differ in a few places from the keys that devpi keeps.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from pkgindex_core.formats.filenames import kind_of
from pkgindex_core.models import File

_RENAMED = {"provides_extras": "provides_extra", "license_file": "license_files"}
_TYPES = {
    "wheel": "bdist_wheel",
    "sdist": "sdist",
    "egg": "bdist_egg",
    "wininst": "bdist_wininst",
    "msi": "bdist_msi",
    "rpm": "bdist_rpm",
    "dumb": "bdist_dumb",
    "dmg": "bdist_dmg",
    "deb": "bdist_deb",
    "other": "sdist",
}
Fields = Mapping[str, str | list[str]]


class Form(Struct, frozen=True, kw_only=True):
    """A form with a file, or without one."""

    content_type: str
    head: bytes
    tail: bytes
    length: int
    """Bytes of the whole form, the file included."""


def metadata_fields(name: str, version: str, metadata: Mapping[str, Any]) -> dict[str, str | list[str]]:
    """The metadata of a release as fields of the form, without the empty ones."""
    fields: dict[str, str | list[str]] = {"protocol_version": "1", "metadata_version": "2.1"}
    for key, value in metadata.items():
        if value and isinstance(value, str | list):
            fields[_RENAMED.get(key, key)] = value
    return {**fields, "name": name, "version": version}


def file_fields(file: File) -> dict[str, str | list[str]]:
    """The fields of one file: its kind, its Python, its digests."""
    kind = kind_of(file.filename)
    python = "source" if kind == "sdist" else "any"
    if kind == "wheel" and file.filename.count("-") >= 4:
        python = file.filename.removesuffix(".whl").split("-")[-3]  # name-version-python-abi-platform
    fields: dict[str, str | list[str]] = {
        ":action": "file_upload",
        "filetype": _TYPES[kind],
        "pyversion": python,
        "sha256_digest": str(file.sha256),
    }
    if "md5" in file.digests:
        fields["md5_digest"] = file.digests["md5"]
    return fields


def form_of(fields: Fields, *, filename: str = "", size: int | None = None) -> Form:
    """Write a form; with a filename and a size, around a file of that size."""
    boundary = secrets.token_hex(24)
    head = bytearray()
    for name, value in fields.items():
        for each in [value] if isinstance(value, str) else value:
            head += f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"\r\n\r\n{each}\r\n'.encode()
    if size is not None:
        head += (
            f'--{boundary}\r\nContent-Disposition: form-data; name="content"; filename="{_quoted(filename)}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
    end = f"\r\n--{boundary}--\r\n" if size is not None else f"--{boundary}--\r\n"
    tail = end.encode()
    return Form(
        content_type=f"multipart/form-data; boundary={boundary}",
        head=bytes(head),
        tail=tail,
        length=len(head) + (size or 0) + len(tail),
    )


def _quoted(text: str) -> str:
    """Quote a parameter as the HTML standard does: quotes and line breaks are percent-encoded."""
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
