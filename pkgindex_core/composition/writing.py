"""The services that publish and delete."""

from __future__ import annotations

from msgspec import Struct

from pkgindex_core.composition.offered import Offered
from pkgindex_core.composition.shared import Shared
from pkgindex_core.composition.stores import Stores
from pkgindex_core.config import Settings
from pkgindex_core.hookspecs import Context
from pkgindex_core.services.writing.attesting import Attesting
from pkgindex_core.services.writing.bringing_back import BringingBack
from pkgindex_core.services.writing.documentation_uploads import DocumentationUploads
from pkgindex_core.services.writing.file_uploads import FileUploads
from pkgindex_core.services.writing.inspecting import Inspecting
from pkgindex_core.services.writing.receiving import Receiving, UploadLimits
from pkgindex_core.services.writing.registering import Registering
from pkgindex_core.services.writing.releases import Releases
from pkgindex_core.services.writing.results import Results
from pkgindex_core.services.writing.retaining import Retaining
from pkgindex_core.services.writing.undeleting import Undeleting
from pkgindex_core.services.writing.uploads import Uploads


class Writing(Struct, frozen=True, kw_only=True):
    """The services that change the content of projects."""

    uploads: Uploads
    registering: Registering
    releases: Releases
    results: Results
    retaining: Retaining
    attesting: Attesting
    undeleting: Undeleting


def make_writing(stores: Stores, shared: Shared, offered: Offered, context: Context, settings: Settings) -> Writing:
    """Make the services over one store."""
    store, blobs, clock, workers = stores.index, stores.blobs, context.clock, context.workers
    registering = Registering(store=store)
    attesting = Attesting(store=store, filters=offered.filters, verifier=context.verifier, workers=workers)
    return Writing(
        uploads=Uploads(
            store=store,
            receiving=Receiving(
                blobs=blobs,
                workers=workers,
                limits=UploadLimits(
                    file_bytes=settings.max_upload_bytes,
                    field_bytes=settings.max_upload_field_bytes,
                    form_bytes=settings.max_upload_form_bytes,
                    field_count=settings.max_upload_fields,
                ),
            ),
            files=FileUploads(
                store=store,
                blobs=blobs,
                sources=shared.sources,
                inspecting=Inspecting(checks=offered.checks, workers=workers, clock=clock),
                attesting=attesting,
                policing=shared.policing,
                clock=clock,
            ),
            documentation=DocumentationUploads(store=store, workers=workers, clock=clock),
            registering=registering,
        ),
        registering=registering,
        releases=Releases(store=store, sources=shared.sources, policies=context.policies),
        results=Results(store=store, blobs=blobs, workers=workers, clock=clock),
        retaining=Retaining(store=store, blobs=blobs, clock=clock),
        attesting=attesting,
        undeleting=Undeleting(
            store=store, bringing_back=BringingBack(store=store, blobs=blobs, clock=clock), clock=clock
        ),
    )
