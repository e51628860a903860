"""The contracts: roles of a few methods each, with their promises.

An engine plays a role. `pkgindex_core.testing` has a contract suite for each role, which every engine passes, also those of
third parties. Methods that may block are `async`; other methods are pure and never wait.

Every implementation promises:
* Arguments are checked values (`ProjectName`, `IndexName`, `Sha256`). An engine never normalises them, and never puts
  user text into a path, a query string or a format.
* Failures are `PkgIndexError`s. A foreign exception never leaves an engine.
* When the caller is cancelled, a write happens completely or not at all.
"""

from pkgindex_core.protocols.blob_store import Blob, BlobStore, SignedUrl, Span, Spool
from pkgindex_core.protocols.followers import Follower
from pkgindex_core.protocols.identity import (
    Authenticator,
    Credentials,
    HouseRules,
    PasswordComparing,
    PasswordHashing,
    Passwords,
    Principal,
    Stateful,
    StatefulAtOnce,
    TokenScope,
)
from pkgindex_core.protocols.index_store import (
    EVERYTHING,
    PARTIAL,
    WHOLE_INDEX,
    Accounts,
    ChangeLog,
    Everything,
    IndexStore,
    IndexWriter,
    Keeping,
    ListedNames,
    Listing,
    PageChanges,
    PageSince,
    Projects,
    ReleaseRecords,
    Replaying,
    Taken,
    Touched,
    Trees,
)
from pkgindex_core.protocols.index_types import IndexOption, IndexType
from pkgindex_core.protocols.notes import Note, Notes
from pkgindex_core.protocols.policies import (
    AdmissionPolicy,
    Build,
    InspectedUpload,
    MergedPage,
    PageEntry,
    PageFilter,
    ProjectList,
    Renderer,
    Ruling,
    UploadCheck,
    UploadForm,
    Verdict,
)
from pkgindex_core.protocols.publishers import Publisher, PushAnswer, PushDestination, PushedRelease
from pkgindex_core.protocols.sources import (
    Arriving,
    ColdFile,
    Freshness,
    Names,
    OnDisk,
    Opened,
    Place,
    Redirect,
    Source,
)

__all__ = [
    "EVERYTHING",
    "PARTIAL",
    "WHOLE_INDEX",
    "Accounts",
    "AdmissionPolicy",
    "Arriving",
    "Authenticator",
    "Blob",
    "BlobStore",
    "Build",
    "ChangeLog",
    "ColdFile",
    "Credentials",
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
    "Note",
    "Notes",
    "OnDisk",
    "Opened",
    "PageChanges",
    "PageEntry",
    "PageFilter",
    "PageSince",
    "PasswordComparing",
    "PasswordHashing",
    "Passwords",
    "Place",
    "Principal",
    "ProjectList",
    "Projects",
    "Publisher",
    "PushAnswer",
    "PushDestination",
    "PushedRelease",
    "Redirect",
    "ReleaseRecords",
    "Renderer",
    "Replaying",
    "Ruling",
    "SignedUrl",
    "Source",
    "Span",
    "Spool",
    "Stateful",
    "StatefulAtOnce",
    "Taken",
    "TokenScope",
    "Touched",
    "Trees",
    "UploadCheck",
    "UploadForm",
    "Verdict",
]
