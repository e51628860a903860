"""pypiserver's URLs, in the place of some native ones and beside the others. They are about the default index.

A project may be called like a user: `/NAME/` leads to the project's page here, and to the user's document for clients that ask for
`application/json`, which devpi's do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pkgindex_core.hookspecs import Context
from pkgindex_core.rules.permissions import Action
from pkgindex_http.devpi import accounts, discovery
from pkgindex_http.handlers import simple, uploads
from pkgindex_http.pypiserver import pages
from pkgindex_http.pypiserver.forms import Forms
from pkgindex_http.pypiserver.packages import Packages
from pkgindex_http.pypiserver.settings import read_settings
from pkgindex_http.requests import wants_document
from pkgindex_http.routing import Checked, Glanced, OnIndex, Public, Route, Variant, late

_READ: Final = OnIndex(Action.READ, about="index")
_READ_PROJECT: Final = OnIndex(Action.READ, about="project")
_UPLOAD: Final = Checked(Action.UPLOAD, uploads.may_upload, unread=True)
_UPLOAD_BY_ALL: Final = Glanced("updates need no log-in, and twine sends credentials anyway", uploads.may_upload)
_SPELLING: Final = Glanced("to another spelling of the URL; as JSON, what the caller may see of a user")
_ROOT: Final = Glanced("a page that says what this is; as JSON, those users and indexes that the caller may see")


def made(context: Context) -> tuple[Route, ...]:
    """The routes for the settings in the context."""
    settings = read_settings(context.settings)
    packages = Packages(settings.cache_control)
    is_open = "update" not in settings.authenticate
    forms = Forms(is_open=is_open)
    may_fetch = Checked(Action.READ, packages.may_fetch)
    front = pages.Welcome(Path(settings.welcome)).page if settings.welcome else late("pkgindex_http.pages.home:welcome")
    redirects = settings.fallback_url and not settings.proxy_fallback
    page = pages.Fallback(settings.fallback_url).project_page if redirects else simple.project_page
    # fmt: off
    return (
        Route("GET", "/", _ROOT, front, "a page for a person, or the file of `--welcome`",
            variants=(Variant(wants_document, accounts.list_users, Glanced(_ROOT.why, discovery.may_ask), envelope=True),)),
        Route("POST", "/", _UPLOAD_BY_ALL if is_open else _UPLOAD, forms.take, "`:action`: file_upload, doc_upload, remove_pkg, submit, verify"),
        Route("POST", "/RPC2", _READ, late("pkgindex_http.handlers.xmlrpc:called"), "XML-RPC: `search`"),
        Route("GET", settings.health_endpoint, Public("a constant"), pages.healthy, "the text Ok"),
        Route("GET", "/favicon.ico", Public("a constant"), pages.nothing, "404"),
        Route("GET", "/simple/{project}/", _READ_PROJECT, page, "a project's files, or the way to the fallback", repeats=True),
        Route("GET", "/packages", OnIndex(Action.READ, about="anything"), simple.add_slash, "to the list of files"),
        Route("GET", "/packages/", _READ, packages.listed, "every file on one page"),
        Route("GET", "/packages/{a}/{b}/{c}/{filename}", may_fetch, packages.fetch, "a file by its name, or by PyPI's path"),
        Route("GET", "/packages/{path...}", may_fetch, packages.fetch, "a file by its name"),
        Route("GET", "/{project}/json", _READ_PROJECT, pages.document, "a project as JSON"),
        Route("GET", "/{user}[/]", _SPELLING, pages.to_project, "to the page of the project of this name",
            variants=(Variant(wants_document, accounts.show, Glanced(_SPELLING.why, accounts.may_show), envelope=True),)),
    )
    # fmt: on
