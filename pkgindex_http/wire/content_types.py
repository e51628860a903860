"""Content types of documentation files, by extension: a fixed table, so that the table of the system has no influence.

Other files are sent as bytes to save (`nosniff` keeps browsers from guessing). HTML names its encoding itself; other text is UTF-8.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

OTHER: Final = "application/octet-stream"

TYPES: Final[Mapping[str, str]] = {
    "html": "text/html",
    "htm": "text/html",
    "xhtml": "application/xhtml+xml",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "mjs": "text/javascript; charset=utf-8",
    "json": "application/json",
    "map": "application/json",
    "xml": "application/xml",
    "txt": "text/plain; charset=utf-8",
    "rst": "text/plain; charset=utf-8",
    "md": "text/plain; charset=utf-8",
    "py": "text/plain; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "ipynb": "application/x-ipynb+json",
    "svg": "image/svg+xml",
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "avif": "image/avif",
    "ico": "image/x-icon",
    "bmp": "image/bmp",
    "woff": "font/woff",
    "woff2": "font/woff2",
    "ttf": "font/ttf",
    "otf": "font/otf",
    "eot": "application/vnd.ms-fontobject",
    "mp4": "video/mp4",
    "webm": "video/webm",
    "mp3": "audio/mpeg",
    "ogg": "audio/ogg",
    "wav": "audio/wav",
    "wasm": "application/wasm",
    "pdf": "application/pdf",
    "epub": "application/epub+zip",
    "zip": "application/zip",
    "gz": "application/gzip",
}


def content_type(path: str) -> str:
    """The content type of a file, by its extension.

    >>> content_type("_static/BASIC.CSS")
    'text/css; charset=utf-8'
    >>> content_type("objects.inv")
    'application/octet-stream'
    """
    stem, dot, extension = path.rpartition("/")[2].rpartition(".")
    return TYPES.get(extension.lower(), OTHER) if dot and stem else OTHER
