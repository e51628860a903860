"""The front door: a page for a person who opens the server's URL, with the lines to paste."""

from __future__ import annotations

import html

from pkgindex_http.replies import HTML, SECURITY_HEADERS, Reply
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
devpi use {url}
</pre>
<p><a href="simple/">All projects</a></p>
</body>
</html>
"""


async def welcome(ask: Ask) -> Reply:
    """Say what this is, with the lines to paste."""
    url = html.escape(ask.server.origin.url(ask.request))
    body = _PAGE.format(url=url).encode()
    return Reply(
        headers={"Content-Type": HTML, "Cache-Control": "no-store", "Vary": "Accept", **SECURITY_HEADERS}, body=body
    )
