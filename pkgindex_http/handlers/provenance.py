"""`/integrity/…/provenance`: the provenance of a file (PEP 740), as PyPI serves it.

`Accept` chooses between PyPI's media type, which is the default, and plain JSON. A provenance may get more attestations, so it is cached
for minutes and has an ETag. `X-PkgIndex-Publisher` names the verified publisher; without it the document is the word of an upstream.
"""

from __future__ import annotations

from typing import Final

from pkgindex_core.digests import sha256_of
from pkgindex_core.formats.attestations import MEDIA_TYPE
from pkgindex_core.rules.negotiation import NotAcceptable, choose_format
from pkgindex_core.rules.stamping import matches
from pkgindex_http.requests import Ask
from pkgindex_http.wire.replies import JSON, SECURITY_HEADERS, Reply, text_reply

_OFFERED: Final = (MEDIA_TYPE, JSON)
_SECONDS: Final = 600


async def provenance(ask: Ask) -> Reply:
    """Answer the provenance of the file of the URL."""
    found = await ask.engine.provenances.read(
        ask.index, ask.project, ask.values["version"], ask.values["filename"], principal=ask.principal
    )
    headers = {"Vary": "Accept", "Access-Control-Allow-Origin": "*"}
    chosen = choose_format(ask.request.headers.get("Accept"), offered=_OFFERED, default=MEDIA_TYPE)
    if isinstance(chosen, NotAcceptable):
        return text_reply(f"a provenance is {' or '.join(_OFFERED)}", status=406, headers=headers)
    etag = f'"{sha256_of(found.document)[:32]}"'
    headers |= {"ETag": etag, "Cache-Control": f"{'public' if found.public else 'private'}, max-age={_SECONDS}"}
    if found.publisher:
        headers["X-PkgIndex-Publisher"] = found.publisher
    if matches(ask.request.headers.get("If-None-Match"), etag):
        return Reply(status=304, headers=headers)
    return Reply(headers={"Content-Type": chosen, **SECURITY_HEADERS, **headers}, body=found.document)
