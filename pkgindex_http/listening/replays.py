"""Answers that are kept under the bytes of the whole request. A request with equal bytes gets an equal answer without being parsed.

Answers are kept if they can say what they depend on. All of this must be as it was, at the time of each repetition:

    request                 its bytes are the key. They are one whole request, head only, and are compared as a whole
    peer                    equal peers if `trusted_proxies` is set; otherwise no answer depends on the peer
    tree, permission        no commit changed the indexes since before the request was admitted (`Currency.holds`)
    replica                 its copy of the primary may be shown (`ReplicaState.is_whole`)
    principal               `Identity.holding`: the verdict on the credentials is one that `identify` would return at once
    page                    `Pages.holding`: the resolution is one that `resolve` would return at once, so its sources are current,
                            and filters decide as they did
    file                    `Files.holding_open`: the path is one that `open` would find again, filters decide as they did, and a mirrored file
                            is not being evicted; each check counts as a use of it
    settings, plugins       do not change while the server runs

These are the questions that the services ask themselves before they return what they have cached; there is no second set of rules. They are only asked
when all commits that the store sees are known (`Currency.known`). Otherwise the request goes the plain way, which learns of the commits.

The store is asked for its newest commit once in a turn of the event loop. A request that is looked up in that turn was readable when the turn began,
before the store was asked. So no client can have heard of a later commit and then have begun to send the request. Where uvloop may look for more requests in
the same turn, the store is asked for each request (`CROWD`). Touches and other checks are always asked for each request.

Of files the whole answer is kept if it has at most `sending.ONE_WRITE` bytes, and the answers to HEAD and to conditional requests whatever the size.
The bytes are those that the path names: they are compared with the sha256 before they are kept, and are not read from the disk again. A read that
is recorded (`read_log`) and a part of a file go the plain way. `Reply.again` counts each repetition as the handler counts an answer.

Long bodies are kept in files of the memory, which the kernel sends without a copy (`memory_files`). Equal bodies share one.

Two headers change without the answer: `Date`, and `X-Devpi-Serial`, which is the newest commit. The head is written anew for them by the function
that always writes it.

Nothing else is kept: no error, since errors have no `Reply.holding`; no answer of a route without `repeats`; no answer that ends the connection. A request
is kept when it comes for the second time. Kept bytes may have credentials, so neither keys nor answers have a repr.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final
from weakref import WeakValueDictionary

from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import HttpVersion11
from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.digests import Sha256, sha256_of
from pkgindex_core.models import Serial
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_core.tools.currency import Currency, Holding, Holds, Moment
from pkgindex_http.access_log import CLIENT, AccessLine, line_of
from pkgindex_http.listening.memory_files import WORTH, MemoryFile
from pkgindex_http.wire import web
from pkgindex_http.wire.replies import Reply, head_bytes

REQUEST_LIMIT: Final = 4096
"""The most bytes of a kept request. Clients send some hundred."""
_BODY_SHARE: Final = 3
"""A body takes at most a third of the memory for all answers, so that one does not take the place of all others."""
_OVERHEAD: Final = 3072
"""The most memory for an entry besides its body and two copies of its request, in bytes. One copy is the key; the other is for the parts in the line for the
access log."""
CROWD: Final = 512
"""The most connections with which the store is asked once in a turn. uvloop (libuv) looks for more events in the same turn when it got 1024 at once;
files and upstreams have fewer than the rest."""
KINDS: Final = ("page", "file", "head", "unchanged")
_SEEN_ONCE: Final = 8192
"""The most requests that are remembered without an answer. They take less than a megabyte besides."""
_SERIAL: Final = "X-Devpi-Serial"
_END_OF_HEAD: Final = b"\r\n\r\n"
_FRAMING: Final = ("Content-Length", "Transfer-Encoding", "Content-Encoding", "Expect", "Upgrade", "Trailer")


class KeptAnswer(Struct):
    """An answer, and what it depends on."""

    reply: Reply
    """Without its body, if that is in a file."""
    length: int
    """The length of the body in the head."""
    size: int
    """The memory that it takes, in bytes."""
    has_body: bool
    kind: str
    """The name of its count, one of `KINDS`."""
    peer: str | None
    """The only peer that gets this answer; None: all do."""
    client: str
    """The client behind that peer."""
    line: AccessLine
    identified: Holds
    """Whether the credentials would be judged alike."""
    answered: Holds
    """Whether the handler would give an equal answer."""
    file: MemoryFile | None = None
    """A long body."""
    head: bytes = b""
    made: tuple[str, Serial] = "", Serial(-1)
    """The date and the commit of the head."""

    def __repr__(self) -> str:
        return "KeptAnswer(***)"


class Replays:
    """Keeps answers, up to a limit in bytes, and finds those that hold."""

    def __init__(
        self, currency: Currency, *, limit: int, by_peer: bool, is_shown: Callable[[Serial], bool] | None = None
    ) -> None:
        """`by_peer`: whether answers may depend on the peer of a connection. `is_shown`: of a replica, whether it may show a store with this
        newest commit.
        """
        self._currency = currency
        self._by_peer = by_peer
        self._is_shown = is_shown
        self.repeated = dict.fromkeys(KINDS, 0)
        """How many answers of each kind were given again."""
        self._limit = limit
        self.kept = self._nothing()
        self._moment = currency.moment()
        """No commit that is known has changed the tree after it. All kept answers are of this tree."""
        self._files: WeakValueDictionary[Sha256, MemoryFile] = WeakValueDictionary()
        """The files of kept answers by the digest of their bytes."""
        self._once: set[int] = set()
        self._serial: Serial | None = None
        self._asked = False
        """Whether the store was asked for the newest commit in this turn of the event loop."""

    def __len__(self) -> int:
        return len(self.kept)

    @property
    def size(self) -> int:
        """The bytes that all kept answers take."""
        return self.kept.size

    def find(self, data: bytes, peer: str, *, connections: int = 1) -> KeptAnswer | None:
        """The answer to the request with these bytes, with its present head, if one is kept that holds. Never waits.

        `connections`: how many are open.
        """
        if len(data) > REQUEST_LIMIT:  # the beginning of an upload is not hashed
            return None
        kept = self.kept.get(data)
        if kept is None or (kept.peer is not None and kept.peer != peer):
            return None
        serial = self._known(for_each=connections > CROWD)
        if serial is None or not self._is_of_this_tree(self._moment):
            return None
        if self._is_shown is not None and not self._is_shown(serial):
            return None
        if not _holds(kept):
            self.kept.drop(data)
            return None
        date = rfc822_formatted_time()
        if kept.made != (date, serial):
            headers = kept.reply.headers
            reply = replace(kept.reply, headers={**headers, _SERIAL: str(serial)}) if _SERIAL in headers else kept.reply
            kept.head = head_bytes(reply, keep_alive=True, version=HttpVersion11, length=kept.length)
            kept.made = date, serial
        self.repeated[kept.kind] += 1
        return kept

    def learn(
        self,
        data: bytes,
        request: web.BaseRequest,
        identified: Holding,
        moment: Moment,
        kind: str,
        reply: Reply,
        length: int,
    ) -> None:
        """Keep the answer to the whole request `data`, if it can be repeated.

        `moment` is one before the request was admitted. `kind`: `page` or `file`. `length`: that of the body, which the answer to HEAD need not have.
        """
        if reply.holding is None or len(reply.body) > self._limit // _BODY_SHARE:
            return
        if not self._came_before(data) or not _is_repeatable(request) or not self._is_of_this_tree(moment):
            return
        still_identified, still_answered = identified(), reply.holding()
        if still_identified is None or still_answered is None:
            return
        has_body = request.method != "HEAD"
        file = self._file(reply.body) if has_body else None
        kept = KeptAnswer(
            reply=replace(reply, holding=None, body=b"" if file is not None else reply.body),
            length=length,
            size=_OVERHEAD + 2 * len(data) + len(reply.body),
            has_body=has_body,
            kind="unchanged" if reply.status == 304 else kind if has_body else "head",
            peer=(request.remote or "") if self._by_peer else None,
            client=request.get(CLIENT, ""),
            line=line_of(request, reply.status, len(reply.body) if has_body else 0),
            identified=still_identified,
            answered=still_answered,
            file=file,
        )
        self.kept.put(data, kept)

    def _file(self, body: bytes | memoryview) -> MemoryFile | None:
        """A file with a long body, if one can be had. A view is of a file already, which all workers share."""
        if len(body) < WORTH or not isinstance(body, bytes):
            return None
        sha256 = sha256_of(body)
        file = self._files.get(sha256) or MemoryFile.of(body)
        if file is not None:
            self._files[sha256] = file
        return file

    def _came_before(self, data: bytes) -> bool:
        """Whether a request with these bytes came before, as far as that is remembered."""
        name = hash(data)
        if name in self._once:
            return True
        if len(self._once) >= _SEEN_ONCE:
            self._once.clear()
        self._once.add(name)
        return False

    def _is_of_this_tree(self, moment: Moment) -> bool:
        """Whether what was decided after a moment was decided by the present tree. A new tree ends all answers, so that none holds an old one in memory."""
        now = self._currency.moment()
        if now != self._moment:
            if not self._currency.holds(self._moment):
                self.kept = self._nothing()
            self._moment = now
        return moment == now or self._currency.holds(moment)

    def _nothing(self) -> BoundedCache[bytes, KeptAnswer]:
        return BoundedCache(self._limit, size_of=lambda kept: kept.size)

    def _known(self, *, for_each: bool) -> Serial | None:
        """The newest commit, if all are known. The store is asked `for_each` request, or once in a turn of the event loop."""
        if for_each or not self._asked:
            if not self._asked:
                self._asked = True
                asyncio.get_running_loop().call_soon(self._ask_again)
            try:
                self._serial = self._currency.known()
            except Exception:  # also of a plugin's store: the plain way fails too, and says why
                self._serial = None
        return self._serial

    def _ask_again(self) -> None:
        self._asked = False


def _holds(kept: KeptAnswer) -> bool:
    try:
        return kept.identified() and kept.answered()
    except Exception:  # of a plugin: the plain way fails too, and says why
        return False


def may_be_whole(data: bytes) -> bool:
    """Whether bytes look like one whole request that may be kept: a head and nothing else."""
    return (
        len(data) <= REQUEST_LIMIT and data.startswith((b"GET ", b"HEAD ")) and data.find(_END_OF_HEAD) == len(data) - 4
    )


def _is_repeatable(request: web.BaseRequest) -> bool:
    """Whether the connection goes on after this request in the usual way, and no body belongs to it."""
    return (
        request.version == HttpVersion11
        and bool(request.keep_alive)
        and request.method in {"GET", "HEAD"}
        and not any(name in request.headers for name in _FRAMING)
    )
