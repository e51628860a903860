"""The form of the legacy upload API as bytes, for tests that send HTTP requests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pkgindex_core.testing.wheels import BuiltFile

BOUNDARY = "pkgindex-test-boundary"


def upload_fields(built: BuiltFile) -> dict[str, str]:
    """The fields that a correct client sends with a file."""
    wheel = built.filename.endswith(".whl")
    parts = built.filename.removesuffix(".tar.gz").removesuffix(".whl").split("-")
    return {
        ":action": "file_upload",
        "protocol_version": "1",
        "metadata_version": "2.1",
        "name": parts[0],
        "version": parts[1],
        "filetype": "bdist_wheel" if wheel else "sdist",
        "pyversion": parts[-3] if wheel else "source",
        "sha256_digest": built.sha256,
    }


def upload_form(
    built: BuiltFile, changed: Mapping[str, str | None] | None = None, *, more: Iterable[tuple[str, str]] = ()
) -> tuple[str, bytes]:
    """The content type and the body of an upload. `changed` replaces fields; the value None leaves one out."""
    fields = {**upload_fields(built), **(changed or {})}
    body = bytearray()
    for name, value in [*fields.items(), *more]:
        if value is not None:
            body += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
    body += (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="content"; filename="{built.filename}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode()
    body += built.data + f"\r\n--{BOUNDARY}--\r\n".encode()
    return f"multipart/form-data; boundary={BOUNDARY}", bytes(body)
