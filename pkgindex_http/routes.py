"""The table of all URLs of the server, with the permission of each.

    /{user}/{index}/+simple/{project}/        the native URLs are devpi's
    /simple/{project}/                        the default index has the URLs of PyPI too

The dispatcher, the documentation test and the permission test read this one table. Where two protocols share a path, variants of
the route tell them apart. `routing` finds the route of a path.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from pkgindex_core.rules.permissions import Action
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
from pkgindex_http.handlers import (
    advisories,
    authcheck,
    changes,
    documentation,
    explanations,
    files,
    findlinks,
    health,
    metrics,
    namespaces,
    past,
    policies,
    project_json,
    provenance,
    pypi_layout,
    simple,
    uploads,
    welcome,
)
from pkgindex_http.oidc import routes as oidc
from pkgindex_http.requests import Ask, wants_document
from pkgindex_http.routing import Checked, Glanced, OnIndex, Public, Route, Variant, late
from pkgindex_http.working import routes as working

_READ = OnIndex(Action.READ, about="index")
_READ_PROJECT = OnIndex(Action.READ, about="project")
_READ_FILE = OnIndex(Action.READ, about="file")
_REDIRECT = OnIndex(Action.READ, about="anything")
"""For redirects to another spelling of a URL, which do not tell whether the target exists."""
_UPLOAD = Checked(Action.UPLOAD, uploads.may_upload, unread=True)
_PUSH = OnIndex(Action.PUSH, about="anything")
_DELETE_FILE = Checked(Action.DELETE, file_documents.may_delete)
_FOLLOW = Checked(Action.FOLLOW, changes.may_follow)
_COPY = Checked(Action.FOLLOW, changes.may_copy, unread=True)
_TOKENS = Checked(Action.TOKEN_MANAGE, tokens.may_manage)
_VOUCHED = Public("the signed token in the body is the credential")
_OSV = Glanced("advisories of feeds are public; those of an index are shown to its readers", discovery.may_ask)
_SEARCH_ALL = Glanced("the answer has only projects that the caller may read", discovery.may_ask)
_PERMALINK = Glanced("the target is in an index that the caller may read", discovery.may_ask)
_API = Glanced("the answer has URLs for the log-in; of an index only its name, which is no secret")
_API_OF_INDEX = Glanced(_API.why, discovery.may_locate)
_ROOT = Glanced("the answer has the lines to paste, and users and indexes that the caller may see")


def _names_no_form(ask: Ask) -> bool:
    accept = ask.accept.lower()
    return "html" not in accept and "json" not in accept


def _is_document(ask: Ask) -> bool:
    return ask.content_type == "application/json"


def _is_form(ask: Ask) -> bool:
    return ask.content_type == "application/x-www-form-urlencoded"


_devpi = partial(Route, envelope=True)
"""A route of devpi's protocol."""

_FILE_VARIANTS = (
    Variant(wants_document, file_documents.describe, envelope=True),
    # Clients of devpi send `*/*`, and read `message` of a JSON document when there is no file.
    Variant(_names_no_form, files.download, envelope=True),
)

_SEARCH_PAGE = Variant(welcome.is_browser, late("pkgindex_http.pages.search:search"), people=True)
_CALL = late("pkgindex_http.handlers.xmlrpc:called")
_CALLED = Variant(lambda ask: ask.content_type == "text/xml", _CALL, _READ)
_PROJECT_FOR_PEOPLE = Variant(welcome.is_browser, late("pkgindex_http.pages.projects:project"), people=True)

# fmt: off
_ROUTES: Final[tuple[Route, ...]] = (
    Route("GET", "/", _ROOT, late("pkgindex_http.pages.home:welcome"),
        "the start page for a browser; with Accept: application/json users and indexes",
        people=True, variants=(Variant(wants_document, accounts.list_users, Glanced(_ROOT.why, discovery.may_ask), envelope=True),)),
    Route("POST", "/", _UPLOAD, uploads.upload, "upload to the default index, at pypiserver's URL; XML-RPC as at /pypi", variants=(_CALLED,)),
    Route("GET", "/+live", Public("the answer is constant"), health.live, "200 while the process runs"),
    Route("GET", "/+ready", Public("the answer has no names"), health.ready,
        "200 when both stores can be read and written, else 503; with ?for=read 200 when they can be read; with ?for=follow 200 for a replica whose primary answers"),
    Route("GET", "/+authcheck", Public("the caller learns what it may do, which the URL itself would tell too"), authcheck.authcheck,
        "for nginx's auth_request: 200, 401 or 403 for the URL in X-Original-URI", conditional=False),
    Route("GET", "/+metrics", Checked(Action.METRICS, metrics.may_measure), metrics.metrics,
        "what was counted since the start, for Prometheus; with Accept: application/json as a document"),
    Route("GET", "/+search", _SEARCH_ALL, late("pkgindex_http.handlers.searching:search"),
        "projects of all indexes that the caller may read: ?q=QUERY&limit=20&after=PLACE; for a browser a page", variants=(_SEARCH_PAGE,)),
    Route("GET", "/{user}/{index}/+search", _READ, late("pkgindex_http.handlers.searching:search"),
        "projects of an index and its bases, in the same way", variants=(_SEARCH_PAGE,)),
    Route("GET", "/robots.txt", Public("the answer is constant"), late("pkgindex_http.handlers.assets:robots"), "what crawlers are asked to do; the option `robots_txt`"),
    Route("GET", "/+search.js", Public("the answer is constant"), late("pkgindex_http.handlers.assets:search_script"), "the script of the page to search"),
    *working.ROUTES,
    _devpi("POST", "/+login", Public("exchanges a password for a token"), login.login,
        "a token for ten hours, for user and password; with the form of a page a cookie with it", variants=(Variant(_is_form, late("pkgindex_http.working.log_in:submit"), people=True),)),
    _devpi("POST", "/{user}/+token-create", _TOKENS, tokens.create_token, "make a token with restrictions, for devpi-tokens"),
    _devpi("GET", "/{user}/+tokens", _TOKENS, tokens.list_tokens, "the tokens of a user"),
    _devpi("DELETE", "/{user}/+tokens/{id}", _TOKENS, tokens.delete_token, "revoke a token"),
    Route("GET", "/+explain", Checked(Action.EXPLAIN, explanations.may_explain), explanations.explain,
        "why a page shows its files: ?project=NAME[&index=USER/INDEX]; for a browser a page",
        variants=(Variant(welcome.is_browser, late("pkgindex_http.pages.why:why"), people=True),)),
    _devpi("GET", "/+api", _API, discovery.api, "URLs for devpi's client, and whether the credentials are valid"),
    _devpi("GET", "/{user}/+api", _API, discovery.api, "the same"),
    _devpi("GET", "/{user}/{index}/+api", _API_OF_INDEX, discovery.api, "the same, for an index"),
    _devpi("GET", "/+status", Glanced("the answer has versions and serials; paths for root only", discovery.may_ask), discovery.status,
        "the state of the server, as a document of devpi; for a browser a page", variants=(Variant(welcome.is_browser, late("pkgindex_http.pages.status:status"), people=True),)),
    Route("GET", "/+decisions", Checked(Action.EXPLAIN, policies.may_list), policies.decisions,
        "what policies hid, let wait or warned of: ?index=USER/INDEX&project=NAME&rule=RULE&mode=MODE&verdict=VERDICT&limit=200&after=PLACE"),
    Route("GET", "/{user}/{index}/+exemptions", OnIndex(Action.INDEX_MODIFY, about="index"), policies.exemptions,
        "the exemptions from the policies of an index"),
    Route("POST", "/{user}/{index}/+exemptions", OnIndex(Action.INDEX_MODIFY, about="index"), policies.exempt,
        'let a package through: {"purl": "pkg:pypi/NAME@VERSION", "reason": …, "rules": […], "until": TIME}'),
    Route("DELETE", "/{user}/{index}/+exemptions", OnIndex(Action.INDEX_MODIFY, about="index"), policies.lift,
        "lift an exemption: ?purl=pkg:pypi/NAME@VERSION"),
    Route("POST", "/+osv/v1/query", _OSV, advisories.query, "the advisories about a package, as OSV's API answers"),
    Route("POST", "/+osv/v1/querybatch", _OSV, advisories.query_batch, "the identifiers of advisories about up to 1,000 packages, for `uv audit --service-url`"),
    Route("GET", "/+osv/v1/vulns/{id}", _OSV, advisories.vulnerability, "an advisory, as an OSV record"),
    Route("GET", "/{user}/{index}/+advisories", OnIndex(Action.INDEX_MODIFY, about="index"), advisories.own,
        "the advisories that an index has of its own"),
    Route("POST", "/{user}/{index}/+advisories", OnIndex(Action.INDEX_MODIFY, about="index"), advisories.publish,
        "publish an advisory in an index: an OSV record"),
    Route("DELETE", "/{user}/{index}/+advisories", OnIndex(Action.INDEX_MODIFY, about="index"), advisories.drop,
        "remove an advisory of an index: ?id=IDENTIFIER"),
    Route("GET", "/+changes", _FOLLOW, changes.changes,
        "the commits for a replica: ?after=SERIAL&at=TIME&store=UUID&wait=SECONDS&without=USER/INDEX,…"),
    Route("GET", "/+changes/{user}/{index}/{project}", _COPY, changes.refreshed,
        "bring a mirrored project up to date, for a replica: ?again=1 although its page is fresh"),
    Route("GET", "/+changes/{user}/{index}/{project}/{digest}/{filename}", _COPY, changes.copied_file,
        "a file for a replica, by its sha256: ?kind=file, sidecar or attachment; 410 if the index does not list it"),
    Route("GET", "/simple", _REDIRECT, simple.add_slash, "redirect to the list of projects"),
    Route("GET", "/simple/", _READ, simple.project_list, "the default index: list of projects"),
    Route("GET", "/simple/namespaces", _READ, namespaces.listed, "the default index: the namespaces of its layers (PEP 752)"),
    Route("GET", "/simple/namespace/{namespace}", _READ, namespaces.described, "one of them"),
    Route("GET", "/simple/{project}", _REDIRECT, simple.add_slash, "redirect to the project's page"),
    Route("GET", "/simple/{project}/", _READ_PROJECT, simple.project_page, "the default index: a project's files", repeats=True),
    Route("GET", "/simple/v1+json/", _READ, simple.project_list, "the list in JSON; Accept is ignored"),
    Route("GET", "/simple/v1+json/{project}/", _READ_PROJECT, simple.project_page, "a page in JSON; Accept is ignored", repeats=True),
    Route("GET", "/simple/v1+html/", _READ, simple.project_list, "the list in HTML; Accept is ignored"),
    Route("GET", "/simple/v1+html/{project}/", _READ_PROJECT, simple.project_page, "a page in HTML; Accept is ignored", repeats=True),
    Route("GET", "/pypi/{project}/json[/]", _READ_PROJECT, project_json.pypi_document,
        "the default index: a project in PyPI's JSON, files under /packages/"),
    Route("GET", "/pypi/{project}/{version}/json[/]", _READ_PROJECT, project_json.pypi_document, "the default index: a version in PyPI's JSON"),
    Route("GET", "/project/{project}[/]", _PERMALINK, pypi_layout.project,
        "redirect from PyPI's URL of a project to its page, in the default index or the first other one that has it", people=True),
    Route("GET", "/project/{project}/{version}[/]", _PERMALINK, pypi_layout.project, "the same for a version", people=True),
    Route("GET", "/packages/{a}/{b}/{c}/{filename}", Checked(Action.READ, pypi_layout.may_locate), pypi_layout.package,
        "redirect to a file of the default index: PyPI's path with its digest, or /packages/source/{letter}/{project}/{filename}"),
    Route("GET", "/integrity/{project}/{version}/{filename}/provenance[/]", _READ_PROJECT, provenance.provenance,
        "the provenance (PEP 740) of a file of the default index"),
    Route("GET", "/{user}/{index}/+integrity/{project}/{version}/{filename}/provenance[/]", _READ_PROJECT, provenance.provenance,
        "the provenance (PEP 740) of a file"),
    Route("GET", "/_/oidc/audience", Public("the answer is constant"), oidc.audience, "the audience for trusted publishing; 403 if it is off"),
    Route("POST", "/_/oidc/mint-token", _VOUCHED, oidc.mint, 'exchange the token of an issuer for one to upload: {"token": JWT}; 422 with the reasons'),
    Route("POST", "/_/oidc/burn-token", Public("the token in the body is the credential"), oidc.burn, 'end such a token: {"token": …}'),
    Route("POST", "/pypi[/]", _READ, _CALL, "XML-RPC: `search`, for `pip search --index URL` and scripts; other methods are a fault"),
    Route("POST", "/RPC2", _READ, _CALL, "the same"),
    Route("POST", "/legacy/", _UPLOAD, uploads.upload, "upload to the default index, at PyPI's URL"),
    # No redirect: uv does not follow relative ones, and twine follows none.
    Route("POST", "/legacy", _UPLOAD, uploads.upload, "the same, without the slash"),
    _devpi("GET", "/{user}[/]",
        Glanced("the answer has only indexes that the caller may read; without one the user is missing", accounts.may_show), accounts.show,
        "a user and their indexes; for a browser a page", variants=(Variant(welcome.is_browser, late("pkgindex_http.pages.users:user"), people=True),)),
    _devpi("PUT", "/{user}[/]", Checked(Action.USER_CREATE, accounts.may_create), accounts.create, 'make a user: {"password": …, "email": …}'),
    _devpi("PATCH", "/{user}[/]", Checked(Action.USER_MODIFY, accounts.may_modify), accounts.modify,
        "change a user; all users may change their own password"),
    _devpi("DELETE", "/{user}[/]", Checked(Action.USER_DELETE, accounts.may_delete), accounts.delete, "remove a user with their volatile indexes"),
    _devpi("GET", "/{user}/{index}[/]", OnIndex(Action.READ, about=indexes.about_shown), indexes.show,
        "an index: its options and projects; ?no_projects, ?v=2; for a browser a page: ?q=TEXT, ?after=NAME", variants=(Variant(installers.wants_simple_pages, simple.list_for_installers), Variant(welcome.is_browser, late("pkgindex_http.pages.indexes:index"), people=True))),
    _devpi("PUT", "/{user}/{index}[/]", Checked(Action.INDEX_CREATE, indexes.may_create, unread=True), indexes.create,
        'make an index: {"bases": "root/pypi", …}'),
    _devpi("PATCH", "/{user}/{index}[/]", OnIndex(Action.INDEX_MODIFY, about="index"), indexes.modify,
        'change options: an object, or ["key=value", "key+=value", "key-=value", "key-="]; ?error_on_noop'),
    _devpi("DELETE", "/{user}/{index}[/]", Checked(Action.INDEX_DELETE, indexes.may_delete), indexes.delete,
        "remove a volatile index with all its content"),
    Route("GET", "/{user}/{index}/+simple", _REDIRECT, simple.add_slash, "redirect to the list of projects"),
    Route("GET", "/{user}/{index}/+simple/", _READ, simple.project_list, "an index: list of projects"),
    Route("GET", "/{user}/{index}/+simple/namespaces", _READ, namespaces.listed, "an index: the namespaces of its layers (PEP 752)"),
    Route("GET", "/{user}/{index}/+simple/namespace/{namespace}", _READ, namespaces.described, "one of them"),
    Route("GET", "/{user}/{index}/+simple/{project}", _REDIRECT, simple.add_slash, "redirect to the project's page"),
    Route("GET", "/{user}/{index}/+simple/{project}/", _READ_PROJECT, simple.project_page, "an index: a project's files", repeats=True),
    Route("GET", "/+at/{at}/{user}/{index}/+simple", _REDIRECT, simple.add_slash, "redirect to the list of projects"),
    Route("GET", "/+at/{at}/{user}/{index}/+simple/", _READ, past.past_list,
        "an index as it was: list of projects; {at} is a serial, a day or a time"),
    Route("GET", "/+at/{at}/{user}/{index}/+simple/{project}", _REDIRECT, simple.add_slash, "redirect to the project's page"),
    Route("GET", "/+at/{at}/{user}/{index}/+simple/{project}/", _READ_PROJECT, past.past_page, "an index as it was: a project's files"),
    Route("GET", "/{user}/{index}/+f/{a}/{b}/{filename}", _READ_FILE, files.download,
        "a file, or its sidecar with .metadata at the end", variants=_FILE_VARIANTS, repeats=True),
    Route("GET", "/{user}/{index}/+e/{a}/{filename}", _READ_FILE, files.download,
        "a mirrored file without a known sha256", variants=_FILE_VARIANTS, repeats=True),
    Route("PATCH", "/{user}/{index}/+f/{a}/{b}/{filename}", OnIndex(Action.YANK, about="file"), files.modify,
        'yank or unyank: {"yanked": true | false | "reason"}', validators=files.validators),
    _devpi("DELETE", "/{user}/{index}/+f/{a}/{b}/{filename}", _DELETE_FILE, file_documents.delete,
        "delete a file, documentation or a test result; a non-volatile index needs ?force", validators=files.validators),
    _devpi("DELETE", "/{user}/{index}/+e/{a}/{filename}", _DELETE_FILE, file_documents.delete,
        "forget a mirrored file; a non-volatile index needs ?force", validators=files.validators),
    _devpi("POST", "/{user}/{index}/+f/{a}/{b}/{filename}", Checked(Action.UPLOAD_RESULTS, file_documents.may_add_result), file_documents.add_result,
        "add a test result (JSON) to a file", validators=files.validators),
    Route("POST", "/{user}/{index}/+simple/{project}/refresh", OnIndex(Action.REFRESH, about="project"), refreshing.refresh,
        "refresh a project from the upstreams of its mirrors; 302 to its page"),
    Route("POST", "/{user}/{index}/{project}/refresh", OnIndex(Action.REFRESH, about="project"), refreshing.refresh,
        "the same, at the URL of devpi's web pages"),
    Route("POST", "/{user}/{index}[/]", _UPLOAD, uploads.upload,
        "upload a form; with a JSON document a push; XML-RPC `search` as devpi-web answers it",
        variants=(Variant(_is_document, pushing.push, _PUSH, envelope=True), _CALLED)),
    _devpi("PUSH", "/{user}/{index}[/]", _PUSH, pushing.push, 'push a release to another index: {"name": …, "version": …, "targetindex": …}'),
    Route("GET", "/{user}/{index}/+findlinks[/]", _READ, findlinks.page, "all hosted files on one page"),
    Route("GET", "/{user}/{index}/{project}/json[/]", _READ_PROJECT, project_json.document, "a project in PyPI's JSON"),
    Route("GET", "/{user}/{index}/{project}/{version}/json[/]", _READ_PROJECT, project_json.document, "a version in PyPI's JSON"),
    Route("GET", "/{user}/{index}/{project}/{version}/+doc/{path...}", _READ_PROJECT, documentation.page,
        "a page of the documentation of a version, `latest` or `stable`"),
    Route("GET", "/{user}/{index}/{project}/{version}/+doc", _REDIRECT, documentation.add_slash, "redirect to its front page"),
    Route("GET", "/{user}/{index}/{project}/{version}/+d/{path...}", _REDIRECT, documentation.framed, "redirect from devpi-web's URL of a page"),
    Route("GET", "/{user}/{index}/{project}/{version}/+d", _REDIRECT, documentation.framed, "redirect to the front page"),
    _devpi("GET", "/{user}/{index}/{project}[/]", _READ_PROJECT, projects.project,
        "a project's versions with their links; ?ignore_bases: only of this index; ?v=2; for installers the simple page, for a browser a page to read",
        variants=(Variant(installers.wants_simple_page, simple.page_for_installers), _PROJECT_FOR_PEOPLE), repeats=True),
    _devpi("PATCH", "/{user}/{index}/{project}[/]", OnIndex(Action.INDEX_MODIFY, about="index"), projects.modify,
        'permit a project to come from mirrors too: {"inheritance_rules": "allow all"}, or a list of changes; ?error_on_noop'),
    _devpi("GET", "/{user}/{index}/{project}/{version}[/]", _READ_PROJECT, projects.version,
        "a version: metadata, files, documentation, test results; for a browser a page", variants=(_PROJECT_FOR_PEOPLE,)),
    Route("GET", "/{user}/{index}/{project}/+diff", _READ_PROJECT, late("pkgindex_http.pages.differences:difference"),
        "a page about the difference between two versions: ?from=VERSION&to=VERSION", people=True),
    Route("GET", "/{user}/{index}/{project}/{version}/{filename}", _READ_PROJECT, late("pkgindex_http.pages.files:file"),
        "a page about a file: its facts and its contents; ?member=PATH shows one member, ?fetch=1 lets a mirror fetch the file", people=True),
    _devpi("DELETE", "/{user}/{index}/{project}[/]", Checked(Action.DELETE, releases.may_delete_project), releases.delete_project,
        "delete a project; ?force"),
    _devpi("DELETE", "/{user}/{index}/{project}/{version}[/]", Checked(Action.DELETE, releases.may_delete_release), releases.delete_release,
        "delete a version; ?force"),
)
ROUTES: Final[tuple[Route, ...]] = (
    *_ROUTES,
    Route("GET", "/openapi.json", Public("the answer is constant"), partial(late("pkgindex_http.working.openapi:openapi"), _ROUTES), "what programs can ask (OpenAPI 3.1)"),
)
# fmt: on
