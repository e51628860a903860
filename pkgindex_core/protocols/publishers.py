"""The role of what sends a release to somebody else's index. `pkgindex_mirror` plays it for http and https."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

from msgspec import Struct

from pkgindex_core.models import Attachment, File


class Destination(Struct, frozen=True, kw_only=True):
    """Where to, and as whom. Lives as long as one push; its repr shows no secret."""

    url: str
    username: str = ""
    password: str = ""

    def __repr__(self) -> str:
        return "Destination(***)"


class Consignment(Struct, frozen=True, kw_only=True):
    """What is to be sent. Every blob that it names is stored."""

    name: str
    """The project as its metadata spells it."""
    version: str
    metadata: Mapping[str, Any]
    """Texts and lists of texts under the field names of the upload API (see `formats.version_documents`)."""
    files: tuple[File, ...]
    documentation: Attachment | None = None


class Delivery(Struct, frozen=True, kw_only=True):
    """What became of one thing that was sent."""

    kind: Literal["register", "file", "documentation"]
    file: File | None = None
    accepted: bool
    answer: int | None
    """The status that the other index gave; None when it gave none."""
    text: str = ""
    """What the other index said when it did not accept, or why it could not be asked. Without secrets of ours."""


class Publisher(Protocol):
    """Sends releases elsewhere. Never sends credentials anywhere but to the URL that was given."""

    def takes(self, url: str) -> bool:
        """Whether this publisher can send to such a URL."""
        ...

    async def publish(
        self, destination: Destination, consignment: Consignment, *, register: bool = False
    ) -> tuple[Delivery, ...]:
        """Send everything, one after the other, and say what became of each; with `register` the metadata alone first.

        Stops where going on is of no use: the other index cannot be asked, or does not know the user. Raises `Refused` for a URL
        that can be no destination; what the other index says is a value.
        """
        ...

    async def close(self) -> None: ...
