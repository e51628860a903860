"""The role of a transport: how a run asks its upstream. A careful one and a fast one play it.

Failures are values (`upstream_answers.Failed`); no method raises for what an upstream does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

from pkgindex_mirror.upstreams.sites import Site
from pkgindex_mirror.upstreams.upstream import ACCEPT, UpstreamClient
from pkgindex_mirror.upstreams.upstream_answers import AbsentAnswer, Document, Failed, FileAnswer, Unchanged

ACCEPT_DOCUMENT: Final = "application/json"
LIST_LIMIT: Final = 1024 * 1024 * 1024
"""Most bytes of a list of projects, decompressed. It is never in memory as a whole."""

PageAnswer = Document | Unchanged | AbsentAnswer | Failed


class ListStream(Protocol):
    """A list that has begun to arrive (`upstream_answers.DocumentStream`)."""

    @property
    def content_type(self) -> str: ...

    @property
    def validators(self) -> Mapping[str, str]: ...

    @property
    def is_delimited(self) -> bool: ...

    def chunks(self) -> AsyncIterator[bytes | Failed]: ...


ListAnswer = ListStream | Unchanged | AbsentAnswer | Failed


class Transport(Protocol):
    """One upstream, asked with retries, within limits, and only at addresses that are permitted."""

    async def page(
        self, url: str, *, validators: Mapping[str, str] | None = None, accept: str = ACCEPT, past_caches: bool = False
    ) -> PageAnswer:
        """Ask for a page or a document. With `validators`, the answer may be `Unchanged`."""
        ...

    def listing(
        self, url: str, *, validators: Mapping[str, str] | None = None
    ) -> AbstractAsyncContextManager[ListAnswer]:
        """Ask for the list of projects, which is read while it arrives."""
        ...

    async def small_file(self, url: str, size: int | None) -> bytes | AbsentAnswer | Failed | None:
        """A file of `size` bytes, or a metadata file, in one piece; None: ask for it with `file`."""
        ...

    def file(
        self, url: str, *, span: tuple[int, int | None] | None = None, validator: str = ""
    ) -> AbstractAsyncContextManager[FileAnswer]:
        """Ask for a file or for its bytes from an offset on."""
        ...

    async def pause(self, url: str, attempt: int) -> None:
        """Wait before a transfer that broke off is resumed."""
        ...

    async def close(self) -> None: ...


class CarefulTransport:
    """Asks by the client of the read-through cache."""

    def __init__(self, client: UpstreamClient, site: Site) -> None:
        self._client = client
        self._site = site

    async def page(
        self, url: str, *, validators: Mapping[str, str] | None = None, accept: str = ACCEPT, past_caches: bool = False
    ) -> PageAnswer:
        return await self._client.document(
            self._site, url, validators=validators, accept=accept, past_caches=past_caches
        )

    def listing(
        self, url: str, *, validators: Mapping[str, str] | None = None
    ) -> AbstractAsyncContextManager[ListAnswer]:
        return self._client.stream(self._site, url, validators=validators, limit=LIST_LIMIT)

    async def small_file(self, url: str, size: int | None) -> bytes | AbsentAnswer | Failed | None:  # noqa: ARG002 - the role's signature
        return None

    def file(
        self, url: str, *, span: tuple[int, int | None] | None = None, validator: str = ""
    ) -> AbstractAsyncContextManager[FileAnswer]:
        return self._client.file(self._site, url, span=span, validator=validator)

    async def pause(self, url: str, attempt: int) -> None:
        await self._client.hosts.pause(url, attempt)

    async def close(self) -> None:
        await self._client.close()
