"""The index type `directory` and its option `roots`: local directories and fsspec URLs whose wheels and sdists an index shows.

A root is read with the rights of the server, so only indexes of the user `root` may have roots. That is checked when the option is set, and again
when it is used, since configurations also come from dumps and other servers.
"""

from __future__ import annotations

import os.path
import re
from typing import Any, Final

from msgspec.structs import replace

from pkgindex_core.errors import BadUpstream, Refused
from pkgindex_core.models import IndexConfig
from pkgindex_core.names import owner
from pkgindex_core.protocols import IndexOption, IndexType
from pkgindex_core.rules.permissions import ROOT

_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SHOWN: Final = 200


def parsed_roots(value: Any) -> tuple[str, ...]:
    """The roots, without duplicates. The first takes uploads. Text has one root a line."""
    words = value.splitlines() if isinstance(value, str) else value
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        raise Refused("roots is a list of directories and URLs", hint="write one directory a line, or a JSON list")
    roots = tuple(dict.fromkeys(_root(word.strip()) for word in words if word.strip()))
    if not roots:
        raise Refused("roots names no directory", hint="write at least one, such as /srv/packages")
    return roots


def _root(word: str) -> str:
    shown = ascii(word[:_SHOWN])
    url = _URL.match(word)
    if not word.isprintable() or "::" in word:
        raise Refused(f"{shown} is no root", hint="a root is an absolute path or one URL, such as s3://bucket/wheels")
    if url and url[1].lower() != "file":
        if "@" in word.partition("://")[2].partition("/")[0]:
            raise Refused("a root has credentials in its URL", hint="give them as [plugins.directory] storage_options")
        if url[1].lower() in {"http", "https"}:
            raise Refused(f"{shown} is a website", hint="an index of the type mirror reads a website")
        return word.rstrip("/")
    path = word[url.end() :] if url else word
    if not path.startswith("/"):
        raise Refused(f"the directory {shown} is not absolute", hint="write it from /, such as /srv/packages")
    path = os.path.normpath(path)
    if path.strip("/") == "":
        raise Refused("the whole file system is no root", hint="name the directory with the packages")
    return path


def with_roots(config: IndexConfig, roots: tuple[str, ...]) -> IndexConfig:
    """The index with these roots, if it may have any."""
    if owner(config.name) != ROOT:
        raise Refused(
            "only indexes of the user root can have roots: they are read with the rights of the server",
            hint=f"make the index below {ROOT}/, and give others rights to it with acl_read and acl_upload",
        )
    return replace(config, options={**config.options, "roots": list(roots)})


def roots_of(config: IndexConfig) -> tuple[str, ...]:
    """The roots that an index may use, as they are configured."""
    roots = config.options.get("roots")
    if owner(config.name) != ROOT or not roots:
        raise BadUpstream(f"{config.name} has no directory that it may show", hint="set roots, below the user root")
    return parsed_roots(roots)


def is_local(root: str) -> bool:
    """Whether a root is a directory of this machine's file system."""
    return root.startswith("/")


DIRECTORY_TYPE: Final = IndexType(files_elsewhere=True)
ROOTS_OPTION: Final = IndexOption(
    parse=parsed_roots, types=("directory",), required=True, is_list=True, private=True, write=with_roots
)
