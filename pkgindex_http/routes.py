"""Every URL there is, with the permission that it needs.

    /{user}/{index}/+simple/{project}/        devpi's URL space is the native one
    /simple/{project}/                        the default index, mounted where everyone else expects it

One table, read by the dispatcher, by the documentation test and by the permission test: a route cannot be added without
saying who may use it. Where a path is that of two protocols, its route says here which requests speak the other one. How a path
finds its route: `routing`.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from pkgindex_core.rules.permissions import Action
from pkgindex_http import (
    authcheck,
    documentation,
    explanations,
    files,
    findlinks,
    health,
    project_json,
    pypi_layout,
    simple,
    uploads,
    welcome,
)
from pkgindex_http.devpi import (
    accounts,
    discovery,
    file_documents,
    indexes,
    installers,
    login,
    projects,
    pushing,
    refreshing,
    releases,
    tokens,
)
from pkgindex_http.requests import Ask
from pkgindex_http.routing import Checked, Glanced, OnIndex, Public, Route, Variant

_READ = OnIndex(Action.READ, about="index")
_READ_PROJECT = OnIndex(Action.READ, about="project")
_READ_FILE = OnIndex(Action.READ, about="file")
_REDIRECT = OnIndex(Action.READ, about="anything")
"""To another spelling of the URL: that says nothing of what is there."""
_UPLOAD = Checked(Action.UPLOAD, uploads.may_upload, unread=True)
_PUSH = OnIndex(Action.PUSH, about="anything")
_DELETE_FILE = Checked(Action.DELETE, file_documents.may_delete)
_TOKENS = Checked(Action.TOKEN_MANAGE, tokens.may_manage)
_NO_XMLRPC = Public("a constant")
_API = Glanced("says where the log-in is; of an index only its name, which is no secret")
_API_OF_INDEX = Glanced(_API.why, discovery.may_locate)
_ROOT = Glanced("a page that says what this is; as JSON, those users and indexes that the caller may see")


def _wants_document(ask: Ask) -> bool:
    return "application/json" in ask.accept.lower()


def _names_no_form(ask: Ask) -> bool:
    accept = ask.accept.lower()
    return "html" not in accept and "json" not in accept


def _is_document(ask: Ask) -> bool:
    return ask.content_type == "application/json"


_devpi = partial(Route, envelope=True)
"""A route of devpi's protocol."""

_FILE_VARIANTS = (
    Variant(_wants_document, file_documents.describe, envelope=True),
    # Clients of devpi ask for `*/*` and look for a `message` in JSON when there is no file.
    Variant(_names_no_form, files.download, envelope=True),
)

ROUTES: Final[tuple[Route, ...]] = (
    Route(
        "GET",
        "/",
        _ROOT,
        welcome.welcome,
        "a page for a person; with Accept: application/json users and indexes",
        variants=(Variant(_wants_document, accounts.list_users, Glanced(_ROOT.why, discovery.may_ask), envelope=True),),
    ),
    Route("POST", "/", _UPLOAD, uploads.upload, "upload to the default index, as pypiserver's users do"),
    Route("GET", "/+live", Public("a constant"), health.live, "whether the process answers"),
    Route(
        "GET",
        "/+ready",
        Public("states of parts, no names"),
        health.ready,
        "whether both stores answer and blobs can be written; 503 while not",
    ),
    Route(
        "GET",
        "/+authcheck",
        Public("says what the asker may do, which the asker can find out by doing it"),
        authcheck.authcheck,
        "for nginx's auth_request: 200, 401 or 403 for the URL in X-Original-URI",
        conditional=False,
    ),
    _devpi(
        "POST",
        "/+login",
        Public("exchanges a password for a token"),
        login.login,
        "a token of ten hours for user and password",
    ),
    _devpi(
        "POST",
        "/{user}/+token-create",
        _TOKENS,
        tokens.create_token,
        "a token with restrictions, as devpi-tokens makes it",
    ),
    _devpi("GET", "/{user}/+tokens", _TOKENS, tokens.list_tokens, "the user's tokens"),
    _devpi("DELETE", "/{user}/+tokens/{id}", _TOKENS, tokens.delete_token, "revoke a token"),
    Route(
        "GET",
        "/+explain",
        Checked(Action.EXPLAIN, explanations.may_explain),
        explanations.explain,
        "why a page shows what it shows: ?project=NAME[&index=USER/INDEX]",
    ),
    _devpi("GET", "/+api", _API, discovery.api, "where things are, and whether credentials are good"),
    _devpi("GET", "/{user}/+api", _API, discovery.api, "the same"),
    _devpi("GET", "/{user}/{index}/+api", _API_OF_INDEX, discovery.api, "the same, for an index"),
    _devpi(
        "GET",
        "/+status",
        Glanced("versions and serials; paths for root only", discovery.may_ask),
        discovery.status,
        "how the server is, in devpi's terms",
    ),
    Route("GET", "/simple", _REDIRECT, simple.add_slash, "to the list of projects"),
    Route("GET", "/simple/", _READ, simple.project_list, "the default index: list of projects"),
    Route("GET", "/simple/{project}", _REDIRECT, simple.add_slash, "to the project's page"),
    Route("GET", "/simple/{project}/", _READ_PROJECT, simple.project_page, "the default index: a project's files"),
    Route("GET", "/simple/v1+json/", _READ, simple.project_list, "the list in JSON, whatever Accept says"),
    Route(
        "GET", "/simple/v1+json/{project}/", _READ_PROJECT, simple.project_page, "a page in JSON, whatever Accept says"
    ),
    Route("GET", "/simple/v1+html/", _READ, simple.project_list, "the list in HTML, whatever Accept says"),
    Route(
        "GET", "/simple/v1+html/{project}/", _READ_PROJECT, simple.project_page, "a page in HTML, whatever Accept says"
    ),
    Route(
        "GET",
        "/pypi/{project}/json[/]",
        _READ_PROJECT,
        project_json.pypi_document,
        "the default index: a project in PyPI's JSON, files under /packages/",
    ),
    Route(
        "GET",
        "/pypi/{project}/{version}/json[/]",
        _READ_PROJECT,
        project_json.pypi_document,
        "the default index: a version in PyPI's JSON",
    ),
    Route(
        "GET",
        "/packages/{a}/{b}/{c}/{filename}",
        Checked(Action.READ, pypi_layout.may_locate),
        pypi_layout.package,
        "to a file of the default index: by PyPI's path of its digest, or as /packages/source/{letter}/{project}/{filename}",
    ),
    Route(
        "GET",
        "/integrity/{project}/{version}/{filename}/provenance[/]",
        _READ_PROJECT,
        pypi_layout.provenance,
        "to the provenance (PEP 740) of a mirrored file, where the upstream has one",
    ),
    Route(
        "POST", "/pypi[/]", _NO_XMLRPC, pypi_layout.no_xmlrpc, "XML-RPC (`pip search`): a fault that says what to use"
    ),
    Route("POST", "/RPC2", _NO_XMLRPC, pypi_layout.no_xmlrpc, "the same"),
    Route("POST", "/legacy/", _UPLOAD, uploads.upload, "upload to the default index, PyPI's path"),
    # uv follows no redirect to a relative URL, and twine follows none.
    Route("POST", "/legacy", _UPLOAD, uploads.upload, "the same, without the slash"),
    _devpi(
        "GET",
        "/{user}[/]",
        Glanced(
            "a user without an index that the caller may see is missing, and so is what is private of one",
            accounts.may_show,
        ),
        accounts.show,
        "a user and their indexes",
    ),
    _devpi(
        "PUT",
        "/{user}[/]",
        Checked(Action.USER_CREATE, accounts.may_create),
        accounts.create,
        'make a user: {"password": …, "email": …}',
    ),
    _devpi(
        "PATCH",
        "/{user}[/]",
        Checked(Action.USER_MODIFY, accounts.may_modify),
        accounts.modify,
        "change a user; their own password everybody may",
    ),
    _devpi(
        "DELETE",
        "/{user}[/]",
        Checked(Action.USER_DELETE, accounts.may_delete),
        accounts.delete,
        "remove a user with their volatile indexes",
    ),
    _devpi(
        "GET",
        "/{user}/{index}[/]",
        OnIndex(Action.READ, about=indexes.about_shown),
        indexes.show,
        "an index: its options and projects; ?no_projects, ?v=2",
        variants=(Variant(installers.wants_simple_pages, simple.list_for_installers),),
    ),
    _devpi(
        "PUT",
        "/{user}/{index}[/]",
        Checked(Action.INDEX_CREATE, indexes.may_create, unread=True),
        indexes.create,
        'make an index: {"bases": "root/pypi", …}',
    ),
    _devpi(
        "PATCH",
        "/{user}/{index}[/]",
        OnIndex(Action.INDEX_MODIFY, about="index"),
        indexes.modify,
        'change options: an object, or ["key=value", "key+=value", "key-=value", "key-="]; ?error_on_noop',
    ),
    _devpi(
        "DELETE",
        "/{user}/{index}[/]",
        Checked(Action.INDEX_DELETE, indexes.may_delete),
        indexes.delete,
        "remove a volatile index with all that is in it",
    ),
    Route("GET", "/{user}/{index}/+simple", _REDIRECT, simple.add_slash, "to the list of projects"),
    Route("GET", "/{user}/{index}/+simple/", _READ, simple.project_list, "an index: list of projects"),
    Route("GET", "/{user}/{index}/+simple/{project}", _REDIRECT, simple.add_slash, "to the project's page"),
    Route(
        "GET", "/{user}/{index}/+simple/{project}/", _READ_PROJECT, simple.project_page, "an index: a project's files"
    ),
    Route(
        "GET",
        "/{user}/{index}/+f/{a}/{b}/{filename}",
        _READ_FILE,
        files.download,
        "a file, or with .metadata its sidecar",
        variants=_FILE_VARIANTS,
    ),
    Route(
        "GET",
        "/{user}/{index}/+e/{a}/{filename}",
        _READ_FILE,
        files.download,
        "a mirrored file whose sha256 was not known",
        variants=_FILE_VARIANTS,
    ),
    Route(
        "PATCH",
        "/{user}/{index}/+f/{a}/{b}/{filename}",
        OnIndex(Action.YANK, about="file"),
        files.modify,
        'yank or unyank: {"yanked": true | false | "reason"}',
        validators=files.validators,
    ),
    _devpi(
        "DELETE",
        "/{user}/{index}/+f/{a}/{b}/{filename}",
        _DELETE_FILE,
        file_documents.delete,
        "delete a file, documentation or a test result; ?force on a non-volatile index",
        validators=files.validators,
    ),
    _devpi(
        "DELETE",
        "/{user}/{index}/+e/{a}/{filename}",
        _DELETE_FILE,
        file_documents.delete,
        "forget a mirrored file; ?force on a non-volatile index",
        validators=files.validators,
    ),
    _devpi(
        "POST",
        "/{user}/{index}/+f/{a}/{b}/{filename}",
        Checked(Action.UPLOAD_RESULTS, file_documents.may_add_result),
        file_documents.add_result,
        "add a test result (JSON) to a file",
        validators=files.validators,
    ),
    Route(
        "POST",
        "/{user}/{index}/+simple/{project}/refresh",
        OnIndex(Action.REFRESH, about="project"),
        refreshing.refresh,
        "ask the upstreams of a project's mirrors again now; 302 to its page",
    ),
    Route(
        "POST",
        "/{user}/{index}/{project}/refresh",
        OnIndex(Action.REFRESH, about="project"),
        refreshing.refresh,
        "the same, where devpi's web pages have it",
    ),
    Route(
        "POST",
        "/{user}/{index}[/]",
        _UPLOAD,
        uploads.upload,
        "upload a form; a JSON document is a push",
        variants=(Variant(_is_document, pushing.push, _PUSH, envelope=True),),
    ),
    _devpi(
        "PUSH",
        "/{user}/{index}[/]",
        _PUSH,
        pushing.push,
        'push a release to another index: {"name": …, "version": …, "targetindex": …}',
    ),
    Route("GET", "/{user}/{index}/+findlinks[/]", _READ, findlinks.page, "every hosted file on one page"),
    Route("GET", "/{user}/{index}/{project}/json[/]", _READ_PROJECT, project_json.document, "a project in PyPI's JSON"),
    Route(
        "GET",
        "/{user}/{index}/{project}/{version}/json[/]",
        _READ_PROJECT,
        project_json.document,
        "a version in PyPI's JSON",
    ),
    Route(
        "GET",
        "/{user}/{index}/{project}/{version}/+doc/{path...}",
        _READ_PROJECT,
        documentation.page,
        "a page of the documentation of a version, `latest` or `stable`",
    ),
    Route("GET", "/{user}/{index}/{project}/{version}/+doc", _REDIRECT, documentation.add_slash, "to its front page"),
    Route(
        "GET",
        "/{user}/{index}/{project}/{version}/+d/{path...}",
        _REDIRECT,
        documentation.framed,
        "devpi-web's URL of the same page: to it",
    ),
    Route("GET", "/{user}/{index}/{project}/{version}/+d", _REDIRECT, documentation.framed, "to the front page"),
    _devpi(
        "GET",
        "/{user}/{index}/{project}[/]",
        _READ_PROJECT,
        projects.project,
        "a project's versions with their links; ?ignore_bases: of this index only; ?v=2; for installers the simple page",
        variants=(Variant(installers.wants_simple_page, simple.page_for_installers),),
    ),
    _devpi(
        "PATCH",
        "/{user}/{index}/{project}[/]",
        OnIndex(Action.INDEX_MODIFY, about="index"),
        projects.modify,
        'whether a project may come from mirrors too: {"inheritance_rules": "allow all"}, or a list of changes; ?error_on_noop',
    ),
    _devpi(
        "GET",
        "/{user}/{index}/{project}/{version}[/]",
        _READ_PROJECT,
        projects.version,
        "a version: metadata, files, documentation, test results",
    ),
    _devpi(
        "DELETE",
        "/{user}/{index}/{project}[/]",
        Checked(Action.DELETE, releases.may_delete_project),
        releases.delete_project,
        "delete a project; ?force",
    ),
    _devpi(
        "DELETE",
        "/{user}/{index}/{project}/{version}[/]",
        Checked(Action.DELETE, releases.may_delete_release),
        releases.delete_release,
        "delete a version; ?force",
    ),
)
