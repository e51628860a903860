"""Answers that are no pages of an index: a page that lies in a file, and a folder whose files all show under one name.

Both are what simpleindex answers. Links have no digests, and nothing is kept: the file system is asked each time, in a worker. Names that begin
with a dot and symbolic links are left out, as in every directory.
"""

from __future__ import annotations

import html
import os
import stat
from pathlib import Path
from typing import Final
from urllib.parse import quote

from aiohttp import web

from pkgindex_core.engines.directory.listing import project_of
from pkgindex_core.errors import Missing, Unavailable
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import Span
from pkgindex_core.protocols.sources import mark_of
from pkgindex_http.requests import Ask
from pkgindex_http.wire.ranges import parse_range
from pkgindex_http.wire.replies import HTML, SECURITY_HEADERS, Reply, text_reply
from pkgindex_http.wire.sending import FileResponse

_LARGEST_PAGE: Final = 64 * 1024 * 1024
"""Bytes."""
_HEADERS: Final = {**SECURITY_HEADERS, "Cache-Control": "max-age=0, must-revalidate"}


async def page(ask: Ask, path: str, project: ProjectName) -> Reply:
    """A page that is written in a file."""

    def read() -> bytes | None:
        try:
            with Path(path).open("rb") as file:
                data = file.read(_LARGEST_PAGE + 1)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as error:
            raise Unavailable(f"the page of {project} cannot be read: {os.strerror(error.errno or 0)}") from error
        if len(data) > _LARGEST_PAGE:
            raise Unavailable(f"the page of {project} is larger than {_LARGEST_PAGE} bytes", retry_after=None)
        return data

    data = await ask.engine.in_worker(read)
    if data is None:
        raise Missing("project", project)
    return Reply(headers={**_HEADERS, "Content-Type": HTML}, body=data)


async def folder(ask: Ask, path: str, project: ProjectName) -> Reply:
    """A page with every distribution in a folder, whatever its project."""

    def read() -> list[str] | None:
        try:
            with os.scandir(path) as found:
                return sorted(each.name for each in found if project_of(each.name) is not None and _is_regular(each))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise Unavailable(f"the folder of {project} cannot be read: {os.strerror(error.errno or 0)}") from error

    names = await ask.engine.in_worker(read)
    if names is None:
        raise Missing("project", project)
    links = "".join(f'<a href="{quote(name)}">{html.escape(name)}</a><br>\n' for name in names)
    head = f"<!DOCTYPE html>\n<html><head><title>Links for {project}</title></head><body>\n"
    return Reply(headers={**_HEADERS, "Content-Type": HTML}, body=f"{head}{links}</body></html>\n".encode())


async def file(ask: Ask, path: str, filename: str) -> Reply | web.StreamResponse:
    """A distribution in a folder."""

    def look() -> os.stat_result | None:
        try:
            return os.lstat(f"{path}/{filename}")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise Unavailable(f"{filename} cannot be read: {os.strerror(error.errno or 0)}") from error

    found = await ask.engine.in_worker(look) if project_of(filename) is not None else None
    if found is None or not stat.S_ISREG(found.st_mode):
        raise Missing("file", filename[:160])
    headers = {**_HEADERS, "Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
    wanted = ask.request.headers.get("Range") if ask.request.method == "GET" else None
    span = parse_range(wanted, found.st_size) if "If-Range" not in ask.request.headers else None
    if span == "unsatisfiable":
        beyond = {"Content-Range": f"bytes */{found.st_size}", "Cache-Control": "no-store"}
        return text_reply("the range is beyond the end of the file", status=416, headers=beyond)
    status = 200
    if isinstance(span, Span):
        status = 206
        headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{found.st_size}"
    whole = Span(0, found.st_size) if found.st_size else None
    reply = Reply(status=status, headers=headers)
    return FileResponse(
        reply, Path(path, filename), span if isinstance(span, Span) else whole, ask.engine.workers, mark=mark_of(found)
    )


def _is_regular(each: os.DirEntry[str]) -> bool:
    return each.is_file(follow_symlinks=False)
