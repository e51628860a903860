"""Pushes a release to another index of this server, in one commit (see `services.moving.pushing`), or to another server.

    PUSH /{user}/{index}   {"name": …, "version": …, "targetindex": "user/index"[, "no_docs": true | "only_docs": true]}
    PUSH /{user}/{index}   {"name": …, "version": …, "posturl": …, "username": …, "password": …[, "register_project": true]}

devpi's client uses its own method PUSH. A POST with a JSON body to the same URL does the same. The answer lists the actions, one
tuple an item, in devpi's order.

A push of a release that is already at the target writes nothing. On a non-volatile index the answer is then 409, as in devpi,
because its client and scripts expect it. The hint says that nothing is missing.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from pkgindex_core.errors import Missing, Refused
from pkgindex_core.formats.fragments import directory
from pkgindex_core.names import IndexName, ProjectName, index_name_or_none, normalized_or_none
from pkgindex_core.protocols import PushAnswer, PushDestination
from pkgindex_core.rules.pushing import PushedItem
from pkgindex_core.services.moving.outcomes import NotAdmittedError, PushResult
from pkgindex_http.devpi.envelope import document, failure
from pkgindex_http.requests import Ask
from pkgindex_http.wire.bodies import read_json
from pkgindex_http.wire.replies import Reply


class PushRequest(Struct, frozen=True, kw_only=True):
    """The body of a push."""

    name: str
    version: str
    no_docs: bool = False
    only_docs: bool = False
    targetindex: str = ""
    posturl: str = ""
    username: str = ""
    password: str = ""
    register_project: bool = False

    def __repr__(self) -> str:
        return f"PushRequest({self.name!r}, {self.version!r})"


_EXCEPTIONS = {"register": "register", "file": "release upload", "documentation": "documentation upload"}
_RETIRED = 410
"""PyPI's status for registrations and documentation, which it no longer takes. devpi's client does not count it as a failure."""
_SERVER_FIELDS = frozenset({"posturl", "username", "password", "register_project"})


async def push(ask: Ask) -> Reply:
    """Push a release to another index, here or on another server."""
    wanted = _push_request(await read_json(ask.request, dict[str, Any]))
    project = normalized_or_none(wanted.name)
    try:
        if project is None:
            raise Missing("version", wanted.name)
        return await (_push_here if wanted.targetindex else _push_to_server)(ask, wanted, project)
    except Missing as error:
        return _nothing(error, ask, wanted)


def _push_request(body: dict[str, Any]) -> PushRequest:
    try:
        wanted = msgspec.convert(body, PushRequest)
    except msgspec.ValidationError as error:
        raise Refused(
            f"the document does not fit: {error}",
            hint='a push is {"name": "demo", "version": "1.0", "targetindex": "user/index"}',
        ) from error
    if wanted.no_docs and wanted.only_docs:
        raise Refused("can't use 'no_docs' and 'only_docs' together")
    unknown = body.keys() - set(PushRequest.__struct_fields__)
    if wanted.targetindex:
        unknown |= body.keys() & _SERVER_FIELDS
    if unknown:
        raise Refused(f"unknown additional options: {', '.join(sorted(unknown))}"[:300])
    if not wanted.targetindex and not wanted.posturl:
        raise Refused(
            "a push needs a `targetindex`, or a `posturl` with `username` and `password`",
            hint="write an index as user/index, and the upload URL of another server as https://upload.example.org/legacy/",
        )
    return wanted


async def _push_here(ask: Ask, wanted: PushRequest, project: ProjectName) -> Reply:
    user, _, index = wanted.targetindex.partition("/")
    if wanted.targetindex.count("/") != 1:
        raise Refused("targetindex not in format user/index")
    target = index_name_or_none(user, index)
    if target is None:
        raise Missing("index", wanted.targetindex[:160])
    try:
        result = await ask.engine.pushing.push(
            ask.index,
            target,
            project,
            wanted.version,
            principal=ask.principal,
            files=not wanted.only_docs,
            docs=not wanted.no_docs,
        )
    except NotAdmittedError as error:
        # A 401 has a challenge. Without a `location` header the client keeps its token.
        return failure(
            f"user {ask.principal.name!r} cannot upload to {wanted.targetindex!r}",
            401,
            hint=error.message,
            realm=ask.settings.realm,
        )
    if not result.changed:
        first = result.items[0].filename
        return failure(
            f"{first} already exists in non-volatile index",
            409,
            hint=f"nothing is missing: {target} has the same bytes",
        )
    return document(actions(result, wanted), "actionlog")


async def _push_to_server(ask: Ask, wanted: PushRequest, project: ProjectName) -> Reply:
    answers = await ask.engine.remote_pushing.push(
        ask.index,
        project,
        wanted.version,
        PushDestination(url=wanted.posturl, username=wanted.username, password=wanted.password),
        principal=ask.principal,
        files=not wanted.only_docs,
        docs=not wanted.no_docs,
        register=wanted.register_project,
    )
    failed = any(not each.accepted and each.status != _RETIRED for each in answers)
    result = [_report(each, ask.index, wanted) for each in answers]
    return document(result, "actionlog", status=502 if failed else 200)


def _report(answer: PushAnswer, source: IndexName, wanted: PushRequest) -> tuple[int | str, ...]:
    """The other server's answer to one request, in devpi's form."""
    if answer.status is None:
        return (-1, f"exception on {_EXCEPTIONS[answer.kind]}:", answer.text)
    match answer.kind:
        case "register":
            return (answer.status, "register", wanted.name, wanted.version)
        case "documentation":
            return (answer.status, "docfile", wanted.name)
    file = answer.file
    assert file is not None, "the answer to a file names it"
    return (answer.status, "upload", f"{source}/{directory(file)}/{file.filename}", answer.text)


def actions(result: PushResult, wanted: PushRequest) -> list[tuple[int | str, ...]]:
    """The actions of a push, in devpi's form."""
    registered = (200, "register", wanted.name, wanted.version, "->", result.target)
    return [registered, *(_action(result, item, wanted) for item in result.items)]


def _action(result: PushResult, item: PushedItem, wanted: PushRequest) -> tuple[int | str, ...]:
    if item.file is None:
        return (200, "store_doczip", wanted.name, wanted.version, "->", result.target)
    what = "store_releasefile" if item.kind == "file" else "store_toxresult"
    return (200, what, f"{result.target}/{directory(item.file)}/{item.filename}")


def _nothing(error: Missing, ask: Ask, wanted: PushRequest) -> Reply:
    """The answer for a missing release, with devpi's text."""
    name, version = wanted.name[:160], wanted.version[:80]
    if error.what == "version":
        return failure(f"there are no files for {name} {version} on stage {ask.index}", 400)
    if error.what == "release":
        return failure(f"no release/files found for {name} {version}", 404)
    raise error
