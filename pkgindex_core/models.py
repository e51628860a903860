"""The values that are stored and handed around: users, tokens, indexes, files, pages.

All are frozen. A value says nothing about where it is stored; a `Change` (see `changes`) says what happens to it.
Wire formats have their own types in `formats`.
"""

# Annotations are values here and no text (`from __future__ import annotations`), which msgspec would compile at every start.

from collections.abc import Collection, Mapping
from typing import Any, NewType

import msgspec
from msgspec import Struct
from msgspec.structs import force_setattr

from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import Sha256
from pkgindex_core.names import IndexName, ProjectName

Serial = NewType("Serial", int)
"""One number per committed change-set, gapless and monotonic from 1. 0 is the empty store."""

ANONYMOUS = ":ANONYMOUS:"
"""In an access list: everyone, with or without credentials."""
AUTHENTICATED = ":AUTHENTICATED:"
"""In an access list: everyone who presented valid credentials."""

ARCHIVED = "archived"
QUARANTINED = "quarantined"
PROJECT_STATUSES = ("active", ARCHIVED, "deprecated", QUARANTINED)
"""The status markers of PEP 792, in the order in which messages list them. A page shows no others."""

_NESTED = frozenset({dict, list, tuple})


class User(Struct, frozen=True, kw_only=True, omit_defaults=True):
    name: str
    password_hash: str = ""
    """An argon2id hash in PHC form, or a hash that was imported from devpi (`formats.password_hashes`); empty: no password is accepted."""
    email: str = ""
    title: str = ""
    description: str = ""
    created: Timestamp = Timestamp(0)
    modified: Timestamp = Timestamp(0)
    custom_data: Any = None


class Token(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A credential that stands for its user within limits. The secret itself is never stored."""

    id: str
    """The public part, shown in lists and logs."""
    user: str
    name: str = ""
    secret_sha256: Sha256
    kind: str = "api"
    """`api` (named, made by hand), `login` (made by a login) or `publish` (made for a publisher, for minutes)."""
    created: Timestamp = Timestamp(0)
    expires: Timestamp | None = None
    indexes: tuple[str, ...] = ()
    """Shell-style patterns of `user/index`; empty means all that the user may use."""
    projects: tuple[str, ...] = ()
    """Shell-style patterns of normalised project names; empty means all."""
    actions: tuple[str, ...] = ()
    """Names of `Action`s (see `rules.permissions`); empty means all that the user may do."""
    publisher: str = ""
    """The publisher that a trusted issuer vouched for, as `formats.publishers` writes it. Then the index named it, and `acl_upload` need not."""
    stamp: str = ""
    """The ref and the commit of the run, as the issuer told them."""
    groups: tuple[str, ...] = ()
    """The user's groups, as the directory named them at the log-in. They last as long as the log-in; API tokens have none."""


class IndexConfig(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How one index behaves. The option names are devpi's where devpi has the option."""

    name: IndexName
    type: str = "stage"
    """`stage` (takes uploads, inherits `bases`), `mirror` (a read-through cache of another index), or a plugin's."""
    read_only: bool = False
    """Whether the index takes no files of its own. Set from its type when the index is made, so that it still holds when the plugin
    of the type is missing."""
    mirrored: bool = False
    """Whether its pages are copies of an upstream's: kept with as much of their past as `mirror_history` says, and by default asked for only
    when no hosted index has the name. Such an index inherits nothing. Set from its type when the index is made, and never changed."""
    files_elsewhere: bool = False
    """Whether its source keeps the bytes of its files outside of the blob store, although its names are its own and guard against mirrors.
    Set from its type when the index is made. The files of a mirrored index are elsewhere anyway."""
    bases: tuple[IndexName, ...] = ()
    """Indexes to inherit from, the most important first. A base may be missing."""
    volatile: bool = True
    """Whether a file may be overwritten and its name reused."""
    acl_read: tuple[str, ...] = (ANONYMOUS,)
    acl_upload: tuple[str, ...] = ()
    acl_toxresult_upload: tuple[str, ...] = (AUTHENTICATED,)
    """The principals that may add test results. devpi's default is `:ANONYMOUS:`; here every write needs credentials."""
    upload_rules: str = "lenient"
    """`lenient` or `pypi`. `lenient` takes harmless uploads that PyPI would refuse, with a warning."""
    title: str = ""
    description: str = ""
    custom_data: Any = None
    options: Mapping[str, Any] = {}
    """All other options by name: those of mirrors and admission (`rules.kept_options`) and those of plugins. Values are JSON values;
    tuples become lists, so that a configuration equals itself after it was stored."""

    def __post_init__(self) -> None:
        if self.options:
            force_setattr(self, "options", plain(self.options))

    @property
    def needs_blobs(self) -> bool:
        """Whether the blob store must have every file: without it the bytes are lost."""
        return not self.mirrored and not self.files_elsewhere


def plain(value: Any) -> Any:
    """Replace tuples with lists, as a value comes back from a store."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if not isinstance(value, list | tuple):
        return value
    # Fast path for flat lists: every configuration that is read comes through here.
    return [*value] if _NESTED.isdisjoint(map(type, value)) else [plain(each) for each in value]


class Tree(Struct, frozen=True, kw_only=True):
    """The configuration of all indexes, as of one commit."""

    serial: Serial
    """The last serial that changed any index configuration."""
    indexes: Mapping[IndexName, IndexConfig]


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One entry of the history of a file or an attachment."""

    what: str
    """`upload`, `overwrite`, `push` or `restore`; imported histories keep their own words."""
    at: Timestamp
    who: str = ""
    """A user's name; empty is anonymous."""
    source: str = ""
    """For `push`: the index it came from."""
    target: str = ""
    """For `upload` and `push`: the index it went to."""
    count: int = 0
    """For `overwrite`: the number of times."""


class File(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One distribution file, as a page lists it. None or empty means unknown, not absent."""

    filename: str
    """Exactly as uploaded or as the upstream spells it."""
    version: str = ""
    """As the filename spells it (compare with `canonical_version`); empty when it is unknown."""
    digests: Mapping[str, str] = {}
    """Hexadecimal digests by algorithm. A hosted file always has sha256; a mirrored one may lack it until first fetched."""
    size: int | None = None
    """Bytes. Mandatory for hosted files (PEP 700)."""
    stated_size: int | None = None
    """Mirrored files: bytes according to the head of an answer about the file, while the page tells no size and the file was not fetched."""
    upload_time: Timestamp | None = None
    first_seen: Timestamp | None = None
    """The time at which a mirror first listed the file. Files without an upload time at the upstream have it if the mirror's option
    `upload_time` is `first-seen`, and all files if a policy of the mirror counts it.
    """
    requires_python: str = ""
    yanked: bool | str = False
    """PEP 592: True, or a non-empty reason."""
    metadata_sha256: Sha256 | None = None
    """PEP 658: digest of the core-metadata sidecar."""
    metadata_offered: bool = False
    """PEP 658: a sidecar is served, but its digest is not known yet."""
    metadata_refuted: Sha256 | None = None
    """Mirrored files: a digest that the upstream gives for the sidecar and that does not match the wheel's own metadata. Empty: the upstream
    announces a sidecar without a digest, and there is none.
    """
    metadata_from_ranges: bool = False
    """Mirrored files: the sidecar was read from ranges of the upstream's wheel, and no page of the upstream vouches for it. It counts until
    the whole wheel is fetched and verified.
    """
    provenance: str = ""
    """PEP 740. Mirrored files: absolute https URL at the upstream. Hosted files: the path of their provenance below their index."""
    publisher: str = ""
    """The publisher, as `formats.publishers` writes it. Set only after it was verified, and never shown in a page."""
    former_publisher: str = ""
    """The publisher of the project's newest file before this one, if it was another. Never shown in a page."""
    gpg_sig: bool | None = None
    """PEP 503: whether a detached signature is beside the file. None: it is not known, or there is one, which is not served."""
    url: str = ""
    """Mirrored files: absolute URL at the upstream, without credentials. Never shown in a page."""
    history: tuple[Event, ...] = ()
    """Hosted files: their history, oldest first. Never shown in a page."""

    @property
    def sha256(self) -> Sha256 | None:
        value = self.digests.get("sha256")
        return Sha256(value) if value else None

    @property
    def shown_size(self) -> int | None:
        """The size that pages show, in bytes."""
        return self.size if self.size is not None else self.stated_size

    @property
    def shown_time(self) -> Timestamp | None:
        """The upload time that pages show."""
        return self.upload_time if self.upload_time is not None else self.first_seen


class Release(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The core metadata of one version of a hosted project."""

    version: str
    """As the metadata spells it. A project has one record for each `formats.versions.canonical_version`."""
    metadata: bytes = b"{}"
    """The bytes of a JSON object under the field names of the upload API: text, or a list for fields that may occur several times, as
    `formats.version_documents.encode_metadata` makes it. It is copied into answers as it is."""


class Attachment(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something kept with a release but not listed on its page: documentation, or a test result of one file."""

    kind: str
    """`doczip`, `toxresult` or `provenance`."""
    filename: str
    """`{project}-{version}.doc.zip`, `{file}.toxresult-{YYYYmmddHHMMSS}-{n}` or `{file}.provenance`; unique within a project."""
    version: str
    about: str = ""
    """For a test result and a provenance: the name of the file. They are dropped with that file, and with its bytes."""
    sha256: Sha256
    size: int
    added: Timestamp
    history: tuple[Event, ...] = ()


class PageHead(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The part of a project page that is not files."""

    display_name: str = ""
    """The name as first uploaded or as the upstream spells it."""
    versions: tuple[str, ...] = ()
    """Versions to list although they have no files (PEP 700). Versions of files need not be repeated."""
    status: str = ""
    """One of `PROJECT_STATUSES`. Empty means none was given."""
    status_reason: str = ""
    validators: Mapping[str, str] = {}
    """Mirrors: the upstream's validators for the next request: `etag`, `last-modified`, `serial`. Never shown."""
    fetched: Timestamp | None = None
    """Mirrors: the time at which the upstream answered with this page."""


class PageRow(Struct, frozen=True, array_like=True, gc=False):
    """One file on a stored page, encoded, so that reading a page decodes nothing."""

    filename: str
    version: str
    fragment: bytes
    """The file's JSON object without the prefix of its URL at the start and the brace at the end (see `formats.fragments`)."""
    body: bytes
    """The whole `File` as msgpack; decode with `decode_file`."""


class Page(Struct, frozen=True, kw_only=True):
    """One project in one index, as stored."""

    index: IndexName
    project: ProjectName
    stamp: Serial
    """As `Standing.stamp`."""
    head: PageHead
    rows: Collection[PageRow]
    """A tuple in no particular order; for a long mirrored page, rows by filename that are decoded one after the other; for a page that
    is kept in one piece, `formats.kept_pages.KeptRows`."""
    content: str = ""
    """As `Standing.content`."""


class Standing(Struct, frozen=True, kw_only=True):
    """The holding of one project in one index, without files: all that admission and the ETag need, from one row."""

    index: IndexName
    stamp: Serial
    """The serial that last changed this project here; 0 when the index never had it. A mirrored page that was shown before its commit
    keeps the stamp under which it was shown, which may be above the serial of the commit. Two committed contents never share a stamp."""
    holds: bool
    """The index has the project (perhaps without files)."""
    file_count: int = 0
    """The number of stored files. May be above 0 where `holds` is False: of a mirrored page whose last part did not come."""
    status: str = ""
    """The project's PEP 792 marker here, as `PageHead.status`."""
    content: str = ""
    """A name of the page's content, for a mirrored page that is kept in one piece (`formats.kept_pages.page_content`) or that was shown
    before its commit. Stamp and content together name one page in all processes."""


class ProjectRow(Struct, frozen=True, array_like=True, gc=False):
    """One line of a project list."""

    name: ProjectName
    display_name: str
    stamp: Serial


_file_encoder = msgspec.msgpack.Encoder()
_file_decoder = msgspec.msgpack.Decoder(File)


def encode_file(file: File) -> bytes:
    return _file_encoder.encode(file)


def decode_file(body: bytes) -> File:
    return _file_decoder.decode(body)
