"""Pages where pypiserver has them: the way to a project, its document, the fallback, the front page and the health text."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Final

from pkgindex_core.errors import Missing, Refused
from pkgindex_core.names import normalized_or_none
from pkgindex_http.handlers import project_json, simple
from pkgindex_http.requests import Ask
from pkgindex_http.wire.replies import HTML, SECURITY_HEADERS, Reply, redirect, text_reply

_FIELD: Final = re.compile(r"\{\{\s*(!?)\s*(URL|VERSION|NUMPKGS|PACKAGES|SIMPLE)\s*\}\}")


async def to_project(ask: Ask) -> Reply:
    """Send `/NAME` and `/NAME/` to the project's page, for clients whose index URL is the root."""
    written = ask.values["user"]
    project = normalized_or_none(written)
    if project is None:
        raise Missing("page", written[:160])
    return redirect(f"{ask.root}simple/{project}/", status=303)


async def document(ask: Ask) -> Reply:
    """A project as JSON. Another spelling of the name is redirected."""
    if ask.values["project"] != ask.project:
        return redirect(f"../{ask.project}/json")
    return await project_json.document(ask)


async def nothing(ask: Ask) -> Reply:
    """Say that there is none: a browser asks for an icon with every page, and no project is called so."""
    raise Missing("page", f"/{'/'.join(ask.segments)}"[:160])


async def healthy(ask: Ask) -> Reply:  # noqa: ARG001 - handlers have one signature
    """Pypiserver's word for being alive."""
    return text_reply("Ok", headers={"Cache-Control": "no-store"})


class Fallback:
    """Sends installers elsewhere for a project that is not here."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    async def project_page(self, ask: Ask) -> Reply:
        """The page; when there is no such project, the way to the other index. What is unknown now is 503 and no redirect."""
        project = ask.project
        try:
            return await simple.project_page(ask)
        except Missing as error:
            if error.what != "project":
                raise
        headers = {"Location": f"{self._url}/{project}/", "Cache-Control": "no-store", **SECURITY_HEADERS}
        return Reply(status=302, headers=headers)


class Welcome:
    """A front page out of a file, in which `{{URL}}` and its like are filled in; `{{!URL}}` is not escaped, as in pypiserver."""

    def __init__(self, path: Path) -> None:
        try:
            self._text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeError) as error:
            raise Refused(f"the welcome page {path} cannot be read: {error}") from error

    async def page(self, ask: Ask) -> Reply:
        config = await ask.engine.indexes.config(ask.index)
        names = await ask.engine.sources.of(config).names(config, ask=False)
        count = 0
        async for rows in names.read(""):
            count += len(rows)
        values: Mapping[str, str] = {
            "URL": f"{ask.url}/",
            "VERSION": metadata.version("pkgindex"),
            "NUMPKGS": str(count),
            "PACKAGES": f"{ask.url}/packages/",
            "SIMPLE": f"{ask.url}/simple/",
        }

        def filled(match: re.Match[str]) -> str:
            return values[match[2]] if match[1] else html.escape(values[match[2]])

        headers = {
            "Content-Type": HTML,
            "Cache-Control": "no-store",
        }  # the page is the administrator's, scripts and all
        return Reply(headers=headers, body=_FIELD.sub(filled, self._text).encode())
