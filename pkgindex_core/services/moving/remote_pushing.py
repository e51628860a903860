"""A push to another server, with the credentials that the client gives for it.

It pushes what a push within this server would (`services.moving.pushable_releases`). Hidden files are not pushed. Credentials are not kept,
and nothing is written here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from pkgindex_core.errors import Refused
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Principal, Publisher, PushAnswer, PushDestination, PushedRelease
from pkgindex_core.services.moving.pushable_releases import PushableReleases


class RemotePushing:
    """Pushes releases to other servers, through the publishers that plugins offer."""

    def __init__(self, *, releases: PushableReleases, publishers: Sequence[Publisher]) -> None:
        self._releases = releases
        self._publishers = publishers

    async def push(
        self,
        source: IndexName,
        project: ProjectName,
        version: str,
        destination: PushDestination,
        *,
        principal: Principal,
        files: bool = True,
        docs: bool = True,
        register: bool = False,
    ) -> tuple[PushAnswer, ...]:
        """Push a release; return the answers to what was sent. Raises the errors of `Pushing.push` for what is missing."""
        publisher = next((each for each in self._publishers if each.takes(destination.url)), None)
        if publisher is None:
            raise Refused(
                "nothing here can push to such a URL", hint="give the upload URL, as https://upload.example.org/legacy/"
            )
        pushable = await self._releases.whole(source, project, version, principal=principal, files=files, docs=docs)
        holding = pushable.holding
        metadata: dict[str, Any] = {}
        for release in holding.releases:
            metadata = msgspec.json.decode(release.metadata)
        pushed = PushedRelease(
            name=str(metadata.get("name") or holding.head.display_name or project),
            version=str(metadata.get("version") or version),
            metadata=metadata,
            files=holding.files,
            documentation=next((each for each in holding.attachments if each.kind == "doczip"), None),
        )
        return await publisher.push(destination, pushed, register=register)
