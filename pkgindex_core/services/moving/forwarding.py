"""Forwarding: a release goes to somebody else's index, as whoever asks for it is known there.

What is sent is what a push within this server would give (`services.moving.parcels`): what is hidden here is not sent. Nothing is kept of the
credentials, and nothing is written here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from pkgindex_core.errors import Refused
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Consignment, Delivery, Destination, Principal, Publisher
from pkgindex_core.services.moving.parcels import Parcels


class Forwarding:
    """Sends releases to other servers, through the publishers that plugins offer."""

    def __init__(self, *, parcels: Parcels, publishers: Sequence[Publisher]) -> None:
        self._parcels = parcels
        self._publishers = publishers

    async def send(
        self,
        source: IndexName,
        project: ProjectName,
        version: str,
        destination: Destination,
        *,
        principal: Principal,
        files: bool = True,
        docs: bool = True,
        register: bool = False,
    ) -> tuple[Delivery, ...]:
        """Send a release; what became of each of its parts. Same errors as `Promotion.push` for what is not there."""
        publisher = next((each for each in self._publishers if each.takes(destination.url)), None)
        if publisher is None:
            raise Refused(
                "nothing here can push to such a URL", hint="say the upload URL, as https://upload.example.org/legacy/"
            )
        parcel = await self._parcels.whole(source, project, version, principal=principal, files=files, docs=docs)
        holding = parcel.holding
        metadata: dict[str, Any] = {}
        for release in holding.releases:
            metadata = msgspec.json.decode(release.metadata)
        consignment = Consignment(
            name=str(metadata.get("name") or holding.head.display_name or project),
            version=str(metadata.get("version") or version),
            metadata=metadata,
            files=holding.files,
            documentation=next((each for each in holding.attachments if each.kind == "doczip"), None),
        )
        return await publisher.publish(destination, consignment, register=register)
