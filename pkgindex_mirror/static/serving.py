"""The headers under which a tree is served: examples for web servers, and the metadata of objects in object stores."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pkgindex_mirror.object_headers import CHECKED, FOREVER, ObjectHeaders

_EXAMPLES: Final = Path(__file__).with_name("web_servers")
_NAMES: Final = ("nginx.conf", "nginx-bucket.conf", "Caddyfile")


def examples() -> Mapping[str, bytes]:
    """Configurations by their place in the tree."""
    return {f".pkgindex/{name}": (_EXAMPLES / name).read_bytes() for name in _NAMES}


def headers_of(path: str) -> ObjectHeaders:
    """The headers of an object of a tree."""
    if path.startswith("files/"):
        return ObjectHeaders("application/octet-stream", FOREVER)
    if path.endswith(".html"):
        return ObjectHeaders("text/html", CHECKED)
    if path.startswith("simple/"):
        return ObjectHeaders("application/vnd.pypi.simple.v1+json", CHECKED)
    return ObjectHeaders("application/json", CHECKED)
