"""The values that are stored and handed around: users, tokens, indexes, files, pages.

All are frozen. A value says nothing about where it is stored; a `Change` (see `changes`) says what happens to it.
Wire formats have their own types in `formats`.
"""

from __future__ import annotations

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
"""PEP 792's markers, in the order in which people are told them. A page shows no other."""

_NESTED = frozenset({dict, list, tuple})


class User(Struct, frozen=True, kw_only=True, omit_defaults=True):
    name: str
    password_hash: str = ""
    """An argon2id hash in PHC form, or one that came along from devpi (`formats.password_hashes`); empty: no password is accepted."""
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
    """`api` (named, made by hand) or `login` (made by a login)."""
    created: Timestamp = Timestamp(0)
    expires: Timestamp | None = None
    indexes: tuple[str, ...] = ()
    """Shell-style patterns of `user/index`; empty means all that the user may use."""
    projects: tuple[str, ...] = ()
    """Shell-style patterns of normalised project names; empty means all."""
    actions: tuple[str, ...] = ()
    """Names of `Action`s (see `rules.permissions`); empty means all that the user may do."""
    groups: tuple[str, ...] = ()
    """The groups that whoever vouched for a log-in named. They last as long as the log-in; API tokens have none."""


class IndexConfig(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How one index behaves. The option names are devpi's where devpi has the option."""

    name: IndexName
    type: str = "stage"
    """`stage` (takes uploads, inherits `bases`), `mirror` (a read-through cache of another index), or a plugin's."""
    read_only: bool = False
    """Whether the index takes no files of its own. Set from its type when it is made, so that it holds even where the plugin
    that knows the type is missing."""
    mirrored: bool = False
    """Its pages are copies of what its source has elsewhere: kept without a past, asked for last, and only for names that no index of one's
    own has. Such an index inherits nothing. Set from its type when it is made, and never changed."""
    bases: tuple[IndexName, ...] = ()
    """Indexes to inherit from, most important first. A base that does not exist (yet) is named, not an error."""
    volatile: bool = True
    """Whether a file may be overwritten and its name reused."""
    acl_read: tuple[str, ...] = (ANONYMOUS,)
    acl_upload: tuple[str, ...] = ()
    acl_toxresult_upload: tuple[str, ...] = (AUTHENTICATED,)
    """Who may add test results to a release. devpi's own default is `:ANONYMOUS:`; here nothing is written without credentials."""
    upload_rules: str = "lenient"
    """`lenient` or `pypi`: whether an upload that PyPI would refuse is taken, with a warning, when it is not dangerous."""
    title: str = ""
    description: str = ""
    custom_data: Any = None
    options: Mapping[str, Any] = {}
    """Every other option, by its name: those of mirrors and their guard (`rules.kept_options`) and those of plugins. Values are what JSON can
    say; a tuple is a list, so that a configuration is equal to what a store gives back."""

    def __post_init__(self) -> None:
        if self.options:
            force_setattr(self, "options", plain(self.options))


def plain(value: Any) -> Any:
    """A value with lists in the place of tuples, as it comes back from a store."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if not isinstance(value, list | tuple):
        return value
    # A long list is one of words: not looked at one by one, since each configuration that is read comes through here.
    return [*value] if _NESTED.isdisjoint(map(type, value)) else [plain(each) for each in value]


class Tree(Struct, frozen=True, kw_only=True):
    """Every index there is, as of one moment."""

    serial: Serial
    """The last serial that changed any index configuration."""
    indexes: Mapping[IndexName, IndexConfig]


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One line of the history of a file or an attachment: how it came to be where it is."""

    what: str
    """`upload`, `overwrite` or `push`; imported histories keep the words they had."""
    at: Timestamp
    who: str = ""
    """A user's name; empty is anonymous."""
    source: str = ""
    """For `push`: the index it came from."""
    target: str = ""
    """For `upload` and `push`: the index it went to."""
    count: int = 0
    """For `overwrite`: how often."""


class File(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One distribution file, as a page lists it. None or empty means unknown, not absent."""

    filename: str
    """Exactly as uploaded or as the upstream spells it."""
    version: str = ""
    """As the filename spells it (`canonical_version` compares); empty when it cannot be told."""
    digests: Mapping[str, str] = {}
    """Hexadecimal digests by algorithm. A hosted file always has sha256; a mirrored one may lack it until first fetched."""
    size: int | None = None
    """Bytes. Mandatory for hosted files (PEP 700)."""
    upload_time: Timestamp | None = None
    requires_python: str = ""
    yanked: bool | str = False
    """PEP 592: True, or a non-empty reason."""
    metadata_sha256: Sha256 | None = None
    """PEP 658: digest of the core-metadata sidecar."""
    metadata_offered: bool = False
    """PEP 658: a sidecar is served although its digest is not known (yet)."""
    metadata_refuted: Sha256 | None = None
    """Mirrored files: the digest that the upstream announces for the sidecar and that the wheel's own metadata does not have."""
    provenance: str = ""
    """PEP 740: absolute https URL."""
    gpg_sig: bool | None = None
    url: str = ""
    """Mirrored files: absolute URL at the upstream, without credentials. Never shown in a page."""
    history: tuple[Event, ...] = ()
    """Hosted files: how it came here, oldest first. Never shown in a page."""

    @property
    def sha256(self) -> Sha256 | None:
        value = self.digests.get("sha256")
        return Sha256(value) if value else None


class Release(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the core metadata of one version of a hosted project says."""

    version: str
    """As the metadata spells it; no two of one project are the same version (`formats.versions.canonical_version`)."""
    metadata: bytes = b"{}"
    """A JSON object of metadata under the field names of the upload API (see `formats.version_documents`)."""


class Attachment(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is kept with a release and stands on no page: its documentation, or the result of a test of one file."""

    kind: str
    """`doczip` or `toxresult`."""
    filename: str
    """`{project}-{version}.doc.zip`, or `{file}.toxresult-{YYYYmmddHHMMSS}-{n}`; unique within a project."""
    version: str
    about: str = ""
    """For a test result: the name of the file that was tested. It goes when that file goes."""
    sha256: Sha256
    size: int
    added: Timestamp
    history: tuple[Event, ...] = ()


class PageHead(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a project page says besides its files."""

    display_name: str = ""
    """The name as first uploaded or as the upstream spells it."""
    versions: tuple[str, ...] = ()
    """Versions without files that are listed all the same (PEP 700). Versions of files need not be repeated."""
    status: str = ""
    """One of `PROJECT_STATUSES`. Empty means none was given."""
    status_reason: str = ""
    validators: Mapping[str, str] = {}
    """Mirrors: what the upstream gave to ask again with: `etag`, `last-modified`, `serial`. Never shown."""
    fetched: Timestamp | None = None
    """Mirrors: when the upstream answered with this page."""


class PageRow(Struct, frozen=True, array_like=True, gc=False):
    """One file on a stored page, encoded, so that reading a page decodes nothing."""

    filename: str
    version: str
    fragment: bytes
    """The file's JSON object from behind the prefix of its URL to before its closing brace (see `formats.fragments`)."""
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
    """A tuple in no particular order. Of a long mirrored page rows by filename that are decoded while they are taken; of one that is
    kept in one piece `formats.kept_pages.KeptRows`."""
    content: str = ""
    """As `Standing.content`."""


class Standing(Struct, frozen=True, kw_only=True):
    """How one index stands to one project: all that admission and the ETag need, at the cost of one row."""

    index: IndexName
    stamp: Serial
    """The serial that last changed this project here, 0 when the index has never had it. A mirrored page that was shown before it was
    committed has the stamp under which it was shown, which may be above the serial of its commit. No two contents that are committed share one."""
    holds: bool
    """The index has the project (perhaps without files)."""
    file_count: int = 0
    status: str = ""
    """The project's PEP 792 marker here, as `PageHead.status`."""
    content: str = ""
    """Of a mirrored page that is kept in one piece: names what it says (`formats.kept_pages.page_content`). So does that of one which was
    shown before it was committed, in another way where that was a difference. Stamp and content together name one page in all processes."""


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
