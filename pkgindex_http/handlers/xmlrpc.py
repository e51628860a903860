"""XML-RPC: `search`, which `pip search --index URL` calls. It posts to the URL that it is given: the root, an index, `/pypi` or `/RPC2`.

The document is read by expat with a bound, and any document type is refused: entities that grow or read files are declared in one
(CWE-776, CWE-611).
"""

from __future__ import annotations

import re
import xmlrpc.client
from typing import Final
from xml.parsers import expat

from pkgindex_core.errors import Refused
from pkgindex_core.models import IndexConfig
from pkgindex_core.protocols.catalogue import SearchEntry, SearchQuery
from pkgindex_core.rules.searching.queries import plain_query
from pkgindex_core.rules.searching.ranking import rank
from pkgindex_http.requests import Ask
from pkgindex_http.wire.bodies import read_bytes
from pkgindex_http.wire.replies import SECURITY_HEADERS, Reply

_BYTES: Final = 64 * 1024
_FOUND: Final = 100
_OPERATORS: Final = frozenset({"and", "or"})
_NOT_IN_XML: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML document may have (XML 1.0, section 2.2). A summary may have them."""
_NO_SUCH_METHOD: Final = -32601
"""http://xmlrpc-epi.sourceforge.net/specs/rfc.fault_codes.php"""


async def called(ask: Ask) -> Reply:
    """Answer a call of `search`, and any other with a fault that says what to use instead."""
    method, texts = read_call(await read_bytes(ask.request, limit=_BYTES))
    if method != "search":
        fault = xmlrpc.client.Fault(
            _NO_SUCH_METHOD,
            f"the method {method[:40]!r} is not known here; `search` is. `pip index versions NAME` shows the versions of one project."
            " Mirrors read /simple/ as JSON: each project has a `_last-serial`.",
        )
        return _reply(xmlrpc.client.dumps(fault, methodresponse=True))
    query = plain_query(" ".join(texts))
    config = await ask.engine.indexes.config(ask.index)
    if config.files_elsewhere and not config.mirrored:
        await _look_there(ask, config, query)
    found = await ask.engine.searching.search(query, start=ask.index, principal=ask.principal, limit=_FOUND)
    rows: list[dict[str, str | int]] = [
        {
            "_pypi_ordering": place,
            "name": each.name,
            "version": each.version,
            "summary": each.summary or each.version,
        }
        for place, each in enumerate(found.projects)
    ]
    return _reply(xmlrpc.client.dumps((rows,), methodresponse=True))


async def _look_there(ask: Ask, config: IndexConfig, query: SearchQuery) -> None:
    """Have the source of a directory look at the projects with such names, since a project may lie there that was not seen yet."""
    source = ask.engine.sources.of(config)
    names = await source.names(config)
    left = _FOUND
    async for rows in names.read(""):
        for row in rows:
            if left and rank(query, SearchEntry(index=config.name, project=row.name)) is not None:
                (standing,) = await ask.engine.store.standings(row.name, [config.name])
                await source.refresh(config, row.name, standing)
                left -= 1


def read_call(body: bytes) -> tuple[str, tuple[str, ...]]:
    """The method of a call, and its texts, each once. pip sends the same words for `name` and for `summary`, and then an operator.

    `Refused` for what is no call, and for a document type.
    """
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
    if not call.method:
        raise Refused("Invalid or unsafe XML payload", hint="send a methodCall with a methodName")
    texts = call.strings[:-1] if len(call.strings) > 1 and call.strings[-1] in _OPERATORS else call.strings
    return call.method, tuple(dict.fromkeys(texts))


class _Call:
    """Keeps the texts of the elements that matter."""

    def __init__(self) -> None:
        self.method = ""
        self.strings: list[str] = []
        self._open = ""
        self._pieces: list[str] = []

    def refuse(self, *_: object) -> None:
        raise Refused("Invalid or unsafe XML payload")

    def begin(self, name: str, _attributes: object) -> None:
        self._open, self._pieces = name, []

    def end(self, name: str) -> None:
        text = "".join(self._pieces).strip()
        if name == self._open == "methodName":
            self.method = self.method or text
        elif name == self._open == "string":
            self.strings.append(text)
        self._open = ""

    def text(self, data: str) -> None:
        self._pieces.append(data)


def _reply(text: str) -> Reply:
    headers = {"Content-Type": "text/xml; charset=utf-8", "Cache-Control": "no-store", **SECURITY_HEADERS}
    return Reply(headers=headers, body=_NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", text).encode())
