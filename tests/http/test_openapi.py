"""`/openapi.json` is valid, and has the routes of the table."""

from __future__ import annotations

import json

from openapi_spec_validator import OpenAPIV31SpecValidator

from pkgindex_http.routes import ROUTES
from tests.http.conftest import Serve


async def test_the_document_is_valid_and_whole(serve: Serve) -> None:
    """Each route of a program is in it, and none of a page for people."""
    async with serve() as served, served.get("/openapi.json") as answer:
        assert answer.headers["Content-Type"] == "application/json"
        document = json.loads(await answer.read())
    OpenAPIV31SpecValidator(document).validate()
    told = {
        (method.upper(), path) for path, item in document["paths"].items() for method in item if method != "parameters"
    }
    wanted = {
        (route.method, route.path.removesuffix("[/]").replace("...}", "}") or "/")
        for route in ROUTES
        if (not route.people or route.path == "/") and route.method != "PUSH" and route.path != "/openapi.json"
    }
    assert told == wanted
    identifiers = [
        each["operationId"]
        for item in document["paths"].values()
        for name, each in item.items()
        if name != "parameters"
    ]
    assert len(identifiers) == len(set(identifiers))
    assert document["servers"] == [{"url": served.url}]
    assert document["paths"]["/{user}/{index}"]["put"]["security"] == [{"basic": []}, {"token": []}]
    assert {} in document["paths"]["/simple/{project}/"]["get"]["security"]
