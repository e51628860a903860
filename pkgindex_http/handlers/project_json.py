"""PyPI's JSON of a project: for any index at the URL of devpi-json-info, for the default index at PyPI's own URL.

The two differ in the URLs of files. At PyPI's URL they have the paths of `formats.package_paths`, which bandersnatch needs.
`formats.project_json` writes the document.
"""

from __future__ import annotations

from pkgindex_core.rules.stamping import matches
from pkgindex_http.requests import Ask
from pkgindex_http.wire.replies import JSON, SECURITY_HEADERS, Reply, redirect
from pkgindex_http.wire.unasked import unasked_headers


async def document(ask: Ask) -> Reply:
    """A project, or one of its versions, with the URLs that files have in their index."""
    return await _document(ask, packages=False)


async def pypi_document(ask: Ask) -> Reply:
    """The same for the default index, with file URLs as at PyPI. A name that is not normalised is redirected, as at PyPI."""
    if ask.values["project"] != ask.project:
        rest = "/".join(ask.segments[2:])
        return redirect(f"{ask.root}pypi/{ask.project}/{rest}")
    return await _document(ask, packages=True)


async def _document(ask: Ask, *, packages: bool) -> Reply:
    found = await ask.engine.information.document(
        ask.index,
        ask.project,
        ask.values.get("version"),
        principal=ask.principal,
        root=f"{ask.url}/",
        packages=packages,
    )
    headers = {
        **SECURITY_HEADERS,
        "Content-Type": JSON,
        "ETag": f'"{found.digest}"',
        "Cache-Control": f"{'public' if found.public else 'private'}, max-age=0, must-revalidate",
        "Vary": "Host" if found.public else "Host, Authorization",
        "X-PyPI-Last-Serial": str(found.serial),
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Expose-Headers": "X-PyPI-Last-Serial",
    }
    headers |= unasked_headers(found.stale)
    if matches(ask.request.headers.get("If-None-Match"), headers["ETag"]):
        del headers["Content-Type"]
        return Reply(status=304, headers=headers)
    return Reply(headers=headers, body=found.body)
