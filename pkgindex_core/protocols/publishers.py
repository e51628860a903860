"""The role of a publisher: it pushes releases to other servers. `pkgindex_mirror` has one for http and https.

The contract suite is `pkgindex_core.testing.publishers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

from msgspec import Struct

from pkgindex_core.models import Attachment, File


class PushDestination(Struct, frozen=True, kw_only=True):
    """The upload URL of another server, and the credentials for it. Its repr shows no secret."""

    url: str
    username: str = ""
    password: str = ""

    def __repr__(self) -> str:
        return "PushDestination(***)"


class PushedRelease(Struct, frozen=True, kw_only=True):
    """The part of a release that is pushed. Every blob that it names is stored."""

    name: str
    """The project as its metadata spells it."""
    version: str
    metadata: Mapping[str, Any]
    """Texts and lists of texts under the field names of the upload API (see `formats.version_documents`)."""
    files: tuple[File, ...]
    documentation: Attachment | None = None


class PushAnswer(Struct, frozen=True, kw_only=True):
    """The answer of the other server to one request of a push."""

    kind: Literal["register", "file", "documentation"]
    file: File | None = None
    accepted: bool
    status: int | None
    """The HTTP status; None when there was no answer."""
    text: str = ""
    """The text of a refusal, or why the server could not be asked. Contains no credentials."""


class Publisher(Protocol):
    """Pushes releases to other servers. Credentials are sent to the given URL only, and are neither logged nor returned."""

    def takes(self, url: str) -> bool:
        """Whether this publisher can push to URLs of this form. Takes any text."""
        ...

    async def push(
        self, destination: PushDestination, release: PushedRelease, *, register: bool = False
    ) -> tuple[PushAnswer, ...]:
        """Push files and documentation one after the other; with `register` the metadata first. Return the answers.

        A refused file does not keep the next one from being pushed. Stops when the other server cannot be asked or does not know the
        user. Raises `Refused` for an unusable URL; a refusal of the other server is a `PushAnswer`.
        """
        ...

    async def close(self) -> None:
        """Release everything that the publisher holds. May be called again."""
        ...
