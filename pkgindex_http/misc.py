"""Health, explanations and the front door."""

from __future__ import annotations

import html

import msgspec

from pkgindex_core.errors import PkgIndexError, Refused
from pkgindex_core.names import parse_index_name, parse_project_name
from pkgindex_http.replies import HTML, SECURITY_HEADERS, Reply, json_reply, text_reply
from pkgindex_http.requests import Ask

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>pkgindex</title></head>
<body>
<h1>pkgindex</h1>
<p>This is a Python package index. Point your tools at it:</p>
<pre>
pip install --index-url {url}/simple/ PACKAGE
uv pip install --default-index {url}/simple/ PACKAGE
twine upload --repository-url {url}/legacy/ dist/*
</pre>
<p><a href="simple/">All projects</a></p>
</body>
</html>
"""


async def welcome(ask: Ask) -> Reply:
    """Say what this is, with the lines to paste."""
    url = html.escape(ask.server.origin.url(ask.request))
    body = _PAGE.format(url=url).encode()
    return Reply(headers={"Content-Type": HTML, "Cache-Control": "no-store", **SECURITY_HEADERS}, body=body)


async def live(ask: Ask) -> Reply:  # noqa: ARG001 - handlers have one signature
    """Answer. No store is asked: a server with a broken disk is alive."""
    return text_reply("alive", headers={"Cache-Control": "no-store"})


async def ready(ask: Ask) -> Reply:
    """Whether this server should get requests: 503 while it stops, or when a store does not answer."""
    parts = {"stopping": ask.server.stopping, "index_store": True, "blob_store": True}
    try:
        await ask.engine.store.head()
    except PkgIndexError:
        parts["index_store"] = False
    try:
        await ask.server.blob_probe()
    except PkgIndexError:
        parts["blob_store"] = False
    good = parts["index_store"] and parts["blob_store"] and not parts["stopping"]
    return json_reply({"ready": good, **parts}, status=200 if good else 503, headers={"Cache-Control": "no-store"})


async def explain(ask: Ask) -> Reply:
    """Why a project's page shows what it shows."""
    project = ask.query("project")
    if not project:
        raise Refused("which project is to be explained?", hint="add ?project=NAME, and &index=USER/INDEX if need be")
    named = ask.query("index")
    index = parse_index_name(named) if named else ask.server.default_index
    story = await ask.engine.explaining.explain(index, parse_project_name(project), principal=ask.principal)
    return json_reply(msgspec.to_builtins(story), headers={"Cache-Control": "no-store", "Vary": "Authorization"})
