"""Upload forms for tests: good ones built by hand, and every way to get one wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from pkgindex_core.testing.wheels import BuiltFile

BOUNDARY = b"------------------------0123456789abcdef"
CONTENT_TYPE = b"multipart/form-data; boundary=" + BOUNDARY

Part = tuple[str, str | None, bytes]
"""Name, filename (None for a text field), value."""


def encode_form(parts: Iterable[Part], *, boundary: bytes = BOUNDARY) -> bytes:
    """Write a form as the usual clients do."""
    body = bytearray()
    for name, filename, value in parts:
        disposition = f'form-data; name="{name}"' + (f'; filename="{filename}"' if filename is not None else "")
        body += b"--%s\r\nContent-Disposition: %s\r\n" % (boundary, disposition.encode())
        if filename is not None:
            body += b"Content-Type: application/octet-stream\r\n"
        body += b"\r\n%s\r\n" % value
    return bytes(body + b"--%s--\r\n" % boundary)


def digests(data: bytes) -> dict[str, str]:
    """The digest fields that clients send."""
    return {
        "md5_digest": hashlib.md5(data, usedforsecurity=False).hexdigest(),
        "sha256_digest": hashlib.sha256(data).hexdigest(),
        "blake2_256_digest": hashlib.blake2b(data, digest_size=32).hexdigest(),
    }


def upload_fields(built: BuiltFile, **changed: str | None) -> dict[str, str]:
    """The fields that go with a file; `changed` replaces some of them, None leaves one out."""
    sdist = built.filename.endswith(".tar.gz")
    stem = built.filename.removesuffix(".tar.gz").split("-")
    fields: dict[str, str | None] = {
        ":action": "file_upload",
        "protocol_version": "1",
        "metadata_version": built.metadata.decode().splitlines()[0].partition(": ")[2],
        "name": stem[0],
        "version": stem[1],
        "filetype": "sdist" if sdist else "bdist_wheel",
        "pyversion": "source" if sdist else stem[-3],
        "sha256_digest": built.sha256,
        **changed,
    }
    return {name: value for name, value in fields.items() if value is not None}


def upload_parts(
    built: BuiltFile,
    *,
    fields: Mapping[str, str] | None = None,
    first: bool = False,
    filename: str | None = None,
    data: bytes | None = None,
) -> list[Part]:
    """The parts of an upload, `content` last or first."""
    texts: list[Part] = [
        (name, None, value.encode()) for name, value in (upload_fields(built) if fields is None else fields).items()
    ]
    content: Part = (
        "content",
        built.filename if filename is None else filename,
        built.data if data is None else data,
    )
    return [content, *texts] if first else [*texts, content]


def _head(*lines: bytes) -> bytes:
    return b"--%s\r\n%s\r\n\r\n" % (BOUNDARY, b"\r\n".join(lines))


_NAME = b'Content-Disposition: form-data; name="name"'
_FILE = b'Content-Disposition: form-data; name="content"; filename="demo-1.0-py3-none-any.whl"'
_END = b"\r\n--%s--\r\n" % BOUNDARY
_MIDDLE = b"\r\n--%s\r\n" % BOUNDARY
_GOOD = encode_form([("name", None, b"demo"), ("content", "demo-1.0-py3-none-any.whl", b"PK" * 100)])


def _bodies() -> list[tuple[str, bytes]]:
    """Bodies under the right Content-Type."""
    good = _GOOD
    cut = [
        (f"cut off after {size} bytes", good[:size]) for size in (1, 2, 10, 40, 60, 100, 140, 200, 300, len(good) - 4)
    ]
    return [
        ("nothing", b""),
        ("a line end", b"\r\n"),
        ("no boundary", b"name=demo&content=x"),
        ("JSON", b'{"name": "demo"}'),
        ("another boundary", encode_form([("name", None, b"demo")], boundary=b"other")),
        ("a boundary without dashes", good.replace(b"--" + BOUNDARY, BOUNDARY)),
        ("a long preamble", b"x" * 20_000 + b"\r\n" + good),
        *cut,
        ("line feeds alone", good.replace(b"\r\n", b"\n")),
        ("carriage returns alone", good.replace(b"\r\n", b"\r")),
        ("something behind a boundary", good.replace(BOUNDARY + b"\r\n", BOUNDARY + b"x\r\n", 1)),
        ("a boundary that goes on", good.replace(BOUNDARY + b"\r\n", BOUNDARY + b"0\r\n", 1)),
        ("a boundary and a line feed", good.replace(BOUNDARY + b"\r\n", BOUNDARY + b"\n", 1)),
        ("a long blank line behind a boundary", good.replace(BOUNDARY + b"\r\n", BOUNDARY + b" " * 500 + b"\r\n", 1)),
        ("no headers", b"--%s\r\n\r\nvalue%s" % (BOUNDARY, _END)),
        ("no header end", b"--%s\r\n%s\r\nvalue%s" % (BOUNDARY, _NAME, _END)),
        ("endless headers", b"--%s\r\n" % BOUNDARY + b"X-A: b\r\n" * 5000),
        ("one endless header", b"--%s\r\nX-A: %s" % (BOUNDARY, b"b" * 50_000)),
        ("an endless header name", _head(b"X" * 9000 + b": y", _NAME) + b"v" + _END),
        ("a header without colon", _head(b"Content-Disposition form-data", _NAME) + b"v" + _END),
        ("a header without name", _head(b": value", _NAME) + b"v" + _END),
        ("a header name with a blank", _head(b"Content-Disposition : form-data; name=a") + b"v" + _END),
        ("a header name with NUL", _head(b"X\0: y", _NAME) + b"v" + _END),
        ("a header value with NUL", _head(b"X: y\0z", _NAME) + b"v" + _END),
        ("a header value with CR", _head(b"X: y\rz", _NAME) + b"v" + _END),
        ("a header value with LF", _head(b"X: y\nz", _NAME) + b"v" + _END),
        ("a folded header", _head(b"Content-Disposition: form-data;\r\n name=a") + b"v" + _END),
        ("a header twice", _head(_NAME, _NAME) + b"v" + _END),
        ("a header twice, in other case", _head(_NAME, _NAME.lower()) + b"v" + _END),
        ("a header that is not UTF-8", _head(b"X: \xff", _NAME) + b"v" + _END),
        ("no disposition", _head(b"Content-Type: text/plain") + b"v" + _END),
        ("an empty disposition", _head(b"Content-Disposition:") + b"v" + _END),
        ("another disposition", _head(b'Content-Disposition: attachment; name="a"') + b"v" + _END),
        ("a disposition without name", _head(b"Content-Disposition: form-data") + b"v" + _END),
        ("a file without name", _head(b'Content-Disposition: form-data; filename="a"') + b"v" + _END),
        ("an empty name", _head(b'Content-Disposition: form-data; name=""') + b"v" + _END),
        ("a long name", _head(b'Content-Disposition: form-data; name="%s"' % (b"n" * 201)) + b"v" + _END),
        ("a name twice", _head(_NAME + b"; name=other") + b"v" + _END),
        ("a filename twice", _head(_FILE + b'; filename="other"') + b"v" + _END),
        ("an unclosed quote", _head(b'Content-Disposition: form-data; name="name') + b"v" + _END),
        ("an unclosed filename", _head(b'Content-Disposition: form-data; name="a"; filename="x') + b"v" + _END),
        ("text behind a quote", _head(b'Content-Disposition: form-data; name="a"b') + b"v" + _END),
        ("a parameter without value", _head(b"Content-Disposition: form-data; name") + b"v" + _END),
        ("a parameter without semicolon", _head(b"Content-Disposition: form-data name=a") + b"v" + _END),
        ("an extended filename", _head(b"Content-Disposition: form-data; name=a; filename*=UTF-8''x") + b"v" + _END),
        ("base64", _head(_FILE, b"Content-Transfer-Encoding: base64") + b"UEs=" + _END),
        ("quoted-printable", _head(_NAME, b"Content-Transfer-Encoding: quoted-printable") + b"=41" + _END),
        ("a nested form", _head(_FILE, b"Content-Type: multipart/mixed; boundary=inner") + b"--inner--"),
        ("a field that is not UTF-8", _head(_NAME) + b"\xff\xfe" + _END),
        ("a field with half a character", _head(_NAME) + b"caf\xc3" + _END),
        ("a field beyond the limit", _head(_NAME) + b"x" * 70_000 + _END),
        ("no end", _head(_NAME) + b"v"),
        ("no end after a boundary", _head(_NAME) + b"v" + _MIDDLE),
        ("half an end", _head(_NAME) + b"v\r\n--%s-" % BOUNDARY),
        ("a part after another without line end", _head(_NAME) + b"v" + _head(_NAME) + b"v"),
        ("a thousand boundaries", (b"--%s\r\n" % BOUNDARY) * 1000),
        ("boundaries without parts", b"--%s" % BOUNDARY + _MIDDLE * 100 + _END),
        ("NULs", b"\0" * 10_000),
        ("dashes", b"-" * 10_000),
        ("line ends", b"\r\n" * 10_000),
    ]


def _types() -> list[tuple[str, bytes]]:
    """Content types under which a good body cannot be read."""
    return [
        ("no Content-Type", b""),
        ("another Content-Type", b"application/x-www-form-urlencoded"),
        ("mixed", CONTENT_TYPE.replace(b"form-data", b"mixed")),
        ("no boundary parameter", b"multipart/form-data"),
        ("an empty boundary", b"multipart/form-data; boundary="),
        ("an empty quoted boundary", b'multipart/form-data; boundary=""'),
        ("two boundaries", CONTENT_TYPE + b"; boundary=other"),
        ("a long boundary", b"multipart/form-data; boundary=" + b"b" * 71),
        ("a boundary with odd characters", b'multipart/form-data; boundary="a{b}"'),
        ("an unclosed boundary", b'multipart/form-data; boundary="abc'),
        ("a boundary in latin-1", "multipart/form-data; boundary=é".encode("latin-1")),
        ("a type without slash", b"multipart; boundary=" + BOUNDARY),
    ]


MALFORMED: Sequence[tuple[str, bytes, bytes]] = (
    *((why, CONTENT_TYPE, body) for why, body in _bodies()),
    *((why, kind, _GOOD) for why, kind in _types()),
)
"""(why, Content-Type, body) of forms that must be refused, with a limit of 65,536 bytes for a text field."""
FIELD_BYTES = 65_536
