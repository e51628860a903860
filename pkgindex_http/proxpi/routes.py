"""proxpi's URLs, and those of the simple API and of files for clients that send credentials of a proxy in front of the server.

Everything is about the default index, and open to everybody. Nothing can be uploaded.
"""

from __future__ import annotations

from typing import Final

from pkgindex_core.hookspecs import Context
from pkgindex_http.handlers import files, simple
from pkgindex_http.proxpi import front, pages
from pkgindex_http.proxpi.settings import read_settings
from pkgindex_http.routing import Glanced, Public, Route

_OPEN: Final = Glanced(
    "the cache is open to everybody, and clients may send the credentials of a proxy in front", pages.may_read
)
_NO_UPLOADS: Final = Public("the answer is constant")


def made(context: Context) -> tuple[Route, ...]:
    """The routes for the settings in the context."""
    page = front.FrontPage(read_settings(context.settings))
    # fmt: off
    return (
        Route("GET", "/", Public("the URLs of upstreams, without credentials"), page.page,
            "a page for a person: how to use the cache, its upstreams, and buttons to ask them again"),
        Route("GET", "/health", Public("a constant"), pages.healthy, 'the document {"status": "success", "data": null}'),
        Route("GET", "/index", _OPEN, simple.add_slash, "redirect to the list of projects"),
        Route("GET", "/index/", _OPEN, pages.project_list, "the list of projects"),
        Route("GET", "/index/{project}", _OPEN, simple.add_slash, "redirect to the project's page"),
        Route("GET", "/index/{project}/", _OPEN, pages.project_page, "a project's files"),
        Route("GET", "/index/{project}/{filename}", _OPEN, pages.file, "the file that has the name now, or its sidecar with .metadata at the end"),
        Route("GET", "/index/{project}/{user}/{index}/+f/{a}/{b}/{filename}", _OPEN, files.download, "a file whose bytes the URL fixes"),
        Route("GET", "/index/{project}/{user}/{index}/+e/{a}/{filename}", _OPEN, files.download, "a file without a known sha256"),
        Route("DELETE", "/cache/list", _OPEN, pages.forget_list, "ask the upstreams for their lists at the next request"),
        Route("DELETE", "/cache/{project}", _OPEN, pages.forget_project, "ask the upstreams for the project at the next request"),
        Route("GET", "/simple", _OPEN, simple.add_slash, "redirect to the list of projects"),
        Route("GET", "/simple/", _OPEN, simple.project_list, "the list of projects"),
        Route("GET", "/simple/{project}", _OPEN, simple.add_slash, "redirect to the project's page"),
        Route("GET", "/simple/{project}/", _OPEN, simple.project_page, "a project's files"),
        Route("GET", "/{user}/{index}/+f/{a}/{b}/{filename}", _OPEN, files.download, "a file whose bytes the URL fixes"),
        Route("GET", "/{user}/{index}/+e/{a}/{filename}", _OPEN, files.download, "a file without a known sha256"),
        Route("POST", "/", _NO_UPLOADS, front.no_uploads, "405: nothing can be uploaded"),
        Route("POST", "/legacy", _NO_UPLOADS, front.no_uploads, "the same"),
        Route("POST", "/legacy/", _NO_UPLOADS, front.no_uploads, "the same"),
    )
    # fmt: on
