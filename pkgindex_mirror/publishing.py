"""Sending releases to other indexes, in the form that twine sends (legacy upload API), one file a request.

Whoever may push says where to, so this is a stranger's URL (`strangers`). The password goes to that URL and nowhere else: no redirect is
followed, nothing logged. The body is streamed from the blob store with its length told in advance, since not every server takes chunks.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import aiohttp
from msgspec import Struct
from yarl import URL

from pkgindex_core.digests import Sha256
from pkgindex_core.errors import PkgIndexError, Refused
from pkgindex_core.models import File
from pkgindex_core.protocols import BlobStore, Consignment, Delivery, Destination, Publisher
from pkgindex_mirror import urls
from pkgindex_mirror.addresses import parse_networks
from pkgindex_mirror.settings import MirrorSettings
from pkgindex_mirror.strangers import guarded_session
from pkgindex_mirror.upload_forms import Form, file_fields, form_of, metadata_fields
from pkgindex_mirror.upstream_answers import failure_of

TEXT_LIMIT = 2000
"""Characters of what another server says that are passed on."""
_ACCEPTED = frozenset({200, 201})
_RETIRED = 410
"""What PyPI answers to registering, which it has given up: files may be sent all the same."""
_UNKNOWN_USER = frozenset({401, 403})

_log = logging.getLogger(__name__)


class HttpPublisher:
    """Posts forms. Owns its connections; `close` ends them."""

    def __init__(self, *, blob_store: BlobStore, settings: MirrorSettings) -> None:
        self._blobs = blob_store
        self._settings = settings
        parse_networks(settings.allow_networks)  # a mistake in it is told at the start
        self._session: aiohttp.ClientSession | None = None

    def takes(self, url: str) -> bool:
        return url.startswith(("https://", "http://"))

    async def publish(
        self, destination: Destination, consignment: Consignment, *, register: bool = False
    ) -> tuple[Delivery, ...]:
        url = urls.cleaned(destination.url)
        if url is None:
            raise Refused("the posturl cannot be used", hint="write it as https://upload.example.org/legacy/")
        mail = _Mail(url, urls.basic(f"{destination.username}:{destination.password}"))
        fields = metadata_fields(consignment.name, consignment.version, consignment.metadata)
        deliveries: list[Delivery] = []
        if register:
            answer = await self._post(mail, form_of({":action": "submit", **fields}), None)
            passes = answer.accepted or answer.answer == _RETIRED
            deliveries.append(_delivery("register", None, answer))
            if not passes:
                return tuple(deliveries)
        for file in consignment.files:
            content = file.sha256
            assert content is not None, "a consignment names stored blobs"
            form = form_of({**file_fields(file), **fields}, filename=file.filename, size=file.size or 0)
            answer = await self._post(mail, form, content)
            deliveries.append(_delivery("file", file, answer))
            if answer.is_final:
                return tuple(deliveries)
        docs = consignment.documentation
        if docs is not None:
            form = form_of({":action": "doc_upload", **fields}, filename=docs.filename, size=docs.size)
            deliveries.append(_delivery("documentation", None, await self._post(mail, form, docs.sha256)))
        return tuple(deliveries)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _post(self, mail: _Mail, form: Form, content: Sha256 | None) -> _Answer:
        """Send one form; whatever becomes of it is a value."""
        settings = self._settings
        patience = settings.file_allowance + form.length / settings.slowest_file
        headers = {
            "Authorization": mail.authorization,
            "Content-Type": form.content_type,
            "Content-Length": str(form.length),
            "Accept": "*/*",
        }
        try:
            async with self._opened().post(
                URL(mail.url, encoded=mail.url.isascii()),
                data=self._body(form, content),
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    total=patience, sock_connect=settings.connect_timeout, sock_read=settings.file_allowance
                ),
            ) as response:
                answer = await _read(response)
        except PkgIndexError as error:
            return _Answer(None, error.message)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            failed = failure_of(error)
            _log.warning("%s was not pushed to: %s", urls.shown(mail.url), failed.reason)
            return _Answer(None, f"{urls.shown(mail.url)}: {failed.reason}")
        if not answer.accepted:
            _log.warning("%s answered a push with %s", urls.shown(mail.url), answer.answer)
        return answer

    async def _body(self, form: Form, content: Sha256 | None) -> AsyncIterator[bytes]:
        yield form.head
        if content is not None:
            async for chunk in self._blobs.read(content):
                yield chunk
        yield form.tail

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = guarded_session(self._settings)
        return self._session


class _Mail(Struct, frozen=True):
    """Where to, with the header's value."""

    url: str
    authorization: str

    def __repr__(self) -> str:
        return "_Mail(***)"


class _Answer(Struct, frozen=True):
    answer: int | None
    text: str = ""

    @property
    def accepted(self) -> bool:
        return self.answer in _ACCEPTED

    @property
    def is_final(self) -> bool:
        """Whether the next file would fare no better."""
        return self.answer is None or self.answer in _UNKNOWN_USER


async def _read(response: aiohttp.ClientResponse) -> _Answer:
    """An answer; what it says only when it is not a yes."""
    if response.status in _ACCEPTED:
        return _Answer(response.status)
    if response.status in range(300, 400):
        target = urls.cleaned(response.headers.get("Location", ""), str(response.url))
        where = urls.shown(target) if target else "nowhere"
        return _Answer(
            response.status, f"it redirects to {where}, which is not followed: push to that URL if you trust it"
        )
    data = await response.content.read(4 * TEXT_LIMIT)
    text = data.decode("utf-8", "replace").strip() or str(response.reason or "")
    return _Answer(response.status, "".join(mark for mark in text if mark.isprintable() or mark == "\n")[:TEXT_LIMIT])


def _delivery(kind: Any, file: File | None, answer: _Answer) -> Delivery:
    return Delivery(kind=kind, file=file, accepted=answer.accepted, answer=answer.answer, text=answer.text)


if TYPE_CHECKING:
    _: type[Publisher] = HttpPublisher
