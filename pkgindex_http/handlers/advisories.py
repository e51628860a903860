"""OSV's API, for `uv audit --service-url` and the like, and the advisories that an index has of its own.

    POST /+osv/v1/query        {"version": "1.0", "package": {"name": "demo", "ecosystem": "PyPI"}}  ->  {"vulns": [record, …]}
    POST /+osv/v1/querybatch   {"queries": [query, …]}                                               ->  {"results": [{"vulns": [{"id", "modified"}]}, …]}
    GET  /+osv/v1/vulns/ID     a record

Errors are OSV's: 400 with `code` 3, 404 with `code` 5. All results are on one page.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from pkgindex_core.errors import Refused
from pkgindex_core.formats.advisories import ECOSYSTEM
from pkgindex_core.names import ProjectName, normalized_or_none
from pkgindex_core.services.reading.advising import PackageQuestion
from pkgindex_http.requests import Ask
from pkgindex_http.wire.bodies import read_json
from pkgindex_http.wire.replies import JSON, SECURITY_HEADERS, Reply, json_reply

_MOST: Final = 1000
_BATCH_BYTES: Final = 1 << 20
_HEADERS: Final = {"Cache-Control": "no-store", "Vary": "Authorization"}
_INVALID, _NOT_FOUND = 3, 5
_PURL: Final = re.compile(r"pkg:pypi/([^@?#]+)(?:@([^?#]+))?(?:\?[^#]*)?(?:#.*)?")


class _QueriedPackage(msgspec.Struct):
    name: str = ""
    ecosystem: str = ""
    purl: str = ""


class _Query(msgspec.Struct):
    package: _QueriedPackage = msgspec.field(default_factory=_QueriedPackage)
    version: str = ""
    commit: str = ""
    page_token: str = ""


class _QueryBatch(msgspec.Struct):
    queries: list[_Query] = []


async def query(ask: Ask) -> Reply:
    """The records about one package."""
    try:
        question = _question(await read_json(ask.request, _Query))
    except Refused as error:
        return _invalid(error)
    if question is None:
        return json_reply({}, headers=_HEADERS)
    records = await ask.engine.advising.records(question, principal=ask.principal)
    return json_reply({"vulns": [msgspec.Raw(record) for record in records]} if records else {}, headers=_HEADERS)


async def query_batch(ask: Ask) -> Reply:
    """The identifiers of the records about each of many packages."""
    try:
        batch = await read_json(ask.request, _QueryBatch, limit=_BATCH_BYTES)
        if len(batch.queries) > _MOST:
            raise Refused(f"Too many queries: at most {_MOST}.")
        questions = [_question(each) for each in batch.queries]
    except Refused as error:
        return _invalid(error)
    asked = [each for each in questions if each is not None]
    found = iter(await ask.engine.advising.about(asked, principal=ask.principal))
    results: list[dict[str, Any]] = []
    for each in questions:
        about = next(found) if each is not None else []
        results.append({"vulns": [{"id": one.id, "modified": one.modified} for one in about]} if about else {})
    return json_reply({"results": results}, headers=_HEADERS)


async def vulnerability(ask: Ask) -> Reply:
    """One record."""
    record = await ask.engine.advising.record(ask.values["id"], principal=ask.principal)
    if record is None:
        return json_reply({"code": _NOT_FOUND, "message": "Vulnerability not found."}, status=404, headers=_HEADERS)
    return Reply(headers={"Content-Type": JSON, **_HEADERS, **SECURITY_HEADERS}, body=record)


async def own(ask: Ask) -> Reply:
    """The advisories of the index."""
    found = await ask.engine.own_advisories.listed(ask.index, principal=ask.principal)
    return json_reply({"advisories": list(found)}, headers=_HEADERS)


async def publish(ask: Ask) -> Reply:
    """Publish an advisory in the index."""
    record = await read_json(ask.request, dict[str, Any])
    made = await ask.engine.own_advisories.put(ask.index, record, principal=ask.principal)
    return json_reply({"message": f"{made.id} is published in {ask.index}"}, headers=_HEADERS)


async def drop(ask: Ask) -> Reply:
    """Remove the advisory that the query names."""
    identifier = ask.query("id")
    if not identifier:
        raise Refused("the URL names no advisory", hint="add ?id=IDENTIFIER")
    await ask.engine.own_advisories.drop(ask.index, identifier, principal=ask.principal)
    return json_reply({"message": f"{identifier[:80]} is removed from {ask.index}"}, headers=_HEADERS)


def _question(asked: _Query) -> PackageQuestion | None:
    """The question of a query; None if no advisory of PyPI can be about it. Raises `Refused`."""
    package = asked.package
    if asked.page_token:
        raise Refused("Invalid page token.")
    if asked.commit:
        return None  # advisories of released files know no commits
    name, version = package.name, asked.version
    if package.purl:
        read = _PURL.fullmatch(package.purl)
        if package.name or package.ecosystem:
            raise Refused("name/ecosystem and purl must not both be set.")
        if read is None:
            raise Refused("Invalid purl: this index knows packages of PyPI only.")
        if read[2] and version:
            raise Refused("version specified in both the purl and the version field.")
        name, version = unquote(read[1]), unquote(read[2] or "") or version
    elif package.ecosystem != ECOSYSTEM:
        raise Refused("Invalid ecosystem: this index knows packages of PyPI only.")
    normalized: ProjectName | None = normalized_or_none(name)
    if normalized is None:
        raise Refused("Invalid query: the package has no valid name.")
    return PackageQuestion(normalized, version)


def _invalid(error: Refused) -> Reply:
    return json_reply({"code": _INVALID, "message": "; ".join(error.problems)}, status=400, headers=_HEADERS)
