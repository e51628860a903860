"""`/openapi.json`: what programs can ask, as an OpenAPI 3.1 document.

It is made from the table of routes, so it has each URL that is there, with its permission, and no other. Pages for people are left out, and so is
the method PUSH of devpi's client, which OpenAPI does not know: a POST to the same URL does the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, Final

from pkgindex_core.rules.negotiation import JSON_V1
from pkgindex_core.rules.permissions import Action
from pkgindex_http.handlers import past, project_json, simple, uploads
from pkgindex_http.requests import Ask
from pkgindex_http.routing import Checked, Glanced, OnIndex, Permission, Public, Route
from pkgindex_http.wire.replies import JSON, Reply, json_reply

_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
_PLACEHOLDER = re.compile(r"\{([a-z]+)(?:\.\.\.)?\}")
_BASIC: Final[dict[str, list[str]]] = {"basic": []}
_TOKEN: Final[dict[str, list[str]]] = {"token": []}
_OPEN_TO_ALL: Final = frozenset({Action.READ, Action.EXPLAIN, Action.REFRESH})
_MEDIA: Final[Mapping[Any, str]] = {
    simple.project_page: JSON_V1,
    simple.project_list: JSON_V1,
    past.past_page: JSON_V1,
    past.past_list: JSON_V1,
    project_json.document: JSON,
    project_json.pypi_document: JSON,
}
_TELLS: Final = {
    "user": "The name of a user.",
    "index": "The name of an index of that user.",
    "project": "The name of a project; other spellings of it are redirected to the normalised one.",
    "version": "A version, in any spelling of PEP 440.",
    "filename": "The name of a file.",
    "at": "A serial, a day or a time (RFC 3339).",
    "a": "The first part of the file's digest.",
    "b": "The second part of the file's digest.",
    "c": "The third part of the file's digest.",
    "path": "A path with slashes.",
    "digest": "A sha256 in hexadecimal digits.",
    "id": "The id of a token or of an advisory.",
    "namespace": "The name of a namespace.",
}


async def openapi(routes: Sequence[Route], ask: Ask) -> Reply:
    """The document. The table gives its other routes."""
    headers = {"Cache-Control": "no-cache", "Access-Control-Allow-Origin": "*"}
    return json_reply(document(routes, ask.url), headers=headers)


def document(routes: Sequence[Route], url: str) -> dict[str, Any]:
    """The document of a server with these routes at this URL."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        if (route.people and not route.variants) or route.method not in _METHODS:
            continue
        path = _PLACEHOLDER.sub(r"{\1}", route.path.removesuffix("[/]")) or "/"
        there = paths.setdefault(path, _parameters(path))
        there[route.method.lower()] = _operation(route, path)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "pkgindex",
            "version": version("pkgindex"),
            "description": "A Python package index: the simple API of PyPI, uploads, and the protocol of devpi.",
        },
        "servers": [{"url": url}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "basic": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "A user name and password, or `__token__` and a token.",
                },
                "token": {"type": "http", "scheme": "bearer", "description": "A token."},
            },
            "schemas": {"Problem": _PROBLEM, "Envelope": _ENVELOPE},
            "responses": {
                "Problem": {
                    "description": "The request failed (RFC 9457).",
                    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
                },
                "Failure": {
                    "description": "The request failed, in devpi's envelope.",
                    "content": {JSON: {"schema": {"$ref": "#/components/schemas/Envelope"}}},
                },
            },
        },
    }


_PROBLEM: Final = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "hint": {"type": "string", "description": "Advice."},
        "errors": {"type": "array", "items": {"type": "string"}, "description": "All problems, if there are several."},
    },
}
_ENVELOPE: Final = {
    "type": "object",
    "properties": {
        "type": {"type": "string", "description": "The kind of the result."},
        "result": {},
        "message": {"type": "string"},
    },
}


def _parameters(path: str) -> dict[str, Any]:
    names = _PLACEHOLDER.findall(path)
    if not names:
        return {}
    told = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _TELLS.get(name, f"The {name}."),
            "schema": {"type": "string"},
        }
        for name in names
    ]
    return {"parameters": told}


def _operation(route: Route, path: str) -> dict[str, Any]:
    media = JSON if route.envelope else _MEDIA.get(route.handler)
    answer: dict[str, Any] = {"description": "Success."}
    if media is not None:
        schema = {"$ref": "#/components/schemas/Envelope"} if route.envelope else {"type": "object"}
        answer["content"] = {media: {"schema": schema}}
    operation: dict[str, Any] = {
        "operationId": _operation_id(route.method, path),
        "summary": route.summary,
        "security": _security(route.permission),
        "responses": {
            "2XX": answer,
            "default": {"$ref": f"#/components/responses/{'Failure' if route.envelope else 'Problem'}"},
        },
    }
    if route.handler is uploads.upload:
        operation["requestBody"] = {
            "required": True,
            "content": {"multipart/form-data": {"schema": {"type": "object"}}},
        }
    elif route.method in {"PUT", "PATCH"} or (route.envelope and route.method == "POST"):
        operation["requestBody"] = {"content": {JSON: {"schema": {}}}}
    return operation


def _security(permission: Permission) -> list[dict[str, list[str]]]:
    """The alternatives of credentials. An empty one: none are needed, or the index decides."""
    match permission:
        case Public():
            return []
        case Glanced():
            return [{}, _BASIC, _TOKEN]
        case OnIndex(action=action) | Checked(action=action):
            return [*([{}] if action in _OPEN_TO_ALL else []), _BASIC, _TOKEN]


def _operation_id(method: str, path: str) -> str:
    words = [
        re.sub(r"[^a-z0-9]+", "_", segment.lower().replace("+", "plus ")).strip("_") for segment in path.split("/")
    ]
    return "_".join([method.lower(), *filter(None, words), *(["slash"] if path.endswith("/") else [])])
