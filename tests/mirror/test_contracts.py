"""What sends abroad, and what looks at an upstream, passes the contract suites. (The source itself: test_source.py.)"""

from __future__ import annotations

import json
from collections.abc import Sequence

from aiohttp import web
from msgspec import structs

from pkgindex_core.composition.attesting import attestation_verifier
from pkgindex_core.formats.attestations import MEDIA_TYPE
from pkgindex_core.hookspecs import Context
from pkgindex_core.models import File, IndexConfig
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import Follower, Publisher
from pkgindex_core.protocols.learning import LearningBlobs, LearningIndex
from pkgindex_core.testing.configs import mirror_config
from pkgindex_core.testing.examiners import SECRET, ExaminerContract, ExaminingSource
from pkgindex_core.testing.followers import FollowerContract
from pkgindex_core.testing.index_cases.values import DEV, MIRROR
from pkgindex_core.testing.measured import MeasuredContract, MeasuredSource
from pkgindex_core.testing.proving import ProvingContract, ProvingSource
from pkgindex_core.testing.publishers import Answer, PublisherContract
from pkgindex_mirror.readthrough.source import ReadThrough
from pkgindex_mirror.sending.publishing import HttpPublisher
from pkgindex_mirror.sending.webhooks import Webhooks
from pkgindex_mirror.settings import MirrorSettings
from pkgindex_mirror.testing import ScriptedUpstream, behaviours
from tests.attested import FILENAME, PROVENANCE, PUBLISHER, SHA256
from tests.mirror.conftest import QUICK
from tests.mirror.receiver import Post, receiving

SETTINGS = MirrorSettings(**QUICK, allow_networks=("127.0.0.0/8",))


def opened(kind: type[ReadThrough], context: Context) -> ReadThrough:
    assert isinstance(context.index_store, LearningIndex)
    assert isinstance(context.blob_store, LearningBlobs)
    return kind(
        store=context.index_store,
        blob_store=context.blob_store,
        clock=context.clock,
        workers=context.workers,
        data=context.data,
        settings=SETTINGS,
        verifier=context.verifier,
    )


class TestHttpPublisher(PublisherContract):
    async def begin(self) -> None:
        self.running = receiving()
        self.receiver = await self.running.__aenter__()
        self.url = self.receiver.url
        self.accepted: list[Post] = []
        await self.answer("accept")

    async def end(self) -> None:
        await self.running.__aexit__(None, None, None)

    async def open_publisher(self, context: Context) -> Publisher:
        assert context.blob_store is not None
        return HttpPublisher(blob_store=context.blob_store, settings=SETTINGS)

    def received(self) -> Sequence[tuple[str, bytes]]:
        return [post.files["content"] for post in self.accepted if "content" in post.files]

    async def answer(self, answer: Answer) -> None:
        if answer == "silent":
            await self.end()
        statuses = {"accept": 200, "refuse": 400, "unknown user": 403, "silent": 0}

        def say(post: Post) -> web.Response:
            if answer == "accept":
                self.accepted.append(post)
            return web.Response(status=statuses[answer])

        self.receiver.answer = say


class TestWebhooks(FollowerContract):
    async def begin(self) -> IndexConfig:
        self.running = receiving()
        self.receiver = await self.running.__aenter__()
        return IndexConfig(name=DEV, options={"upload_webhook": self.receiver.url})

    async def end(self) -> None:
        await self.running.__aexit__(None, None, None)

    async def open_follower(self, context: Context) -> Follower:
        assert context.index_store is not None
        return Webhooks(
            store=context.index_store,
            clock=context.clock,
            settings=SETTINGS,
            public_url="https://packages.example.org",
        )

    def done(self) -> Sequence[str]:
        return [json.loads(post.body)["filename"] for post in self.receiver.posts]


class TestCounts(MeasuredContract):
    async def begin(self) -> IndexConfig:
        self.server = ScriptedUpstream()
        await self.server.start()
        return mirror_config(MIRROR, self.server.url)

    async def end(self) -> None:
        await self.server.stop()

    async def open_measured(self, context: Context) -> MeasuredSource:
        return opened(ReadThrough, context)


class TestExamination(ExaminerContract):
    async def begin(self) -> IndexConfig:
        self.server = ScriptedUpstream()
        await self.server.start()
        return mirror_config(MIRROR, self.server.url, mirror_credentials=f"ann:{SECRET}")

    async def end(self) -> None:
        await self.server.stop()

    async def open_examiner(self, context: Context) -> ExaminingSource:
        return opened(ReadThrough, context)

    async def break_it(self) -> None:
        for place in ("/simple/", "other"):
            self.server.script(place, behaviours.status(404))


class TestProvenance(ProvingContract):
    project = ProjectName("pypi-attestations")
    document = PROVENANCE
    publisher = PUBLISHER

    async def begin(self) -> None:
        self.server = ScriptedUpstream()
        await self.server.start()
        self.index = mirror_config(MIRROR, self.server.url)
        self.file = File(
            filename=FILENAME,
            version="0.0.19",
            digests={"sha256": SHA256},
            url=self.server.file_url(FILENAME),
            provenance=f"{self.server.root}/integrity",
        )
        await self.answer(self.document)

    async def end(self) -> None:
        await self.server.stop()

    async def open_proving(self, context: Context) -> ProvingSource:
        return opened(ReadThrough, structs.replace(context, verifier=attestation_verifier("")))

    async def answer(self, document: bytes | None) -> None:
        self.server.script(
            "other", behaviours.status(404) if document is None else behaviours.says(MEDIA_TYPE, document)
        )

    async def go_away(self) -> None:
        self.server.script("other", behaviours.status(503))
