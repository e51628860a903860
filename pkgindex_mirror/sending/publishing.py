"""Sending releases to other indexes, in the form that twine sends (legacy upload API), one file a request.

The user names the target of a push, so its URL is a stranger's (`strangers`). The password is sent to that URL only: redirects are not
followed, and the log does not have it. The body is streamed from the blob store with a Content-Length, since some servers refuse chunks.
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
from pkgindex_core.protocols import BlobStore, Publisher, PushAnswer, PushDestination, PushedRelease
from pkgindex_mirror import urls
from pkgindex_mirror.sending.upload_forms import Form, file_fields, form_of, metadata_fields
from pkgindex_mirror.settings import MirrorSettings

TEXT_LIMIT = 2000
"""Characters of another server's answer that are passed on."""
_ACCEPTED = frozenset({200, 201})
_RETIRED = 410
"""PyPI's answer to the retired registering. Files are sent all the same."""
_UNKNOWN_USER = frozenset({401, 403})

_log = logging.getLogger(__name__)


class HttpPublisher:
    """Posts forms. Owns its connections; `close` ends them."""

    def __init__(self, *, blob_store: BlobStore, settings: MirrorSettings) -> None:
        self._blobs = blob_store
        self._settings = settings
        self._session: aiohttp.ClientSession | None = None

    def takes(self, url: str) -> bool:
        return url.startswith(("https://", "http://"))

    async def push(
        self, destination: PushDestination, release: PushedRelease, *, register: bool = False
    ) -> tuple[PushAnswer, ...]:
        url = urls.cleaned(destination.url)
        if url is None:
            raise Refused("the posturl cannot be used", hint="write it as https://upload.example.org/legacy/")
        address = _Address(url, urls.basic(f"{destination.username}:{destination.password}"))
        fields = metadata_fields(release.name, release.version, release.metadata)
        answers: list[PushAnswer] = []
        if register:
            answer = await self._post(address, form_of({":action": "submit", **fields}), None)
            passes = answer.accepted or answer.status == _RETIRED
            answers.append(_push_answer("register", None, answer))
            if not passes:
                return tuple(answers)
        for file in release.files:
            content = file.sha256
            assert content is not None, "a release names stored blobs"
            form = form_of({**file_fields(file), **fields}, filename=file.filename, size=file.size or 0)
            answer = await self._post(address, form, content)
            answers.append(_push_answer("file", file, answer))
            if answer.is_final:
                return tuple(answers)
        docs = release.documentation
        if docs is not None:
            form = form_of({":action": "doc_upload", **fields}, filename=docs.filename, size=docs.size)
            answers.append(_push_answer("documentation", None, await self._post(address, form, docs.sha256)))
        return tuple(answers)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _post(self, address: _Address, form: Form, content: Sha256 | None) -> _ServerAnswer:
        """Send one form. Failures are values too."""
        settings = self._settings
        patience = settings.file_allowance + form.length / settings.slowest_file
        headers = {
            "Authorization": address.authorization,
            "Content-Type": form.content_type,
            "Content-Length": str(form.length),
            "Accept": "*/*",
        }
        try:
            async with self._opened().post(
                URL(address.url, encoded=address.url.isascii()),
                data=self._body(form, content),
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    total=patience, sock_connect=settings.connect_timeout, sock_read=settings.file_allowance
                ),
            ) as response:
                answer = await _read(response)
        except PkgIndexError as error:
            return _ServerAnswer(None, error.message)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            from pkgindex_mirror.upstreams.upstream_answers import failure_of  # no start needs it

            failed = failure_of(error)
            _log.warning("pushing to %s failed: %s", urls.shown(address.url), failed.reason)
            return _ServerAnswer(None, f"{urls.shown(address.url)}: {failed.reason}")
        if not answer.accepted:
            _log.warning("%s answered a push with %s", urls.shown(address.url), answer.status)
        return answer

    async def _body(self, form: Form, content: Sha256 | None) -> AsyncIterator[bytes]:
        yield form.head
        if content is not None:
            async for chunk in self._blobs.read(content):
                yield chunk
        yield form.tail

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            from pkgindex_mirror.upstreams.strangers import (
                guarded_session,  # loaded here, since a start does not need the client
            )

            self._session = guarded_session(self._settings)
        return self._session


class _Address(Struct, frozen=True):
    """The target of a push, with the value of its Authorization header."""

    url: str
    authorization: str

    def __repr__(self) -> str:
        return "_Address(***)"


class _ServerAnswer(Struct, frozen=True):
    status: int | None
    text: str = ""

    @property
    def accepted(self) -> bool:
        return self.status in _ACCEPTED

    @property
    def is_final(self) -> bool:
        """Whether the next file would fail for the same reason."""
        return self.status is None or self.status in _UNKNOWN_USER


async def _read(response: aiohttp.ClientResponse) -> _ServerAnswer:
    """Read an answer, and its text only if it is a refusal."""
    if response.status in _ACCEPTED:
        return _ServerAnswer(response.status)
    if response.status in range(300, 400):
        target = urls.cleaned(response.headers.get("Location", ""), str(response.url))
        where = urls.shown(target) if target else "nowhere"
        return _ServerAnswer(
            response.status, f"it redirects to {where}, which is not followed: push to that URL if you trust it"
        )
    data = await response.content.read(4 * TEXT_LIMIT)
    text = data.decode("utf-8", "replace").strip() or str(response.reason or "")
    return _ServerAnswer(
        response.status, "".join(mark for mark in text if mark.isprintable() or mark == "\n")[:TEXT_LIMIT]
    )


def _push_answer(kind: Any, file: File | None, answer: _ServerAnswer) -> PushAnswer:
    return PushAnswer(kind=kind, file=file, accepted=answer.accepted, status=answer.status, text=answer.text)


if TYPE_CHECKING:
    _: type[Publisher] = HttpPublisher
