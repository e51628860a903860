"""All settings of the library, with name, default, bounds and meaning.

`options` reads them from one TOML file, `PKGINDEX_…` variables and flags into one frozen value. Importing this module reads
nothing. A program adds its own settings in a subclass. Each plugin, the mirror's among them, defines and checks a table of its own.
"""

# Annotations are values here and no text (`from __future__ import annotations`), which msgspec would compile at every start.

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import force_setattr

from pkgindex_core.errors import Refused
from pkgindex_core.names import parse_index_name
from pkgindex_core.options import load, load_one, option, options_of
from pkgindex_core.rules.option_values import principals
from pkgindex_core.rules.policing.lines import read_server_policies
from pkgindex_core.urls import without_credentials

Declared = TypeVar("Declared", bound="Settings")

_KIB, _MIB, _GIB = 1024, 1024**2, 1024**3

_NOWHERE = Path("\0")
"""Stands for a missing default data directory. No directory has this name, while `Path()` is the current directory."""
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://")
_CREDENTIALS = re.compile(r"(://)[^/?#\s]*(@)|([?&](?:password|passwd|token|secret)=)[^&#]*")


def _index(value: str) -> str:
    return parse_index_name(value)


def _upstream(value: str) -> str:
    if urlsplit(without_credentials(value)[0]).scheme not in {"http", "https"}:
        raise Refused("the upstream must be an http or https URL, such as https://pypi.org/simple/")
    return value


def _policies(value: dict[str, list[str]]) -> dict[str, list[str]]:
    read_server_policies(value)
    return value


def _primary(value: str) -> str:
    if value and urlsplit(without_credentials(value)[0]).scheme not in {"http", "https"}:
        raise Refused("the server to follow is named by an http or https URL, such as https://packages.example.org/")
    return value


class MirrorDefaults(Struct, frozen=True, kw_only=True):
    expiry: Annotated[
        int,
        option(
            "How long a page of `root/pypi` in a new store counts as fresh after the upstream was asked.",
            unit="seconds",
            at_least=0,
        ),
    ] = 1800


class Settings(Struct, frozen=True, kw_only=True):
    """The settings of an engine. `load_settings` reads them; tests and embedding programs may construct one."""

    data: Annotated[
        Path,
        option(
            "The data directory: database, files, the root password. It is made if it is missing, and only its owner can read it.",
            default="`~/.local/share/pkgindex` or `$XDG_DATA_HOME/pkgindex`; on macOS `~/Library/Application Support/pkgindex`",
        ),
    ]
    store: Annotated[
        str,
        option(
            "URL of the index store. Its scheme selects a plugin: `sqlite:///srv/index.sqlite`, `postgresql://USER@HOST/DATABASE`.",
            default="`sqlite://` and `index.sqlite` in the data directory",
            secret=True,
        ),
    ] = ""
    blobs: Annotated[
        str,
        option(
            "URL of the blob store. Its scheme selects a plugin; fsspec opens the schemes of no plugin.",
            default="`file://` and `blobs` in the data directory",
            secret=True,
        ),
    ] = ""
    mirrored_blobs: Annotated[
        str,
        option(
            "URL of the blob store for the files that mirrors fetch. They can be fetched again, so a bound may remove them. No other index store may use it.",
            default="`mirrored` below `blobs`",
            secret=True,
        ),
    ] = ""
    upstream: Annotated[
        str,
        option(
            "The upstream of `root/pypi` in a new store: the URL of a simple index. A user name and password in it are never shown.",
            check=_upstream,
            secret=True,
        ),
    ] = "https://pypi.org/simple/"
    default_index: Annotated[
        str, option("The index that is served at `/simple/`, `/legacy/` and the other paths of PyPI.", check=_index)
    ] = "root/dev"
    root_password: Annotated[
        str | None,
        option(
            "The password of `root` in a new store; it does not change an existing store. With an empty text everybody can log in as root."
            " Use the variable, because other users of the machine can see flags.",
            default="generated, and written to `root-password` in the data directory",
            hidden=True,
        ),
    ] = None
    open_registration: Annotated[
        bool,
        option(
            "Whether everybody may make a user. Together with an empty `root_password` the server is as open as devpi: users may have"
            " empty passwords, and new indexes take test results from everybody."
        ),
    ] = False
    restrict_modify: Annotated[
        tuple[str, ...],
        option(
            "Only these users and `:groups` may make, change and delete users and indexes, instead of root and owners. They may also"
            " set root's password, so they can become root. All users may still change their own password.",
            default="no restriction",
            check=principals,
        ),
    ] = ()
    admission: Annotated[
        str,
        option(
            "The policy that decides which layers of an index give files to a page. `mirror_whitelist`: a project of a hosted index"
            " gets no files from mirrors, unless it is whitelisted. `first_mirror`: the same, and of several mirrors only the first"
            " that has a project gives files. `available_mirrors`: as `mirror_whitelist`, but while a mirror cannot be asked and nothing of"
            " a project is stored, its page has the files of the others, and names the mirror in `X-PkgIndex-Unknown`. Plugins offer others."
        ),
    ] = "mirror_whitelist"
    disabled_plugins: Annotated[
        tuple[str, ...],
        option("Installed distributions whose plugins are not loaded.", default="none"),
    ] = ()
    max_upload_bytes: Annotated[int, option("The largest file that may be uploaded.", unit="bytes", at_least=1)] = (
        2 * _GIB
    )
    max_upload_field_bytes: Annotated[
        int,
        option("The largest text field of an upload, such as the description.", unit="bytes", at_least=_KIB),
    ] = 4 * _MIB
    max_upload_form_bytes: Annotated[
        int, option("All text fields of an upload together.", unit="bytes", at_least=_KIB)
    ] = 16 * _MIB
    max_upload_fields: Annotated[
        int, option("The most text fields of an upload; each classifier and requirement is one.", at_least=32)
    ] = 4096
    max_list_entries: Annotated[
        int,
        option(
            "The most entries of a list in the options of an index (`acl_…`, `bases`, `mirror_whitelist`, `constraints`). A longer list"
            " that is already stored stays, and can be shortened.",
            at_least=1,
        ),
    ] = 5000
    max_user_indexes: Annotated[int, option("The most indexes of one user.", at_least=1)] = 1000
    max_user_option_bytes: Annotated[
        int,
        option(
            "The options of all indexes of one user together, texts and lists included.",
            unit="bytes",
            at_least=64 * _KIB,
        ),
    ] = _MIB
    max_user_tokens: Annotated[
        int,
        option(
            "The most API tokens of one user, and the most log-ins. A further log-in ends the oldest one.", at_least=1
        ),
    ] = 1000
    follow: Annotated[
        str,
        option(
            "The URL of another server of pkgindex. This server is then a read-only replica of it, in a data directory of its own."
            " `pkgindex-mirror follow URL` sets it.",
            check=_primary,
            default="none",
            secret=True,
        ),
    ] = ""
    follow_token: Annotated[
        str | None,
        option(
            "The token with which a replica copies, of a user of that server. Use the variable, because other users of the machine can see flags.",
            default="none",
            hidden=True,
        ),
    ] = None
    trusted_root: Annotated[
        str,
        option(
            "File with the root of trust for attestations, in the form of Sigstore's `trusted_root.json`. Needs the extra `attestations`.",
            default="the root that the sigstore package brings",
        ),
    ] = ""
    threads: Annotated[int, option("Threads for disk, hashing and compression.", at_least=1, at_most=256)] = 8
    page_cache_bytes: Annotated[int, option("Memory for the cache of compressed pages.", unit="bytes", at_least=0)] = (
        128 * _MIB
    )
    mirror: MirrorDefaults = MirrorDefaults()
    policies: Annotated[
        dict[str, list[str]],
        option(
            "Policies that no index can loosen: lines by index (`root/pypi`), by pattern (`team/*`), or for all `mirrors` or `hosted` indexes.",
            default="none",
            check=_policies,
        ),
    ] = {}
    keep_decisions: Annotated[
        int,
        option(
            "How long the decisions of policies are kept; 0 records none.", unit="seconds", at_least=0, at_most=10**9
        ),
    ] = 90 * 86_400
    plugins: Annotated[
        dict[str, dict[str, Any]],
        option(
            "`[plugins.NAME]` has the settings of the provider with that name. As a variable: `PKGINDEX_PLUGINS__NAME__OPTION`,"
            " with a value in TOML.",
            default="none",
            secret=True,
        ),
    ] = {}

    def __post_init__(self) -> None:
        directory = Path(self.data).absolute().as_uri()
        if not self.store:
            force_setattr(self, "store", f"{directory.replace('file', 'sqlite', 1)}/index.sqlite")
        if not self.blobs:
            force_setattr(self, "blobs", f"{directory}/blobs")
        if not self.mirrored_blobs:
            force_setattr(self, "mirrored_blobs", f"{self.blobs.removesuffix('/')}/mirrored")

    @property
    def devpi_defaults(self) -> bool:
        """Whether the server is to be as open as devpi."""
        return self.open_registration and self.root_password == ""

    def __repr__(self) -> str:
        """Show the settings without secrets, since the text may be in logs and tracebacks."""
        return f"{type(self).__name__}({', '.join(f'{key}={text}' for key, text in shown(self).items())})"


def load_settings(
    settings: type[Declared],
    *,
    file: Path | None = None,
    environ: Mapping[str, str],
    flags: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
    others: bool = False,
) -> Declared:
    """Read settings of the given class. Flags win over variables, variables over the file, the file over defaults.

    Without `file` the variable `PKGINDEX_CONFIG` names it. The keys of `flags` are option keys, such as `mirror.expiry`; None means
    not given. `defaults` replace declared defaults by key. With `others` options of another program in the same file are left alone. Raises
    one `Refused` with all problems.
    """
    if file is None and environ.get("PKGINDEX_CONFIG"):
        file = Path(environ["PKGINDEX_CONFIG"])
    try:
        home = default_data_directory(environ, platform=sys.platform)
    except RuntimeError:  # this user has no home directory, as is usual in containers
        home = _NOWHERE
    loaded = load(
        settings, file=file, environ=environ, flags=flags, defaults={"data": home, **(defaults or {})}, others=others
    )
    if loaded.data == _NOWHERE:
        raise Refused(
            "this user has no home directory, so there is no default data directory",
            hint="name one with --data DIR or PKGINDEX_DATA",
        )
    return loaded


def disabled_plugins(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The option `disabled_plugins` from file and variables, before the other settings are read. Errors in those are ignored."""
    file = environ.get("PKGINDEX_CONFIG")
    found = load_one(Settings, "disabled_plugins", file=Path(file) if file else None, environ=environ)
    return tuple(found or ())


def default_data_directory(environ: Mapping[str, str], *, platform: str) -> Path:
    """The data directory of a user on this system."""
    if platform == "darwin":
        return Path("~/Library/Application Support/pkgindex").expanduser()
    if platform == "win32" and environ.get("LOCALAPPDATA"):
        return Path(environ["LOCALAPPDATA"]) / "pkgindex"
    # XDG base directories: a relative path in the variable is invalid and must be ignored.
    home = environ.get("XDG_DATA_HOME", "")
    return (Path(home) if Path(home).is_absolute() else Path("~/.local/share").expanduser()) / "pkgindex"


def shown(settings: Settings) -> dict[str, str]:
    """The values of all options by key, without secrets: URLs without credentials, only the names of plugins' tables."""
    texts: dict[str, str] = {}
    for one in options_of(type(settings)):
        value: Any = settings
        for name in one.path:
            value = getattr(value, name)
        if one.hidden:
            texts[one.key] = "<unset>" if value is None else "***"
        elif one.is_open_table:
            texts[one.key] = f"<{', '.join(value)}>"
        else:
            texts[one.key] = _masked(str(value)) if one.secret else str(value)
    return texts


def _masked(text: str) -> str:
    """A URL without its credentials; `***` for a secret that is not a URL."""
    return _CREDENTIALS.sub(r"\1\3***\2", text) if _SCHEME.match(text) or not text else "***"
