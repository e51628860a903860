"""The URLs on which people work. They are a part of the table in `pkgindex_http.routes`.

A cookie counts here and on the pages to read, and nowhere else. Each POST needs the token of its form.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from pkgindex_core.rules.permissions import Action
from pkgindex_http.handlers import uploads
from pkgindex_http.routing import Checked, Glanced, OnIndex, Public, Route, late


def _late(place: str) -> Callable[..., Awaitable[Any]]:
    return late(f"pkgindex_http.working.{place}")


_page = partial(Route, people=True)
_READ = OnIndex(Action.READ, about="index")
_READ_PROJECT = OnIndex(Action.READ, about="project")
_TOKENS = Checked(Action.TOKEN_MANAGE, _late("accounts:may_manage"))
_USERS = Checked(Action.USER_LIST, _late("accounts:may_list"))
_MAKE_INDEX = Checked(Action.INDEX_CREATE, _late("indexes:may_make"))
_CONFIGURE = OnIndex(Action.INDEX_MODIFY, about="index")
_UPLOAD = Checked(Action.UPLOAD, uploads.may_upload, unread=True)
_MANAGE = OnIndex(Action.DELETE, about="project", also=(Action.YANK, Action.MARK))
_PUSH = OnIndex(Action.PUSH, about="project")

# fmt: off
ROUTES: Final[tuple[Route, ...]] = (
    Route("GET", "/+login", Public("a form for a password"), _late("log_in:page"), "a form to log in; ?back=PAGE"),
    Route("GET", "/+working.css", Public("the answer is constant"), late("pkgindex_http.handlers.assets:style"), "the style sheet of the pages to work on"),
    _page("POST", "/+logout", Glanced("ends the log-in of its own cookie"), _late("log_in:log_out"), "log out"),
    _page("GET", "/+users", _USERS, _late("accounts:users"), "the users, and a form for a new one"),
    _page("POST", "/+users", Checked(Action.USER_CREATE, _late("accounts:may_make")), _late("accounts:make_user"), "make a user, by a form"),
    _page("POST", "/{user}/+delete", Checked(Action.USER_DELETE, _late("accounts:may_delete")), _late("accounts:delete_user"), "remove a user, by a form with the typed name"),
    _page("GET", "/{user}/+account", _TOKENS, _late("accounts:account"), "the tokens and log-ins of a user, and forms for a token and a password"),
    _page("POST", "/{user}/+account", _TOKENS, _late("accounts:change_account"), "make or revoke a token, or change the password, by a form"),
    _page("GET", "/{user}/+new-index", _MAKE_INDEX, _late("indexes:new"), "a form for a new index"),
    _page("POST", "/{user}/+new-index", _MAKE_INDEX, _late("indexes:make"), "make an index by a form, or show what it would be"),
    _page("GET", "/{user}/{index}/+edit", _CONFIGURE, _late("indexes:edit"), "a form with the options of an index"),
    _page("POST", "/{user}/{index}/+edit", _CONFIGURE, _late("indexes:change"), "change options by a form, or show which projects would gain or lose files"),
    _page("POST", "/{user}/{index}/+delete", Checked(Action.INDEX_DELETE, _late("indexes:may_delete")), _late("indexes:delete"),
        "remove a volatile index, by a form with the typed name"),
    _page("GET", "/{user}/{index}/+upload", _UPLOAD, _late("uploading:form"), "a form to choose or drop files"),
    _page("POST", "/{user}/{index}/+upload", _UPLOAD, _late("uploading:publish"), "publish the files of a form"),
    _page("GET", "/{user}/{index}/+manage/{project}", _MANAGE, _late("projects:manage"), "forms to yank and delete files, and to set the status of a project"),
    _page("POST", "/{user}/{index}/+manage/{project}", _MANAGE, _late("projects:change"), "yank, unyank, delete or mark, by a form"),
    _page("GET", "/{user}/{index}/+plots", _READ, _late("plots:of_index"), "downloads, uploads and sizes of an index by day, as plots and tables"),
    _page("GET", "/{user}/{index}/+plots/{project}", _READ_PROJECT, _late("plots:of_project"), "downloads and uploads of a project by day"),
    _page("GET", "/{user}/{index}/+feed", _READ, _late("feeds:of_index"), "new files and yanks of a hosted index, as a feed (Atom)"),
    _page("GET", "/{user}/{index}/+feed/{project}", _READ_PROJECT, _late("feeds:of_project"), "new releases and yanks of a project, as a feed (Atom)"),
    _page("GET", "/{user}/{index}/+promote/{project}/{version}", _PUSH, _late("promoting:page"), "what a push to another index would move: ?to=USER/INDEX"),
    _page("POST", "/{user}/{index}/+promote/{project}/{version}", _PUSH, _late("promoting:promote"), "push a release to another index, by a form"),
)
# fmt: on
