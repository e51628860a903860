"""The keys of `[mirror]` and `[s3]`: kind, default and meaning of each. Reading, explaining, writing and the documentation use them."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from pkgindex_core.digests import PUBLISHED_IN_JSON
from pkgindex_mirror.bandersnatch.setting_kinds import (
    AT_LEAST_ONE,
    AT_LEAST_ZERO,
    BOOLEAN,
    FILE_POLICIES,
    NUMBER,
    OTHER_WEB_URL,
    PERCENTAGE,
    PREFIX,
    PROXY_URL,
    REQUEST_SECONDS,
    SECONDS,
    TEXT,
    WEB_URL,
    SettingKind,
    choice,
)

DIGESTS: Final = ("sha256", *PUBLISHED_IN_JSON)
"""Digests that pages may have. Upstreams offer some of them."""


class MirrorOption(Struct, frozen=True):
    """One key of `[mirror]` or `[s3]`."""

    key: str
    kind: SettingKind
    default: str
    """As a text of the file. Empty: none."""
    meaning: str
    """A sentence."""
    secret: bool = False
    """Whether the value itself is a secret. User names and passwords in URLs are never shown either way."""
    known_to_bandersnatch: bool = True

    @property
    def field(self) -> str:
        """The field of `MirrorConfiguration` or `S3Settings`."""
        return self.key.replace("-", "_")


def _words(*words: str, upper: bool = False) -> SettingKind:
    return SettingKind(
        " or ".join(f"`{word}`" for word in words), choice(words, fold=str.upper if upper else str.lower)
    )


MIRROR_OPTIONS: Final = (
    MirrorOption(
        "directory", TEXT, "", "The root of the tree. It must be given. With the backend `s3` it is `/bucket/prefix`."
    ),
    MirrorOption("storage-backend", _words("filesystem", "s3"), "filesystem", "The medium of the tree."),
    MirrorOption(
        "storage-filesystem-manage-permissions",
        BOOLEAN,
        "true",
        "Whether files get the mode 0644. False: modes are left to the directory, as for trees with access control lists.",
    ),
    MirrorOption("master", WEB_URL, "https://pypi.org", "The upstream. `/simple/` and `/pypi/NAME/json` follow it."),
    MirrorOption("allow-non-https", BOOLEAN, "false", "Whether `master` may be an http URL. Every command obeys it."),
    MirrorOption(
        "proxy",
        PROXY_URL,
        "",
        "A proxy for all requests of every command. Without it the first of SOCKS5_PROXY, SOCKS4_PROXY, SOCKS_PROXY, HTTPS_PROXY,"
        " HTTP_PROXY and ALL_PROXY in the environment.",
    ),
    MirrorOption(
        "timeout", SECONDS, "10", "The time to connect, and the time between two pieces of an answer. 0: no limit."
    ),
    MirrorOption("global-timeout", REQUEST_SECONDS, "1800", "The time for a whole request. 0: five hours."),
    MirrorOption(
        "workers", AT_LEAST_ONE, "3", "Requests at a time. More than 10 are accepted here, and refused by bandersnatch."
    ),
    MirrorOption("verifiers", AT_LEAST_ONE, "3", "Projects at a time that `verify` looks at."),
    MirrorOption("download-mirror", OTHER_WEB_URL, "", "Another mirror, of which files are fetched first."),
    MirrorOption(
        "download-mirror-no-fallback",
        BOOLEAN,
        "false",
        "Whether files are fetched from `download-mirror` only. Without one it has no effect.",
    ),
    MirrorOption(
        "json", BOOLEAN, "false", "Whether the documents of projects are saved, in `web/json` and `web/pypi`."
    ),
    MirrorOption(
        "release-files", BOOLEAN, "true", "Whether files are mirrored. False: pages only, with the URLs of `root_uri`."
    ),
    MirrorOption("core-metadata", BOOLEAN, "true", "Whether the metadata files of wheels (PEP 658) are mirrored."),
    MirrorOption(
        "root_uri",
        PREFIX,
        "",
        "The beginning of the URLs of files. Without it they are relative, or with `release-files = false` begin with https://files.pythonhosted.org.",
    ),
    MirrorOption(
        "simple-format", _words("ALL", "HTML", "JSON", upper=True), "ALL", "The forms in which pages are written."
    ),
    MirrorOption(
        "hash-index",
        BOOLEAN,
        "false",
        "Whether pages are at `simple/n/NAME/`, below the first letter of the name. The web server must rewrite URLs then.",
    ),
    MirrorOption("keep_index_versions", AT_LEAST_ZERO, "0", "How many former pages of each project are kept."),
    MirrorOption(
        "cleanup",
        BOOLEAN,
        "false",
        "Whether directories with names that are not normalised, of bandersnatch before 4.0, are removed.",
    ),
    MirrorOption(
        "compare-method",
        _words("hash", "stat"),
        "hash",
        "How a file is found to be current: by its digest, or by its size and time of modification.",
    ),
    MirrorOption(
        "digest_name",
        _words(*DIGESTS),
        "sha256",
        "The digest in the links of pages. Downloads are always checked with sha256.",
    ),
    MirrorOption("stop-on-error", BOOLEAN, "false", "Whether a run ends at the first project that fails."),
    MirrorOption(
        "diff-file",
        TEXT,
        "",
        "A file for the list of what a run has written. `{{section_key}}` in it stands for the value of a key. In a directory it is `mirrored-files`.",
    ),
    MirrorOption(
        "diff-append-epoch",
        BOOLEAN,
        "false",
        "Whether `-` and the seconds since 1970 are appended to the name of `diff-file`.",
    ),
    MirrorOption("log-config", TEXT, "", "A configuration of Python's logging."),
    MirrorOption(
        "closure",
        TEXT,
        "",
        "A file that `pkgindex-mirror close -o FILE` has written. Only what it has is mirrored. A relative path begins at the directory of the configuration.",
        known_to_bandersnatch=False,
    ),
    MirrorOption(
        "removed",
        _words("keep", "hide", "delete"),
        "keep",
        "Policy for projects that the upstream does not have any more: they stay, or they are hidden, or they are deleted.",
        known_to_bandersnatch=False,
    ),
    MirrorOption(
        "removed-after-days",
        NUMBER,
        "0",
        "Days for which a project must have been away before it is hidden or deleted.",
        known_to_bandersnatch=False,
    ),
    MirrorOption(
        "shrink-limit",
        PERCENTAGE,
        "10",
        "The percentage of projects that may vanish from the upstream's list at once. A list from which more are missing changes nothing.",
        known_to_bandersnatch=False,
    ),
    MirrorOption(
        "file-policies",
        FILE_POLICIES,
        "* immediate",
        "For a mirror in an index (`--index`): which projects have their files fetched by the run (`immediate`), which `on-demand`, with the first request for a file, and which `streamed`, passed on and not kept. The first pattern that matches a name counts.",
        known_to_bandersnatch=False,
    ),
)
"""The keys of `[mirror]` but `compat`, in the order in which they are explained."""

OTHER_SPELLINGS: Final = (
    MirrorOption(
        "keep-index-versions",
        AT_LEAST_ZERO,
        "0",
        "Another spelling of `keep_index_versions`, which is in bandersnatch's own file of defaults and which bandersnatch does not read.",
    ),
    MirrorOption(
        "delete_missing_packages",
        BOOLEAN,
        "false",
        "`true` says the same as `removed = delete`. If `removed` is there too, that counts.",
    ),
    MirrorOption(
        "cleanup_todo",
        BOOLEAN,
        "false",
        "No effect here. In bandersnatch a project that is gone stays in the list of things to do without it, and holds others back.",
    ),
)
"""Keys of `[mirror]` that say what other keys say, or nothing."""

S3_OPTIONS: Final = (
    MirrorOption("region_name", TEXT, "", "The region of the bucket."),
    MirrorOption("aws_access_key_id", TEXT, "", "The name of the key. Without it that of the environment."),
    MirrorOption("aws_secret_access_key", TEXT, "", "The key. Without it that of the environment.", secret=True),
    MirrorOption("endpoint_url", OTHER_WEB_URL, "", "The server, if it is not Amazon's."),
    MirrorOption("signature_version", TEXT, "", "The form of signatures, such as `s3v4`."),
    MirrorOption("verify_concurrency", AT_LEAST_ONE, "50", "Questions to the bucket at a time while verifying."),
    MirrorOption("max_attempts", AT_LEAST_ONE, "10", "Tries of a request to the bucket."),
)
"""The keys of `[s3]` but those that begin with `config_param_`."""

S3_PARAMETER: Final = "config_param_"
"""The beginning of keys of `[s3]` that are arguments of writing requests, such as `config_param_ServerSideEncryption`."""

SPELLINGS: Final = {option.key: option for option in OTHER_SPELLINGS}
MIRROR_KEYS: Final = {option.key: option for option in MIRROR_OPTIONS}
S3_KEYS: Final = {option.key: option for option in S3_OPTIONS}
