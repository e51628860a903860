"""The contracts: roles of a few methods each, with their promises.

An engine plays a role; `pkgindex_core.testing` has one contract suite a role, which every engine passes, ours
or a third party's. Everything that may block is `async`; everything plain is a pure rule that never waits.

What every implementation promises:
* Arguments are checked values (`ProjectName`, `IndexName`, `Sha256`); an engine never normalises and never puts
  user text into a path, a query string or a format.
* Failures are `PkgIndexError`s. A foreign exception never leaves an engine.
* Cancelling an awaiting caller leaves the store whole: a write happens completely or not at all.
"""

from pkgindex_core.protocols.blob_store import Blob, BlobStore, SignedUrl, Span, Stage
from pkgindex_core.protocols.followers import Follower
from pkgindex_core.protocols.identity import (
    Authenticator,
    Credentials,
    HouseRules,
    PasswordHashing,
    Passwords,
    Principal,
    TokenScope,
)
from pkgindex_core.protocols.index_store import (
    EVERYTHING,
    PARTIAL,
    Accounts,
    ChangeLog,
    Everything,
    IndexStore,
    IndexWriter,
    Keeping,
    ListedNames,
    Listing,
    Projects,
    ReleaseRecords,
    Replaying,
    Taken,
    Touched,
    Trees,
)
from pkgindex_core.protocols.index_types import IndexOption, IndexType
from pkgindex_core.protocols.policies import (
    AdmissionPolicy,
    Build,
    InspectedUpload,
    MergedPage,
    PageEntry,
    PageFilter,
    ProjectList,
    Renderer,
    UploadCheck,
    UploadForm,
    Verdict,
)
from pkgindex_core.protocols.publishers import Consignment, Delivery, Destination, Publisher
from pkgindex_core.protocols.sources import Arriving, ColdFile, Freshness, Names, OnDisk, Opened, Redirect, Source

__all__ = [
    "EVERYTHING",
    "PARTIAL",
    "Accounts",
    "AdmissionPolicy",
    "Arriving",
    "Authenticator",
    "Blob",
    "BlobStore",
    "Build",
    "ChangeLog",
    "ColdFile",
    "Consignment",
    "Credentials",
    "Delivery",
    "Destination",
    "Everything",
    "Follower",
    "Freshness",
    "HouseRules",
    "IndexOption",
    "IndexStore",
    "IndexType",
    "IndexWriter",
    "InspectedUpload",
    "Keeping",
    "ListedNames",
    "Listing",
    "MergedPage",
    "Names",
    "OnDisk",
    "Opened",
    "PageEntry",
    "PageFilter",
    "PasswordHashing",
    "Passwords",
    "Principal",
    "ProjectList",
    "Projects",
    "Publisher",
    "Redirect",
    "ReleaseRecords",
    "Renderer",
    "Replaying",
    "SignedUrl",
    "Source",
    "Span",
    "Stage",
    "Taken",
    "TokenScope",
    "Touched",
    "Trees",
    "UploadCheck",
    "UploadForm",
    "Verdict",
]
