"""POST `/RPC2`: the search of XML-RPC, for `pip search` of old and for scripts.

The document is read by expat with a bound, and any document type is refused: entities that grow or read files are declared in one
(CWE-776, CWE-611).
"""

from __future__ import annotations

import re
import xmlrpc.client
from typing import Final
from xml.parsers import expat

import msgspec

from pkgindex_core.errors import Missing, Refused
from pkgindex_core.names import normalized_or_none
from pkgindex_http.requests import Ask
from pkgindex_http.wire.bodies import read_bytes
from pkgindex_http.wire.replies import SECURITY_HEADERS, Reply

_BYTES: Final = 64 * 1024
_TEXT_LIMIT: Final = 100
_FOUND: Final = 100
_NOT_IN_XML: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML document may have (XML 1.0, section 2.2). A summary may have them."""
_NO_SUCH_METHOD: Final = -32601
"""http://xmlrpc-epi.sourceforge.net/specs/rfc.fault_codes.php"""


class _Info(msgspec.Struct):
    name: str
    version: str
    summary: str | None = None


class _SearchedDocument(msgspec.Struct):
    info: _Info


async def search(ask: Ask) -> Reply:
    """The projects whose name contains the first text of the call, each with its newest version."""
    method, text = read_call(await read_bytes(ask.request, limit=_BYTES))
    if method != "search":
        fault = xmlrpc.client.Fault(_NO_SUCH_METHOD, f"the method {method[:40]!r} is not known here; `search` is")
        return _reply(xmlrpc.client.dumps(fault, methodresponse=True))
    # The search looks at no directory, and a project may lie there that was not seen yet.
    config = await ask.engine.indexes.config(ask.index)
    await ask.engine.sources.of(config).names(config)
    found = await ask.engine.searching.search(ask.index, text[:_TEXT_LIMIT], principal=ask.principal, limit=_FOUND)
    rows: list[dict[str, str | int]] = []
    for name in found.own:
        info = await _information(ask, name)
        if info is not None:
            summary = info.summary or info.version
            rows.append({"_pypi_ordering": len(rows), "name": info.name, "version": info.version, "summary": summary})
    return _reply(xmlrpc.client.dumps((rows,), methodresponse=True))


def read_call(body: bytes) -> tuple[str, str]:
    """The method of a call and its first text. `Refused` for what is no call, and for a document type."""
    call = _Call()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = call.refuse
    parser.StartElementHandler = call.begin
    parser.EndElementHandler = call.end
    parser.CharacterDataHandler = call.text
    try:
        parser.Parse(body, True)
    except (expat.ExpatError, LookupError, ValueError) as error:  # the latter: an encoding that is not known
        raise Refused("Invalid or unsafe XML payload") from error
    if "methodName" not in call.found:
        raise Refused("Invalid or unsafe XML payload", hint="send a methodCall with a methodName")
    return call.found["methodName"], call.found.get("string", "")


class _Call:
    """Keeps the first text of each element that matters."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}
        self._open = ""
        self._pieces: list[str] = []

    def refuse(self, *_: object) -> None:
        raise Refused("Invalid or unsafe XML payload")

    def begin(self, name: str, _attributes: object) -> None:
        self._open, self._pieces = name, []

    def end(self, name: str) -> None:
        if name == self._open and name in {"methodName", "string"}:
            self.found.setdefault(name, "".join(self._pieces).strip())
        self._open = ""

    def text(self, data: str) -> None:
        self._pieces.append(data)


async def _information(ask: Ask, display_name: str) -> _Info | None:
    project = normalized_or_none(display_name)
    if project is None:
        return None
    try:
        document = await ask.engine.information.document(
            ask.index, project, None, principal=ask.principal, root=f"{ask.url}/", packages=False
        )
    except Missing:  # all of it is hidden
        return None
    return msgspec.json.decode(document.body, type=_SearchedDocument).info


def _reply(text: str) -> Reply:
    headers = {"Content-Type": "text/xml; charset=utf-8", "Cache-Control": "no-store", **SECURITY_HEADERS}
    return Reply(headers=headers, body=_NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", text).encode())
