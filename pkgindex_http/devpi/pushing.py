"""Pushes: a release goes to another index here, in one commit (see `services.moving.promotion`), or to another server.

    PUSH /{user}/{index}   {"name": …, "version": …, "targetindex": "user/index"[, "no_docs": true | "only_docs": true]}
    PUSH /{user}/{index}   {"name": …, "version": …, "posturl": …, "username": …, "password": …[, "register_project": true]}

devpi's client uses a method of its own making; POST with a JSON body to the same URL does the same. The answer lists what was done, one
tuple an item, in devpi's order.

Pushing again what is there already writes nothing. Where nothing may be overwritten the answer is devpi's all the same, a 409: its
client and scripts know it, and the hint says that all is well.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from pkgindex_core.errors import Missing, Refused
from pkgindex_core.formats.fragments import directory
from pkgindex_core.names import IndexName, ProjectName, index_name_or_none, normalized_or_none
from pkgindex_core.protocols import Delivery, Destination
from pkgindex_core.rules.promoting import Moved
from pkgindex_core.services.moving.promotion import NotAdmittedError, Promoted
from pkgindex_http.bodies import read_json
from pkgindex_http.devpi.envelope import document, failure
from pkgindex_http.replies import Reply
from pkgindex_http.requests import Ask


class Wish(Struct, frozen=True, kw_only=True):
    """What a push asks for."""

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
        return f"Wish({self.name!r}, {self.version!r})"


_EXCEPTIONS = {"register": "register", "file": "release upload", "documentation": "documentation upload"}
_RETIRED = 410
"""PyPI's answer to registering and to documentation, which it has given up. devpi's client takes it for no failure."""
_ABROAD = frozenset({"posturl", "username", "password", "register_project"})


async def push(ask: Ask) -> Reply:
    """Push a release to another index, here or on another server."""
    wish = _wish(await read_json(ask.request, dict[str, Any]))
    project = normalized_or_none(wish.name)
    try:
        if project is None:
            raise Missing("version", wish.name)
        return await (_push_here if wish.targetindex else _push_abroad)(ask, wish, project)
    except Missing as error:
        return _nothing(error, ask, wish)


def _wish(body: dict[str, Any]) -> Wish:
    try:
        wish = msgspec.convert(body, Wish)
    except msgspec.ValidationError as error:
        raise Refused(
            f"the document does not fit: {error}",
            hint='a push is {"name": "demo", "version": "1.0", "targetindex": "user/index"}',
        ) from error
    if wish.no_docs and wish.only_docs:
        raise Refused("can't use 'no_docs' and 'only_docs' together")
    unknown = body.keys() - set(Wish.__struct_fields__)
    if wish.targetindex:
        unknown |= body.keys() & _ABROAD
    if unknown:
        raise Refused(f"unknown additional options: {', '.join(sorted(unknown))}"[:300])
    if not wish.targetindex and not wish.posturl:
        raise Refused(
            "a push needs a `targetindex`, or a `posturl` with `username` and `password`",
            hint="write an index as user/index, and the upload URL of another server as https://upload.example.org/legacy/",
        )
    return wish


async def _push_here(ask: Ask, wish: Wish, project: ProjectName) -> Reply:
    user, _, index = wish.targetindex.partition("/")
    if wish.targetindex.count("/") != 1:
        raise Refused("targetindex not in format user/index")
    target = index_name_or_none(user, index)
    if target is None:
        raise Missing("index", wish.targetindex[:160])
    try:
        promoted = await ask.engine.promotion.push(
            ask.index,
            target,
            project,
            wish.version,
            principal=ask.principal,
            files=not wish.only_docs,
            docs=not wish.no_docs,
        )
    except NotAdmittedError as error:
        # The challenge is HTTP's; without a `location` header the client keeps its token.
        return failure(
            f"user {ask.principal.name!r} cannot upload to {wish.targetindex!r}",
            401,
            hint=error.message,
            realm=ask.engine.settings.realm,
        )
    if not promoted.changed:
        first = promoted.moved[0].filename
        return failure(
            f"{first} already exists in non-volatile index", 409, hint=f"{target} has all of it, with the same bytes"
        )
    return document(actions(promoted, wish), "actionlog")


async def _push_abroad(ask: Ask, wish: Wish, project: ProjectName) -> Reply:
    deliveries = await ask.engine.forwarding.send(
        ask.index,
        project,
        wish.version,
        Destination(url=wish.posturl, username=wish.username, password=wish.password),
        principal=ask.principal,
        files=not wish.only_docs,
        docs=not wish.no_docs,
        register=wish.register_project,
    )
    failed = any(not each.accepted and each.answer != _RETIRED for each in deliveries)
    result = [_report(each, ask.index, wish) for each in deliveries]
    return document(result, "actionlog", status=502 if failed else 200)


def _report(delivery: Delivery, source: IndexName, wish: Wish) -> tuple[int | str, ...]:
    """What became of one thing that was sent, as devpi lists it."""
    if delivery.answer is None:
        return (-1, f"exception on {_EXCEPTIONS[delivery.kind]}:", delivery.text)
    match delivery.kind:
        case "register":
            return (delivery.answer, "register", wish.name, wish.version)
        case "documentation":
            return (delivery.answer, "docfile", wish.name)
    file = delivery.file
    assert file is not None, "a delivery of a file names it"
    return (delivery.answer, "upload", f"{source}/{directory(file)}/{file.filename}", delivery.text)


def actions(promoted: Promoted, wish: Wish) -> list[tuple[int | str, ...]]:
    """What was done, as devpi lists it."""
    registered = (200, "register", wish.name, wish.version, "->", promoted.target)
    return [registered, *(_action(promoted, moved, wish) for moved in promoted.moved)]


def _action(promoted: Promoted, moved: Moved, wish: Wish) -> tuple[int | str, ...]:
    if moved.file is None:
        return (200, "store_doczip", wish.name, wish.version, "->", promoted.target)
    what = "store_releasefile" if moved.kind == "file" else "store_toxresult"
    return (200, what, f"{promoted.target}/{directory(moved.file)}/{moved.filename}")


def _nothing(error: Missing, ask: Ask, wish: Wish) -> Reply:
    """What is missing, in devpi's words."""
    name, version = wish.name[:160], wish.version[:80]
    if error.what == "version":
        return failure(f"there are no files for {name} {version} on stage {ask.index}", 400)
    if error.what == "release":
        return failure(f"no release/files found for {name} {version}", 404)
    raise error
