"""PyPI's JSON of a project, at the URL of devpi-json-info. What stands in it is the business of `formats.project_json`."""

from __future__ import annotations

from pkgindex_core.rules.stamping import matches
from pkgindex_http.replies import JSON, SECURITY_HEADERS, Reply
from pkgindex_http.requests import Ask


async def document(ask: Ask) -> Reply:
    """A project, or one of its versions."""
    found = await ask.engine.information.document(
        ask.index,
        ask.project,
        ask.values.get("version"),
        principal=ask.principal,
        root=f"{ask.server.origin.url(ask.request)}/",
    )
    headers = {
        **SECURITY_HEADERS,
        "Content-Type": JSON,
        "ETag": f'"{found.digest}"',
        "Cache-Control": f"{'public' if found.public else 'private'}, max-age=0, must-revalidate",
        "Vary": "Host" if found.public else "Host, Authorization",
    }
    if found.stale:
        headers["Warning"] = '110 - "Response is Stale"'
        headers["X-PkgIndex-Stale"] = "; ".join(f"{index}: {reason}" for index, reason in found.stale)[:1000]
    if matches(ask.request.headers.get("If-None-Match"), headers["ETag"]):
        del headers["Content-Type"]
        return Reply(status=304, headers=headers)
    return Reply(headers=headers, body=found.body)
